"""Decode truncated JPEG files if no part of the picture is missing.

Such a file lacks only bytes after the data of the picture, such as the marker of the end, but
decoders report an error for it.
"""

from __future__ import annotations

import io
import re

import numpy as np
from PIL import Image

# Markers: ITU-T T.81, table B.1.
_START_OF_SCAN, _END = b"\xda", b"\xff\xd9"
_FRAMES = (b"\xc0", b"\xc1", b"\xc2")  # baseline, extended, progressive
_RESTARTS = range(0xD0, 0xD8)
# A marker and the two bytes of its length. Markers within a scan, of start and end, and fill bytes
# have no length.
_SEGMENT = re.compile(rb"\xff([^\x00\x01\xd0-\xd9\xff])(..)", re.DOTALL)
# Eight strings of noise, one for each combination of the first three bits. They have no byte 255,
# which would begin a marker.
_NOISE = np.random.default_rng(0).integers(0, 255, (8, 512), np.uint8)
_NOISE[:, 0] = range(13, 256, 32)


def decode_cut(data: bytes) -> Image.Image | None:
    """Decode a truncated file to a Pillow image, or return None if part of the picture is missing.

    data: the bytes that are left of the file.

    Nothing is missing if the headers announce all coefficients to the last bit, and if the decoded
    picture stays the same for different bytes after the end of the file.
    """
    body = data.rstrip(b"\xff").rstrip(b"\0")  # half a marker; zeros that some disks append
    if body.endswith(b"\xff"):  # in image data, a byte 255 is followed by a zero byte
        body += b"\0"
    if not _announces_all(body):
        return None
    first = None
    for ending in _make_endings():
        with Image.open(io.BytesIO(body + ending + _END)) as image:
            image.load()
        if first is None:
            first = image
        elif not np.array_equal(np.asarray(first), np.asarray(image)):
            return None
    return first


def _make_endings():
    """Yield nine byte strings to append to a truncated file: first b'', then eight with noise.

    Noise is followed by all restart markers, with the same noise after each. The decoder looks for
    the restart marker that comes after the last one it found, so each marker comes first in one of
    the endings.
    """
    yield b""
    for start, noise in enumerate(map(bytes, _NOISE)):
        markers = [*_RESTARTS[start:], *_RESTARTS[:start]]
        yield noise + b"".join(bytes((0xFF, marker)) + noise for marker in markers)


def _announces_all(data: bytes) -> bool:
    """Return whether the headers in `data` announce all coefficients to the last bit.

    A progressive JPEG stores the picture in several scans; the header of a scan announces which DCT
    coefficients, and which of their bits, the scan holds. See ITU-T T.81, B.2.2 and B.2.3. Damaged
    headers may raise any exception.
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
