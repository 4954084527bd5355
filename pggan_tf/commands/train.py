"""`pggan train`: train a generator on photos; repeat, resume and fine-tune runs.

A run is one training; its folder holds the config (all options), checkpoints and results. A plan
(`config.Plan`) is a run's config with everything that follows from it, such as the number of steps.
"""

from __future__ import annotations

import time

import click

from pggan_tf.commands.options import GroupedHelp, config_options, help_all
from pggan_tf.errors import UserError, make_printable, shell_path
from pggan_tf.option_types import FloatRange


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
@click.option("--dry-run", is_flag=True, help="print the config and the plan without training")
@click.option(
    "--workers", help="host:port of every machine that trains, separated by commas, the same on all; or set TF_CONFIG"
)
@click.option("--worker-index", type=int, help="index of this machine in --workers, from 0; machine 0 writes the run")
@click.option(
    "--worker-timeout",
    type=FloatRange(0.01),
    default=5.0,
    show_default=True,
    help="minutes to wait for the other machines",
)
@click.argument("photos", nargs=-1, metavar="")
@help_all
def command(
    photos, config_file, resume, runs, own_folder, cache, dry_run, workers, worker_index, worker_timeout, **options
):
    """Train a generator on --data, or on drawn portraits."""
    started = time.monotonic()
    if photos:
        raise UserError(
            f"{photos[0]}: without an option before it. Photos are given as: --data {shell_path(photos[0])}"
        )
    from pggan_tf.api import jobs
    from pggan_tf.training import cluster
    from pggan_tf.training.machine import Machine

    machine = Machine(
        cluster.find_cluster(workers, worker_index, worker_timeout),
        cache,
        lambda line: click.echo(make_printable(line)),
    )
    options = {name: value for name, value in options.items() if value is not None}
    if own_folder and (resume or runs):
        raise UserError(f"--run and {'--resume' if resume else '--runs'}: give one of them.")
    if resume:
        if config_file or dry_run:
            raise UserError("--resume goes with neither --config nor --dry-run: a run goes on with its own config.")
        click.echo(jobs.resume(resume, options, machine))
        return
    jobs.make_job(options, machine, config_file, own_folder, runs or "runs", dry_run).run(started)
