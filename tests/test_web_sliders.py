"""Sliders and the album of the web app, in a real browser: pixels against Keras's, what is kept, phones."""

import contextlib
import json

import numpy as np
import pytest
from PIL import Image

from export import web
from pggan_tf import synthesis
from pggan_tf.errors import UserError
from pggan_tf.explore import sliders
from pggan_tf.networks import progressive
from pggan_tf.runs import slider_names
from tests.test_web import CHANGE, built, face, generator, near, opened, plain_host, read, serving, settled, until

PHONES = ({"width": 390, "height": 844}, {"width": 360, "height": 640})


@pytest.fixture(scope="module")
def network():
    return generator()


@pytest.fixture(scope="module")
def site(network, tmp_path_factory):
    try:
        web.fetch_runtime()
    except UserError as reason:
        pytest.skip(str(reason))
    out = tmp_path_factory.mktemp("site")
    kernel = sliders.read_kernel(network, "x")
    slider_names.rename(out, sliders.compute_digest(kernel), [(2, "smile")], 8)
    names = out / slider_names.FILE
    built({"generate": network}, out)
    names.unlink()
    return out


@pytest.fixture(scope="module")
def address(site):
    with serving(site) as url:
        yield url


def moved(network, seed, amounts, z=None):
    """Latents of a seed, moved as Python moves them. amounts: number of a slider -> amount."""
    found = sliders.make_sliders(sliders.read_kernel(network, "x"), {})
    z = synthesis.latents([seed], network.latent_size) if z is None else z
    directions = np.stack([s.direction for s in found])
    return sliders.move(z, directions, sliders.resolve_amounts(found, amounts, "x"))


def test_the_site_holds_the_strongest_sliders_and_the_user_s_names(network, site):
    (entry,) = json.loads((site / "site.json").read_text())["models"]
    found = sliders.make_sliders(sliders.read_kernel(network, "x"), {})
    assert [(s["number"], s["name"]) for s in entry["sliders"]] == [(n, "smile" if n == 2 else "") for n in range(1, 7)]
    for shown, slider in zip(entry["sliders"], found):
        np.testing.assert_allclose(shown["direction"], slider.direction, atol=1e-6)


@pytest.mark.slow
def test_architectures_without_sliders_show_none(network, site, tmp_path, page, monkeypatch):
    monkeypatch.setattr(progressive.Generator, "latent_layers", [])
    with serving(built({"generate": network}, tmp_path)) as url:
        opened(page, url, seed=3)
        assert not page.get_by_text("Sliders").is_visible() and page.locator("[name=slider-1]").count() == 0
        near(read(page, ".faces canvas"), face(network, 3, 16))


def test_moved_latents_are_those_of_python(page, address):
    page.goto(address + "style.css")
    z = synthesis.latents([7], 64)
    directions = np.linalg.qr(np.random.default_rng(0).normal(size=(64, 64)))[0][:3]
    code = "async ([z, directions, all]) => { const { move } = await import('./latents.js'); return all.map(a => [...move(Float32Array.from(z), directions, a)]) }"
    amounts = [[0, 0, 0], [1, 0, 0], [-4, 2.5, 0.1], [4, 4, 4]]
    made = np.float32(page.evaluate(code, [z[0].tolist(), directions.tolist(), amounts]))
    np.testing.assert_array_equal(made[0], z[0])
    for one, row in zip(made, amounts):
        np.testing.assert_allclose(one, sliders.move(z, directions, row)[0], rtol=1e-6, atol=1e-6)


