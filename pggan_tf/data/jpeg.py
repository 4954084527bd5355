"""JPEG files whose end is missing: whether anything of the picture is missing too."""

from __future__ import annotations

import io
import re

import numpy as np
from PIL import Image

# Markers: ITU-T T.81, table B.1.
_START_OF_SCAN, _END = b"\xda", b"\xff\xd9"
_FRAMES = (b"\xc0", b"\xc1", b"\xc2")  # baseline, extended, progressive
_RESTARTS = range(0xD0, 0xD8)
# A marker and the length that stands behind most: not behind those within a scan, of start and end, nor behind filling.
_SEGMENT = re.compile(rb"\xff([^\x00\x01\xd0-\xd9\xff])(..)", re.DOTALL)
# Begins with any three bits. No 255: that begins a marker.
_NOISE = np.random.default_rng(0).integers(0, 255, (8, 512), np.uint8)
_NOISE[:, 0] = range(13, 256, 32)


def completed(data: bytes) -> Image.Image | None:
    """The picture of a file that ends before its end marker, if nothing of it is missing; else None.

    Nothing is missing if all coefficients were announced to the last bit, and if no pixel depends on what comes after the
    file's last byte: whatever is put there, the decoder makes the same picture.
    """
    body = data.rstrip(b"\xff").rstrip(b"\0")  # half a marker; disks pad files with zeros
    if body.endswith(b"\xff"):  # a byte of the picture, behind which a zero stands
        body += b"\0"
    if not _all_announced(body):
        return None
    first = None
    for ending in _endings():
        with Image.open(io.BytesIO(body + ending + _END)) as image:
            image.load()
        if first is None:
            first = image
        elif not np.array_equal(np.asarray(first), np.asarray(image)):
            return None
    return first


def _endings():
    """Nothing; and noise that begins with any three bits, alone and behind the markers that the decoder may wait for, which it
    looks for from the one that it met last."""
    yield b""
    for start, noise in enumerate(map(bytes, _NOISE)):
        markers = [*_RESTARTS[start:], *_RESTARTS[:start]]
        yield noise + b"".join(bytes((0xFF, marker)) + noise for marker in markers)


def _all_announced(data: bytes) -> bool:
    """Tell whether the headers of the scans promise every coefficient of every component to its last bit.

    See ITU-T T.81, B.2.2 and B.2.3. Raises anything for headers that are damaged.
    """
    missing, at = {}, 0
    while found := _SEGMENT.search(data, at):
        at = found.end(1) + int.from_bytes(found[2])
        segment = data[found.end() : at]
        if found[1] in _FRAMES:
            missing = {component: set(range(64)) for component in segment[6::3]}
        elif found[1] == _START_OF_SCAN:
            first, last, bits = segment[-3:]
            if bits & 15 == 0:
                for component in segment[1:-3:2]:
                    missing[component] -= set(range(first, last + 1))
    return not any(missing.values())
