"""Start a run with the weights of another one (--init-from)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pggan_tf.config import Plan
from pggan_tf.errors import UserError
from pggan_tf.runs import checkpoint
from pggan_tf.runs import folder as runs
from pggan_tf.training.gan import GAN


def skip_trained_stages(plan: Plan, source: Path, classes: tuple[str, ...], say) -> tuple[Plan, dict]:
    """Return (plan, {variable name: array}) of a new run that starts with another run's weights.

    The arrays are those of the other run's newest checkpoint. In the plan, stages that these
    weights have completed have no images: training starts with the last stage that has completely
    faded in.

    Args:
        plan: the plan of the new run.
        source: folder of the run given with --init-from.
        classes: names of the classes in the data.
        say: called with messages.
    """
    theirs, environment = runs.read(source)
    arrays, meta = checkpoint.read_newest(source, say)
    if plan.config.networks.conditional and (there := environment["dataset"]["classes"]) != list(classes):
        raise UserError(
            f"--init-from {source}: its classes are {', '.join(there)}, here {', '.join(classes) or 'none'}. A conditional network goes "
            "with the same classes in the same order."
        )
    if not plan.architecture.grows:
        return plan, arrays
    phase = theirs.phases[meta["phase"]]
    whole = phase.resolution if not phase.fade or meta["images_seen"] >= phase.end else 0
    last = max((r for r in plan.resolutions if r < phase.resolution or r == whole), default=plan.resolutions[0])
    fade = {r: 0 if r <= last else n for r, n in plan.config.schedule.fade_images.items()}
    stable = {r: 0 if r < last else n for r, n in plan.config.schedule.stable_images.items()}
    return plan.replace(fade_images=fade, stable_images=stable), arrays


def load_weights(gan: GAN, arrays: Mapping[str, np.ndarray], source: str) -> None:
    """Copy the weights of another run's checkpoint into the layers of `gan` with the same names.

    Args:
        gan: the networks, whose weights are replaced.
        arrays: {variable name: array} of the checkpoint.
        source: folder of the other run, for the message.

    Raises:
        UserError: if a weight is missing in `gan` or has another shape.
    """

    def networks(state):
        return {n: v for n, v in state.items() if n.split("/")[0] in checkpoint.NETWORKS}

    mine, theirs = networks(gan.state()), networks(arrays)
    if gan.discriminator is None:
        theirs = {name: array for name, array in theirs.items() if not name.startswith("discriminator/")}
    for name, array in theirs.items():
        shape = tuple(mine[name].shape) if name in mine else "absent"
        if shape != array.shape:
            raise UserError(
                f"--init-from {source}: {name} is {array.shape} there and {shape} here. "
                "Give the same options of the networks, and resolutions that begin alike."
            )
    for name, array in theirs.items():
        mine[name].assign(array)
