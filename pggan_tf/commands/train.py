"""`pggan train`: train a generator on photos; repeat, resume and fine-tune runs.

A run is one training; its folder holds the config (all options), checkpoints and results. A plan
(`config.Plan`) is a run's config with everything that follows from it, such as the number of steps.
The training data is stored as shards (`data.shards.Shards`): files of squares that were cut out of
the photos, in every resolution of the training.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pggan_tf import schedule, terminal
from pggan_tf.commands.options import GroupedHelp, config_options, help_all
from pggan_tf.config import Plan
from pggan_tf.errors import DamagedFile, Stopped, UserError, shell_path

if TYPE_CHECKING:
    from pggan_tf.training.cluster import Cluster


def prepare_data(plan: Plan, cache: str | None, check_only: bool = False):
    """Return the `Shards` that a plan is trained on, and prepare them first if necessary.

    Args:
        plan: the plan of a run.
        cache: folder for prepared data; None: the default one.
        check_only: only raise errors that can be found without preparing the data, and return None.

    Raises:
        UserError: if the data cannot be used.
        Stopped: if the user interrupted the preparation; the same call continues it.
    """
    from preprocessing import cache as cached

    images = plan.config.images
    squares = cached.Squares(
        plan.target_res,
        plan.resolutions,
        images.filter,
        plan.data_channels,
        images.crop,
        "upscale" if images.upscale_small else "drop",
    )
    with terminal.show_progress() as progress:
        return cached.open_shards(
            cached.Selection.of(images.data, count=images.portraits),
            cache,
            squares,
            say=click.echo,
            progress=progress,
            check_classes=plan.network_options,
            check_only=check_only,
        )


def _data_of_begun(plan: Plan, environment: dict, cache: str | None, moved: bool, check_only: bool = False):
    """Return the `Shards` of a run that is resumed.

    The shards of the run are used if they still exist with the same checksum, even if the photos
    that they were made from have changed since. Otherwise the data is prepared again.

    Args:
        plan: the plan of the run.
        environment: content of the run's environment.json, which names its shards.
        cache: folder for prepared data; None: the default one.
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
            return stored
    return prepare_data(plan, cache, check_only)


def _data(plan: Plan, folder: Path | None, cache: str | None, dry_run: bool, check_only: bool):
    """Return the `Shards` of a run that is to be started or continued in `folder`.

    Also check options and create the folder, so that errors occur before the training. If the
    folder is still empty when the command ends, it is removed.

    Args:
        plan: the plan of the run.
        folder: the run's own folder; None: it is created later.
        cache: folder for prepared data; None: the default one.
        dry_run: whether nothing will be trained; if so, no folder is created.
        check_only: only check the data; the result may then be None.

    Raises:
        UserError: if the run cannot be trained as requested.
    """
    from pggan_tf.runs import folder as runs
    from pggan_tf.training import tracking

    tracking.check(plan.config.running.log)
    if folder and (folder / runs.CONFIG).is_file():
        return _data_of_begun(plan, runs.read(folder)[1], cache, moved=False, check_only=check_only)
    if folder and not dry_run:
        new = [place for place in (folder, *folder.parents) if not place.exists()]
        click.get_current_context().call_on_close(lambda: _remove_empty(new))
        runs.reserve_folder(folder)
    return prepare_data(plan, cache, check_only)


def _remove_empty(folders: list[Path]) -> None:
    """Remove the new folders of a run that ended with an error before anything was written.

    folders: the run's folder and the parents that were created for it, innermost first. Removal
        ends at the first folder that is not empty.
    """
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


