"""The studio's server without a browser: who gets in, photos, plans, the queue, and what it shows of runs."""

import asyncio
import io
import json
import os
import time
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from pggan_tf.config import FIELDS
from pggan_tf.config.recipes import PIPELINES, RECIPES
from pggan_tf.report import tables
from pggan_tf.report.runs import read_run, read_runs
from pggan_tf.runs import folder as folders
from tests.conftest import pggan
from tests.test_odd_files import is_upright, turned_jpegs

pytest.importorskip("fastapi", reason="fastapi is not installed (extra serve)")
from pggan_tf.studio import choices, commands, gate, launch, machine, photos, store  # noqa: E402
from pggan_tf.studio.folders import Folders, _clean  # noqa: E402
from pggan_tf.studio.queue import Queue  # noqa: E402
from pggan_tf.studio.worker import Worker  # noqa: E402
from tests.studio_stand import Asker, copy_pretrained, draw_photos, make_studio, write_run  # noqa: E402


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A home folder with photos in it, and a secret beside it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a.png").write_bytes(b"SECRET")
    draw_photos(tmp_path / "home" / "photos")
    return tmp_path


@pytest.fixture
def asker(place):
    write_run(place / "runs")
    studio = make_studio(place / "runs")
    studio.queue._launch = None  # nothing is trained
    yield Asker(studio)
    studio.close()


def read(file):
    """The pixels of a picture."""
    with Image.open(file) as picture:
        return np.asarray(picture)


def open_photos(asker, place):
    status, folder = asker.ask("POST", "/api/folders", body={"path": str(place / "home" / "photos")})
    assert status == 200, folder
    return folder["id"]


# --- who gets in


def test_only_the_browser_with_the_key_gets_in(asker):
    assert asker.ask("GET", "/api/runs")[0] == 200
    status, said = asker.ask("GET", "/api/runs", cookie=None)
    assert status == 401 and "key" in said["error"]
    assert asker.ask("GET", "/api/runs", cookie="pggan-studio-7863=wrong")[0] == 401
    assert asker.ask("GET", "/api/runs", cookie=f"pggan-studio-1={asker.studio.key}")[0] == 401, "of another port"
    status, page = asker.ask("GET", "/", cookie=None)
    assert status == 401 and b"?key=" in page
    assert asker.ask("GET", "/static/index.html", cookie=None)[0] == 401
    query = f"key={asker.studio.key}".encode()
    status, names, _ = asyncio.run(asker.send("GET", "/", query, cookie=None))
    assert status == 303 and names["location"] == "/"
    assert "HttpOnly" in names["set-cookie"] and "SameSite=Strict" in names["set-cookie"]
    assert asker.ask("GET", "/", b"key=wrong", cookie=None)[0] == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7863", "127.0.0.1.evil.example", "", "localhost.evil"])
def test_names_of_other_domains_are_refused(asker, host):
    assert asker.ask("GET", "/api/runs", host=host)[0] == 403


@pytest.mark.parametrize("host", ["127.0.0.1:9", "localhost:7863", "[::1]:7863", "192.168.1.20:7863", "LOCALHOST"])
def test_names_of_this_machine_are_known(asker, host):
    assert asker.ask("GET", "/api/runs", host=host)[0] == 200


def test_other_pages_change_nothing(asker):
    body = {"title": "x"}
    path = "/api/runs/00000-pggan-portraits-8/name"
    assert asker.ask("POST", path, body=body, origin="http://evil.example")[0] == 403
    assert asker.ask("POST", path, body=body, origin="null")[0] == 403
    assert asker.ask("POST", path, body=body, x_studio=None)[0] == 403
    assert asker.ask("POST", path, body=body, origin="http://127.0.0.1:7863")[0] == 200
    status, names, _ = asyncio.run(asker.send("GET", "/"))
    assert status == 200 and "frame-ancestors 'none'" in names["content-security-policy"]
    assert names["referrer-policy"] == "no-referrer" and names["x-content-type-options"] == "nosniff"


def test_the_key_stays_and_is_the_owners_alone(place):
    first = make_studio(place / "runs")
    assert make_studio(place / "runs").key == first.key and len(first.key) == 16
    assert (first.store.folder / "key").stat().st_mode & 0o077 == 0
    assert first.store.folder.stat().st_mode & 0o077 == 0


def test_what_the_program_gets_wrong_is_no_5xx(asker, monkeypatch):
    def fail():
        raise RuntimeError("a mistake")

    monkeypatch.setattr(asker.studio, "describe", fail)
    status, said = asker.ask("GET", "/api/studio")
    assert status == 400 and "RuntimeError" in said["error"] and "a mistake" not in said["error"]
    assert asker.gate.unexpected == ["GET /api/studio: RuntimeError: a mistake"]


def test_a_full_disk_is_a_sentence(asker, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "/runs/.studio/titles.json")

    monkeypatch.setattr("pggan_tf.studio.runs.write_json", full)
    status, said = asker.ask("POST", "/api/runs/00000-pggan-portraits-8/name", body={"title": "x"})
    assert status == 409 and "No space left" in said["error"] and "Make room" in said["error"]
    assert asker.gate.unexpected == []


