"""`pggan compare`: compare runs in a table and on an HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from pggan_tf.errors import UserError


@click.command("compare")
@click.argument("runs", nargs=-1, required=True)
@click.option("--out", default="compare.html", show_default=True, help="HTML page to write")
def command(runs, out):
    """Compare RUNS, the folders of runs: losses, grids, metrics, time, parameters."""
    from pggan_tf.report import pages, pictures, tables
    from pggan_tf.report.runs import read_runs

    if Path(out).suffix != ".html":
        raise UserError(f"--out {out}: expected a name that ends in .html.")
    read = read_runs(runs)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    classes, omissions = pictures.draw_class_pictures(read)
    for line in omissions:
        click.echo(line, err=True)
    pages.write_comparison(read, out, classes)
    _print_table(tables.compare_runs(read), [run.name for run in read], tables.find_best(read))
    for note in tables.list_differences(read):
        click.echo(f"note: {note}")
    click.echo(out)


def _print_table(rows: dict[str, list[str]], names: list[str], best: set[tuple[str, int]]) -> None:
    """Print the comparison of runs as a table.

    Args:
        rows: name of a row -> one text for each run.
        names: names of the runs, which are the columns.
        best: (name of a row, index of a run) of the values that are marked as the best.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in names:
        table.add_column(name, overflow="fold")
    for row, values in rows.items():
        table.add_row(row, *(f"{value} (best)" if (row, i) in best else value for i, value in enumerate(values)))
    Console(highlight=False, markup=False).print(table)  # names such as fid[random] are not markup
