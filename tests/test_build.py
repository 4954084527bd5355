"""Jobs: the same shards whatever the number of workers, and however often they were stopped."""

import contextlib
import dataclasses
import filecmp
import json
import os
import random
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from pggan_tf import files
from pggan_tf.data import portraits, shards
from pggan_tf.errors import Stopped, UserError
from preprocessing import build, cache, output, prepare, storage
from preprocessing.options import OutputOptions, Selection
from preprocessing.output import Existing
from preprocessing.prepare import Squares
from tests.conftest import pggan, start
from tests.test_decode import bomb, encode


def same(a, b):
    """Whether two folders hold the same files, byte for byte."""
    compared = filecmp.dircmp(a, b, ignore=[])
    assert not compared.left_only and not compared.right_only, (compared.left_only, compared.right_only)
    assert filecmp.cmpfiles(a, b, compared.common_files, shallow=False)[1:] == ([], [])
    for name in compared.common_dirs:
        same(a / name, b / name)
    return True


def job_of(places, size, **options):
    """The job of `pggan prepare`, from options of all its parts."""

    def take(kind, **others):
        names = [field.name for field in dataclasses.fields(kind) if field.name in options]
        return kind(**others, **{name: options.pop(name) for name in names})

    job = prepare.make_job(take(Selection, places=tuple(places)), take(Squares, size=size), take(OutputOptions))
    assert not options, options
    return job


def make(photos, out, size=32, **options):
    around = {k: options.pop(k) for k in ("workers", "say") if k in options}
    existing = Existing(**{k: options.pop(k) for k in ("resume", "overwrite", "wait") if k in options})
    return build.build(job_of([str(photos)], size, **options), out, existing=existing, **around)


def test_every_image_is_there_in_order(photos, tmp_path):
    summary = make(photos, tmp_path / "out")
    opened = shards.Shards(tmp_path / "out")
    assert (
        summary.images_read == summary.images_kept == len(opened) == 12
        and not (tmp_path / "out" / output.UNFINISHED).exists()
    )
    assert opened.labels(4, np.arange(12)).tolist() == [0] * 6 + [1] * 6
    assert sorted(os.listdir(tmp_path / "out")) == ["contact.png", "manifest.json", "report.json", "shard-00000.npz"]


def test_odd_numbers_of_images_and_chunks(tmp_path):
    """More images than chunks times their size, and not a multiple of it: none is lost or doubled."""
    job = job_of(["portraits"], 16, count=203)
    build.build(job, tmp_path / "out", workers=3)
    opened = shards.Shards(tmp_path / "out")
    expected = [item.data() for item in job.source.items(0, 203)]
    np.testing.assert_array_equal(opened.read(16, np.arange(203)), expected)


@pytest.mark.parametrize("options", [{}, {"split": 0.75}, {"compress": True}, {"dedupe": True}], ids=str)
def test_workers_do_not_matter(photos, tmp_path, options):
    make(photos, tmp_path / "one", workers=1, **options)
    make(photos, tmp_path / "four", workers=4, **options)
    assert same(tmp_path / "one", tmp_path / "four")


class Stopping(Exception):
    pass


def stop_after(count):
    def progress(done, total):
        if done >= count:
            raise Stopping

    return progress


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"split": 0.75, "dedupe": True},
        *(pytest.param(o, marks=pytest.mark.slow) for o in ({}, {"split": 0.75}, {"dedupe": True})),
    ],
    ids=str,
)
def test_a_job_that_is_stopped_again_and_again_ends_the_same(tmp_path, monkeypatch, options):
    def job():
        return job_of(["portraits"], 16, count=1000, shard_images=150, **options)

    build.build(job(), tmp_path / "whole")
    monkeypatch.setattr(build, "_SAVE_SECONDS", 0.0)
    for count in (1, 130, 131, 700):
        with pytest.raises(Stopping):
            build.build(job(), tmp_path / "stopped", progress=stop_after(count))
        assert not shards.is_shards(tmp_path / "stopped")
    said = []
    build.build(job(), tmp_path / "stopped", say=said.append)
    assert "going on" in said[0] and same(tmp_path / "whole", tmp_path / "stopped")


def saving(*arguments, processes=False, **kwargs):
    """`pggan prepare ...` as a real process that saves its state after every chunk; its workers threads, or processes as those
    of `pggan faces`."""
    script = (
        "import dataclasses, sys; from pggan_tf.commands import cli; from preprocessing import build, prepare; plain = prepare.make_job; "
        f"prepare.make_job = lambda *a, **k: dataclasses.replace(plain(*a, **k), processes={processes}); "
        "build._SAVE_SECONDS = 0; sys.exit(cli.main(sys.argv[1:]))"
    )
    return start("-c", script, *arguments, **kwargs)


