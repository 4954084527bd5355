"""Read and write files on this machine or at any fsspec URL.

Such URLs begin with s3://, gs://, abfs://, http://, memory:// and others. A location is the path of
a file or folder on this machine, or such a URL.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pggan_tf.data import listing
from pggan_tf.errors import UserError, hide_secrets, nearest

# Errors of this machine's disk that may occur while a file is downloaded.
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def is_remote(location: str | Path) -> bool:
    """Return whether a location is a URL, not a path on this machine."""
    return "://" in str(location)


@contextlib.contextmanager
def _explain_errors(location: str, unchanged: tuple[int, ...] = ()):
    """Context manager that converts any exception raised in its block to UserError.

    Args:
        location: location that the message is about.
        unchanged: error numbers (`errno`) of exceptions that are not converted.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # every protocol has exceptions of its own
        if getattr(error, "errno", None) in unchanged:
            raise
        raise _explain(location, error) from None


def _explain(location: str, error: Exception) -> UserError:
    """Return the error (not raised here) for a location that cannot be reached, without its passwords."""
    text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    if not is_remote(location):
        text = getattr(error, "strerror", None) or text  # without the path, which begins the message
        return UserError(f"{location}: cannot be used ({text}). Check that it is there, and your rights.")
    return UserError(
        hide_secrets(f"{location}: cannot be reached ({text}). Check the address, the network and your rights.")
    )


def _get_local_class():
    """Return fsspec's class for files on this machine."""
    from fsspec.implementations.local import LocalFileSystem

    return LocalFileSystem


def _open_file_system(location: str):
    """Return (fsspec file system of a location, path of the location in this file system).

    Raise UserError if the kind of URL is not known, or needs another package.
    """
    import fsspec

    if not is_remote(location):  # fsspec would take a folder called a::b for two URLs
        return _get_local_class()(), os.path.abspath(location)
    protocol = str(location).partition("://")[0]
    if protocol not in fsspec.available_protocols():
        raise UserError(f"{location}: unknown kind of address; {nearest(protocol, fsspec.available_protocols())}")
    try:
        return fsspec.core.url_to_fs(str(location))
    except ImportError as error:
        raise UserError(f"{location}: {protocol}:// needs another package ({error}).") from None


def find(folder: str) -> tuple[list[tuple[str, int, str]], Counter]:
    """List all files in a folder and its subfolders, and count the entries that are not files.

    Returns:
        (list of (name relative to the folder, size in bytes, mark), sorted by name; {kind: number}
        of other entries as in `listing.walk`). A mark is a text that changes when the file changes,
        such as the time of its last change; '' if the storage tells nothing of this kind.

    Raises:
        UserError: if the folder cannot be reached.
    """
    with _explain_errors(folder):
        system, root = _open_file_system(folder)
        if isinstance(system, _get_local_class()):
            return listing.walk(root)
        root = root.rstrip("/")
        out, others = [], Counter[object]()
        for path, info in system.find(root, detail=True).items():
            if info.get("type", "file") != "file":
                others[listing.SPECIAL] += 1
                continue
            mark = next(
                (str(info[k]) for k in ("mtime", "ETag", "etag", "md5Hash", "updated", "created") if info.get(k)), ""
            )
            out.append((path[len(root) :].lstrip("/"), int(info.get("size") or 0), mark))
        return sorted(out), others


def exists(location: str) -> bool:
    """Return whether there is a file or a folder at a location.

    Raise UserError if the location cannot be reached.
    """
    with _explain_errors(location):
        system, path = _open_file_system(location)
        return system.exists(path)


def read(location: str) -> bytes:
    """Return all bytes of the file at a location.

    Raise OSError, not UserError, if it cannot be read, so that callers may continue without it.
    """
    if not is_remote(location):
        return Path(location).read_bytes()
    system, path = _open_file_system(location)
    try:
        return system.cat_file(path)
    except OSError:
        raise
    except Exception as error:  # every protocol has exceptions of its own
        raise OSError(f"{type(error).__name__}: {error}") from None