# --- photos


def test_folders_are_opened_below_home_alone(asker, place):
    status, said = asker.ask("POST", "/api/folders", body={"path": str(place / "secret")})
    assert status == 400 and "pggan studio" in said["error"]
    (place / "home" / "link").symlink_to(place / "secret")
    (place / "home" / ".hidden").mkdir()
    for path in ("~/link", "~/../secret", "~/.hidden", "/", "~/photos/../../secret", "/proc/self", "~/nothing", "\0"):
        status, said = asker.ask("POST", "/api/folders", body={"path": path})
        assert status in (400, 404) and "error" in said, path
        status, said = asker.ask("GET", "/api/browse", f"path={path}".encode())
        assert status in (400, 404), path
    status, found = asker.ask("GET", "/api/browse")
    assert found["parent"] is None and [f["name"] for f in found["folders"]] == ["photos"]
    status, found = asker.ask("GET", "/api/browse", f"path={place}/home/photos".encode())
    assert [(f["name"], f["photos"]) for f in found["folders"]] == [("cats", 6), ("dogs", 9)]
    assert found["parent"] == str(place / "home")
    named = Folders(asker.studio.store, [place / "secret"])
    assert named.resolve(str(place / "secret")) == place / "secret", "named on the command line"


def test_a_look_decides_as_prepare_does(asker, place):
    id = open_photos(asker, place)
    status, job = asker.ask("POST", f"/api/folders/{id}/look", body={"size": 32})
    assert status == 200 and job["kind"] == "look"
    while (job := asker.ask("GET", f"/api/jobs/{job['id']}")[1])["state"] == "running":
        time.sleep(0.02)
    look = job["result"]
    assert job["state"] == "done", job["error"]
    code, out, err = pggan("prepare", place / "home" / "photos", place / "shards", "--size", 32)
    assert code == 0, err
    report = json.loads((place / "shards" / "report.json").read_text())
    assert (look["total"], look["kept"]) == (report["images_read"], report["kept"]) == (15, 13)
    assert {r["reason"]: r["count"] for r in look["left_out"]} == report["dropped"]
    _, page = asker.ask("GET", f"/api/folders/{id}/photos", b"filter=left_out")
    told = [{"name": p["name"], "why": p["reason"]} for p in page["photos"]]
    assert sorted(told, key=str) == sorted(report["dropped_images"], key=str)
    assert look["duplicates"] == 1 and look["largest"] == 32
    assert {c["name"]: c["count"] for c in look["classes"]} == {"cats": 6, "dogs": 7}
    _, page = asker.ask("GET", f"/api/folders/{id}/photos", b"filter=duplicates")
    assert [p["name"] for p in page["photos"]] == ["dogs/00.png", "dogs/98.png"]
    first, second = page["photos"]
    assert first["same_as"] == [second["index"]] and second["same_as"] == [first["index"]]
    assert first["crop"] == [4, 0, 40, 40] and (first["width"], first["height"]) == (48, 40)
    assert asker.ask("GET", f"/api/folders/{id}")[1]["look"] == look


