"""Checkpoints: whole or not at all, and never of use where they are of none."""

import io
import json
import os
import stat
import zipfile

import numpy as np
import pytest

from pggan_tf.errors import DamagedFile, UserError
from pggan_tf.runs import checkpoint

ARRAYS = {"a/kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "step": np.array(7, np.int64)}


def write(run, images, arrays=ARRAYS):
    checkpoint.write(checkpoint.path_for(run, images), arrays, {"images_seen": images})


def test_round_trip(tmp_path):
    write(tmp_path, 10)
    arrays, meta = checkpoint.read_newest(tmp_path)
    assert meta == {"images_seen": 10} and set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.parametrize("harm", ["bit", "cut", "empty"])
def test_the_one_before_a_damaged_one_is_used_and_it_is_reported(tmp_path, harm):
    for images in (10, 20):
        write(tmp_path, images)
    newest = checkpoint.path_for(tmp_path, 20)
    data = bytearray(newest.read_bytes())
    if harm == "bit":
        data[data.index(b"NUMPY") + 130] ^= 1
    newest.write_bytes({"bit": data, "cut": data[:-50], "empty": b""}[harm])
    said = []
    _, meta = checkpoint.read_newest(tmp_path, said.append)
    assert meta["images_seen"] == 10
    assert len(said) == 1 and newest.name in said[0] and "damaged" in said[0]


def test_every_flipped_bit_is_noticed(tmp_path):
    """In the data, in the headers and in the zip's directory: damage is an error of one kind, or harmless."""
    write(tmp_path, 10)
    path = checkpoint.path_for(tmp_path, 10)
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ (1 << i % 8)]) + whole[i + 1 :])
        try:
            arrays, meta = checkpoint.read(path)
        except DamagedFile:
            continue
        assert meta == {"images_seen": 10} and set(arrays) == set(ARRAYS)
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(arrays[name], array)


def test_leftovers_and_damaged_ones_are_set_aside(tmp_path):
    for images in (10, 20):
        write(tmp_path, images)
    checkpoint.path_for(tmp_path, 20).write_bytes(b"")
    (tmp_path / checkpoint.FOLDER / ".partial-checkpoint-000000000030.npz").write_bytes(b"half")
    checkpoint.clean_up(tmp_path)
    names = sorted(p.name for p in (tmp_path / checkpoint.FOLDER).iterdir())
    assert names == ["checkpoint-000000000010.npz", "checkpoint-000000000020.npz.damaged"]


def test_ruined_ones_are_passed_over_and_set_aside(tmp_path):
    ruined = {**ARRAYS, "generator/kernel": np.array([1.0, np.nan], np.float32)}
    for images, arrays in ((10, ARRAYS), (20, ruined), (30, ruined)):
        write(tmp_path, images, arrays)
    said = []
    assert checkpoint.read_newest(tmp_path, said.append)[1]["images_seen"] == 10
    assert len(said) == 2 and all("generator/kernel became NaN or Inf" in line for line in said)
    checkpoint.clean_up(tmp_path)
    names = sorted(p.name for p in (tmp_path / checkpoint.FOLDER).iterdir())
    assert names == [f"checkpoint-{'0' * 10}{n}.npz{end}" for n, end in ((10, ""), (20, ".ruined"), (30, ".ruined"))]
    checkpoint.path_for(tmp_path, 10).unlink()
    write(tmp_path, 40, ruined)
    with pytest.raises(UserError, match="its weights are ruined .* start a new run, with a lower --learning-rate"):
        checkpoint.read_newest(tmp_path, said.append)


def test_none_that_can_be_read(tmp_path):
    with pytest.raises(UserError, match="no readable checkpoint"):
        checkpoint.read_newest(tmp_path)


def test_only_so_many_are_kept(tmp_path):
    for images in range(5):
        write(tmp_path, images)
        checkpoint.prune(tmp_path, 2)
    assert [p.name for p in checkpoint.list_checkpoints(tmp_path)] == [
        "checkpoint-000000000004.npz",
        "checkpoint-000000000003.npz",
    ]


