"""Pages of TIFFs and frames of animations through a function: all of them, in a file of the same kind, or a word."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from pggan_tf.conversion import conversion, sequences
from pggan_tf.data import photos
from pggan_tf.errors import Stopped, UserError
from tests.test_photos import camera_exif

SIZES = [(40, 30), (20, 50), (33, 33)]  # width, height
LEVELS = (10, 90, 200)


def twice(photo, progress=None):
    """A negative, twice as large."""
    negative = np.iinfo(photo.pixels.dtype).max - photo.pixels
    large = [planes.repeat(2, 0).repeat(2, 1) if planes is not None else None for planes in (negative, photo.alpha)]
    return photo.with_pixels(*large)


def pages(path):
    """Of unequal sizes, types and colours: 8 bits, floats with alpha, gray of 16 bits."""
    rng = np.random.default_rng(0)
    made = [
        rng.integers(0, 256, (30, 40, 3), np.uint8),
        rng.random((50, 20, 4), np.float32),
        rng.integers(0, 65536, (33, 33), np.uint16),
    ]
    with tifffile.TiffWriter(path) as file:
        for planes in made:
            extra = ["unassalpha"] if planes.shape[2:] == (4,) else None
            photometric = "rgb" if planes.ndim == 3 else "minisblack"
            file.write(planes, photometric=photometric, extrasamples=extra, metadata=None, compression="zlib")
    return made


def frames(path, clear=False, loop=3):
    made = [Image.fromarray(np.full((12, 16, 4), (level, 60, 250 - level, 255), np.uint8)) for level in LEVELS]
    if clear:
        made[1].paste((0, 0, 0, 0), (0, 0, 4, 12))
    made = made if clear else [image.convert("RGB") for image in made]
    options = {".webp": {"lossless": True, "kmin": 1, "kmax": 1}}.get(path.suffix, {})
    made[0].save(path, save_all=True, append_images=made[1:], duration=[40, 100, 250], loop=loop, **options)
    return path


def look(path):
    """Frames, their milliseconds, and how often they are shown."""
    with Image.open(path) as image:
        seen = []
        for i in range(image.n_frames):
            image.seek(i)
            seen.append((np.asarray(image.convert("RGBA")), image.info["duration"]))
        return [planes for planes, _ in seen], [time for _, time in seen], image.info.get("loop")


def test_every_page_goes_through_whatever_its_size_and_type(tmp_path, capsys):
    made = pages(tmp_path / "scan.tif")
    conversion.convert(str(tmp_path / "scan.tif"), str(tmp_path / "out.tif"), twice, 2, compare=True)
    with tifffile.TiffFile(tmp_path / "out.tif") as file, tifffile.TiffFile(tmp_path / "out-compare.tif") as pair:
        out, compared = [page.asarray() for page in file.pages], [page.shape for page in pair.pages]
    assert [planes.shape for planes in out] == [(60, 80, 3), (100, 40, 4), (66, 66)]
    assert compared == [(60, 160, 3), (100, 80, 4), (66, 132, 3)]
    np.testing.assert_array_equal(out[0][::2, ::2], 255 - made[0])
    np.testing.assert_allclose(out[1][::2, ::2, :3] / 65535, 1 - made[1][..., :3], atol=1e-4)
    np.testing.assert_allclose(out[1][1::2, ::2, 3] / 65535, made[1][..., 3], atol=1e-4)
    np.testing.assert_array_equal(out[2][::2, ::2], 65535 - made[2])
    said = capsys.readouterr()
    assert said.err == "" and said.out.strip() == str(tmp_path / "out.tif")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["out-compare.tif", "out.tif", "scan.tif"]


def test_pages_are_held_one_at_a_time(tmp_path):
    """Forty pages take no more than four do."""
    import tracemalloc

    peaks = []
    for count in (4, 40):
        with tifffile.TiffWriter(tmp_path / f"{count}.tif") as file:
            for _ in range(count):
                file.write(np.zeros((300, 400, 3), np.uint8), photometric="rgb", metadata=None, compression="zlib")
        tracemalloc.start()
        conversion.convert(str(tmp_path / f"{count}.tif"), str(tmp_path / "out.tif"), twice, 2)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_what_a_first_page_tells_stays(tmp_path):
    """EXIF, in tables, and the large file's offsets of 64 bits."""
    exif = Image.Exif()
    exif.load(camera_exif())
    photo = photos.Photo(np.zeros((8, 8, 3), np.uint8), exif=camera_exif().removeprefix(b"Exif\0\0"))
    for size in (0, 5_000_000_000):
        with photos.open_tiff(tmp_path / "out.tif", size) as add:
            add(photo)
            add(photos.Photo(np.full((4, 4, 1), 7, np.uint8), exif=photo.exif))
        with tifffile.TiffFile(tmp_path / "out.tif") as file:
            assert file.is_bigtiff == (size > 0) and len(file.pages) == 2
            assert file.pages[0].tags["ExifTag"].value["ISOSpeedRatings"] == 400
            assert file.pages[1].tags["Make"].value == "A camera" and (file.pages[1].asarray() == 7).all()