@pytest.mark.parametrize("least, mode", [(0, "RGBA"), (255, "RGB")])
def test_a_crop_by_hand_is_as_transparent_as_its_photo(least, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[0, 0] = (0, 0, 0, least)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    opened = photos.Photos.__new__(photos.Photos)
    opened.read_bytes = lambda id, index: file.getvalue()
    whole = opened.decode_whole("folder", 0)
    assert whole.mode == mode and np.array_equal(np.asarray(whole), pixels[..., : len(mode)])


@pytest.mark.parametrize(
    "name, kept",
    [
        ("写" * 70 + ".png", "写" * 65 + ".png"),
        ("a" * 300 + ".jpeg", "a" * 195 + ".jpeg"),
        ("b" * 300, "b" * 200),
        (".x.png", "x.png"),
    ],
)
def test_long_names_keep_their_endings(name, kept):
    assert _clean(name) == kept and len(kept.encode()) <= 200


def test_what_is_changed_by_hand_is_trained_on(asker, place):
    id = open_photos(asker, place)
    _, page = asker.ask("GET", f"/api/folders/{id}/photos")
    numbers = {p["name"]: p["index"] for p in page["photos"]}
    crop, gone = numbers["cats/01.png"], numbers["dogs/00.png"]
    assert asker.ask("PUT", f"/api/folders/{id}/photos/{crop}", body={"crop": [-3, 10, 23, 60]})[1]["crop"] == [
        0,
        10,
        20,
        30,
    ]
    assert asker.ask("PUT", f"/api/folders/{id}/photos/{gone}", body={"left_out": True})[1]["state"] == "left_out"
    assert asker.ask("PUT", f"/api/folders/{id}/photos/{crop}", body={"crop": [90, 90, 9, 9]})[0] == 400
    assert asker.ask("PUT", f"/api/folders/{id}/photos/999", body={"left_out": True})[0] == 404
    wish = {"data": id, "target_res": 8, "options": {"total_images": 500}}
    status, entry = asker.ask("POST", "/api/queue", body=wish)
    assert status == 200, entry
    data = place / "runs" / ".studio" / "photos" / "by-hand"
    (made,) = data.iterdir()
    assert f"--data {made} " in entry["command"]
    whole, cut = read(place / "home/photos/cats/01.png"), read(made / "cats" / "01-crop-png.png")
    assert np.array_equal(whole[10:40, :20], cut)
    assert not (made / "dogs" / "00.png").exists() and (made / "dogs" / "02.png").samefile(
        place / "home/photos/dogs/02.png"
    )
    assert asker.ask("PUT", f"/api/folders/{id}/photos/{crop}", body={"crop": None})[1]["by_hand"] is False
    assert sorted(p.name for p in (place / "home/photos/cats").iterdir()) == [f"{i:02d}.png" for i in range(1, 12, 2)]


def test_photos_are_shown_upright_and_small(asker, place):
    exif = Image.Exif()
    exif[0x112] = 6  # turned by a quarter
    Image.new("RGB", (400, 200), "red").save(place / "home/photos/cats/00.jpg", exif=exif)
    id = open_photos(asker, place)
    assert asker.studio.photos.name_of(id, 0) == "cats/00.jpg"
    status, data = asker.ask("GET", f"/api/folders/{id}/photos/0.jpg", b"side=100")
    (place / "x.jpg").write_bytes(data)
    assert status == 200 and read(place / "x.jpg").shape == (100, 50, 3)
    assert asker.ask("GET", f"/api/folders/{id}/photos/0.jpg", b"side=99999")[0] == 400
    (place / "home/photos/cats/00.jpg").write_bytes(dict(turned_jpegs())["the maker is a number"])
    status, data = asker.ask("GET", f"/api/folders/{id}/photos/0.jpg", b"side=48")
    (place / "x.jpg").write_bytes(data)
    assert status == 200 and is_upright(np.asarray(Image.fromarray(read(place / "x.jpg")).resize((64, 64))))
    (place / "home/photos/cats/00.jpg").unlink()
    (place / "home/photos/cats/00.jpg").symlink_to(place / "secret" / "a.png")
    status, said = asker.ask("GET", f"/api/folders/{id}/photos/0.jpg")
    assert status == 404 and "link" in said["error"]
    (place / "home/photos").rename(place / "home/moved")
    status, said = asker.ask("GET", f"/api/folders/{id}/photos/1.jpg")
    assert status == 404 and "gone" in said["error"]
    assert asker.ask("GET", f"/api/folders/{id}/photos")[0] == 200, "what is known stays"
    assert asker.ask("DELETE", f"/api/folders/{id}")[0] == 200 and asker.ask("GET", "/api/folders")[1] == []
    assert (place / "home/moved/dogs/02.png").is_file(), "photos of the user are never deleted"


def test_photos_are_sent_into_a_folder_of_the_studios_own(asker, place):
    status, folder = asker.ask("POST", "/api/uploads", body={"name": "../../my: photos"})
    assert status == 200 and folder["name"] == "my photos"
    path, data = f"/api/folders/{folder['id']}/files", (place / "home/photos/dogs/00.png").read_bytes()
    assert asker.ask("PUT", path, b"name=cats/a.png", data)[0] == 200
    assert asker.ask("PUT", path, b"name=..%2F..%2Fcats%2F..%2Fb.png", data)[0] == 200
    assert asker.ask("PUT", path, b"name=c.png", b"no photo")[0] == 400
    assert asker.ask("PUT", path, b"name=run.sh", data)[0] == 400
    assert asker.ask("PUT", path, b"name=.png", data)[0] == 400
    assert asker.ask("PUT", path, b"name=d.png", data, content_length=str(1 << 40))[0] == 413
    kept = place / "runs" / ".studio" / "photos" / folder["id"]
    assert sorted(p.relative_to(kept).as_posix() for p in kept.rglob("*.png")) == [
        "my photos/cats/a.png",
        "my photos/cats/b.png",
    ]
    other = (place / "home/photos/dogs/02.png").read_bytes()
    long = quote("写" * 80).encode()
    for name, sent in (
        (b"cats/a.png", data),
        (b"cats/a%3F.png", other),
        (long + b"1.png", data),
        (long + b"2.png", other),
    ):
        assert asker.ask("PUT", path, b"name=" + name, sent)[0] == 200
    assert len(list(kept.rglob("*.png"))) == 5, "none is written over another, and the same photo is sent once"
    assert (kept / "my photos/cats/a-2.png").read_bytes() == other
    assert asker.ask("POST", "/api/folders", body={"path": folder["path"]})[1] == folder | {"photos": 5}
    own = open_photos(asker, place)
    assert asker.ask("PUT", f"/api/folders/{own}/files", b"name=e.png", data)[0] == 400, "into a folder of the user"
    assert asker.ask("DELETE", f"/api/folders/{folder['id']}")[0] == 200 and not kept.exists()


def test_a_folder_of_shards_is_trained_on_as_it_is(asker, place):
    code, _, err = pggan("prepare", place / "home/photos", place / "home/shards", "--size", 16)
    assert code == 0, err
    status, folder = asker.ask("POST", "/api/folders", body={"path": "~/shards"})
    assert status == 200 and folder["photos"] == 13
    assert asker.ask("GET", f"/api/folders/{folder['id']}/photos")[1]["photos"] == []
    assert asker.ask("POST", f"/api/folders/{folder['id']}/look", body={})[0] == 400
    wish = {"data": folder["id"], "target_res": 16, "options": {"total_images": 3000}}
    assert f"--data {place}/home/shards " in asker.ask("POST", "/api/plan", body=wish)[1]["command"]
    assert asker.ask("POST", "/api/folders", body={"path": str(place / "home" / "empty")})[0] == 404
    (place / "home" / "empty").mkdir()
    status, said = asker.ask("POST", "/api/folders", body={"path": "~/empty"})
    assert status == 400 and "no images found" in said["error"]


# --- grow


def test_every_recipe_and_option_is_offered(asker):
    _, said = asker.ask("GET", "/api/studio")
    assert {r["name"] for r in said["recipes"]} == {*RECIPES, *PIPELINES} == choices.ABOUT.keys()
    assert all(r["title"] and r["sentence"].endswith(".") for r in said["recipes"])
    assert {o["name"] for o in said["options"]} == FIELDS.keys() - {*choices.OWN}
    assert [o["name"] for o in said["options"] if o["first"]] == list(choices.FIRST)
    assert json.dumps(said)  # plain JSON


def test_a_plan_is_that_of_the_command_line(asker, place):
    id = open_photos(asker, place)
    wish = {
        "data": id,
        "target_res": 16,
        "recipe": "pggan",
        "options": {"total_images": 3000, "batch": "4=8", "mirror": False},
    }
    asker.studio.helper.verbs = ("plan",)
    status, plan = asker.ask("POST", "/api/plan", body=wish)
    assert status == 200, plan
    words = plan["command"].split(" --runs ")[0].removeprefix("pggan ").split()
    assert words == ["train", "--data", str(place / "home/photos"), "--target-res", "16", "--total-images", "3000",
                     "--batch", "4=8", "--no-mirror"]  # fmt: skip
    code, out, err = pggan(*words, "--dry-run")
    assert code == 0, err
    assert f"{plan['text']}\n" in out
    assert plan["images"] == sum(p["images"] for p in plan["phases"]) and plan["resolution"] == 16
    assert plan["photos"] == 15 and not plan["estimated"]


@pytest.mark.slow
def test_parameters_are_counted(asker):
    from pggan_tf import networks
    from pggan_tf.api import plan as plan_run

    wish = {"target_res": 16, "options": {"total_images": 3000}}
    wait_for(lambda: asker.ask("POST", "/api/plan", body=wish)[1]["parameters"])
    counted = asker.ask("POST", "/api/plan", body=wish)[1]["parameters"]
    made = networks.make_generator("progressive", plan_run(target_res=16, total_images=3000).network_options(()))
    made.build()
    assert counted["generator"] == sum(int(np.prod(v.shape)) for v in made.trainable_variables)
    assert counted["discriminator"] > 1000


def test_minutes_are_estimated(asker):
    studio = asker.studio
    studio.helper.verbs = ("plan",)
    store.write_json(studio.store.folder / "speed.json", {"processor": folders.processor(), "speed": 1e11})
    status, plan = asker.ask("POST", "/api/plan", body={"data": "portraits", "minutes": 10, "target_res": "auto"})
    assert status == 200, plan
    assert plan["estimated"] and "--target-res auto --minutes 10" in plan["command"]
    assert 3 < sum(p["minutes"] for p in plan["phases"]) < 10
    assert "images at" in plan["preview"]["sentence"] and plan["photos"] == 10_000
    write_run(studio.store.runs, "00003-mine", target_res=plan["resolution"], total_images=1000)
    stats = studio.store.runs / "00003-mine" / folders.STATS
    tick = json.dumps({"images": 900, "seconds": 540, "resolution": 8, "loss_d": 1.0, "loss_g": 1.0})
    stats.write_text(stats.read_text() + tick + "\n")
    preview = asker.ask("POST", "/api/plan", body={"minutes": 10, "target_res": "auto"})[1]["preview"]
    assert preview["picture"].startswith("/api/runs/00003-mine/") and "9 minutes" in preview["sentence"]


@pytest.mark.parametrize(
    "wish",
    [
        {"target_res": 17},
        {"options": {"data": "/etc"}},
        {"options": {"vgg_weights": "/etc/passwd"}},
        {"options": {"features": "/etc/passwd"}},
        {"options": {"features": "https://evil.example/x.pb"}},
        {"options": {"init_from": "/etc"}},
        {"options": {"init_from": "../secret"}},
        {"options": {"log": "mlflow"}},
        {"options": {"nothing": 1}},
        {"options": {"batch": "x"}},
        {"options": {"batch": {"4": {}}}},
        {"options": []},
        {"data": "/etc"},
        {"data": {"run": ".."}},
        {"data": {"path": "/etc"}},
        {"data": 5},
        {"recipe": "none"},
        {"minutes": -1},
        {"minutes": 5, "options": {"total_images": 10}},
        {"target_res": True},
        {"faces": True},
        {"unknown": 1},
    ],
    ids=str,
)
def test_wishes_that_make_no_sense_are_refused(asker, wish):
    for path in ("/api/plan", "/api/queue"):
        status, said = asker.ask("POST", path, body=wish)
        assert status in (400, 404) and said["error"], (path, said)
    assert asker.studio.queue.read() == [] and asker.gate.unexpected == []


def test_weights_are_taken_from_runs_alone(asker, place):
    outside = write_run(place / "secret", "run")
    for source in (str(outside), "../secret/run", f"hf://{outside}"):
        status, said = asker.ask("POST", "/api/plan", body={"target_res": 16, "options": {"init_from": source}})
        assert status == 404 and "not there" in said["error"], source


def test_faces_are_found_before_training(asker, place):
    id = open_photos(asker, place)
    wish = {"data": id, "target_res": 8, "faces": True, "options": {"total_images": 500}}
    _, plan = asker.ask("POST", "/api/plan", body=wish)
    faces, train = plan["command"].split(" && ")
    out = faces.split()[3]
    assert faces.startswith(f"pggan faces {place}/home/photos {place}/runs/.studio/photos/faces/photos-faces-8-")
    assert "--size 8 --margin 0.3 --resume" in faces and train.startswith(f"pggan train --data {out} --target-res 8")


# --- the queue


def wait_for(what, seconds=60):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.05)


