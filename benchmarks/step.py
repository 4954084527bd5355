"""Measure the speed of the training step, beside the same step in PyTorch.

The results are images/s and the share of this machine's convolution peak.

pip install -e ".[benchmarks]"
python -m benchmarks.step             # 64 px, batch 16, WGAN-GP, in turn with two PyTorch forms
python -m benchmarks.step --all       # 4 to 128 px, as a page (--out docs/speed.md)
python -m benchmarks.step --training  # whole training against the bare step, at 4 and 32 px
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("benchmarks.step:main"))

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from benchmarks import measure
from pggan_tf.runs import folder as runs
from pggan_tf.training import precision

DEFAULT = {"loss": "nonsaturating-r1", "update": "one-stage", "conv": None}  # defaults of train.py


def ours(
    resolution: int,
    batch: int,
    loss: str = "wgan-gp",
    update: str = "two-stage",
    precision: str = "auto",
    seconds: float = 4.0,
    conv: str | None = "standard",
) -> dict:
    """Measure the bare step on a constant batch, without reading data and without callbacks.

    conv: kind of convolution; "standard" as in the PyTorch forms, None for the default. Return what
    `measure.bare_step` returns, with gflop_per_image.
    """
    from pggan_tf.config import resolve

    settings = {"target_res": resolution, "conv": conv, "loss": loss, "update": update, "precision": precision}
    step = measure.bare_step(resolve({"batch": {4: batch}, **settings}), seconds=seconds)
    return {**step, "gflop_per_image": step["gflop"] / batch}


def whole_training(resolution: int, batch: int, seconds: float = 60.0) -> float:
    """Return the images/s of real training, from its first tick to its last.

    This includes data, averaging, callbacks, grids and checkpoints. A snapshot is written every 30
    seconds, as in a run of 20 minutes.
    """
    from pggan_tf.config import resolve
    from pggan_tf.data.shards import Shards
    from pggan_tf.training import callbacks, distribution, execution, loop
    from preprocessing import build, prepare
    from preprocessing.options import Selection

    class Clock(callbacks.Callback):
        marks: list = []

        def tick(self, run, stats):
            self.marks.append((run.images_seen, time.perf_counter()))

    bare = ours(resolution, batch, seconds=1, **DEFAULT)["images_per_second"]
    with tempfile.TemporaryDirectory() as folder:
        build.build(
            prepare.make_job(Selection.of("portraits", count=4000), prepare.Squares(resolution)), f"{folder}/shards"
        )
        images = int(bare * seconds)
        schedule = {"fade_images": {4: 0}, "stable_images": {4: 0, resolution: images}}
        plan = resolve({"target_res": resolution, "batch": {4: batch}, "snapshot_images": int(30 * bare), **schedule})
        log, clock, policy = runs.Log(show=lambda line: None), Clock(), precision.choose_policy("auto")
        setting = execution.Setting(Shards(f"{folder}/shards"), distribution.create_strategy(), policy, say=log)
        gan = execution.build(plan, policy)
        (Path(folder) / "run").mkdir()
        default = loop.default_callbacks(plan.replace(report=False), log, measuring=None)
        loop.Run(plan, setting, gan, Path(folder) / "run", callbacks=[*default, clock]).train()
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
EXPLAINED = """WGAN-GP, two-stage, standard convolutions, fmap-base 2048, fmap-max 128; the median of {rounds} rounds in which all forms take
turns, on {cores} cores of {cpu}. Its convolution peak, the fastest of a few large convolutions: {float32:,.0f} GFLOP/s in float32,
{bfloat16} in bfloat16. `executed` counts the operations of convolutions and matrix products that the step's graph executes."""


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


def announce(resolutions: int, rounds: int) -> None:
    """Print how long the measurements take, and which forms this machine cannot measure."""
    bfloat16 = precision.cpu_has_bfloat16()
    each = SECONDS["ours"] * (1 + bfloat16) + SECONDS["peer"] * len(peers())
    missing = [] if bfloat16 else ["bfloat16 is left out: this processor would emulate it"]
    missing += [] if importlib.util.find_spec("torch") else ["PyTorch is left out: it is not installed"]
    measure.announce(SECONDS["peaks"] + resolutions * rounds * each, "; ".join(missing))


