"""Look at all photos of a folder: what is kept, what is left out and why, faces, and duplicates.

The decisions are those of `pggan prepare` and `pggan faces`, by the same code.
"""

from __future__ import annotations

import collections
import contextlib
import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from pggan_tf import shapes
from pggan_tf.data import pipeline
from pggan_tf.errors import Unreadable, UserError
from pggan_tf.studio.store import read_json, write_json

_DECODED_BYTES = 100 << 20  # of photos that are in memory together
_MOST_AT_ONCE = 32
_BLURRED, _LEAST_FOR_BLUR = 50.0, 64  # sharpness below which a photo looks blurred; pixels that tell it
_LEAST_SHARE = 0.5  # of a photo that is kept, without a doubt
_SURE = 0.97  # confidence of a face, without a doubt
_ENOUGH = 0.9  # share of the photos that are large enough for the resolution that is named


def look(args: dict, progress) -> dict:
    """Look at the photos of a folder, and write what is found into the folder's file.

    Args:
        args: place (the folder), about (its file), parameters: {size, shape, crop, faces, margin,
            least}.
        progress: called with (photos done, all photos, text).

    Returns:
        The look as the page gets it.

    Raises:
        UserError: if the folder cannot be read or the parameters do not go together.
    """
    from preprocessing.sources import folder as source

    parameters = args["parameters"]
    opened = source.open(args["place"])
    work = _make_work(parameters)
    seen: list[dict] = []
    index, first, kinds = _Same(), collections.Counter[str](), collections.Counter[str]()
    examples: dict[str, str] = {}
    for items in _group(opened):
        for one, kind, hash in work(items):
            number = len(seen)
            if hash is not None and (same := index.find(hash, number)) is not None:
                one["same_as"] = [same]
            one["kind"] = kind
            if kind:
                kinds[kind] += 1
                examples.setdefault(kind, one["reason"])
            elif opened.classes:
                first[opened.classes[opened.labels[number]]] += 1
            seen.append(one)
        progress(len(seen), len(opened), f"{len(seen):,} of {len(opened):,} photos")
    for number, one in enumerate(seen):  # the earlier ones of a pair name the later ones, too
        for same in one["same_as"]:
            if number not in seen[same]["same_as"] and same < number:
                seen[same]["same_as"].append(number)
    result = {
        "parameters": parameters,
        "total": len(seen),
        "kept": sum(one["state"] == "kept" for one in seen),
        "left_out": [{"reason": k, "sentence": examples[k], "count": n} for k, n in kinds.most_common()],
        "duplicates": sum(any(same < number for same in one["same_as"]) for number, one in enumerate(seen)),
        "doubtful": sum(one["doubt"] is not None for one in seen),
        "classes": [{"name": name, "count": first[name]} for name in opened.classes],
        "shapes": _describe_shapes(args["place"]),
        "largest": _find_largest(seen),
        "faces": sum(face["used"] for one in seen for face in one["faces"]) if parameters["faces"] else None,
    }
    listing = {
        "files": list(opened.files),
        "classes": list(opened.classes),
        "labels": list(opened.labels),
        "marks": [list(mark[1:]) for mark in opened.marks],
        "notes": list(opened.notes),
    }
    about = Path(args["about"])
    write_json(about, read_json(about, {}) | listing | {"look": result, "photos": seen})
    return result


class _Same:
    """Finds the first photo that a photo looks like."""

    def __init__(self):
        from preprocessing.duplicates import Index

        self._index, self._numbers = Index(), list[int]()

    def find(self, hash: np.ndarray, number: int) -> int | None:
        """Return the number of an earlier photo with a similar hash, or None and remember this."""
        found = self._index.find(hash)
        if found is not None:
            return self._numbers[found]
        self._index.find_or_add(hash)
        self._numbers.append(number)
        return None


def _group(opened) -> Iterator[list]:
    """Yield the items of a source in groups that fit into memory together when decoded."""
    waiting, size = [], 0
    for item in opened.items(0, len(opened)):
        # A compressed photo has about ten times as many bytes in memory.
        size += 10 * len(item.data) if isinstance(item.data, bytes) else 0
        waiting.append(item)
        if size > _DECODED_BYTES or len(waiting) >= _MOST_AT_ONCE:
            yield waiting
            waiting, size = [], 0
    if waiting:
        yield waiting


def _make_work(parameters: dict):
    """Return the function that looks at some items: it yields (photo, kind of reason, hash)."""
    if parameters["faces"]:
        from preprocessing.faces import Faces

        if parameters["shape"] not in (None, "1:1"):
            raise UserError("faces are cut out as squares. Leave the shape out.")
        faces = Faces(parameters["size"], margin=parameters["margin"], min_face=parameters["least"])
        return lambda items: _look_for_faces(items, faces)
    from preprocessing.prepare import Squares

    aspect = shapes.parse_aspect(parameters["shape"]) if parameters["shape"] else shapes.SQUARE
    squares = Squares(parameters["size"], crop=parameters["crop"], aspect=aspect).with_resolutions()
    return lambda items: _cut_squares(items, squares)


