import numpy as np
import pytest
from PIL import Image

from pggan_tf.data import pixels
from pggan_tf.errors import UserError


def test_every_pixel_survives_the_round_trip():
    all_values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(pixels.to_uint8(pixels.to_float(all_values)), all_values)
    assert pixels.to_float(all_values).min() == -1 and pixels.to_float(all_values).max() == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_value_of_either_depth_survives_the_unit_range(dtype):
    values = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    np.testing.assert_array_equal(pixels.from_unit(pixels.to_unit(values), dtype), values)
    assert pixels.from_unit([-0.5, 1.5], dtype).tolist() == [0, np.iinfo(dtype).max]


def test_out_of_range_is_clipped():
    np.testing.assert_array_equal(pixels.to_uint8([-3.0, 3.0, 0.0]), [0, 255, 128])


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_block_mean_equals_direct_averaging(factor):
    images = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), np.uint8)
    slow = np.zeros((3, 24 // factor, 24 // factor, 3), np.uint8)
    for n, y, x, c in np.ndindex(slow.shape):
        block = images[n, y * factor : (y + 1) * factor, x * factor : (x + 1) * factor, c]
        slow[n, y, x, c] = int(np.floor(block.astype(np.float64).mean() + 0.5))
    np.testing.assert_array_equal(pixels.average_blocks(images, factor), slow)


def test_large_blocks_do_not_overflow():
    for factor in (257, 258):  # 258 * 255 is more than 16 bits hold
        white = np.full((1, factor, factor, 1), 255, np.uint8)
        assert (pixels.average_blocks(white, factor) == 255).all()


def test_grid_places_images_row_by_row(tmp_path):
    images = np.stack([np.full((2, 2, 3), 10 * i, np.uint8) for i in range(5)])
    sheet = pixels.tile(images)
    assert sheet.shape == (4, 6, 3)
    assert [sheet[0, 0, 0], sheet[0, 2, 0], sheet[0, 4, 0], sheet[2, 0, 0], sheet[2, 2, 0], sheet[2, 4, 0]] == [
        0,
        10,
        20,
        30,
        40,
        255,
    ]
    pixels.save_grid(tmp_path / "g.png", images, size=8)
    with Image.open(tmp_path / "g.png") as image:
        assert image.size == (24, 16)
    pixels.save(tmp_path / "gray.png", images[1][:, :, :1])
    with Image.open(tmp_path / "gray.png") as image:
        assert image.mode == "L"


def test_a_sheet_is_filled_as_images_come():
    images = np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3), np.uint8)
    sheet = pixels.Sheet(7, columns=3, edge=2)
    for part in (images[:2], images[2:6], images[6:]):
        sheet.add(part)
    np.testing.assert_array_equal(sheet.picture, pixels.tile(images, 3, edge=2))
    assert sheet.picture.shape[:2] == sheet.size(4, 5) == (16, 19)
    for number, image in enumerate(images):
        y, x = 6 * (number // 3), 7 * (number % 3)
        np.testing.assert_array_equal(sheet.picture[y : y + 4, x : x + 5], image)


@pytest.mark.parametrize(
    "name, size, words",
    [
        ("x.webp", (8, 16_384), "--out x.webp: would be 16,384 x 8 pixels; expected 16,383 a side .* as .webp"),
        ("x.JPG", (65_501, 8), "expected 65,500 a side at most as .jpg"),
        ("x.png", (30_000, 30_000), "and 536 million in all. Take fewer images, or smaller ones.$"),
    ],
)
def test_pictures_that_are_too_large_are_refused(name, size, words):
    with pytest.raises(UserError, match=words):
        pixels.check_size("--out", name, *size)
    pixels.check_size("--out", name, 8, 16_383)


@pytest.mark.parametrize("name", ["x.webp", "x.jpg"])
def test_a_picture_that_cannot_be_written_is_named_with_the_reason(tmp_path, name):
    with pytest.raises(OSError) as caught:
        pixels.save(tmp_path / name, np.zeros((1, 70_000, 3), np.uint8))
    assert caught.value.filename == str(tmp_path / name) and len(caught.value.strerror) > 5
    assert not list(tmp_path.iterdir())


def test_arrays_are_written_as_they_come_whole_or_not_at_all(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3), np.uint8)
    with pixels.write_npz(tmp_path / "x.npz", 7) as keep:
        keep(images[:4])
        keep(images[4:, :, ::-1])  # not contiguous
    with np.load(tmp_path / "x.npz") as found:
        assert found.files == ["images"] and found["images"].dtype == np.uint8
        np.testing.assert_array_equal(found["images"], np.concatenate([images[:4], images[4:, :, ::-1]]))
    before = (tmp_path / "x.npz").read_bytes()
    with pytest.raises(RuntimeError), pixels.write_npz(tmp_path / "x.npz", 7) as keep:
        keep(images[:4])
        raise RuntimeError
    assert [f.name for f in tmp_path.iterdir()] == ["x.npz"] and (tmp_path / "x.npz").read_bytes() == before


def test_whether_a_file_can_be_written_is_found_out_and_leaves_none(tmp_path):
    assert pixels.check_file("--npz", tmp_path / "a" / "x.npz") == tmp_path / "a" / "x.npz"
    assert not list((tmp_path / "a").iterdir())
    (tmp_path / "file").write_text("kept")
    pixels.check_file("--npz", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"
    for path in (tmp_path / "file" / "x.npz", tmp_path / "a"):
        with pytest.raises(UserError, match="--npz .*: cannot be written .(Not|File|Is) .* Choose a folder"):
            pixels.check_file("--npz", path)
