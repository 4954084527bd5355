"""A run, which is one training: its history, its pictures and its generator."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pggan_tf import config
from pggan_tf.api import arguments, jobs, machines
from pggan_tf.api.generators import Generator
from pggan_tf.errors import UserError
from pggan_tf.explore import sliders
from pggan_tf.runs import checkpoint, keras_files, pretrained, records, slider_names
from pggan_tf.runs import folder as folders


class Run:
    """The folder of a run.

    Its files are read when they are asked for. An object of a run that is being trained by another
    process therefore shows the newest state.

    Attributes:
        folder: the folder, an absolute path.
    """

    def __init__(self, folder: str | Path):
        """Open the folder of a run. Raise UserError if training did not write it."""
        path = Path(pretrained.locate(arguments.expand(folder)))
        keras_files.check_run(path)
        self.folder = path.absolute()  # the working directory may change
        self._loaded: tuple[tuple, Generator] | None = None

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_loaded": None}  # networks are read from the folder again

    def __repr__(self) -> str:
        here = Path.cwd()
        folder = self.folder.relative_to(here) if self.folder.is_relative_to(here) else self.folder
        return f"Run({str(folder)!r}, {self.images_seen:,} images seen{'' if self.ended else ', not ended'})"

    @property
    def location(self) -> str:
        """Path of the folder as text."""
        return str(self.folder)

    @functools.cached_property
    def plan(self) -> config.Plan:
        """The options and what follows from them, such as the phases of the training."""
        return folders.read(self.folder)[0]

    @property
    def config(self) -> config.Config:
        """The value of every option, in groups."""
        return self.plan.config

    @property
    def ended(self) -> bool:
        """Whether the whole plan was trained and generator.keras was written."""
        return (self.folder / folders.GENERATOR).is_file()

    @property
    def images_seen(self) -> int:
        """Number of images that the run had seen at its newest checkpoint or tick."""
        images = [checkpoint.parse_images(path) for path in checkpoint.list_checkpoints(self.folder)[:1]]
        return max([*images, *self.history.get("images", [])[-1:]], default=0)

    @property
    def history(self) -> dict[str, list]:
        """Losses and other figures of training as columns, ready for `pandas.DataFrame`.

        There is an entry for each tick, which is about a tenth of the time between two grids.
        Among the columns are images (seen so far), seconds, resolution, alpha, learning_rate,
        loss_d, loss_g and images_per_second. A figure that is missing in a tick is NaN.
        """
        return _as_columns(records.read_history(self.folder / folders.STATS).ticks)

    @property
    def metrics(self) -> dict[str, list]:
        """Metrics that were measured during training as columns, ready for `pandas.DataFrame`.

        The columns are images (seen so far), seconds, resolution and one for each metric. There are
        none if the run was trained without --metrics.
        """
        lines = records.read_history(self.folder / folders.STATS).measured
        heads = [{name: line[name] for name in ("images", "seconds", "resolution")} for line in lines]
        return _as_columns([{**head, **line["metrics"]} for head, line in zip(heads, lines)])

    @property
    def grids(self) -> list[Path]:
        """Paths of the pictures of generated images that training wrote, the newest last."""
        from pggan_tf.report.runs import find_grids

        return [grid.path for grid in find_grids(self.folder, self.plan.phases)]

    def grid(self, number: int = -1):
        """Return a picture of generated images that training wrote, as a Pillow image.

        Args:
            number: index in `grids` (default: the newest).

        Raises:
            UserError: if there is none yet.
        """
        from PIL import Image

        grids = self.grids
        number = arguments.check_whole("number", number, -(10**9))
        if not -len(grids) <= number < len(grids):
            raise UserError(f"{self.folder}: has {len(grids)} grids, so none with the number {number}.")
        with Image.open(grids[number]) as file:
            return file.copy()

    @property
    def generator(self) -> Generator:
        """The generator: generator.keras, or the moving average in the newest checkpoint.

        It is loaded once, and again only after training has written a newer one. Raise UserError if
        there is neither.
        """
        made = self.folder / folders.GENERATOR
        newest = made if made.is_file() else next(iter(checkpoint.list_checkpoints(self.folder)), None)
        state = (newest, newest.stat().st_mtime_ns if newest else 0)
        if self._loaded is None or self._loaded[0] != state:
            self._loaded = state, Generator.open(self.folder)
        return self._loaded[1]

    def rename_slider(self, number: int, name: str) -> None:
        """Give a slider of the generator a name, which is kept in sliders.json in the run's folder.

        Names hold for the weights that they were given for: after more training they are left out.

        Args:
            number: the slider's number, from 1 on.
            name: at most 24 letters, digits, spaces, - and _, beginning with a letter; "" takes the
                name away.

        Raises:
            UserError: if there is no such slider, or the name is not valid or taken.
        """
        self.rename_sliders([(number, name)])

    def rename_sliders(self, names: Mapping[int, str] | Iterable[tuple[int, str]]) -> None:
        """Give several sliders names, as `rename_slider` does: all of them, or none after an error.

        names: {a slider's number: its name}, or pairs of them.
        """
        if pretrained.is_inside(self.folder):
            raise UserError(
                f"{self.folder.name}: comes with pggan-tf, and keeps no names. Name sliders of your own runs."
            )
        generator = self.generator
        kernel, count = sliders.read_kernel(generator.network, generator.name), len(generator.sliders)
        pairs = names.items() if isinstance(names, Mapping) else names
        changes = [(arguments.check_whole("number", number, 1), name) for number, name in pairs]
        slider_names.rename(self.folder, sliders.compute_digest(kernel), changes, count)

    def resume(self, *, progress: bool | None = None, callbacks=(), **options) -> Run:
        """Go on training exactly where it stopped, to the end of the plan.

        Args:
            progress: see `train`.
            callbacks: see `train`.
            **options: of the options of `train`, only those that do not change the result, such as
                `data` (if the data has moved), `checkpoint_minutes` and `report`.

        Returns:
            This run.

        Raises:
            UserError: if an option or the data differs from the run's.
            Stopped: if Ctrl-C or a signal ended it early; everything is saved.
        """
        if pretrained.is_inside(self.folder):
            raise UserError(
                f'{self.folder.name}: comes with pggan-tf, and is not gone on with. Begin a run with init_from="{self.folder.name}".'
            )
        chosen = arguments.parse_options(options)
        machine = machines.make_machine(progress, callbacks)
        with machines.end_by_callback(machine, []):
            jobs.resume(self.folder, chosen, machine)
        return self

    def report(
        self, out: str | Path | None = None, data: str | Path | None = None, report: Callable[[str], None] = print
    ) -> Path:
        """Write an HTML page with the plan, losses, metrics, grids and samples of the run.

        Args:
            out: file to write (default: report.html in the run's folder; here for a run that comes with
                pggan-tf).
            data: folder of the run's shards, if they have been moved.
            report: called with a line for each picture that had to be left out.

        Returns:
            The path of the page.
        """
        from pggan_tf.report import pages, pictures, runs

        if out and arguments.as_path(out).suffix not in (".html", ".htm"):
            raise UserError(f"--out {out}: expected a name that ends in .html.")
        drawn, omissions = pictures.try_pictures(runs.read_run(self.folder), arguments.expand(data) if data else None)
        for line in omissions:
            report(line)
        if not out and pretrained.is_inside(self.folder):
            out = "report.html"
        page = arguments.as_path(out) if out else None
        if page:
            page.parent.mkdir(parents=True, exist_ok=True)
        return pages.write_report(self.folder, page, drawn)

    def _repr_png_(self) -> bytes | None:
        """Return the newest grid for a notebook; None if there is none yet."""
        grids = self.grids
        return grids[-1].read_bytes() if grids else None


def _as_columns(lines: list[dict]) -> dict[str, list]:
    """Return {name: list of values} for lines {name: value}; a missing value becomes NaN."""
    names = dict.fromkeys(name for line in lines for name in line)
    return {name: [line.get(name, math.nan) for line in lines] for name in names}


def load(source: str | Path) -> Run | Generator:
    """Open a run, or load a generator.

    Args:
        source: folder of a run, or the name of a pretrained one such as 'portraits'; or an exported
            folder, a .keras file or hf://USER/NAME.

    Returns:
        A Run for the folder of a run, else a Generator.

    Raises:
        UserError: if there is neither.
    """
    location = str(pretrained.locate(arguments.as_location(source)))
    if keras_files.is_run(Path(location)):
        return Run(location)
    return Generator.open(location)
