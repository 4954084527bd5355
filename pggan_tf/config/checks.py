"""Raise UserError for options that cannot run or have no effect, and say what to give instead.

An architecture is a row of `networks.NETWORKS`, the value of --network: a generator and a
discriminator with their options.
"""

from __future__ import annotations

from collections.abc import Iterable

from pggan_tf import losses, metrics, networks, shapes, tasks
from pggan_tf.config.parsing import AUTO, as_text, flag
from pggan_tf.config.schema import DEFAULTS, FIELDS, Config, CountTable
from pggan_tf.data import transparency
from pggan_tf.errors import UserError

# Options that only affect tasks from images to images.
OF_IMAGE_TASKS = (
    *("scale", "degrade", "degrade_strength", "denoise", "hints", "reverse", "patch", "width", "blocks", "dropout"),
    *("zoom", "adversarial_weight"),
    *("pixel", "pixel_weight", "content", "content_weight", "vgg_weights", "pretrain_images", "pretrain_share"),
)
_OF_DISCRIMINATORS = (
    *("augment", "critic_steps", "weight_clip", "discriminator_rate", "update", "drift", "adversarial_weight"),
)


def _bounds_in_words(least, most, above, below) -> str:
    """Return an option's bounds as text, such as '0 to 0.9', '1 or more' or 'more than 0'.

    The bounds are those of `schema.option`; None if a bound does not apply.
    """
    if least is not None and most is not None:
        return f"{least:g} to {most}"
    if least is not None:
        return f"{least:g} or more" if below is None else f"{least:g} to below {below:g}"
    return f"more than {above:g}" if below is None else f"more than {above:g} and below {below:g}"


def check_bounds(config: Config) -> None:
    """Raise UserError if an option that is a number is outside its bounds.

    config: the config; options may still be None.
    """
    if config.networks.target_res == AUTO:
        raise UserError("--target-res auto: is chosen on the machine that trains. Give a number of pixels here.")
    if config.networks.shape == AUTO:
        raise UserError("--shape auto: is chosen on the machine that trains. Give width:height here, such as 3:4.")
    for name, field in FIELDS.items():
        bounds = [field.metadata[k] for k in ("least", "most", "above", "below")]
        least, most, above, below = bounds
        value = config.value(name)
        for v in value.values() if isinstance(value, dict) else [value]:
            fits = v is None or (
                (least is None or v >= least)
                and (most is None or v <= most)
                and (above is None or v > above)
                and (below is None or v < below)
            )
            if any(b is not None for b in bounds) and not fits:
                raise UserError(f"{flag(name)} {v}: expected {_bounds_in_words(*bounds)}.")
    betas = config.optimization.adam_betas
    if len(betas) != 2 or not all(0 <= b < 1 for b in betas):
        raise UserError(f"--adam-betas {as_text(betas)}: expected two numbers from 0 to below 1, such as 0,0.99.")


def check_task(config: Config, architecture: networks.Architecture) -> None:
    """Raise UserError if --task, --network and the losses do not go together.

    architecture: the architecture of --network.
    """
    task, network, objective = config.purpose.task, config.networks.network, config.objective
    if task not in architecture.tasks:
        fitting = [name for name, other in networks.NETWORKS.items() if task in other.tasks]
        raise UserError(
            f"--task {task} with --network {network}: that one is for {', '.join(architecture.tasks)}. "
            f"Give --network {' or '.join(fitting)}."
        )
    adversarial = losses.LOSSES[objective.loss].adversarial
    if adversarial and architecture.discriminator_module is None:
        raise UserError(f"--loss {objective.loss} with --network {network}: it has no discriminator. Give --loss none.")
    pretrain = config.schedule.pretrain_images
    if objective.pixel == "none" and (not adversarial or pretrain):
        cause = "--loss none" if not adversarial else f"--pretrain-images {pretrain}"
        raise UserError(f"{cause}: the generator would learn from nothing. Give --pixel l1 or mse.")
    if tasks.TASKS[task].from_images:
        _check_image_task(config, architecture, adversarial)
    else:
        _check_latent_task(config)


