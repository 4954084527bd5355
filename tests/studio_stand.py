"""What tests of the studio share: folders of photos, runs that were never trained, and requests as bytes."""

import asyncio
import importlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from pggan_tf import config
from pggan_tf.runs import folder as folders
from pggan_tf.runs import pretrained
from pggan_tf.studio import helper, server
from pggan_tf.studio.refusal import Refusal, as_refusal
from pggan_tf.studio.studio import Studio

HOST = "127.0.0.1:7863"


class InProcess:
    """A helper without a process: TensorFlow is loaded in the tests anyway."""

    pid = None

    def __init__(self, verbs=()):
        self.verbs, self.asked = verbs, []

    def call(self, verb, args, progress=lambda *_: None):
        self.asked.append(verb)
        if self.verbs and verb not in self.verbs:
            raise Refusal(409, "not in this test")
        module, _, name = helper.VERBS[verb].partition(":")
        try:
            return getattr(importlib.import_module(module), name)(json.loads(json.dumps(args)), progress)
        except Exception as error:
            raise as_refusal(error) or error from None

    def end_if_idle(self):
        pass

    stop = close = end_if_idle


def draw_photos(folder: Path, count: int = 12, size: int = 40) -> Path:
    """Write photos of noise in two classes; the last one is a copy of the first, another is too small."""
    rng = np.random.default_rng(0)
    for i in range(count):
        place = folder / ("cats" if i % 2 else "dogs")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size, size + 8, 3), np.uint8)).save(place / f"{i:02d}.png")
    shutil.copy(folder / "dogs" / "00.png", folder / "dogs" / "98.png")
    Image.fromarray(rng.integers(0, 256, (10, 12, 3), np.uint8)).save(folder / "dogs" / "99.png")
    (folder / "dogs" / "97.jpg").write_bytes(b"no photo")
    return folder


def write_run(runs: Path, name: str = "00000-pggan-portraits-8", ticks: int = 20, **options) -> Path:
    """Write the folder of a run that was interrupted, without training it."""
    plan = config.resolve({"target_res": 8, "total_images": 1000, **options})
    run = runs / name
    run.mkdir(parents=True)
    dataset = {"folder": "/shards", "source": "portraits", "images": 60, "checksum": "0" * 64, "classes": []}
    folders.write_json(run / folders.CONFIG, plan.to_json())
    folders.write_json(run / folders.ENVIRONMENT, {"dataset": dataset, "asked": plan.to_json(), "precision": "float32"})
    lines = [
        {"images": 16 * (i + 1), "seconds": 0.5 * (i + 1), "resolution": 4, "loss_d": 1.0 / (i + 1), "loss_g": 1.0}
        for i in range(ticks)
    ]
    lines.append(
        {"images": 320, "seconds": 10.0, "resolution": 4, "measured": 60, "metrics": {"swd": 30.5 + len(name)}}
    )
    (run / folders.STATS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / folders.LOG).write_text("2026-01-01 00:00:00 run begins\n")
    for picture in ("reals.png", "fakes-000001-4px-160.png", "fakes-000002-4px-320.png"):
        Image.new("RGB", (64, 64), "gray").save(run / picture)
    return run


def copy_pretrained(runs: Path, name: str = "00007-portraits") -> Path:
    """Copy the run that comes with the package, which has a generator."""
    return Path(shutil.copytree(pretrained.FOLDER / "portraits", runs / name))


def make_studio(runs: Path, *places, verbs=()) -> Studio:
    """Return a studio whose helpers are in this process."""
    studio = Studio(runs, places)
    studio.helper = studio.jobs.helper = studio._slow = InProcess(verbs)
    return studio


class Asker:
    """Sends requests to the application as bytes, so that nothing tidies them up on the way."""

    def __init__(self, studio: Studio):
        self.studio, self.gate = studio, server.make_application(studio, port=7863)
        self.cookie = f"pggan-studio-7863={studio.key}"

    async def send(self, method, path, query=b"", body=b"", **headers):
        """Return (status, headers, body) of a request. A header None is left out."""
        given = {"host": HOST, "cookie": self.cookie, "x-studio": "1", "content-length": str(len(body))}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        raw = [(n.encode(), v.encode("latin-1", "replace")) for n, v in given.items() if v is not None]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode("utf-8", "replace"), "query_string": query, "root_path": "",
            "headers": raw, "client": ("127.0.0.1", 9), "server": ("127.0.0.1", 7863), "state": {},
        }  # fmt: skip
        said, sent = [], False

        async def receive():
            nonlocal sent
            if sent:
                await asyncio.sleep(3600)  # the client waits for the answer
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            said.append(message)

        await self.gate(scope, receive, send)
        start = said[0]
        names = {n.decode().lower(): v.decode("latin-1") for n, v in start["headers"]}
        return start["status"], names, b"".join(m.get("body", b"") for m in said[1:])

    def ask(self, method, path, query=b"", body=None, **headers):
        """Return (status, content) of a request; content is parsed if it is JSON."""
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        status, names, data = asyncio.run(self.send(method, path, query, raw, **headers))
        return status, json.loads(data) if names.get("content-type", "").startswith("application/json") else data


NVIDIA = """#!/bin/sh
case "$1" in
  --query-gpu=name) echo "Made Up 9000"; echo "Made Up 9000 MIG" ;;
  --query-gpu=utilization.gpu,memory.used,memory.total) echo "87, 8192, 24576"; echo "[N/A], 1024, [N/A]" ;;
  *) exit 1 ;;
esac
"""


def put_nvidia_smi(folder, monkeypatch):
    """Put a program nvidia-smi first on PATH."""
    folder.mkdir()
    (folder / "nvidia-smi").write_text(NVIDIA)
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
