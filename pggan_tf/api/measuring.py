"""Measure how different two sets of images are, from Python."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterable, Sequence

from pggan_tf import metrics, shapes, terminal
from pggan_tf.api import arguments
from pggan_tf.data import pixels
from pggan_tf.errors import UserError, explain_out_of_memory, nearest
from pggan_tf.metrics import evaluation


@dataclasses.dataclass(frozen=True)
class Evaluation(evaluation.Evaluation):
    """Result of `evaluate`. `result["swd"]` is the value of a metric; print shows a table."""

    title: str = ""  # what was compared with what

    def __getitem__(self, name: str) -> float:
        """Return the value of a metric, by its name 'fid' or its full name 'fid[random]'."""
        for full, figure in self.figures.items():
            if name in (full, metrics.strip_features(full)):
                return figure.value
        raise UserError(f"{name}: was not measured; {nearest(name, self.figures)}")

    def __contains__(self, name: str) -> bool:
        """Tell whether a metric was measured, by its name or its full name."""
        return any(name in (full, metrics.strip_features(full)) for full in self.figures)

    def __iter__(self):
        """Iterate over the full names of the metrics."""
        return iter(self.figures)

    def __str__(self) -> str:
        """Return the table of all metrics, the features and the notes as text."""
        from rich.console import Console

        out = io.StringIO()
        # Notebooks ask for colours, which would be codes in the text.
        console = Console(file=out, force_jupyter=False, force_terminal=False, highlight=False, markup=False, width=120)
        console.print(self.table(), soft_wrap=True)
        return "\n".join([out.getvalue().rstrip(), *self.list_lines()])

    def table(self):
        """Return a `rich.table.Table` with a row for each metric."""
        from rich.table import Table

        def write(figure: metrics.Figure) -> str:
            return f"{figure.value:,.4g}" + (f" ± {figure.spread:.3g}" if figure.spread is not None else "")

        table = Table(title=self.title, title_justify="left", box=None, pad_edge=False)
        for heading in ("metric", "B", "floor", "unit", "better", "images"):
            if heading != "floor" or self.floors:
                table.add_column(heading, justify="right" if heading in ("B", "floor", "images") else "left")
        for name, figure in self.figures.items():
            metric = metrics.METRICS[metrics.strip_features(name)]
            floor = [write(self.floors[name]) if name in self.floors else ""] if self.floors else []
            table.add_row(name, write(figure), *floor, metric.unit, metric.better, f"{figure.images:,}")
            for part, value in figure.parts.items():
                floor = [f"{self.floors[name].parts[part]:,.4g}"] if self.floors else []
                table.add_row(f"  {part}", f"{value:,.4g}", *floor)
        return table

    def list_lines(self) -> list[str]:
        """Return lines that belong below the table: the features used, notes and caveats."""
        lines = []
        if self.features:
            lines.append(f"features: {self.features.name}, sha256 {self.features.key[:16]}")
        names_by_caveat: dict[str, list[str]] = {}
        for name, figure in self.figures.items():
            for caveat in figure.caveats:
                names_by_caveat.setdefault(caveat, []).append(name)
        caveats = [f"{', '.join(names)}: {caveat}" for caveat, names in names_by_caveat.items()]
        return lines + [f"note: {line}" for line in [*self.notes, *caveats]]

    def to_dict(self) -> dict:
        """Return the result as a dict that JSON can store.

        Empty fields of a metric are left out, and infinite values become None.

        Returns:
            dict with the keys resolution, images, features, metrics (name of a metric -> dict with
            its value, unit and so on) and notes.
        """

        def convert(figure: metrics.Figure) -> dict:
            out = {k: v for k, v in dataclasses.asdict(figure).items() if v not in (None, {}, ())}
            return out | ({"value": None} if abs(figure.value) == float("inf") else {})

        figures = {}
        for name, figure in self.figures.items():
            metric = metrics.METRICS[metrics.strip_features(name)]
            figures[name] = convert(figure) | {"unit": metric.unit, "better": metric.better}
            if self.floors:
                figures[name]["floor"] = convert(self.floors[name])
        return {
            "resolution": self.resolution,
            "images": self.images,
            "features": {"name": self.features.name, "sha256": self.features.key} if self.features else None,
            "metrics": figures,
            "notes": list(self.notes),
        }

    def _repr_html_(self) -> str:
        """Return the table as HTML for a notebook."""
        import html

        return f"<pre>{html.escape(str(self))}</pre>"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of an evaluation."""

    features: str = "inception"  # inception, random, a name of keras.applications, or a .keras file
    inception_weights: str | None = None  # file or URL of Inception's graph; None: the published one
    images: int = 10_000  # maximum number of images of each set
    size: int | None = None  # resolution (longer side) to compare at; None: the lower one of both sets
    filter: str = "lanczos"  # filter for resizing images, one of pixels.FILTERS
    floor: bool = False  # whether to compare one half of A with the other half, too
    cache: str | None = None  # folder for prepared data and statistics; None: the default one


