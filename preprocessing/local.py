"""Run jobs on the cores of this machine.

A job (see `job.Job`) processes the images of a source in chunks of consecutive images. This process
reads the images; workers, which are threads or other processes, do the work on the chunks.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from pggan_tf.errors import Stopped
from preprocessing.job import Job, Result
from preprocessing.sources import Item, SourceList

# Limit in bytes for image files that are in memory until a worker has processed them.
_WAITING_BYTES = 512 << 20


def _end_with_parent() -> None:
    """End this process when its parent ends, so that a killed job leaves no workers behind."""

    def watch():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


_job: Job | None = None  # the job of a worker process


def _begin(job: Job) -> None:
    """Set up a worker process that will process chunks of `job`."""
    global _job
    _job = job
    if not hasattr(signal, "pthread_sigmask"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()


def _do(items: list[Item]) -> list[Result]:
    """Process the items of a chunk in a worker process, and return the results."""
    return _job.do(items)


def _read_chunks(job: Job, start: int) -> Iterator[list[Item]]:
    """Yield the items of each chunk of a job's source, beginning with chunk number `start`."""
    items = job.source.items(start * job.chunk, len(job.source))
    while chunk := list(itertools.islice(items, job.chunk)):
        yield chunk


def _count_bytes(chunk: list[Item]) -> int:
    """Return the size of the files in a chunk that are already in memory."""
    return sum(len(item.data) for item in chunk if isinstance(item.data, bytes))


@contextlib.contextmanager
def _block_ctrl_c():
    """Context manager: processes that are started in its block ignore Ctrl-C from the beginning.

    Ctrl-C is sent to all processes of a terminal. The parent receives it when the block ends, and
    then stops the workers.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows, see _begin
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _hide_script():
    """Context manager: processes that are started in its block do not run the user's script again.

    Python would have each of them import the script, to find what it defines, and a script that
    calls `pggan_tf.prepare` without `if __name__ == "__main__":` would prepare again in each.
    """
    main = sys.modules["__main__"]
    script = None if getattr(main, "__spec__", None) else main.__dict__.pop("__file__", None)
    try:
        yield
    finally:
        if script is not None:
            main.__file__ = script


def run_local(job: Job, start: int, workers: int) -> Generator[list[Result], None, None]:
    """Process the images of a job and yield the list of results of each chunk, in order.

    A chunk is some consecutive images of the job's source. This process reads images while the
    workers process them.

    Args:
        job: the job.
        start: number of the first chunk to process.
        workers: number of worker threads or, if `job.processes`, of worker processes.

    Raises:
        Stopped: if a worker process has died.
    """
    if job.processes:
        # Spawned, not forked: TensorFlow's threads do not survive a fork. Workers receive their
        # images and need no source.
        initial = (dataclasses.replace(job, source=SourceList(())),)
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, initial)
        do = _do
    else:
        pool, do = ThreadPoolExecutor(workers), job.do
    running: collections.deque[tuple[Future, int]] = collections.deque()
    try:
        for chunk in _read_chunks(job, start):
            with _block_ctrl_c(), _hide_script():  # a pool starts its processes one by one, as chunks are submitted
                future = pool.submit(do, chunk)
            running.append((future, _count_bytes(chunk)))
            while len(running) > 2 * workers or sum(size for _, size in running) > _WAITING_BYTES:
                yield running.popleft()[0].result()
        while running:
            yield running.popleft()[0].result()
    except BrokenProcessPool:
        raise Stopped(
            "a worker process died, perhaps for want of memory. What was finished is kept: the same command goes on; try fewer --workers.",
            1,
        ) from None
    finally:
        pool.shutdown(wait=not job.processes, cancel_futures=True)
