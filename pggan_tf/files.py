"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

PARTIAL = ".partial-"  # how the names of unfinished files begin; a process that is killed leaves one


@contextlib.contextmanager
def whole(path: str | Path, shared: bool = False) -> Iterator[Path]:
    """Yields where to write: beside `path`, with the same ending. At the end that takes the place of `path`; if something is raised,
    it is removed, and what was there before stays. shared: several processes may write it at the same time."""
    path = Path(path)
    partial = path.with_name(f"{PARTIAL}{os.getpid()}-{path.name}" if shared else f"{PARTIAL}{path.name}")
    try:
        yield partial
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
