"""Tasks: what networks learn. One module for each; `TASKS` is what --task offers.

A task of your own: `TASKS["mine"] = Mine`, a subclass of `Task`, before the command line or a file
is read.
"""

from __future__ import annotations

from pggan_tf.tasks.base import Card, Page, Task
from pggan_tf.tasks.colorize import Colorize
from pggan_tf.tasks.generate import Generate
from pggan_tf.tasks.recolor import Recolor
from pggan_tf.tasks.translate import Translate
from pggan_tf.tasks.upscale import Upscale

__all__ = [
    "TASKS",
    "Card",
    "Colorize",
    "Generate",
    "Page",
    "Recolor",
    "Task",
    "Translate",
    "Upscale",
    "from_config",
    "task_of",
]

TASKS: dict[str, type[Task]] = {
    "generate": Generate,
    "colorize": Colorize,
    "recolor": Recolor,
    "upscale": Upscale,
    "translate": Translate,
}


def from_config(config) -> Task:
    """Return the task of a config, with its settings."""
    kind = TASKS[config.purpose.task]
    return kind(**{name: config.value(name) for name in kind.config_fields})


def task_of(network) -> Task:
    """Return the task of a generator, with default settings: those of training are unknown."""
    return TASKS[network.task]()
