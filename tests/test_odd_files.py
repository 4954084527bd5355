"""Intact photos whose files say odd things: a strange tag, a long text, a damaged chunk. They are photos like others."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from pggan_tf.conversion import conversion
from pggan_tf.data import captions, decoders, marks, photos, xmp
from pggan_tf.data.decode import decode_photo
from tests.conftest import pggan
from tests.test_decode import encode
from tests.test_decoders import P3, rgb_profile, to_srgb
from tests.test_photos import DEEP, FLAT, deep_png

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
    assert json.loads((tmp_path / "shards/report.json").read_text())["dropped"] == {}


def chunk(kind, body, checksum=None):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum or zlib.crc32(kind + body))


def with_chunk(png, *chunks, last=False):
    """A PNG with more chunks, after its header or before its end."""
    at = len(png) - 12 if last else 33
    return png[:at] + b"".join(chunks) + png[at:]


BOMB = zlib.compress(bytes(50_000_000))
# What programs write into PNGs, or disks damage in them, though the pixels are whole.
ODD_CHUNKS = {
    "a long compressed text": chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"a" * 3_000_000)),
    "a long XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<x>" * 1_000_000)),
    "a profile that expands": chunk(b"iCCP", b"p\0\0" + BOMB),
    "a damaged profile": chunk(b"iCCP", b"p\0\0garbage"),
    "a profile of another method": chunk(b"iCCP", b"p\0\7" + zlib.compress(b"a")),
    "a profile of nothing": chunk(b"iCCP", b""),
    "a text of another method": chunk(b"zTXt", b"k\0\7abc"),
    "a text with a wrong checksum": chunk(b"tEXt", b"k\0hello", 1),
    "a time with a wrong checksum": chunk(b"tIME", bytes(7), 1),
    "a short gamma": chunk(b"gAMA", b"\0"),
    "a short resolution": chunk(b"pHYs", b"\0"),
    "many texts": b"".join(chunk(b"tEXt", b"k%d\0" % i + b"x" * 1_000_000) for i in range(70)),
    "many texts that expand": b"".join(chunk(b"zTXt", b"k%d\0\0" % i + BOMB) for i in range(100)),
}


@pytest.mark.parametrize("odd", ODD_CHUNKS)
@pytest.mark.parametrize("last", [False, True])
def test_an_intact_png_with_an_odd_chunk_is_read(odd, last):
    for png, pixels in ((encode(Image.fromarray(FLAT)), FLAT), (deep_png(DEEP), DEEP)):
        data = with_chunk(png, ODD_CHUNKS[odd], chunk(b"tEXt", b"Title\0short"), last=last)
        photo = photos.read(data)
        np.testing.assert_array_equal(photo.pixels, pixels[..., :3])
        np.testing.assert_array_equal(photo.alpha, pixels[..., 3:])
        assert decode_photo(data, 4).size == (17, 12)


def test_texts_that_expand_take_no_memory():
    import resource

    data = with_chunk(encode(Image.fromarray(FLAT)), *[chunk(b"zTXt", b"k\0\0" + BOMB)] * 300)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    photos.read(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB, of 15 GB


def test_a_large_profile_is_followed():
    """A profile with a table of its maker's, as scanners have it, which expands to more than Pillow reads."""
    colours = np.array([[(200, 100, 50), (50, 200, 100)]], np.uint8)
    profile = rgb_profile(P3, 2.2)
    large = (len(profile) + 3_000_000).to_bytes(4) + profile[4:] + bytes(3_000_000)
    data = with_chunk(encode(Image.fromarray(colours)), chunk(b"iCCP", b"p\0\0" + zlib.compress(large)))
    assert photos.read(data).profile == large
    np.testing.assert_allclose(np.asarray(decode_photo(data)), to_srgb(colours, P3, 2.2), atol=2)


def test_the_frames_of_a_png_with_an_odd_chunk_are_read():
    frames = [Image.fromarray(np.full((8, 8, 3), shade, np.uint8)) for shade in (10, 90, 200)]
    png = encode(frames[0], save_all=True, append_images=frames[1:], duration=50)
    with decoders.open_pictures(with_chunk(png, ODD_CHUNKS["a text with a wrong checksum"])) as pictures:
        assert [pictures.picture(i).planes()[0, 0, 0] for i in range(len(pictures.sizes()))] == [10, 90, 200]


