"""Reports and comparisons, as a person sees them: in a browser."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from pggan_tf import report
from tests.conftest import TINY, pggan, run_folder, start, train
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
    report.write(copy)
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

    from pggan_tf.training import observers

    (copy / report.NAME).unlink()
    watcher, lines = observers.Report(), []
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
    monkeypatch.setattr(report, "MOST_GRIDS", 3)
    rng = np.random.default_rng(0)
    for old in copy.glob("fakes-*"):
        old.unlink()
    for i, resolution in enumerate((4, 8, 8, 8, 8)):
        noise = Image.fromarray(rng.integers(0, 256, (1100, 1100, 3), np.uint8))
        noise.save(copy / f"fakes-{i:06d}-{resolution}px-{10 * (i + 1)}.png", compress_level=1)
    text = report.write(copy).read_text()
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


def test_a_report_that_fails_does_not_end_a_run(copy):
    """Its template cannot be rendered: the run ends well and says so."""
    (copy / report.NAME).unlink()
    broken = (
        "import sys; from pggan_tf import cli, report\n"
        "def render(*a, **k): raise RuntimeError('no such luck')\n"
        "report._render = render; sys.exit(cli.main(sys.argv[1:]))"
    )
    process = start("-c", broken, "train", "--resume", copy)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and "no report could be written (RuntimeError: no such luck)" in out, err
    assert not (copy / report.NAME).exists()


@pytest.mark.parametrize(
    "number, text", [(999, "999"), (999_400, "999 k"), (999_700, "1 M"), (1_234_567, "1.23 M"), (0.5, "0.5")]
)
def test_numbers_are_short(number, text):
    assert report.short(number) == text


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
    from pggan_tf import synthesis

    generator = synthesis.load(run)
    assert report.read(run).parameters["generator"] == sum(int(np.prod(v.shape)) for v in generator.trainable_variables)


@pytest.mark.parametrize("seconds,text", [(7, "7 s"), (130, "2.2 min"), (3600, "60 min"), (7300, "2 h 02 min")])
def test_durations(seconds, text):
    assert report.duration(seconds) == text


def test_a_spike_does_not_flatten_a_plot():
    values = np.r_[np.linspace(0, 1, 500), 1e6]
    low, high = report._frame(values)
    assert -1 < low <= 0 and 1 <= high < 2
    assert report._frame(values[:-1]) is None


def test_skipped_steps_by_network_where_they_differ():
    assert report.skips(3, 3, 3) == "3" and report.skips(1200, 1200, 0) == "1,200 (G 1,200, D 0)"
