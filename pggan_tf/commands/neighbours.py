"""`pggan neighbours`: show the training images that are nearest to generated samples.

This helps to find out whether the generator has copied training images.
"""

from __future__ import annotations

from pathlib import Path

import click

from pggan_tf import synthesis
from pggan_tf.commands import shared
from pggan_tf.data import pixels
from pggan_tf.runs import generators


@click.command("neighbours")
@click.argument("run")
@click.option("--out", default="neighbours.png", show_default=True, help="picture to write")
@click.option(
    "--seeds", default="0-255", show_default=True, help="seeds of the samples to compare with the training images"
)
@click.option(
    "--rows",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="number of samples to show: those nearest to a training image",
)
@click.option(
    "-k",
    "k",
    type=click.IntRange(1),
    default=6,
    show_default=True,
    help="number of training images to show for each sample",
)
@click.option("--class", "class_name", help="class of the samples  [every class in turn]")
@shared.truncation
@click.option("--features", help="features to compare, as in `pggan evaluate`  [pixels]")
@click.option("--inception-weights", help="file or URL of the graph, for --features inception  [downloaded once]")
@click.option("--data", help="folder of the run's shards, if they have been moved")
def command(run, out, seeds, rows, k, class_name, truncation, features, inception_weights, data):
    """Show the training images nearest to samples of RUN, to see whether it has copied any."""
    from pggan_tf import terminal
    from pggan_tf.data.shards import find_cache_folder
    from pggan_tf.metrics import features as networks
    from pggan_tf.report import nearest
    from pggan_tf.report.runs import read_run

    out = pixels.check_picture("--out", out)
    numbers = synthesis.parse_seeds(seeds)
    read = read_run(run)
    shards = nearest.open_training_data(read, data)
    terminal.start_tensorflow()
    generator = generators.load_from_latents(run)
    labels = synthesis.choose_labels(generator, run, class_name, numbers)
    if features:
        features = networks.load(features, inception_weights or networks.INCEPTION_URL, find_cache_folder(), click.echo)
    stage = generator.resolutions[-1]
    size = nearest.get_picture_size(generator.shape_at(stage), min(rows, len(numbers)), min(k, shards.count(stage)))
    pixels.check_size("--out", out, *size)
    sampler, mirror = synthesis.Sampler(generator), read.config.images.mirror
    found = nearest.compare_samples(
        sampler, shards, numbers, k, mirror, labels=labels, truncation=truncation, features=features,
        held_out=read.config.images.held_out,
    )  # fmt: skip
    for seed, nearest_to_it, distances in list(zip(found.seeds, found.numbers, found.distances))[:rows]:
        near = ", ".join(f"{n} ({d:.3g})" for n, d in zip(nearest_to_it, distances))
        click.echo(f"seed {seed}: training images {near}")
    click.echo(found.describe(rows))
    pixels.save(Path(out), found.draw(rows))
    click.echo(out)
