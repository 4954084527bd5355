"""Photos that are read, written and read again: nothing is lost that the kind of file holds."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import IFDRational

from pggan_tf.data import decoders, photos
from pggan_tf.data.exif import copy_exif
from pggan_tf.errors import UserError
from tests.test_decode import bomb, encode

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 65536, (12, 17, 4)).astype(np.uint16)
FLAT = RNG.integers(0, 256, (12, 17, 4)).astype(np.uint8)


def srgb_profile():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def deep_png(planes, exif=None):
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[planes.shape[2]]
    planes = np.ascontiguousarray(planes[..., order])
    if exif is None:
        return cv2.imencode(".png", planes)[1].tobytes()
    block = np.frombuffer(exif.tobytes().removeprefix(b"Exif\0\0"), np.uint8)
    return cv2.imencodeWithMetadata(".png", planes, [cv2.IMAGE_METADATA_EXIF], [block])[1].tobytes()


def tiff(planes, **kwargs):
    out = io.BytesIO()
    tifffile.imwrite(out, planes, photometric="rgb" if planes.ndim > 2 else "minisblack", metadata=None, **kwargs)
    return out.getvalue()


@pytest.mark.parametrize(
    "data, pixels, alpha",
    [
        (encode(Image.fromarray(FLAT[..., 0])), FLAT[..., :1], None),
        (encode(Image.fromarray(FLAT[..., :2], "LA")), FLAT[..., :1], FLAT[..., 1:2]),
        (encode(Image.fromarray(FLAT[..., :3])), FLAT[..., :3], None),
        (encode(Image.fromarray(FLAT)), FLAT[..., :3], FLAT[..., 3:]),
        (encode(Image.fromarray(DEEP[..., 0])), DEEP[..., :1], None),
        (deep_png(DEEP[..., :3]), DEEP[..., :3], None),
        (deep_png(DEEP), DEEP[..., :3], DEEP[..., 3:]),
        (encode(Image.fromarray(FLAT[..., :3]), "tiff", compression="tiff_lzw"), FLAT[..., :3], None),
        (tiff(DEEP[..., 0]), DEEP[..., :1], None),
        (tiff(DEEP[..., :3], compression="zlib", byteorder=">"), DEEP[..., :3], None),
        (tiff(DEEP, extrasamples=["unassalpha"]), DEEP[..., :3], DEEP[..., 3:]),
        (encode(Image.fromarray(FLAT[..., 0] // 128 * 255).convert("1")), FLAT[..., :1] // 128 * 255, None),
        (encode(Image.fromarray(FLAT[..., :3]), "bmp"), FLAT[..., :3], None),
    ],
    ids=[
        "gray",
        "gray+alpha",
        "rgb",
        "rgba",
        "gray16",
        "rgb16",
        "rgba16",
        "lzw",
        "tiff16",
        "tiff-rgb16",
        "tiff-rgba16",
        "one-bit",
        "bmp",
    ],
)
def test_every_form_is_read_to_the_last_bit(data, pixels, alpha):
    photo = photos.read(data)
    assert photo.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(photo.pixels, pixels)
    if alpha is None:
        assert photo.alpha is None
    else:
        np.testing.assert_array_equal(photo.alpha, alpha)


def test_gray_and_alpha_of_16_bits():
    data = photos_la16()
    photo = photos.read(data)
    np.testing.assert_array_equal(photo.pixels, DEEP[..., :1])
    np.testing.assert_array_equal(photo.alpha, DEEP[..., 1:2])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_white_may_be_zero(dtype):
    """PhotometricInterpretation 0 (TIFF 6.0, section 3): a scan whose black is the greatest number."""
    stored = {np.uint8: FLAT[..., 0], np.uint16: DEEP[..., 0], np.float32: DEEP[..., 0] / np.float32(65535)}[dtype]
    out = io.BytesIO()
    tifffile.imwrite(out, stored, photometric="miniswhite", metadata=None)
    photo = photos.read(out.getvalue())
    np.testing.assert_array_equal(
        photo.pixels[..., 0], 255 - FLAT[..., 0] if dtype == np.uint8 else 65535 - DEEP[..., 0]
    )


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_sixteen_bits_in_separate_planes(channels, compression, byteorder, orientation):
    upright = DEEP[..., :channels]
    stored = upright if orientation == 1 else decoders.TURNS[8](upright)
    data = tiff(
        np.ascontiguousarray(np.moveaxis(stored, -1, 0)),
        planarconfig="separate",
        compression=compression,
        byteorder=byteorder,
        extrasamples=["unassalpha"] * (channels - 3),
        extratags=[(274, 3, 1, orientation, True)],
    )
    photo = photos.read(data)
    np.testing.assert_array_equal(photo.pixels, upright[..., :3])
    assert photo.alpha is None if channels == 3 else (photo.alpha == upright[..., 3:]).all()


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_gray_that_is_transparent_in_16_bits(orientation):
    clear = int(DEEP[3, 5, 0])
    stored = DEEP[..., 0] if orientation == 1 else decoders.TURNS[8](DEEP[..., 0])
    exif = Image.Exif()
    exif[274] = orientation
    photo = photos.read(encode(Image.fromarray(np.ascontiguousarray(stored)), transparency=clear, exif=exif))
    np.testing.assert_array_equal(photo.pixels, DEEP[..., :1])
    np.testing.assert_array_equal(photo.alpha, np.where(DEEP[..., :1] == clear, 0, 65535))
    assert photo.alpha.dtype == np.uint16 and (photo.alpha[3, 5] == 0).all() and photo.alpha.any()


def photos_la16(planes=DEEP[..., :2], profile=None):
    """A PNG of colour type 4 and 16 bits, which neither Pillow nor OpenCV writes."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in planes)
    header = struct.pack(">IIBBBBB", planes.shape[1], planes.shape[0], 16, 4, 0, 0, 0)
    described = chunk(b"iCCP", b"gray\0\0" + zlib.compress(profile)) if profile else b""
    pixels = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + described + pixels


