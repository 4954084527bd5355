"""The growing schedule as plain arithmetic. The only clock is the number of real images seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pggan_tf.errors import UserError

SMALLEST, LARGEST = 4, 1024


@dataclass(frozen=True)
class Phase:
    """A stretch of training at one resolution, either while its newest block fades in or with all blocks at full weight.

    `start` and `images` count real images; `stage_start` is where the first phase of this resolution starts. A step has
    `critic_steps` updates of the discriminator, each on a batch of its own.
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

    @property
    def images_per_step(self) -> int:
        return self.batch * self.critic_steps

    @property
    def end(self) -> int:
        return self.start + self.images

    @property
    def name(self) -> str:
        return f"{self.resolution}px {'fade' if self.fade else 'stable'}"


def alpha(phase: Phase, images_seen: int) -> float:
    """Weight of the newest block, 0..1, `images_seen` images into `phase` (Karras et al. 2018, section 2)."""
    return min(images_seen / phase.images, 1.0) if phase.fade else 1.0


def doubling(target_res: int) -> tuple[int, ...]:
    """4, 8, ... target_res. Refuses what is not a power of two from 4 to 1024."""
    if target_res in (powers := [2**k for k in range(2, 11)]):
        return tuple(p for p in powers if p <= target_res)
    low = max((p for p in powers if p < target_res), default=SMALLEST)
    high = min((p for p in powers if p > target_res), default=LARGEST)
    near = (
        f"The nearest is {low}."
        if low == high or not SMALLEST < target_res < LARGEST
        else f"The nearest are {low} and {high}."
    )
    raise UserError(
        f"--target-res {target_res}: not a power of two from {SMALLEST} to {LARGEST}. {near} "
        "Other sizes go by --resolutions, such as 4,8,16,32,96."
    )


def check_resolutions(resolutions: Sequence[int]) -> tuple[int, ...]:
    """A plan may grow by any whole factor: each resolution has to be a multiple of the one before."""
    for low, high in zip(resolutions, resolutions[1:]):
        if high <= low or high % low:
            raise UserError(
                f"--resolutions {','.join(map(str, resolutions))}: {high} is not a larger multiple of {low}. "
                "Each resolution has to be a whole multiple of the one before, such as 4,8,16,32,96."
            )
    if not resolutions or resolutions[0] < 2 or resolutions[-1] > LARGEST:
        raise UserError(
            f"--resolutions {','.join(map(str, resolutions))}: expected sizes from 2 to {LARGEST}, such as 4,8,16,32,96."
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
) -> tuple[Phase, ...]:
    """The phases in order: the first resolution stable, then fade and stable for each further one.

    The tables hold images per resolution. Counts are rounded up to whole steps; a phase of 0 images is left out.
    """
    phases: list[Phase] = []
    start = 0
    for resolution in resolutions:
        size, stage_start = at(batch, resolution), start
        for fade in (True, False):
            if fade and resolution == resolutions[0]:
                continue
            step = size * critic_steps
            images = math.ceil(at(fade_images if fade else stable_images, resolution) / step) * step
            if images:
                phases.append(
                    Phase(
                        len(phases),
                        resolution,
                        fade,
                        start,
                        images,
                        size,
                        at(learning_rate, resolution),
                        stage_start,
                        critic_steps,
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


def fitting_growth(seconds: float, speed: Mapping[tuple[int, bool], float]) -> float:
    """`growth` of `time_shares` for a run of `seconds`, from 1 to MOST_GROWTH in steps of 0.05. speed: as in `images_for`."""
    resolutions = sorted({r for r, _ in speed})
    first = resolutions[0]
    rate = speed.get((first, False)) or speed[first, True]
    growth = MOST_GROWTH
    while growth > 1 and seconds * time_shares(resolutions, growth)[first] * rate < FIRST_IMAGES:
        growth = round(growth - 0.05, 2)
    return growth


def images_for(
    seconds: float, speed: Mapping[tuple[int, bool], float], growth: float, fade_share: float
) -> tuple[dict[int, int], dict[int, int]]:
    """(fade_images, stable_images) per resolution that fill `seconds`.

    speed: images/s for every (resolution, fade) that the plan has. A resolution's time is its `time_shares`, of which
    the fade takes `fade_share`, or all or nothing where there is only one of the two.
    """
    resolutions = sorted({r for r, _ in speed})
    fade, stable = {}, {}
    for resolution, share in time_shares(resolutions, growth).items():
        part = fade_share if (resolution, False) in speed else 1.0
        part = part if (resolution, True) in speed else 0.0
        fade[resolution] = round(seconds * share * part * speed[resolution, True]) if part else 0
        stable[resolution] = round(seconds * share * (1 - part) * speed[resolution, False]) if part < 1 else 0
    return fade, stable


@dataclass(frozen=True)
class Speed:
    """What a phase costs on a machine. build_seconds: tracing its graph and the first step."""

    images_per_second: float
    build_seconds: float


OVERHEAD = 0.03  # share of a run's time for grids, checkpoints and the start of phases


def expected_seconds(phase: Phase, speeds: Mapping[tuple[int, bool], Speed]) -> float:
    """speeds: by (resolution, fade)."""
    speed = speeds[phase.resolution, phase.fade]
    return (phase.images / speed.images_per_second + speed.build_seconds) * (1 + OVERHEAD)


def table(phases: Sequence[Phase], speeds: Mapping[tuple[int, bool], Speed] | None = None) -> str:
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
            measured = (f"{speeds[p.resolution, p.fade].images_per_second:,.0f}", f"{seconds / 60:.1f}")
        text.add_row(p.name, f"{p.images:,}", str(p.batch), *measured)
    text.add_row("in all", f"{phases[-1].end:,}", "", "", f"{total / 60:.1f}" if speeds else "")
    console = Console(width=72)
    with console.capture() as capture:
        console.print(text)
    return capture.get().rstrip()
