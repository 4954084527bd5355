"""Compare `pggan faces` with a plain loop over the package mtcnn, in speed and in the faces found.

python -m benchmarks.faces DIR
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("benchmarks.faces:main"))

import tempfile
import time
from pathlib import Path

import click
import numpy as np

from benchmarks import measure, page


def plain_loop(folder: str, limit: int) -> dict:
    """Detect faces with the loop that mtcnn's own documentation shows.

    Return the images per second of detection, without decoding, and the boxes of every photo.
    """
    from mtcnn import MTCNN

    from pggan_tf.data.decode import decode_photo
    from preprocessing.sources import open_source

    source = open_source(folder)
    photos = [np.asarray(decode_photo(item.data)) for item in source.items(0, min(limit, len(source)))]
    detector = MTCNN()
    detector.detect_faces(photos[0])
    begun = time.perf_counter()
    found = [detector.detect_faces(p) for p in photos]
    seconds = time.perf_counter() - begun
    return {"images_per_second": len(photos) / seconds, "boxes": [[f["box"] for f in faces] for faces in found]}


def our_boxes(folder: str, limit: int, min_face: float) -> list:
    from pggan_tf.data.decode import decode_photo
    from preprocessing.faces import CHUNK, load_detector
    from preprocessing.sources import open_source

    source, found = open_source(folder), []
    for first in range(0, min(limit, len(source)), CHUNK):
        items = source.items(first, min(first + CHUNK, limit, len(source)))
        found += load_detector(min_face)([np.asarray(decode_photo(item.data)) for item in items])
    return [[face.box.tolist() for face in faces] for faces in found]


def compare(theirs: list, ours: list, min_face: float) -> tuple[int, int, list[float]]:
    """Compare the boxes of two detectors for the same photos.

    Args:
        theirs: boxes (x, y, width, height) of every photo.
        ours: boxes of the other detector.
        min_face: faces in `theirs` whose longer side is shorter than this many pixels are ignored.

    Returns:
        (number of faces in `theirs`, how many of them are in `ours`, error of each of these boxes).
            The error is the largest difference in x, y, width or height, relative to the size of
            the face.
    """
    faces, found, off = 0, 0, []
    for a, b in zip(theirs, ours):
        for box in np.array(a, float).reshape(-1, 4):
            size = box[2:].max()
            if size < min_face:
                continue
            faces += 1
            best = min((np.abs(np.array(other) - box).max() / size for other in b), default=np.inf)
            if best < 0.3:
                found += 1
                off.append(best)
    return faces, found, off


def whole_command(folder: str, limit: int, size: int, min_face: float) -> float:
    """Return the images per second of the whole command: reading, decoding, cropping and writing.

    It is measured from the end of the first chunks, when every worker is running, to the end of the
    last one.
    """
    from preprocessing import build, faces
    from preprocessing.options import Selection

    marks = []
    with tempfile.TemporaryDirectory() as out:
        job = faces.make_job(Selection.of(folder, limit=limit), faces.Faces(size, min_face=min_face))
        build.build(job, f"{out}/faces", progress=lambda done, total: marks.append((done, time.perf_counter())))
    marks = [m for m in marks if m[0] > 0]
    first = next((m for m in marks if m[0] >= 4 * faces.CHUNK), marks[0])  # now every worker is running
    return (marks[-1][0] - first[0]) / (marks[-1][1] - first[1])


@click.command()
@click.argument("folder")
@click.option("--limit", default=1000, show_default=True, help="maximum number of photos")
@click.option("--size", default=128, show_default=True)
@click.option("--min-face", default=32.0, show_default=True)
@page.out_option
def main(folder: str, limit: int, size: int, min_face: float, out: Path | None) -> None:
    few = max(1, limit // 4)
    measure.announce(60 + 3 * few / 8 + limit / 100)
    question = "How fast does `pggan faces` find and cut faces, and are they those of a plain loop over `MTCNN().detect_faces`?"
    written = page.Page(out, "Finding faces", question)
    loop = measure.in_process(plain_loop, folder=folder, limit=few)
    ours = measure.in_process(our_boxes, folder=folder, limit=few, min_face=min_face)
    rate = measure.in_process(whole_command, folder=folder, limit=limit, size=size, min_face=min_face)
    again = measure.in_process(plain_loop, folder=folder, limit=few)
    slow = (loop["images_per_second"] + again["images_per_second"]) / 2
    faces, found, off = compare(loop["boxes"], ours, min_face)
    rows = [("plain loop, detection alone", f"{slow:.1f}", "1.0", f"{faces}")]
    rows += [
        ("`pggan faces`, reading to writing", f"{rate:.1f}", f"{rate / slow:.1f}", f"{found} ({found / faces:.1%})")
    ]
    written.table(("form", "images/s", "ratio", f"faces of {min_face:g} px and more in {few} photos"), rows)
    if off:
        most = f"{np.quantile(off, 0.99):.2%} at most for 99 %, {max(off):.2%} at most"
        written.notes(f"Boxes differ by {np.mean(off):.2%} of the face on average, {most}.")
