"""Compare one-stage training with our two-stage training and the wasteful one of tutorials.

Both the time of an iteration and the quality over time are measured.

python -m benchmarks.one_stage                         # an iteration at 32, 64 and 256 px, and races on drawn portraits
python -m benchmarks.one_stage --race DIR --minutes 5  # races on DIR: sliced Wasserstein distance over minutes, as a plot
python -m benchmarks.one_stage --minutes 0             # time for an iteration alone
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("benchmarks.one_stage:main"))

import functools
import statistics
import time
from pathlib import Path

import click

from benchmarks import measure, page
from pggan_tf.errors import UserError
from pggan_tf.option_types import FloatRange

# Networks and losses: one for each of updates.METHODS, which one-stage training chooses from, and
# the colorizer.
FORMS = {
    "DCGAN, no normalisation in D": {"recipe": "dcgan", "discriminator_norm": "none"},
    "DCGAN": {"recipe": "dcgan"},
    "PGGAN": {"recipe": "pggan", "conv": "standard"},
    "PGGAN, WGAN": {"recipe": "pggan", "loss": "wgan", "spectral": "all"},  # its convolutions are standard
    "colorizer, group norm": {"recipe": "colorize", "held_out": 0.0},
    "colorizer, batch norm": {
        "recipe": "colorize",
        "held_out": 0.0,
        "generator_norm": "batch",
        "discriminator_norm": "batch",
    },
}
BATCHES = {"dcgan": {4: 64, 64: 32, 256: 4}, "pggan": {4: 16, 256: 4}, "colorize": {4: 16, 64: 8, 256: 2}}
RACED = ("DCGAN", "PGGAN", "colorizer, group norm")
IMAGES, SAMPLES = 1024, 9  # images of a measurement up to 64 px (fewer above); number of measurements in a race


def wasteful(context, batches, nearly_nothing):
    """Update both networks in two stages, as they are often written.

    The discriminator's loss is also backpropagated into the generator, and the generator's loss
    also into the discriminator's weights; these gradients are then discarded.

    Unlike eager frameworks, TensorFlow would not compute gradients that nothing uses. So the
    discarded gradients are summed, multiplied with `nearly_nothing` and added to the reported
    losses. `nearly_nothing` is a variable, because TensorFlow might optimise a constant factor
    away.

    Args:
        context: `updates.StepContext`.
        batches: a single `updates.Batch`.
        nearly_nothing: tf.Variable with a value too small to matter.
    """
    import tensorflow as tf

    from pggan_tf.training import updates

    (batch,) = batches
    o = context.objective
    split = len(context.generator_variables)
    everything = [*context.generator_variables, *context.discriminator_variables]

    def asked_for(gradients):
        return nearly_nothing * tf.add_n([tf.reduce_sum(g) for g in gradients])

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(everything)
        fakes = context.generate(batch.condition, batch.fake_labels)
        real, fake = context.discriminate(batch.reals), context.discriminate(fakes)
        loss_d = updates.batch_mean(o.discriminator(real[0], fake[0], batch.labels, batch.fake_labels), context)
    gradients = tape.gradient(loss_d, everything)
    loss_d += asked_for(gradients[:split])
    penalty, more = updates.penalty_gradients(context, batch, fakes)
    context.apply_discriminator(updates.add_gradients(gradients[split:], more), loss_d)
    second, labels = batch.condition, batch.fake_labels
    if batch.second_condition is not None:
        second, labels = batch.second_condition, batch.second_labels
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(everything)
        fakes = context.generate(second, labels)
        loss_g = updates.generator_loss(context, real, context.discriminate(fakes), labels)
        auxiliary = (
            updates.batch_mean(context.auxiliary(fakes, batch.reals), context) if context.auxiliary else tf.zeros([])
        )
        total = loss_g + auxiliary
    gradients = tape.gradient(total, everything)
    loss_g += asked_for(gradients[split:])
    context.apply_generator(gradients[:split], total)
    return updates.collect_stats(context, loss_d, loss_g, auxiliary, penalty, real[0], fake[0])


RULES = ("one-stage", "two-stage", "wasteful two-stage")


def _plan(form: str, resolution: int, precision: str, **changes):
    from pggan_tf import schedule
    from pggan_tf.config import resolve

    settings = dict(FORMS[form])
    recipe = settings.pop("recipe")
    if recipe == "dcgan":
        settings["fmap_base"] = 16 * resolution
    if recipe != "pggan":
        settings["target_res"] = resolution
    batch = schedule.lookup(BATCHES[recipe], resolution)
    base = {"recipe": recipe, "target_res": resolution, "batch": {4: batch}, "precision": precision}
    return resolve({**base, **settings, "update": "one-stage", **changes})


def _rule(rule: str):
    import tensorflow as tf

    from pggan_tf.training import updates

    if rule in updates.UPDATES:
        return updates.UPDATES[rule]
    return functools.partial(wasteful, nearly_nothing=tf.Variable(1e-30, trainable=False))


def iteration(form: str, rule: str, resolution: int, precision: str) -> dict:
    """Measure an iteration of both networks without a penalty.

    Return what `measure.bare_step` returns: milliseconds, operations, how the generator's gradient
    is computed.
    """
    return measure.bare_step(_plan(form, resolution, precision, penalty="none"), _rule(rule))


def race(form: str, rule: str, resolution: int, precision: str, data: str, minutes: float) -> list:
    """Train with an update rule and measure the averaged generator as training goes on.

    Returns:
        A list of [seconds of training, images seen, sliced Wasserstein distance].
    """
    import numpy as np

    from pggan_tf import synthesis
    from pggan_tf.data.shards import find_cache_folder
    from pggan_tf.metrics import sets
    from pggan_tf.runs import generators
    from pggan_tf.training import distribution, execution
    from pggan_tf.training import precision as precisions
    from preprocessing import cache

    none = dict.fromkeys([4, resolution], 0)
    plan = _plan(
        form, resolution, precision, stable_images={**none, resolution: 10**9}, fade_images={4: 0}, decay_share=0.0
    )
    images = plan.config.images
    squares = cache.Squares(plan.target_res, plan.resolutions, images.filter, images.channels)
    selection = cache.Selection.of(data, count=images.portraits)
    shards = cache.open_shards(selection, None, squares, say=lambda line: None)
    strategy = distribution.create_strategy()
    arithmetic = precisions.choose(plan.config, strategy.num_replicas_in_sync)
    gan = execution.build(plan, arithmetic.policy)
    gan.update = _rule(rule)
    (phase,) = plan.phases
    gan.begin(phase)
    setting = execution.Setting(shards, strategy, arithmetic)
    call, iterator = execution.Programs(gan, setting).prepare(phase, plan.training_images(shards, resolution), 0)
    samples = generators.make_samples(plan, gan.ema, shards)
    count, cache = min(IMAGES * 64 // max(64, resolution), len(shards)), find_cache_folder(None)
    if isinstance(samples, synthesis.FromImages):
        truth = sets.read_originals(samples)
    else:
        truth = sets.read_shards(shards, resolution)
    reals = sets.collect_statistics(("swd",), truth, 0, count, None, cache)

    def distance() -> float:
        gan.ema.calibrate_batch_norm(samples.inputs(512))
        if isinstance(samples, synthesis.FromImages):
            made = sets.convert_originals(samples)
        else:
            made = sets.generate(samples.sampler, resolution, first_seed=1 << 21)
        fakes = sets.collect_statistics(("swd",), made, 0, count, None, cache)
        return sets.compute_figures(("swd",), reals, fakes, None)["swd"].value

    call(iterator, 1)
    steps, seconds, out, nexts = 1, 0.0, [], np.geomspace(minutes * 60 / 20, minutes * 60, SAMPLES)
    while len(out) < SAMPLES:
        begun = time.perf_counter()
        done = int(call(iterator, steps)[0])
        taken = time.perf_counter() - begun
        seconds += taken
        steps = max(
            1, min(4 * steps, round(steps * 1.0 / taken), round((nexts[len(out)] - seconds) * done / taken) or 1)
        )
        if seconds >= nexts[len(out)]:
            out.append([seconds, int(gan.images_seen.numpy()), distance()])
    return out


def time_to(curve: list, level: float) -> float | None:
    """Return the minutes after which a race first reached the distance `level`, or None.

    The time is interpolated linearly between two measurements. If the first measurement already
    reaches the level, its time is returned, which is an upper bound.
    """
    before = None
    for seconds, _images, value in curve:
        if value <= level:
            if before is None:
                return seconds / 60
            share = (before[1] - level) / (before[1] - value)
            return (before[0] + share * (seconds - before[0])) / 60
        before = (seconds, value)
    return None


def plot(races: dict, path: Path) -> None:
    """Plot the quality over training time, with a row of panels for each size.

    Args:
        races: {(pixels, form): {rule: curve}}.
        path: the picture to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sizes, forms = (list(dict.fromkeys(key[i] for key in races)) for i in (0, 1))
    shape = {"figsize": (4.2 * len(forms), 3.4 * len(sizes)), "squeeze": False, "layout": "constrained"}
    figure, axes = pyplot.subplots(len(sizes), len(forms), **shape)
    for (size, form), curves in races.items():
        axis = axes[sizes.index(size), forms.index(form)]
        for rule, curve in curves.items():
            axis.plot([s / 60 for s, _, _ in curve], [v for _, _, v in curve], marker=".", label=rule)
        axis.set(xlabel="minutes of training", ylabel="sliced Wasserstein distance × 10³", yscale="log")
        axis.set(title=f"{form}, {size} px")
        axis.legend()
    figure.savefig(path, dpi=120)