def _check_latent_task(config: Config) -> None:
    """Raise UserError for options that only tasks from images to images have."""
    if pairs := set(config.measuring.metrics or ()) - set(metrics.WHILE_TRAINING):
        raise UserError(
            f"--metrics {min(pairs)}: compares images that belong together; it is for tasks from images to images."
        )
    for name in ("pixel", "content", "patch", "degrade", "denoise", "hints", "reverse", "zoom", "pretrain_images"):
        if config.value(name) != DEFAULTS[name]:
            raise UserError(
                f"{flag(name)} {config.value(name)} with --task {config.purpose.task}: it belongs to tasks from images to images."
            )


def _check_image_task(config: Config, architecture: networks.Architecture, adversarial: bool) -> None:
    """Raise UserError for options that a task from images to images cannot have.

    adversarial: whether the loss has a discriminator.
    """
    task, content, augment = config.purpose.task, config.objective.content, config.images.augment
    for name, allowed in (("channels", 3), ("conditional", False)):
        if config.value(name) != allowed:
            kept = name == "channels" and transparency.has_alpha(config.images.channels)
            more = " Photos keep their transparency without it, when they are converted." if kept else ""
            raise UserError(f"{flag(name)} with --task {task}: it belongs to --task generate.{more}")
    if config.purpose.patch and not architecture.any_size:
        raise UserError(
            f"--patch {config.purpose.patch}: --network {config.networks.network} is made for whole images."
        )
    if config.purpose.zoom and not tasks.TASKS[task].may_zoom:
        raise UserError(
            f"--zoom {config.purpose.zoom:g} with --task {task}: it would learn from blurred photos. Leave it out."
        )
    if content == "vgg19" and not tasks.TASKS[task].rgb_output:
        raise UserError(f"--content vgg19 with --task {task}: it looks at red, green and blue. Give discriminator.")
    if augment != "none" and content == "discriminator":
        raise UserError(
            f"--augment {augment} with --content discriminator: the features of images that were moved apart cannot be "
            "compared. Give --content none or vgg19."
        )
    if config.purpose.denoise and config.purpose.degrade == "none" and "denoise" in tasks.TASKS[task].options:
        raise UserError("--denoise: there is no noise to learn from. Give --degrade once or twice, too.")
    if not adversarial and content != "none":
        raise UserError(f"--content {content} with --loss none: it goes with a discriminator.")


def check_networks(config: Config, architecture: networks.Architecture) -> None:
    """Raise UserError for options that the architecture does not have."""
    options = config.networks
    if options.size is not None and not architecture.grows:
        raise UserError(
            f"--size {options.size}: sizes are for networks that grow, and --network {options.network} does not. Leave it out."
        )
    for name in ("conv", "upsampling", "modulation", "minibatch", "width", "blocks", "dropout", "scale"):
        if name not in architecture.structure and config.value(name) != DEFAULTS[name]:
            raise UserError(f"{flag(name)} {config.value(name)}: --network {options.network} does not have it.")
    norms = architecture.generator_norms or ("none",)
    if options.generator_norm and options.generator_norm not in norms:
        raise UserError(
            f"--generator-norm {options.generator_norm}: --network {options.network} takes {', '.join(norms)}."
        )
    if options.discriminator_norm == "group" and not tasks.TASKS[config.purpose.task].from_images:
        raise UserError(f"--discriminator-norm group: --network {options.network} takes batch or none.")
    if options.conv == "separable" and options.spectral != "none":
        raise UserError(
            "--spectral with --conv separable: it would leave half of each convolution out. Give --conv standard, or no --spectral."
        )


def check_shape(config: Config, architecture: networks.Architecture) -> None:
    """Raise UserError if the architecture makes squares only and the images are not square."""
    aspect = config.networks.aspect
    if aspect != shapes.SQUARE and not architecture.rectangles:
        task, rows = config.purpose.task, networks.NETWORKS.items()
        fitting = [name for name, other in rows if other.rectangles and task in other.tasks]
        raise UserError(
            f"--shape {shapes.name_aspect(aspect)} with --network {config.networks.network}: it is made for squares. "
            f"Leave --shape out{', or give --network ' * bool(fitting)}{' or '.join(fitting)}."
        )


