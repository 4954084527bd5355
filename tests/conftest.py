"""Tests lean on pictures that they draw; they need no network and no data set."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Scripts start commands in the background so, and processes that tests start would never hear Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
# A network that is trained in seconds.
TINY = [
    "--fmap-base",
    "64",
    "--fmap-max",
    "16",
    "--latent-size",
    "8",
    "--portraits",
    "120",
    "--grid",
    "4",
    "--no-report",
]


def _is_avx512_hidden() -> bool:
    """Tell whether oneDNN may not use the AVX-512 that this processor has.

    TensorFlow asks the processor alone, and a product in bfloat16 then ends the process ("Segmentation fault").
    """
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    flags = Path("/proc/cpuinfo").read_text() if os.path.exists("/proc/cpuinfo") else ""
    return allowed.upper() in ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2") and " avx512f" in flags


NEEDS_BFLOAT16 = pytest.mark.skipif(
    _is_avx512_hidden(), reason="ONEDNN_MAX_CPU_ISA hides AVX-512 from oneDNN alone: bfloat16 crashes TensorFlow"
)


def pytest_xdist_auto_num_workers(config) -> int:
    """One more than there are cores: tests of servers, pages and killed processes wait for half of their time."""
    return len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)) + 1


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Prepared data of all tests, away from the user's."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["PGGAN_CACHE"] = str(folder)
    return folder


@pytest.fixture
def hears_closed_terminals():
    """As without nohup, which has this process and those that it starts ignore SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def start(*arguments, **kwargs) -> subprocess.Popen:
    """`python train.py ...` or, for another verb, `python -m pggan_tf ...`, as a real process."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def train(*arguments) -> tuple[int, str, str]:
    """`python train.py ...` as `pggan` runs it; what is about processes goes through `start` and `train_alone`."""
    before, sys.argv = sys.argv, ["train.py", *map(str, arguments)]
    try:
        return pggan("train", *arguments)
    finally:
        sys.argv = before


def train_alone(*arguments, timeout=240, **kwargs) -> tuple[int, str, str]:
    """`python train.py ...` in a process of its own."""
    process = start("train.py", *arguments, **kwargs)
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def pggan(*arguments, command=None) -> tuple[int, str, str]:
    """`pggan ...`, or another command, from its arguments to its exit code, in this process: TensorFlow takes seconds to load."""
    from pggan_tf import entry
    from pggan_tf.commands import cli

    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(ROOT), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = entry.main(command or cli.cli, [str(a) for a in arguments])
    return code, out.getvalue(), err.getvalue()


def options_of(run: Path) -> dict:
    """{option: value} of a run's config.json, with text for keys of tables."""
    content = json.loads((run / "config.json").read_text())
    groups = [value for name, value in content.items() if isinstance(value, dict) and name != "asked"]
    return {name: value for group in groups for name, value in group.items()}


def change_config(run: Path, **values) -> dict:
    """Write other values of options into a run's config.json; return its content."""
    content = json.loads((run / "config.json").read_text())
    for group in content.values():
        if isinstance(group, dict):
            group.update({name: value for name, value in values.items() if name in group})
    content["asked"] |= values
    (run / "config.json").write_text(json.dumps(content))
    return content


def run_folder(out: str) -> Path:
    """The last line printed is the run's folder."""
    return ROOT / out.strip().splitlines()[-1]


@pytest.fixture
def photos(tmp_path):
    """A folder of twelve small photos in two classes."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(12):
        folder = tmp_path / "photos" / ("cats" if i % 2 else "dogs")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40 + i, 48, 3), np.uint8)).save(folder / f"{i:02d}.png")
    return tmp_path / "photos"


@pytest.fixture
def asker(tmp_path, monkeypatch):
    """A studio with a run, whose home folder has photos; nothing is trained."""
    from tests import studio_stand

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    studio_stand.draw_photos(tmp_path / "home" / "photos")
    studio_stand.write_run(tmp_path / "runs")
    studio = studio_stand.make_studio(tmp_path / "runs")
    studio.queue._launch = None
    yield studio_stand.Asker(studio)
    studio.close()


CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium, as a playwright Browser. Not of the session: while it lives, `asyncio.run` fails in this process."""
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if executable is None:
        pytest.skip(f"no Chromium: none of {', '.join(CHROMIUM)} is installed (Debian: apt-get install {CHROMIUM[0]})")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    """A new page 1280 px wide. The test fails if it logged an error, threw one, or asked for anything beyond this machine."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(90_000)
    mistakes = []
    page.on("console", lambda message: mistakes.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: mistakes.append(str(error)))
    here = ("file:", "data:", "blob:", "http://127.0.0.1:", "http://localhost:")
    page.on("request", lambda request: None if request.url.startswith(here) else mistakes.append(request.url))
    yield page
    context.close()
    assert not mistakes, mistakes
