"""Copy EXIF data from one photo to another, without what describes the file or would be wrong in the other."""

from __future__ import annotations

import contextlib
from collections.abc import Set

from PIL import Image

# Tags of TIFF 6.0, which EXIF uses too.
_ORIENTATION = 274
_EXIF, _GPS, _INTEROPERABILITY = 34665, 34853, 40965  # each points to a separate table of tags
TABLES = {_EXIF: "ExifTag", _GPS: "GPSTag"}  # tifffile's names; it accepts no numbers of tables
_INSIDE = {None: tuple(TABLES), _EXIF: (_INTEROPERABILITY,)}  # table -> tables nested in it
# Width and height, which may be others in the result: of the table for all, and of that for photos.
_SIZES = frozenset((256, 257, 40962, 40963))
# Tags about the photo: description, make, model, software, date, artist, computer, copyright and
# Windows' own tags. All other tags of a TIFF describe the layout of the file.
ABOUT_PHOTO = (270, 271, 272, 305, 306, 315, 316, 33432, 40091, 40092, 40093, 40094, 40095, _EXIF, _GPS)


class Text(str):
    """String in EXIF data that is written with the bytes it was read from.

    Pillow reads any bytes as Latin-1, but would write ASCII with ? for all other characters.
    """

    def encode(self, *_) -> bytes:
        """Return the bytes that the text was read from."""
        try:
            return super().encode("latin-1")
        except UnicodeEncodeError:  # this string was not read from a file
            return super().encode()


def read_values(exif: Image.Exif, table: int | None = None, skip: Set[int] = frozenset()) -> dict:
    """Return {tag: value} of EXIF data, or only of a table in it.

    Tables are values too, as dicts of the same kind. Strings are Text.

    Args:
        exif: the data.
        table: tag of the table to read; None for all data.
        skip: tags to leave out.
    """
    out = {}
    values = exif if table is None else exif.get_ifd(table)
    for tag in values:
        if tag in skip:
            continue  # before its value is decoded
        value = read_values(exif, tag, _SIZES) if tag in _INSIDE.get(table, ()) else values[tag]
        out[tag] = Text(value) if isinstance(value, str) else value
    return out


def _keep_writable(values: dict, endian: str, table: int | None = None) -> dict:
    """Return those of the values {tag: value} of a table of EXIF that can be written."""
    kept = {}
    for tag, value in values.items():
        value = _keep_writable(value, endian, tag) if isinstance(value, dict) else value
        alone = Image.Exif()
        alone.endian = endian
        alone[tag if table is None else table] = value if table is None else {tag: value}
        with contextlib.suppress(Exception):  # Pillow and struct raise many kinds
            alone.tobytes()
            kept[tag] = value
    return kept


def copy_exif(exif: Image.Exif, about_photo: bool) -> bytes | None:
    """Return EXIF data as bytes without orientation and thumbnail, or None if nothing is left.

    The thumbnail would show the photo before editing.

    about_photo: copy only tags about the photo (True for a TIFF, whose other tags describe the
    layout of its file).
    """
    with contextlib.suppress(Exception):  # some cameras write EXIF that cannot even be read
        skip = {tag for tag in exif if tag == _ORIENTATION or tag in _SIZES or (about_photo and tag not in ABOUT_PHOTO)}
        values = read_values(exif, None, skip)
        for keep in (dict, lambda values: _keep_writable(values, exif.endian)):  # others, that it cannot be written
            copy = Image.Exif()
            copy.endian = exif.endian  # makers' notes depend on it without recording it
            for tag, value in keep(values).items():
                copy[tag] = value
            with contextlib.suppress(Exception):
                return copy.tobytes().removeprefix(b"Exif\0\0") if len(copy) else None
    return None
