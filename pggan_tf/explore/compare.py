"""`pggan compare`: runs side by side, as a table and as one page."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from pggan_tf.errors import UserError

_COLUMNS = 8  # of a grid of classes
_MOST_CLASSES = 20


def class_grids(runs) -> dict:
    """For every run with classes that has a generator: a row of samples for each class."""
    from pggan_tf import report, synthesis
    from pggan_tf.explore import grid

    out = {}
    for run in runs:
        if run.config.networks.conditional and (run.ended or run.parameters):
            try:
                generator = synthesis.load_from_latents(run.folder)
            except (UserError, LookupError, TypeError, ValueError) as error:
                # Of another version, or damaged: the rest is still worth reading.
                click.echo(f"without a grid of classes: {error}", err=True)
                continue
            z = synthesis.latents(range(_COLUMNS), generator.latent_size)
            names = generator.classes[:_MOST_CLASSES]
            sheet = grid.classes(synthesis.Sampler(generator), z, count=len(names))
            out[run.folder] = report.Picture("Classes", sheet, "from the top: " + ", ".join(names))
    return out


@click.command("compare")
@click.argument("runs", nargs=-1, required=True)
@click.option("--out", default="compare.html", show_default=True, help="page to write")
def command(runs, out):
    """Lays RUNS, folders of runs, side by side: losses, grids, metrics, time, parameters."""
    from rich.console import Console
    from rich.table import Table

    from pggan_tf import report, terminal

    if not 2 <= len(runs) <= report.COLOURS:
        raise UserError(f"{len(runs)} run{'s' * (len(runs) != 1)}: give 2 to {report.COLOURS} folders of runs.")
    if repeated := next(
        (r for i, r in enumerate(runs) if Path(r).resolve() in [Path(x).resolve() for x in runs[:i]]), None
    ):
        raise UserError(f"{repeated}: given twice.")
    if Path(out).suffix != ".html":
        raise UserError(f"--out {out}: expected a name that ends in .html.")
    read = [report.read(run) for run in runs]
    while len({run.name for run in read}) < len(read):  # as of the parts of two pipelines
        read = [dataclasses.replace(run, parents=run.parents + 1) for run in read]
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    if any(run.config.networks.conditional for run in read):
        terminal.start_tensorflow()
    report.write_comparison(read, out, class_grids(read))
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for run in read:
        table.add_column(run.name, overflow="fold")
    best = report.best(read)
    for name, values in report.comparison(read).items():
        table.add_row(name, *(f"{v} (best)" if (name, i) in best else v for i, v in enumerate(values)))
    Console(highlight=False, markup=False).print(table)  # fid[random] is no markup
    for note in report.unlike(read):
        click.echo(f"note: {note}")
    click.echo(out)
