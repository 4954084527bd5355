"""All options of a training run in groups, with their defaults, bounds and help texts.

Each option is a field of a dataclass, and each dataclass is a group; `Config` has all groups. The
command line is made from these fields: `target_res` becomes --target-res. Defaults are defined
only here. A default of None means that the value is computed from other options.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass, field

from pggan_tf import losses, metrics, networks, shapes, tasks
from pggan_tf.config.declaring import CountTable, Table, option
from pggan_tf.data.pixels import FILTERS

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
STRATEGIES = ("auto", "cpu", "gpu", "mirrored", "multiworker", "tpu")


@dataclass(frozen=True)
class ImageOptions:
    """Photos and how they are prepared."""

    data: str | tuple[str, ...] | None = option(
        None,
        "folder of images or shards, or an archive; repeat it to combine several; sprites: drawn icons  [drawn portraits]",
        common=True,
    )
    portraits: int = option(10_000, "number of drawn portraits, or of sprites with --data sprites", least=1)
    filter: str = option("lanczos", "resampling filter for downscaling photos", FILTERS)
    crop: str = option(
        "centre",
        "part of each photo to use: the largest part in its middle that has the shape of the images (centre); all of "
        "it, and around it its mirror image (fit) or the mean colour of its edges (pad); or all of it at full "
        "resolution (tiles)",
        ("centre", "fit", "pad", "tiles"),
    )
    upscale_small: bool = option(False, "enlarge photos that are smaller than the target size instead of dropping them")
    mirror: bool = option(True, "mirror every other image", common=True)
    channels: int = option(
        3, "channels of the images: 3 for colour, 1 for gray; with transparency 4 and 2", ("1", "2", "3", "4")
    )
    held_out: float = option(
        0.0,
        "share of the images, spread over the whole data, that is not trained on: for the coach, and for metrics of tasks from images to images",
        least=0,
        most=0.9,
    )
    augment: str = option(
        "none",
        "random augmentation of the discriminator's inputs, for small data sets, always (diff) or adaptively (ada)",
        ("none", "diff", "ada"),
        common=True,
    )
    # Karras et al. 2020, section 3.1, whose runs see 25 million images.
    augment_images: int = option(
        500_000, "number of images after which --augment ada may change every image; fewer for shorter runs", least=1
    )


@dataclass(frozen=True)
class PurposeOptions:
    """What the generator learns to make, and from which inputs."""

    task: str = option("generate", "task to learn: generate images from random numbers, or convert images", tasks.TASKS)
    scale: int = option(4, "with --task upscale: factor by which images are enlarged", ("2", "4", "8"))
    degrade: str = option(
        "none",
        "with --task upscale: add blur, noise and compression to the small images, once or twice as to photos that "
        "were saved again and again; alone: once",
        ("none", "once", "twice"),
        alone="once",
    )
    degrade_strength: float = option(1.0, "factor of the ranges of --degrade twice", least=0, most=1)
    denoise: bool = option(
        False, "with --degrade: also learn from the level of the noise, which a user can give later with --denoise"
    )
    hints: bool = option(
        False, "with --task colorize: also learn from the colours of some places, which a user can give later"
    )
    reverse: bool = option(False, "with --task translate: convert the second image of each pair to the first")
    zoom: float = option(
        0.0,
        "with --task colorize, recolor or translate: cut off up to this share of each photo's sides, at random, and "
        "enlarge the rest, so that few photos are not learned by heart",
        least=0,
        most=0.5,
    )
    patch: int | None = option(None, "train on random square crops of this size in pixels", least=1)


@dataclass(frozen=True)
class NetworkOptions:
    """Architecture and size of the networks."""

    target_res: int = option(
        None,
        "final resolution in pixels: a power of two from 4 to 1024, or any size that the network takes; 192x256: width "
        "and height; auto: the largest for which --minutes suffice  [64, 32 if the network does not grow, or the "
        "recipe's]",
        common=True,
    )
    shape: str = option(
        None,
        "width:height of the images, such as 3:4; other resolutions are then their longer side; auto: that of most "
        "photos  [1:1]",
        common=True,
    )
    size: str = option(
        None,
        "widths, batches, rates and length of growing networks  [auto: by the GPU's memory and the photos; phone on a CPU]",
        ("phone", "small", "paper", "auto"),
        common=True,
    )
    resolutions: tuple[int, ...] = option(None, "resolutions of all stages in pixels, such as 4,8,16,32,96")
    network: str = option("progressive", "architecture of both networks", tuple(networks.NETWORKS))
    width: int = option(64, "feature maps in the first layer of networks that convert images", least=1)
    blocks: int = option(16, "number of residual blocks of srresnet", least=1)
    dropout: float = option(
        0.5, "dropout rate in the three lowest-resolution upsampling blocks of unet", least=0, most=0.95
    )
    conditional: bool = option(False, "generate a given class, and train the discriminator to predict classes (ACGAN)")
    fmap_base: int = option(2048, "feature maps of a layer: min(2 * fmap_base / resolution, fmap_max)", least=1)
    fmap_max: int = option(128, "maximum number of feature maps", least=1)
    latent_size: int = option(128, "size of the latent vectors that images are generated from", least=1)
    stddev_group: int = option(4, "images in a group of the minibatch standard deviation; 1 turns it off", least=1)
    conv: str | None = option(
        None,
        "kind of 3x3 convolutions of progressive  [separable; standard with --spectral]",
        ("standard", "separable"),
    )
    upsampling: str = option(
        "nearest",
        "how progressive's generator enlarges its feature maps: by repeating pixels or interpolating between them",
        ("nearest", "bilinear"),
    )
    modulation: str = option(
        "none",
        "what scales and shifts the feature maps of progressive's generator after every convolution: the latents, or nothing",
        ("none", "latents"),
    )
    generator_norm: str = option(None, "normalisation in the generator", ("pixel", "batch", "group", "none"))
    discriminator_norm: str = option(None, "normalisation in the discriminator", ("batch", "group", "none"))
    spectral: str = option("none", "layers of the discriminator with spectral normalisation", ("none", "down", "all"))
    minibatch: str = option(
        "stddev", "batch statistics in progressive's discriminator", ("stddev", "discrimination", "none")
    )

    @property
    def aspect(self) -> shapes.Aspect:
        """Width and height of the images in lowest terms."""
        return shapes.parse_aspect(self.shape) if self.shape else shapes.SQUARE


@dataclass(frozen=True)
class ObjectiveOptions:
    """Losses, penalties and the update rule."""

    loss: str = option("nonsaturating-r1", "adversarial loss; it also sets the default penalty", losses.LOSSES)
    class_weight: float = option(1.0, "weight of the class loss of both networks, with --conditional", least=0)
    lsgan_targets: tuple[float, ...] | None = option(
        None, "a,b,c of lsgan: D's targets for fakes and reals, G's target for fakes"
    )
    penalty: str = option(None, "penalty on the discriminator's gradient, in place of the default", losses.PENALTIES)
    penalty_weight: Table = option(None, "weight of the penalty: lambda of gp, gamma of r1", least=0)
    penalty_every: int = option(None, "apply the penalty every k-th step, weighted by k (lazy regularisation)", least=1)
    penalty_target: float = option(1.0, "gradient norm that gp pulls towards", above=0)
    drift: float = option(None, "weight of the drift term D(real)^2 in D's loss", least=0)
    label_smoothing: float = option(
        0.0, "with a cross-entropy loss: D's target for reals is 1 minus this value", least=0, below=1
    )
    adversarial_weight: float = option(1.0, "weight of the adversarial loss in the generator's loss", least=0)
    pixel: str = option("none", "pixel loss of the generator", losses.PIXEL)
    pixel_weight: float = option(1.0, "weight of the pixel loss", least=0)
    content: str = option(
        "none",
        "network whose features are compared in the content loss: VGG19 or the discriminator",
        tuple(losses.CONTENT),
    )
    content_weight: float = option(None, "weight of the content loss", least=0)
    vgg_weights: str | None = option(None, ".h5 file with VGG19's weights without top; by default Keras downloads it")
    update: str = option(
        "one-stage",
        "update the networks one after the other (two-stage) or both from one pass (one-stage)",
        ("two-stage", "one-stage"),
    )
    critic_steps: int = option(
        1, "updates of the discriminator for each update of the generator, on different batches", least=1
    )
    weight_clip: float | None = option(
        None, "clip the discriminator's weights to plus or minus this value (WGAN)", above=0
    )


@dataclass(frozen=True)
class OptimizationOptions:
    """Optimiser, batches and the generator's moving average."""

    learning_rate: Table = option({4: 4e-3}, "learning rate of both networks", least=0)
    discriminator_rate: float = option(1.0, "learning rate of the discriminator, relative to the generator's", above=0)
    optimizer: str = option("adam", "optimiser of both networks", ("adam", "rmsprop"))
    adam_betas: tuple[float, ...] = option((0.0, 0.99), "beta1,beta2 of Adam; RMSProp uses beta2")
    adam_epsilon: float = option(1e-8, "epsilon of Adam", above=0)
    batch: CountTable = option(
        {4: 64, 16: 32, 32: 16, 256: 8, 512: 4}, "batch size; auto: as the device's memory allows", least=1, common=True
    )
    ema_half_life_images: float = option(10_000.0, "half-life of the generator's moving average, in images", least=0)
    ema_rampup: float = option(
        0.1, "maximum half-life, as a share of the images seen so far at the current resolution", least=0
    )
    init_from: str | None = option(
        None,
        "folder of a run to take the initial weights from, or portraits, whose weights come with pggan-tf; stages that "
        "they have completed are skipped",
        common=True,
    )
    freeze_discriminator: int = option(
        0,
        "with --init-from: number of the discriminator's stages, counted from the image, that keep these weights; for "
        "few photos",
        least=0,
    )