def test_a_broken_png_is_refused_by_name(tmp_path):
    """The checksum of its size is wrong, or its pixels are, or they end too early."""
    whole = encode(Image.fromarray(FLAT))
    size, pixels = bytearray(whole), bytearray(whole)
    size[20] ^= 255
    pixels[60] ^= 255
    (tmp_path / "photos").mkdir()
    for name, data in {"size": size, "pixels": pixels, "cut": whole[:300], "whole": whole}.items():
        odd = with_chunk(bytes(data), ODD_CHUNKS["a time with a wrong checksum"])
        (tmp_path / "photos" / f"{name}.png").write_bytes(odd)
    code, _, err = pggan("prepare", tmp_path / "photos", tmp_path / "shards", "--size", 8)
    assert code == 2 and "3 of 4 images cannot be used" in err, err
    report = json.loads((tmp_path / "shards.report.json").read_text())
    assert {image["name"]: image["why"] for image in report["dropped_images"]} == {
        "size.png": "a damaged PNG file",
        "pixels.png": "broken data stream when reading image file",
        "cut.png": "image file is truncated",
    }


def bmp(pixels, alpha):
    """A BMP of 32 bits with a header of version 4, which has a mask for alpha, as many programs write it."""
    height, width = pixels.shape[:2]
    body = np.dstack([pixels[::-1, :, ::-1], alpha[::-1]]).tobytes()
    header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(body), 2835, 2835, 0, 0)
    header += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(body), 0, 0, 14 + len(header)) + header + body


def test_a_bmp_whose_alpha_is_0_everywhere_is_opaque():
    colours, alpha = FLAT[..., :3], np.zeros((12, 17), np.uint8)
    np.testing.assert_array_equal(np.asarray(decode_photo(bmp(colours, alpha))), colours)
    assert np.asarray(decode_photo(bmp(colours, alpha), 4))[..., 3].min() == 255
    photo = photos.read(bmp(colours, alpha))
    assert photo.alpha is None and (photo.pixels == colours).all()
    alpha[3, 5] = 1
    np.testing.assert_array_equal(photos.read(bmp(colours, alpha)).alpha[..., 0], alpha)


def scanned(kind, dpi, turned=False):
    """A photo of 20 x 30 pixels with a print resolution, as scanners write it."""
    image, exif = Image.fromarray(np.full((20, 30, 3), 120, np.uint8)), Image.Exif()
    if turned:
        exif[274] = 6
    return encode(image, kind, dpi=dpi, **({"exif": exif} if turned else {}))


def enlarge(photo, progress=None):
    return photo.with_pixels(photo.pixels.repeat(2, 0).repeat(2, 1))


def stated_dpi(file):
    with Image.open(file) as image:
        return tuple(image.info.get("dpi", ()))


@pytest.mark.parametrize("given", ["png", "jpeg", "tiff"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".tiff"])
def test_the_print_resolution_of_a_scan_is_kept(tmp_path, given, suffix):
    source, out = str(tmp_path / f"scan.{given}"), tmp_path / f"large{suffix}"
    for dpi, turned, expected in (((300, 300), False, (300, 300)), ((204, 98), True, (98, 204)), (None, False, None)):
        stored = scanned(given, dpi, turned) if dpi else encode(Image.new("RGB", (30, 20)), given)
        (tmp_path / f"scan.{given}").write_bytes(stored)
        conversion.convert(source, str(out), enlarge)
        with Image.open(out) as image:
            assert image.size == ((40, 60) if turned else (60, 40))
        assert stated_dpi(out) == (pytest.approx(expected, abs=0.02) if expected else ())
        if suffix.startswith(".tif"):
            with tifffile.TiffFile(out) as file:
                tags = {name: file.pages[0].tags[name].value for name in ("XResolution", "YResolution")}
                assert int(file.pages[0].tags["ResolutionUnit"].value) == (2 if dpi else 1)
                across, down = expected or (1, 1)
                assert tags == {"XResolution": (across, 1), "YResolution": (down, 1)}


def test_every_page_keeps_its_print_resolution(tmp_path):
    with tifffile.TiffWriter(tmp_path / "scans.tif") as file:
        for dpi, dtype in ((300, np.uint8), (600, np.uint16), (None, np.uint8)):
            how = {"resolution": (dpi / 2.54, dpi / 2.54), "resolutionunit": "CENTIMETER"} if dpi else {}
            file.write(np.zeros((20, 30, 3), dtype), photometric="rgb", **how)
    conversion.convert(str(tmp_path / "scans.tif"), str(tmp_path / "large.tif"), enlarge)
    with tifffile.TiffFile(tmp_path / "large.tif") as file:
        found = [(page.tags["XResolution"].value, int(page.tags["ResolutionUnit"].value)) for page in file.pages]
    assert found == [((300, 1), 2), ((600, 1), 2), ((1, 1), 1)]