@click.command()
@click.option("--resolutions", "sizes", default="32,64,256", show_default=True, type=page.Numbers(4))
@click.option(
    "--forms",
    default=",".join(map(str, range(len(FORMS)))),
    show_default=True,
    type=page.Numbers(0, range(len(FORMS))),
    help="; ".join(f"{i}: {f}" for i, f in enumerate(FORMS)),
)
@click.option("--precision", default="auto", show_default=True)
@click.option(
    "--rounds",
    default=3,
    show_default=True,
    type=click.IntRange(0),
    help="number of times that every update rule is measured, in turn",
)
@click.option(
    "--race",
    "data",
    default="portraits",
    show_default=True,
    help="images for the races, which measure quality over time",
)
@click.option(
    "--minutes",
    default=3.0,
    show_default=True,
    type=FloatRange(0),
    help="minutes of training for every update rule in a race; 0: no races",
)
@page.out_option
def main(
    sizes: list[int], forms: list[int], precision: str, rounds: int, data: str, minutes: float, out: Path | None
) -> None:
    chosen = [list(FORMS)[i] for i in forms]
    if not rounds and not minutes:
        raise UserError("--rounds 0 --minutes 0: nothing is measured. Give one of them.")
    each = len(sizes) * len(chosen) * len(RULES)
    measure.announce(each * rounds * 40 + (each * (60 * minutes + 60) if minutes else 0))
    question = (
        "How much time does one-stage training save over two-stage training, ours and the wasteful form of tutorials?"
    )
    written = page.Page(out, "One-stage and two-stage training", question)
    if rounds:
        _compare_steps(written, [(size, form) for size in sizes for form in chosen], precision, rounds)
    if minutes:
        raced = [(size, form) for size in sizes for form in RACED if form in chosen]
        _compare_races(written, raced, precision, data, minutes)