def _decode(item) -> np.ndarray | Unreadable:
    try:
        return np.asarray(item.decode()[0])
    except Unreadable as reason:
        return reason


def _begin(image: np.ndarray | Unreadable) -> dict:
    """Return what is known of a photo before it is cut."""
    height, width = image.shape[:2] if isinstance(image, np.ndarray) else (None, None)
    empty: dict = {"reason": None, "crop": None, "doubt": None}
    return {"state": "kept", "width": width, "height": height, "faces": [], "same_as": [], **empty}


def _finish(one: dict, image: np.ndarray | Unreadable) -> tuple[dict, str | None, np.ndarray | None]:
    """Add what became of a photo. image: the square that was cut, or why there is none."""
    from preprocessing import align
    from preprocessing.job import Result, _add_hash

    if isinstance(image, Unreadable):
        return one | {"state": "left_out", "reason": str(image), "crop": None, "doubt": None}, image.kind, None
    if one["doubt"] is None and min(image.shape[:2]) >= _LEAST_FOR_BLUR:
        sharp = align.measure_sharpness(image)
        if sharp < _BLURRED:
            one["doubt"] = f"looks blurred (sharpness {sharp:.0f})"
    return one, None, _add_hash(Result("", image)).hash


def _cut_squares(items, squares) -> list[tuple]:
    """Look at photos of which squares, or rectangles, are cut out."""
    from preprocessing.sources import Item

    def look_at(item):
        image = _decode(item)
        one, cut = _begin(image), image
        if isinstance(image, np.ndarray):
            cut = squares([Item(item.name, image, item.label)])[0].image
            if squares.crop == "centre":
                one["crop"] = _find_centre(one["width"], one["height"], squares.aspect)
                share = one["crop"][2] * one["crop"][3] / (one["width"] * one["height"])
                if share < _LEAST_SHARE:
                    one["doubt"] = f"{1 - share:.0%} of it is cut off"
        return _finish(one, cut)

    with ThreadPoolExecutor(pipeline.count_cores()) as pool:
        return list(pool.map(look_at, items))


def _find_centre(width: int, height: int, aspect: shapes.Aspect) -> list[int]:
    """Return the part of a photo that is cut out of its middle, see `decode.cut`."""
    w, h = min(width, height * aspect[0] / aspect[1]), min(height, width * aspect[1] / aspect[0])
    return [int((width - w) // 2), int((height - h) // 2), round(w), round(h)]


def _look_for_faces(items, faces) -> list[tuple]:
    """Look at photos of which faces are cut out."""
    from preprocessing import align
    from preprocessing.faces import load_detector

    images = [_decode(item) for item in items]
    good = [image for image in images if isinstance(image, np.ndarray)]
    found = iter(load_detector(faces.smallest)(good) if good else ())
    out = []
    for image in images:
        one, cut = _begin(image), image
        if isinstance(image, np.ndarray):
            seen = next(found)
            chosen = faces._choose(seen)
            used = [] if isinstance(chosen, Unreadable) else chosen
            for face in seen:
                corners = align.find_square_box(face, faces.margin)
                x, y = corners[0]
                own = {"box": _round(face.box), "confidence": round(face.confidence, 3)}
                square = _round([x, y, *(corners[2] - corners[0])])
                one["faces"].append(own | {"used": any(face is u for u in used), "crop": square})
            cut = faces._cut_faces(image, seen)[0]
            if used:
                one["crop"] = next(face["crop"] for face in one["faces"] if face["used"])
                if used[0].confidence < _SURE:
                    one["doubt"] = f"perhaps no face (confidence {used[0].confidence:.2f})"
                elif len(seen) > 1:
                    one["doubt"] = f"{len(seen)} faces, of which the largest is taken"
        out.append(_finish(one, cut))
    return out


def _round(values) -> list[int]:
    return [round(float(value)) for value in values]


def _describe_shapes(place: str) -> str:
    """Return in a sentence which shape most photos have; "" if it cannot be told."""
    from preprocessing import photo_shapes

    with contextlib.suppress(UserError):
        return photo_shapes.choose_aspect((place,))[1].removeprefix("--shape auto: ")
    return ""


def _find_largest(seen: list[dict]) -> int:
    """Return the largest power of two from 4 to 1024 that nearly all photos reach."""
    sides = sorted(min(one["width"], one["height"]) for one in seen if one["width"])
    if not sides:
        return shapes.SMALLEST
    reached = sides[int(len(sides) * (1 - _ENOUGH))] if len(sides) > 1 else statistics.median(sides)
    size = shapes.SMALLEST
    while 2 * size <= min(reached, shapes.LARGEST):
        size *= 2
    return size
