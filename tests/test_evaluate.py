"""`pggan evaluate`, and metrics while a generator trains."""

import json
import re
import signal

import numpy as np
import pytest
from PIL import Image

from pggan_tf.commands import cli
from pggan_tf.config import parsing, resolve
from pggan_tf.errors import UserError
from pggan_tf.metrics import METRICS, full_name
from pggan_tf.runs import generators
from pggan_tf.schedule import Part
from tests.conftest import TINY, pggan, run_folder, start, train
from tests.test_front_door import SCHEDULE, assert_same_run, final, in_mid_fade, only_run, refused, wait_for

MEASURING = ["--metrics", "swd,fid,recall", "--metrics-every", "700", "--metrics-images", "60", "--features", "random"]


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Portraits as arrays: two sets of 24 of one size, the second as 20 larger ones, one of one colour."""
    from pggan_tf.data import portraits

    folder = tmp_path_factory.mktemp("sets")
    faces = {name: [portraits.draw(i, size) for i in numbers] for name, size, numbers in (
        ("a", 16, range(24)), ("b", 16, range(24, 48)), ("large", 24, range(24, 44)))}  # fmt: skip
    for name, images in faces.items():
        np.savez(folder / f"{name}.npz", images=np.stack(images))
    np.savez(folder / "flat.npz", images=np.full((24, 16, 16, 3), 9, np.uint8))
    return folder


def evaluate(*arguments):
    return cli.main(["evaluate", *map(str, arguments)])


def test_every_metric_of_two_sets(sets, tmp_path):
    code, out, err = pggan(
        "evaluate", sets / "a.npz", sets / "b.npz", "--features", "random", "--json", tmp_path / "out" / "figures.json",
        "--metrics", ",".join(m for m in METRICS if m != "is"),
    )  # fmt: skip
    assert code == 0, err
    found = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert (found["resolution"], found["images"], found["features"]["name"]) == (16, 24, "random")
    assert set(found["metrics"]) == {full_name(m, "random") for m in METRICS if m != "is"}
    assert {"fid[random]", "precision[random]", "swd", "psnr", "time"} <= set(found["metrics"])
    for name, figure in found["metrics"].items():
        assert np.isfinite(figure["value"]) and re.search(rf"^{re.escape(name)} +-?\d", out, re.M), out
        metric = METRICS[name.partition("[")[0]]
        assert figure["images"] == 24 and (figure["better"], figure["unit"]) == (metric.better, metric.unit)
    assert found["metrics"]["swd"]["parts"].keys() == {"swd_16"}
    assert re.search(r"^psnr .*\d +dB +higher +24$", out, re.M) and re.search(r"^swd .*\d +x 1000 +lower", out, re.M)
    fid = found["metrics"]["fid[random]"]["caveats"]
    assert len(fid) == 3 and "too few" in fid[0] and "50,000 are usual" in fid[1] and "not on Inception" in fid[2]
    assert all(f"note: fid[random]: {c}" in out for c in fid[:2])


def test_a_set_against_itself(sets, tmp_path, capsys):
    json_file = tmp_path / "figures.json"
    names = "fid,kid,swd,psnr,precision"
    assert (
        evaluate(sets / "a.npz", sets / "a.npz", "--features", "random", "--metrics", names, "--json", json_file) == 0
    )
    assert "A and B are the same images" in capsys.readouterr().out
    figures = json.loads(json_file.read_text())["metrics"]
    for name in ("fid[random]", "kid[random]", "swd"):
        assert abs(figures[name]["value"]) < 1e-6
    assert figures["precision[random]"]["value"] == 1
    assert figures["psnr"]["value"] is None and "infinite" in figures["psnr"]["caveats"][-1]


def test_pictures_of_all_sizes(tmp_path, capsys):
    """One small picture does not bring all others to its size; cutting and resizing are said, and pairs are not spoilt by them."""
    rng = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(40):
            size = (8, 9) if i == 7 else (32, 40)
            Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(tmp_path / name / f"{i:02}.png")
    assert evaluate(tmp_path / "a", tmp_path / "b", "--metrics", "swd") == 0
    out = capsys.readouterr().out
    assert "32 px" in out and "pictures of 8 to 40 pixels a side, cut to squares and brought to 32 px by lanczos" in out
    assert "smaller ones are left out" in out
    assert evaluate(tmp_path / "a", tmp_path / "b", "--metrics", "psnr") == 2
    assert "not squares of one size" in capsys.readouterr().err


def test_metrics_of_one_set_see_its_colours_beside_a_gray_one(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "colour.npz", images=noise)
    np.savez(tmp_path / "gray.npz", images=noise.mean(-1).astype(np.uint8))
    found = []
    for real in ("gray", "colour"):
        file = tmp_path / f"{real}.json"
        sets = (tmp_path / f"{real}.npz", tmp_path / "colour.npz")
        assert evaluate(*sets, "--metrics", "colorfulness,swd", "--json", file) == 0
        found.append(json.loads(file.read_text())["metrics"]["colorfulness"]["value"])
    assert found[0] == found[1] > 20
    file = tmp_path / "floor.json"
    sets = (tmp_path / "colour.npz", tmp_path / "gray.npz")
    assert evaluate(*sets, "--metrics", "colorfulness", "--floor", "--json", file) == 0
    figure = json.loads(file.read_text())["metrics"]["colorfulness"]
    assert figure["value"] == 0 and figure["floor"]["value"] > 20


def test_large_photos_are_compared_at_1024_px_unless_in_pairs():
    from preprocessing import image_sets

    source = image_sets.ImageSource("photos", 2400, shapes=[(2400, 2400, 3)] * 9)
    size, (note,) = image_sets.choose_size([source], None, "lanczos", ["swd"])
    assert size == 1024 and "1024 px" in note
    assert image_sets.choose_size([source], None, "lanczos", ["psnr"])[0] == 2400
    assert image_sets.choose_size([source], 2000, "lanczos", ["swd"])[0] == 2000


def test_sets_of_unlike_size_and_the_floor(sets, tmp_path, capsys):
    """At the smaller size, with a note; halves of A are as large as the sets compared."""
    json_file = tmp_path / "figures.json"
    arguments = [
        "--metrics",
        "swd,fid,ms-ssim",
        "--features",
        "random",
        "--floor",
        "--filter",
        "bicubic",
        "--json",
        json_file,
    ]
    assert evaluate(sets / "large.npz", sets / "a.npz", *arguments) == 0
    out = capsys.readouterr().out
    assert "large.npz: 24 px, brought to 16 px by bicubic" in out and "floor" in out
    found = json.loads(json_file.read_text())
    assert (found["resolution"], found["images"]) == (16, 10)
    for figure in found["metrics"].values():
        assert figure["images"] == figure["floor"]["images"] == 10
    assert found["metrics"]["fid[random]"]["value"] > 0


@pytest.mark.parametrize(
    "b, arguments, words",
    [
        ("flat", ["swd"], ["flat.npz: every pixel .* is 9"]),
        ("large", ["psnr"], ["24 images", "20", "as many in both"]),
        ("b", ["psnr", "--floor"], ["--floor", "pairs"]),
        ("b", ["fdi"], ["fdi: not known; did you mean fid"]),
        ("b", ["is", "--features", "random"], ["give no classes"]),
        ("b", ["fid", "--inception-weights", "none.pb"], ["none.pb: no such file", "--features random"]),
        ("b", ["fid", "--inception-weights", "file:///none.tgz#sha256=12"], ["cannot be fetched"]),
        ("none", ["swd"], ["none.npz"]),
    ],
)  # fmt: skip
def test_refusals(sets, capsys, b, arguments, words):
    code = evaluate(sets / "a.npz", sets / f"{b}.npz", "--metrics", *arguments)
    refused((code, "", capsys.readouterr().err), *words)


def test_larger_portraits_than_are_drawn(sets, capsys):
    code = evaluate("portraits", sets / "a.npz", "--metrics", "swd", "--size", "512")
    refused((code, "", capsys.readouterr().err), "512 px: .* up to 256 px. For more, give photos: --data FOLDER.$")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run with metrics that nobody stopped."""
    code, out, err = train(*TINY, *SCHEDULE, *MEASURING, "--runs", tmp_path_factory.mktemp("runs"))
    assert code == 0, err
    return run_folder(out)


