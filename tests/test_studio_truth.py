"""What the studio says of photos, runs and the queue is what a training finds, also after changes by hand."""

import json
import os
import shlex
import time
from pathlib import Path

import pytest

from tests.conftest import pggan

pytest.importorskip("fastapi", reason="fastapi is not installed (extra serve)")
from pggan_tf.studio import commands, launch, store  # noqa: E402
from tests.studio_stand import write_run  # noqa: E402

RUN = "00000-pggan-portraits-8"


def open_and_look(asker, **parameters):
    """Open the photos and look at them; return the folder's address and {name: photo}."""
    path = str(Path.home() / "photos")
    address = f"/api/folders/{asker.ask('POST', '/api/folders', body={'path': path})[1]['id']}"
    _, job = asker.ask("POST", f"{address}/look", body={"size": 32, **parameters})
    while (job := asker.ask("GET", f"/api/jobs/{job['id']}")[1])["state"] == "running":
        time.sleep(0.02)
    assert job["state"] == "done", job["error"]
    return address, {p["name"]: p for p in asker.ask("GET", f"{address}/photos")[1]["photos"]}


def test_a_photo_that_was_left_out_by_hand_is_not_cropped(asker):
    address, photos = open_and_look(asker)
    place = f"{address}/photos/{photos['cats/01.png']['index']}"
    _, photo = asker.ask("PUT", place, body={"left_out": True})
    assert photo["by_hand"] and not photo["cropped"] and photo["crop"] == [4, 0, 40, 40], "the crop is that of the look"
    _, photo = asker.ask("PUT", place, body={"crop": [0, 0, 20, 20]})
    assert photo["by_hand"] and photo["cropped"]


def test_numbers_follow_what_is_changed_by_hand(asker, tmp_path):
    address, photos = open_and_look(asker)
    first = asker.ask("GET", address)[1]["look"]
    assert (first["total"], first["kept"]) == (15, 13)
    for name, change in {
        "cats/01.png": {"left_out": True},
        "dogs/99.png": {"crop": [0, 0, 10, 10]},  # too small, but wanted
        "dogs/97.jpg": {"left_out": True},  # left out already
        "dogs/02.png": {"left_out": True},
    }.items():
        assert asker.ask("PUT", f"{address}/photos/{photos[name]['index']}", body=change)[0] == 200
    look = asker.ask("GET", address)[1]["look"]
    for filter, number in {"kept": look["kept"], "left_out": look["total"] - look["kept"]}.items():
        assert (
            asker.ask("GET", f"{address}/photos", f"filter={filter}".encode())[1]["total"]
            == number
            == {"kept": 12, "left_out": 3}[filter]
        )
    assert {r["reason"]: r["count"] for r in look["left_out"]} == {"by hand": 3}
    assert {c["name"]: c["count"] for c in look["classes"]} == {"cats": 5, "dogs": 7}
    id = address.rpartition("/")[2]
    assert asker.ask("POST", "/api/plan", body={"data": id, "target_res": 8, "minutes": 1})[1]["photos"] == 12
    for photo in photos.values():
        asker.ask("PUT", f"{address}/photos/{photo['index']}", body={})
    assert asker.ask("GET", address)[1]["look"] == first


def test_a_plan_counts_the_photos_that_its_training_reads(asker, tmp_path):
    address, photos = open_and_look(asker)
    asker.ask("PUT", f"{address}/photos/{photos['cats/01.png']['index']}", body={"left_out": True})
    wish = {"data": address.rpartition("/")[2], "target_res": 32, "options": {"total_images": 64}}
    _, plan = asker.ask("POST", "/api/plan", body=wish)
    _, entry = asker.ask("POST", "/api/queue", body=wish)
    words = shlex.split(entry["command"])
    code, _, err = pggan("prepare", words[words.index("--data") + 1], tmp_path / "shards", "--size", 32)
    assert code == 0, err
    assert json.loads((tmp_path / "shards" / "report.json").read_text())["kept"] == plan["photos"] == 12


def test_faces_are_not_counted_where_whole_photos_are_trained_on(asker):
    address, photos = open_and_look(asker, faces=True)
    assert asker.ask("GET", address)[1]["look"]["kept"] == 0, "noise has no faces"
    wish = {"data": address.rpartition("/")[2], "target_res": 8, "minutes": 1}
    assert asker.ask("POST", "/api/plan", body=wish)[1]["photos"] == 15
    status, said = asker.ask("POST", "/api/plan", body=wish | {"faces": True})
    assert status == 400 and "every photo is left out" in said["error"]


