import io
import time

import numpy as np
import pytest
from PIL import Image

from pggan_tf import shards
from preprocessing import prepare
from preprocessing.decode import Unreadable, decode
from preprocessing.sources import folder, portraits


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
    import struct
    import zlib

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
        (b"hello", "cannot identify"),
        (encode(NOISE)[:1500], "(?i)truncated"),
        (encode(NOISE, "jpeg")[:900], "(?i)truncated"),
        (bomb(), "30000x30000 pixels, more than 178 million"),
        (encode(Image.new("RGB", (31, 40))), "31x40 pixels, smaller than 32x32"),
    ],
    ids=["empty", "text", "cut png", "cut jpeg", "bomb", "small"],
)
def test_what_cannot_be_used_says_why(data, reason):
    with pytest.raises(Unreadable, match=reason):
        decode(data, 32)


def test_small_photos_are_enlarged_on_request():
    assert decode(encode(Image.new("RGB", (5, 7))), 32, upscale_small=True).shape == (32, 32, 3)


def test_class_folders_give_labels(photos):
    files = folder.find(photos)
    assert folder.classes(photos, files) == ["cats", "dogs"]
    loaded = list(folder.images(photos, files, 16, "lanczos", 3, False, workers=2))
    assert [name for name, _, _ in loaded] == [f.relative_to(photos).as_posix() for f in files]
    assert [label for _, _, label in loaded] == [0] * 6 + [1] * 6


def open_cached(photos, cache, **kwargs):
    said = []
    options = {"filter": "lanczos", "channels": 3, "upscale_small": False, "count": 10, **kwargs}
    opened = prepare.shards_for(str(photos), str(cache), 32, (4, 8, 16, 32), say=said.append, **options)
    return opened, said


def test_a_folder_is_prepared_once_by_its_content(photos, tmp_path):
    first, said = open_cached(photos, tmp_path / "cache")
    assert len(first) == 12 and "preparing" in said[0]
    again, said = open_cached(photos, tmp_path / "cache")
    assert again.folder == first.folder and not said
    photos.rename(photos.with_name("elsewhere"))
    moved, said = open_cached(photos.with_name("elsewhere"), tmp_path / "cache2")
    assert moved.manifest.checksum == first.manifest.checksum
    Image.new("RGB", (40, 40)).save(photos.with_name("elsewhere") / "cats" / "new.png")
    changed, said = open_cached(photos.with_name("elsewhere"), tmp_path / "cache")
    assert len(changed) == 13 and "preparing" in said[0]


def test_bad_photos_are_listed_and_the_rest_is_used(photos, tmp_path):
    (photos / "cats" / "broken.jpg").write_bytes(b"no")
    (photos / "cats" / "empty.png").write_bytes(b"")
    (photos / "cats" / "bomb.png").write_bytes(bomb())
    opened, said = open_cached(photos, tmp_path / "cache")
    assert len(opened) == 12 and "3 of 15 images could not be used" in said[-1]
    report = (opened.folder / prepare.REPORT).read_text().splitlines()
    assert [line.split(":")[0] for line in report] == ["cats/bomb.png", "cats/broken.jpg", "cats/empty.png"]


def test_damaged_cache_is_made_again(photos, tmp_path):
    first, _ = open_cached(photos, tmp_path / "cache")
    path = first.folder / "shard-00000.npz"
    path.write_bytes(path.read_bytes()[:-1])
    again, said = open_cached(photos, tmp_path / "cache")
    assert again.manifest.checksum == first.manifest.checksum and "damaged" in said[0]


def test_portraits_follow_from_their_seed():
    image, label = portraits.portrait(7, 64)
    same, _ = portraits.portrait(7, 64)
    np.testing.assert_array_equal(image, same)
    assert image.shape == (64, 64, 3) and 0 <= label < len(portraits.CLASSES)
    assert (portraits.portrait(7, 64, seed=1)[0] != image).any() and (portraits.portrait(8, 64)[0] != image).any()
    assert portraits.portrait(7, 32, channels=1)[0].shape == (32, 32, 1)


def test_a_portrait_is_the_same_picture_at_every_size():
    large, small = portraits.portrait(3, 256)[0].astype(float), portraits.portrait(3, 32)[0].astype(float)
    np.testing.assert_allclose(large.reshape(32, 8, 32, 8, 3).mean((1, 3)), small, atol=0.51)


def test_portraits_vary():
    faces, labels = zip(*(portraits.portrait(i, 32) for i in range(200)))
    assert len(set(labels)) == len(portraits.CLASSES)
    assert np.std(faces, axis=0).mean() > 30


def test_portraits_are_drawn_on_every_core_in_order():
    sequential = [portraits.portrait(i, 16)[0] for i in range(20)]
    np.testing.assert_array_equal(
        [image for _, image, _ in portraits.images(range(20), 16, 3, 0, workers=4)], sequential
    )


def test_shards_of_portraits_can_be_opened(tmp_path):
    started = time.monotonic()
    manifest = prepare.prepare("portraits", tmp_path / "p", 32, count=50)
    assert manifest.images == 50 and manifest.classes == portraits.CLASSES
    opened = shards.Shards(tmp_path / "p")
    np.testing.assert_array_equal(opened.read(32, np.array([7]))[0], portraits.portrait(7, 32)[0])
    assert time.monotonic() - started < 60
