"""Read, change and place XMP packets: metadata in XML that image and video files hold.

The packet's form and its place in each kind of file are those of the XMP specification (ISO
16684-1; part 3 of Adobe's edition for the files). What this project writes into one is defined in
`marks`. A property is a pair (namespace, name), such as ("http://ns.adobe.com/xap/1.0/",
"CreatorTool").
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple
from xml.dom import minidom
from xml.sax.saxutils import escape

from pggan_tf.data import png
from pggan_tf.errors import Unreadable

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMP = "http://ns.adobe.com/xap/1.0/"
_XMLNS = "http://www.w3.org/2000/xmlns/"  # of declarations of namespaces
_TIFF, _EXIF = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/"

_LARGEST = 4 << 20  # bytes; larger packets hold previews of pictures and are not read
LONGEST_IN_JPEG = 65_502  # bytes; JPEG stores a packet in one segment

# Properties that describe the layout of a file or further data in it, which a changed photo does
# not have any more: its thumbnail, an HDR gain map, a depth map, the film of a moving photo, sound,
# the parts of a long packet in a JPEG.
_OF_THE_FILE = {
    *((_TIFF, name) for name in ("Orientation", "ImageWidth", "ImageLength", "BitsPerSample", "SamplesPerPixel")),
    *((_TIFF, name) for name in ("Compression", "PhotometricInterpretation", "PlanarConfiguration")),
    *((_EXIF, name) for name in ("PixelXDimension", "PixelYDimension")),
    (XMP, "Thumbnails"),
}
_OTHER_DATA = (
    "http://ns.adobe.com/xmp/note/",
    "http://ns.adobe.com/hdr-gain-map/",
    "http://ns.apple.com/HDRGainMap/",
    *(
        f"http://ns.google.com/photos/1.0/{part}/"
        for part in ("audio", "camera", "container", "depthmap", "focus", "image")
    ),
)
# Google's properties of panoramas, by which viewers show them as a sphere. Some count the pixels of
# the photo: across and down.
_PANORAMA = "http://ns.google.com/photos/1.0/panorama/"
_ACROSS = {"CroppedAreaImageWidthPixels", "FullPanoWidthPixels", "CroppedAreaLeftPixels"}
_ACROSS |= {"LargestValidInteriorRectLeft", "LargestValidInteriorRectWidth"}
_DOWN = {"CroppedAreaImageHeightPixels", "FullPanoHeightPixels", "CroppedAreaTopPixels"}
_DOWN |= {"LargestValidInteriorRectTop", "LargestValidInteriorRectHeight"}


def _decode(packet: bytes) -> str:
    """Return the text of a packet in UTF-8, UTF-16 or UTF-32 (XMP part 1, section 7.2).

    The first character is < or a byte order mark. Raises Unreadable for other bytes.
    """
    starts = {
        "utf-32-le": (b"<\0\0\0", codecs.BOM_UTF32_LE),
        "utf-32-be": (b"\0\0\0<", codecs.BOM_UTF32_BE),
        "utf-16-le": (b"<\0", codecs.BOM_UTF16_LE),
        "utf-16-be": (b"\0<", codecs.BOM_UTF16_BE),
    }
    encoding = next((name for name, start in starts.items() if packet.startswith(start)), "utf-8")
    try:
        return packet.decode(encoding).rstrip("\0").removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise Unreadable("damaged XMP") from None


def _parse(packet: bytes):
    """Return (the element rdf:RDF, its document). Raise Unreadable if the packet is damaged.

    Entities are refused: a few bytes of them can fill the memory.
    """
    text = _decode(packet)
    if len(text) > _LARGEST or "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise Unreadable("XMP that is not read")
    try:
        document = minidom.parseString(re.sub(r"^\s*<\?xml[^>]*\?>", "", text).encode())
        (root,) = document.getElementsByTagNameNS(RDF, "RDF")
    except Exception:
        raise Unreadable("damaged XMP") from None
    return root, document


class _Property(NamedTuple):
    """A property of an rdf:RDF."""

    name: tuple[str, str]
    text: str  # empty for a list or structure
    remove: Callable[[], Any]  # takes it out of the document
    node: Any  # its attribute or element


def _list_properties(root) -> list[_Property]:
    """Return every property of an rdf:RDF."""
    found: list[_Property] = []
    for part in (n for n in root.childNodes if n.nodeType == n.ELEMENT_NODE):
        for node in list(part.attributes.values()):
            if node.namespaceURI not in (None, RDF, _XMLNS):
                name = (node.namespaceURI, node.localName)
                found.append(_Property(name, node.value, partial(part.removeAttributeNode, node), node))
        for node in [n for n in part.childNodes if n.nodeType == n.ELEMENT_NODE]:
            words = [n.data for n in node.childNodes if n.nodeType in (n.TEXT_NODE, n.CDATA_SECTION_NODE)]
            text = node.getAttributeNS(RDF, "resource") or "".join(words).strip()
            name = (node.namespaceURI or "", node.localName)
            found.append(_Property(name, text, partial(part.removeChild, node), node))
    return found


def read(packet: bytes) -> dict[tuple[str, str], str]:
    """Return {property: text} of a packet; the text of a list or structure is empty.

    Raises Unreadable if the packet is damaged.
    """
    return {found.name: found.text for found in _list_properties(_parse(packet)[0])}


def _scale(found: _Property, growth: tuple[float, float]) -> None:
    """Scale the number of a property that counts pixels of a photo; other properties stay.

    growth: factors by which the photo has become wider and higher.
    """
    space, name = found.name
    if space != _PANORAMA or name not in _ACROSS | _DOWN:
        return
    try:
        text = str(round(float(found.text) * growth[name in _DOWN]))
    except (ValueError, OverflowError):
        return
    if found.node.nodeType == found.node.ATTRIBUTE_NODE:
        found.node.value = text
    else:
        found.node.childNodes[:] = [found.node.ownerDocument.createTextNode(text)]


def clean(
    packet: bytes | None, drop: Callable[[tuple[str, str]], bool], growth: tuple[float, float] = (1.0, 1.0)
) -> str:
    """Return the elements inside a packet's rdf:RDF as XML, without some of its properties.

    Properties that describe the file's layout or further data in it are left out as well. The
    result is empty if there is no packet, if it is damaged, or if nothing is left of it.

    Args:
        packet: the packet; None: there is none.
        drop: function that tells of a property whether to leave it out.
        growth: factors by which the photo has become wider and higher, for the size of a panorama.
    """
    if not packet:
        return ""
    try:
        root, document = _parse(packet)
    except Unreadable:
        return ""
    kept = 0
    for found in _list_properties(root):
        if found.name in _OF_THE_FILE or found.name[0].startswith(_OTHER_DATA) or drop(found.name):
            found.remove()
        else:
            kept += 1
            if growth != (1, 1):
                _scale(found, growth)
    if not kept:
        return ""
    # Namespaces may be declared around these elements.
    around = [root, *([root.parentNode] if root.parentNode is not document else [])]
    for element in (n for n in root.childNodes if n.nodeType == n.ELEMENT_NODE):
        for outer in around:
            for attribute in outer.attributes.values():
                if attribute.prefix == "xmlns" and not element.hasAttribute(attribute.name):
                    element.setAttribute(attribute.name, attribute.value)
    return "".join(n.toxml() for n in root.childNodes if n.nodeType == n.ELEMENT_NODE)


def drop_panorama(packet: bytes | None) -> bytes | None:
    """Return a packet that does not call the picture a panorama, which viewers show as a sphere."""
    kept = clean(packet, lambda name: name[0] == _PANORAMA)
    return make({}, {}, kept) if kept else None


def _spell(text: str) -> str:
    """Return a text for XML, without the control characters that XML does not allow."""
    return escape(re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text))


def make(prefixes: Mapping[str, str], properties: Mapping[tuple[str, str], str], besides: str = "") -> bytes:
    """Return a packet.

    Args:
        prefixes: {namespace: its usual prefix} of all namespaces in `properties`.
        properties: {property: text}; empty adds nothing.
        besides: further elements as XML, from `clean`.
    """
    names = "".join(f' xmlns:{prefix}="{space}"' for space, prefix in prefixes.items())
    lines = "".join(f"<{prefixes[s]}:{n}>{_spell(t)}</{prefixes[s]}:{n}>" for (s, n), t in properties.items())
    own = f'<rdf:Description rdf:about=""{names}>{lines}</rdf:Description>' if properties else ""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{RDF}">{besides}{own}</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


_PNG_KEYWORD = "XML:com.adobe.xmp"


def make_pillow_options(format: str, packet: bytes | None) -> dict[str, Any]:
    """Return the keyword arguments with which Pillow writes a packet into a file.

    Args:
        format: Pillow's name of the format: PNG, JPEG or WEBP.
        packet: the packet; None: none is written.
    """
    if packet is None:
        return {}
    if format != "PNG":
        return {"xmp": packet}
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    chunks.add_itxt(_PNG_KEYWORD, packet.decode())
    return {"pnginfo": chunks}


def make_png_chunk(packet: bytes) -> bytes:
    """Return the chunk of a PNG that holds a packet."""
    # Keyword, no compression, no language, no translated keyword.
    return png.make_chunk(b"iTXt", _PNG_KEYWORD.encode() + bytes(5) + packet)


_GIF_BEGIN, _GIF_END = b"\x21\xff\x0bXMP DataXMP", b"\x01\xff\xfe"


def add_to_gif(data: bytes, packet: bytes) -> bytes:
    """Return a GIF with a packet, which stands before its first picture."""
    colours = 3 << ((data[10] & 7) + 1) if data[10] & 128 else 0
    head = 13 + colours
    # An application extension. Its end makes a reader that takes the packet for blocks find the
    # end of it, wherever it is.
    block = _GIF_BEGIN + packet + _GIF_END + bytes(range(253, -1, -1)) + b"\0"
    return b"GIF89a" + data[6:head] + block + data[head:]


def read_gif(data: bytes) -> bytes | None:
    """Return the packet in the bytes of a GIF, or None if there is none."""
    begin = data.find(_GIF_BEGIN)
    end = data.find(_GIF_END, begin)
    return None if begin < 0 or end < 0 else data[begin + len(_GIF_BEGIN) : end]


def make_box(packet: bytes) -> bytes:
    """Return the box `uuid` that holds a packet in MP4 and QuickTime files; it may come last."""
    body = b"uuid" + bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + packet
    return (len(body) + 4).to_bytes(4) + body
