"""`pggan project`: find the latent whose image is nearest to a photo.

A latent is the vector of random numbers that a generator turns into an image.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np

from pggan_tf import synthesis
from pggan_tf.commands import shared
from pggan_tf.data import marks, pixels, transparency
from pggan_tf.errors import UserError
from pggan_tf.files import atomic_write
from pggan_tf.metrics import psnr
from pggan_tf.runs import generators

_SHOWN = 256  # smallest side in pixels of an image in projection.png and in the video


def _read_photo(file: str, channels: int):
    """Return a photo as a Pillow image. Raise UserError if the file cannot be read as a photo.

    channels: see `decode.decode_photo`.
    """
    from pggan_tf.data import decode

    try:
        return decode.decode_photo(Path(file).read_bytes(), channels)
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}). Expected a photo.") from None
    except decode.Unreadable as error:
        raise UserError(f"{file}: {error}. Expected a photo.") from None


@click.command("project")
@click.argument("source")
@click.argument("photo")
@click.option(
    "--out", default="projection", show_default=True, help="folder for latent.npy, projection.png and projection.json"
)
@click.option("--video", help="write a video of the search to this .mp4, .gif or .webp file")
@click.option("--steps", type=click.IntRange(1), default=400, show_default=True, help="number of optimisation steps")
@click.option("--class", "class_name", help="search only images of this class")
@click.option("--stage", type=int, help="resolution to compare at, in pixels  [the highest one trained]")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="seed of the search")
@shared.no_mark
def command(source, photo, out, video, steps, class_name, stage, seed, no_mark):
    """Find the latent whose image is nearest to PHOTO.

    SOURCE is a run's folder, a generator.keras, hf://USER/NAME or portraits. The photo must resemble the
    training data: it must be cropped in the same way, with its subject in the same place.
    """
    from pggan_tf import terminal
    from pggan_tf.data import decode
    from pggan_tf.explore import video as videos
    from pggan_tf.explore.projection import project

    _read_photo(photo, 3)  # before the slow start
    film = videos.check(video) if video else None
    terminal.start_tensorflow()
    generator = generators.load_from_latents(source)
    stage = synthesis.choose_stage(generator, source, stage)
    target = decode.cut(_read_photo(photo, generator.channels), generator.shape_at(stage))
    labels = None if class_name is None else synthesis.choose_labels(generator, source, class_name, [0])
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with terminal.show_progress("steps") as progress:
        found = project(generator, target, steps, labels, seed, progress, keep_frames=film is not None)
    # Half of the picture is the photo.
    packet = marks.make_packet(None if no_mark else generators.make_mark(source, marks.CHANGED))
    with atomic_write(folder / "latent.npy") as partial, partial.open("wb") as file:
        np.save(file, found.latent[None])
    target = transparency.unpremultiply(target)  # as the images are
    triple = np.stack([target, found.start, found.image])
    pixels.save_grid(folder / "projection.png", triple, columns=3, size=_SHOWN, packet=packet)
    if film:
        frames = (pixels.tile(pixels.show(np.stack([target, f]), _SHOWN), 2) for f in found.frames)
        videos.write(film, frames, 30, packet)
        click.echo(film)
    name = generator.classes[found.label] if generator.classes else None
    if name:
        click.echo(f"class: {name} (interpolate --latents takes it by --class {name})")
    photo_start_result = transparency.flatten(triple)
    before, after = map(float, psnr.compute_each(photo_start_result[[0, 0]], photo_start_result[1:]))
    about = {
        "photo": Path(photo).name,
        "stage": stage,
        "class": name,
        "seed": seed,
        "psnr": after if after < np.inf else None,
    }
    (folder / "projection.json").write_text(json.dumps(about, indent=1) + "\n")
    click.echo(f"photo, start and result in {folder / 'projection.png'}: PSNR {after:.1f} dB, was {before:.1f} dB")
    click.echo(folder / "latent.npy")
