"""Plot quality over training time: the paper's settings, changes to them, the default settings.

The settings that change are the loss, the learning rate, the updates and the convolutions.

python -m benchmarks.quality --data DIR --target-res 32 --minutes 20 --runs quality/  # --data may be given again

Every form is a complete run of `train.py --minutes`, including metrics and start-up. The runs
follow each other and are measured at the last resolution. If the benchmark is stopped, the next
call resumes it, and finished runs are not trained again (`train.py --run`).
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("benchmarks.quality:main"))

import json
from pathlib import Path

import click

from benchmarks import measure, page
from pggan_tf.errors import UserError

# The paper's loss, learning rate and updates (Karras et al. 2018, appendix A.1), and its networks at
# the default's width. All forms use the default's schedule: the paper has equally many images at every
# stage, which are too few at the beginning of a run that only takes minutes.
STANDARD, TWO_STAGE = {"--conv": "standard"}, {"--update": "two-stage"}
PAPER = STANDARD | TWO_STAGE | {"--loss": "wgan-gp", "--learning-rate": "1e-3"}
FORMS = {
    "paper": PAPER,
    "paper, one-stage": PAPER | {"--update": "one-stage"},
    "paper, lazy R1": PAPER | {"--loss": "nonsaturating-r1"},
    "paper, separable": PAPER | {"--conv": "separable"},
    "default, standard, two-stage": STANDARD | TWO_STAGE,
    "default, standard": STANDARD,
    "default, two-stage": TWO_STAGE,
    "default": {},
}
METRICS = ("swd", "fid[random]")


def trained(form: str, data: str, resolution: int, minutes: float, out: Path) -> Path:
    """Train a form, or resume its run, and return the folder of the finished run."""
    folder = out / Path(data).name / form.replace(", ", "-").replace(" ", "-")
    # Few images, so that a tenth of the minutes, which metrics may take, is enough for a curve.
    few = {"--metrics": "swd,fid", "--features": "random", "--metrics-images": 1000}
    options = FORMS[form] | {"--target-res": resolution, "--minutes": minutes} | few
    if data != "portraits":
        options |= {"--data": Path(data).absolute() if Path(data).exists() else data}
    measure.train(options, folder)
    return folder


def curve(folder: Path, resolution: int) -> list[tuple[float, int, dict]]:
    """Return all measurements of a run at its last resolution.

    Each is (minutes of training, images seen, {metric: value}).
    """
    lines = map(json.loads, (folder / "stats.jsonl").read_text().splitlines())
    return [
        (line["seconds"] / 60, line["images"], line["metrics"])
        for line in lines
        if "metrics" in line and line["resolution"] == resolution
    ]


def plot(curves: dict, path: Path) -> None:
    """Plot the curves, with a row of panels for each data set and a panel for each metric.

    curves: {data: {form: curve}}.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    size = (4.6 * len(METRICS), 3.2 * len(curves) + 0.6)
    figure, axes = pyplot.subplots(len(curves), len(METRICS), figsize=size, squeeze=False, layout="constrained")
    for row, (data, forms) in zip(axes, curves.items()):
        for axis, metric in zip(row, METRICS):
            for form, points in forms.items():
                axis.plot([m for m, _, _ in points], [v[metric] for _, _, v in points], marker=".", label=form)
            axis.set(title=data, xlabel="minutes of training", ylabel=metric, yscale="log")
            for ticks in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
                ticks(ticker.LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 1)))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=120)


@click.command()
@click.option("--data", "sources", multiple=True, default=("portraits",), show_default=True)
@click.option("--target-res", "resolution", default=32, show_default=True, type=click.IntRange(16))
@click.option(
    "--minutes", default=20.0, show_default=True, help="minutes of wall-clock time for each form on each data set"
)
@click.option("--runs", default="quality", show_default=True, help="folder of the runs")
@page.out_option
def main(sources: tuple[str, ...], resolution: int, minutes: float, runs: str, out: Path | None) -> None:
    if len({Path(data).name for data in sources}) < len(sources):
        raise UserError(
            f"--data {' --data '.join(sources)}: give folders of different names, by which results are kept."
        )
    measure.announce(len(sources) * len(FORMS) * (60 * minutes + 30), "what has been trained already is not again")
    question = (
        "Which settings reach which quality in the same time? The paper's, changes to them, and the default ones."
    )
    written, rows = page.Page(out, "Quality over time", question), []
    curves: dict = {}
    for data in sources:
        name = Path(data).name
        curves[name] = {}
        for form in FORMS:
            folder = trained(form, data, resolution, minutes, Path(runs))
            points = curves[name][form] = curve(folder, resolution)
            if not points:
                raise UserError(f"{form}: nothing was measured at {resolution} px; {folder / 'log.txt'} says why.")
            last, best = points[-1], [min(p[2][m] for p in points) for m in METRICS]
            figures = (f"{value:.4g}" for value in (*(last[2][m] for m in METRICS), *best))
            rows.append((name, form, f"{last[1]:,}", *figures))
    picture = written.picture("quality")
    plot(curves, picture)
    written.table(("data", "form", "images", *METRICS, *(f"best {m}" for m in METRICS)), rows)
    written.text(f"![the curves of the metrics over time]({picture.name})")
    written.notes(
        f"{resolution} px, {minutes:g} minutes of the clock for each, 1,000 images for a figure.",
        "`fid[random]`: Fréchet distance on the features of a fixed random network, for comparisons here alone.",
    )
