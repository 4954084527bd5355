"""Race settings: which make the best images of the same seconds of one core?

python -m benchmarks.quality --data FACES --data HORSES --data portraits --target-res 32 --seconds 300

The settings are the paper's, changes to them, the default of 0.2, the default and changes to it.
Seconds are processor time of training steps, which other work on the machine changes less than the
clock's; starting, compiling and drawing are left out. Every form is trained in a process of its own, as many
at once as there are processors; `taskset` gives fewer. The moving average of the generator then
makes 1,000 images, which are compared with 1,000 photos that are held out. Both stay in --runs as
.npz files, for other judges. If the benchmark is stopped, the next call goes on with what is missing.
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
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent import futures
from pathlib import Path

import click
import numpy as np

from benchmarks import measure, page
from pggan_tf import files
from pggan_tf.config import Plan
from pggan_tf.errors import UserError
from pggan_tf.option_types import FloatRange

# The paper's loss, learning rate and updates (Karras et al. 2018, appendix A.1), and its convolutions,
# with the width and the batches of the default of 0.2. These forms share the time among the stages as
# the default does: the paper has equally many images at every stage, which are too few at the
# beginning of a run that takes minutes.
STANDARD, TWO_STAGE = {"conv": "standard"}, {"update": "two-stage"}
BEFORE = measure.PLAIN | {  # 0.2, below 256 px
    "learning_rate": {4: 4e-3},
    "batch": {4: 64, 16: 32, 32: 16},
    "decay_share": 0.0,
    "fmap_base": 2048,
}
PAPER = BEFORE | STANDARD | TWO_STAGE | {"loss": "wgan-gp", "learning_rate": {4: 1e-3}}
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
    "default, two-stage": TWO_STAGE,
    "default, standard convolutions": STANDARD,
    "default, batches of half the size": {"batch": {4: 8, 16: 4, 32: 2}, "stddev_group": 2},
    "default, batches of twice the size": {"batch": {4: 32, 16: 16, 32: 8}},
    "default, a constant rate": {"decay_share": 0.0},
    "default, half the rate": {"learning_rate": {4: 4e-3, 64: 3e-3, 128: 2e-3}},
    "default, twice the maps": {"fmap_base": 2048},
    "default, half the maps": {"fmap_base": 512},
    "default, gamma of 0.1": {"penalty_weight": {4: 0.1}},
    "default, gamma of 1": {"penalty_weight": {4: 1.0}},
    "default, gamma of 3": {"penalty_weight": {4: 3.0}},
    "default, adaptive augmentation": {"augment": "ada"},
    "default, no fades": {"fade_share": 0.0},
    "default, repeated pixels": {"upsampling": "nearest"},
    "default, latents at the beginning alone": {"modulation": "none"},
    "default, plain generator": measure.PLAIN,
    "default, a discriminator at twice the rate": {"discriminator_rate": 2.0},
    "default, from the weights of portraits": {"init_from": "portraits"},
}
IMAGES = 1000  # number of images that are judged
METRICS = ("swd", "fid[random]")
HELD_OUT = 1 / 5  # share of the photos that no run sees


def make_options(form: str, data: str, resolution: int, seconds: float, seed: int) -> dict:
    """Return {option: value} of a form's run.

    Args:
        form: key of FORMS.
        data: location of the photos, or portraits.
        resolution: size of the images in pixels.
        seconds: processor time of the training steps.
        seed: the run's seed.
    """
    options = {"target_res": resolution, "seed": seed, "report": False, "checkpoint_minutes": 1e6} | FORMS[form]
    options |= {"precision": "float32", "minutes": seconds / 60, "held_out": HELD_OUT}
    return options if data == "portraits" else options | {"data": data}


def make_plan(**settings) -> Plan:
    """Return the plan of a form's run, before its minutes are planned; `settings` are those of `make_options`."""
    from pggan_tf.training import requests

    (plan,) = requests.plans(requests.absolute(make_options(**settings)))
    return plan


