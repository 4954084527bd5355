"""Write files that are either complete or absent, even if the process is killed.

A file is written under a temporary name and renamed when it is complete. After a power cut, only
files that were also synced to the disk, such as checkpoints, are certain to be complete.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

# Start of the names of unfinished files; a process that is killed may leave one.
PARTIAL = ".partial-"
# A regular expression of everything before the final name in an unfinished file's name.
PARTIAL_OF = rf"{re.escape(PARTIAL)}(?:[0-9a-f]{{8}}-)?"

# File systems allow names of 255 bytes; this many are left for the final name.
_NAME_BYTES = 255 - len(PARTIAL) - 9


def make_partial_path(path: str | Path) -> Path:
    """Return a unique temporary path in the folder of `path`, with the same file name extension."""
    path = Path(path)
    name, raw = path.name, os.fsencode(path.name)
    if len(raw) > _NAME_BYTES:
        name = raw[-_NAME_BYTES:].decode(errors="ignore")
    return path.with_name(f"{PARTIAL}{secrets.token_hex(4)}-{name}")


@contextlib.contextmanager
def atomic_write(path: str | Path, only_writer: bool = False) -> Iterator[Path]:
    """Context manager that yields a temporary path to write to, and renames it after the block.

    After an exception the temporary file is removed, and `path` stays as it was.

    Args:
        path: the final path of the file.
        only_writer: True if no other process writes `path` at the same time. The unfinished file of
            a killed process is then overwritten.
    """
    path = Path(path)
    partial = path.with_name(f"{PARTIAL}{path.name}") if only_writer else make_partial_path(path)
    try:
        yield partial
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError) and error.filename == str(partial):
            error.filename = str(path)  # what the user knows
            if error.filename2 is not None:
                del error.filename2
        raise


# Errors of file systems without locks, such as some network file systems.
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextlib.contextmanager
def hold_lock(path: Path, busy: Callable[[], None]) -> Iterator[None]:
    """Context manager that holds a lock on a file, so that one process at a time runs the block.

    The lock is also released when the process ends, even if it is killed. On a file system without
    locks, the block runs without a lock.

    Args:
        path: the file to lock; it is created if it is missing.
        busy: called if another process holds the lock, before waiting for it. It may raise an
            exception instead.
    """
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
    """Remove unfinished files that killed processes left in `folder`.

    Args:
        folder: the folder.
        *names: glob patterns of the files' final names, such as '*.json'. No other process may be
            writing these files.
    """
    for name in names:
        for path in folder.glob(f"{PARTIAL}{name}"):
            path.unlink(missing_ok=True)
