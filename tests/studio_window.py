"""`pggan studio` as a process, and windows of a browser on it, for tests of the page."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.parse
from pathlib import Path

import numpy as np
from PIL import Image

from pggan_tf.data import portraits
from tests.conftest import ROOT

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


class Studio:
    """`pggan studio` as a process, on one port for all its lives: the one that its first found free."""

    def __init__(self, folder: Path, photos: Path | None = None):
        self.runs, self.photos, self.port = folder / "runs", photos, 0
        self.process = None
        self.address = None

    def start(self):
        command = [sys.executable, "-m", "pggan_tf", "studio", *([str(self.photos)] if self.photos else [])]
        command += ["--runs", str(self.runs), "--port", str(self.port), "--no-browser"]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if line.startswith("http://"):
                self.address = line.strip()
                self.port = urllib.parse.urlsplit(self.address).port
                return self
        raise AssertionError(self.process.stderr.read())

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def close(self):
        """End the server, and the training that would survive it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.communicate(timeout=20)
        if self.process.poll() is None:
            self.kill()
        worker = self.runs / ".studio" / "worker.json"
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            os.killpg(json.loads(worker.read_text())["pid"], signal.SIGKILL)


def draw_photos(folder: Path, count: int = 24) -> Path:
    """Drawn portraits in two classes, among them one that is too small, a copy, and a file that is no picture."""
    for i in range(count):
        place = folder / ("winter" if i % 3 else "summer") / f"{i:02d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(portraits.draw(i, 64 + 32 * (i % 2), 3)).save(place)
    shutil.copy(folder / "summer" / "00.png", folder / "summer" / "again.png")
    Image.fromarray(portraits.draw(1, 16, 3)).resize((3, 3)).save(folder / "summer" / "tiny.png")
    (folder / "winter" / "broken.png").write_bytes((folder / "winter" / "01.png").read_bytes()[:300])
    return folder


class Window:
    """A page that notes what must not happen: errors, refusals nobody asked for, requests to other hosts."""

    def __init__(self, browser, studio, viewport=DESKTOP, **kwargs):
        self.context = browser.new_context(viewport=viewport, **kwargs)
        self.context.set_default_timeout(120_000)  # pictures are made in a process that gives way to training
        self.page = self.context.new_page()
        self.complaints = []
        self.down = False  # while the server is killed, failing requests are expected
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda said: self._note(said.text) if said.type in ("error", "warning") else None)
        self.page.on("request", lambda request: self._look(request.url, studio.port))
        self.page.goto(studio.address)
        self.page.get_by_role("navigation", name="Panels").wait_for()

    def _note(self, text):
        if not self.down:
            self.complaints.append(text)

    def _look(self, url, port):
        if not url.startswith((f"http://127.0.0.1:{port}/", "data:", "blob:")):
            self.complaints.append(f"asked another host: {url}")

    def go(self, panel):
        self.page.get_by_role("navigation", name="Panels").get_by_role("link", name=panel).click()
        self.page.get_by_role("main", name=panel).wait_for()

    def close(self):
        self.context.close()
        assert not self.complaints, self.complaints


@contextlib.contextmanager
def opened(browser, studio, *args, **kwargs):
    window = Window(browser, studio, *args, **kwargs)
    try:
        yield window
    except BaseException:
        window.page.screenshot(path=os.environ.get("STUDIO_SCREENSHOT", os.devnull + ".png")) if os.environ.get(
            "STUDIO_SCREENSHOT"
        ) else None
        window.context.close()
        raise
    window.close()


def settle(page):
    """Wait until nothing is on its way."""
    page.wait_for_function("() => !document.querySelector('[aria-busy=true], .opening, .job')")


def read_picture(page, url) -> np.ndarray:
    """The pixels of a picture that the page shows or saves."""
    answer = page.request.get(page.evaluate("url => new URL(url, location.href).href", url))
    assert answer.ok, answer.text()
    return np.asarray(Image.open(io.BytesIO(answer.body())).convert("RGB"))
