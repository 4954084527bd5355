"""Whether the weights of a run are worth keeping, and what to type where they are not or do not fit into memory."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from pggan_tf import schedule
from pggan_tf.config import Plan, as_text, as_typed, recipes
from pggan_tf.config.resolve import complete
from pggan_tf.config.schema import DEFAULTS
from pggan_tf.errors import Stopped, UserError, shell_path
from pggan_tf.runs import checkpoint
from pggan_tf.runs.folder import CONFIG
from pggan_tf.training.trainer import COUNTS_BY_NETWORK

SKIPS_IN_A_ROW = 20
NOT_FINITE = "the loss or a gradient was NaN or Inf"
LEAST_SKIPS = 3  # at a run's end: so many, and most of the last steps


class Health:
    """Judges a GAN in training. Ruined is what holds NaN or Inf or has grown absurdly (see `checkpoint.ruin`), and what learns from the
    minority of its steps: SKIPS_IN_A_ROW were skipped one after the other, or most since the last checkpoint, by both networks or by
    one while the other went on alone."""

    def __init__(self, gan):
        self.gan, self.steps = gan, 0
        self._judged: dict[str, int] = {}
        self.begin()

    def begin(self) -> None:
        """Counts from here on."""
        self._judged = {"steps": self.steps, **self.skips()}

    def skips(self) -> dict[str, int]:
        """Skipped steps, in all and by network."""
        by_network = {name: int(variable.numpy()) for name, variable in self.gan.skipped_by.items()}
        return {"skipped": int(self.gan.skipped.numpy()), **by_network}

    def in_trouble(self) -> bool:
        """Whether the last step was skipped."""
        return self.gan.skipped_in_a_row.numpy() > 0

    def arrays(self) -> dict:
        """All that a checkpoint holds."""
        return {name: variable.numpy() for name, variable in self.gan.state().items()}

    def _since(self) -> dict[str, int]:
        """Steps since they were last judged, and of them the skipped ones."""
        return {name: n - self._judged[name] for name, n in {"steps": self.steps, **self.skips()}.items()}

    def of_updates(self, last: bool) -> str | None:
        """Why networks that were updated so seldom are of no use, in words, or None. last: at the end of the plan."""
        since = self._since()
        if not last and since["steps"] < SKIPS_IN_A_ROW:
            return None  # too few to tell
        if since["skipped"] < LEAST_SKIPS or 2 * since["skipped"] <= since["steps"]:
            return None
        return f"{NOT_FINITE} in {since['skipped']} of the last {since['steps']} steps ({_by_network(since)})"

    def saved(self) -> None:
        """A checkpoint was written: what was judged by then counts no longer."""
        if self._since()["steps"] >= SKIPS_IN_A_ROW:
            self.begin()

    def of_steps(self) -> str | None:
        """Why it is of no use to go on, in words, or None."""
        if self.gan.skipped_in_a_row.numpy() < SKIPS_IN_A_ROW:
            return None
        what = f"{NOT_FINITE} {SKIPS_IN_A_ROW} steps in a row ({_by_network(self._since())})"
        weights = checkpoint.ruin(self.arrays())
        return f"{what}, and {weights}," if weights else what


def _by_network(skips: Mapping[str, int]) -> str:
    """'generator 3, discriminator 20': skipped steps."""
    return ", ".join(f"{name.removeprefix('skipped_')} {skips[name]}" for name in COUNTS_BY_NETWORK)


def ruined(what: str, folder: Path, plan: Plan, phase: schedule.Phase, images_seen: int, bfloat16: bool) -> Stopped:
    """The end of a run whose weights are of no use."""
    return Stopped(
        f"{what} at {phase.name}, after {images_seen:,} images. The training is stopped, and these weights are not kept. "
        f"{again(folder, by_smaller_steps(plan, phase, bfloat16))} (--resume would come to the same end.)",
        1,
    )


def by_smaller_steps(plan: Plan, phase: schedule.Phase, bfloat16: bool) -> str:
    """Options that weights survive: the recipe's learning rate, or a quarter of what it was; without rounding to bfloat16."""
    table = recipes.RECIPES.get(plan.config.recipe, {}).get("learning_rate") or DEFAULTS["learning_rate"]
    usual, rate = schedule.lookup(table, phase.resolution), phase.learning_rate
    return f"--learning-rate {usual if usual < rate else rate / 4:g}" + (" --precision float32" if bfloat16 else "")


def again(folder: Path, options: str) -> str:
    """How to start anew with other options: from the last good checkpoint, if that has learned anything."""
    last = next(iter(checkpoint.saved(folder)), None)
    run, config = shell_path(folder), shell_path(folder / CONFIG)
    if last is None or last == checkpoint.path_for(folder, 0):
        begun = f"The last good checkpoint is {last}, of the beginning. " if last else ""
        return f"{begun}Start again with: --config {config} {options}"
    return f"The last good checkpoint is {last}. Start from it with: --config {config} --init-from {run} {options}"


def with_less(plan: Plan, resolution: int, devices: int = 1) -> str:
    """Return what to type where a step at `resolution` does not fit into memory.

    That is the largest batch up to half of it that the networks and the devices take, there and above; where there is none, fewer
    feature maps.
    """
    batch = plan.config.optimization.batch
    for size in range(batch[resolution] // 2 // devices * devices, 0, -devices):
        table = {r: min(n, size) if r >= resolution else n for r, n in batch.items()}
        with contextlib.suppress(UserError):
            complete(plan.config.replace(batch=table))
            before = (None, *table.values())  # equal entries are said once
            return f"--batch {as_text({r: n for (r, n), b in zip(table.items(), before) if n != b})}"
    name = next(n for n in ("fmap_max", "width") if n in plan.architecture.structure)
    return as_typed(name, max(1, plan.config.value(name) // 2))
