"""The command `pggan faces` (`python -m preprocessing.faces`): write faces in photos as shards.

It makes a job (see `job.Job`) that finds the faces in the photos of a source and cuts out a square
around each of them.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the slow imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("preprocessing.faces:command"))

import dataclasses
import functools
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from pggan_tf.errors import Unreadable
from pggan_tf.option_types import Choice, FloatRange
from preprocessing import command as commands
from preprocessing.options import OutputOptions, Selection

if TYPE_CHECKING:
    from preprocessing.job import Job

ALIGNMENTS = ("none", "square", "ffhq")
WHICH = ("largest", "all", "best")
CHUNK = 32  # photos that are searched together, or fewer if they are large
_DECODED_BYTES = 100 << 20  # size of the decoded photos that are searched together


@functools.cache
def load_detector(min_face: float):
    """Return a `detect.Detector` for this process, which uses a single thread.

    There is one process for each core, and a single thread adds numbers in a fixed order.

    min_face: smallest face to find, in pixels.
    """
    import contextlib

    from pggan_tf import terminal

    terminal.start_tensorflow()
    import tensorflow as tf

    # This fails in tests, where TensorFlow is already running in the same process.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    from preprocessing.detect import Detector

    return Detector(min_face)


@dataclass(frozen=True)
class Faces:
    """Work of a job (`Job.work`) that finds faces in photos and cuts out a square around each."""

    size: int  # side of a square in pixels
    # square: the face's box, enlarged by `margin`; ffhq: turned and sized by the landmarks; none:
    # the photo's own central square, if there is a face in the photo.
    align: str = "square"
    margin: float = 0.3  # enlargement, as a share of the box's longer side
    # Which faces of a photo to use: "largest", "best" (the most confident one) or "all".
    which: str = "largest"
    min_confidence: float = 0.9  # smallest confidence of the detector, 0..1
    # Smallest face in the photo, in pixels; None: a quarter of `size`, but at least 20.
    min_face: float | None = None
    min_sharpness: float = 0.0  # smallest sharpness, see align.measure_sharpness
    channels: int = 3  # 1 for gray, 3 for RGB

    @property
    def smallest(self) -> float:
        """Smallest face in the photo that is used, in pixels, also if `min_face` is None."""
        return max(20.0, self.size / 4) if self.min_face is None else self.min_face

    def __call__(self, items) -> list:
        """Find and cut out the faces in a chunk of photos, and return the list of Results.

        A photo has a Result for each of its faces or, if no face can be used, one with the reason.

        items: the photos, a list of `sources.Item`.
        """
        import numpy as np

        results = []
        # Photos that will be searched together, once they exceed _DECODED_BYTES: (item, photo or
        # Unreadable, Result.more).
        waiting: list[tuple] = []
        for item in items:
            more = 0
            try:
                image, more, _ = item.decode()
                image = np.asarray(image)
            except Unreadable as reason:
                image = reason
            waiting.append((item, image, more))
            if sum(p.size for _, p, _ in waiting if not isinstance(p, Unreadable)) > _DECODED_BYTES:
                results += self._search(waiting)
                waiting = []
        return results + self._search(waiting)

    def _search(self, waiting: list[tuple]) -> list:
        """Find and cut out the faces in some photos together, and return the list of Results.

        waiting: a tuple for each photo: (`sources.Item`, pixels uint8 [H, W, 3] or, if the photo
        cannot be decoded, Unreadable, `Result.more` of the photo).
        """
        from preprocessing.job import Result

        photos = [image for _, image, _ in waiting if not isinstance(image, Unreadable)]
        found = iter(load_detector(self.smallest)(photos))
        results = []
        for item, image, more in waiting:
            squares = [image] if isinstance(image, Unreadable) else self._cut_faces(image, next(found))
            numbers = range(len(squares)) if len(squares) > 1 else (None,)
            counts = [more] + [0] * (len(squares) - 1)
            results += [Result(item.name, s, item.label, None, n, more) for n, s, more in zip(numbers, squares, counts)]
        return results

    def _cut_faces(self, image, faces: list) -> list:
        """Cut out the faces of a photo.

        Args:
            image: the photo, uint8 [H, W, 3].
            faces: list of all `detect.Face` in the photo.

        Returns:
            List with an entry for each face to use: its square uint8 [size, size, channels], or
            Unreadable if the square is blurred. If there is no face to use, the only entry is
            Unreadable with the reason.
        """
        import cv2

        from preprocessing import align

        chosen = self._choose(faces)
        if isinstance(chosen, Unreadable):
            return [chosen]
        out = []
        for face in chosen:
            square = self._cut(image, face)
            sharp = align.measure_sharpness(square)
            if sharp < self.min_sharpness:
                out.append(Unreadable(f"sharpness {sharp:.0f}, below {self.min_sharpness:g}", "blurred"))
            else:
                out.append(cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)[..., None] if self.channels == 1 else square)
        return out

    def _choose(self, faces: list):
        """Return the list of those of a photo's faces that are used.

        If there are none, return (not raise) Unreadable with the reason.

        faces: list of `detect.Face`, the most confident first.
        """
        if not faces:
            return Unreadable("no face found", "without a face")
        certain = [f for f in faces if f.confidence >= self.min_confidence]
        if not certain:
            return Unreadable(f"a face of confidence {faces[0].confidence:.2f} at most", "too uncertain")
        large = [f for f in certain if f.size >= self.smallest]
        if not large:
            size = max(f.size for f in certain)
            return Unreadable(f"a face of {size:.0f} pixels at most, smaller than {self.smallest:g}", "too small")
        if self.which == "largest" or self.align == "none":
            return [max(large, key=lambda f: f.size)]
        return large[:1] if self.which == "best" else large

    def _cut(self, image, face):
        """Cut the square of one face out of a photo, and return it as uint8 [size, size, 3].

        Args:
            image: the photo, uint8 [H, W, 3].
            face: a `detect.Face` in it.
        """
        from PIL import Image

        from pggan_tf.data.decode import cut_square
        from preprocessing import align

        if self.align == "none":
            return cut_square(Image.fromarray(image), self.size)
        corners = (
            align.find_ffhq_box(face.landmarks) if self.align == "ffhq" else align.find_square_box(face, self.margin)
        )
        return align.cut_out(image, corners, self.size)


def make_job(selection: Selection, faces: Faces, output: OutputOptions | None = None) -> Job:
    """Return the job that cuts faces out of photos, for `build.build`.

    Args:
        selection: options that say which photos are read.
        faces: options of the faces.
        output: options for writing the results; None for the defaults.

    Raises:
        UserError: if the photos cannot be opened.
    """
    from pggan_tf.data import shards
    from preprocessing.job import Job

    output = output or OutputOptions()
    faces = dataclasses.replace(faces, min_face=faces.smallest)
    selection = dataclasses.replace(selection, count=selection.limit or selection.count)
    options = asdict(faces)
    return Job(
        selection.open(faces.size),
        faces,
        shards.halve_resolution(faces.size),
        {
            "sources": selection.list_places(),
            "classes": list(selection.classes),
            "limit": selection.limit,
            # In these options, `which` has the name that it has on the command line.
            **{"faces" if name == "which" else name: value for name, value in options.items()},
            **asdict(output),
        },
        channels=faces.channels,
        filter="area",
        output=output,
        chunk=CHUNK,
        processes=True,
        choosy=True,
    )


@click.command("faces")
@click.argument("sources", nargs=-1, required=True)
@click.argument("out")
@click.option("--size", type=click.IntRange(4, 1024), required=True, help="side of the squares in pixels")
@click.option(
    "--align",
    type=Choice(ALIGNMENTS),
    default="square",
    show_default=True,
    help="square: the face's box, enlarged; ffhq: turned and sized by eyes and mouth; none: the photo's centre, if there is a face",
)
@click.option(
    "--margin",
    type=FloatRange(0, 5),
    default=0.3,
    show_default=True,
    help="enlarge the face's box by this share of its longer side",
)
@click.option(
    "--faces",
    "which",
    type=Choice(WHICH),
    default="largest",
    show_default=True,
    help="which faces of a photo to use",
)
@click.option(
    "--min-confidence",
    type=FloatRange(0, 1),
    default=0.9,
    show_default=True,
    help="smallest confidence of the detector, which finds none below 0.8",
)
@click.option(
    "--min-face",
    type=FloatRange(1),
    help="smallest face in pixels of the photo; smaller ones are left out  [a quarter of --size]",
)
@click.option(
    "--min-sharpness",
    type=FloatRange(0),
    default=0.0,
    show_default=True,
    help="smallest variance of the Laplacian; blurred faces are below about 50",
)
@commands.job_options
def command(selection, output, running, out, gray, **faces):
    """Find faces in SOURCES with MTCNN and write them as shards into the new folder OUT.

    For SOURCES, see `pggan prepare`. If the command was interrupted, run it again to continue.
    """
    commands.write_shards(make_job(selection, Faces(**faces, channels=1 if gray else 3), output), out, running)
