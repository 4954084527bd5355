import numpy as np
import pytest
import tensorflow as tf

from pggan_tf.errors import UserError
from pggan_tf.networks import tiles
from tests.stand_ins import Upscaler


@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 57, 64, 65, 1000])
@pytest.mark.parametrize("context", [0, 1, 5, 15])
def test_windows_keep_every_pixel_once_with_its_context(length, context):
    kept = []
    for start, stop, first, last in tiles.split_side(length, 32, context):
        assert 0 <= start <= first < last <= stop <= length
        assert stop - start == min(32, length)
        assert first - start >= context or start == 0  # the border is the image's own
        assert stop - last >= context or stop == length
        kept += range(first, last)
    assert kept == list(range(length))


@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (70, 33), (64, 32), (97, 113)])
@pytest.mark.parametrize("tile", [32, 41])
def test_tiles_give_what_the_whole_image_gives(shape, tile):
    network = Upscaler(scale=2, depth=5)
    function = tiles.trace_network(network, 3)
    image = np.random.default_rng(0).random((*shape, 3)).astype(np.float32)
    whole, parts = function(image), tiles.join_tiles(function, image, tile, network.context, 2)
    assert parts.shape == (2 * shape[0], 2 * shape[1], 3)
    np.testing.assert_allclose(parts, whole, atol=1e-5)  # borders included


def test_less_context_than_the_network_has_would_show():
    network = Upscaler(scale=2, depth=5)
    function = tiles.trace_network(network, 3)
    image = np.random.default_rng(0).random((97, 113, 3)).astype(np.float32)
    assert np.abs(tiles.join_tiles(function, image, 32, 1, 2) - function(image)).max() > 1 / 255


def test_a_network_is_traced_once_for_all_sizes():
    traces = []

    class Counted(Upscaler):
        def call(self, low):
            traces.append(low.shape)
            return super().call(low)

    network = Counted(depth=1)
    network(tf.zeros((1, 8, 8, 3)))
    traces.clear()
    function = tiles.trace_network(network, 3)
    for shape in ((1, 1, 3), (40, 70, 3), (9, 5, 3)):
        tiles.join_tiles(function, np.zeros(shape, np.float32), 32, 1, 4)
    assert len(traces) == 1


def test_no_window_is_larger_than_the_tile_and_the_result_keeps_its_type():
    sizes = []

    def function(part):
        sizes.append(part.shape[:2])
        return part.repeat(2, 0).repeat(2, 1)

    image = np.random.default_rng(0).integers(0, 65536, (50, 20_000, 1)).astype(np.uint16)
    out = tiles.join_tiles(function, image, 256, 20, 2)
    assert out.dtype == np.uint16 and np.array_equal(out, image.repeat(2, 0).repeat(2, 1))
    assert set(sizes) == {(50, 256)}


def test_a_tile_that_is_all_context_is_refused():
    with pytest.raises(UserError, match="--tile 40: too small.*more than 40"):
        tiles.join_tiles(lambda x: x, np.zeros((100, 100, 1)), 40, 20)
    assert tiles.join_tiles(lambda x: x, np.zeros((10, 10, 1)), 40, 20).shape == (10, 10, 1)