def test_entries_are_trained_one_after_the_other(tmp_path):
    kept = store.Store(tmp_path / "runs")
    kept.create()
    began = []
    queue = Queue(kept, lambda kept: began.append(1) or launch.start_worker(kept))
    queue._launch, start = None, queue._launch  # at first nothing trains
    ids = [queue.add("train", name, [["--version"]], "pggan --version")["id"] for name in "abc"]
    bad = queue.add("train", "bad", [["trian"], ["--version"]], "pggan trian")["id"]
    assert [e["id"] for e in queue.move(ids[2], 0)] == [ids[2], ids[0], ids[1], bad]
    queue.remove(ids[0])
    assert [e["state"] for e in queue.list_all()] == ["waiting"] * 3
    queue._launch = start
    queue.start_worker()
    queue.start_worker()
    assert began == [1], "one worker"
    wait_for(lambda: queue.find_worker() is None and [e["id"] for e in queue.list_all()] == [bad])
    (failed,) = queue.list_all()
    assert failed["state"] == "failed" and "did you mean train or" in failed["error"]
    logs = {p.stem: p.stat().st_mtime_ns for p in kept.work.glob("*.log")}
    assert logs.keys() == {ids[2], ids[1], bad} and logs[ids[2]] < logs[ids[1]] < logs[bad], "in the order of the queue"
    wait_for(lambda: all(p.poll() is not None for p in queue._processes))


