"""Measure the speed of the training step, beside the same step in PyTorch.

The results are images/s and the share of this machine's convolution peak.

pip install -e ".[benchmarks]"
python -m benchmarks.step             # 64 px, batch 16, WGAN-GP, in turn with two PyTorch forms
python -m benchmarks.step --resolutions 4,8,16,32,64,128
python -m benchmarks.step --training  # whole training against the bare step, at 4 and 32 px
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("benchmarks.step:main"))

import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from benchmarks import measure, page
from pggan_tf.runs import folder as runs
from pggan_tf.training import precision

LATENT_SIZE = 128
# The networks and the step that `peers` writes in PyTorch.
PEER = measure.PLAIN | measure.WIDTHS | {"latent_size": LATENT_SIZE, "conv": "standard"}
PEER |= {"loss": "wgan-gp", "update": "two-stage"}


def ours(
    resolution: int,
    batch: int,
    options: dict = PEER,
    precision: str = "auto",
    seconds: float = 4.0,
) -> dict:
    """Measure the bare step on a constant batch, without reading data and without callbacks.

    options: what differs from the defaults of `train.py`. Return what `measure.bare_step` returns,
    with gflop_per_image.
    """
    from pggan_tf.config import resolve

    shape = {"target_res": resolution, "batch": {4: batch}, "precision": precision}
    step = measure.bare_step(resolve({**shape, **options}), seconds=seconds)
    return {**step, "gflop_per_image": step["gflop"] / batch}


def whole_training(resolution: int, batch: int, seconds: float = 60.0) -> float:
    """Return the images/s of real training, from its first tick to its last.

    This includes data, averaging, callbacks, grids and checkpoints. A snapshot is written every 30
    seconds, as in a run of 20 minutes.
    """
    from pggan_tf.config import resolve
    from pggan_tf.data.shards import Shards
    from pggan_tf.training import callbacks, distribution, execution, loop, recording
    from preprocessing import build, prepare
    from preprocessing.options import Selection

    class Clock(callbacks.Callback):
        marks: list = []

        def tick(self, run, stats):
            self.marks.append((run.images_seen, time.perf_counter()))

    bare = ours(resolution, batch, {}, seconds=1)["images_per_second"]
    with tempfile.TemporaryDirectory() as folder:
        build.build(
            prepare.make_job(Selection.of("portraits", count=4000), prepare.Squares(resolution)), f"{folder}/shards"
        )
        images = int(bare * seconds)
        schedule = {"fade_images": {4: 0}, "stable_images": {4: 0, resolution: images}}
        plan = resolve(
            {"target_res": resolution, "batch": {4: batch}, "snapshot_images": {4: int(30 * bare)}, **schedule}
        )
        log, clock, strategy = runs.Log(show=lambda line: None), Clock(), distribution.create_strategy()
        arithmetic = precision.choose(plan.config, strategy.num_replicas_in_sync)
        setting = execution.Setting(Shards(f"{folder}/shards"), strategy, arithmetic, say=log)
        gan = execution.build(plan, arithmetic.policy)
        (Path(folder) / "run").mkdir()
        default = recording.default_callbacks(plan.replace(report=False), log, measuring=None)
        programs = execution.Programs(gan, setting)
        loop.Run(plan, programs, Path(folder) / "run", callbacks=[*default, clock]).train()
    (first, begun), (last, ended) = clock.marks[0], clock.marks[-1]
    return (last - first) / (ended - begun)


def _torch(**arguments) -> float:
    out = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers", json.dumps(arguments)], capture_output=True, text=True, check=True
    ).stdout
    return float(out.strip().splitlines()[-1])


OURS, AUTO = "ours, float32", "ours, --precision auto"
BATCHES = {4: 64, 8: 64, 16: 32, 32: 16, 64: 16, 128: 16}
PEERS = {"PyTorch, float32": False, "PyTorch, autocast bfloat16, channels_last": True}
# Seconds of one measurement on two cores with AVX2 alone: start-up, tracing, and steps of up to four
# seconds.
SECONDS = {"ours": 40.0, "peer": 25.0, "peaks": 20.0, "training": 110.0}


def peaks() -> dict[str, float]:
    kinds = ("float32", "bfloat16") if precision.cpu_has_bfloat16() else ("float32",)
    return {name: measure.in_process(measure.convolution_peak, dtype=name) for name in kinds}


def peers() -> list[str]:
    """Return the names of the PyTorch forms that can be measured here.

    There are none if PyTorch is missing, and none in bfloat16 if the processor would emulate it.
    """
    if not importlib.util.find_spec("torch"):
        return []
    return [name for name, best in PEERS.items() if precision.cpu_has_bfloat16() or not best]


def missing() -> list[str]:
    """Return sentences about the forms that this machine cannot measure."""
    forms = [] if precision.cpu_has_bfloat16() else ["bfloat16 is left out: this processor would emulate it."]
    return forms + ([] if importlib.util.find_spec("torch") else ["PyTorch is left out: it is not installed."])


def announce(resolutions: int, rounds: int) -> None:
    """Print how long the measurements take, and which forms this machine cannot measure."""
    each = SECONDS["ours"] * (1 + precision.cpu_has_bfloat16()) + SECONDS["peer"] * len(peers())
    measure.announce(SECONDS["peaks"] + resolutions * rounds * each, " ".join(missing()))


def measured(resolution: int, batch: int, rounds: int, peak: dict[str, float]) -> dict[str, dict]:
    """Measure all forms at a resolution, in turn.

    Returns:
        {form: {rate: images/s}}. Our own forms also have work (executed GFLOP per image) and share
            (fraction of the peak). PyTorch's forms are included if it is installed.
    """
    shape = {"resolution": resolution, "batch": batch}
    base, most = measure.WIDTHS.values()
    peer = {**shape, "latent": LATENT_SIZE, "base": base, "most": most, "seconds": 6.0}
    forms = {OURS: lambda: measure.in_process(ours, precision="float32", **shape)}
    if precision.cpu_has_bfloat16():
        forms[AUTO] = lambda: measure.in_process(ours, **shape)
    for name in peers():
        forms[name] = lambda best=PEERS[name]: {"images_per_second": _torch(best=best, **peer)}
    results: dict = {name: [] for name in forms}
    for _ in range(rounds):
        for name, form in forms.items():
            results[name].append(form())
    out = {}
    for name, rows in results.items():
        out[name] = {"rate": statistics.median(r["images_per_second"] for r in rows)}
        if "policy" in rows[0]:
            work = rows[0]["gflop_per_image"]
            fastest = peak["bfloat16" if "bfloat16" in rows[0]["policy"] else "float32"]
            out[name] |= {"work": work, "share": work * out[name]["rate"] / fastest}
    return out


def cells(resolution: int, batch: int, forms: dict[str, dict]) -> list[tuple]:
    """Return the rows of a table, one for each form.

    forms: result of `measured`.
    """
    best = forms.get(AUTO, forms[OURS])["rate"]
    rows = []
    for name, row in forms.items():
        own = (
            (f"{row['work']:.3f}", f"{row['share']:.0%}", "")
            if "work" in row
            else ("", "", f"{best / row['rate']:.2f}")
        )
        rows.append((resolution, batch, name, f"{row['rate']:,.1f}", *own))
    return rows


def _compare_training(written: page.Page, rounds: int) -> None:
    """Add a table of whole training beside the bare step."""
    rows = []
    for resolution, batch in ((4, 64), (32, 16)):
        shape = {"resolution": resolution, "batch": batch}
        pairs = [
            (
                measure.in_process(ours, **shape, options={})["images_per_second"],
                measure.in_process(whole_training, **shape),
            )
            for _ in range(rounds)
        ]
        bare, whole = (statistics.median(x) for x in zip(*pairs))
        ratio = statistics.median(w / o for o, w in pairs)
        rows.append((resolution, batch, f"{bare:,.0f}", f"{whole:,.0f}", f"{ratio:.2f}"))
    written.table(("px", "batch", "bare step, images/s", "training, images/s", "ratio"), rows)
    written.notes(
        f"The default options; medians of {rounds} rounds in turn. Training includes data, grids and checkpoints."
    )


@click.command()
@click.option(
    "--resolutions",
    "sizes",
    default="64",
    show_default=True,
    type=page.Numbers(known=BATCHES),
    help=f"any of {', '.join(map(str, BATCHES))}",
)
@click.option(
    "--rounds",
    default=3,
    show_default=True,
    type=page.AT_LEAST_ONE,
    help="number of times that every form is measured, in turn",
)
@click.option("--training", is_flag=True, help="compare whole training with the bare step instead")
@page.out_option
def main(sizes: list[int], rounds: int, training: bool, out: Path | None) -> None:
    if training:
        measure.announce(2 * rounds * (SECONDS["ours"] + SECONDS["training"]))
        question = "Is whole training, with data, grids and checkpoints, as fast as its bare step?"
        _compare_training(page.Page(out, "Whole training", question), rounds)
        return
    announce(len(sizes), rounds)
    question = (
        "How fast is a training step of both networks, beside the same step in PyTorch and the peak of this machine?"
    )
    written, rows = page.Page(out, "The training step", question), []
    peak = peaks()
    for resolution in sizes:
        rows += cells(resolution, BATCHES[resolution], measured(resolution, BATCHES[resolution], rounds, peak))
    heads = ("px", "batch", "step", "images/s", "executed GFLOP/image", "of the peak", "times as fast as it, ours")
    written.table(heads, rows)
    most = " and ".join(f"{speed:,.0f} GFLOP/s in {kind}" for kind, speed in peak.items())
    written.notes(
        f"WGAN-GP, two-stage, standard convolutions, fmap-base 2048, fmap-max 128, and the generator of Karras et al. "
        f"2018; medians of {rounds} rounds in turn.",
        f"The peak, the fastest of a few large convolutions: {most}.",
        "`executed` counts the operations of convolutions and matrix products that the step's graph executes.",
        *missing(),
    )