def write(location: str, data: bytes) -> None:
    """Write `data` to a file and create its folder.

    Raise UserError if it cannot be written.
    """
    with _explain_errors(location):
        system, path = _open_file_system(location)
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        system.pipe_file(path, data)


def join(folder: str, name: str) -> str:
    """Return the location of the file `name` in a folder."""
    return f"{folder.rstrip('/')}/{name}"


def open_binary(location: str):
    """Open the file at a location and return a binary file object that can seek.

    Remote files are read in blocks when needed, or copied to a temporary file if the server does
    not support that. Raise UserError if the file cannot be opened.
    """
    with _explain_errors(location):
        system, path = _open_file_system(location)
        file = system.open(path, "rb")
        try:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 1))
            file.read(1)
            file.seek(0)
            return file
        except ValueError:
            file.close()
        copy = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
        with system.open(path, "rb", block_size=0) as stream:
            shutil.copyfileobj(stream, copy, 1 << 20)
        copy.seek(0)
        return copy


def remove(location: str, names: list[str]) -> None:
    """Remove files from a folder.

    Args:
        location: location of the folder.
        names: names of the files in it.

    Raises:
        UserError: if one of them cannot be removed.
    """
    with _explain_errors(location):
        system, root = _open_file_system(location)
        for name in names:
            system.rm_file(join(root, name))


def remove_folder(location: str) -> None:
    """Remove the folder at a location with everything in it.

    Raise UserError if it cannot be removed.
    """
    with _explain_errors(location):
        system, root = _open_file_system(location)
        system.rm(root, recursive=True)


def check_writable(folder: str) -> None:
    """Raise UserError if files cannot be written to a folder.

    To find out, an empty file is written and removed. Call this before long work whose results
    will be written to the folder.
    """
    write(join(folder, ".pggan-write-test"), b"")
    remove(folder, [".pggan-write-test"])


def upload(folder: Path, target: str, last: str) -> None:
    """Copy the files of a local folder, except hidden files and subfolders, to another folder.

    Args:
        folder: the local folder.
        target: location of the folder to copy to, which is created if it does not exist.
        last: name of the file that is copied last. For a dataset this is the manifest, so that an
            incomplete copy is not a dataset.

    Raises:
        UserError: if a file cannot be copied.
    """
    with _explain_errors(target):
        system, root = _open_file_system(target)
        system.makedirs(root, exist_ok=True)
        names = sorted(
            (p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")),
            key=lambda n: (n == last, n),
        )
        for name in names:
            system.put_file(str(folder / name), join(root, name))


def read_manifest(location: str, name: str) -> dict | None:
    """Return the JSON object in a file as a dict, or None if there is none.

    Args:
        location: location of the folder.
        name: name of the file in it.

    Raises:
        UserError: if the folder cannot be reached.
    """
    try:
        content = json.loads(read(join(str(location), name)))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        raise _explain(location, error) from None
    return content if isinstance(content, dict) else None


def download(location: str, names: list[str], folder: Path) -> None:
    """Copy files of a remote folder into a new local folder.

    The local folder appears when all files are complete. After an interruption, the next call
    copies only the missing files.

    Args:
        location: location of the remote folder.
        names: names of the files in it.
        folder: path of the new folder.

    Raises:
        UserError: if the remote folder cannot be reached.
        OSError: if the files cannot be written to the disk.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    with _explain_errors(location):
        system, root = _open_file_system(location)
    partial.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (partial / name).is_file():
            with _explain_errors(location, _DISK_ERRORS):
                system.get_file(join(root, name), str(partial / f".{name}"))
            (partial / f".{name}").replace(partial / name)
    partial.replace(folder)


def digest(parts: Iterator[tuple] | list[tuple]) -> str:
    """Return the SHA-256, in hexadecimal, of a series of tuples of values that JSON can store."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(json.dumps(part).encode() + b"\n")
    return sha.hexdigest()
