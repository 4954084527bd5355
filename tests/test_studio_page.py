"""The page of the studio, in a real browser, as a person would spend the evening: what it shows is what files and commands say."""

import filecmp
import json
import os
import re
import shlex
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

import pggan_tf as pg
from tests.conftest import ROOT, pggan
from tests.studio_window import DESKTOP, PHONE, Studio, draw_photos, opened, read_picture, settle

PAGE = ROOT / "pggan_tf" / "studio" / "page"
BUILT = ("index.html", "studio.js", "studio.css")
PANELS = ("Photos", "Grow", "Watch", "Play", "Compare")
LARGEST = 60_000  # bytes of the page's script and styles, compressed
SECONDS = 120  # how long a training of a few thousand images of 8 pixels may take on a busy machine


@pytest.fixture
def studio(tmp_path):
    one = Studio(tmp_path, draw_photos(tmp_path / "Friends")).start()
    yield one
    one.close()


def test_the_committed_page_is_built_of_its_sources(tmp_path):
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: the page cannot be built again")
    for name in ("src", "package.json", "package-lock.json", "build.mjs", "tsconfig.json"):
        (shutil.copytree if (PAGE / name).is_dir() else shutil.copy)(PAGE / name, tmp_path / name)
    if (PAGE / "node_modules").is_dir():
        (tmp_path / "node_modules").symlink_to(PAGE / "node_modules")
    else:
        fetched = subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=tmp_path, capture_output=True, text=True)
        if fetched.returncode:
            pytest.skip(f"npm cannot fetch what builds the page: {fetched.stderr.strip().splitlines()[-1]}")
    for command in (["run", "check"], ["run", "build"]):
        done = subprocess.run([npm, *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    _, unlike, missing = filecmp.cmpfiles(PAGE, tmp_path, BUILT, shallow=False)
    assert not unlike and not missing, f"{unlike + missing}: run `npm ci && npm run build` in {PAGE.relative_to(ROOT)}"


def test_the_page_is_small_and_says_whose_code_it_holds():
    import gzip

    compressed = sum(len(gzip.compress((PAGE / name).read_bytes())) for name in BUILT)
    assert compressed < LARGEST
    lock = json.loads((PAGE / "package-lock.json").read_text())
    bundled = {
        n.removeprefix("node_modules/"): p["version"] for n, p in lock["packages"].items() if n and not p.get("dev")
    }
    licences = (PAGE / "LICENCES.txt").read_text()
    assert bundled and all(f"{name} {version}".lower() in licences.lower() for name, version in bundled.items())
    assert (
        "style=" not in (PAGE / "index.html").read_text() and "resolved" not in (PAGE / "package-lock.json").read_text()
    )


def test_an_empty_studio_says_what_to_do(browser, tmp_path):
    """Every panel by the keyboard, its place in the address, and light or dark."""
    studio = Studio(tmp_path).start()
    try:
        with opened(browser, studio) as window:
            page = window.page
            page.get_by_role("heading", name="Drop a folder of photos here").wait_for()
            assert "key=" not in page.url
            for panel, says in zip(
                PANELS[1:], ("What it learns", "Nothing has been grown yet", None, "Nothing to compare yet")
            ):
                page.keyboard.press(f"Alt+{PANELS.index(panel) + 1}")
                page.get_by_role("main", name=panel).wait_for()
                page.wait_for_function("name => document.title.startsWith(name)", arg=panel)
                assert page.url.endswith(f"#{panel.lower()}")
                if says:
                    page.get_by_role("heading", name=says).wait_for()
            page.go_back()
            page.get_by_role("main", name="Play").wait_for()
            page.get_by_role("button", name="Dark colours").click()
            dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
            page.reload()
            page.get_by_role("button", name="Light colours").wait_for()
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    finally:
        studio.close()


def choose_tiny_training(page, name, images, seed=None):
    """On Grow: 8 pixels, small networks, as many images as given, as a person would set them."""
    page.get_by_role("textbox", name="Name of the run").fill(name)
    page.get_by_role("radio", name="8", exact=True).check(force=True)
    page.get_by_role("slider", name="Time").press("End")
    options = page.get_by_role("region", name="Options")
    options.get_by_text(re.compile(r"\d+ more options")).click()
    for option, value in {"total images": images, "fmap base": 64, "fmap max": 16, "latent size": 8, "grid": 4}.items():
        field = options.get_by_label(option, exact=True)
        field.fill(str(value))
        field.blur()
    if seed is not None:
        options.get_by_label("seed", exact=True).fill(str(seed))
        options.get_by_label("seed", exact=True).blur()


@pytest.mark.slow
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_an_evening(browser, studio, viewport, tmp_path):
    """Photos, two trainings, a killed server, playing, export and comparison; figures are those of files and commands."""
    with opened(browser, studio, viewport) as window:
        page = window.page
        look_at_photos(window, studio, tmp_path)
        page.get_by_role("link", name=re.compile("^Grow on")).locator("visible=true").click()
        choose_tiny_training(page, "First", 1500)
        command = page.get_by_role("group", name="The command that does the same").first
        page.wait_for_function("() => document.querySelector('.command code')?.textContent.includes('--latent-size 8')")
        assert command.inner_text().startswith("pggan train --data") and "--total-images 1500" in command.inner_text()
        page.get_by_role("button", name="Grow", exact=True).locator("visible=true").click()
        page.get_by_role("main", name="Watch").wait_for()
        window.go("Grow")
        choose_tiny_training(page, "Second", 1200, seed=1)
        page.get_by_role("button", name="Grow", exact=True).locator("visible=true").click()
        page.get_by_text("Second").first.wait_for()
        first, second = watch_two_runs(window, studio)
        play(window, studio, first)
        compare(window, studio, first, second)


def look_at_photos(window, studio, tmp_path):
    """What is kept and left out is what `pggan prepare` says; a photo is cropped and left out by hand."""
    page = window.page
    page.get_by_role("button", name=re.compile(r"^All\s*\d")).wait_for()  # photos that come move what is below them
    settle(page)
    page.get_by_role("radio", name="32", exact=True).check(force=True)
    code, out, err = pggan("prepare", studio.photos, tmp_path / "shards", "--size", 32)
    assert code == 0, err
    report = json.loads((tmp_path / "shards" / "report.json").read_text())
    page.get_by_role("button", name=re.compile(rf"^All\s*{report['images_read']}$")).wait_for()
    page.get_by_role("button", name=re.compile(rf"^Kept\s*{report['kept']}$")).wait_for()
    page.get_by_role("button", name=re.compile(rf"^Left out\s*{sum(report['dropped'].values())}$")).click()
    for one in report["dropped_images"]:  # once the photos were looked at for the new size
        page.locator(".reasons").filter(has_text=one["why"]).wait_for()
        page.get_by_role("button", name=f"{one['name']}, left out").wait_for()
    page.get_by_role("button", name=re.compile("^Duplicates")).click()
    same = page.get_by_role("list", name="The same picture, 2 times")
    same.wait_for()
    assert same.get_by_role("listitem").count() == 2
    page.get_by_role("button", name=re.compile("^Kept")).click()
    page.get_by_role("button", name="summer/03.png, kept").click()
    dialog = page.get_by_role("dialog", name="summer/03.png")
    dialog.get_by_role("button", name="Crop by hand").click()
    cutter = dialog.get_by_role("group", name=re.compile("Cut-out"))
    before = cutter.get_attribute("aria-label")
    for key in ("-", "-", "-", "ArrowRight", "ArrowDown"):
        cutter.press(key)
    width, height, x, y = (int(n) for n in re.findall(r"\d+", cutter.get_attribute("aria-label")))
    assert cutter.get_attribute("aria-label") != before
    # By the pointer, too: its right lower corner, inwards.
    corner = cutter.locator(".x1.y1").bounding_box()
    middle = (corner["x"] + corner["width"] / 2 - 6, corner["y"] + corner["height"] / 2 - 6)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] - 40, middle[1] - 40, steps=4)
    page.mouse.up()
    smaller, _, left, top = (int(n) for n in re.findall(r"\d+", cutter.get_attribute("aria-label")))
    assert smaller < width and abs(left - x) <= 1 and abs(top - y) <= 1
    dialog.get_by_role("button", name="Use this part").click()
    page.get_by_role("button", name=re.compile("03.png, kept.*changed by hand"), include_hidden=True).wait_for(
        state="attached"
    )
    dialog.get_by_role("button", name="Close").click()
    (hand,) = studio.runs.glob(".studio/folders/*.hand.json")
    (changed,) = json.loads(hand.read_text()).values()
    assert changed == {"crop": [left, top, smaller, smaller], "left_out": False}
    page.get_by_role("button", name=re.compile("^All")).click()