def test_a_killed_worker_is_told_and_the_rest_goes_on(tmp_path):
    kept = store.Store(tmp_path / "runs")
    kept.create()
    queue = Queue(kept, None)
    first = queue.add("train", "first", [["--version"]], "")["id"]
    second = queue.add("train", "second", [["--version"]], "")["id"]
    path, entry = queue.read()[0]
    store.write_json(path, entry | {"begun": True})  # as a worker leaves it that was killed
    store.write_json(kept.folder / "worker.json", {"pid": os.getpid(), "started": 1.0, "entry": first, "child": None})
    assert queue.find_worker() is None, "the process id is that of another process now"
    queue._launch = launch.start_worker
    queue.start_worker()
    wait_for(lambda: [e["id"] for e in queue.list_all()] == [first])
    (failed,) = queue.list_all()
    assert failed["state"] == "failed" and "without a word" in failed["error"]
    assert (kept.work / f"{second}.log").is_file()
    wait_for(lambda: all(p.poll() is not None for p in queue._processes))


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("known", ["entry", "output", "nowhere"])
def test_what_a_killed_worker_left_is_settled_by_its_run(tmp_path, known, stopped):
    """The run that its output names gets the title; what the user has stopped meanwhile is paused, or gone."""
    kept = store.Store(tmp_path / "runs")
    kept.create()
    queue, name = Queue(kept, None), "00000-pggan-a-8"
    write_run(kept.runs, name)
    id = queue.add("train", "mine", [["--version"]], "", named=True, run=name if known == "entry" else None)["id"]
    path, entry = queue.read()[0]
    store.write_json(path, entry | {"begun": True})
    if known == "output":
        (kept.work / f"{id}.log").write_text(f"data: photos\nrun {kept.runs / name}\n4px: 100 images\n")
    if stopped:
        store.write_json(kept.folder / "stop.json", {"entry": id})
    Worker(kept)._bury()
    about = store.read_json(kept.about_run(name), {})
    if known == "nowhere":
        assert about == {} and [bool(entry.get("error")) for _, entry in queue.read()] == ([] if stopped else [True])
    else:
        assert about == {"title": "mine", **({"state": "paused"} if stopped else {})} and queue.read() == []