def test_a_palette_with_a_transparent_colour():
    image = Image.fromarray(FLAT[..., 0] // 128, "P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    photo = photos.read(encode(image, transparency=0))
    clear = FLAT[..., :1] // 128 == 0
    np.testing.assert_array_equal(photo.alpha, np.where(clear, 0, 255))
    np.testing.assert_array_equal(photo.pixels, np.where(clear, (10, 20, 30), (200, 100, 50)))


def test_cmyk_becomes_rgb():
    photo = photos.read(encode(Image.new("CMYK", (5, 5), (0, 255, 255, 0)), "jpeg", quality=95))
    assert np.abs(photo.pixels.astype(int) - (255, 0, 0)).max() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["jpeg", "png", "png16", "tiff", "tiff16"])
def test_photos_stand_upright_whatever_holds_them(form, orientation):
    # Dark to light, differently in both directions: no turn looks like another.
    upright = (np.arange(16)[:, None] * 8 + np.arange(24)[None] * 4 + 2).astype(np.uint8)[..., None].repeat(3, 2)
    undo = {1: lambda x: x, 5: decoders.TURNS[5], 6: decoders.TURNS[8], 8: decoders.TURNS[6], 7: decoders.TURNS[7]}
    stored = np.ascontiguousarray(undo.get(orientation, decoders.TURNS.get(orientation))(upright))
    exif = Image.Exif()
    exif[274] = orientation
    if form == "jpeg":
        data = encode(Image.fromarray(stored), "jpeg", exif=exif, quality=100, subsampling=0)
    elif form == "png":
        data = encode(Image.fromarray(stored), "png", exif=exif)
    elif form == "png16":
        data = deep_png(stored.astype(np.uint16) * 257, exif)
    else:
        planes = stored if form == "tiff" else stored.astype(np.uint16) * 257
        data = tiff(planes, extratags=[(274, 3, 1, orientation, True)])
    photo = photos.read(data)
    top = np.iinfo(photo.pixels.dtype).max
    assert top == (65535 if form.endswith("16") else 255)
    assert photo.pixels.shape == upright.shape
    assert np.abs(photo.pixels / top * 255 - upright).max() < 4
    # What the turns mean is Pillow's, not ours.
    if form == "png":
        from PIL import ImageOps

        with Image.open(io.BytesIO(data)) as image:
            np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(image)), upright)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg"])
