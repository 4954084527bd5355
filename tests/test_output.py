"""A folder that a job may write into, or not: nobody's files are lost, and work that was begun goes on only as it was begun."""

import contextlib
import json
import os
from types import SimpleNamespace

import filelock
import numpy as np
import pytest
from PIL import Image

from pggan_tf.data import shards
from pggan_tf.errors import UserError
from preprocessing import output
from preprocessing.job import Job
from preprocessing.sources import SourceList, open_all, open_source
from tests.conftest import pggan


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "in"
    for number, name in enumerate(("a", "b")):
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / name / "1.png")
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def job_of(*locations, **options):
    return Job(open_all([str(location) for location in locations]), None, (4,), {"size": 4, "wide": (1, 2)} | options)


def finish(folder, report=None):
    writer = shards.Writer(folder, (4,))
    writer.add(np.zeros((4, 4, 3), np.uint8))
    writer.close()
    if report is not None:
        (folder / output.REPORT).write_text(json.dumps(report))


def report_of(job):
    return {"options": json.loads(json.dumps(job.options)), "fingerprints": output.list_fingerprints(job.source)}


@contextlib.contextmanager
def claimed(job, out, resume=False, overwrite=False, wait=False, said=None):
    say = pytest.fail if said is None else said.append
    with contextlib.ExitStack() as stack:
        yield output.reserve_folder(job, out, output.Existing(resume, overwrite, wait), say, stack)


def refused(job, out, match, **kwargs):
    before = sorted(path for path in out.rglob("*") if path.name != "lock") if out.is_dir() else []
    with pytest.raises(UserError, match=f"^{out}: {match}"), claimed(job, out, **kwargs):
        pass
    if out.is_dir():
        assert sorted(path for path in out.rglob("*") if path.name != "lock") == before


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_new_folder_is_ours(source, tmp_path):
    for place in (tmp_path / "deep" / "out", tmp_path / "empty"):
        if place.name == "empty":
            place.mkdir()
        else:  # what a killed process left of the file
            write(place, f"{output.UNFINISHED}/.partial-job.json")
        job = job_of(source)
        with claimed(job, place, wait=place.name == "empty") as begun:
            assert begun is job
            refused(job, place, "another process is at work there. Wait for it")
        kept = json.loads((place / output.UNFINISHED / "job.json").read_text())
        assert kept["options"] == {"size": 4, "wide": [1, 2]}
        assert kept["sources"] == [
            {
                "name": str(source),
                "fingerprint": job.source.parts[0].fingerprint(),
                "listing": job.source.parts[0].to_listing(),
            }
        ]
        assert kept["sources"][0]["listing"]["files"] == ["a/1.png", "b/1.png"]
        assert sorted(os.listdir(place / output.UNFINISHED)) == ["job.json", "lock"]


def test_a_folder_with_anything_else_is_refused(source, out):
    write(out, "letter.txt")
    refused(job_of(source), out, "exists and is not an empty folder. Choose another, or remove it", overwrite=True)
    (out / "letter.txt").unlink()
    (out / output.UNFINISHED).touch()  # a file of that name is no unfinished work
    refused(job_of(source), out, "exists and is not an empty folder")
    (out / output.UNFINISHED).unlink()
    out.rmdir()
    out.touch()
    refused(job_of(source), out, "not a folder. Choose another place")


def test_a_finished_set_is_left_as_it_is(source, out):
    job = job_of(source)
    finish(out, report_of(job))
    with claimed(job, out, resume=True) as begun:
        assert begun is None
    with claimed(job_of(source, size=5), out, wait=True) as begun:
        assert begun is None
    refused(job, out, "holds shards already. Give --overwrite to replace them, or another folder")
    different = "holds shards already that were made in another way, or of a source that has changed since. Give"
    refused(job_of(source, size=5), out, different, resume=True)
    write(source, "b/2.png")
    refused(job_of(source), out, different, resume=True)
    (out / output.REPORT).unlink()
    refused(job, out, different, resume=True)
    assert not (out / output.UNFINISHED).exists()


def test_overwriting_begins_with_an_empty_folder(source, out):
    finish(out / output.TRAIN)
    finish(out / output.VALIDATION)
    job = job_of(source)
    with claimed(job, out, overwrite=True) as begun:
        assert begun is job and os.listdir(out) == [output.UNFINISHED]
    was = names(out / output.UNFINISHED / "replaced")
    assert {"train/manifest.json", "validation/manifest.json"} <= set(was)
    # A job that is of no use brings them back; what it wrote goes.
    write(out, "shard-00000.npz", "train/shard-00007.npz")
    output.give_up(out)
    assert names(out) == was


