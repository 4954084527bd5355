"""Real processes: what a person types and what comes back."""

import dataclasses
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import click
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pggan_tf import entry
from pggan_tf.runs import checkpoint
from pggan_tf.training import planning, step
from tests.conftest import ROOT, TINY, change_config, options_of, pggan, run_folder, start, train, train_alone

SCHEDULE = [
    "--target-res",
    "8",
    "--fade-images",
    "1600",
    "--stable-images",
    "800",
    "--batch",
    "8",
    "--snapshot-images",
    "400",
]


def refused(result, *words):
    """Exit code 2 and one line that says all of `words`."""
    code, out, err = result
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert code == 2 and len(lines) == 1 and "Traceback" not in err, err
    for word in words:
        assert re.search(word, lines[0]), lines[0]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run that nobody stopped."""
    code, out, err = train(*TINY, *SCHEDULE, "--runs", tmp_path_factory.mktemp("runs"))
    assert code == 0, err
    return run_folder(out)


def final(run):
    return checkpoint.read(checkpoint.list_checkpoints(run)[0])[0]


def assert_same_run(a, b):
    ours, theirs = final(a), final(b)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    grids = sorted(p.name for p in a.glob("fakes-*.png"))
    assert grids == sorted(p.name for p in b.glob("fakes-*.png"))
    for name in grids:
        assert (a / name).read_bytes() == (b / name).read_bytes(), name
    ticks = [list(map(json.loads, (run / "stats.jsonl").read_text().splitlines())) for run in (a, b)]
    for ours, theirs in zip(*ticks, strict=True):
        timing = dict.fromkeys(("seconds", "images_per_second"))
        assert ours | timing == theirs | timing


def wait_for(process, condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def in_mid_fade(folder):
    """A checkpoint from the middle of the fade is there."""
    return any(1000 < int(p.stem.split("-")[1]) < 2200 for p in checkpoint.list_checkpoints(folder))


def only_run(parent):
    folders = list(parent.glob("0*"))
    return folders[0] if folders else parent / "none"


@pytest.mark.slow  # test_a_kill_in_the_middle_of_a_save is the quick one
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(undisturbed, tmp_path, number, hears_closed_terminals):
    process = start("train.py", *TINY, *SCHEDULE, "--runs", tmp_path, "--checkpoint-minutes", "0.002")
    wait_for(process, lambda: in_mid_fade(only_run(tmp_path)))
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    run = only_run(tmp_path)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 128 + number and f"--resume {run}" in err
    assert not (run / "generator.keras").exists()
    assert not list((run / checkpoint.FOLDER).glob(".partial-*")) or number == signal.SIGKILL
    code, out, err = train("--resume", run)
    assert code == 0, err
    assert run_folder(out) == run
    assert_same_run(undisturbed, run)


@pytest.mark.slow
def test_a_killed_run_is_gone_on_with_by_the_same_command(undisturbed, tmp_path):
    run = tmp_path / "deep" / "run"
    command = [*TINY, *SCHEDULE, "--run", run, "--checkpoint-minutes", "0.002"]
    # Killed before its first checkpoint, and in the middle.
    for condition in (lambda: (run / "config.json").is_file(), lambda: in_mid_fade(run)):
        process = start("train.py", *command)
        wait_for(process, condition)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    code, out, err = train(*command)
    assert code == 0, err
    assert run_folder(out) == run and f"resuming {run}" in out
    assert_same_run(undisturbed, run)
    # A job that is started again after its end ends well.
    code, out, err = train(*command)
    assert code == 0 and run_folder(out) == run, err
    assert_same_run(undisturbed, run)
    # What changes no weight may differ; everything else is another run.
    assert train(*command, "--keep-checkpoints", "3")[0] == 0
    refused(train(*command, "--seed", "1"), "--seed 1", "begun with 0", f"--init-from {run}")
    refused(train(*command, "--runs", tmp_path), "--run and --runs: give one")
    refused(train(*command, "--resume", run), "--run and --resume: give one")
    refused(train("--run", run / "checkpoints"), "holds checkpoint-.* and is no run's folder")


@pytest.mark.slow
def test_a_planned_run_is_gone_on_with_by_the_same_command(tmp_path, photos):
    """--minutes, --snapshot-epochs and tables are worked out at the start; the same words still ask for the same run."""
    run = tmp_path / "run"
    command = [
        "--data",
        photos,
        *TINY,
        "--target-res",
        "8",
        "--batch",
        "8",
        "--minutes",
        "2",
        "--snapshot-epochs",
        "40",
    ]
    command += ["--run", run, "--checkpoint-minutes", "0.002"]
    process = start("train.py", *command)
    wait_for(process, lambda: (run / "checkpoints").is_dir() and len(list((run / "checkpoints").iterdir())) > 1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    before = (run / "config.json").read_bytes()
    process = start("train.py", *command)
    wait_for(process, lambda: "resuming" in (run / "log.txt").read_text())
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert (run / "config.json").read_bytes() == before
    refused(train(*command[:-6], "--minutes", "3", "--run", run), "--minutes 3.0", "begun with 2.0|--snapshot")


def sample(run, out):
    code, _, err = pggan("generate", run, "--count", "20", "--npz", out)
    assert code == 0, err
    return out


def test_a_damaged_checkpoint_costs_only_itself(undisturbed, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    newest, before = checkpoint.list_checkpoints(run)[:2]
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    code, out, err = train("--resume", run)
    assert code == 0, err
    assert f"{newest.name}: damaged" in out and "resuming" in out
    assert_same_run(undisturbed, run)


def test_a_run_that_has_ended_says_so_and_how_to_learn_longer(undisturbed, tmp_path):
    import shutil

    run = shutil.copytree(undisturbed, tmp_path / "run")
    code, out, err = train("--resume", run)
    assert code == 0 and "resuming" not in out and "update" not in out, out + err
    assert f"{run} has ended after 3,200 images: nothing is left to train." in out
    (command,) = re.findall(r"from its weights: pggan train (.*) --minutes 60$", out, re.M)
    code, out, err = train(*command.split(), "--total-images", "64", "--runs", tmp_path / "runs")
    assert code == 0 and "64 to be seen" in out, out + err


def test_a_ruined_checkpoint_costs_only_itself_and_old_ones_are_gone_on_with(undisturbed, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    newest, before = checkpoint.list_checkpoints(run)[:2]
    arrays, meta = checkpoint.read(newest)
    checkpoint.write(newest, {**arrays, "ema/dense/bias": np.full_like(arrays["ema/dense/bias"], np.nan)}, meta)
    arrays, meta = checkpoint.read(before)  # as they were before steps were counted by network
    counts = ("skipped_generator", "skipped_discriminator")
    window = {name: n for name, n in meta["window"][0].items() if name not in counts}
    older = {name: array for name, array in arrays.items() if name not in counts}
    checkpoint.write(before, older, {**meta, "window": [window, *meta["window"][1:]]})
    code, out, err = pggan("train", "--resume", run)
    assert code == 0, err
    assert f"{newest.name}: its weights are ruined (ema/dense/bias became NaN or Inf). Trying the one before" in out
    assert f"at {meta['images_seen']:,} of" in out and newest.with_name(f"{newest.name}.ruined").is_file()
    assert_same_run(undisturbed, run)


def ticks_of(run):
    lines = map(json.loads, (run / "stats.jsonl").read_text().splitlines())
    return [line for line in lines if "loss_d" in line]


def test_a_run_s_folder(undisturbed):
    names = {p.name for p in undisturbed.iterdir()}
    assert undisturbed.name == "00000-pggan-portraits-8"
    assert names >= {
        "config.json",
        "environment.json",
        "log.txt",
        "stats.jsonl",
        "tensorboard",
        "reals.png",
        "checkpoints",
        "generator.keras",
    }
    assert list((undisturbed / "tensorboard").glob("events*"))
    environment = json.loads((undisturbed / "environment.json").read_text())
    assert (
        environment["packages"]["tensorflow"]
        and environment["dataset"]["checksum"]
        and environment["seed"] == 0
        and "train.py" in environment["command"][0]
    )
    lines = ticks_of(undisturbed)
    assert (
        lines[-1]["images"] == 3200
        and {"loss_d", "loss_g", "alpha", "images_per_second", "skipped_total"} <= lines[-1].keys()
    )
    assert {(x["resolution"], x["fade"]) for x in lines} == {(4, False), (8, True), (8, False)}
    fading = [x["alpha"] for x in lines if x["fade"]]
    assert fading == sorted(fading) and fading[-1] == 1.0
    grids = sorted(p.name for p in undisturbed.glob("fakes-*.png"))
    assert grids[0].startswith("fakes-000001-4px-400") and grids[-1].endswith("-8px-3200.png")
    with Image.open(undisturbed / grids[0]) as image:
        assert image.size == (2 * 64 + 1, 2 * 64 + 1)
    assert len(checkpoint.list_checkpoints(undisturbed)) == 2


@pytest.mark.slow
def test_config_repeats_a_run(undisturbed, tmp_path):
    code, out, err = train("--config", undisturbed / "config.json", "--runs", tmp_path)
    assert code == 0, err
    assert_same_run(undisturbed, run_folder(out))


def test_generate(undisturbed, tmp_path):
    code, out, err = pggan(
        "generate",
        undisturbed,
        "--seeds",
        "3,5-6",
        "--grid",
        tmp_path / "g.png",
        "--npz",
        tmp_path / "g.npz",
        "--dir",
        tmp_path / "d",
    )
    assert code == 0, err
    images = np.load(tmp_path / "g.npz")["images"]
    assert images.shape == (3, 8, 8, 3) and images.dtype == np.uint8
    assert sorted(p.name for p in (tmp_path / "d").iterdir()) == ["000003.png", "000005.png", "000006.png"]
    with Image.open(tmp_path / "d" / "000005.png") as image:
        np.testing.assert_array_equal(np.asarray(image), images[1])
    alone = tmp_path / "elsewhere.keras"
    alone.write_bytes((undisturbed / "generator.keras").read_bytes())
    code, out, err = pggan(
        "generate", alone, "--seeds", "5", "--stage", "4", "--truncation", "0.5", "--npz", tmp_path / "one.npz"
    )
    assert code == 0, err
    assert np.load(tmp_path / "one.npz")["images"].shape == (1, 4, 4, 3)


@pytest.mark.slow
def test_transfer_to_a_higher_resolution(undisturbed, tmp_path):
    code, out, err = train(
        *TINY,
        "--target-res",
        "16",
        "--init-from",
        undisturbed,
        "--fade-images",
        "80",
        "--stable-images",
        "8=80,16=0",
        "--batch",
        "8",
        "--runs",
        tmp_path,
    )
    assert code == 0, err
    # What had been trained does not grow again.
    assert re.search(r"phase 1/2: 8px stable", out) and "4px" not in out.split("phase 1/2")[1]
    code, out, err = train(
        *TINY, "--fmap-max", "8", "--target-res", "16", "--init-from", undisturbed, "--run", tmp_path / "other"
    )
    refused((code, out, err), "--init-from", "there and 8 here", "give --fmap-max 16")
    assert not (tmp_path / "other").exists()
    np.save(tmp_path / "none.npy", np.zeros((0, 8, 8, 3), np.uint8))
    assert train("--data", tmp_path / "none.npy", *TINY, "--target-res", "16", "--run", tmp_path / "a" / "b")[0] == 2
    assert not (tmp_path / "a").exists()
    refused(train(*TINY, "--resolutions", "4,16", "--init-from", undisturbed), "--init-from", "4, 8 px")


@pytest.mark.slow
def test_transfer_is_planned_by_minutes(undisturbed):
    code, out, err = train(
        *TINY, "--target-res", "16", "--init-from", undisturbed, "--batch", "8", "--minutes", "2", "--dry-run",
        *("--metrics", "swd", "--metrics-images", "64"),
    )  # fmt: skip
    assert code == 0, err
    assert "for the metrics" in out
    assert "8px stable" in out and "16px fade" in out and "4px stable" not in out and "8px fade" not in out


def test_resume_refuses_another_architecture_and_other_data(undisturbed, tmp_path, photos):
    refused(train("--resume", undisturbed, "--fmap-max", "32"), "--fmap-max 32", "started with 16", "new run[.]")
    refused(train("--resume", undisturbed, "--seed", "5"), "--seed 5", "started with 0", "new run, with --init-from")
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    change_config(run, portraits=121)
    environment = json.loads((run / "environment.json").read_text())
    environment["dataset"]["folder"] = str(tmp_path / "gone")  # the shards as they were kept are not there any more
    (run / "environment.json").write_text(json.dumps(environment))
    refused(train("--resume", run), "120 images", "121")
    refused(train("--resume", tmp_path / "nothing"), "no such folder. Expected the folder of a run")
    refused(train("--resume", run, "--dry-run"), "--resume goes with")


@pytest.mark.slow
def test_moved_data_is_found_by_its_checksum(tmp_path, photos):
    schedule = ["--target-res", "8", "--fade-images", "16", "--stable-images", "16", "--batch", "8"]
    code, out, err = train("--data", photos, *TINY, *schedule, "--runs", tmp_path / "runs")
    assert code == 0, err
    moved = photos.rename(tmp_path / "moved")
    assert train("--resume", run_folder(out))[0] == 0, "the prepared shards are still there"
    (moved / "cats" / "another.png").write_bytes((moved / "cats" / "01.png").read_bytes())
    assert train("--resume", run_folder(out))[0] == 0, "as they were, whatever has come since"
    (moved / "cats" / "another.png").unlink()
    assert train("--resume", run_folder(out), "--data", moved)[0] == 0


def test_photos_that_came_since_are_told_and_not_trained_on(tmp_path, photos):
    """A run goes on with those that it began with, or it could not be repeated; but a line says so."""
    run, cache = tmp_path / "run", tmp_path / "cache"
    schedule = ["--target-res", "4", "--total-images", "16", "--batch", "8"]
    command = ["--data", photos, *TINY, *schedule, "--run", run, "--cache", cache]
    told = f"{photos}: "

    def go_on(*words):
        code, out, err = train(*(words or command))
        assert code == 0, err
        return [line for line in (out + err).splitlines() if line.startswith(told) and "changed" in line]

    assert go_on() == [] and go_on() == [] and go_on("--resume", run, "--cache", cache) == []
    dataset = json.loads((run / "environment.json").read_text())["dataset"]
    added = photos / "cats" / "another.png"
    added.write_bytes((photos / "cats" / "01.png").read_bytes()[:-1] + b"!")
    for words in (), ("--resume", run, "--cache", cache):
        (line,) = go_on(*words)
        assert "have changed since" in line and "goes on with the 12 images" in line and f"--init-from {run}" in line
    assert json.loads((run / "environment.json").read_text())["dataset"] == dataset
    added.unlink()
    assert go_on() == []
    os.utime(photos / "cats" / "01.png")
    (line,) = go_on()
    assert "have changed since" in line, "a file that was written since may be another; it is not read to find out"
    photos.rename(tmp_path / "moved")
    assert go_on("--resume", run, "--cache", cache) == [], "photos that are gone stop nothing"
    photos.write_text("not a folder any more")
    assert go_on("--resume", run, "--cache", cache) == []


def test_equal_photos_in_another_folder_are_no_change(tmp_path, photos):
    """Shards that were made of a copy are known by the content of the photos, not by the copy's place."""
    copy, cache = tmp_path / "copy", ("--cache", tmp_path / "cache")
    shutil.copytree(photos, copy)
    schedule = ["--target-res", "4", "--total-images", "16", "--batch", "8"]
    for place, name in ((photos, "one"), (copy, "two"), (copy, "two")):
        code, out, err = train("--data", place, *TINY, *schedule, "--run", tmp_path / name, *cache)
        assert code == 0 and "changed" not in out + err


