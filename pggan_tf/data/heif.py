"""Recognise HEIC files, make Pillow read them, and read the colours that HEIC and AVIF files state.

Both consist of boxes: a length, a kind of four letters and a body (ISO/IEC 14496-12, section 4.2;
for pictures ISO/IEC 23008-12).
"""

from __future__ import annotations

from collections.abc import Iterator

from pggan_tf.errors import Unreadable

# Brands in the first box of HEIC and AVIF files, ISO/IEC 23008-12.
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF = {b"avif", b"avis"}


def _read_brands(data: bytes) -> set[bytes]:
    """Return the brands of a file, in its first box; none if it begins with another box."""
    if data[4:8] != b"ftyp":
        return set()
    return {data[at : at + 4] for at in range(8, min(int.from_bytes(data[:4]), 256), 4)}


def is_heic(data: bytes) -> bool:
    """Return whether the bytes of a file begin like a HEIC."""
    brands = _read_brands(data)
    return not brands.isdisjoint(_HEIC) and brands.isdisjoint(_AVIF)


def register_reader() -> None:
    """Make Pillow read HEIC files; raise Unreadable if the package for it is not installed."""
    try:
        import pillow_heif
    except ImportError:
        why = 'HEIC, which needs one package more: pip install pillow-heif, or "pggan-tf[heic]"'
        raise Unreadable(why, "HEIC without pillow-heif") from None
    pillow_heif.register_heif_opener()


def _list_boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, begin of its body, end) of every box between two places of a file."""
    while at + 8 <= end:
        size, body = int.from_bytes(data[at : at + 4]), at + 8
        if size == 1:
            size, body = int.from_bytes(data[at + 8 : at + 16]), at + 16
        until = at + size if size else end
        if until < body or until > end:
            return
        yield data[at + 4 : at + 8], body, until
        at = until


def _read_properties(data: bytes, at: int, end: int, item: int, wide: bool) -> Iterator[int]:
    """Yield the numbers, from 1, of the properties of an item, from the body of a box ipma.

    Args:
        data: bytes of the file.
        at: begin of the body.
        end: end of the body.
        item: number of the item.
        wide: whether numbers of items have 32 bits, not 16.
    """
    two = data[at + 3] & 1  # whether numbers of properties have 15 bits, not 7
    at += 8
    while at + 3 <= end:
        size = 4 if wide else 2
        found, count = int.from_bytes(data[at : at + size]), data[at + size] if at + size < end else 0
        at += size + 1
        if found == item:
            for place in range(at, min(at + count * (1 + two), end), 1 + two):
                yield int.from_bytes(data[place : place + 1 + two]) & (0x7FFF if two else 0x7F)
        at += count * (1 + two)


def read_colours(data: bytes) -> tuple[int, int] | None:
    """Return (ColourPrimaries, TransferCharacteristics) of ITU-T H.273 that a HEIC or AVIF states.

    They are those of the primary picture: a phone's photo may have an HDR version besides.

    Return None for other files, and if it states none.

    data: bytes of the file; damaged ones raise no error.
    """
    if _read_brands(data).isdisjoint(_HEIC | _AVIF):
        return None
    meta = next((box for box in _list_boxes(data, 0, len(data)) if box[0] == b"meta"), None)
    if meta is None:
        return None
    boxes = {kind: (body, end) for kind, body, end in _list_boxes(data, meta[1] + 4, meta[2])}
    if b"pitm" not in boxes or b"iprp" not in boxes:
        return None
    at, end = boxes[b"pitm"]
    primary = int.from_bytes(data[at + 4 : end])
    parts = list(_list_boxes(data, *boxes[b"iprp"]))
    properties = [box for kind, body, end in parts if kind == b"ipco" for box in _list_boxes(data, body, end)]
    for kind, at, end in parts:
        if kind != b"ipma" or end - at < 8:
            continue
        for number in _read_properties(data, at, end, primary, wide=data[at] > 0):
            kind, body, until = properties[number - 1] if 0 < number <= len(properties) else (b"", 0, 0)
            if kind == b"colr" and data[body : body + 4] == b"nclx" and body + 8 <= until:
                return int.from_bytes(data[body + 4 : body + 6]), int.from_bytes(data[body + 6 : body + 8])
    return None
