"""Pack the pieces that Android's binary files consist of: chunks, tables of strings, values.

Layouts: frameworks/base/libs/androidfw/include/androidfw/ResourceTypes.h of the Android Open Source
Project. Numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

NONE = 0xFFFFFFFF  # index of a string that is not there
_STRING_POOL = 0x0001
# Types of a value (Res_value).
_REFERENCE, _STRING, _INT, _BOOLEAN, _COLOUR = 0x01, 0x03, 0x10, 0x12, 0x1C


@dataclass(frozen=True)
class Reference:
    """Number of a resource, as a value."""

    number: int


@dataclass(frozen=True)
class Colour:
    """A colour, as a value."""

    argb: int  # 0xAARRGGBB


Value = str | bool | int | Reference | Colour


def pack_chunk(kind: int, head: bytes, body: bytes = b"") -> bytes:
    """Return a chunk: its kind, the sizes of its head and of all of it, head and body.

    Args:
        kind: kind of the chunk, such as 0x0003 for XML.
        head: fields that follow the sizes.
        body: what follows the head.
    """
    return struct.pack("<HHI", kind, 8 + len(head), 8 + len(head) + len(body)) + head + body


def pad(data: bytes) -> bytes:
    """Append zeros up to a length that is a multiple of 4."""
    return data + bytes(-len(data) % 4)


class Strings:
    """Table of strings, in the order in which they were added; chunks refer to them by index."""

    def __init__(self, strings: Iterable[str] = ()):
        self._indices: dict[str, int] = {}
        for string in strings:
            self.add(string)

    def add(self, string: str) -> int:
        """Return the index of a string, adding it if it is new."""
        return self._indices.setdefault(string, len(self._indices))

    def pack(self) -> bytes:
        """Return the table as a chunk, in UTF-16."""
        data, places = b"", []
        for string in self._indices:
            coded = string.encode("utf-16-le")
            if len(coded) >= 1 << 16:  # longer ones have another form of length
                raise ValueError(f"a string of {len(coded) // 2} characters")
            places.append(len(data))
            data += struct.pack("<H", len(coded) // 2) + coded + bytes(2)
        head_size, count = 28, len(places)
        head = struct.pack("<5I", count, 0, 0, head_size + 4 * count, 0)
        return pack_chunk(_STRING_POOL, head, struct.pack(f"<{count}I", *places) + pad(data))


def pack_value(value: Value, strings: Strings) -> bytes:
    """Return a value in its 8 bytes. strings: the table to which text is added."""
    if isinstance(value, Reference):
        kind, data = _REFERENCE, value.number
    elif isinstance(value, Colour):
        kind, data = _COLOUR, value.argb
    elif isinstance(value, str):
        kind, data = _STRING, strings.add(value)
    elif isinstance(value, bool):
        kind, data = _BOOLEAN, NONE if value else 0
    else:
        kind, data = _INT, value
    return struct.pack("<HBBI", 8, 0, kind, data)