def test_a_run_that_is_gone_on_with_is_not_paused_any_more(tmp_path):
    kept = store.Store(tmp_path / "runs")
    kept.create()
    store.write_json(kept.about_run("00000-x"), {"state": "paused", "error": "e", "title": "mine"})
    queue = Queue(kept, launch.start_worker)
    queue.add("go-on", "x", [["--nonsense"]], "", run="00000-x")
    about = lambda: store.read_json(kept.about_run("00000-x"), {})  # noqa: E731
    wait_for(lambda: about().get("state") == "failed" and about()["title"] == "mine")
    wait_for(lambda: all(p.poll() is not None for p in queue._processes))


# --- watch and compare


def test_what_is_shown_of_a_run_is_what_the_report_tells(asker, place):
    name = "00000-pggan-portraits-8"
    run = read_run(place / "runs" / name)
    _, (short,) = asker.ask("GET", "/api/runs")
    assert short["state"] == "interrupted" and (short["images"], short["of"]) == (320, run.phases[-1].end)
    assert short["picture"] == f"/api/runs/{name}/files/fakes-000002-4px-320.png" and short["size"] == "8"
    _, shown = asker.ask("GET", f"/api/runs/{name}")
    assert shown["ticks"]["images"] == [16 * (i + 1) for i in range(20)]
    assert shown["ticks"]["loss_d"] == run.get_series("loss_d")[1]
    assert shown["metrics"]["swd"] == [{"images": 320, "minutes": 10 / 60, "value": run.metrics["swd"][0][2]}]
    assert [g["title"] for g in shown["grids"]] == [g.title for g in run.grids]
    assert shown["log"] == ["2026-01-01 00:00:00 run begins"]
    assert shown["command"] == f"pggan train --recipe pggan --target-res 8 --total-images 1000 --runs {place}/runs"
    for url in (*(g["url"] for g in shown["grids"]), shown["reals"][0]["url"]):
        assert asker.ask("GET", url)[1][:4] == b"\x89PNG"
    for file in ("config.json", "../x.png", "..%2Fx.png", "studio/../config.json", "/etc/passwd"):
        assert asker.ask("GET", f"/api/runs/{name}/files/{file}")[0] == 404, file
    assert asker.ask("POST", f"/api/runs/{name}/name", body={"title": "Mine"})[0] == 200
    assert asker.ask("GET", "/api/runs")[1][0]["title"] == "Mine"


def test_long_curves_are_thinned_and_keep_their_end(asker, place):
    write_run(place / "runs", "00001-long", ticks=5000)
    _, shown = asker.ask("GET", "/api/runs/00001-long")
    assert len(shown["ticks"]["images"]) <= 600 and shown["ticks"]["images"][-1] == 16 * 5000
    assert {len(column) for column in shown["ticks"].values()} == {len(shown["ticks"]["images"])}


def test_states_of_a_run(asker, place):
    name = "00000-pggan-portraits-8"
    run, studio = place / "runs" / name, asker.studio

    def state():
        machine._list_locked_files.cache_clear()
        return asker.ask("GET", "/api/runs")[1][0]["state"]

    assert state() == "interrupted"
    store.write_json(studio.store.about_run(name), {"state": "failed", "error": "out of memory."})
    assert state() == "failed" and asker.ask("GET", f"/api/runs/{name}")[1]["error"] == "out of memory."
    assert asker.ask("POST", f"/api/runs/{name}/pause")[0] == 409
    assert asker.ask("POST", f"/api/runs/{name}/go-on", body={"minutes": 5})[0] == 409
    status, entry = asker.ask("POST", f"/api/runs/{name}/go-on", body={})
    assert status == 200 and entry["command"] == f"pggan train --resume {run}" and state() == "waiting"
    assert asker.ask("POST", f"/api/runs/{name}/go-on", body={})[0] == 409
    assert asker.ask("DELETE", f"/api/queue/{entry['id']}")[0] == 200
    store.write_json(studio.store.about_run(name), {"state": "paused"})
    assert state() == "paused"
    if machine.list_locked_files() is not None:
        import filelock

        with filelock.FileLock(run / ".lock"):  # as training from a terminal holds it
            assert state() == "running"
            assert asker.ask("DELETE", f"/api/runs/{name}")[0] == 409
    (run / "config.json").write_text("{")
    assert state() == "failed" and asker.ask("GET", f"/api/runs/{name}")[0] == 200
    assert asker.ask("POST", f"/api/runs/{name}/name", body={"title": "Mine"})[0] == 200
    assert asker.ask("DELETE", f"/api/runs/{name}")[0] == 200 and not run.exists()
    assert json.loads((place / "runs/.studio/titles.json").read_text()) == {}, "a later run may have its name"


