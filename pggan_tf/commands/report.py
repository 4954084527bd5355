"""`pggan report`: write the page about a run."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("run")
@click.option("--out", help="file to write  [report.html in the run's folder]")
@click.option("--data", help="the run's shards, if they are no longer where it found them")
def command(run, out, data):
    """Write RUN's report: one page with its plan, losses, metrics and grids.

    The page also shows a walk through its latents and the training images nearest to its samples.
    """
    from pggan_tf.report import pages, pictures, runs

    drawn, omissions = pictures.try_pictures(runs.read_run(run), data)
    for line in omissions:
        click.echo(line, err=True)
    if out:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
    click.echo(pages.write_report(run, out, drawn))
