"""What the studio sees to by itself: the address, helpers that say nothing, old logs, GPUs, and a full disk."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from click.testing import CliRunner

pytest.importorskip("fastapi", reason="fastapi is not installed (extra serve)")
from pggan_tf.commands import studio as verb
from pggan_tf.studio import helpers, launch, machine, server, store
from pggan_tf.studio.queue import Queue
from pggan_tf.studio.refusal import Refusal
from tests.studio_stand import NVIDIA, put_nvidia_smi

RUN = "00000-pggan-portraits-8"


@pytest.fixture
def kept(tmp_path):
    """A store without runs."""
    kept = store.Store(tmp_path / "runs")
    kept.create()
    return kept


# --- the address


def test_the_browser_is_started_without_the_key(tmp_path, monkeypatch):
    """Others may see with what a program was started, but not read the page that leads to the address."""
    opened, seen = threading.Event(), {}

    def look(address):
        page = store.Store(tmp_path / "runs").folder / "open.html"
        seen.update(address=address, mode=page.stat().st_mode & 0o777, page=page.read_text())
        opened.set()

    def serve(studio, host, shown, port, say):
        assert not (studio.store.folder / "open.html").exists(), "of a studio that was killed"
        say(f"http://127.0.0.1:7863/?key={studio.key}")
        assert opened.wait(10)

    monkeypatch.setattr(verb.webbrowser, "open", look)
    monkeypatch.setattr(server, "serve", serve)
    folder = tmp_path / "runs" / ".studio"
    folder.mkdir(parents=True)
    (folder / "open.html").write_text("of yesterday")
    done = CliRunner().invoke(verb.command, ["--runs", str(tmp_path / "runs")])
    assert done.exit_code == 0, done.output
    key = (folder / "key").read_text()
    assert seen["address"] == (folder / "open.html").as_uri() and key not in seen["address"]
    assert seen["mode"] == 0o600 and f'url=http://127.0.0.1:7863/?key={key}"' in seen["page"]
    assert not (folder / "open.html").exists()


# --- helpers

HELPER = """
import json, subprocess, sys, time
for line in sys.stdin:
    asked = json.loads(line)
    if asked["verb"] == "hang":
        child = subprocess.Popen(["sleep", "600"])
        print(json.dumps({"id": asked["id"], "progress": [child.pid, 0, ""]}), flush=True)
        time.sleep(600)
    for i in range(4 if asked["verb"] == "slow" else 0):
        print(json.dumps({"id": asked["id"], "progress": [i, 4, ""]}), flush=True)
        time.sleep(0.7)
    print(json.dumps({"id": asked["id"], "result": "done"}), flush=True)
