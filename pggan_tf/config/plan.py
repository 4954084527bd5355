"""The plan of a run: resolved options and everything that follows from them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pggan_tf import losses, networks, schedule, shapes, tasks
from pggan_tf.config import checks, cost, recipes, sizes
from pggan_tf.config.parsing import AUTO, as_text, as_typed, to_json
from pggan_tf.config.schema import DEFAULTS, Config
from pggan_tf.data.pipeline import TrainingImages
from pggan_tf.data.shards import Shards
from pggan_tf.errors import UserError

# Images that show more than blurs at the last resolution, for each pixel of a side: 4,000 at 64 px.
_LEAST_IMAGES = 62
_SMALLEST = 16  # smallest resolution that is recommended, in pixels: below it hardly a face can be recognised


def default_values(config: Config, architecture: networks.Architecture) -> dict[str, str]:
    """Return {option: value}: the values that an architecture uses for options that are None.

    config: the config; --spectral in it changes the default of --conv.
    """
    spectral = "conv" in architecture.defaults and config.networks.spectral != "none"
    return architecture.defaults | ({"conv": "standard"} if spectral else {})


@dataclass(frozen=True)
class Plan:
    """The plan of a run: the resolved value of every option, and what follows from these values."""

    config: Config  # every option with its value
    asked: Mapping  # {option: value}: the requested options that `config` was resolved from
    keeps_batches: bool = False  # whether the batches are those of a config.json that is repeated

    def __str__(self) -> str:
        """Return the plan as text, see `describe`."""
        return self.describe()

    def describe(
        self,
        speeds: Mapping[schedule.Part, float] | None = None,
        devices: int = 1,
        half: bool = False,
        classes: int = 0,
    ) -> str:
        """Return the phases as a table and, of networks that grow, what they cost.

        Args:
            speeds: {part: images per second}, if they were measured.
            devices: number of devices that share every batch.
            half: whether feature maps are stored in 16 bits.
            classes: number of classes, with --conditional.
        """
        lines = [schedule.as_table(self.phases, speeds)]
        if cost.is_known(self.config):
            lines.append(cost.describe(self.config, devices, half, classes))
        return "\n".join(lines)

    @functools.cached_property
    def architecture(self) -> networks.Architecture:
        """Architecture of the networks, the row of `networks.NETWORKS` for --network."""
        return networks.NETWORKS[self.config.networks.network]

    @functools.cached_property
    def task(self) -> tasks.Task:
        """What the generator learns: to make images from latents, or to convert images."""
        return tasks.from_config(self.config)

    @functools.cached_property
    def loss(self) -> losses.Loss:
        """Loss of --loss, with the targets of --lsgan-targets and --label-smoothing."""
        options = self.config.objective
        loss = losses.LOSSES[options.loss]
        if options.lsgan_targets and loss.with_targets:
            loss = loss.with_targets(*options.lsgan_targets)
        if options.label_smoothing and loss.with_smoothing:
            loss = loss.with_smoothing(options.label_smoothing)
        return loss

    @functools.cached_property
    def phases(self) -> tuple[schedule.Phase, ...]:
        """Phases of the schedule, in order. Raises UserError if no phase has an image."""
        return _phases(self.config)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Resolutions (longer sides) of all stages in pixels, in ascending order."""
        return self.config.networks.resolutions

    @property
    def target_res(self) -> int:
        """Resolution (longer side) of the last stage in pixels."""
        return self.resolutions[-1]

    @property
    def aspect(self) -> shapes.Aspect:
        """Width and height of the images in lowest terms."""
        return self.config.networks.aspect

    @property
    def size(self) -> str:
        """Size of the last stage as text: '64' for squares, else width x height, such as '48x64'."""
        return shapes.name_size(self.target_res, self.aspect)

    @property
    def data_channels(self) -> int:
        """Number of channels of the images in the shards (data files) that the run trains on."""
        return self.task.data_channels or self.config.images.channels

    @property
    def network_in_words(self) -> str:
        """Description of the architecture for tables and model cards: 'progressive, separable'."""
        options = self.config.networks
        separable = ["separable"] if options.conv == "separable" else []
        return ", ".join([options.network, *separable, *(["conditional"] if options.conditional else [])])

    def replace(self, **values) -> Plan:
        """Return a copy of the plan with other values of some options.

        The values are stored as they are: nothing is checked or computed from them.

        **values: the new values by option.
        """
        return dataclasses.replace(self, config=self.config.replace(**values))

    @property
    def batch_was_typed(self) -> bool:
        """Whether somebody has asked for batches, other than 'auto'."""
        return self.asked.get("batch", AUTO) != AUTO

    def with_large_batches(self) -> Plan:
        """Return the plan for GPUs, or for several devices that share every batch.

        The small batches of the default recipe learn most in a second of one CPU. Other devices would
        mostly wait with them, and get the larger ones of `schema.DEFAULTS`. Batches that were asked
        for, or that a config.json, another recipe or a size sets, stay.
        """
        default = recipes.RECIPES[DEFAULTS["recipe"]]["batch"]
        sized = self.config.networks.size in sizes.SIZES and "batch" in sizes.SIZES[self.config.networks.size].values
        if (
            self.keeps_batches
            or self.batch_was_typed
            or sized
            or recipes.RECIPES.get(self.config.recipe, {}).get("batch") != default
        ):
            return self
        return self.replace(batch={r: schedule.lookup(DEFAULTS["batch"], r) for r in self.resolutions})

    def with_shared_batches(self, devices: int) -> Plan:
        """Return the plan with batches that `devices` devices can share evenly.

        Batches that nobody asked for are raised to the next number with which every device has the same
        number of whole groups of --stddev-group. Devices then need not exchange statistics, and a lazy
        penalty stays lazy. The learning rate stays: batches are raised by less than a group a device,
        and Adam's steps do not grow with the batch.
        """
        if devices == 1 or self.batch_was_typed:
            return self
        options = self.config.networks
        grouped = "stddev_group" in self.architecture.structure and options.minibatch == "stddev"
        unit = devices * (options.stddev_group if grouped else 1)
        batch = {r: -(-size // unit) * unit for r, size in self.config.optimization.batch.items()}
        return self if batch == self.config.optimization.batch else self.replace(batch=batch)

    def with_half_batches(self, resolution: int, devices: int = 1) -> Plan | None:
        """Return the plan with at most half of the batch at `resolution`, there and above.

        The batch is the largest one that is possible; the result is None if none is.

        devices: number of devices, which must divide the batch size.
        """
        batch = self.config.optimization.batch
        for size in range(batch[resolution] // 2 // devices * devices, 0, -devices):
            table = {r: min(n, size) if r >= resolution else n for r, n in batch.items()}
            with contextlib.suppress(UserError):
                checks.check_groups(self.config, self.architecture, table)
                return self.replace(batch=table)
        return None

    def suggest_less_memory(self, resolution: int, devices: int = 1) -> str:
        """Return options, as typed, with which a training step at `resolution` needs less memory.

        They are smaller batches, such as '--batch 4=64,128=8'; or fewer feature maps if no such batch
        is possible.

        devices: number of devices, which must divide the batch size.
        """
        if smaller := self.with_half_batches(resolution, devices):
            table = smaller.config.optimization.batch
            before = (None, *table.values())  # leave out entries that equal the one before
            return f"--batch {as_text({r: n for (r, n), b in zip(table.items(), before) if n != b})}"
        name = next(n for n in ("fmap_max", "width") if n in self.architecture.structure)
        return as_typed(name, max(1, self.config.value(name) // 2))

    def with_rest(self) -> Plan:
        """Return the plan with the images that --total-images leaves over given to the last stage.

        That is for networks that grow, and for a total above the sum of all stages; a smaller total is
        a scale, see `schedule.Budget`. The config says how many images the last stage has, so that a
        run stays the same whenever its config is read.
        """
        options, last = self.config.schedule, self.target_res
        planned = sum(options.fade_images.values()) + sum(options.stable_images.values()) + options.pretrain_images
        rest = (options.total_images or 0) - planned
        if rest <= 0 or not self.architecture.grows:
            return self
        return self.replace(stable_images=options.stable_images | {last: options.stable_images[last] + rest})

    def rescheduled(self, **values) -> Plan:
        """Return a copy of the plan with a schedule that was computed for --minutes.

        They are not among the requested options: if other minutes are requested, they are computed
        anew.

        **values: values of options of the schedule, such as `stable_images`.
        """
        return self.replace(minutes=None, total_images=None, **values)

    def snapshot_every(self, resolution: int) -> int:
        """Return the number of images between two snapshots, the run's grids, at a resolution."""
        table = self.config.running.snapshot_images
        return schedule.lookup(table, resolution) if table else max(1, self.phases[-1].end // 40)

    def measure_every(self, resolution: int) -> int:
        """Return the number of images between two measurements of the metrics at a resolution."""
        table = self.config.measuring.metrics_every
        return schedule.lookup(table, resolution) if table else self.snapshot_every(resolution)

    def metrics_seconds(self, costs: Mapping[int, float]) -> float:
        """Return the seconds that all measurements of the metrics in the run take together.

        costs: {resolution: seconds of one measurement}.
        """
        total = 0.0
        for p in self.phases:
            every = self.measure_every(p.resolution)
            total += (p.end // every - p.start // every + (p.end % every > 0)) * costs.get(p.resolution, 0.0)
        return total

    def to_json(self) -> dict:
        """Return the content of the run's config.json as a dict, see `parsing.to_json`."""
        return to_json(self.config, self.asked)

    def objective(self, resolution: int, labels: int = 0) -> losses.Objective:
        """Return the losses and penalties of both networks at one resolution.

        Args:
            resolution: resolution in pixels.
            labels: number of classes that the discriminator predicts, 0 for none.
        """
        options = self.config.objective
        return losses.Objective(
            self.loss,
            penalty=options.penalty,
            penalty_weight=schedule.lookup(options.penalty_weight, resolution),
            penalty_every=options.penalty_every,
            penalty_target=options.penalty_target,
            drift=options.drift,
            labels=labels,
            class_weight=options.class_weight,
            adversarial_weight=options.adversarial_weight,
            pixel=options.pixel,
            pixel_weight=options.pixel_weight,
            content=options.content,
            content_weight=options.content_weight,
        )

    def network_options(self, classes: Sequence[str]) -> dict:
        """Return {argument: value} for networks.make_generator and networks.make_discriminator.

        Raises UserError for --conditional if the data has no classes.

        classes: names of the classes in the data; empty if it has none.
        """
        if self.config.networks.conditional and not classes:
            raise UserError(
                "--conditional: the data has no classes. Give a folder with a subfolder for each, or leave it out."
            )
        channels = self.config.images.channels
        names: dict = {
            "classes": tuple(classes) if self.config.networks.conditional else (),
            "aspect": self.aspect,
            "input_channels": self.task.input_channels,
            "output_channels": self.task.output_channels or channels,
            "discriminator_channels": self.task.discriminator_channels or channels,
        }
        defaults = default_values(self.config, self.architecture)  # an older config.json may lack an option
        for name in ("resolutions", *self.architecture.structure):
            if name not in names:
                value = self.config.value(name)
                names[name] = defaults.get(name) if value is None else value
        return names

    def training_images(self, shards: Shards, resolution: int) -> TrainingImages:
        """Return the images of the data that the run trains on at a resolution, in their order."""
        images, seed = self.config.images, self.config.running.seed
        purpose = self.config.purpose
        return TrainingImages(
            shards, resolution, seed, images.mirror, purpose.patch, images.held_out, zoom=purpose.zoom
        )

    def check_total_images(self) -> None:
        """Raise UserError if --total-images leaves a phase without an image."""
        phases = self.replace(total_images=None).phases
        everything, rarest = sum(p.images for p in phases), min(p.images for p in phases)
        try:
            count = len(self.phases)
        except UserError:  # no phase has an image
            count = 0
        if count < len(phases):
            raise UserError(
                f"--total-images {self.config.schedule.total_images}: {len(phases) - count} of the plan's {len(phases)} phases "
                f"would have no image. Give {-(-everything // rarest):,} or more, or a smaller --target-res."
            )

    def too_long(self) -> list[str]:
        """Return a list with a warning if the plan has over 10% more images than --total-images.

        That happens because every phase takes whole steps. Otherwise the list is empty.
        """
        planned, asked = self.phases[-1].end, self.config.schedule.total_images
        if asked is None or planned <= 1.1 * asked:
            return []
        return [
            f"--total-images {asked:,}: the plan has {planned:,}, for every phase takes whole steps; one step of each comes to "
            f"{sum(p.images_per_step for p in self.phases):,}. A smaller --batch has smaller steps."
        ]

    def describe_blurs(self, minutes: float) -> list[str]:
        """Return a list with a warning if the plan is too short for its last resolution.

        Otherwise the list is empty.

        minutes: --minutes, which the plan was made for.
        """
        last = sum(p.images for p in self.phases if p.resolution == self.target_res)
        least = _LEAST_IMAGES * self.target_res
        if not self.architecture.grows or last >= least:
            return []
        needed = math.ceil(minutes * least / max(1, last))
        smaller = self._find_smaller(last)
        return [
            f"--minutes {minutes:g}: {last:,} images at {self.size} px are too few for more than blurs. Give about {needed} minutes"
            + (f", or --target-res {shapes.name_size(smaller, self.aspect)}." if smaller else ".")
        ]

    def _find_smaller(self, last: int) -> int | None:
        """Return the largest resolution below the last that the same minutes should suffice for.

        If they suffice for none, return the smallest that shows something; None if there is none.
        It is assumed that half the resolution is trained twice as fast, as it about is on CPUs.

        last: number of images that the last resolution sees in these minutes.
        """
        smaller = [r for r in self.resolutions if _SMALLEST <= r < self.target_res]
        enough = [r for r in smaller if last * self.target_res / r >= _LEAST_IMAGES * r]
        return max(enough) if enough else min(smaller, default=None)


def _phases(config: Config) -> tuple[schedule.Phase, ...]:
    """Return the phases of a config in which every option has a value."""
    options = config.schedule
    budget = schedule.Budget(options.fade_images, options.stable_images, options.pretrain_images)
    if options.total_images is not None:
        budget = budget.scaled(options.total_images)
    return schedule.plan(
        config.networks.resolutions,
        budget,
        config.optimization.batch,
        config.optimization.learning_rate,
        critic_steps=config.objective.critic_steps,
        adversarial=losses.LOSSES[config.objective.loss].adversarial,
        decay_share=options.decay_share,
        aspect=config.networks.aspect,
    )
