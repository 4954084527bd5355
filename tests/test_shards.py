import json
import os
import resource
import sys

import numpy as np
import pytest

from pggan_tf.data import mapped, pixels, shards
from pggan_tf.errors import DamagedFile, UserError
from tests.conftest import TINY, run_folder, train_alone


def write(folder, count=10, size=16, resolutions=None, classes=("a", "b"), **kwargs):
    images = np.random.default_rng(1).integers(0, 256, (count, size, size, 3), np.uint8)
    writer = shards.Writer(
        folder, resolutions or shards.halve_resolution(size), 3, classes, "test", "box", shard_images=4, **kwargs
    )
    for i, image in enumerate(images):
        writer.add(image, i % 2)
    writer.close()
    return images


@pytest.mark.parametrize("compress", [False, True])
def test_what_was_written_is_read(tmp_path, compress):
    images = write(tmp_path, compress=compress)
    opened = shards.Shards(tmp_path)
    assert len(opened) == 10 and opened.manifest.resolutions == (4, 8, 16)
    order = np.array([9, 0, 5, 5, 3])
    for r in (4, 8, 16):
        np.testing.assert_array_equal(opened.read(r, order), pixels.average_blocks(images, 16 // r)[order])
    np.testing.assert_array_equal(opened.labels(4, order), order % 2)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """The same 4,800 images in 1,200 files and in one: (folder, folder)."""
    folders = [tmp_path_factory.mktemp("shards") / name for name in ("many", "one")]
    images = np.random.default_rng(0).integers(0, 256, (4800, 4, 4, 3), np.uint8)
    for folder, shard_images in zip(folders, (4, 4800)):
        writer = shards.Writer(folder, (4,), source="noise", shard_images=shard_images)
        for image in images:
            writer.add(image)
        assert len(writer.close().shards) == 4800 // shard_images
    return folders


def open_files():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_no_file_stays_open(many):
    opened, before = shards.Shards(many[0], verify=False), open_files()
    opened.read(4, np.arange(4800))
    assert len(opened.manifest.shards) == 1200 and open_files() == before


def test_many_files_cost_what_one_costs(many):
    """Counted in calls, which other work on the machine does not change; a loop over the files makes thousands."""
    several, one = (shards.Shards(folder, verify=False) for folder in many)
    order = np.random.default_rng(1).permutation(4800)
    np.testing.assert_array_equal(several.read(4, order), one.read(4, order))

    def count_calls(opened):
        events = []
        sys.setprofile(lambda frame, event, argument: events.append(event))
        try:
            opened.read(4, order)
        finally:
            sys.setprofile(None)
        return sum(event in ("call", "c_call") for event in events)

    assert count_calls(several) <= count_calls(one) < 100


@pytest.mark.slow
def test_training_from_1200_files_of_which_256_may_be_open(many, tmp_path):
    schedule = ("--target-res", "4", "--batch", "16", "--stable-images", "64")
    code, out, err = train_alone(
        "--data", many[0], *TINY, *schedule, "--runs", tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)),
    )  # fmt: skip
    assert code == 0, err
    stats = [json.loads(line) for line in (run_folder(out) / "stats.jsonl").read_text().splitlines()]
    assert stats[-1]["images"] == 64


def test_too_many_open_files_is_not_damage(tmp_path):
    """Raised by a limit at which no further file can be opened."""
    write(tmp_path)
    opened = shards.Shards(tmp_path)
    unused = os.open(os.devnull, os.O_RDONLY)
    os.close(unused)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (unused, limits[1]))
    try:
        with pytest.raises(UserError, match=r"shard-00000.npz: Too many open files.*ulimit -n") as raised:
            opened.read(4, np.array([0]))
        with pytest.raises(UserError, match="ulimit -n"):
            opened.verify()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert not isinstance(raised.value, DamagedFile)
    opened.read(4, np.array([0]))


