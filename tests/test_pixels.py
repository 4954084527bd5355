import numpy as np
import pytest
from PIL import Image

from pggan_tf import pixels


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
    np.testing.assert_array_equal(pixels.block_mean(images, factor), slow)


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
    pixels.grid(tmp_path / "g.png", images, size=8)
    with Image.open(tmp_path / "g.png") as image:
        assert image.size == (24, 16)
    pixels.save(tmp_path / "gray.png", images[1][:, :, :1])
    with Image.open(tmp_path / "gray.png") as image:
        assert image.mode == "L"
