"""Race settings: which make the best images of the same seconds of one core?

python -m benchmarks.quality --data FACES --data HORSES --data portraits --target-res 32 --seconds 300 --seeds 3

The settings are the paper's, changes to them, the default of earlier versions, the default and
changes to it. Seconds are processor time of training steps on one core, so other work on the
machine changes little, and starting, compiling and drawing are left out. Every form is trained in a
process of its own on a core of its own, and a sixth of the photos is held out. The moving average of
the generator then makes 1,000 images, which are compared with as many photos that were held out.
Both stay in --runs as .npz files, for other judges. If the benchmark is stopped, the next call goes
on with what is missing.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("benchmarks.quality:main"))

import itertools
import json
import queue
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent import futures
from pathlib import Path

import click
import numpy as np

from benchmarks import measure, page
from pggan_tf.errors import UserError

# The paper's loss, learning rate and updates (Karras et al. 2018, appendix A.1), and its networks, at
# the default's width. All forms share the time among the stages as the default does: the paper has
# equally many images at every stage, which are too few at the beginning of a run that takes minutes.
STANDARD, TWO_STAGE = {"conv": "standard"}, {"update": "two-stage"}
OLD_BATCHES = {"batch": {4: 64, 16: 32, 32: 16}, "decay_share": 0.0}
PAPER = STANDARD | TWO_STAGE | OLD_BATCHES | {"loss": "wgan-gp", "learning_rate": {4: 1e-3}, "fmap_base": 2048}
BEFORE = OLD_BATCHES | {"fmap_base": 2048}  # the default until 0.2
FORMS: dict[str, dict] = {
    "paper": PAPER,
    "paper, one-stage": PAPER | {"update": "one-stage"},
    "paper, lazy R1": PAPER | {"loss": "nonsaturating-r1"},
    "paper, separable": PAPER | {"conv": "separable"},
    "default of 0.2": BEFORE,
    "default of 0.2, batches of half the size": BEFORE | {"batch": {4: 32, 16: 16, 32: 8}},
    "default of 0.2, with a rate that falls": BEFORE | {"decay_share": 0.7},
    "default of 0.2, half the maps": BEFORE | {"fmap_base": 1024},
    "default": {},
    "two-stage": TWO_STAGE,
    "standard convolutions": STANDARD,
    "batches of twice the size": {"batch": {4: 32, 16: 16, 32: 8}},
    "a constant rate": {"decay_share": 0.0},
    "twice the rate": {"learning_rate": {4: 8e-3}},
    "twice the maps": {"fmap_base": 2048},
    "half the maps": {"fmap_base": 512},
    "up to 256 maps": {"fmap_max": 256},
    "gamma of 0.1": {"penalty_weight": {4: 0.1}},
    "gamma of 1": {"penalty_weight": {4: 1.0}},
    "a discriminator at twice the rate": {"discriminator_rate": 2.0},
    "beta2 of 0.999": {"adam_betas": (0.0, 0.999)},
    "adaptive augmentation": {"augment": "ada"},
    "no fades": {"fade_share": 0.0},
    "8 and 32 px alone": {"resolutions": (8, 32)},
}
IMAGES = 1000  # number of images that are judged
METRICS = ("swd", "fid[random]")
HELD_OUT = 1 / 6  # share of the photos that no run sees


def train(form: str, data: str, resolution: int, seconds: float, seed: int, out: str, core: int) -> dict:
    """Train a form, and save images of it, and photos that it has not seen, as .npz files.

    Args:
        form: key of FORMS.
        data: location of the photos, or portraits.
        resolution: size of the images in pixels.
        seconds: processor time of the training steps.
        seed: the run's seed.
        out: file of the images to write; that of the photos is photos.npz beside it.
        core: number of the processor core to train on.

    Returns:
        {"images": images seen in all, "last": at the last resolution, "seconds": processor time}.
    """
    measure.keep_to([core])
    import tensorflow as tf

    for threads in (
        tf.config.threading.set_intra_op_parallelism_threads,
        tf.config.threading.set_inter_op_parallelism_threads,
    ):
        threads(1)
    from pggan_tf.api import jobs, machines
    from pggan_tf.config import resolve
    from pggan_tf.data import pipeline
    from pggan_tf.runs import generators
    from pggan_tf.training import distribution, execution, loop, planning
    from pggan_tf.training import precision as precisions

    options = {"target_res": resolution, "seed": seed, "report": False, "checkpoint_minutes": 1e6} | FORMS[form]
    options |= {"precision": "float32", "minutes": seconds / 60, "held_out": HELD_OUT}
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
    count = shards.count(resolution)
    unseen = count - pipeline.train_count(count, HELD_OUT)
    numbers = pipeline.holdout_indices(pipeline.sample_indices(min(IMAGES, unseen), unseen), count, HELD_OUT)
    photos = Path(out).with_name("photos.npz")
    if not photos.is_file():
        own = photos.with_name(f"photos-{core}.npz")  # another process may write them, too
        np.savez(own, shards.read(resolution, numbers))
        own.replace(photos)
    last = sum(p.images for p in plan.phases if p.resolution == resolution)
    return {"images": plan.phases[-1].end, "last": last, "seconds": taken}


def finish(settings: dict, out: Path, free: queue.Queue) -> None:
    """Train a form on a free core, unless that is done already.

    Args:
        settings: arguments of `train` by name.
        out: .npz file of the images; what `train` returns is kept beside it as .json.
        free: numbers of the cores on which nothing is trained now.
    """
    if not out.with_suffix(".json").is_file():
        core = free.get()
        try:
            figures = measure.in_process(train, **settings, out=str(out), core=core)
        finally:
            free.put(core)
        out.with_suffix(".json").write_text(json.dumps(figures))


def judge(samples: Path) -> dict[str, float]:
    """Return the distances of the images of a form from the photos beside them, with what `train` returned.

    They are computed once. samples: .npz file of the images.
    """
    from pggan_tf import api

    file = samples.with_suffix(".json")
    figures = json.loads(file.read_text())
    if METRICS[0] not in figures:
        photos = samples.with_name("photos.npz")
        found = api.evaluate(photos, samples, metrics=["swd", "fid"], features="random", images=IMAGES)
        figures |= {name: found[name] for name in METRICS}
        file.write_text(json.dumps(figures))
    return figures


def span(values: Sequence[float]) -> str:
    """Return the mean of the values of all seeds, and their range if there are several."""
    mean = f"{statistics.mean(values):.3g}"
    return mean if len(values) < 2 else f"{mean} ({min(values):.3g}..{max(values):.3g})"


@click.command()
@click.option("--data", "sources", multiple=True, default=("portraits",), show_default=True)
@click.option("--target-res", "resolution", default=32, show_default=True, type=click.IntRange(16))
@click.option("--seconds", default=300.0, show_default=True, help="processor time of the training steps of a form")
@click.option("--forms", default="", help="names of forms, separated by semicolons  [all]")
@click.option("--seeds", default=1, show_default=True, help="number of runs of each form", type=click.IntRange(1))
@click.option("--runs", default="quality", show_default=True, help="folder of the results")
@page.out_option
def main(
    sources: tuple[str, ...], resolution: int, seconds: float, forms: str, seeds: int, runs: str, out: Path | None
) -> None:
    """Train every form on all data, and write a table with the distances."""
    if len({Path(data).name for data in sources}) < len(sources):
        raise UserError(
            f"--data {' --data '.join(sources)}: give folders of different names, by which results are kept."
        )
    chosen = forms.split(";") if forms else [*FORMS]
    if unknown := [form for form in chosen if form not in FORMS]:
        raise UserError(f"--forms {forms}: {unknown[0]} is none of: {'; '.join(FORMS)}.")
    cores = measure.cores()
    asked = len(sources) * len(chosen) * seeds * (seconds + 60) * 1.3
    measure.announce(asked / min(2, len(cores)), "what has been trained already is not again")
    written = page.Page(out, "Quality", "Which settings make the best images of the same seconds of one core?")
    free: queue.Queue = queue.Queue()
    for core in cores:
        free.put(core)
    with futures.ThreadPoolExecutor(len(cores)) as pool:
        jobs: dict[tuple[str, str], list[tuple[Path, futures.Future]]] = {}
        for data in sources:
            folder = Path(runs).absolute() / f"{Path(data).name}-{resolution}-{seconds:g}"
            folder.mkdir(parents=True, exist_ok=True)
            common = {"data": str(Path(data).absolute()) if Path(data).exists() else data}
            common |= {"resolution": resolution, "seconds": seconds}
            for form, seed in itertools.product(chosen, range(seeds)):
                file = folder / f"{form.replace(', ', '-').replace(' ', '-').replace('.', '-')}-{seed}.npz"
                job = pool.submit(finish, common | {"form": form, "seed": seed}, file, free)
                jobs.setdefault((data, form), []).append((file, job))
        rows = []
        for (data, form), several in jobs.items():
            for _, job in several:
                job.result()
            found = [judge(file) for file, _ in several]
            means = (f"{statistics.mean(one[name] for one in found):,.0f}" for name in ("images", "last", "seconds"))
            values = (span([one[name] for one in found]) for name in METRICS)
            rows.append((Path(data).name, form, *means, *values))
    heads = ("data", "form", "images", f"of these at {resolution} px", "seconds", "SWD", "FID on `random` features")
    written.table(heads, rows)
    written.notes(
        f"{seconds:g} seconds of one core's time were planned for the training steps of each, by the speed at its start; "
        f"`seconds` is what they took. {IMAGES:,} images against photos that "
        f"no run has seen; {seeds} seed{'s' * (seeds > 1)}{', mean (least..most)' * (seeds > 1)}.",
        "The forms below `default` change only what is named; `default` is the recipe `pggan`.",
        "`FID on random features`: on those of a fixed random network, for comparisons here alone.",
    )
