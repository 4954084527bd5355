"""The web app, in a real browser, as a person would use it: pixels against Keras's, keyboard, phone, offline."""

import base64
import contextlib
import functools
import http.client
import http.server
import io
import json
import re
import shutil
import socket
import threading

import keras
import numpy as np
import pytest
from PIL import Image

import pggan_tf as pg
from benchmarks import measure
from export import command, parity, serve, signatures, source, web
from pggan_tf import synthesis
from pggan_tf.data import colour, marks, pixels, portraits
from pggan_tf.data.writer import hash_file
from pggan_tf.errors import UserError
from pggan_tf.networks import progressive
from tests import image_networks
from tests.conftest import CHROMIUM
from tests.test_marks import packet_of, said
from tests.test_whose import forge

SEVERAL_CORES = len(measure.cores()) > 1  # else the page has no use for threads

TASKS = ("generate", "colorize", "recolor", "upscale", "translate")
TABS = ("Faces", "Colorize", "Recolor", "Upscale", "Translate")
PHONE = {"width": 360, "height": 740}


def generator(classes=("a", "b"), resolutions=(4, 8, 16), channels=3):
    """Not trained, but of the contrast of photos."""
    keras.utils.set_random_seed(1)
    network = progressive.Generator(resolutions, channels, fmap_base=256, fmap_max=32, latent_size=8, classes=classes)
    network.build()
    network = synthesis.finish(network, synthesis.calibration_latents(network.latent_size, 64))
    for r in network.resolutions:
        layer = getattr(network, f"to_image_{r}")
        layer.set_kernel(0.3 * layer.compute_kernel(), layer.bias)
    return network


@pytest.fixture(scope="module")
def networks():
    return {task: generator() if task == "generate" else image_networks.built(task) for task in TASKS}


@pytest.fixture(scope="module")
def site(networks, tmp_path_factory):
    try:
        web.fetch_runtime()
    except UserError as reason:
        pytest.skip(str(reason))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web, "_SLOW", 0.0)  # whether threads pay is measured: here they do on every machine
        return built(networks, tmp_path_factory.mktemp("site"))


def built(networks, out, how="float16", truncation=None):
    opened = [source.Source(task, network, out / "none.keras", "ab" * 32) for task, network in networks.items()]
    web.build(opened, out, how, truncation, lambda s: () if not s.task.from_images else source.draw_portraits(64))
    return out


@pytest.fixture(scope="module")
def address(site):
    with serving(site) as url:
        yield url


class serving:
    """A site on a free port."""

    def __init__(self, site):
        self.server = serve.make_site_server(site, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self.url

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def settled(page):
    """Waits until the faces that were last asked for are there, and their stages."""
    page.wait_for_function("() => { const p = document.querySelector('#panel-generate'); return p?.dataset.grown && p.dataset.grown === p.dataset.wanted }")  # fmt: skip


def opened(page, url, **state):
    page.goto(url + ("#" + "&".join(f"{k}={v}" for k, v in state.items()) if state else ""))
    settled(page)
    return page


def read(page, selector) -> np.ndarray:
    """The pixels of a canvas, uint8 [H, W, 3]."""
    picture = page.eval_on_selector(selector, "canvas => canvas.toDataURL('image/png')")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))).convert("RGB"))


def face(network, seed, stage, truncation=1.0, label=0, z=None):
    z = synthesis.latents([seed], network.latent_size) if z is None else z
    return synthesis.Sampler(network, 1).images(z, stage, truncation=truncation, labels=np.array([label]))[0]


def near(a, b, most=3):
    assert a.shape == b.shape and np.abs(a.astype(int) - b).max() <= most, np.abs(a.astype(int) - b).max()


def test_int8_of_a_site_says_what_dynamic_would_give(tmp_path, monkeypatch):
    monkeypatch.setattr(parity, "INPUTS", range(16, 18))
    monkeypatch.setattr(parity, "_SECONDS", 0.01)
    (tmp_path / "models").mkdir()
    opened = source.Source("faces", generator((), (8,)), tmp_path / "none.keras", "0")
    _, report = web._write_model(opened, tmp_path, "int8", 1.0, (), None)
    shown, other = report["signatures"][0], report["dynamic"]
    assert shown["signature"] == other["signature"] == "gen_8" and other["bytes"] > 0
    assert other["max_difference"] < shown["max_difference"] and other["psnr"] > shown["psnr"]
    assert command._compare_dynamic(report).startswith("gen_8 by --quantize int8 ")


def test_latents_are_those_of_python(page, address):
    page.goto(address + "style.css")
    seeds = [0, 1, 7, 12345, 2**31, 2**32 - 1]
    code = "async seeds => { const { latents } = await import('./latents.js'); return seeds.map(s => [...latents(s, 64)]) }"
    np.testing.assert_array_max_ulp(np.float32(page.evaluate(code, seeds)), synthesis.latents(seeds, 64), 1)


def test_morphs_are_those_of_python(page, address):
    """Of latents that differ in length too, and of parallel ones."""
    page.goto(address + "style.css")
    a, b = synthesis.latents([1, 2], 64)
    code = "async ([a, b, ts]) => { const { slerp } = await import('./latents.js'); return ts.map(t => [...slerp(Float32Array.from(a), b, t)]) }"
    for to in (b, 3 * b, 2 * a, -a):
        places = [0, 0.1, 0.5, 0.75, 1]
        made = page.evaluate(code, [a.tolist(), to.tolist(), places])
        truth = synthesis.slerp(a[None].astype(float), to[None].astype(float), places)[:, 0]
        np.testing.assert_allclose(made, truth, rtol=1e-5, atol=1e-5)


def test_a_seed_is_the_same_face_as_in_keras_at_every_stage(page, address, networks):
    network = networks["generate"]
    opened(page, address, seed=42, truncation=0.7, label=1)
    assert page.evaluate("crossOriginIsolated") and ("threads" in page.inner_text("#status")) == SEVERAL_CORES
    near(read(page, ".faces canvas"), face(network, 42, 16, 0.7, 1))
    for i, stage in enumerate(network.resolutions):
        near(read(page, f".growth label:nth-child({i + 1}) canvas"), face(network, 42, stage, 0.7, 1))
    page.get_by_label("8 px").check()
    settled(page)
    near(read(page, ".faces canvas"), face(network, 42, 8, 0.7, 1))
    assert "stage=8" in page.url and "seed=42" in page.url


