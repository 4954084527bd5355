"""Photos that state their colours by numbers instead of a profile: wide gamuts, gammas and HDR."""

import contextlib
import io
import struct

import numpy as np
import pytest
from PIL import Image

from pggan_tf.conversion import conversion
from pggan_tf.data import heif, photos
from pggan_tf.data.decode import decode_photo
from pggan_tf.errors import Unreadable
from tests.test_decode import encode
from tests.test_decoders import P3, SRGB
from tests.test_odd_files import chunk, with_chunk
from tests.test_photos import deep_png

BT2020 = [(0.67348, 0.27904, -0.00194), (0.16566, 0.67534, 0.02998), (0.12505, 0.04561, 0.79686)]  # XYZ of D50
COLOURS = np.array([(200, 100, 50), (60, 200, 100), (90, 90, 220), (128, 128, 128)], np.uint8)
BLOCKS = COLOURS[None].repeat(16, 1).repeat(16, 0)  # four colours, 16 x 64 pixels


def encode_srgb(light):
    """IEC 61966-2-1."""
    light = np.clip(light, 0, 1)
    return 255 * np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)


def decode_srgb(codes):
    codes = np.asarray(codes) / 255
    return np.where(codes > 0.04045, ((codes + 0.055) / 1.055) ** 2.4, codes / 12.92)


def from_gamut(codes, colorants):
    return encode_srgb(decode_srgb(codes) @ np.array(colorants) @ np.linalg.inv(np.array(SRGB)))


def numbered(kind, primaries, transfer, pixels=BLOCKS):
    """A picture whose file says these numbers of H.273."""
    if kind == "png":
        return with_chunk(encode(Image.fromarray(pixels)), chunk(b"cICP", bytes((primaries, transfer, 0, 1))))
    if kind == "png16":
        return with_chunk(deep_png(pixels.astype(np.uint16) * 257), chunk(b"cICP", bytes((primaries, transfer, 0, 1))))
    if kind == "avif":
        data = encode(Image.fromarray(pixels), "avif", quality=100, subsampling="4:4:4")
    else:
        heif, out = pytest.importorskip("pillow_heif"), io.BytesIO()
        heif.from_pillow(Image.fromarray(pixels)).save(out, quality=100, chroma=444)
        data = out.getvalue()
    assert data.count(b"colrnclx") == 1
    at = data.index(b"colrnclx") + 8
    return data[:at] + primaries.to_bytes(2) + transfer.to_bytes(2) + data[at + 4 :]


def read_blocks(image):
    return np.asarray(image)[8, 8::16].astype(float)


@pytest.mark.parametrize("kind", ["png", "png16", "avif", "heic"])
@pytest.mark.parametrize("primaries, colorants", [(12, P3), (9, BT2020), (1, SRGB)])
def test_wide_colours_are_followed_and_kept(tmp_path, kind, primaries, colorants):
    data, expected = numbered(kind, primaries, 13), from_gamut(COLOURS, colorants)
    assert primaries == 1 or np.abs(expected - COLOURS).max() > 15
    assert np.abs(read_blocks(decode_photo(data)) - expected).max() < 5
    # What is converted keeps its numbers, and a profile says what they mean.
    (tmp_path / f"a.{kind[:4].rstrip('1')}").write_bytes(data)
    name = next(tmp_path.iterdir())
    conversion.convert(str(name), str(tmp_path / "out.png"), lambda photo, progress=None: photo)
    made = (tmp_path / "out.png").read_bytes()
    scale = 257 if kind == "png16" else 1
    assert np.abs(read_blocks(photos.read(made).pixels) / scale - COLOURS).max() < 5
    assert np.abs(read_blocks(decode_photo(made)) - expected).max() < 5
    assert (photos.read(made).profile is None) == (primaries == 1)


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize(
    "chunks, gamma",
    [
        ([chunk(b"gAMA", (100_000).to_bytes(4))], 1.0),
        ([chunk(b"gAMA", (55_556).to_bytes(4))], 1.8),
        ([chunk(b"gAMA", (45_455).to_bytes(4))], None),  # as sRGB's, rounded
        ([chunk(b"gAMA", (100_000).to_bytes(4)), chunk(b"sRGB", b"\0")], None),
        ([chunk(b"gAMA", (1).to_bytes(4))], None),  # nonsense
        ([chunk(b"gAMA", bytes(4))], None),
        ([chunk(b"cICP", bytes((1, 8, 0, 1)))], 1.0),
        ([chunk(b"cICP", bytes((1, 4, 0, 1)))], 2.2),
        ([chunk(b"cICP", b"\1")], None),
        ([chunk(b"cICP", bytes((200, 200, 0, 1)))], None),
    ],
)
def test_a_gamma_is_followed(chunks, gamma, gray):
    pixels = BLOCKS[..., 0] if gray else BLOCKS
    data = with_chunk(encode(Image.fromarray(pixels)), *chunks)
    codes = COLOURS[:, :1].repeat(3, 1) if gray else COLOURS
    expected = codes if gamma is None else encode_srgb((codes / 255) ** gamma)
    assert np.abs(read_blocks(decode_photo(data)) - expected).max() < 2


