"""Metrics of the generator's moving average while it trains, against the data at the resolution that it has come to."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

from pggan_tf import metrics, synthesis
from pggan_tf.config import Plan
from pggan_tf.errors import OutOfMemory, UserError, memory_for
from pggan_tf.files import atomic_write
from pggan_tf.metrics import features, sets
from pggan_tf.runs.folder import BEST, BEST_GENERATOR, STATS, write_json
from pggan_tf.training.observers import CHECKED, MEASURED

FIRST_SEED = 1 << 21  # not the grid's
SMALLEST = 8  # pixels; smaller stages hold less than a patch
_OF_PIXELS = ("psnr", "ssim")


class Scores:
    """Lines of metrics in stats.jsonl, in TensorBoard and in the log; and best.keras, the moving average that was best at the
    resolution of the last stage by the first of the metrics that has a better and a worse.

    cache: folder that the data's statistics are kept in.
    """

    def __init__(self, plan: Plan, cache: Path, say):
        self.plan, self.config, self.cache = plan, plan.config, cache
        options = plan.config.measuring
        self.names, self.images = options.metrics, options.metrics_images
        self.features, self.say = None, say
        if metrics.needs_features(self.names):
            weights = options.inception_weights or features.INCEPTION_URL
            self.features = features.load(options.features, weights, cache, say)
        sets.check(self.names, self.features)
        self.samples = self.resolution = None

    def _look(self, generator, shards, resolution: int) -> None:
        """Gets ready for a generator at a resolution; what the data come to there is kept until the next."""
        if self.samples is None or self.samples.generator is not generator:
            self.samples = synthesis.samples(self.plan, generator, shards)
        if resolution != self.resolution:
            self.truth = sets.of_shards(shards, resolution)
            if self.config.purpose.task != "generate":  # the images that it is shown a part of
                self.truth = sets.of_originals(self.samples)
            count = min(self.images, self.truth.count)
            if count < 2 and any(metrics.METRICS[name].takes != "pairs" for name in self.names):
                raise UserError(f"{count} image is there to measure on. Give more photos, or a larger --held-out.")
            self.real = sets.collect(self.names, self.truth, 0, count, self.features, self.cache)
            self.resolution = resolution

    @memory_for("metrics are measured", "A new run takes less with fewer --metrics-images.")
    def figures(self, generator, shards, resolution: int, alpha: float = 1.0) -> dict[str, metrics.Figure]:
        self._look(generator, shards, resolution)
        generator.measure(self.samples.inputs(MEASURED), resolution)
        if self.config.purpose.task == "generate":
            made = sets.of_sampler(self.samples.sampler, resolution, alpha, FIRST_SEED)
        else:
            made = sets.of_pairs(self.samples)
        count = self.real.images
        fake = sets.collect(self.names, made, 0, count, self.features, self.cache)
        fake.values |= sets.collect_pairs(self.names, self.truth, made, 0, count)
        return sets.compare(self.names, self.real, fake, self.features)

    def seconds(self, generator, shards, resolutions) -> dict[int, float]:
        """resolution -> what a measurement takes, by doing one. What the data come to is in the cache afterwards."""
        out = dict.fromkeys(resolutions, 0.0)
        for resolution in (r for r in resolutions if r >= SMALLEST):
            begun = time.perf_counter()
            with contextlib.suppress(UserError), self._memory_told(resolution):  # `measure` tells it, at its time
                self._look(generator, shards, resolution)
                self.samples.images(resolution)  # traced
                begun = time.perf_counter()
                self.figures(generator, shards, resolution)
            out[resolution] = time.perf_counter() - begun
        return out

    @contextlib.contextmanager
    def _memory_told(self, resolution: int):
        """Tells of a measurement that finds no memory before the training begins."""
        try:
            with memory_for("metrics are measured", "Fewer --metrics-images take less."):
                yield
        except OutOfMemory as error:
            self.say(f"{resolution} px: {error}")
            raise

    def begin(self, run):
        import tensorflow as tf

        self.file = (run.folder / STATS).open("a", buffering=1)
        self.writer = tf.summary.create_file_writer(str(run.folder / "tensorboard"), filename_suffix=".metrics")
        self.best = None
        if (run.folder / BEST).is_file():
            self.best = json.loads((run.folder / BEST).read_text())
            if self.best["images"] > run.images_seen:  # of a future that is to come once more
                self.best = None

    def measure(self, run):
        import tensorflow as tf

        phase, begun = run.phase, time.perf_counter()
        if phase.resolution < SMALLEST:
            return
        alpha = phase.alpha(run.images_seen)
        try:
            found = self.figures(run.gan.ema, run.shards, phase.resolution, alpha)
        except UserError as error:  # a generator that makes nothing yet must not end its training
            run.log(f"no metrics at {run.images_seen:,} images: {error}")
            return
        values = {name: figure.value for name, figure in found.items()}
        details = {part: value for figure in found.values() for part, value in figure.parts.items()}
        details |= {f"{name} spread": figure.spread for name, figure in found.items() if figure.spread is not None}
        line = {"images": run.images_seen, "seconds": round(run.seconds, 3), "resolution": phase.resolution}
        # What has neither better nor worse is good where it is what the data have.
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
            f"{phase.name}: {text} ({self.real.images:,} images, not to be compared with figures of more; {taken:.0f} s)"
        )
        if phase.resolution == run.config.networks.target_res and alpha == 1:
            try:
                with memory_for(f"{BEST_GENERATOR} is made", "The training goes on."):
                    self._keep_best(run, values)
            except OutOfMemory as error:
                run.log(f"no {BEST_GENERATOR} at {run.images_seen:,} images: {error}")

    def _keep_best(self, run, values: dict[str, float]) -> None:
        # Squared errors are least where nothing is ventured: they do not judge a network that is to do more.
        blind = _OF_PIXELS if run.config.purpose.task != "generate" and run.config.objective.loss != "none" else ()
        names = {n: n.partition("[")[0] for n in values}
        judging = next((n for n, name in names.items() if metrics.METRICS[name].better and name not in blind), None)
        if judging is None or (blind and not run.phase.adversarial):
            return
        sign = -1 if metrics.METRICS[judging.partition("[")[0]].better == "higher" else 1
        if self.best is None or sign * values[judging] < sign * self.best["value"]:
            inputs = synthesis.samples(run.plan, run.gan.ema, run.shards).inputs(synthesis.SETTLING)
            finished = synthesis.finish(run.gan.ema, inputs)
            if what := synthesis.ruin(finished, inputs[:CHECKED]):
                run.log(f"no {BEST_GENERATOR} at {run.images_seen:,} images: {what}")
                return
            with atomic_write(run.folder / BEST_GENERATOR) as partial:
                finished.save(partial)
            self.best = {"metric": judging, "value": values[judging], "images": run.images_seen}
            write_json(run.folder / BEST, self.best | {"resolution": run.phase.resolution})

    def end(self, run):
        self.file.close()
        self.writer.close()
