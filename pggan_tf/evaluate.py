"""`pggan evaluate`: how far one set of images is from another, in the figures that are usual."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from pathlib import Path

import click

from pggan_tf import metrics as tables
from pggan_tf.data import pixels
from pggan_tf.errors import UserError, explain_out_of_memory
from pggan_tf.runs import keras_files

_LOOKED_AT = 64  # pictures of a folder that its size is taken from
_BY_HEADER = (
    "JPEG",
    "PNG",
    "WEBP",
    "BMP",
    "GIF",
    "AVIF",
    "JPEG2000",
)  # kinds that tell size and colours before all else
_GRAY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")  # Pillow's modes without colour


class _Metrics(click.ParamType):
    name = "a,b,…"

    def convert(self, value, param, ctx):
        return tables.parse(value) if isinstance(value, str) else value


def _is_run(location: str) -> bool:
    folder = Path(location)
    if location.endswith(".keras") or (folder / keras_files.GENERATOR).is_file():
        return True
    return keras_files.is_run(folder) or keras_files.is_model(folder) or keras_files.is_exported(folder)


def _shape(data: bytes) -> tuple[int, int, int]:
    """(height, width, 1 where it is gray and 3 where not) of a picture's file. Raises Unreadable."""
    from PIL import Image

    from pggan_tf.data import decoders

    with contextlib.suppress(Exception), Image.open(io.BytesIO(data), formats=_BY_HEADER) as picture:
        return (*picture.size[::-1], 1 if picture.mode in _GRAY else 3)
    with decoders.opened(data) as pictures:  # other kinds do not say it before they are decoded
        height, width, channels = pictures.picture().planes().shape
        return height, width, 1 if channels < 3 else 3


def _shapes(location: str, count: int) -> list[tuple[int, int, int]]:
    """`_shape` of some of a source's pictures; none where they are drawn at any size."""
    import numpy as np

    from pggan_tf.errors import Unreadable
    from preprocessing import sources

    if location in sources.WORDS:
        return []
    source = sources.open_source(location, count=count)
    shapes, looked_at = [], 1 if source.alike else _LOOKED_AT
    for number in np.unique(np.linspace(0, max(0, len(source) - 1), looked_at).astype(int)):
        for item in source.items(int(number), int(number) + 1):
            with contextlib.suppress(Unreadable):  # which pictures cannot be used is said where they are read
                data = item.data() if callable(item.data) else item.data
                if isinstance(data, np.ndarray):
                    shapes.append((*data.shape[:2], 1 if data.ndim == 2 or data.shape[2] == 1 else 3))
                elif isinstance(data, bytes):
                    shapes.append(_shape(data))
    if not shapes:
        raise UserError(f"{location}: none of its pictures can be read.")
    return shapes