def pq(light):
    """The code of light in cd/m2, SMPTE ST 2084."""
    power = (light / 10_000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


# (transfer, code, light in cd/m2): dark enough that nothing is compressed. White of SDR has 203 cd/m2.
LIGHTS = [(16, pq(2.0), 2.0), (16, pq(5.0), 5.0), (18, 0.4, 1000 * (0.4**2 / 3) ** 1.2)]


@pytest.mark.parametrize("kind", ["png", "png16", "avif", "heic"])
@pytest.mark.parametrize("transfer, code, light", LIGHTS)
def test_hdr_becomes_srgb_and_that_is_told(tmp_path, capsys, kind, transfer, code, light):
    pixels = np.full((16, 64, 3), round(255 * code), np.uint8)
    pixels[:, 48:] = 255  # the brightest
    data = numbered(kind, 9, transfer, pixels)
    expected = encode_srgb(np.array(light / 203))
    assert transfer == 18 or abs(expected - 255 * code) > 15  # HLG is made to look right as SDR, too
    found = read_blocks(decode_photo(data))
    assert np.abs(found[:2] - expected).max() < 4 and found[3].min() > 250
    name = tmp_path / f"a.{kind[:4].rstrip('1')}"
    name.write_bytes(data)
    conversion.convert(str(name), str(tmp_path / "out.jpg"), lambda photo, progress=None: photo)
    told = f"{tmp_path / 'out.jpg'}: HDR ({'PQ' if transfer == 16 else 'HLG'}), made sRGB"
    assert told in capsys.readouterr().err
    again = photos.read((tmp_path / "out.jpg").read_bytes())
    assert again.profile is None and np.abs(read_blocks(again.pixels)[:2] - expected).max() < 4


def test_transparent_and_gray_hdr():
    pixels = np.full((8, 8, 4), round(255 * pq(20.0)), np.uint8)
    pixels[..., 3] = 77
    says = chunk(b"cICP", bytes((9, 16, 0, 1)))
    expected = encode_srgb(np.array(20 / 203))
    for data in (
        with_chunk(encode(Image.fromarray(pixels)), says),
        with_chunk(deep_png(pixels.astype(np.uint16) * 257), says),
    ):
        photo = photos.read(data)
        assert (
            photo.pixels.dtype == np.uint8 and np.abs(photo.pixels - expected).max() < 4 and (photo.alpha == 77).all()
        )
    gray = photos.read(with_chunk(encode(Image.fromarray(pixels[..., :2], "LA")), says))
    assert gray.pixels.shape == (8, 8, 3) and np.abs(gray.pixels - expected).max() < 4 and gray.alpha is not None


def box(kind, *bodies):
    body = b"".join(bodies)
    return struct.pack(">I", 8 + len(body)) + kind + body


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("two", [False, True])
def test_the_hdr_version_of_a_photo_besides_it_is_not_taken(wide, two):
    """As phones write it since ISO 21496-1: an item of its own has the colours of HDR."""
    item, index = (">I" if wide else ">H"), (">H" if two else ">B")
    colours = [box(b"colr", b"nclx" + struct.pack(">HHHB", *say, 6, 128)) for say in ((12, 16), (12, 13))]
    properties = box(b"ipco", colours[0], box(b"ispe", bytes(12)), colours[1])
    # Item 1 is HDR and has the properties 1 and 2, item 7 is the photo and has 2 and 3.
    entries = [struct.pack(item, 1) + b"\2" + struct.pack(index, 1) + struct.pack(index, 2)]
    entries += [struct.pack(item, 7) + b"\2" + struct.pack(index, 2) + struct.pack(index, 3)]
    which = box(b"ipma", bytes((wide, 0, 0, two)), struct.pack(">I", 2), *entries)
    primary = box(b"pitm", bytes((wide, 0, 0, 0)), struct.pack(item, 7))
    data = box(b"ftyp", b"heic" + bytes(4) + b"mif1heic") + box(
        b"meta", bytes(4), primary, box(b"iprp", properties, which)
    )
    assert heif.read_colours(data) == (12, 13)
    assert heif.read_colours(data.replace(b"pitm", b"pito")) is None


def test_a_transparent_avif_in_a_wide_gamut():
    pixels = np.dstack([BLOCKS, np.full(BLOCKS.shape[:2], 77, np.uint8)])
    data = encode(Image.fromarray(pixels), "avif", quality=100, subsampling="4:4:4")
    at = data.index(b"colrnclx") + 8
    data = data[:at] + b"\0\x0c\0\x0d" + data[at + 4 :]
    found = read_blocks(photos.read(data).rgb())
    assert np.abs(found - COLOURS).max() < 5 and len(photos.read(data).profile) > 200
    drawn = np.asarray(decode_photo(data, 4))[8, 8::16, :3].astype(float)
    assert np.abs(drawn - from_gamut(COLOURS, P3) * 77 / 255).max() < 5  # premultiplied


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_damaged_boxes_hide_no_reason(cut):
    """Wherever the file ends, or says a wrong length, it is read or refused."""
    data = numbered("avif", 12, 13)
    for broken in (data[:cut], data[:cut] + b"\0\0\0\0" + data[cut + 4 :], data[:cut] + b"\0\0\0\1" + data[cut + 4 :]):
        heif.read_colours(broken)
        with contextlib.suppress(Unreadable):
            decode_photo(broken)
