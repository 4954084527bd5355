"""The page of the studio for people who use a keyboard or a screen reader, with two windows, and when something is refused."""

import json
import re
import time

import numpy as np
import pytest
from PIL import Image

from pggan_tf import files

pytest.importorskip("fastapi", reason="fastapi is not installed (extra serve)")
from pggan_tf.studio import folders, made, store
from pggan_tf.studio.queue import Queue
from tests.conftest import TINY, train
from tests.studio_stand import put_nvidia_smi, write_run
from tests.studio_window import PHONE, Studio, draw_photos, opened, read_picture, settle


@pytest.fixture
def studio(tmp_path):
    one = Studio(tmp_path, draw_photos(tmp_path / "Friends")).start()
    yield one
    one.close()


@pytest.mark.slow
def test_the_way_by_keyboard_alone(browser, studio):
    """From the first Tab to a queued training, without a pointer, and always with a visible focus."""
    with opened(browser, studio) as window:
        page = window.page
        settle(page)

        def tab_to(role, name, most=160):
            for _ in range(most):
                page.keyboard.press("Tab")
                here = page.evaluate_handle("document.activeElement")
                outline = page.evaluate(
                    "() => { const e = document.activeElement; const near = [e, e.nextElementSibling, e.closest('label, .button')].filter(Boolean);"
                    " return e === document.body || near.some(n => parseFloat(getComputedStyle(n).outlineWidth) > 0 && getComputedStyle(n).outlineStyle !== 'none') }"
                )
                assert outline, page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
                if page.get_by_role(role, name=name).evaluate_all("(all, here) => all.includes(here)", here):
                    return
            raise AssertionError(f"{role} {name} was not reached")

        tab_to("link", "Skip to the panel")
        page.keyboard.press("Enter")
        tab_to("link", re.compile(r"^Grow on"))
        page.keyboard.press("Enter")
        page.get_by_role("main", name="Grow").wait_for()
        tab_to("textbox", "Name of the run")
        page.keyboard.type("By keys")
        tab_to("radio", re.compile("^Grow Grows"))
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
        tab_to("slider", "Time")
        page.keyboard.press("Home")
        page.wait_for_function("() => location.hash.includes('minutes=1')")
        page.locator(".plan .headline").wait_for()
        tab_to("button", "Grow")
        page.keyboard.press("Enter")
        page.get_by_role("main", name="Watch").wait_for()
        page.get_by_text("By keys").first.wait_for()
        page.keyboard.press("Alt+4")
        page.get_by_role("main", name="Play").wait_for()


@pytest.mark.slow
def test_two_windows_stay_in_step(browser, studio):
    """What one window changes, the other one shows without being asked."""
    with opened(browser, studio) as one, opened(browser, studio, PHONE) as other:
        for window in (one, other):
            window.page.get_by_role("button", name=re.compile("^Kept")).click()
        one.page.get_by_role("button", name="summer/06.png, kept").click()
        one.page.get_by_role("switch", name="Leave it out").check(force=True)
        other.page.get_by_role("button", name="summer/06.png, kept").wait_for(state="hidden")
        one.page.get_by_role("button", name="Close", exact=True).click()
        one.down = other.down = True  # what is shown of the folder is asked for once more
        one.page.get_by_role("button", name="Close this folder").click()
        one.page.get_by_role("dialog").get_by_role("button", name="Close", exact=True).last.click()
        other.page.get_by_role("heading", name="Drop a folder of photos here").or_(
            other.page.get_by_text("This folder is not open any more")
        ).first.wait_for()