def lines(run):
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def figures(run):
    """What may not differ: all but how long it took."""
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines(run) if "metrics" in line]


def test_metrics_while_training(measured):
    found = figures(measured)
    # At multiples of 700 and at the ends of phases, from 8 px on: the stage of 4 ends at 800.
    assert [x["images"] for x in found] == [1400, 2104, 2400, 2800, 3200] and {x["resolution"] for x in found} == {8}
    for line in found:
        assert set(line["metrics"]) == {"swd", "fid[random]", "recall[random]"} and line["measured"] == 60
        assert set(line["details"]) == {"swd_8", "swd spread"}
        assert "60 images" in " ".join(line["caveats"]["fid[random]"]) and line["caveats"].keys() >= {"swd"}
    best = json.loads((measured / "best.json").read_text())
    whole = [x for x in found if x["images"] >= 2400]  # before, the last stage is still fading in
    expected = min(whole, key=lambda x: x["metrics"]["swd"])
    assert best == {"metric": "swd", "value": expected["metrics"]["swd"], "images": expected["images"], "resolution": 8}
    assert generators.load(measured / "best.keras").resolutions[-1] == 8
    assert "fid[random] " in (measured / "log.txt").read_text()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(measured / "tensorboard"))
    events.Reload()
    assert {"metrics/swd", "metrics/fid[random]", "loss_d"} <= {*events.Tags()["tensors"], *events.Tags()["scalars"]}


