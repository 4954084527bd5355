"""Estimate what a growing network costs: its parameters, and the memory of a training step.

All of it is arithmetic on the plan, without TensorFlow. `pggan_tf.networks.progressive` has the
layers that are counted here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pggan_tf import shapes
from pggan_tf.networks.widths import count_maps

if TYPE_CHECKING:
    from pggan_tf.config.plan import Plan

GIB = 2**30
_DISCRIMINATION_KERNELS = 16  # features that minibatch discrimination adds, and numbers in each
_DISCRIMINATION_SIZE = 8
# Bytes of a step for each byte of the feature maps of one forward pass of both networks: what the
# backward passes keep, the lazy penalty's second derivatives included. XLA's own plan of its memory
# has 2.7 to 3.1 with standard convolutions, and 4.2 with separable ones, whose inner maps are kept, too.
_KEPT = {"standard": 3.0, "separable": 4.2}
_KEPT_FOR_GP = 1.75  # times as much if the penalty is gp, which needs images of its own


def is_known(plan: Plan) -> bool:
    """Tell whether the costs of a plan's networks are known here: of those that grow."""
    return plan.architecture.grows


def _count_convolution(plan: Plan, inputs: int, outputs: int, up: bool = False) -> int:
    """Return the number of weights of a 3x3 convolution of progressive, with its bias.

    up: whether it raises the resolution; a separable one then convolves its outputs.
    """
    if plan.config.networks.conv == "separable":
        return inputs * outputs + 9 * (outputs if up else inputs) + outputs
    return 9 * inputs * outputs + outputs


def _maps(plan: Plan, resolution: int) -> int:
    """Return the number of feature maps at a resolution."""
    options = plan.config.networks
    return count_maps(resolution, options.fmap_base, options.fmap_max)


def count_parameters(plan: Plan, classes: int = 0) -> dict[str, int]:
    """Return the number of trained parameters of both networks, of all stages.

    The result is {'generator': ..., 'discriminator': ...}.

    Args:
        plan: the plan of a run whose networks grow.
        classes: number of classes, with --conditional.
    """
    options, channels = plan.config.networks, plan.config.images.channels
    first, *_ = sizes = plan.resolutions
    maps = {r: _maps(plan, r) for r in sizes}
    cells = math.prod(shapes.shape_at(first, plan.aspect))
    stddev = options.minibatch == "stddev" and options.stddev_group > 1
    units = _maps(plan, first // 2)
    generator = (options.latent_size + classes + 1) * maps[first] * cells + _count_convolution(
        plan, maps[first], maps[first]
    )
    discriminator = _count_convolution(plan, maps[first] + stddev, maps[first]) + (maps[first] * cells + 1) * units
    normalized = {"generator": maps[first] * 2, "discriminator": maps[first]}  # features with a normalisation
    for low, high in zip(sizes, sizes[1:]):
        both = _count_convolution(plan, maps[high], maps[high])
        generator += _count_convolution(plan, maps[low], maps[high], up=True) + both
        discriminator += both + _count_convolution(plan, maps[high], maps[low])
        normalized["generator"] += 2 * maps[high]
        normalized["discriminator"] += maps[high] + maps[low]
    generator += sum((maps[r] + 1) * channels for r in sizes)
    discriminator += sum((channels + 1) * maps[r] for r in sizes)
    if options.minibatch == "discrimination":
        discriminator += units * _DISCRIMINATION_KERNELS * _DISCRIMINATION_SIZE
        units += _DISCRIMINATION_KERNELS
    discriminator += (units + 1) * (1 + classes)
    if options.generator_norm in ("batch", "group"):
        generator += 2 * normalized["generator"]
    if options.discriminator_norm in ("batch", "group"):
        discriminator += 2 * normalized["discriminator"]
    return {"generator": generator, "discriminator": discriminator}


def count_activations(plan: Plan, resolution: int) -> int:
    """Return how many numbers the feature maps of both networks have for one image.

    resolution: resolution of the stage in pixels.
    """
    stages = [r for r in plan.resolutions if r <= resolution]
    area = {r: math.prod(shapes.shape_at(r, plan.aspect)) for r in stages}
    total = 2 * area[stages[0]] * _maps(plan, stages[0])
    for low, high in zip([0, *stages], stages):
        # Two convolutions of the generator and one of the discriminator here, one of it below.
        total += 3 * area[high] * _maps(plan, high) + (area[low] * _maps(plan, low) if low else 0)
    return total + area[resolution] * _maps(plan, resolution)  # of the image's own 1x1 convolution


def estimate_memory(plan: Plan, resolution: int, devices: int = 1, bfloat16: bool = False) -> int:
    """Return the bytes that a training step needs on each device, an estimate within a third.

    Args:
        plan: the plan of a run whose networks grow.
        resolution: resolution of the stage in pixels.
        devices: number of devices that share the batch.
        bfloat16: whether feature maps are stored in bfloat16.
    """
    parameters = count_parameters(plan)
    # Weights, gradients and the two averages of Adam of both networks, and the generator's average.
    weights = 4 * (5 * parameters["generator"] + 4 * parameters["discriminator"])
    share = plan.config.optimization.batch[resolution] / devices
    kept = _KEPT[plan.config.networks.conv or "standard"]
    kept *= _KEPT_FOR_GP if plan.config.objective.penalty == "gp" else 1.0
    return round(weights + kept * share * count_activations(plan, resolution) * (2 if bfloat16 else 4))


def describe(plan: Plan, devices: int = 1, bfloat16: bool = False, classes: int = 0) -> str:
    """Return a sentence with the parameters of both networks and the memory of the last stage's step.

    For the arguments, see `estimate_memory` and `count_parameters`.
    """
    found, last = count_parameters(plan, classes), plan.target_res
    memory = estimate_memory(plan, last, devices, bfloat16) / GIB
    about = f"{plan.config.networks.size}: " if plan.config.networks.size else ""
    return (
        f"{about}{found['generator']:,} parameters in the generator and {found['discriminator']:,} in the discriminator; a step at "
        f"{plan.size} px in batches of {plan.config.optimization.batch[last]} needs about {memory:.2g} GiB"
        f"{' on each device' if devices > 1 else ''}"
    )
