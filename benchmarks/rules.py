"""Race training rules: which settings make the best images of the same seconds of one core?

python -m benchmarks.rules --data PHOTOS --held-out OTHERS --target-res 32 --seconds 300 --out docs/benchmarks/rules.md

Seconds are processor time of training steps on one core, so other work on the machine changes
nothing, and starting, compiling and drawing are left out. Every form is trained in a process of its
own, from the same seed. Its moving average then makes 1,000 images, which are compared with as many
photos that no run has seen and kept in --runs as .npz files for other judges. If the benchmark is
stopped, the next call goes on with the forms that are missing.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("benchmarks.rules:main"))

import json
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from benchmarks import measure, page
from pggan_tf.errors import UserError

BEFORE = {"batch": {4: 64, 16: 32, 32: 16}, "fmap_base": 2048, "decay_share": 0.0}  # the default until 0.2
FORMS: dict[str, dict] = {
    "default": {},
    "default of 0.2": BEFORE,
    "default of 0.2, batches of half the size": BEFORE | {"batch": {4: 32, 16: 16, 32: 8}},
    "default of 0.2, with a rate that falls": BEFORE | {"decay_share": 0.7},
    "default of 0.2, half the maps": BEFORE | {"fmap_base": 1024},
    "batches of twice the size": {"batch": {4: 32, 16: 16, 32: 8}},
    "a constant rate": {"decay_share": 0.0},
    "twice the maps": {"fmap_base": 2048},
    "half the maps": {"fmap_base": 512},
    "twice the rate": {"learning_rate": {4: 8e-3}},
    "two-stage": {"update": "two-stage"},
    "no fades": {"fade_share": 0.0},
    "8 and 32 px alone": {"resolutions": (8, 32)},
}
IMAGES = 1000  # number of images that are judged


def train(form: str, data: str, resolution: int, seconds: float, seed: int, out: str) -> dict:
    """Train a form and save samples of it.

    Args:
        form: key of FORMS.
        data: location of the photos.
        resolution: size of the images in pixels.
        seconds: processor time of the training steps.
        seed: the run's seed.
        out: .npz file to write.

    Returns:
        {"images": images seen in all, "last": at the last resolution, "seconds": processor time}.
    """
    import tensorflow as tf

    for threads in (
        tf.config.threading.set_intra_op_parallelism_threads,
        tf.config.threading.set_inter_op_parallelism_threads,
    ):
        threads(1)
    from pggan_tf.api import jobs, machines
    from pggan_tf.config import resolve
    from pggan_tf.runs import generators
    from pggan_tf.training import distribution, execution, loop, planning
    from pggan_tf.training import precision as precisions

    options = {"target_res": resolution, "seed": seed, "report": False, "checkpoint_minutes": 1e6} | FORMS[form]
    options |= {"precision": "float32", "minutes": seconds / 60}
    if "resolutions" in options:
        del options["target_res"]
    plan, machine = (
        resolve(options if data == "portraits" else options | {"data": data}),
        machines.make_machine(False, ()),
    )
    shards = jobs.prepare_data(plan, machine)
    with distribution.join_cluster("cpu", machine.cluster) as strategy, tempfile.TemporaryDirectory() as folder:
        arithmetic = precisions.choose(plan.config, strategy.num_replicas_in_sync)
        setting = execution.Setting(shards, strategy, arithmetic, machine.cluster, say=lambda line: None)
        gan = execution.build(plan, arithmetic.policy)
        programs = execution.Programs(gan, setting)
        speeds = planning.measure_speeds(plan, programs, clock=time.process_time)
        plan = planning.plan_for_seconds(plan, speeds, seconds)
        begun = time.process_time()
        loop.Run(plan, programs, Path(folder)).train()
        taken = time.process_time() - begun
        samples = generators.make_samples(plan.replace(grid=IMAGES), gan.ema, shards)
        gan.ema.calibrate_batch_norm(samples.inputs(512), resolution)
        np.savez(out, samples.images(resolution))
    last = sum(p.images for p in plan.phases if p.resolution == resolution)
    return {"images": plan.phases[-1].end, "last": last, "seconds": taken}


@click.command()
@click.option("--data", required=True, help="photos to train on")
@click.option("--held-out", required=True, help="photos to compare with, which no run sees")
@click.option("--target-res", "resolution", default=32, show_default=True, type=click.IntRange(16))
@click.option("--seconds", default=300.0, show_default=True, help="processor time of the training steps of a form")
@click.option("--forms", default="", help="names of forms, separated by semicolons  [all]")
@click.option("--seeds", default=1, show_default=True, help="number of runs of each form")
@click.option("--runs", default="rules", show_default=True, help="folder of samples")
@page.out_option
def main(data, held_out, resolution, seconds, forms, seeds, runs, out) -> None:
    """Train every form, and write a table with its distances."""
    from pggan_tf import api

    chosen = forms.split(";") if forms else [*FORMS]
    if unknown := [form for form in chosen if form not in FORMS]:
        raise UserError(f"--forms {forms}: {unknown[0]} is none of: {'; '.join(FORMS)}.")
    measure.announce(len(chosen) * seeds * (seconds + 60) * 1.3, "what has been trained already is not again")
    question = "Which settings make the best images of the same seconds of one core?"
    written, rows = page.Page(out, "Training rules", question), []
    folder = Path(runs) / f"{Path(data).name}-{resolution}-{seconds:g}"
    folder.mkdir(parents=True, exist_ok=True)
    for form in chosen:
        for seed in range(seeds):
            file = (folder / f"{form.replace(', ', '-').replace(' ', '-')}-{seed}").absolute()
            samples, figures = file.with_suffix(".npz"), file.with_suffix(".json")
            if not figures.is_file():
                settings = {"data": str(Path(data).absolute()) if Path(data).exists() else data, "out": str(samples)}
                settings |= {"form": form, "resolution": resolution, "seconds": seconds, "seed": seed}
                figures.write_text(json.dumps(measure.in_process(train, **settings)))
            seen = json.loads(figures.read_text())
            found = api.evaluate(held_out, samples, metrics=["swd", "fid"], features="random", images=IMAGES)
            values = [f"{found[name]:.3g}" for name in ("swd", "fid[random]")]
            rows.append((form, seed, f"{seen['images']:,}", f"{seen['last']:,}", *values))
    heads = ("form", "seed", "images", f"of these at {resolution} px", "SWD", "FID on `random` features")
    written.table(heads, rows)
    written.notes(
        f"{seconds:g} seconds of one core's time for the training steps of each, {IMAGES:,} images against others.",
        "`default` is the recipe `pggan`; the other forms change only what is named.",
    )
