"""Tasks: the problems that a network can be trained for, one module each.

`TASKS` maps the values of --task to classes. To add a task of your own, register a subclass of
`Task` before the command line is parsed or a file is loaded: `TASKS["mine"] = Mine`.
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
    """Create the task that a config names, with the settings of the config.

    config: `pggan_tf.config.Config`, the value of every option of a run.
    """
    kind = TASKS[config.purpose.task]
    return kind(**{name: config.value(name) for name in kind.config_fields})


def task_of(network) -> Task:
    """Create the task that a generator was trained for.

    Only settings that change the generator are known; its `task` is only a name.
    """
    return TASKS[network.task].of_network(network)