def test_overwriting_unfinished_work_leaves_nothing_of_it(source, out):
    for job in (job_of(source), job_of(source, size=64)):
        with claimed(job, out, overwrite=True):
            write(out, "shard-00000.npz", ".unfinished/state.npz")
    assert names(out) == [
        ".unfinished",
        ".unfinished/job.json",
        ".unfinished/lock",
        ".unfinished/state.npz",
        "shard-00000.npz",
    ]


@pytest.mark.parametrize(
    "name", ["letter.txt", "train/letter.txt", "validation/shard-1.npz.bak", "shard-x.npz", "photos/a.png"]
)
def test_overwriting_spares_what_is_not_ours(source, out, name):
    finish(out / output.TRAIN)
    write(out, name)
    foreign = out / ("photos" if name.startswith("photos") else name)
    refused(
        job_of(source), out, f"holds {foreign} besides shards, and is not overwritten. Choose another", overwrite=True
    )


def test_a_folder_called_train_that_is_a_link_is_not_ours(source, out, tmp_path):
    finish(out)
    finish(tmp_path / "elsewhere")
    (out / output.TRAIN).symlink_to(tmp_path / "elsewhere")
    refused(job_of(source), out, f"holds {out / output.TRAIN} besides shards", overwrite=True)
    (out / output.TRAIN).unlink()
    write(out, output.VALIDATION)  # a file
    refused(job_of(source), out, f"holds {out / output.VALIDATION} besides shards", overwrite=True)


def test_giving_up_removes_what_a_job_wrote_and_nothing_else(out):
    ours = ["shard-00000.npz", "manifest.json", "report.json", "contact.png", ".partial-shard-00001.npz"]
    ours += [
        ".partial-0123abcd-report.json",
        ".unfinished/job.json",
        "train/shard-00000.npz",
        "validation/manifest.json",
    ]
    theirs = [
        "shard-00000.npz.bak",
        "my-report.json",
        "manifest-json",
        "xpartial-shard-1.npz",
        "_unfinished",
        "train/letter.txt",
    ]
    write(out, *ours, *theirs)
    output.give_up(out)
    assert names(out) == sorted([*theirs, "train"])
    write(out.with_name("split"), "train/shard-1.npz", ".unfinished/job.json")
    output.give_up(out.with_name("split"))
    assert not out.with_name("split").exists()


def test_parts_are_the_folders_of_shards(out):
    assert output.find_parts(out) == []
    finish(out / output.TRAIN)
    assert output.find_parts(out) == [out / output.TRAIN]
    finish(out / output.VALIDATION)
    assert output.find_parts(out) == [out / output.TRAIN, out / output.VALIDATION]
    finish(out)
    assert output.find_parts(out)[0] == out


@pytest.mark.parametrize("place", [".", "a/out", ".."])
def test_a_folder_and_its_source_lie_apart(source, place):
    """Also where the source is written in another way."""
    odd = source / "a" / ".."
    path = (source / place).resolve()
    where = "holds" if place == ".." else "lies within"
    with pytest.raises(UserError, match=f"^{path}: {where} the source {odd}. Choose another folder.$"):
        output._check_apart(job_of(odd), path, output.Existing())


def test_a_source_around_the_cache_is_named_as_it_was_typed(source, tmp_path):
    """Nobody has named the folder in the cache, so what helps is another --data."""
    cache = source / ".cache"
    code, _, err = pggan("train", "--data", source, "--target-res", "8", "--minutes", "1", "--cache", cache)
    assert code == 2 and err.splitlines()[-1] == (
        f"error: --data {source}: holds the folder that prepared images are kept in ({cache / 'shards'}). Give a folder that "
        "has nothing but photos, such as ~/Pictures, or another place for them with --cache."
    )


def test_sources_that_are_no_folders_of_this_machine_lie_apart(source, tmp_path, monkeypatch):
    archive = tmp_path / "in.npz"
    np.savez(archive, images=np.zeros((2, 8, 8, 3), np.uint8))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "memory:" / "out").mkdir(parents=True)  # what an address would be as a path
    parts = (open_source(str(archive)), type("Remote", (), {"name": "memory://out"})(), open_source(str(source)))
    job = Job(SourceList(parts), None, (4,), {})
    output._check_apart(job, tmp_path / "out", output.Existing())
    output._check_apart(job, tmp_path / "memory:" / "out" / "deeper", output.Existing())
    with pytest.raises(UserError, match="lies within the source"):  # every source is looked at
        output._check_apart(job, source / "out", output.Existing())


