"""One decoder for photos to learn from and photos to change: what each form of file comes to, by both of its doors."""

import io
import itertools
import logging
import struct
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from pggan_tf.data import decoders, jpeg, photos
from pggan_tf.data.decode import decode_photo
from pggan_tf.errors import Unreadable
from tests.conftest import ROOT
from tests.test_decode import COLOUR, NOISE, RAMP, encode
from tests.test_photos import DEEP, deep_png, gray_profile, icc_profile

RNG = np.random.default_rng(1)
SMOOTH = cv2.resize(RNG.integers(0, 256, (5, 7, 3), np.uint8), (70, 50), interpolation=cv2.INTER_CUBIC)


def tiff(values, photometric="rgb", **kwargs):
    out = io.BytesIO()
    tifffile.imwrite(out, values, photometric=photometric, metadata=None, **kwargs)
    return out.getvalue()


def changed(data, tag, value):
    """A TIFF with another number in one of its tags."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        at = file.pages[0].tags[tag].valueoffset
        return data[:at] + struct.pack(file.byteorder + "H", value) + data[at + 2 :]


def raw_tiff(body, width, height, bits, photometric):
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 134, 277: 1, 278: height, 279: len(body)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return (b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries).ljust(134, b"\0") + body


def rgb_profile(colorants, gamma):
    return icc_profile(b"RGB ", gamma, dict(zip((b"r", b"g", b"b"), colorants)))


# Colorants in XYZ of D50, as the profiles of these names have them.
P3 = [(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)]
SRGB = [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)]


def to_srgb(rgb, colorants, gamma):
    """The same by hand: linear light, through XYZ, sRGB's curve (IEC 61966-2-1)."""
    linear = (np.asarray(rgb) / 255) ** gamma @ np.array(colorants) @ np.linalg.inv(np.array(SRGB))
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)


def test_colour_profiles_are_followed_where_photos_are_learned_from():
    """Display P3, as phones have it: the same numbers mean stronger colours. What is changed keeps its numbers and its profile."""
    colours = np.array([[(200, 100, 50), (50, 200, 100)], [(90, 90, 220), (128, 128, 128)]], np.uint8)
    profile = rgb_profile(P3, 2.2)
    expected = to_srgb(colours, P3, 2.2)
    assert np.abs(expected - colours).max() > 15
    alpha = np.full((2, 2, 1), 255, np.uint8)
    for data in (
        encode(Image.fromarray(colours), icc_profile=profile),
        encode(Image.fromarray(np.dstack([colours, alpha])), icc_profile=profile),
        encode(Image.fromarray(colours), "tiff", icc_profile=profile),
        tiff(colours.astype(np.uint16) * 257, iccprofile=profile),
    ):
        np.testing.assert_allclose(np.asarray(decode_photo(data)), expected, atol=1.5)
        kept = photos.read(data)
        assert kept.profile == profile
        np.testing.assert_array_equal(kept.pixels // (257 if kept.pixels.dtype == np.uint16 else 1), colours)
    gray = np.asarray(decode_photo(encode(Image.fromarray(colours), icc_profile=profile), channels=1))
    np.testing.assert_allclose(gray, expected @ (0.299, 0.587, 0.114), atol=2)


def test_srgb_stays_as_it_is_to_the_bit():
    """Whoever has written its profile: that of Pillow, or one with sRGB's colorants and curve in other words."""
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert profile != rgb_profile(SRGB, 2.2)
    every = RNG.integers(0, 256, (64, 64, 3), np.uint8)
    for known in (None, profile, profile[:300], b"no profile" * 20):
        np.testing.assert_array_equal(decode_photo(encode(Image.fromarray(every), icc_profile=known)), every)
    assert (np.asarray(decode_photo(encode(Image.fromarray(every), icc_profile=rgb_profile(SRGB, 1.8)))) != every).any()


def test_cmyk_goes_through_its_profile(monkeypatch):
    """There is no small CMYK profile to draw: what is asked of the library is looked at."""
    from pggan_tf.data import icc

    asked = []

    class Transform:
        def apply(self, image):
            return Image.new("RGB", image.size, (1, 2, 3))

    monkeypatch.setattr(icc, "_build_transform", lambda *wanted: asked.append(wanted) or Transform())
    profile = bytes(16) + b"CMYK" + bytes(200)
    data = encode(Image.new("CMYK", (4, 4), (10, 20, 30, 40)), "jpeg", icc_profile=profile)
    assert (np.asarray(decode_photo(data)) == (1, 2, 3)).all() and (photos.read(data).pixels == (1, 2, 3)).all()
    assert set(asked) == {(profile, "CMYK", "RGB")}


def test_gray_of_16_bits_goes_through_its_profile():
    """Linear in light: 0.5 there is 0.7354 in sRGB; and no step of 8 bits is left."""
    levels = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    light = levels / 65535
    expected = np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)
    for data in (
        encode(Image.fromarray(levels), icc_profile=gray_profile(1.0)),
        tiff(levels, "minisblack", iccprofile=gray_profile(1.0)),
    ):
        read = photos.read(data)
        assert read.profile is None
        np.testing.assert_allclose(read.pixels[..., 0] / 65535, expected, atol=0.003)
        assert len(np.unique(read.pixels)) > 900
        np.testing.assert_allclose(np.asarray(decode_photo(data, channels=1)) / 255, expected, atol=0.005)