def evaluate(
    real,
    fake,
    metrics: Sequence[str] | str = ("fid", "kid", "swd"),
    *,
    features: str = "inception",
    images: int = 10_000,
    size: int | None = None,
    filter: str = "lanczos",
    floor: bool = False,
) -> Evaluation:
    """Measure how different a set of images is from a set of real images.

    Args:
        real: the real images, called A: a folder of photos or shards, an archive, an .npz or .npy
            file, `portraits`, `sprites`, an array uint8 [N, H, W, C], a Run or a Generator.
        fake: the images to evaluate, called B: as `real`.
        metrics: names of metrics, keys of `pggan_tf.METRICS`.
        features: network that computes the features for fid, kid, is, precision and recall:
            'inception' (downloaded once), the file of its graph (.pb), 'random', a name of
            keras.applications, or a .keras file.
        images: maximum number of images of each set.
        size: resolution in pixels to compare at (default: the lower one of both sets).
        filter: filter for resizing images, such as 'lanczos'.
        floor: also compare one half of the real images with the other half. No set can be expected
            to have better values.

    Returns:
        The values; `result["swd"]` is one of them, and a notebook shows all as a table.

    Raises:
        UserError: if a set cannot be opened, has too few images or does not fit a metric.
    """
    place = arguments.expand(features)
    graph = place if place.endswith(".pb") else None
    side = None if size is None else arguments.check_whole("size", size, 1)
    many = arguments.check_whole("images", images, 2)
    settings = Settings("inception" if graph else place, graph, many, side, filter, bool(floor))
    listed = [metrics] if isinstance(metrics, str) else list(metrics) if isinstance(metrics, Iterable) else [metrics]
    if not all(isinstance(name, str) for name in listed):
        raise UserError(f"metrics {metrics!r}: expected names of metrics, such as ['swd', 'kid'].")
    names = ",".join(listed)
    return measure(arguments.as_location(real), arguments.as_location(fake), names, settings)


@explain_out_of_memory("images are measured", "Give fewer --images or a smaller --size.")
def measure(
    a: str, b: str, names: str | Sequence[str], settings: Settings, say: Callable[[str], None] = print
) -> Evaluation:
    """Measure the images at location `b` against those at location `a`.

    Args:
        a: location of the real images.
        b: location of the images to evaluate.
        names: names of metrics, as text 'fid,swd' or one by one.
        settings: the settings.
        say: called with a line for the user, for example when data is prepared.

    Raises:
        UserError: as `evaluate`.
    """
    from pggan_tf.data.shards import find_cache_folder
    from preprocessing import image_sets

    names = metrics.parse(names if isinstance(names, str) else ",".join(names))
    images, size = settings.images, settings.size
    if images < 2:
        raise UserError(f"--images {images}: expected 2 or more.")
    if size is not None and not 4 <= size <= 1024:
        raise UserError(f"--size {size}: expected 4 to 1024.")
    if settings.filter not in pixels.FILTERS:
        raise UserError(f"--filter {settings.filter}: not known; {nearest(settings.filter, pixels.FILTERS)}")
    evaluation.check_pairs(names, any(map(image_sets.is_network, (a, b))), settings.floor)
    terminal.start_tensorflow()
    from pggan_tf.metrics import features as networks
    from pggan_tf.metrics.features import check_features

    features = None
    if metrics.needs_features(names):
        weights = settings.inception_weights or networks.INCEPTION_URL
        features = networks.load(settings.features, weights, find_cache_folder(settings.cache), say)
        check_features(names, features)
    count = images * (1 + settings.floor)
    sources = image_sets.choose_aspect([image_sets.inspect_location(location, count, say) for location in (a, b)])
    size, notes = image_sets.choose_size(sources, size, settings.filter, names)
    real, fake = (source.open(size, settings.filter, count, settings.cache, say) for source in sources)
    found = evaluation.evaluate(
        real, fake, names, images=images, features=features, floor=settings.floor, cache=settings.cache
    )
    values = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    values["notes"] = (*notes, *found.notes)
    return Evaluation(**values, title=f"B = {b} against A = {a}, {shapes.name_size(size, real.aspect)} px")
