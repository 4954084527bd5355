"""A zip or tar of images, read member by member: nothing is ever unpacked to the disk."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from pggan_tf.errors import UserError
from preprocessing import storage
from preprocessing.decode import MAX_BYTES, Unreadable
from preprocessing.sources import Item, Source
from preprocessing.sources.folder import classes_of, is_photo

OPTIONS = ()
# Deflate packs photos by hardly anything; what shrinks a hundredfold is no photo.
_BOMB_FACTOR = 100


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:[\\/]", name) is not None


@dataclass(frozen=True)
class _Member:
    """index: its place in the archive, since names may come twice."""

    index: int
    name: str
    bytes: int
    crc: int = 0
    refused: str = ""


def _zip_members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for index, info in sorted(enumerate(archive.infolist()), key=lambda pair: pair[1].filename):
        if not info.is_dir():
            link = (info.external_attr >> 16) & 0o170000 == 0o120000
            why = _why_not(info.filename, info.file_size, link, info.flag_bits & 1)
            if not why and info.file_size > _BOMB_FACTOR * max(info.compress_size, 1 << 20):
                why = f"{info.file_size >> 20} MB packed into {info.compress_size >> 20}"
            yield _Member(index, info.filename, info.file_size, info.CRC, why)


def _tar_members(archive: tarfile.TarFile) -> Iterator[_Member]:
    for index, info in enumerate(archive):
        if not info.isdir():
            yield _Member(index, info.name, info.size, refused=_why_not(info.name, info.size, not info.isreg()))


@contextlib.contextmanager
def _tar(file):
    """A tar, member by member. Raises TarError at its end if that was not written: tarfile takes a cut one for a whole."""
    seen = []

    class Header(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buffer, encoding, errors):
            seen.append(buffer.count(b"\0") == len(buffer) > 0)
            return super().frombuf(buffer, encoding, errors)

    with tarfile.open(fileobj=file, mode="r|*", tarinfo=Header) as archive:
        yield archive, lambda: seen and seen[-1]


def _why_not(name: str, size: int, link: bool, encrypted: int = 0) -> str:
    if _leads_out(name):
        return "its name leads out of the archive"
    if link:
        return "a link or a special file"
    if encrypted:
        return "encrypted"
    return f"{size >> 20} MB unpacked, more than {MAX_BYTES >> 20}" if size > MAX_BYTES else ""


@dataclass(frozen=True)
class Archive(Source):
    name: str
    members: tuple[_Member, ...]
    classes: tuple[str, ...]
    mark: str
    shift: str = ""  # the one folder that everything lies in, if there is one

    def __len__(self):
        return len(self.members)

    def _item(self, member: _Member, read) -> Item:
        if member.refused:
            return Item(member.name, Unreadable(member.refused))
        label = self.classes.index(_inner(member, self.shift).partition("/")[0]) if self.classes else 0
        try:
            data = read()
        except Exception as error:  # zipfile, tarfile and the decompressors raise a dozen kinds
            return Item(member.name, Unreadable(f"{type(error).__name__}: {error}"[:120]), label)
        if len(data) > member.bytes:
            return Item(member.name, Unreadable("larger than the archive says"), label)
        return Item(member.name, data, label)

    def items(self, start, stop):
        wanted = self.members[start:stop]
        with storage.open_binary(self.name) as file:
            if _is_zip(self.name):
                with zipfile.ZipFile(file) as archive:
                    entries = archive.infolist()
                    for member in wanted:
                        yield self._item(member, lambda m=member: archive.open(entries[m.index]).read(m.bytes + 1))
                return
            # Members of a tar are met in order: those before `start` are passed over, compressed ones by reading them.
            with _tar(file) as (archive, _):
                remaining = iter(wanted)
                member = next(remaining, None)
                for index, info in enumerate(archive):
                    if member is None:
                        return
                    if index == member.index:
                        yield self._item(member, lambda i=info, m=member: archive.extractfile(i).read(m.bytes + 1))
                        member = next(remaining, None)

    def fingerprint(self):
        members = [(m.name, m.bytes, m.crc) for m in self.members]
        # A zip has checksums of its members; a tar is known by its place, size and time.
        return storage.digest(members if _is_zip(self.name) else [(self.name, self.mark), *members])

    def content(self):
        return self.fingerprint() if _is_zip(self.name) else super().content()

    def select(self, labels):
        wanted = {self.classes[i] for i in labels}
        kept = (m for m in self.members if not m.refused and _inner(m, self.shift).partition("/")[0] in wanted)
        return dataclasses.replace(self, members=tuple(kept))


def _inner(member: _Member, shift: str) -> str:
    """Its name within the one folder that everything lies in."""
    return member.name.removeprefix("./").removeprefix(shift)


def _is_zip(location: str) -> bool:
    return location.lower().endswith(".zip")


def open(location: str) -> Archive:
    try:
        with storage.open_binary(location) as file:
            mark = str(file.seek(0, 2))
            if not storage.is_remote(location) and not _is_zip(location):
                mark += f"-{os.stat(location).st_mtime_ns}"
            file.seek(0)
            if _is_zip(location):
                with zipfile.ZipFile(file) as archive:
                    members = tuple(_zip_members(archive))
            else:
                with _tar(file) as (archive, whole):
                    members = tuple(_tar_members(archive))
                    if not whole():
                        raise tarfile.ReadError("its end is missing")
    except UserError:
        raise
    except Exception as error:  # zipfile, tarfile and the decompressors raise a dozen kinds
        raise UserError(f"{location}: not an archive that can be read ({error}). Check that it is whole.") from None
    members = tuple(m for m in members if is_photo(m.name))
    if not members:
        raise UserError(f"{location}: no images found in it.")
    sound = [_inner(m, "") for m in members if not m.refused]
    tops = {name.partition("/")[0] for name in sound if "/" in name}
    shift = f"{tops.pop()}/" if len(tops) == 1 and all("/" in name for name in sound) else ""
    classes = classes_of([name.removeprefix(shift) for name in sound])
    if classes:
        members = tuple(m for m in members if m.refused or _inner(m, shift).partition("/")[0] in classes)
    return Archive(location, members, classes, mark, shift)
