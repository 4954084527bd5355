"""What the studio has made of a run is found again in files, by another server too."""

import errno
import http.cookiejar
import io
import json
import os
import shutil
import threading
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="fastapi is not installed (extra serve)")
from export import lan
from pggan_tf.studio import made, phones, store
from tests.studio_stand import Asker, copy_pretrained, make_studio, write_run

RUN = "00000-pggan-portraits-8"


@pytest.fixture
def asker(tmp_path):
    write_run(tmp_path / "runs")
    studio = make_studio(tmp_path / "runs")
    studio.queue._launch = None
    yield Asker(studio)
    studio.close()


def draw_png(shade=0):
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


def open_again(asker):
    """Another server on the same folder."""
    asker.studio.close()
    studio = make_studio(asker.studio.store.runs)
    studio.queue._launch = None
    return Asker(studio)


def test_things_are_found_again_with_their_links_and_sizes(asker, tmp_path):
    own = tmp_path / "runs" / RUN / "studio"
    walk = made.choose_place(own, "walk")
    walk.mkdir(parents=True)
    (walk / "walk.mp4").write_bytes(b"a film")
    assert asker.ask("GET", f"/api/runs/{RUN}/made")[1] == {"things": [], "exports": {}}, "it is not complete"
    made.note(walk, {"seeds": "0-5", "seconds": 2, "stage": 8})
    written = int(time.time()) - 2
    os.utime(walk / "walk.json", (written, written))
    made.keep_photo(own, "0123456789", draw_png(), draw_png(200), {"name": "cat.png", "hints": ["1,2=#c03020"]})
    _, before = asker.ask("GET", f"/api/runs/{RUN}/made")
    photo, film = before["things"]
    assert (film["kind"], film["seeds"], film["bytes"], film["id"]) == ("walk", "0-5", 6, walk.name)
    assert film["at"] == written < photo["at"] and abs(photo["at"] - time.time()) < 60
    assert asker.ask("GET", film["url"])[1] == b"a film"
    assert {f["name"]: asker.ask("GET", f["url"])[1] for f in photo["files"]} == {
        "before.png": draw_png(),
        "after.png": draw_png(200),
    }
    assert photo["hints"] == ["1,2=#c03020"] and photo["url"].endswith("convert-0123456789/after.png")
    asker = open_again(asker)
    assert asker.ask("GET", f"/api/runs/{RUN}/made")[1] == before
    # The newest picture of a photo takes the place of the one before.
    made.keep_photo(own, "0123456789", draw_png(), draw_png(90), {"name": "cat.png", "hints": []})
    assert asker.ask("GET", photo["url"])[1] == draw_png(90)
    assert len(asker.ask("GET", f"/api/runs/{RUN}/made")[1]["things"]) == 2
    for id in ("..", "export", "walk-0", "walk-../../x", photo["id"] + "x"):
        assert asker.ask("DELETE", f"/api/runs/{RUN}/made/{id}")[0] in (404, 405), id
    assert asker.ask("DELETE", f"/api/runs/{RUN}/made/{walk.name}")[0] == 200 and not walk.exists()
    assert [t["id"] for t in asker.ask("GET", f"/api/runs/{RUN}/made")[1]["things"]] == [photo["id"]]


def test_things_of_one_time_are_in_order_of_their_names(tmp_path):
    for id in ("bbbbbbbbbb", "cccccccccc", "aaaaaaaaaa"):
        made.keep_photo(tmp_path, id, draw_png(), draw_png(), {"name": id})
        os.utime(tmp_path / f"convert-{id}" / "convert.json", (1e9, 1e9))
    assert [one["name"][0] for one in made.list_all(RUN, tmp_path)] == ["a", "b", "c"]


def test_what_a_run_from_elsewhere_leads_to_is_not_shown(asker, tmp_path):
    own, secret = tmp_path / "runs" / RUN / "studio", tmp_path / "secret"
    place = secret / "walk-0123456789"
    place.mkdir(parents=True)
    (place / "walk.mp4").write_bytes(b"SECRET")
    store.write_json(place / "walk.json", {"seeds": "0-5"})
    own.mkdir()
    (own / place.name).symlink_to(place)
    (own / "export").symlink_to(secret)
    odd = own / "walk-aaaaaaaaaa"
    odd.mkdir()
    (odd / "walk.mp4").symlink_to(place / "walk.mp4")
    (odd / "walk.json").write_text('{"seeds": NaN, "id": "../x"}')
    assert asker.ask("GET", f"/api/runs/{RUN}/made")[1] == {"things": [], "exports": {}}
    assert asker.ask("DELETE", f"/api/runs/{RUN}/made/{place.name}")[0] == 404 and place.is_dir()
    (odd / "walk.mp4").unlink()
    (odd / "walk.mp4").write_bytes(b"film")
    (film,) = asker.ask("GET", f"/api/runs/{RUN}/made")[1]["things"]
    assert (film["id"], film["seeds"]) == (odd.name, None)
    shutil.rmtree(own)
    own.symlink_to(secret)
    assert asker.ask("GET", f"/api/runs/{RUN}/made")[1] == {"things": [], "exports": {}}