@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_written_is_read_again(tmp_path, suffix, planes, clear, dtype):
    smooth = cv2.resize((DEEP if dtype == np.uint16 else FLAT)[:3, :4], (64, 48), interpolation=cv2.INTER_LINEAR)
    alpha = np.ascontiguousarray(smooth[..., 3:]) if clear else None
    profile = srgb_profile() if planes == 3 else None
    exif = Image.Exif()
    exif[271] = "A camera"
    kept = exif.tobytes().removeprefix(b"Exif\0\0")
    photo = photos.Photo(np.ascontiguousarray(smooth[..., :planes]), alpha, profile, kept)
    path = tmp_path / f"photo{suffix}"
    if photos.find_loss(photo, suffix):
        with pytest.raises(UserError, match="holds no (16 bits|transparency).*png or .tif"):
            photos.write(path, photo)
        assert not list(tmp_path.iterdir())
        return
    photos.write(path, photo)
    assert [f.name for f in tmp_path.iterdir()] == [path.name]
    back = photos.read(path.read_bytes())
    if suffix in (".png", ".tif"):
        np.testing.assert_array_equal(back.rgb(), photo.rgb())
    else:
        assert np.abs(back.rgb().astype(int) - photo.rgb()).mean() < 5
    if clear:
        np.testing.assert_array_equal(back.alpha, alpha)
    assert back.pixels.dtype == dtype
    if planes == 3:
        assert back.profile == profile
    with Image.open(path) as image:
        assert image.getexif()[271] == "A camera"


def test_the_orientation_is_gone_from_what_is_written(tmp_path):
    exif = Image.Exif()
    exif[274], exif[306] = 6, "2020:01:01 00:00:00"
    photo = photos.read(encode(Image.fromarray(FLAT[..., :3]), "jpeg", exif=exif))
    photos.write(tmp_path / "photo.jpg", photo)
    with Image.open(tmp_path / "photo.jpg") as image:
        assert image.size == (12, 17)
        assert dict(image.getexif()) == {306: "2020:01:01 00:00:00"}


# No ASCII: Latin-1, and UTF-8, which most programs write.
NAMES = "Müller, ".encode("latin-1") + "Zoë Ørsted, 山田".encode()


def camera_exif(orientation=1) -> bytes:
    names = "N" * len(NAMES)
    exif = Image.Exif()
    exif[271], exif[306], exif[274] = "A camera", "2020:01:01 00:00:00", orientation
    exif[270] = exif[315] = names
    exif[40091] = "A title".encode("utf-16le")  # as Windows adds it
    exif[34665] = {33434: IFDRational(1, 250), 36867: "2019:12:31 23:59:59", 37500: b"maker", 34855: 400, 42032: names}
    exif[34665][40965] = {1: "R98"}
    exif[34853] = {1: "N", 2: (IFDRational(52), IFDRational(31), IFDRational(1225, 100))}
    return exif.tobytes().replace(names.encode(), NAMES)


