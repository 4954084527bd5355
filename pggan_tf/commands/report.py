"""`pggan report`: write an HTML page about a run."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("run")
@click.option("--out", help="HTML file to write  [report.html in the run's folder]")
@click.option("--data", help="folder of the run's shards, if they have been moved")
def command(run, out, data):
    """Write a report about RUN: one HTML page with its plan, losses, metrics and grids.

    The page also shows an interpolation between latents and the training images nearest to samples.
    """
    from pggan_tf.report import pages, pictures, runs

    drawn, omissions = pictures.try_pictures(runs.read_run(run), data)
    for line in omissions:
        click.echo(line, err=True)
    if out:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
    click.echo(pages.write_report(run, out, drawn))
