"""`pggan faces` or `python -m preprocessing.faces`: photos -> shards of the faces in them."""

from __future__ import annotations

if __name__ == "__main__":  # before what is imported below, so that Ctrl-C is answered from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("preprocessing.faces:command"))

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import click

from preprocessing import command as commands

ALIGNMENTS = ("none", "square", "ffhq")
WHICH = ("largest", "all", "best")
CHUNK = 32  # photos that are searched together, or fewer where they are large
_DECODED_BYTES = 100 << 20


@functools.cache
def _detector(min_face: float):
    """One for each worker process, with a single thread: there is a process per core, and sums in a fixed order."""
    import contextlib

    from pggan_tf import terminal

    terminal.start_tensorflow()
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # TensorFlow has begun to work already: in the one process of a test
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    from preprocessing.detect import Detector

    return Detector(min_face)


@dataclass(frozen=True)
class Faces:
    """The work: photos -> squares of `size` pixels with a face each.

    align: 'square', the face's box, `margin` larger; 'ffhq', turned and sized by the landmarks; 'none', the photo's own
    central square, if it shows a face. which: 'largest', the most certain one ('best'), or 'all'. min_face: pixels of the
    photo; min_sharpness: see align.sharpness.
    """

    size: int
    align: str
    margin: float
    which: str
    min_confidence: float
    min_face: float
    min_sharpness: float
    channels: int

    def __call__(self, items):
        import numpy as np

        from pggan_tf.data.decode import Unreadable

        made = []
        waiting: list[tuple] = []  # (item, photo, Made.more), searched together when they are many pixels
        for item in items:
            more = 0
            try:
                image, more = item.first()
                image = np.asarray(image)
            except Unreadable as reason:
                image = reason
            waiting.append((item, image, more))
            if sum(p.size for _, p, _ in waiting if not isinstance(p, Unreadable)) > _DECODED_BYTES:
                made += self._search(waiting)
                waiting = []
        return made + self._search(waiting)

    def _search(self, waiting) -> list:
        from pggan_tf.data.decode import Unreadable
        from preprocessing.job import Made

        photos = [image for _, image, _ in waiting if not isinstance(image, Unreadable)]
        found = iter(_detector(self.min_face)(photos))
        made = []
        for item, image, more in waiting:
            results = [image] if isinstance(image, Unreadable) else self._squares(image, next(found))
            numbers = range(len(results)) if len(results) > 1 else (None,)
            counts = [more] + [0] * (len(results) - 1)
            made += [Made(item.name, r, item.label, None, n, more) for n, r, more in zip(numbers, results, counts)]
        return made

    def _squares(self, image, faces) -> list:
        """The squares of a photo's faces, or the reasons why not, at least one."""
        import cv2
        from PIL import Image

        from pggan_tf.data.decode import Unreadable, square
        from preprocessing import align

        if not faces:
            return [Unreadable("no face found", "without a face")]
        good = [f for f in faces if f.confidence >= self.min_confidence]
        if not good:
            return [Unreadable(f"a face of confidence {faces[0].confidence:.2f} at most", "too uncertain")]
        large = [f for f in good if f.size >= self.min_face]
        if not large:
            size = max(f.size for f in good)
            return [Unreadable(f"a face of {size:.0f} pixels at most, smaller than {self.min_face:g}", "too small")]
        if self.which == "largest" or self.align == "none":
            large = [max(large, key=lambda f: f.size)]
        elif self.which == "best":
            large = large[:1]
        out = []
        for face in large:
            if self.align == "none":
                cut = square(Image.fromarray(image), self.size)
            else:
                corners = (
                    align.ffhq_box(face.landmarks) if self.align == "ffhq" else align.square_box(face, self.margin)
                )
                cut = align.cut_out(image, corners, self.size)
            sharp = align.sharpness(cut)
            if sharp < self.min_sharpness:
                out.append(Unreadable(f"sharpness {sharp:.0f}, below {self.min_sharpness:g}", "blurred"))
            else:
                out.append(cv2.cvtColor(cut, cv2.COLOR_RGB2GRAY)[..., None] if self.channels == 1 else cut)
        return out


