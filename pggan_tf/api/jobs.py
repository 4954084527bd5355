"""Prepare data and train what one call of `pggan.train` or `pggan train` asks for.

A run is one training; its folder holds the config (all options), checkpoints and results. A plan
(`config.Plan`) is a run's config with everything that follows from it, such as the number of steps.
The training data is stored as shards (`data.shards.Shards`): files of squares that were cut out of
the photos, or of rectangles, in every resolution of the training.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pggan_tf import terminal
from pggan_tf.api import sizing
from pggan_tf.config import Plan, parsing
from pggan_tf.errors import DamagedFile, Stopped, UserError, shell_path
from pggan_tf.runs import keras_files, pretrained
from pggan_tf.training import requests
from pggan_tf.training.machine import Machine


def prepare_data(plan: Plan, machine: Machine, check_only: bool = False):
    """Return the `Shards` that a plan is trained on, and prepare them first if necessary.

    Args:
        plan: the plan of a run.
        machine: this machine, with its folder for prepared data.
        check_only: only raise errors that can be found without preparing the data, and return None.

    Raises:
        UserError: if the data cannot be used.
        Stopped: if the user interrupted the preparation; the same call continues it.
    """
    from preprocessing import cache as cached

    with terminal.show_progress(shown=machine.bars) as progress:
        return cached.open_shards(
            *_select_data(plan, machine),
            say=machine.say,
            progress=progress,
            check_classes=plan.network_options,
            check_only=check_only,
        )


def _select_data(plan: Plan, machine: Machine) -> tuple:
    """Return the first three arguments of `cache.open_shards` for a plan: images, cache and squares."""
    from preprocessing import cache as cached

    images = plan.config.images
    squares = cached.Squares(
        plan.target_res,
        plan.resolutions,
        images.filter,
        plan.data_channels,
        images.crop,
        "upscale" if images.upscale_small else "drop",
        plan.aspect,
    )
    return cached.Selection.of(images.data, count=images.portraits), machine.cache, squares


def _data_of_begun(
    folder: Path, plan: Plan, environment: dict, machine: Machine, moved: bool, check_only: bool = False
):
    """Return the `Shards` of a run that is resumed.

    The shards of the run are used if they still exist with the same checksum, even if the photos
    that they were made from have changed since; a line says so. Otherwise the data is prepared again.

    Args:
        folder: the run's folder.
        plan: the plan of the run.
        environment: content of the run's environment.json, which names its shards.
        machine: this machine, with its folder for prepared data.
        moved: whether the user has given a new location of the data.
        check_only: only check data that would have to be prepared again, and return None.
    """
    from pggan_tf.data import shards

    known = environment["dataset"]
    if not moved and known["folder"] and shards.is_shards(known["folder"]):
        try:
            stored = shards.Shards(known["folder"])
        except DamagedFile:
            stored = None
        if stored and stored.manifest.checksum == known["checksum"]:
            _tell_of_change(folder, plan, stored, machine)
            return stored
    data = plan.config.images.data or ()
    places = [place for place in ((data,) if isinstance(data, str) else data) if os.path.isabs(place)]
    if gone := None if moved else next((place for place in places if not os.path.exists(place)), None):
        raise UserError(
            f"{gone}: is gone, and so is what was prepared from it. If it has moved, give --data and its new place."
        )
    return prepare_data(plan, machine, check_only)


def _tell_of_change(folder: Path, plan: Plan, stored, machine: Machine) -> None:
    """Print a line if the photos of a run have changed since it began.

    Args:
        folder: the run's folder.
        plan: the plan of the run.
        stored: its `Shards`, with which it goes on, because another order of images would be another run.
        machine: this machine and the others that train with it.
    """
    from preprocessing import cache as cached

    images, cache, squares = _select_data(plan, machine)
    if machine.cluster.chief and cached.have_changed(images, cache, squares, stored.folder):
        machine.say(
            f"{stored.manifest.source}: names, sizes or times of its photos have changed since; the run goes on with the "
            f"{len(stored)} images that it began with. To train on those of now, start a new run with --init-from {shell_path(folder)}."
        )


def _remove_empty(folders: list[Path]) -> None:
    """Remove the new folders of a run that ended with an error before anything was written.

    folders: the run's folder and the parents that were created for it, innermost first. Removal
        ends at the first folder that is not empty.
    """
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def resume(folder: str | Path, options: Mapping, machine: Machine) -> Path:
    """Resume the run in `folder`, and return it.

    Args:
        folder: the run's folder.
        options: {option: value} that the user gave; only some options may change in a run.
        machine: this machine and the others that train with it.
    """
    options = parsing.split_size(requests.absolute(options))
    terminal.start_tensorflow()
    from pggan_tf.training import session

    def data(plan: Plan, environment: dict):
        return _data_of_begun(Path(folder), plan, environment, machine, moved="data" in options)

    return session.resume(str(folder), data, options, machine)


def make_job(
    options: Mapping,
    machine: Machine,
    config_file: str | None = None,
    own_folder: str | Path | None = None,
    parent: str | Path = "runs",
    dry_run: bool = False,
) -> Job:
    """Return the job that trains what the user asks for.

    Args:
        options: {option: value} that the user gave.
        machine: this machine and the others that train with it.
        config_file: path of the config.json of a run to repeat; or None.
        own_folder: folder of the run, which is continued if it has begun; None: a new one.
        parent: folder in which a new folder is created.
        dry_run: whether to only print the plans.

    Raises:
        UserError: if the options do not go together.
    """
    own = Path(own_folder) if own_folder else None
    alone, from_recipe = not machine.cluster.addresses, config_file is None
    options = parsing.split_size(requests.absolute(options))
    options = sizing.replace_auto_shape(options, machine.say, own)
    options = sizing.replace_auto_size(options, machine.say, own, alone, from_recipe)
    options = sizing.replace_auto(options, machine.say, own, alone, from_recipe)
    plans = requests.plans(options, config_file, machine.cache, own)
    if len(plans) > 1 and machine.cluster.addresses:
        each = " and ".join(f"--recipe {plan.config.recipe}" for plan in plans)
        raise UserError(
            f"--recipe {options['recipe']} trains one run after the other: on several machines give {each}."
        )
    return Job(options.get("recipe", ""), plans, own, str(parent), machine, dry_run)


@dataclass
class Job:
    """The runs that one call trains, one after the other.

    There are several if the recipe is a pipeline, such as a generator and then a network that
    enlarges its images.
    """

    recipe: str  # --recipe, as the user typed it
    plans: list[Plan]
    own: Path | None  # folder of --run; with several runs, each has a folder inside it
    parent: str  # folder of --runs, in which the folders of runs are created
    machine: Machine  # this machine and the others that train with it
    dry_run: bool = False
    trained: list[Path] = field(default_factory=list)  # folders of the runs that `run` has trained

    @property
    def several(self) -> bool:
        """Whether there is more than one run."""
        return len(self.plans) > 1

    def run(self, started: float) -> None:
        """Train the runs, or print their plans for --dry-run.

        If the training ends before anything of a run was written, its new folder is removed.

        started: value of time.monotonic() when the command began, from which --minutes counts.
        """
        with contextlib.ExitStack() as stack:
            self._run(started, stack)

    def _run(self, started: float, stack: contextlib.ExitStack) -> None:
        """Train the runs; see `run`. `stack` removes new folders that remain empty."""
        say = self.machine.say
        folders = [self.own and self.own / p.config.recipe if self.several else self.own for p in self.plans]
        running = [(p.config.schedule.minutes, p.config.optimization.init_from) for p in self.plans]
        by_arithmetic = self.dry_run and not any(value is not None for pair in running for value in pair)
        by_arithmetic = by_arithmetic and not any(p.config.running.probe for p in self.plans)
        # Check the data of all runs first: a mistake in the second one's must not be found after hours
        # of training the first.
        data = [self._find_data(p, f, by_arithmetic, stack) for p, f in zip(self.plans, folders)]
        if self.several and not self.own and not self.dry_run:
            folders = self._make_folders()
        for i, (plan, shards) in enumerate(zip(self.plans, data)):
            if self.several:
                say(f"{plan.config.recipe}, {plan.size} px")
            if by_arithmetic:
                say(json.dumps(plan.to_json(), indent=1))
                folder = folders[i]
                begun = folder is not None and keras_files.is_run(folder)
                weights = [] if begun else pretrained.describe_weights(plan)
                from pggan_tf.training import precision

                half = precision.guess_half(plan.config.running.precision)
                say("\n".join([*plan.too_long(), plan.describe(half=half), *weights]))
                continue
            if trained := self._train(plan, shards, folders[i], started):
                folders[i] = trained
                self.trained.append(trained)
                say(str(trained))
            if any(getattr(callback, "error", None) for callback in self.machine.callbacks):
                return  # who has called this raises it
            started = time.monotonic()
        if self.several and not self.dry_run:
            say(f"to use them together: pggan generate {folders[0]} --upscale {folders[1]} --grid faces.png")

    def _find_data(self, plan: Plan, folder: Path | None, check_only: bool, stack: contextlib.ExitStack):
        """Return the `Shards` of a run that is to be started or continued in `folder`.

        Also check options and create the folder, so that errors occur before the training.

        Args:
            plan: the plan of the run.
            folder: the run's own folder; None: it is created later.
            check_only: only check the data; the result may then be None.
            stack: removes the folder at its end if nothing was written.

        Raises:
            UserError: if the run cannot be trained as requested.
        """
        from pggan_tf.runs import folder as runs
        from pggan_tf.training import tracking

        tracking.check(plan.config.running.log)
        if folder and (folder / runs.CONFIG).is_file():
            environment = runs.read(folder)[1]
            return _data_of_begun(folder, plan, environment, self.machine, moved=False, check_only=check_only)
        if folder and not self.dry_run:
            new = [place for place in (folder, *folder.parents) if not place.exists()]
            stack.callback(_remove_empty, new)
            runs.reserve_folder(folder)
        return prepare_data(plan, self.machine, check_only)

    def _make_folders(self) -> list[Path | None]:
        """Create a folder for several runs; return the path of each run's own folder inside it."""
        from pggan_tf.runs import folder as runs

        last = self.plans[-1]
        self.own = runs.create(self.parent, runs.make_name(self.recipe, last.config.images.data, last.size))
        return [self.own / plan.config.recipe for plan in self.plans]

    def _train(self, plan: Plan, shards, folder: Path | None, started: float) -> Path | None:
        """Train one run and return its folder, or None for a dry run.

        Args:
            plan: the plan of the run.
            shards: its training data.
            folder: the run's folder; None: a new one inside `parent`.
            started: value of time.monotonic() from which --minutes counts.

        Raises:
            Stopped: if training was interrupted; the message says how to continue.
        """
        terminal.start_tensorflow()
        from pggan_tf.training import session

        place = session.Place(folder, self.parent)
        try:
            return session.start(plan, shards, place, self.machine, dry_run=self.dry_run, started=started)
        except Stopped as stopped:
            if not self.several:
                raise
            raise Stopped(
                f"{stopped} (to go on with all {len(self.plans)} runs: the same command, --run {shell_path(self.own or '')})",
                stopped.code,
                stopped.folder,
            ) from None
