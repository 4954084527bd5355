"""`pggan interpolate`: a video of walks from latent to latent, on arcs."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from pggan_tf import synthesis
from pggan_tf.data import pixels
from pggan_tf.errors import UserError

_SHOWN = 128  # pixels at least, of an image in the video
_AT_ONCE = 32  # frames made together


def walk(keys: np.ndarray, frames: int, loop: bool) -> np.ndarray:
    """Keyframes [K, N, L] -> latents [frames, N, L] that visit them at even intervals.

    loop: back to the first, whose place the frame after the last would be; otherwise the last frame is the last keyframe.
    """
    if loop:
        keys = np.concatenate([keys, keys[:1]])
    spans = len(keys) - 1
    if not spans:
        return np.repeat(keys, frames, axis=0)
    places = np.linspace(0, spans, frames, endpoint=not loop)
    first = np.minimum(places.astype(int), spans - 1)
    out = np.empty((frames, *keys.shape[1:]), np.float32)
    for i in range(spans):
        out[first == i] = synthesis.slerp(keys[i], keys[i + 1], places[first == i] - i)
    return out


class _Grid(click.ParamType):
    """'3x2' -> (columns, rows)."""

    name = "COLUMNSxROWS"

    def convert(self, value, param, ctx):
        try:
            columns, rows = map(int, value.lower().split("x"))
            if not 1 <= columns * rows <= 1024 or columns < 1:
                raise ValueError
        except ValueError:
            raise UserError(f"--grid {value}: expected columns x rows, such as 3x2.") from None
        return columns, rows


@click.command("interpolate")
@click.argument("source")
@click.option("--video", required=True, help="file to write: .mp4 (H.264), .gif or .webp")
@click.option("--seeds", help="keyframes, dealt to the places of the grid in turn  [four for each, from 0 on]")
@click.option("--latents", "latents_file", help="keyframes from a .npy file [N, L] instead, such as of `pggan project`")
@click.option("--grid", type=_Grid(), default="1x1", show_default=True, help="walks side by side")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=8.0, show_default=True)
@click.option("--fps", type=click.IntRange(1, 120), default=30, show_default=True, help="frames per second")
@click.option("--loop", is_flag=True, help="go back to the first keyframe, so that the video can repeat without a jump")
@click.option("--class", "class_name", help="images of this class  [every class in turn]")
@click.option("--stage", type=int, help="resolution to generate at  [the last that was trained]")
@click.option(
    "--truncation", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="below 1: more typical images"
)
def command(source, video, seeds, latents_file, grid, seconds, fps, loop, class_name, stage, truncation):
    """A video of walks between images of SOURCE, a run's folder or a generator.keras."""
    from pggan_tf import terminal
    from pggan_tf.explore import video as videos

    if seeds and latents_file:
        raise UserError("--seeds and --latents: give one of them.")
    path = videos.check(video, fps)
    columns, rows = grid
    places = columns * rows
    numbers = synthesis.parse_seeds(seeds) if seeds else list(range(4 * places))
    keyframes = read_latents(latents_file) if latents_file else None
    if (count := len(numbers if keyframes is None else keyframes)) < places:
        raise UserError(f"--grid {columns}x{rows}: {count} keyframes are too few for {places} places.")
    terminal.start_tensorflow()
    generator = synthesis.load_from_latents(source)
    stage = synthesis.choose_stage(generator, source, stage)
    side = pixels.enlarged_side(stage, _SHOWN)
    videos.check_size(path, *pixels.Sheet(places, columns).size(side, side))
    latents = synthesis.latents(numbers, generator.latent_size) if keyframes is None else keyframes
    if latents.shape[1] != generator.latent_size:
        raise UserError(
            f"--latents {latents_file}: {latents.shape[1]} numbers each; {source} takes {generator.latent_size}."
        )
    if left := len(latents) % places:
        click.echo(f"{left} of {len(latents)} keyframes are left out: {places} places take as many each", err=True)
    keys = latents[: len(latents) // places * places].reshape(-1, places, generator.latent_size)
    labels = synthesis.choose_labels(generator, source, class_name, range(places))
    frames = walk(keys, max(2, round(seconds * fps)), loop)
    sampler = synthesis.Sampler(generator)

    def pictures(progress):
        together = max(1, _AT_ONCE // places)
        for i in range(0, len(frames), together):
            part = frames[i : i + together]
            images = sampler.images(
                part.reshape(-1, generator.latent_size), stage, truncation=truncation, labels=np.tile(labels, len(part))
            )
            for cells in pixels.enlarge(images, _SHOWN).reshape(len(part), places, side, side, -1):
                yield pixels.tile(cells, columns)
            progress(min(i + together, len(frames)), len(frames))

    with terminal.show_progress("frames") as progress:
        videos.write(path, pictures(progress), fps)
    click.echo(path)


def read_latents(file: str | Path) -> np.ndarray:
    """float32 [N, L] from a .npy file, such as `pggan project` writes."""
    try:
        latents = np.load(file, allow_pickle=False)
    except OSError as error:
        raise UserError(f"--latents {file}: cannot be read ({error.strerror or error}).") from None
    except ValueError as error:
        raise UserError(f"--latents {file}: not a .npy of numbers ({error}).") from None
    if (
        not isinstance(latents, np.ndarray)
        or latents.ndim != 2
        or latents.dtype.kind != "f"
        or not np.isfinite(latents).all()
        or not np.abs(latents).max(axis=1, initial=0).all()
    ):
        raise UserError(f"--latents {file}: expected a .npy of finite floats [N, L], none of them all zeros.")
    return latents.astype(np.float32)