def test_faces_as_a_person_uses_them(page, address, networks, tmp_path):
    network = networks["generate"]
    opened(page, address, seed=3)
    page.get_by_label("Seed", exact=True).fill("9")
    settled(page)
    near(read(page, ".faces canvas"), face(network, 9, 16))
    page.get_by_label("Kind").select_option("b")
    settled(page)
    near(read(page, ".faces canvas"), face(network, 9, 16, label=1))
    page.get_by_label("Kind").select_option("a")
    page.get_by_label("4", exact=True).check()
    settled(page)
    assert page.locator(".faces button").count() == 4
    near(read(page, ".faces button:nth-child(3) canvas"), face(network, 11, 16))
    with page.expect_download() as download:
        page.get_by_text("Save PNG").click()
    download.value.save_as(tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    near(sheet[16:, :16], face(network, 11, 16))
    assert download.value.suggested_filename == "faces-9-4-16px.png"
    page.locator(".faces button").nth(2).click()  # looks at that one alone
    settled(page)
    assert page.get_by_label("Seed", exact=True).input_value() == "11" and page.locator(".faces button").count() == 1
    page.locator(".faces button").click()  # a tap: another one
    settled(page)
    assert page.get_by_label("Seed", exact=True).input_value() != "11"
    # Half way into another seed, along the arc between both.
    page.get_by_label("Seed", exact=True).fill("1")
    page.get_by_label("into seed").fill("2")
    page.get_by_label("Morph").fill("0.5")
    settled(page)
    (middle,) = synthesis.slerp(*(synthesis.latents([s], 8) for s in (1, 2)), [0.5])
    near(read(page, ".faces canvas"), face(network, 1, 16, z=middle))
    page.get_by_label("Morph").fill("1")
    settled(page)
    near(read(page, ".faces canvas"), face(network, 2, 16))
    # The address holds everything: whoever opens it sees the same.
    other = page.context.new_page()
    opened(other, page.url)
    np.testing.assert_array_equal(read(other, ".faces canvas"), read(page, ".faces canvas"))


def test_saved_pictures_say_what_made_them(page, address, networks, tmp_path):
    """As exiftool reads it; and `whose` finds them near to what the run makes, though the page's network is smaller."""

    def save(name, **state):
        opened(page, address, **state)
        with page.expect_download() as download:
            page.get_by_text("Save PNG").click()
        download.value.save_as(tmp_path / name)
        return marks.read(packet_of(tmp_path / name))

    network = networks["generate"]
    made = marks.Mark(marks.GENERATED, "generate", "ab" * 32)
    expected = made.for_seeds("4294967294,4294967295,0,1", 8, 0.7, "b", marks.PAGE)
    assert save("four.png", seed=2**32 - 2, count=4, stage=8, truncation=0.7, label=1) == expected
    assert save("one.png", seed=9) == made.for_seeds("9", 16, 1, "a", marks.PAGE)
    assert save("morph.png", seed=9, morph=0.5, target=3) == made
    network.save(tmp_path / "generator.keras")
    weights = hash_file(tmp_path / "generator.keras")
    files = [forge(tmp_path / name, tmp_path / f"own-{name}", Weights=weights) for name in ("four.png", "one.png")]
    files.append(forge(tmp_path / "one.png", tmp_path / "wrong.png", Weights=weights, Seeds="10"))
    assert [origin.answer for origin in pg.whose(files, tmp_path)] == ["alike", "alike", "no"]
    assert said(tmp_path / "one.png")["type"] == marks.GENERATED and said(tmp_path / "one.png")["Seeds"] == 9


CHANGE = "const change = (name, value) => { const e = document.querySelector(`[name=${name}]`); e.value = value; e.dispatchEvent(new Event('input')) };"


def test_a_link_is_of_what_was_last_asked_for(page, address):
    """Although it is not drawn yet."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened(page, address, seed=3)
    page.evaluate(f"() => {{ {CHANGE} change('seed', 9); document.querySelector('[name=link]').click() }}")
    until(page, "async () => (await navigator.clipboard.readText()).includes('seed=9')")
    assert page.evaluate("navigator.clipboard.readText()").startswith(address + "#panel=generate")
    settled(page)
    page.get_by_text("Copy link").click()
    page.get_by_text("sees this face").wait_for()
    leave = "[...document.querySelectorAll('[role=tab]')].find(tab => tab.textContent === 'Upscale').click()"
    page.evaluate(f"() => {{ {CHANGE} change('seed', 10); {leave} }}")
    page.get_by_role("tabpanel", name="Upscale").wait_for()
    settled(page)
    page.get_by_role("tab", name="Faces").click()
    assert "seed=10" in page.url and page.get_by_label("Seed", exact=True).input_value() == "10"


def test_faces_are_drawn_while_a_slider_is_dragged(page, address):
    """Although it has moved on each time when one is ready."""
    opened(page, address, seed=3)
    page.evaluate(
        f"""() => {{ {CHANGE}
        const [ready, put] = [Uint8ClampedArray.from, CanvasRenderingContext2D.prototype.putImageData];
        let moves = 20;
        self.painted = 0;
        Uint8ClampedArray.from = function (...values) {{
            if (moves > 0) change("morph", --moves / 20);
            return ready.apply(this, values);
        }};
        CanvasRenderingContext2D.prototype.putImageData = function (...values) {{
            if (moves > 0 && this.canvas.closest(".faces")) self.painted++;
            return put.apply(this, values);
        }};
        change("morph", 1);
        }}"""
    )
    settled(page)
    assert page.evaluate("self.painted") == 19


def test_links_with_nonsense_still_show_a_face(page, address):
    opened(page, address, seed="-7", stage="5", count="1e9", truncation="NaN", morph="x", label="99", panel="nothing")
    assert read(page, ".faces canvas").shape == (16, 16, 3)
    assert int(page.get_by_label("Seed", exact=True).input_value()) >= 0


def test_everything_can_be_reached_by_keyboard(page, address):
    opened(page, address, seed=3)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Faces"
    reached = set()
    for _ in range(26):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "document.activeElement.name || document.activeElement.getAttribute('aria-label')?.split(' ')[0]"
            )
        )
    assert {
        "Face",
        "stage",
        "seed",
        "new",
        "label",
        "count",
        "truncation",
        "morph",
        "target",
        "slider-1",
        "slider-6",
        "Keep",
        "save",
        "album",
    } <= reached
    page.locator("[name=stage]:checked").focus()
    page.keyboard.press("ArrowLeft")
    settled(page)
    assert "stage=8" in page.url
    page.get_by_role("tab", name="Faces").focus()
    for name in (*TABS[1:], "Faces"):
        page.keyboard.press("ArrowRight")
        page.wait_for_function("name => document.activeElement.textContent === name", arg=name)
        assert page.get_by_role("tab", name=name).get_attribute("aria-selected") == "true"
        page.get_by_role("tabpanel", name=name).wait_for()


def test_every_control_has_a_name(page, address):
    """What a screen reader would say: no button, slider or field without a name."""
    opened(page, address, seed=3)
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        page.get_by_role("tabpanel", name=tab).wait_for()
        tree = page.get_by_role("tabpanel", name=tab).aria_snapshot()
        assert not re.search(r"^\s*- (button|slider|textbox|spinbutton|radio|combobox|img)(:|$| \[)", tree, re.M), tree


def portrait(size=(96, 128), number=5):
    four = [portraits.draw(number + i, 256) for i in range(4)]
    return np.vstack([np.hstack(four[:2]), np.hstack(four[2:])])[: size[0], : size[1]]


def file_of(image, name="photo.png"):
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": out.getvalue()}


def tab_of(page, address, name="Upscale"):
    """Opens the page and one of its tabs, and returns the tab's panel."""
    opened(page, address, seed=3)
    page.get_by_role("tab", name=name).click()
    panel = page.get_by_role("tabpanel", name=name)
    panel.wait_for()
    return panel


def worked(page, address, tab, image, **kwargs):
    """Opens a photo in a panel, and waits for the result."""
    panel = tab_of(page, address, tab)
    panel.locator("[name=file]").set_input_files(file_of(image, **kwargs))
    panel.locator(".compare").wait_for()
    return panel, f"#{panel.get_attribute('id')} canvas"


def test_upscale_is_the_network_s_tile_by_tile(page, address, networks, tmp_path):
    image = portrait((300, 460))
    panel, canvas = worked(page, address, "Upscale", image)
    truth = pixels.to_uint8(networks["upscale"](image[None].astype(np.float32) / 255).numpy())[0]
    near(read(page, f"{canvas}.after"), truth)
    np.testing.assert_array_equal(read(page, f"{canvas}.before"), image.repeat(2, 0).repeat(2, 1))
    with page.expect_download() as download:
        panel.get_by_text("Save PNG").click()
    assert download.value.suggested_filename == "photo-upscale.png"
    download.value.save_as(tmp_path / "up.png")
    near(np.asarray(Image.open(tmp_path / "up.png").convert("RGB")), truth)
    assert marks.read(packet_of(tmp_path / "up.png")) == marks.Mark(marks.CHANGED, "upscale", "ab" * 32)


@pytest.mark.parametrize("size", [(20, 30), (60, 400), (300, 50)])
def test_upscale_of_photos_smaller_than_a_tile(page, address, networks, size):
    image = portrait(size)
    _, canvas = worked(page, address, "Upscale", image)
    edges = np.pad(image, [(0, 4), (0, 4), (0, 0)], mode="edge")
    truth = pixels.to_uint8(networks["upscale"](edges[None].astype(np.float32) / 255).numpy())[0]
    inside = (slice(0, 2 * min(size[0], 256)), slice(0, 2 * min(size[1], 256)))
    made, truth = read(page, f"{canvas}.after")[inside], truth[: 2 * size[0], : 2 * size[1]][inside]
    near(made, truth, most=16)  # near the edges the tile has repeated pixels where the network alone has zeros
    edge = 2 * networks["upscale"].context
    near(made[: -edge or None, : -edge or None], truth[: -edge or None, : -edge or None])


@pytest.mark.parametrize("tab", ["Colorize", "Recolor"])
def test_colours_are_the_network_s_and_detail_is_the_photo_s(page, address, networks, tab):
    network = networks[tab.lower()]
    side = signatures.network_signatures(network)[0].photo
    image = portraits.draw(5, 256)[:side, :side]
    panel, canvas = worked(page, address, tab, image)
    gray = np.rint(colour.to_gray(image)).astype(np.uint8)
    (signature, _) = signatures.network_signatures(network)
    near(read(page, f"{canvas}.before"), gray.repeat(3, -1), most=1)
    near(
        read(page, f"{canvas}.after"),
        signatures.convert_output(signature.function(gray=gray[None]), "uint8").numpy()[0],
        most=4,
    )
    # Another photo, twice as wide and high: the same colours, and detail that the network did not see.
    rng = np.random.default_rng(0)
    grain = rng.integers(-20, 21, (2 * side, 2 * side // 2, 1))
    wide = np.clip(image[:, : side // 2].repeat(2, 0).repeat(2, 1).astype(int) + grain, 0, 255).astype(np.uint8)
    panel.locator("[name=again]").set_input_files(file_of(wide))
    page.wait_for_function("([c, h]) => document.querySelector(c).height === h", arg=[f"{canvas}.after", 2 * side])
    made = read(page, f"{canvas}.after")
    assert made.shape == wide.shape
    luma = np.rint(colour.to_gray(wide)).astype(int)[..., 0]
    sharp = [np.diff(x, axis=0).std() for x in (luma, colour.to_gray(made.astype(float))[..., 0])]
    assert 0.8 < sharp[1] / sharp[0] < 1.2  # where colours leave sRGB, they are clipped


def test_translate_takes_the_middle(page, address, networks):
    image = portraits.draw(5, 64)[24:40, 24:40]
    _, canvas = worked(page, address, "Translate", image)
    truth = networks["translate"](2 * image[None].astype(np.float32) / 255 - 1).numpy()
    near(read(page, f"{canvas}.after"), pixels.to_uint8(truth)[0])


def large():
    return file_of(np.tile(portrait((256, 256)), (8, 8, 1)), "large.png")


def test_a_newer_photo_takes_the_place_of_one_that_is_worked_on(page, address):
    panel = tab_of(page, address)
    panel.locator("[name=file]").set_input_files(large())
    page.wait_for_function("() => document.querySelector('.working progress').value > 0")
    panel.locator("[name=file]").set_input_files(file_of(portrait((40, 50))))
    panel.locator(".compare").wait_for()
    assert read(page, f"#{panel.get_attribute('id')} .after").shape == (80, 100, 3)
    assert not panel.locator(".working").is_visible()


def test_an_older_photo_that_takes_longer_to_decode_is_given_up(page, address):
    panel = tab_of(page, address)
    page.evaluate(
        """() => {
        const decode = self.createImageBitmap;
        self.createImageBitmap = async (file) => {
            if (file.name !== "older.png") return decode(file);
            await new Promise((resolve) => (self.decoded = resolve));
            return (self.older = await decode(file));
        };
        }"""
    )
    panel.locator("[name=file]").set_input_files(file_of(portrait((40, 50)), "older.png"))
    panel.locator("[name=file]").set_input_files(file_of(portrait((20, 30)), "newer.png"))
    panel.locator(".compare").wait_for()
    page.evaluate("self.decoded()")
    until(page, "() => self.older?.width === 0")  # it is closed
    assert read(page, "#panel-upscale .after").shape == (40, 60, 3)


def test_a_photo_is_seen_while_it_is_worked_on(page, address):
    """Where the result will be, and not beside what was said of another one."""
    panel = tab_of(page, address)
    panel.locator("[name=file]").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b"no picture"})
    panel.get_by_text("not a picture").wait_for()
    panel.locator("[name=file]").set_input_files(file_of(portrait((256, 256))))
    panel.get_by_text("512 × 512 pixels").wait_for()
    # Work is held up: what is seen meanwhile does not depend on how fast it is.
    page.evaluate("() => { self.held = []; self.later = setTimeout; self.setTimeout = (f) => held.push(f) }")
    second = portrait((200, 300), 9)
    panel.locator("[name=again]").set_input_files(file_of(second))
    panel.locator(".waiting").wait_for()
    np.testing.assert_array_equal(read(page, "#panel-upscale .waiting canvas"), second)
    assert not panel.locator(".compare").is_visible() and not panel.locator(".drop").is_visible()
    assert panel.get_by_role("button", name="Stop").is_visible() and panel.get_by_label("Working …").is_visible()
    assert panel.locator(".about").inner_text() == "" and panel.locator("[name=save]").is_disabled()
    place = panel.locator(".waiting").bounding_box()
    page.evaluate("() => { self.setTimeout = later; held.forEach((f) => f()) }")
    panel.get_by_text("600 × 400 pixels").wait_for()
    result = panel.locator(".compare").bounding_box()
    assert [result[k] for k in ("x", "width", "height")] == [place[k] for k in ("x", "width", "height")]
    assert not panel.locator(".waiting").is_visible() and not panel.locator(".working").is_visible()


@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 900}, PHONE])
def test_small_photos_are_shown_large_enough_to_be_compared(page, address, viewport):
    page.set_viewport_size(viewport)
    panel, _ = worked(page, address, "Upscale", portrait((16, 16)))
    box = panel.locator(".compare").bounding_box()
    assert 300 <= box["width"] <= 328 and abs(box["width"] - box["height"]) < 1
    assert panel.locator(".after").evaluate("e => getComputedStyle(e).imageRendering") == "pixelated"
    left, right = (panel.locator(f".tag.{side}").bounding_box() for side in ("left", "right"))
    assert left["x"] + left["width"] < right["x"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "viewport, density", [pytest.param({"width": 1280, "height": 900}, 1, marks=pytest.mark.slow), (PHONE, 2)]
)
def test_an_enlarged_photo_is_seen_at_its_actual_size(browser, address, viewport, density):
    """A pixel of it for each of the screen; the slider divides what is seen of it."""
    with contextlib.closing(browser.new_context(viewport=viewport, device_scale_factor=density)) as context:
        page = context.new_page()
        panel, canvas = worked(page, address, "Upscale", np.hstack([portrait((512, 512)), portrait((512, 512), 9)]))
        view, split = panel.locator(".view"), panel.locator("[name=split]")
        button = panel.get_by_role("button", name="Actual size")
        fitting = panel.locator(".compare").bounding_box()
        button.click()
        assert button.get_attribute("aria-pressed") == "true"
        box, slider = view.bounding_box(), split.bounding_box()
        assert box["width"] <= fitting["width"] and box["height"] < viewport["height"] - 100
        assert slider["y"] >= box["y"] + box["height"] - 1 and slider["height"] >= 44
        # It starts at the middle.
        left, width = view.evaluate("e => [e.scrollLeft, e.clientWidth]")
        assert abs(left + width / 2 - 1024 / density) < 2
        # By keyboard it moves on.
        view.focus()
        page.keyboard.press("ArrowRight")
        until(page, "x => document.querySelector('#panel-upscale .view').scrollLeft > x", left)
        still = "async e => { const at = e.scrollLeft; await new Promise(done => setTimeout(done, 300)); return e.scrollLeft === at }"
        while not view.evaluate(still):  # it moves smoothly
            pass
        x, y = (round(density * at) for at in view.evaluate("e => [e.scrollLeft, e.scrollTop]"))
        window = np.s_[60 * density : 300 * density, 20 * density : round((box["width"] - 20) * density)]  # below tags

        def seen(value):
            split.fill(value)
            shot = Image.open(io.BytesIO(view.screenshot())).convert("RGB")
            return np.asarray(shot).astype(int)[window]

        after, before, both = seen("0"), seen("100"), seen("50")
        for shot, name in ((after, "after"), (before, "before")):
            assert np.abs(shot - read(page, f"{canvas}.{name}")[y:, x:][window]).mean() < 5
        half = after.shape[1] // 2
        left, right = np.s_[:, : half - 20 * density], np.s_[:, half + 20 * density :]
        near(both[left], before[left])
        near(both[right], after[right])
        assert min(np.abs(before - after)[side].max() for side in (left, right)) > 10
        button.click()
        assert panel.locator(".compare").bounding_box()["width"] == fitting["width"]


