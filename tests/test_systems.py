"""Other systems, terminals and moments: what there is without POSIX, without UTF-8, and when Ctrl-C comes at once."""

import os
import subprocess
import sys
import time

import pytest

from pggan_tf import entry, files
from pggan_tf.errors import UserError
from tests.conftest import ROOT, pggan, start
from tests.test_front_door import refused

# What Windows lacks of what Python has on Linux.
HIDDEN = """
import mmap, os, select, signal, subprocess, sys, warnings
import asyncio, shutil  # of which these are the forms of Linux
shutil._use_fd_functions = False
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for module, names in (
    (signal, "pthread_sigmask SIGHUP SIGKILL SIGQUIT SIGUSR1 SIGUSR2 SIGALRM alarm setitimer"),
    (os, "fork getuid geteuid getpgid killpg setsid sched_getaffinity preadv pwrite pread posix_fallocate mkfifo O_NONBLOCK O_DIRECTORY O_NOFOLLOW statvfs sysconf"),
    (select, "poll epoll"),
    (mmap, "MAP_PRIVATE MAP_SHARED MAP_ANONYMOUS MAP_ANON PROT_READ PROT_WRITE MADV_DONTNEED"),
):
    for name in names.split():
        delattr(module, name)
warnings.filterwarnings("ignore", "only soft file lock")  # which is not said on Windows: it has locks of its own
"""
EVERYTHING = """
import importlib, pathlib
import numpy as np
for package in ("pggan_tf", "preprocessing", "export", "cloud"):
    for path in sorted(pathlib.Path(package).rglob("*.py")):
        name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        if not name.endswith("__main__"):
            importlib.import_module(name)
from pggan_tf.commands import cli
for module in cli.VERBS.values():
    importlib.import_module(module).command
photos, out, *_ = sys.argv[1:]
assert cli.main(["prepare", photos, out, "--size", "16", "--workers", "2"]) == 0
assert cli.main(["inspect", out]) == 0
from pggan_tf.data import shards
assert shards.Shards(out).read(16, np.arange(12)).shape == (12, 16, 16, 3)
assert cli.main(["train", "--workers", "a:1,b:2", "--worker-index", "0"]) == 2
from pggan_tf.metrics import scratch
rows = scratch.DiskArray((3, 2), np.float32)
rows[1:3] = [[1, 2], [3, 4]]
assert rows[0:3].tolist() == [[0, 0], [1, 2], [3, 4]]
"""


@pytest.mark.slow
def test_without_what_windows_lacks(photos, tmp_path):
    """Every module is imported, and a folder of photos becomes shards."""
    process = start("-W", "error", "-c", HIDDEN + EVERYTHING, photos, tmp_path / "out")
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert "12 images read, 12 kept" in out and "together on Linux alone" in err


# Sends Ctrl-C when a module is asked for; of a library that makes an error of its own out of it, and of one that goes on.
AT_ONCE = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["WHEN"]:
            sys.meta_path.remove(self)
            try:
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(1000):
                    pass
            except KeyboardInterrupt:
                if os.environ["THEN"] == "fails":
                    raise ImportError("numpy is not what was expected") from None
                if os.environ["THEN"] == "is raised":
                    raise
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "door, when, then",
    [
        (["train.py", "--help"], "pggan_tf.commands.cli", "is raised"),
        (["train.py", "--help"], "numpy", "fails"),
        (["-m", "pggan_tf", "prepare", "--help"], "preprocessing.prepare", "is raised"),
        (["-c", "from pggan_tf.__main__ import run; run()", "--help"], "click", "fails"),
        (["-m", "preprocessing.faces", "--help"], "click", "is raised"),
        (["-m", "export.tflite", "--help"], "click", "is raised"),
        (["-m", "cloud.azureml.submit", "--help"], "click", "is raised"),
        (["-m", "benchmarks.step", "--help"], "click", "is raised"),
        (["-m", "pggan_tf", "generate", "nowhere", "--grid", "g.png"], "tensorflow", "is swallowed"),
        (["-m", "pggan_tf", "generate", "nowhere", "--grid", "g.png"], "tensorflow", "fails"),
    ],
)
def test_ctrl_c_while_a_door_opens(door, when, then, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(AT_ONCE)
    process = start(*door, env={**os.environ, "PYTHONPATH": str(tmp_path), "WHEN": when, "THEN": then})
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip(), out) == (130, "stopped by Ctrl-C", "")


