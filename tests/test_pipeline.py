import hashlib

import numpy as np
import pytest

from benchmarks import data as benchmark
from pggan_tf import entry
from pggan_tf.data import pipeline, shards
from pggan_tf.data.pipeline import TrainingImages
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


def test_the_order_of_runs_begun_before():
    """A hash of what the first version drew: a resumed run goes on in the same order."""
    drawn = hashlib.sha256()
    for count in (1, 2, 3, 7, 100, 1025, 38400, 10**6, 10**11):
        for start in (0, 5, max(0, count - 3), 10**12):
            for some in (0, 1, 17, 3000):
                indices, flips = pipeline.order(np.arange(start, start + some), count, 7)
                drawn.update(indices.tobytes() + flips.tobytes())
    assert drawn.hexdigest() == "3bc5ab0c1b3b77903ad9922329cda9703d959674c2c0daa5c867fd6a9c97ce3f"


@pytest.mark.parametrize("gather_bytes, readers", [(1, 1), (1, 16), (1 << 20, 16)])
def test_several_readers_give_one_order(tmp_path, monkeypatch, gather_bytes, readers):
    """Images one by one, as the order says, against batches that many threads read."""
    images = write(tmp_path, count=23, size=8)
    monkeypatch.setattr(pipeline, "_GATHER_BYTES", gather_bytes)
    monkeypatch.setattr(pipeline, "count_cores", lambda: readers)
    data = shards.Shards(tmp_path)
    expected, labels = [], []
    for number in range(12, 12 + 400):
        (index,), (flip,) = pipeline.order(np.array([number]), 23, 5)
        expected.append(images[index][:, ::-1] if flip else images[index])
        labels.append(index % 2)
    found = list(pipeline.make_batches(TrainingImages(data, 8, 5), 12, 12 + 400, 4).as_numpy_iterator())
    assert len(found) == 100
    np.testing.assert_array_equal(np.concatenate([x for x, _ in found]), expected)
    np.testing.assert_array_equal(np.concatenate([y for _, y in found]), labels)
    # Two batches a step of 4 images each, shared by two replicas.
    second = pipeline.make_batches(TrainingImages(data, 8, 5), 12, 412, 4, times=2, replicas=2, mine=range(1, 2))
    parts = [x for x, _ in second.take(50)]
    theirs = np.array(expected).reshape(50, 2, 2, 2, 8, 8, 3)[:, :, 1].reshape(50, 4, 8, 8, 3)
    np.testing.assert_array_equal(parts, theirs)


def test_what_is_known_of_the_files_is_not_worked_out_again(tmp_path, monkeypatch):
    write(tmp_path, count=10)
    data = shards.Shards(tmp_path)
    TrainingImages(data, 8, 1).read(np.arange(20))
    monkeypatch.setattr(data, "_largest", None)
    monkeypatch.setattr(data, "_locate", None)
    TrainingImages(data, 8, 1).read(np.arange(20))


def test_the_benchmark_prints_its_rates(capsys, monkeypatch):
    """With a few images a file in place of its 600 MB."""
    draw = benchmark.write
    monkeypatch.setattr(benchmark, "write", lambda folder, files, images, size: draw(folder, files, 16, size))
    assert entry.main(benchmark.main, ["--files", "3", "--seconds", "0.01"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("about 30 seconds")
    rows = [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("|")]
    assert rows[2:] == ["4", "4", "64", "256"]


def test_any_start_gives_the_same_images(tmp_path):
    write(tmp_path, count=10)
    data = shards.Shards(tmp_path)
    images = TrainingImages(data, 8, seed=1)
    whole = np.concatenate([p.numpy() for p, _ in pipeline.make_batches(images, start=0, end=40, batch=4)])
    labels = np.concatenate([y.numpy() for _, y in pipeline.make_batches(images, start=0, end=40, batch=4)])
    later = np.concatenate([p.numpy() for p, _ in pipeline.make_batches(images, start=24, end=40, batch=8)])
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
    images, _ = TrainingImages(data, 8, 1, mirror=False).read(np.arange(20))
    np.testing.assert_array_equal(images, data.read(8, pipeline.order(np.arange(20), 10, 1)[0]))


def test_memory_of_the_order_does_not_depend_on_the_dataset():
    indices, _ = pipeline.order(np.arange(10**12, 10**12 + 1000), 10**11, seed=0)
    assert len(np.unique(indices)) == 1000 and indices.max() < 10**11


def test_patches_are_cut_out_at_places_of_their_own(tmp_path):
    """Somewhere within their image, spread over all places, and the same from any start."""
    write(tmp_path, count=10)
    data = shards.Shards(tmp_path)
    images, labels = TrainingImages(data, 8, 1, mirror=False, patch=6).read(np.arange(200))
    whole, _ = TrainingImages(data, 8, 1, mirror=False).read(np.arange(200))
    assert images.shape == (200, 6, 6, 3)
    places = set()
    for image, patch in zip(whole, images):
        (found,) = [
            (y, x) for y in range(3) for x in range(3) if np.array_equal(image[y : y + 6, x : x + 6], patch)
        ] or [None]
        places.add(found)
    assert places == {(y, x) for y in range(3) for x in range(3)}
    later = np.concatenate([p for p, _ in pipeline.make_batches(TrainingImages(data, 8, 1, False, patch=6), 40, 80, 8)])
    np.testing.assert_array_equal(later, images[40:80])


def test_images_held_out_are_not_trained_on(tmp_path):
    write(tmp_path, count=10)
    data = shards.Shards(tmp_path)
    images, _ = TrainingImages(data, 8, 1, mirror=False, held_out=0.2).read(np.arange(160))
    seen = {image.tobytes() for image in images}
    trained = pipeline.train_indices(np.arange(pipeline.train_count(10, 0.2)), 10, 0.2)
    assert seen == {image.tobytes() for image in data.read(8, trained)}


@pytest.mark.parametrize(
    "count, held_out", [(2, 0.05), (9, 0.05), (10, 0.2), (21, 0.05), (200, 0.05), (6017, 0.3), (7, 0.9)]
)
def test_every_image_is_trained_on_or_held_out(count, held_out):
    """And those held out come from all over, in about the share that was asked for."""
    kept = pipeline.train_count(count, held_out)
    trained = pipeline.train_indices(np.arange(kept), count, held_out)
    held = pipeline.holdout_indices(np.arange(count - kept), count, held_out)
    np.testing.assert_array_equal(np.sort(np.concatenate([trained, held])), np.arange(count))
    assert len(held) >= 1 and (count < 100 or abs(len(held) / count - held_out) < 0.02)
    assert count < 100 or np.diff(held).max() <= count / 10
