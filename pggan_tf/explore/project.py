"""`pggan project`: the latent whose image comes nearest to a photo.

Adam on the latent (as in Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN", appendix D: noise that
ends, a learning rate that ends), from the best of many samples, with the squared error of pixels at several scales.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from pggan_tf import synthesis
from pggan_tf.data import pixels
from pggan_tf.errors import UserError
from pggan_tf.metrics import psnr

STARTS = 1024  # samples that the nearest ones of are started from
TOGETHER = 4  # latents that are optimised side by side; the best one counts
RATE, NOISE = 0.1, 0.05  # learning rate of Adam, deviation of the noise, both at their largest
NORM = 0.01  # weight of the latent's squared length, per number, being 1
_FRAMES = 120  # of a video
_SHOWN = 256  # pixels at least, of an image in pictures and videos


@dataclass(frozen=True)
class Projection:
    """latent: [L]; label: its class; start, image: uint8 [R, R, C], before and after; frames: images on the way."""

    latent: np.ndarray
    label: int
    start: np.ndarray
    image: np.ndarray
    frames: list[np.ndarray]


def _error(images, target):
    """float -1..1 [N, R, R, C] and [1, R, R, C] -> [N]: mean over scales R, R/2, ... of the mean squared difference.

    The coarse scales know where to go when the details are still elsewhere. Beyond black and white there is no difference.
    """
    import tensorflow as tf

    beyond = (tf.abs(target) >= 1) & (images * target >= 1)
    difference, scales = tf.where(beyond, 0.0, images - target), []
    while True:
        scales.append(tf.reduce_mean(tf.square(difference), axis=(1, 2, 3)))
        if difference.shape[1] % 2 or difference.shape[1] <= 4:
            return tf.add_n(scales) / len(scales)
        difference = tf.nn.avg_pool2d(difference, 2, 2, "VALID")


def project(
    generator,
    target: np.ndarray,
    steps: int,
    labels: np.ndarray | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    keep_frames: bool = False,
) -> Projection:
    """target: uint8 [R, R, C], R one of the generator's resolutions. labels: classes to try, all by default."""
    import tensorflow as tf

    size, length = len(target), generator.latent_size
    goal = tf.constant(pixels.to_float(target)[None])
    classes = np.arange(max(1, len(generator.classes))) if labels is None else labels

    @tf.function(autograph=False)
    def images_of(z, y):
        return generator(z, resolution=size, **({"labels": y} if generator.classes else {}))

    z = synthesis.latents(range(seed, seed + STARTS), length)
    y = np.resize(classes, STARTS).astype(np.int64)
    errors = np.concatenate([
        _error(images_of(tf.constant(z[i : i + 32]), tf.constant(y[i : i + 32])), goal).numpy()
        for i in range(0, STARTS, 32)
    ])  # fmt: skip
    best = np.argsort(errors, kind="stable")[:TOGETHER]
    latents, chosen = tf.Variable(z[best]), tf.constant(y[best])
    first, second = tf.Variable(tf.zeros_like(latents)), tf.Variable(tf.zeros_like(latents))

    @tf.function(autograph=False)
    def step(number):
        t = (number + 0.5) / steps
        # The rate rises over the first twentieth and falls along a cosine over the last quarter; the noise is gone by three quarters.
        rate = RATE * tf.minimum(t / 0.05, 1) * (0.5 - 0.5 * tf.cos(np.pi * tf.minimum((1 - t) / 0.25, 1)))
        noise = NOISE * tf.square(tf.maximum(0.0, 1 - t / 0.75))
        random = tf.random.stateless_normal(latents.shape, [seed, tf.cast(number, tf.int32)])
        with tf.GradientTape() as tape:
            images = images_of(latents + noise * random, chosen)
            norm = tf.square(tf.reduce_mean(tf.square(latents), axis=1) - 1)
            loss = tf.reduce_sum(_error(images, goal) + NORM * norm)
        gradient = tape.gradient(loss, latents)
        first.assign(0.9 * first + 0.1 * gradient)
        second.assign(0.999 * second + 0.001 * tf.square(gradient))
        n = number + 1
        latents.assign_sub(rate * (first / (1 - 0.9**n)) / (tf.sqrt(second / (1 - 0.999**n)) + 1e-8))

    frames = []
    for number in range(steps):
        if keep_frames and number * _FRAMES // steps != (number - 1) * _FRAMES // steps:
            frames.append(pixels.to_uint8(images_of(latents, chosen).numpy()))
        step(tf.constant(number, tf.float32))
        progress(number + 1, steps)
    images = images_of(latents, chosen)
    winner = int(np.argmin(_error(images, goal).numpy()))
    start = images_of(tf.constant(z[best]), chosen).numpy()[winner]
    last = pixels.to_uint8(images.numpy()[winner])
    way = [*(f[winner] for f in frames), last] if keep_frames else []
    return Projection(latents.numpy()[winner], int(y[best][winner]), pixels.to_uint8(start), last, way)


def _photo(file: str):
    """A Pillow image."""
    from pggan_tf.data import decode

    try:
        return decode.photo(Path(file).read_bytes())
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
@click.option("--video", help="the way there, as .mp4, .gif or .webp")
@click.option("--steps", type=click.IntRange(1), default=400, show_default=True, help="steps of the optimiser")
@click.option("--class", "class_name", help="look only among images of this class")
@click.option("--stage", type=int, help="resolution to compare at  [the last that was trained]")
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="seed of starts and noise"
)
def command(source, photo, out, video, steps, class_name, stage, seed):
    """Finds the latent whose image of SOURCE, a run's folder or a generator.keras, comes nearest to PHOTO.

    The photo has to look like the training data: cut as it was, its subject at the same place.
    """
    from pggan_tf import terminal
    from pggan_tf.data import decode
    from pggan_tf.explore import video as videos

    picture = _photo(photo)
    film = videos.check(video) if video else None
    terminal.start_tensorflow()
    generator = synthesis.load_from_latents(source)
    stage = synthesis.choose_stage(generator, source, stage)
    target = decode.square(picture.convert("L") if generator.channels == 1 else picture, stage)
    labels = None if class_name is None else synthesis.choose_labels(generator, source, class_name, [0])
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with terminal.show_progress("steps") as progress:
        found = project(generator, target, steps, labels, seed, progress, keep_frames=film is not None)
    np.save(folder / "latent.npy", found.latent[None])
    pixels.grid(folder / "projection.png", np.stack([target, found.start, found.image]), columns=3, size=_SHOWN)
    if film:
        shown = (pixels.tile(pixels.enlarge(np.stack([target, f]), _SHOWN), 2) for f in found.frames)
        videos.write(film, shown, 30)
        click.echo(film)
    name = generator.classes[found.label] if generator.classes else None
    if name:
        click.echo(f"class: {name} (interpolate --latents takes it by --class {name})")
    before, after = map(float, psnr.values(np.stack([target, target]), np.stack([found.start, found.image])))
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