def test_an_unfinished_run_generates_what_it_has_learned(undisturbed, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    (run / "generator.keras").unlink()
    code, out, err = pggan("generate", run, "--seeds", "0-3", "--npz", tmp_path / "a.npz")
    assert code == 0, err
    finished = np.load(sample(undisturbed, tmp_path / "b.npz"))["images"][:4]
    np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["images"], finished)


@pytest.mark.parametrize("content", [b"half a file", None], ids=["cut off", "damaged inside"])
def test_a_damaged_generator_of_a_run_says_what_is_left(undisturbed, tmp_path, content):
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    file = run / "generator.keras"
    data = bytearray(file.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    file.write_bytes(data if content is None else content)
    given = ("generate", run, "--seeds", "0-3", "--npz", tmp_path / "a.npz")
    refused(pggan(*given), f"{file}: not a ", "If you delete it, the run's newest checkpoint is read in its place")
    file.unlink()
    code, _, err = pggan(*given)
    assert code == 0, err
    finished = np.load(sample(undisturbed, tmp_path / "b.npz"))["images"][:4]
    np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["images"], finished)
    shutil.rmtree(run / checkpoint.FOLDER)
    file.write_bytes(b"half a file")
    code, _, err = pggan(*given)
    assert code == 2 and "not a .keras file" in err and "checkpoint" not in err, "nothing is left to be read"


