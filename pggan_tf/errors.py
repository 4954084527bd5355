"""Errors that the user can correct, and helpers for their messages."""

import contextlib
import difflib
import errno
import re
import shlex
import sys
import unicodedata
from pathlib import Path

# Numbers of OSErrors of a disk or a network that may be gone at the next try.
PASSING = (
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ECONNRESET, errno.EHOSTUNREACH,
)  # fmt: skip


_DIRECTIONS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")  # characters that turn the writing


def hide_passwords(text: str) -> str:
    """Return a text in which URLs have no user and password: 'https://jane:key@host/' becomes 'https://host/'."""
    return re.sub(r"(://)[^\s/?#]*@", r"\1", text)


def hide_secrets(text: str) -> str:
    """Return a text in which URLs have no user, password, query and fragment.

    For example, 'https://jane:key@host/a.zip?sig=1' becomes 'https://host/a.zip'.
    """
    text = hide_passwords(text)
    # The last ? keeps the search from beginning again at every ://.
    return re.sub(r"(://[^\s?#]*)(?:[?#]\S*?(?=[,:.)'\"]*(?:\s|$)))?", r"\1", text)


def _is_control(character: str) -> bool:
    """Tell whether a character changes how a terminal shows those after it; lines and tabs do not count."""
    if character in "\n\t":
        return False
    return unicodedata.category(character) == "Cc" or unicodedata.bidirectional(character) in _DIRECTIONS


def make_printable(text: object) -> str:
    r"""Return a text as it may be shown on a terminal, without passwords of URLs.

    Names of files and classes come from others. Their control characters, which would move the
    cursor, change the window's title or turn the direction of writing, are written as escapes such
    as \x1b.
    """
    shown = (repr(c)[1:-1] if _is_control(c) else c for c in str(text))
    return hide_passwords("".join(shown))


class UserError(Exception):
    """Error that the user can correct; the message says what is wrong and what to do.

    The command line prints the message in one line and exits with 2.
    """

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows: the message, without the lines of code that raised it."""
        return [f"{type(self).__name__}: {self}"]


class TryAgain(UserError):
    """Error that may be gone if the same command is run again later.

    The command line exits with 75, EX_TEMPFAIL of sysexits.h.
    """


class DamagedFile(UserError):
    """Error for a damaged file that this project has written."""


class Unreadable(Exception):
    """Exception for an image that cannot be used.

    Args:
        why: the reason in a few words; the message of the exception.
        kind: category of the reason; left-out images are counted by category.
    """

    def __init__(self, why: str, kind: str = "unreadable"):
        super().__init__(why)
        self.kind = kind


class OutOfMemory(UserError):
    """Error for a command that needs more memory than the machine or its GPU has."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that Python, NumPy or TensorFlow ran out of memory.

    A full disk does not count, although TensorFlow raises the same error for it.
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
    """Context manager and decorator that raises OutOfMemory if its block runs out of memory.

    If such blocks are nested, the message of the outermost is shown, because it knows the options
    that the user typed.

    Args:
        what: what the block does, such as 'the networks are built'. The message begins with 'out of
            memory while {what}'.
        advice: what the user can do to need less memory, as a sentence that ends the message.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"out of memory while {what}. {advice}") from error


class Stopped(Exception):
    """Exception that ends a command early but cleanly, for example after Ctrl-C.

    Args:
        message: text for the user: why the command ended, and how to go on.
        code: exit code of the process; 0 if a callback of the user ended a training.
        folder: folder of the run whose training ended; None if there is no run.
    """

    def __init__(self, message: str, code: int, folder: Path | None = None):
        super().__init__(message)
        self.code, self.folder = code, folder

    def __reduce__(self):
        return type(self), (str(self), self.code, self.folder)  # it may come from another process

    _render_traceback_ = UserError._render_traceback_


def nearest(name: str, known, count: int = 3) -> str:
    """Return 'did you mean a or b?' with the entries of `known` that are most similar to `name`.

    If none is similar, return 'known are ...' with the first 30 entries.

    Args:
        name: the unknown name that the user gave.
        known: the valid names.
        count: maximum number of suggestions.
    """
    known = [str(k) for k in known]
    close = difflib.get_close_matches(str(name), known, n=count, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known are {', '.join(known[:30])}{', ...' if len(known) > 30 else '.'}"


def shell_path(path: str | Path) -> str:
    """Return a path as text to paste into a shell: in quotes if it contains spaces."""
    return shlex.quote(str(path))
