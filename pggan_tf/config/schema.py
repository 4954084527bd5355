"""Every option of a training run, in groups: the only home of defaults. The command line is made from these fields."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Collection
from dataclasses import dataclass, field

from pggan_tf import losses, metrics, networks, tasks
from pggan_tf.data.pixels import FILTERS

# A value for each resolution. A resolution that is not listed takes the value of the next lower one.
Table = dict[int, float]
CountTable = dict[int, int]

PRECISIONS = ("auto", "float32", "bfloat16")
STRATEGIES = ("auto", "cpu", "gpu", "mirrored", "multiworker", "tpu")


def option(
    default,
    help: str,
    choices: Collection[str] = (),
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    common: bool = False,
) -> typing.Any:
    """Declare a config field. Bounds apply to the value, or to every entry of a per-resolution table.

    least <= value <= most and above < value < below; a bound that is None does not apply. An option that is `common` is
    shown by --help, the others by --help-all.
    """
    kind = {"default_factory": lambda: dict(default)} if isinstance(default, dict) else {"default": default}
    bounds = {"least": least, "most": most, "above": above, "below": below}
    return field(**kind, metadata={"help": help, "choices": choices, "common": common, **bounds})


@dataclass(frozen=True)
class ImageOptions:
    """Photos and how they are prepared."""

    data: str | tuple[str, ...] | None = option(
        None,
        "folder of images or of shards, or an archive; repeat it to train on several together; without it, drawn portraits",
        common=True,
    )
    portraits: int = option(10_000, "number of portraits to draw when there is no --data", least=1)
    filter: str = option("lanczos", "filter that reduces photos", FILTERS)
    crop: str = option(
        "centre",
        "part of each photo that is used: its central square, reduced; or tiles, all of it at its own resolution",
        ("centre", "tiles"),
    )
    upscale_small: bool = option(False, "enlarge photos that are smaller than the target instead of leaving them out")
    mirror: bool = option(True, "mirror every other image", common=True)
    channels: int = option(3, "3 for colour, 1 for gray", ("1", "3"))
    held_out: float = option(
        0.0,
        "share of the images, of every part of the data, that is kept for measuring and not trained on",
        least=0,
        most=0.9,
    )
    augment: str = option(
        "none",
        "change what the discriminator sees at random, for few photos: always (diff), or adaptively (ada)",
        ("none", "diff", "ada"),
        common=True,
    )


@dataclass(frozen=True)
class PurposeOptions:
    """What the generator learns to make, and from what."""

    task: str = option("generate", "what is learned: images from random numbers, or from other images", tasks.TASKS)
    scale: int = option(4, "with --task upscale: how many times larger", ("2", "4", "8"))
    degrade: bool = option(False, "with --task upscale: blur, noise and compression in the small images")
    reverse: bool = option(False, "with --task translate: from the second image of every pair to the first")
    patch: int | None = option(None, "train on squares of this size, cut out at random", least=1)


@dataclass(frozen=True)
class NetworkOptions:
    """Architecture and size of both networks."""

    target_res: int = option(
        None,
        "pixels to grow to, a power of two from 4 to 1024, or any that the network takes  [64, 32 if it does not grow, or the recipe's]",
        common=True,
    )
    resolutions: tuple[int, ...] = option(None, "stages to grow through, such as 4,8,16,32,96")
    network: str = option("progressive", "architecture of both networks", tuple(networks.NETWORKS))
    width: int = option(64, "feature maps of the first layer of networks from images to images", least=1)
    blocks: int = option(16, "residual blocks of srresnet", least=1)
    dropout: float = option(0.5, "dropout rate in the three smallest steps up of unet", least=0, most=0.95)
    conditional: bool = option(False, "generate a chosen class, and let the discriminator tell classes apart (ACGAN)")
    fmap_base: int = option(2048, "feature maps: min(2 * fmap_base / resolution, fmap_max)", least=1)
    fmap_max: int = option(128, "feature maps at most", least=1)
    latent_size: int = option(128, "random numbers that an image is generated from", least=1)
    stddev_group: int = option(4, "images whose standard deviation the discriminator sees; 1 turns it off", least=1)
    conv: str | None = option(
        None, "3x3 convolutions of progressive  [separable; standard with --spectral]", ("standard", "separable")
    )
    generator_norm: str = option(None, "normalisation in the generator", ("pixel", "batch", "group", "none"))
    discriminator_norm: str = option(None, "normalisation in the discriminator", ("batch", "group", "none"))
    spectral: str = option("none", "spectrally normalised layers of the discriminator", ("none", "down", "all"))
    minibatch: str = option(
        "stddev", "what progressive's discriminator sees of the batch", ("stddev", "discrimination", "none")
    )


@dataclass(frozen=True)
class ObjectiveOptions:
    """Losses, penalties and the update rule."""

    loss: str = option("nonsaturating-r1", "adversarial loss, with its usual penalty", tuple(losses.LOSSES))
    class_weight: float = option(1.0, "weight of the classes in both losses, with --conditional", least=0)
    lsgan_targets: tuple[float, ...] | None = option(
        None, "a,b,c of lsgan: D's targets for fakes and reals, G's for fakes"
    )
    penalty: str = option(None, "penalty on the discriminator's gradient instead of the loss's own", losses.PENALTIES)
    penalty_weight: Table = option(None, "weight of the penalty: lambda of gp, gamma of r1", least=0)
    penalty_every: int = option(None, "apply the penalty every k-th step, weighted by k (lazy regularisation)", least=1)
    penalty_target: float = option(1.0, "norm that gp pulls the gradient to", above=0)
    drift: float = option(None, "weight of D(real)^2", least=0)
    label_smoothing: float = option(
        0.0, "D's target for reals is 1 minus this, with a cross-entropy loss", least=0, below=1
    )
    adversarial_weight: float = option(1.0, "weight of the adversarial loss in the generator's loss", least=0)
    pixel: str = option("none", "pixel loss of the generator", losses.PIXEL)
    pixel_weight: float = option(1.0, "weight of the pixel loss", least=0)
    content: str = option(
        "none",
        "network in whose features output and target are compared: VGG19, or the discriminator",
        tuple(losses.CONTENT),
    )
    content_weight: float = option(None, "weight of the feature loss", least=0)
    vgg_weights: str | None = option(None, "weights of VGG19 without its top, .h5; by default Keras downloads them")
    update: str = option("one-stage", "how both networks' gradients are taken", ("two-stage", "one-stage"))
    critic_steps: int = option(
        1, "updates of the discriminator for each of the generator's, on different batches", least=1
    )
    weight_clip: float | None = option(None, "clip the discriminator's weights to plus and minus this (WGAN)", above=0)


@dataclass(frozen=True)
class OptimizationOptions:
    """Optimiser, batches and the generator's moving average."""

    learning_rate: Table = option({4: 4e-3}, "learning rate of both networks", least=0)
    discriminator_rate: float = option(1.0, "learning rate of the discriminator, relative to the generator's", above=0)
    optimizer: str = option("adam", "optimiser of both networks", ("adam", "rmsprop"))
    adam_betas: tuple[float, ...] = option((0.0, 0.99), "beta1,beta2 of Adam; RMSProp uses beta2")
    adam_epsilon: float = option(1e-8, "epsilon of Adam", above=0)
    batch: CountTable = option({4: 64, 16: 32, 32: 16, 256: 8, 512: 4}, "images per step", least=1, common=True)
    ema_half_life_images: float = option(10_000.0, "half-life of the generator's moving average, in images", least=0)
    ema_rampup: float = option(
        0.1, "the half-life is at most this share of the images seen at the stage's resolution", least=0
    )
    init_from: str | None = option(
        None,
        "folder of a run whose weights to start from; stages that it has trained are left out",
        common=True,
    )


