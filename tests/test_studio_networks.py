"""Play with networks for photos, the face nearest to a photo, the app and the code for a phone, in a real browser.

What the page shows is what the command that it names makes, and it is there again after a reload and in another server.
"""

import http.cookiejar
import io
import json
import re
import shlex
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

from pggan_tf.data import portraits
from tests.conftest import TINY, train
from tests.studio_window import DESKTOP, PHONE, Studio, opened, read_picture, settle

TINY_NETWORKS = ("--width", 4, "--portraits", 64, "--batch", 8, "--grid", 3, "--no-report", "--total-images", 64)


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A studio with a colorizer that takes hints, an enlarger and a generator, trained for a few seconds each."""
    folder = tmp_path_factory.mktemp("studio")
    runs = ("--runs", folder / "runs")
    for words in (
        ("--recipe", "colorize", "--target-res", 16, "--fmap-max", 8, *TINY_NETWORKS, *runs),
        ("--recipe", "srgan", "--target-res", 32, "--patch", 16, *TINY_NETWORKS, *runs),
        (*TINY, "--target-res", 8, "--total-images", 600, *runs),
    ):
        code, _, err = train(*words)
        assert code == 0, err
    one = Studio(folder).start()
    yield one
    one.close()


def name_run(studio, recipe):
    (found,) = studio.runs.glob(f"0*-{recipe}-*")
    return found.name


def draw_file(name, side=48, gray=False, seed=7):
    """A portrait as a file that a person chooses."""
    file = io.BytesIO()
    picture = Image.fromarray(portraits.draw(seed, side, 3))
    (picture.convert("L") if gray else picture).save(file, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": file.getvalue()}


def go_to(page, studio, run, part=""):
    """Open a part of Play, as a copied address does."""
    page.goto(f"http://127.0.0.1:{studio.port}/#play/{run}{f'?part={part}' if part else ''}")
    page.get_by_role("main", name="Play").wait_for()
    page.get_by_role("navigation", name="What to do with it").wait_for()


PSNR = re.compile("^PSNR .* where the search began")
AFTER = "What the network made of it"
READ_PIXELS = """alt => {
  const image = document.querySelector(`img[alt="${alt}"]`);
  const canvas = Object.assign(document.createElement("canvas"), { width: image.naturalWidth, height: image.naturalHeight });
  canvas.getContext("2d").drawImage(image, 0, 0);
  const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [[height, width, 4], [...data]];
}"""


def read_after(page):
    """The pixels of what the network made."""
    page.get_by_role("img", name=AFTER).wait_for(state="attached")
    settle(page)
    shape, pixels = page.evaluate(READ_PIXELS, AFTER)
    return np.reshape(pixels, shape)[..., :3].astype(np.uint8)


def run_shown_command(page, folder, photo):
    """Run the command that the page shows where the photo is, and return what it makes.

    In a process of its own, as a person would: in this one, which has trained, a value in some thousands was rounded otherwise.
    """
    (folder / photo["name"]).write_bytes(photo["buffer"])
    program, *words = shlex.split(page.locator(".command code").inner_text())
    out = folder / f"{len(list(folder.iterdir()))}.png"
    places = {photo["name"]: folder / photo["name"], "result.png": out}
    words = [str(places.get(word, word)) for word in words]
    done = subprocess.run([sys.executable, "-m", "pggan_tf", *words], capture_output=True, text=True, check=False)
    assert program == "pggan" and done.returncode == 0, done.stderr
    with Image.open(out) as made:
        return np.asarray(made.convert("RGB"))


@pytest.mark.slow
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_photo_is_coloured_with_a_hint_by_a_tap(browser, studio, viewport, tmp_path):
    run, photo = (
        name_run(studio, "colorize"),
        draw_file(f"gray {viewport['width']}.png", gray=True, seed=viewport["width"]),
    )
    with opened(browser, studio, viewport) as window:
        page = window.page
        go_to(page, studio, run)
        page.locator("input[type=file]").set_input_files(photo)
        plain = read_after(page)
        np.testing.assert_array_equal(plain, run_shown_command(page, tmp_path, photo))
        split = page.get_by_role("slider", name="Before and after")
        assert page.get_by_role("img", name="The photo before").is_visible()
        before = page.locator(".compare-view .before").evaluate("e => getComputedStyle(e).clipPath")
        split.press("ArrowRight")
        assert page.locator(".compare-view .before").evaluate("e => getComputedStyle(e).clipPath") != before
        page.get_by_role("switch", name="Give colours").check(force=True)
        box = page.get_by_role("group", name="The photo. Arrow keys move a place").bounding_box()
        page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.75 * box["height"])
        page.get_by_role("group", name="Which colour is it there?").get_by_role(
            "button", name="red", exact=True
        ).click()
        page.locator(".places i").wait_for(state="attached")
        page.wait_for_function("() => document.querySelector('.command code').textContent.includes('--hint ')")
        hint = re.search(r"--hint (\d+),(\d+)=#[0-9a-f]{6}", page.locator(".command code").inner_text())
        assert abs(int(hint[1]) - 12) <= 1 and abs(int(hint[2]) - 36) <= 1, "a quarter of 48, three quarters of 48"
        page.get_by_text("Working …").wait_for(state="hidden")
        red = read_after(page)
        assert (red != plain).any(), "the hint changes the picture"
        np.testing.assert_array_equal(red, run_shown_command(page, tmp_path, photo))
        kept = page.evaluate("new URLSearchParams(location.hash.split('?')[1]).get('made')")
        with Image.open(studio.runs / run / "studio" / kept / "after.png") as file:
            np.testing.assert_array_equal(np.asarray(file.convert("RGB")), red)
        assert (studio.runs / run / "studio" / kept / "before.png").read_bytes() == photo["buffer"]
        written = (studio.runs / run / "studio" / kept / "convert.json").stat().st_mtime_ns
        page.reload()
        np.testing.assert_array_equal(read_after(page), red)
        assert (studio.runs / run / "studio" / kept / "convert.json").stat().st_mtime_ns == written, "it is only shown"
        assert hint[0] in page.locator(".command code").inner_text()
        page.get_by_role("button", name="Take back").click()
        page.wait_for_function("() => !document.querySelector('.command code').textContent.includes('--hint')")
        page.get_by_text("Working …").wait_for(state="hidden")
        np.testing.assert_array_equal(read_after(page), plain)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0


@pytest.mark.slow
def test_a_photo_is_enlarged_and_found_again_and_removed(browser, studio, tmp_path):
    run, photo = name_run(studio, "srgan"), draw_file("small.png", side=20)
    with opened(browser, studio) as window:
        page = window.page
        go_to(page, studio, run)
        page.locator("input[type=file]").set_input_files(photo)
        large = read_after(page)
        assert large.shape == (80, 80, 3)
        np.testing.assert_array_equal(large, run_shown_command(page, tmp_path, photo))
        assert page.get_by_role("img", name="The photo before").is_visible()
        assert page.get_by_role("switch", name="Give colours").count() == 0
        with page.expect_download() as download:
            page.get_by_role("link", name="Save as PNG").click()
        assert download.value.suggested_filename == "small-upscale.png"
        np.testing.assert_array_equal(np.asarray(Image.open(download.value.path()).convert("RGB")), large)
        page.get_by_role("button", name="Another photo").click()
        page.get_by_text("Give it a small photo").wait_for()
        listed = page.get_by_role("region", name="Photos")
        listed.get_by_role("button", name="small.png").first.click()
        np.testing.assert_array_equal(read_after(page), large)
        listed.get_by_role("button", name="Remove small.png").click()
        page.get_by_role("dialog", name="Remove it?").get_by_role("button", name="Remove").click()
        listed.wait_for(state="hidden")
        assert not list((studio.runs / run / "studio").glob("convert-*"))


@pytest.mark.slow
def test_what_was_made_is_there_after_a_reload_and_in_another_server(browser, studio):
    """A projection by the page, a walk, and nearest photos; a job goes on while the page is elsewhere."""
    run = name_run(studio, "pggan")
    with opened(browser, studio) as window:
        page = window.page
        go_to(page, studio, run, "project")
        page.locator("input[type=file]").set_input_files(draw_file("me.png"))
        result = page.get_by_role("img", name="The photo, where the search began, and the nearest face")
        result.wait_for()
        said = page.get_by_text(PSNR).inner_text()
        triple = read_picture(page, result.get_attribute("src"))
        (kept,) = (studio.runs / run / "studio").glob("project-*")
        about = json.loads((kept / "project.json").read_text())
        assert about["name"] == "me.png" and f"{about['psnr']:.1f} dB" in said and about["psnr"] > about["psnr_before"]
        with Image.open(kept / "projection.png") as file:
            np.testing.assert_array_equal(np.asarray(file.convert("RGB")), triple)
        assert np.load(kept / "latent.npy").shape == (1, 8)
        go_to(page, studio, run, "walk")
        page.get_by_role("slider", name="Length").press("Home")
        page.get_by_role("button", name="Make the film").click()
        window.go("Watch")  # it goes on
        go_to(page, studio, run, "walk")
        films = page.get_by_role("region", name="Films")
        films.get_by_role("button", name="seeds 0-5, 2 s, 8 px").first.wait_for()
        window.down = True
        studio.kill()
        studio.start()
        page.goto(studio.address)
        window.down = False
        go_to(page, studio, run, "walk")
        films.get_by_role("button", name="seeds 0-5, 2 s, 8 px").first.click()
        film = page.get_by_label("A walk through seeds 0-5")
        film.wait_for()
        page.wait_for_function("() => document.querySelector('video').readyState >= 2")
        with page.expect_download() as download:
            films.get_by_role("link", name="Save seeds 0-5, 2 s, 8 px").click()
        (walk,) = (studio.runs / run / "studio").glob("walk-*/walk.mp4")
        assert download.value.path().read_bytes() == walk.read_bytes()
        page.reload()
        film.wait_for()  # the address names it
        go_to(page, studio, run, "project")
        page.get_by_role("region", name="Photos").get_by_role("button", name="me.png").first.click()
        result.wait_for()
        assert page.get_by_text(PSNR).inner_text() == said
        np.testing.assert_array_equal(read_picture(page, result.get_attribute("src")), triple)


def export(page, title):
    """Export by the button, and return what the page says then."""
    page.get_by_role("button", name=f"Export {title}").click()
    card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=title, exact=True))
    card.locator(".result").wait_for(timeout=600_000)
    return card


@pytest.mark.slow
def test_a_page_is_exported_and_a_phone_finds_it_by_its_code(browser, studio):
    """The code is read with OpenCV, as a camera would; it is there after a reload, and in another server."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    check_web()
    run = name_run(studio, "pggan")

    from export import lan
    from pggan_tf.errors import UserError

    try:
        lan.find_address()
    except UserError as reason:
        pytest.skip(str(reason))

    def read_code(page):
        code = page.locator("img.qr")
        code.wait_for()
        for _ in range(50):  # it may be drawn only now, or move with what is above it
            picture = np.asarray(Image.open(io.BytesIO(code.screenshot())).convert("RGB"))
            found, _, _ = cv2.QRCodeDetector().detectAndDecode(picture)
            if found:
                break
            page.wait_for_timeout(100)
        return found

    def fetch(address):
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        with urllib.request.build_opener(urllib.request.ProxyHandler({}), jar).open(address, timeout=20) as answer:
            return answer.read().decode()

    with opened(browser, studio) as window:
        page = window.page
        go_to(page, studio, run, "export")
        card = export(page, "Web page")
        said = card.locator(".result").inner_text()
        assert "Differs from Keras by" in said and "files," in said
        page.reload()
        card.locator(".result").wait_for()
        assert card.locator(".result").inner_text() == said
        page.get_by_role("button", name="Show the code").click()
        address = read_code(page)
        assert address == page.locator(".phone .address a").get_attribute("href") and "?key=" in address
        assert "<title>" in fetch(address)
        with pytest.raises(urllib.error.HTTPError):
            fetch(address.partition("?")[0])
        page.reload()
        assert read_code(page) == address
        window.down = True
        studio.kill()
        studio.start()
        page.goto(studio.address)
        window.down = False
        go_to(page, studio, run, "export")
        assert read_code(page) == address and "<title>" in fetch(address)
        assert card.locator(".result").inner_text() == said
        page.get_by_role("button", name="Stop").click()
        page.locator("img.qr").wait_for(state="hidden")
        with pytest.raises(OSError):
            fetch(address)