@pytest.mark.parametrize(
    "given, clear", [("a.gif", False), ("a.webp", False), ("a.webp", True), ("a.png", False), ("a.png", True)]
)
@pytest.mark.parametrize("name", ["out.webp", "out.png"])
def test_every_frame_goes_through_with_its_time(tmp_path, given, name, clear):
    frames(tmp_path / given, clear)
    conversion.convert(str(tmp_path / given), str(tmp_path / name), twice, 2, compare=True)
    seen, times, loop = look(tmp_path / name)
    assert times == [40, 100, 250] and loop == (4 if given == "a.gif" else 3)
    assert look(tmp_path / f"{name[:3]}-compare{name[3:]}")[0][0].shape == (24, 64, 4)
    for i, (planes, level) in enumerate(zip(seen, LEVELS)):
        assert planes.shape == (24, 32, 4)
        clear_here = clear and i == 1
        assert (planes[:, :8, 3] == (0 if clear_here else 255)).all() and (planes[:, 8:, 3] == 255).all()
        np.testing.assert_allclose(planes[8:16, 16:24, 0].mean(), 255 - level, atol=4)


def test_a_folder_keeps_all_of_them(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    pages(tmp_path / "in" / "scan.tif")
    frames(tmp_path / "in" / "a.gif", loop=0)
    frames(tmp_path / "in" / "b.webp")
    conversion.convert(str(tmp_path / "in"), str(tmp_path / "out"), twice, 2)
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == ["a.gif.png", "b.webp", "scan.tif"]
    assert [len(look(tmp_path / "out" / name)[0]) for name in ("a.gif.png", "b.webp")] == [3, 3]
    assert look(tmp_path / "out" / "a.gif.png")[2] == 0
    assert "3 of 3 photos written" in capsys.readouterr().out


@pytest.mark.parametrize("given, name", [("a.gif", "out.jpg"), ("a.webp", "out.tif"), ("scan.tif", "out.png")])
def test_what_cannot_hold_them_says_that_only_the_first_is_used(tmp_path, capsys, given, name):
    (pages if given == "scan.tif" else frames)(tmp_path / given)
    conversion.convert(str(tmp_path / given), str(tmp_path / name), twice, 2)
    kind = (
        "pages; all of them go into .tif or .tiff"
        if given == "scan.tif"
        else "frames; all of them go into .webp or .png"
    )
    assert capsys.readouterr().err.strip() == f"{tmp_path / given}: only the first of its 3 {kind}"
    first = photos.read((tmp_path / given).read_bytes())
    assert photos.read((tmp_path / name).read_bytes()).size == tuple(2 * side for side in first.size)


def test_one_page_or_frame_is_a_photo_as_ever(tmp_path, capsys):
    for name in ("a.png", "a.tif", "a.webp", "a.gif"):
        Image.new("RGB", (8, 8), (9, 9, 9)).save(tmp_path / name)
        conversion.convert(str(tmp_path / name), str(tmp_path / "out.jpg"), twice, 2)
    assert capsys.readouterr().err == ""


def test_of_what_is_damaged_the_rest_is_kept_and_it_is_said(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    pages(tmp_path / "in" / "a.tif")
    data = (tmp_path / "in" / "a.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "in" / "a.tif") as file:
        start = file.pages[1].dataoffsets[0]
    (tmp_path / "in" / "a.tif").write_bytes(data[:start] + bytes(40) + data[start + 40 :])
    noise = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), np.uint8)
    first, *others = map(Image.fromarray, noise)
    for name in ("b.gif", "b.png"):
        first.save(tmp_path / name, save_all=True, append_images=others, duration=100)
        data = (tmp_path / name).read_bytes()
        (tmp_path / "in" / name).write_bytes(data[: len(data) * 5 // 6])
    conversion.convert(str(tmp_path / "in"), str(tmp_path / "out"), twice, 2)
    assert [len(look(tmp_path / "out" / name)[0]) for name in ("b.gif.png", "b.png")] == [2, 2]
    with tifffile.TiffFile(tmp_path / "out" / "a.tif") as file:
        assert [page.shape for page in file.pages] == [(60, 80, 3), (66, 66)]
    out, err = capsys.readouterr()
    assert "3 of 3 photos written" in out and len(err.strip().splitlines()) == 3
    assert "a.tif: without page 2 of 3, which is damaged" in err
    assert "b.gif: only 2 of its 3 frames; the rest is damaged (image file is truncated" in err


def test_what_goes_wrong_in_the_middle_leaves_nothing_behind(tmp_path):
    frames(tmp_path / "b.webp")
    pages(tmp_path / "b.tif")

    def full(photo, progress=None):
        raise UserError("no memory")

    for name in ("b.webp", "b.tif"):
        with pytest.raises(UserError, match="no memory"):
            conversion.convert(str(tmp_path / name), str(tmp_path / f"x{name}"), full, 2)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["b.tif", "b.webp"]


def test_pages_whose_end_cannot_be_written_are_told(tmp_path, monkeypatch, capsys):
    """In a folder, the others are gone on with."""
    folder = tmp_path / "IN"
    folder.mkdir()
    pages(folder / "a.tif")
    Image.new("RGB", (8, 8)).save(folder / "b.png")

    def fails(*arguments):
        raise ValueError("a table that cannot be written")

    monkeypatch.setattr(photos, "_fill_tables", fails)
    with pytest.raises(Stopped, match="1 of 2 photos written"):
        conversion.convert(str(folder), str(tmp_path / "out"), twice, 2)
    assert "a.tif: cannot be written (ValueError: a table that cannot be written)" in capsys.readouterr().err
    assert [f.name for f in (tmp_path / "out").iterdir()] == ["b.png"]


def test_an_animation_is_bounded(tmp_path, monkeypatch):
    """It is held until its end: what would be too much is refused before the work; pages are not held."""
    frames(tmp_path / "a.webp")
    pages(tmp_path / "scan.tif")
    monkeypatch.setattr(photos, "MAX_PIXELS", 3 * 12 * 16 * 4 - 1)
    with pytest.raises(photos.Unwritable, match="out.webp: 3 frames, .* in all; an animation may have"):
        conversion.convert(str(tmp_path / "a.webp"), str(tmp_path / "out.webp"), None, 2)
    conversion.convert(str(tmp_path / "scan.tif"), str(tmp_path / "out.tif"), twice, 2)
    monkeypatch.setattr(photos, "MAX_PIXELS", 3 * 12 * 16 * 4)
    conversion.convert(str(tmp_path / "a.webp"), str(tmp_path / "out.webp"), twice, 2)
    assert sequences.KINDS["frames"] == (".webp", ".png")


def test_a_file_that_is_larger_than_any_photo_is_not_read(tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    monkeypatch.setattr(photos, "MAX_BYTES", 10)
    with pytest.raises(UserError, match="a.png: a file of 0 MB, more than 0"):
        conversion.convert(str(tmp_path / "a.png"), str(tmp_path / "out.png"), twice, 2)