@pytest.mark.slow
def test_work_can_be_stopped(page, address):
    panel = tab_of(page, address)
    panel.locator("[name=file]").set_input_files(large())
    panel.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped.").wait_for()
    assert not panel.locator(".working").is_visible() and panel.locator(".drop").is_visible()
    panel.locator("[name=file]").set_input_files(file_of(portrait((40, 50)), "small.png"))
    panel.locator(".compare").wait_for()
    # What is shown stays, with its name.
    panel.locator("[name=again]").set_input_files(large())
    panel.get_by_role("button", name="Stop").click()
    with page.expect_download() as download:
        panel.get_by_text("Save PNG").click()
    assert download.value.suggested_filename == "small-upscale.png"


def test_nothing_is_computed_after_stop(page, address):
    panel = tab_of(page, address)
    page.evaluate(
        """async () => {
        const { Model } = await import("./runtime.js");
        const run = Model.prototype.run;
        self.tiles = 0;
        Model.prototype.run = function (...values) {
            if (++tiles === 3) setTimeout(() => document.querySelector("#panel-upscale [name=stop]").click());
            return run.apply(this, values);
        };
        }"""
    )
    panel.locator("[name=file]").set_input_files(large())
    page.get_by_text("Stopped.").wait_for()
    panel.locator("[name=file]").set_input_files(file_of(portrait((20, 30))))  # one tile, once the others are given up
    panel.locator(".compare").wait_for()
    assert page.evaluate("tiles") == 4


