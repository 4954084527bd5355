"""Bytes of all kinds -> pixels, or a reason why not."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pggan_tf.data.decode import TILES, Unreadable, cut_square, cut_tiles, decode_photo


def decode(data, size, upscale_small=False):
    return cut_square(decode_photo(data, 3, 1 if upscale_small else size), size)


def encode(image, format="png", **kwargs):
    out = io.BytesIO()
    image.save(out, format, **kwargs)
    return out.getvalue()


RAMP = np.linspace(0, 255, 32).astype(np.uint8)[None, :].repeat(32, 0)  # dark to light, left to right
COLOUR = np.stack([RAMP, RAMP[:, ::-1], np.full_like(RAMP, 90)], -1)

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))


def photo_forms():
    palette = Image.fromarray(COLOUR).quantize(64)
    alpha = Image.fromarray(np.dstack([COLOUR, np.full_like(RAMP, 255)]))
    sixteen = Image.fromarray(RAMP.astype(np.uint16) * 257)
    return {
        "rgb": encode(Image.fromarray(COLOUR)),
        "jpeg": encode(Image.fromarray(COLOUR), "jpeg", quality=95),
        "webp": encode(Image.fromarray(COLOUR), "webp", lossless=True),
        "bmp": encode(Image.fromarray(COLOUR), "bmp"),
        "gray": encode(Image.fromarray(RAMP)),
        "sixteen": encode(sixteen),
        "white is zero": encode(Image.fromarray(65535 - RAMP.astype(np.uint16) * 257), "tiff", tiffinfo={262: 0}),
        "cmyk": encode(Image.fromarray(COLOUR).convert("CMYK"), "jpeg", quality=95),
        "palette": encode(palette),
        "alpha": encode(alpha),
        "animated": encode(
            Image.fromarray(COLOUR), "webp", save_all=True, append_images=[Image.fromarray(COLOUR[::-1])], lossless=True
        ),
        "one bit": encode(Image.fromarray(RAMP).convert("1")),
    }


@pytest.mark.parametrize("form", photo_forms())
def test_every_form_of_photo_becomes_rgb(form):
    image = decode(photo_forms()[form], 32)
    assert image.shape == (32, 32, 3) and image.dtype == np.uint8
    expected = (
        COLOUR
        if form in ("rgb", "jpeg", "webp", "bmp", "cmyk", "palette", "alpha", "animated")
        else np.repeat(RAMP[..., None], 3, 2)
    )
    if form != "one bit":
        assert np.abs(image.astype(int) - expected).mean() < 8, form


def test_transparency_is_laid_on_white():
    clear = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    assert (decode(encode(clear), 8) == 255).all()


def test_transparent_gray_is_laid_on_white():
    half = Image.fromarray(np.dstack([np.full((2, 3), 100, np.uint8), np.array([[0, 128, 255]] * 2, np.uint8)]), "LA")
    for data in (encode(half), np.asarray(half.convert("RGBA"))):
        assert np.asarray(decode_photo(data, 1)).tolist() == [[255, 177, 100]] * 2 and decode_photo(data).mode == "RGB"


def test_a_photo_may_be_a_single_pixel():
    assert decode_photo(encode(Image.new("L", (1, 1), 7))).getpixel((0, 0)) == (7, 7, 7)
    assert decode_photo(np.full((1, 1, 3), 7, np.uint8)).size == (1, 1)


def test_exif_turns_the_photo():
    exif = Image.Exif()
    exif[274] = 6  # turned by 90 degrees
    upright = decode(encode(Image.fromarray(COLOUR), "jpeg", exif=exif, quality=95), 32)
    assert np.abs(upright.astype(int) - np.rot90(COLOUR, -1)).mean() < 8


def test_the_centre_is_kept():
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200
    assert (decode(encode(Image.fromarray(wide)), 8) == 200).all()


def bomb(width=30_000, height=30_000):
    """The header of a PNG that would take 2.7 GB to decode."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "empty"),
        (b"hello", "not a file of a known kind"),
        (encode(NOISE)[:1500], "(?i)truncated"),
        (encode(NOISE, "jpeg")[:900], "(?i)truncated"),
        (bomb(), "30000x30000 pixels, more than 536 million"),
        (encode(Image.new("RGB", (31, 40))), "31x40 pixels, smaller than 32x32"),
    ],
    ids=["empty", "text", "cut png", "cut jpeg", "bomb", "small"],
)
def test_what_cannot_be_used_says_why(data, reason):
    with pytest.raises(Unreadable, match=reason):
        decode(data, 32)


def test_small_photos_are_enlarged_on_request():
    assert decode(encode(Image.new("RGB", (5, 7))), 32, upscale_small=True).shape == (32, 32, 3)


