"""Write the zip archive of an app.

Some entries are compressed; the others begin at places from which Android can read words.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping

ALIGNMENT = 4  # bytes; Android maps entries that are not compressed into memory
_PADDING = 0xD935  # kind of extra field with which Android's tools pad entries
# Android 11 and newer read this one without unpacking it; pictures are compressed already.
_STORED = ("resources.arsc", ".png")


def write_archive(entries: Mapping[str, bytes]) -> bytes:
    """Return a zip archive whose bytes follow from its entries alone.

    Args:
        entries: {name: content} in the order of the archive.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compresslevel=9) as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system = 0  # else it would depend on this machine
            if name.endswith(_STORED):
                info.extra = _pad_entry(out.tell() + 30 + len(name.encode()))
            else:
                info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return out.getvalue()


def _pad_entry(start: int) -> bytes:
    """Return the extra field with which an entry's content begins at a multiple of ALIGNMENT.

    start: place where the content would begin without the field.
    """
    size = 6 + -(start + 6) % ALIGNMENT
    return struct.pack("<HHH", _PADDING, size - 4, ALIGNMENT).ljust(size, b"\0")