def _compare_steps(written: page.Page, measured: list[tuple[int, str]], precision: str, rounds: int) -> None:
    """Add a table of the time of an iteration with every update rule."""
    table = []
    for resolution, form in measured:
        shape = {"form": form, "resolution": resolution, "precision": precision}
        rows = [[measure.in_process(iteration, rule=r, **shape) for r in RULES] for _ in range(rounds)]
        ms = [statistics.median(r[i]["ms"] for r in rows) for i in range(3)]
        work = [rows[0][i]["gflop"] for i in range(3)]
        faster = [statistics.median(r[i]["ms"] / r[0]["ms"] for r in rows) for i in (1, 2)]
        gained = (f"{faster[i - 1]:.2f} ({work[i] / work[0]:.2f})" for i in (1, 2))
        table.append((resolution, form, *(f"{m:.0f}" for m in ms), *gained, _way(rows[0][0]["how"])))
    shares = ("times faster than two-stage", "than the wasteful")
    written.table(("px", "network", *(f"{rule}, ms" for rule in RULES), *shares, "G's gradient"), table)
    written.notes(
        f"An iteration of both networks without a penalty, {precision}; median of {rounds} rounds in turn.",
        "In brackets the same by operations of convolutions and matrix products.",
    )


def _compare_races(written: page.Page, raced: list[tuple[int, str]], precision: str, data: str, minutes: float) -> None:
    """Add a table and a plot of the quality that every update rule reaches in the same time."""
    races: dict = {}
    table, picture = [], written.picture("races")
    for resolution, form in raced:
        shape = {"form": form, "resolution": resolution, "precision": precision}
        curves = {r: measure.in_process(race, rule=r, data=data, minutes=minutes, **shape) for r in RULES}
        races[resolution, form] = curves
        plot(races, picture)  # after each race, so that no result is lost
        level = max(min(v for _, _, v in curve) for curve in curves.values())
        first = time_to(curves[RULES[0]], level)
        for rule, curve in curves.items():
            best, reached = min(v for _, _, v in curve), time_to(curve, level)
            cells = (f"{curve[-1][1]:,}", f"{best:.1f}", f"{level:.1f}", f"{reached:.2f}", f"{reached / first:.2f}")
            table.append((resolution, form, rule, *cells))
            click.echo(
                f"{resolution} px, {form}, {rule}: best {best:.1f}, {level:.1f} after {reached:.2f} min", err=True
            )
    reached_by = ("best distance", "distance that all reach", "minutes to it", "times one-stage's")
    written.table(("px", "network", "rule", "images", *reached_by), table)
    written.text(f"![sliced Wasserstein distance over minutes of training]({picture.name})")
    written.notes(
        f"{minutes:g} minutes of training for each, on {page.shorten(data)}; one race each.",
        f"Distances are of {IMAGES:,} images up to 64 px, of fewer above: biased upwards, and for comparisons here alone.",
    )


def _way(how: str) -> str:
    from pggan_tf.training import updates

    return next(name for name, text in updates.METHODS.items() if text in how)
