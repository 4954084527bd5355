"""Tell for JPEG files whose end is missing whether any of the picture is missing too."""

from __future__ import annotations

import io
import re

import numpy as np
from PIL import Image

# Markers: ITU-T T.81, table B.1.
_START_OF_SCAN, _END = b"\xda", b"\xff\xd9"
_FRAMES = (b"\xc0", b"\xc1", b"\xc2")  # baseline, extended, progressive
_RESTARTS = range(0xD0, 0xD8)
# A marker and the length behind it. Markers within a scan, of start and end, and filling bytes have
# no length.
_SEGMENT = re.compile(rb"\xff([^\x00\x01\xd0-\xd9\xff])(..)", re.DOTALL)
# Noise whose first three bits are each of the eight combinations. It has no byte 255, which begins
# a marker.
_NOISE = np.random.default_rng(0).integers(0, 255, (8, 512), np.uint8)
_NOISE[:, 0] = range(13, 256, 32)


def decode_cut(data: bytes) -> Image.Image | None:
    """Decode a file without its end, or return None if any of the picture is missing.

    Nothing is missing if the headers announce all coefficients to the last bit, and if no pixel
    depends on the bytes behind the file's last one: the decoder returns the same picture whatever
    stands there.
    """
    body = data.rstrip(b"\xff").rstrip(b"\0")  # half a marker; zeros with which disks pad files
    if body.endswith(b"\xff"):  # in the picture's data, a byte 255 is followed by a zero
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
    """Yield nothing, then noise that begins with any three bits.

    Restart markers follow, with the same noise behind each. The decoder looks for the restart
    marker behind the last one it met, so that each of them comes first once.
    """
    yield b""
    for start, noise in enumerate(map(bytes, _NOISE)):
        markers = [*_RESTARTS[start:], *_RESTARTS[:start]]
        yield noise + b"".join(bytes((0xFF, marker)) + noise for marker in markers)


def _announces_all(data: bytes) -> bool:
    """Tell whether the scans' headers announce all coefficients to their last bit.

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
