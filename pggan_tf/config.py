"""A run's configuration: one frozen dataclass, the only home of defaults. The command line is made from its fields."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pggan_tf import growth, metrics, networks, objectives, tasks
from pggan_tf.errors import UserError, nearest
from pggan_tf.pixels import FILTERS

VERSION = 2

PRECISIONS = ("auto", "float32", "bfloat16")
XLA = ("auto", "on", "off")
STRATEGIES = ("auto", "cpu", "gpu", "mirrored", "multiworker", "tpu")
UPDATES = ("two-stage", "one-stage")
OPTIMIZERS = ("adam", "rmsprop")
AUGMENTATIONS = ("none", "diff", "ada")
# A value for each resolution; one that is not listed takes that of the next lower one.
Table = dict[int, float]
CountTable = dict[int, int]


def option(
    default,
    help: str,
    choices: tuple[str, ...] = (),
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
):
    """A field. Its values, those of a table too, are least <= value <= most and above < value < below."""
    kind = {"default_factory": lambda: dict(default)} if isinstance(default, dict) else {"default": default}
    bounds = {"least": least, "most": most, "above": above, "below": below}
    return field(**kind, metadata={"help": help, "choices": choices, **bounds})


@dataclass(frozen=True)
class Config:
    """Everything that a run follows from. None: worked out from the rest by `complete`."""

    recipe: str = option("pggan", "named configuration that the other options start from")
    # data
    data: str | tuple[str, ...] | None = option(
        None, "folder of images, or of shards; given again, images of another besides; without it, drawn portraits"
    )
    portraits: int = option(10_000, "how many portraits are drawn when there is no --data", least=1)
    filter: str = option("lanczos", "filter that photos are reduced with", FILTERS)
    crop: str = option(
        "centre",
        "of photos: the central square, reduced; or tiles, all of it at its own resolution",
        ("centre", "tiles"),
    )
    upscale_small: bool = option(False, "enlarge photos that are smaller than the target instead of leaving them out")
    mirror: bool = option(True, "show every other image mirrored")
    task: str = option("generate", "what is learned: images from nothing, or from images", tasks.TASKS)
    scale: int = option(4, "with --task upscale: how many times larger", ("2", "4", "8"))
    degrade: bool = option(False, "with --task upscale: blur, noise and compression in what is to be enlarged")
    reverse: bool = option(False, "with --task translate: the second image of every pair is given, the first is wanted")
    patch: int | None = option(None, "train on squares of this size, cut out at random", least=1)
    held_out: float = option(
        0.0,
        "share of the images, of every part of the data, that is kept for measuring and not trained on",
        least=0,
        most=0.9,
    )
    augment: str = option(
        "none", "what the discriminator sees is changed at random, for few images: always, or adaptively", AUGMENTATIONS
    )
    channels: int = option(3, "3 for colour, 1 for gray", ("1", "3"))
    # networks
    target_res: int | None = option(
        None,
        "pixels to grow to, a power of two from 4 to 1024, or any that the network takes  [64, 32 if it does not grow, or the recipe's]",
    )
    resolutions: tuple[int, ...] | None = option(None, "stages to grow through, such as 4,8,16,32,96")
    network: str = option("progressive", "architecture of both networks", tuple(networks.NETWORKS))
    width: int = option(64, "feature maps of the first layer of networks from images to images", least=1)
    blocks: int = option(16, "residual blocks of srresnet", least=1)
    dropout: float = option(0.5, "rate in the three smallest steps up of unet", least=0, most=0.95)
    conditional: bool = option(False, "the generator is told a class, and the discriminator tells them apart (ACGAN)")
    class_weight: float = option(1.0, "weight of the classes in both losses, with --conditional", least=0)
    fmap_base: int = option(2048, "feature maps: min(2 * fmap_base / resolution, fmap_max)", least=1)
    fmap_max: int = option(128, "feature maps at most", least=1)
    latent_size: int = option(128, "numbers that an image is generated from", least=1)
    stddev_group: int = option(4, "images whose spread the discriminator sees; 1 turns it off", least=1)
    conv: str | None = option(
        None, "3x3 convolutions of progressive  [separable; standard with --spectral]", ("standard", "separable")
    )
    generator_norm: str | None = option(None, "normalisation in the generator", ("pixel", "batch", "group", "none"))
    discriminator_norm: str | None = option(None, "normalisation in the discriminator", ("batch", "group", "none"))
    spectral: str = option("none", "spectrally normalised layers of the discriminator", ("none", "down", "all"))
    minibatch: str = option(
        "stddev", "what progressive's discriminator sees of the batch", ("stddev", "discrimination", "none")
    )
    # objective
    loss: str = option("nonsaturating-r1", "pair of losses, with its penalty", tuple(objectives.LOSSES))
    lsgan_targets: tuple[float, ...] | None = option(
        None, "a,b,c of lsgan: D's targets for fakes and reals, G's for fakes"
    )
    penalty: str | None = option(
        None, "penalty on the discriminator's gradient instead of the loss's own", objectives.PENALTIES
    )
    penalty_weight: Table | None = option(None, "weight of the penalty: lambda of gp, gamma of r1", least=0)
    penalty_every: int | None = option(None, "apply the penalty at every k-th step, k times as heavy", least=1)
    penalty_target: float = option(1.0, "norm that gp pulls the gradient to", above=0)
    drift: float | None = option(None, "weight of D(real)^2", least=0)
    label_smoothing: float = option(
        0.0, "D's target for reals is 1 minus this, with a cross-entropy loss", least=0, below=1
    )
    adversarial_weight: float = option(1.0, "weight of the adversarial loss in the generator's", least=0)
    pixel: str = option("none", "loss of the generator by pixels", objectives.PIXEL)
    pixel_weight: float = option(1.0, "weight of the pixel loss", least=0)
    content: str = option(
        "none",
        "features in which images have to be alike: of VGG19, or the discriminator's own",
        tuple(objectives.CONTENT),
    )
    content_weight: float | None = option(None, "weight of the features", least=0)
    vgg_weights: str | None = option(None, "weights of VGG19 without its top, .h5; by default Keras downloads them")
    update: str = option("one-stage", "how both networks' gradients are taken", UPDATES)
    critic_steps: int = option(
        1, "updates of the discriminator for each of the generator's, on different batches", least=1
    )
    weight_clip: float | None = option(
        None, "the discriminator's weights are kept within plus and minus this (WGAN)", above=0
    )
    # optimisation
    learning_rate: Table = option({4: 4e-3}, "learning rate of both networks", least=0)
    discriminator_rate: float = option(1.0, "learning rate of the discriminator, relative to the generator's", above=0)
    optimizer: str = option("adam", "optimiser of both networks", OPTIMIZERS)
    adam_betas: tuple[float, ...] = option((0.0, 0.99), "beta1,beta2 of Adam; RMSProp has beta2")
    adam_epsilon: float = option(1e-8, "epsilon of Adam", above=0)
    batch: CountTable = option({4: 64, 16: 32, 32: 16, 256: 8, 512: 4}, "images per step", least=1)
    ema_half_life_images: float = option(10_000.0, "half-life of the generator's moving average, in images", least=0)
    ema_rampup: float = option(
        0.1, "the half-life is at most this share of the images seen at the stage's resolution", least=0
    )
    init_from: str | None = option(
        None, "folder of a run whose weights to start from; stages it has been through are left out"
    )
    # schedule
    fade_images: CountTable = option({4: 300_000}, "images while a stage fades in")
    stable_images: CountTable = option({4: 300_000}, "images after a stage has faded in")
    pretrain_images: int = option(0, "images that the generator first learns from by its pixel loss alone", least=0)
    decay_share: float = option(
        0.0,
        "share of the last phase, and of the pixel loss's own, over which the learning rate falls to 0",
        least=0,
        most=1,
    )
    total_images: int | None = option(None, "scale the schedule to this many images in all", least=1)
    minutes: float | None = option(
        None, "plan the schedule from measured speed so that the run takes this long", above=0, below=1e6
    )
    stage_growth: float | None = option(
        None,
        "with --minutes: time of a stage relative to the stage before; by default 3, or less in a short run",
        above=0,
    )
    fade_share: float = option(0.3, "with --minutes: share of a stage's time that its fade takes", least=0, most=1)
    pretrain_share: float = option(
        0.5, "with --minutes and --pretrain-images: share of the time for the pixel loss alone", least=0, most=1
    )
    # metrics
    metrics: tuple[str, ...] | None = option(
        None, "figures that the generator is measured by while it trains", tuple(metrics.METRICS)
    )
    metrics_every: CountTable | None = option(
        None,
        "images between two measurements, such as 5000 or 8=20000,64=2000; by default at every snapshot, and with "
        "--minutes 40 times, equally far apart in time, or as often as a tenth of the minutes allows",
        least=1,
    )
    # More than there are features, 496 or 2048, so that they have a covariance; few enough to be measured often.
    metrics_images: int = option(2_500, "images that are measured, of the data and of the generator", least=2)
    features: str = option("inception", "what metrics see: inception, random, a keras.applications name, a .keras file")
    inception_weights: str | None = option(None, "file or address of inception-2015-12-05; by default fetched once")
    # running
    precision: str = option("auto", "auto: bfloat16 where the hardware multiplies it faster, else float32", PRECISIONS)
    xla: str = option("auto", "compile the step by XLA; auto: on one GPU", XLA)
    strategy: str = option(
        "auto",
        "devices that share every batch: all GPUs of this machine, or of all --workers, else the CPU",
        STRATEGIES,
    )
    sync_batch: bool = option(
        True, "on several devices: batch normalisation and minibatch statistics look at the batch of all of them"
    )
    seed: int = option(0, "seed of everything random", least=0, most=2**31 - 1)
    snapshot_images: int | None = option(
        None, "images between two grids of samples; by default a fortieth of the run", least=1
    )
    snapshot_epochs: float | None = option(None, "epochs between two grids, instead of --snapshot-images", above=0)
    probe: bool = option(
        False, "first measure the speed of every stage, to say when the run will end; --minutes always does"
    )
    checkpoint_minutes: float = option(
        5.0, "minutes between checkpoints; they are also written when a phase ends and when stopped", least=0
    )
    keep_checkpoints: int = option(2, "how many checkpoints to keep", least=1)
    grid: int = option(64, "images in a grid", least=1)
    log: tuple[str, ...] | None = option(None, "where figures go besides stats.jsonl and TensorBoard", ("mlflow",))
    report: bool = option(True, "keep report.html in the run's folder up to date")


FIELDS = {f.name: f for f in dataclasses.fields(Config)}
_TYPES = typing.get_type_hints(Config)
# Fields that may be given several times: one value is kept as it is, several as a tuple.
SEVERAL = ("data",)


# Fields that only tasks from images to images look at.
OF_IMAGES = (
    *(
        "scale",
        "degrade",
        "reverse",
        "patch",
        "held_out",
        "width",
        "blocks",
        "dropout",
        "adversarial_weight",
        "pixel",
        "pixel_weight",
    ),
    *("content", "content_weight", "vgg_weights", "pretrain_images", "pretrain_share"),
)


def taken_by(config: Config, given: Mapping) -> dict:
    """Those of the given options that a recipe's task and network have a use for."""
    kind = networks.NETWORKS[config.network]
    others = {f for k in networks.NETWORKS.values() for f in k.structure if f in FIELDS} - {*kind.structure}
    unused = OF_IMAGES if config.task == "generate" else others | {"conditional", "class_weight", "augment", "channels"}
    return {k: v for k, v in given.items() if k not in unused}