@pytest.mark.parametrize(
    "crop, where, expected", [("centre", 0, 100), ("random", 0, 0), ("random", 1, 200), ("none", 0, None)]
)
def test_crops(crop, where, expected):
    wide = Image.fromarray(np.repeat(np.array([0, 100, 200], np.uint8), 8)[None, :, None].repeat(8, 0).repeat(3, 2))
    out = cut_square(wide, 8, "box", crop, where)
    assert out.shape == (8, 8, 3)
    assert (out == expected).all() if expected is not None else (out[0, 0, 0], out[0, -1, 0]) == (0, 200)


@pytest.mark.parametrize("upright", [False, True])
def test_squares_lie_on_whole_pixels(upright):
    """Of 15x8 the middle begins at 3 and a random one at half of its way at 4: none is blurred."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 15, 3)).astype(np.uint8)
    turn = (lambda x: x.swapaxes(0, 1)) if upright else (lambda x: x)
    image = Image.fromarray(np.ascontiguousarray(turn(pixels)))
    np.testing.assert_array_equal(cut_square(image, 8), turn(pixels[:, 3:11]))
    np.testing.assert_array_equal(cut_square(image, 8, crop="random"), turn(pixels[:, 4:12]))
    np.testing.assert_array_equal(cut_square(image, 8, crop="random", where=0.21), turn(pixels[:, 1:9]))
    for filter, method in (("box", Image.Resampling.BOX), ("bilinear", Image.Resampling.BILINEAR)):
        whole = np.asarray(image.resize((5, 5), method))
        np.testing.assert_array_equal(cut_square(image, 5, filter, "none"), whole)
    assert (cut_square(image, 5, crop="none") != cut_square(image, 5, "box", "none")).any()


def test_tiles_of_a_small_photo_are_enlarged_as_asked():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    (large,) = cut_tiles(Image.fromarray(pixels), 8, "box")
    np.testing.assert_array_equal(large, pixels.repeat(2, 0).repeat(2, 1))
    assert (cut_tiles(Image.fromarray(pixels), 8)[0] != large).any()


def test_of_a_large_photo_some_tiles_are_taken_all_over_it():
    image = Image.fromarray(np.arange(100 * 120, dtype=np.uint16).reshape(100, 120).astype(np.uint8))
    assert len(cut_tiles(image, 8)) == TILES < 13 * 15
    first, last = cut_tiles(image, 8)[0], cut_tiles(image, 8)[-1]
    np.testing.assert_array_equal(first[..., 0], np.asarray(image)[:8, :8])
    np.testing.assert_array_equal(last[..., 0], np.asarray(image)[-8:, -8:])


def test_tiles_are_all_of_a_photo_and_nothing_else():
    """Every pixel of it is in one, none is resized, and no tile more than needed."""
    numbered = np.stack(np.divmod(np.arange(10 * 21), 200), -1).reshape(10, 21, 2).astype(np.uint8)
    photo_ = Image.fromarray(np.concatenate([numbered, numbered[..., :1]], axis=-1))
    parts = cut_tiles(photo_, 8)
    assert len(parts) == 6 and all(p.shape == (8, 8, 3) for p in parts)
    seen = {tuple(pixel) for p in parts for pixel in p.reshape(-1, 3)}
    assert seen == {tuple(pixel) for pixel in np.asarray(photo_).reshape(-1, 3)}
    assert [p.shape for p in cut_tiles(photo_, 16)] == [(16, 16, 3)] * 3  # enlarged to 16 x 34


def test_arrays_are_photos_too():
    assert np.asarray(decode_photo(COLOUR)).tolist() == COLOUR.tolist()
    assert decode_photo(RAMP[..., None]).mode == "RGB" and decode_photo(RAMP, channels=1).mode == "L"
    with pytest.raises(Unreadable, match="smaller"):
        decode_photo(COLOUR, least=33)


def test_runs_begun_before_go_on_with_the_pixels_they_began_with(tmp_path, monkeypatch):
    """A newer version prepares data anew for new runs; what a run was begun with is found again as long as it is kept."""
    from pggan_tf.api.jobs import _data_of_begun
    from pggan_tf.config import resolve
    from pggan_tf.training.machine import Machine
    from preprocessing import cache
    from preprocessing.options import Selection
    from preprocessing.prepare import Squares

    for i in range(3):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(COLOUR // (i + 1)).save(tmp_path / "in" / f"{i}.png")
    places, folder = Selection.of(str(tmp_path / "in")), str(tmp_path / "cache")
    asked = {"squares": Squares(8, (4, 8)), "say": lambda line: None}
    monkeypatch.setattr(cache, "PIXELS_VERSION", cache.PIXELS_VERSION - 1)
    before = cache.open_shards(places, folder, **asked)
    monkeypatch.undo()
    after = cache.open_shards(places, folder, **asked)
    assert after.folder != before.folder and after.manifest.checksum == before.manifest.checksum  # plain sRGB
    environment = {"dataset": {"folder": str(before.folder), "checksum": before.manifest.checksum}}
    again = _data_of_begun(tmp_path, resolve({}), environment, Machine(cache=str(tmp_path / "cache")), moved=False)
    assert again.folder == before.folder
