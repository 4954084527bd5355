"""Files wherever they lie: a path of this machine or any fsspec URL (s3://, gs://, abfs://, http://, memory://, ...)."""

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
from pggan_tf.errors import UserError, nearest

# What a file system that fetches to this disk can raise because of it.
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def is_remote(location: str | Path) -> bool:
    return "://" in str(location)


@contextlib.contextmanager
def _explained(location: str, raised: tuple[int, ...] = ()):
    """Whatever a file system raises -> one line about the location. raised: numbers of errors that are left as they are."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # every protocol has exceptions of its own
        if getattr(error, "errno", None) in raised:
            raise
        text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UserError(
            f"{location}: cannot be reached ({text}). Check the address, the network and your rights."
        ) from None


def _local_file_system():
    from fsspec.implementations.local import LocalFileSystem

    return LocalFileSystem


def _file_system(location: str):
    import fsspec

    if not is_remote(location):  # a folder may be called a::b, which fsspec takes for two addresses
        return _local_file_system()(), os.path.abspath(location)
    protocol = str(location).partition("://")[0]
    if protocol not in fsspec.available_protocols():
        raise UserError(f"{location}: unknown kind of address; {nearest(protocol, fsspec.available_protocols())}")
    try:
        return fsspec.core.url_to_fs(str(location))
    except ImportError as error:
        raise UserError(f"{location}: {protocol}:// needs another package ({error}).") from None


def find(folder: str) -> tuple[list[tuple[str, int, str]], Counter]:
    """Every file below a folder: (name relative to it, bytes, what changes when the file does), in order of name; and what is no
    file, as `listing.walk` counts it."""
    with _explained(folder):
        system, root = _file_system(folder)
        if isinstance(system, _local_file_system()):
            return listing.walk(root)
        root = root.rstrip("/")
        out, others = [], Counter()
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
    with _explained(location):
        system, path = _file_system(location)
        return system.exists(path)


def read(location: str) -> bytes:
    """All bytes of one file. Raises OSError, so that one lost file need not end a run."""
    if not is_remote(location):
        return Path(location).read_bytes()
    system, path = _file_system(location)
    try:
        return system.cat_file(path)
    except OSError:
        raise
    except Exception as error:  # as above
        raise OSError(f"{type(error).__name__}: {error}") from None


def write(location: str, data: bytes) -> None:
    with _explained(location):
        system, path = _file_system(location)
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        system.pipe_file(path, data)


def join(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"


def open_binary(location: str):
    """A seekable file object. Remote files are read in blocks, as they are asked for, or, where the server cannot do that,
    copied whole to a temporary file."""
    with _explained(location):
        system, path = _file_system(location)
        file = system.open(path, "rb")
        try:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 1))
            file.read(1)
            file.seek(0)
            return file
        except ValueError:
            file.close()
        whole = tempfile.TemporaryFile()  # noqa: SIM115  it is what the caller closes
        with system.open(path, "rb", block_size=0) as stream:
            shutil.copyfileobj(stream, whole, 1 << 20)
        whole.seek(0)
        return whole


def remove(location: str, names: list[str]) -> None:
    with _explained(location):
        system, root = _file_system(location)
        for name in names:
            system.rm_file(join(root, name))


def remove_folder(location: str) -> None:
    with _explained(location):
        system, root = _file_system(location)
        system.rm(root, recursive=True)


def check_writable(folder: str) -> None:
    """Raises UserError now, rather than after hours of work."""
    write(join(folder, ".pggan-write-test"), b"")
    remove(folder, [".pggan-write-test"])


def upload(folder: Path, target: str, last: str) -> None:
    """Copies every file of a folder; `last` goes last, so that a dataset appears whole or not at all."""
    with _explained(target):
        system, root = _file_system(target)
        system.makedirs(root, exist_ok=True)
        names = sorted(
            (p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")),
            key=lambda n: (n == last, n),
        )
        for name in names:
            system.put_file(str(folder / name), join(root, name))


def manifest(location: str, name: str) -> dict | None:
    """The JSON object `name` of a folder; None where there is none. Raises UserError where that cannot be known."""
    try:
        content = json.loads(read(join(str(location), name)))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        raise UserError(
            f"{location}: cannot be reached ({error}). Check the address, the network and your rights."
        ) from None
    return content if isinstance(content, dict) else None


def download(location: str, names: list[str], folder: Path) -> None:
    """Copies the named files of a remote folder into a new local one, whole or not at all. Raises UserError where the address
    is at fault, OSError where the disk is."""
    partial = folder.with_name(f".{folder.name}.partial")
    with _explained(location):
        system, root = _file_system(location)
    partial.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (partial / name).is_file():
            with _explained(location, _OF_THE_DISK):
                system.get_file(join(root, name), str(partial / f".{name}"))
            (partial / f".{name}").replace(partial / name)
    partial.replace(folder)


def digest(parts: Iterator[tuple] | list[tuple]) -> str:
    """sha256 of a list of tuples of plain values."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(json.dumps(part).encode() + b"\n")
    return sha.hexdigest()