@click.command("train", cls=GroupedHelp)
@config_options
@click.option("--config", "config_file", help="config.json of a run to repeat; other options override it")
@click.option("--resume", help="folder of a run to resume exactly where it stopped")
@click.option("--runs", help="folder in which the run's folder is created  [runs]")
@click.option(
    "--run",
    "own_folder",
    help="the run's own folder: the run is started there, or resumed if it exists; for jobs that may be restarted",
)
@click.option("--cache", help="folder for prepared data  [$PGGAN_CACHE, else ~/.cache/pggan-tf]")
@click.option("--dry-run", is_flag=True, help="print the whole config and the plan without training")
@click.option(
    "--workers", help="host:port of every machine that trains, separated by commas, the same on all; or set TF_CONFIG"
)
@click.option("--worker-index", type=int, help="index of this machine in --workers, from 0; machine 0 writes the run")
@click.option(
    "--worker-timeout",
    type=click.FloatRange(0.01),
    default=5.0,
    show_default=True,
    help="minutes to wait for the other machines",
)
@help_all
def command(config_file, resume, runs, own_folder, cache, dry_run, workers, worker_index, worker_timeout, **options):
    """Train a generator on --data, or on drawn portraits."""
    started = time.monotonic()
    from pggan_tf.training import cluster as clusters
    from pggan_tf.training import requests

    cluster = clusters.find_cluster(workers, worker_index, worker_timeout)
    options = requests.absolute({k: v for k, v in options.items() if v is not None})
    if own_folder and (resume or runs):
        raise UserError(f"--run and {'--resume' if resume else '--runs'}: give one of them.")
    if resume:
        if config_file or dry_run:
            raise UserError("--resume goes with neither --config nor --dry-run: a run goes on with its own config.")
        _resume(resume, options, cache, cluster)
        return
    own = Path(own_folder) if own_folder else None
    plans = requests.plans(options, config_file, cache, own)
    if len(plans) > 1 and cluster.addresses:
        each = " and ".join(f"--recipe {plan.config.recipe}" for plan in plans)
        raise UserError(
            f"--recipe {options['recipe']} trains one run after the other: on several machines give {each}."
        )
    job = Job(options.get("recipe", ""), plans, own, runs or "runs", cache, cluster, dry_run)
    job.run(started)


def _resume(folder: str, options: dict, cache: str | None, cluster) -> None:
    """Resume the run in `folder` and print its folder at the end.

    Args:
        folder: the run's folder.
        options: {option: value} that the user gave; only some options may change in a run.
        cache: folder for prepared data; None: the default one.
        cluster: `training.cluster.Cluster`, the machines that train together.
    """
    terminal.start_tensorflow()
    from pggan_tf.training import session

    def data(plan: Plan, environment: dict):
        return _data_of_begun(plan, environment, cache, moved="data" in options)

    click.echo(session.resume(folder, data, options, session.Machine(cluster, cache, click.echo)))


@dataclasses.dataclass
class Job:
    """The runs that one command trains, one after the other.

    There are several if the recipe is a pipeline, such as a generator and then a network that
    enlarges its images.
    """

    recipe: str  # --recipe, as the user typed it
    plans: list[Plan]
    own: Path | None  # folder of --run; with several runs, each has a folder inside it
    parent: str  # folder of --runs, in which the folders of runs are created
    cache: str | None  # folder for prepared data; None: the default one
    cluster: Cluster  # the machines that train together
    dry_run: bool

    @property
    def several(self) -> bool:
        """Whether there is more than one run."""
        return len(self.plans) > 1

    def run(self, started: float) -> None:
        """Train the runs, or print their plans for --dry-run.

        started: value of time.monotonic() when the command began, from which --minutes counts.
        """
        folders = [self.own and self.own / p.config.recipe if self.several else self.own for p in self.plans]
        running = [(p.config.schedule.minutes, p.config.optimization.init_from) for p in self.plans]
        by_arithmetic = self.dry_run and not any(value is not None for pair in running for value in pair)
        by_arithmetic = by_arithmetic and not any(p.config.running.probe for p in self.plans)
        # Check the data of all runs first: a mistake in the second one's must not be found after hours
        # of training the first.
        data = [_data(p, f, self.cache, self.dry_run, by_arithmetic) for p, f in zip(self.plans, folders)]
        if self.several and not self.own and not self.dry_run:
            folders = self._make_folders()
        for i, (plan, shards) in enumerate(zip(self.plans, data)):
            if self.several:
                click.echo(f"{plan.config.recipe}, {plan.target_res} px")
            if by_arithmetic:
                click.echo(json.dumps(plan.to_json(), indent=1))
                click.echo("\n".join([*plan.too_long(), schedule.as_table(plan.phases)]))
                continue
            folders[i] = self._train(plan, shards, folders[i], started)
            if folders[i]:
                click.echo(folders[i])
            started = time.monotonic()
        if self.several and not self.dry_run:
            click.echo(f"to use them together: pggan generate {folders[0]} --upscale {folders[1]} --grid faces.png")

    def _make_folders(self) -> list[Path | None]:
        """Create a folder for several runs; return the path of each run's own folder inside it."""
        from pggan_tf.runs import folder as runs

        last = self.plans[-1]
        self.own = runs.create(self.parent, runs.make_name(self.recipe, last.config.images.data, last.target_res))
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

        machine = session.Machine(self.cluster, self.cache, click.echo)
        place = session.Place(folder, self.parent)
        try:
            return session.start(plan, shards, place, machine, dry_run=self.dry_run, started=started)
        except Stopped as stopped:
            if not self.several:
                raise
            raise Stopped(
                f"{stopped} (to go on with all {len(self.plans)} runs: the same command, --run {shell_path(self.own or '')})",
                stopped.code,
            ) from None
