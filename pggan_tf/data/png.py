"""Read PNG files (ISO/IEC 15948) that Pillow refuses or would reduce to 8 bits, and make their chunks.

A PNG is a signature and chunks: a length, a kind of four letters, a body and a checksum. If the
first letter of the kind is lower case, the chunk is ancillary: the picture can be shown without it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

from pggan_tf.errors import Unreadable

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEAD = 33  # bytes: signature and IHDR, which comes first
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PICTURE = (b"tRNS", b"acTL", b"fcTL", b"fdAT")  # transparency and frames: ancillary by their letters, but pictures
_LENGTHS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9}  # bytes of a body; Pillow fails for fewer
# Pillow refuses the whole file if a text or profile that is compressed has more bytes than this, or
# all texts together have more than 64 MB. These limits keep small files from filling the memory.
_LARGEST_TEXT = 1 << 20
_LARGEST_TEXTS = 32 << 20
_LARGEST_PROFILE = 16 << 20  # profiles of scanners, with large tables, have a few MB


def make_chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk as it stands in a file. kind: four letters."""
    return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)


def _list_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, begin, end) of every complete chunk up to IEND, with its length and checksum."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4])
        if end > len(data):
            return
        yield kind, at, end
        at = end
        if kind == b"IEND":
            return


def drop_unreadable(data: bytes) -> tuple[bytes, bytes | None]:
    """Leave out of a PNG those ancillary chunks for which Pillow would refuse the whole file.

    These are chunks with a wrong checksum or length, long texts, and large or damaged profiles.
    Little is expanded, however much a file has.

    Args:
        data: bytes of the file.

    Returns:
        (bytes of the file, the same object if nothing had to be left out; ICC profile that was left
        out for its size alone, or None).
    """
    pieces, kept_to, profile, left = [], 0, None, _LARGEST_TEXTS
    for kind, begin, end in _list_chunks(data):
        if not kind[:1].islower() or kind in _PICTURE:
            continue
        body = data[begin + 8 : end - 4]
        drop = zlib.crc32(data[begin + 4 : end - 4]).to_bytes(4) != data[end - 4 : end]
        drop |= len(body) != _LENGTHS.get(kind, len(body))
        if kind in _TEXTS and not drop:
            size = _measure_text(kind, body, left)
            left -= min(size or 0, left)
            drop = size is None or left == 0
        elif kind == b"iCCP" and not drop:
            found = _read_profile(body)
            drop = found is None or len(found) > _LARGEST_TEXT
            profile = found if drop else profile
        if drop:
            pieces.append(data[kept_to:begin])
            kept_to = end
    return (b"".join([*pieces, data[kept_to:]]) if pieces else data), profile


def _expand(body: bytes, most: int) -> bytes | None:
    """Return bytes that are compressed with zlib, or None if they are damaged or more than `most`."""
    expander = zlib.decompressobj()
    try:
        out = expander.decompress(body, most)
    except zlib.error:
        return None
    return None if expander.unconsumed_tail else out


def _measure_text(kind: bytes, body: bytes, left: int) -> int | None:
    """Return how many bytes the text of a chunk has when expanded, or None if it is not to be read.

    left: bytes that may still be expanded; if there are none, nothing is.
    """
    rest = body.partition(b"\0")[2]
    if kind == b"tEXt" or (kind == b"iTXt" and rest[:1] != b"\1"):
        return len(body)
    if not left or rest[:1] == b"" or (kind == b"zTXt" and rest[0]):
        return None
    if kind == b"iTXt":  # flag, method, language, translated keyword
        rest = rest[1:].partition(b"\0")[2].partition(b"\0")[2]
    text = _expand(rest[1:] if kind == b"zTXt" else rest, _LARGEST_TEXT)
    return None if text is None else len(text)


def _read_profile(body: bytes) -> bytes | None:
    """Return the ICC profile in the body of a chunk iCCP, or None if it is damaged or very large."""
    name, _, rest = body.partition(b"\0")
    profile = _expand(rest[1:], _LARGEST_PROFILE) if rest[:1] == b"\0" else None
    return profile if profile and len(name) < 80 else None


def read_colours(data: bytes) -> dict[bytes, bytes]:
    """Return {kind: body} of the chunks cICP, gAMA and sRGB in a PNG. data: bytes of the file."""
    return {
        kind: data[begin + 8 : end - 4]
        for kind, begin, end in _list_chunks(data)
        if kind in (b"cICP", b"gAMA", b"sRGB")
    }


def list_texts(data: bytes) -> list[tuple[str, bytes]]:
    """Return (keyword, chunk) of every text in a PNG. data: bytes of the file."""
    chunks = [data[begin:end] for kind, begin, end in _list_chunks(data) if kind in _TEXTS]
    return [(chunk[8:-4].partition(b"\0")[0].decode("latin-1"), chunk) for chunk in chunks]


def decode_sixteen_bits(data: bytes, gray: bool) -> np.ndarray:
    """Decode a PNG with 16 bits, which Pillow would reduce to 8 bits.

    Args:
        data: bytes of the file, in colour or in gray with alpha.
        gray: whether the file is gray with alpha.

    Returns:
        Pixels uint16 [H,W,C]: gray and alpha, RGB, or RGBA.

    Raises:
        Unreadable: if the file is damaged.
    """
    import cv2

    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise Unreadable("damaged")
    cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA, dst=image)
    return image[..., [0, 3]] if gray else image
