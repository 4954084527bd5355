"""Train a generator from Python."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pggan_tf.api import arguments, jobs, machines, sizing
from pggan_tf.api.runs import Run
from pggan_tf.config import Plan, parsing
from pggan_tf.training import requests

if TYPE_CHECKING:
    from pggan_tf.training.callbacks import Callback


def train(
    data=None,
    *,
    config: str | Path | None = None,
    runs: str | Path = "runs",
    folder: str | Path | None = None,
    progress: bool | None = None,
    callbacks: Iterable[Callback | Callable[[dict], object]] = (),
    **options,
) -> Run | tuple[Run, ...]:
    """Train a generator on photos.

    Args:
        data: folder of photos or shards, an archive, an array of images uint8 [N, H, W, C], or a
            list of them (default: drawn portraits).
        config: config.json of a run to repeat; `options` override it.
        runs: folder in which the run's folder is created.
        folder: the run's own folder. The run is started there, or resumed if it has begun.
        progress: False prints nothing (the log is in the run's folder); True shows a bar; None
            shows a bar on a terminal and in a notebook, and lines elsewhere.
        callbacks: functions that are called with each tick, a dict of numbers such as `images`,
            `seconds`, `resolution`, `loss_d` and `loss_g`. One that returns False ends the training
            after a checkpoint was written; so does one that raises an exception, which is raised
            here after everything was saved. Objects of the class Callback are called at more events.
        **options: options of training by their names, such as `target_res=64`, `minutes=20`,
            `shape="3:4"`, `recipe="pegasus"` or `batch={4: 64, 32: 16}`: all of `config.FIELDS`.

    Returns:
        The run; for a recipe of several parts, a tuple with the run of each part that was begun.

    Raises:
        UserError: if the options, the data or the machine do not allow it.
        Stopped: if Ctrl-C or a signal ended it early; everything is saved, and `Run.resume` goes
            on.
    """
    started = time.monotonic()
    chosen = arguments.parse_options({"data": data, **options})
    machine = machines.make_machine(progress, callbacks)
    # The working directory may change while it trains.
    own = os.path.abspath(arguments.expand(folder)) if folder else None
    parent = os.path.abspath(arguments.expand(runs))
    file = arguments.expand(config) if config else None
    job = jobs.make_job(chosen, machine, file, own, parent)
    with machines.end_by_callback(machine, job.trained):
        job.run(started)
    made = tuple(map(Run, job.trained))
    return made if job.several else made[0]


def plan(data=None, *, config: str | Path | None = None, **options) -> Plan | tuple[Plan, ...]:
    """Return what `train` would do with the same data, config and options, without training.

    Speeds are not measured; so with `minutes`, the numbers of images are those of a full training.

    Args:
        data: see `train`.
        config: see `train`.
        **options: see `train`.

    Returns:
        The plan, which is printed as a table of its phases; for a recipe of several parts, a tuple
        of plans.

    Raises:
        UserError: if the options do not go together.
    """
    chosen = parsing.split_size(requests.absolute(arguments.parse_options({"data": data, **options})))
    chosen = sizing.replace_auto_shape(chosen, lambda line: None)
    chosen = sizing.replace_auto_size(chosen, lambda line: None, from_recipe=config is None)
    chosen = sizing.replace_auto(chosen, lambda line: None, from_recipe=config is None)
    plans = requests.plans(chosen, arguments.expand(config) if config else None)
    return plans[0] if len(plans) == 1 else tuple(plans)