"""


def start_stand_in(store, gpu=True):
    """A helper that needs no TensorFlow."""
    return subprocess.Popen(
        [sys.executable, "-c", HELPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )


def test_a_helper_that_says_nothing_is_ended_with_what_it_began(kept, monkeypatch):
    monkeypatch.setattr(launch, "start_helper", start_stand_in)
    helper, told = helpers.Helper(kept, limit=60.0), []
    try:
        assert helper.call("plan", {}) == "done", "it is at work: its start is not part of the limit"
        helper.limit = 2.0
        assert helper.call("slow", {}) == "done", "2.8 seconds, but never silent for two"
        first = helper.pid
        with pytest.raises(Refusal, match=r"said nothing for 2 seconds, and was ended. Try again") as refused:
            helper.call("hang", {}, lambda *progress: told.append(progress))
        assert refused.value.status == 409 and helper.pid is None
        child = told[0][0]
        deadline = time.monotonic() + 10
        while machine.is_alive(first, None) or machine.is_alive(child, None):
            assert time.monotonic() < deadline, "it or its child is still there"
            time.sleep(0.02)
        helper.limit = 60.0
        assert helper.call("plan", {}) == "done" and helper.pid not in (None, first)
    finally:
        helper.close()


def test_limits_are_generous_and_said_in_words():
    assert helpers.ANSWER_SECONDS >= 300 and helpers.JOB_SECONDS >= 1800
    assert helpers._name_time(3600.0) == "60 minutes" and helpers._name_time(30.0) == "30 seconds"


def test_helpers_leave_gpus_to_a_training(kept, monkeypatch):
    given, training, gpus = [], [False], ["A card"]
    monkeypatch.setattr(machine, "describe", lambda: {"gpus": gpus})
    monkeypatch.setattr(launch, "start_helper", lambda store, gpu: given.append(gpu) or start_stand_in(store))
    helper = helpers.Helper(kept, spares_gpu=lambda: training[0])
    try:
        helper.call("plan", {})
        helper.end_if_idle()
        assert helper.pid is not None and given == [True]
        training[0] = True
        helper.end_if_idle()  # as every two seconds
        assert helper.pid is None, "its memory is needed"
        helper.call("plan", {})
        first = helper.pid
        helper.call("plan", {})
        assert given == [True, False] and helper.pid == first
        training[0] = False
        helper.call("plan", {})
        assert helper.pid == first, "one without a GPU need not end"
        helper.stop()
        gpus.clear()
        helper.call("plan", {})
        training[0] = True
        helper.end_if_idle()
        assert helper.pid not in (None, first), "where there is no GPU, nothing is left to the training"
    finally:
        helper.close()


def test_a_studio_knows_when_something_is_trained(asker, tmp_path):
    from pggan_tf import files

    studio = asker.studio
    assert not studio.is_training()
    about = {"pid": os.getpid(), "started": machine.find_start(os.getpid()), "entry": "0123456789", "child": None}
    store.write_json(studio.store.folder / "worker.json", about)
    assert studio.is_training(), "by the queue"
    store.write_json(studio.store.folder / "worker.json", {})
    assert not studio.is_training()
    if machine.list_locked_files() is not None:
        with files.hold_lock(tmp_path / "runs" / RUN / ".lock", lambda: None):
            machine._list_locked_files.cache_clear()
            assert studio.is_training(), "from a terminal"
        machine._list_locked_files.cache_clear()


def test_use_and_memory_of_gpus_are_what_nvidia_smi_says(tmp_path, monkeypatch):
    put_nvidia_smi(tmp_path / "bin", monkeypatch)
    machine._list_gpus.cache_clear()
    try:
        assert machine.describe()["gpus"] == ["Made Up 9000", "Made Up 9000 MIG"]
        assert machine.Load().measure()["gpu"] == {"use": 0.87, "memory": 9.0, "total": 24.0}
        (tmp_path / "bin" / "nvidia-smi").write_text(NVIDIA.replace("87, 8192, 24576", "[N/A], [N/A], [N/A]"))
        assert machine.measure_gpu() == {"use": None, "memory": 1.0, "total": None}
        (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
        assert machine.measure_gpu() is None
    finally:
        machine._list_gpus.cache_clear()


# --- the queue and its logs


def test_a_failed_entry_is_trained_again_with_the_same_commands(asker):
    queue = asker.studio.queue
    failed = queue.add("train", "bad", [["trian"]], "pggan trian", wish={"a": 1}, named=True)["id"]
    waiting = queue.add("train", "good", [["--version"]], "pggan --version")["id"]
    path, entry = queue.read()[0]
    store.write_json(path, entry | {"begun": True, "error": "trian: not known"})
    assert [e["state"] for e in asker.ask("GET", "/api/queue")[1]] == ["failed", "waiting"]
    status, entries = asker.ask("POST", f"/api/queue/{failed}/again")
    assert status == 200 and [(e["id"], e["state"]) for e in entries] == [(waiting, "waiting"), (failed, "waiting")]
    assert queue.read()[1][1] == entry, "everything else stays"
    status, said = asker.ask("POST", f"/api/queue/{failed}/again")
    assert status == 409 and "has not failed" in said["error"]
    assert asker.ask("POST", "/api/queue/0000000000/again")[0] == 404


def test_old_logs_are_removed_but_none_that_is_needed(kept):
    now = time.time()
    for i in range(30):
        file = kept.work / f"{i:010d}.log"
        file.write_text("x")
        os.utime(file, (now - 1000 * i, now - 1000 * i))
    left, fresh = kept.work / "a.photo", kept.work / "b.png"
    for file, age in ((left, 2 * 86400), (fresh, 60)):
        file.touch()
        os.utime(file, (now - age, now - age))
    kept.tidy([f"{29:010d}"])
    assert sorted(int(p.stem) for p in kept.work.glob("*.log")) == [*range(store.KEPT_LOGS), 29]
    assert not left.exists() and fresh.exists()


def test_the_worker_keeps_the_log_of_what_has_failed(kept):
    queue = Queue(kept)
    failed = queue.add("train", "failed", [["trian"]], "")["id"]
    for path, entry in queue.read():
        store.write_json(path, entry | {"error": "no"})
    old = [kept.work / f"{name}.log" for name in (failed, "old")]
    for file in old:
        file.write_text("x")
        os.utime(file, (1e9, 1e9))
    for i in range(store.KEPT_LOGS + 5):
        (kept.work / f"new{i}.log").touch()
    queue.add("train", "short", [["--version"]], "")
    assert launch.start_worker(kept).wait(60) == 0
    assert [file.is_file() for file in old] == [True, False]


# --- a full disk


def list_content(folder):
    """{path: bytes} of all files but what the studio may write at any time."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.suffix != ".lock"
    }