def test_two_processes_do_not_train_one_run(undisturbed):
    import fcntl

    with (undisturbed / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        code, _, err = train("--resume", undisturbed)
        assert code == 75 and "another process is training" in err


@pytest.mark.slow
@pytest.mark.parametrize(
    "failure, said, code",
    [
        ("resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))", "File too large", 1),
        ("raise OSError(28, 'No space left on device', str(path))", "No space left on device", 75),
    ],
)
def test_a_full_disk_leaves_the_last_checkpoint(failure, said, code, tmp_path):
    """Either a file may not grow, or the disk has no room; only the latter may pass by itself."""
    limit = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "from pggan_tf.commands import cli; from pggan_tf.runs import checkpoint; real = checkpoint.write\n"
        "def write(path, arrays, meta):\n"
        f"    if meta['images_seen'] > 400: {failure}\n"
        "    real(path, arrays, meta)\n"
        "checkpoint.write = write; sys.exit(cli.main(sys.argv[1:]))"
    )
    process = start("-c", limit, "train", *TINY, *SCHEDULE, "--checkpoint-minutes", "0.002", "--runs", tmp_path)
    out, err = process.communicate(timeout=400)
    run = only_run(tmp_path)
    assert process.returncode == code and said in err and f"--resume {run}" in err and "Traceback" not in err, err
    assert not list((run / checkpoint.FOLDER).glob(".partial-*"))
    newest = checkpoint.list_checkpoints(run)[0]
    assert newest.name in err and checkpoint.read(newest)


