"""Intact photos whose files say odd things: a strange tag, a long text, a damaged chunk. They are photos like others."""

import json
import struct

import numpy as np
from PIL import Image

from pggan_tf.data import photos
from pggan_tf.data.decode import decode_photo
from tests.conftest import pggan
from tests.test_decode import encode

# Black at the left, white at the right; turned by a quarter, the upper half is black.
HALVES = np.repeat(np.repeat(np.array([[0, 255]], np.uint8), 32, 1), 64, 0)[..., None].repeat(3, 2)


def tag(number, kind, values, count=1):
    return number, kind, count, values


def exif_block(*tags):
    """EXIF with tags of any type, which Pillow would not write."""
    offset, table, values = 8 + 2 + 12 * len(tags) + 4, b"", b""
    for number, kind, count, value in sorted(tags):
        place = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", offset + len(values))
        table += struct.pack("<HHI", number, kind, count) + place
        values += value if len(value) > 4 else b""
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(tags)) + table + bytes(4) + values


TURNED = tag(274, 3, struct.pack("<H", 6))
# Tags with another type than the standard has for them: ASCII 2, SHORT 3, LONG 4, RATIONAL 5, FLOAT 11.
ODD_TAGS = {
    "the maker is a fraction": tag(271, 5, struct.pack("<II", 1, 2)),
    "the maker is a number": tag(271, 3, struct.pack("<H", 5)),
    "the date is a number": tag(306, 4, struct.pack("<I", 5)),
    "the resolution is text": tag(282, 2, b"72\0", 3),
    "the resolution is 0/0": tag(282, 5, bytes(8)),
    "the width is text": tag(256, 2, b"64\0", 3),
    "the resolution is a float": tag(282, 11, struct.pack("<f", 72.5)),
    "the unit is text": tag(296, 2, b"inch", 4),
    "the table is text": tag(34665, 2, b"garbage\0", 8),
}


def turned_jpegs():
    plain = encode(Image.fromarray(HALVES), "jpeg", quality=95)
    for name, odd in ODD_TAGS.items():
        block = exif_block(TURNED, odd)
        yield name, plain[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + plain[2:]


def is_upright(pixels):
    return (pixels[:28] < 40).all() and (pixels[36:] > 215).all()


def test_a_turned_photo_with_one_odd_tag_is_read_and_turned(tmp_path):
    (tmp_path / "photos").mkdir()
    for name, data in turned_jpegs():
        assert is_upright(np.asarray(decode_photo(data))) and is_upright(photos.read(data).pixels), name
        (tmp_path / "photos" / f"{name.replace('/', '-')}.jpg").write_bytes(data)
        for suffix in (".jpg", ".png", ".tif"):
            photos.write(tmp_path / f"again{suffix}", photos.read(data))
            assert is_upright(photos.read((tmp_path / f"again{suffix}").read_bytes()).pixels), name
    code, out, err = pggan("prepare", tmp_path / "photos", tmp_path / "shards", "--size", 16)
    assert code == 0 and f"{len(ODD_TAGS)} images read, {len(ODD_TAGS)} kept" in err + out, err
    assert not json.loads((tmp_path / "shards/report.json").read_text())["dropped"]