def test_a_full_disk_is_a_sentence_and_loses_nothing(asker, tmp_path, monkeypatch):
    """Every request that writes, on a disk on which no byte more can be written."""
    _, folder = asker.ask("POST", "/api/folders", body={"path": str(tmp_path / "home" / "photos")})
    _, sent = asker.ask("POST", "/api/uploads", body={"name": "sent"})
    queue = asker.studio.queue
    failed = queue.add("train", "bad", [["trian"]], "pggan trian")["id"]
    path, entry = queue.read()[0]
    store.write_json(path, entry | {"error": "no"})
    asker.ask("POST", f"/api/runs/{RUN}/name", body={"title": "Mine"})
    before = list_content(tmp_path / "runs")
    photo = (tmp_path / "home/photos/dogs/00.png").read_bytes()
    opened = os.open

    def refuse(path, flags, *args, **kwargs):
        if flags & (os.O_WRONLY | os.O_RDWR) and not str(path).endswith((".lock", "null")):
            raise OSError(28, "No space left on device", str(path))
        return opened(path, flags, *args, **kwargs)

    class Full:
        """pathlib and open write nothing either."""

        def __init__(self, real):
            self.real = real

        def __call__(self, file, mode="r", *args, **kwargs):
            if set(mode) & set("wax+"):
                raise OSError(28, "No space left on device", str(file))
            return self.real(file, mode, *args, **kwargs)

    import builtins
    import io

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(builtins, "open", Full(builtins.open))
    monkeypatch.setattr(io, "open", Full(io.open))
    asked = [
        ("POST", f"/api/runs/{RUN}/name", b"", {"title": "Yours"}),
        ("POST", f"/api/runs/{RUN}/go-on", b"", {}),
        ("PUT", f"/api/folders/{folder['id']}/photos/1", b"", {"left_out": True}),
        ("PUT", f"/api/folders/{sent['id']}/files", b"name=a.png", photo),
        ("POST", "/api/uploads", b"", {"name": "more"}),
        ("POST", f"/api/queue/{failed}/again", b"", None),
    ]
    answers = [(path, asker.ask(method, path, query, body)) for method, path, query, body in asked]
    monkeypatch.undo()
    for path, (status, said) in answers:
        assert status == 409 and "No space left on device. Make room" in said["error"], (path, said)
    assert list_content(tmp_path / "runs") == before and asker.gate.unexpected == []
    # With room, the same requests are granted.
    for method, path, query, body in asked:
        assert asker.ask(method, path, query, body)[0] == 200, path
    assert json.loads((tmp_path / "runs/.studio/titles.json").read_text()) == {RUN: "Yours"}