def measured(resolution: int, batch: int, rounds: int, peak: dict[str, float]) -> dict[str, dict]:
    """Measure all forms at a resolution, in turn.

    Returns:
        {form: {rate: images/s}}. Our own forms also have work (executed GFLOP per image) and share
            (fraction of the peak). PyTorch's forms are included if it is installed.
    """
    shape = {"resolution": resolution, "batch": batch}
    peer = {**shape, "latent": 128, "base": 2048, "most": 128, "seconds": 6.0}
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
            most = peak["bfloat16" if "bfloat16" in rows[0]["policy"] else "float32"]
            out[name] |= {"work": work, "share": work * out[name]["rate"] / most}
    return out


def markdown(found: dict[int, dict], explained: str) -> str:
    """Return the page with the table of results.

    Args:
        found: {resolution: result of `measured`}.
        explained: text above the table.
    """
    head = ["px", "batch", "float32", "of its peak", "auto", "of its peak", "executed GFLOP/image"]
    head += [f"{name} (ours / it)" for name in PEERS]
    lines = [f"| {' | '.join(head)} |", f"|{'---:|' * len(head)}"]
    for resolution, forms in found.items():
        best = AUTO if AUTO in forms else OURS
        cells = [str(resolution), str(BATCHES[resolution])]
        for name in (OURS, best):
            cells += [f"{forms[name]['rate']:,.1f}", f"{forms[name]['share']:.0%}"]
        cells += [f"{forms[best]['work']:.3f}"]
        for name in PEERS:
            rate = forms.get(name, {}).get("rate")
            cells += [f"{rate:,.1f} ({forms[best]['rate'] / rate:.2f})" if rate else "not measured"]
        lines.append(f"| {' | '.join(cells)} |")
    return "# Speed of the training step, images/s\n\n" + explained + "\n\n" + "\n".join(lines) + "\n"


@click.command()
@click.option("--resolution", default=64, show_default=True)
@click.option("--batch", default=16, show_default=True)
@click.option("--rounds", default=3, show_default=True, help="number of times that every form is measured, in turn")
@click.option("--all", "every", is_flag=True, help="measure every resolution from 4 to 128 px, and print a page")
@click.option("--out", help="with --all: also write the page to this file, such as docs/speed.md")
@click.option("--training", is_flag=True, help="compare whole training with the bare step instead")
def main(resolution: int, batch: int, rounds: int, every: bool, out: str | None, training: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table, console = Table(box=None), Console(width=110)
    if training:
        measure.announce(2 * rounds * (SECONDS["ours"] + SECONDS["training"]))
        for name in ("resolution", "bare step images/s", "training images/s", "ratio"):
            table.add_column(name, justify="right")
        for r, b in ((4, 64), (32, 16)):
            pairs = [
                (
                    measure.in_process(ours, resolution=r, batch=b, **DEFAULT)["images_per_second"],
                    measure.in_process(whole_training, resolution=r, batch=b),
                )
                for _ in range(rounds)
            ]
            bare, whole = (statistics.median(x) for x in zip(*pairs))
            table.add_row(str(r), f"{bare:,.0f}", f"{whole:,.0f}", f"{statistics.median(w / o for o, w in pairs):.2f}")
        console.print(table)
        return
    announce(len(BATCHES) if every else 1, rounds)
    peak = peaks()
    bfloat16 = f"{peak['bfloat16']:,.0f}" if "bfloat16" in peak else "not measured"
    explained = EXPLAINED.format(
        rounds=rounds, cores=os.cpu_count(), cpu=runs.processor(), float32=peak["float32"], bfloat16=bfloat16
    )
    if every:
        page = markdown({r: measured(r, b, rounds, peak) for r, b in BATCHES.items()}, explained)
        if out:
            Path(out).write_text(page)
        print(page)
        return
    for name in ("step", "images/s", "executed GFLOP/image", "GFLOP/s", "of the peak"):
        table.add_column(name, justify="left" if name == "step" else "right")
    found = measured(resolution, batch, rounds, peak)
    for name, row in found.items():
        own = "work" in row
        cells = (
            [f"{row['work']:.1f}", f"{row['work'] * row['rate']:,.0f}", f"{row['share']:.0%}"] if own else ["", "", ""]
        )
        table.add_row(name, f"{row['rate']:.1f}", *cells)
    console.print(f"{resolution} px, batch {batch}. {explained}")
    console.print(table)
    best = found.get(AUTO, found[OURS])["rate"]
    for name in PEERS:
        if name in found:
            console.print(f"ours / {name}: {best / found[name]['rate']:.2f}")