def test_a_plan_says_that_its_folder_is_not_written_yet(asker):
    address, photos = open_and_look(asker)
    wish = {"data": address.rpartition("/")[2], "target_res": 8, "options": {"total_images": 500}}
    assert asker.ask("POST", "/api/plan", body=wish)[1]["unwritten"] is False
    asker.ask("PUT", f"{address}/photos/{photos['cats/01.png']['index']}", body={"left_out": True})
    assert asker.ask("POST", "/api/plan", body=wish)[1]["unwritten"] is True
    assert asker.ask("POST", "/api/queue", body=wish)[0] == 200
    assert asker.ask("POST", "/api/plan", body=wish)[1]["unwritten"] is False


# --- the queue and the runs


def leave_killed(asker, **entry):
    """Add an entry as a worker leaves it that was killed; return its id."""
    queue = asker.studio.queue
    id = queue.add(entry.pop("kind"), "Mine", [["--version"]], "pggan --version", **entry)["id"]
    path, content = next((p, e) for p, e in queue.read() if p.stem.endswith(id))
    store.write_json(path, content | {"begun": True})
    about = {"pid": os.getpid(), "started": 1.0, "entry": id, "run": entry.get("run"), "child": None}
    store.write_json(queue.store.folder / "worker.json", about)
    return id


def test_a_run_whose_training_was_killed_goes_on_at_once(asker):
    id = leave_killed(asker, kind="go-on", run=RUN)
    (shown,) = asker.ask("GET", "/api/queue")[1]
    assert (shown["id"], shown["state"], shown["error"]) == (id, "interrupted", None)
    assert asker.ask("GET", "/api/runs")[1][0]["state"] == "interrupted", "it waits for nothing"
    status, entry = asker.ask("POST", f"/api/runs/{RUN}/go-on", body={})
    assert status == 200 and asker.ask("GET", "/api/runs")[1][0]["state"] == "waiting", entry
    queue = asker.studio.queue
    for path, content in queue.read():  # a command that ends at once in place of a training
        store.write_json(path, content | {"commands": [["--version"]]})
    assert launch.start_worker(queue.store).wait(60) == 0
    assert asker.ask("GET", "/api/queue")[1] == []
    assert (queue.store.work / f"{entry['id']}.log").is_file() and not (queue.store.work / f"{id}.log").is_file()


def test_what_was_killed_before_its_run_began_is_trained_again(asker):
    id = leave_killed(asker, kind="train")
    (shown,) = asker.ask("GET", "/api/queue")[1]
    assert shown["state"] == "failed" and "without a word" in shown["error"]
    assert [e["state"] for e in asker.ask("POST", f"/api/queue/{id}/again")[1]] == ["waiting"]


def test_a_run_without_checkpoints_says_so(asker, tmp_path):
    assert asker.ask("GET", f"/api/runs/{RUN}")[1]["saved"] is False
    (tmp_path / "runs" / RUN / "checkpoints").mkdir()
    (tmp_path / "runs" / RUN / "checkpoints" / "checkpoint-000000000320.npz").touch()
    assert asker.ask("GET", f"/api/runs/{RUN}")[1]["saved"] is True


def test_the_command_of_a_run_is_typed_as_people_do(asker, tmp_path):
    write_run(tmp_path / "runs", "00001-timed", total_images=None, minutes=2)
    _, run = asker.ask("GET", "/api/runs/00001-timed")
    assert run["command"] == f"pggan train --recipe pggan --target-res 8 --minutes 2 --runs {tmp_path}/runs"
    assert round(60 * run["minutes"], 1) == 10.0, "as long as its figures say"


def test_stages_are_those_of_the_plan(asker, tmp_path):
    write_run(tmp_path / "runs", "00001-skips", total_images=None, stable_images={4: 0, 8: 500}, fade_images={4: 0})
    assert asker.ask("GET", "/api/runs/00001-skips")[1]["stages"] == [8]


def test_options_of_the_coach_are_told_from_its_sentences():
    told = (
        "more photos", "--penalty r1 --penalty-weight 1", "--augment ada in a long run", "--discriminator-rate 0.5",
        "--init-from RUN, a run on many others", "a larger --fmap-base", "--no-mirror",
    )  # fmt: skip
    options, others = commands.split_advice(told)
    assert options == ["--penalty r1 --penalty-weight 1", "--discriminator-rate 0.5", "--no-mirror"]
    assert others == [one for one in told if one not in options]
