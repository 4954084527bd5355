"""`pggan evaluate`: measure how different two sets of images are.

The sets are called A (the real images) and B (the images to evaluate). The *floor* of a metric is
its value between two halves of A. *Features* are vectors that a network computes from images;
metrics such as the FID compare them instead of pixels.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import click

from pggan_tf import metrics
from pggan_tf.api import measuring
from pggan_tf.data import pixels
from pggan_tf.option_types import ImageCount, complete_words


class _Metrics(click.ParamType):
    """Command-line parameter type for names of metrics, separated by commas."""

    name = "a,b,…"

    def convert(self, value, param, ctx):
        """Return the names as a tuple. Raise UserError if a name is unknown."""
        return metrics.parse(value) if isinstance(value, str) else value

    def shell_complete(self, ctx, param, incomplete):
        """Return lists with one more name, for the Tab key."""
        return complete_words(metrics.METRICS, incomplete, several=True)


_ON_FEATURES, _ALONE = metrics.select("features", "logits"), metrics.select("logits", "images")


@click.command(
    "evaluate",
    help=f"""Compare the images of B with those of A, the real images.

    A and B are a run's folder, a generator.keras, hf://USER/NAME, a folder of shards, a folder of photos, a zip, tar,
    .npz or .npy file, `portraits` or `sprites`. Metrics of a single set ({", ".join(_ALONE)}) are computed on B, and for --floor on A.
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
    "--images", type=ImageCount(2), default=10_000, show_default=True, help="maximum number of images of each set"
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
def command(a, b, names, json_file, **settings):
    """Compute metrics of two sets of images, print them, and write them as JSON for --json."""
    from rich.console import Console

    if json_file:
        pixels.check_file("--json", json_file)
    chosen = measuring.Settings(settings.pop("features_name"), **settings)
    found = measuring.measure(a, b, names, chosen, functools.partial(click.echo, err=True))
    Console(highlight=False, markup=False).print(found.table(), soft_wrap=True)
    for line in found.list_lines():
        click.echo(line)
    if json_file:
        Path(json_file).write_text(json.dumps({"a": a, "b": b} | found.to_dict(), indent=1) + "\n")
        click.echo(json_file)