def test_the_slider_uncovers_the_original(page, address):
    panel, _ = worked(page, address, "Upscale", portrait())
    slider = panel.locator("[name=split]")
    for value in ("0", "80"):
        slider.fill(value)
        assert panel.locator(".compare").evaluate("e => e.style.getPropertyValue('--split')") == f"{value}%"
        clip = panel.locator(".before").evaluate("e => getComputedStyle(e).clipPath")
        assert f"{100 - int(value)}%" in clip.replace("calc(100% - 80%)", "20%").replace("calc(100% - 0%)", "100%"), (
            clip
        )


def test_the_original_is_uncovered_by_dragging_anywhere(page, address):
    panel, _ = worked(page, address, "Upscale", portrait((200, 300)))
    box = panel.locator(".compare").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 60, steps=4)
    page.mouse.up()
    assert 20 <= float(panel.locator("[name=split]").input_value()) <= 30


def test_what_is_no_photo_is_told(page, address):
    panel = tab_of(page, address)
    panel.locator("[name=file]").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b"no picture"})
    panel.get_by_text("a.png: not a picture").wait_for()
    panel.locator("[name=file]").set_input_files(file_of(portrait()))  # and another one works
    panel.locator(".compare").wait_for()


def test_a_photo_can_be_dropped(page, address):
    panel = tab_of(page, address)
    data = page.evaluate_handle(
        "bytes => { const t = new DataTransfer(); t.items.add(new File([new Uint8Array(bytes)], 'x.png', { type: 'image/png' })); return t }",
        list(file_of(portrait((20, 20)))["buffer"]),
    )
    panel.dispatch_event("drop", {"dataTransfer": data})
    panel.locator(".compare").wait_for()