@pytest.mark.parametrize("kind", [mapped.MappedFiles, mapped.SeparatelyMappedFiles])
def test_images_of_several_sizes_are_read_from_the_files_that_have_them(tmp_path, kind, monkeypatch):
    """Labels too; and 64 px is more than what is copied by one indexing."""
    monkeypatch.setattr(shards, "map_files", kind)
    rng = np.random.default_rng(2)
    images = [rng.integers(0, 256, (size, size, 3), np.uint8) for size in (64, 8, 64, 32, 8, 64, 32, 64, 8)]
    writer = shards.Writer(tmp_path, shards.halve_resolution(64), classes=("a", "b"), shard_images=2)
    for i, image in enumerate(images):
        writer.add(image, i % 2)
    writer.close()
    opened = shards.Shards(tmp_path)
    largest = [s["largest"] for s in opened.manifest.shards]
    assert len(set(largest)) == 3 and [opened.count(r) for r in (4, 8, 16, 32, 64)] == [9, 9, 6, 6, 4]
    for r in (4, 8, 16, 32, 64):
        expected = {pixels.average_blocks(x, len(x) // r).tobytes(): i % 2 for i, x in enumerate(images) if len(x) >= r}
        order = np.arange(opened.count(r))[::-1]
        found = {x.tobytes(): y for x, y in zip(opened.read(r, order), opened.labels(r, order))}
        assert found == expected


@pytest.mark.parametrize("index", [-1, 10])
def test_no_image_outside_of_the_set_is_read(tmp_path, index):
    write(tmp_path)
    with pytest.raises(IndexError):
        shards.Shards(tmp_path).read(4, np.array([0, index]))


@pytest.mark.parametrize(
    "member, message",
    [
        (np.zeros((3, 4, 4, 3), np.uint8), "the manifest says uint8 .4, 4, 4, 3."),
        (np.zeros((4, 4, 4, 3), np.float32), "the manifest says uint8"),
        (np.zeros((4, 4, 4, 3), np.uint8, "F"), "Fortran"),
        (None, "lacks an array"),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_arrays_of_another_kind_are_told(tmp_path, member, message, compress):
    write(tmp_path, classes=())
    path = tmp_path / "shard-00000.npz"
    with np.load(path) as archive:
        arrays = {**archive, "4": member}
    if member is None:
        del arrays["4"]
    (np.savez_compressed if compress else np.savez)(path, **arrays)
    with pytest.raises(DamagedFile, match=message):
        shards.Shards(tmp_path, verify=False).read(4, np.array([0]))


def test_one_compressed_array_is_in_memory_at_a_time(tmp_path):
    images = write(tmp_path, count=40, compress=True)
    opened, order = shards.Shards(tmp_path), np.random.default_rng(0).permutation(40)
    assert opened.compressed
    np.testing.assert_array_equal(opened.read(16, order), images[order])
    assert opened._last_unpacked[1].shape == (4, 16, 16, 3)


def test_a_set_whose_manifest_names_no_sizes(tmp_path):
    """As of version 1 before there were images of several sizes."""
    images = write(tmp_path)
    manifest = json.loads((tmp_path / shards.MANIFEST).read_text())
    for shard in manifest["shards"]:
        del shard["largest"]
    (tmp_path / shards.MANIFEST).write_text(json.dumps(manifest))
    np.testing.assert_array_equal(shards.Shards(tmp_path).read(16, np.arange(10)), images)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_pages_are_given_back(tmp_path, monkeypatch):
    """What was read of 20 MB does not stay in the process's memory."""
    monkeypatch.setattr(mapped, "_MOST_BYTES", 4 << 20)
    writer = shards.Writer(tmp_path, (64,), shard_images=400)
    for image in np.random.default_rng(0).integers(0, 256, (1600, 64, 64, 3), np.uint8):
        writer.add(image)
    writer.close()
    opened = shards.Shards(tmp_path, verify=False)
    opened.open(64)
    before = mapped._count_file_memory()
    for first in range(0, 1600, 50):
        opened.read(64, np.arange(first, first + 50))
        assert mapped._count_file_memory() - before < 8 << 20


def test_a_resolution_between_is_averaged_from_a_multiple(tmp_path):
    images = write(tmp_path, size=24, resolutions=(24,))
    np.testing.assert_array_equal(shards.Shards(tmp_path).read(8, np.arange(3)), pixels.average_blocks(images, 3)[:3])
    with pytest.raises(UserError, match="16 px divides none"):
        shards.Shards(tmp_path).read(16, np.arange(3))
    with pytest.raises(UserError, match="48 px divides none.*Give --target-res 24, or prepare the photos again"):
        shards.Shards(tmp_path).read(48, np.arange(3))
    with pytest.raises(UserError, match=f"pggan prepare {tmp_path.parent} SHARDS --size N"):
        shards.Shards(tmp_path.parent)
    with pytest.raises(UserError, match="pggan prepare PHOTOS .*none --size N"):
        shards.Shards(tmp_path / "none")


def test_equal_content_has_an_equal_checksum(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b")
    write(tmp_path / "c", count=9)
    a, b, c = (shards.Shards(tmp_path / n).manifest.checksum for n in "abc")
    assert a == b != c


@pytest.mark.parametrize("harm", ["bit", "cut", "gone"])
def test_damage_is_named(tmp_path, harm):
    write(tmp_path)
    path = tmp_path / "shard-00001.npz"
    data = bytearray(path.read_bytes())
    if harm == "bit":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif harm == "cut":
        path.write_bytes(data[:-100])
    else:
        os.remove(path)
    with pytest.raises(DamagedFile, match="shard-00001.npz is (damaged|missing)"):
        shards.Shards(tmp_path)


def test_files_are_compared_once_while_they_stay_what_they_are(tmp_path, monkeypatch):
    write(tmp_path)
    compared = []
    plain = shards.hash_file
    monkeypatch.setattr(shards, "hash_file", lambda path: (compared.append(path.name), plain(path))[1])
    for _ in range(2):
        shards.Shards(tmp_path)
    whole = sorted(f.name for f in tmp_path.glob("*.npz"))
    assert sorted(compared) == whole
    os.utime(tmp_path / "shard-00001.npz", (1, 1))
    shards.Shards(tmp_path)
    assert sorted(compared) == sorted(2 * whole)


def test_no_manifest_no_dataset(tmp_path):
    with pytest.raises(UserError, match="pggan prepare"):
        shards.Shards(tmp_path)
    (tmp_path / shards.MANIFEST).write_text("{")
    with pytest.raises(DamagedFile, match="not JSON"):
        shards.Shards(tmp_path)
    for foreign in ([], {"name": "an app"}):
        (tmp_path / shards.MANIFEST).write_text(json.dumps(foreign))
        with pytest.raises(UserError, match="not the manifest"):
            shards.Shards(tmp_path)
    (tmp_path / shards.MANIFEST).write_text(json.dumps({"format": shards.FORMAT, "version": 99}))
    with pytest.raises(UserError, match="newer"):
        shards.Shards(tmp_path)


def test_pickles_are_never_loaded(tmp_path):
    write(tmp_path)
    np.savez(tmp_path / "shard-00000.npz", **{"4": np.array([{"a": 1}] * 4, object)})
    with pytest.raises(DamagedFile, match="pickle"):
        shards.Shards(tmp_path, verify=False).read(4, np.array([0]))


def test_default_resolutions():
    assert shards.halve_resolution(64) == (4, 8, 16, 32, 64)
    assert shards.halve_resolution(96) == (6, 12, 24, 48, 96)