def test_a_damaged_gray_profile_is_as_good_as_none():
    for gray in (SMOOTH[..., 0], SMOOTH[..., 0].astype(np.uint16) * 257):
        data = encode(Image.fromarray(np.ascontiguousarray(gray)), icc_profile=gray_profile(1.0)[:200])
        np.testing.assert_array_equal(photos.read(data).pixels[..., 0], gray)


def test_gray_profiles_are_for_gray_alone():
    """Linear in light: 128 there is 188 in sRGB. Alpha stays, and so do colours."""
    flat = np.dstack([np.full((4, 4), 128, np.uint8), np.arange(16, dtype=np.uint8).reshape(4, 4)])
    read = photos.read(encode(Image.fromarray(flat), icc_profile=gray_profile(1.0)))
    assert np.abs(read.pixels.astype(int) - 188).max() <= 1 and (read.alpha == flat[..., 1:]).all()
    for colour in (SMOOTH, np.dstack([SMOOTH, SMOOTH[..., :1]])):
        read = photos.read(encode(Image.fromarray(colour), icc_profile=gray_profile(1.0)))
        np.testing.assert_array_equal(read.pixels, SMOOTH)


def test_floats_of_tiffs_that_only_pillow_opens(monkeypatch):
    stored = np.array([[-1, 0, 0.25, 0.75, 1, 1.5, np.nan]], np.float32)
    data = tiff(stored, "minisblack")
    monkeypatch.setattr(decoders.tiff, "open_file", lambda data: 1 / 0)
    assert photos.read(data).pixels.ravel().tolist() == [0, 0, 16384, 49151, 65535, 65535, 0]


@pytest.mark.parametrize("value, expected", [(65280, 254), (128, 0), (129, 1), (32896, 128), (65535, 255)])
def test_sixteen_bits_become_eight_by_257(value, expected):
    """65535 is 255: dividing by 256 would make 65280 255, and 129 0."""
    gray = np.full((4, 4), value, np.uint16)
    for data in (encode(Image.fromarray(gray)), deep_png(np.dstack([gray] * 3)), tiff(gray, "minisblack")):
        assert (np.asarray(decode_photo(data)) == expected).all()
    assert (decoders.to_eight_bits(gray[..., None]) == expected).all()


def ranges():
    """What is stored, and what it stands for in 0..1."""
    unit = RNG.random((20, 30, 3))
    unit[0, 0], unit[0, 1] = 0, 1
    deep = np.rint(unit * 65535)
    return {
        "float32 0..1": (unit.astype(np.float32), unit),
        "float16 0..1": (unit.astype(np.float16), unit),
        "float64 0..255": (unit * 255, unit),
        "float32 0..65535": ((unit * 65535).astype(np.float32), unit),
        "float32, dark": ((unit * 0.01).astype(np.float32), unit * 0.01),
        "float32, sharpened": ((unit * 1.08 - 0.04).astype(np.float32), np.clip(unit * 1.08 - 0.04, 0, 1)),
        "float32 of its own": ((unit * 7 - 3).astype(np.float32), unit),
        "uint32 0..65535": (deep.astype(np.uint32), unit),
        "uint32 0..255": (np.rint(unit * 255).astype(np.uint32), np.rint(unit * 255) / 255),
        "uint32, all of it": (np.rint(unit * 4294967295).astype(np.uint32), unit),
        "int32 of its own": (np.rint(unit * 4095).astype(np.int32) - 2000, unit),
        "int16": (np.rint(unit * 32767).astype(np.int16), unit),
        "uint16": (deep.astype(np.uint16), unit),
    }