def test_ctrl_c_that_cannot_be_raised_comes_again():
    """In a destructor or a callback Python prints it, and goes on."""
    code = """
import os, signal, sys, time, types
from pggan_tf import entry
class Deaf:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000): pass
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "pggan_tf.commands.cli":
            Deaf()
            time.sleep(20)
sys.meta_path.insert(0, Finder())
sys.exit(entry.run('pggan_tf.commands.cli:cli', ['--help']))
"""
    began = time.monotonic()
    process = start("-c", code)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err, out) == (130, "stopped by Ctrl-C\n", "") and time.monotonic() - began < 15


def test_a_job_in_the_background_that_ignores_ctrl_c_goes_on():
    code = "import os, signal, subprocess, sys\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    code += "from pggan_tf import entry\nos.kill(os.getpid(), signal.SIGINT)\ncode = entry.run('pggan_tf.commands.cli:cli', ['--version'])\n"
    code += "assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN; sys.exit(code)"
    process = start("-c", code)
    assert process.communicate(timeout=60)[0].startswith("pggan") and process.returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_terminals_without_utf_8(encoding, tmp_path):
    """What a terminal cannot show is spelled with what it can: help, tables, names of folders, errors."""
    code = (
        "import sys, click; from pggan_tf import entry\n"
        "def command():\n"
        "    import rich.console, rich.table\n"
        "    table = rich.table.Table('a\u2026', 'b'); table.add_row('Caf\u00e9 \u00d7 3', '\u65e5 \u2192 \u2265 4')\n"
        "    rich.console.Console().print(table)\n"
        "    click.echo(b'caf\\xc3\\xa9'.decode('ascii', 'surrogateescape'))\n"
        "    print('print \u2026'); click.echo('echo \u2026 \u00e9'); click.echo('err \u2026 \u00e9', err=True)\n"
        "import types; held = sys.modules['held'] = types.ModuleType('held')\n"
        "held.command = click.command()(command)\n"
        "sys.exit(entry.run('held:command', []))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}
    )
    out, err = process.stdout.decode(encoding), process.stderr.decode(encoding)
    assert process.returncode == 0, err
    assert "cafe" in out
    if encoding == "utf-8":
        assert "Café × 3" in out and "日 → ≥ 4" in out and "━" in out and err == "err … é\n"
        return
    cafe, dots, accent = ("Cafe x 3", "...", "e") if encoding == "ascii" else ("Café × 3", "…", "é")
    assert cafe in out and "? -> >= 4" in out and "+--" in out
    assert f"print {dots}" in out and f"echo {dots} {accent}" in out and err.split() == ["err", dots, accent]


def test_plain_characters():
    assert entry.plain("██ Ålesund … 3 × 4 ± 1, ½ “a” – ﬁ 日") == '## Alesund ... 3 x 4 +- 1, 1/2 "a" - fi ?'


def test_a_user_without_a_home_is_asked_for_a_folder(monkeypatch):
    """As in a container under a number that no user has."""
    from pggan_tf.data import shards

    for name in ("PGGAN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    refused(pggan("train", "--target-res", "8", "--portraits", "10"), "no home folder for prepared data. Give --cache")
    assert shards.find_cache_folder("x").name == "x"


def test_a_lock_is_given_back_and_needs_no_locks(tmp_path, monkeypatch):
    """One holds it at a time; a process that was killed holds none; a file system without locks is no obstacle."""
    import errno

    import filelock

    said = []

    def busy():
        said.append("busy")
        raise UserError("busy")

    code = "import os, sys; from pggan_tf import files; from pathlib import Path\n"
    code += "with files.hold_lock(Path(sys.argv[1]), None): print('held', flush=True); sys.stdin.read()"
    holder = start("-c", code, tmp_path / "lock", stdin=subprocess.PIPE)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError), files.hold_lock(tmp_path / "lock", busy):
        pass
    holder.kill()
    holder.communicate()
    for _ in range(2):
        with files.hold_lock(tmp_path / "lock", busy):
            pass
    assert said == ["busy"]

    def without(lock, **_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", without)
    with files.hold_lock(tmp_path / "lock", busy):
        said.append("held")
    assert said == ["busy", "held"]
    monkeypatch.setattr(filelock.FileLock, "acquire", lambda *_, **__: (tmp_path / "none" / "lock").open("w"))
    with pytest.raises(FileNotFoundError), files.hold_lock(tmp_path / "lock", busy):
        pass
