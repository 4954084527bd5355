import json
import mmap
import os

import numpy as np
import pytest

from pggan_tf import pixels, shards
from pggan_tf.errors import DamagedFile, UserError


def write(folder, count=10, size=16, resolutions=None, classes=("a", "b"), **kwargs):
    images = np.random.default_rng(1).integers(0, 256, (count, size, size, 3), np.uint8)
    writer = shards.Writer(
        folder, resolutions or shards.default_resolutions(size), 3, classes, "test", "box", shard_images=4, **kwargs
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
        np.testing.assert_array_equal(opened.read(r, order), pixels.block_mean(images, 16 // r)[order])
    np.testing.assert_array_equal(opened.labels(4, order), order % 2)


def test_members_are_mapped_not_read(tmp_path):
    write(tmp_path)
    opened = shards.Shards(tmp_path)
    opened.read(4, np.array([0]))
    assert all(isinstance(a.base, mmap.mmap) for a in opened._arrays.values())
    assert {name for _, name in opened._arrays} == {"4"}


def test_a_resolution_between_is_averaged_from_a_multiple(tmp_path):
    images = write(tmp_path, size=24, resolutions=(24,))
    np.testing.assert_array_equal(shards.Shards(tmp_path).read(8, np.arange(3)), pixels.block_mean(images, 3)[:3])
    with pytest.raises(UserError, match="16 px divides none"):
        shards.Shards(tmp_path).read(16, np.arange(3))


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
    plain = shards._sha256
    monkeypatch.setattr(shards, "_sha256", lambda path: (compared.append(path.name), plain(path))[1])
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
    assert shards.default_resolutions(64) == (4, 8, 16, 32, 64)
    assert shards.default_resolutions(96) == (6, 12, 24, 48, 96)