def job(
    sources: Sequence[str],
    size: int,
    *,
    align: str = "square",
    margin: float = 0.3,
    which: str = "largest",
    min_confidence: float = 0.9,
    min_face: float | None = None,
    min_sharpness: float = 0.0,
    channels: int = 3,
    classes: Sequence[str] = (),
    limit: int | None = None,
    split: float | None = None,
    dedupe: bool = False,
    shard_images: int | None = None,
    compress: bool = False,
    data_dir: str | None = None,
    download: bool = False,
):
    """The job that `build.build` does. min_face: by default a quarter of `size`, but not below 20 pixels."""
    from pggan_tf.data import shards
    from preprocessing.job import Job
    from preprocessing.sources import open_all

    min_face = max(20.0, size / 4) if min_face is None else min_face
    source = open_all(sources, classes, limit, size=size, count=limit or 10_000, data_dir=data_dir, download=download)
    work = Faces(size, align, margin, which, min_confidence, min_face, min_sharpness, channels)
    return Job(
        source,
        work,
        shards.default_resolutions(size),
        {
            "sources": list(sources),
            "classes": list(classes),
            "limit": limit,
            "size": size,
            "align": align,
            "margin": margin,
            "faces": which,
            "min_confidence": min_confidence,
            "min_face": min_face,
            "min_sharpness": min_sharpness,
            "channels": channels,
            "split": split,
            "dedupe": dedupe,
            "shard_images": shard_images,
            "compress": compress,
        },
        channels=channels,
        filter="area",
        shard_images=shard_images,
        compress=compress,
        dedupe=dedupe,
        split=split,
        chunk=CHUNK,
        processes=True,
        choosy=True,
    )


@click.command("faces")
@click.argument("sources", nargs=-1, required=True)
@click.argument("out")
@click.option("--size", type=click.IntRange(4, 1024), required=True, help="pixels of a side")
@click.option(
    "--align",
    type=commands.Choice(ALIGNMENTS),
    default="square",
    show_default=True,
    help="square: the face's box, grown; ffhq: turned and sized by eyes and mouth; none: the photo's centre, if there is a face",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 5),
    default=0.3,
    show_default=True,
    help="how much longer than the face's box a square is",
)
@click.option(
    "--faces",
    "which",
    type=commands.Choice(WHICH),
    default="largest",
    show_default=True,
    help="which of a photo's faces",
)
@click.option(
    "--min-confidence",
    type=click.FloatRange(0, 1),
    default=0.9,
    show_default=True,
    help="of the detector, 0.8 at least",
)
@click.option(
    "--min-face",
    type=click.FloatRange(1),
    help="pixels of the photo; smaller faces are left out  [a quarter of --size]",
)
@click.option(
    "--min-sharpness",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="variance of the Laplacian; blurred faces are below about 50",
)
@commands.job_options
def command(
    sources, out, size, align, margin, which, min_confidence, min_face, min_sharpness, gray, classes, limit, split, dedupe,
    shard_images, compress, data_dir, download, **around,
):  # fmt: skip
    """Finds faces in SOURCES with MTCNN and writes them as shards into the new folder OUT.

    Sources are those of `pggan prepare`. Started again after an interruption, the same command goes on.
    """
    work = job(
        sources,
        size,
        align=align,
        margin=margin,
        which=which,
        min_confidence=min_confidence,
        min_face=min_face,
        min_sharpness=min_sharpness,
        channels=1 if gray else 3,
        classes=classes,
        limit=limit,
        split=split,
        dedupe=dedupe,
        shard_images=shard_images,
        compress=compress,
        data_dir=data_dir,
        download=download,
    )
    commands.carry_out(work, out, **around)
