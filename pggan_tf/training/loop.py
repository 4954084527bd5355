"""The training loop: take the steps of every phase of the plan and call the callbacks.

Many steps are taken in one call of a TensorFlow graph, see `compiled.CompiledSteps`. Between two
calls, the loop saves checkpoints and calls the callbacks at their events: ticks (losses are
recorded), snapshots (a grid of images is drawn) and measurements (metrics are computed).
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf

from pggan_tf import schedule
from pggan_tf.config import Plan
from pggan_tf.errors import PASSING, OutOfMemory, Stopped, is_out_of_memory, shell_path
from pggan_tf.runs import checkpoint
from pggan_tf.signals import Signals
from pggan_tf.training import execution, health, stops
from pggan_tf.training.gan import COUNTS_BY_NETWORK, NEWER_STATE
from pggan_tf.training.step import STATS

CALL_SECONDS = 0.7  # approximate time of a call of the graph; signals and the bar wait for its end
TICKS_PER_SNAPSHOT = 10
BY_CALLBACK = 0  # takes the place of a signal's number if a callback has called `Run.stop`


class Run:
    """A training run and its loop; callbacks may read its attributes.

    On several machines, each machine has a `Run` and all take the same steps. Only the first
    machine has callbacks and writes files.

    Attributes:
        phase: the current phase.
        images_seen: number of images that the run has seen.
        seconds: seconds of training, including earlier sessions of a resumed run.
        speed: images per second at present; 0 if not known yet.
        skipped: number of skipped steps in the whole run.
        skipped_by: {name in COUNTS_BY_NETWORK: number of steps that left this network unchanged}.
        finished: whether a callback has ended the run before the end of its plan, see `finish`.
        done: whether the whole plan was trained, or the run is finished.
    """

    def __init__(
        self,
        plan: Plan,
        programs: execution.Programs,
        folder: Path,
        speeds: Mapping[schedule.Part, float] | None = None,
        callbacks: Sequence = (),
    ):
        """Open the data that the plan needs.

        Args:
            plan: what to train.
            programs: the compiled steps, with the networks, which `train` changes, the data, the
                devices and the machines.
            folder: the run's folder, for checkpoints.
            speeds: {part: images per second} of every part of the plan, to estimate the time left;
                or None.
            callbacks: `callbacks.Callback` objects, which are called in this order.
        """
        self.plan, self.config, self.phases = plan, plan.config, plan.phases
        setting, gan = programs.setting, programs.gan
        self.shards, self.strategy = setting.shards, setting.strategy
        self.cluster, self.log = setting.cluster, setting.say
        self.programs, self.gan, self.folder = programs, gan, folder
        self.speeds = speeds or {}
        self.callbacks = list(callbacks)
        self.phase = self.phases[0]
        self.images_seen = 0
        self.seconds = 0.0  # seconds of training in all sessions
        self.speed = 0.0
        self.skipped = 0
        self.skipped_by = dict.fromkeys(COUNTS_BY_NETWORK, 0)
        self.health = health.Health(gan)
        self.finished = self.done = False
        self._stopping = self._finishing = False  # whether a callback has called `stop` or `finish`
        for resolution in {p.resolution for p in self.phases}:  # find damaged files now, not after hours
            self.shards.open(self.shards.find_stored(resolution))
        self._restored = False  # whether `phase` was restored from a checkpoint
        self._saved_at = 0.0
        self._window, self._window_steps, self._window_seconds = dict.fromkeys(STATS, 0.0), 0, 0.0

    def _tell(self, event: str, *args) -> None:
        """Call the method named `event` of all callbacks, with this run and `args`."""
        for callback in self.callbacks:
            getattr(callback, event)(self, *args)

    def _end(self) -> None:
        """Call `end` of every callback, even if one of them raises."""
        with contextlib.ExitStack() as stack:
            for callback in reversed(self.callbacks):
                stack.callback(callback.end, self)

    def snapshot_number(self, images: int) -> int:
        """Return how many snapshots a run has when it has seen `images` images.

        There is one every --snapshot-images images and one at the end of each phase.
        """
        number = 0
        for phase in (p for p in self.phases if p.start < images):
            every = self._snapshot_every(phase)
            number += min(images, phase.end) // every - phase.start // every + (phase.end <= images)
        return number

    def stop(self) -> None:
        """End the training after the next call of the graph, with a checkpoint, for a callback."""
        self._stopping = True

    def finish(self) -> None:
        """End the run here, with --stop plateau, as if its plan were trained. A callback calls this."""
        self._finishing = True

    def seconds_left(self) -> float:
        """Estimate the seconds to the end of the plan. `speed` must not be 0."""
        left = (self.phase.end - self.images_seen) / self.speed
        for phase in self.phases[self.phase.index + 1 :]:
            key = phase.part
            # Without measured speeds, assume that doubling the resolution takes four times as long.
            left += (
                schedule.expected_seconds(phase, self.speeds)
                if key in self.speeds
                else (phase.images / self.speed * (phase.resolution / self.phase.resolution) ** 2)
            )
        return left

    def save(self, last: bool = False, stopped: bool = False) -> None:
        """Write a checkpoint. Raises Stopped if the weights are ruined, see `health.Health`.

        After a skipped step, no checkpoint is written unless `last` or `stopped` is True. Only the
        first machine writes checkpoints.

        Args:
            last: whether the whole plan is trained.
            stopped: whether the process is about to end.
        """
        if not self.cluster.chief:
            return
        arrays = self.health.read_arrays()
        # After a skipped step, wait for further steps: this checkpoint would replace a good one.
        waits = self.health.skipped_last_step() and not (last or stopped)
        if what := checkpoint.describe_ruin(arrays) or (None if waits else self.health.judge_updates(last)):
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
        meta |= {"finished": True} if self.finished else {}
        checkpoint.write(checkpoint.path_for(self.folder, self.images_seen), arrays, meta)
        checkpoint.prune(self.folder, self.config.running.keep_checkpoints)
        self.health.note_checkpoint()
        self._saved_at = time.monotonic()

    def ruined(self, what: str) -> Stopped:
        """Return an exception (not raised here) that stops a run with ruined weights.

        what: the reason, see `health.explain_ruin`.
        """
        half = self.gan.generator.dtype_policy.compute_dtype != "float32"
        return health.explain_ruin(what, self.folder, self.plan, self.phase, self.images_seen, half)

    def restore(self, arrays, meta) -> None:
        """Set the state of the run to that of a checkpoint.

        Args:
            arrays: {variable name: array}.
            meta: the checkpoint's further values, as `save` writes them.
        """
        self.phase = self.phases[meta["phase"]]
        with self.strategy.scope():
            self.gan.begin(self.phase)
        checkpoint.restore(self.gan.state(), arrays, str(self.folder), newer=NEWER_STATE)
        self.health.restart()
        self.images_seen, self.seconds = meta["images_seen"], meta["seconds"]
        self.finished = meta.get("finished", False)
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
        """Train from the current state of the run to the end of its plan.

        Raises Stopped for signals, ruined weights, a full disk and too little memory. After a first
        signal everything is saved; a Ctrl-C after it ends the training at once.
        """
        try:
            with Signals("stopping after this step and saving") as signals:
                self._tell("begin")
                try:
                    while not self.finished and (following := schedule.phase_at(self.phases, self.images_seen)):
                        self._train_phase(following, signals)
                    self.cluster.leave()
                    self.save(last=True)
                    self.done = True
                finally:
                    self.cluster.dismiss_guard()  # no collective operations follow
                    self._end()
        except OutOfMemory as error:  # in a callback
            raise Stopped(str(error), 1) from error
        except (tf.errors.OpError, MemoryError) as error:
            # TensorFlow writes TensorBoard's files. It raises the same error for a full disk and
            # for memory.
            if isinstance(error, tf.errors.ResourceExhaustedError) and "No space left" in str(error):
                raise stops.explain_unwritable(self.folder, "no space left on the disk", code=75) from error
            if not is_out_of_memory(error):
                raise
            less = self.plan.suggest_less_memory(self.phase.resolution, self.strategy.num_replicas_in_sync)
            raise Stopped(
                f"out of memory at {self.phase.name} in batches of {self.phase.batch}. {health.suggest_restart(self.folder, less)}",
                1,
            ) from error
        except OSError as error:
            code = 75 if error.errno in PASSING else 1
            raise stops.explain_unwritable(self.folder, error.strerror or str(error), error.filename, code) from error
        except KeyboardInterrupt:  # a Ctrl-C after the signal that the training was to stop for
            raise stops.explain_interrupt(self.folder, self.images_seen) from None

    def _train_phase(self, phase: schedule.Phase, signals: Signals) -> None:
        """Train from the current state of the run to the end of a phase.

        Raises Stopped if a signal was received, after saving a checkpoint; or if the weights are
        ruined.

        signals: the signals that were received.
        """
        new = not (self._restored and phase.index == self.phase.index)
        self.phase = phase
        if new:
            with self.strategy.scope():
                self.gan.begin(phase)
            self.save()
        self._restored = False
        self._tell("phase", phase)
        first = not self.programs.built(phase)
        images = self.plan.training_images(self.shards, phase.resolution)
        call, iterator = self.programs.prepare(phase, images, self.images_seen)
        steps = self.programs.steps_to_build(phase) if first else 1
        self.speed = self.speeds.get(phase.part, 0.0)
        while self.images_seen < phase.end:
            begun = time.perf_counter()
            count, window = call(iterator, min(steps, self._steps_to_next_event(phase)), self._window)
            wish = BY_CALLBACK if signals.received is None and self._stopping else signals.received
            received, taken = self._exchange(wish, time.perf_counter() - begun)
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
            if self._should_finish():
                self.finished = True
                return
            if received is not None:
                raise self._stopped(received, signals)
            if time.monotonic() - self._saved_at > 60 * self.config.running.checkpoint_minutes:
                self.save()

    def _stopped(self, received: int, signals: Signals) -> Stopped:
        """Write a checkpoint, and return an exception (not raised here) that ends the training.

        Args:
            received: number of the signal that any machine received, or BY_CALLBACK.
            signals: the signals that this machine received.
        """
        by, code = "a callback", 0
        if received != BY_CALLBACK:
            signals.received = received
            by, code = signals.name, signals.code
        self.cluster.leave()
        self.save(stopped=True)
        return Stopped(
            f"stopped by {by} after {self.images_seen:,} images, everything is saved. "
            f"To go on: --resume {shell_path(self.folder)}",
            code,
            self.folder,
        )

    def _exchange(self, received: int | None, taken: float) -> tuple[int | None, float]:
        """Exchange values between machines, because all must stop at the same step.

        Args:
            received: number of the signal that this machine received, BY_CALLBACK, or None.
            taken: seconds that the last call took on this machine.

        Returns:
            (number of the first signal that any machine received, or None; seconds that the call
            took on the first machine).
        """
        exchanged = self.cluster.all_gather([received, taken])
        return next((number for number, _ in exchanged if number is not None), None), exchanged[0][1]

    def _should_finish(self) -> bool:
        """Tell all machines whether a callback of the first one has called `finish`."""
        if self.config.running.stop == "end":
            return False
        return any(self.cluster.all_gather(self._finishing))

    def _steps_to_next_event(self, phase: schedule.Phase) -> int:
        """Return the number of steps to the next tick, snapshot, measurement or end of the phase.

        A call of the graph must not take more steps.
        """
        nexts = [
            (self.images_seen // every + 1) * every
            for every in (self._tick_every(phase), self._snapshot_every(phase), self._measure_every(phase))
        ]
        return math.ceil((min(*nexts, phase.end) - self.images_seen) / phase.images_per_step)

    def _snapshot_every(self, phase: schedule.Phase) -> int:
        """Return the number of images between two snapshots in a phase."""
        return self.plan.snapshot_every(phase.resolution)

    def _tick_every(self, phase: schedule.Phase) -> int:
        """Return the number of images between two ticks in a phase."""
        return max(1, self._snapshot_every(phase) // TICKS_PER_SNAPSHOT)

    def _measure_every(self, phase: schedule.Phase) -> int:
        """Return the number of images between two measurements of the metrics in a phase."""
        return self.plan.measure_every(phase.resolution)

    def _observe(self, phase: schedule.Phase, window: dict, count: int, taken: float) -> None:
        """Call the callbacks of the events that a call of the graph has reached.

        Raises Stopped if too many steps in a row were skipped.

        Args:
            phase: the current phase.
            window: {name in STATS: sum over the steps since the last tick}.
            count: number of steps that the call took.
            taken: seconds that the call took.
        """
        before = self.images_seen - count * phase.images_per_step
        self._window = window
        self._window_steps += count
        self._window_seconds += taken
        self.health.steps += count
        self.skipped_by = self.health.count_skips()
        self.skipped = self.skipped_by.pop("skipped")
        updated = self._window_steps - round(self._window["skipped"])
        stats = {k: v / updated if updated else math.nan for k, v in self._window.items()}
        stats |= {name: self._window[name] / self._window_steps for name in ("skipped", *COUNTS_BY_NETWORK)}
        self._tell("step", stats)
        ended = self.images_seen >= phase.end

        def reached(every: int) -> bool:
            return ended or self.images_seen // every > before // every

        if reached(self._tick_every(phase)):
            stats |= {
                "images_per_second": self._window_steps * phase.images_per_step / self._window_seconds,
                "skipped_total": self.skipped,
                **{f"{name}_total": n for name, n in self.skipped_by.items()},
            }
            if updated:  # else all steps were skipped
                self._tell("tick", stats)
            self._window, self._window_steps, self._window_seconds = dict.fromkeys(STATS, 0.0), 0, 0.0
        if what := self.health.judge_steps():
            raise self.ruined(what)
        if reached(self._snapshot_every(phase)):
            self._tell("snapshot")
        if reached(self._measure_every(phase)):
            self._tell("measure")