def check_size(config: Config, architecture: networks.Architecture, resolutions: tuple[int, ...]) -> None:
    """Raise UserError if the architecture or the task cannot take the resolutions or --patch.

    resolutions: resolutions of all stages in pixels.
    """
    network, patch, scale = config.networks.network, config.purpose.patch, config.purpose.scale
    powers = [(2**k,) for k in range(3, 10) if 2**k <= architecture.largest]
    if not architecture.grows and (len(resolutions) > 1 or not architecture.any_size and resolutions not in powers):
        raise UserError(
            f"--network {network} at {as_text(resolutions).replace(',', ', ')} px: it is made for one size"
            + ("." if architecture.any_size else f", a power of two from 8 to {architecture.largest}.")
        )
    shape = shapes.shape_at(resolutions[-1], config.networks.aspect)
    if patch and not scale <= patch <= min(shape):
        raise UserError(f"--patch {patch}: expected {scale} to {min(shape)}, the size of the images.")
    for side in (patch,) if patch else shape:
        tasks.from_config(config).check_size(side)


def check_new(config: Config) -> None:
    """Raise UserError for options of a new run from which nothing would come; earlier runs may have them."""
    smallest = min(shapes.shape_at(config.networks.target_res, config.networks.aspect))
    if config.running.stop == "plateau" and smallest < metrics.SMALLEST:
        raise UserError(
            f"--stop plateau: images of less than {metrics.SMALLEST} px are not measured, so that it would never come."
        )
    if not all(rate > 0 for rate in config.optimization.learning_rate.values()):
        raise UserError(f"--learning-rate {as_text(config.optimization.learning_rate)}: expected more than 0.")


def check_stop(config: Config) -> None:
    """Raise UserError for --stop plateau if no metric could tell a plateau."""
    names = config.measuring.metrics or ()
    adversarial = tasks.TASKS[config.purpose.task].from_images and losses.LOSSES[config.objective.loss].adversarial
    if config.running.stop == "plateau" and metrics.choose_judge(names, adversarial) is None:
        raise UserError(
            f"--stop plateau: none of --metrics {as_text(names) or '(none)'} tells which of two generators is better. "
            f"Give one that does, such as swd, or leave it out."
        )


def check_objective(config: Config) -> None:
    """Raise UserError for options that the loss does not have, or that --update excludes."""
    options, augment = config.objective, config.images.augment
    loss, targets = losses.LOSSES[options.loss], options.lsgan_targets
    if options.label_smoothing and loss.with_smoothing is None:
        raise UserError(f"--label-smoothing with --loss {options.loss}: it belongs to the cross-entropy losses.")
    if options.critic_steps > 1 and options.update == "one-stage":
        raise UserError(
            f"--critic-steps {options.critic_steps} with --update one-stage: one pass updates both networks. "
            "Give --update two-stage."
        )
    if augment == "ada" and loss.adversarial and loss.decision_threshold is None:
        raise UserError(
            f"--augment ada with --loss {options.loss}: its logits have no sign to go by. Give diff, or another loss."
        )
    if targets is not None and loss.with_targets is None:
        raise UserError(f"--lsgan-targets with --loss {options.loss}: it belongs to --loss lsgan.")
    if targets is not None and (len(targets) != 3 or targets[0] >= targets[1]):
        raise UserError(
            f"--lsgan-targets {as_text(targets)}: expected three numbers a,b,c with a below b, such as -1,1,0."
        )


def check_groups(config: Config, architecture: networks.Architecture, batch: CountTable) -> None:
    """Raise UserError if a batch cannot be divided into the groups of --stddev-group.

    The discriminator computes the minibatch standard deviation within such groups of images.

    batch: {resolution: batch size} for every resolution.
    """
    group, minibatch = config.networks.stddev_group, config.networks.minibatch
    if minibatch == "discrimination" and min(batch.values()) < 2:
        raise UserError(
            "--minibatch discrimination with --batch 1: it compares the images of a batch. Give at least 2."
        )
    if "stddev_group" not in architecture.structure or minibatch != "stddev":
        return
    for resolution, size in batch.items():
        if size > group > 1 and size % group:
            raise UserError(
                f"--batch {size} at {resolution} px: not a multiple of --stddev-group {group}. "
                f"The nearest are {size // group * group} and {-(-size // group) * group}."
            )