def train(out: str, core: int, **settings) -> dict:
    """Train a form, and save images of it.

    Args:
        out: .npz file of the images to write.
        core: number of the processor to train on.
        **settings: arguments of `make_options`.

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
    from pggan_tf.runs import generators
    from pggan_tf.training import distribution, execution, loop, planning, transfer
    from pggan_tf.training import precision as precisions

    plan, machine = make_plan(**settings), machines.make_machine(False, ())
    resolution, seconds = plan.target_res, settings["seconds"]
    shards = jobs.prepare_data(plan, machine)
    with distribution.join_cluster("cpu", machine.cluster) as strategy, tempfile.TemporaryDirectory() as folder:
        arithmetic = precisions.choose(plan.config, strategy.num_replicas_in_sync)
        setting = execution.Setting(shards, strategy, arithmetic, machine.cluster, say=lambda line: None)
        plan, gan = transfer.build(plan, setting)
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


def hold_out(data: str, resolution: int, folder: Path) -> None:
    """Prepare photos, and save those that no run sees in photos.npz.

    Args:
        data: location of the photos, or portraits.
        resolution: size of the images in pixels.
        folder: folder of the results.

    Raises:
        UserError: if there are too few photos, or `folder` has those of other data.
    """
    from pggan_tf.api import jobs, machines
    from pggan_tf.data import pipeline

    plan = make_plan(form="default", data=data, resolution=resolution, seconds=60, seed=0)
    shards = jobs.prepare_data(plan, machines.make_machine(False, ()))
    count = shards.count(resolution)
    unseen = count - pipeline.train_count(count, HELD_OUT)
    if unseen < IMAGES:
        raise UserError(
            f"--data {data}: {count:,} photos, of which {unseen:,} would be held out; expected at least "
            f"{IMAGES / HELD_OUT:,.0f}, of which {IMAGES:,} are."
        )
    photos, written, checksum = folder / "photos.npz", folder / "data.json", shards.manifest.checksum
    if written.is_file() and json.loads(written.read_text()) != checksum:
        raise UserError(f"--runs: {folder} has results of other photos than those in {data} now; give another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    if not (photos.is_file() and written.is_file()):  # else they may be of other data, from a stopped run
        numbers = pipeline.holdout_indices(pipeline.sample_indices(IMAGES, unseen), count, HELD_OUT)
        with files.atomic_write(photos) as partial, partial.open("wb") as opened:
            np.savez(opened, shards.read(resolution, numbers))
    _write(written, checksum)


def finish(settings: dict, out: Path, free: queue.Queue) -> None:
    """Train a form on a free processor, unless that is done already.

    Args:
        settings: arguments of `make_options` by name.
        out: .npz file of the images; what `train` returns is kept beside it as .json.
        free: numbers of the processors on which nothing is trained now.

    Raises:
        UserError: if the images there are of other options, such as an earlier default.
    """
    options = make_plan(**settings).to_json()
    file = out.with_suffix(".json")
    if file.is_file() and out.is_file():
        if json.loads(file.read_text()).get("options") != json.loads(json.dumps(options)):
            raise UserError(
                f"--runs: {out} was made with other options or another version; remove it, or give another folder."
            )
        return
    core = free.get()
    try:
        figures = measure.in_process(train, **settings, out=str(out), core=core)
    finally:
        free.put(core)
    _write(file, figures | {"options": options})


def _write(file: Path, content) -> None:
    with files.atomic_write(file) as partial:
        partial.write_text(json.dumps(content), encoding="utf-8")


def judge(samples: Path) -> dict:
    """Return the distances of a form's images from the photos beside them, with what `train` returned.

    They are computed once. samples: .npz file of the images.
    """
    from pggan_tf.api import measuring

    file = samples.with_suffix(".json")
    figures = json.loads(file.read_text())
    if METRICS[0] not in figures:
        with tempfile.TemporaryDirectory() as cache:
            settings = measuring.Settings("random", images=IMAGES, cache=cache)
            photos = str(samples.with_name("photos.npz"))
            found = measuring.measure(photos, str(samples), "swd,fid", settings, say=lambda line: None)
        figures |= {name: found[name] for name in METRICS}
        _write(file, figures)
    return figures


def train_all(jobs: Sequence[tuple[dict, Path]]) -> dict[Path, Exception]:
    """Train all forms, as many at once as there are processors, and return {file of a form: its error}.

    If the user interrupts that, forms that have not begun are not trained.

    jobs: (settings, file) of each form, see `finish`.
    """
    cores = measure.cores()
    free: queue.Queue = queue.Queue()
    for core in cores:
        free.put(core)
    failed: dict[Path, Exception] = {}
    pool = futures.ThreadPoolExecutor(len(cores))
    try:
        begun = {pool.submit(finish, settings, file, free): file for settings, file in jobs}
        for job in futures.as_completed(begun):
            if isinstance(error := job.exception(), UserError):
                raise error
            if isinstance(error, Exception):
                failed[begun[job]] = error
                print(f"{begun[job].stem}: {error}", file=sys.stderr, flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    return failed


def format_span(values: Sequence[float]) -> str:
    """Return the mean of the values of all seeds, and their range if there are several."""
    mean = f"{statistics.mean(values):.3g}"
    return mean if len(values) < 2 else f"{mean} ({min(values):.3g}..{max(values):.3g})"


@click.command()
@click.option("--data", "sources", multiple=True, default=("portraits",), show_default=True)
@click.option("--target-res", "resolution", default=32, show_default=True, type=click.IntRange(16))
@click.option(
    "--seconds",
    default=300.0,
    show_default=True,
    help="processor time of the training steps of a form",
    type=FloatRange(0, min_open=True),
)
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
    chosen = list(dict.fromkeys(form.strip() for form in forms.split(";") if form.strip())) or [*FORMS]
    if unknown := [form for form in chosen if form not in FORMS]:
        raise UserError(f"--forms {forms}: {unknown[0]} is none of: {'; '.join(FORMS)}.")
    asked = len(sources) * len(chosen) * seeds * (seconds + 60) * 1.3
    measure.announce(asked / min(2, len(measure.cores())), "what has been trained already is not again")
    written = page.Page(out, "Quality", "Which settings make the best images of the same seconds of one core?")
    results: dict[tuple[str, str], list[Path]] = {}
    jobs = []
    for data in sources:
        here = str(Path(data).absolute()) if Path(data).exists() else data
        folder = Path(runs).absolute() / f"{Path(data).name}-{resolution}-{seconds:g}"
        hold_out(here, resolution, folder)
        for form, seed in itertools.product(chosen, range(seeds)):
            name = form.replace(", ", "-").replace(" ", "-").replace(".", "-")
            file = folder / f"{name}-{seed}.npz"
            settings = {"form": form, "data": here, "resolution": resolution, "seconds": seconds, "seed": seed}
            jobs.append((settings, file))
            results.setdefault((data, form), []).append(file)
    failed = train_all(jobs)
    rows = []
    for (data, form), samples in results.items():
        found = [judge(file) for file in samples if file not in failed]
        if len(found) == len(samples):
            means = (f"{statistics.mean(one[name] for one in found):,.0f}" for name in ("images", "last", "seconds"))
            rows.append(
                (Path(data).name, form, *means, *(format_span([one[name] for one in found]) for name in METRICS))
            )
        else:
            rows.append((Path(data).name, form, *["failed"] * (3 + len(METRICS))))
    random = "FID on `random` features"
    written.table(("data", "form", "images", f"of these at {resolution} px", "seconds", "SWD", random), rows)
    written.notes(
        f"Training steps were planned for {seconds:g} seconds of one core's time, by each form's speed at the start of its run; "
        f"`seconds` is what they took: other work on the machine changes what a second is worth. {IMAGES:,} images against {IMAGES:,} "
        f"photos that no run has seen; {seeds} seed{'s' * (seeds > 1)}{', mean (least..most)' * (seeds > 1)}.",
        "`default` is the recipe `pggan`, in float32 and with a fifth of the photos held out; a form changes only what is named. "
        "`paper` has its loss, rate, updates and convolutions, with the width and batches of the default of 0.2.",
        f"{random}: on those of a fixed random network, for comparisons here alone.",
    )
