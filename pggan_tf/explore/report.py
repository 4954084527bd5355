"""`pggan report`: a run's folder -> report.html, with the pictures that its generator has to be loaded for."""

from __future__ import annotations

from pathlib import Path

import click

from pggan_tf.errors import UserError

WALK_SEEDS, WALK_STEPS = 4, 8  # keyframes and steps between two of them of each row of the strip
CHECKED, SHOWN, NEAREST = 256, 6, 5  # samples that are compared with the training images, and what is shown of them


def pictures(folder: Path, shards) -> list:
    """A walk through the latents, and the training images nearest to samples: report.Picture. shards: the run's data, or
    None where it is gone."""
    import numpy as np

    from pggan_tf import report, synthesis
    from pggan_tf.data import pixels
    from pggan_tf.explore import interpolate, neighbours

    generator = synthesis.load(folder)
    if not hasattr(generator, "latent_size"):
        return []  # it turns images into images: its grids say all
    sampler, stage = synthesis.Sampler(generator), generator.resolutions[-1]
    keys = synthesis.latents(range(3 * WALK_SEEDS), generator.latent_size).reshape(WALK_SEEDS, 3, -1)
    frames = interpolate.walk(keys, WALK_STEPS * (WALK_SEEDS - 1) // 2, loop=False)
    labels = np.repeat(np.arange(3) % max(1, len(generator.classes)), len(frames))
    z = np.swapaxes(frames, 0, 1).reshape(-1, generator.latent_size)  # a row is a walk
    strip = pixels.tile(pixels.enlarge(sampler.images(z, stage, labels=labels), 64), len(frames), edge=1)
    text = (
        "Three walks from latent to latent, on arcs. A generator that has learned a space changes smoothly on its way."
    )
    out = [report.Picture("Between two images", strip, text)]
    if shards is not None:
        config = report.read(folder).config
        found = neighbours.check(sampler, stage, shards, range(CHECKED), NEAREST, config.images.mirror)
        out.append(report.Picture("Nearest training images", found.picture(SHOWN), found.text(SHOWN)))
    return out


@click.command("report")
@click.argument("run")
@click.option("--out", help="file to write  [report.html in the run's folder]")
@click.option("--data", help="the run's shards, if they are no longer where it found them")
def command(run, out, data):
    """Writes RUN's report: one page with plan, losses, metrics, grids, a walk and the nearest training images."""
    from pggan_tf import report, terminal
    from pggan_tf.explore import neighbours

    read = report.read(run)
    made = []
    if read.ticks and (read.ended or read.parameters):
        terminal.start_tensorflow()
        try:
            shards = neighbours.training_data(read, data)
        except UserError as error:
            if data:
                raise
            shards = None
            click.echo(f"without the nearest training images: {error}", err=True)
        try:
            made = pictures(read.folder, shards)
        except (UserError, LookupError, TypeError, ValueError) as error:
            # A generator or an environment.json of another version: the rest of the report is still worth reading.
            click.echo(f"without pictures from its generator: {error}", err=True)
    if out:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
    click.echo(report.write(run, out, made))
