"""`pggan generate`: generate images with a trained generator."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import numpy as np

from pggan_tf import terminal
from pggan_tf.commands import shared
from pggan_tf.data import credentials, marks, pixels, transparency
from pggan_tf.errors import UserError, explain_out_of_memory
from pggan_tf.option_types import ImageCount


@click.command("generate")
@click.argument("source")
@click.option("--seeds", help="seeds of the images, such as 0-63 or 1,5,7-9  [0-63]")
@click.option("--count", type=ImageCount(1), help="number of images; their seeds start at 0")
@click.option("--grid", help="write all images to this file as one picture; a .png or .webp keeps transparency")
@click.option("--npz", help="write all images to this .npz file as 'images', uint8 [N,H,W,C]")
@click.option("--dir", "folder", help="write each image as a .png into this folder")
@click.option("--class", "class_name", help="class of the images, for a conditional generator  [every class in turn]")
@click.option("--negative", is_flag=True, help="write negatives of the images: 1 - G(z)")
@click.option("--recolor", help="run that colours the gray images, trained with --recipe recolor or colorize")
@click.option("--upscale", help="run that enlarges the images, trained with --recipe srgan")
@shared.stage
@shared.truncation
@shared.no_mark
@shared.sign
@explain_out_of_memory(
    "images are made", "Give a smaller --stage, or fewer by --count or --seeds: --grid holds all of them at once."
)
def command(
    source, seeds, count, grid, npz, folder, class_name, negative, recolor, upscale, stage, truncation, no_mark, sign
):
    """Generate images with SOURCE, a run's folder, a generator.keras, hf://USER/NAME or portraits."""
    if seeds is not None and count:
        raise UserError("--seeds and --count: give one of them.")
    if not (grid or npz or folder):
        raise UserError("nowhere to write: give --grid FILE, --npz FILE or --dir FOLDER.")
    if sign and not (grid or folder):
        raise UserError(
            "--sign: an array, as --npz writes it, cannot be signed. Give --grid FILE or --dir FOLDER, too."
        )
    from pggan_tf import synthesis, tasks
    from pggan_tf.api import Generator

    if npz and not npz.endswith(".npz"):
        raise UserError(f"--npz {npz}: expected a name that ends in .npz.")
    if count and count > synthesis.MOST_SEEDS:
        raise UserError(f"--count {count}: expected {synthesis.MOST_SEEDS:,} at most. Others by --seeds FIRST-LAST.")
    numbers = list(range(count or 64)) if seeds is None else synthesis.parse_seeds(seeds)
    outputs = Outputs(numbers, grid, npz, folder)
    outputs.signer = credentials.open_signer(sign, not no_mark)
    outputs.check()  # makes folders
    generator = Generator.open(source)
    generator.require_latents()
    shape = generator.network.shape_at(generator.choose_stage(stage))
    made = generator.batches(numbers, stage=stage, truncation=truncation, class_name=class_name)
    changes = []
    for run, task in ((recolor, tasks.Colorize), (upscale, tasks.Upscale)):
        if run:
            changes.append(Generator.open(run))
            changes[-1].require_verb(task.verb)
            shape = tuple(changes[-1].scale * side for side in shape)
    outputs.check_grid(shape)
    if not no_mark:
        steps = (*([marks.NEGATIVE] if negative else []), *(change.mark.weights or "" for change in changes))

        def mark(seeds, layout):
            made = generator.mark_samples(seeds, layout, stage, truncation, class_name)
            return dataclasses.replace(made, steps=steps)

        outputs.mark = mark
    with outputs.open() as write, terminal.show_progress() as progress:
        for images in made:
            images = transparency.invert(images) if negative else images
            for change in changes:
                images = change.convert(images)
            write(images)
            progress(outputs.done, len(numbers))
    for place in filter(None, (grid, npz, folder)):
        click.echo(place)


class Outputs:
    """The files that generated images are written to, batch by batch.

    With --npz and --dir, the images need not fit into memory together.

    Args:
        numbers: seeds of the images; the images of --dir are named after them.
        grid: the value of --grid, a file for all images as one picture; None: not requested.
        npz: the value of --npz, a file for all images as an array; None: not requested.
        folder: the value of --dir, a folder for one file per image; None: not requested.
    """

    def __init__(self, numbers: Sequence[int], grid: str | None, npz: str | None, folder: str | None):
        self.numbers, self.grid, self.npz, self.folder = numbers, grid, npz, folder
        self.sheet = pixels.Sheet(len(numbers), edge=1)
        self.done = 0  # number of images written
        # Function that returns the mark of a picture, `marks.Mark`, for its seeds and layout.
        self.mark: Callable = lambda seeds, layout: None
        self.signer: credentials.Signer | None = None  # signs pictures; None: they are not signed

    def _save(self, path: str | Path, image: np.ndarray, seeds: Sequence[int], layout: str) -> None:
        """Write a picture of seeds with its mark, and sign it. layout: one of `marks.LAYOUTS`."""
        mark = self.mark(seeds, layout)
        pixels.save(path, image, marks.make_packet(mark))
        if self.signer:
            self.signer.sign(Path(path), mark.source_type)

    def _file(self, number: int) -> Path:
        """Return the path in --dir of the image with the seed `number`."""
        return Path(self.folder or "") / f"{number:06d}.png"

    def check(self) -> None:
        """Raise UserError if an output cannot be written."""
        if self.grid:
            pixels.check_picture("--grid", self.grid)
        if self.npz:
            pixels.check_file("--npz", self.npz)
        if self.folder:
            pixels.check_file("--dir", self._file(self.numbers[0]))

    def check_grid(self, shape: tuple[int, ...]) -> None:
        """Raise UserError if the format of the grid's file cannot hold so large a picture.

        shape: height and width of an image in pixels.
        """
        if self.grid:
            height, width = pixels.find_enlarged_shape((shape[0], shape[1]), pixels.VISIBLE)
            pixels.check_size("--grid", self.grid, *self.sheet.size(height, width))

    @contextlib.contextmanager
    def open(self) -> Iterator[Callable]:
        """Context manager that opens the outputs and yields a function to write images with.

        The function takes a batch, uint8 [N, H, W, C]; batches must come in the order of `numbers`.
        The picture of --grid is written at the end. Raise UserError if writing fails.
        """
        try:
            with pixels.write_npz(self.npz, len(self.numbers)) if self.npz else contextlib.nullcontext() as keep:

                def write(images):
                    if self.grid:
                        self.sheet.add(pixels.enlarge(images, pixels.VISIBLE))
                    if keep:
                        keep(images)
                    if self.folder:
                        for number, image in zip(self.numbers[self.done :], images):
                            self._save(self._file(number), image, [number], marks.IMAGE)
                    self.done += len(images)

                yield write
            if self.grid:
                self._save(self.grid, self.sheet.picture, self.numbers, marks.GRID)
        except OSError as error:
            raise UserError(
                f"{error.filename or self.npz}: cannot be written ({error.strerror or error}). Make room, or choose another place."
            ) from None
