"""The one exception that means: the person at the keyboard can mend this."""

import contextlib
import difflib
import errno
import shlex
import sys
from pathlib import Path


class UserError(Exception):
    """Says in one line what came, what was expected and what to do. The command line exits with 2."""


class TryAgain(UserError):
    """Nothing is wrong with what was asked for: the same command may work later. The command line exits with 75, EX_TEMPFAIL of
    sysexits.h, so that whatever started it can tell."""


class DamagedFile(UserError):
    """A file that this project wrote no longer holds what it held."""


class Unreadable(Exception):
    """Why an image cannot be used, in a few words. kind: what such reasons are counted under."""

    def __init__(self, why: str, kind: str = "unreadable"):
        super().__init__(why)
        self.kind = kind


class OutOfMemory(UserError):
    """What was asked for does not fit into the memory of the machine or of its GPU."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, NumPy or TensorFlow found no memory. A full disk, for which TensorFlow has the same error, is none of it."""
    if isinstance(error, MemoryError | OutOfMemory) or isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    tf = sys.modules.get("tensorflow")
    if tf is None or not isinstance(error, tf.errors.OpError) or "No space left" in str(error):
        return False
    # Compiled by XLA, it is an internal error of these words.
    return isinstance(error, tf.errors.ResourceExhaustedError) or "RESOURCE_EXHAUSTED" in str(error)


@contextlib.contextmanager
def memory_for(what: str, advice: str):
    """Turns an end of memory within into one line: out of memory while `what`, and what to give in its place. Of several around each
    other the outermost is heard, which knows what was typed."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"out of memory while {what}. {advice}") from error


class Stopped(Exception):
    """Work ended before it was done, in good order. code: what the process exits with."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


def nearest(name: str, known, count: int = 3) -> str:
    """'did you mean a or b?' for the entries of `known` that are spelled most like `name`, or all of them (the first 30)."""
    known = [str(k) for k in known]
    close = difflib.get_close_matches(str(name), known, n=count, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known are {', '.join(known[:30])}{', ...' if len(known) > 30 else '.'}"


def shell_path(path: str | Path) -> str:
    """Quote a path for a command that a message tells people to type: it may hold spaces."""
    return shlex.quote(str(path))
