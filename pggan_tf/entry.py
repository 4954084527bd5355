"""Run the command of `pggan`, `python train.py`, `python -m preprocessing.faces` and the others.

Imports next to nothing by itself, so that Ctrl-C and a terminal without UTF-8 are seen to before anything else happens.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import signal
import sys

_PLAIN = {
    "…": "...", "█": "#", "·": "-", "•": "-", "→": "->", "←": "<-", "×": "x", "−": "-", "–": "-", "—": "-", "±": "+-", "≥": ">=", "≤": "<=",
    "‘": "'", "’": "'", "“": '"', "”": '"', "‹": "<", "›": ">", "°": " deg", "µ": "u", "ß": "ss", "æ": "ae", "ø": "o", "ł": "l", "⁄": "/",
}  # fmt: skip


def plain(text: str) -> str:
    """Return the nearest ASCII of each character: 'é' -> 'e', '…' -> '...'; '?' where there is none."""
    if text.isascii():
        return text
    if text in _PLAIN:
        return _PLAIN[text]
    import unicodedata

    parts = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(_PLAIN.get(c, c if c.isascii() else "?") for c in parts)


def _spelled(error: UnicodeError) -> tuple[str, int]:
    text = error.object[error.start : error.end]
    with contextlib.suppress(UnicodeError):  # bytes of a file's name, which a locale without UTF-8 could not read
        text = text.encode("utf-8", "surrogateescape").decode("utf-8")
    return "".join(map(plain, text)), error.end


def _as_ascii(name: str) -> codecs.CodecInfo | None:
    """Return ASCII under another name.

    click takes a stream whose encoding is called 'ascii' for a misconfigured one, and writes UTF-8 into it.
    """
    if name != "plain_ascii":
        return None
    ascii = codecs.lookup("ascii")
    return codecs.CodecInfo(
        ascii.encode, ascii.decode, ascii.streamreader, ascii.streamwriter, ascii.incrementalencoder,
        ascii.incrementaldecoder, name="plain-ascii",
    )  # fmt: skip


def speak_plainly() -> None:
    """Let standard output and standard error write every character in some form, whatever their encoding is."""
    codecs.register_error("plain", _spelled)
    codecs.register(_as_ascii)
    for stream in (sys.stdout, sys.stderr):
        encoding = (getattr(stream, "encoding", None) or "").lower()
        if not hasattr(stream, "reconfigure") or (encoding.startswith("utf") and stream.errors != "strict"):
            continue
        stream.reconfigure(
            errors="plain", **({"encoding": "plain-ascii"} if codecs.lookup(encoding).name == "ascii" else {})
        )


# What a disk or a network may have got over by the next try.
_PASSING = (
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ECONNRESET, errno.EHOSTUNREACH,
)  # fmt: skip


def main(command, arguments: list[str] | None = None) -> int:
    """Run a click command; return the exit code. A mistake of the person at the keyboard is one line and a 2."""
    import click

    from pggan_tf.errors import Stopped, TryAgain, UserError, is_out_of_memory

    try:
        command.main(arguments, prog_name="pggan" if isinstance(command, click.Group) else None, standalone_mode=False)
        return 0
    except click.exceptions.Exit as exit:
        return exit.exit_code
    except click.ClickException as error:
        message = error.format_message()
        click.echo(f"error: {message}", err=True)
        return 2
    except click.Abort:
        click.echo("stopped by Ctrl-C", err=True)
        return 130
    except UserError as error:
        click.echo(f"error: {error}", err=True)
        return 75 if isinstance(error, TryAgain) else 2
    except OSError as error:
        click.echo(
            f"error: {error.filename or 'file'}: {error.strerror or error}. Check the disk and the rights, then try again.",
            err=True,
        )
        return 75 if error.errno in _PASSING else 2
    except Stopped as error:
        click.echo(str(error), err=True)
        return error.code
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        click.echo("error: out of memory. Give fewer or smaller images at a time, or a machine with more.", err=True)
        return 2


def run(command: str, arguments: list[str] | None = None) -> int:
    """Run a command in this process; return the exit code.

    Args:
        command: 'module:name' of a click command, which is imported here.
        arguments: words behind the command's name; by default those of the process.
    """
    interrupted = False

    def note(number, frame):
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else it is to be ignored
    if ours:
        signal.signal(signal.SIGINT, note)
        sys.unraisablehook = _again
    try:
        speak_plainly()
        import importlib

        module, _, name = command.partition(":")
        return main(getattr(importlib.import_module(module), name), arguments)
    except BaseException:
        if not interrupted:  # an import that is interrupted may end in an error of its own
            raise
        print("stopped by Ctrl-C", file=sys.stderr, flush=True)
        os._exit(130)  # what was imported in part may not survive being taken down
    finally:
        if ours:  # all is written: what is left to do is to end
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _again(error) -> None:
    """Raise a Ctrl-C a moment later that came where Python cannot raise it, as in a callback of an import."""
    if not isinstance(error.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(error)
        return
    import threading

    if os.name == "nt":  # where os.kill would end the process
        timer = threading.Timer(0.05, signal.raise_signal, (signal.SIGINT,))
    else:  # to the process, for a signal to this thread would not wake the first
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    timer.daemon = True
    timer.start()