def watch_two_runs(window, studio):
    """Two trainings, one after the other; the server is killed in the middle. Returns their names."""
    page = window.page
    page.get_by_role("navigation", name="Runs").get_by_role("link", name=re.compile("First")).click(
        timeout=1000 * SECONDS
    )
    page.get_by_text("Learning: pggan").wait_for(timeout=1000 * SECONDS)
    window.down = True
    studio.kill()
    page.get_by_text("The studio does not answer. Trainings go on").wait_for()
    worker = json.loads((studio.runs / ".studio" / "worker.json").read_text())
    os.kill(worker["pid"], 0)  # the training did not end with the server
    studio.start()
    page.get_by_text("The studio does not answer. Trainings go on").wait_for(state="hidden")
    window.down = False
    page.get_by_text("Done: pggan").wait_for(timeout=1000 * SECONDS)
    first = page.evaluate("decodeURIComponent(location.hash.split('/')[1].split('?')[0])")
    page.get_by_role("navigation", name="Runs").get_by_role("link", name=re.compile("Second.*done", re.S)).click(
        timeout=1000 * SECONDS
    )
    page.get_by_text("Done: pggan").wait_for()
    second = page.evaluate("decodeURIComponent(location.hash.split('/')[1].split('?')[0])")
    for name, title in ((first, "First"), (second, "Second")):
        page.get_by_role("navigation", name="Runs").get_by_role("link", name=re.compile(title)).click()
        page.get_by_role("article", name=title).wait_for()
        run = pg.load(studio.runs / name)
        figures = page.get_by_role("region", name="State").locator(".figures").inner_text()
        assert f"{run.images_seen:,}" in figures and "8 px" in figures
        newest = page.get_by_role("img", name=re.compile("Pictures made after"))
        assert f"after {run.images_seen:,} images, at 8 pixels" in newest.get_attribute("alt")
        shown = read_picture(page, newest.get_attribute("src"))
        np.testing.assert_array_equal(shown, np.asarray(run.grid().convert("RGB")))
    page.get_by_role("switch", name="Real photos beside").check(force=True)
    page.get_by_role("img", name=re.compile("Photos of the data")).wait_for()
    losses = page.get_by_role("group", name=re.compile("^Losses"))
    value = run.history["loss_d"][-1]
    assert f"discriminator {value:.3g}"[:17] in losses.get_attribute("aria-label")
    losses.focus()
    losses.press("ArrowLeft")
    losses.press("+")
    page.get_by_role("button", name="See all").first.click()
    return first, second


