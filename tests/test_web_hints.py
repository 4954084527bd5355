"""Colours that a person gives in the web app: taps, undo and the keyboard, in a real browser."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export import web
from pggan_tf.errors import UserError
from tests.stand_ins import Obedient
from tests.test_web import built, read, serving

PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A site with a network that does what hints say, and nothing else."""
    try:
        web.fetch_runtime()
    except UserError as reason:
        pytest.skip(str(reason))
    network = Obedient()
    network(tf.zeros((1, 64, 64, 4)))  # builds it
    with serving(built({"colorize": network}, tmp_path_factory.mktemp("site"))) as url:
        yield url


@pytest.fixture
def opened(page, address):
    """The page with a gray photo of 160 x 120 pixels."""
    page.goto(address)
    photo = io.BytesIO()
    Image.fromarray(np.tile(np.linspace(60, 200, 160).astype(np.uint8), (120, 1))).save(photo, "PNG")
    file = {"name": "gray.png", "mimeType": "image/png", "buffer": photo.getvalue()}
    page.locator("[name=file]").set_input_files(file)
    page.locator("[role=tabpanel][data-done]").wait_for()
    return page


def tap(page, x, y):
    """At a share of the picture's width and height."""
    box = page.locator("canvas.after").bounding_box()
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def redness(image):
    return image[..., 0].astype(int) - image[..., 2]


def converted(page):
    page.wait_for_function("() => document.querySelector('[role=tabpanel]').dataset.done")
    return read(page, "canvas.after")


def test_a_tap_colours_its_place_and_can_be_undone(opened):
    page = opened
    before = read(page, "canvas.after")
    assert abs(redness(before)).max() <= 2 and not page.get_by_text("Undo").is_visible()
    page.get_by_role("button", name="Give a colour").click()
    assert not page.locator("[name=split]").is_visible(), "taps are for the picture now"
    tap(page, 0.25, 0.5)
    assert page.get_by_text("Which colour is it there?").is_visible()
    page.get_by_role("button", name="red", exact=True).click()
    page.get_by_text("Undo").wait_for()
    red = converted(page)
    assert redness(red)[60, 40] > 40 and abs(redness(red)[:, 100:]).max() <= 8
    tap(page, 0.75, 0.25)
    page.get_by_role("button", name="blue", exact=True).click()
    page.wait_for_function("() => document.querySelectorAll('.marks span').length === 2")
    both = converted(page)
    assert redness(both)[30, 120] < -30 and redness(both)[60, 40] > 40
    page.get_by_text("Undo").click()
    np.testing.assert_array_equal(converted(page), red)
    page.get_by_text("Undo").click()
    np.testing.assert_array_equal(converted(page), before)
    assert not page.get_by_text("Undo").is_visible()


def test_by_keyboard_and_on_a_phone(opened, tmp_path):
    page = opened
    page.set_viewport_size(PHONE)
    page.get_by_role("button", name="Give a colour").focus()
    page.keyboard.press("Enter")
    for key in ("ArrowLeft", "ArrowUp", "Enter"):  # one step from the middle, then its colour
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "gray"
    page.get_by_label("Other", exact=True).fill("#00a000")
    page.get_by_label("Other", exact=True).dispatch_event("change")
    page.get_by_text("Undo").wait_for()
    made = converted(page)
    assert made[57, 76, 1] > made[57, 76, 0] + 20, "green, in the middle but one step"
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.screenshot(path=tmp_path / "phone.png")
    page.locator("[name=again]").set_input_files({"name": "other.png", "mimeType": "image/png", "buffer": _flat()})
    page.wait_for_function("() => document.querySelector('canvas.after').width === 64")
    assert not page.get_by_text("Undo").is_visible(), "another photo has no hints"


def _flat():
    photo = io.BytesIO()
    Image.new("L", (64, 64), 128).save(photo, "PNG")
    return photo.getvalue()