def test_exports_are_found_again_with_sizes_and_parity(asker, tmp_path):
    own = tmp_path / "runs" / RUN / "studio" / "export"
    (own / "tflite").mkdir(parents=True)
    (own / ".web.new").mkdir()
    (own / "tflite" / "generator.tflite").write_bytes(b"12345")
    signatures = [{"max_difference": 2, "psnr": 51.25}, {"max_difference": 1, "psnr": None}]
    (own / "tflite" / "report.json").write_text(json.dumps({"files": [{"signatures": signatures}]}))
    exports = open_again(asker).ask("GET", f"/api/runs/{RUN}/made")[1]["exports"]
    assert list(exports) == ["tflite"], "what is half done is not shown"
    assert exports["tflite"]["parity"].startswith("differs from Keras by 2 of 255 at most, PSNR 51.2 dB at least")
    assert {f["name"]: f["bytes"] for f in exports["tflite"]["files"]}["generator.tflite"] == 5
    for file in exports["tflite"]["files"]:
        assert asker.ask("GET", file["url"])[0] == 200


def test_pages_are_shown_to_phones_again_by_the_next_studio(asker, tmp_path, monkeypatch):
    monkeypatch.setattr(lan, "find_address", lambda: "127.0.0.1")
    path, site = f"/api/runs/{RUN}/phone", tmp_path / "runs" / RUN / "studio" / "export" / "web"
    site.mkdir(parents=True)
    (site / "site.json").write_text("{}")
    (site / "index.html").write_text("the page")
    assert asker.ask("GET", path)[1] == {"address": None, "qr": None}
    _, shown = asker.ask("POST", path, body={"on": True})
    assert asker.ask("GET", path)[1] == shown
    kept = tmp_path / "runs" / ".studio" / "phones.json"
    assert kept.stat().st_mode & 0o077 == 0, "it has a key"

    def read():
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        with urllib.request.build_opener(urllib.request.ProxyHandler({}), jar).open(shown["address"], timeout=10) as a:
            return a.read()

    asker.studio.close()
    with pytest.raises(OSError):
        read()
    asker = open_again(asker)
    asker.studio.phones.resume()
    assert asker.ask("GET", path)[1] == shown and read() == b"the page"
    assert asker.ask("POST", path, body={"on": False})[1] == asker.ask("GET", path)[1] == {"address": None, "qr": None}

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(phones, "write_private", full)
        assert asker.ask("POST", path, body={"on": True})[0] == 409
    assert asker.ask("GET", path)[1] == {"address": None, "qr": None}, "what was refused is not shown"
    asker = open_again(asker)
    asker.studio.phones.resume()
    assert asker.ask("GET", path)[1]["address"] is None, "it was stopped for good"
    asker.ask("POST", path, body={"on": True})
    assert asker.ask("DELETE", f"/api/runs/{RUN}")[0] == 200
    assert json.loads(kept.read_text()) == {}, "its run is gone"


def test_a_run_of_which_something_is_made_is_not_deleted(asker, tmp_path):
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        def call(self, verb, args, progress):
            begun.set()
            assert go_on.wait(20)

    asker.studio.jobs.helper = Slow()
    job = asker.studio.jobs.start("project", "a photo", "project", {}, run=RUN)
    assert begun.wait(20)
    status, said = asker.ask("DELETE", f"/api/runs/{RUN}")
    assert status == 409 and "something is still made of it (a photo)" in said["error"]
    assert (tmp_path / "runs" / RUN).is_dir()
    go_on.set()
    while asker.studio.jobs.get(job["id"])["state"] == "running":
        time.sleep(0.01)
    assert asker.ask("DELETE", f"/api/runs/{RUN}")[0] == 200


@pytest.mark.slow
def test_what_was_computed_is_found_again(tmp_path):
    """A walk, a projection and an export of the generator that comes with the package."""
    copy_pretrained(tmp_path / "runs")
    asker = Asker(make_studio(tmp_path / "runs"))
    run = "/api/runs/00007-portraits"

    def wait(answer):
        status, job = answer
        assert status == 200, job
        while (job := asker.ask("GET", f"/api/jobs/{job['id']}")[1])["state"] == "running":
            time.sleep(0.05)
        assert job["state"] == "done" and job["run"] == "00007-portraits", job
        return job["result"]

    walk = wait(asker.ask("POST", f"{run}/walk", body={"seeds": "0-1", "seconds": 0.5, "stage": 8}))
    found = wait(asker.ask("POST", f"{run}/project", b"stage=8&name=me.png", draw_png(120)))
    exported = wait(asker.ask("POST", f"{run}/export", body={"format": "keras"}))
    assert found["name"] == "me.png" and np.isfinite(found["psnr"])
    with Image.open(io.BytesIO(asker.ask("GET", found["url"])[1])) as triple:
        assert 3 * triple.height <= triple.width < 3.1 * triple.height
    _, listed = open_again(asker).ask("GET", f"{run}/made")
    assert listed == {"things": [found, walk], "exports": {"keras": exported}}
    failed = asker.ask("POST", f"{run}/walk", body={"seeds": "0-1", "seconds": 60, "stage": 17})[1]
    while (failed := asker.ask("GET", f"/api/jobs/{failed['id']}")[1])["state"] == "running":
        time.sleep(0.05)
    assert failed["state"] == "failed"
    assert len(list((tmp_path / "runs/00007-portraits/studio").glob("walk-*"))) == 1