def test_a_failed_write_leaves_no_trace_and_the_last_one_whole(tmp_path):
    write(tmp_path, 10)

    class Full(np.ndarray):
        @property
        def dtype(self):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write(tmp_path, 20, {**ARRAYS, "z": np.zeros(3).view(Full)})
    assert [p.name for p in (tmp_path / checkpoint.FOLDER).iterdir()] == ["checkpoint-000000000010.npz"]
    assert checkpoint.read_newest(tmp_path)[1]["images_seen"] == 10


def test_pickles_are_never_loaded(tmp_path):
    path = checkpoint.path_for(tmp_path, 1)
    path.parent.mkdir()
    np.savez(path, a=np.array([{}], object))
    with pytest.raises(DamagedFile):
        checkpoint.read(path)


def test_restore_takes_all_or_nothing():
    import tensorflow as tf

    variables = {"a": tf.Variable([1.0]), "b": tf.Variable([2.0])}
    for arrays in (
        {"a": np.zeros(1)},
        {"a": np.zeros(1), "b": np.zeros(1), "c": np.zeros(1)},
        {"a": np.zeros(1), "b": np.zeros(2)},
    ):
        with pytest.raises(UserError):
            checkpoint.restore(variables, arrays, "run")
        assert variables["a"].numpy() == 1.0
    checkpoint.restore(variables, {"a": np.array([3.0])}, "run", newer=("b", "of other options"))
    assert (variables["a"].numpy(), variables["b"].numpy()) == (3.0, 2.0), "what older checkpoints do not have stays"


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.array([1e6, -1e6], np.float32), None),
        (np.array([0, 1.5e6], np.float32), "grew to 1.5e+06"),
        (np.array([-2e6, 1e6], np.float32), "grew to 2e+06"),
        (np.array([3.0, -np.inf], np.float32), "became NaN or Inf"),
        (np.array([np.inf, -np.inf], np.float32), "became NaN or Inf"),
        (np.array([1.0, np.nan, 2.0], np.float16), "became NaN or Inf"),
        (np.array(np.nan), "became NaN or Inf"),
        (np.zeros((0, 3), np.float32), None),
        (np.array([10**12]), None),
        (np.array(["text"]), None),
    ],
)
def test_what_is_of_no_use(array, why):
    names = ("generator/a", "discriminator/b/c", "ema")
    for name in names:
        assert checkpoint.describe_ruin({"first": np.zeros(2), name: array}) == (why and f"{name} {why}")
    others = {"optimizer/generator/v": array, "generators/a": array}
    small = None if why and "grew" in why else why
    assert checkpoint.describe_ruin(others) == (small and f"optimizer/generator/v {small}")
    assert checkpoint.describe_ruin({}) is None