@pytest.mark.slow
def test_a_frame_is_kept_when_it_is_asked_for_alone(browser, studio):
    """A photo that is left out and taken back has no frame; one that was drawn and not kept is asked for."""

    def read_hand():
        return [json.loads(file.read_text()) for file in studio.runs.glob(".studio/folders/*.hand.json")]

    with opened(browser, studio) as window:
        page = window.page
        settle(page)
        page.evaluate("location.hash += '?page=99'")  # of a folder that had more photos
        page.get_by_role("button", name="summer/06.png, kept").click()
        assert "page=" not in page.url
        dialog = page.get_by_role("dialog", name="summer/06.png")
        left_out, kept = dialog.get_by_role("switch", name="Leave it out"), page.locator(".filters .chip").nth(1)
        before = int(kept.locator("small").inner_text())
        left_out.check(force=True)
        kept.get_by_text(str(before - 1)).wait_for()
        assert page.locator(".controls > .primary").inner_text() == f"Grow on {before - 1} photos"
        dialog.get_by_role("button", name="Close").click()
        page.get_by_role("button", name="summer/06.png, left out").click()
        assert dialog.get_by_role("group", name=re.compile("Cut-out")).count() == 0
        left_out.uncheck(force=True)
        kept.get_by_text(str(before)).wait_for()
        assert read_hand() == [{}]
        dialog.get_by_role("button", name="Crop by hand").click()
        dialog.get_by_role("group", name=re.compile("Cut-out")).press("-")
        page.keyboard.press("Escape")
        page.get_by_role("dialog", name="Use this part?").get_by_role("button", name="Close").click()
        left_out.check(force=True)
        kept.get_by_text(str(before - 1)).wait_for()
        assert read_hand() == [{"summer/06.png": {"crop": None, "left_out": True}}]
        left_out.uncheck(force=True)
        dialog.get_by_role("button", name="Next photo").click()
        page.get_by_role("dialog", name="Use this part?").get_by_role("button", name="Use this part").click()
        page.get_by_role("dialog", name="summer/09.png").get_by_role("button", name="Close").click()
        assert read_hand()[0]["summer/06.png"]["crop"]
        page.get_by_role("radio", name="mirrored").check(force=True)
        settle(page)
        page.locator(".controls > .primary").click()
        page.get_by_text("--crop fit").first.wait_for()
        page.get_by_text("is written as soon as you press Grow").wait_for()


@pytest.mark.slow
def test_a_file_that_is_refused_ends_no_copying(browser, studio, tmp_path):
    """It is named, and the rest is copied and shown; what macOS keeps beside photos is not sent at all."""
    trip = tmp_path / "trip"
    deep = trip / "2025" / "05" / "12"
    for place, names in (
        (trip, [f"{i:02d}.png" for i in range(9)]),
        (deep / "noon", ["a.png"]),
        (deep / "evening", ["a.png"]),
        (deep / "d-e", ["x.png"]),
        (deep / "d", ["e-x.png"]),
    ):
        place.mkdir(parents=True, exist_ok=True)
        for i, name in enumerate(names):
            Image.fromarray(np.full((40, 40, 3), 20 * i + len(place.name), np.uint8)).save(place / name)
            (place / f"._{name}").write_bytes(b"no photo")
    for level, name in ((99, f"{'写' * 70}0"), (77, f"{'写' * 70}1")):
        Image.fromarray(np.full((40, 40, 3), level, np.uint8)).save(trip / f"{name}.png")
    (trip / "03.jpg").write_bytes(b"no photo")
    with (trip / "04.tif").open("wb") as large:
        large.truncate(folders.UPLOAD_BYTES + 1)
    (trip / "about.txt").write_text("no photo, and not sent")
    with opened(browser, studio) as window:
        page = window.page
        window.down = True  # one request is refused
        page.locator("input[type=file]").first.set_input_files(trip)
        page.get_by_text("of 17 photos").wait_for()
        told = page.get_by_text("2 files left out.")
        told.wait_for()
        assert "03.jpg: not a file of a known kind" in told.inner_text()
        assert "04.tif: more than 67,108,864 bytes" in told.inner_text()
        page.locator("nav.chips a[aria-current]").get_by_text("trip").wait_for()
        page.locator("nav.chips a[aria-current] small").get_by_text("15", exact=True).wait_for()  # once it is looked at
        sent = {path.name for path in studio.runs.rglob("12/*.png")}
        assert sent == {"noon-a.png", "evening-a.png", "d-e-x.png", "d-e-x-2.png"}, "none is written over another"
        assert page.locator(".job").get_by_text("Copying").count() == 0


