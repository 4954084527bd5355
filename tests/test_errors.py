"""Errors that say what to do."""

import errno
import pickle

import pytest

from pggan_tf import errors
from pggan_tf.errors import OutOfMemory, Stopped, Unreadable, UserError, explain_out_of_memory, nearest


def test_an_end_of_memory_is_one_line_with_advice():
    for error in (MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory"), OutOfMemory("within")):
        with pytest.raises(OutOfMemory) as raised, explain_out_of_memory("a grid is drawn", "Give a smaller --grid."):
            raise error
        assert str(raised.value) == "out of memory while a grid is drawn. Give a smaller --grid."
        assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), UserError("no"), ValueError("no"), KeyboardInterrupt()],
    ids=repr,
)
def test_other_errors_are_no_end_of_memory(error):
    with pytest.raises(type(error)) as raised, explain_out_of_memory("a", "b"):
        raise error
    assert raised.value is error and not errors.is_out_of_memory(error)


def test_what_does_not_fail_is_left_alone():
    with explain_out_of_memory("a", "b"):
        pass


@pytest.mark.parametrize(
    "name, known, expected",
    [
        ("lancos", ["box", "lanczos", "area"], "did you mean lanczos?"),
        ("cat", ["cats", "cart", "chat", "bat", "dog"], "did you mean chat or cats or cart?"),
        ("wan", ["swan", "wxyz"], "did you mean swan?"),
        ("abcd", ["abxx"], "did you mean abxx?"),  # half of it is equal
        ("abcd", ["axxx"], "known are axxx."),
        (16, [4, 8, 116], "did you mean 116?"),
        ("x", ["b", "a"], "known are b, a."),
        ("x", [], "known are ."),
        ("x", range(10, 40), f"known are {', '.join(map(str, range(10, 40)))}."),
        ("x", range(10, 41), f"known are {', '.join(map(str, range(10, 40)))}, ..."),
    ],
)
def test_the_nearest_names_are_told(name, known, expected):
    assert nearest(name, known) == expected


def test_as_many_names_as_asked_for():
    assert nearest("cat", ["cats", "cart", "chat"], 1) == "did you mean chat?"


def test_errors_keep_what_they_were_given():
    plain, small = Unreadable("cut off"), Unreadable("4x4 pixels", "too small")
    assert (str(plain), plain.kind, str(small), small.kind) == ("cut off", "unreadable", "4x4 pixels", "too small")
    again = pickle.loads(pickle.dumps(small))  # as it comes from another process
    assert (str(again), again.kind) == ("4x4 pixels", "too small")
    stopped = Stopped("saved", 75)
    assert str(stopped) == "saved" and stopped.code == 75