@dataclasses.dataclass
class _Set:
    """One of the two: location, and what is known of it before any image is read. side: its own size, or None; of pictures, what
    all but a few have. shapes: of some of them."""

    location: str
    side: int | None
    generator: object = None
    held: dict | None = None
    shapes: list = dataclasses.field(default_factory=list)

    @classmethod
    def look(cls, location: str, count: int) -> _Set:
        from preprocessing import cache as cached

        if _is_run(location):
            from pggan_tf import synthesis, tasks

            generator = synthesis.load(location, click.echo)
            if tasks.task_of(generator).from_images:
                raise UserError(
                    f"{location}: its network makes images of images ({generator.task}). Save what it makes of some, and give that folder."
                )
            return cls(location, generator.resolutions[-1], generator=generator)
        if found := cached.shards_at(location):
            held = found[1]
            if held["channels"] == 6:
                raise UserError(
                    f"{location}: holds pairs of images, which cannot be measured as one. Give a folder of one kind."
                )
            return cls(location, held["resolutions"][-1], held=held)
        shapes = _shapes(location, count)
        sides = sorted(min(shape[:2]) for shape in shapes)
        return cls(location, sides[len(sides) // 20] if sides else None, shapes=shapes)

    @property
    def alike(self) -> bool:
        """Whether its pictures are squares of one size."""
        return all(shape[:2] == (self.side, self.side) for shape in self.shapes)

    @property
    def channels(self) -> int:
        if self.held:
            return self.held["channels"]
        return 1 if self.shapes and all(shape[2] == 1 for shape in self.shapes) else 3

    def open(self, size: int, filter: str, cache: str | None, count: int, say):
        """-> (sets.Images of `size` pixels, how many of the source's pictures could not be used)."""
        from pggan_tf import synthesis, terminal
        from pggan_tf.metrics import sets
        from preprocessing import cache as cached

        if self.generator:
            images, skipped = sets.of_sampler(synthesis.Sampler(self.generator), self.side, name=self.location), 0
        else:
            stored = self.held["resolutions"] if self.held else (size,)
            native = size if any(r % size == 0 for r in stored) else stored[-1]
            with terminal.show_progress() as progress:
                shards = cached.shards_for(
                    self.location,
                    cache,
                    size,
                    (native,),
                    filter=filter,
                    channels=self.channels,
                    upscale_small=bool(self.side and self.side < size),
                    count=count,
                    say=say,
                    progress=progress,
                )
            images, skipped = sets.of_shards(shards, native, name=self.location), shards.manifest.skipped
        if images.resolution != size:
            images = sets.resized(images, size, filter)
        return images, skipped

    def how_resized(self, size: int, filter: str) -> str | None:
        if not self.alike:
            low, high = (f([side for shape in self.shapes for side in shape[:2]]) for f in (min, max))
            smaller = "" if self.side < size else "; smaller ones are left out"
            return f"{self.location}: pictures of {low} to {high} pixels a side, cut to squares and brought to {size} px by {filter}{smaller}"
        if self.side in (None, size):
            return None
        if self.held and any(r % size == 0 for r in self.held["resolutions"]):
            return f"{self.location}: {self.side} px, stored or reduced to {size} px by means of blocks"
        return f"{self.location}: {self.side} px, brought to {size} px by {filter}"


def _table(title: str, figures: dict, floors: dict) -> None:
    from rich.console import Console
    from rich.table import Table

    def number(figure, value=None):
        value = figure.value if value is None else value
        spread = f" ± {figure.spread:.3g}" if figure.spread is not None else ""
        return f"{value:,.4g}{spread}"

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("metric", "B", "floor", "unit", "better", "images"):
        if heading != "floor" or floors:
            table.add_column(heading, justify="right" if heading in ("B", "floor", "images") else "left")
    for name, figure in figures.items():
        metric = tables.METRICS[name.partition("[")[0]]
        floor = [number(floors[name]) if name in floors else ""] if floors else []
        table.add_row(name, number(figure), *floor, metric.unit, metric.better, f"{figure.images:,}")
        for part, value in figure.parts.items():
            floor = [f"{floors[name].parts[part]:,.4g}"] if floors else []
            table.add_row(f"  {part}", f"{value:,.4g}", *floor)
    console = Console(highlight=False, markup=False)
    console.print(table, soft_wrap=True)


def _as_json(figure) -> dict:
    out = {k: v for k, v in dataclasses.asdict(figure).items() if v not in (None, {}, ())}
    return out | ({"value": None} if abs(figure.value) == float("inf") else {})


@click.command("evaluate")
@click.argument("a")
@click.argument("b")
@click.option(
    "--metrics",
    "names",
    type=_Metrics(),
    default="fid,kid,swd",
    show_default=True,
    help=f"which: {', '.join(tables.METRICS)}",
)
@click.option(
    "--features",
    "features_name",
    default="inception",
    show_default=True,
    help="what fid, kid, is, precision and recall see: inception, random, a name of keras.applications, or a .keras file",
)
@click.option(
    "--inception-weights",
    help="classify_image_graph_def.pb of inception-2015-12-05, or an address of it (#sha256=... may follow)  [fetched once]",
)
@click.option("--images", type=click.IntRange(2), default=10_000, show_default=True, help="of each set, at most")
@click.option("--size", type=click.IntRange(4, 1024), help="pixels to compare at  [the smaller of the two sets']")
@click.option(
    "--filter",
    type=click.Choice(pixels.FILTERS),
    default="lanczos",
    show_default=True,
    help="filter that images are resized with",
)
@click.option(
    "--floor", is_flag=True, help="also measure one half of A against the other: what no B can be expected to beat"
)
@click.option("--json", "json_file", help="write the figures to this file")
@click.option("--cache", help="folder for prepared data and statistics  [$PGGAN_CACHE, else ~/.cache/pggan-tf]")
@explain_out_of_memory("images are measured", "Give fewer --images or a smaller --size.")
def command(a, b, names, features_name, inception_weights, images, size, filter, floor, json_file, cache):
    """Measures the images of B against those of A, the real ones.

    Each is a run's folder or a generator.keras, a folder of shards, a folder of photos, a zip, tar, .npz or .npy, or
    `portraits`. Metrics of one set alone (is, ms-ssim, colorfulness) are about B, and as --floor about A.
    """
    from pggan_tf import terminal

    pairs = [n for n in names if tables.METRICS[n].takes == "pairs"]
    if pairs and (_is_run(a) or _is_run(b)):
        raise UserError(
            f"--metrics {pairs[0]}: compares each image of B with the same one of A; a generator makes others."
        )
    if pairs and floor:
        raise UserError(f"--metrics {pairs[0]} with --floor: images of one set do not belong together in pairs.")
    if json_file:
        pixels.check_file("--json", json_file)
    terminal.start_tensorflow()
    from pggan_tf.data.shards import cache_folder
    from pggan_tf.metrics import features as sources_of_features
    from pggan_tf.metrics import sets

    say, root = lambda line: click.echo(line, err=True), cache_folder(cache)
    features = None
    if tables.needs_features(names):
        weights = inception_weights or sources_of_features.INCEPTION_URL
        features = sources_of_features.load(features_name, weights, root, say)
        sets.check(names, features)
    both = [_Set.look(location, images * (1 + floor)) for location in (a, b)]
    if pairs and not size and (odd := next((s for s in both if not s.alike), None)):
        raise UserError(
            f"--metrics {pairs[0]}: the pictures of {odd.location} are not squares of one size, and cutting and resizing them changes "
            "the figure. Give --size to have that done, or measure squares."
        )
    size = size or min((s.side for s in both if s.side), default=64)
    notes = [note for s in both if (note := s.how_resized(size, filter))]
    (real, skipped), (fake, also_skipped) = (s.open(size, filter, cache, images * (1 + floor), say) for s in both)
    if real.channels != fake.channels:
        notes.append("one set is gray: both are compared as gray")
        real, fake = sets.grayed(real), sets.grayed(fake)
    count = min(images, fake.count or images, (real.count or 2 * images) // (1 + floor))
    if count < 2:
        raise UserError(
            f"{a} and {b}: only {count} image of each can be compared. Give at least 2{' (4 with --floor)' * floor}."
        )
    if pairs and (real.count != fake.count or skipped or also_skipped):
        raise UserError(
            f"--metrics {pairs[0]}: A has {real.count:,} images ({skipped} could not be used), B has {fake.count:,} ({also_skipped}). "
            "Expected as many in both, in the same order."
        )
    if real.content and real.content == fake.content or not real.content and Path(a).resolve() == Path(b).resolve():
        notes.append("A and B are the same images")
    one = sets.collect(names, real, 0, count, features, root, alone=False)
    other = sets.collect(names, fake, 0, count, features, root)
    other.values |= sets.collect_pairs(names, real, fake, 0, count)
    figures, floors = sets.compare(names, one, other, features), {}
    if floor:
        half = sets.collect(names, real, count, 2 * count, features, root)
        floors = sets.compare(names, one, half, features)
    _table(f"B = {b} against A = {a}, {size} px", figures, floors)
    if features:
        click.echo(f"features: {features.name}, sha256 {features.key[:16]}")
    caveats = {}
    for name, figure in figures.items():
        for caveat in figure.caveats:
            caveats.setdefault(caveat, []).append(name)
    for line in [*notes, *(f"{', '.join(of)}: {caveat}" for caveat, of in caveats.items())]:
        click.echo(f"note: {line}")
    if json_file:
        content = {
            "a": a,
            "b": b,
            "resolution": size,
            "images": count,
            "features": {"name": features.name, "sha256": features.key} if features else None,
            "metrics": {
                name: _as_json(figure)
                | {key: getattr(tables.METRICS[name.partition("[")[0]], key) for key in ("unit", "better")}
                | ({"floor": _as_json(floors[name])} if floors else {})
                for name, figure in figures.items()
            },
            "notes": notes,
        }
        Path(json_file).write_text(json.dumps(content, indent=1) + "\n")
        click.echo(json_file)