@dataclass(frozen=True)
class ScheduleOptions:
    """Length of the training stages."""

    fade_images: CountTable = option({4: 300_000}, "images to train on while a stage fades in")
    stable_images: CountTable = option({4: 300_000}, "images to train on after a stage has faded in")
    pretrain_images: int = option(0, "images to first train the generator on with the pixel loss alone", least=0)
    decay_share: float = option(
        0.0,
        "share of the last phase, and of the pretraining, over which the learning rate falls linearly to 0",
        least=0,
        most=1,
    )
    total_images: int | None = option(
        None,
        "images in total, such as 12M; the last stage gets what the others leave, for less all are shortened",
        least=1,
        common=True,
    )
    minutes: float | None = option(
        None, "measure the speed and plan the schedule so that the run takes this long", above=0, below=1e6, common=True
    )
    stage_growth: float | None = option(
        None,
        "with --minutes: time of a stage relative to the previous stage; by default 3, or less in a short run",
        above=0,
    )
    fade_share: float = option(0.3, "with --minutes: share of a stage's time for its fade", least=0, most=1)
    pretrain_share: float = option(
        0.5, "with --minutes and --pretrain-images: share of the time for the pretraining", least=0, most=1
    )


@dataclass(frozen=True)
class MetricOptions:
    """Metrics computed during training."""

    metrics: tuple[str, ...] | None = option(
        None, "metrics to compute during training", tuple(metrics.METRICS), common=True
    )
    metrics_every: CountTable | None = option(
        None,
        "images between two measurements, such as 5000 or 8=20000,64=2000; by default at every snapshot; with "
        "--minutes 40 times at equal time intervals, or fewer if that took more than a tenth of the time",
        least=1,
    )
    # More images than features (496 or 2048), so that their covariance has full rank, but few
    # enough to measure often.
    metrics_images: int = option(2_500, "number of real and of generated images for the metrics", least=2)
    features: str = option(
        "inception", "features of the metrics: inception, random, a keras.applications name, a .keras file"
    )
    inception_weights: str | None = option(
        None, "file or URL of inception-2015-12-05; by default it is downloaded once"
    )


