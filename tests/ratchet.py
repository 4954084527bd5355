"""Counts of what is not yet as it should be, which may only shrink: errors of types, by mypy, and of docstrings, by ruff.

`python -m tests.ratchet types docstrings` compares them with those in ratchet.json; with --lower it writes down those that shrank.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import ROOT

KEPT = Path(__file__).with_suffix(".json")
CODE = ("pggan_tf", "preprocessing", "export", "benchmarks", "cloud", "train.py")
# Missing ones; a summary of one line, in the imperative, with a capital, that says more than "This" and ends as a sentence.
DOCSTRINGS = "D101,D102,D103,D205,D401,D403,D404,D415"
COMMANDS = {
    "types": ["mypy", "--no-incremental", "--no-error-summary", "--no-pretty", *CODE],
    "docstrings": ["ruff", "check", "--isolated", "--output-format", "concise", "--select", DOCSTRINGS, *CODE],
}
_SHOWN = 40


def found(what: str) -> list[str]:
    """A line for every error: `file:line: …`."""
    done = subprocess.run([sys.executable, "-m", *COMMANDS[what]], cwd=ROOT, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(COMMANDS[what])} failed:\n{done.stdout}{done.stderr}")
    return [line for line in done.stdout.splitlines() if code(line)]


def code(line: str) -> str | None:
    """The kind of an error: `file:1: error: …  [arg-type]` of mypy, `file:1:1: D401 …` of ruff."""
    kind = re.search(r": error: .*\[([a-z0-9-]+)\]$", line) or re.match(r"\S+:\d+:\d+: ([A-Z]+\d+) ", line)
    return kind[1] if kind else None


def verdict(what: str, lines: list[str], kept: Mapping[str, int]) -> tuple[list[str], dict[str, int]]:
    """(lines for people on what has grown, the counts now). kept: what there may be at most, by kind."""
    counts = Counter(map(code, lines))
    said = []
    for kind in sorted(counts):
        if counts[kind] > kept.get(kind, 0):
            all_of_them = [line for line in lines if code(line) == kind]
            said += [f"{what}: {counts[kind]} of {kind}, where there were {kept.get(kind, 0)}:", *all_of_them[:_SHOWN]]
            said += [f"and {len(all_of_them) - _SHOWN} more"] * (len(all_of_them) > _SHOWN)
    return said, dict(sorted(counts.items()))


def main(arguments: list[str]) -> int:
    chosen = [word for word in arguments if word != "--lower"] or list(COMMANDS)
    kept = json.loads(KEPT.read_text())
    grown, shrunk = [], []
    for what in chosen:
        said, counts = verdict(what, found(what), kept[what])
        grown += said
        fewer = {kind: n for kind, n in kept[what].items() if counts.get(kind, 0) < n}
        if fewer and not said:
            shrunk += [f"{kind}: {counts.get(kind, 0)} of {n}" for kind, n in fewer.items()]
            kept[what] = counts
        print(f"{what}: {sum(counts.values())} known errors" if not said else "\n".join(said))
    if shrunk and "--lower" in arguments:
        KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    elif shrunk:
        print(f"fewer than before ({', '.join(shrunk)}): write it down with python -m tests.ratchet --lower")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
