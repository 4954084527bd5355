"""`pggan generate`: images from a trained generator."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from pggan_tf import terminal
from pggan_tf.data import pixels
from pggan_tf.errors import UserError, explain_out_of_memory


@click.command("generate")
@click.argument("source")
@click.option("--seeds", help="which images, such as 0-63 or 1,5,7-9  [0-63]")
@click.option("--count", type=click.IntRange(1), help="so many images, from seed 0 on")
@click.option("--grid", help="write all of them as one picture")
@click.option("--npz", help="write all of them as uint8 'images' [N,H,W,C]")
@click.option("--dir", "folder", help="write each as a .png into this folder")
@click.option("--class", "class_name", help="images of this class, from a conditional generator  [every class in turn]")
@click.option("--negative", is_flag=True, help="light and dark exchanged: 1 - G(z), as the gray horses were shown")
@click.option("--recolor", help="run that colours the gray images: --recipe recolor, or colorize")
@click.option("--upscale", help="run that enlarges the images: --recipe srgan")
@click.option("--stage", type=int, help="resolution to generate at  [the last that was trained]")
@click.option(
    "--truncation",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="below 1: less varied, more typical images",
)
@explain_out_of_memory(
    "images are made", "Give a smaller --stage, or fewer by --count or --seeds: --grid holds all of them at once."
)
def command(source, seeds, count, grid, npz, folder, class_name, negative, recolor, upscale, stage, truncation):
    """Images out of SOURCE, a run's folder or a generator.keras."""
    if seeds and count:
        raise UserError("--seeds and --count: give one of them.")
    if not (grid or npz or folder):
        raise UserError("nowhere to write: give --grid FILE, --npz FILE or --dir FOLDER.")
    from pggan_tf import synthesis
    from pggan_tf.convert import conversion

    if npz and not npz.endswith(".npz"):
        raise UserError(f"--npz {npz}: expected a name that ends in .npz.")
    if count and count > synthesis.MOST_SEEDS:
        raise UserError(f"--count {count}: expected {synthesis.MOST_SEEDS:,} at most. Others by --seeds FIRST-LAST.")
    numbers = synthesis.parse_seeds(seeds) if seeds else list(range(count or 64))
    if grid:
        pixels.check_picture("--grid", grid)
    if npz:
        pixels.check_file("--npz", npz)
    if folder:
        pixels.check_file("--dir", _numbered(folder, numbers[0]))
    terminal.start_tensorflow()
    generator = synthesis.load_from_latents(source)
    stage = synthesis.choose_stage(generator, source, stage)
    labels = synthesis.choose_labels(generator, source, class_name, numbers)
    changes, scale = [], 1
    if recolor:
        from pggan_tf.convert import colorize

        changes.append(colorize.colorizer(conversion.network_for(recolor, colorize.TASKS, "colorize")))
    if upscale:
        from pggan_tf.convert import upscale as upscaling

        network = conversion.network_for(upscale, upscaling.TASKS, "upscale")
        changes.append(upscaling.upscaler(network))
        scale = network.scale
    sheet = pixels.Sheet(len(numbers), edge=1)
    if grid:
        side = pixels.enlarged_side(stage * scale, pixels.VISIBLE)
        pixels.check_size("--grid", grid, *sheet.size(side, side))
    done = 0
    try:  # part by part: what is kept need not fit into memory, and a folder has what was made if the rest is not
        with (
            pixels.npz(npz, len(numbers)) if npz else contextlib.nullcontext() as keep,
            terminal.show_progress() as progress,
        ):
            for images in synthesis.Sampler(generator).batches(numbers, labels, stage, truncation):
                if negative:
                    images = 255 - images
                for change in changes:
                    images = conversion.changed(images, change)
                if grid:
                    sheet.add(pixels.enlarge(images, pixels.VISIBLE))
                if npz:
                    keep(images)
                if folder:
                    for number, image in zip(numbers[done : done + len(images)], images):
                        pixels.save(_numbered(folder, number), image)
                done += len(images)
                progress(done, len(numbers))
        if grid:
            pixels.save(grid, sheet.picture)
    except OSError as error:
        raise UserError(
            f"{error.filename or npz}: cannot be written ({error.strerror or error}). Make room, or choose another place."
        ) from None
    for place in filter(None, (grid, npz, folder)):
        click.echo(place)


def _numbered(folder: str, number: int) -> Path:
    return Path(folder) / f"{number:06d}.png"