def wait_until_saved(process, out):
    """Until the process has saved its state once more."""

    def when():
        with contextlib.suppress(FileNotFoundError):
            return (out / output.UNFINISHED / "state.npz").stat().st_mtime_ns

    before = when()
    while when() == before:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.slow
def test_real_kills_end_in_the_same_bytes(tmp_path):
    arguments = ("prepare", "portraits", "--size", "32", "--count", "2500", "--shard-images", "400", "--resume")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    chance, said = random.Random(0), []
    for _ in range(3):
        process = saving(*arguments, killed, "--workers", "2")
        wait_until_saved(process, killed)
        time.sleep(chance.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        said.append(process.communicate()[1])
    for out in (killed, whole):
        code, _, err = pggan(*arguments, out)
        assert code == 0, err
        said.append(err)
    assert ["going on with" in err for err in said] == [False, True, True, True, False], said
    assert same(whole, killed)


@pytest.mark.slow
def test_ctrl_c_is_for_the_job_and_not_for_its_workers(tmp_path):
    """A terminal sends it to all of them."""
    psutil = pytest.importorskip("psutil")
    out = tmp_path / "out"
    arguments = ("prepare", "portraits", out, "--size", "16", "--count", "2500", "--resume")
    process = saving(*arguments, "--workers", "3", processes=True, start_new_session=True)
    wait_until_saved(process, out)
    workers = [p for p in psutil.Process(process.pid).children() if "spawn_main" in " ".join(p.cmdline())]
    assert len(workers) == 3
    for worker in workers:
        worker.send_signal(signal.SIGINT)
    time.sleep(0.5)  # a worker that heard it would end the job now
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped by Ctrl-C" in err and "everything is saved" in err, err
    assert "Traceback" not in err
    code, _, err = pggan(*arguments)
    assert code == 0 and "going on with" in err and len(shards.Shards(out)) == 2500, err


@pytest.mark.slow
def test_a_stop_signal_saves_and_says_how_to_go_on(tmp_path):
    arguments = ("prepare", "portraits", tmp_path / "out", "--size", "16", "--count", "2000")
    process = saving(*arguments)
    wait_until_saved(process, tmp_path / "out")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143 and "everything is saved. The same command goes on" in err, err
    code, out, err = pggan(*arguments)
    assert code == 0 and "going on with" in err and len(shards.Shards(tmp_path / "out")) == 2000, err


def test_what_is_in_the_folder_is_not_touched(photos, tmp_path):
    make(photos, tmp_path / "out")
    with pytest.raises(UserError, match="holds shards already. Give --overwrite"):
        make(photos, tmp_path / "out")
    assert make(photos, tmp_path / "out", resume=True).images_kept == 12  # finished: left as it is
    with pytest.raises(UserError, match="made in another way"):
        make(photos, tmp_path / "out", size=16, resume=True)
    make(photos, tmp_path / "out", size=16, overwrite=True)
    assert shards.Shards(tmp_path / "out").manifest.resolutions == (4, 8, 16)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="mine: (exists and is not|holds other files)"):
            make(photos, tmp_path / "mine", overwrite=overwrite)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="not a folder"):
        make(photos, tmp_path / "file")


def interrupted(photos, out, monkeypatch):
    monkeypatch.setattr(build, "_SAVE_SECONDS", 0.0)
    job = job_of([str(photos)], 32)
    with pytest.raises(Stopping):
        build.build(job, out, progress=stop_after(1))


def test_unfinished_work_of_another_kind_is_refused(photos, tmp_path, monkeypatch):
    interrupted(photos, tmp_path / "out", monkeypatch)
    with pytest.raises(UserError, match="unfinished work of another kind: size was 32, now it is 16"):
        make(photos, tmp_path / "out", size=16)
    assert make(photos, tmp_path / "out", size=16, overwrite=True).images_kept == 12


