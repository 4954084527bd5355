"""What is counted until there is none may not become more."""

import configparser
import json
import re

import pytest

from tests import ratchet
from tests.conftest import ROOT

LINES = [
    'a.py:3: error: Argument 1 to "f" has incompatible type "str"; expected "int"  [arg-type]',
    "a.py:9: note: Use __x",
    "b.py:4: error: Need type annotation  [var-annotated]",
    "b.py:7:5: D401 First line of docstring should be in imperative mood",
]


def test_errors_by_kind():
    assert [ratchet.code(line) for line in LINES] == ["arg-type", None, "var-annotated", "D401"]


@pytest.mark.parametrize(
    ("kept", "grown"),
    [
        ({"arg-type": 1, "var-annotated": 2, "D401": 1}, []),
        ({"arg-type": 1, "D401": 1}, ["types: 1 of var-annotated, where there were 0:", LINES[2]]),
        ({"arg-type": 0, "var-annotated": 5, "D401": 1}, ["types: 1 of arg-type, where there were 0:", LINES[0]]),
    ],
)
def test_only_what_grows_is_told(kept, grown):
    errors = [line for line in LINES if ratchet.code(line)]
    assert ratchet.verdict("types", errors, kept) == (grown, {"D401": 1, "arg-type": 1, "var-annotated": 1})


def test_lower_counts_are_written_down(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ratchet, "KEPT", tmp_path / "kept.json")
    monkeypatch.setattr(ratchet, "found", lambda what: LINES[:1])

    def run(*arguments, **kept):
        ratchet.KEPT.write_text(json.dumps({"types": kept}))
        return ratchet.main(["types", *arguments]), json.loads(ratchet.KEPT.read_text())["types"]

    assert run(**{"arg-type": 1}) == (0, {"arg-type": 1})
    assert run(misc=1) == (1, {"misc": 1}) and LINES[0] in capsys.readouterr().out
    assert run(**{"arg-type": 4}) == (0, {"arg-type": 4})
    assert "arg-type: 1 of 4" in capsys.readouterr().out
    assert run("--lower", **{"arg-type": 4, "misc": 2}) == (0, {"arg-type": 1})


def test_docstrings_become_no_worse():
    said, _ = ratchet.verdict(
        "docstrings", ratchet.found("docstrings"), json.loads(ratchet.KEPT.read_text())["docstrings"]
    )
    assert not said, "\n".join(said)


def test_tools_have_one_version_and_types_are_shipped():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    hooks = set(re.findall(r"ruff==[\d.]+", (ROOT / ".pre-commit-config.yaml").read_text()))
    tools = {line for line in setup["options.extras_require"]["test"].split() if line.startswith(("ruff==", "mypy=="))}
    assert len(hooks) == 1 and len(tools) == 2 and hooks < tools
    assert "mypy==" in (ROOT / "constraints.txt").read_text()
    assert (
        "py.typed" in setup["options.package_data"]["pggan_tf"].split() and (ROOT / "pggan_tf" / "py.typed").is_file()
    )