def test_runs_are_compared_as_by_the_command(asker, place):
    names = ["00000-pggan-portraits-8", "00002-other"]
    write_run(place / "runs", names[1], learning_rate={4: 0.001}, seed=3)
    read = read_runs([place / "runs" / name for name in names])
    status, shown = asker.ask("GET", "/api/compare", b"runs=" + ",".join(names).encode())
    assert status == 200
    assert {row["name"]: row["values"] for row in shown["table"]} == tables.compare_runs(read)
    assert {(row["name"], i) for row in shown["table"] for i in row["best"]} == tables.find_best(read) != set()
    assert {d["option"]: d["values"] for d in shown["differences"]} == {
        "--learning-rate": ["4=0.008", "4=0.001"],
        "--seed": ["0", "3"],
    }
    assert [s["values"] for s in shown["series"]["swd"]] == [
        [read[0].metrics["swd"][0][2]],
        [read[1].metrics["swd"][0][2]],
    ]
    for names in ("", "a", "00000-pggan-portraits-8,00000-pggan-portraits-8", "../runs,.."):
        assert asker.ask("GET", "/api/compare", f"runs={names}".encode())[0] in (400, 404)


def test_without_runs_there_are_portraits_to_play_with(tmp_path):
    asker = Asker(make_studio(tmp_path / "runs"))
    asker.studio.queue._launch = None
    _, (run,) = asker.ask("GET", "/api/runs")
    assert (run["name"], run["state"], run["pretrained"]) == ("portraits", "done", True)
    assert asker.ask("GET", "/api/runs/portraits/face.png", b"seed=1&stage=8")[1][:4] == b"\x89PNG"
    for method, path, body in (
        ("DELETE", "/api/runs/portraits", None),
        ("POST", "/api/runs/portraits/name", {"title": "x"}),
        ("POST", "/api/runs/portraits/pause", {}),
        ("POST", "/api/runs/portraits/go-on", {"minutes": 5}),
        ("PUT", "/api/runs/portraits/sliders/1", {"name": "smile"}),
    ):
        status, said = asker.ask(method, path, body=body)
        assert status in (400, 409) and said["error"], path
    wish = {"target_res": 16, "options": {"init_from": "portraits", "total_images": 3000}}
    assert "--init-from portraits" in asker.ask("POST", "/api/plan", body=wish)[1]["command"]
    write_run(tmp_path / "runs")
    assert [r["pretrained"] for r in asker.ask("GET", "/api/runs")[1]] == [False]


@pytest.mark.slow
def test_nothing_is_written_into_the_installed_package(tmp_path):
    asker = Asker(make_studio(tmp_path / "runs"))
    status, job = asker.ask("POST", "/api/runs/portraits/walk", body={"seeds": "0-1", "seconds": 0.5, "stage": 8})
    while (job := asker.ask("GET", f"/api/jobs/{job['id']}")[1])["state"] == "running":
        time.sleep(0.02)
    assert job["state"] == "done", job
    assert asker.ask("GET", job["result"]["url"])[1][4:8] == b"ftyp"
    assert (tmp_path / "runs/.studio/pretrained/portraits").is_dir()


def test_a_worker_that_fails_at_once_is_not_started_again_and_again(tmp_path):
    kept = store.Store(tmp_path / "runs")
    kept.create()

    class Failed:
        returncode = 1

        def poll(self):
            return 1

    began = []
    queue = Queue(kept, lambda kept: began.append(1) or Failed())
    queue.add("train", "a", [["--version"]], "")
    for _ in range(5):
        queue.start_worker()
    assert began == [1]


# --- play


def test_pictures_are_those_of_the_command_line(asker, place):
    copy_pretrained(place / "runs")
    status, data = asker.ask("GET", "/api/runs/00007-portraits/faces.png", b"seeds=3-6&stage=16")
    assert status == 200, data
    (place / "shown.png").write_bytes(data)
    code, _, err = pggan(
        "generate", place / "runs/00007-portraits", "--seeds", "3-6", "--stage", 16, "--grid", place / "g.png"
    )
    assert code == 0, err
    assert data == (place / "g.png").read_bytes(), "the mark, too"
    asked = list(asker.studio.helper.asked)
    assert asker.ask("GET", "/api/runs/00007-portraits/faces.png", b"seeds=3-6&stage=16")[1] == data
    assert asker.studio.helper.asked == asked, "it was kept"
    (place / "one.png").write_bytes(asker.ask("GET", "/api/runs/00007-portraits/face.png", b"seed=3&stage=16")[1])
    code, out, _ = pggan("whose", place / "one.png", "--runs", place / "runs")
    assert code == 0 and "yes" in out
    between = asker.ask(
        "GET", "/api/runs/00007-portraits/face.png", b"seed=3&to=4&mix=0.5&sliders=1:2&scale=64&stage=16"
    )[1]
    (place / "two.png").write_bytes(between)
    assert read(place / "two.png").shape == (64, 64, 3)
    for query in (
        b"seeds=0-99999",
        b"seeds=x",
        b"stage=17",
        b"truncation=2",
        b"sliders=1",
        b"sliders=1:99",
        b"nothing=1",
        b"seeds=1&seeds=2",
    ):
        status, said = asker.ask("GET", "/api/runs/00007-portraits/faces.png", query)
        assert status == 400 and said["error"], query
    assert asker.ask("GET", "/api/runs/00000-pggan-portraits-8/faces.png")[0] == 409, "it has no generator yet"
    _, before = asker.ask("GET", "/api/runs/00007-portraits/sliders/2.png", b"stage=16")
    _, sliders = asker.ask("PUT", "/api/runs/00007-portraits/sliders/2", body={"name": "smile"})
    assert sliders[1]["name"] == "smile" and "smile" in (place / "runs/00007-portraits/sliders.json").read_text()
    status, after = asker.ask("GET", sliders[1]["strip"], b"stage=16")
    assert status == 200 and after != before, "the strip has its new name"


