"""Marks in every kind of file, read back by other programs: Pillow, tifffile, FFmpeg and exiftool."""

import json
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import pggan_tf as pg
from pggan_tf import __version__, tasks
from pggan_tf.conversion import conversion, sequences
from pggan_tf.data import decoders, marks, photos, pixels, portraits, xmp
from pggan_tf.errors import Unreadable
from pggan_tf.explore import video
from tests.test_video import make as make_video

MARK = marks.Mark(marks.GENERATED, "a <run> & more", "ab" * 32).for_seeds("5", 16, 0.7, "kätzchen", marks.IMAGE)
PACKET = marks.make_packet(MARK)
MAKER = f"pggan-tf {__version__}"
# As a camera's program writes it: properties as attributes and elements, lists, layout of the file.
OTHERS = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Somebody's">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dc="http://purl.org/dc/elements/1.1/">
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmpNote="http://ns.adobe.com/xmp/note/"
    xmp:CreatorTool="A camera" xmp:Rating="4" tiff:Orientation="6" tiff:Make="Maker" xmpNote:HasExtendedXMP="1"
    Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture">
   <dc:creator><rdf:Seq><rdf:li>Zoë Ørsted, 山田</rdf:li></rdf:Seq></dc:creator>
   <xmp:Thumbnails><rdf:Alt><rdf:li>AAAA</rdf:li></rdf:Alt></xmp:Thumbnails>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()