def test_a_kill_in_the_middle_of_a_save(undisturbed, tmp_path):
    """The process kills itself while it writes the arrays of a checkpoint in mid-fade."""
    suicide = (
        "import os, signal, sys; from pggan_tf.runs import checkpoint; from pggan_tf.commands import cli; real, array = checkpoint.write, checkpoint.np.lib.format.write_array\n"
        "def last(file, *args, **kwargs):\n"
        "    file.write(b'half an array'); os.kill(os.getpid(), signal.SIGKILL)\n"
        "def write(path, arrays, meta):\n"
        "    if meta['images_seen'] > 1000: checkpoint.np.lib.format.write_array = last\n"
        "    real(path, arrays, meta)\n"
        "checkpoint.write = write; sys.exit(cli.main(sys.argv[1:]))"
    )
    process = start(
        "-c", suicide, "train", *TINY, *SCHEDULE, "--checkpoint-minutes", "0.002", "--runs", tmp_path
    )  # fmt: skip
    process.communicate(timeout=400)
    run = only_run(tmp_path)
    assert process.returncode == -signal.SIGKILL
    left = [run / f".partial-01234567-{name}" for name in ("generator.keras", "config.json", "report.html", "walk.mp4")]
    for path in left:
        path.touch()
    assert list((run / checkpoint.FOLDER).glob(".partial-*")), "the save was under way"
    assert 0 < int(checkpoint.list_checkpoints(run)[0].stem.split("-")[1]) <= 1000
    code, out, err = train("--resume", run)
    assert code == 0, err
    assert not list((run / checkpoint.FOLDER).glob(".partial-*"))
    assert [path.exists() for path in left] == [False, False, True, True], "others may be writing a page or a video"
    way = "one-stage update: both networks learn from one pass, the generator from"
    assert way in out and way in (undisturbed / "log.txt").read_text()
    assert_same_run(undisturbed, run)
    generators = [
        np.load(p)["images"] for p in (sample(undisturbed, tmp_path / "a.npz"), sample(run, tmp_path / "b.npz"))
    ]
    np.testing.assert_array_equal(*generators)


