"""`pggan translate` on real files: photos of any size, in tiles that do not show."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from pggan_tf import tasks
from pggan_tf.commands import cli
from pggan_tf.data import photos
from pggan_tf.networks import tiles
from tests.stand_ins import Translator
from tests.test_colorize import trained  # noqa: F401  a fixture


@pytest.mark.parametrize("height, width", [(1, 1), (16, 16), (15, 17), (64, 64), (65, 200), (130, 20)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_size_is_translated_whole(height, width, dtype):
    """What a negative is of does not depend on tiles."""
    most = np.iinfo(dtype).max
    given = np.random.default_rng(0).integers(0, most + 1, (height, width, 3)).astype(dtype)
    changed = tasks.Translate().converter(Translator(), size=64)(photos.Photo(given)).pixels
    assert changed.dtype == dtype
    np.testing.assert_array_equal(changed, most - given)


def test_tiles_that_differ_go_over_into_each_other():
    """Left dark, right light, and a network that looks at all it is given: levels between tiles, one at most between pixels."""
    given = np.full((200, 300, 3), 120, np.uint8)
    given[:, :150] = 0
    function = tasks.Translate().converter(Translator(whole=True), size=64)
    added = function(photos.Photo(given)).pixels.astype(int) - (255 - given)
    # Clipped at white, so only the light side is looked at: near the middle a tile sees both.
    light = added[:, 150:, 0]
    assert np.ptp(light) >= 5
    assert np.abs(np.diff(light, axis=0)).max() <= 1 and np.abs(np.diff(light, axis=1)).max() <= 1


@pytest.mark.parametrize("length", [1, 63, 64, 65, 100, 112, 113, 1000])
def test_tiles_along_either_axis_are_exact(length):
    """What all tiles agree on stays as it is; none is larger than asked for."""
    sizes = []

    def function(part):
        sizes.append(part.shape)
        return part + np.uint16(7)

    for shape in ((length, 70, 1), (70, length, 1)):
        image = (np.arange(length * 70) % 60_000).astype(np.uint16).reshape(shape)
        np.testing.assert_array_equal(tiles.blend_tiles(function, image, 64, 16), image + 7)
    assert max(max(s) for s in sizes) <= 64


def test_a_large_photo_in_bounded_memory():
    """Floats are held of a tile, and of what a row of tiles shares with the next."""
    import tracemalloc

    photo = photos.Photo(np.broadcast_to(np.uint8(9), (2000, 3000, 3)))
    change = tasks.Translate().converter(Translator(), size=256)
    change(photos.Photo(photo.pixels[:20, :20]))
    tracemalloc.start()
    changed = change(photo).pixels
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (changed == 246).all()
    assert peak < 2 * changed.nbytes  # in float32 it would be four times its size


def test_the_command(trained, tmp_path):  # noqa: F811
    astronaut = data.astronaut()[:100, :150]
    Image.fromarray(np.dstack([astronaut, astronaut[..., :1]])).save(tmp_path / "photo.png")
    arguments = [
        "translate",
        str(trained["translate"]),
        str(tmp_path / "photo.png"),
        "--out",
        str(tmp_path / "out.png"),
    ]
    assert cli.main([*arguments, "--tile", "50", "--compare"]) == 0  # 64, a multiple of 16
    out = photos.read((tmp_path / "out.png").read_bytes())
    np.testing.assert_array_equal(out.pixels, 255 - astronaut)
    np.testing.assert_array_equal(out.alpha, astronaut[..., :1])
    assert photos.read((tmp_path / "out-compare.png").read_bytes()).size == (100, 300)
