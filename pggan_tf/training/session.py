"""Start runs: new runs, resumed runs, and runs that begin with another run's weights.

A new run's plan is completed first: speeds are measured if needed, and --minutes is turned into
numbers of images. With several machines (workers), the first one (the chief) writes the run's
folder and decides; the others train the same steps.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pggan_tf import schedule
from pggan_tf.config import Plan, as_typed, flag
from pggan_tf.data import pipeline
from pggan_tf.data.shards import Shards
from pggan_tf.errors import TryAgain, UserError, shell_path
from pggan_tf.runs import checkpoint, pretrained
from pggan_tf.runs import folder as runs
from pggan_tf.training import (
    distribution,
    execution,
    loop,
    planning,
    precision,
    recording,
    tracking,
    transfer,
)
from pggan_tf.training.cluster import Cluster
from pggan_tf.training.execution import Setting
from pggan_tf.training.machine import Machine
from pggan_tf.version import __version__

# Options that may differ when a run is resumed: none of them changes a weight by more than
# rounding.
FREE_ON_RESUME = (
    "strategy",
    "xla",
    "exact",
    "data",
    "keep_checkpoints",
    "checkpoint_minutes",
    "report",
    "init_from",
    "vgg_weights",
    "inception_weights",
    "log",
)
SHARED_SECONDS = 90.0  # maximum delay until other machines see a file in a mounted folder


@dataclass(frozen=True)
class Place:
    """Where to create a new run: in `folder`, or in a new folder inside `parent`."""

    folder: Path | None = None  # value of --run; None if it is not given
    parent: str = "runs"  # value of --runs

    def check(self) -> None:
        """Raise UserError if this place is not writable."""
        path = (self.folder or Path(self.parent)).absolute()
        while not path.exists():
            path = path.parent
        if not os.access(path, os.W_OK | os.X_OK):
            typed = f"--run {self.folder}" if self.folder else f"--runs {self.parent}"
            raise UserError(f"{typed}: cannot be written. Choose a folder you may write to.")


def _await(path: Path, cluster: Cluster) -> Path:
    """Wait for a file of the chief's, and return its path. Raises TryAgain after SHARED_SECONDS."""
    deadline = time.monotonic() + SHARED_SECONDS
    while not path.is_file():
        if time.monotonic() > deadline:
            raise TryAgain(
                f"{path}: {cluster.name(0)} has it, and it is not here. The run's folder has to lie where all machines see it."
            )
        time.sleep(0.5)
    return path


def start(
    plan: Plan,
    shards: Shards,
    place: Place,
    machine: Machine,
    *,
    dry_run: bool = False,
    started: float | None = None,
) -> Path | None:
    """Train a plan in a new run, or continue the run that has begun in the folder of `place`.

    Raises UserError if the run that has begun was started with other options.

    Args:
        plan: what to train.
        shards: the data.
        place: where the run's folder is or will be.
        machine: this machine and the others that train with it.
        dry_run: whether to only print the plan, without training.
        started: time.monotonic() at the start of the command, for --minutes (default: now).

    Returns:
        The run's folder; None for a dry run.
    """
    started = time.monotonic() if started is None else started
    folder, cluster = place.folder, machine.cluster
    with distribution.join_cluster(plan.config.running.strategy, cluster) as strategy:
        begun = folder is not None and not dry_run and (folder / runs.CONFIG).is_file()
        begun = cluster.all_gather(begun)[0]  # what the chief sees decides
        if folder is None or not begun:
            return _start(plan, shards, place, machine, strategy, dry_run, started)
        _await(folder / runs.CONFIG, cluster)
        theirs, environment = runs.read(folder)
        runs.check_same(folder, plan, environment, FREE_ON_RESUME)
        runs.check_data(folder, shards, environment)
        free = {name: plan.config.value(name) for name in FREE_ON_RESUME}
        _resume(folder, theirs.replace(**free), shards, environment["precision"], strategy, machine)
        return folder


