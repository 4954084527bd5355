"""Callbacks of the training loop: they write files and TensorBoard events, and show progress.

The loop calls them at events. A tick is the moment at which losses are recorded; a snapshot is the
moment at which a grid, a picture with many generated images, is drawn.
"""

from __future__ import annotations

import functools
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pggan_tf import report, synthesis
from pggan_tf.data import pipeline, pixels, transparency
from pggan_tf.errors import OutOfMemory, explain_out_of_memory, shell_path
from pggan_tf.files import atomic_write
from pggan_tf.report import pages, pictures, runs, words
from pggan_tf.runs import generators, records
from pggan_tf.runs.folder import BEST_GENERATOR, GENERATOR, STATS

# Number of inputs for calibrating batch normalisation before a grid is drawn or metrics are computed.
GRID_CALIBRATION_INPUTS = 512
CHECKED_INPUTS = 4  # number of inputs for testing a finished generator
_TENSORBOARD_PIXELS = 1 << 22  # most pixels of a grid in TensorBoard's files; larger grids are reduced


class Callback:
    """Base class of the training loop's callbacks. Its methods do nothing.

    A subclass overrides the methods that it needs. On several machines, only the first one has
    callbacks. The arguments of the methods are:

    - run: the `loop.Run`, with its `phase`, `images_seen`, `gan`, `folder` and `log`. A callback
      may read all of it, and must not change anything that is trained.
    - phase: the `schedule.Phase`.
    - stats: {name in step.STATS: mean over the steps since the last tick, without skipped steps}.
    """

    def begin(self, run) -> None:
        """Prepare for training. If the run is resumed, it starts at `run.images_seen` images."""

    def phase(self, run, phase) -> None:
        """Called when a phase starts or is continued in a resumed run."""

    def step(self, run, stats) -> None:
        """Called after each call of the graph, which is one or many steps, about 0.7 seconds."""

    def tick(self, run, stats) -> None:
        """Record the losses and other stats of the steps since the last tick.

        Called ten times per snapshot and at the end of a phase. Here, `stats` also has
        `images_per_second` and the numbers of skipped steps in the whole run, such as
        `skipped_total`.
        """

    def snapshot(self, run) -> None:
        """Record images. Called every --snapshot-images images and at the end of a phase."""

    def measure(self, run) -> None:
        """Compute metrics. Called every --metrics-every images and at the end of a phase."""

    def end(self, run) -> None:
        """Finish: close files, for example.

        Called at the end of training, also after an exception. `run.done` tells whether the whole
        plan was trained.
        """


class GridWriter(Callback):
    """Writes reals.png, a grid of real images, and at every snapshot a grid of generated images.

    A grid's name is, for example, fakes-000012-16px-4000.png, see `grid_path`. The latents are the
    same during the whole run. If the generator converts images, the grid shows input, output and
    original side by side.

    Attributes:
        images: the images of the last grid, uint8 [N, R, R, C]; None if it could not be drawn.
    """

    images: np.ndarray | None = None

    def begin(self, run):
        with self._explain_memory():
            last = run.plan.target_res
            count = min(run.config.running.grid, run.shards.count(last))
            count = synthesis.limit_grid(count, run.shards.manifest.shape_at(last))
            path = run.folder / "reals.png"
            if not path.exists():
                some = pipeline.sample_indices(count, run.shards.count(last))
                reals = transparency.unpremultiply(run.shards.read(last, some))
                pixels.save_grid(path, reals, size=pixels.VISIBLE)
            self.samples = generators.make_samples(run.plan, run.gan.ema, run.shards)
            self.calibration = self.samples.inputs(GRID_CALIBRATION_INPUTS)

    def snapshot(self, run):
        self.images = None
        try:
            with self._explain_memory():
                self._draw(run)
        except OutOfMemory as error:  # training goes on without the picture
            run.log(f"no grid at {run.images_seen:,} images: {error}")

    def _explain_memory(self):
        """Return a context manager that raises OutOfMemory, see `explain_out_of_memory`."""
        return explain_out_of_memory("a grid is drawn", "A new run takes less with a smaller --grid.")

    def _draw(self, run):
        """Write the grid of the current snapshot."""
        phase, images = run.phase, run.images_seen
        run.gan.ema.calibrate_batch_norm(self.calibration, phase.resolution)
        fakes = self.images = self.samples.images(phase.resolution, phase.alpha(images))
        path = grid_path(run.folder, run.snapshot_number(images), phase.resolution, images)
        pixels.save_grid(path, fakes, self.samples.columns, size=pixels.VISIBLE)