@pytest.mark.parametrize(
    "form, suffix",
    [("jpeg", ".tif"), ("jpeg", ".jpg"), ("jpeg", ".webp"), ("tif", ".jpg"), ("tif", ".tif"), ("tif", ".png")],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("big", [False, True])
def test_exif_goes_into_tiffs_and_comes_out_of_them(tmp_path, monkeypatch, caplog, form, suffix, dtype, big):
    """Make, time of exposure, place: in tables of tables. The layout of the file is not among it."""
    if big:
        monkeypatch.setattr(photos, "_LARGEST_TIFF", 0)
    photo = photos.read(encode(Image.fromarray(FLAT[..., :3]), "jpeg", exif=camera_exif(6)))
    if form == "tif":
        deep = photo.with_pixels(photo.pixels.astype(dtype) * dtype(1 if dtype == np.uint8 else 257))
        photos.write(tmp_path / "between.tif", deep)
        photo = photos.read((tmp_path / "between.tif").read_bytes())
        np.testing.assert_array_equal(photo.pixels, deep.pixels)
        assert photo.exif.startswith(b"II")  # the order of bytes, in which cameras' own notes are too
    if photos.find_loss(photo, suffix):
        photo = photo.with_pixels((photo.pixels // 257).astype(np.uint8))
    photos.write(tmp_path / f"photo{suffix}", photo)
    with Image.open(tmp_path / f"photo{suffix}") as image:
        exif = image.getexif()
        expected = Image.Exif()
        expected.load(camera_exif())
        assert {tag: exif[tag] for tag in (270, 271, 306, 315, 40091)} == {
            tag: expected[tag] for tag in (270, 271, 306, 315, 40091)
        }
        assert exif[315].encode("latin-1") == NAMES == exif.get_ifd(34665)[42032].encode("latin-1")
        assert exif.get(274, 1) == 1
        for table in (34665, 34853, 40965):
            found, wanted = exif.get_ifd(table), expected.get_ifd(table)
            assert {**found, 40965: None} == {**wanted, 40965: None}  # where the last table lies
        if suffix != ".tif":
            assert set(exif) == {270, 271, 306, 315, 34665, 34853, 40091}
    if suffix == ".tif":
        with tifffile.TiffFile(tmp_path / "photo.tif") as file:
            assert file.is_bigtiff == big
            assert {file.pages[0].tags[name].dtype.name for name in ("ExifTag", "GPSTag")} == {
                "LONG8" if big else "LONG"
            }
            assert file.pages[0].tags["XPTitle"].dtype.name == "BYTE"
            assert file.pages[0].tags["ExifTag"].value["ISOSpeedRatings"] == 400
            assert file.pages[0].tags["GPSTag"].value["GPSLatitude"] == (52, 1, 31, 1, 49, 4)
    assert not caplog.records  # tifffile says there what is wrong with a file


def test_exif_that_jpeg_cannot_hold_is_left_out_and_said(tmp_path):
    exif = Image.Exif()
    exif[271], exif[34665] = "A camera", {37500: bytes(70_000)}
    photo = photos.read(encode(Image.fromarray(FLAT[..., :3]), "webp", exif=exif))
    assert len(photo.exif) > 70_000
    assert "without its EXIF, as .jpg holds none of 70,0" in photos.write(tmp_path / "photo.jpg", photo)
    with Image.open(tmp_path / "photo.jpg") as image:
        assert image.size == (17, 12) and not image.getexif()
    for suffix in (".png", ".tif", ".webp"):
        assert photos.write(tmp_path / f"photo{suffix}", photo) is None
        with Image.open(tmp_path / f"photo{suffix}") as image:
            assert image.getexif().get_ifd(34665) == {37500: bytes(70_000)}
    # The longest that goes into one segment.
    fits = photos.Photo(FLAT[..., :3], exif=photo.exif[: photos._LONGEST_EXIF])
    assert photos.write(tmp_path / "fits.jpg", fits) is None


def test_a_damaged_profile_that_png_cannot_hold_is_left_out_and_said(tmp_path):
    photo = photos.read(encode(Image.fromarray(FLAT[..., :3]), "png", icc_profile=srgb_profile()[:300]))
    assert len(photo.profile) == 300
    assert photos.write(tmp_path / "photo.png", photo) == "without its colour profile, which is damaged"
    back = photos.read((tmp_path / "photo.png").read_bytes())
    assert back.profile is None and (back.pixels == photo.pixels).all()


def test_what_cannot_be_written_says_why_and_leaves_nothing(tmp_path):
    photo = photos.Photo(FLAT[..., :3])
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "photo.png", tmp_path / f"{'n' * 300}.tif", tmp_path / f"{'n' * 300}.jpg"):
        with pytest.raises(
            photos.Unwritable, match="cannot be written .(Not a directory|File exists|File name too long)"
        ):
            photos.write(path, photo)
    assert [f.name for f in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("suffix, copies", [(".png", 1), (".tif", 0)])
@pytest.mark.parametrize("clear", [False, True])
def test_writing_takes_no_more_copies_than_promised(tmp_path, suffix, copies, clear):
    import tracemalloc

    photo = photos.Photo(np.zeros((3000, 2000, 3), np.uint8), np.zeros((3000, 2000, 1), np.uint8) if clear else None)
    photos.write(tmp_path / f"small{suffix}", photos.Photo(FLAT[..., :3]))
    size = photo.pixels.nbytes * (4 / 3 if clear else 1)
    tracemalloc.start()
    photos.write(tmp_path / f"photo{suffix}", photo)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (max(copies, clear) + 0.2) * size  # with transparency, the planes are put together


def test_a_gray_profile_is_followed_and_not_kept():
    """A gray that is linear in light: 128 there is 188 in sRGB."""
    profile = gray_profile(gamma=1.0)
    photo = photos.read(encode(Image.new("L", (4, 4), 128), icc_profile=profile))
    assert photo.profile is None and np.abs(photo.pixels.astype(int) - 188).max() <= 1


def icc_profile(space, gamma, colorants):
    """A profile of version 2 (ICC.1:2001-04): a white point, one curve for all channels, and of colours their XYZ of D50."""

    def xyz(*values):
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))

    text = b"test\0"
    described = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    blocks = {b"desc": described + bytes(-len(described) % 4), b"wtpt": xyz(0.9642, 1, 0.8249)}
    blocks |= {name + b"XYZ": xyz(*value) for name, value in colorants.items() if value}
    blocks |= {name + b"TRC": curve for name in colorants}
    table, body, offset = struct.pack(">I", len(blocks)), b"", 128 + 4 + 12 * len(blocks)
    for name, block in blocks.items():
        table += name + struct.pack(">II", offset + len(body), len(block))
        body += block
    header = struct.pack(">I4sI4s4s4s", offset + len(body), b"\0\0\0\0", 0x02200000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + body


def gray_profile(gamma):
    return icc_profile(b"GRAY", gamma, {b"k": None})


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "an empty file"),
        (b"hello", "not a file of a known kind"),
        (encode(Image.fromarray(FLAT))[:300], "(?i)truncated|damaged|broken"),
        (deep_png(DEEP)[:300], "(?i)truncated|damaged"),
        (deep_png(DEEP, Image.Exif())[:300], "^damaged$"),
        (bomb(), "30000x30000 pixels, more than 536 million"),
    ],
    ids=["empty", "text", "cut", "cut deep", "cut deep with tags", "bomb"],
)
def test_what_cannot_be_read_says_why(data, reason):
    with pytest.raises(photos.Unreadable, match=reason):
        photos.read(data)


