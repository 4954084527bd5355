"""The web app, looked through by axe: what people who use a screen reader or a keyboard would stumble over."""

import io

import pytest
import tensorflow as tf
from PIL import Image

from export import web
from pggan_tf.errors import UserError
from tests.stand_ins import Obedient
from tests.test_web import built, generator, serving, settled

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    try:
        web.fetch_runtime()
    except UserError as reason:
        pytest.skip(str(reason))
    colorizer = Obedient()
    colorizer(tf.zeros((1, 64, 64, 4)))  # builds it
    networks = {"generate": generator(), "colorize": colorizer}
    with serving(built(networks, tmp_path_factory.mktemp("site"))) as url:
        yield url


FORMS = [("dark", 1280), ("light", 360), ("dark", 360)]


def found(page) -> list:
    """What axe finds, but for what it cannot decide."""
    violations = axe.Axe().run(page).response["violations"]
    return [(v["id"], [node["html"][:120] for node in v["nodes"]]) for v in violations]


@pytest.mark.parametrize(
    "scheme, width", [("light", 1280), *(pytest.param(*form, marks=pytest.mark.slow) for form in FORMS)]
)
def test_axe_finds_nothing(page, address, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(address + "#seed=3")
    settled(page)
    assert not found(page)
    page.get_by_role("tab", name="Colorize").click()
    panel = page.get_by_role("tabpanel", name="Colorize")
    panel.get_by_text("Open a photo").wait_for()
    assert not found(page)
    photo = io.BytesIO()
    Image.new("L", (80, 60), 120).save(photo, "PNG")
    panel.locator("[name=file]").set_input_files({"name": "g.png", "mimeType": "image/png", "buffer": photo.getvalue()})
    panel.get_by_role("button", name="Give a colour").click()
    box = panel.locator("canvas.after").bounding_box()
    page.mouse.click(box["x"] + 20, box["y"] + 20)
    panel.get_by_role("button", name="red", exact=True).wait_for()
    assert not found(page)