def test_no_request_leaves_while_a_photo_is_worked_on(page, address):
    opened(page, address, seed=3)
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        page.get_by_role("tabpanel", name=tab).wait_for()
    kept(page, "translate.tflite")
    page.wait_for_load_state("networkidle")
    asked = []
    page.on("request", lambda request: None if request.url.startswith("blob:") else asked.append(request.url))
    for tab in TABS[1:]:
        page.get_by_role("tab", name=tab).click()
        panel = page.get_by_role("tabpanel", name=tab)
        panel.locator("[name=file]").set_input_files(file_of(portrait()))
        panel.locator(".compare").wait_for()
        with page.expect_download():
            panel.get_by_text("Save PNG").click()
    page.get_by_role("tab", name="Faces").click()
    page.get_by_text("New face").click()
    settled(page)
    assert asked == []


@pytest.mark.parametrize(
    "code, directive",
    [
        ("fetch(url).catch(() => {})", "connect-src"),
        ("navigator.sendBeacon(url, 'a photo')", "connect-src"),
        ("new Image().src = url", "img-src"),
        ("import(url).catch(() => {})", "script-src-elem"),
    ],
)
def test_the_browser_itself_lets_nothing_out(browser, address, code, directive):
    with socket.create_server(("127.0.0.1", 0)) as foreign, contextlib.closing(browser.new_context()) as context:
        page = context.new_page()
        page.goto(address)
        refused = f"url => new Promise(resolve => {{ addEventListener('securitypolicyviolation', e => resolve(e.effectiveDirective)); {code} }})"  # fmt: skip
        assert page.evaluate(refused, f"http://127.0.0.1:{foreign.getsockname()[1]}/") == directive
        foreign.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody has knocked
            foreign.accept()


def until(page, code, *argument):
    """Waits for an async function of the page to be true; playwright's own waiting takes its promise for that."""
    for _ in range(1800):
        if page.evaluate(code, *argument):
            return
        page.wait_for_timeout(50)
    raise AssertionError(code)


def kept(page, name):
    """Waits until the service worker has a file."""
    until(page, "async name => { for (const key of await caches.keys()) if ((await (await caches.open(key)).keys()).some(r => r.url.endsWith(name))) return true }", name)  # fmt: skip


def test_it_works_without_a_network_after_the_first_visit(page, address, networks):
    opened(page, address, seed=42, label=0)
    page.get_by_role("tab", name="Upscale").click()
    page.get_by_role("tabpanel", name="Upscale").wait_for()
    kept(page, "upscale.tflite")
    page.context.set_offline(True)
    page.goto("about:blank")
    opened(page, address, seed=42, label=0)
    near(read(page, ".faces canvas"), face(networks["generate"], 42, 16))
    page.get_by_role("tab", name="Upscale").click()
    panel = page.get_by_role("tabpanel", name="Upscale")
    panel.locator("[name=file]").set_input_files(file_of(portrait((20, 20))))
    panel.locator(".compare").wait_for()


def test_a_tab_that_was_never_opened_works_without_a_network(page, address):
    opened(page, address, seed=3)
    for task in TASKS:
        kept(page, f"{task}.tflite")
    page.context.set_offline(True)
    page.get_by_role("tab", name="Upscale").click()  # in the page that is open
    page.get_by_role("tabpanel", name="Upscale").wait_for()
    page.goto("about:blank")
    panel, canvas = worked(page, address, "Colorize", portrait())
    assert read(page, f"{canvas}.after").shape == (96, 128, 3)


def test_models_that_nobody_asked_for_are_not_brought_where_data_is_to_be_saved(browser, site):
    with serving(site) as url, contextlib.closing(browser.new_context()) as context:
        context.add_init_script("Object.defineProperty(navigator, 'connection', { value: { saveData: true } })")
        page = context.new_page()
        opened(page, url, seed=3)
        page.get_by_role("tab", name="Upscale").click()
        kept(page, "upscale.tflite")
        models = "async () => (await (await caches.open((await caches.keys())[0])).keys()).map(r => r.url).filter(u => u.endsWith('tflite')).length"
        assert page.evaluate(models) == 2


