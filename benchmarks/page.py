"""Print a benchmark's results, and write the same as a page in Markdown.

A page says which command made it, on which machine, on which day and with which versions.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from datetime import date
from importlib import metadata
from pathlib import Path

import click

from pggan_tf import files
from pggan_tf.option_types import FloatRange
from pggan_tf.runs import folder as runs

KEPT = "## Earlier figures"  # this section of an existing page is kept, because it is written by hand
# Instruction sets that decide the speed of a CPU here: flag in /proc/cpuinfo -> name.
_INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16", "avx512f": "AVX-512", "avx2": "AVX2"}
_PACKAGES = ("tensorflow", "keras", "torch")


class Numbers(click.ParamType):
    """Type of an option that takes whole numbers, separated by commas.

    Args:
        least: smallest number that is valid.
        known: all that are valid; empty: any.
    """

    name = "numbers"

    def __init__(self, least: int = 1, known: Iterable[int] = ()):
        self.least, self.known = least, tuple(known)

    def convert(self, value, param, ctx) -> list[int]:
        """Return the numbers; click calls this method, and shows what is wrong."""
        try:
            numbers = [int(word) for word in value.split(",")]
        except ValueError:
            self.fail(f"{value}: expected whole numbers, separated by commas.", param, ctx)
        for number in numbers:
            if number < self.least or self.known and number not in self.known:
                expected = f"any of {', '.join(map(str, self.known))}" if self.known else f"{self.least} or more"
                self.fail(f"{number}: expected {expected}.", param, ctx)
        return numbers


AT_LEAST_ONE = click.IntRange(1)
POSITIVE = FloatRange(0, min_open=True)
out_option = click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="also write the page here")


def shorten(word: str) -> str:
    """Return the last part alone of an absolute path, and other words as they are."""
    return Path(word).name if os.path.isabs(word) else word


def command() -> str:
    """Return the command line of this process, with the names alone of absolute paths."""
    words = [shorten(word) for word in sys.argv[1:]]
    return shlex.join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *words])


def machine() -> str:
    """Return the processor, its cores and instruction sets, the memory and the GPUs of this machine."""
    cpu = Path("/proc/cpuinfo")
    listed = re.search(r"^flags\s*: (.*)", cpu.read_text() if cpu.is_file() else "", re.MULTILINE)
    flags = listed[1].split() if listed else []
    cores = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    parts = [runs.processor(), f"{usable} of {cores} cores"]
    parts += ["/".join(name for flag, name in _INSTRUCTIONS.items() if flag in flags) or "instruction sets not known"]
    if hasattr(os, "sysconf"):
        parts += [f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB of memory"]
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") == "-1"
    gpus = None if hidden else runs.command_output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return ", ".join([*parts, (gpus or "no GPU").replace("\n", ", ")])


def other_work() -> str:
    """Return how busy the machine is, with a warning if more waits than there are cores."""
    if not hasattr(os, "getloadavg"):
        return "not known"
    load = os.getloadavg()[0]
    slowed = load > (os.cpu_count() or 1)
    return f"load {load:.1f} at the start" + (", more than its cores: **times are too long**" if slowed else "")


def commit() -> str:
    """Return the name of the commit, marked if files other than documentation differ from it."""
    name = runs.command_output("git", "describe", "--always")
    changed = runs.command_output(
        "git", "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)docs"
    )
    return (name or "not known") + ("-dirty" if changed else "")


def versions() -> str:
    """Return the versions of Python and of the installed packages that compute."""
    found = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def format_table(heads: Sequence[str], rows: Iterable[Sequence]) -> str:
    """Return a table in Markdown whose columns are aligned in plain text too.

    A column is aligned to the right if its first cell begins with a digit.

    Args:
        heads: titles of the columns.
        rows: cells of each row, as many as there are titles.
    """
    table = [[str(cell).replace("|", "\\|") for cell in row] for row in (heads, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*table)]
    right = [bool(re.match(r"[-+]?\d", row)) for row in (table[1] if len(table) > 1 else heads)]
    lines = [[c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right)] for row in table]
    lines.insert(1, ["-" * (w - r) + ":" * r for w, r in zip(widths, right)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


class Page:
    """A page that grows paragraph by paragraph, each of which is printed at once.

    Args:
        out: file to write the page to; None: it is only printed.
        title: the title.
        question: a sentence that says what is compared.
    """

    def __init__(self, out: Path | None, title: str, question: str):
        self.out = out
        self._parts: list[str] = []
        facts = {
            "Command": f"`{command()}`",
            "Machine": machine(),
            "Other work": other_work(),
            "Date and commit": f"{date.today()}, {commit()}",
            "Versions": versions(),
        }
        self.text(f"# {title}")
        self.text(question)
        self.text("\n".join(f"- {name}: {fact}" for name, fact in facts.items()))

    def text(self, paragraph: str) -> None:
        """Add a paragraph. If there is a table already, write the page so far."""
        print(paragraph + "\n", flush=True)
        self._parts.append(paragraph)
        if self.out and any(part.startswith("|") for part in self._parts):  # else an old page is worth more
            kept = self.out.read_text(encoding="utf-8").partition(KEPT) if self.out.is_file() else ("", "", "")
            self.out.parent.mkdir(parents=True, exist_ok=True)
            parts = [*self._parts, *([(kept[1] + kept[2]).strip()] if kept[1] else [])]
            with files.atomic_write(self.out) as partial:
                partial.write_text("\n\n".join(parts) + "\n", encoding="utf-8")

    def table(self, heads: Sequence[str], rows: Iterable[Sequence]) -> None:
        """Add a table, see `format_table`."""
        self.text(format_table(heads, rows))

    def notes(self, *lines: str) -> None:
        """Add a list of what to bear in mind when reading the figures."""
        self.text("\n".join(f"- {line}" for line in lines))

    def picture(self, name: str) -> Path:
        """Return the file of a picture beside the page, or in this folder if there is no page."""
        return self.out.with_name(f"{self.out.stem}-{name}.png") if self.out else Path(f"{name}.png")