def test_what_is_overwritten_stays_until_there_is_something_better(photos, tmp_path):
    """Also if the photos are too small for the new size."""
    out = tmp_path / "out"
    code, _, err = pggan("prepare", photos, out, "--size", "16", "--split", "0.75")
    assert code == 0, err
    before = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    code, _, err = pggan("prepare", photos, out, "--size", "512", "--overwrite")
    assert code == 2 and "none of 12 images can be used" in err
    assert {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    code, _, err = pggan("prepare", photos, out, "--size", "8", "--overwrite")
    assert code == 0, err
    assert sorted(os.listdir(out)) == ["contact.png", "manifest.json", "report.json", "shard-00000.npz"]


def test_new_photos_are_missed_by_work_that_was_begun_before(photos, tmp_path, monkeypatch):
    interrupted(photos, tmp_path / "out", monkeypatch)
    Image.new("RGB", (40, 40)).save(photos / "cats" / "new.png")
    assert make(photos, tmp_path / "out").images_kept == 12
    with pytest.raises(UserError, match="of a source that has changed since"):
        make(photos, tmp_path / "out", resume=True)
    assert make(photos, tmp_path / "out", overwrite=True).images_kept == 13


def test_a_folder_that_changes_meanwhile(photos, tmp_path, monkeypatch):
    interrupted(photos, tmp_path / "out", monkeypatch)
    Image.new("RGB", (40, 40)).save(photos / "cats" / "aa-new.png")
    (photos / "dogs" / "04.png").unlink()
    said = []
    summary = make(photos, tmp_path / "out", say=said.append)
    assert "has changed since; going on with the 12 images" in said[0]
    assert summary.images_read == 12 and summary.images_kept + sum(summary.drop_counts.values()) == 12


def test_two_processes_do_not_write_one_folder(photos, tmp_path):
    (tmp_path / "out" / output.UNFINISHED).mkdir(parents=True)
    lock = output.hold_lock(tmp_path / "out" / output.UNFINISHED / "lock", tmp_path / "out", False, print)
    with lock, pytest.raises(UserError, match="another process is at work"):
        make(photos, tmp_path / "out")


def test_who_waits_for_another_process_finds_what_it_made(tmp_path):
    """It ends, and its lock is gone with the folder of what was unfinished."""
    job, out, said = job_of(["portraits"], 8, count=30), tmp_path / "out", []
    unfinished = out / output.UNFINISHED
    build.build(job, tmp_path / "made")
    unfinished.mkdir(parents=True)
    with ThreadPoolExecutor() as pool:
        with files.hold_lock(unfinished / "lock", pytest.fail):
            waiting = pool.submit(build.build, job, out, existing=Existing(wait=True), say=said.append)
            while not said:
                assert not waiting.done(), waiting.result()
                time.sleep(0.01)
            for path in (tmp_path / "made").iterdir():
                path.rename(out / path.name)
            shutil.rmtree(unfinished)
        assert waiting.result(timeout=60).images_kept == 30
    assert said == [f"waiting for another process that prepares {out}"] and not unfinished.exists()


def test_the_report_has_a_line_for_every_image_left_out(photos, tmp_path):
    (photos / "cats" / "broken.jpg").write_bytes(b"no")
    (photos / "cats" / "empty.png").write_bytes(b"")
    (photos / "cats" / "bomb.png").write_bytes(bomb())
    Image.new("RGB", (20, 50)).save(photos / "dogs" / "small.png")
    summary = make(photos, tmp_path / "out")
    text = (tmp_path / "out" / output.REPORT).read_text()
    report = json.loads(text)
    assert summary.describe() == "16 images read, 12 kept at 4, 8, 16, 32 px, dropped: 3 unreadable, 1 too small"
    assert report["kept"] == 12 and report["dropped"] == {"unreadable": 3, "too small": 1}
    assert [i["name"] for i in report["dropped_images"]] == [
        "cats/bomb.png", "cats/broken.jpg", "cats/empty.png", "dogs/small.png"
    ]  # fmt: skip
    assert sum('"why"' in line for line in text.splitlines()) == 4
    with Image.open(tmp_path / "out" / output.CONTACT_SHEET) as sheet:
        assert sheet.width > 100


def test_more_than_half_unusable_is_refused_and_leaves_the_report(photos, tmp_path):
    for i in range(13):
        (photos / "cats" / f"bad{i}.png").write_bytes(b"bad")
    with pytest.raises(UserError, match="13 of 25 images cannot be used, more than half.*cats/bad0.png: .*report.json"):
        make(photos, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert len(json.loads((tmp_path / "out.report.json").read_text())["dropped_images"]) == 13


def test_a_size_that_all_are_below_is_explained(photos, tmp_path):
    with pytest.raises(
        UserError,
        match="none of 12 images can be used. .*48x41 pixels, smaller than 512x512. Give --upscale-small or a",
    ):
        make(photos, tmp_path / "out", size=512)


def test_images_that_look_alike_are_kept_once(photos, tmp_path):
    for i in range(3):
        picture = Image.fromarray(portraits.draw(i, 80))
        picture.save(photos / "cats" / f"a{i}.png")
        picture.resize((64, 64)).save(photos / "dogs" / f"b{i}.jpg", quality=70)
    summary = make(photos, tmp_path / "out", dedupe=True)
    assert summary.drop_counts == {"duplicate": 3} and summary.images_kept == 15
    names = {i["name"] for i in json.loads((tmp_path / "out" / output.REPORT).read_text())["dropped_images"]}
    assert names == {f"dogs/b{i}.jpg" for i in range(3)}


def test_a_split_has_every_image_once(tmp_path):
    build.build(job_of(["portraits"], 16, count=200, split=0.9), tmp_path / "out")
    train, validation = (shards.Shards(tmp_path / "out" / n) for n in ("train", "validation"))
    assert (len(train), len(validation)) == (180, 20)
    images = np.concatenate([s.read(16, np.arange(len(s))) for s in (train, validation)])
    assert len({i.tobytes() for i in images}) == 200


def test_a_split_that_leaves_nothing_to_train_is_refused(tmp_path):
    with pytest.raises(UserError, match="--split 0.01: of 12 images none would be left to train"):
        build.build(job_of(["portraits"], 16, count=12, split=0.01), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert build.build(job_of(["portraits"], 16, count=12, split=0.1), tmp_path / "out").images_kept == 12


def test_a_split_keeps_its_share_where_every_photo_gives_as_many(tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(8):
        Image.new("RGB", (64, 64), (i, 0, 0)).save(tmp_path / "photos" / f"{i}.png")
    make(tmp_path / "photos", tmp_path / "out", crop="tiles", split=0.5)
    parts = [shards.Shards(tmp_path / "out" / name) for name in ("train", "validation")]
    photos = [set(part.read(32, np.arange(len(part)))[:, 0, 0, 0]) for part in parts]
    assert [len(part) for part in parts] == [16, 16] and not photos[0] & photos[1]


def test_small_images_are_kept_for_the_stages_they_reach(tmp_path):
    rng = np.random.default_rng(0)
    for folder, size, count in (("large", 96, 5), ("small", 32, 7)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).save(tmp_path / folder / f"{i}.png")
    job = job_of([str(tmp_path / "large"), str(tmp_path / "small")], 96, resolutions=(4, 8, 16, 32), small="keep")
    build.build(job, tmp_path / "out")
    opened = shards.Shards(tmp_path / "out")
    assert [opened.count(r) for r in (4, 16, 32, 48, 96)] == [12, 12, 12, 5, 5] and len(opened) == 12
    assert opened.read(96, np.arange(5)).shape == (5, 96, 96, 3) and opened.read(32, np.arange(12)).shape[0] == 12
    at32 = {image.tobytes() for image in opened.read(32, np.arange(12))}
    assert {np.asarray(Image.open(p)).tobytes() for p in (tmp_path / "small").iterdir()} < at32


def test_a_full_disk_leaves_what_is_finished(photos, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(build.checkpoint, "write", full)
        patch.setattr(build, "_SAVE_SECONDS", 0.0)
        with pytest.raises(UserError, match="No space left.*the same command goes on"):
            make(photos, tmp_path / "out")
    assert make(photos, tmp_path / "out").images_kept == 12


class Dies:
    """Work that ends its process, as one does that is out of memory."""

    def __call__(self, items):
        os._exit(9)


def test_a_worker_that_dies_ends_the_job_with_advice(photos, tmp_path):
    job = job_of([str(photos)], 32)
    job = dataclasses.replace(job, work=Dies(), processes=True)
    with pytest.raises(Stopped, match="worker process died.*try fewer --workers"):
        build.build(job, tmp_path / "out", workers=1)


def test_shards_go_to_an_address(photos, tmp_path, capsys):
    from pggan_tf.commands import cli

    arguments = ["prepare", str(photos), "memory://bucket/out", "--size", "32", "--split", "0.75"]
    assert cli.main(arguments) == 0, capsys.readouterr()
    names = {name for name, _, _ in storage.find("memory://bucket/out")[0]}
    assert cli.main([*arguments, "--resume"]) == 0 and cli.main(arguments) == 2
    assert cli.main([*arguments, "--resume", "--gray"]) == 2
    assert {"train/manifest.json", "validation/shard-00000.npz", "report.json", "contact.png"} <= names
    for name in names:  # whoever may read the bucket learns nothing of this machine's folders
        assert str(photos.parent).encode() not in storage.read(f"memory://bucket/out/{name}"), name
    assert storage.read_manifest("memory://bucket/out/train", "manifest.json")["source"] == photos.name
    opened = cached("memory://bucket/out/train", tmp_path)
    assert len(opened) == 9 and opened.read(16, np.arange(9)).shape == (9, 16, 16, 3)
    assert cached("memory://bucket/out/train", tmp_path).folder == opened.folder
    assert cli.main(["prepare", str(photos), "memory://bucket/out/train", "--size", "32"]) == 2
    assert "holds shards already" in capsys.readouterr().err


@pytest.mark.parametrize("split", [None, 0.75])
def test_a_file_goes_to_an_address_once_and_the_manifest_last(photos, tmp_path, monkeypatch, split):
    from fsspec.implementations.memory import MemoryFileSystem

    sent, plain = [], MemoryFileSystem.put_file
    monkeypatch.setattr(MemoryFileSystem, "put_file", lambda *a, **k: (sent.append(a[2]), plain(*a, **k)))
    out = f"memory://once-{split}/out"
    arguments = ("--size", "32", "--shard-images", "5", *(("--split", split) if split else ()))
    code, _, err = pggan("prepare", photos, out, *arguments, "--cache", tmp_path / "cache")
    assert code == 0, err
    assert (
        len(set(sent)) == len(sent) == (7 if split else 6)
    )  # of 12 images: three files, report, contact sheet, manifests
    for folder in ("/train", "/validation") if split else ("",):
        mine = [name for name in sent if name.startswith(f"/once-{split}/out{folder}/")]
        assert mine[-1].endswith("manifest.json")


def test_a_split_set_at_an_address_is_used_by_its_train_part(photos, tmp_path):
    from preprocessing import image_sets

    address = "memory://split/out"
    assert pggan("prepare", photos, address, "--size", "32", "--split", "0.75")[0] == 0
    said = []
    assert len(cached(address, tmp_path / "cache", said.append)) == 9
    assert said[0] == "taking memory://split/out/train; validation beside it stays unseen"
    assert image_sets.inspect_location(address, 10, pytest.fail).manifest["images"] == 9
    code, _, err = pggan("inspect", address)
    assert code == 2 and "split into train and validation: inspect memory://split/out/train." in err


def test_what_fails_while_shards_are_fetched(photos, tmp_path, monkeypatch):
    """The disk, or what they come from: each has advice of its own."""
    from fsspec.implementations.memory import MemoryFileSystem

    assert pggan("prepare", photos, "memory://fails/out", "--size", "32")[0] == 0

    def fails_with(*arguments):
        def get_file(*_, **__):
            raise OSError(*arguments)

        return get_file

    for error, message in (
        ((28, "No space left on device"), "--cache .*cache: cannot be written .No space left"),
        (("the bucket is gone",), "memory://fails/out: cannot be reached .the bucket is gone"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(MemoryFileSystem, "get_file", fails_with(*error))
            with pytest.raises(UserError, match=message):
                cached("memory://fails/out", tmp_path / "cache")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--cache .*file: cannot be written"):
        cached("memory://fails/out", tmp_path / "file")
    assert len(cached("memory://fails/out", tmp_path / "cache")) == 12


@pytest.mark.parametrize("kind", ["fetched", "unpacked"])
def test_two_processes_with_one_cache_make_a_set_once(photos, tmp_path, monkeypatch, kind):
    from concurrent.futures import ThreadPoolExecutor

    from fsspec.implementations.memory import MemoryFileSystem

    out = {"fetched": "memory://both/out", "unpacked": str(tmp_path / "out")}[kind]
    assert pggan("prepare", photos, out, "--size", "32", "--compress" if kind == "unpacked" else "--gray")[0] == 0
    owner, name = {"fetched": (MemoryFileSystem, "get_file"), "unpacked": (shards.Shards, "unpack")}[kind]
    plain, said, met = getattr(owner, name), [], threading.Event()
    monkeypatch.setattr(owner, name, lambda *a, **k: (met.wait(60), plain(*a, **k))[1])

    def say(line):
        said.append(line)
        if "waiting" in line:
            met.set()

    with ThreadPoolExecutor(2) as pool:  # a lock of one file keeps threads apart as it does processes
        channels = 1 if kind == "fetched" else 3
        made = list(pool.map(lambda _: cached(out, tmp_path / "cache", say, channels=channels), range(2)))
    assert [len(m) for m in made] == [12, 12] and made[0].folder == made[1].folder
    assert sum("waiting for another process" in line for line in said) == 1
    assert sum(line.startswith(("fetching", "unpacking")) for line in said) == 1


def cached(location, folder, say=lambda line: None, progress=lambda done, total: None, **kwargs):
    options = {name: kwargs.pop(name) for name in ("check_classes", "check_only") if name in kwargs}
    squares = Squares(32, (4, 8, 16, 32), **kwargs)
    selection = Selection.of(str(location), count=10)
    return cache.open_shards(selection, str(folder), squares, say=say, progress=progress, **options)


def animation(form, count, size=40, **kwargs):
    """Frames of noise; 'tiff': as many pages."""
    frames = [
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (size, size, 3), np.uint8)) for i in range(count)
    ]
    return encode(frames[0], form, save_all=True, append_images=frames[1:], **kwargs)


@pytest.fixture
def animations(photos):
    """Five of which only the first picture can be used, among twelve photos; and five that hold one picture, or none to use."""
    files = {
        "a.gif": animation("gif", 3),
        "b.webp": animation("webp", 2),
        "c.png": animation("png", 3),
        "d.tif": animation("tiff", 2),
        "e.png": animation("png", 3, default_image=True),  # for programs without animation a picture of its own
        "one.gif": animation("gif", 1),
        "one.tif": animation("tiff", 1),
        "one.png": animation("png", 2, default_image=True),
        "small.gif": animation("gif", 3, 20),
        "cut.gif": animation("gif", 3)[:500],
    }
    for name, data in files.items():
        (photos / "cats" / name).write_bytes(data)
    return photos


MORE = "5 animations or files of several pages: only the first picture of each is used"


@pytest.mark.parametrize("options", [["--workers", "1"], ["--workers", "3", "--crop", "tiles"], ["--dedupe"]], ids=str)
def test_animations_whose_first_picture_is_used_are_counted(animations, tmp_path, options):
    code, out, err = pggan("prepare", animations, tmp_path / "out", "--size", "32", *options)
    assert code == 0 and err.splitlines().count(MORE) == 1, err
    assert out.startswith("22 images read, ") and "1 unreadable" in out and "1 too small" in out
    assert json.loads((tmp_path / "out" / output.REPORT).read_text())["only_first_picture"] == 5
    code, _, err = pggan("prepare", animations, tmp_path / "out", "--size", "32", *options, "--resume")
    assert code == 0 and err.splitlines().count(MORE) == 1, err  # as the report tells what was done


def test_animations_are_counted_once_however_often_a_job_is_stopped(animations, tmp_path, monkeypatch):
    def job():
        return dataclasses.replace(job_of([str(animations)], 32), chunk=2)

    monkeypatch.setattr(build, "_SAVE_SECONDS", 0.0)
    for count in (1, 5, 9):
        with pytest.raises(Stopping):
            build.build(job(), tmp_path / "out", workers=2, progress=stop_after(count))
    assert build.build(job(), tmp_path / "out", workers=2).list_notes() == [MORE]
    photos_only = make(animations / "dogs", tmp_path / "dogs")
    assert photos_only.list_notes() == [] and photos_only.more == 0


def test_training_says_of_how_many_files_it_sees_one_picture(photos, tmp_path):
    (photos / "cats" / "a.gif").write_bytes(animation("gif", 2))
    said = []
    cached(photos, tmp_path / "cache", said.append)
    assert "1 animation or file of several pages: only its first picture is used" in said


def test_each_file_of_a_pair_may_be_an_animation(tmp_path):
    for half, data in (("a", animation("gif", 2)), ("b", animation("webp", 2))):
        (tmp_path / "pairs" / half).mkdir(parents=True)
        (tmp_path / "pairs" / half / "0.png").write_bytes(data)
        (tmp_path / "pairs" / half / "1.png").write_bytes(animation("png", 1))
    code, _, err = pggan("prepare", f"pairs:{tmp_path / 'pairs'}", tmp_path / "out", "--size", "32", "--pairs")
    assert code == 0 and "2 animations or files of several pages: only the first picture of each is used" in err, err


def test_several_places_of_data_are_one_set(photos, tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "b.png")
    (tmp_path / "more").mkdir()
    (tmp_path / "b.png").rename(tmp_path / "more" / "b.png")
    said = []

    def both(*places):
        selection, squares = Selection.of(places, count=10), Squares(32, (4, 8, 16, 32))
        return cache.open_shards(selection, str(tmp_path / "cache"), squares, say=said.append)

    opened = both(str(photos), str(tmp_path / "more"))
    assert len(opened) == 13 and opened.manifest.classes == () and opened.folder.name.startswith("photos-more-32-")
    assert said[0] == f"no classes: {tmp_path / 'more'} has none"
    make(tmp_path / "more", tmp_path / "shards")
    code, _, err = pggan("prepare", photos, tmp_path / "more", tmp_path / "out", "--size", "32")
    assert code == 0 and shards.Shards(tmp_path / "out").manifest.checksum == opened.manifest.checksum
    assert both(str(photos)).folder == cached(photos, tmp_path / "cache").folder
    again = cached(shutil.copytree(photos, tmp_path / "copy"), tmp_path / "cache")
    assert again.folder == both(str(photos)).folder and again.manifest.source == str(tmp_path / "copy")
    assert len(both(str(tmp_path / "more"), str(photos))) == 13
    with pytest.raises(UserError, match="--data .*shards: holds shards, which are trained on alone"):
        both(str(photos), str(tmp_path / "shards"))


def test_a_folder_may_have_the_longest_name_there_is(tmp_path):
    place = tmp_path / ("写" * 85)  # 255 bytes
    place.mkdir()
    for i in range(2):
        Image.new("RGB", (40, 40), (i, 0, 0)).save(place / f"{i}.png")
    opened = cached(place, tmp_path / "cache")
    assert len(opened) == 2 and opened.folder.name.startswith(f"{'写' * 26}-32-")


def test_a_folder_is_prepared_once_by_its_content(photos, tmp_path):
    said = []
    first = cached(photos, tmp_path / "cache", said.append)
    assert len(first) == 12 and "preparing" in said.pop()
    assert cached(photos, tmp_path / "cache", said.append).folder == first.folder and not said
    elsewhere = photos.rename(photos.with_name("elsewhere"))
    assert cached(elsewhere, tmp_path / "cache2").manifest.checksum == first.manifest.checksum
    Image.new("RGB", (40, 40)).save(elsewhere / "cats" / "new.png")
    assert len(cached(elsewhere, tmp_path / "cache", said.append)) == 13 and "preparing" in said[0]


def test_what_is_known_of_a_folder_is_written_once(photos, tmp_path):
    def known():
        (file,) = (f for f in (tmp_path / "cache" / "seen").iterdir() if not f.name.startswith("verified"))
        return file, file.read_text(), file.stat().st_mtime_ns

    said = []
    cached(photos, tmp_path / "cache")
    file, text, _ = before = known()
    cached(photos, tmp_path / "cache", said.append)
    assert known() == before and not said
    file.write_text("")  # as a kill in the middle of writing left it
    cached(photos, tmp_path / "cache", said.append)
    assert known()[1] == text and not said


@pytest.mark.parametrize("kind", ["folder", "zip", "npz"])
def test_a_source_that_was_moved_is_not_prepared_again(photos, tmp_path, monkeypatch, kind):
    import shutil

    if kind == "zip":
        source = tmp_path / "set.zip"
        shutil.make_archive(str(source.with_suffix("")), "zip", photos)
    elif kind == "npz":
        source = tmp_path / "set.npz"
        np.savez(source, images=np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8))
    else:
        source = photos
    first = cached(source, tmp_path / "cache").folder
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    said = []
    assert cached(f"./{source.name}", tmp_path / "cache", said.append).folder == first and not said
    moved = source.rename(tmp_path / "elsewhere" / f"another-{source.name}")
    assert cached(moved, tmp_path / "cache", said.append).folder == first and not said


def test_bad_photos_are_reported_to_training(photos, tmp_path):
    (photos / "cats" / "broken.jpg").write_bytes(b"no")
    said = []
    assert len(cached(photos, tmp_path / "cache", said.append)) == 12
    assert "1 of 13 images could not be used" in said[-1] and said[-1].endswith("report.json")


def test_damaged_cache_is_made_again(photos, tmp_path):
    first, said = cached(photos, tmp_path / "cache"), []
    path = first.folder / "shard-00000.npz"
    path.write_bytes(path.read_bytes()[:-1])
    again = cached(photos, tmp_path / "cache", said.append)
    assert again.manifest.checksum == first.manifest.checksum and "damaged" in said[0]


def test_an_archive_is_data_for_training(photos, tmp_path):
    import shutil

    archive = shutil.make_archive(str(tmp_path / "photos"), "zip", photos)
    assert cached(archive, tmp_path / "cache").manifest.checksum == cached(photos, tmp_path / "cache").manifest.checksum


def test_inspect(photos, tmp_path):
    make(photos, tmp_path / "out")
    code, out, err = pggan("inspect", tmp_path / "out", "--verify", "--out", tmp_path / "pictures")
    assert code == 0 and "cats: 6" in out and "all as they were written" in out, err
    assert {p.name for p in (tmp_path / "pictures").iterdir()} == {"contact.png", "mean.png"}
    path = tmp_path / "out" / "shard-00000.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    code, out, err = pggan("inspect", tmp_path / "out", "--verify")
    assert code == 2 and "shard-00000.npz is damaged" in err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["prepare", "portraits", "OUT", "--size", "512"], "drawn at up to 256"),
        (["prepare", "portraits", "OUT", "--size", "64", "--filter", "lancos"], "--filter lancos: not known; did you mean lanczos"),
        (["prepare", "PHOTOS", "OUT", "--size", "32", "--classes", "cat"], "--classes cat: not in .*did you mean cats"),
        (["prepare", "PHOTOS", "OUT", "--size", "32", "--resolutions", "5,32"], "--resolutions 5: not a divisor"),
        (["prepare", "PHOTOS", "OUT", "--size", "32", "--runner", "sparkle"], "--runner sparkle: not known"),
        (["prepare", "PHOTOS", "OUT", "--size", "32", "--upscale-small", "--keep-small"], "give one of them"),
        (["prepair", "PHOTOS", "OUT"], "prepair: no such command; did you mean prepare"),
        (["inspect", "PHOTOS"], "not a folder of shards"),
    ],
    ids=lambda x: " ".join(x[:2]) if isinstance(x, list) else "",
)  # fmt: skip
def test_mistakes_are_one_line(photos, tmp_path, capsys, arguments, message):
    import re

    from pggan_tf.commands import cli

    places = {"PHOTOS": str(photos), "OUT": str(tmp_path / "out")}
    assert cli.main([places.get(a, a) for a in arguments]) == 2
    err = capsys.readouterr().err.strip()
    assert re.search(message, err) and err.startswith("error: ") and err.count("\n") == 0, err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["beside", "inside", "around"])