class plain_host:
    """A host that knows nothing of the page: no headers for threads, and everything may be kept for an hour."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript"}

        def end_headers(self):
            self.send_header("Cache-Control", "max-age=3600")
            super().end_headers()

        def log_message(self, format, *arguments):
            pass

    def __init__(self, site):
        handler = functools.partial(self.Handler, directory=str(site))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}/"

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def test_a_second_visit_needs_no_network_on_any_host(browser, site, networks):
    """The first one has no threads there; the service worker allows them, but has not kept the runtime with threads."""
    with plain_host(site) as url, contextlib.closing(browser.new_context()) as context:
        page = context.new_page()
        opened(page, url, seed=42, label=0)
        assert not page.evaluate("crossOriginIsolated") and "threads" not in page.inner_text("#status")
        for name in ("generate.tflite", "litert_wasm_internal.js", "litert_wasm_internal.wasm"):
            kept(page, name)
        context.set_offline(True)
        page.goto("about:blank")
        opened(page, url, seed=42, label=0)
        assert page.evaluate("crossOriginIsolated") and "threads" not in page.inner_text("#status")
        near(read(page, ".faces canvas"), face(networks["generate"], 42, 16))
        context.set_offline(False)
        page.goto("about:blank")
        opened(page, url, seed=42, label=0)  # and with one it is as fast as it can be
        assert ("threads" in page.inner_text("#status")) == SEVERAL_CORES


def test_a_new_site_is_seen_although_the_old_one_may_be_kept(browser, site, tmp_path):
    shutil.copytree(site, tmp_path / "site")
    index, worker = (tmp_path / "site" / name for name in ("index.html", "sw.js"))
    with plain_host(tmp_path / "site") as url, contextlib.closing(browser.new_context()) as context:
        page = context.new_page()
        opened(page, url, seed=3)
        kept(page, "generate.tflite")
        index.write_text(index.read_text().replace("<p>No picture", "<p>Made anew: no picture"))
        version = re.search(r'VERSION = "(\w+)"', worker.read_text())[1]
        worker.write_text(worker.read_text().replace(version, "anew"))
        page.evaluate("async () => (await navigator.serviceWorker.ready).update()")
        until(page, "async () => (await caches.keys()).length === 1 && (await caches.keys())[0].endsWith(' anew')")
        opened(page, url + "?", seed=3)
        assert "Made anew" in page.inner_text("footer")
        # The large files are the same, and were taken over.
        context.set_offline(True)
        page.goto("about:blank")
        opened(page, url, seed=4)
        assert "Made anew" in page.inner_text("footer")


def test_sites_on_one_host_keep_out_of_each_other_s_way(browser, site, tmp_path):
    """Both work offline, whichever was visited last."""
    for name in ("a", "b"):
        shutil.copytree(site, tmp_path / name)
        worker = tmp_path / name / "sw.js"
        worker.write_text(re.sub(r'VERSION = "\w+"', f'VERSION = "{name}"', worker.read_text()))
    with plain_host(tmp_path) as url, contextlib.closing(browser.new_context()) as context:
        page = context.new_page()
        for name in ("a", "b"):
            opened(page, f"{url}{name}/", seed=3)
            # All that it has loaded: large files are stored one after the other, in any order.
            until(page, f"""async () => {{
                const kept = new Set((await (await caches.open('pggan {url}{name}/ {name}')).keys()).map(({{ url }}) => url));
                const loaded = performance.getEntriesByType('resource').map(({{ name }}) => name.split('#')[0]);
                const large = loaded.filter((url) => /\\.(wasm|tflite)$/.test(url));
                return large.length > 1 && large.every((url) => kept.has(url));
            }}""")  # fmt: skip
        context.set_offline(True)
        for name in ("a", "b"):
            page.goto("about:blank")
            opened(page, f"{url}{name}/", seed=5)


def test_other_pages_of_its_host_are_none_of_its_business(browser, site, tmp_path):
    """They come as the host sends them: after a redirect, without headers that would cut them off from others."""
    shutil.copytree(site, tmp_path / "site")
    (tmp_path / "site" / "blog").mkdir()
    (tmp_path / "site" / "blog" / "index.html").write_text("<!doctype html><title>A blog</title>")
    with plain_host(tmp_path / "site") as url, contextlib.closing(browser.new_context()) as context:
        page = context.new_page()
        opened(page, url, seed=3)
        kept(page, "generate.tflite")
        opened(page, url + "?", seed=3)
        assert page.evaluate("Boolean(navigator.serviceWorker.controller) && crossOriginIsolated")
        page.goto(url + "blog")
        assert page.title() == "A blog" and page.url == url + "blog/"
        assert page.evaluate("Boolean(navigator.serviceWorker.controller) && !crossOriginIsolated")


def test_the_address_says_which_tab_is_open(page, address):
    opened(page, address, seed=8)
    page.get_by_role("tab", name="Upscale").click()
    until(page, "() => location.hash === '#panel=upscale'")
    page.get_by_role("tab", name="Faces").click()
    until(page, "() => location.hash.includes('seed=8')")


def test_a_seed_that_is_none_is_told(page, address):
    opened(page, address, seed=8)
    page.get_by_label("Seed", exact=True).fill("-5")
    page.get_by_text("A seed is a whole number").wait_for()
    assert "seed=8" in page.url


def test_a_model_that_was_kept_damaged_is_brought_again(browser, site, tmp_path, networks):
    """Damaged on its way, or on the host for a while: by then the browser's cache and the service worker have it."""
    shutil.copytree(site, tmp_path / "site")
    file = tmp_path / "site" / "models" / "generate.tflite"
    good = file.read_bytes()
    with plain_host(tmp_path / "site") as url, contextlib.closing(browser.new_context()) as context:
        page = context.new_page()
        file.write_bytes(good[:-100] + bytes(100))
        page.goto(url)
        page.get_by_text("is damaged").wait_for()
        page.get_by_role("tab", name="Upscale").click()
        kept(page, "generate.tflite")
        file.write_bytes(good)
        opened(page, url + "?", seed=42, label=0)
        near(read(page, ".faces canvas"), face(networks["generate"], 42, 16))
        kept(page, "generate.tflite")
        context.set_offline(True)
        opened(page, url + "?again", seed=42, label=0)
        near(read(page, ".faces canvas"), face(networks["generate"], 42, 16))


def test_a_link_opened_in_the_page_is_followed(page, address, networks):
    opened(page, address, seed=3, label=0)
    page.evaluate("location.hash = '#panel=generate&seed=42&stage=8&truncation=0.7&label=1'")
    page.wait_for_function("() => document.querySelector('[name=seed]').value === '42'")
    settled(page)
    near(read(page, ".faces canvas"), face(networks["generate"], 42, 8, 0.7, 1))
    page.evaluate("location.hash = '#panel=upscale'")
    page.get_by_role("tabpanel", name="Upscale").wait_for()
    assert page.get_by_role("tab", name="Upscale").get_attribute("aria-selected") == "true"
    page.get_by_role("tab", name="Faces").click()
    until(page, "() => location.hash.includes('seed=42')")
    near(read(page, ".faces canvas"), face(networks["generate"], 42, 8, 0.7, 1))


def test_loading_is_not_shown_over_what_is_there(browser, address):
    with contextlib.closing(browser.new_context(service_workers="block")) as context:
        page, held = context.new_page(), []
        page.route("**/upscale.tflite", lambda route: held.append(route))
        opened(page, address, seed=3)
        page.get_by_role("tab", name="Upscale").click()
        page.locator("#loading").wait_for()
        page.get_by_role("tab", name="Faces").click()
        page.get_by_role("tabpanel", name="Faces").wait_for()
        assert not page.locator("#loading").is_visible()
        page.get_by_role("tab", name="Upscale").click()
        page.locator("#loading").wait_for()
        for route in held:
            route.continue_()
        page.get_by_role("tabpanel", name="Upscale").wait_for()
        page.locator("#loading").wait_for(state="hidden")
        assert len(held) == 1  # it was not asked for again