def _readers(config: Config) -> dict[str, tuple[bool, str]]:
    """Return {option: (whether it has an effect, reason if it has none)}.

    Only options whose effect depends on other options are included.

    config: the config, with a value for every option.
    """
    architecture, loss = networks.NETWORKS[config.networks.network], losses.LOSSES[config.objective.loss]
    objective, measured = config.objective, config.measuring.metrics
    structure = {name for other in networks.NETWORKS.values() for name in other.options}
    readers = {
        name: (name in architecture.structure, f"--network {config.networks.network} does not have it")
        for name in structure
    }
    readers |= {
        "augment_images": (config.images.augment == "ada", "it belongs to --augment ada"),
        "class_weight": (config.networks.conditional, "it belongs to --conditional"),
        "fade_images": (architecture.grows, f"--network {config.networks.network} does not grow"),
        "penalty_weight": (objective.penalty != "none", "there is no penalty; give --penalty"),
        "penalty_every": (objective.penalty != "none", "there is no penalty; give --penalty"),
        "penalty_target": (objective.penalty == "gp", "it belongs to --penalty gp"),
        "pixel_weight": (
            objective.pixel != "none" and loss.adversarial,
            "it weighs --pixel against an adversarial loss",
        ),
        "content_weight": (objective.content != "none", "it belongs to --content"),
        "vgg_weights": (objective.content == "vgg19", "it belongs to --content vgg19"),
        "freeze_discriminator": (
            architecture.grows and config.optimization.init_from is not None,
            "it belongs to --init-from, and networks that grow",
        ),
        "zoom": (
            tasks.TASKS[config.purpose.task].may_zoom,
            "this task does not learn from photos that zooming has blurred",
        ),
        "pretrain_share": (config.schedule.pretrain_images > 0, "it belongs to --pretrain-images"),
        "lsgan_targets": (loss.with_targets is not None, "it belongs to --loss lsgan"),
    }
    for name, task in tasks.TASKS.items():
        own = tasks.TASKS[config.purpose.task].options
        readers |= {option: (option in own, f"it belongs to --task {name}") for option in task.options}
    if readers["degrade_strength"][0]:
        readers["degrade_strength"] = (config.purpose.degrade == "twice", "it belongs to --degrade twice")
    by_features = (
        metrics.needs_features(measured or ()),
        "it belongs to --metrics fid, kid and others that need features",
    )
    readers |= dict.fromkeys(("metrics_every", "metrics_images"), (measured is not None, "it belongs to --metrics"))
    readers |= dict.fromkeys(("features", "inception_weights"), by_features)
    by_minutes = (config.schedule.minutes is not None, "it belongs to --minutes")
    readers |= dict.fromkeys(("stage_growth", "fade_share"), by_minutes)
    readers |= dict.fromkeys(_OF_DISCRIMINATORS, (loss.adversarial, "there is no discriminator with --loss none"))
    if "stddev_group" in architecture.structure:
        readers["stddev_group"] = (config.networks.minibatch == "stddev", "it belongs to --minibatch stddev")
    if not tasks.TASKS[config.purpose.task].from_images:
        others = [name for name in OF_IMAGE_TASKS if name not in structure]
        readers |= dict.fromkeys(others, (False, "it belongs to tasks from images to images"))
    return readers


def check_read(config: Config, names: Iterable[str]) -> None:
    """Raise UserError if an option that was typed has no effect.

    Args:
        config: the config, with a value for every option.
        names: names of the options that were typed.
    """
    readers = _readers(config)
    for name in names:
        is_read, reader = readers.get(name, (True, ""))
        if not is_read:
            raise UserError(f"{flag(name)}: nothing would read it: {reader}.")