@dataclass(frozen=True)
class RunOptions:
    """Devices, random seed, and files that a run writes."""

    precision: str = option(
        "auto",
        "arithmetic; auto is bfloat16 or, on older GPUs, float16 if the hardware multiplies it faster, else float32",
        PRECISIONS,
    )
    exact: bool | None = option(None, "on GPUs: compute steps to the same last bit again, slower  [CPUs always do]")
    xla: str = option("auto", "compile the training step with XLA; auto does so on one GPU", ("auto", "on", "off"))
    strategy: str = option(
        "auto",
        "devices that share every batch; auto takes all GPUs of this machine or of all --workers, else the CPU",
        STRATEGIES,
    )
    sync_batch: bool = option(
        True, "on several devices: compute batch normalisation and minibatch statistics over the whole batch"
    )
    seed: int = option(0, "random seed", least=0, most=2**31 - 1, common=True)
    snapshot_images: CountTable | None = option(
        None,
        "images to train on between two grids of samples, such as 5000 or 8=20000,64=2000; by default a fortieth of "
        "the run; with --minutes twice a minute, from 8 to 40 times",
        least=1,
    )
    snapshot_epochs: float | None = option(None, "epochs between two grids, instead of --snapshot-images", above=0)
    probe: bool = option(
        False, "first measure the speed of every stage, to estimate the time of the run; --minutes always does so"
    )
    checkpoint_minutes: float = option(
        5.0, "minutes between checkpoints; one is also written after each phase and when the run is stopped", least=0
    )
    keep_checkpoints: int = option(2, "number of checkpoints to keep", least=1)
    grid: int = option(64, "number of images in a grid of samples", least=1)
    log: tuple[str, ...] | None = option(None, "also send metrics and losses to this service", ("mlflow",))
    stop: str = option(
        "end",
        "when to stop: at the end of the plan, or before it if the metrics have not improved for a third of the last "
        "stage (plateau)",
        ("end", "plateau"),
    )
    report: bool = option(True, "write report.html in the run's folder and update it at snapshots")