def exiftool(file) -> dict:
    """{group:tag: value} as exiftool reads a file."""
    if not shutil.which("exiftool"):
        pytest.skip("exiftool is not installed (Debian: apt-get install libimage-exiftool-perl)")
    command = ["exiftool", "-json", "-G1", "-n", "-charset", "utf8", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    found = json.loads(done.stdout)[0]
    assert not [name for name in found if name.endswith((":Warning", ":Error"))], found
    return found


def said(file) -> dict:
    """What exiftool finds of a mark."""
    found = exiftool(file)
    names = {"XMP-iptcExt:DigitalSourceType": "type", "XMP-xmp:CreatorTool": "maker"}
    ours = {name.removeprefix("XMP-pggan:"): value for name, value in found.items() if name.startswith("XMP-pggan:")}
    return {**ours, **{short: found[name] for name, short in names.items() if name in found}}


ALL = {
    "Run": "a <run> & more",
    "Weights": "ab" * 32,
    "Seeds": 5,
    "Stage": 16,
    "Truncation": 0.7,
    "Class": "kätzchen",
    "Layout": "image",
    "type": marks.GENERATED,
    "maker": MAKER,
}


def packet_of(file) -> bytes | None:
    """The XMP of a picture, by Pillow."""
    with Image.open(file) as image:
        image.load()
        return image.tag_v2.get(700) if image.format == "TIFF" else image.info.get("xmp")


IMAGE = portraits.draw(3, 32)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures(tmp_path, suffix, channels):
    pixels.save(tmp_path / f"a{suffix}", IMAGE[..., :channels], PACKET)
    assert packet_of(tmp_path / f"a{suffix}") == PACKET and marks.read(PACKET) == MARK
    assert said(tmp_path / f"a{suffix}") == ALL
    pixels.save(tmp_path / f"b{suffix}", IMAGE[..., :channels])
    assert packet_of(tmp_path / f"b{suffix}") is None
    with Image.open(tmp_path / f"a{suffix}") as a, Image.open(tmp_path / f"b{suffix}") as b:
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("suffix", list(photos.KINDS))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_photos(tmp_path, suffix, dtype):
    photo = photos.Photo(IMAGE.astype(dtype), exif=None, xmp=PACKET)
    if photos.find_loss(photo, suffix):
        return
    assert photos.write(tmp_path / f"a{suffix}", photo) is None
    assert packet_of(tmp_path / f"a{suffix}") == PACKET
    assert said(tmp_path / f"a{suffix}") == ALL
    with decoders.open_pictures((tmp_path / f"a{suffix}").read_bytes()) as pictures:
        assert marks.read(pictures.picture().xmp) == MARK
    back = photos.read((tmp_path / f"a{suffix}").read_bytes())
    if suffix in (".png", ".tif", ".tiff"):
        np.testing.assert_array_equal(back.pixels, photo.pixels)


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_videos_of_walks(tmp_path, name, channels):
    frames = [portraits.draw(i, 32)[..., :channels] for i in range(4)]
    video.write(tmp_path / name, iter(frames), 10, PACKET)
    assert said(tmp_path / name) == ALL
    video.write(tmp_path / f"plain-{name}", iter(frames), 10)
    assert not said(tmp_path / f"plain-{name}")
    if name.endswith("mp4"):
        import av

        with av.open(tmp_path / name) as container:
            assert len(list(container.decode(video=0))) == 4
    else:
        with Image.open(tmp_path / name) as image:
            assert image.n_frames == 4
        with decoders.open_pictures((tmp_path / name).read_bytes()) as pictures:
            assert [pictures.picture(i).xmp for i in range(4)] == [PACKET] * 4
        with decoders.open_pictures((tmp_path / f"plain-{name}").read_bytes()) as pictures:
            assert pictures.picture().xmp is None


def negative(photo, progress=None):
    return photo.with_pixels(~photo.pixels)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v", ".mkv", ".webm"])
def test_videos_that_were_changed(tmp_path, suffix):
    import av

    make_video(tmp_path / "in.mkv", frames=3, sound=None if suffix == ".webm" else "aac")
    mark = marks.Mark(marks.CHANGED, "a-run", "cd" * 32)
    conversion.convert(str(tmp_path / "in.mkv"), str(tmp_path / f"out{suffix}"), negative, mark=mark)
    with av.open(tmp_path / f"out{suffix}") as container:
        assert len(list(container.decode(video=0))) == 3
        tags = {name.upper(): value for name, value in container.metadata.items()}
    if suffix in (".mkv", ".webm"):
        assert (tags["DIGITAL_SOURCE_TYPE"], tags["CREATOR_TOOL"]) == (marks.CHANGED, MAKER)
    else:
        assert said(tmp_path / f"out{suffix}") == {
            "Run": "a-run",
            "Weights": "cd" * 32,
            "type": marks.CHANGED,
            "maker": MAKER,
        }
    conversion.convert(str(tmp_path / "in.mkv"), str(tmp_path / f"plain{suffix}"), negative)
    assert b"digitalsourcetype" not in (tmp_path / f"plain{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", list(photos.KINDS))
@pytest.mark.parametrize("marked", [False, True])
def test_what_a_photo_said_stays(tmp_path, suffix, marked):
    """Its author, its EXIF and its profile; not that it is turned, or where its thumbnail is."""
    exif = Image.Exif()
    exif[271] = "A camera"
    Image.fromarray(IMAGE).save(tmp_path / "in.jpg", exif=exif, xmp=OTHERS)
    mark = marks.Mark(marks.CHANGED, "a-run", "cd" * 32) if marked else None
    conversion.convert(str(tmp_path / "in.jpg"), str(tmp_path / f"out{suffix}"), negative, mark=mark)
    found = exiftool(tmp_path / f"out{suffix}")
    assert found["XMP-dc:Creator"] == "Zoë Ørsted, 山田" and found["XMP-xmp:Rating"] == 4
    assert found["XMP-tiff:Make"] == "Maker" and found["IFD0:Make"] == "A camera"
    assert not {"XMP-tiff:Orientation", "XMP-xmpNote:HasExtendedXMP", "XMP-xmp:ThumbnailImage"} & found.keys()
    capture = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
    assert found["XMP-iptcExt:DigitalSourceType"] == (marks.CHANGED if marked else capture)
    assert found["XMP-xmp:CreatorTool"] == (MAKER if marked else "A camera")
    assert ("XMP-pggan:Run" in found) == marked
    with Image.open(tmp_path / f"out{suffix}") as image, Image.open(tmp_path / "in.jpg") as before:
        assert image.size == before.size[::-1]  # it was turned as its XMP says


def test_every_page_and_animation(tmp_path):
    mark = marks.Mark(marks.CHANGED, "a-run", "cd" * 32)
    pictures = [Image.fromarray(portraits.draw(i, 32)) for i in range(3)]
    for given, made in (("in.tif", "out.tif"), ("in.gif", "out.webp"), ("in.webp", "out.png")):
        pictures[0].save(tmp_path / given, save_all=True, append_images=pictures[1:])
        conversion.convert(str(tmp_path / given), str(tmp_path / made), negative, compare=True, mark=mark)
        for name in (made, made.replace("out", "out-compare")):
            with Image.open(tmp_path / name) as image:
                assert image.n_frames == 3
            assert marks.read(packet_of(tmp_path / name)) == mark
            assert said(tmp_path / name)["type"] == marks.CHANGED
    assert ".tif" in sequences.KINDS["pages"]


def test_a_generated_photo_stays_one(tmp_path):
    """Whatever another network changes in it; but its seeds do not make it any more."""
    pixels.save(tmp_path / "face.png", IMAGE, PACKET)
    mark = marks.Mark(marks.CHANGED, "larger", "cd" * 32)
    conversion.convert(str(tmp_path / "face.png"), str(tmp_path / "larger.jpg"), negative, mark=mark)
    assert marks.read(packet_of(tmp_path / "larger.jpg")) == replace(mark, source_type=marks.GENERATED)
    conversion.convert(str(tmp_path / "face.png"), str(tmp_path / "plain.jpg"), negative)
    left = xmp.read(packet_of(tmp_path / "plain.jpg"))
    assert {name for _, name in left} == {"DigitalSourceType", "CreatorTool"}


def test_xmp_that_jpeg_cannot_hold_is_left_out_and_said(tmp_path):
    long = OTHERS.replace(b"Maker", b"M" * 70_000)
    photo = photos.Photo(IMAGE, xmp=marks.make_packet(MARK, long))
    assert "without its XMP, as .jpg holds none of 7" in photos.write(tmp_path / "a.jpg", photo)
    assert marks.read(packet_of(tmp_path / "a.jpg")) == MARK
    assert photos.write(tmp_path / "a.png", photo) is None
    assert len(packet_of(tmp_path / "a.png")) > 70_000


BOMB = b'<!DOCTYPE a [<!ENTITY b "' + b"b" * 100 + b'">]><a>' + b"&b;" * 100 + b"</a>"


@pytest.mark.parametrize("packet", [b"", b"nonsense", b"<a/>", BOMB, b"\xff\xfe<", bytes(5 << 20), OTHERS[:-200]])
def test_damaged_xmp_is_not_kept_and_hides_no_mark(packet):
    assert marks.read(packet) is None and marks.make_packet(None, packet) is None
    assert marks.read(marks.make_packet(MARK, packet)) == MARK
    with pytest.raises(Unreadable):
        xmp.read(packet)


@pytest.mark.parametrize(
    "old, new",
    [
        (b"ab" * 32, b"../../runs"),
        (b">0.7<", b">7<"),
        (b">0.7<", b">nan<"),
        (b">16<", b">sixteen<"),
        (b">image<", b">poster<"),
    ],
)
def test_a_damaged_mark_is_told(old, new):
    with pytest.raises(Unreadable, match="a damaged mark"):
        marks.read(PACKET.replace(old, new))


def test_what_a_mark_says_can_be_printed():
    read = marks.read(PACKET.replace(b"more", b"\xc2\x9b2J\n\xe2\x80\xae"))
    assert read.run.isprintable() and read.run.startswith("a <run> & ")


def test_control_characters_make_no_damaged_packet():
    made = marks.make_packet(replace(MARK, class_name="a\x00b\x1b]c\ud800"))
    assert marks.read(made).class_name == "ab]c"


def test_too_many_seeds_are_left_out():
    mark = MARK.for_seeds(",".join(map(str, range(0, 9000, 2))), 16, 1.0, None, marks.GRID)
    assert len(marks.make_packet(mark)) < xmp.LONGEST_IN_JPEG and mark == MARK


def test_each_task_says_what_it_does():
    said = {name: task.source_type for name, task in tasks.TASKS.items()}
    assert said.pop("generate") == marks.GENERATED and set(said.values()) == {marks.CHANGED}


def test_arrays_lose_their_seeds_when_they_change(tmp_path):
    images = pg.Images.of(np.stack([IMAGE] * 4), replace(MARK, layout=marks.GRID))
    images.save(tmp_path / "whole.png")
    assert marks.read(packet_of(tmp_path / "whole.png")) == replace(MARK, layout=marks.GRID)
    for other in (images[1:], images[::-1], 255 - images, images[0]):
        other.save(tmp_path / "part.png")
        assert marks.read(packet_of(tmp_path / "part.png")) == MARK.without_seeds()
    images.save(tmp_path / "plain.png", mark=False)
    pg.Images.of(np.asarray(images)).save(tmp_path / "own.png")
    assert packet_of(tmp_path / "plain.png") is None is packet_of(tmp_path / "own.png")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le"])
def test_packets_of_every_encoding_are_read_and_none_expands(encoding):
    packet = marks.make_packet(marks.Mark(marks.GENERATED, "run"))
    text = packet.decode().lstrip("\ufeff")
    assert marks.read(text.encode(encoding)).run == "run"
    bomb = text.replace("<x:xmpmeta", '<!DOCTYPE a [<!ENTITY b "' + "x" * 1000 + '">]><x:xmpmeta', 1)
    assert "<!DOCTYPE" in bomb
    with pytest.raises(Unreadable, match="XMP that is not read"):
        xmp.read(bomb.encode(encoding))
