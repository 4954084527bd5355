import errno
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import filelock
import pytest

from pggan_tf.files import PARTIAL, PARTIAL_OF, atomic_write, hold_lock, make_partial_path, remove_partial


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_what_is_raised_leaves_what_was_there(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("before")
    for alone in (False, True):
        with pytest.raises(KeyboardInterrupt), atomic_write(path, alone) as partial:
            partial.write_text("ha")
            raise KeyboardInterrupt
    assert path.read_text() == "before" and names(tmp_path) == ["report.html"]
    with atomic_write(path) as partial:
        assert partial.suffix == ".html" and partial.parent == tmp_path
        partial.write_text("after")
    assert path.read_text() == "after" and names(tmp_path) == ["report.html"]


def test_two_writers_do_not_meet(tmp_path):
    path = tmp_path / "report.html"
    with atomic_write(path) as first:
        first.write_text("first")
        with atomic_write(path) as second:
            second.write_text("second")
            assert first.read_text() == "first"
        assert path.read_text() == "second"
    assert path.read_text() == "first" and names(tmp_path) == ["report.html"]


def test_alone_writes_over_what_a_killed_process_left(tmp_path):
    with atomic_write(tmp_path / "a.npz", only_writer=True) as first:
        pass_on = first
        first.write_text("whole")
    pass_on.write_text("left")
    with atomic_write(tmp_path / "a.npz", only_writer=True) as partial:
        assert partial == pass_on
        partial.write_text("new")
    assert names(tmp_path) == ["a.npz"]


def test_names_may_be_as_long_as_file_systems_take(tmp_path):
    for name in ("a" * 251 + ".png", "\N{BUTTERFLY}" * 62 + ".png"):
        with atomic_write(tmp_path / name) as partial:
            assert partial.suffix == ".png"
            partial.touch()
    assert len(names(tmp_path)) == 2
    for name in (os.fsdecode(b"caf\xe9.png"), os.fsdecode(b"caf\xe9" * 60 + b".png")):  # of an old archive
        with atomic_write(tmp_path / name) as partial:
            partial.touch()
    assert len(names(tmp_path)) == 4


def test_what_was_left_is_tidied_away(tmp_path):
    (tmp_path / "report.html").touch()
    for alone in (False, True):
        with atomic_write(tmp_path / "report.html", alone) as partial:
            partial.touch()
        partial.touch()
    remove_partial(tmp_path, "*.json")
    assert len(names(tmp_path)) == 3
    remove_partial(tmp_path, "*-report.html", "report.html")
    assert names(tmp_path) == ["report.html"]


def test_what_another_process_tidied_away_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [self / "gone"])
    remove_partial(tmp_path, "*.json")


def test_names_of_unfinished_files_are_known(tmp_path):
    for alone in (False, True):
        with atomic_write(tmp_path / "shard-00000.npz", alone) as partial:
            assert partial.name.startswith(PARTIAL) and re.fullmatch(rf"{PARTIAL_OF}shard-\d+\.npz", partial.name)
            partial.touch()


def test_an_unfinished_name_is_as_long_as_file_systems_take(tmp_path):
    for name, kept in (
        ("a" * 237, "a" * 237),
        ("b" + "a" * 237, "a" * 237),
        ("\N{BUTTERFLY}" * 60, "\N{BUTTERFLY}" * 59),
    ):
        partial = make_partial_path(str(tmp_path / name))
        assert re.fullmatch(rf"\.partial-[0-9a-f]{{8}}-{kept}", partial.name) and partial.parent == tmp_path
        assert len(os.fsencode(partial.name)) <= 255
    assert make_partial_path("a.png") != make_partial_path("a.png")
    name = os.fsdecode(b"\xe9" + b"a" * 236)  # of an old archive, just not too long
    assert make_partial_path(name).name.endswith(f"-{name}")


def test_what_is_raised_is_told_even_where_nothing_was_written(tmp_path):
    with pytest.raises(ValueError, match="odd"), atomic_write(tmp_path / "none" / "a.png"):
        raise ValueError("odd")
    with pytest.raises(ValueError, match="odd"), atomic_write(str(tmp_path / "a.png")) as partial:
        partial.mkdir()  # and cannot be removed as a file
        raise ValueError("odd")


def test_who_has_to_wait_is_told_once_and_then_waits(tmp_path):
    """Also where another thread gives the lock back than took it, as in a pool."""
    path, said = tmp_path / "lock", []
    pool = ThreadPoolExecutor(1)
    held = hold_lock(path, pytest.fail)
    pool.submit(held.__enter__).result()
    held.__exit__(None, None, None)
    first = hold_lock(path, pytest.fail)
    pool.submit(first.__enter__).result()

    def busy():
        said.append("busy")
        threading.Timer(0.05, first.__exit__, (None, None, None)).start()

    with hold_lock(path, busy):
        assert said == ["busy"]
        with pytest.raises(KeyError), hold_lock(path, lambda: {}["raised by busy"]):
            pytest.fail("two have one lock")
    pool.shutdown()
    with pytest.raises(ZeroDivisionError), hold_lock(path, pytest.fail):  # was given back
        1 / 0  # noqa: B018
    with hold_lock(path, pytest.fail):  # after an error, too
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EINVAL, errno.ENOTSUP], ids=errno.errorcode.get)
def test_where_no_locks_are_known_there_is_none(tmp_path, monkeypatch, number):
    fcntl = pytest.importorskip("fcntl")

    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with hold_lock(tmp_path / "lock", pytest.fail), hold_lock(tmp_path / "lock", pytest.fail):
        pass


def test_where_locks_are_not_implemented_there_is_none(tmp_path, monkeypatch):
    def acquire(*_, **__):
        raise NotImplementedError

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with hold_lock(tmp_path / "lock", pytest.fail):
        pass


def test_a_lock_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(OSError, match="Not a directory|File exists"),
        hold_lock(tmp_path / "file" / "lock", pytest.fail),
    ):
        pytest.fail("there is no lock")


def test_an_error_names_the_file_that_was_to_be_written(tmp_path):
    file = tmp_path / "none" / "report.html"
    with pytest.raises(FileNotFoundError) as failed, atomic_write(file) as partial:
        partial.write_text("x")
    assert str(failed.value) == f"[Errno 2] No such file or directory: {str(file)!r}"
