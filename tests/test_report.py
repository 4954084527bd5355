"""Reports and comparisons, as a person sees them: in a browser."""

import html
import json
import re
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pggan_tf import report, terminal
from pggan_tf.config import parsing
from pggan_tf.report import embedding, pages, plots, runs, tables, words
from pggan_tf.runs import records
from tests.conftest import TINY, change_config, pggan, run_folder, start, train
from tests.test_front_door import refused

SCHEDULE = [
    "--target-res",
    "8",
    "--fade-images",
    "160",
    "--stable-images",
    "160",
    "--batch",
    "8",
    "--snapshot-images",
    "80",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run with its report, and two lines of metrics."""
    code, out, err = train(*TINY, *SCHEDULE, "--conditional", "--report", "--runs", tmp_path_factory.mktemp("runs"))
    assert code == 0, err
    assert "no report" not in out and "report: " in out, out
    return run_folder(out)


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "<copy> & run")


def measured(run, *values):
    with (run / "stats.jsonl").open("a") as file:
        for i, value in enumerate(values):
            line = {"images": 100 * (i + 1), "seconds": 1.5 * i, "resolution": 8, "metrics": {"fid[random]": value}}
            line |= {"measured": 120, "caveats": {"fid[random]": ["120 images, 50,000 are usual"]}}
            file.write(json.dumps(line) + "\n")
        file.write('{"images": 12')  # the line that is being written


def test_a_report_is_written_when_training_ends(run, page):
    page.goto((run / report.NAME).as_uri())
    assert page.inner_text("h1") == run.name
    text = page.inner_text("main")
    assert "Recipe pggan on portraits (120 images) to 8 px: 480 images shown" in text
    headings = page.locator("h2").all_inner_texts()
    assert {"Growth", "Between two images", "Nearest training images", "Losses", "Plan", "Environment"} <= set(headings)
    plan = [row.split("\t")[:3] for row in page.locator("table").first.inner_text().splitlines()]
    assert plan[1:] == [["4px stable", "0", "160"], ["8px fade", "160", "160"], ["8px stable", "320", "160"]]
    assert "--conditional" in text and "pggan evaluate" in text
    # What D says and what it loses, each with a curve for both sides.
    assert page.locator(".plot").count() >= 2 and page.locator(".plot svg path").count() > 20
    assert page.get_by_role("img", name=re.compile("^Losses, over images shown: discriminator from")).is_visible()
    assert page.locator("img:not([alt])").count() == 0
    assert all(page.evaluate("[...document.images].map(i => i.naturalWidth > 0)"))


def test_the_slider_goes_by_keyboard(run, page):
    page.goto((run / report.NAME).as_uri())
    slider, grids = page.get_by_role("slider", name="moment of training"), len(list(run.glob("fakes-*")))
    shown = page.locator(".slides li.shown figcaption")
    assert shown.all_inner_texts() == ["8 px, 480 images"] and grids > 4
    slider.focus()
    page.keyboard.press("Home")
    assert shown.all_inner_texts() == ["4 px, 80 images"] == [slider.get_attribute("aria-valuetext")]
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="later").press("Enter")
    assert shown.all_inner_texts() == ["8 px, 240 images, the new stage at 50%"]
    page.get_by_role("button", name="earlier").click()
    assert page.locator(".slides li:visible").count() == 1


def test_without_scripts_the_grids_are_a_list(run, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((run / report.NAME).as_uri())
    assert page.locator(".slides li:visible").count() == len(list(run.glob("fakes-*")))
    assert page.locator("input:visible, button:visible").count() == 0
    context.close()


def test_phones_and_the_dark(run, page):
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto((run / report.NAME).as_uri())
    colours = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        colours.append(page.evaluate("""() => {
            const style = (selector, name) => getComputedStyle(document.querySelector(selector))[name];
            const curve = [...document.querySelectorAll('.plot path')].find(p => p.style.stroke.includes('curve-0'));
            return [style('body', 'backgroundColor'), style('body', 'color'), getComputedStyle(curve).stroke];
        }"""))  # fmt: skip
    light, dark = colours
    assert all(a != b for a, b in zip(light, dark)), "plots change with the page"


def test_metrics_over_images_and_time(copy, page):
    measured(copy, 300.0, 200.0)
    pages.write_report(copy)
    page.goto((copy / report.NAME).as_uri())
    assert page.inner_text("h1") == "<copy> & run"
    assert page.get_by_role(
        "img", name="fid[random], lower is better, over images shown: fid[random] from 300 to 200."
    ).is_visible()
    assert page.get_by_role("img", name=re.compile("over minutes: fid.random. from 300 to 200")).is_visible()
    assert "fid[random], last" in page.inner_text("dl") and "None were measured" not in page.inner_text("main")
    assert "added when training ends" in page.inner_text("main"), "without its generator there is no walk"


def test_it_is_refreshed_while_little_time_goes_into_it(copy):
    from types import SimpleNamespace

    from pggan_tf.training import callbacks

    (copy / report.NAME).unlink()
    watcher, lines = callbacks.ReportWriter(), []
    run = SimpleNamespace(folder=copy, log=lines.append, done=False)
    watcher.begin(run)
    watcher.snapshot(run)
    assert not (copy / report.NAME).exists(), "training has just begun"
    watcher.written_at -= 1000
    watcher.snapshot(run)
    text = (copy / report.NAME).read_text()
    assert "added when training ends" in text and not lines
    (copy / report.NAME).unlink()
    watcher.snapshot(run)
    assert not (copy / report.NAME).exists(), "it was written a moment ago"
    watcher.end(run)
    text = (copy / report.NAME).read_text()
    assert "added when training ends" in text and not lines, "one that was stopped has its report, without pictures"


def test_large_grids_stay_small(copy, monkeypatch):
    """Noise is what compresses worst. Of more grids than are shown, the first and the last are among them."""
    monkeypatch.setattr(embedding, "MOST_GRIDS", 3)
    rng = np.random.default_rng(0)
    for old in copy.glob("fakes-*"):
        old.unlink()
    for i, resolution in enumerate((4, 8, 8, 8, 8)):
        noise = Image.fromarray(rng.integers(0, 256, (1100, 1100, 3), np.uint8))
        noise.save(copy / f"fakes-{i:06d}-{resolution}px-{10 * (i + 1)}.png", compress_level=1)
    text = pages.write_report(copy).read_text()
    assert "3 of 5 grids" in text and text.count("<li><figure>") == 3
    assert "4 px, 10 images" in text and "8 px, 50 images" in text
    sizes = [len(uri) for uri in re.findall('data:image/webp;base64,[^"]*', text)]
    assert len(sizes) == 6 and max(sizes) < 15e6 / 64, "with 60 grids, the first, the last and reals below 15 MB"


def test_a_run_that_has_just_begun(copy):
    (copy / "stats.jsonl").unlink()
    for file in [*copy.glob("fakes-*"), copy / "reals.png", copy / "generator.keras"]:
        file.unlink()
    shutil.rmtree(copy / "checkpoints")
    code, out, err = pggan("report", copy)
    assert code == 0 and "Nothing was recorded yet" in (copy / report.NAME).read_text(), err


def test_data_that_is_gone_is_said(copy, tmp_path):
    environment = json.loads((copy / "environment.json").read_text())
    environment["dataset"]["folder"] = str(tmp_path / "gone")
    (copy / "environment.json").write_text(json.dumps(environment))
    code, out, err = pggan("report", copy, "--out", tmp_path / "sub" / "r.html")
    assert code == 0 and "without the nearest training images" in err and "gone" in err
    text = (tmp_path / "sub" / "r.html").read_text()
    assert "Between two images" in text and "Nearest training images" not in text
    refused(pggan("report", copy, "--data", tmp_path / "gone"), "gone: no manifest.json")
    (copy / "generator.keras").write_text("of another version")
    code, out, err = pggan("report", copy)
    assert code == 0 and "without pictures from its generator" in err and (copy / report.NAME).is_file()
    refused(pggan("report", tmp_path), "no config.json, so not a run's folder")


@pytest.mark.slow
def test_a_report_that_fails_does_not_end_a_run(copy):
    """Its template cannot be rendered: the run ends well and says so."""
    (copy / report.NAME).unlink()
    broken = (
        "import sys; from pggan_tf.report import pages; from pggan_tf.commands import cli\n"
        "def render(*a, **k): raise RuntimeError('no such luck')\n"
        "pages._render = render; sys.exit(cli.main(sys.argv[1:]))"
    )
    process = start("-c", broken, "train", "--resume", copy)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and "no report could be written (RuntimeError: no such luck)" in out, err
    assert not (copy / report.NAME).exists()


@pytest.mark.parametrize(
    "number, text", [(999, "999"), (999_400, "999 k"), (999_700, "1 M"), (1_234_567, "1.23 M"), (0.5, "0.5")]
)
def test_numbers_are_short(number, text):
    assert words.format_number(number) == text


def test_compare(run, copy, tmp_path, page):
    measured(copy, 300.0, 100.0)
    out = tmp_path / "compare.html"
    code, text, err = pggan("compare", run, copy, "--out", out)
    assert code == 0, err
    for row in ("parameters of G", "spread of D's loss", "steps skipped", "images/s", "fid[random], lower is better"):
        assert row in text
    page.goto(out.as_uri())
    assert page.inner_text("h1") == "2 runs compared"
    table = [row.split("\t") for row in page.locator("table").first.inner_text().splitlines()]
    assert ["images shown", "480", "480"] in table and ["fid[random], lower is better", "-", "100"] in table
    assert ["measured on", "-", "120 at 8 px"] in table and f"note: fid[random] of {copy.name}: 120 images" in text
    assert f"Note: fid[random] of {copy.name}: 120 images" in page.inner_text("body")
    assert page.locator(".plot").count() == 6, "four of the losses, the metric over images and time"
    page.get_by_role("slider").press("Home")
    assert page.locator(".slides li.shown figcaption").all_inner_texts() == ["4 px, 80 images"] * 2
    classes = page.get_by_role("img", name=re.compile("from the top: black, black.glasses"))
    assert classes.count() == 2
    twin = tmp_path / "other" / copy.name
    shutil.copytree(copy, twin)
    code, _, err = pggan("compare", copy, twin, "--out", out)
    page.goto(out.as_uri())
    shown = page.locator("table").first.inner_text()
    assert code == 0 and f"{tmp_path.name}/{copy.name}" in shown and f"other/{copy.name}" in shown, err
    refused(pggan("compare", run), "1 run: give 2 to")
    refused(pggan("compare", run, run), "given twice")
    refused(pggan("compare", run, tmp_path), "not a run's folder")
    refused(pggan("compare", run, copy, "--out", "x.pdf"), "--out x.pdf")


def test_parameters_are_those_that_are_trained(run):
    from pggan_tf.runs import generators

    generator = generators.load(run)
    assert runs.read_run(run).parameters["generator"] == sum(
        int(np.prod(v.shape)) for v in generator.trainable_variables
    )


@pytest.mark.parametrize("seconds,text", [(7, "7 s"), (130, "2.2 min"), (3600, "60 min"), (7300, "2 h 02 min")])
def test_durations(seconds, text):
    assert terminal.format_duration(seconds) == text


def test_a_spike_does_not_flatten_a_plot():
    values = np.r_[np.linspace(0, 1, 500), 1e6]
    low, high = plots._limit(values)
    assert -1 < low <= 0 and 1 <= high < 2
    assert plots._limit(values[:-1]) is None


def test_skipped_steps_by_network_where_they_differ():
    assert words.format_skips(3, 3, 3) == "3" and words.format_skips(1200, 1200, 0) == "1,200 (G 1,200, D 0)"


def environment_of(run, **changes):
    path = run / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_no_folder_of_the_machine_is_told(copy, run, tmp_path):
    """Of data, weights and the command line the last name is shown; the config stands there once."""
    home = "/home/jane doe/private"
    config = change_config(
        copy,
        data=f"pairs:{home}/cats and dogs",
        inception_weights=f"{home}/inception.pb",
        vgg_weights="https://u:pw@host/vgg.npz?k=1",
    )
    dataset = {
        "folder": f"{home}/.cache/x",
        "source": f"{home}/cats and dogs",
        "images": 120,
        "checksum": "c",
        "classes": [],
    }
    environment_of(
        copy, dataset=dataset, asked=config, command=["train.py", f"--data={home}/cats and dogs", "--runs", home]
    )
    (copy / "generator.keras").unlink()
    shutil.rmtree(copy / "checkpoints")
    code, _, err = pggan("report", copy, "--out", tmp_path / "r.html")
    assert code == 0, err
    code, _, err = pggan("compare", copy, run, "--out", tmp_path / "c.html")
    assert code == 0, err
    for page in ("r.html", "c.html"):
        text = (tmp_path / page).read_text()
        assert not re.findall(rf"jane|u:pw|k=1|[\"'> ]/(?:home|root|tmp)|{re.escape(str(tmp_path))}", text)
    text = (tmp_path / "r.html").read_text()
    assert "on cats and dogs (120 images)" in text and "--data=cats and dogs --runs private" in text
    assert "pairs:cats and dogs" in text and "vgg.npz" in text
    assert text.count("lsgan_targets") == 1 and "<details><summary>The whole config.json" in text


@pytest.mark.parametrize(
    "text, shown",
    [
        ("/home/jane/photos", "photos"),
        ("--data=/home/jane doe/photos", "--data=photos"),
        ("pairs:/a/b", "pairs:b"),
        ("s3://bucket/x/y.zip?sig=1", "y.zip"),
        ("file:///home/x/y", "y"),
        (r"C:\Users\Jane\photos", "photos"),
        (r"\\server\share\photos", "photos"),
        ("~/photos", "photos"),
        ("../x/photos/", "photos"),
        ("photos/cats", "photos/cats"),
        ("4=0.004,8=0.3", "4=0.004,8=0.3"),
        ("/", "/"),
        ({"a": ["/x/y", 1, None]}, {"a": ["y", 1, None]}),
    ],
)
def test_of_a_place_the_last_name_is_told(text, shown):
    assert records.remove_places(text) == shown


def line(images, **figures):
    return json.dumps({"images": images, "seconds": 1.5, "resolution": 8} | figures) + "\n"


def test_what_cannot_be_read_is_left_out_and_counted(copy, page):
    tick = {"loss_d": 1.0, "loss_g": 2.0}
    (copy / "stats.jsonl").write_bytes(
        (
            line(80, **tick, images_per_second=None)
            + "[1, 2]\n" + '"text"\n' + "{\n" + '{"loss_d": 1}\n' + line("many", **tick) + line(-4, **tick) + line(True, **tick)
            + line(160, loss_d=float("nan"), loss_g=3.0, skipped_total="none")
            + line(240, **tick, logit_real=float("inf"))
            + line(240, metrics={"fid[random]": float("nan"), "kid[random]": "low", "swd": 7.5}, caveats=[], details=3)
            + line(240, metrics=None)
        ).encode()
        + b"\xff\xfe\n" + b'{"images": 12'
    )  # fmt: skip
    for grid in sorted(copy.glob("fakes-*"))[:2]:
        grid.write_bytes(grid.read_bytes()[:90])
    (copy / "reals.png").write_bytes(b"no picture")
    (copy / "generator.keras").unlink()
    shutil.rmtree(copy / "checkpoints")
    code, _, err = pggan("report", copy)
    assert code == 0, err
    page.goto((copy / report.NAME).as_uri())
    text = page.inner_text("main")
    assert "8 lines of stats.jsonl say nothing and are left out" in text
    assert "2 of them cannot be read and are left out" in text and "images it was trained on" not in text
    assert "swd, last" in text and "7.5" in text and "fid[random], last" not in text
    assert page.get_by_role(
        "img", name="Losses, over images shown: discriminator from 1 to 1; generator from 2 to 2."
    ).is_visible()


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '"a"', b"\xff", "[" * 100_000])
def test_an_environment_that_is_none_is_one_line(copy, run, text, tmp_path):
    (copy / "environment.json").write_bytes(text.encode() if isinstance(text, str) else text)
    refused(pggan("report", copy), "environment.json")
    refused(pggan("compare", run, copy, "--out", tmp_path / "c.html"), "environment.json")


@pytest.mark.slow
def test_an_environment_of_another_version(copy, run, tmp_path):
    """Whatever is missing or of another kind is not shown; the rest is."""
    (copy / "generator.keras").unlink()
    shutil.rmtree(copy / "checkpoints")
    for held in (
        {},
        {"dataset": None},
        {"dataset": {"source": 3, "images": "many", "classes": {"a": 1}}, "packages": [], "command": 7},
    ):
        (copy / "environment.json").write_text(json.dumps(held))
        code, _, err = pggan("report", copy)
        assert code == 0 and "on data that is not known (unknown many images)" in (copy / report.NAME).read_text(), err
        code, out, err = pggan("compare", run, copy, "--out", tmp_path / "c.html")
        assert code == 0 and "data that is not known" in out, err
    environment_of(run_without_data := copy, dataset={})
    (run_without_data / "generator.keras").write_text("there")
    code, _, err = pggan("report", run_without_data)
    assert code == 0 and "does not say where its data are" in err


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["fid", "swd", "x", "source", "images"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
KEYS = [
    "images",
    "seconds",
    "resolution",
    "loss_d",
    "loss_g",
    "penalty",
    "images_per_second",
    "skipped_total",
    "metrics",
    "details",
    "caveats",
    "measured",
]


@pytest.mark.slow
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.dictionaries(st.sampled_from(KEYS), values) | values, max_size=6),
    held=st.dictionaries(st.sampled_from(["dataset", "packages", "command", "asked", "gpus", "x"]), values),
    cut=st.integers(0, 3),
)
def test_nothing_that_a_run_wrote_ends_in_a_traceback(bare, monkeypatch, lines, held, cut):
    """Pages are written whatever stats.jsonl and environment.json hold. (Of plots only that they can be made: drawing takes long.)"""
    monkeypatch.setattr(plots, "_inline", lambda svg: "")
    good = {"images": 8, "seconds": 1.0, "loss_d": 1.0}
    text = "\n".join(json.dumps(good | x if isinstance(x, dict) and i % 2 else x) for i, x in enumerate(lines))
    (bare / "stats.jsonl").write_text(text[: len(text) - cut])
    (bare / "environment.json").write_text(json.dumps(held))
    pages.write_report(bare)
    read = runs.read_run(bare)
    pages.write_comparison([read, read], bare / "compare.html", {})
    tables.find_best([read, read])


@pytest.fixture(scope="module")
def bare(run, tmp_path_factory):
    """A run without pictures and checkpoints."""
    folder = tmp_path_factory.mktemp("bare")
    shutil.copy(run / "config.json", folder)
    return folder


def metric_lines(run, *values, resolution=8, measured=120):
    with (run / "stats.jsonl").open("a") as file:
        for i, (r, value) in enumerate(values):
            figures = {"metrics": {"fid[random]": value, "is[random]": value}, "measured": measured}
            file.write(line(100 * (i + 1), **figures | {"resolution": r}))


def test_a_line_of_distances_ends_where_the_resolution_changes():
    assert [x.tolist() for x, _ in plots.Curve("a", [1, 2, 3, 4], [1, np.nan, 3, 4], [8, 8, 8, 16]).split()] == [
        [1, 3],
        [4],
    ]
    assert [x.tolist() for x, _ in plots.Curve("a", [1, 2, 3], [1, 2, np.inf]).split()] == [[1, 2]]
    joined = plots.draw_plot("t", [plots.Curve("a", [1, 2, 3, 4], [9, 8, 2, 1])], plots.IMAGES)
    broken = plots.draw_plot("t", [plots.Curve("a", [1, 2, 3, 4], [9, 8, 2, 1], [8, 8, 16, 16])], plots.IMAGES)
    lines = [len(re.findall(r"stroke: var\(--curve-0\); stroke-width: 2", p.svg)) for p in (joined, broken)]
    assert lines == [1, 2] and not joined.note and "where the resolution changes" in broken.note


def test_the_best_of_runs_that_were_measured_alike_is_marked(run, tmp_path, page):
    copies = [shutil.copytree(run, tmp_path / name) for name in ("a", "b", "c")]
    metric_lines(copies[0], (8, 30.0))
    metric_lines(copies[1], (4, 5.0), (8, 20.0))
    metric_lines(copies[2], (4, 1.0))
    out = tmp_path / "c.html"
    code, text, err = pggan("compare", *copies, "--out", out)
    assert code == 0, err
    page.goto(out.as_uri())
    table = [row.split("\t") for row in page.locator("table").first.inner_text().splitlines()]
    assert ["fid[random], lower is better", "30", "20 (best)", "1"] in table
    assert ["is[random], higher is better", "30 (best)", "20", "1"] in table
    assert "20 (best)" in text and "among runs measured alike" in page.inner_text("main")
    assert "where the resolution changes" in page.inner_text("main")


def test_pictures_fill_a_wide_page(run, page):
    page.goto((run / report.NAME).as_uri())
    right = "e => e.getBoundingClientRect().right"
    edge = page.locator("main").evaluate(right)
    for section in (".three figure:last-child img", ".grown li.shown img", "img[alt^=Between]", "img[alt^=Nearest]"):
        assert page.locator(section).first.evaluate(right) == pytest.approx(edge, abs=2), section


def test_the_config_of_a_page_can_be_given_again(run):
    text = (run / "report.html").read_text()
    held = html.unescape(re.search(r"without folders</summary><pre[^>]*>(.*?)</pre>", text, re.DOTALL)[1])
    shown, written = parsing.from_json(json.loads(held)), parsing.read(run / "config.json")
    assert (shown.version, shown.config.networks) == (written.version, written.config.networks)
    assert shown.asked.keys() == written.asked.keys()
