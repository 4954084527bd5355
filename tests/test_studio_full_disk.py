"""A disk that is full in the middle of an evening, as a small file system of its own."""

import contextlib
import os
import shutil
import subprocess

import numpy as np
import pytest

from tests.conftest import train_alone

pytest.importorskip("fastapi", reason="fastapi is not installed (extra serve)")
from tests.test_studio_server import OPTIONS, Server, draw_faces, read_last, wait_for

MEGABYTES = 48


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of its own."""
    mount, place = shutil.which("mount"), tmp_path / "disk"
    place.mkdir()
    words = [mount, "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "none", str(place)]
    if mount is None or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here: that needs the rights of root, on Linux")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place):
    """Write until no byte more can be written there."""
    with (place / "ballast").open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


@pytest.mark.slow
def test_a_full_disk_ends_in_a_sentence_and_loses_nothing(small_disk, tmp_path):
    """The training stops with it, the page's wishes are refused, and with room all goes on to the same bits."""
    faces, runs = draw_faces(tmp_path / "faces"), small_disk / "runs"
    server = Server(runs, faces)
    try:
        (folder,) = server.ask("GET", "/api/folders")
        options = {**OPTIONS, "total_images": 4000, "checkpoint_minutes": 0.01, "keep_checkpoints": 2}
        wish = {"data": folder["id"], "target_res": 8, "options": options, "name": "First"}
        server.ask("POST", "/api/queue", wish)

        def find():
            return next((r for r in server.ask("GET", "/api/runs") if r["title"] == "First"), None)

        run = wait_for(lambda: (r := find()) and r["images"] > 400 and r["name"])
        plan = server.ask("GET", f"/api/runs/{run}")["command"]
        fill(small_disk)
        wait_for(lambda: find()["state"] != "running")
        shown = find()
        assert shown["state"] in ("failed", "interrupted"), shown
        said = shown["error"] or "\n".join(server.ask("GET", f"/api/runs/{run}")["log"])
        assert "No space left on device" in said or "disk" in said, said
        assert "Traceback" not in said
        fill(small_disk)  # what was begun and could not be written whole is removed
        for method, path, body in (
            ("POST", f"/api/runs/{run}/name", {"title": "Second"}),
            ("POST", f"/api/runs/{run}/go-on", {}),
            ("POST", "/api/queue", {**wish, "name": "Third"}),
        ):
            status, _, refused = server.send(method, path, body)
            assert status == 409 and "No space left on device" in refused["error"], (path, status, refused)
        assert server.ask("GET", "/api/queue") == [] and find()["images"] >= 400
        (small_disk / "ballast").unlink()
        assert find()["title"] == "First", "the name is the one before"
        server.ask("POST", f"/api/runs/{run}/go-on", {})
        wait_for(lambda: find()["state"] == "done")
        words = plan.removeprefix("pggan train ").split()
        at = words.index("--runs")  # where it would begin; this one has a place of its own
        assert words[at + 1] == str(runs)
        del words[at : at + 2]
        code, _, err = train_alone(*words, "--run", tmp_path / "alone")
        assert code == 0, err
        alone, paused = read_last(tmp_path / "alone"), read_last(runs / run)
        assert alone.keys() == paused.keys() and all(np.array_equal(alone[name], paused[name]) for name in alone)
        assert not (runs / ".studio" / "studio.log").exists(), (runs / ".studio" / "studio.log").read_text()
        assert os.path.getsize(runs / run / "stats.jsonl") > 0
    finally:
        server.close()