@pytest.mark.parametrize(
    "tags, dpi",
    [
        ([tag(282, 5, struct.pack("<II", 240, 1)), tag(283, 5, struct.pack("<II", 240, 1))], (240, 240)),
        ([], ()),
        ([tag(282, 5, bytes(8)), tag(283, 5, bytes(8)), tag(296, 3, b"\2\0")], ()),
        ([tag(282, 5, struct.pack("<II", 10**9, 1)), tag(283, 5, struct.pack("<II", 10**9, 1))], ()),
        ([tag(282, 2, b"many\0", 5), tag(283, 2, b"many\0", 5)], ()),
    ],
    ids=["cameras state it in EXIF", "nothing is made up", "0/0", "more than JPEG holds", "text"],
)
def test_a_print_resolution_in_exif_alone(tmp_path, tags, dpi):
    block = exif_block(tag(271, 2, b"Cam\0", 4), *tags)
    plain = encode(Image.fromarray(HALVES), "jpeg", quality=95)
    (tmp_path / "photo.jpg").write_bytes(
        plain[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + plain[2:]
    )
    for suffix in (".png", ".tif", ".jpg"):
        conversion.convert(str(tmp_path / "photo.jpg"), str(tmp_path / f"out{suffix}"), enlarge)
        with Image.open(tmp_path / f"out{suffix}") as image:
            stated = image.info.get("jfif_unit") if suffix == ".jpg" else image.info.get("dpi")
            assert bool(stated) == bool(dpi)
            assert not dpi or tuple(image.info["dpi"]) == pytest.approx(dpi, abs=0.02)


PANORAMA = "http://ns.google.com/photos/1.0/panorama/"
# As a phone writes a 360° photo that moves and has a depth map: attributes and elements.
SPHERE = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:GPano="{PANORAMA}" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" xmlns:GDepth="http://ns.google.com/photos/1.0/depthmap/"
 xmlns:GImage="http://ns.google.com/photos/1.0/image/" xmlns:Container="http://ns.google.com/photos/1.0/container/"
 GCamera:MotionPhoto="1" GDepth:Data="AAAA" GImage:Data="AAAA" dc:format="image/jpeg"
 GPano:ProjectionType="equirectangular" GPano:PoseHeadingDegrees="122.5"
 GPano:FullPanoWidthPixels="30" GPano:CroppedAreaImageWidthPixels="30" GPano:CroppedAreaLeftPixels="3">
<GPano:UsePanoramaViewer>True</GPano:UsePanoramaViewer><GPano:FullPanoHeightPixels>24</GPano:FullPanoHeightPixels>
<GPano:CroppedAreaImageHeightPixels>20</GPano:CroppedAreaImageHeightPixels>
<GPano:CroppedAreaTopPixels>many</GPano:CroppedAreaTopPixels>
<GPano:LargestValidInteriorRectTop>2</GPano:LargestValidInteriorRectTop>
<Container:Directory><rdf:Seq/></Container:Directory></rdf:Description></rdf:RDF></x:xmpmeta>""".encode()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("wide, high", [(1, 1), (2, 2), (4, 3)])
def test_a_panorama_stays_one_in_its_new_size(tmp_path, suffix, wide, high):
    Image.new("RGB", (30, 20)).save(tmp_path / "sphere.jpg", xmp=SPHERE)

    def change(photo, progress=None):
        return photo.with_pixels(photo.pixels.repeat(high, 0).repeat(wide, 1))

    out = tmp_path / f"out{suffix}"
    conversion.convert(str(tmp_path / "sphere.jpg"), str(out), change, compare=True, mark=marks.Mark(marks.CHANGED))
    with decoders.open_pictures(out.read_bytes()) as pictures:
        found = xmp.read(pictures.picture().xmp)
    assert {name: text for (space, name), text in found.items() if space == PANORAMA} == {
        "ProjectionType": "equirectangular",
        "PoseHeadingDegrees": "122.5",
        "UsePanoramaViewer": "True",
        "FullPanoWidthPixels": str(30 * wide),
        "CroppedAreaImageWidthPixels": str(30 * wide),
        "CroppedAreaLeftPixels": str(3 * wide),
        "FullPanoHeightPixels": str(24 * high),
        "CroppedAreaImageHeightPixels": str(20 * high),
        "CroppedAreaTopPixels": "many",
        "LargestValidInteriorRectTop": str(2 * high),
    }
    others = {space for space, _ in found if "google" in space}
    assert others == {PANORAMA}, "films and depth maps are not in the result"
    # The comparison is no panorama, but has the rest.
    with decoders.open_pictures((tmp_path / f"out-compare{suffix}").read_bytes()) as pictures:
        packet = pictures.picture().xmp
    pair = xmp.read(packet)
    assert not any(space == PANORAMA for space, _ in pair) and marks.read(packet).source_type == marks.CHANGED
    assert ("http://purl.org/dc/elements/1.1/", "format") in pair


def iptc(*words):
    """Data sets of the IIM: (record, number, text)."""
    return b"".join(struct.pack(">BBBH", 28, record, number, len(text)) + text for record, number, text in words)


CAPTION = iptc((1, 90, b"\x1b%G"), (2, 120, "Zoë at the sea".encode()), (2, 25, b"holiday"))
PREVIEW = iptc((2, 202, b"a small picture"), (8, 10, b"an object"))


def captioned(kind):
    image, note = Image.fromarray(HALVES), b"Made in Z\xc3\xbcrich"
    if kind == "png":
        texts = PngImagePlugin.PngInfo()
        texts.add_text("parameters", "a cat, steps 20")
        texts.add_itxt("Description", "Zoë at the sea")
        texts.add_text("Comment", "packed " * 100, zip=True)
        return encode(image, pnginfo=texts)
    if kind == "tif":
        out = io.BytesIO()
        block = CAPTION + PREVIEW
        words = struct.unpack(
            f"<{-(-len(block) // 4)}I", block + bytes(-len(block) % 4)
        )  # LONG, as many programs have it
        tifffile.imwrite(out, HALVES, photometric="rgb", byteorder="<", extratags=[(33723, 4, len(words), words, True)])
        return out.getvalue()
    block = CAPTION + PREVIEW + bytes(len(CAPTION + PREVIEW) % 2)
    resource = b"8BIM\4\4\0\0" + struct.pack(">I", len(CAPTION + PREVIEW)) + block
    body = b"Photoshop 3.0\0" + resource
    return encode(image, "jpeg", quality=95, comment=note, extra=b"\xff\xed" + struct.pack(">H", len(body) + 2) + body)


KEPT = {
    ("jpg", ".jpg"): None,
    ("jpg", ".tif"): "without its comment, which .tif does not hold",
    ("jpg", ".png"): "without its IPTC caption and comment, which .png does not hold",
    ("jpg", ".webp"): "without its IPTC caption and comment, which .webp does not hold",
    ("tif", ".jpg"): None,
    ("tif", ".tif"): None,
    ("tif", ".png"): "without its IPTC caption, which .png does not hold",
    ("png", ".png"): None,
    ("png", ".jpg"): "without its texts (parameters, Description, Comment), which .jpg does not hold",
}


@pytest.mark.parametrize("given, suffix", KEPT)
def test_captions_comments_and_texts_are_kept_or_told(tmp_path, capsys, given, suffix):
    (tmp_path / f"photo.{given}").write_bytes(captioned(given))
    out = tmp_path / f"out{suffix}"
    conversion.convert(str(tmp_path / f"photo.{given}"), str(out), enlarge)
    told = [line for line in capsys.readouterr().err.splitlines() if "without" in line]
    assert told == ([f"{out}: {KEPT[given, suffix]}"] if KEPT[given, suffix] else [])
    with Image.open(out) as image:
        image.load()
        words = image.info.get("photoshop", {}).get(0x0404) or (image.tag_v2.get(33723) if suffix == ".tif" else None)
        assert words == (CAPTION if given != "png" and suffix in (".jpg", ".tif") else None)
        assert image.info.get("comment") == (b"Made in Z\xc3\xbcrich" if (given, suffix) == ("jpg", ".jpg") else None)
        if suffix == ".png":
            texts = {"parameters": "a cat, steps 20", "Description": "Zoë at the sea", "Comment": "packed " * 100}
            assert image.text == (texts if given == "png" else {})


def test_a_caption_that_a_segment_does_not_hold_is_told(tmp_path):
    long = captions.Captions(iptc((2, 120, b"a" * 32_000)) * 3, b"c" * 70_000)
    told = photos.write(tmp_path / "a.jpg", photos.Photo(HALVES, captions=long))
    assert told == "without its IPTC caption of 96,015 bytes and comment of 70,000 bytes, which .jpg does not hold"
    assert photos.write(tmp_path / "a.tif", photos.Photo(HALVES, captions=captions.Captions(long.iptc))) is None
    assert photos.read((tmp_path / "a.tif").read_bytes()).captions.iptc == long.iptc


@pytest.mark.parametrize("block", [b"", b"\x1c", b"\x1c\2x\xff\xff", b"nonsense", CAPTION[:-3], bytes(100)])
def test_damaged_captions_hide_no_photo(block):
    body = b"Photoshop 3.0\0" + b"8BIM\4\4\0\0" + struct.pack(">I", len(block)) + block + bytes(len(block) % 2)
    data = encode(Image.fromarray(HALVES), "jpeg", extra=b"\xff\xed" + struct.pack(">H", len(body) + 2) + body)
    assert photos.read(data).captions.iptc == (CAPTION[: CAPTION.rindex(b"\x1c")] if block == CAPTION[:-3] else None)


def test_what_an_animation_does_not_hold_is_told_once(tmp_path, capsys):
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (10, 90)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], comment=b"hello")
    conversion.convert(str(tmp_path / "a.gif"), str(tmp_path / "a.webp"), enlarge)
    assert capsys.readouterr().err.count("a.webp: without its comment, which an animation does not hold") == 1