def test_overwriting_removes_nothing_but_shards(photos, tmp_path, place):
    out = {"beside": tmp_path / "out", "inside": photos / "out", "around": photos.parent}[place]
    if place == "beside":
        make(photos, out, split=0.5)
        make(photos, out, overwrite=True)  # nothing of the split is left
        assert sorted(os.listdir(out)) == ["contact.png", "manifest.json", "report.json", "shard-00000.npz"]
        (out / "train").mkdir()
        (out / "train" / "mine.txt").write_text("dear")
        with pytest.raises(UserError, match="holds .*mine.txt besides shards, and is not overwritten"):
            make(photos, out, overwrite=True)
        assert (out / "train" / "mine.txt").exists() and shards.is_shards(out)
    else:
        with pytest.raises(UserError, match="(lies within|holds) the source"):
            make(photos, out, overwrite=True)
    assert len(list(photos.rglob("*.png"))) == 12


@pytest.mark.parametrize("change", ["a new class", "a class less", "a photo at the top"])
def test_labels_stay_when_class_folders_change_meanwhile(photos, tmp_path, monkeypatch, change):
    import shutil

    interrupted(photos, tmp_path / "out", monkeypatch)
    if change == "a class less":
        shutil.rmtree(photos / "dogs")
    else:
        target = photos / "apes" if change == "a new class" else photos
        target.mkdir(exist_ok=True)
        Image.new("RGB", (40, 40)).save(target / "x.png")
    make(photos, tmp_path / "out")
    opened = shards.Shards(tmp_path / "out")
    assert opened.manifest.classes == ("cats", "dogs")
    assert opened.labels(4, np.arange(6)).tolist() == [0] * 6