def test_sliders_make_the_same_pixels_as_python(page, address, network, tmp_path):
    opened(page, address, seed=5, label=1)
    near(read(page, ".faces canvas"), face(network, 5, 16, label=1))
    page.get_by_label("smile").fill("3")
    page.get_by_label("Slider 1").fill("-1.5")
    settled(page)
    assert page.locator(".directions .value").all_inner_texts() == ["−1.5", "+3.0", "0", "0", "0", "0"]
    assert page.get_by_label("smile").get_attribute("aria-valuetext") == "+3.0"
    edited = face(network, 5, 16, label=1, z=moved(network, 5, {1: -1.5, 2: 3}))
    near(read(page, ".faces canvas"), edited)
    assert np.abs(edited.astype(int) - face(network, 5, 16, label=1)).max() > 10
    for i, stage in enumerate(network.resolutions):
        z = moved(network, 5, {1: -1.5, 2: 3})
        near(read(page, f".growth label:nth-child({i + 1}) canvas"), face(network, 5, stage, label=1, z=z))
    with page.expect_download() as download:
        page.get_by_text("Save PNG").click()
    assert download.value.suggested_filename == "face-5-16px-slider-1--1.5-slider-2-3.png"
    # Every face of a grid, after the morph; and the address holds it.
    page.get_by_label("4", exact=True).check()
    page.get_by_label("into seed").fill("2")
    page.get_by_label("Morph").fill("0.5")
    settled(page)
    (middle,) = synthesis.slerp(*(synthesis.latents([s], 8) for s in (7, 2)), [0.5])
    z = moved(network, 7, {1: -1.5, 2: 3}, middle)
    near(read(page, ".faces button:nth-child(3) canvas"), face(network, 7, 16, label=1, z=z))
    other = page.context.new_page()
    opened(other, page.url)
    np.testing.assert_array_equal(read(other, ".faces canvas"), read(page, ".faces canvas"))
    assert other.locator("[name=slider-2]").input_value() == "3"


def test_reset_takes_sliders_alone_back(page, address, network):
    opened(page, address, seed=5, truncation=0.7, sliders="0,2,0,0,0,-4")
    near(read(page, ".faces canvas"), face(network, 5, 16, 0.7, z=moved(network, 5, {2: 2, 6: -4})))
    page.get_by_role("button", name="Reset").click()
    settled(page)
    near(read(page, ".faces canvas"), face(network, 5, 16, 0.7))
    assert "sliders" not in page.url and "truncation=0.7" in page.url
    assert page.get_by_role("button", name="Reset").is_disabled()
    assert page.evaluate("document.activeElement.name") == "slider-1"  # the keyboard is not lost
    page.keyboard.press("ArrowRight")
    settled(page)
    assert "sliders=0.1" in page.url


@pytest.mark.parametrize("given", ["x", "5,-9,NaN", "1e9", ",,,,,,,,,,"])
def test_links_with_nonsense_move_nothing(page, address, network, given):
    opened(page, address, seed=5, sliders=given)
    near(read(page, ".faces canvas"), face(network, 5, 16))


def hearts(page):
    return [heart.get_attribute("aria-pressed") == "true" for heart in page.locator(".hearts button").all()]


def opened_album(page):
    page.get_by_role("button", name="Album (").click()
    page.wait_for_function("() => document.querySelector('.kept').dataset.drawn")
    return page.get_by_role("dialog", name="Album")


