"""Pictures of the page go to other apps by the browser's share sheet, where there is one."""

import base64
import contextlib

import pytest

from export import web
from pggan_tf.data import marks
from pggan_tf.errors import UserError
from tests import image_networks
from tests.test_marks import packet_of
from tests.test_web import built, file_of, generator, opened, portrait, serving, settled

pytestmark = pytest.mark.slow

# Stands in for the browser's share sheet, which no test can open: it keeps what it was given.
SHEET = """
navigator.canShare = ({ files }) => files.every((file) => file instanceof File && file.type === "image/png");
navigator.share = async ({ files: [file] }) => {
  if (self.refusal) throw new DOMException("no", self.refusal);
  const bytes = new Uint8Array(await file.arrayBuffer());
  self.shared = [file.name, file.type, btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(""))];
};
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    try:
        web.fetch_runtime()
    except UserError as reason:
        pytest.skip(str(reason))
    networks = {"generate": generator(), "upscale": image_networks.built("upscale")}
    with serving(built(networks, tmp_path_factory.mktemp("site"))) as url:
        yield url


def test_a_face_is_shared_under_a_name_that_says_what_it_is(page, address, tmp_path):
    page.add_init_script(SHEET)
    opened(page, address, seed=9, stage=8)
    page.get_by_role("button", name="Share").click()
    page.wait_for_function("() => self.shared")
    name, kind, data = page.evaluate("self.shared")
    assert (name, kind) == ("face-9-8px.png", "image/png")
    (tmp_path / name).write_bytes(base64.b64decode(data))
    mark = marks.read(packet_of(tmp_path / name))
    assert (mark.seeds, mark.stage, mark.layout) == ("9", 8, marks.PAGE)
    # Who closes the sheet has not asked for a file; where it cannot be opened, the picture is saved.
    page.evaluate("self.refusal = 'AbortError'")
    saved = []
    page.on("download", lambda file: saved.append(file))
    page.get_by_role("button", name="Share").click()
    page.wait_for_timeout(300)
    assert not saved
    page.evaluate("self.refusal = 'NotAllowedError'")
    with page.expect_download() as download:
        page.get_by_role("button", name="Share").click()
    assert download.value.suggested_filename == "face-9-8px.png"


def test_a_changed_photo_is_shared(page, address):
    page.add_init_script(SHEET)
    page.goto(address + "#panel=upscale")
    panel = page.get_by_role("tabpanel", name="Upscale")
    panel.locator("[name=file]").set_input_files(file_of(portrait((40, 50)), "small.png"))
    panel.get_by_role("button", name="Share").click()
    page.wait_for_function("() => self.shared")
    assert page.evaluate("self.shared")[:2] == ["small-upscale.png", "image/png"]


def test_without_a_share_sheet_there_is_no_button_for_it(browser, address):
    with contextlib.closing(browser.new_context()) as context:
        page = context.new_page()
        page.add_init_script("delete Navigator.prototype.canShare; delete Navigator.prototype.share")
        page.goto(address)
        settled(page)
        assert not page.get_by_role("button", name="Share").is_visible()
        assert page.get_by_role("button", name="Copy link").is_visible()