def test_divergence_stops_the_run(tmp_path):
    code, out, err = pggan("train", *TINY, *SCHEDULE, "--learning-rate", "1e30", "--runs", tmp_path)
    assert code == 1 and re.search(r"20 steps in a row \(.*\), and generator/dense/kernel grew to 1e\+30, at 4px", err)
    assert "checkpoint-" in err and not list(tmp_path.glob("*/generator.keras"))
    arrays, _ = checkpoint.read_newest(only_run(tmp_path))
    assert all(np.isfinite(a).all() for a in arrays.values())


def test_a_skipped_step_leaves_no_mark_on_the_figures(tmp_path, monkeypatch):
    whole = step.TrainingStep._draw_batch

    def poisoned(self, *args):
        batch = whole(self, *args)
        here = (self.gan.images_seen > 150) & (self.gan.images_seen < 170)
        return dataclasses.replace(batch, reals=batch.reals * tf.where(here, float("nan"), 1.0))

    monkeypatch.setattr(step.TrainingStep, "_draw_batch", poisoned)
    code, out, err = train(*TINY, *SCHEDULE, "--target-res", "4", "--runs", tmp_path)
    assert code == 0, err
    lines = ticks_of(only_run(tmp_path))
    assert lines[-1]["skipped_total"] == 3 and any(0 < line["skipped"] < 1 for line in lines)
    assert lines[-1]["skipped_discriminator_total"] == 3 and lines[-1]["skipped_generator_total"] == 0
    assert all(np.isfinite(value) for line in lines for value in line.values() if isinstance(value, float))
    assert "skipped 3 (G 0, D 3)" in out and "nan" not in out