def test_faces_with_a_heart_are_in_the_album(page, address, network, tmp_path):
    opened(page, address, seed=5, sliders="0,3,0,0,0,0", label=1, truncation=0.8)
    page.get_by_role("button", name="Keep the face of seed 5 in the album").click()
    assert hearts(page) == [True] and page.get_by_role("button", name="Album (1)").is_visible()
    page.get_by_role("button", name="Reset").click()
    assert hearts(page) == [False]  # that face is another one
    page.get_by_label("4", exact=True).check()
    settled(page)
    page.locator(".hearts button").nth(2).click()
    assert hearts(page) == [False, False, True, False]
    # What is kept are numbers, not pixels; and it is there at the next visit.
    kept = page.evaluate("Object.entries(localStorage).filter(([key]) => key.startsWith('pggan album'))")
    assert len(kept) == 1 and address in kept[0][0] and len(kept[0][1]) < 400
    assert [face["seed"] for face in json.loads(kept[0][1])] == [5, 7]
    page.goto("about:blank")
    opened(page, address, seed=1)
    album = opened_album(page)
    album.get_by_text("2 faces, kept on this device.").wait_for()
    one = face(network, 5, 16, 0.8, 1, z=moved(network, 5, {2: 3}))
    two = face(network, 7, 16, 0.8, 1)
    near(read(page, ".cell:nth-child(1) canvas"), one)
    near(read(page, ".cell:nth-child(2) canvas"), two)
    with page.expect_download() as download:
        album.get_by_role("button", name="Save all as one picture").click()
    assert download.value.suggested_filename == "album-2-16px.png"
    download.value.save_as(tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    near(sheet, np.concatenate([one, two], axis=1))
    # A tap shows the face with all that it was made from.
    album.get_by_role("button", name="Look at the face of seed 5").click()
    settled(page)
    assert not album.is_visible() and hearts(page) == [True]
    near(read(page, ".faces canvas"), one)
    assert page.get_by_label("smile").input_value() == "3" and page.get_by_label("Variety").input_value() == "0.8"
    # It can be taken out in both places.
    album = opened_album(page)
    album.get_by_role("button", name="Remove the face of seed 7").click()
    album.get_by_text("1 face, kept on this device.").wait_for()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Remove the face of seed 5"
    page.keyboard.press("Escape")
    page.locator(".hearts button").click()
    assert hearts(page) == [False]
    album = opened_album(page)
    album.get_by_text("Nothing here yet").wait_for()
    assert not album.get_by_role("button", name="Save all as one picture").is_visible()
    album.get_by_role("button", name="Close").click()
    assert not album.is_visible()


def test_other_weights_have_an_album_of_their_own(browser, site, tmp_path):
    """And other tabs see what changes."""
    described = json.loads((site / "site.json").read_text())
    described["models"][0]["weights"] = "1"
    (tmp_path / "site.json").write_text(json.dumps(described))
    for path in site.rglob("*"):
        target = tmp_path / path.relative_to(site)
        if path.is_dir():
            target.mkdir()
        elif not target.exists():
            target.write_bytes(path.read_bytes())
    with plain_host(site) as url, contextlib.closing(browser.new_context(service_workers="block")) as context:
        page, other = context.new_page(), context.new_page()
        opened(page, url, seed=5)
        opened(other, url, seed=5)
        page.locator(".hearts button").click()
        until(other, "() => document.querySelector('[name=album]').textContent === 'Album (1)'")
        assert hearts(other) == [True]
        page.route("**/site.json", lambda route: route.fulfill(path=tmp_path / "site.json"))
        page.reload()
        settled(page)
        assert hearts(page) == [False]


def test_an_album_that_cannot_be_kept_is_told(page, address):
    page.add_init_script("Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') }")
    opened(page, address, seed=5)
    page.locator(".hearts button").click()
    page.get_by_text("This browser keeps nothing").wait_for()
    assert hearts(page) == [True]
    opened_album(page).get_by_text("1 face").wait_for()


def test_a_full_store_keeps_what_was_there(page, address):
    opened(page, address, seed=5)
    page.locator(".hearts button").click()
    page.evaluate(
        "() => { Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') } }"
    )
    page.locator("[name=new]").click()
    page.locator(".hearts button").click()
    page.get_by_text("or is full").wait_for()
    assert hearts(page) == [True]
    opened_album(page).get_by_text("2 faces").wait_for()
    page.reload()
    opened_album(page).get_by_text("1 face").wait_for()


def test_a_store_with_nonsense_is_an_empty_album(page, address):
    opened(page, address, seed=5)
    page.locator(".hearts button").click()
    ((key, text),) = page.evaluate("Object.entries(localStorage)")
    strange = json.dumps([{**json.loads(text)[0], "seed": "x", "truncation": None}])
    for text in ("{", "7", "[null]", '[{"seed": 1}]', '[{"seed": 1, "sliders": [1]}]', strange):
        page.evaluate("([key, text]) => localStorage.setItem(key, text)", [key, text])
        page.reload()
        settled(page)
        assert page.get_by_role("button", name="Album (0)").is_visible(), text


def test_an_album_has_an_end(page, address):
    opened(page, address, seed=5)
    page.locator(".hearts button").click()
    ((key, text),) = page.evaluate("Object.entries(localStorage)")
    full = [{**json.loads(text)[0], "seed": seed} for seed in range(100, 200)]
    page.evaluate("([key, text]) => localStorage.setItem(key, text)", [key, json.dumps(full)])
    page.reload()
    settled(page)
    page.locator(".hearts button").click()
    page.get_by_text("The album has 100 faces").wait_for()
    assert hearts(page) == [False] and page.get_by_role("button", name="Album (100)").is_visible()


@pytest.mark.parametrize("phone", PHONES, ids=lambda size: str(size["width"]))
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_the_face_is_seen_while_a_slider_is_moved(page, address, phone, scheme):
    page.set_viewport_size(phone)
    page.emulate_media(color_scheme=scheme)
    opened(page, address, seed=5)
    boxes = "[...document.querySelectorAll('button, input:not(.unseen), select, canvas')].filter(e => e.checkVisibility()).map(e => { const r = e.getBoundingClientRect(); return [r.left, r.right, r.height] })"

    def fits():
        assert page.evaluate("document.documentElement.scrollWidth") <= phone["width"]
        for left, right, height in page.evaluate(boxes):
            assert left >= 0 and right <= phone["width"] and height >= 29

    fits()
    for name in ("slider-6", "slider-1", "truncation"):  # backwards, which would put it below the face
        control = page.locator(f"[name={name}]")
        control.focus()
        picture, box = (one.bounding_box() for one in (page.locator(".faces"), control))
        assert picture["y"] >= 0 and picture["y"] + picture["height"] <= box["y"]
        assert box["y"] + box["height"] <= phone["height"]
    page.get_by_label("25", exact=True).check()
    settled(page)
    fits()
    for i in (0, 3, 24):
        heart, one = (page.locator(f".{name} button").nth(i).bounding_box() for name in ("hearts", "faces"))
        assert heart["x"] >= one["x"] and heart["x"] + heart["width"] <= one["x"] + one["width"] + 0.5
        assert heart["y"] >= one["y"] and heart["y"] + heart["height"] <= one["y"] + one["height"] + 0.5
        page.locator(".hearts button").nth(i).click()
    opened_album(page)
    fits()


def test_hearts_do_not_cover_the_faces(page, address):
    """A tap on the picture beside the heart is one on the face."""
    opened(page, address, seed=5)
    box = page.locator(".hearts").bounding_box()
    page.mouse.click(box["x"] + 40, box["y"] + 40)
    settled(page)
    assert page.get_by_label("Seed", exact=True).input_value() != "5" and hearts(page) == [False]


def test_dragging_a_slider_ends_where_it_was_let_go(page, address, network):
    opened(page, address, seed=5)
    page.evaluate(f"() => {{ {CHANGE} for (let i = -40; i <= 20; i++) change('slider-3', i / 10) }}")
    settled(page)
    near(read(page, ".faces canvas"), face(network, 5, 16, z=moved(network, 5, {3: 2})))


def test_a_full_store_that_has_room_again_keeps_what_other_tabs_added(browser, address):
    with contextlib.closing(browser.new_context(service_workers="block")) as context:
        page, other = context.new_page(), context.new_page()
        opened(page, address, seed=5)
        page.locator(".hearts button").click()
        page.evaluate(
            "() => { window.plain = Storage.prototype.setItem; Storage.prototype.setItem = "
            "() => { throw new DOMException('full', 'QuotaExceededError') } }"
        )
        for seed in (6, 7):
            page.evaluate(f"location.hash = '#seed={seed}'")
            page.wait_for_function(f"() => document.querySelector('[name=seed]').value === '{seed}'")
            settled(page)
            page.locator(".hearts button").click()
        page.get_by_text("or is full").wait_for()
        page.locator(".hearts button").click()  # 7 is taken out again
        opened(other, address, seed=77)
        other.locator(".hearts button").click()
        until(page, "() => document.querySelector('[name=album]').textContent === 'Album (3)'")
        page.evaluate("() => { Storage.prototype.setItem = window.plain }")
        page.evaluate("location.hash = '#seed=8'")
        page.wait_for_function("() => document.querySelector('[name=seed]').value === '8'")
        settled(page)
        page.locator(".hearts button").click()
        kept = page.evaluate("() => JSON.parse(Object.values(localStorage)[0]).map(({ seed }) => seed)")
        assert kept == [5, 77, 6, 8]
