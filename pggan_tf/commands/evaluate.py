"""`pggan evaluate`: measure how different two sets of images are.

The sets are called A (the real images) and B (the images to evaluate). The *floor* of a metric is
its value between two halves of A. *Features* are vectors that a network computes from images;
metrics such as the FID compare them instead of pixels.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from pggan_tf import metrics
from pggan_tf.data import pixels
from pggan_tf.errors import explain_out_of_memory


class _Metrics(click.ParamType):
    """Command-line parameter type for names of metrics, separated by commas."""

    name = "a,b,…"

    def convert(self, value, param, ctx):
        """Return the names as a tuple. Raise UserError if a name is unknown."""
        return metrics.parse(value) if isinstance(value, str) else value


_ON_FEATURES, _ALONE = metrics.select("features", "logits"), metrics.select("logits", "images")


@click.command(
    "evaluate",
    help=f"""Compare the images of B with those of A, the real images.

    A and B are a run's folder, a generator.keras, hf://USER/NAME, a folder of shards, a folder of photos, a zip, tar,
    .npz or .npy file, or `portraits`. Metrics of a single set ({", ".join(_ALONE)}) are computed on B, and for --floor on A.
    """,
)
@click.argument("a")
@click.argument("b")
@click.option(
    "--metrics",
    "names",
    type=_Metrics(),
    default="fid,kid,swd",
    show_default=True,
    help=f"metrics to compute: {', '.join(metrics.METRICS)}",
)
@click.option(
    "--features",
    "features_name",
    default="inception",
    show_default=True,
    help=f"network that computes the features for {', '.join(_ON_FEATURES[:-1])} and {_ON_FEATURES[-1]}: inception, random, a name of "
    "keras.applications, or a .keras file",
)
@click.option(
    "--inception-weights",
    help="classify_image_graph_def.pb of inception-2015-12-05, or its URL, which may end in #sha256=...  [downloaded once]",
)
@click.option(
    "--images", type=click.IntRange(2), default=10_000, show_default=True, help="maximum number of images of each set"
)
@click.option(
    "--size", type=click.IntRange(4, 1024), help="resolution to compare at, in pixels  [the lower one of both sets]"
)
@click.option(
    "--filter",
    type=click.Choice(pixels.FILTERS),
    default="lanczos",
    show_default=True,
    help="filter for resizing images",
)
@click.option(
    "--floor", is_flag=True, help="also compare one half of A with the other half: B cannot be expected to score better"
)
@click.option("--json", "json_file", help="write the results to this file as JSON")
@click.option("--cache", help="folder for prepared data and statistics  [$PGGAN_CACHE, else ~/.cache/pggan-tf]")
@explain_out_of_memory("images are measured", "Give fewer --images or a smaller --size.")
def command(a, b, names, features_name, inception_weights, images, size, filter, floor, json_file, cache):
    """Compute metrics of two sets of images, print them, and write them as JSON for --json."""
    from pggan_tf import terminal
    from pggan_tf.data.shards import find_cache_folder
    from pggan_tf.metrics import evaluation, sets
    from pggan_tf.metrics import features as networks
    from preprocessing import image_sets

    evaluation.check_pairs(names, any(map(image_sets.is_network, (a, b))), floor)
    if json_file:
        pixels.check_file("--json", json_file)
    terminal.start_tensorflow()

    def say(line: str) -> None:
        click.echo(line, err=True)

    features = None
    if metrics.needs_features(names):
        weights = inception_weights or networks.INCEPTION_URL
        features = networks.load(features_name, weights, find_cache_folder(cache), say)
        sets.check_features(names, features)
    count = images * (1 + floor)
    sources = [image_sets.inspect_location(location, count, click.echo) for location in (a, b)]
    size, notes = image_sets.choose_size(sources, size, filter, names)
    real, fake = (source.open(size, filter, count, cache, say) for source in sources)
    found = evaluation.evaluate(real, fake, names, images=images, features=features, floor=floor, cache=cache)
    found = dataclasses.replace(found, notes=(*notes, *found.notes))
    _print(f"B = {b} against A = {a}, {size} px", found)
    if json_file:
        Path(json_file).write_text(json.dumps({"a": a, "b": b} | _as_json(found), indent=1) + "\n")
        click.echo(json_file)


def _print(title: str, found) -> None:
    """Print an `evaluation.Evaluation` as a table, followed by its notes."""
    from rich.console import Console

    Console(highlight=False, markup=False).print(_build_table(title, found), soft_wrap=True)
    if found.features:
        click.echo(f"features: {found.features.name}, sha256 {found.features.key[:16]}")
    names_by_caveat: dict[str, list[str]] = {}
    for name, figure in found.figures.items():
        for caveat in figure.caveats:
            names_by_caveat.setdefault(caveat, []).append(name)
    for line in [*found.notes, *(f"{', '.join(names)}: {caveat}" for caveat, names in names_by_caveat.items())]:
        click.echo(f"note: {line}")


def _build_table(title: str, found):
    """Return a `rich.table.Table` of an `evaluation.Evaluation`, with a row for each metric."""
    from rich.table import Table

    def write(figure: metrics.Figure) -> str:
        return f"{figure.value:,.4g}" + (f" ± {figure.spread:.3g}" if figure.spread is not None else "")

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("metric", "B", "floor", "unit", "better", "images"):
        if heading != "floor" or found.floors:
            table.add_column(heading, justify="right" if heading in ("B", "floor", "images") else "left")
    for name, figure in found.figures.items():
        metric = metrics.METRICS[metrics.strip_features(name)]
        floor = [write(found.floors[name]) if name in found.floors else ""] if found.floors else []
        table.add_row(name, write(figure), *floor, metric.unit, metric.better, f"{figure.images:,}")
        for part, value in figure.parts.items():
            floor = [f"{found.floors[name].parts[part]:,.4g}"] if found.floors else []
            table.add_row(f"  {part}", f"{value:,.4g}", *floor)
    return table


def _as_json(found) -> dict:
    """Convert an `evaluation.Evaluation` to a dict for JSON.

    Empty fields of a metric are left out, and infinite values become None.

    Returns:
        dict with the keys resolution, images, features, metrics (name of a metric -> dict with its
        value, unit and so on) and notes.
    """

    def convert(figure: metrics.Figure) -> dict:
        out = {k: v for k, v in dataclasses.asdict(figure).items() if v not in (None, {}, ())}
        return out | ({"value": None} if abs(figure.value) == float("inf") else {})

    figures = {}
    for name, figure in found.figures.items():
        metric = metrics.METRICS[metrics.strip_features(name)]
        figures[name] = convert(figure) | {"unit": metric.unit, "better": metric.better}
        if found.floors:
            figures[name]["floor"] = convert(found.floors[name])
    features = found.features
    return {
        "resolution": found.resolution,
        "images": found.images,
        "features": {"name": features.name, "sha256": features.key} if features else None,
        "metrics": figures,
        "notes": list(found.notes),
    }
