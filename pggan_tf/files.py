"""Files that are there whole or not at all, whatever ends the process. (After a power cut, only what is synced besides, as
checkpoints are.)"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

PARTIAL = ".partial-"  # how the names of unfinished files begin; a process that is killed leaves one
# As a regular expression, all of what stands before the name that they will have.
PARTIAL_OF = rf"{re.escape(PARTIAL)}(?:[0-9a-f]{{8}}-)?"

_NAME_BYTES = 255 - len(PARTIAL) - 9  # of a name, that the unfinished file's may have: file systems take 255 in all


def make_partial_path(path: str | Path) -> Path:
    """Where to write what is to become `path`: beside it, with the same ending, and a name that no other writer has."""
    path = Path(path)
    name, raw = path.name, os.fsencode(path.name)
    if len(raw) > _NAME_BYTES:
        name = raw[-_NAME_BYTES:].decode(errors="ignore")
    return path.with_name(f"{PARTIAL}{secrets.token_hex(4)}-{name}")


@contextlib.contextmanager
def atomic_write(path: str | Path, only_writer: bool = False) -> Iterator[Path]:
    """Yields where to write. At the end that takes the place of `path`; if something is raised, it is removed, and what was there
    before stays. alone: nobody else writes it at the same time; then what a killed process has left is written over."""
    path = Path(path)
    partial = path.with_name(f"{PARTIAL}{path.name}") if only_writer else make_partial_path(path)
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


# What systems say of a file system that knows no locks, as of some mounted ones.
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextlib.contextmanager
def hold_lock(path: Path, busy: Callable[[], None]) -> Iterator[None]:
    """Holds a lock on the file `path`, which is made. While another process has it, calls `busy`, then waits; `busy` may raise. A process that
    ends, however it does, gives its locks back. Where the file system knows no locks, there is none."""
    import filelock

    lock = filelock.FileLock(path, thread_local=False, fallback_to_soft=False)
    try:
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            busy()
            lock.acquire(poll_interval=0.2)
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
    try:
        yield
    finally:
        lock.release()


def remove_partial(folder: Path, *names: str) -> None:
    """Removes what killed processes have left unfinished in `folder` of files of such names (patterns); nobody may be writing them."""
    for name in names:
        for path in folder.glob(f"{PARTIAL}{name}"):
            path.unlink(missing_ok=True)
