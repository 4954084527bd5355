"""Write resources.arsc: a table of an app's values, which Android finds by their numbers.

A value may have several forms, of which Android takes the one that suits the phone best: a picture
for its density, a colour for the dark mode.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from export.apk.axml import ATTRIBUTES
from export.apk.chunks import NONE, Reference, Strings, Value, pack_chunk, pack_value

_TABLE, _PACKAGE, _TYPE, _TYPE_SPEC = 0x0002, 0x0200, 0x0201, 0x0202
_APP = 0x7F  # number of an app's own package; the framework's is 1
_NIGHT = 0x20  # UI_MODE_NIGHT_YES
# What a value's forms differ by, for Android to know when to look again (ACONFIGURATION_...).
_BY_DENSITY, _BY_VERSION, _BY_MODE = 0x0100, 0x0400, 0x1000
ANY_DENSITY = 0xFFFE


@dataclass(frozen=True)
class When:
    """The phones that a form of a value is for. 0 and False: all."""

    density: int = 0  # dots per inch of the screen, such as 160, or ANY_DENSITY for drawings
    version: int = 0  # least API level
    night: bool = False  # in the dark mode alone

    def pack(self) -> bytes:
        """Return it as a ResTable_config of 64 bytes."""
        mode = _NIGHT if self.night else 0
        return struct.pack("<I10xH8xH3xB34x", 64, self.density, self.version, mode)


@dataclass(frozen=True)
class Style:
    """A theme: another one with some attributes changed."""

    parent: int  # number of the other theme
    values: Mapping[str, Value]  # by the attributes' names, see axml.ATTRIBUTES


# kind of resource -> name -> its forms. The order of both gives the numbers.
Resources = Mapping[str, Mapping[str, Mapping[When, "Value | Style"]]]


def reference(table: Mapping[str, list[str]], kind: str, name: str) -> Reference:
    """Return the number of a resource.

    Args:
        table: {kind: names} of all resources, in their order.
        kind: kind of the resource, such as 'string'.
        name: its name, such as 'label'.
    """
    return Reference(_APP << 24 | (1 + list(table).index(kind)) << 16 | table[kind].index(name))


def pack(package: str, resources: Resources) -> bytes:
    """Return the content of resources.arsc.

    Args:
        package: application id.
        resources: all resources. The numbers are those of `reference`.
    """
    values, keys = Strings(), Strings()
    body = b""
    for number, named in enumerate(resources.values(), start=1):
        flags = [_find_flags(forms) for forms in named.values()]
        head = struct.pack("<BBHI", number, 0, 0, len(flags))
        body += pack_chunk(_TYPE_SPEC, head, struct.pack(f"<{len(flags)}I", *flags))
        for when in dict.fromkeys(when for forms in named.values() for when in forms):
            entries = [
                _pack_entry(keys.add(name), forms[when], values) if when in forms else None
                for name, forms in named.items()
            ]
            body += _pack_type(number, when, entries)
    kinds, names = Strings(resources).pack(), keys.pack()
    start = 288  # size of the package's head
    name = package.encode("utf-16-le").ljust(256, b"\0")
    head = struct.pack("<I256s5I", _APP, name, start, 0, start + len(kinds), 0, 0)
    return pack_chunk(_TABLE, struct.pack("<I", 1), values.pack() + pack_chunk(_PACKAGE, head, kinds + names + body))


def _find_flags(forms: Mapping[When, Value | Style]) -> int:
    """Return what the forms of a value differ by, as a bit mask."""
    flags = 0
    for part, flag in (("density", _BY_DENSITY), ("version", _BY_VERSION), ("night", _BY_MODE)):
        flags |= flag if len({getattr(when, part) for when in forms}) > 1 else 0
    return flags


def _pack_type(number: int, when: When, entries: list[bytes | None]) -> bytes:
    """Return the forms that one kind of resource has for some phones.

    Args:
        number: number of the kind.
        when: the phones.
        entries: packed form of every resource of the kind; None: it has none for them.
    """
    places, data = [], b""
    for entry in entries:
        places.append(NONE if entry is None else len(data))
        data += entry or b""
    start = 20 + 64 + 4 * len(places)
    head = struct.pack("<BBHII", number, 0, 0, len(places), start) + when.pack()
    return pack_chunk(_TYPE, head, struct.pack(f"<{len(places)}I", *places) + data)


def _pack_entry(key: int, value: Value | Style, strings: Strings) -> bytes:
    """Return one form of a resource. key: index of its name."""
    if not isinstance(value, Style):
        return struct.pack("<HHI", 8, 0, key) + pack_value(value, strings)
    items = sorted((ATTRIBUTES[name], item) for name, item in value.values.items())
    head = struct.pack("<HHIII", 16, 1, key, value.parent, len(items))  # 1: it has several values
    return head + b"".join(struct.pack("<I", number) + pack_value(item, strings) for number, item in items)