def base_type(name: str):
    """The type of a field, without its `| None`."""
    kind = _TYPES[name]
    if isinstance(kind, types.UnionType):
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    return kind


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def typed(value) -> str:
    """A field's value as the command line takes it."""
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in value.items())
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def as_given(name: str, value) -> str:
    """An option with its value as it is typed."""
    if isinstance(value, bool):
        return flag(name) if value else f"--no-{name.replace('_', '-')}"
    if name in SEVERAL and isinstance(value, tuple):
        return " ".join(f"{flag(name)} {v}" for v in value)
    return f"{flag(name)} {typed(value)}"


def of_weights(network: str) -> tuple[str, ...]:
    """The fields that weights of a network depend on, besides the sizes of its images."""
    structure = (f for f in networks.NETWORKS[network].structure if f in FIELDS and f not in ("patch", "dropout"))
    return tuple(dict.fromkeys(("task", "network", "conditional", "channels", *structure)))


def _number(text, kind, name):
    try:
        value = float(text)
        if not math.isfinite(value) or kind is int and value != int(value):
            raise ValueError
        return kind(value)
    except (TypeError, ValueError):
        raise UserError(f"{flag(name)} {text}: not a {'whole ' if kind is int else ''}number.") from None


def parse(name: str, value):
    """A value from the command line or from JSON -> one of the field's type. Raises UserError that names the field."""
    kind = base_type(name)
    if value is None:
        if type(None) in typing.get_args(_TYPES[name]):
            return None
        raise UserError(f"{flag(name)}: may not be null.")
    if name in SEVERAL and isinstance(value, list | tuple):
        if not value or not all(isinstance(v, str) for v in value):
            raise UserError(f"{flag(name)} {json.dumps(value)}: expected text, or a list of it.")
        return tuple(value) if len(value) > 1 else value[0]
    if typing.get_origin(kind) is dict:
        number = typing.get_args(kind)[1]
        if isinstance(value, Mapping):
            items = value.items()
        elif "=" in str(value):
            items = [part.split("=", 1) for part in str(value).split(",")]
            if bad := [item[0] for item in items if len(item) == 1]:
                raise UserError(f"{flag(name)} {value}: expected RES=VALUE in place of {bad[0]}, such as 4=16,32=8.")
        else:
            items = [(4, value)]
        table = {_number(k, int, name): _number(v, number, name) for k, v in items}
        if not table:
            raise UserError(f"{flag(name)}: an empty table. Give at least one value, such as 4=16.")
        if bad := [v for v in table.values() if v < 0]:
            raise UserError(f"{flag(name)} {bad[0]}: below zero.")
        return dict(sorted(table.items()))
    if typing.get_origin(kind) is tuple:
        parts = value if isinstance(value, list | tuple) else str(value).split(",")
        if typing.get_args(kind)[0] is str:
            return metrics.parse(",".join(map(str, parts)), FIELDS[name].metadata["choices"], flag(name))
        return tuple(_number(p, typing.get_args(kind)[0], name) for p in parts)
    if kind is bool:
        if not isinstance(value, bool):
            raise UserError(f"{flag(name)} {value}: expected true or false.")
        return value
    if kind in (int, float):
        value = _number(value, kind, name)
    else:
        value = str(value)
    choices = FIELDS[name].metadata["choices"]
    if choices and str(value) not in choices:
        raise UserError(f"{flag(name)} {value}: not known; {nearest(value, choices)}")
    return value


