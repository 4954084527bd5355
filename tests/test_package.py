"""What is built and published: the wheel, the source distribution, their requirements, and what stands beside them."""

import configparser
import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from pggan_tf import __version__
from pggan_tf.runs import pretrained
from tests.conftest import ROOT, TINY

INSTALLED = ("pggan_tf", "preprocessing", "export")
COPIED = (*INSTALLED, "benchmarks", "cloud", "docs")
# What is no part of a package, though it lies in one.
IGNORED = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.pyc", "node_modules", ".mypy_cache", ".ruff_cache")


def config():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def requirements():
    """(extra or "", requirement) for all of setup.cfg, but those on the package's own extras."""
    parser = config()
    texts = {"": parser["options"]["install_requires"], **parser["options.extras_require"]}
    found = [
        (extra, Requirement(line))
        for extra, text in texts.items()
        for line in text.splitlines()
        if line and not line.startswith("#")
    ]
    return [(extra, requirement) for extra, requirement in found if requirement.name != "pggan-tf"]


def pins():
    lines = (ROOT / "constraints.txt").read_text().split()
    found = {canonicalize_name(name): Version(number) for name, number in (line.split("==") for line in lines)}
    assert len(found) == len(lines), "a package is pinned twice"
    return found


def build(folder: Path, kind: str, out: Path) -> Path:
    """The wheel or sdist of a folder, by the installed setuptools: nothing is downloaded."""
    least = least_setuptools()
    assert Version(version("setuptools")) >= least, 'pip install -c constraints.txt -e ".[test]" brings a newer one'
    code = f"import setuptools.build_meta as b; print(b.build_{kind}({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