def play(window, studio, name):
    """Seeds and stages are those of Python; a slider gets a name; an export is compared with Keras."""
    page = window.page
    window.go("Play")
    page.get_by_role("combobox", name="Generator").select_option(name)
    settle(page)
    sheet = page.get_by_role("img", name="The faces of seeds 0-15")
    sheet.wait_for()
    generator = pg.load(studio.runs / name).generator
    save = page.get_by_role("link", name="Save as PNG")
    expected = np.asarray(generator.sample(seeds=range(16)).grid(4).convert("RGB"))
    np.testing.assert_array_equal(read_picture(page, save.get_attribute("href")), expected)
    *words, name_of_file = shlex.split(page.locator(".command code").inner_text())
    assert words[0] == "pggan" and name_of_file == "faces.png"
    code, _, err = pggan(*words[1:], studio.runs.parent / name_of_file)  # what is copied works in any folder
    assert code == 0, err
    with Image.open(studio.runs.parent / name_of_file) as drawn:
        np.testing.assert_array_equal(np.asarray(drawn.convert("RGB")), expected)
    page.get_by_role("button", name="Seed 5 alone").click()
    page.get_by_role("img", name="The face of seed 5").wait_for()
    page.get_by_role("radio", name="4", exact=True).last.check(force=True)
    page.wait_for_function("() => location.hash.includes('stage=4')")
    settle(page)
    assert (
        "pggan generate" in page.locator(".command code").inner_text()
        and "--stage 4" in page.locator(".command code").inner_text()
    )
    page.get_by_role("slider", name="Slider 1").press("ArrowRight")
    rename = page.get_by_role("textbox", name="Name of slider 1")
    rename.fill("smile")
    rename.blur()
    page.get_by_role("slider", name="smile").wait_for()
    assert pg.load(studio.runs / name).generator.sliders[0].name == "smile"
    settle(page)
    page.get_by_role("navigation", name="What to do with it").get_by_role("link", name="Morph").click()
    page.get_by_role("img", name="50 % of the way from seed 5 to 6").wait_for()
    page.get_by_role("navigation", name="What to do with it").get_by_role("link", name="Nearest photos").click()
    page.get_by_role("button", name="Find the nearest photos").click()
    page.get_by_role("img", name=re.compile("training photos nearest to it")).wait_for()
    page.get_by_role("navigation", name="What to do with it").get_by_role("link", name="Walk").click()
    page.get_by_role("slider", name="Length").press("Home")
    page.get_by_role("button", name="Make the film").click()
    page.get_by_label("A walk through seeds 0-5").wait_for()
    page.get_by_role("navigation", name="What to do with it").get_by_role("link", name="Export").click()
    page.get_by_role("button", name="Export Keras").click()
    page.get_by_text(re.compile(r"^\d+ files, ")).click()
    link = page.get_by_role("link", name="generator.keras")
    with page.expect_download() as download:
        link.click()
    assert download.value.path().stat().st_size > 1000