def _start(
    plan: Plan, shards: Shards, place: Place, machine: Machine, strategy, dry_run: bool, started: float
) -> Path | None:
    """Train a plan in a new run, and return its folder; for the arguments, see `start`.

    strategy: the tf.distribute strategy.
    """
    asked, say, cluster = plan, machine.say, machine.cluster
    if cluster.chief:
        place.check()
    plan = _hold_out(plan, len(shards))
    setting = Setting(shards, strategy, precision.choose(plan.config, strategy.num_replicas_in_sync), cluster, say)
    fitted = distribution.fit_batch(plan, strategy)
    if plan.keeps_batches and fitted is not plan:
        say(
            f"{as_typed('batch', fitted.config.optimization.batch)}: raised, so that {setting.devices} devices can share them"
        )
    plan = fitted
    distribution.check_devices(plan, setting.devices, setting.arithmetic, say)
    _agree(plan, setting)
    measuring = recording.make_metric_callback(plan, machine)
    plan, gan = transfer.build(plan, setting)
    programs = execution.Programs(gan, setting)
    plan, measured = planning.finish_plan(plan, programs, measuring, started)
    if dry_run:
        say(json.dumps(plan.to_json(), indent=1))
    minutes = asked.config.schedule.minutes
    weights = pretrained.describe_weights(asked) if cluster.chief else ()
    for line in [*plan.too_long(), *(plan.describe_blurs(minutes) if minutes else ()), *weights]:
        say(line)
    classes = len(shards.manifest.classes) if plan.config.networks.conditional else 0
    say(plan.describe(measured.speeds, setting.devices, setting.arithmetic.half, classes))
    if measured.metrics:
        say(f"and {plan.metrics_seconds(measured.metrics) / 60:.1f} minutes for the metrics")
    if dry_run:
        return None
    folder = _make_folder(plan, place, cluster)
    cluster.set_folder(folder)
    if not cluster.chief:
        say(f"worker {cluster.index} of {len(cluster.addresses)} trains; the chief writes {folder}")
        loop.Run(plan, programs, folder, measured.speeds).train()
        return folder
    with runs.lock(folder):
        log = _begin(folder, plan, asked, setting)
        log(_expected(plan, measured, setting, bool(measuring), asked.config.schedule.minutes))
        for note in measured.notes:
            runs.Log(folder, lambda line: None)(note)  # the terminal has shown it
        log(gan.describe_update(plan.phases[0].resolution))
        if plan.task.from_images:
            log("in grids, three by three: what is given, what is made of it, the original")
        setting = dataclasses.replace(setting, say=log)
        callbacks = [*recording.default_callbacks(plan, log, measuring, machine.display), *machine.callbacks]
        programs.setting = setting
        loop.Run(plan, programs, folder, measured.speeds, callbacks).train()
    return folder


def _hold_out(plan: Plan, count: int) -> Plan:
    """Return a plan that holds no photos out if they would be too few to tell anything.

    That is only so if nobody asked for it, and for --task generate, whose metrics do without.

    count: number of photos.
    """
    few = plan.config.images.held_out * count < pipeline.LEAST_HELD_OUT
    return plan.replace(held_out=0.0) if few and not plan.task.from_images and "held_out" not in plan.asked else plan


def _agree(plan: Plan, setting: Setting) -> None:
    """Raise UserError unless all machines were started with the same options, data and version.

    Args:
        plan: the plan of this machine.
        setting: its data and connection to the others.
    """
    options = {flag(name): value for name, value in plan.config.values().items() if name not in planning.PLACES}
    checksum = setting.shards.manifest.checksum
    setting.cluster.agree(**{"pggan-tf": __version__}, **options, policy=setting.arithmetic.policy, checksum=checksum)


def _make_folder(plan: Plan, place: Place, cluster: Cluster) -> Path:
    """Create the run's folder and return its path, which is the same on all machines.

    The name of a new folder in `place.parent` follows from the plan.
    """
    folder = place.folder
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    elif cluster.chief:
        folder = runs.create(place.parent, runs.make_name(plan.config.recipe, plan.config.images.data, plan.size))
    return Path(cluster.all_gather(str(folder))[0])


def _begin(folder: Path, plan: Plan, asked: Plan, setting: Setting) -> runs.Log:
    """Write config.json and environment.json of a new run and return its log.

    Args:
        folder: the run's folder.
        plan: the plan to train.
        asked: the plan that was requested, before --minutes was turned into numbers of images.
        setting: data, devices and machines.
    """
    environment = {
        **runs.environment(plan.config, setting.shards, setting.arithmetic.policy),
        "exact": setting.arithmetic.exact,
        "planned_for_minutes": asked.config.schedule.minutes,
        "asked": asked.to_json(),
    }
    runs.begin(folder, plan, environment)
    log = runs.Log(folder, setting.say)
    log(f"run {folder}")
    return log


def _expected(plan: Plan, measured: planning.Measured, setting: Setting, measuring: bool, minutes: float | None) -> str:
    """Return a message about the number of images to train on and, if measured, the expected time.

    Args:
        plan: the plan.
        measured: speeds of its parts.
        setting: data, devices and machines.
        measuring: whether metrics are computed during training.
        minutes: --minutes, of which the training is a part; None: not given.
    """
    text = f"{len(setting.shards):,} images, {plan.phases[-1].end:,} to be seen"
    if not measured.speeds:
        return text
    seconds = sum(schedule.expected_seconds(p, measured.speeds) for p in plan.phases)
    seconds += plan.metrics_seconds(measured.metrics)
    text += f"; the full schedule should take {seconds / 60:.1f} minutes on this machine"
    if minutes:
        text += f", of the {minutes:g}; the rest is for preparing, measuring, building and pictures"
    return text + (", and the metrics besides" if measuring and not measured.metrics else "")