def test_work_goes_on_as_it_was_begun(source, out):
    with claimed(job_of(source), out):
        pass
    write(out / output.UNFINISHED, "state.npz")
    with claimed(job_of(source), out, overwrite=True) as begun:  # of the same options: nothing is thrown away
        assert begun.source.parts[0].files == ("a/1.png", "b/1.png")
    assert (out / output.UNFINISHED / "state.npz").exists()
    write(source, "a/0.png")
    said, job = [], job_of(source)
    assert len(job.source) == 3
    with claimed(job, out, said=said) as begun:
        assert begun.source.parts[0].files == ("a/1.png", "b/1.png") and begun.work is job.work
        assert begun.source.parts[0].labels == (0, 1) and begun.options is job.options
    assert said == [f"{source} has changed since; going on with the 2 images that were there"]


def test_work_of_another_kind_is_refused_or_begun_again(source, out):
    with claimed(job_of(source, old=1), out):
        pass
    write(out / output.UNFINISHED, "state.npz", "dropped.jsonl")
    begun_before = "holds unfinished work of another kind: "
    advice = "Give --overwrite to begin again, or another folder"
    refused(job_of(source, old=1, size=5), out, f"{begun_before}size was 4, now it is 5. {advice}")
    refused(job_of(source), out, f"{begun_before}old was 1, now it is None. {advice}")
    refused(job_of(source, old=1, new=2), out, f"{begun_before}new was None, now it is 2. {advice}")
    job = job_of(source)
    with claimed(job, out, overwrite=True) as begun:
        assert begun is job and sorted(os.listdir(out / output.UNFINISHED)) == ["job.json", "lock"]
    assert json.loads((out / output.UNFINISHED / "job.json").read_text())["options"] == {"size": 4, "wide": [1, 2]}


def test_an_archive_that_changed_meanwhile_is_refused(source, out, tmp_path):
    archive = tmp_path / "in.npz"
    np.savez(archive, images=np.zeros((2, 8, 8, 3), np.uint8))
    with claimed(job_of(source, archive), out):
        pass
    with claimed(job_of(source, archive), out) as begun:
        assert [len(part) for part in begun.source.parts] == [2, 2]
    np.savez(archive, images=np.ones((2, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="argument 2 is longer"), claimed(job_of(source), out):
        pass  # fewer sources under the same options, as no command asks for
    changed = (
        f"holds unfinished work on {archive} as it was before it changed. Give --overwrite to begin again, or choose"
    )
    refused(job_of(source, archive), out, changed)


def test_who_waits_finds_the_set_that_the_other_made(source, out, monkeypatch):
    """As training does, whose cache another process may be filling."""
    said = []

    class Lock(filelock.FileLock):
        def acquire(self, timeout=None, poll_interval=0.05, **kwargs):
            if timeout == 0:
                raise filelock.Timeout("busy")
            finish(out)  # meanwhile
            return super().acquire(timeout, poll_interval, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(filelock, "FileLock", Lock)
        with claimed(job_of(source), out, wait=True, said=said) as begun:
            assert begun is None
    assert said == [f"waiting for another process that prepares {out}"]
    assert not (out / output.UNFINISHED / "job.json").exists()


@pytest.mark.parametrize(
    "system, finished, beside, left",
    [
        ("posix", True, False, ["lock"]),
        ("nt", False, False, ["lock"]),
        ("nt", True, False, None),
        ("nt", True, True, ["state.npz"]),
    ],
)
def test_a_lock_is_removed_with_its_folder_where_open_files_cannot_be(out, monkeypatch, system, finished, beside, left):
    """As on Windows, where the folder of unfinished work stays until the lock is given back."""
    unfinished = out / output.UNFINISHED
    unfinished.mkdir(parents=True)
    with output.hold_lock(unfinished / "lock", out, False, pytest.fail):
        monkeypatch.setattr(output, "os", SimpleNamespace(name=system))
        if finished:
            finish(out)
        if beside:
            write(unfinished, "state.npz")
    assert (sorted(os.listdir(unfinished)) if unfinished.exists() else None) == left