def check_web():
    """Skip where the page cannot be exported."""
    from export import web
    from pggan_tf.errors import UserError
    from pggan_tf.studio.choices import list_formats

    missing = {f["name"]: f["missing"] for f in list_formats()}["web"]
    if missing:
        pytest.skip(f"the page cannot be exported here: {missing}")
    try:
        web.fetch_runtime()
    except UserError as reason:
        pytest.skip(str(reason))


@pytest.mark.slow
def test_an_app_is_exported_with_its_name(browser, studio, tmp_path, monkeypatch):
    pytest.importorskip("cryptography", reason="cryptography is not installed (extra apk)")
    from tests import apk_verifier

    check_web()
    run = name_run(studio, "pggan")
    with opened(browser, studio) as window:
        page = window.page
        go_to(page, studio, run, "export")
        page.get_by_role("textbox", name="Name").fill("My faces")
        card = export(page, "Android app")
        with page.expect_download() as download:
            card.get_by_role("link", name="app.apk").click()
        data = download.value.path().read_bytes()
        assert data == (studio.runs / run / "studio" / "export" / "apk" / "app.apk").read_bytes()
        apk_verifier.verify(data, apk_verifier.V3)
        assert "My faces".encode("utf-16-le") in data or b"My faces" in data
        page.reload()
        card.get_by_role("link", name="app.apk").wait_for()