def test_kinds_of_file_that_are_too_small():
    panorama = photos.Photo(np.zeros((1, 20_000, 1), np.uint8))
    assert photos.find_loss(panorama, ".jpg") is None
    assert photos.find_loss(panorama, ".jpg", 4) == ".jpg holds no side of 80000 pixels"
    assert photos.find_loss(panorama, ".webp") == ".webp holds no side of 20000 pixels"
    assert photos.find_loss(panorama, ".png", 4) is None
    assert "not written as .gif" in photos.find_loss(panorama, ".gif")


def test_other_pixels_with_the_same_metadata():
    photo = photos.Photo(FLAT[..., :3], FLAT[..., 3:], b"profile", b"exif")
    changed = photo.with_pixels(FLAT[..., :1])
    assert changed.pixels.shape == (12, 17, 1) and changed.alpha is photo.alpha
    assert (changed.profile, changed.exif) == (b"profile", b"exif")
    clear = np.zeros_like(photo.alpha)
    assert photo.with_pixels(FLAT[..., :1], clear).alpha is clear


def test_only_the_kinds_asked_for_are_read():
    data = encode(Image.fromarray(FLAT[..., :3]), "bmp")
    assert photos.read(data, ("BMP",)).size == (12, 17)
    with pytest.raises(photos.Unreadable, match="not a file of a known kind"):
        photos.read(data, ("PNG", "JPEG"))


@pytest.mark.parametrize("profile", [None, b"GRAY", b"RGB "])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_profile_is_kept_where_it_is_of_the_pixels(profile, channels):
    """Of pictures that say they have one: gray in RGB's, or colours in gray's, would be wrong in every program."""
    block = bytes(16) + profile + bytes(112) if profile else None
    picture = decoders.Picture(FLAT[..., :channels], block, Image.Exif())
    photo = photos.make_photo(picture, "PNG")
    assert photo.profile == (block if profile == b"RGB " and channels == 3 else None)
    assert photo.exif is None and photo.alpha is None