@pytest.mark.slow
def test_a_folder_of_refused_files_is_not_kept(browser, studio, tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "1.jpg").write_bytes(b"no photo")
    with opened(browser, studio) as window:
        page = window.page
        window.down = True
        chips = page.locator("nav.chips a")
        chips.first.wait_for()
        before = chips.count()
        page.locator("input[type=file]").first.set_input_files(bad)
        page.get_by_text("1 file left out. 1.jpg: not a file of a known kind").wait_for()
        page.locator(".job").get_by_text("Copying").wait_for(state="hidden")
        assert chips.count() == before and page.get_by_text("no images found").count() == 0


@pytest.mark.slow
def test_copying_is_still_shown_when_its_panel_is_shown_again(browser, studio, tmp_path):
    trip = tmp_path / "holiday"
    trip.mkdir()
    for i in range(3):
        Image.fromarray(np.full((40, 40, 3), 50 * i, np.uint8)).save(trip / f"{i}.png")
    held = []
    with opened(browser, studio) as window:
        page = window.page
        page.route("**/files?*", lambda route: held.append(route))
        page.locator("input[type=file]").first.set_input_files(trip)
        copying = page.locator(".job").get_by_text("Copying")
        while len(held) < 3:
            page.wait_for_timeout(20)
        held.pop().continue_()
        copying.get_by_text("1 of 3 photos").wait_for()
        page.get_by_role("link", name="Grow", exact=True).first.click()
        copying.wait_for(state="hidden")
        page.get_by_role("link", name="Photos", exact=True).first.click()
        copying.get_by_text("1 of 3 photos").wait_for()
        for route in held:
            route.continue_()
        copying.wait_for(state="hidden")
        page.locator("nav.chips a[aria-current]").get_by_text("holiday").wait_for()


@pytest.mark.slow
def test_a_file_dropped_anywhere_does_not_replace_the_page(browser, studio):
    with opened(browser, studio) as window:
        settle(window.page)
        for place in ("header", "main", "body"):
            assert window.page.evaluate(
                "place => { const files = new DataTransfer(); files.items.add(new File(['1'], '1.png'));"
                "return ['dragover', 'drop'].every(kind => !document.querySelector(place).dispatchEvent("
                "new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: files }))) }",
                place,
            ), place
        assert window.page.evaluate(
            "() => { const text = new DataTransfer(); text.setData('text/plain', '/home'); return document.body"
            ".dispatchEvent(new DragEvent('dragover', { bubbles: true, cancelable: true, dataTransfer: text })) }"
        ), "text may be dropped"


@pytest.mark.slow
def test_photos_are_gone_through_by_keyboard_in_any_list(browser, studio):
    """The button that was pressed keeps the focus, and a photo that is left out does not lose the place."""
    with opened(browser, studio) as window:
        page = window.page
        page.get_by_role("button", name=re.compile("^Kept")).click()
        page.locator(".photo-sheet button, .sheet button, button[aria-label$=', kept']").first.wait_for()
        names = page.locator("button[aria-label$=', kept']").evaluate_all(
            "all => all.map(one => one.ariaLabel.replace(', kept', ''))"
        )
        page.get_by_role("button", name=f"{names[1]}, kept").click()
        page.get_by_role("button", name="Next photo").focus()
        page.keyboard.press("Enter")
        page.get_by_role("dialog", name=names[2]).wait_for()
        page.get_by_role("switch", name="Leave it out").check(force=True)
        page.get_by_role("button", name=f"{names[2]}, kept").wait_for(state="hidden")
        page.get_by_role("button", name="Next photo").focus()
        page.keyboard.press("Enter")
        page.get_by_role("dialog", name=names[3]).wait_for()
        page.keyboard.press("Enter")
        page.get_by_role("dialog", name=names[4]).wait_for()
        page.keyboard.press("ArrowLeft")
        page.get_by_role("dialog", name=names[3]).wait_for()
        page.get_by_role("button", name="Crop by hand").focus()  # is gone with the photo
        for shown in (names[4], names[5]):
            page.keyboard.press("ArrowRight")
            page.get_by_role("dialog", name=shown).wait_for()


