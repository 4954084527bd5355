"""Choose what shows the progress of a training that Python code starts."""

from __future__ import annotations

from collections.abc import Iterable

from pggan_tf import terminal
from pggan_tf.errors import UserError
from pggan_tf.training import cluster
from pggan_tf.training.machine import Machine


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
    from pggan_tf.training.callbacks import Callback, FunctionCallback, ProgressDisplay

    made = []
    for callback in callbacks:
        if not isinstance(callback, Callback) and (isinstance(callback, type) or not callable(callback)):
            raise UserError(f"callbacks: {callback!r} is neither a function nor an object of the class Callback.")
        made.append(callback if isinstance(callback, Callback) else FunctionCallback(callback))

    def display(log):
        if progress is not False and notebook.is_notebook():
            return notebook.NotebookDisplay(log)
        return ProgressDisplay(log, interactive=progress)

    found = cluster.find_cluster(None, None, 5.0)
    return Machine(found, None, _ignore if progress is False else print, display, tuple(made))
