"""For every phase of the plan: build the step, run it, call the observers. Every system of this project trains here."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from pggan_tf import checkpoint, growth, networks, pipeline
from pggan_tf import config as configs
from pggan_tf.config import Config
from pggan_tf.errors import OutOfMemory, Stopped, UserError, is_out_of_memory, memory_for, shell_path
from pggan_tf.shards import Shards
from pggan_tf.stopping import Signals
from pggan_tf.training import health, observers, precision, scores, tracking
from pggan_tf.training.cluster import ALONE, Cluster
from pggan_tf.training.trainer import COUNTS_BY_NETWORK, GAN, STATS

CALL_SECONDS = 0.7  # a call of the graph takes about so long: stop signals and the bar wait for it
TICKS_PER_SNAPSHOT = 10
PROBE_SECONDS = 1.0
# Of a run planned by --minutes, unless --metrics-every says how often: about so many, or fewer if they would take more of its time.
MEASUREMENTS, METRICS_SHARE = 40, 0.1


@memory_for("the networks are built", "Give a smaller --target-res, or fewer feature maps by --fmap-max or --width.")
def build(config: Config, policy: str, classes: Sequence[str] = ()) -> GAN:
    """The networks of a completed config with fresh weights that follow from its seed. classes: of the data."""
    keras.utils.set_random_seed(config.seed)
    options = configs.network_options(config, classes)
    content = None
    if config.content == "vgg19":
        from pggan_tf.networks import vgg

        content = vgg.features(config.vgg_weights)
    return GAN(
        networks.generator(config.network, options, policy),
        networks.discriminator(config.network, options, policy),
        networks.generator(config.network, options, "float32", "ema"),
        lambda resolution: configs.objective(config, resolution, len(options["classes"])),
        config.update,
        seed=config.seed,
        task=configs.task(config),
        content=content,
        optimizer=config.optimizer,
        discriminator_rate=config.discriminator_rate,
        weight_clip=config.weight_clip,
        augment=config.augment,
        sync_batch=config.sync_batch,
        adam_betas=config.adam_betas,
        adam_epsilon=config.adam_epsilon,
        ema_half_life_images=config.ema_half_life_images,
        ema_rampup=config.ema_rampup,
    )


def compiled(gan: GAN, phase: growth.Phase, strategy, xla: bool = False) -> Callable:
    """(iterator, steps, sums so far) -> (steps done, sums with their stats). Many steps per call: short ones would wait for Python.

    Fewer than asked for are done only where too many in a row were skipped. xla: the step is compiled by XLA. Sums go on where
    the call before ended: they are the same to the last bit however many steps share a call, which depends on the machine's speed.
    """

    def one(batch):
        stats = gan.step(phase, *batch)
        return tf.stack([stats[k] for k in STATS])  # one number would be one message each between machines

    if xla:
        one = tf.function(one, autograph=False, jit_compile=True)

    @tf.function(autograph=False, reduce_retracing=True)
    def call(iterator, steps, sums):
        def body(i, sums):
            stats = strategy.run(one, args=(next(iterator),))
            stats = strategy.reduce(tf.distribute.ReduceOp.SUM, stats, axis=None)
            return i + 1, sums + tf.cast(stats, tf.float64)

        def goes_on(i, _):
            return (i < steps) & (gan.skipped_in_a_row < health.SKIPS_IN_A_ROW)

        return tf.while_loop(goes_on, body, (tf.constant(0), sums), parallel_iterations=1)

    def called(iterator, steps, sums: Mapping[str, float] = types.MappingProxyType({})):
        so_far = tf.constant([sums.get(k, 0.0) for k in STATS], tf.float64)
        count, sums = call(iterator, tf.constant(steps), so_far)
        return int(count), dict(zip(STATS, sums.numpy().tolist()))

    return called


def data(config: Config, shards: Shards, phase: growth.Phase, start: int, strategy):
    """An iterator of the batches of `phase`. Every machine reads what its own replicas train on, and nothing else."""

    def dataset(machine=None):
        replicas, mine = 1, range(1)
        if machine:
            each = machine.num_replicas_in_sync // machine.num_input_pipelines
            replicas, mine = (
                machine.num_replicas_in_sync,
                range(each * machine.input_pipeline_id, each * (machine.input_pipeline_id + 1)),
            )
        return pipeline.batches(
            shards,
            phase.resolution,
            config.seed,
            start,
            phase.end,
            phase.batch,
            config.mirror,
            config.patch,
            config.held_out,
            phase.critic_steps,
            replicas,
            mine,
        )

    return iter(strategy.distribute_datasets_from_function(dataset) if strategy.num_replicas_in_sync > 1 else dataset())


def _seconds(call: Callable, iterator, steps: int) -> float:
    begun = time.perf_counter()
    call(iterator, steps)
    return time.perf_counter() - begun


def probe(
    config: Config, shards: Shards, strategy, policy: str, cluster: Cluster = ALONE
) -> dict[growth.Part, growth.Speed]:
    """The speed of every part of the plan, by a few real steps of each on networks that are thrown away."""
    with strategy.scope():
        gan = build(config, policy, shards.manifest.classes)
    speeds = {}
    for part in dict.fromkeys(p.part for p in configs.schedule(config)):
        batch = config.batch[part.resolution]
        with memory_for(
            f"the speed at {part.resolution} px is measured in batches of {batch}",
            f"Give less: {health.with_less(config, part.resolution, strategy.num_replicas_in_sync)}",
        ):
            speeds[part] = _speed(config, shards, strategy, gan, part, batch, cluster)
    return speeds


def _speed(
    config: Config, shards: Shards, strategy, gan: GAN, part: growth.Part, batch: int, cluster: Cluster
) -> growth.Speed:
    """The speed of one part of the plan."""
    steps = config.critic_steps if part.adversarial else 1
    phase = growth.Phase(0, part.resolution, part.fade, 0, 10**9, batch, 0.0, 0, steps, part.adversarial)
    with strategy.scope():
        gan.images_seen.assign(0)
        gan.begin(phase)
        xla = precision.by_xla(config, strategy)
        call, iterator = compiled(gan, phase, strategy, xla), data(config, shards, phase, 0, strategy)
    build_seconds = cluster.everyone(_seconds(call, iterator, 1))[0]  # the chief's: all have to take the same steps
    gan.images_seen.assign(0)
    penalised = cluster.everyone(_seconds(call, iterator, 1))[0]
    steps, total, taken = 1, 0, 0.0
    while taken < PROBE_SECONDS:
        last = cluster.everyone(_seconds(call, iterator, steps))[0]
        total, taken = total + steps, taken + last
        steps = max(1, min(4 * steps, math.ceil((PROBE_SECONDS - taken) * steps / last)))
    per_step = taken / total
    every = max(1, config.penalty_every // phase.critic_steps)
    if total < every:  # slow steps: none of them came to the turn of a lazy penalty
        per_step += (penalised - per_step) / every
    return growth.Speed(phase.images_per_step / per_step, build_seconds)


def snapshot_images(config: Config, total: int) -> int:
    """Images from one snapshot to the next in a run of `total`."""
    return config.snapshot_images or max(1, total // 40)


def measure_every(config: Config, resolution: int, total: int) -> int:
    """Images from one measurement to the next."""
    return growth.at(config.metrics_every, resolution) if config.metrics_every else snapshot_images(config, total)


def measuring_seconds(config: Config, costs: Mapping[int, float]) -> float:
    """What the metrics of a planned run take. costs: resolution -> seconds of one measurement."""
    phases, total = configs.schedule(config), 0.0
    for p in phases:
        every = measure_every(config, p.resolution, phases[-1].end)
        total += (p.end // every - p.start // every + (p.end % every > 0)) * costs.get(p.resolution, 0.0)
    return total


def planned_for_minutes(
    config: Config,
    speeds: dict[growth.Part, growth.Speed],
    spent: float,
    costs: Mapping[int, float] = types.MappingProxyType({}),
) -> Config:
    """The config with a schedule that ends `minutes` after a start `spent` seconds ago; no longer with `minutes`: repeated, it is the same run.

    costs: resolution -> seconds of a measurement of the metrics.
    """
    fixed = sum(s.build_seconds for s in speeds.values()) + spent + growth.OVERHEAD * 60 * config.minutes
    rates = {key: s.images_per_second for key, s in speeds.items()}
    available, least = 60 * config.minutes - fixed, 0.2 * 60 * config.minutes
    if available < least:
        raise UserError(
            f"--minutes {config.minutes:g}: preparing and building {len(speeds)} phases takes {fixed / 60:.1f} minutes of it. "
            "Give more minutes or a smaller --target-res."
        )

    def planned(seconds: float) -> Config:
        times = config.stage_growth or growth.fitting_growth(seconds, rates)
        images = growth.images_for(seconds, rates, times, config.fade_share, config.pretrain_share)
        none, alone = dict.fromkeys(config.resolutions, 0), config.pretrain_images > 0
        main = {p: n for p, n in images.items() if not p.fade and (p.adversarial or not alone)}
        return dataclasses.replace(
            config,
            fade_images=none | {p.resolution: n for p, n in images.items() if p.fade},
            stable_images=none | {p.resolution: n for p, n in main.items()},
            pretrain_images=sum(n for p, n in images.items() if not p.fade and p not in main),
            minutes=None,
        )

    plan, seconds = planned(available), available
    if not costs:
        return plan
    if config.metrics_every is None:

        def measured(times: float) -> dict[int, int]:
            """Images from one measurement to the next at every resolution, for so many in equal times."""
            trained = {p.resolution for p in rates}
            slowest = {r: min(v for p, v in rates.items() if p.resolution == r) for r in trained}
            return {r: max(1, round(available / times * rate)) for r, rate in slowest.items()}

        often = dataclasses.replace(plan, metrics_every=measured(MEASUREMENTS))
        share = measuring_seconds(often, costs) / (METRICS_SHARE * available)
        config = dataclasses.replace(config, metrics_every=measured(MEASUREMENTS / max(1.0, share)))
    for _ in range(8):  # how often there is something to measure follows from the plan
        seconds *= available / (seconds + measuring_seconds(plan, costs))
        if seconds < least:
            raise UserError(
                f"--minutes {config.minutes:g}: the metrics take most of it. "
                "Give more minutes, fewer --metrics-images or a larger --metrics-every."
            )
        plan = planned(seconds)
    return plan


class Run:
    """One training run: what the observers look at, and the loop itself. On several machines every one has its own, and all
    take the same steps; only the chief of the `cluster` writes and observes."""

    def __init__(
        self,
        config: Config,
        folder: Path,
        shards: Shards,
        gan: GAN,
        strategy,
        log,
        phases,
        speeds=None,
        watchers=None,
        measuring: scores.Scores | None = None,
        cluster: Cluster = ALONE,
    ):
        self.config, self.folder, self.shards, self.gan, self.strategy, self.log = (
            config,
            folder,
            shards,
            gan,
            strategy,
            log,
        )
        self.phases, self.speeds, self.cluster = phases, speeds or {}, cluster
        self.phase = phases[0]
        self.images_seen = 0
        self.seconds = 0.0  # of training, over all sessions
        self.speed = 0.0
        self.skipped = 0
        self.skipped_by = dict.fromkeys(COUNTS_BY_NETWORK, 0)
        self.health = health.Health(gan)
        self.done = False
        for resolution in {p.resolution for p in phases}:  # damage is to be met now, not in the tenth hour
            shards.open(shards.stored_for(resolution))
        self._restored = False  # whether `phase` stands as a checkpoint left it
        self._saved_at = 0.0
        self._window, self._window_steps, self._window_seconds = dict.fromkeys(STATS, 0.0), 0, 0.0
        total = phases[-1].end
        self.snapshot_images = snapshot_images(config, total)
        self.tick_images = max(1, self.snapshot_images // TICKS_PER_SNAPSHOT)
        self.watchers = (
            watchers
            if watchers is not None
            else []
            if not cluster.chief
            else [
                observers.Terminal(log),
                observers.Lines(),
                observers.TensorBoard(),
                observers.Grids(),
                observers.FinalGenerator(),
                *([measuring] if measuring else []),
                *([observers.Report()] if config.report else []),
                *([tracking.MLflow()] if "mlflow" in (config.log or ()) else []),
            ]
        )
        # TensorBoard shows the grid of the same snapshot: grids are drawn first.
        self.watchers.sort(key=lambda w: not isinstance(w, observers.Grids))

    def _tell(self, event: str, *args) -> None:
        for watcher in self.watchers:
            if hasattr(watcher, event):
                getattr(watcher, event)(self, *args)

    def _end(self) -> None:
        """Every watcher gets to its end, whatever happens to the others at theirs."""
        with contextlib.ExitStack() as stack:
            for watcher in reversed([w for w in self.watchers if hasattr(w, "end")]):
                stack.callback(watcher.end, self)

    def snapshot_number(self, images: int) -> int:
        """Counts snapshots from the run's start: the multiples of snapshot_images passed, and the ends of phases."""
        return images // self.snapshot_images + sum(p.end <= images for p in self.phases)

    def seconds_left(self) -> float:
        """Once there is a speed."""
        left = (self.phase.end - self.images_seen) / self.speed
        for phase in self.phases[self.phase.index + 1 :]:
            key = phase.part
            # Without a probe: a stage twice as wide costs four times as much.
            left += (
                growth.expected_seconds(phase, self.speeds)
                if key in self.speeds
                else (phase.images / self.speed * (phase.resolution / self.phase.resolution) ** 2)
            )
        return left

    def save(self, last: bool = False, stopped: bool = False) -> None:
        """Writes a checkpoint, unless what it would hold is ruined: raises Stopped then. last: at the end of the plan. stopped: before
        the process ends."""
        if not self.cluster.chief:
            return
        arrays = self.health.arrays()
        # A step was skipped: what comes of that is waited for, and no good checkpoint makes room for it.
        waits = self.health.in_trouble() and not (last or stopped)
        if what := checkpoint.ruin(arrays) or (None if waits else self.health.of_updates(last)):
            raise self.ruined(what)
        if waits:
            return
        meta = {
            "devices": self.strategy.num_replicas_in_sync,
            "images_seen": self.images_seen,
            "phase": self.phase.index,
            "seconds": self.seconds,
            "window": [self._window, self._window_steps, self._window_seconds],
        }
        checkpoint.write(checkpoint.path_for(self.folder, self.images_seen), arrays, meta)
        checkpoint.prune(self.folder, self.config.keep_checkpoints)
        self.health.saved()
        self._saved_at = time.monotonic()

    def ruined(self, what: str) -> Stopped:
        bfloat16 = self.gan.generator.dtype_policy.compute_dtype == "bfloat16"
        return health.ruined(what, self.folder, self.config, self.phase, self.images_seen, bfloat16)

    def restore(self, arrays, meta) -> None:
        self.phase = self.phases[meta["phase"]]
        with self.strategy.scope():
            self.gan.begin(self.phase)
        checkpoint.restore(self.gan.state(), arrays, str(self.folder), newer=COUNTS_BY_NETWORK)
        self.health.begin()
        self.images_seen, self.seconds = meta["images_seen"], meta["seconds"]
        window, self._window_steps, self._window_seconds = meta["window"]
        self._window |= window
        self._restored = True
        before, now = meta.get("devices", 1), self.strategy.num_replicas_in_sync
        if before != now:
            self.log(
                f"so far on {before} device{'s' * (before > 1)}, now on {now}: the same images, latents and schedule go on, but sums are "
                "taken in another order, so weights will agree to rounding and not to the last bit"
            )

    def train(self) -> None:
        """Runs the plan from where it stands to its end. Raises Stopped for signals, divergence and a full disk."""
        try:
            with Signals() as signals:
                self._tell("begin")
                try:
                    while (following := growth.phase_at(self.phases, self.images_seen)) is not None:
                        self._train_phase(following, signals)
                    self.cluster.part()
                    self.save(last=True)
                    self.done = True
                finally:
                    self.cluster.dismiss_guard()  # what is left to do waits for nobody
                    self._end()
        except OutOfMemory as error:  # of an observer
            raise Stopped(str(error), 1) from error
        except (tf.errors.OpError, MemoryError) as error:
            # TensorBoard's files are written by TensorFlow, which has one error for memory and disks.
            if isinstance(error, tf.errors.ResourceExhaustedError) and "No space left" in str(error):
                raise self._unwritable("no space left on the disk") from error
            if not is_out_of_memory(error):
                raise
            less = health.with_less(self.config, self.phase.resolution, self.strategy.num_replicas_in_sync)
            raise Stopped(
                f"out of memory at {self.phase.name} in batches of {self.phase.batch}. {health.again(self.folder, less)}",
                1,
            ) from error
        except OSError as error:
            raise self._unwritable(error.strerror or str(error), error.filename) from error

    def _unwritable(self, why: str, where: str | None = None) -> Stopped:
        last = next(iter(checkpoint.saved(self.folder)), None)
        return Stopped(
            f"{where or self.folder}: {why}. "
            + (
                f"The last good checkpoint is {last}. Mend that, then: --resume {shell_path(self.folder)}"
                if last
                else "Nothing was trained yet."
            ),
            1,
        )

    def _train_phase(self, phase: growth.Phase, signals: Signals) -> None:
        new = not (self._restored and phase.index == self.phase.index)
        self.phase = phase
        if new:
            with self.strategy.scope():
                self.gan.begin(phase)
            self.save()
        self._restored = False
        self._tell("phase", phase)
        with self.strategy.scope():
            call, iterator = (
                compiled(self.gan, phase, self.strategy, precision.by_xla(self.config, self.strategy)),
                data(self.config, self.shards, phase, self.images_seen, self.strategy),
            )
        steps, first = 1, True
        self.speed = self.speeds[phase.part].images_per_second if phase.part in self.speeds else 0.0
        while self.images_seen < phase.end:
            begun = time.perf_counter()
            count, window = call(iterator, min(steps, self._steps_to_next_event(phase)), self._window)
            received, taken = self._told(signals.received, time.perf_counter() - begun)
            self.images_seen += count * phase.images_per_step
            self.seconds += taken
            if not first:  # the first call traced the graph
                rate = count * phase.images_per_step / taken
                self.speed = 0.8 * self.speed + 0.2 * rate if self.speed else rate
                steps = max(1, min(4 * steps, round(CALL_SECONDS * self.speed / phase.images_per_step)))
            elif self.cluster.chief:
                self.log(f"{phase.name}: built in {taken:.1f} s")
            first = False
            self._observe(phase, window, count, taken)
            if received is not None:
                signals.received = received
                self.cluster.part()
                self.save(stopped=True)
                raise Stopped(
                    f"stopped by {signals.name} after {self.images_seen:,} images, everything is saved. "
                    f"To go on: --resume {shell_path(self.folder)}",
                    signals.code,
                )
            if time.monotonic() - self._saved_at > 60 * self.config.checkpoint_minutes:
                self.save()

    def _told(self, received: int | None, taken: float) -> tuple[int | None, float]:
        """(a signal that any machine received, the chief's seconds): what follows from them has to be the same for all."""
        told = self.cluster.everyone([received, taken])
        return next((number for number, _ in told if number is not None), None), told[0][1]

    def _steps_to_next_event(self, phase: growth.Phase) -> int:
        """Calls end where a tick, a snapshot or the phase does: which steps share a call must not matter, and does not."""
        nexts = [
            (self.images_seen // every + 1) * every
            for every in (self.tick_images, self.snapshot_images, self._measure_every(phase))
        ]
        return math.ceil((min(*nexts, phase.end) - self.images_seen) / phase.images_per_step)

    def _measure_every(self, phase: growth.Phase) -> int:
        return measure_every(self.config, phase.resolution, self.phases[-1].end)

    def _observe(self, phase: growth.Phase, window: dict, count: int, taken: float) -> None:
        before = self.images_seen - count * phase.images_per_step
        self._window = window
        self._window_steps += count
        self._window_seconds += taken
        self.health.steps += count
        self.skipped_by = self.health.skips()
        self.skipped = self.skipped_by.pop("skipped")
        updated = self._window_steps - round(self._window["skipped"])
        stats = {k: v / updated if updated else math.nan for k, v in self._window.items()}
        stats |= {name: self._window[name] / self._window_steps for name in ("skipped", *COUNTS_BY_NETWORK)}
        self._tell("step", stats)
        ended = self.images_seen >= phase.end
        if ended or self.images_seen // self.tick_images > before // self.tick_images:
            stats |= {
                "images_per_second": self._window_steps * phase.images_per_step / self._window_seconds,
                "skipped_total": self.skipped,
                **{f"{name}_total": n for name, n in self.skipped_by.items()},
            }
            if updated:  # else there is nothing to tell
                self._tell("tick", stats)
            self._window, self._window_steps, self._window_seconds = dict.fromkeys(STATS, 0.0), 0, 0.0
        if what := self.health.of_steps():
            raise self.ruined(what)
        if ended or self.images_seen // self.snapshot_images > before // self.snapshot_images:
            self._tell("snapshot")
        measure = self._measure_every(phase)
        if ended or self.images_seen // measure > before // measure:
            self._tell("measure")


def load_weights(gan: GAN, arrays: Mapping[str, np.ndarray], source: str) -> None:
    """Copies the networks of another run's checkpoint into the blocks of `gan` of the same name."""

    def networks(state):
        return {n: v for n, v in state.items() if n.split("/")[0] in ("generator", "discriminator", "ema")}

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