@pytest.mark.slow
def test_refusals_are_shown_where_the_action_was(browser, studio, tmp_path):
    """A folder that is not there, and one that vanishes, end in the server's sentences."""
    with opened(browser, studio) as window:
        page = window.page
        settle(page)
        window.down = True  # the browser logs each refusal
        page.get_by_role("button", name="Open a folder").click()
        dialog = page.get_by_role("dialog", name="Open a folder of photos")
        dialog.get_by_role("textbox", name="Folder on this machine").fill(str(tmp_path / "nowhere"))
        dialog.get_by_role("button", name="Open", exact=True).click()
        assert "To open it, name it: pggan studio" in dialog.get_by_role("alert").inner_text()
        assert page.get_by_role("alert", include_hidden=True).count() == 1, "not behind the dialog, too"
        places = dialog.get_by_role("group", name="Where to look")
        places.get_by_role("button", name="Friends").click()  # the folder of the command line
        dialog.get_by_role("button", name="Open winter").wait_for()
        page.keyboard.press("Escape")
        dialog.wait_for(state="hidden")
        studio.photos.rename(tmp_path / "elsewhere")
        page.get_by_role("radio", name="128", exact=True).check(force=True)
        page.get_by_role("alert").first.wait_for(timeout=60_000)
        assert "Friends" in page.get_by_role("alert").first.inner_text()
        window.go("Grow")
        window.go("Watch")


@pytest.fixture(scope="module")
def studio_with_runs(tmp_path_factory):
    """A studio with photos, two runs of 8 pixels, something made of one, and an entry of the queue that has failed."""
    folder = tmp_path_factory.mktemp("studio")
    for seed in (0, 1):
        code, _, err = train(*TINY, "--target-res", 8, "--total-images", 600, "--seed", seed, "--runs", folder / "runs")
        assert code == 0, err
    kept = store.Store(folder / "runs")
    kept.create()
    (newest,) = kept.runs.glob("00001-*")
    walk = made.choose_place(newest / "studio", "walk")
    walk.mkdir(parents=True)
    (walk / "walk.mp4").write_bytes(b"a film")
    made.note(walk, {"seeds": "0-5", "seconds": 2, "stage": 8})
    Queue(kept).add("train", "Bad", [["trian"]], "pggan trian")
    ((path, entry),) = Queue(kept).read()
    store.write_json(path, entry | {"error": "trian: no such command"})
    one = Studio(folder, draw_photos(folder / "Friends")).start()
    yield one
    one.close()


# What is opened in each panel: (address, what to wait for).
VIEWS = {
    "photos": ("photos", ".prints-sheet img"),
    "photos-duplicates": ("photos?filter=duplicates", ".group img"),
    "photo": ("photos?photo=1", "dialog[open] img"),
    "grow": ("grow", ".plan .headline"),
    "watch": ("watch?reals=1", ".run .plot"),
    "play": ("play", ".faces img"),
    "play-morph": ("play?part=morph", ".morph img"),
    "play-walk": ("play?part=walk", ".made li"),
    "play-project": ("play?part=project", ".drop"),
    "play-export": ("play?part=export", ".format"),
    "compare": ("compare", ".differences td"),
}


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing(browser, studio_with_runs, scheme, width):
    """In no panel, at no size; and nothing is wider than the window."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    viewport = {"width": width, "height": 800}
    with opened(browser, studio_with_runs, viewport, color_scheme=scheme) as window:
        page = window.page
        for name, (address, there) in VIEWS.items():
            page.goto(f"http://127.0.0.1:{studio_with_runs.port}/#{address}")
            page.locator(there).first.wait_for()
            settle(page)
            for summary in page.locator("details:not([open]) > summary").all():
                if summary.is_visible():
                    summary.click()
            violations = axe.Axe().run(page).response["violations"]
            found = [
                (v["id"], [(node["html"][:160], node.get("failureSummary", "")[:200]) for node in v["nodes"]])
                for v in violations
            ]
            assert not found, (name, found)
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, (name, wide)


@pytest.mark.slow
def test_what_is_asked_for_last_is_shown(browser, studio_with_runs):
    """Fast moves of a slider end in the picture of its last place, and the address brings it back."""
    with opened(browser, studio_with_runs) as window:
        page = window.page
        page.goto(f"http://127.0.0.1:{studio_with_runs.port}/#play?part=morph&seed=3&to=8")
        page.get_by_role("img", name="50 % of the way from seed 3 to 8").wait_for()
        slider = page.get_by_role("slider", name="Between them")
        for _ in range(30):
            slider.press("ArrowRight")
        page.get_by_role("img", name="80 % of the way from seed 3 to 8").wait_for()
        settle(page)
        (name,) = [r.name for r in studio_with_runs.runs.glob("00001-*")]
        shown = page.evaluate(
            """async () => {
              const image = document.querySelector('.morph figure:nth-child(2) img');
              const canvas = Object.assign(document.createElement('canvas'), { width: image.naturalWidth, height: image.naturalHeight });
              canvas.getContext('2d').drawImage(image, 0, 0);
              return [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data];
            }"""
        )
        truth = read_picture(page, f"/api/runs/{name}/face.png?seed=3&to=8&mix=0.8")
        np.testing.assert_array_equal(np.reshape(shown, (*truth.shape[:2], 4))[..., :3], truth)
        page.reload()
        page.get_by_role("img", name="80 % of the way from seed 3 to 8").wait_for()


@pytest.mark.slow
def test_the_first_paint_does_not_wait(browser, studio_with_runs):
    """The page itself is drawn before anything is asked of the server's helpers. Half a second is measured on an idle machine."""
    with opened(browser, studio_with_runs) as window:
        page = window.page
        page.goto(f"http://127.0.0.1:{studio_with_runs.port}/#watch")
        page.reload()
        page.locator(".hero img").first.wait_for()
        first = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        print(f"first paint after {first:.0f} ms")
        assert first < 20_000


