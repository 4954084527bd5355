"""What commands show while they work."""

from __future__ import annotations

import contextlib
import os
import sys

from pggan_tf import signals


@contextlib.contextmanager
def silent():
    """Lines that C++ parts write to the terminal, past any log level, go nowhere."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept), os.close(nowhere)


def start_tensorflow() -> None:
    """Imports TensorFlow without the lines that its C++ parts write before any log level is heard."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with signals.undivided(), silent():
        import tensorflow as tf

        tf.config.list_physical_devices()
        tf.get_logger().setLevel("ERROR")  # every phase traces its own step, which TensorFlow takes for a mistake


@contextlib.contextmanager
def progress(what: str = "images"):
    """A bar for (done, total) on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
