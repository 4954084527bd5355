"""Judge whether a run's weights are usable, and suggest what to type if they are not.

A skipped step is one in which a loss or a gradient was NaN or Inf, so that at least one network was
left unchanged. Weights are called ruined if they are useless, see `checkpoint.describe_ruin`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pggan_tf import schedule
from pggan_tf.config import Plan
from pggan_tf.errors import Stopped, shell_path
from pggan_tf.report import coach
from pggan_tf.runs import checkpoint, records
from pggan_tf.runs.folder import CONFIG, STATS
from pggan_tf.training.gan import COUNTS_BY_NETWORK

SKIPS_IN_A_ROW = 20
NOT_FINITE = "the loss or a gradient was NaN or Inf"
LEAST_SKIPS = 3  # at a run's end, fewer skipped steps than this do not stop it


class Health:
    """Judges whether a GAN in training is still usable, or ruined.

    It is ruined if it contains NaN, Inf or very large weights (see `checkpoint.describe_ruin`). It
    also counts as ruined if SKIPS_IN_A_ROW steps were skipped one after the other, or if most steps
    since the last call of `restart` were skipped.

    Args:
        gan: the `gan.GAN`.

    Attributes:
        steps: number of steps taken so far; the training loop increases it.
    """

    def __init__(self, gan):
        self.gan, self.steps = gan, 0
        self._judged: dict[str, int] = {}  # the counts at the last call of `restart`
        self.restart()

    def restart(self) -> None:
        """Make `judge_updates` ignore all steps so far."""
        self._judged = {"steps": self.steps, **self.count_skips()}

    def count_skips(self) -> dict[str, int]:
        """Return the numbers of skipped steps in the whole run.

        They are {'skipped': all, 'skipped_generator': ..., 'skipped_discriminator': ...}; the last
        two count the steps that left this network unchanged.
        """
        by_network = {name: int(variable.numpy()) for name, variable in self.gan.skipped_by.items()}
        return {"skipped": int(self.gan.skipped.numpy()), **by_network}

    def skipped_last_step(self) -> bool:
        """Tell whether the last step was skipped."""
        return self.gan.skipped_in_a_row.numpy() > 0

    def read_arrays(self) -> dict:
        """Return {variable name: array} of the whole GAN, as a checkpoint stores them."""
        return {name: variable.numpy() for name, variable in self.gan.state().items()}

    def _count_since(self) -> dict[str, int]:
        """Return the numbers of steps since the last call of `restart`.

        They are {'steps': all steps, ...}, with the numbers of skipped steps as in `count_skips`.
        """
        return {name: n - self._judged[name] for name, n in {"steps": self.steps, **self.count_skips()}.items()}

    def judge_updates(self, last: bool) -> str | None:
        """Return a text with the number of skipped steps if most steps were skipped, else None.

        Only steps since the last call of `restart` count.

        last: whether the whole plan is trained. If not, a few steps are not judged yet.
        """
        since = self._count_since()
        if not last and since["steps"] < SKIPS_IN_A_ROW:
            return None  # too few to tell
        if self.gan.loss_scale and self.gan.loss_scale.scale.numpy() > 1:
            return None  # skipped steps may have been the search for a scale that float16 can hold
        if since["skipped"] < LEAST_SKIPS or 2 * since["skipped"] <= since["steps"]:
            return None
        return f"{NOT_FINITE} in {since['skipped']} of the last {since['steps']} steps ({_format_skips(since)})"

    def note_checkpoint(self) -> None:
        """Call `restart` after a checkpoint, if there were enough steps before it to judge."""
        if self._count_since()["steps"] >= SKIPS_IN_A_ROW:
            self.restart()

    def judge_steps(self) -> str | None:
        """Return the reason to stop now, a text, if SKIPS_IN_A_ROW steps in a row were skipped.

        Otherwise return None.
        """
        if self.gan.skipped_in_a_row.numpy() < SKIPS_IN_A_ROW:
            return None
        what = f"{NOT_FINITE} {SKIPS_IN_A_ROW} steps in a row ({_format_skips(self._count_since())})"
        weights = checkpoint.describe_ruin(self.read_arrays())
        return f"{what}, and {weights}," if weights else what


def _format_skips(skips: Mapping[str, int]) -> str:
    """Return a text with the skipped steps by network: 'generator 3, discriminator 20'.

    skips: see `Health.count_skips`.
    """
    return ", ".join(f"{name.removeprefix('skipped_')} {skips[name]}" for name in COUNTS_BY_NETWORK)


def explain_ruin(what: str, folder: Path, plan: Plan, phase: schedule.Phase, images_seen: int, half: bool) -> Stopped:
    """Return an exception (not raised here) for a run whose weights are useless.

    Its message also says what to type to start a new run.

    Args:
        what: the reason, such as 'generator/conv_4/kernel became NaN or Inf'; the message begins
            with it.
        folder: the run's folder.
        plan: the run's plan.
        phase: the phase that was being trained.
        images_seen: number of images that the run has seen.
        half: whether the run computes in bfloat16 or float16.
    """
    return Stopped(
        f"{what} at {phase.name}, after {images_seen:,} images. The training is stopped, and these weights are not kept. "
        f"{suggest_restart(folder, suggest_smaller_steps(plan, phase, half))} (--resume would come to the same end.)",
        1,
    )


def suggest_smaller_steps(plan: Plan, phase: schedule.Phase, half: bool) -> str:
    """Return options that avoid ruined weights, such as '--learning-rate 0.001'.

    The learning rate is that of the recipe if it is lower than the current one, else a quarter of
    the current one. For `half`, '--precision float32' is added.

    Args:
        plan: the run's plan.
        phase: the phase that was being trained.
        half: whether the run computes in bfloat16 or float16.
    """
    return f"--learning-rate {coach.suggest_rate(plan, phase.resolution, phase.learning_rate):g}" + (
        " --precision float32" if half else ""
    )


def suggest_restart(folder: Path, options: str) -> str:
    """Return sentences for the user on how to start a new run with other options.

    The new run starts from the last good checkpoint, if the old run got beyond its first one, and
    its logits had not grown without bound by then.

    Args:
        folder: folder of the old run.
        options: the other options, as typed on the command line.
    """
    last = next(iter(checkpoint.list_checkpoints(folder)), None)
    run, config = shell_path(folder), shell_path(folder / CONFIG)
    if last is None or last == checkpoint.path_for(folder, 0):
        begun = f"The last good checkpoint is {last}, of the beginning. " if last else ""
        return f"{begun}Start again with: --config {config} {options}"
    ticks = records.read_history(folder / STATS).ticks
    grown = coach.find_largest_logit([tick for tick in ticks if tick["images"] <= checkpoint.parse_images(last)])
    if grown > coach.LARGEST_LOGIT:
        return f"Its logits had grown to {grown:.2g}, so that no checkpoint is worth going on with. Start again with: --config {config} {options}"
    return f"The last good checkpoint is {last}. Start from it with: --config {config} --init-from {run} {options}"