@pytest.mark.slow
def test_metrics_survive_a_kill(measured, tmp_path):
    process = start("train.py", *TINY, *SCHEDULE, *MEASURING, "--runs", tmp_path, "--checkpoint-minutes", "0.002")
    wait_for(process, lambda: in_mid_fade(only_run(tmp_path)))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    run = only_run(tmp_path)
    code, out, err = train("--resume", run)
    assert code == 0, err
    assert_same_run(measured, run)
    assert figures(run) == figures(measured)
    assert (run / "best.json").read_text() == (measured / "best.json").read_text()


@pytest.mark.slow
def test_metrics_change_no_weight(measured, tmp_path):
    code, out, err = train(*TINY, *SCHEDULE, "--runs", tmp_path)
    assert code == 0, err
    plain, ours = final(run_folder(out)), final(measured)
    assert plain.keys() == ours.keys() and all(np.array_equal(plain[k], ours[k]) for k in plain)


def test_a_run_is_evaluated(measured, tmp_path, capsys):
    """Against the data that it was trained on, out of the cache, and against its own best."""
    json_file = tmp_path / "figures.json"
    arguments = ["--metrics", "fid,swd,time", "--features", "random", "--images", "60", "--json", json_file]
    data = json.loads((measured / "environment.json").read_text())["dataset"]["folder"]
    assert evaluate(data, measured, *arguments) == 0
    assert json.loads(json_file.read_text())["resolution"] == 8
    assert evaluate(measured, measured, *arguments) == 0
    assert json.loads(json_file.read_text())["metrics"]["swd"]["value"] == 0
    assert evaluate("portraits", measured / "best.keras", *arguments) == 0
    capsys.readouterr()
    code = evaluate("portraits", measured, "--metrics", "ssim")
    refused((code, "", capsys.readouterr().err), "a generator makes others")


def test_metrics_take_their_share_of_the_minutes():
    from pggan_tf.training.planning import plan_for_minutes

    plan = resolve({"target_res": 16, "minutes": 20.0, "metrics": ("swd",), "metrics_every": {4: 5_000}})
    speeds = {Part(r, f, True): 1000 * 4 / r for r in (4, 8, 16) for f in (True, False)}
    costs = {4: 0.0, 8: 2.0, 16: 4.0}
    planned = plan_for_minutes(plan, speeds, 10.0, costs)
    training = sum(p.images / speeds[p.part] for p in planned.phases)
    expected = 20 * 60 * 0.97 - 10
    assert training + planned.metrics_seconds(costs) == pytest.approx(expected, rel=0.03)
    assert planned.metrics_seconds(costs) > 100
    seldom = plan_for_minutes(plan.replace(metrics_every=None), speeds, 10.0, costs)
    assert 60 < seldom.metrics_seconds(costs) < 150
    # Equally far apart in time: the last stage, which is slow, is not measured less than the others.
    assert seldom.config.measuring.metrics_every[8] == pytest.approx(
        2 * seldom.config.measuring.metrics_every[16], rel=0.01
    )
    cheap = plan_for_minutes(plan.replace(metrics_every=None), speeds, 10.0, {16: 0.1})
    assert cheap.config.measuring.metrics_every[16] == pytest.approx(expected / 40 * 250, rel=0.01)
    with pytest.raises(UserError, match="the metrics take most of it"):
        plan_for_minutes(plan, speeds, 10.0, {r: 500.0 for r in costs})


