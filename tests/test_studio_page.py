"""The page of the studio, in a real browser, as a person would spend the evening: what it shows is what files and commands say."""

import contextlib
import filecmp
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pggan_tf.data import portraits
from tests.conftest import ROOT, pggan

PAGE = ROOT / "pggan_tf" / "studio" / "page"
BUILT = ("index.html", "studio.js", "studio.css")
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
PANELS = ("Photos", "Grow", "Watch", "Play", "Compare")
LARGEST = 60_000  # bytes of the page's script and styles, compressed
SECONDS = 120  # how long a training of a few thousand images of 8 pixels may take on a busy machine


def free_port() -> int:
    with contextlib.closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Studio:
    """`pggan studio` as a process, on one port for all its lives."""

    def __init__(self, folder: Path, photos: Path | None = None):
        self.runs, self.photos, self.port = folder / "runs", photos, free_port()
        self.process = None
        self.address = None

    def start(self):
        command = [sys.executable, "-m", "pggan_tf", "studio", *([str(self.photos)] if self.photos else [])]
        command += ["--runs", str(self.runs), "--port", str(self.port), "--no-browser"]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if line.startswith("http://"):
                self.address = line.strip()
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
        with contextlib.suppress(OSError, ValueError, KeyError):
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
        self.context.set_default_timeout(30_000)
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


@pytest.fixture
def studio(tmp_path):
    one = Studio(tmp_path, draw_photos(tmp_path / "Friends")).start()
    yield one
    one.close()


def test_the_committed_page_is_built_of_its_sources(tmp_path):
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: the page cannot be built again")
    for name in ("src", "package.json", "package-lock.json", "build.mjs", "tsconfig.json"):
        (shutil.copytree if (PAGE / name).is_dir() else shutil.copy)(PAGE / name, tmp_path / name)
    if (PAGE / "node_modules").is_dir():
        (tmp_path / "node_modules").symlink_to(PAGE / "node_modules")
    else:
        fetched = subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=tmp_path, capture_output=True, text=True)
        if fetched.returncode:
            pytest.skip(f"npm cannot fetch what builds the page: {fetched.stderr.strip().splitlines()[-1]}")
    for command in (["run", "check"], ["run", "build"]):
        done = subprocess.run([npm, *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    _, unlike, missing = filecmp.cmpfiles(PAGE, tmp_path, BUILT, shallow=False)
    assert not unlike and not missing, f"{unlike + missing}: run `npm ci && npm run build` in {PAGE.relative_to(ROOT)}"


def test_the_page_is_small_and_says_whose_code_it_holds():
    import gzip

    compressed = sum(len(gzip.compress((PAGE / name).read_bytes())) for name in BUILT)
    assert compressed < LARGEST
    lock = json.loads((PAGE / "package-lock.json").read_text())
    bundled = {
        n.removeprefix("node_modules/"): p["version"] for n, p in lock["packages"].items() if n and not p.get("dev")
    }
    licences = (PAGE / "LICENCES.txt").read_text()
    assert bundled and all(f"{name} {version}".lower() in licences.lower() for name, version in bundled.items())
    assert (
        "style=" not in (PAGE / "index.html").read_text() and "resolved" not in (PAGE / "package-lock.json").read_text()
    )


def test_an_empty_studio_says_what_to_do(browser, tmp_path):
    """Every panel by the keyboard, its place in the address, and light or dark."""
    studio = Studio(tmp_path).start()
    try:
        with opened(browser, studio) as window:
            page = window.page
            page.get_by_role("heading", name="Drop a folder of photos here").wait_for()
            assert "key=" not in page.url
            for panel, says in zip(
                PANELS[1:], ("What it learns", "Nothing has been grown yet", None, "Nothing to compare yet")
            ):
                page.keyboard.press(f"Alt+{PANELS.index(panel) + 1}")
                page.get_by_role("main", name=panel).wait_for()
                page.wait_for_function(f"document.title.startsWith('{panel}')")
                assert page.url.endswith(f"#{panel.lower()}")
                if says:
                    page.get_by_role("heading", name=says).wait_for()
            page.go_back()
            page.get_by_role("main", name="Play").wait_for()
            page.get_by_role("button", name="Dark colours").click()
            dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
            page.reload()
            page.get_by_role("button", name="Light colours").wait_for()
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    finally:
        studio.close()
