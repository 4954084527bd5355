"""Jobs on this machine's cores: in order, with little waiting in memory, and an end that leaves nothing at work."""

import contextlib
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from pggan_tf.data.decode import Unreadable
from pggan_tf.errors import Stopped
from preprocessing import local
from preprocessing.job import Job
from preprocessing.sources import Item, SourceList


class Numbers:
    """A source of `count` items of some bytes each, that counts how many it was asked for."""

    name, classes = "numbers", ()

    def __init__(self, count, size=1):
        self.count, self.size, self.taken = count, size, 0

    def __len__(self):
        return self.count

    def items(self, start, stop):
        for number in range(start, stop):
            self.taken += 1
            yield Item(str(number), bytes(self.size))


def names_of(items):
    return [item.name for item in items]


def job_of(source, chunk=4, work=names_of, **kwargs):
    return Job(SourceList((source,)), work, (4,), {}, chunk=chunk, **kwargs)


def test_chunks_are_consecutive_and_begin_where_asked():
    job = job_of(Numbers(11))
    assert [names_of(c) for c in local._read_chunks(job, 0)] == [list("0123"), list("4567"), ["8", "9", "10"]]
    assert [names_of(c) for c in local._read_chunks(job, 2)] == [["8", "9", "10"]]
    assert list(local._read_chunks(job, 3)) == []


def test_only_the_bytes_of_files_count_as_waiting():
    chunk = [Item("a", b"123"), Item("b", np.zeros(99, np.uint8)), Item("c", Unreadable("no")), Item("d", b"4567")]
    assert local._count_bytes(chunk) == 7 and local._count_bytes([]) == 0


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order(workers):
    done = list(local.run_local(job_of(Numbers(50)), 3, workers))
    assert sum(done, []) == [str(number) for number in range(12, 50)]


@pytest.mark.parametrize(
    "workers, size, ahead", [(1, 1, 3), (2, 1, 5), (2, 25, 5), (2, 26, 4), (2, 50, 3), (2, 101, 1)]
)
def test_no_more_is_read_than_may_wait(monkeypatch, workers, size, ahead):
    """Two chunks a worker and the next one; fewer where their files come to more than _WAITING_BYTES."""
    monkeypatch.setattr(local, "_WAITING_BYTES", 100)
    source = Numbers(20, size)
    results = local.run_local(job_of(source, chunk=1), 0, workers)
    assert next(results) == ["0"] and source.taken == ahead
    assert next(results) == ["1"] and source.taken == ahead + 1
    results.close()


def test_a_worker_that_died_ends_the_job_with_advice():
    def died(items):
        raise BrokenProcessPool

    with pytest.raises(
        Stopped, match="^a worker process died.*the same command goes on; try fewer --workers"
    ) as raised:
        list(local.run_local(job_of(Numbers(9), work=died), 0, 2))
    assert raised.value.code == 1


def test_nothing_is_begun_after_the_end():
    """What runs is finished, since the source may be closed afterwards; what waits is dropped."""
    begun, go_on = [], threading.Event()

    def work(items):
        begun.extend(names_of(items))
        if items[0].name != "0":
            go_on.wait(20)
        return names_of(items)

    results = local.run_local(job_of(Numbers(9), chunk=1, work=work), 0, 1)
    next(results)
    threading.Timer(1.0, go_on.set).start()
    results.close()
    assert begun == ["0"] or (begun == ["0", "1"] and go_on.is_set())


class Threads(ThreadPoolExecutor):
    """As a pool of processes is made, with threads in their place."""

    made = []

    def __init__(self, workers, context, begin, initial):
        self.made.append((workers, context, initial))
        super().__init__(workers, initializer=begin, initargs=initial)

    def shutdown(self, wait, cancel_futures):
        self.waited, self.cancelled = wait, cancel_futures
        self.made.append(self)
        super().shutdown(True, cancel_futures=cancel_futures)


def test_workers_that_are_processes_are_handed_the_work_and_no_source(monkeypatch):
    monkeypatch.setattr(local, "ProcessPoolExecutor", Threads)
    monkeypatch.setattr(local, "_end_with_parent", lambda: None)
    monkeypatch.setattr(local, "_job", None)
    monkeypatch.setattr(Threads, "made", [])
    job = job_of(Numbers(9), processes=True)
    assert sum(local.run_local(job, 0, 2), []) == list("012345678")
    (workers, context, (handed,)), pool = Threads.made
    assert workers == 2 and context.get_start_method() == "spawn"
    assert handed.source == SourceList(()) and handed.work is names_of and local._job is handed
    assert not pool.waited and pool.cancelled  # a killed worker would be waited for without end


@pytest.fixture
def handler():
    before = signal.getsignal(signal.SIGINT)
    yield before
    signal.signal(signal.SIGINT, before)


def test_a_worker_does_not_hear_ctrl_c(monkeypatch, handler):
    """It is started with the signal blocked; where systems cannot block one, it ignores it."""
    monkeypatch.setattr(local, "_end_with_parent", lambda: None)
    monkeypatch.setattr(local, "_job", None)
    local._begin("a job")
    assert local._job == "a job" and signal.getsignal(signal.SIGINT) is handler
    monkeypatch.delattr(signal, "pthread_sigmask")
    local._begin("another")
    assert local._job == "another" and signal.getsignal(signal.SIGINT) == signal.SIG_IGN


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals cannot be blocked")
def test_ctrl_c_is_blocked_while_a_process_is_started(monkeypatch):
    def blocked():
        return signal.pthread_sigmask(signal.SIG_BLOCK, ())

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        before = blocked()
        with contextlib.suppress(KeyError), local._block_ctrl_c():
            assert blocked() == before | {signal.SIGINT}
            raise KeyError
        assert blocked() == before and signal.SIGINT not in before
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2, signal.SIGINT})
    with monkeypatch.context() as patch:
        patch.delattr(signal, "pthread_sigmask")
        with local._block_ctrl_c():
            pass


def test_a_worker_ends_with_its_parent(monkeypatch):
    class Parent:
        gone = threading.Event()

        def join(self):
            assert self.gone.wait(5)

    codes, before = [], set(threading.enumerate())
    monkeypatch.setattr(multiprocessing, "parent_process", Parent)
    monkeypatch.setattr(os, "_exit", codes.append)
    local._end_with_parent()
    (watching,) = set(threading.enumerate()) - before
    assert watching.daemon and not codes
    Parent.gone.set()
    watching.join()
    assert codes == [1]