def from_dict(values: Mapping) -> Config:
    """A config out of JSON. Refuses unknown fields and newer versions."""
    values = dict(values)
    version = values.pop("version", VERSION)
    if type(version) is not int or version < 1:
        raise UserError(f"config of version {version!r}: expected 1 to {VERSION}.")
    if version > VERSION:
        raise UserError(f"config of version {version}: this pggan-tf reads up to version {VERSION}. Update pggan-tf.")
    if version == 1:  # every network's config said standard, which only the growing ones read
        network = networks.NETWORKS.get(str(values.get("network", Config.network)))
        conv = values.get("conv") or "standard"
        values["conv"] = None if conv == "standard" and network and "conv" not in network.structure else conv
    if unknown := [k for k in values if k not in FIELDS]:
        raise UserError(f"config field {unknown[0]}: not known; {nearest(unknown[0], FIELDS)}")
    return Config(**{k: parse(k, v) for k, v in values.items()})


def to_dict(config: Config) -> dict:
    return {"version": VERSION, **dataclasses.asdict(config)}


def load(path: str | Path) -> Config:
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). Expected the config.json of a run.") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}). Expected the config.json of a run.") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a JSON object with a config's fields.")
    if "class_name" in values:
        raise UserError(
            f"{path}: describes a network to Keras. Expected a run's folder, or the run.json of an exported one."
        )
    try:
        return from_dict(values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _bounds_in_words(least, most, above, below) -> str:
    if least is not None and most is not None:
        return f"{least:g} to {most}"
    if least is not None:
        return f"{least:g} or more" if below is None else f"{least:g} to below {below:g}"
    return f"more than {above:g}" if below is None else f"more than {above:g} and below {below:g}"


def _check_bounds(config: Config) -> None:
    for name, field_ in FIELDS.items():
        bounds = [field_.metadata[k] for k in ("least", "most", "above", "below")]
        least, most, above, below = bounds
        value = getattr(config, name)
        for v in value.values() if isinstance(value, dict) else [value]:
            fits = v is None or (
                (least is None or v >= least)
                and (most is None or v <= most)
                and (above is None or v > above)
                and (below is None or v < below)
            )
            if any(b is not None for b in bounds) and not fits:
                raise UserError(f"{flag(name)} {v}: expected {_bounds_in_words(*bounds)}.")
    if len(config.adam_betas) != 2 or not all(0 <= b < 1 for b in config.adam_betas):
        raise UserError(
            f"--adam-betas {','.join(map(str, config.adam_betas))}: expected two numbers from 0 to below 1, such as 0,0.99."
        )


def _check_task(config: Config, kind: networks.Kind) -> None:
    """What a task, its network and its losses need of each other."""
    if config.task not in kind.tasks:
        fitting = [name for name, k in networks.NETWORKS.items() if config.task in k.tasks]
        raise UserError(
            f"--task {config.task} with --network {config.network}: that one is for {', '.join(kind.tasks)}. Give --network {' or '.join(fitting)}."
        )
    adversarial = objectives.LOSSES[config.loss].adversarial
    if adversarial and kind.discriminator_module is None:
        raise UserError(
            f"--loss {config.loss} with --network {config.network}: it has no discriminator. Give --loss none."
        )
    if config.pixel == "none" and (not adversarial or config.pretrain_images):
        given = "--loss none" if not adversarial else f"--pretrain-images {config.pretrain_images}"
        raise UserError(f"{given}: the generator would learn from nothing. Give --pixel l1 or mse.")
    if config.task == "generate":
        if pairs := set(config.metrics or ()) - set(metrics.WHILE_TRAINING):
            raise UserError(
                f"--metrics {min(pairs)}: compares images that belong together; it is for tasks from images to images."
            )
        for name in ("pixel", "content", "patch", "held_out", "degrade", "reverse", "pretrain_images"):
            if getattr(config, name) != FIELDS[name].default:
                raise UserError(
                    f"{flag(name)} {getattr(config, name)} with --task generate: it belongs to tasks from images to images."
                )
        return
    for name, allowed in (("channels", 3), ("conditional", False)):
        if getattr(config, name) != allowed:
            raise UserError(f"{flag(name)} with --task {config.task}: it belongs to --task generate.")
    if config.patch and not kind.any_size:
        raise UserError(f"--patch {config.patch}: --network {config.network} is made for whole images.")
    if config.content == "vgg19" and config.task not in ("upscale", "translate"):
        raise UserError(
            f"--content vgg19 with --task {config.task}: it looks at red, green and blue. Give discriminator."
        )
    if config.augment != "none" and config.content == "discriminator":
        raise UserError(
            f"--augment {config.augment} with --content discriminator: the features of images that were moved apart cannot be "
            "compared. Give --content none or vgg19."
        )
    if not adversarial and config.content != "none":
        raise UserError(f"--content {config.content} with --loss none: it goes with a discriminator.")


def _check_networks(config: Config, kind: networks.Kind) -> None:
    taken = kind.structure
    for name in ("conv", "minibatch", "width", "blocks", "dropout", "scale"):
        if name not in taken and getattr(config, name) != FIELDS[name].default:
            raise UserError(f"{flag(name)} {getattr(config, name)}: --network {config.network} does not have it.")
    norms = kind.generator_norms or ("none",)
    if config.generator_norm and config.generator_norm not in norms:
        raise UserError(
            f"--generator-norm {config.generator_norm}: --network {config.network} takes {', '.join(norms)}."
        )
    if config.discriminator_norm == "group" and config.task == "generate":
        raise UserError(f"--discriminator-norm group: --network {config.network} takes batch or none.")
    if config.conv == "separable" and config.spectral != "none":
        raise UserError(
            "--spectral with --conv separable: it would leave half of each convolution out. Give --conv standard, or no --spectral."
        )


def _resolutions(config: Config, kind: networks.Kind) -> tuple[int, ...]:
    """Those of the plan."""
    if config.resolutions:
        resolutions = growth.check_resolutions(config.resolutions)
        if config.target_res not in (None, resolutions[-1]):
            raise UserError(
                f"--target-res {config.target_res} and --resolutions that end at {resolutions[-1]}: give one of them."
            )
    elif kind.grows:
        resolutions = growth.doubling(64 if config.target_res is None else config.target_res)
    elif kind.any_size:
        resolutions = growth.check_resolutions((config.target_res or 32,))
    else:
        resolutions = growth.doubling(config.target_res or 32)[-1:]
    powers = [(2**k,) for k in range(3, 10) if 2**k <= kind.largest]
    if not kind.grows and (len(resolutions) > 1 or not kind.any_size and resolutions not in powers):
        raise UserError(
            f"--network {config.network} at {', '.join(map(str, resolutions))} px: it is made for one size"
            + ("." if kind.any_size else f", a power of two from 8 to {kind.largest}.")
        )
    if config.patch and not config.scale <= config.patch <= resolutions[-1]:
        raise UserError(
            f"--patch {config.patch}: expected {config.scale} to {resolutions[-1]}, the size of the images."
        )
    size = config.patch or resolutions[-1]
    if config.task == "upscale" and size % config.scale:
        raise UserError(f"--scale {config.scale}: {size} pixels are not a multiple of it. Give another --patch.")
    return resolutions


def _check_objective(config: Config) -> None:
    own = objectives.LOSSES[config.loss]
    if config.label_smoothing and own.with_smoothing is None:
        raise UserError(f"--label-smoothing with --loss {config.loss}: it belongs to the cross-entropy losses.")
    if config.critic_steps > 1 and config.update == "one-stage":
        raise UserError(
            f"--critic-steps {config.critic_steps} with --update one-stage: one pass updates both networks. Give --update two-stage."
        )
    if config.augment == "ada" and own.adversarial and own.decision_threshold is None:
        raise UserError(
            f"--augment ada with --loss {config.loss}: its logits have no sign to go by. Give diff, or another loss."
        )
    if config.lsgan_targets is not None and own.with_targets is None:
        raise UserError(f"--lsgan-targets with --loss {config.loss}: it belongs to --loss lsgan.")
    targets = config.lsgan_targets
    if targets is not None and (len(targets) != 3 or targets[0] >= targets[1]):
        raise UserError(
            f"--lsgan-targets {','.join(map(str, targets))}: expected three numbers a,b,c with a below b, such as -1,1,0."
        )


LEAST_CLIP = 0.5  # of equalised weights


def _penalty(config: Config, kind: networks.Kind) -> dict:
    """The penalty with its weights, and what it asks of the discriminator."""
    own = objectives.LOSSES[config.loss]
    penalty = config.penalty or own.penalty
    # Another penalty than the loss's own starts from the weights of the loss that it belongs to.
    owners = [v for v in objectives.LOSSES.values() if v.penalty == penalty.partition("+")[0].replace("2", "1")]
    usual = own if penalty == own.penalty else next(iter(owners), own)
    changes: dict = {"penalty": penalty}
    if config.penalty_weight is None:
        changes["penalty_weight"] = {4: usual.penalty_weight}
    if config.penalty_every is None:
        changes["penalty_every"] = usual.penalty_every
    if config.drift is None:
        changes["drift"] = own.drift
    # Equalised weights are of size 1 as they are kept. Clipped to 0.01 they pass on next to nothing, and batch normalisation does
    # not help: its scale is clipped as well. (At 32 px, logits spread by 1e-17; clipped to 0.1, by 1e-11; to 0.5, by 1e-3.)
    if kind.equalized and (config.weight_clip or 1.0) < LEAST_CLIP:
        raise UserError(
            f"--weight-clip {config.weight_clip} with --network {config.network}: its weights are scaled as they are used, and so small "
            f"a critic says the same of every image. In its place give --penalty gp or --spectral all; or --weight-clip {LEAST_CLIP} or more."
        )
    unbounded = penalty == "none" or not any((config.penalty_weight or {4: 1.0}).values())
    if own.needs_bounded_critic and unbounded and config.spectral != "all" and config.weight_clip is None:
        # Arjovsky et al. 2017, algorithm 1: something has to keep the critic's slope small.
        if kind.equalized:
            raise UserError(
                f"--loss {config.loss} without a penalty, with --network {config.network}: nothing bounds the critic. "
                "Give --penalty gp (--loss wgan-gp), --penalty r1 or --spectral all."
            )
        changes["weight_clip"] = 0.01
    if penalty == "gp" and (config.discriminator_norm or kind.usual["discriminator_norm"]) == "batch":
        if config.discriminator_norm == "batch":
            raise UserError(
                "--discriminator-norm batch with --penalty gp: the penalty is on each sample's own gradient. Give none."
            )
        changes["discriminator_norm"] = "none"
    return changes


def _check_groups(config: Config, kind: networks.Kind, batch: CountTable) -> None:
    group = config.stddev_group
    if config.minibatch == "discrimination" and min(batch.values()) < 2:
        raise UserError(
            "--minibatch discrimination with --batch 1: it compares the images of a batch. Give at least 2."
        )
    if "stddev_group" not in kind.structure or config.minibatch != "stddev":
        return
    for resolution, size in batch.items():
        if size > group > 1 and size % group:
            raise UserError(
                f"--batch {size} at {resolution} px: not a multiple of --stddev-group {group}. "
                f"The nearest are {size // group * group} and {-(-size // group) * group}."
            )


def check_read(config: Config, given: Iterable[str]) -> None:
    """Refuses options that were given and that nothing would read. config: a completed one."""
    kind, loss = networks.NETWORKS[config.network], objectives.LOSSES[config.loss]
    structure = {f for k in networks.NETWORKS.values() for f in k.structure if f in FIELDS}
    # name -> (whether it is read, by what)
    read: dict[str, tuple[bool, str]] = {
        f: (f in kind.structure, f"--network {config.network} does not have it") for f in structure
    }
    read |= {
        "degrade": (config.task == "upscale", "it belongs to --task upscale"),
        "reverse": (config.task == "translate", "it belongs to --task translate"),
        "class_weight": (config.conditional, "it belongs to --conditional"),
        "fade_images": (kind.grows, f"--network {config.network} does not grow"),
        "penalty_weight": (config.penalty != "none", "there is no penalty; give --penalty"),
        "penalty_every": (config.penalty != "none", "there is no penalty; give --penalty"),
        "penalty_target": (config.penalty == "gp", "it belongs to --penalty gp"),
        "pixel_weight": (config.pixel != "none" and loss.adversarial, "it weighs --pixel against an adversarial loss"),
        "content_weight": (config.content != "none", "it belongs to --content"),
        "vgg_weights": (config.content == "vgg19", "it belongs to --content vgg19"),
        "pretrain_share": (config.pretrain_images > 0, "it belongs to --pretrain-images"),
        "lsgan_targets": (loss.with_targets is not None, "it belongs to --loss lsgan"),
        **{f: (config.metrics is not None, "it belongs to --metrics") for f in ("metrics_every", "metrics_images")},
        **{
            f: (
                metrics.needs_features(config.metrics or ()),
                "it belongs to --metrics fid, kid and others that need features",
            )
            for f in ("features", "inception_weights")
        },
        **{f: (config.minutes is not None, "it belongs to --minutes") for f in ("stage_growth", "fade_share")},
        **{f: (loss.adversarial, "there is no discriminator with --loss none") for f in _OF_DISCRIMINATORS},
    }
    if "stddev_group" in kind.structure:
        read["stddev_group"] = (config.minibatch == "stddev", "it belongs to --minibatch stddev")
    others = [f for f in OF_IMAGES if f not in structure] if config.task == "generate" else []
    read |= dict.fromkeys(others, (False, "it belongs to tasks from images to images"))
    for name in given:
        if name in read and not read[name][0]:
            raise UserError(f"{flag(name)}: nothing would read it: {read[name][1]}.")


_OF_DISCRIMINATORS = (
    "augment",
    "critic_steps",
    "weight_clip",
    "discriminator_rate",
    "update",
    "drift",
    "adversarial_weight",
)


def _usual(config: Config, kind: networks.Kind) -> dict[str, str]:
    """Values of fields that are None."""
    return kind.usual | ({"conv": "standard"} if "conv" in kind.usual and config.spectral != "none" else {})


def complete(config: Config) -> Config:
    """Works out what was left open and refuses what cannot run. The result's tables list every resolution."""
    kind = networks.NETWORKS[config.network]
    _check_bounds(config)
    _check_task(config, kind)
    _check_networks(config, kind)
    _check_objective(config)
    resolutions = _resolutions(config, kind)
    changes = {name: value for name, value in _usual(config, kind).items() if getattr(config, name) is None}
    if config.content_weight is None:
        changes["content_weight"] = objectives.CONTENT[config.content]
    changes |= {"resolutions": resolutions, "target_res": resolutions[-1], **_penalty(config, kind)}
    for name in ("batch", "learning_rate", "fade_images", "stable_images", "penalty_weight", "metrics_every"):
        table = changes.get(name) or getattr(config, name)
        changes[name] = {r: growth.at(table, r) for r in resolutions} if table else None
    changes["fade_images"][resolutions[0]] = 0  # there is nothing that it could fade in from
    _check_groups(config, kind, changes["batch"])
    return dataclasses.replace(config, **changes)


def schedule(config: Config) -> tuple[growth.Phase, ...]:
    """The phases of a completed config."""
    fade, stable = config.fade_images, config.stable_images
    if config.total_images is not None:
        everything = sum(fade.values()) + sum(stable.values()) + config.pretrain_images
        scale = config.total_images / everything if everything else 0
        fade, stable = ({r: round(n * scale) for r, n in t.items()} for t in (fade, stable))
    pretrain = config.pretrain_images
    return growth.plan(
        config.resolutions,
        fade,
        stable,
        config.batch,
        config.learning_rate,
        config.critic_steps,
        round(pretrain * scale) if config.total_images is not None else pretrain,
        objectives.LOSSES[config.loss].adversarial,
        config.decay_share,
    )


def check_total_images(config: Config) -> None:
    """Refuses --total-images of a completed config that leave out some of its phases."""
    phases = schedule(dataclasses.replace(config, total_images=None))
    everything, rarest = sum(p.images for p in phases), min(p.images for p in phases)
    try:
        kept = len(schedule(config))
    except UserError:  # none
        kept = 0
    if kept < len(phases):
        raise UserError(
            f"--total-images {config.total_images}: {len(phases) - kept} of the plan's {len(phases)} phases would have no image. "
            f"Give {-(-everything // rarest):,} or more, or a smaller --target-res."
        )


def longer_than_asked(config: Config, phases: typing.Sequence[growth.Phase]) -> list[str]:
    """A line that says so where whole steps of every phase come to clearly more than --total-images."""
    planned, asked = phases[-1].end, config.total_images
    if asked is None or planned <= 1.1 * asked:
        return []
    return [
        f"--total-images {asked:,}: the plan has {planned:,}, for every phase takes whole steps; one step of each comes to "
        f"{sum(p.images_per_step for p in phases):,}. A smaller --batch has smaller steps."
    ]


def objective(config: Config, resolution: int, labels: int = 0) -> objectives.Objective:
    """The objective of a completed config at one resolution. labels: how many classes D tells apart besides."""
    loss = objectives.LOSSES[config.loss]
    if config.lsgan_targets and loss.with_targets:  # of others, options are refused
        loss = loss.with_targets(*config.lsgan_targets)
    if config.label_smoothing and loss.with_smoothing:
        loss = loss.with_smoothing(config.label_smoothing)
    return objectives.Objective(
        loss,
        config.penalty,
        growth.at(config.penalty_weight, resolution),
        config.penalty_every,
        config.penalty_target,
        config.drift,
        labels,
        config.class_weight,
        config.adversarial_weight,
        config.pixel,
        config.pixel_weight,
        config.content,
        config.content_weight,
    )


def task(config: Config) -> tasks.Task:
    return tasks.task(config.task, config.scale, config.filter, config.degrade, config.reverse)


def data_channels(config: Config) -> int:
    """Of the shards that a run trains on."""
    return 6 if config.task == "translate" else config.channels


def network_in_words(config: Config) -> str:
    """For tables and model cards: 'progressive, separable'."""
    separable = ["separable"] if config.conv == "separable" else []
    return ", ".join([config.network, *separable, *(["conditional"] if config.conditional else [])])


def network_options(config: Config, classes: typing.Sequence[str]) -> dict:
    """What networks.generator and networks.discriminator take of a completed config. classes: those of the data."""
    if config.conditional and not classes:
        raise UserError(
            "--conditional: the data has no classes. Give a folder with a subfolder for each, or leave it out."
        )
    turned = task(config)
    names = {
        "classes": tuple(classes) if config.conditional else (),
        "given_channels": turned.given_channels,
        "output_channels": turned.output_channels or config.channels,
        "shown_channels": turned.shown_channels or config.channels,
    }
    kind = networks.NETWORKS[config.network]
    fields = [f for f in ("resolutions", *kind.structure) if f not in names]
    usual = _usual(config, kind)  # a config.json from before a field was there does not have it
    return names | {f: usual.get(f) if getattr(config, f) is None else getattr(config, f) for f in fields}