def test_what_is_told_of_a_damaged_one(tmp_path):
    path = checkpoint.path_for(tmp_path, 1)
    assert path == tmp_path / "checkpoints" / "checkpoint-000000000001.npz"
    write(tmp_path, 1)
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
        assert all(i.compress_type == zipfile.ZIP_STORED for i in archive.infolist()), (
            "read and written at the disk's speed"
        )
    assert json.loads(held["meta.json"]) == {"images_seen": 1, "arrays": ["a/kernel", "step"]}
    data = path.read_bytes()
    at = data.index(b"NUMPY") + 130
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(DamagedFile, match=f"^{path}: damaged at a/kernel.npy.$"):
        checkpoint.read(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("meta.json", "step.npy"):
            archive.writestr(name, held[name])
    with pytest.raises(DamagedFile, match=f"^{path}: damaged [(]arrays are missing[)].$"):
        checkpoint.read(path)
    path.write_bytes(b"text")
    with pytest.raises(DamagedFile, match=f"^{path}: damaged [(]File is not a zip file[)].$"):
        checkpoint.read(path)
    with pytest.raises(DamagedFile, match=f"^{path}x: damaged [(].+No such file"):
        checkpoint.read(path.with_name(f"{path.name}x"))
    said = []
    with pytest.raises(
        UserError, match=f"^{tmp_path}: no readable checkpoint in {path.parent}. Expected the folder of a run"
    ):
        checkpoint.read_newest(tmp_path, said.append)
    assert said == [f"{path}: damaged (File is not a zip file). Trying the one before."]


def test_pickles_are_not_loaded_from_what_looks_whole(tmp_path):
    """A pickle runs what it holds: here it would make a folder."""

    class Code:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    path, held = checkpoint.path_for(tmp_path, 1), io.BytesIO()
    path.parent.mkdir()
    np.save(held, np.array([Code()], object), allow_pickle=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("meta.json", json.dumps({"arrays": ["a"]}))
        archive.writestr("a.npy", held.getvalue())
    with pytest.raises(DamagedFile, match="allow_pickle=False"):
        checkpoint.read(path)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        checkpoint.write(path, {"a": np.array([Code()], object)}, {})
    assert not (tmp_path / "made").exists()


def test_older_ones_are_not_looked_at(tmp_path):
    """Reading takes long, and one that is whole is enough; the last of several is kept if one is to be."""
    for images in (10, 20, 30):
        write(tmp_path, images)
    old, _, new = reversed(checkpoint.list_checkpoints(tmp_path))
    old.write_bytes(b"")
    checkpoint.clean_up(tmp_path)
    assert old.exists() and new == checkpoint.path_for(tmp_path, 30)
    checkpoint.prune(tmp_path, 5)
    assert len(checkpoint.list_checkpoints(tmp_path)) == 3
    checkpoint.prune(tmp_path, 1)
    assert checkpoint.list_checkpoints(tmp_path) == [new]


def test_what_does_not_fit_is_told():
    import tensorflow as tf

    variables = {"a": tf.Variable([[1.0, 2.0]]), "b": tf.Variable(2.0)}
    for arrays, words in (
        ({"a": np.zeros((1, 2))}, "run: does not match these networks: 1 variables differ, such as b."),
        (
            {"a": np.zeros((1, 2)), "b": np.zeros(()), "d": 0, "c": 0},
            "run: does not match these networks: 2 variables differ, such as c.",
        ),
        ({"a": np.zeros((2, 1)), "b": np.zeros(())}, r"run: a is [(]2, 1[)], expected [(]1, 2[)]."),
    ):
        with pytest.raises(UserError, match=f"^{words}$"):
            checkpoint.restore(variables, arrays, "run")
    checkpoint.restore(variables, {"a": np.array([[5.0, 6.0]]), "b": np.array(7.0)}, "run", newer=("b",))
    assert variables["a"].numpy().tolist() == [[5.0, 6.0]] and variables["b"].numpy() == 7.0


def test_a_write_reaches_the_disk_before_it_counts(tmp_path, monkeypatch):
    """The file, and the folder in which it is renamed, are flushed; a folder that is not there yet is made; every array may be of
    more than 4 GB; what a killed process left is written over."""
    flushed, fsync, run = [], os.fsync, tmp_path / "runs" / "new"
    monkeypatch.setattr(os, "fsync", lambda n: flushed.append(stat.S_ISDIR(os.fstat(n).st_mode)) or fsync(n))
    write(run, 10)
    assert flushed == [False, True]
    with zipfile.ZipFile(checkpoint.path_for(run, 10)) as archive:
        assert [i.extract_version for i in archive.infolist()[1:]] == [zipfile.ZIP64_VERSION] * 2
    left = checkpoint.path_for(run, 20).with_name(f".partial-{checkpoint.path_for(run, 20).name}")
    left.write_bytes(b"half")
    write(run, 20)
    assert not left.exists() and len(checkpoint.list_checkpoints(run)) == 2