def least_setuptools() -> Version:
    import tomllib

    [requirement] = map(Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"])
    [specifier] = requirement.specifier
    return Version(specifier.version)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the project, since building leaves files behind."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in COPIED:
        shutil.copytree(ROOT / name, copy / name, ignore=IGNORED)
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":
            shutil.copy(path, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    return build(checkout, "wheel", tmp_path_factory.mktemp("wheel"))


def files_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def metadata_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


# What the page of the studio is built from; the wheel holds what is built.
PAGE = "pggan_tf/studio/page/"
SOURCES_OF_PAGE = (
    f"{PAGE}src/",
    *(f"{PAGE}{name}" for name in ("build.mjs", "package.json", "package-lock.json", "tsconfig.json")),
)


def test_the_wheel_holds_three_packages_and_all_of_their_files(wheel, checkout):
    there = {p.relative_to(checkout).as_posix() for name in INSTALLED for p in (checkout / name).rglob("*")}
    there = {name for name in there if (checkout / name).is_file() and not name.startswith(SOURCES_OF_PAGE)}
    assert f"{PAGE}studio.js" in there
    assert files_of(wheel) == there
    assert {"pggan_tf/py.typed", "export/web/index.html", "pggan_tf/report/templates/report.html"} <= there
    portraits = pretrained.FOLDER / "portraits"
    own = {
        f"pggan_tf/pretrained/{path.relative_to(pretrained.FOLDER)}" for path in portraits.rglob("*") if path.is_file()
    }
    assert len(own) == 5 and own <= there


def test_the_source_distribution_builds_the_same_wheel(checkout, wheel, tmp_path):
    source = build(checkout, "sdist", tmp_path)
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    [folder] = (tmp_path / "unpacked").iterdir()
    assert not {"tests", "benchmarks", "cloud", "docs"} & {path.name for path in folder.iterdir()}
    assert {"LICENSE", "CHANGELOG.md", "CITATION.cff", "constraints.txt"} <= {path.name for path in folder.iterdir()}
    again = build(folder, "wheel", tmp_path)
    assert files_of(again) == files_of(wheel)
    assert metadata_of(again).get_payload() == metadata_of(wheel).get_payload()


def test_what_an_index_shows(wheel):
    about = metadata_of(wheel)
    assert about["Version"] == __version__ and about["License-Expression"] == "Apache-2.0"
    assert about["Description-Content-Type"] == "text/markdown"
    text = about.get_payload(decode=True).decode()
    source = dict(line.split(", ") for line in about.get_all("Project-URL"))["Source"]
    targets = re.findall(r"\]\(([^)\s]+)|\b(?:src|href|srcset)=[\"']([^\"']+)", text)
    targets = [a or b for a, b in targets]
    assert targets and not [t for t in targets if not re.match("https?://|#|mailto:", t)]
    for target in targets:
        if target.startswith(f"{source}/"):
            kind, tag, path = target.removeprefix(f"{source}/").partition("#")[0].split("/", 2)
            assert tag == f"v{__version__}" and (ROOT / path).exists(), target
            assert kind == ("raw" if path.endswith((".png", ".jpg", ".svg", ".webp")) else "blob"), target


def test_only_what_users_ask_for_is_required_exactly():
    exact = {extra for extra, requirement in requirements() if "==" in str(requirement.specifier)}
    assert exact == {"test"}
    extras = config()["options.extras_require"]
    assert set(re.search(r"\[(.+)\]", extras["all"])[1].split(",")) == {
        "apk", "coreml", "export", "heic", "hub", "onnx", "remote", "serve"
    }  # fmt: skip


def test_every_requirement_has_its_exact_version_in_the_constraints():
    known = pins()
    for extra, requirement in requirements():
        pin = known.get(canonicalize_name(requirement.name))
        assert pin is not None, f"[{extra}] {requirement.name}: constraints.txt has no version of it"
        assert requirement.specifier.contains(pin, prereleases=True), f"[{extra}] {requirement}: the pin is {pin}"


def test_a_version_stands_once_and_is_told_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    [dated] = re.findall(rf"^## {re.escape(__version__)} \((\d{{4}}-\d\d-\d\d)\)$", changes, re.M)
    assert citation["version"] == __version__ and str(citation["date-released"]) == dated
    assert citation["repository-code"] in config()["metadata"]["project_urls"].split()


def complete(*words, shell="bash"):
    """What Tab offers for the last word, [(kind, value)]."""
    asked = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1), "_PGGAN_COMPLETE": f"{shell}_complete"}
    code = """import atexit, sys
slow = {"tensorflow", "keras", "PIL", "scipy"}
atexit.register(lambda: sys.stderr.write(", ".join(slow & sys.modules.keys())))
from pggan_tf.__main__ import run
run()"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=os.environ | asked, cwd=ROOT, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    return [tuple(line.split(",", 1)) for line in done.stdout.splitlines() if line]


def test_the_tab_key_completes_verbs_options_values_and_files():
    assert complete("pggan", "ex") == [("plain", "export")]
    assert complete("pggan", "train", "--target-") == [("plain", "--target-res")]
    assert complete("pggan", "train", "--loss", "ls") == [("plain", "lsgan")]
    assert complete("pggan", "generate", "ru") == [("file", "ru")]
    assert complete("pggan", "nothing") == []
    complete("pggan", "bogus", "")  # prints no error
    assert complete("pggan", "train", "--loss", "=", "ls") == [("plain", "lsgan")]  # --loss=ls, as bash has it
    assert ("plain", "lsgan") in complete("pggan", "train", "--loss", "=")
    assert complete("pggan", "grid", "--no-such-option") == []
    assert complete("pggan", "export", "run", "--to", "tfl") == [("plain", "tflite")]
    for command in (("evaluate", "a", "b"), ("train",)):
        assert complete("pggan", *command, "--metrics", "fid,sw") == [("plain", "fid,swd")]
        assert complete("pggan", *command, "--metrics", "fid,fi") != [("plain", "fid,fid")], "it is there already"


@pytest.mark.slow
def test_the_wheel_alone_trains_exports_and_reports(wheel, tmp_path):
    """In a new environment, outside the checkout; packages are downloaded."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "new"], check=True)
    programs = tmp_path / "new" / "bin"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # With PYTHONPATH, pip would find a checkout that was built once, and install nothing.
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PGGAN_CACHE": str(tmp_path / "cache")}
    install = [programs / "pip", "install", "-q", "-c", ROOT / "constraints.txt", f"{wheel}[export,serve]"]
    subprocess.run(install, cwd=elsewhere, env=kept, check=True, timeout=1800)

    def run(*arguments):
        done = subprocess.run(arguments, cwd=elsewhere, env=kept, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run(programs / "python", "-c", "import pggan_tf, export, preprocessing; print(pggan_tf.__file__)")
    assert Path(where.strip()).is_relative_to(tmp_path / "new")
    assert __version__ in run(programs / "pggan", "--version")
    assert "--learning-rate" in run(programs / "pggan", "train", "--help-all")
    run(programs / "pggan", "train", *TINY, "--target-res", "8", "--total-images", "600")
    [trained] = (elsewhere / "runs").iterdir()
    run(programs / "pggan", "generate", trained, "--seeds", "0-3", "--grid", "grid.png")
    run(programs / "pggan", "export", trained, "--to", "tflite")
    run(programs / "pggan", "report", trained)
    assert (elsewhere / "grid.png").is_file() and (trained / "report.html").is_file()
    assert (trained / "export" / "generator.tflite").is_file()