def test_helpers_of_pages_that_left(place):
    """A page may leave a stream without reading it."""
    studio = make_studio(place / "runs")

    async def listen():
        stream = studio.hub.stream()
        first = await anext(stream)
        assert studio.hub.pages == 1
        for number in range(500):  # it reads none of them
            studio.hub._spread(f"event: runs\ndata: {number}\n\n")
        left = studio.hub.pages
        await stream.aclose()
        return first, left

    first, left = asyncio.run(listen())
    assert "event: hello" in first and left == 0


def test_arguments_are_those_that_are_typed():
    options = {
        "data": ("a", "b"),
        "batch": {4: 16, 32: 8},
        "mirror": False,
        "minutes": 5.0,
        "learning_rate": {4: 0.004},
    }
    assert commands.list_arguments(options) == [
        "--data", "a", "--data", "b", "--batch", "4=16,32=8", "--no-mirror", "--minutes", "5", "--learning-rate", "4=0.004",
    ]  # fmt: skip
    assert commands.join([["train", "--data", "my photos"]]) == "pggan train --data 'my photos'"
    assert gate.split_host("[::1]:80") == "::1" and gate.split_host("::1") == "::1" and gate.split_host("A:9") == "a"


def test_figures_are_read_once_and_are_those_of_the_file(tmp_path, monkeypatch):
    from pggan_tf.runs import records
    from pggan_tf.studio.histories import Histories

    file = write_run(tmp_path / "runs") / folders.STATS
    histories, parsed = Histories(), []
    parse = records.parse_history
    monkeypatch.setattr(records, "parse_history", lambda text: parsed.append(text) or parse(text))
    tick = {"images": 400, "seconds": 9, "resolution": 4, "loss_d": 1, "loss_g": 1}
    check = {"images": 400, "seconds": 9, "check": {"variety": 0.5}}
    for text in (
        "",
        json.dumps(tick) + "\n",
        json.dumps(check),
        "\n",
        "no JSON\n",
        json.dumps({**tick, "images": 8}) + "\n",
    ):
        with file.open("a") as opened:
            opened.write(text)
        assert histories.read(file) == parse(file.read_text()[: file.read_text().rfind("\n") + 1])
    assert sum(map(len, parsed)) == len(file.read_text()), "each line once"
    file.write_text(json.dumps(tick) + "\n")  # a run that was resumed from an earlier checkpoint
    assert [t["images"] for t in histories.read(file).ticks] == [400]
    file.unlink()
    assert histories.read(file).ticks == []


def test_a_run_that_changes_all_the_time_is_told_now_and_then(monkeypatch):
    from pggan_tf.studio import events

    told = []
    hub = events.Hub()
    monkeypatch.setattr(hub, "send", lambda event, content=None: told.append((event, content)))
    hub._pages.add(asyncio.Queue())
    clock = [0.0]
    monkeypatch.setattr(events.time, "monotonic", lambda: clock[0])
    marks = {"queue": {"": 0}, "runs": {}}
    watcher = events.Watcher(hub, lambda: json.loads(json.dumps(marks)), lambda: None, dict)
    for number in range(12):
        marks["runs"]["a"] = number
        watcher._step()
        clock[0] += 1.0
    assert told[0] == ("all", None), "what has changed before the first look is not known"
    assert told.count(("runs", {"name": "a"})) == 3 and told.count(("all", None)) == 1
    marks["queue"][""] = 1
    for _ in range(5):
        watcher._step()
        clock[0] += 1.0
    assert told.count(("runs", {"name": "a"})) == 4, "the last change, too"
    assert told.count(("queue", {})) == 1
    del marks["runs"]["a"]
    watcher._step()
    assert told.count(("runs", {"name": "a"})) == 5, "it was deleted"


def test_an_exported_page_is_shown_to_phones(asker, place, monkeypatch):
    import http.cookiejar
    import urllib.request

    from export import lan

    monkeypatch.setattr(lan, "find_address", lambda: "127.0.0.1")
    path, site = "/api/runs/00000-pggan-portraits-8/phone", place / "runs/00000-pggan-portraits-8/studio/export/web"
    assert asker.ask("POST", path, body={"on": True})[0] == 409, "nothing is exported yet"
    site.mkdir(parents=True)
    (site / "site.json").write_text("{}")
    (site / "index.html").write_text("the page")
    _, shown = asker.ask("POST", path, body={"on": True})
    assert asker.ask("POST", path, body={"on": True})[1] == shown and shown["qr"].startswith("<svg")
    browser = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    )
    with browser.open(shown["address"], timeout=10) as answer:
        assert answer.read() == b"the page"
    assert asker.ask("POST", path, body={"on": False})[1] == {"address": None, "qr": None}
    with pytest.raises(OSError):
        browser.open(shown["address"], timeout=5)