@pytest.mark.parametrize(
    "given, words",
    [
        ({"metrics": "psnr"}, "psnr: compares images that belong together"),
        ({"metrics": "swdd"}, "did you mean swd"),
        ({"metrics_images": 1}, "--metrics-images 1"),
        ({"metrics_every": 0}, "--metrics-every 0"),
    ],
)
def test_options_of_metrics_are_checked(given, words):
    with pytest.raises(UserError, match=words):
        resolve(parsing.parse_all(given))
    assert parsing.parse("metrics", "swd, fid") == ("swd", "fid")


def test_gray_pictures_are_gray_in_any_container(tmp_path, capsys):
    """The same images, the same figure: as an array, as pictures and as shards."""
    from pggan_tf.data import portraits

    gray = np.stack([portraits.draw(i, 16).mean(-1).astype(np.uint8) for i in range(12)])
    np.savez(tmp_path / "gray.npz", images=gray[..., None])
    (tmp_path / "gray").mkdir()
    for i, image in enumerate(gray):
        Image.fromarray(image).save(tmp_path / "gray" / f"{i:02}.png")
    assert cli.main(["prepare", str(tmp_path / "gray.npz"), str(tmp_path / "shards"), "--size", "16", "--gray"]) == 0
    found = []
    for b in ("gray.npz", "gray", "shards"):
        file = tmp_path / "figures.json"
        assert (
            evaluate("portraits", tmp_path / b, "--size", "16", "--images", "12", "--metrics", "swd", "--json", file)
            == 0
        )
        figures = json.loads(file.read_text())
        assert figures["notes"][-1] == "one set is gray: both are compared as gray"
        found.append(figures["metrics"]["swd"]["value"])
    assert found[0] == found[1] == found[2]


def test_size_and_colours_of_every_kind_of_picture_are_known_before(tmp_path):
    """Of a TIFF of floats too, which Pillow does not open; what cannot be read is left to those who say so."""
    import tifffile

    from preprocessing import image_sets

    tifffile.imwrite(tmp_path / "a.tif", np.zeros((6, 8, 3), np.float32), photometric="rgb")
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((5, 9), np.float32))
    tifffile.imwrite(
        tmp_path / "c.tif", np.zeros((5, 9, 2), np.uint16), photometric="minisblack", planarconfig="contig"
    )
    Image.new("L", (4, 3)).save(tmp_path / "d.png")
    Image.new("CMYK", (4, 3)).save(tmp_path / "e.jpg")
    (tmp_path / "f.jpg").write_bytes(b"no picture")
    assert image_sets.read_shapes(str(tmp_path), 0) == [(6, 8, 3), (5, 9, 1), (5, 9, 1), (3, 4, 1), (3, 4, 3)]


def test_a_place_that_cannot_be_written_is_found_out_first(sets, capsys):
    assert evaluate(sets / "a.npz", sets / "b.npz", "--metrics", "swd", "--json", "/proc/nowhere/x.json") == 2
    out, err = capsys.readouterr()
    assert "--json /proc/nowhere/x.json: cannot be written" in err and not out


def test_a_run_that_is_not_there_is_missed_as_a_run(tmp_path):
    code, _, err = pggan("evaluate", "portraits", tmp_path / "nothing", "--metrics", "swd", "--images", "8")
    assert code == 2 and f"{tmp_path / 'nothing'}: no such file or folder. Expected a run's folder" in err
