"""The benchmarks print their tables: in the smallest form that each has."""

import json
from pathlib import Path

import pytest

import benchmarks
from benchmarks import measure, quality, step
from pggan_tf import entry
from pggan_tf.training import precision
from tests.conftest import TINY, start


@pytest.mark.parametrize(
    "words, rows",
    [
        (("metrics", "--count", "64", "--resolution", "32"), ("swd: ", "64 images of 32 px twice")),
        pytest.param(
            ("separable", "--resolutions", "16", "--batch", "4", "--rounds", "1"),
            ("GFLOP a step", "float32"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("mobile", "--resolutions", "4", "--rounds", "3"),
            ("median time of one image", "standard", "separable", "dynamic", "int8", "ms LiteRT, 2 threads"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("scaling", "--resolution", "8", "--batch", "8", "--seconds", "0.1", "--step-ms", "38", "--devices", "1,8"),
            ("a step of 38 ms for 8 images", "devices  images per step", "communication"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("one_stage", "--resolutions", "32", "--forms", "1", "--rounds", "1", "--minutes", "0.03"),
            ("32  DCGAN  ", "second product", "minutes of training for each", "one-stage's"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda value: value[0],
)
def test_its_table_is_printed(words, rows, tmp_path):
    plot = ("--plot", tmp_path / "plot.png") if words[0] == "one_stage" else ()
    process = start("-m", f"benchmarks.{words[0]}", *words[1:], *plot)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    for row in rows:
        assert row in out, out
    assert not plot or (tmp_path / "plot.png").is_file()


def test_the_curves_of_quality(tmp_path, monkeypatch, capsys):
    """Of finished runs: what was measured at the last resolution, over minutes of training."""

    def trained(form, data, resolution, minutes, out):
        folder = out / data / form
        folder.mkdir(parents=True)
        lines = [{"seconds": 30, "images": 100, "resolution": 16, "metrics": {"swd": 9.0, "fid[random]": 9.0}}]
        lines += [{"seconds": 60, "images": 200, "resolution": 32, "loss_d": 1.0}]
        for seconds, swd in ((90, 5.0), (120, 7.5)):
            measured = {"swd": swd, "fid[random]": 2 * swd}
            lines += [{"seconds": seconds, "images": 1000 + seconds, "resolution": 32, "metrics": measured}]
        (folder / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return folder

    monkeypatch.setattr(quality, "trained", trained)
    arguments = ["--data", "a", "--data", "b", "--minutes", "3", "--out", str(tmp_path)]
    assert entry.main(quality.main, arguments) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["a", "default", "1,120", "7.5", "15", "5", "10"] in rows
    assert len([row for row in rows if row[0] in ("a", "b")]) == 2 * len(quality.FORMS)
    curves = json.loads((tmp_path / "quality.json").read_text())
    assert curves["b"]["paper"] == [[1.5, 1090, {"swd": 5.0, "fid[random]": 10.0}], [2.0, 1120, {"swd": 7.5, "fid[random]": 15.0}]]  # fmt: skip
    assert (tmp_path / "quality.png").stat().st_size > 10_000
    assert entry.main(quality.main, [*arguments[:2], *arguments[:2]]) == 2
    assert "folders of different names" in capsys.readouterr().err


@pytest.mark.slow
def test_quality_goes_on_where_it_stood(tmp_path, monkeypatch):
    small = dict(zip(TINY[::2], TINY[1::2])) | {"--fmap-base": "64", "--metrics-images": "32", "--batch": "8"}
    monkeypatch.setattr(quality, "FORMS", {"default": small})
    folder = quality.trained("default", "portraits", 8, 1.0, tmp_path)
    points = quality.curve(folder, 8)
    assert points and (folder / "generator.keras").is_file()
    assert quality.trained("default", "portraits", 8, 1.0, tmp_path) == folder
    assert quality.curve(folder, 8) == points
    with pytest.raises(quality.UserError, match="exit code 2"):
        quality.trained("default", "portraits", 8, 1.1, tmp_path)


def test_the_page_of_the_step():
    """31.1 images/s of 1 GFLOP each on 100 GFLOP/s are 31 %, and three times 10.4 of PyTorch."""
    ours = {"rate": 31.1, "work": 1.0, "share": 0.311}
    forms = {"ours, float32": ours | {"rate": 20.0, "share": 0.2}, "ours, --precision auto": ours}
    with_torch = forms | {name: {"rate": 10.4} for name in step.PEERS}
    page = step.markdown({64: with_torch, 128: forms}, "measured somewhere")
    assert "measured somewhere" in page
    rows = {row.split(" | ")[0]: row for row in page.splitlines() if row.startswith("| ")}
    assert "| 20.0 | 20% | 31.1 | 31% | 1.000 | 10.4 (2.99) | 10.4 (2.99) |" in rows["| 64"]
    assert rows["| 128"].count("not measured") == len(step.PEERS)


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
