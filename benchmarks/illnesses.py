"""Make training fail in known ways, and draw what the losses and the images look like then.

python -m benchmarks.illnesses --out docs/benchmarks/illnesses.md

Every form is a run of `train.py` on drawn portraits, with a picture of its curves and of its last
samples. If the benchmark is stopped, the next call resumes it; finished runs are not trained again.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("benchmarks.illnesses:main"))

import json
from pathlib import Path

import click
import numpy as np

from benchmarks import measure, page
from pggan_tf.errors import UserError

# A small network, which learns to draw portraits in two minutes of one core.
SMALL: dict[str, object] = {
    "--resolutions": "4,8,16",
    "--fmap-base": 512,
    "--fmap-max": 64,
    "--latent-size": 64,
    "--batch": 16,
}
SMALL |= {"--portraits": 4000, "--fade-images": "4=4000", "--stable-images": "4=4000,8=4000,16=24000"}
SMALL |= {"--learning-rate": 0.003, "--snapshot-images": 2000, "--grid": 25}
SMALL |= {"--metrics": "swd,ms-ssim", "--metrics-images": 500, "--metrics-every": 8000}
FORMS: dict[str, dict[str, object]] = {
    "healthy": {},
    "discriminator-wins": {"--loss": "saturating", "--discriminator-rate": 8},
    "collapse": {"--loss": "nonsaturating", "--minibatch": "none", "--discriminator-rate": 0.1},
    "learning-rate": {"--learning-rate": 0.1},
    "few-photos": {"--portraits": 60},
    "few-photos-augmented": {"--portraits": 60, "--augment": "diff"},
}
AVERAGED = 10  # number of last ticks whose mean is in the table
UNSEEN = 480  # portraits that no run is trained on
STATS = {"loss_d": "D's loss", "loss_g": "G's loss", "logit_real": "D of real", "logit_fake": "D of generated"}


def read(folder: Path) -> tuple[list[dict], dict]:
    """Return (lines of stats.jsonl with losses, the last measurement) of a run's folder."""
    lines = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    measured = [line for line in lines if "metrics" in line]
    return [line for line in lines if "loss_d" in line], measured[-1] if measured else {"metrics": {}, "details": {}}


