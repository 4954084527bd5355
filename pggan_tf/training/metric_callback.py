"""Compute metrics of the images of the moving average during training.

The images are compared with images of the data at the current stage's resolution. If the generator
converts images, each result is compared with its own original.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

from pggan_tf import metrics, shapes, synthesis
from pggan_tf.config import Plan
from pggan_tf.errors import OutOfMemory, UserError, explain_out_of_memory
from pggan_tf.files import atomic_write
from pggan_tf.metrics import features, sets
from pggan_tf.metrics.features import check_features
from pggan_tf.report import coach
from pggan_tf.runs import generators, records
from pggan_tf.runs.folder import BEST, BEST_GENERATOR, STATS, write_json
from pggan_tf.training.callbacks import CHECKED_INPUTS, GRID_CALIBRATION_INPUTS, Callback

FIRST_SEED = 1 << 21  # first seed of the measured images; the seeds of grids are smaller


class MetricCallback(Callback):
    """Writes metrics to stats.jsonl, TensorBoard and the log, and the best generator to best.keras.

    The best moving average is chosen at the last stage's resolution, using the first metric of
    which either higher or lower values are better.

    Args:
        plan: the run's plan.
        cache: folder in which features' weights and the data's statistics are stored.
        say: function that prints a message on the terminal.
    """

    def __init__(self, plan: Plan, cache: Path, say):
        self.plan, self.cache = plan, cache
        options = plan.config.measuring
        self.names, self.images = options.metrics, options.metrics_images
        self.features, self.say = None, say
        if metrics.needs_features(self.names):
            weights = options.inception_weights or features.INCEPTION_URL
            self.features = features.load(options.features, weights, cache, say)
        check_features(self.names, self.features)
        self.samples: Any = None
        self.resolution: int | None = None

    def _is_measured(self, resolution: int) -> bool:
        """Tell whether images of a resolution are large enough to be measured."""
        return min(shapes.shape_at(resolution, self.plan.aspect)) >= metrics.SMALLEST

    def _prepare(self, generator, shards, resolution: int) -> None:
        """Prepare for measuring a generator at a resolution: compute the data's statistics.

        They are kept until the resolution changes. Raises UserError if there are too few images.

        shards: the data.
        """
        if self.samples is None or self.samples.generator is not generator:
            self.samples = generators.make_samples(self.plan, generator, shards)
        if resolution != self.resolution:
            self.truth = sets.read_shards(shards, resolution)
            if self.plan.task.from_images:  # each output is compared with its own original
                self.truth = sets.read_originals(self.samples)
            count = self.images if self.truth.count is None else min(self.images, self.truth.count)
            if count < 2 and any(metrics.METRICS[name].takes != "pairs" for name in self.names):
                more = ", or a larger --held-out" if self.plan.task.from_images else ""
                raise UserError(f"{count} image{'s' * (count != 1)} to measure on. Give more photos{more}.")
            self.real = sets.collect_statistics(self.names, self.truth, 0, count, self.features, self.cache)
            self.resolution = resolution

    @explain_out_of_memory("metrics are measured", "A new run takes less with fewer --metrics-images.")
    def compute(self, generator, shards, resolution: int, alpha: float = 1.0) -> dict[str, metrics.Figure]:
        """Return {name of a metric: its result} for a generator's images.

        Args:
            generator: the generator.
            shards: the data to compare with.
            resolution: resolution of the images in pixels.
            alpha: weight of the newest block, 0..1.

        Raises:
            UserError: if the images cannot be measured.
        """
        self._prepare(generator, shards, resolution)
        generator.calibrate_batch_norm(self.samples.inputs(GRID_CALIBRATION_INPUTS), resolution)
        if self.plan.task.from_images:
            made = sets.convert_originals(self.samples)
        else:
            made = sets.generate(self.samples.sampler, resolution, alpha, FIRST_SEED)
        count = self.real.images
        fake = sets.collect_statistics(self.names, made, 0, count, self.features, self.cache)
        fake.values |= sets.compare_pairs(self.names, self.truth, made, 0, count)
        return sets.compute_figures(self.names, self.real, fake, self.features)

    def time_measurements(self, generator, shards, resolutions) -> dict[int, float]:
        """Compute the metrics once at each resolution, and return {resolution: seconds it took}.

        Images below metrics.SMALLEST get 0 seconds. Afterwards the data's statistics are in the cache.

        Args:
            generator: the generator, whose weights do not matter.
            shards: the data.
            resolutions: resolutions in pixels.
        """
        out = dict.fromkeys(resolutions, 0.0)
        for resolution in (r for r in resolutions if self._is_measured(r)):
            begun = time.perf_counter()
            # `measure` reports other errors when they occur.
            with contextlib.suppress(UserError), self._report_out_of_memory(resolution):
                self._prepare(generator, shards, resolution)
                self.samples.images(resolution)  # traces the graph, which is not timed
                begun = time.perf_counter()
                self.compute(generator, shards, resolution)
            out[resolution] = time.perf_counter() - begun
        return out

    @contextlib.contextmanager
    def _report_out_of_memory(self, resolution: int):
        """Context manager that prints a message and raises OutOfMemory if memory is exhausted.

        resolution: the measured resolution in pixels, for the message.
        """
        try:
            with explain_out_of_memory("metrics are measured", "Fewer --metrics-images take less."):
                yield
        except OutOfMemory as error:
            self.say(f"{resolution} px: {error}")
            raise

    def begin(self, run):
        import tensorflow as tf

        self.file = (run.folder / STATS).open("a", buffering=1)
        self.writer = tf.summary.create_file_writer(str(run.folder / "tensorboard"), filename_suffix=".metrics")
        if not self._is_measured(run.plan.target_res):
            run.log(f"no metrics: images of less than {metrics.SMALLEST} px are not measured")
        self.best = None
        images = records.read_best(run.folder)
        # One of more images was written after the checkpoint that the run is resumed from.
        if images is not None and images <= run.images_seen:
            self.best = json.loads((run.folder / BEST).read_text())

    def measure(self, run):
        import tensorflow as tf

        phase, begun = run.phase, time.perf_counter()
        if not self._is_measured(phase.resolution):
            return
        alpha = phase.alpha(run.images_seen)
        try:
            found = self.compute(run.gan.ema, run.shards, phase.resolution, alpha)
        except UserError as error:
            # Training must go on if images cannot be measured yet.
            run.log(f"no metrics at {run.images_seen:,} images: {error}")
            return
        values = {name: figure.value for name, figure in found.items()}
        details = {part: value for figure in found.values() for part, value in figure.parts.items()}
        details |= {f"{name} spread": figure.spread for name, figure in found.items() if figure.spread is not None}
        line = {"images": run.images_seen, "seconds": round(run.seconds, 3), "resolution": phase.resolution}
        # A metric without a better direction (higher or lower) is compared with its value for the
        # data.
        details |= {
            f"{name} of the data": float(self.real.values[name].mean())
            for name in values
            if name in self.real.values and not metrics.METRICS[name].better
        }
        caveats = {name: list(figure.caveats) for name, figure in found.items() if figure.caveats}
        line |= {"measured": self.real.images, "metrics": values, "details": details, "caveats": caveats}
        self.file.write(json.dumps(line) + "\n")
        with self.writer.as_default(step=run.images_seen):
            for name, value in (values | details).items():
                tf.summary.scalar(f"metrics/{name}", value)
        self.writer.flush()
        text = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        taken = time.perf_counter() - begun
        run.log(
            f"{phase.name}: {text} ({self.real.images:,} image{'s' * (self.real.images != 1)}, not to be compared with figures of more; {taken:.0f} s)"
        )
        if phase.resolution == run.config.networks.target_res and alpha == 1:
            try:
                with explain_out_of_memory(f"{BEST_GENERATOR} is made", "The training goes on."):
                    self._save_if_best(run, values)
            except OutOfMemory as error:
                run.log(f"no {BEST_GENERATOR} at {run.images_seen:,} images: {error}")
            self._finish_at_plateau(run)

    def _finish_at_plateau(self, run) -> None:
        """End the run for --stop plateau if nothing was gained for a third of the last stage."""
        if run.config.running.stop != "plateau":
            return
        found = coach.since_best(run.plan, records.read_history(run.folder / STATS).measured)
        if found and found[0] >= 1 / 3:
            share, judge, best = found
            run.log(f"--stop plateau: {judge} has been {best:.4g} at best, {share:.0%} of the last stage ago")
            run.finish()

    def _save_if_best(self, run, values: dict[str, float]) -> None:
        """Write best.keras and best.json if the metric that selects the best has improved.

        values: {name of a metric: its value}.
        """
        adversarial = self.plan.task.from_images and self.plan.loss.adversarial
        judging = metrics.choose_judge(values, adversarial)
        if judging is None or (adversarial and not run.phase.adversarial):
            return
        sign = -1 if metrics.METRICS[metrics.strip_features(judging)].better == "higher" else 1
        if self.best is None or sign * values[judging] < sign * self.best["value"]:
            inputs = self.samples.inputs(synthesis.CALIBRATION_INPUTS)
            finished = synthesis.finish(run.gan.ema, inputs)
            if what := generators.describe_ruin(finished, inputs[:CHECKED_INPUTS]):
                run.log(f"no {BEST_GENERATOR} at {run.images_seen:,} images: {what}")
                return
            with atomic_write(run.folder / BEST_GENERATOR) as partial:
                finished.save(partial)
            self.best = {"metric": judging, "value": values[judging], "images": run.images_seen}
            write_json(run.folder / BEST, self.best | {"resolution": run.phase.resolution})

    def end(self, run):
        self.file.close()
        self.writer.close()