def test_a_photo_that_is_done_has_the_keyboard(page, address):
    """What had it, the button that opened the photo, is gone."""
    panel = tab_of(page, address)
    panel.locator("[name=file]").focus()
    panel.locator("[name=file]").set_input_files(file_of(portrait()))
    page.wait_for_function("() => document.activeElement.name === 'split'")
    page.keyboard.press("ArrowRight")
    assert panel.locator("[name=split]").input_value() == "51"


def test_photos_are_enlarged_as_large_as_they_are(page, address):
    """Up to a size that the page names, beyond which they are reduced first."""
    panel = tab_of(page, address)
    assert "more than 2048 pixels" in panel.inner_text() or "more than 1024 pixels" in panel.inner_text()
    panel.locator("[name=file]").set_input_files(file_of(portrait((20, 40)).repeat(15, 0).repeat(15, 1)))
    panel.locator(".compare").wait_for()
    assert read(page, "#panel-upscale canvas.after").shape == (600, 1200, 3)
    assert "reduced" not in panel.locator(".about").inner_text()


def test_a_photo_that_was_reduced_is_told(page, address):
    panel, _ = worked(page, address, "Colorize", np.tile(portrait((100, 100)), (4, 20, 1)))
    panel.get_by_text("The photo was reduced to 1600 × 320 pixels first.").wait_for()


def test_the_page_is_called_what_it_is(page, address, site):
    page.goto(address)
    titles = ("Faces that do not exist", "Colour for gray photos", "Larger photos", "Photos turned into others")
    assert page.title() == " · ".join(titles)


@pytest.mark.slow
def test_variety_that_is_built_in_is_not_asked_for(page, site, tmp_path):
    network = generator(classes=())
    with serving(built({"generate": network}, tmp_path, truncation=0.5)) as url:
        opened(page, url, seed=42)
        near(read(page, ".faces canvas"), face(network, 42, 16, 0.5))
        assert not page.get_by_label("Variety").is_visible() and not page.get_by_label("Kind").is_visible()
        assert page.get_by_role("tablist").count() == 0  # one network needs no tabs
        page.locator(".hearts button").click()
        page.evaluate("location.hash = '#seed=42&truncation=0.3'")
        page.wait_for_timeout(300)
        settled(page)
        assert page.locator(".hearts button").get_attribute("aria-pressed") == "true"


def test_it_can_be_installed(page, address):
    opened(page, address, seed=3)
    manifest = page.evaluate("async () => (await fetch(document.querySelector('link[rel=manifest]').href)).json()")
    assert manifest["display"] == "standalone" and {i["sizes"] for i in manifest["icons"]} == {"192x192", "512x512"}
    for icon in manifest["icons"]:
        size = page.evaluate("async src => { const b = await createImageBitmap(await (await fetch(src)).blob()); return [b.width, b.height] }", icon["src"])  # fmt: skip
        assert f"{size[0]}x{size[1]}" == icon["sizes"]
    assert page.evaluate("async () => Boolean((await navigator.serviceWorker.ready).active)")


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_a_damaged_model_is_told(browser, site, tmp_path, damage):
    shutil.copytree(site, tmp_path / "site")
    file = tmp_path / "site" / "models" / "generate.tflite"
    data = bytearray(file.read_bytes())
    if damage == "truncated":
        file.write_bytes(data[:1000])
    elif damage == "flipped":
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    else:
        file.unlink()
    with serving(tmp_path / "site") as url:
        page = browser.new_page()
        page.goto(url)
        page.locator("#problem").wait_for()
        text = page.inner_text("#problem")
        assert (
            "models/generate.tflite" in text
            and ("could not be loaded" if damage == "missing" else "is damaged") in text
        )
        page.get_by_role("tab", name="Upscale").click()  # the others still work
        page.get_by_role("tabpanel", name="Upscale").wait_for()
        page.close()


class breaking_off(plain_host):
    """Every model ends in its middle."""

    class Handler(plain_host.Handler):
        def copyfile(self, source, out):
            out.write(source.read(1000)) if self.path.endswith(".tflite") else super().copyfile(source, out)


def test_a_connection_that_is_lost_is_told(browser, site):
    with breaking_off(site) as url, contextlib.closing(browser.new_context()) as context:
        page = context.new_page()
        page.goto(url)
        page.locator("#problem").wait_for()
        assert page.inner_text("#problem").startswith(
            "models/generate.tflite could not be loaded. Check the connection"
        )


def test_a_browser_without_wasm_is_told(page, address):
    page.add_init_script("delete globalThis.WebAssembly")
    page.goto(address)
    page.get_by_text("This browser has no WebAssembly").wait_for()


@pytest.mark.parametrize("feature", ["no threads", "no relaxed simd"])
def test_older_browsers_draw_the_same(page, address, networks, feature):
    if feature == "no threads":
        page.add_init_script("Object.defineProperty(globalThis, 'crossOriginIsolated', { value: false })")
    else:  # the library asks whether a module that needs it is valid
        page.add_init_script("const real = WebAssembly.instantiate; WebAssembly.instantiate = (b, i) => b.byteLength < 300 ? Promise.reject(new Error('old')) : real(b, i); const v = WebAssembly.validate; WebAssembly.validate = (b) => b.byteLength < 300 ? false : v(b); const c = WebAssembly.compile; WebAssembly.compile = (b) => b.byteLength < 300 ? Promise.reject(new Error('old')) : c(b)")  # fmt: skip
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    opened(page, address, seed=42, label=0)
    name = "litert_wasm_internal.wasm" if feature == "no threads" else "litert_wasm_compat_internal.wasm"
    assert any(url.endswith(name) for url in asked) and "threads" not in page.inner_text("#status")
    near(read(page, ".faces canvas"), face(networks["generate"], 42, 16))


def chromium(browser, *arguments):
    """Another one, with switches."""
    executable = next(filter(None, map(shutil.which, CHROMIUM)))
    return browser.browser_type.launch(executable_path=executable, args=arguments)