def test_help_answers_at_once():
    """Neither TensorFlow nor Keras is imported: time itself is not asserted."""
    code = "import sys; from pggan_tf.commands import cli; cli.main(['train', '--help']); print({'tensorflow', 'keras', 'cv2', 'PIL'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--target-res" in result.stdout and result.stdout.strip().endswith("set()")


def test_dry_run_prints_config_and_plan_and_trains_nothing(tmp_path):
    code, out, err = train("--dry-run", "--resolutions", "4,8,16,32,96", "--runs", tmp_path / "runs")
    assert code == 0, err
    config, end = json.JSONDecoder().raw_decode(out)
    assert config["asked"] == {"recipe": "pggan", "resolutions": [4, 8, 16, 32, 96]}
    assert config["networks"]["target_res"] == 96 and config["objective"]["penalty"] == "r1"
    assert "96px fade" in out[end:] and "in all" in out[end:]
    assert not (tmp_path / "runs").exists()


def assert_planned(out, minutes):
    run = run_folder(out)
    config = options_of(run)
    # The plan is kept, not the wish: repeated with --config it is the same run.
    assert config["minutes"] is None and config["fade_images"]["4"] == 0 and config["stable_images"]["8"] > 0
    assert json.loads((run / "environment.json").read_text())["planned_for_minutes"] == minutes
    planned = sum(config["stable_images"].values()) + sum(config["fade_images"].values())
    assert json.loads((run / "stats.jsonl").read_text().splitlines()[-1])["images"] >= planned
    return planned


