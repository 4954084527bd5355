"""What watches a run without changing it: files, TensorBoard and the terminal.

An observer has any of `begin(run)`, `phase(run, phase)`, `step(run, stats)`, `tick(run, stats)`, `snapshot(run)`, `measure(run)` and
`end(run)`. `run` is the
loop's `Run`; stats are means over the steps since the tick before, without those that were skipped.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from pggan_tf import report, synthesis
from pggan_tf.data import pipeline, pixels
from pggan_tf.errors import OutOfMemory, memory_for, shell_path
from pggan_tf.explore import report as explored
from pggan_tf.files import atomic_write
from pggan_tf.runs.folder import GENERATOR, STATS

MEASURED = 512  # inputs that batch normalisation is measured on before a grid
CHECKED = 4  # inputs that a finished generator is tried on


class Grids:
    """reals.png, and fakes-000012-16px-….png from latents that stay the same for the whole run; or, of a task from images to
    images, what was given, what was made of it, and the original side by side."""

    def begin(self, run):
        with self._memory():
            count = min(run.config.running.grid, run.shards.count(run.config.networks.target_res))
            path = run.folder / "reals.png"
            if not path.exists():
                some = pipeline.spread(count, run.shards.count(run.config.networks.target_res))
                pixels.grid(path, run.shards.read(run.config.networks.target_res, some), size=pixels.VISIBLE)
            self.samples = synthesis.samples(run.plan, run.gan.ema, run.shards)
            self.measured = self.samples.inputs(MEASURED)

    def snapshot(self, run):
        try:
            with self._memory():
                self._draw(run)
        except OutOfMemory as error:  # a picture less must not end a training
            run.log(f"no grid at {run.images_seen:,} images: {error}")

    def _memory(self):
        return memory_for("a grid is drawn", "A new run takes less with a smaller --grid.")

    def _draw(self, run):
        phase, images = run.phase, run.images_seen
        run.gan.ema.measure(self.measured, phase.resolution)
        fakes = self.samples.images(phase.resolution, phase.alpha(images))
        path = grid_path(run.folder, run.snapshot_number(images), phase.resolution, images)
        pixels.grid(path, fakes, self.samples.columns, size=pixels.VISIBLE)


def grid_path(folder: Path, number: int, resolution: int, images: int) -> Path:
    return folder / f"fakes-{number:06d}-{resolution}px-{images}.png"


class Lines:
    """stats.jsonl: one object per tick."""

    def begin(self, run):
        self.file = (run.folder / STATS).open("a", buffering=1)

    def tick(self, run, stats):
        phase = run.phase
        line = {
            "images": run.images_seen,
            "seconds": round(run.seconds, 3),
            "resolution": phase.resolution,
            "fade": phase.fade,
            "alpha": round(phase.alpha(run.images_seen), 6),
            "learning_rate": phase.learning_rate * phase.rate(run.images_seen),
            **stats,
        }
        self.file.write(json.dumps(line) + "\n")

    def end(self, run):
        self.file.close()


class TensorBoard:
    """Scalars at every tick, the grid at every snapshot, over images seen."""

    def begin(self, run):
        import tensorflow as tf

        self.writer = tf.summary.create_file_writer(str(run.folder / "tensorboard"))

    def tick(self, run, stats):
        import tensorflow as tf

        with self.writer.as_default(step=run.images_seen):
            for name, value in stats.items():
                tf.summary.scalar(name, value)
            tf.summary.scalar("resolution", run.phase.resolution)
            tf.summary.scalar("alpha", run.phase.alpha(run.images_seen))

    def snapshot(self, run):
        import tensorflow as tf
        from PIL import Image

        path = grid_path(run.folder, run.snapshot_number(run.images_seen), run.phase.resolution, run.images_seen)
        if path.is_file():
            with Image.open(path) as file:
                image = np.asarray(file.convert("RGB"))
            with self.writer.as_default(step=run.images_seen):
                tf.summary.image("fakes", image[None])
        self.writer.flush()

    def end(self, run):
        self.writer.close()


class FinalGenerator:
    """generator.keras, the moving average in float32, once the plan is done."""

    def end(self, run):
        if run.done:
            later = f"Training is done and saved; with more memory, --resume {shell_path(run.folder)} makes it."
            with memory_for(f"{GENERATOR} is made", later):
                samples = synthesis.samples(run.plan, run.gan.ema, run.shards)
                finished = synthesis.finish(run.gan.ema, samples.inputs(synthesis.SETTLING))
                if what := synthesis.ruin(finished, samples.inputs(CHECKED)):
                    run.done = False
                    raise run.ruined(f"no {GENERATOR} is written: {what}")
                with atomic_write(run.folder / GENERATOR) as partial:
                    finished.save(partial)
            last = run.phases[-1]
            run.log(
                f"images of the last stage: {grid_path(run.folder, run.snapshot_number(last.end), last.resolution, last.end)}"
            )


class Report:
    """report.html: at snapshots as often as little of the time allows, and whole once the plan is done. A page must not end a
    run: what goes wrong with it is a line of the log."""

    SHARE = 0.01  # of the time

    def begin(self, run):
        self.written_at, self.cost = time.monotonic(), 2.0

    def snapshot(self, run):
        if time.monotonic() - self.written_at > self.cost / self.SHARE:
            self._write(run, lambda: ())

    def end(self, run):
        pictures = (lambda: explored.pictures(run.folder, run.shards)) if run.done else (lambda: ())
        if self._write(run, pictures) and run.done:
            run.log(f"report: {run.folder / report.NAME}")

    def _write(self, run, pictures) -> bool:
        begun = time.monotonic()
        try:
            report.write(run.folder, pictures=pictures())
        except Exception as error:
            run.log(f"no report could be written ({type(error).__name__}: {error}). Later: pggan report {run.folder}")
            return False
        finally:
            self.written_at = time.monotonic()
            self.cost = self.written_at - begun
        return True


def _time(seconds: float) -> str:
    seconds = int(seconds)
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


class Terminal:
    """A progress bar on a terminal; elsewhere a line at every snapshot."""

    def __init__(self, log, interactive: bool | None = None):
        self.log = log
        self.interactive = sys.stderr.isatty() if interactive is None else interactive

    def begin(self, run):
        self.bar = None
        self.stats = {}
        if self.interactive:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:5.1f}%"),
                TextColumn("{task.fields[text]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self.task = self.bar.add_task("", total=run.phases[-1].end, text="")
            self.bar.start()
            # Lines of the log have to go above the bar.
            self.show = self.log.show
            self.log.show = lambda line: self.bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def phase(self, run, phase):
        self.log(
            f"phase {phase.index + 1}/{len(run.phases)}: {phase.name}, {phase.images:,} images in batches of {phase.batch}"
        )

    def step(self, run, stats):
        self.stats = stats
        if self.bar:
            self.bar.update(
                self.task, completed=run.images_seen, description=run.phase.name, text=self._text(run, stats)
            )

    def _text(self, run, stats) -> str:
        phase = run.phase
        alpha = f" alpha {phase.alpha(run.images_seen):.2f}" if phase.fade else ""
        text = f"{run.images_seen:,} images{alpha}"
        if run.speed:
            text += f" {run.speed:.0f} img/s"
        text += f" D {stats['loss_d']:.3f} G {stats['loss_g']:.3f}"
        if run.speed:  # not before a call of the graph that was not its first
            left = (phase.end - run.images_seen) / run.speed
            text += f" phase {_time(left)} run {_time(run.seconds_left())} left"
        return text + (f" skipped {report.skips(run.skipped, **run.skipped_by)}" if run.skipped else "")

    def snapshot(self, run):
        if not self.bar and self.stats:
            self.log(f"{run.phase.name}: {self._text(run, self.stats)}")

    def end(self, run):
        if self.bar:
            self.bar.stop()
            self.log.show = self.show
