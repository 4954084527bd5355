"""Enlarging to any size with a network that enlarges by a fixed factor."""

import numpy as np
import pytest
from PIL import Image

import pggan_tf as pg
from pggan_tf.conversion import conversion, enlargement
from pggan_tf.conversion.enlargement import Enlargement
from pggan_tf.data import photos
from pggan_tf.errors import UserError
from tests.stand_ins import Upscaler, saved

RNG = np.random.default_rng(0)


def twice(photo, progress=None):
    """Enlarges two times, pixel by pixel."""
    grown = [None if p is None else p.repeat(2, 0).repeat(2, 1) for p in (photo.pixels, photo.alpha)]
    return photo.with_pixels(*grown)


@pytest.mark.parametrize(
    ("wish", "size"),
    [
        (Enlargement(3), (75, 99)),
        (Enlargement(1.5), (38, 50)),
        (Enlargement(1), (25, 33)),
        (Enlargement(box=(100, 100)), (76, 100)),
        (Enlargement(box=(1000, 50)), (50, 66)),
        (Enlargement(box=(33, 25)), (25, 33)),
    ],
)
def test_photos_get_the_size_that_was_asked_for(wish, size):
    assert wish.find_size(25, 33) == size
    photo = photos.Photo(np.full((25, 33, 3), 77, np.uint8), np.full((25, 33, 1), 200, np.uint8))
    made = wish.wrap(twice)(photo)
    assert made.size == made.alpha.shape[:2] == size
    assert (made.pixels == 77).all() and (made.alpha == 200).all(), "the filter's weights add up to 1"


def test_a_slope_stays_a_slope_and_16_bits_stay():
    slope = np.linspace(0, 60_000, 40).astype(np.uint16)
    photo = photos.Photo(np.tile(slope[None, :, None], (30, 1, 1)))
    made = Enlargement(2.5).wrap(twice)(photo).pixels
    assert made.shape == (75, 100, 1) and made.dtype == np.uint16
    expected = np.interp((np.arange(100) + 0.5) / 2.5 - 0.5, np.arange(40), slope)
    assert np.abs(made[40, 5:-5, 0] - expected[5:-5]).max() < 600, "of 60,000: the steps of whole pixels are smoothed"


@pytest.mark.parametrize("text", ["90", "x", "0x9", "9x0", "-9x9", "1e3x9", "9x9x9"])
def test_other_texts_are_no_sizes(text):
    with pytest.raises(UserError, match="expected WIDTHxHEIGHT"):
        enlargement.parse_box(text)
    assert enlargement.parse_box("4000x3000") == enlargement.parse_box(" 4000 X 3000") == (4000, 3000)


def test_all_pages_and_all_frames(tmp_path):
    pages = [Image.fromarray(RNG.integers(0, 256, (20 + i, 30, 3), np.uint8)) for i in range(3)]
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
    same = [page.resize((30, 20)) for page in pages]
    same[0].save(tmp_path / "moving.webp", save_all=True, append_images=same[1:], duration=100, lossless=True)
    wish = Enlargement(1.5)
    for name, sizes in (("scan.tif", [(45, 30), (45, 32), (45, 33)]), ("moving.webp", [(45, 30)] * 3)):
        conversion.convert(str(tmp_path / name), str(tmp_path / f"large-{name}"), wish.wrap(twice), wish, compare=True)
        with Image.open(tmp_path / f"large-{name}") as image:
            assert image.n_frames == 3
            assert [image.seek(i) or image.size for i in range(3)] == sizes
        with Image.open(tmp_path / f"large-{name.replace('.', '-compare.')}") as image:
            assert image.size == (2 * sizes[0][0], sizes[0][1])


def test_a_run_takes_any_size(tmp_path):
    run = saved(Upscaler(scale=4), tmp_path / "run", np.zeros((1, 8, 8, 3), np.float32))
    Image.fromarray(RNG.integers(0, 256, (20, 30, 3), np.uint8)).save(tmp_path / "photo.png")
    for options, size in (
        ({}, (120, 80)),
        ({"scale": 1.5}, (45, 30)),
        ({"to": "200x100"}, (150, 100)),
        ({"scale": 1}, (30, 20)),
    ):
        pg.convert(run, tmp_path / "photo.png", tmp_path / "large.png", **options)
        with Image.open(tmp_path / "large.png") as image:
            assert image.size == size
    (tmp_path / "photos").mkdir()
    for side in (20, 300):
        Image.new("RGB", (side, side)).save(tmp_path / "photos" / f"{side}.png")
    with pytest.raises(pg.Stopped, match="1 of 2 photos written"):  # the other one is too large for it
        pg.convert(run, tmp_path / "photos", tmp_path / "out", to="100x100")


def test_a_folder_goes_on_where_it_stopped(tmp_path, capsys):
    (tmp_path / "photos" / "inside").mkdir(parents=True)
    for name in ("a.png", "b.jpg", "inside/c.png"):
        Image.new("RGB", (20, 20), (90, 120, 150)).save(tmp_path / "photos" / name)
    done = []

    def stops_at_the_third(photo, progress=None):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(photo.size)
        return twice(photo)

    places = str(tmp_path / "photos"), str(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        conversion.convert(*places, stops_at_the_third, 2)
    written = {path.relative_to(tmp_path / "out"): path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*")}
    assert len(written) == 2
    converted = []
    conversion.convert(*places, lambda photo, progress=None: converted.append(1) or twice(photo), 2, skip_existing=True)
    assert len(converted) == 1 and "2 of 3 photos are there already" in capsys.readouterr().err
    assert all((tmp_path / "out" / name).stat().st_mtime_ns == time for name, time in written.items())
    assert len([*(tmp_path / "out").rglob("*.*")]) == 3
