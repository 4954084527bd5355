"""JPEG files whose end is missing: whether anything of the picture is missing too."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

_START_OF_SCAN, _END = 0xDA, b"\xff\xd9"
_FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended, progressive: ITU-T T.81, table B.1
_RESTARTS = range(0xD0, 0xD8)


def completed(data: bytes) -> Image.Image | None:
    """The picture of a file that ends before its end marker, if nothing of it is missing; else None.

    Nothing is missing if all coefficients were announced to the last bit, and if no pixel depends on what comes after the
    file's last byte: whatever is put there, the decoder makes the same picture.
    """
    body = data.rstrip(b"\0")  # disks pad files with zeros
    if body.endswith(b"\xff"):  # half a marker; or, with a zero after it, a byte of the picture
        body = body + b"\0" if len(body) < len(data) else body[:-1]
    if not _all_announced(body):
        return None
    first = None
    for ending in _endings():
        with Image.open(io.BytesIO(body + ending + _END), formats=("JPEG",)) as image:
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
    random = np.random.default_rng(0)
    for start in range(8):
        noise = bytes([32 * start + 13]) + bytes(random.integers(0, 255, 512, np.uint8))  # no 255: that begins a marker
        markers = [*_RESTARTS[start:], *_RESTARTS[:start]]
        yield noise + b"".join(bytes((0xFF, marker)) + noise for marker in markers)


def _all_announced(data: bytes) -> bool:
    """Whether the headers of the scans promise every coefficient of every component down to its last bit (T.81, B.2.3)."""
    missing, at = None, 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (0x00, 0x01, 0xFF) or marker in _RESTARTS:  # within a scan, or filling
            at += 1 if marker == 0xFF else 2
            continue
        segment = data[at + 4 : at + 2 + length]
        if len(segment) != length - 2:
            return False
        if marker in _FRAMES:
            missing = {segment[6 + 3 * i]: set(range(64)) for i in range(segment[5])}
        elif marker == _START_OF_SCAN and missing is not None:
            count = segment[0]
            first, last, bits = segment[1 + 2 * count : 4 + 2 * count]
            if bits & 15 == 0:
                for i in range(count):
                    missing[segment[1 + 2 * i]] -= set(range(first, last + 1))
        at += 2 + length
    return missing is not None and not any(missing.values())