def resume(
    folder: str, shards_for: Callable[[Plan, dict], Shards], changes: Mapping, machine: Machine | None = None
) -> Path:
    """Continue a run exactly from its newest good checkpoint.

    Args:
        folder: the run's folder.
        shards_for: function (plan, content of environment.json) -> data of the run. The data may be
            in another folder than before, but must have the same checksum.
        changes: {option: value} given with --resume; only FREE_ON_RESUME may differ.
        machine: this machine and the others that train with it (default: this one alone).

    Returns:
        The run's folder.

    Raises:
        UserError: if an option or the data differs from the run's.
    """
    machine, path = machine or Machine(), Path(folder)
    plan, environment = runs.read(path)
    runs.refuse_changes(path, plan, environment, changes, FREE_ON_RESUME)
    plan = plan.replace(**{k: v for k, v in changes.items() if k in FREE_ON_RESUME})
    tracking.check(plan.config.running.log)
    shards = shards_for(plan, environment)
    runs.check_data(path, shards, environment)
    with distribution.join_cluster(plan.config.running.strategy, machine.cluster) as strategy:
        _resume(path, plan, shards, environment["precision"], strategy, machine)
    return path


def _resume(folder: Path, plan: Plan, shards: Shards, policy: str, strategy, machine: Machine) -> None:
    """Continue the run in a folder to the end of `plan`; see `resume`.

    Args:
        folder: the run's folder.
        plan: the run's plan.
        shards: its data.
        policy: its Keras dtype policy.
        strategy: the tf.distribute strategy.
        machine: this machine and the others that train with it.
    """
    cluster, say, devices = machine.cluster, machine.say, strategy.num_replicas_in_sync
    cluster.set_folder(folder)
    cluster.agree(**{"pggan-tf": __version__})
    arithmetic = precision.choose(plan.config, devices, policy)
    distribution.check_devices(plan, devices, arithmetic, say)
    measuring = recording.make_metric_callback(plan, machine)
    log = runs.Log(folder, say) if cluster.chief else say
    with runs.lock(folder) if cluster.chief else contextlib.nullcontext():
        with strategy.scope():
            gan = execution.build(plan, policy, shards.manifest.classes)
        callbacks = []
        if cluster.chief:
            callbacks = [*recording.default_callbacks(plan, log, measuring, machine.display), *machine.callbacks]
        programs = execution.Programs(gan, Setting(shards, strategy, arithmetic, cluster, log))
        run = loop.Run(plan, programs, folder, callbacks=callbacks)
        _restore(run, folder, log)
        if run.finished or run.images_seen >= plan.phases[-1].end:
            log(_explain_end(folder, run.images_seen))
        else:
            log(f"resuming {folder} at {run.images_seen:,} of {plan.phases[-1].end:,} images")
            log(gan.describe_update(run.phase.resolution))
        run.train()  # of a run that has ended it writes what is missing, such as generator.keras


def _explain_end(folder: Path, images_seen: int) -> str:
    """Return a message about a run that has ended, and what to type to learn longer.

    Args:
        folder: the run's folder.
        images_seen: number of images that it has seen.
    """
    run, config = shell_path(folder), shell_path(folder / runs.CONFIG)
    return (
        f"{folder} has ended after {images_seen:,} images: nothing is left to train. To learn longer from its weights: "
        f"pggan train --config {config} --init-from {run} --minutes 60"
    )


def _restore(run: loop.Run, folder: Path, log) -> None:
    """Set the state of a run to that of the chief's newest checkpoint.

    If it has none, load the weights of --init-from, if that is given.

    Args:
        run: the run.
        folder: its folder.
        log: called with messages.
    """
    cluster, init_from = run.cluster, run.config.optimization.init_from
    found: tuple[Mapping[str, np.ndarray], dict] | None = None
    if cluster.chief and checkpoint.list_checkpoints(folder):
        found = checkpoint.read_newest(folder, log)
    images = cluster.all_gather(found and found[1]["images_seen"])[0]
    if images is not None:
        if found:
            checkpoint.clean_up(folder)
            runs.tidy(folder)
        else:
            found = checkpoint.read(_await(checkpoint.path_for(folder, images), cluster))
        run.restore(*found)
    elif init_from:
        run.gan.load_weights(transfer.read_weights(Path(init_from), log)[0], init_from)
    if cluster.chief:
        runs.truncate_stats(folder, run.images_seen)
