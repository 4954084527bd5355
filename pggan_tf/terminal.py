"""Write durations, show progress bars, and import TensorFlow without its messages."""

from __future__ import annotations

import contextlib
import os
import sys

from pggan_tf import signals
from pggan_tf.errors import UserError


def format_duration(seconds: float) -> str:
    """Format a duration, for example '45 s', '2.2 min', '60 min' or '2 h 02 min'."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 1000:
        return f"{seconds / 60:.1f} min"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


@contextlib.contextmanager
def silence_stderr():
    """Context manager that discards what its block writes to standard error, also from C++ code."""
    sys.stderr.flush()
    original, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(original, 2)
        os.close(original), os.close(nowhere)


def start_tensorflow() -> None:
    """Import TensorFlow without the messages that its C++ code prints.

    Raises UserError if Keras has been imported with another backend.
    """
    if (keras := sys.modules.get("keras")) and keras.backend.backend() != "tensorflow":
        raise UserError(
            f"Keras was imported with the backend {keras.backend.backend()}; pggan-tf needs tensorflow. "
            'Import pggan_tf first, or set KERAS_BACKEND to "tensorflow" before Keras is imported.'
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with signals.keep_interrupt(), silence_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()
        tf.get_logger().setLevel("ERROR")  # hide warnings that every phase traces its own step


@contextlib.contextmanager
def show_progress(what: str = "images", shown: bool = True):
    """Context manager that shows a progress bar during its block.

    It yields a function (done, total) that updates the bar. If standard error is not a terminal,
    this function does nothing.

    Args:
        what: label of the bar.
        shown: False shows no bar, whatever standard error is.
    """
    if not shown or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # By default rich measures over half a minute, in which there may be no two large photos.
    with Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=3600) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