@pytest.mark.parametrize("entry", [(256, 2, 2, b"A\0\0\0"), (271, 2, 2, b"A\0\0\0")], ids=["odd", "sound"])
def test_exif_that_cannot_be_written_is_left_out(entry):
    """A width in letters, as no camera should write it: Pillow reads it, and fails to write it."""
    exif = Image.Exif()
    exif.load(b"Exif\0\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHI4s", *entry) + bytes(4))
    assert dict(exif) == {entry[0]: "A"}
    kept = copy_exif(exif, about_photo=False)
    assert (kept is None) == (entry[0] == 256)
    assert copy_exif(Image.Exif(), about_photo=False) is None


def test_one_tag_that_cannot_be_written_costs_no_other():
    sound, exif = Image.Exif(), Image.Exif()
    sound[34853], sound[34665] = {29: "2026:11:30"}, {40962: 300, 36867: "2026:11:30 10:00:00"}
    exif.load(sound.tobytes())
    exif[271], exif[282] = "Maker", -7.0  # a resolution below 0
    exif.get_ifd(34853)[5] = "0"  # an altitude's sign as text
    kept = Image.Exif()
    kept.load(b"Exif\0\0" + copy_exif(exif, about_photo=False))
    assert kept[271] == "Maker" and 282 not in kept
    assert dict(kept.get_ifd(34853)) == {29: "2026:11:30"} and dict(kept.get_ifd(34665)) == {
        36867: "2026:11:30 10:00:00"
    }
    assert exif[282] == -7.0, "what was read stays as it is"


def test_frames_of_an_animation_that_is_turned_are_all_turned(tmp_path):
    frames = [Image.fromarray(np.full((20, 30, 3), 60 * i, np.uint8)) for i in range(3)]
    exif = Image.Exif()
    exif[274] = 6
    for form in ("WEBP", "PNG"):
        file = io.BytesIO()
        frames[0].save(file, form, save_all=True, append_images=frames[1:], exif=exif)
        with decoders.open_pictures(file.getvalue()) as pictures:
            sizes = [photos.make_photo(pictures.picture(i), form).size for i in range(3)]
        assert sizes == [(30, 20)] * 3


def test_a_gray_profile_is_followed_in_16_bits_with_alpha():
    quarter = np.full((4, 4, 2), (16_384, 65_535), np.uint16)
    photo = photos.read(photos_la16(quarter, gray_profile(gamma=1.0)))
    # A quarter of the light is 0.537 in sRGB (IEC 61966-2-1).
    assert photo.pixels.dtype == np.uint16 and np.abs(photo.pixels / 65_535 - 0.537).max() < 0.005
    assert (photo.alpha == 65_535).all() and photo.profile is None


@pytest.mark.parametrize(
    "suffix, side", [(".webp", 16_383), (".jpg", 65_500), (".jpeg", 65_500), (".png", 1_000_000), (".tiff", 1_000_000)]
)
def test_the_longest_side_that_a_kind_of_file_holds(suffix, side):
    for shape in ((side, 1, 3), (1, side, 3)):
        assert photos.find_loss(photos.Photo(np.broadcast_to(np.uint8(0), shape)), suffix) is None
    longer = photos.Photo(np.broadcast_to(np.uint8(0), (1, side + 1, 3)))
    assert photos.find_loss(longer, suffix) == f"{suffix} holds no side of {side + 1} pixels"
    assert photos.find_loss(longer, "") == "photos are not written as a name without an ending"