def compare(window, studio, first, second):
    """The table is that of `pggan compare`."""
    page = window.page
    window.go("Compare")
    page.get_by_role("region", name="What differs").last.wait_for()
    code, out, err = pggan(
        "compare", studio.runs / second, studio.runs / first, "--out", studio.runs.parent / "compare.html"
    )
    assert code == 0, err
    copied = shlex.split(page.locator(".command code").last.inner_text())
    assert copied[:2] == ["pggan", "compare"] and set(copied[2:4]) == {
        str(studio.runs / first),
        str(studio.runs / second),
    }
    printed = {
        re.split(r"\s{2,}", line.strip())[0]: re.split(r"\s{2,}", line.strip())[1:]
        for line in out.splitlines()
        if "  " in line
    }
    shown = 0
    for row in page.locator("tbody tr").all():
        head, *cells = (cell.replace(" (best)", "") for cell in row.locator("th, td").all_inner_texts())
        if head in printed:
            assert cells == printed[head], (head, cells, printed[head])
            shown += 1
    assert shown >= 2, out
    assert page.get_by_role("rowheader", name="--seed").count() == 1
    page.get_by_role("radio", name="minutes").check(force=True)
    assert page.get_by_role("img", name=re.compile("Faces of (First|Second)")).count() == 2