@pytest.mark.parametrize("kind", ranges())
@pytest.mark.parametrize("form", ["plain", "gray", "planes", "tiles", "deflate", "swapped", "big"])
def test_tiffs_of_any_numbers_are_scaled_by_their_range(kind, form):
    stored, expected = ranges()[kind]
    options = {
        "tiles": {"tile": (16, 16)},
        "deflate": {"compression": "zlib"},
        "swapped": {"byteorder": ">"},
        "big": {"bigtiff": True, "byteorder": ">"},
        "planes": {"planarconfig": "separate"},
    }.get(form, {})
    if form == "gray":
        stored, expected = stored[..., 0], expected[..., :1]
    elif form == "planes":
        stored = np.ascontiguousarray(np.moveaxis(stored, -1, 0))
    data = tiff(stored, "minisblack" if form == "gray" else "rgb", **options)
    read = photos.read(data)
    assert read.pixels.dtype == np.uint16 and read.alpha is None
    np.testing.assert_allclose(
        read.pixels / 65535, expected, atol=6e-4 if "16" in kind or kind.startswith("int") else 5e-5
    )
    np.testing.assert_allclose(
        np.asarray(decode_photo(data)) / 255, expected.repeat(4 - expected.shape[2], 2)[..., :3], atol=0.0025
    )


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("kind", ["1", "L", "P", "CMYK", "I;16", "F", "I", "LAB"])
def test_tiffs_as_scanners_and_programs_compress_them(kind, compression):
    gray = SMOOTH[..., 0]
    picture = {
        "1": lambda: Image.fromarray(gray).convert("1"),
        "L": lambda: Image.fromarray(gray),
        "P": lambda: Image.fromarray(SMOOTH).quantize(200),
        "CMYK": lambda: Image.fromarray(SMOOTH).convert("CMYK"),
        "I;16": lambda: Image.fromarray(gray.astype(np.uint16) * 257),
        "F": lambda: Image.fromarray(gray / np.float32(255)),
        "I": lambda: Image.fromarray(gray.astype(np.int32) * 257),
        "LAB": lambda: Image.frombytes("LAB", (70, 50), np.dstack([gray, 0 * gray, 0 * gray]).tobytes()),
    }[kind]()
    read = photos.read(encode(picture, "tiff", compression=compression))
    values = read.pixels / np.iinfo(read.pixels.dtype).max
    if kind == "LAB":  # L of 0..100; with a = b = 0 it is gray
        linear = np.where(gray / 255 > 0.08, ((gray / 2.55 + 16) / 116) ** 3, gray / 2.55 / 903.3)[..., None]
        expected = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
        np.testing.assert_allclose(values, expected.repeat(3, 2), atol=0.02)
    else:
        expected = np.asarray(picture.convert("RGB")) / 255 if kind in ("1", "P", "CMYK") else gray[..., None] / 255
        np.testing.assert_allclose(values, np.broadcast_to(expected[..., : values.shape[2]], values.shape), atol=1e-4)


