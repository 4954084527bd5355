"""Choose what shows the progress of a training that Python code starts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from pggan_tf import terminal
from pggan_tf.errors import Stopped, UserError
from pggan_tf.training import cluster
from pggan_tf.training.machine import Machine


@contextlib.contextmanager
def end_by_callback(machine: Machine, trained: list):
    """Context manager for a training that a callback may end, which is then no error.

    If a callback has raised an exception, raise it, after everything was saved.

    Args:
        machine: the machine of the training.
        trained: the run's folder is appended if a callback has ended its training.
    """
    try:
        yield
    except Stopped as stopped:
        if stopped.code or stopped.folder is None:
            raise
        trained.append(stopped.folder)
    for callback in machine.callbacks:
        if error := getattr(callback, "error", None):
            raise error


def _ignore(line: str) -> None:
    """Print nothing."""


def make_machine(progress: bool | None, callbacks: Iterable) -> Machine:
    """Return this machine with the display and the callbacks that the user wants.

    Args:
        progress: see `train`.
        callbacks: functions and Callback objects.

    Raises:
        UserError: if a callback can neither be called nor is a Callback.
    """
    terminal.start_tensorflow()
    from pggan_tf.training import notebook
    from pggan_tf.training.callbacks import Callback, FunctionCallback, GuardedCallback, ProgressDisplay

    made = []
    if callbacks is None or callable(callbacks) or isinstance(callbacks, Callback):
        callbacks = [] if callbacks is None else [callbacks]
    if not isinstance(callbacks, Iterable):
        raise UserError(f"callbacks: {callbacks!r} is no list of functions.")
    for callback in callbacks:
        if not isinstance(callback, Callback) and (isinstance(callback, type) or not callable(callback)):
            raise UserError(f"callbacks: {callback!r} is neither a function nor an object of the class Callback.")
        made.append(GuardedCallback(callback if isinstance(callback, Callback) else FunctionCallback(callback)))

    def display(log):
        if progress is not False and notebook.is_notebook():
            return notebook.NotebookDisplay(log)
        return ProgressDisplay(log, interactive=progress)

    found = cluster.find_cluster(None, None, 5.0)
    quiet = progress is False
    return Machine(found, None, _ignore if quiet else print, not quiet, display, tuple(made))