def grid_path(folder: Path, number: int, resolution: int, images: int) -> Path:
    """Return the path of a grid's file.

    Args:
        folder: the run's folder.
        number: number of the snapshot, see `loop.Run.snapshot_number`.
        resolution: resolution of the images in pixels.
        images: number of images seen at the snapshot.
    """
    return folder / f"fakes-{number:06d}-{resolution}px-{images}.png"


def describe_tick(run, stats) -> dict:
    """Return a tick as a dict of numbers: a line of stats.jsonl.

    Beside `stats`, it has `images` and `seconds` of the run so far, the `resolution` in pixels,
    whether the newest stage fades in (`fade`), its weight `alpha` and the `learning_rate`.
    """
    phase = run.phase
    return {
        "images": run.images_seen,
        "seconds": round(run.seconds, 3),
        "resolution": phase.resolution,
        "fade": phase.fade,
        "alpha": round(phase.alpha(run.images_seen), 6),
        "learning_rate": phase.learning_rate * phase.rate(run.images_seen),
        **stats,
    }


class StatsWriter(Callback):
    """Appends a line with a JSON object to stats.jsonl at every tick."""

    def begin(self, run):
        self.file = (run.folder / STATS).open("a", buffering=1)

    def tick(self, run, stats):
        self.file.write(json.dumps(describe_tick(run, stats)) + "\n")

    def end(self, run):
        self.file.close()


class FunctionCallback(Callback):
    """Calls a function with each tick, a dict as `describe_tick` returns it.

    If the function returns False, the training ends after the next call of the graph, with a
    checkpoint.

    Args:
        function: the function.
    """

    def __init__(self, function: Callable[[dict], object]):
        self.function = function

    def tick(self, run, stats):
        """Call the function."""
        goes_on = self.function(describe_tick(run, stats))
        if isinstance(goes_on, bool | np.bool_) and not goes_on:
            run.stop()


class GuardedCallback:
    """Calls a callback of the user's, whose exceptions must not cost what was trained.

    It has the methods of `Callback`. After an exception, the training ends after the next call of the graph, with a checkpoint, and
    of the callback only `end` is called.

    Args:
        callback: the callback.

    Attributes:
        error: the first exception that it raised, for who has started the training; None if there
            is none.
    """

    def __init__(self, callback: Callback):
        self.callback = callback
        self.error: Exception | None = None

    def _call(self, event: str, run, *args) -> None:
        if self.error and event != "end":
            run.stop()  # also the next part of a pipeline
            return
        try:
            getattr(self.callback, event)(run, *args)
        except Exception as error:
            self.error = self.error or error
            run.stop()

    def __getattr__(self, name: str):
        if name.startswith("_") or not hasattr(Callback, name):
            raise AttributeError(name)
        return functools.partial(self._call, name)


class TensorBoardWriter(Callback):
    """Writes scalars at every tick and the grid at every snapshot for TensorBoard."""

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
                reduced = file.reduce(pixels.find_reduction(file.size, _TENSORBOARD_PIXELS))
                image = np.asarray(reduced.convert("RGB"))
            with self.writer.as_default(step=run.images_seen):
                tf.summary.image("fakes", image[None])
        self.writer.flush()

    def end(self, run):
        self.writer.close()


