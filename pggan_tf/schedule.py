"""Compute the growing schedule by plain arithmetic. The clock is the number of real images seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from pggan_tf.errors import UserError

SMALLEST, LARGEST = 4, 1024
T = TypeVar("T")


class Part(NamedTuple):
    """What the cost of a step depends on."""

    resolution: int
    fade: bool
    adversarial: bool


@dataclass(frozen=True)
class Phase:
    """A stretch of training at one resolution, while its newest block fades in or after it has.

    The clock is the number of real images seen by the whole run.
    """

    index: int
    resolution: int
    fade: bool
    start: int  # images seen when the phase starts
    images: int  # images that the phase takes
    batch: int  # images of one update
    learning_rate: float
    stage_start: int  # images seen when the first phase of this resolution starts
    critic_steps: int = 1  # updates of the discriminator in a step, each on a batch of its own
    adversarial: bool = True  # False: the generator learns from its pixel loss alone
    decay_images: int = 0  # last images of the phase, over which the learning rate falls to 0

    @property
    def part(self) -> Part:
        return Part(self.resolution, self.fade, self.adversarial)

    @property
    def images_per_step(self) -> int:
        return self.batch * self.critic_steps

    @property
    def end(self) -> int:
        return self.start + self.images

    @property
    def name(self) -> str:
        kind = "fade" if self.fade else "stable" if self.adversarial else "pixel loss"
        return f"{self.resolution}px {kind}"

    def alpha(self, images_seen: int) -> float:
        """Return the weight of the newest block, 0..1, after `images_seen` images of the run (Karras et al. 2018, section 2)."""
        return min((images_seen - self.start) / self.images, 1.0) if self.fade else 1.0

    def rate(self, images_seen: int) -> float:
        """Return what the learning rate is multiplied with, 1 to 0, after `images_seen` images of the run."""
        return min((self.end - images_seen) / self.decay_images, 1.0) if self.decay_images else 1.0


def doubling(target_res: int) -> tuple[int, ...]:
    """Return 4, 8, ... target_res. Refuses what is not a power of two from 4 to 1024."""
    if target_res in (powers := [2**k for k in range(2, 11)]):
        return tuple(p for p in powers if p <= target_res)
    below, above = [p for p in powers if p < target_res], [p for p in powers if p > target_res]
    nearest = [*below[-1:], *above[:1]]
    near = f"The nearest {'are' if len(nearest) > 1 else 'is'} {' and '.join(map(str, nearest))}."
    raise UserError(
        f"--target-res {target_res}: not a power of two from {SMALLEST} to {LARGEST}. {near} "
        "Other sizes go by --resolutions, such as 4,8,16,32,96."
    )


def check_resolutions(resolutions: Sequence[int]) -> tuple[int, ...]:
    """Return the resolutions, each a whole multiple of the one before. Refuses others."""
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
    return tuple(resolutions)


def lookup(table: Mapping[int, T], resolution: int) -> T:
    """Return the entry of a per-resolution table: of `resolution`, else of the next lower one listed, else of the lowest."""
    lower = [r for r in table if r <= resolution]
    return table[max(lower) if lower else min(table)]


@dataclass(frozen=True)
class Budget:
    """Images of a run, by what they are trained for."""

    fade: Mapping[int, int]  # while a resolution fades in
    stable: Mapping[int, int]  # after it has
    pretrain: int = 0  # of the generator by its pixel loss alone, before all else

    def scaled(self, total: int) -> Budget:
        """Return the budget in proportion, with `total` images in all."""
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
) -> tuple[Phase, ...]:
    """Return the phases in order: the first resolution stable, then fade and stable for each further one.

    Counts are rounded up to whole steps; a phase of 0 images is left out.

    Args:
        resolutions: pixels of each stage.
        budget: images of each resolution.
        batch: images of one update, by resolution.
        learning_rate: by resolution.
        critic_steps: updates of the discriminator in a step.
        adversarial: False where there is no discriminator.
        decay_share: share of the images of the last phase, and of the pretraining, over which the learning rate falls.
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
                    )
                )
                start += images
    if not phases:
        raise UserError(
            "the schedule is empty: every fade and stable phase has 0 images. Give --stable-images or --fade-images more than 0."
        )
    return tuple(phases)


def phase_at(phases: Sequence[Phase], images_seen: int) -> Phase | None:
    """Return the phase to go on with after `images_seen` images, or None when the plan is done."""
    return next((p for p in phases if images_seen < p.end), None)


def time_shares(resolutions: Sequence[int], growth: float) -> dict[int, float]:
    """Return each resolution's share of the run's time, summing to 1: each gets `growth` times what the one before got."""
    weights = {r: growth**k for k, r in enumerate(resolutions)}
    total = sum(weights.values())
    return {r: w / total for r, w in weights.items()}


# Time grows threefold from stage to stage, which is about as many images for each, unless the first one would then see
# fewer than this: variety is learned there, and a short run that skips it shows one face in many colours.
MOST_GROWTH, FIRST_IMAGES = 3.0, 40_000


def fitting_growth(seconds: float, speed: Mapping[Part, float]) -> float:
    """Return `growth` of `time_shares` for a run of `seconds`, from 1 to MOST_GROWTH in steps of 0.05. speed: see `images_for`."""
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
    """Return the images of every part of the plan that fill `seconds`.

    speed: images/s of every part. A resolution's time is its `time_shares`. Of that, a fade takes `fade_share`, a generator
    that learns alone before the discriminator joins takes `pretrain_share`, and the main part takes what is left.
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


@dataclass(frozen=True)
class Speed:
    """What a phase costs on a machine."""

    images_per_second: float
    build_seconds: float  # to trace its graph and take the first step


OVERHEAD = 0.03  # share of a run's time for grids, checkpoints and the start of phases


def expected_seconds(phase: Phase, speeds: Mapping[Part, Speed]) -> float:
    """Return the seconds that a phase should take, with its share of grids and checkpoints."""
    speed = speeds[phase.part]
    return (phase.images / speed.images_per_second + speed.build_seconds) * (1 + OVERHEAD)


def as_table(phases: Sequence[Phase], speeds: Mapping[Part, Speed] | None = None) -> str:
    """Return the plan as text: phase, images, batch and, where measured, images/s and expected minutes."""
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
            measured = (f"{speeds[p.part].images_per_second:,.0f}", f"{seconds / 60:.1f}")
        text.add_row(p.name, f"{p.images:,}", str(p.batch), *measured)
    text.add_row("in all", f"{phases[-1].end:,}", "", "", f"{total / 60:.1f}" if speeds else "")
    console = Console(width=72)
    with console.capture() as capture:
        console.print(text)
    return capture.get().rstrip()