def judge_portraits(folder: str, portraits: int, unseen: int) -> list[float]:
    """Return what a run's discriminator says of portraits, as means of its logits.

    Args:
        folder: the run's folder.
        portraits: number of portraits that the run was trained on, the first that are drawn.
        unseen: number of portraits to draw besides.

    Returns:
        [mean logit of portraits it was trained on, mean logit of others].
    """
    import tensorflow as tf

    from pggan_tf.data import pixels
    from pggan_tf.runs import checkpoint
    from pggan_tf.runs import folder as runs
    from pggan_tf.training import execution
    from preprocessing import cache

    plan = runs.read(folder)[0]
    gan = execution.build(plan, "float32")
    arrays, _ = checkpoint.read_newest(Path(folder))
    wanted = {k: v for k, v in gan.state().items() if k.startswith("discriminator/")}
    checkpoint.restore(wanted, {k: arrays[k] for k in wanted}, folder)
    images = plan.config.images
    squares = cache.Squares(plan.target_res, plan.resolutions, images.filter, images.channels)
    count = portraits + unseen
    shards = cache.open_shards(cache.Selection.of("portraits", count=count), None, squares, say=lambda line: None)
    assert shards is not None  # it is only with check_only
    batch = plan.config.optimization.batch[plan.target_res]

    def mean(first: int, last: int) -> float:
        found = shards.read(plan.target_res, np.arange(first, last - (last - first) % batch))
        batches = np.split(pixels.to_float(found), len(found) // batch)
        return float(np.mean([gan.discriminator(tf.constant(x), resolution=plan.target_res) for x in batches]))

    return [mean(0, min(portraits, unseen)), mean(portraits, count)]


def plot(ticks: list[dict], folder: Path, title: str, path: Path) -> None:
    """Draw the last grid of a run, and its losses and logits over the images seen.

    Args:
        ticks: lines of stats.jsonl with losses.
        folder: the run's folder.
        title: title of the picture.
        path: the picture to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from PIL import Image

    figure, (grid, *axes) = pyplot.subplots(1, 3, figsize=(8.8, 2.9), width_ratios=(1.1, 1, 1), layout="constrained")
    grid.imshow(pyplot.imread(max(folder.glob("fakes-*.png"))))
    grid.set_axis_off()
    seen = [tick["images"] / 1000 for tick in ticks]
    for axis, names in zip(axes, (list(STATS)[:2], list(STATS)[2:])):
        values = np.array([[tick[name] for name in names] for tick in ticks], float)
        for name, column, style in zip(names, values.T, ("-", "--")):
            axis.plot(seen, column, style, label=STATS[name], linewidth=1.2)
        if np.nanmax(np.abs(values)) > 30:  # else most of a curve would lie on the axis
            axis.set_yscale("symlog", linthresh=1)
            axis.yaxis.get_major_locator().set_params(numticks=7)
        for at in (i for i in range(1, len(ticks)) if ticks[i]["resolution"] != ticks[i - 1]["resolution"]):
            axis.axvline(seen[at - 1], color="0.8", linewidth=0.8, zorder=0)
        axis.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
        axis.tick_params(labelsize=8)
        axis.set_xlabel("thousand images shown; gray: a new stage", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=100)  # on white, so that it can be read on any page
    pyplot.close(figure)
    Image.open(path).convert("RGB").quantize(200).save(path, optimize=True)  # a third of the bytes


def _short(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 1000 else f"{value:.1e}"


def row(form: str, folder: Path) -> tuple:
    """Return the cells of a form in the table: figures of the end of its run."""
    ticks, measured = read(folder)
    options = SMALL | FORMS[form]
    last = ticks[-1]
    ends = {name: np.mean([tick[name] for tick in ticks[-AVERAGED:]]) for name in STATS}
    metrics, of_data = measured["metrics"], measured["details"].get("ms-ssim of the data", float("nan"))
    known, unseen = measure.in_process(
        judge_portraits, folder=str(folder), portraits=options["--portraits"], unseen=UNSEEN
    )
    cells = [f"{last['images']:,}", f"{metrics.get('swd', float('nan')):.0f}"]
    cells += [f"{metrics.get('ms-ssim', float('nan')):.2f} ({of_data:.2f})", *map(_short, ends.values())]
    return (form, *cells, _short(known), _short(unseen), last["skipped_total"])


@click.command()
@click.option("--forms", default=",".join(FORMS), show_default=True)
@click.option("--runs", default="illnesses", show_default=True, help="folder of the runs")
@page.out_option
def main(forms: str, runs: str, out: Path | None) -> None:
    """Train every form, and write a page with a picture and a row of figures for each."""
    chosen = forms.split(",")
    if unknown := [form for form in chosen if form not in FORMS]:
        raise UserError(f"--forms {forms}: {unknown[0]} is none of {', '.join(FORMS)}.")
    measure.announce(len(chosen) * 240, "what has been trained already is not again")
    question = (
        "What do losses and images look like when training goes wrong? Small networks on drawn portraits of 16 px."
    )
    written, rows = page.Page(out, "Training that fails", question), []
    for form in chosen:
        folder = Path(runs) / form
        measure.train(SMALL | FORMS[form], folder, may_fail=True)
        picture = written.picture(form)
        plot(read(folder)[0], folder, form.replace("-", " "), picture)
        changed = " ".join(f"{name} {value}" for name, value in FORMS[form].items())
        title = f"{form}: `{changed}`" if changed else f"{form}: the base, see below"
        written.text(f"![{form}: samples, losses and logits]({picture.name})\n\n{title}")
        rows.append(row(form, folder))
    names = (
        "images",
        "SWD",
        "MS-SSIM (of the data)",
        *STATS.values(),
        "D of seen portraits",
        "D of others",
        "skipped steps",
    )
    written.table(("run", *names), rows)
    base = " ".join(f"{name} {value}" for name, value in SMALL.items())
    written.notes(
        f"The base: `{base}`.",
        f"The last two columns of D are of its weights at the end, at most {UNSEEN} portraits each.",
    )
