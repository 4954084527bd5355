"""Write the HTML pages: report.html of a run, and a page that compares several runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pggan_tf.files import atomic_write
from pggan_tf.report import NAME, embedding, plots, tables
from pggan_tf.report.pictures import Picture
from pggan_tf.report.runs import RunSummary, find_kept_grid, read_run
from pggan_tf.runs import records


def write_report(folder: str | Path, out: str | Path | None = None, pictures: Sequence[Picture] = ()) -> Path:
    """Write the report of a run as a single HTML file.

    Args:
        folder: The run's folder.
        out: File to write; by default report.html in the run's folder.
        pictures: Pictures made with the run's generator, from `pictures.draw_pictures`.

    Returns:
        The path of the page.

    Raises:
        UserError: The folder is not that of a run, or its config or environment cannot be read.
    """
    run = read_run(folder)
    reals = run.folder / "reals.png"
    grids, unreadable = embedding.choose_grids(run.grids, embedding.MOST_GRIDS)
    text = _render(
        "report.html",
        run=run,
        summary=tables.summarize(run),
        facts=tables.list_facts(run),
        plan=tables.list_plan(run),
        plots=plots.draw_training_plots(run),
        metric_plots=plots.draw_metric_plots([run]),
        grids=grids,
        ends=[grids[0], find_kept_grid(grids, run.kept)] if grids else [],
        unreadable=unreadable,
        reals=reals if reals.is_file() and embedding.can_embed(reals) else None,
        pictures=pictures,
        changed=tables.list_changed_options(run),
        config=json.dumps(records.remove_places(run.plan.to_json()), indent=1),
        environment=tables.list_environment(run),
        generates=not run.plan.task.from_images,
    )
    return _write(Path(out) if out else run.folder / NAME, text)


def write_comparison(runs: Sequence[RunSummary], out: str | Path, classes: Mapping[Path, Picture]) -> Path:
    """Write a comparison of several runs as a single HTML file.

    Args:
        runs: The runs, from `runs.read_runs`.
        out: File to write.
        classes: Maps the folder of a run with classes to a picture of its classes, see
            `pictures.draw_class_pictures`.

    Returns:
        The path of the page.
    """
    most = embedding.MOST_GRIDS // len(runs)
    text = _render(
        "compare.html",
        runs=runs,
        table=tables.compare_runs(runs),
        best=tables.find_best(runs),
        notes=tables.list_differences(runs),
        plots=plots.draw_compared_plots(runs),
        metric_plots=plots.draw_metric_plots(runs),
        grids={run.folder: embedding.choose_grids(run.grids, most)[0] for run in runs},
        classes=classes,
    )
    return _write(Path(out), text)


def _render(template: str, **values) -> str:
    import jinja2

    from pggan_tf.version import __version__

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pggan_tf.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"embed_file": embedding.embed_file, "embed_array": embedding.embed_array}
    made = f"pggan-tf {__version__}, {datetime.now():%Y-%m-%d %H:%M}"
    return environment.get_template(template).render(**values, made=made)


def _write(path: Path, text: str) -> Path:
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace")  # file names may not be UTF-8
    return path
