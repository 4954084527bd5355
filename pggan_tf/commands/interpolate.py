"""`pggan interpolate`: make a video of interpolations between latents.

A latent is the vector of random numbers that a generator turns into an image. Keyframes are the
images whose latents are given; the frames between them are interpolated.
"""

from __future__ import annotations

import click

from pggan_tf import synthesis
from pggan_tf.commands import shared
from pggan_tf.data import credentials, marks
from pggan_tf.errors import UserError
from pggan_tf.option_types import FloatRange
from pggan_tf.runs import generators


class _Grid(click.ParamType):
    """Command-line parameter type for columns and rows, such as '3x2'."""

    name = "COLUMNSxROWS"

    def convert(self, value, param, ctx):
        """Return (columns, rows) as integers. Raise UserError if the text is not like '3x2'."""
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
@click.option(
    "--seeds", help="seeds of the keyframes, assigned to the places of the grid in turn  [four per place, from 0 on]"
)
@click.option(
    "--latents",
    "latents_file",
    help=".npy file [N, L] of latents to use as keyframes instead, such as one written by `pggan project`",
)
@click.option(
    "--grid",
    type=_Grid(),
    default="1x1",
    show_default=True,
    help="columns and rows of interpolations to show side by side",
)
@click.option(
    "--seconds", type=FloatRange(0, 3600, min_open=True), default=8.0, show_default=True, help="length of the video"
)
@click.option("--fps", type=click.IntRange(1, 120), default=30, show_default=True, help="frames per second")
@click.option("--loop", is_flag=True, help="return to the first keyframe, so that the video repeats without a jump")
@click.option("--class", "class_name", help="class of the images  [every class in turn]")
@shared.stage
@shared.truncation
@shared.no_mark
@shared.sign
def command(source, video, seeds, latents_file, grid, seconds, fps, loop, class_name, stage, truncation, no_mark, sign):
    """Make a video that interpolates between images of SOURCE.

    SOURCE is a run's folder, a generator.keras, hf://USER/NAME or portraits.
    """
    from pggan_tf import terminal
    from pggan_tf.explore import video as videos
    from pggan_tf.explore import walks

    if seeds is not None and latents_file:
        raise UserError("--seeds and --latents: give one of them.")
    path = videos.check(video, fps)
    signer = credentials.open_signer(sign, not no_mark)
    columns, rows = grid
    places = columns * rows
    numbers = list(range(4 * places)) if seeds is None else synthesis.parse_seeds(seeds)
    latents = walks.read_latents(latents_file) if latents_file else None
    if (count := len(numbers if latents is None else latents)) < places:
        raise UserError(f"--grid {columns}x{rows}: {count} keyframes are too few for {places} places.")
    terminal.start_tensorflow()
    generator = generators.load_from_latents(source)
    stage = synthesis.choose_stage(generator, source, stage)
    videos.check_size(path, *walks.get_frame_size(generator.shape_at(stage), places, columns))
    if latents is None:
        latents = synthesis.latents(numbers, generator.latent_size)
    if latents.shape[1] != generator.latent_size:
        raise UserError(
            f"--latents {latents_file}: {latents.shape[1]} numbers each; {source} takes {generator.latent_size}."
        )
    if left := len(latents) % places:
        click.echo(f"{left} of {len(latents)} keyframes are left out: {places} places take as many each", err=True)
    keys = latents[: len(latents) // places * places].reshape(-1, places, generator.latent_size)
    labels = synthesis.choose_labels(generator, source, class_name, range(places))
    mark = None if no_mark else generators.make_mark(source, marks.GENERATED)
    frames = walks.interpolate(keys, max(2, round(seconds * fps)), loop)
    with terminal.show_progress("frames") as progress:
        drawn = walks.draw_frames(
            synthesis.Sampler(generator), frames, stage, columns, labels, truncation=truncation, progress=progress
        )
        videos.write(path, drawn, fps, marks.make_packet(mark))
    if signer:
        signer.sign(path, marks.GENERATED)
    click.echo(path)
