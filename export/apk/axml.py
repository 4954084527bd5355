"""Write XML in Android's binary form, for AndroidManifest.xml and for drawables."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from export.apk.chunks import NONE, Strings, Value, pack_chunk, pack_value

_XML, _RESOURCE_MAP = 0x0003, 0x0180
_START_NAMESPACE, _END_NAMESPACE, _START_ELEMENT, _END_ELEMENT = 0x0100, 0x0101, 0x0102, 0x0103
_PREFIX, _NAMESPACE = "android", "http://schemas.android.com/apk/res/android"
# Numbers of the framework's attributes, by which Android finds them (android.R.attr).
ATTRIBUTES = {
    "theme": 0x01010000,
    "label": 0x01010001,
    "icon": 0x01010002,
    "name": 0x01010003,
    "exported": 0x01010010,
    "authorities": 0x01010018,
    "grantUriPermissions": 0x0101001B,
    "configChanges": 0x0101001F,
    "windowBackground": 0x01010054,
    "drawable": 0x01010199,
    "minSdkVersion": 0x0101020C,
    "versionCode": 0x0101021B,
    "versionName": 0x0101021C,
    "windowSoftInputMode": 0x0101022B,
    "targetSdkVersion": 0x01010270,
    "allowBackup": 0x01010280,
    "required": 0x0101028E,
    "supportsRtl": 0x010103AF,
    "statusBarColor": 0x01010451,
    "windowLightStatusBar": 0x010104E0,
}


@dataclass(frozen=True)
class Element:
    """An XML element. Attributes of Android's namespace have keys such as 'android:label'."""

    name: str
    attributes: dict[str, Value] = field(default_factory=dict)
    children: tuple[Element, ...] = ()

    def walk(self) -> Iterator[Element]:
        """Yield this element and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def _number(attribute: str) -> int | None:
    """Return the number of an attribute such as 'android:label'; None: it is of no namespace."""
    prefix, _, name = attribute.rpartition(":")
    return ATTRIBUTES[name] if prefix == _PREFIX else None


def pack(root: Element) -> bytes:
    """Return an XML document in binary form. root: its outermost element."""
    used = sorted({n for e in root.walk() for a in e.attributes if (n := _number(a)) is not None})
    names = {number: name for name, number in ATTRIBUTES.items()}
    # String i is the name of the attribute whose number is entry i of the map.
    strings = Strings(names[number] for number in used)
    edge = struct.pack("<II", strings.add(_PREFIX), strings.add(_NAMESPACE))
    body = _pack_node(_START_NAMESPACE, edge) + _pack_element(root, strings) + _pack_node(_END_NAMESPACE, edge)
    numbers = pack_chunk(_RESOURCE_MAP, b"", struct.pack(f"<{len(used)}I", *used))
    return pack_chunk(_XML, b"", strings.pack() + numbers + body)


def _pack_node(kind: int, content: bytes) -> bytes:
    """Return a chunk of the tree, with line 1 and no comment."""
    return pack_chunk(kind, struct.pack("<II", 1, NONE), content)


def _pack_element(element: Element, strings: Strings) -> bytes:
    """Return an element with all below it."""
    attributes = b""
    # Android searches them in the order of their numbers; those without one come last.
    for key in sorted(element.attributes, key=lambda key: _number(key) or NONE):
        prefix, _, name = key.rpartition(":")
        value = element.attributes[key]
        raw = strings.add(value) if isinstance(value, str) else NONE
        space = strings.add(_NAMESPACE) if prefix else NONE
        attributes += struct.pack("<III", space, strings.add(name), raw) + pack_value(value, strings)
    head = struct.pack("<II6H", NONE, strings.add(element.name), 20, 20, len(element.attributes), 0, 0, 0)
    start = _pack_node(_START_ELEMENT, head + attributes)
    inner = b"".join(_pack_element(child, strings) for child in element.children)
    return start + inner + _pack_node(_END_ELEMENT, struct.pack("<II", NONE, strings.add(element.name)))