def test_minutes_plans_the_schedule(tmp_path, monkeypatch):
    """By the speed that was measured: here, of a machine that shows two images a second and builds a phase in no time."""

    def measure_speeds(plan, programs, clock=None):
        return {phase.part: 2.0 for phase in plan.phases}

    monkeypatch.setattr(planning, "measure_speeds", measure_speeds)
    code, out, err = train(*TINY, "--target-res", "8", "--batch", "8", "--minutes", "3", "--runs", tmp_path)
    assert code == 0, err
    assert 80 <= assert_planned(out, 3) <= 376, "what is left of 360 images after the start, in whole steps"


@pytest.mark.slow
def test_minutes_are_measured(tmp_path):
    begun = time.monotonic()
    code, out, err = train_alone(*TINY, "--target-res", "8", "--minutes", "2", "--runs", tmp_path)
    assert code == 0, err
    assert assert_planned(out, 2) > 0 and time.monotonic() - begun > 60


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["lsgan", "wgan-gp"])
def test_odd_resolutions_gray_and_other_losses_train(loss, tmp_path, photos):
    odd = ("--resolutions", "4,8,24", "--channels", "1", "--loss", loss, "--update", "two-stage")
    # Few phases: each has a graph of its own.
    short = ("--fade-images", "4=0,24=16", "--stable-images", "4=16,8=0", "--batch", "8", "--runs", tmp_path)
    code, out, err = train("--data", photos, *odd, *TINY, *short)
    assert code == 0, err
    with Image.open(sorted(run_folder(out).glob("fakes-*.png"))[-1]) as image:
        assert image.mode == "L"


def test_prepared_shards_are_data(tmp_path, photos):
    code, out, err = pggan("prepare", photos, tmp_path / "shards", "--size", "16", "--shard-images", "5", "--compress")
    assert code == 0 and "12 kept at 4, 8, 16 px" in out, err
    code, out, err = train(
        "--data",
        tmp_path / "shards",
        "--target-res",
        "8",
        *TINY,
        "--fade-images",
        "16",
        "--stable-images",
        "0",
        "--batch",
        "8",
        "--runs",
        tmp_path,
    )
    assert code == 0, err
    refused(pggan("prepare", photos, tmp_path / "shards", "--size", "16"), "holds shards already")
    refused(train("--data", tmp_path / "shards", "--target-res", "32"), "holds 4, 8, 16 px", "32")
    refused(train("--data", tmp_path / "shards", "--target-res", "8", "--channels", "1"), "--channels 3")
    path = tmp_path / "shards" / "shard-00001.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refused(train("--data", tmp_path / "shards", "--target-res", "8"), "shard-00001.npz is damaged")