class GeneratorWriter(Callback):
    """Writes generator.keras, the moving average in float32, when the whole plan is trained.

    Raises Stopped if the generator is useless, see `generators.describe_ruin`.
    """

    def end(self, run):
        if run.done:
            later = f"Training is done and saved; with more memory, --resume {shell_path(run.folder)} makes it."
            with explain_out_of_memory(f"{GENERATOR} is made", later):
                samples = generators.make_samples(run.plan, run.gan.ema, run.shards)
                finished = synthesis.finish(run.gan.ema, samples.inputs(synthesis.CALIBRATION_INPUTS))
                if what := generators.describe_ruin(finished, samples.inputs(CHECKED_INPUTS)):
                    run.done = False
                    raise run.ruined(f"no {GENERATOR} is written: {what}")
                with atomic_write(run.folder / GENERATOR) as partial:
                    finished.save(partial)
            images = records.read_best(run.folder) if run.finished else None
            if images is not None and (run.folder / BEST_GENERATOR).is_file():
                with atomic_write(run.folder / GENERATOR) as partial:
                    shutil.copyfile(run.folder / BEST_GENERATOR, partial)
                run.log(f"{GENERATOR} is {BEST_GENERATOR}, of {images:,} images: nothing was gained after it")
            if grid := runs.find_kept_grid(runs.find_grids(run.folder, run.phases), images):
                run.log(f"newest grid{'' if images is None else ' before that'}: {grid.path}")


class ReportWriter(Callback):
    """Writes report.html: without pictures at snapshots, and with them when training ends.

    Errors are only logged. So that reports take at most SHARE of the time, a snapshot writes one
    only if a hundred times as much time has passed since the last report as that report took.
    """

    SHARE = 0.01  # maximum share of the time for writing reports

    def begin(self, run):
        self.written_at, self.cost = time.monotonic(), 2.0

    def snapshot(self, run):
        """Write the report without pictures, if enough time has passed since the last one."""
        if time.monotonic() - self.written_at > self.cost / self.SHARE:
            self._write(run, lambda: ())

    def end(self, run):
        def draw():
            return pictures.draw_pictures(run.folder, run.shards, run.config.images) if run.done else ()

        if self._write(run, draw) and run.done:
            run.log(f"report: {run.folder / report.NAME}")

    def _write(self, run, draw) -> bool:
        """Write the report, and return whether that succeeded.

        draw: function that returns the pictures of the report.
        """
        begun = time.monotonic()
        try:
            pages.write_report(run.folder, pictures=draw())
        except Exception as error:
            run.log(f"no report could be written ({type(error).__name__}: {error}). Later: pggan report {run.folder}")
            return False
        finally:
            self.written_at = time.monotonic()
            self.cost = self.written_at - begun
        return True


def _format_time(seconds: float) -> str:
    """Return a time as text: 3725 -> '1:02:05'."""
    seconds = int(seconds)
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


class ProgressDisplay(Callback):
    """Shows a progress bar on a terminal, or else logs a line at every snapshot.

    Args:
        log: the run's log, a `runs.folder.Log`.
        interactive: whether to show a bar (default: if standard error is a terminal).
    """

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
            # Log messages are printed with the bar's console, so that they appear above the bar.
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
                self.task, completed=run.images_seen, description=run.phase.name, text=self._format_line(run, stats)
            )

    def _format_line(self, run, stats) -> str:
        """Return a line of text about the progress: images seen, speed, losses, time left."""
        phase = run.phase
        alpha = f" alpha {phase.alpha(run.images_seen):.2f}" if phase.fade else ""
        text = f"{run.images_seen:,} images{alpha}"
        if run.speed:
            text += f" {run.speed:.0f} img/s"
        for name, loss in (("D", stats["loss_d"]), ("G", stats["loss_g"])):
            # 0: no such network is trained; NaN: all steps were skipped.
            text += f" {name} {loss:.3f}" if loss and np.isfinite(loss) else ""
        if run.speed:  # known after the second call of the graph, because the first one traces it
            left = (phase.end - run.images_seen) / run.speed
            text += f" phase {_format_time(left)} run {_format_time(run.seconds_left())} left"
        return text + (f" skipped {words.format_skips(run.skipped, **run.skipped_by)}" if run.skipped else "")

    def snapshot(self, run):
        if not self.bar and self.stats:
            self.log(f"{run.phase.name}: {self._format_line(run, self.stats)}")

    def end(self, run):
        if self.bar:
            self.bar.stop()
            self.log.show = self.show
