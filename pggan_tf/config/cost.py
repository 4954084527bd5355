"""Estimate what a growing network costs: its parameters, and the memory of a training step.

All of it is arithmetic on the config, without TensorFlow. `pggan_tf.networks.progressive` has the
layers that are counted here.
"""

from __future__ import annotations

import math

from pggan_tf import networks, shapes
from pggan_tf.config.schema import Config
from pggan_tf.networks.widths import count_maps

GIB = 2**30
_DISCRIMINATION_KERNELS = 16  # features that minibatch discrimination adds, and numbers in each
_DISCRIMINATION_SIZE = 8
# Bytes of a step for each byte of the feature maps of one forward pass of both networks: what the
# backward passes keep, the lazy penalty's second derivatives included. XLA's own plan of its memory
# has 2.7 to 3.1 with standard convolutions, and 4.2 with separable ones, whose inner maps are kept, too.
_KEPT = {"standard": 3.0, "separable": 4.2}
_KEPT_FOR_GP = 1.75  # times as much if the penalty is gp, which needs images of its own


def is_known(config: Config) -> bool:
    """Tell whether the costs of a run's networks are known here: of those that grow."""
    return networks.NETWORKS[config.networks.network].grows


def _count_convolution(config: Config, inputs: int, outputs: int, up: bool = False) -> int:
    """Return the number of weights of a 3x3 convolution of progressive, with its bias.

    up: whether it raises the resolution; a separable one then convolves its outputs.
    """
    if config.networks.conv == "separable":
        return inputs * outputs + 9 * (outputs if up else inputs) + outputs
    return 9 * inputs * outputs + outputs


def _maps(config: Config, resolution: int) -> int:
    """Return the number of feature maps at a resolution."""
    options = config.networks
    return count_maps(resolution, options.fmap_base, options.fmap_max)


def count_parameters(config: Config, classes: int = 0) -> dict[str, int]:
    """Return the number of trained parameters of both networks, of all stages.

    The result is {'generator': ..., 'discriminator': ...}.

    Args:
        config: the resolved config of a run whose networks grow.
        classes: number of classes, with --conditional.
    """
    options, channels = config.networks, config.images.channels
    first, *_ = sizes = config.networks.resolutions
    maps = {r: _maps(config, r) for r in sizes}
    cells = math.prod(shapes.shape_at(first, config.networks.aspect))
    stddev = options.minibatch == "stddev" and options.stddev_group > 1
    units = _maps(config, first // 2)
    generator = (options.latent_size + classes + 1) * maps[first] * cells + _count_convolution(
        config, maps[first], maps[first]
    )
    discriminator = _count_convolution(config, maps[first] + stddev, maps[first]) + (maps[first] * cells + 1) * units
    normalized = {"generator": maps[first] * 2, "discriminator": maps[first]}  # features with a normalisation
    for low, high in zip(sizes, sizes[1:]):
        both = _count_convolution(config, maps[high], maps[high])
        generator += _count_convolution(config, maps[low], maps[high], up=True) + both
        discriminator += both + _count_convolution(config, maps[high], maps[low])
        normalized["generator"] += 2 * maps[high]
        normalized["discriminator"] += maps[high] + maps[low]
    generator += sum((maps[r] + 1) * channels for r in sizes)
    # A scale and a shift for each map of two convolutions, of one in the first stage.
    if options.modulation == "latents":
        modulated = sum((1 if r == first else 2) * maps[r] for r in sizes)
        generator += 2 * modulated * (options.latent_size + classes + 1)
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


def count_activations(config: Config, resolution: int) -> int:
    """Return how many numbers the feature maps of both networks have for one image.

    resolution: resolution of the stage in pixels.
    """
    stages = [r for r in config.networks.resolutions if r <= resolution]
    area = {r: math.prod(shapes.shape_at(r, config.networks.aspect)) for r in stages}
    total = 2 * area[stages[0]] * _maps(config, stages[0])
    for low, high in zip([0, *stages], stages):
        # Two convolutions of the generator and one of the discriminator here, one of it below.
        total += 3 * area[high] * _maps(config, high) + (area[low] * _maps(config, low) if low else 0)
    return total + area[resolution] * _maps(config, resolution)  # of the image's own 1x1 convolution


def estimate_memory(config: Config, resolution: int, devices: int = 1, bfloat16: bool = False) -> int:
    """Return the bytes that a training step needs on each device, an estimate within a third.

    Args:
        config: the resolved config of a run whose networks grow.
        resolution: resolution of the stage in pixels.
        devices: number of devices that share the batch.
        bfloat16: whether feature maps are stored in bfloat16.
    """
    parameters = count_parameters(config)
    # Weights, gradients and the two averages of Adam of both networks, and the generator's average.
    weights = 4 * (5 * parameters["generator"] + 4 * parameters["discriminator"])
    share = config.optimization.batch[resolution] / devices
    kept = _KEPT[config.networks.conv or "standard"]
    kept *= _KEPT_FOR_GP if config.objective.penalty == "gp" else 1.0
    return round(weights + kept * share * count_activations(config, resolution) * (2 if bfloat16 else 4))


def describe(config: Config, devices: int = 1, bfloat16: bool = False, classes: int = 0) -> str:
    """Return a sentence with the parameters of both networks and the memory of the last stage's step.

    For the arguments, see `estimate_memory` and `count_parameters`.
    """
    found, last = count_parameters(config, classes), config.networks.resolutions[-1]
    memory = estimate_memory(config, last, devices, bfloat16) / GIB
    about = f"{config.networks.size}: " if config.networks.size else ""
    return (
        f"{about}{found['generator']:,} parameters in the generator and {found['discriminator']:,} in the discriminator; a step at "
        f"{shapes.name_size(last, config.networks.aspect)} px in batches of {config.optimization.batch[last]} needs about {memory:.2g} GiB"
        f"{' on each device' if devices > 1 else ''} in {'16' if bfloat16 else '32'} bits"
    )
