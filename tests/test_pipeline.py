import dataclasses
import hashlib

import numpy as np
import pytest

from benchmarks import data as benchmark
from pggan_tf import entry
from pggan_tf.config import parsing, resolve
from pggan_tf.config.resolve import merge
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


def test_zooming_in_enlarges_a_part_of_each_image(tmp_path):
    """Of a ramp, a part: as steep as its size says, anywhere in the image; the same from any start."""
    row = np.arange(0, 256, 4, np.uint8)  # 64 pixels
    ramps = [np.stack([row[None].repeat(64, 0), row[:, None].repeat(64, 1), row[None].repeat(64, 0)], -1)] * 8
    writer = shards.Writer(tmp_path, (64,), 3, (), "test", "box")
    for ramp in ramps:
        writer.add(ramp, 0)
    writer.close()
    data = shards.Shards(tmp_path)
    zoomed = TrainingImages(data, 64, 1, mirror=False, zoom=0.5)
    images, _ = zoomed.read(np.arange(400))
    assert images.shape == (400, 64, 64, 3)
    inside = images[:, 8:-8, 8:-8].astype(float)
    down = np.diff(inside[..., 1], axis=1).mean((1, 2)) / 4
    right = np.diff(inside[..., 0], axis=2).mean((1, 2)) / 4
    assert np.abs(np.diff(inside[..., 1], 2, axis=1)).max() <= 2, "a ramp stays a ramp, but for rounding"
    np.testing.assert_allclose(down, right, atol=0.02, err_msg="as much of the height as of the width")
    assert down.min() == pytest.approx(0.5, abs=0.02) and down.max() == pytest.approx(1, abs=0.02)
    assert abs(down.mean() - 0.75) < 3 * 0.5 / 12**0.5 / 400**0.5 + 0.01
    top, left = images[:, 0, :, 1].mean(1) / 4, images[:, :, 0, 0].mean(1) / 4  # the first row and column of the part
    for first in (top, left):
        room = 64 * (1 - down)
        assert (first <= room + 2).all() and (first[room > 16] / room[room > 16]).std() > 0.2
    assert abs(np.corrcoef(top, left)[0, 1]) < 0.6, "the places are their own"
    later = np.concatenate([p for p, _ in pipeline.make_batches(zoomed, 40, 80, 8)])
    np.testing.assert_array_equal(later, images[40:80])
    whole, _ = TrainingImages(data, 64, 1, mirror=False).read(np.arange(3))
    np.testing.assert_array_equal(whole, ramps[:3])


@pytest.mark.parametrize("shape", [(16, 12, 3), (9, 16, 1), (16, 16, 6), (1, 1, 3), (2, 1, 4)])
def test_images_of_every_shape_are_zoomed(shape):
    """Both pictures of a pair alike."""
    images = np.random.default_rng(0).integers(0, 256, (20, *shape), np.uint8)
    images[..., shape[2] // 2 :] = images[..., : (shape[2] + 1) // 2]
    zoomed = pipeline._zoom_in(images, 0.5, np.arange(20), 1)
    assert zoomed.shape == images.shape and (zoomed != images).any() == (shape[0] > 1)
    if shape[2] == 6:
        np.testing.assert_array_equal(zoomed[..., 3:], zoomed[..., :3])


def test_the_option_zoom_reaches_the_images(tmp_path):
    """Configs of before have no zoom, and a task that may not zoom does not inherit it."""
    write(tmp_path, count=40, size=16)
    data, plan = shards.Shards(tmp_path), resolve({"recipe": "recolor", "target_res": 16, "zoom": 0.3})
    whole = parsing.from_json(resolve({"recipe": "recolor", "target_res": 16}).to_json()).config
    assert plan.training_images(data, 16).zoom == 0.3 and whole.purpose.zoom == 0
    config = merge(plan.asked, {"recipe": "srgan", "task": "upscale", "network": "srresnet", "scale": 2})
    assert resolve(config).config.purpose.zoom == 0
    numbers = np.arange(10)
    first = plan.training_images(data, 16).read(numbers)[0]
    assert (first != dataclasses.replace(plan.training_images(data, 16), zoom=0.0).read(numbers)[0]).any()


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
