"""Keep captions, comments and texts of photos: what their files say besides EXIF and XMP.

Agencies and archives write captions by the IPTC's Information Interchange Model (IIM 4.2) into JPEG
and TIFF. A JPEG may have a comment, a PNG texts with keywords, such as the prompt of a generated
picture. Each goes into files of a kind that holds it; what does not is told.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from PIL import Image

from pggan_tf.data import png

IPTC_TAG = 33723  # of TIFF
_IPTC_RESOURCE = 0x0404  # of Photoshop's resources, in the segment APP13 of a JPEG
_MARKER = 0x1C  # begins each data set of the IIM
_OBJECT_DATA = 7  # from this record on, the IIM holds objects, not words
_PREVIEW = (200, 201, 202)  # data sets of record 2: a small picture, which would show the photo as it was
_LONGEST = 65_500  # bytes that go into one segment of a JPEG
_NOT_COPIED = ("XML:com.adobe.xmp", "Raw profile type ", "Thumb::")  # XMP, EXIF and others; a thumbnail
_JPEG, _TIFF = (".jpg", ".jpeg"), (".tif", ".tiff")


@dataclass(frozen=True)
class Captions:
    """What a file says besides EXIF and XMP."""

    iptc: bytes | None = None  # data sets of the IIM
    comment: bytes | None = None  # of a JPEG or GIF, in no particular encoding
    texts: tuple[tuple[str, bytes], ...] = ()  # (keyword, chunk) of the texts in a PNG


def _clean_iptc(block) -> bytes | None:
    """Return the sound data sets of an IPTC block, without previews; None if there are none.

    block: the block; anything but bytes counts as none.
    """
    kept, at = [], 0
    while isinstance(block, bytes) and at + 5 <= len(block) and block[at] == _MARKER:
        record, number, size = struct.unpack_from(">BBH", block, at + 1)
        end = at + 5 + size
        if size & 0x8000 or end > len(block):  # longer than 32 KB, which no words are
            break
        if record < _OBJECT_DATA and not (record == 2 and number in _PREVIEW):
            kept.append(block[at:end])
        at = end
    return b"".join(kept) or None


def read(image: Image.Image, data: bytes) -> Captions:
    """Return what a file opened with Pillow says.

    Args:
        image: the image of the file, loaded. Anything but a TIFF.
        data: bytes of the file.
    """
    if image.format == "PNG":
        texts = [(key, chunk) for key, chunk in png.list_texts(data) if not key.startswith(_NOT_COPIED)]
        return Captions(texts=tuple(texts))
    if image.format not in ("JPEG", "MPO", "GIF"):
        return Captions()
    resources, comment = image.info.get("photoshop"), image.info.get("comment")
    iptc = resources.get(_IPTC_RESOURCE) if isinstance(resources, dict) else None
    return Captions(_clean_iptc(iptc), comment if isinstance(comment, bytes) and comment else None)


def read_page(page) -> Captions:
    """Return what a page of a TIFF says. page: a TiffPage of the package tifffile."""
    block = page.tags.valueof(IPTC_TAG)
    if isinstance(block, tuple) and all(isinstance(word, int) for word in block):  # many programs say LONG
        block = struct.pack(f"{page.parent.byteorder}{len(block)}I", *(word & 0xFFFFFFFF for word in block))
    return Captions(_clean_iptc(block))


def keep(captions: Captions, suffix: str) -> tuple[Captions, str | None]:
    """Return (those captions that a type of file holds, the others as a text for the user or None).

    Args:
        captions: the captions of a photo.
        suffix: file extension, such as '.jpg'; 'an animation', which holds none.
    """
    left_out: list[str] = []
    iptc, comment, texts = captions.iptc, captions.comment, captions.texts
    if iptc and (suffix not in (*_JPEG, *_TIFF) or (suffix in _JPEG and len(iptc) > _LONGEST)):
        left_out, iptc = [*left_out, f"IPTC caption{_describe_length(iptc, suffix)}"], None
    if comment and (suffix not in _JPEG or len(comment) > _LONGEST):
        left_out, comment = [*left_out, f"comment{_describe_length(comment, suffix)}"], None
    if texts and suffix != ".png":
        names = ["".join(c if c.isprintable() else "?" for c in key) for key, _ in texts]
        more = ", ..." if len(names) > 3 else ""
        left_out, texts = [*left_out, f"texts ({', '.join(names[:3])}{more})"], ()
    said = f"without its {' and '.join(left_out)}, which {suffix} does not hold" if left_out else None
    return Captions(iptc, comment, texts), said


def _describe_length(block: bytes, suffix: str) -> str:
    """Return ' of N bytes' if a type of file does not hold a block for its length alone, else ''."""
    return f" of {len(block):,} bytes" if suffix in _JPEG else ""


def make_jpeg_options(captions: Captions) -> dict[str, bytes]:
    """Return the keyword arguments with which Pillow writes captions into a JPEG."""
    options = {"comment": captions.comment} if captions.comment else {}
    if captions.iptc:
        # A resource of Photoshop: its number, no name, its length, padded to an even one.
        resource = b"8BIM" + struct.pack(">HHI", _IPTC_RESOURCE, 0, len(captions.iptc)) + captions.iptc
        body = b"Photoshop 3.0\0" + resource + bytes(len(resource) % 2)
        options["extra"] = b"\xff\xed" + struct.pack(">H", len(body) + 2) + body
    return options