def test_an_archive_that_changes_meanwhile_is_refused(photos, tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(build, "_SAVE_SECONDS", 0.0)
    archive = shutil.make_archive(str(tmp_path / "more"), "zip", photos)
    with pytest.raises(Stopping):
        build.build(job_of([str(photos), archive], 32), tmp_path / "out", progress=stop_after(1))
    Image.new("RGB", (40, 40)).save(photos / "cats" / "x.png")
    shutil.make_archive(str(tmp_path / "more"), "zip", photos)
    with pytest.raises(UserError, match="unfinished work on .*more.zip as it was before it changed"):
        build.build(job_of([str(photos), archive], 32), tmp_path / "out")


def test_keeping_small_images_where_none_is_large(photos, tmp_path):
    make(photos, tmp_path / "out", size=128, small="keep")
    opened = shards.Shards(tmp_path / "out")
    assert opened.manifest.resolutions == (4, 8, 16, 32) and opened.count(32) == 12


def test_many_duplicates_are_no_reason_to_refuse(photos, tmp_path):
    for i in range(30):
        (photos / "cats" / f"again{i}.png").write_bytes((photos / "cats" / "01.png").read_bytes())
    assert make(photos, tmp_path / "out", dedupe=True).drop_counts == {"duplicate": 30}


def test_names_in_any_bytes(photos, tmp_path):
    (photos / "cats" / os.fsdecode(b"\xff.png")).write_bytes((photos / "cats" / "01.png").read_bytes())
    (photos / "cats" / os.fsdecode(b"\xfe.png")).write_bytes(b"bad")
    assert make(photos, tmp_path / "out", crop="random").images_kept == 13


def test_a_manifest_cannot_reach_out_of_its_folder(photos, tmp_path):
    out = tmp_path / "far" / "out"
    make(photos, out)
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["shards"][0]["file"] = "../../stolen.npz"
    (out / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "stolen.npz").write_bytes((out / "shard-00000.npz").read_bytes())
    with pytest.raises(UserError, match="names a file '../../stolen.npz'"):
        shards.Shards(out)
    with pytest.raises(UserError, match="names a file '../../stolen.npz'"):
        cached(f"file://{out}", tmp_path / "cache")


def test_a_split_set_is_trained_on_by_its_train_part(photos, tmp_path, capsys):
    from pggan_tf.commands import cli

    make(photos, tmp_path / "out", split=0.75)
    said = []
    assert len(cached(tmp_path / "out", tmp_path / "cache", said.append)) == 9 and "validation" in said[0]
    assert (
        cli.main(["inspect", str(tmp_path / "out")]) == 2
        and "split into train and validation" in capsys.readouterr().err
    )


def test_resuming_a_finished_set_looks_at_what_it_was_made_of(photos, tmp_path):
    make(photos, tmp_path / "out")
    Image.new("RGB", (40, 40)).save(photos / "cats" / "new.png")
    with pytest.raises(UserError, match="of a source that has changed since"):
        make(photos, tmp_path / "out", resume=True)


def test_a_killed_preparation_goes_on_under_another_path(photos, tmp_path, monkeypatch):
    """The cache goes by content: its unfinished work too."""
    with monkeypatch.context() as patch:
        patch.setattr(build, "_SAVE_SECONDS", 0.0)
        with pytest.raises(Stopping):
            cached(photos, tmp_path / "cache", progress=stop_after(1))
    os.chdir(photos.parent)
    try:
        assert len(cached(photos.name, tmp_path / "cache")) == 12
    finally:
        os.chdir(tmp_path.anchor)
