"""Jobs on this machine's cores. A runner yields what was made of chunk `start`, then of the next, in order."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from pggan_tf.errors import Stopped
from preprocessing.job import Job, Made
from preprocessing.sources import Item, Joined

# Of files read and not yet worked on.
_WAITING_BYTES = 512 << 20


def _end_with_parent() -> None:
    """Ends this process when its parent is gone: a killed job leaves no orphans."""

    def watch():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


_job: Job | None = None  # of a worker process


def _begin(job: Job) -> None:
    global _job
    _job = job
    if not hasattr(signal, "pthread_sigmask"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()


def _do(items: list[Item]) -> list[Made]:
    return _job.do(items)


def _chunks(job: Job, start: int) -> Iterator[list[Item]]:
    items = job.source.items(start * job.chunk, len(job.source))
    while chunk := list(itertools.islice(items, job.chunk)):
        yield chunk


def _bytes(chunk: list[Item]) -> int:
    return sum(len(item.data) for item in chunk if isinstance(item.data, bytes))


@contextlib.contextmanager
def _deaf_to_ctrl_c():
    """A process started meanwhile never hears Ctrl-C, not even while it imports: it reaches the whole group, and the parent,
    which hears it afterwards, decides."""
    if not hasattr(signal, "pthread_sigmask"):  # on Windows, see _begin
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_local(job: Job, start: int, workers: int) -> Iterator[list[Made]]:
    """On this machine's cores: reading goes on here while they work."""
    if job.processes:
        # Spawned, not forked: TensorFlow's threads do not survive a fork. Workers are handed their images: they need
        # no source.
        initial = (dataclasses.replace(job, source=Joined(())),)
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, initial)
        do = _do
    else:
        pool, do = ThreadPoolExecutor(workers), job.do
    running: collections.deque[tuple[Future, int]] = collections.deque()
    try:
        for chunk in _chunks(job, start):
            with _deaf_to_ctrl_c():  # a pool starts its processes one by one, as chunks come
                future = pool.submit(do, chunk)
            running.append((future, _bytes(chunk)))
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