@dataclass(frozen=True)
class ScheduleOptions:
    """How long each stage is trained."""

    fade_images: CountTable = option({4: 300_000}, "images while a stage fades in")
    stable_images: CountTable = option({4: 300_000}, "images after a stage has faded in")
    pretrain_images: int = option(0, "images that the generator first learns from by its pixel loss alone", least=0)
    decay_share: float = option(
        0.0,
        "share of the last phase, and of the pixel loss's own, over which the learning rate falls to 0",
        least=0,
        most=1,
    )
    total_images: int | None = option(None, "scale the schedule to this many images in all", least=1, common=True)
    minutes: float | None = option(
        None, "plan the schedule from measured speed so that the run takes this long", above=0, below=1e6, common=True
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


@dataclass(frozen=True)
class MetricOptions:
    """Metrics of the generator while it trains."""

    metrics: tuple[str, ...] | None = option(
        None, "metrics of the generator while it trains", tuple(metrics.METRICS), common=True
    )
    metrics_every: CountTable | None = option(
        None,
        "images between two measurements, such as 5000 or 8=20000,64=2000; by default at every snapshot, and with "
        "--minutes 40 times, equally far apart in time, or as often as a tenth of the minutes allows",
        least=1,
    )
    # More than there are features, 496 or 2048, so that their covariance has full rank; few enough to be measured often.
    metrics_images: int = option(2_500, "images that are measured, of the data and of the generator", least=2)
    features: str = option(
        "inception", "features of the metrics: inception, random, a keras.applications name, a .keras file"
    )
    inception_weights: str | None = option(None, "file or address of inception-2015-12-05; by default fetched once")


@dataclass(frozen=True)
class RunOptions:
    """Devices, random seed, and what a run writes."""

    precision: str = option("auto", "auto: bfloat16 where the hardware multiplies it faster, else float32", PRECISIONS)
    xla: str = option("auto", "compile the step by XLA; auto: on one GPU", ("auto", "on", "off"))
    strategy: str = option(
        "auto",
        "devices that share every batch: all GPUs of this machine, or of all --workers, else the CPU",
        STRATEGIES,
    )
    sync_batch: bool = option(
        True, "on several devices: batch normalisation and minibatch statistics look at the batch of all of them"
    )
    seed: int = option(0, "seed of everything random", least=0, most=2**31 - 1, common=True)
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
    keep_checkpoints: int = option(2, "number of checkpoints to keep", least=1)
    grid: int = option(64, "images in a grid", least=1)
    log: tuple[str, ...] | None = option(None, "where figures go besides stats.jsonl and TensorBoard", ("mlflow",))
    report: bool = option(True, "keep report.html in the run's folder up to date")


@dataclass(frozen=True)
class Config:
    """All options of a run, in groups.

    Before `resolve`, options whose default is None may be open: they follow from the others.
    """

    recipe: str = option("pggan", "named configuration that the other options start from", common=True)
    images: ImageOptions = field(default_factory=ImageOptions)
    purpose: PurposeOptions = field(default_factory=PurposeOptions)
    networks: NetworkOptions = field(default_factory=NetworkOptions)
    objective: ObjectiveOptions = field(default_factory=ObjectiveOptions)
    optimization: OptimizationOptions = field(default_factory=OptimizationOptions)
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    measuring: MetricOptions = field(default_factory=MetricOptions)
    running: RunOptions = field(default_factory=RunOptions)

    def value(self, name: str):
        """Return the value of an option by its name, whatever group it is in."""
        return getattr(getattr(self, GROUP_OF[name]) if name in GROUP_OF else self, name)

    def values(self) -> dict[str, typing.Any]:
        """Return {option: value} of all groups, in order."""
        return {name: self.value(name) for name in FIELDS}

    def replace(self, **values) -> Config:
        """Return the config with other values of options, named whatever group they are in."""
        groups = {}
        for group in GROUPS:
            changes = {name: value for name, value in values.items() if GROUP_OF.get(name) == group}
            if changes:
                groups[group] = dataclasses.replace(getattr(self, group), **changes)
        others = {name: value for name, value in values.items() if name not in GROUP_OF}
        return dataclasses.replace(self, **groups, **others)


# name of the group -> its class; option -> its field, its group, its type
GROUPS: dict[str, type] = {
    f.name: f.default_factory  # type: ignore[misc]
    for f in dataclasses.fields(Config)
    if f.default_factory is not dataclasses.MISSING
}
FIELDS: dict[str, dataclasses.Field] = {"recipe": Config.__dataclass_fields__["recipe"]}
FIELDS |= {f.name: f for group in GROUPS.values() for f in dataclasses.fields(group)}
GROUP_OF = {f.name: name for name, group in GROUPS.items() for f in dataclasses.fields(group)}
TYPES: dict[str, typing.Any] = {"recipe": str}
TYPES |= {name: kind for group in GROUPS.values() for name, kind in typing.get_type_hints(group).items()}
DEFAULTS: dict[str, typing.Any] = Config().values()
# Options that may be given several times: one value stays as it is, several become a tuple.
REPEATABLE = ("data",)


def base_type(name: str):
    """Return the type of an option, without its `| None`."""
    kind = TYPES[name]
    if isinstance(kind, types.UnionType):
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    return kind


def takes_none(name: str) -> bool:
    """Return whether an option may be left open."""
    return DEFAULTS[name] is None
