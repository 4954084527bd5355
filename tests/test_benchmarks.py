"""The benchmarks print and write their pages: in the smallest form that each has."""

import errno
import importlib
import os
import queue
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

import benchmarks
from benchmarks import measure, page, quality, step, super_resolution
from pggan_tf import entry
from pggan_tf.runs import folder as runs
from pggan_tf.runs import pretrained
from pggan_tf.training import precision
from tests.conftest import start

SAID = (
    "- Command: `python -m benchmarks.",
    "- Machine: ",
    " cores, ",
    "- Date and commit: 20",
    "- Versions: Python 3.",
    "| ---",
)


@pytest.mark.parametrize(
    "words, rows",
    [
        (
            ("metrics", "--count", "64", "--resolution", "32"),
            ("- swd: ", "peak memory, MB", "| swd     |"),
        ),
        pytest.param(
            ("separable", "--resolutions", "16", "--batch", "4", "--rounds", "1"),
            ("GFLOP a step", "float32"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("mobile", "--resolutions", "4", "--rounds", "3"),
            ("standard", "separable", "dynamic", "int8", "ms LiteRT, 2 threads"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("scaling", "--resolution", "8", "--batch", "8", "--seconds", "0.1", "--step-ms", "38", "--devices", "1,8"),
            ("a step of 38 ms for 8 images", "devices | images per step", "communication"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("one_stage", "--resolutions", "32", "--forms", "1", "--rounds", "1", "--minutes", "0.03"),
            ("32 | DCGAN  ", "second product", "minutes of training for each", "one_stage-races.png"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("step", "--resolutions", "4", "--rounds", "1"),
            ("executed GFLOP/image", "ours, float32", "GFLOP/s in float32"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda value: value[0],
)
def test_its_page_is_printed_and_written(words, rows, tmp_path):
    out = tmp_path / f"{words[0]}.md"
    process = start("-m", f"benchmarks.{words[0]}", *words[1:], "--out", out)
    said, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    written = out.read_text()
    for row in (*SAID, *rows):
        assert row in said and row in written, said
    assert str(tmp_path) not in written
    assert all(row.split("]")[1][1:-1] in os.listdir(tmp_path) for row in written.splitlines() if row.startswith("!["))


def test_a_page_keeps_what_was_written_by_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(page.sys, "argv", ["/x/benchmarks/data.py", "--files", "3", "/home/someone/photos"])
    out = tmp_path / "pages" / "data.md"
    out.parent.mkdir()
    before = "# Old\n\n| old |\n\n## Earlier figures\n\n| 2026 |\n"
    out.write_text(before)
    for figure in (1.5, 2.5):
        written = page.Page(out, "Reading", "How fast?")
        if figure == 1.5:
            assert out.read_text() == before  # as long as nothing was measured
        written.table(("form", "images/s"), [("a | b", figure), ("c", "1,000.0")])
        written.notes("one", "two")
    text = out.read_text()
    assert "- Command: `python -m benchmarks.data --files 3 photos`\n" in text and "1.5" not in text
    assert "| form   | images/s |\n| ------ | -------: |\n| a \\| b |      2.5 |\n| c      |  1,000.0 |\n" in text
    assert text.endswith("\n\n- one\n- two\n\n## Earlier figures\n\n| 2026 |\n") and "# Old" not in text
    assert written.picture("races") == out.with_name("data-races.png")


def test_a_page_is_whole_after_a_full_disk(tmp_path, monkeypatch):
    out = tmp_path / "data.md"
    out.write_text("# Old\n\n## Earlier figures\n\n| 2026 |\n")
    written = page.Page(out, "Reading", "How fast?")

    def write_half(path, text, **kwargs):
        path.write_bytes(text.encode()[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", write_half)
    with pytest.raises(OSError, match="No space left"):
        written.table(("form", "images/s"), [("a", 1.5)])
    assert out.read_text() == "# Old\n\n## Earlier figures\n\n| 2026 |\n"


def test_ctrl_c_waits_for_the_training_to_save(tmp_path):
    """A terminal sends it to both; the training needs more than an instant."""
    (tmp_path / "train.py").write_text(
        "import signal, time\n"
        "def save(*_):\n    time.sleep(1)\n    open('saved', 'w').close()\n    raise SystemExit(130)\n"
        "signal.signal(signal.SIGINT, save)\nopen('begun', 'w').close()\ntime.sleep(60)\n"
    )
    run = f"from benchmarks import measure; measure.__file__ = r'{tmp_path / 'benchmarks' / 'measure.py'}'; "
    run += f"from pathlib import Path; measure.train({{}}, Path(r'{tmp_path / 'run'}'))"
    process = start("-c", run, start_new_session=True)
    try:
        for _ in range(600):
            if (tmp_path / "begun").exists():
                break
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
        assert (tmp_path / "saved").exists() and process.returncode
    finally:
        process.kill()


def test_photos_held_out_by_a_stopped_run_are_not_taken(photos, tmp_path, monkeypatch):
    """It has not said of which data they are."""
    monkeypatch.setattr(quality, "IMAGES", 2)
    folder = tmp_path / "results"
    folder.mkdir()
    np.savez(folder / "photos.npz", np.zeros((2, 8, 8, 3), np.uint8))
    quality.hold_out(str(photos), 8, folder)
    assert np.load(folder / "photos.npz")["arr_0"].any() and (folder / "data.json").is_file()


def test_a_page_says_where_it_was_measured(monkeypatch):
    assert re.fullmatch(r".+, \d+ of \d+ cores, .+, \d+ GiB of memory, .+", page.machine())
    assert re.fullmatch(r"load \d+\.\d at the start.*|not known", page.other_work())
    assert re.fullmatch(r"(\S+|not known)(-dirty)?", page.commit())
    for load, warned in ((1.0, False), (99.0, True)):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0.0, 0.0), raising=False)
        assert ("too long" in page.other_work()) is warned
    assert "tensorflow 2." in page.versions() and "keras 3." in page.versions()


def judge_by_seed(samples):
    """Stand in for `quality.judge`, with figures that differ by seed."""
    seed = int(samples.stem[-1])
    return {"images": 1000 + seed, "last": 100, "seconds": 3.0, "swd": 10.0 + seed, "fid[random]": 20.0 * (1 + seed)}


def test_the_table_of_quality(tmp_path, monkeypatch, capsys):
    """A row for each form on each data set: the mean of its seeds, and their range."""
    monkeypatch.setattr(quality, "hold_out", lambda *data: None)
    monkeypatch.setattr(quality, "finish", lambda *job: None)
    monkeypatch.setattr(quality, "judge", judge_by_seed)
    out = tmp_path / "page.md"
    arguments = ["--data", "a", "--data", "b", "--seeds", "3", "--runs", str(tmp_path), "--out", str(out)]
    assert entry.main(quality.main, arguments) == 0
    assert capsys.readouterr().out == out.read_text() + "\n"
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.read_text().splitlines()]
    assert ["a", "default", "1,001", "100", "3", "11 (10..12)", "40 (20..60)"] in rows
    assert len([row for row in rows if row[:1] in (["a"], ["b"])]) == 2 * len(quality.FORMS)
    assert entry.main(quality.main, [*arguments[:2], *arguments[:2]]) == 2
    assert "folders of different names" in capsys.readouterr().err
    assert entry.main(quality.main, [*arguments, "--forms", "default;defualt"]) == 2
    assert "defualt is none of: paper; " in capsys.readouterr().err


def test_a_form_begins_with_the_weights_that_it_names():
    plan = quality.make_plan(
        form="default, from the weights of portraits", data="portraits", resolution=64, seconds=9, seed=0
    )
    config = plan.config
    assert config.optimization.init_from == str(pretrained.FOLDER / "portraits")
    theirs = runs.read(pretrained.FOLDER / "portraits")[0].config
    assert config.networks.latent_size == theirs.networks.latent_size, "else the weights do not fit"


def test_a_form_that_fails_does_not_end_the_race(tmp_path, monkeypatch, capsys):
    """The others are trained, and the table says so; a mistake of the user ends it before more is trained."""
    trained = []

    def finish(settings, file, free):
        if settings["form"] == "default, half the rate":
            raise RuntimeError("the weights are ruined")
        if settings["seed"] == 1:
            raise quality.UserError("other options")
        trained.append(settings["form"])
        time.sleep(0.2)

    monkeypatch.setattr(quality, "hold_out", lambda *data: None)
    monkeypatch.setattr(quality, "finish", finish)
    monkeypatch.setattr(quality, "judge", judge_by_seed)
    monkeypatch.setattr(measure, "cores", lambda: [0])
    arguments = ["--runs", str(tmp_path), "--forms", "default, half the rate; default; default, two-stage;"]
    assert entry.main(quality.main, arguments) == 0
    assert trained == ["default", "default, two-stage"]
    said = capsys.readouterr()
    assert "default-half-the-rate-0: the weights are ruined" in said.err
    assert re.search(r"portraits \| default, half the rate +(\| +failed +){5}\|", said.out), said.out
    trained.clear()
    assert entry.main(quality.main, [*arguments, "--seeds", "9"]) == 2
    assert len(trained) < 4, "what waited was not begun"


def test_results_of_other_options_are_not_taken(tmp_path, monkeypatch):
    settings = {"form": "default", "data": "portraits", "resolution": 16, "seconds": 3.0, "seed": 0}
    done = []
    monkeypatch.setattr(measure, "in_process", lambda function, **given: done.append(given) or {"images": 1})
    free = queue.Queue()
    free.put(0)
    out = tmp_path / "default-0.npz"
    quality.finish(settings, out, free)
    out.write_bytes(b"")
    quality.finish(settings, out, free)
    assert len(done) == 1 and done[0]["core"] == 0 and free.qsize() == 1
    monkeypatch.setitem(quality.FORMS, "default", {"fmap_base": 64})
    with pytest.raises(quality.UserError, match="other options or another version"):
        quality.finish(settings, out, free)


def test_too_few_photos_are_told_before_anything_is_trained(photos, capsys):
    assert entry.main(quality.main, ["--data", str(photos), "--target-res", "16"]) == 2
    assert "expected at least 5,000, of which 1,000 are" in capsys.readouterr().err


@pytest.mark.slow
def test_settings_are_raced(tmp_path):
    arguments = ["--data", "portraits", "--target-res", "16", "--seconds", "3", "--forms", "default;default, two-stage"]
    arguments += ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "quality.md")]
    assert entry.main(quality.main, arguments) == 0
    page = (tmp_path / "quality.md").read_text()
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| portraits")]
    assert len(rows) == 2 and all(float(row[6]) > 0 and float(row[7]) > 0 for row in rows), page
    samples = sorted((tmp_path / "runs").rglob("*.npz"))
    before = [file.stat().st_mtime_ns for file in samples]
    assert [file.name for file in samples] == ["default-0.npz", "default-two-stage-0.npz", "photos.npz"]
    assert entry.main(quality.main, arguments) == 0
    assert [file.stat().st_mtime_ns for file in samples] == before, "what is there is not trained again"


def test_the_rows_of_the_step():
    """31.1 images/s of 1 GFLOP each on 100 GFLOP/s are 31 %, and three times 10.4 of PyTorch."""
    ours = {"rate": 31.1, "work": 1.0, "share": 0.311}
    forms = {step.OURS: ours | {"rate": 20.0, "share": 0.2}, step.AUTO: ours, "PyTorch, float32": {"rate": 10.4}}
    assert step.cells(64, 16, forms) == [
        (64, 16, step.OURS, "20.0", "1.000", "20%", ""),
        (64, 16, step.AUTO, "31.1", "1.000", "31%", ""),
        (64, 16, "PyTorch, float32", "10.4", "", "", "2.99"),
    ]
    assert entry.main(step.main, ["--resolutions", "64,5"]) == 2


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("data", ("--files", "0"), "0 is not in the range"),
        ("metrics", ("--count", "-5"), "-5 is not in the range"),
        ("step", ("--resolutions", "x"), "x: expected whole numbers, separated by commas"),
        ("step", ("--rounds", "0"), "0 is not in the range"),
        ("separable", ("--resolutions", "2"), "2: expected 4 or more"),
        ("one_stage", ("--rounds", "0", "--minutes", "0"), "nothing is measured"),
        ("one_stage", ("--forms", "99"), "99: expected any of 0, 1"),
        ("scaling", ("--devices", "0", "--step-ms", "1"), "0: expected 1 or more"),
        ("soak", ("--minutes", "-1"), "-1.0 is not in the range"),
    ],
)
def test_what_cannot_be_measured_is_refused(name, words, told, capsys):
    assert entry.main(importlib.import_module(f"benchmarks.{name}").main, list(words)) == 2
    assert told in capsys.readouterr().err


def test_sets_of_one_name_are_refused(tmp_path, capsys):
    for parent in "ab":
        (tmp_path / parent / "photos").mkdir(parents=True)
    folders = [str(tmp_path / parent / "photos") for parent in "ab"]
    assert entry.main(super_resolution.main, folders) == 2
    assert "give folders of different names" in capsys.readouterr().err


@pytest.mark.parametrize(
    "seconds, said", [(42, "42 seconds"), (200, "3 minutes"), (5990, "100 minutes"), (7500, "2.1 hours")]
)
def test_a_benchmark_says_how_long_it_takes(seconds, said, capsys):
    measure.announce(seconds, "bfloat16 is left out")
    assert capsys.readouterr().err == f"about {said} on two slow cores; bfloat16 is left out\n"


def test_every_benchmark_says_how_long_it_takes():
    files = [f for f in Path(benchmarks.__file__).parent.glob("*.py") if "@click.command" in f.read_text()]
    assert len(files) > 10
    for file in files:
        before, told, _ = file.read_text().partition("@click.command")[2].partition("announce(")
        assert told, file.name
        # TensorFlow takes seconds to start. How many images of how many pixels there are, a run has to be asked.
        assert "start_tensorflow(" not in before or file.name == "colorization.py", file.name


@pytest.mark.slow
def test_pages_are_measured_on_one_thread_and_on_two(browser):
    """Pages take one thread for networks as quick as this one; the benchmark asks for two."""
    process = start("-m", "benchmarks.mobile", "--resolutions", "4", "--rounds", "3", "--browser")
    said, err = process.communicate(timeout=600)
    assert process.returncode == 0 and "ms browser, 2 threads" in said, err


def test_the_step_has_the_layers_of_pytorch_s_forms():
    """By their numbers of parameters, counted here from the layers of `benchmarks.peers`."""

    def width(resolution: int) -> int:
        return min(2 * 2048 // resolution, 128)

    def conv(inputs: int, outputs: int, kernel: int = 3) -> int:
        return inputs * outputs * kernel**2 + outputs

    widths = [width(resolution) for resolution in (4, 8, 16, 32, 64)]
    pairs, (first, *_, last) = list(zip(widths, widths[1:])), widths
    grown = sum(conv(a, b) + conv(b, b) for a, b in pairs)
    shrunk = sum(conv(b, b) + conv(b, a) for a, b in pairs)
    maker = conv(128, first * 16, 1) + conv(first, first) + grown + conv(last, 3, 1)
    judge = conv(3, last, 1) + shrunk + conv(first + 1, first) + conv(16 * first, width(2), 1) + conv(width(2), 1, 1)
    assert step.ours(64, 4, precision="float32", seconds=0.01)["parameters"] == maker + judge


def test_forms_that_the_processor_would_emulate_are_left_out(monkeypatch, capsys):
    """Of the step itself and of PyTorch, with a word that says so."""
    monkeypatch.setattr(step.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(step.measure, "in_process", lambda function, **settings: {"images_per_second": 2.0} | (
        {"policy": "float32", "gflop_per_image": 1.0} if function is step.ours else {}))  # fmt: skip
    monkeypatch.setattr(step, "_torch", lambda **settings: 1.0)
    for has, forms in ((True, {step.OURS, step.AUTO, *step.PEERS}), (False, {step.OURS, "PyTorch, float32"})):
        monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda has=has: has)
        assert step.measured(8, 4, 2, {"float32": 10.0}).keys() == forms
        step.announce(1, 3)
        assert ("bfloat16 is left out" in capsys.readouterr().err) is not has


@pytest.mark.slow
def test_training_that_fails_is_drawn(tmp_path):
    """A run whose weights are ruined, too, has a row and a picture."""
    sizes = {"--resolutions": "4,8", "--fmap-base": 64, "--fmap-max": 16, "--latent-size": 8, "--portraits": 96}
    sizes |= {"--fade-images": "4=0", "--stable-images": "4=160,8=320", "--snapshot-images": 160, "--grid": 4}
    sizes |= {"--metrics-images": 32, "--metrics-every": 320, "--metrics": "ms-ssim"}
    small = f"from benchmarks import illnesses; illnesses.SMALL |= {sizes}; illnesses.UNSEEN = 32; "
    forms = "discriminator-wins,learning-rate"
    arguments = ["--forms", forms, "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "page.md")]
    run = f"import sys; from pggan_tf import entry; sys.exit(entry.main(illnesses.main, {arguments}))"
    process = start("-c", small + run)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    text = (tmp_path / "page.md").read_text()
    for form in forms.split(","):
        assert f"| {form}" in text and f"![{form}: " in text, text
        assert 5_000 < (tmp_path / f"page-{form}.png").stat().st_size < 150_000
