"""`pggan report`: write an HTML page about a run."""

from __future__ import annotations

import functools

import click

from pggan_tf.api import Run


@click.command("report")
@click.argument("run")
@click.option("--out", help="HTML file to write  [report.html in the run's folder, or here for portraits]")
@click.option("--data", help="folder of the run's shards, if they have been moved")
def command(run, out, data):
    """Write a report about RUN: one HTML page with its plan, losses, metrics and grids.

    The page also shows an interpolation between latents and the training images nearest to samples.
    """
    click.echo(Run(run).report(out, data, functools.partial(click.echo, err=True)))