def test_bad_data_is_refused(tmp_path, photos):
    empty = tmp_path / "empty"
    empty.mkdir()
    for place, words in (
        (tmp_path / "missing", "no such file or folder"),
        (empty, "no images found"),
        ("tfds:none", "tfds:none"),
    ):
        refused(pggan("train", "--dry-run", "--data", place), words)
    code, out, err = pggan("train", "--dry-run", "--data", photos, "--cache", tmp_path / "cache")
    assert code == 0 and "in all" in out and not (tmp_path / "cache").exists(), err
    refused(train("--data", empty), "no images found", "jpg")
    refused(train("--data", tmp_path / "missing"), "no such file or folder")
    refused(train("--data", photos, "--target-res", "64"), "none of 12", "smaller than 64x64", "--upscale-small")
    for p in sorted(photos.rglob("*.png"))[:7]:
        p.write_bytes(p.read_bytes()[:50])
    refused(train("--data", photos, "--target-res", "16"), "7 of 12 images cannot be used, more than half")
    assert not list(tmp_path.glob("runs*"))


@pytest.mark.parametrize("number, expected", [("ENOSPC", 75), ("ESTALE", 75), ("EACCES", 2), ("ENOENT", 2)])
def test_whether_another_try_may_do(number, expected, capsys):
    """The exit code tells whatever starts a job again."""

    @click.command()
    def broken():
        code = getattr(errno, number)
        raise OSError(code, os.strerror(code), "/runs/x")

    assert entry.main(broken, []) == expected
    assert capsys.readouterr().err.startswith("error: /runs/x: ")


def test_bad_options_are_refused(tmp_path):
    refused(train("--target-res", "100"), "--target-res 100", "64 and 128")
    refused(train("--target-ress", "64"), "(?i)no such option", "--target-res")
    refused(train("--recipe", "pgan"), "--recipe pgan", "pggan")
    refused(train("--seed", "inf"), "--seed inf: not a whole number")
    refused(train("--minutes", "3", "--total-images", "9"), "give one of them")
    refused(pggan("train", "--total-images", "4"), "--total-images 4: 9 of the plan's 9 phases", "Give 9 or more")
    refused(pggan("train", "--resolutions", "0,1"), "--resolutions 0,1: expected sizes from 2")
    refused(train("--config", tmp_path / "none.json", "--recipe", "pggan"), "give one of them")
    refused(pggan("generate", tmp_path, "--grid", "x.xyz"), "--grid x.xyz", "png")
    refused(pggan("generate", tmp_path, "--seeds", "99999999999999999999", "--grid", "x.png"), "--seeds")
    refused(pggan("generate", tmp_path, "--seeds", "0-4000000000", "--grid", "x.png"), "4,000,000,001 images at once")
    refused(pggan("prepare", "portraits", ".", "--size", "8"), "not an empty folder")
    refused(pggan("prepare", "portraits", tmp_path / "o", "--size", "32", "--resolutions", "64"), "not a divisor|64")
    refused(train("--fmap-base", "x"), "--fmap-base x: not a whole number")
    refused(train("--loss", "wgangp"), "did you mean wgan-gp")
    refused(train("--config", tmp_path / "none.json"), "cannot be read")
    newer = tmp_path / "config.json"
    newer.write_text(json.dumps({"version": 99}))
    refused(train("--config", newer), "version 99", "Update")
    refused(pggan("generate", tmp_path), "nowhere to write")
    refused(pggan("generate", tmp_path / "nothing", "--grid", "x.png"), "nothing: no such folder. Expected a run")
    refused(pggan("train", "surplus"), "surplus")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_output_folder_is_refused(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    refused(train(*TINY, *SCHEDULE, "--runs", locked / "runs"), "--runs", "cannot be written")


def test_an_output_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    refused(train(*TINY, *SCHEDULE, "--runs", tmp_path / "file"), "--runs", "cannot be written|folder")
    refused(train(*TINY, *SCHEDULE, "--cache", tmp_path / "file"), "cannot be written")
