"""Compute the schedule of a run: its phases, their lengths and the expected time.

A run trains in stages, one per resolution. A stage consists of phases: a fade, in which the weight
of the newest block of layers (alpha) rises from 0 to 1, and a stable phase after it. The first
stage has no fade, but may begin with a phase in which the generator learns from its pixel loss
alone. A step updates the discriminator once or several times and the generator once. Positions in
a run are counted in real images that it has seen.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from pggan_tf import shapes
from pggan_tf.errors import UserError
from pggan_tf.shapes import LARGEST, SMALLEST, SQUARE, Aspect

T = TypeVar("T")


class Part(NamedTuple):
    """The properties of a phase that the time of a step depends on; phases are timed by part."""

    resolution: int  # longer side in pixels
    fade: bool  # whether the newest block fades in
    adversarial: bool  # whether there is a discriminator


@dataclass(frozen=True)
class Phase:
    """A phase of training at one resolution: its newest block fades in, or has faded in before.

    Start and end are given as the number of real images that the whole run has seen.
    """

    index: int  # number of the phase in the run, from 0
    resolution: int  # longer side of the images in pixels
    fade: bool  # whether the newest block fades in
    start: int  # images seen when the phase starts
    images: int  # images seen during the phase
    batch: int  # images of one update
    learning_rate: float
    stage_start: int  # images seen when the first phase of this resolution starts
    critic_steps: int = 1  # updates of the discriminator in a step, each on its own batch
    adversarial: bool = True  # False: the generator learns from its pixel loss alone
    decay_images: int = 0  # images at the end of the phase over which the learning rate falls to 0
    aspect: Aspect = SQUARE  # width and height of the images in lowest terms

    @property
    def part(self) -> Part:
        """The properties of this phase that the time of a step depends on."""
        return Part(self.resolution, self.fade, self.adversarial)

    @property
    def images_per_step(self) -> int:
        """Number of real images in a step."""
        return self.batch * self.critic_steps

    @property
    def end(self) -> int:
        """Number of images that the run has seen when the phase ends."""
        return self.start + self.images

    @property
    def name(self) -> str:
        """Name for messages, such as '16px fade' or '12x16px fade'."""
        kind = "fade" if self.fade else "stable" if self.adversarial else "pixel loss"
        return f"{shapes.name_size(self.resolution, self.aspect)}px {kind}"

    def alpha(self, images_seen: int) -> float:
        """Return the weight of the newest block, 0..1, after `images_seen` images of the run.

        See Karras et al. 2018, section 2.
        """
        return min((images_seen - self.start) / self.images, 1.0) if self.fade else 1.0

    def rate(self, images_seen: int) -> float:
        """Return the factor (1 to 0) of the learning rate after `images_seen` images of the run."""
        return min((self.end - images_seen) / self.decay_images, 1.0) if self.decay_images else 1.0


def doubling(target_res: int, aspect: Aspect = SQUARE) -> tuple[int, ...]:
    """Return the resolutions 4, 8, ... up to `target_res`.

    Images that are not square begin with the smallest longer side for which both sides are whole.

    Raises UserError if target_res is not a power of two from 4 to 1024, or such a multiple of the
    first longer side.
    """
    if aspect != SQUARE:
        return _double_rectangle(target_res, aspect)
    if target_res in (powers := [2**k for k in range(2, 11)]):
        return tuple(p for p in powers if p <= target_res)
    below, above = [p for p in powers if p < target_res], [p for p in powers if p > target_res]
    nearest = [*below[-1:], *above[:1]]
    near = f"The nearest {'are' if len(nearest) > 1 else 'is'} {' and '.join(map(str, nearest))}."
    raise UserError(
        f"--target-res {target_res}: not a power of two from {SMALLEST} to {LARGEST}. {near} "
        "Other sizes go by --resolutions, such as 4,8,16,32,96."
    )


def _double_rectangle(target_res: int, aspect: Aspect) -> tuple[int, ...]:
    """Return the resolutions of `doubling` for images that are not square."""
    sizes = shapes.list_doublings(aspect)
    if target_res in sizes:
        return tuple(r for r in sizes if r <= target_res)
    nearest = [*[r for r in sizes if r < target_res][-1:], *[r for r in sizes if r > target_res][:1]]
    near = " and ".join(shapes.name_size(r, aspect) for r in nearest)
    raise UserError(
        f"--target-res {target_res} with --shape {shapes.name_aspect(aspect)}: the longer side is not {sizes[0]} times a power of "
        f"two. The nearest {'are' if len(nearest) > 1 else 'is'} {near}. "
        f"Other sizes go by --resolutions, such as {sizes[0]},{2 * sizes[0]},{6 * sizes[0]}."
    )


def check_resolutions(resolutions: Sequence[int], aspect: Aspect = SQUARE) -> tuple[int, ...]:
    """Return the resolutions as a tuple.

    Raises UserError if a resolution is not from 2 to 1024, or is not a larger multiple of the one
    before it, or if images with this longer side and aspect have no whole sides.
    """
    if not resolutions or min(resolutions) < 2 or max(resolutions) > LARGEST:
        raise UserError(
            f"--resolutions {','.join(map(str, resolutions))}: expected sizes from 2 to {LARGEST}, such as 4,8,16,32,96."
        )
    for low, high in zip(resolutions, resolutions[1:]):
        if high <= low or high % low:
            raise UserError(
                f"--resolutions {','.join(map(str, resolutions))}: {high} is not a larger multiple of {low}. "
                "Each resolution has to be a whole multiple of the one before, such as 4,8,16,32,96."
            )
    if not shapes.fits(resolutions[0], aspect):
        first = shapes.find_first_resolution(aspect)
        raise UserError(
            f"a longer side of {resolutions[0]} px with --shape {shapes.name_aspect(aspect)}: the shorter side is not whole. "
            f"Give multiples of {max(aspect)}, such as --resolutions {first},{2 * first},{4 * first}."
        )
    return tuple(resolutions)


def lookup(table: Mapping[int, T], resolution: int) -> T:
    """Return the value of a per-resolution table for `resolution`.

    Args:
        table: {resolution: value}. A resolution that is missing has the value of the next lower
            one, or of the lowest one if none is lower.
        resolution: resolution in pixels.
    """
    lower = [r for r in table if r <= resolution]
    return table[max(lower) if lower else min(table)]


@dataclass(frozen=True)
class Budget:
    """Numbers of images to train on in each kind of phase."""

    fade: Mapping[int, int]  # {resolution: images of the phase in which it fades in}
    stable: Mapping[int, int]  # {resolution: images of the phase after that}
    pretrain: int = 0  # images at the start to train the generator on, with its pixel loss alone

    def scaled(self, total: int) -> Budget:
        """Return the budget scaled to `total` images, with the same proportions."""
        everything = sum(self.fade.values()) + sum(self.stable.values()) + self.pretrain
        scale = total / everything if everything else 0
        fade, stable = ({r: round(n * scale) for r, n in table.items()} for table in (self.fade, self.stable))
        return Budget(fade, stable, round(self.pretrain * scale))


def plan(
    resolutions: Sequence[int],
    budget: Budget,
    batch: Mapping[int, int],
    learning_rate: Mapping[int, float],
    critic_steps: int = 1,
    adversarial: bool = True,
    decay_share: float = 0.0,
    aspect: Aspect = SQUARE,
) -> tuple[Phase, ...]:
    """Return the phases in order: the first resolution stable, then fade and stable for the others.

    Counts are rounded up to whole steps; a phase of 0 images is left out.

    Args:
        resolutions: longer side of the images in each stage, in pixels.
        budget: numbers of images for each resolution.
        batch: {resolution: images of one update}, see `lookup`.
        learning_rate: {resolution: learning rate}, see `lookup`.
        critic_steps: updates of the discriminator in a step.
        adversarial: whether there is a discriminator.
        decay_share: share of the images over which the learning rate falls to 0, in the last phase
            and in phases without a discriminator.
        aspect: width and height of the images in lowest terms.

    Raises:
        UserError: if no phase has an image.
    """
    phases: list[Phase] = []
    start = 0
    for resolution in resolutions:
        size, stage_start = lookup(batch, resolution), start
        first = resolution == resolutions[0]
        counts = (
            (not first, adversarial, lookup(budget.fade, resolution) if not first else 0),
            (False, False, budget.pretrain if first else 0),
            (False, adversarial, lookup(budget.stable, resolution)),
        )
        for fade, both, count in counts:
            steps = critic_steps if both else 1
            images = math.ceil(count / (size * steps)) * size * steps
            if images:
                decays = not both or resolution == resolutions[-1] and not fade
                phases.append(
                    Phase(
                        len(phases),
                        resolution,
                        fade,
                        start,
                        images,
                        size,
                        lookup(learning_rate, resolution),
                        stage_start,
                        critic_steps=steps,
                        adversarial=both,
                        decay_images=round(images * decay_share) if decays else 0,
                        aspect=aspect,
                    )
                )
                start += images
    if not phases:
        raise UserError(
            "the schedule is empty: every fade and stable phase has 0 images. Give --stable-images or --fade-images more than 0."
        )
    return tuple(phases)


def phase_at(phases: Sequence[Phase], images_seen: int) -> Phase | None:
    """Return the phase to continue with after `images_seen` images, or None if all are done.

    phases: all phases of the run, in order.
    """
    return next((p for p in phases if images_seen < p.end), None)


def time_shares(resolutions: Sequence[int], growth: float) -> dict[int, float]:
    """Return {resolution: its share of the run's time}; the shares add up to 1.

    growth: share of a resolution divided by the share of the resolution before it.
    """
    weights = {r: growth**k for k, r in enumerate(resolutions)}
    total = sum(weights.values())
    return {r: w / total for r, w in weights.items()}


# Each stage takes three times as long as the one before, which gives all stages about the same
# number of images. The factor is smaller if the first stage would see fewer than FIRST_IMAGES:
# variety is learned there, and a short run without it shows one face in many colours.
MOST_GROWTH, FIRST_IMAGES = 3.0, 40_000


def fitting_growth(seconds: float, speed: Mapping[Part, float]) -> float:
    """Return a suitable `growth` for `time_shares`, from 1 to MOST_GROWTH in steps of 0.05.

    It is the largest one with which the first stage sees FIRST_IMAGES images, or 1 if none is.

    Args:
        seconds: time of the run.
        speed: {part: images per second} of every part of the plan.
    """
    resolutions = sorted({p.resolution for p in speed})
    first = resolutions[0]
    rate = next(v for p, v in sorted(speed.items()) if p.resolution == first)
    growth = MOST_GROWTH
    while growth > 1 and seconds * time_shares(resolutions, growth)[first] * rate < FIRST_IMAGES:
        growth = round(growth - 0.05, 2)
    return growth


def images_for(
    seconds: float, speed: Mapping[Part, float], growth: float, fade_share: float, pretrain_share: float = 0.5
) -> dict[Part, int]:
    """Return {part: number of images} for every part of a plan, so that training takes `seconds`.

    Args:
        seconds: time of the run.
        speed: {part: images per second} of every part of the plan.
        growth: see `time_shares`, which divides the time among the resolutions.
        fade_share: share of a resolution's time for its fade, 0..1.
        pretrain_share: share of a resolution's time for training the generator alone, before the
            discriminator joins, 0..1. The stable phase takes the rest.
    """
    images: dict[Part, int] = {}
    for resolution, share in time_shares(sorted({p.resolution for p in speed}), growth).items():
        parts = [p for p in speed if p.resolution == resolution]
        joined = any(p.adversarial for p in parts)
        alone = [p for p in parts if joined and not p.adversarial]
        weights = {p: fade_share if p.fade else pretrain_share for p in parts if p.fade or p in alone}
        main = [p for p in parts if p not in weights]
        weights |= {p: 1 - sum(weights.values()) for p in main}
        total = sum(weights.values())
        images |= {p: round(seconds * share * w / total * speed[p]) if w else 0 for p, w in weights.items()}
    return images


OVERHEAD = 0.03  # share of a run's time for grids, checkpoints and the start of phases


def expected_seconds(phase: Phase, speeds: Mapping[Part, float]) -> float:
    """Return the seconds that a phase should take, including its share of OVERHEAD.

    speeds: {part: images per second} of every part of the plan.
    """
    return phase.images / speeds[phase.part] * (1 + OVERHEAD)


def as_table(phases: Sequence[Phase], speeds: Mapping[Part, float] | None = None) -> str:
    """Return the phases as a table in plain text, of several lines, with their images and batches.

    speeds: {part: images per second} of every part of the plan. If it is given, the table also has columns
    with images per second and expected minutes.
    """
    from rich.console import Console
    from rich.table import Table

    text = Table(box=None, pad_edge=False)
    for name in ("phase", "images", "batch", "images/s", "minutes"):
        text.add_column(name, justify="left" if name == "phase" else "right")
    total = 0.0
    for p in phases:
        measured = ("", "")
        if speeds:
            seconds = expected_seconds(p, speeds)
            total += seconds
            measured = (f"{speeds[p.part]:,.0f}", f"{seconds / 60:.1f}")
        text.add_row(p.name, f"{p.images:,}", str(p.batch), *measured)
    text.add_row("in all", f"{phases[-1].end:,}", "", "", f"{total / 60:.1f}" if speeds else "")
    console = Console(width=72, force_jupyter=False, force_terminal=sys.stdout.isatty())
    with console.capture() as capture:
        console.print(text)
    return capture.get().rstrip()
