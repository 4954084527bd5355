"""The growing schedule as plain arithmetic. The only clock is the number of real images seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pggan_tf.errors import UserError

SMALLEST, LARGEST = 4, 1024


class Part(NamedTuple):
    """What sets the cost of a phase's step."""

    resolution: int
    fade: bool
    adversarial: bool


@dataclass(frozen=True)
class Phase:
    """A stretch of training at one resolution, either while its newest block fades in or with all blocks at full weight.

    `start` and `images` count real images; `stage_start` is where the first phase of this resolution starts. A step has
    `critic_steps` updates of the discriminator, each on a batch of its own. Not `adversarial`: the generator learns from its
    pixel loss alone. Over the last `decay_images` the learning rate falls to 0.
    """

    index: int
    resolution: int
    fade: bool
    start: int
    images: int
    batch: int
    learning_rate: float
    stage_start: int
    critic_steps: int = 1
    adversarial: bool = True
    decay_images: int = 0

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


def alpha(phase: Phase, images_seen: int) -> float:
    """Weight of the newest block, 0..1, `images_seen` images into `phase` (Karras et al. 2018, section 2)."""
    return min(images_seen / phase.images, 1.0) if phase.fade else 1.0


def rate(phase: Phase, images_seen: int) -> float:
    """What the learning rate is multiplied with, 1 to 0, `images_seen` images into `phase`."""
    return min((phase.images - images_seen) / phase.decay_images, 1.0) if phase.decay_images else 1.0


def doubling(target_res: int) -> tuple[int, ...]:
    """4, 8, ... target_res. Refuses what is not a power of two from 4 to 1024."""
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
    """A plan may grow by any whole factor: each resolution has to be a multiple of the one before."""
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


def at(table: Mapping[int, float], resolution: int):
    """The entry of a per-resolution table: that of `resolution`, else of the next lower one listed, else of the lowest."""
    lower = [r for r in table if r <= resolution]
    return table[max(lower) if lower else min(table)]


def plan(
    resolutions: Sequence[int],
    fade_images: Mapping[int, int],
    stable_images: Mapping[int, int],
    batch: Mapping[int, int],
    learning_rate: Mapping[int, float],
    critic_steps: int = 1,
    pretrain_images: int = 0,
    adversarial: bool = True,
    decay_share: float = 0.0,
) -> tuple[Phase, ...]:
    """The phases in order: the first resolution stable, then fade and stable for each further one.

    The tables hold images per resolution. Counts are rounded up to whole steps; a phase of 0 images is left out.
    pretrain_images: the generator alone, before all else. decay_share: of the images of the last phase, and of the generator
    alone, over which the learning rate falls.
    """
    phases: list[Phase] = []
    start = 0
    for resolution in resolutions:
        size, stage_start = at(batch, resolution), start
        first = resolution == resolutions[0]
        counts = (
            (not first, adversarial, at(fade_images, resolution) if not first else 0),
            (False, False, pretrain_images if first else 0),
            (False, adversarial, at(stable_images, resolution)),
        )
        for fade, both, count in counts:
            steps = critic_steps if both else 1
            images = math.ceil(count / (size * steps)) * size * steps
            if images:
                rate = at(learning_rate, resolution)
                decays = not both or resolution == resolutions[-1] and not fade
                phases.append(
                    Phase(
                        len(phases),
                        resolution,
                        fade,
                        start,
                        images,
                        size,
                        rate,
                        stage_start,
                        steps,
                        both,
                        round(images * decay_share) if decays else 0,
                    )
                )
                start += images
    if not phases:
        raise UserError(
            "the schedule is empty: every fade and stable phase has 0 images. Give --stable-images or --fade-images more than 0."
        )
    return tuple(phases)


def phase_at(phases: Sequence[Phase], images_seen: int) -> Phase | None:
    """The phase to go on with after `images_seen` images; None when the plan is done."""
    return next((p for p in phases if images_seen < p.end), None)


def time_shares(resolutions: Sequence[int], growth: float) -> dict[int, float]:
    """Share of the run's time for each resolution, summing to 1: each gets `growth` times what the one before got."""
    weights = {r: growth**k for k, r in enumerate(resolutions)}
    total = sum(weights.values())
    return {r: w / total for r, w in weights.items()}


# Time grows threefold from stage to stage, which is about as many images for each, unless the first one would then see
# fewer than this: variety is learned there, and a short run that skips it shows one face in many colours.
MOST_GROWTH, FIRST_IMAGES = 3.0, 40_000


def fitting_growth(seconds: float, speed: Mapping[Part, float]) -> float:
    """`growth` of `time_shares` for a run of `seconds`, from 1 to MOST_GROWTH in steps of 0.05. speed: as in `images_for`."""
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
    """Images for every part of the plan, to fill `seconds`.

    speed: images/s of every part. A resolution's time is its `time_shares`, of which a fade takes `fade_share`, a generator
    that learns alone before the discriminator joins `pretrain_share`, and the rest what is left; or all, where there is
    nothing else.
    """
    images = {}
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
    """What a phase costs on a machine. build_seconds: tracing its graph and the first step."""

    images_per_second: float
    build_seconds: float


OVERHEAD = 0.03  # share of a run's time for grids, checkpoints and the start of phases


def expected_seconds(phase: Phase, speeds: Mapping[Part, Speed]) -> float:
    speed = speeds[phase.part]
    return (phase.images / speed.images_per_second + speed.build_seconds) * (1 + OVERHEAD)


def table(phases: Sequence[Phase], speeds: Mapping[Part, Speed] | None = None) -> str:
    """The plan for people: phase, images, batch and, where measured, images/s and expected minutes."""
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