def test_gray_and_alpha_in_tiffs():
    gray, alpha = DEEP[..., 0], DEEP[..., 1]
    read = photos.read(tiff(np.dstack([gray, alpha]), "minisblack", extrasamples=["unassalpha"]))
    np.testing.assert_array_equal(read.pixels[..., 0], gray)
    np.testing.assert_array_equal(read.alpha[..., 0], alpha)
    # Multiplied by alpha already (TIFF 6.0, ExtraSamples 1); and a channel that is no alpha.
    half = np.full_like(gray, 32768)
    read = photos.read(tiff(np.dstack([gray // 2, half]), "minisblack", extrasamples=["assocalpha"]))
    np.testing.assert_allclose(read.pixels[..., 0], gray // 2 * (65535 / 32768), atol=1)
    assert photos.read(tiff(np.dstack([gray, half]), "minisblack", extrasamples=["unspecified"])).alpha is None
    # More than one: alpha is the first, the others are none.
    rgb = DEEP[..., :3]
    read = photos.read(tiff(np.dstack([rgb, alpha, gray]), extrasamples=["unassalpha", "unspecified"]))
    np.testing.assert_array_equal(read.pixels, rgb)
    np.testing.assert_array_equal(read.alpha[..., 0], alpha)
    read = photos.read(tiff(DEEP, extrasamples=["unspecified"]))
    np.testing.assert_array_equal(read.pixels, rgb)
    assert read.alpha is None
    # A tag that announces one where there is none.
    read = photos.read(tiff(gray / np.float32(65535), "minisblack", extratags=[(338, 3, 1, 2, True)]))
    assert read.alpha is None and (read.pixels[..., 0] == gray).all()
    # Whole alpha of 32 bits is not stretched to its own range.
    values = np.dstack([gray.astype(np.uint32), np.full(gray.shape, 4294967295, np.uint32)])
    assert (photos.read(tiff(values, "minisblack", extrasamples=["unassalpha"])).alpha == 65535).all()


def test_alpha_of_whole_numbers_is_scaled_by_its_type():
    """Colours fill a usual range; alpha says how much of a pixel is there, also where all of it is faint."""
    for dtype, most in ((np.uint32, 4294967295), (np.int16, 32767)):
        alpha = np.array([[0, 1, 20000, most // 2]], dtype)
        values = np.dstack([np.full_like(alpha, 200)] * 3 + [alpha])
        read = photos.read(tiff(values, extrasamples=["unassalpha"]))
        np.testing.assert_array_equal(read.alpha[0, :, 0], np.rint(alpha[0] * (65535 / most)))
        assert (read.pixels == np.rint(200 * 65535 / 255)).all()
    faint = np.dstack([np.full((1, 3), 0.5, np.float32), np.array([[0, 0.25, 0.5]], np.float32)])
    read = photos.read(tiff(faint, "minisblack", extrasamples=["unassalpha"]))
    assert read.pixels.ravel().tolist() == [32768] * 3 and read.alpha.ravel().tolist() == [0, 16384, 32768]


def test_premultiplied_colours_are_divided_by_their_alpha():
    stored = np.array([[(1, 1), (30000, 65535), (40000, 65535), (500, 100), (0, 0), (65535, 65535)]], np.uint16)
    read = photos.read(tiff(stored, "minisblack", extrasamples=["assocalpha"]))
    assert read.pixels.dtype == np.uint16
    assert read.pixels.ravel().tolist() == [65535, 30000, 40000, 65535, 0, 65535]
    assert (read.alpha[..., 0] == stored[..., 1]).all()


def test_eight_bits_that_pillow_does_not_open():
    """Gray with alpha in forms that it does not know, and deflate under a private number."""
    gray, alpha = SMOOTH[..., 0], np.full((50, 70), 128, np.uint8)
    read = photos.read(tiff(np.dstack([gray // 2, alpha]), "minisblack", extrasamples=["assocalpha"]))
    assert read.pixels.dtype == np.uint8 and (read.alpha == 128).all()
    np.testing.assert_allclose(read.pixels[..., 0], np.rint(gray // 2 * (255 / 128)), atol=1)
    read = photos.read(tiff(np.dstack([gray, alpha]), "miniswhite", extrasamples=["unassalpha"]))
    np.testing.assert_array_equal(read.pixels[..., 0], 255 - gray)
    assert (read.alpha == 128).all()
    for planes in (gray[..., None], SMOOTH, np.dstack([SMOOTH, alpha])):
        channels = planes.shape[2]
        kind = {"photometric": "rgb" if channels > 2 else "minisblack", "extrasamples": ["unassalpha"] * (channels > 3)}
        for turned, orientation in ((planes, 1), (np.rot90(planes), 6)):
            plain = tiff(
                np.ascontiguousarray(turned).squeeze(),
                compression="zlib",
                **kind,
                extratags=[(274, 3, 1, orientation, True)],
            )
            read = photos.read(changed(plain, 259, 50013))
            np.testing.assert_array_equal(read.pixels, planes[..., :3])
            assert read.alpha is None if channels < 4 else (read.alpha == 128).all()


def test_pages_that_only_opencv_reads():
    """It writes LZW, which tifffile does not take without another package: colours, alpha, and any page of several."""
    for channels in (3, 4):
        deep = np.ascontiguousarray(DEEP[..., :channels])
        data = deep_png(deep)  # of the same pixels, in the order that OpenCV has them in
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        pages = [stored, np.ascontiguousarray(stored[:5]), np.ascontiguousarray(stored[:, :7])]
        data = cv2.imencodemulti(".tif", pages)[1].tobytes()
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_WARNING)
        try:
            with decoders.open_pictures(data) as pictures:
                assert pictures.sizes() == [(17, 12), (17, 5), (7, 12)]
                for i, expected in enumerate((deep, deep[:5], deep[:, :7])):
                    np.testing.assert_array_equal(pictures.picture(i).planes()[..., :3], expected[..., :3])
            assert cv2.utils.logging.getLogLevel() == cv2.utils.logging.LOG_LEVEL_WARNING
        finally:
            cv2.utils.logging.setLogLevel(level)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_scans_of_fewer_than_16_bits(bits):
    """Packed without gaps (TIFF 6.0, section 7), as scanners and microscopes write them; the largest number is white."""
    most = (1 << bits) - 1
    values = np.linspace(0, most, 64).round().astype(int).reshape(4, 16)
    body = b"".join(int("".join(f"{v:0{bits}b}" for v in row), 2).to_bytes(2 * bits, "big") for row in values)
    for photometric, expected in ((1, values), (0, most - values)):
        data = raw_tiff(body, 16, 4, bits, photometric)
        np.testing.assert_array_equal(photos.read(data).pixels[..., 0], np.rint(expected * (65535 / most)))


@pytest.mark.parametrize(
    "dtype, values, expected",
    [
        # 0..1 of floats, and 5 % beyond
        ("f8", [1 - 1.05, 0, 0.25, 1, 1.05], [0, 0, 16384, 65535, 65535]),
        ("f4", [0.25, 0.5, 0.75], [16384, 32768, 49151]),
        ("f8", [1 - 1.06, 1.05 - 0.06], [0, 65535]),
        # 0..255, of which a sixteenth is filled at least
        ("f8", [255 * (1 - 1.05), 51, 255 * 1.05], [0, 13107, 65535]),
        ("f8", [1, 255 / 16], [257, 4096]),
        ("f8", [1, 255 / 16 - 0.01], [0, 65535]),
        ("u4", [10, 100, 200], [2570, 25700, 51400]),
        ("u4", [10, 100, 267], [2570, 25700, 65535]),
        ("u4", [10, 100, 268], [0, 22861, 65535]),
        # 0..65535, or 0..32767 of signed 16 bits
        ("i4", [-3276, 1000, 4096], [0, 1000, 4096]),
        ("i4", [-3277, 4096], [0, 65535]),
        ("u4", [1000, 32767, 65535, 68811], [1000, 32767, 65535, 65535]),
        ("i2", [-1638, 100, 20000, 32767], [0, 200, 40001, 65535]),
        ("i2", [-1639, 32767], [0, 65535]),
        # 0..2^32-1
        ("u4", [1 << 30, 1 << 31, 4294967295], [16384, 32768, 65535]),
        # their own
        ("u4", [100_000, 150_000, 200_000], [0, 32768, 65535]),
        ("f8", [-0.3, -0.05, 0.2], [0, 32768, 65535]),
        ("f4", [7, 7, 7], [0, 0, 0]),
        ("f8", [2e9, 2e9], [30517, 30517]),
        ("f8", [-5, -5], [0, 0]),
        # what is no number is black, what is infinite the end of the range
        ("f4", [np.nan, 0, 0.5, np.inf, -np.inf], [0, 0, 32768, 65535, 0]),
    ],
    ids=str,
)
def test_which_range_is_taken(dtype, values, expected):
    read = photos.read(tiff(np.array([values], dtype), "minisblack"))
    assert read.pixels.ravel().tolist() == expected


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("compression", ["none", "tiff_lzw"])
def test_deep_tiffs_stand_upright(orientation, compression):
    stored = np.ascontiguousarray({1: RAMP, 3: RAMP[::-1, ::-1], 6: np.rot90(RAMP)}[orientation]).astype(np.float32)
    options = {"compression": compression} if compression != "none" else {}
    read = photos.read(encode(Image.fromarray(stored), "tiff", tiffinfo={274: orientation}, **options))
    np.testing.assert_allclose(read.pixels[..., 0] / 257, RAMP, atol=0.01)


@pytest.mark.parametrize(
    "data, reason",
    [
        (tiff(RNG.random((9, 9, 20)).astype(np.float32), "minisblack", planarconfig="contig"), "20 channels"),
        (tiff(np.full((4, 4), np.nan, np.float32), "minisblack"), "without a finite value"),
        (
            tiff(RNG.random((9, 9, 9)).astype(np.float32), "minisblack", planarconfig="contig"),
            "9 channels. Expected 1 to 4$",
        ),
        (tiff(np.zeros((4, 4), np.complex64), "minisblack"), "^a TIFF of complex64. Expected integers or floats$"),
        (tiff(DEEP, "separated"), "^a TIFF of uint16 in the colours SEPARATED. Expected gray or RGB$"),
        (changed(tiff(DEEP[..., 0], "minisblack"), 262, 34892), "^a TIFF of uint16 in the colours LINEAR RAW. "),
        (changed(tiff(DEEP[..., 0], "minisblack"), 262, 12345), "^a TIFF of uint16 in the colours 12345. Expected"),
        (
            changed(tiff(DEEP[..., 0], "minisblack", compression="zlib"), 259, 34892),
            r"^a TIFF of uint16, JPEG LOSSY. It can "
            "be read after: pip install imagecodecs$",
        ),
        (raw_tiff(bytes(24), 2, 4, 24, 1), "^a TIFF of uint32, NONE. It can be read after"),
        (
            tiff(DEEP.transpose(2, 0, 1).copy(), "minisblack", volumetric=True),
            "^a TIFF with the axes ZYX. Expected one picture a",
        ),
        (tiff(DEEP[..., :3])[:400], "."),
        (b"II*\0" + bytes(50), "."),
    ],
    ids=str,
)
def test_tiffs_that_cannot_be_read_say_why(data, reason, capfd):
    for read in (photos.read, decode_photo):
        with pytest.raises(Unreadable, match=reason):
            read(data)
    out, err = capfd.readouterr()
    assert out == err == ""  # no library says something besides


@pytest.mark.parametrize("form", [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"progressive": True, "restart_marker_rows": 1}])  # fmt: skip
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_without_its_end_is_read_if_nothing_else_is_missing(form, mode):
    whole = encode(Image.fromarray(SMOOTH).convert(mode), "jpeg", quality=90, **form)
    assert whole.endswith(b"\xff\xd9")
    expected = np.asarray(Image.open(io.BytesIO(whole)).convert("RGB"))
    for data in (whole[:-2], whole[:-1], whole[:-2] + bytes(300)):
        np.testing.assert_array_equal(decode_photo(data), expected)
        np.testing.assert_array_equal(photos.read(data).rgb(), expected)
    # Where it is cut within its picture, at its markers above all, it is refused: or not one pixel is missing.
    start = whole.index(b"\xff\xda")
    markers = [i for i in range(start, len(whole) - 2) if whole[i] == 255 and whole[i + 1]]
    cuts = {*range(len(whole) - 24, len(whole) - 2), *range(start + 12, len(whole) - 24, 131)}
    cuts |= {i + d for i in markers[:: max(1, len(markers) // 20)] for d in (-1, 0, 1, 2)}
    refused = 0
    for cut in sorted(c for c in cuts if c < len(whole) - 2):
        try:
            np.testing.assert_array_equal(photos.read(whole[:cut]).rgb(), expected)
        except Unreadable:
            refused += 1
        with pytest.raises(Unreadable):
            photos.read(whole[: cut // 2 + start // 2] + bytes(cut // 2))  # padded with zeros, as disks do
    assert refused > 0.9 * len(cuts)


def test_scans_that_are_missing_are_noticed():
    """A progressive file that ends after a whole scan has nothing broken in it, but not all of its bits."""
    whole = encode(Image.fromarray(SMOOTH), "jpeg", progressive=True)
    scans = [i for i in range(len(whole)) if whole[i : i + 2] in (b"\xff\xda", b"\xff\xc4")]
    assert len(scans) > 8 and jpeg.decode_cut(whole[:-2]) is not None
    assert all(jpeg.decode_cut(whole[:at]) is None for at in scans[4:])
    last = scan_headers(whole)[-1][0]
    for cut in range(last + 4, last + 10):  # within the header of a scan
        with pytest.raises(Unreadable, match="^image file is truncated"):
            decode_photo(whole[:cut])


def scan_headers(data):
    """(offset of the marker, header behind its length) of every scan."""
    starts = [i for i in range(len(data)) if data[i : i + 2] == b"\xff\xda"]
    return [(at, data[at + 4 : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]) for at in starts]


def test_each_scan_with_last_bits_has_to_be_there():
    """Taken out of a progressive file: its headers, last of all of a band, say that bits are missing."""
    whole = encode(Image.fromarray(SMOOTH), "jpeg", progressive=True)[:-2]
    headers = scan_headers(whole)
    last = [i for i, (_, header) in enumerate(headers) if header[-1] & 15 == 0]
    assert jpeg.decode_cut(whole) is not None and len(last) == 4 < len(headers)
    for i in last:
        at, header = headers[i]
        end = next(
            (j for j in range(at + 2, len(whole)) if whole[j] == 255 and whole[j + 1] not in (0, 255)), len(whole)
        )
        assert jpeg.decode_cut(whole[:at] + whole[end:]) is None
        if header[-2] == 63:  # a band that ends before the last coefficient
            end = at + 4 + len(header) - 2
            assert jpeg.decode_cut(whole[:end] + b"\x3e" + whole[end + 1 :]) is None


def test_what_stands_before_and_between_the_segments_of_a_jpeg():
    """Bytes that fill (T.81, B.1.1.2), and a segment with a small JPEG in it, as cameras write."""
    whole = encode(Image.fromarray(SMOOTH), "jpeg", progressive=True, exif=b"Exif\0\0" + encode(NOISE, "jpeg"))
    expected = np.asarray(Image.open(io.BytesIO(whole)))
    at = scan_headers(whole)[-1][0]
    for filling in (b"", b"\xff", b"\xff\xff"):
        np.testing.assert_array_equal(jpeg.decode_cut(whole[:at] + filling + whole[at:-2]), expected)
    thumbnail = b"\xff\xd8\xff\xe1" + (2 + len(data := encode(NOISE, "jpeg"))).to_bytes(2, "big") + data
    with pytest.raises(Unreadable):
        decode_photo(thumbnail)


@pytest.mark.parametrize("last", [b"\xff\0", b"X"])
@pytest.mark.parametrize("progressive", [False, True])
def test_the_last_byte_is_kept(progressive, last):
    """255 is written with a zero behind it, which is no padding; alone, it is half of the end's marker."""
    drawn = (np.random.default_rng(i).integers(0, 256, (8, 8), np.uint8) for i in itertools.count())
    files = (encode(Image.fromarray(image), "jpeg", quality=90, progressive=progressive) for image in drawn)
    whole = next(data for data in files if data.endswith(last + b"\xff\xd9"))
    expected = np.asarray(Image.open(io.BytesIO(whole)))
    for data in (whole[:-2], whole[:-1], whole[:-2] + bytes(300)):
        np.testing.assert_array_equal(jpeg.decode_cut(data), expected)
    for cut in (whole[:-3], whole[:-4], whole[:-5], whole[:-5] + bytes(300)):
        assert jpeg.decode_cut(cut) is None


def test_zeros_are_no_picture():
    """Read as a code they can be many pixels: of a file whose end was never written, as much as fills a disk's block."""
    for mode, form in itertools.product(("L", "RGB"), ({}, {"progressive": True}, {"restart_marker_rows": 1})):
        whole = encode(NOISE.convert(mode), "jpeg", **form)
        for cut in range(len(whole) - 40, len(whole) - 6):
            assert jpeg.decode_cut(whole[:cut] + bytes(5000)) is None


def test_names_and_kinds_of_phones_and_browsers():
    lossless = encode(Image.fromarray(COLOUR), "avif", quality=100, subsampling="4:4:4")
    assert np.abs(np.asarray(decode_photo(lossless)).astype(int) - COLOUR).mean() < 2
    np.testing.assert_array_equal(decode_photo(encode(Image.fromarray(COLOUR), "jpeg2000")), COLOUR)
    assert {".jfif", ".jpe", ".avif", ".jp2", ".heic", ".heif", ".jpg", ".tif"} <= set(photos.EXTENSIONS)


def brands(major, *others):
    """The first box of a file (ISO/IEC 14496-12, section 4.3)."""
    return struct.pack(">I4s4sI", 16 + 4 * len(others), b"ftyp", major, 0) + b"".join(others)


@pytest.mark.parametrize(
    "data, known",
    [
        *((brands(brand), True) for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")),
        (brands(b"isom", b"mp41", b"heic"), True),
        (brands(b"isom", *[b"mp41"] * 59, b"heic"), True),
        (brands(b"isom", *[b"mp41"] * 60, b"heic"), False),  # 256 bytes are looked at
        (brands(b"isom", b"mp41") + b"heicheic", False),  # behind the box
        (brands(b"isom", b"mp41"), False),
        (brands(b"isom", b"..he", b"ic.."), False),
        (brands(b"mif1", b"avif", b"heic"), False),
        (brands(b"avis", b"msf1", b"heic"), False),
        (brands(b"heic").replace(b"ftyp", b"free"), False),
    ],
)  # fmt: skip
def test_heic_is_known_by_its_brands(data, known, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(Unreadable) as refused:
        decode_photo(data)
    assert str(refused.value).startswith("HEIC, which needs one package more: pip install pillow-heif, or") == known


@pytest.mark.parametrize(
    "data, reason", [(b"", "an empty file"), (b"hello", f"not a file of a known kind ({', '.join(decoders.FORMATS)})")]
)
def test_what_is_no_picture_is_told_without_heic_too(data, reason, monkeypatch):
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)  # as long as no HEIC file has been seen
    with pytest.raises(Unreadable) as refused:
        decode_photo(data)
    assert str(refused.value) == reason


def test_heic_is_read_by_an_extra_that_is_named_where_it_is_missing(monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[271] = "A phone"
    data = io.BytesIO()
    heif.from_pillow(Image.fromarray(SMOOTH)).save(data, quality=95, exif=exif.tobytes())
    data = data.getvalue()
    assert data[4:12] in (b"ftypheic", b"ftypmif1")
    for read in (np.asarray(decode_photo(data)), photos.read(data).pixels):
        assert read.shape == SMOOTH.shape and np.abs(read.astype(int) - SMOOTH).mean() < 6
    assert b"A phone" in photos.read(data).exif
    stub = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    with pytest.raises(Unreadable, match="^a damaged HEIC file$"):
        decode_photo(stub)
    with pytest.raises(Unreadable, match="not a file of a known kind .JPEG, PNG"):
        photos.read(data, ("JPEG", "PNG"))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for read in (decode_photo, photos.read):
        with pytest.raises(Unreadable, match=r"HEIC, which needs one package more: pip install.*\[heic\]") as refused:
            read(stub)
        assert refused.value.kind == "HEIC without pillow-heif"


@pytest.mark.parametrize("width, height, fits", [(1 << 15, 1 << 14, True), ((1 << 15) + 1, 1 << 14, False)])
def test_one_limit_in_pixels_for_all(width, height, fits):
    """Just at the limit a file is decoded, and found to be cut; beyond, its header is enough."""
    from tests.test_decode import bomb

    for read in (decode_photo, photos.read):
        with pytest.raises(Unreadable) as refused:
            read(bomb(width, height))
        assert ("more than 536 million" in str(refused.value)) != fits
    assert decoders.MAX_PIXELS == 1 << 29
    assert decoders.MAX_BYTES > 8 * decoders.MAX_PIXELS  # four channels of 16 bits, not compressed


def test_tags_of_deep_tiffs_are_kept_in_any_order_of_bytes():
    for form in ({}, {"byteorder": ">"}, {"bigtiff": True}, {"bigtiff": True, "byteorder": ">"}):
        data = tiff(DEEP[..., :3], extratags=[(271, 2, 0, "A camera", True), (274, 3, 1, 6, True)], **form)
        read = photos.read(data)
        np.testing.assert_array_equal(read.pixels, np.rot90(DEEP[..., :3], -1))
        if len(form) < 2:  # Pillow cannot read tags of the last one
            assert b"A camera" in read.exif


def test_eight_channels_are_read_without_a_word_besides(capfd, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as in a program that sets up none
    planes = np.ascontiguousarray(DEEP[..., :1].repeat(8, 2))
    np.testing.assert_array_equal(
        photos.read(tiff(planes, "minisblack", planarconfig="contig")).pixels, planes[..., :1]
    )
    assert capfd.readouterr() == ("", "")


def test_pages_and_frames_are_counted():
    pages = io.BytesIO()
    with tifffile.TiffWriter(pages) as file:
        file.write(SMOOTH, photometric="rgb", metadata=None)
        file.write(SMOOTH[::4, ::4].copy(), photometric="rgb", metadata=None, subfiletype=1)  # a thumbnail
        file.write(SMOOTH[:30].astype(np.float32) / 255, photometric="rgb", metadata=None)
    with decoders.open_pictures(pages.getvalue()) as pictures:
        assert (pictures.kind, pictures.sizes()) == ("pages", [(70, 50), (70, 30)]) and pictures.has_more()
        np.testing.assert_array_equal(pictures.picture(0).planes(), SMOOTH)
        np.testing.assert_array_equal(pictures.picture(1).planes(), SMOOTH[:30].astype(np.uint16) * 257)
    frames = [Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (10, 90, 200)]
    for form in ("gif", "webp", "png"):
        data = encode(frames[0], form, save_all=True, append_images=frames[1:], duration=[40, 80, 120], loop=2)
        with decoders.open_pictures(data) as pictures:
            assert pictures.sizes() == [(8, 8)] * 3 and pictures.loop == (3 if form == "gif" else 2)
            read = [pictures.picture(i) for i in range(3)]
        assert [p.milliseconds for p in read] == [40, 80, 120]
        assert [abs(int(p.planes()[4, 4, 0]) - level) < 4 for p, level in zip(read, (10, 90, 200))] == [True] * 3
        assert abs(photos.read(data).pixels[0, 0, 0] - 10) < 4
    for shown in (1, 2):  # and a first one for programs that show no animation
        data = encode(frames[0], "png", save_all=True, append_images=frames[1 : 1 + shown], default_image=True)
        with decoders.open_pictures(data) as pictures:
            assert len(pictures.sizes()) == shown and pictures.has_more() == (shown > 1)
            assert pictures.picture(0).planes()[0, 0, 0] == 90


@pytest.mark.parametrize("form", ["jpeg", "png", "bmp", "gif", "webp", "avif", "jpeg2000", "tiff"])
def test_a_still_picture_is_one(form):
    with decoders.open_pictures(encode(Image.fromarray(SMOOTH), form)) as pictures:
        assert pictures.sizes() == [(70, 50)] and pictures.first_size() == (70, 50) and not pictures.has_more()
        assert form == "avif" or pictures.picture().milliseconds == 0  # Pillow gives a still AVIF a second
        assert pictures.kind == ("pages" if form == "tiff" else "frames") and pictures.format == form.upper()


@pytest.mark.parametrize(
    "form, again, times",
    [("gif", {}, 1), ("gif", {"loop": 0}, 0), ("gif", {"loop": 1}, 2), ("png", {"loop": 0}, 0), ("png", {"loop": 1}, 1),
     ("webp", {"loop": 3}, 3), ("avif", {}, 0)],
)  # fmt: skip
def test_how_often_an_animation_is_shown(form, again, times):
    """A GIF counts how often it is shown again, others how often it is shown; 0 is for ever."""
    frames = [Image.fromarray(np.full((16, 16, 3), level, np.uint8)) for level in (10, 200)]
    data = encode(frames[0], form, save_all=True, append_images=frames[1:], duration=80, **again)
    with decoders.open_pictures(data) as pictures:
        assert pictures.loop == times and len(pictures.sizes()) == 2 and pictures.has_more()
        assert [abs(int(pictures.picture(i).planes()[8, 8, 0]) - v) < 6 for i, v in enumerate((10, 200))] == [True] * 2


def test_every_kind_is_read_by_a_process_that_has_read_nothing_before(tmp_path):
    """Pillow registers its kinds as it goes: what a kind lacks may have been loaded by the test before."""
    image, kinds = Image.new("RGB", (4, 4), (200, 100, 50)), ("gif", "webp", "tiff")
    for kind in kinds:
        (tmp_path / kind).write_bytes(encode(image, kind))
        code = f"from pggan_tf.data import photos; print(photos.read(open({str(tmp_path / kind)!r}, 'rb').read()).size)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
        assert (done.stdout, done.stderr) == ("(4, 4)\n", ""), kind
