"""Run a command such as `pggan`, `python train.py` or `python -m preprocessing.faces`.

This module imports as little as possible, so that Ctrl-C and terminals without UTF-8 are handled
before anything else happens.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import sys

_PLAIN = {
    "…": "...", "█": "#", "·": "-", "•": "-", "→": "->", "←": "<-", "×": "x", "−": "-", "–": "-", "—": "-", "±": "+-", "≥": ">=", "≤": "<=",
    "‘": "'", "’": "'", "“": '"', "”": '"', "‹": "<", "›": ">", "°": " deg", "µ": "u", "ß": "ss", "æ": "ae", "ø": "o", "ł": "l", "⁄": "/",
}  # fmt: skip


def plain(text: str) -> str:
    """Return the text in ASCII: 'é' -> 'e', '…' -> '...'.

    Characters without an equivalent become '?'.
    """
    if text.isascii():
        return text
    if text in _PLAIN:
        return _PLAIN[text]
    import unicodedata

    parts = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(_PLAIN.get(c, c if c.isascii() else "?") for c in parts)


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """Return (ASCII form of the characters that cannot be encoded, position after them).

    This is an error handler for `codecs.register_error`.
    """
    text = error.object[error.start : error.end]
    with contextlib.suppress(UnicodeError):  # bytes of a file name that could not be decoded without UTF-8
        text = text.encode("utf-8", "surrogateescape").decode("utf-8")
    return "".join(map(plain, text)), error.end


def _as_ascii(name: str) -> codecs.CodecInfo | None:
    """Return the ASCII codec under the name 'plain-ascii', or None if `name` is not that name.

    click treats a stream whose encoding is called 'ascii' as misconfigured, and writes UTF-8 to it.
    """
    if name != "plain_ascii":
        return None
    ascii = codecs.lookup("ascii")
    return codecs.CodecInfo(
        ascii.encode, ascii.decode, ascii.streamreader, ascii.streamwriter, ascii.incrementalencoder,
        ascii.incrementaldecoder, name="plain-ascii",
    )  # fmt: skip


def speak_plainly() -> None:
    """Make standard output and standard error accept every character, whatever their encoding.

    Characters that cannot be encoded are written in ASCII, see `plain`.
    """
    codecs.register_error("plain", _spelled)
    codecs.register(_as_ascii)
    for stream in (sys.stdout, sys.stderr):
        encoding = (getattr(stream, "encoding", None) or "").lower()
        if not hasattr(stream, "reconfigure") or (encoding.startswith("utf") and stream.errors != "strict"):
            continue
        stream.reconfigure(
            errors="plain", **({"encoding": "plain-ascii"} if codecs.lookup(encoding).name == "ascii" else {})
        )


def main(command, arguments: list[str] | None = None) -> int:
    """Run a click command and return the exit code, 0 for success.

    For an error that the user can correct, print one line and return 2, or 75 if the same command
    may succeed later. Ctrl-C returns 130. Errors of the program itself are raised.

    Args:
        command: the click command or group of commands.
        arguments: command-line arguments without the program's name (default: those of the
            process).
    """
    import click

    from pggan_tf.errors import PASSING, Stopped, TryAgain, UserError, is_out_of_memory, make_printable

    try:
        command.main(arguments, prog_name="pggan" if isinstance(command, click.Group) else None, standalone_mode=False)
        return 0
    except click.exceptions.Exit as exit:
        return exit.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except click.ClickException as error:
        click.echo(f"error: {make_printable(error.format_message())}", err=True)
        return 2
    except click.Abort:
        click.echo("stopped by Ctrl-C", err=True)
        return 130
    except UserError as error:
        click.echo(f"error: {make_printable(error)}", err=True)
        return 75 if isinstance(error, TryAgain) else 2
    except OSError as error:
        click.echo(
            f"error: {make_printable(error.filename or 'file')}: {error.strerror or error}. Check the disk and the rights, then try again.",
            err=True,
        )
        return 75 if error.errno in PASSING else 2
    except Stopped as error:
        click.echo(make_printable(error), err=True)
        return error.code
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        click.echo("error: out of memory. Give fewer or smaller images at a time, or a machine with more.", err=True)
        return 2


def run(command: str, arguments: list[str] | None = None) -> int:
    """Run a command in this process and return the exit code.

    Args:
        command: a click command as 'module:name'; the module is imported here.
        arguments: command-line arguments without the program's name (default: those of the
            process).
    """
    interrupted = False

    def note(number, frame):
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else Ctrl-C is to be ignored
    if ours:
        signal.signal(signal.SIGINT, note)
        sys.unraisablehook = _again
    try:
        speak_plainly()
        import importlib

        module, _, name = command.partition(":")
        return main(getattr(importlib.import_module(module), name), arguments)
    except BaseException:
        if not interrupted:  # an interrupted import may raise another error than KeyboardInterrupt
            raise
        print("stopped by Ctrl-C", file=sys.stderr, flush=True)
        os._exit(130)  # a normal exit may crash if modules are only partly imported
    finally:
        if ours:  # all output is written: another Ctrl-C may end the process at once
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _again(error) -> None:
    """Send Ctrl-C again after 50 ms if Python could not raise KeyboardInterrupt where it arrived.

    That happens, for example, in a callback during an import. This is a `sys.unraisablehook`;
    `error` is its argument, which has the exception as `exc_value`.
    """
    if not isinstance(error.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(error)
        return
    import threading

    if os.name == "nt":  # on Windows os.kill would end the process
        timer = threading.Timer(0.05, signal.raise_signal, (signal.SIGINT,))
    else:  # signal the process: a signal to this thread would not wake the main thread
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    timer.daemon = True
    timer.start()