@pytest.mark.slow
def test_the_page_leads_a_browser_to_the_studio(browser, tmp_path):
    studio = Studio(tmp_path).start()
    try:
        page = browser.new_page()
        page.goto(store.Store(studio.runs).write_redirect(studio.address).as_uri())
        page.get_by_role("navigation", name="Panels").wait_for(timeout=60_000)
        assert page.url.startswith(f"http://127.0.0.1:{studio.port}/") and "key=" not in page.url
        page.close()
    finally:
        studio.close()


@pytest.mark.slow
def test_watch_shows_the_gpu_while_it_learns(browser, tmp_path, monkeypatch):
    put_nvidia_smi(tmp_path / "bin", monkeypatch)
    run = write_run(tmp_path / "runs")
    studio = Studio(tmp_path).start()
    try:
        with files.hold_lock(run / ".lock", lambda: None), opened(browser, studio) as window:  # as training holds it
            window.go("Watch")
            shown = window.page.get_by_role("region", name="This machine")
            shown.wait_for()
            text = " ".join(shown.inner_text().split())
            assert "GPU 87 %" in text and "GPU memory 9 of 24 GB" in text and "CPU" in text and "memory" in text
    finally:
        studio.close()


@pytest.mark.slow
def test_a_failed_entry_is_trained_again_by_the_keyboard(browser, tmp_path):
    studio = Studio(tmp_path)
    kept = store.Store(studio.runs)
    kept.create()
    wish = {"data": "portraits", "minutes": 5, "options": {"mirror": False, "batch": "16"}}
    id = Queue(kept).add("train", "Mine", [["trian"]], "pggan trian", wish=wish)["id"]
    studio.start()
    try:
        with opened(browser, studio) as window:
            window.go("Watch")
            page = window.page
            again = page.get_by_role("button", name="Train Mine again")
            again.wait_for()
            assert "did you mean train" in page.get_by_role("alert").inner_text()
            log = kept.work / f"{id}.log"
            size = log.stat().st_size
            page.get_by_role("link", name="Watch").focus()
            for _ in range(20):
                page.keyboard.press("Tab")
                if page.evaluate("document.activeElement.textContent") == "Again":
                    break
            page.keyboard.press("Enter")
            deadline = time.monotonic() + 60
            while log.stat().st_size <= size:
                assert time.monotonic() < deadline, "it was not begun again"
                time.sleep(0.1)
            again.wait_for()  # it has failed again, and says so again
            assert not page.get_by_text("Nothing has been grown yet").is_visible()
            page.get_by_role("link", name="Change what Mine asks for").click()
            page.get_by_role("main", name="Grow").wait_for()
            assert page.get_by_role("slider", name="Time").get_attribute("aria-valuetext") == "5 min"
            assert page.get_by_label("batch", exact=True).input_value() == "16"
            assert not page.get_by_role("switch", name="mirror").is_checked()
    finally:
        studio.close()
