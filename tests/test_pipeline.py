import numpy as np
import pytest

from pggan_tf import pipeline, shards
from tests.test_shards import write


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100, 1025])
def test_an_epoch_has_every_image_once(count):
    for epoch in range(3):
        indices, _ = pipeline.order(np.arange(epoch * count, (epoch + 1) * count), count, seed=5)
        np.testing.assert_array_equal(np.sort(indices), np.arange(count))


def test_every_epoch_and_every_seed_has_its_own_order():
    epochs = [tuple(pipeline.order(np.arange(e * 50, (e + 1) * 50), 50, seed)[0]) for seed in (0, 1) for e in range(4)]
    assert len(set(epochs)) == 8


def test_the_order_is_spread_evenly():
    # First places of 4000 permutations of 8: each value 500 times, standard deviation 21.
    first, _ = pipeline.order(np.arange(4000) * 8, 8, seed=3)
    assert np.abs(np.bincount(first, minlength=8) - 500).max() < 5 * 21
    _, flips = pipeline.order(np.arange(4000), 8, seed=3)
    assert abs(flips.mean() - 0.5) < 0.04


def test_any_start_gives_the_same_images(tmp_path):
    write(tmp_path, count=10)
    data = shards.Shards(tmp_path)
    whole = np.concatenate([p.numpy() for p, _ in pipeline.batches(data, 8, seed=1, start=0, end=40, batch=4)])
    labels = np.concatenate([y.numpy() for _, y in pipeline.batches(data, 8, seed=1, start=0, end=40, batch=4)])
    later = np.concatenate([p.numpy() for p, _ in pipeline.batches(data, 8, seed=1, start=24, end=40, batch=8)])
    assert whole.shape == (40, 8, 8, 3)
    np.testing.assert_array_equal(whole[24:], later)
    indices, flips = pipeline.order(np.arange(40), 10, 1)
    np.testing.assert_array_equal(labels, indices % 2)
    expected = data.read(8, indices)
    expected[flips] = expected[flips][:, :, ::-1]
    np.testing.assert_array_equal(whole, expected)


def test_mirror_can_be_turned_off(tmp_path):
    write(tmp_path, count=10)
    data = shards.Shards(tmp_path)
    images, _ = pipeline.read(data, 8, 1, np.arange(20), mirror=False)
    np.testing.assert_array_equal(images, data.read(8, pipeline.order(np.arange(20), 10, 1)[0]))


def test_memory_of_the_order_does_not_depend_on_the_dataset():
    indices, _ = pipeline.order(np.arange(10**12, 10**12 + 1000), 10**11, seed=0)
    assert len(np.unique(indices)) == 1000 and indices.max() < 10**11
