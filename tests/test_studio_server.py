"""The studio as real processes: its server, the process that trains, helpers; killed, started again, two windows."""

import contextlib
import http.client
import itertools
import json
import os
import queue
import signal
import sys
import threading
import time
import urllib.parse
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pggan_tf.data import portraits
from pggan_tf.runs import checkpoint
from tests.conftest import start, train_alone
from tests.studio_stand import write_run

pytest.importorskip("fastapi", reason="fastapi is not installed (extra serve)")
from pggan_tf.studio import machine, store  # noqa: E402


class Server:
    """`pggan studio` as a real process, and a browser that speaks to it."""

    def __init__(self, runs, *arguments, home=None):
        environment = {**os.environ, "HOME": str(home or runs.parent), "TF_CPP_MIN_LOG_LEVEL": "3"}
        words = ["-m", "pggan_tf", "studio", *arguments, "--runs", runs, "--port", "0", "--no-browser"]
        self.process = start(*words, env=environment)
        self.address = self.process.stdout.readline().strip()
        if "?key=" not in self.address:
            raise RuntimeError(self.process.communicate()[1])
        parts = urllib.parse.urlsplit(self.address)
        self.host, self.port = parts.hostname, parts.port
        self.key = urllib.parse.parse_qs(parts.query)["key"][0]
        self.cookie = self.send("GET", f"/?key={self.key}")[1]["set-cookie"].partition(";")[0]

    def send(self, method, path, body=None, raw=None):
        """Return (status, headers, content) of a request."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=120)
        with contextlib.closing(connection):
            headers = {"X-Studio": "1", **({"Cookie": self.cookie} if hasattr(self, "cookie") else {})}
            data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            names, content = {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        if names.get("content-type") == "application/json":
            content = json.loads(content)
        return answer.status, names, content

    def ask(self, method, path, body=None, raw=None):
        """Return the content of an answer, which has to be 200."""
        status, _, content = self.send(method, path, body, raw)
        assert status == 200, (method, path, status, content)
        return content

    def state_of(self, run):
        return self.ask("GET", f"/api/runs/{run}")["state"]

    def wait_job(self, job):
        while (job := self.ask("GET", f"/api/jobs/{job['id']}"))["state"] == "running":
            time.sleep(0.2)
        assert job["state"] == "done", job
        return job["result"]

    @contextlib.contextmanager
    def listen(self):
        """Yield a queue of (event, content) of server-sent events."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        connection.request("GET", "/api/events", headers={"Cookie": self.cookie})
        answer, found = connection.getresponse(), queue.Queue()
        assert answer.status == 200 and answer.getheader("content-type").startswith("text/event-stream")

        def read():
            event = ""
            with contextlib.suppress(OSError, ValueError, AttributeError, http.client.HTTPException):
                for line in answer:
                    name, _, value = line.decode().rstrip("\n").partition(": ")
                    event = value if name == "event" else event
                    if name == "data":
                        found.put((event, json.loads(value)))
            found.put(("end", None))

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            with contextlib.suppress(OSError):
                connection.sock and connection.sock.shutdown(2)
            thread.join(10)
            answer.close()
            connection.close()

    def close(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        out = self.process.communicate(timeout=30)
        return self.process.returncode, out


def wait_for(what, seconds=300.0, every=0.2):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "in vain"
        time.sleep(every)
    return found


def next_event(events, name, content=None):
    """Skip events until one comes."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        event, said = events.get(timeout=30)
        assert event != "end", "the stream has ended"
        if event == name and (content is None or said == content):
            return said
    raise AssertionError(f"no {name}")


def read_memory(pid):
    """Memory of a process in MB."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def test_a_server_tells_what_changes_and_ends_at_once(tmp_path):
    run = write_run(tmp_path / "runs")
    server = Server(tmp_path / "runs")
    try:
        assert server.ask("GET", "/api/runs")[0]["name"] == run.name
        with server.listen() as events, server.listen() as other:  # two windows
            for each in (events, other):
                next_event(each, "hello")
                next_event(each, "machine")
            with (run / "stats.jsonl").open("a") as file:
                file.write(json.dumps({"images": 400, "seconds": 9, "resolution": 4, "loss_d": 1, "loss_g": 1}) + "\n")
            for each in (events, other):
                next_event(each, "runs", {"name": run.name})
            assert server.ask("GET", "/api/runs")[0]["images"] == 400
            server.ask("POST", f"/api/runs/{run.name}/name", {"title": "Mine"})
            next_event(other, "runs", {"name": run.name})
            second = start("-m", "pggan_tf", "studio", "--runs", tmp_path / "runs", "--port", "0", "--no-browser")
            _, err = second.communicate(timeout=60)
            assert second.returncode == 2 and server.address in err and "Traceback" not in err
            if sys.platform == "linux":
                assert read_memory(server.process.pid) < 250, "TensorFlow is not loaded"
            begun = time.monotonic()
            code, (_, err) = server.close()
            assert time.monotonic() - begun < 10 and code == 0 and err == "", err
            while events.get(timeout=10)[0] != "end":
                pass
    finally:
        server.close(signal.SIGKILL)
    assert not (tmp_path / "runs" / ".studio" / "server.json").exists()


def draw_faces(folder: Path, count=64) -> Path:
    for i in range(count):
        place = folder / ("a" if i % 2 else "b")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(portraits.draw(i, 48)).save(place / f"{i:03d}.png")
    return folder


def read_last(run: Path) -> dict:
    """All variables of a run's last checkpoint."""
    return checkpoint.read(checkpoint.list_checkpoints(run)[0])[0]


OPTIONS = {
    "batch": "8",
    "snapshot_images": "400",
    "checkpoint_minutes": 60,
    "report": False,
    "metrics": "swd",
    "metrics_images": 32,
}


@pytest.mark.slow
def test_the_whole_evening(tmp_path):
    """Photos, a look, two runs in the queue, a killed server, a pause, a killed training, Play, Compare, export."""
    faces, runs = draw_faces(tmp_path / "faces"), tmp_path / "runs"
    server = Server(runs, faces)
    (folder,) = server.ask("GET", "/api/folders")
    look = server.wait_job(server.ask("POST", f"/api/folders/{folder['id']}/look", {"size": 16}))
    assert (look["total"], look["kept"]) == (64, 64)
    wish = {"data": folder["id"], "target_res": 8, "options": {**OPTIONS, "total_images": 6000}, "name": "First"}
    plan = server.ask("POST", "/api/plan", wish)
    first = server.ask("POST", "/api/queue", wish)
    second = server.ask(
        "POST", "/api/queue", {**wish, "name": "Second", "options": {**OPTIONS, "total_images": 600, "seed": 1}}
    )
    assert plan["command"] == first["command"] and second["state"] == "waiting"

    def find(title):
        return next((r for r in server.ask("GET", "/api/runs") if r["title"] == title), None)

    run = wait_for(lambda: (r := find("First")) and r["images"] > 0 and r["name"])
    before = server.ask("GET", f"/api/runs/{run}")
    assert before["state"] == "running" and before["ticks"]["loss_d"] and before["command"].startswith("pggan train")
    worker = store.read_json(runs / ".studio" / "worker.json", {})
    server.close(signal.SIGKILL)
    assert machine.is_alive(worker["child"], worker["child_started"]), "training survives its server"
    server = Server(runs, faces)
    assert server.state_of(run) == "running" and find("First")["images"] >= before["images"]
    entries = server.ask("GET", "/api/queue")
    assert [(e["title"], e["state"], e["run"]) for e in entries] == [
        ("First", "running", run),
        ("Second", "waiting", None),
    ]
    server.ask("POST", f"/api/runs/{run}/pause")
    wait_for(lambda: server.state_of(run) == "paused")
    assert 0 < find("First")["images"] < find("First")["of"]
    other = wait_for(lambda: (r := find("Second")) and r["name"])  # a pause lets the next one begin
    entry = server.ask("POST", f"/api/runs/{run}/go-on", {})
    assert entry["kind"] == "go-on" and server.state_of(run) == "waiting"
    wait_for(lambda: server.state_of(other) == "done")
    wait_for(lambda: server.state_of(run) == "running" and find("First")["images"] > 0)
    os.kill(store.read_json(runs / ".studio" / "worker.json", {})["child"], signal.SIGKILL)
    wait_for(lambda: server.state_of(run) == "interrupted")
    server.ask("POST", f"/api/runs/{run}/go-on", {})
    wait_for(lambda: server.state_of(run) == "done")
    assert server.ask("GET", "/api/queue") == []
    # The same bits as without the studio, a pause and two kills.
    words = plan["command"].removeprefix("pggan train ").partition(" --runs ")[0].split()
    code, _, err = train_alone(*words, "--run", tmp_path / "alone")
    assert code == 0, err
    alone, paused = read_last(tmp_path / "alone"), read_last(runs / run)
    assert alone.keys() == paused.keys() and all(np.array_equal(alone[name], paused[name]) for name in alone)
    images = server.ask("GET", f"/api/runs/{run}")["ticks"]["images"]
    lines = [json.loads(line) for line in (tmp_path / "alone" / "stats.jsonl").read_text().splitlines()]
    assert images == [line["images"] for line in lines if "loss_d" in line]
    assert all(b > a for a, b in itertools.pairwise(images))
    # Play, compare, export.
    for path in ("faces.png?seeds=0-8", "face.png?seed=1&to=2&mix=0.5&scale=128", "sliders/1.png"):
        assert server.ask("GET", f"/api/runs/{run}/{path}")[:4] == b"\x89PNG"
    walk = server.wait_job(server.ask("POST", f"/api/runs/{run}/walk", {"seeds": "0-2", "seconds": 0.5}))
    assert server.ask("GET", walk["url"])[4:8] == b"ftyp"
    photo = (faces / "b" / "000.png").read_bytes()
    found = server.wait_job(server.ask("POST", f"/api/runs/{run}/project", raw=photo))
    assert found["psnr"] > found["psnr_before"] and server.ask("GET", found["url"])[:4] == b"\x89PNG"
    near = server.wait_job(server.ask("POST", f"/api/runs/{run}/nearest", {"seed": 3}))
    assert len(near["numbers"]) == 6 and server.ask("GET", near["url"])[:4] == b"\x89PNG"
    made = server.wait_job(server.ask("POST", f"/api/runs/{run}/export", {"format": "keras"}))
    urls = {f["name"]: f["url"] for f in made["files"]}
    assert server.ask("GET", urls["generator.keras"])[:2] == b"PK"
    shown = server.ask("GET", f"/api/compare?runs={run},{other}")
    assert {d["option"] for d in shown["differences"]} >= {"--seed", "--total-images"} and len(
        shown["series"]["swd"]
    ) == 2
    assert all(server.ask("GET", sheet)[:4] == b"\x89PNG" for sheet in shown["sheets"])
    helpers = [int(p.name) for p in Path("/proc").glob("[0-9]*") if b"pggan_tf.studio.helper" in _command(p)]
    server.close()
    wait_for(lambda: not any(machine.is_alive(pid, None) for pid in helpers), 20)
    assert not (runs / ".studio" / "studio.log").exists(), (runs / ".studio" / "studio.log").read_text()


def _command(process: Path) -> bytes:
    with contextlib.suppress(OSError):
        return (process / "cmdline").read_bytes()
    return b""


@pytest.mark.slow
def test_a_photo_folder_that_is_removed_stops_no_training(tmp_path):
    faces, runs = draw_faces(tmp_path / "faces"), tmp_path / "runs"
    server = Server(runs, faces)
    try:
        (folder,) = server.ask("GET", "/api/folders")
        wish = {"data": folder["id"], "target_res": 8, "options": {**OPTIONS, "total_images": 1200}}
        server.ask("POST", "/api/queue", wish)
        wait_for(lambda: any(r["images"] for r in server.ask("GET", "/api/runs")))
        faces.rename(tmp_path / "gone")
        server.ask("POST", "/api/queue", wish)
        wait_for(lambda: [r["state"] for r in server.ask("GET", "/api/runs")] == ["done"])
        (entry,) = wait_for(lambda: [e for e in server.ask("GET", "/api/queue") if e["state"] == "failed"])
        assert "faces" in entry["error"] and "no such file or folder" in entry["error"]
        status, _, said = server.send("POST", f"/api/folders/{folder['id']}/look", {"size": 16})
        job = wait_for(lambda: (j := server.ask("GET", f"/api/jobs/{said['id']}"))["state"] != "running" and j)
        assert status == 200 and job["state"] == "failed" and "no such file or folder" in job["error"]
    finally:
        server.close()


@pytest.mark.slow
def test_a_helper_ends_when_it_idles_and_comes_back(tmp_path):
    from pggan_tf.studio.helpers import Helper
    from pggan_tf.studio.refusal import Refusal

    kept = store.Store(tmp_path / "runs")
    kept.create()
    helper = Helper(kept, idle=0.5)
    options = {"options": {"target_res": 8, "total_images": 1000}}
    try:
        assert helper.call("plan", options)["size"] == "8"
        first = helper.pid
        assert first is not None and helper.call("plan", options)["images"] and helper.pid == first
        time.sleep(0.6)
        helper.end_if_idle()
        assert helper.pid is None and not machine.is_alive(first, None)
        with pytest.raises(Refusal, match="--target-res 17"):
            helper.call("plan", {"options": {"target_res": 17}})
        threading.Timer(0.2, helper.stop).start()
        with pytest.raises(Refusal, match="has ended"):
            helper.call("walk", {"run": "x"}) if helper.pid is None else helper.call("count", options)
        assert helper.call("plan", options)["size"] == "8"
    finally:
        helper.close()
    assert helper.pid is None


@pytest.mark.slow
def test_faces_are_looked_at_and_trained_on(tmp_path):
    """By MTCNN on a real photo, with one left out and one cropped by hand, and from what was sent to the page."""
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    person, runs, sent = data.astronaut(), tmp_path / "runs", tmp_path / "sent"
    (tmp_path / "home").mkdir()
    server = Server(runs, home=tmp_path / "home")
    try:
        folder = server.ask("POST", "/api/uploads", {"name": "people"})
        for i in range(6):
            sent.mkdir(exist_ok=True)
            picture = person[:, ::-1] if i % 2 else person
            Image.fromarray(np.roll(picture, 8 * i, axis=0)).save(sent / f"{i}.jpg", quality=95)
            name = f"/api/folders/{folder['id']}/files?name={i}.jpg"
            server.ask("PUT", name, raw=(sent / f"{i}.jpg").read_bytes())
        Image.new("RGB", (200, 200), "white").save(sent / "none.png")
        server.ask("PUT", f"/api/folders/{folder['id']}/files?name=none.png", raw=(sent / "none.png").read_bytes())
        server.ask("POST", "/api/folders", {"path": folder["path"]})
        asked = {"size": 16, "faces": True, "margin": 0.5, "least": 40}
        look = server.wait_job(server.ask("POST", f"/api/folders/{folder['id']}/look", asked))
        assert (look["total"], look["kept"], look["faces"]) == (7, 6, 6)
        assert [(r["reason"], r["count"]) for r in look["left_out"]] == [("without a face", 1)]
        photos = server.ask("GET", f"/api/folders/{folder['id']}/photos")["photos"]
        face = photos[0]["faces"][0]
        x, y, w, h = face["box"]
        assert face["used"] and 150 < x < 250 and 50 < y < 150 and 60 < max(w, h) < 150, face
        cx, cy, cw, ch = face["crop"]
        assert (
            cw == ch == pytest.approx(1.5 * max(w, h), abs=2)
            and cx < x
            and cy < y
            and photos[0]["crop"] == face["crop"]
        )
        server.ask("PUT", f"/api/folders/{folder['id']}/photos/5", {"left_out": True})
        server.ask("PUT", f"/api/folders/{folder['id']}/photos/0", {"crop": [100, 0, 300, 300]})
        wish = {"data": folder["id"], "faces": True, "target_res": 16, "options": {**OPTIONS, "total_images": 400}}
        entry = server.ask("POST", "/api/queue", wish)
        assert "--size 16 --margin 0.5 --min-face 40 --resume && pggan train --data" in entry["command"]
        run = wait_for(lambda: [r for r in server.ask("GET", "/api/runs") if not r["pretrained"]])[0]["name"]
        wait_for(lambda: server.state_of(run) == "done")
        (made,) = (runs / ".studio" / "photos" / "faces").iterdir()
        report = json.loads((made / "report.json").read_text())
        assert (report["images_read"], report["kept"], report["dropped"]) == (6, 5, {"without a face": 1})
    finally:
        server.close()