@pytest.mark.parametrize(
    "error, why",
    [
        (ValueError("odd"), "ValueError: odd"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("encoder error -2"), "OSError: encoder error -2"),
        (MemoryError(), "MemoryError: "),
    ],
    ids=repr,
)
def test_whatever_an_encoder_raises_is_told_of_one_photo(error, why):
    with pytest.raises(photos.Unwritable) as raised, photos.raise_unwritable(Path("a.png")):
        raise error
    assert str(raised.value) == f"a.png: cannot be written ({why})." and raised.value.__cause__ is error
    with pytest.raises(KeyboardInterrupt), photos.raise_unwritable(Path("a.png")):
        raise KeyboardInterrupt


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".TIFF", ".webp", ".jpg", ".jpeg", ".JPG"])
def test_a_file_is_of_the_kind_that_its_name_says(tmp_path, suffix):
    kinds = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}
    path = tmp_path / "new" / "folder" / f"photo{suffix}"
    for planes in (FLAT[..., :3], FLAT[..., :1], FLAT[:1, :1, :1]):
        photos.write(path, photos.Photo(planes))
        with Image.open(path) as image:
            assert image.format == kinds[suffix.lower()] and image.size == planes.shape[1::-1]
        if image.format == "TIFF":
            assert image.info["compression"] == "tiff_adobe_deflate"
        if image.format in ("JPEG", "WEBP"):
            plain = Image.fromarray(planes if planes.shape[2] > 1 else planes[..., 0])
            options = {"subsampling": "4:4:4"} if image.format == "JPEG" else {}
            assert path.read_bytes() == encode(plain, image.format, quality=95, **options)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_a_segment_of_jpeg_holds_so_much_exif_and_no_more(tmp_path, suffix):
    exif = Image.Exif()
    exif[37500] = bytes(photos._LONGEST_EXIF)
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    photo = photos.Photo(FLAT[..., :3], exif=block)
    told = f"without its EXIF, as {suffix} holds none of {len(block):,} bytes"
    assert photos.write(tmp_path / f"a{suffix}", photo) == told


def test_a_png_that_cannot_be_made_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "imencodeWithMetadata", lambda *_: (False, None))
    path = tmp_path / "a.png"
    with pytest.raises(photos.Unwritable, match=f"^{path}: cannot be written .OpenCV could not make a PNG of it.[.]$"):
        photos.write(path, photos.Photo(FLAT[..., :3]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("planes", [1, 3, 4])
@pytest.mark.parametrize("narrow", [3, 4, 17])
def test_a_tiff_says_what_its_planes_are(tmp_path, monkeypatch, planes, narrow):
    pixels = FLAT[:, :narrow].repeat(40, 0)
    photo = photos.Photo(pixels[..., : min(planes, 3)], pixels[..., 3:] if planes == 4 else None)
    for largest, big in ((480 * narrow * planes, False), (480 * narrow * planes - 1, True)):
        monkeypatch.setattr(photos, "_LARGEST_TIFF", largest)
        photos.write(tmp_path / "a.tif", photo)
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            page = file.pages[0]
            assert file.is_bigtiff == big and file.byteorder == "<" and len(file.pages) == 1
            assert (
                page.photometric.name == ("MINISBLACK" if planes == 1 else "RGB")
                and page.compression.name == "ADOBE_DEFLATE"
            )
            assert [sample.name for sample in page.extrasamples] == (["UNASSALPHA"] if planes == 4 else [])
            assert page.shape == ((480, narrow) if planes == 1 else (480, narrow, planes))
        np.testing.assert_array_equal(photos.read((tmp_path / "a.tif").read_bytes()).pixels, photo.pixels)


def test_tables_of_exif_are_those_of_the_first_page_at_even_places(tmp_path):
    first, later = Image.Exif(), Image.Exif()
    first[34665], later[34665], later[271] = {34855: 100}, {34855: 200}, "A camera"
    places = set()
    for length in range(4):  # the end of a file is odd or even
        first[305] = "x" * (9 + length)
        for begin in ((first, later), (later, first)):
            with photos.open_tiff(tmp_path / "a.tif", 0) as add:
                for exif in begin:
                    add(photos.Photo(FLAT[..., :3], exif=exif.tobytes().removeprefix(b"Exif\0\0")))
            with tifffile.TiffFile(tmp_path / "a.tif") as file:
                assert [("ExifTag" in page.tags, "Make" in page.tags) for page in file.pages] == [
                    (True, begin[0] is later), (False, begin[1] is later)
                ]  # fmt: skip
                expected = 200 if begin[0] is later else 100
                assert file.pages[0].tags["ExifTag"].value["ISOSpeedRatings"] == expected
            with (tmp_path / "a.tif").open("rb") as file:
                image = Image.open(file)
                places.add(image.tag_v2[34665] % 2)
                assert image.getexif().get_ifd(34665) == {34855: expected}
    assert places == {0}
    with photos.open_tiff(tmp_path / "none.tif", 0):  # of no pages
        pass
