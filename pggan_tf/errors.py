"""Errors that the person at the keyboard can correct, and helpers for their messages."""

import contextlib
import difflib
import errno
import shlex
import sys
from pathlib import Path


class UserError(Exception):
    """Tell in one line what came, what was expected and what to do.

    The command line exits with 2.
    """


class TryAgain(UserError):
    """Tell that the same command may succeed later.

    The command line exits with 75, EX_TEMPFAIL of sysexits.h.
    """


class DamagedFile(UserError):
    """Tell that the content of a file that this project wrote is damaged."""


class Unreadable(Exception):
    """Tell in a few words why an image cannot be used.

    kind: the name under which such reasons are counted.
    """

    def __init__(self, why: str, kind: str = "unreadable"):
        super().__init__(why)
        self.kind = kind


class OutOfMemory(UserError):
    """Tell that a command needs more memory than the machine or its GPU has."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether Python, NumPy or TensorFlow ran out of memory.

    A full disk, for which TensorFlow has the same error, is not.
    """
    if isinstance(error, MemoryError | OutOfMemory) or isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    tf = sys.modules.get("tensorflow")
    if tf is None or not isinstance(error, tf.errors.OpError) or "No space left" in str(error):
        return False
    # Steps that XLA compiled raise an internal error with this word.
    return isinstance(error, tf.errors.ResourceExhaustedError) or "RESOURCE_EXHAUSTED" in str(error)


@contextlib.contextmanager
def explain_out_of_memory(what: str, advice: str):
    """Raise OutOfMemory if the block runs out of memory: 'out of memory while {what}. {advice}'.

    Where such blocks are nested, the message of the outermost one is shown: it knows what was
    typed.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"out of memory while {what}. {advice}") from error


class Stopped(Exception):
    """Tell why work ended in good order before it was done. code: exit code of the process."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


def nearest(name: str, known, count: int = 3) -> str:
    """Return 'did you mean a or b?' with the entries of `known` most like `name`.

    If none is alike, return a list of its first 30 entries.
    """
    known = [str(k) for k in known]
    close = difflib.get_close_matches(str(name), known, n=count, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known are {', '.join(known[:30])}{', ...' if len(known) > 30 else '.'}"


def shell_path(path: str | Path) -> str:
    """Quote a path for a command that a message tells people to type: it may hold spaces."""
    return shlex.quote(str(path))