def test_what_a_gpu_is_tried_on_is_the_same_in_the_page(page, address, site):
    """Computed on the CPU there, it is what the CPU here made of it; and it is a picture, in which mistakes would show."""
    opened(page, address, seed=3)
    probes = [m["probe"] for m in json.loads((site / "site.json").read_text())["models"]]
    assert [p["signature"] for p in probes][:2] == ["gen_16", "colorize_16"]
    assert all(len(p["pixels"]) > 100 and np.std(p["pixels"]) > 10 for p in probes)
    code = "async () => { const { Model } = await import('./runtime.js'); const site = await (await fetch('site.json')).json(); const out = []; for (const entry of site.models) out.push(await (await Model.open(site, entry, () => {})).agrees()); return out }"  # fmt: skip
    assert page.evaluate(code) == [True] * len(TASKS)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["float16", "dynamic"])
def test_on_webgpu_it_is_the_same_face(browser, site, tmp_path, how):
    """On a GPU that the browser computes itself. (Labels have no place there: conditional generators run on the CPU.)"""
    network = generator(classes=())
    switches = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan")
    with (
        contextlib.closing(chromium(browser, *switches)) as other,
        serving(built({"generate": network}, tmp_path, how)) as url,
    ):
        page = other.new_page()
        page.goto(url + "style.css")
        if not page.evaluate("async () => Boolean(await navigator.gpu?.requestAdapter())"):
            pytest.skip("this Chromium has no software WebGPU adapter")
        opened(page, url, seed=42)
        assert "WebGPU" in page.inner_text("#status")
        near(read(page, ".faces canvas"), face(network, 42, 16), most=5 if how == "float16" else 40)


@pytest.mark.slow
def test_a_gpu_that_computes_nonsense_is_left_aside(browser, site, tmp_path):
    """The page knows what the CPU made of one input when it was exported."""
    network = generator(classes=())
    built({"generate": network}, tmp_path)
    described = json.loads((tmp_path / "site.json").read_text())
    probe = described["models"][0]["probe"]
    assert probe["signature"] == "gen_16"
    probe["pixels"] = [255 - p if i % 8 == 0 else p for i, p in enumerate(probe["pixels"])]  # in a part of it
    (tmp_path / "site.json").write_text(json.dumps(described))
    switches = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan")
    with contextlib.closing(chromium(browser, *switches)) as other, serving(tmp_path) as url:
        page = other.new_page()
        opened(page, url, seed=42)
        assert "WebAssembly" in page.inner_text("#status")
        near(read(page, ".faces canvas"), face(network, 42, 16))


def test_the_camera(address, browser):
    switches = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with contextlib.closing(chromium(browser, *switches)) as other:
        page = other.new_page()
        opened(page, address, seed=3)
        page.get_by_role("tab", name="Colorize").click()
        panel = page.get_by_role("tabpanel", name="Colorize")
        panel.get_by_text("Use the camera").click()
        panel.get_by_text("Take it").click()
        panel.locator(".compare").wait_for()
        assert np.ptp(read(page, "#panel-colorize canvas.before").astype(int)) > 50
        off = "() => document.querySelector('#panel-colorize video').srcObject.getTracks().every(t => t.readyState === 'ended')"  # fmt: skip
        assert page.evaluate(off)
        page.wait_for_function("() => document.activeElement.name === 'split'")
        # It can be had again, and is off as soon as something else is shown.
        again = panel.get_by_role("button", name="Camera", exact=True)
        again.click()
        panel.get_by_text("Take it").wait_for()
        assert not page.evaluate(off)
        panel.get_by_text("Cancel").click()
        panel.locator(".compare").wait_for()
        assert page.evaluate(off)
        again.click()
        panel.get_by_text("Take it").wait_for()
        page.get_by_role("tab", name="Faces").click()
        page.wait_for_function(off)
        page.get_by_role("tab", name="Colorize").click()
        panel.locator(".compare").wait_for()
        again.click()
        panel.get_by_text("Take it").wait_for()
        panel.locator("[name=again]").set_input_files(file_of(portrait((40, 60))))
        page.wait_for_function("() => document.querySelector('#panel-colorize canvas.after').width === 60")
        assert page.evaluate(off) and panel.locator(".compare").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_on_a_phone(page, address, scheme):
    def fits():
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        for box in page.evaluate("[...document.querySelectorAll('button:not([role=tab]), input:not(.unseen), select, .button, canvas, .tag')].filter(e => e.checkVisibility()).map(e => { const r = e.getBoundingClientRect(); return [r.left, r.right, e.matches('canvas, .tag') ? 30 : r.height] })"):  # fmt: skip
            assert box[0] >= 0 and box[1] <= PHONE["width"] and box[2] >= 30, box

    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme=scheme)
    opened(page, address, seed=3)
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        panel = page.get_by_role("tabpanel", name=tab)
        panel.wait_for()
        fits()
        if tab != "Faces":
            panel.locator("[name=file]").set_input_files(file_of(portrait((300, 460))))
            panel.locator(".compare").wait_for()
            fits()


def test_the_site_s_server_stays_in_its_folder(address, site):
    (site.parent / "secret.txt").write_text("secret")
    connection = http.client.HTTPConnection("127.0.0.1", int(address.rstrip("/").rpartition(":")[2]))

    def asked(path):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer, answer.read()

    for path in (
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "//etc/passwd",
        "/models/",
        "/lib/../../secret.txt",
    ):
        answer, body = asked(path)
        assert answer.status == 404 and b"secret" not in body.replace(b"secret.txt", b""), path
    answer, body = asked("/lib/wasm/litert_wasm_internal.wasm")
    assert answer.headers["Content-Type"] == "application/wasm" and body[:4] == b"\0asm"
    assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    connection.close()


@pytest.mark.slow
def test_what_a_page_does_is_its_heading_and_its_name_on_a_home_screen(page, address, site, networks, tmp_path):
    page.goto(address)
    tab_of(page, address)
    assert page.inner_text("h1") == "Larger photos"
    page.get_by_role("tab", name="Faces").click()
    assert page.inner_text("h1") == "Faces that do not exist"
    manifest = json.loads((site / "manifest.webmanifest").read_text(encoding="utf-8"))
    assert manifest["name"] == page.title() and manifest["short_name"].startswith("Faces · Colour")
    one = built({"upscale": networks["upscale"]}, tmp_path)
    manifest = json.loads((one / "manifest.webmanifest").read_text(encoding="utf-8"))
    assert (manifest["name"], manifest["short_name"]) == ("Larger photos", "Enlarge")


def test_fingers_are_not_told_to_drop_a_photo(browser, page, address):
    tab_of(page, address)
    assert page.get_by_text("or drop one here").is_visible()
    with contextlib.closing(browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)) as context:
        phone = context.new_page()
        panel = tab_of(phone, address)
        assert panel.get_by_text("Open a photo").is_visible() and not panel.get_by_text("or drop one here").is_visible()