@dataclass(frozen=True)
class Config:
    """All options of a run, in groups.

    Before `resolve`, an option can be None; it is then computed from the other options.
    """

    recipe: str = option("pggan", "named configuration that sets the defaults of the other options", common=True)
    images: ImageOptions = field(default_factory=ImageOptions)
    purpose: PurposeOptions = field(default_factory=PurposeOptions)
    networks: NetworkOptions = field(default_factory=NetworkOptions)
    objective: ObjectiveOptions = field(default_factory=ObjectiveOptions)
    optimization: OptimizationOptions = field(default_factory=OptimizationOptions)
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    measuring: MetricOptions = field(default_factory=MetricOptions)
    running: RunOptions = field(default_factory=RunOptions)

    def value(self, name: str):
        """Return the value of an option by its name, in any group."""
        return getattr(getattr(self, GROUP_OF[name]) if name in GROUP_OF else self, name)

    def values(self) -> dict[str, typing.Any]:
        """Return {option: value} for all options, in the order of their declaration."""
        return {name: self.value(name) for name in FIELDS}

    def replace(self, **values) -> Config:
        """Return a copy of the config with some values replaced.

        **values: the new values by option name, of any group.
        """
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
# Options that may be given several times. One value stays a single value, several become a tuple.
REPEATABLE = ("data",)


def base_type(name: str):
    """Return the type of the option `name` without `| None`, such as int or dict[int, float]."""
    kind = TYPES[name]
    if isinstance(kind, types.UnionType):
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    return kind


def takes_none(name: str) -> bool:
    """Tell whether the option `name` can be None, which means that its value is to be computed."""
    return DEFAULTS[name] is None
