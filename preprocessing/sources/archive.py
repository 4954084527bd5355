"""A zip or tar of images, read member by member: nothing is ever unpacked to the disk."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from pggan_tf.data import listing
from pggan_tf.data.decode import MAX_BYTES, Unreadable
from pggan_tf.errors import UserError
from preprocessing import storage
from preprocessing.sources import Item, Source, fingerprint_of_labels

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

    @property
    def path(self) -> str:
        return listing.normalized(self.name)


def _zip_members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for index, info in sorted(enumerate(archive.infolist()), key=lambda pair: pair[1].filename):
        if not info.is_dir():
            link = (info.external_attr >> 16) & 0o170000 == 0o120000
            why = _why_not(info.filename, info.file_size, link, info.flag_bits & 1)
            if not why and info.file_size > _BOMB_FACTOR * max(info.compress_size, 1 << 20):
                why = f"{info.file_size >> 20} MB packed into {info.compress_size >> 20}"
            yield _Member(index, info.filename, info.file_size, info.CRC, why)


def _tar_members(archive: tarfile.TarFile, labels: dict[str, bytes]) -> Iterator[_Member]:
    """labels: is given the contents of the files of labels, since a tar is read once, from its beginning."""
    for index, info in enumerate(archive):
        if not info.isdir():
            member = _Member(index, info.name, info.size, refused=_why_not(info.name, info.size, not info.isreg()))
            yield member
            if not member.refused and listing.may_hold_labels(member.path):
                labels[member.path] = archive.extractfile(info).read()


@contextlib.contextmanager
def _tar(file):
    """A tar, member by member. Raises TarError at its end if that was not written: tarfile takes a cut one for a whole."""
    seen = []

    class Header(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buffer, encoding, errors):
            seen.append(buffer == bytes(tarfile.BLOCKSIZE))
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
    labels: tuple[int, ...] = ()  # of each member; empty without classes
    told: tuple[str, ...] = ()
    others: Mapping = field(default_factory=Counter)

    def __len__(self):
        return len(self.members)

    def _item(self, number: int, read) -> Item:
        member, label = self.members[number], self.labels[number] if self.classes else 0
        if member.refused:
            return Item(member.name, Unreadable(member.refused))
        try:
            data = read()
        except Exception as error:  # zipfile, tarfile and the decompressors raise a dozen kinds
            return Item(member.name, Unreadable(f"{type(error).__name__}: {error}"[:120]), label)
        if len(data) > member.bytes:
            return Item(member.name, Unreadable("larger than the archive says"), label)
        return Item(member.name, data, label)

    def items(self, start, stop):
        with storage.open_binary(self.name) as file:
            if _is_zip(self.name):
                with zipfile.ZipFile(file) as archive:
                    entries = archive.infolist()
                    for number in range(start, min(stop, len(self))):
                        member = self.members[number]
                        yield self._item(number, lambda m=member: archive.open(entries[m.index]).read(m.bytes + 1))
                return
            # Members of a tar are met in order: those before `start` are passed over, compressed ones by reading them.
            with _tar(file) as (archive, _):
                numbers = {member.index: start + i for i, member in enumerate(self.members[start:stop])}
                for index, info in enumerate(archive):
                    if not numbers:
                        return
                    if (number := numbers.pop(index, None)) is not None:
                        size = self.members[number].bytes
                        yield self._item(number, lambda i=info, s=size: archive.extractfile(i).read(s + 1))

    def fingerprint(self):
        members = [(m.name, m.bytes, m.crc) for m in self.members]
        # A zip has checksums of its members; a tar is known by its place, size and time.
        whole = members if _is_zip(self.name) else [(self.name, self.mark), *members]
        return storage.digest([*whole, *self._labels_mark()])

    def _labels_mark(self) -> list:
        sound = [i for i, member in enumerate(self.members) if not member.refused]
        names = [self.members[i].path for i in sound]
        tops = {name.partition("/")[0] for name in names}
        if len(tops) == 1:  # the one folder that everything lies in
            names = [name.partition("/")[2] for name in names]
        return fingerprint_of_labels(names, self.classes, [self.labels[i] for i in sound] if self.classes else [])

    def content(self):
        return self.fingerprint() if _is_zip(self.name) else super().content()

    def select(self, labels):
        wanted = set(labels)
        numbers = [i for i, label in enumerate(self.labels) if label in wanted and not self.members[i].refused]
        return dataclasses.replace(
            self, **{name: tuple(getattr(self, name)[i] for i in numbers) for name in ("members", "labels")}
        )

    def notes(self):
        return self.told

    def left_alone(self):
        return Counter(self.others)


def _is_zip(location: str) -> bool:
    return location.lower().endswith(".zip")


def _opened(location: str) -> tuple[list[_Member], dict[str, bytes], str]:
    """(the members that are no folders, the contents of files of labels, a mark of a tar). Raises UserError."""
    labels = {}
    try:
        with storage.open_binary(location) as file:
            mark = str(file.seek(0, 2))
            if not storage.is_remote(location) and not _is_zip(location):
                mark += f"-{os.stat(location).st_mtime_ns}"
            file.seek(0)
            if _is_zip(location):
                with zipfile.ZipFile(file) as archive:
                    members, entries = list(_zip_members(archive)), archive.infolist()
                    for member in members:
                        if not member.refused and listing.may_hold_labels(member.path):
                            labels[member.path] = archive.read(entries[member.index])
            else:
                with _tar(file) as (archive, whole):
                    members = list(_tar_members(archive, labels))
                    if not whole():
                        raise tarfile.ReadError("its end is missing")
    except UserError:
        raise
    except Exception as error:  # zipfile, tarfile and the decompressors raise a dozen kinds
        raise UserError(f"{location}: not an archive that can be read ({error}). Check that it is whole.") from None
    return members, labels, mark


def open(location: str) -> Archive:
    """Raises UserError where there is no archive, or no image in it."""
    members, contents, mark = _opened(location)
    # Photos that are refused are told of one by one, and say nothing of classes.
    photos = [m for m in members if listing.is_photo(m.path)]
    refused = {m.index for m in photos if m.refused}
    if photos and len(refused) == len(photos):
        raise UserError(
            f"{location}: none of {len(photos):,} images can be used. The first: {photos[0].name}: {photos[0].refused}."
        )
    names = (m.path for m in members if m.index not in refused)
    listed = listing.list_photos(location, names, (), contents.get)
    photos, label_of = set(listed.photos), dict(zip(listed.photos, listed.labels))
    kept = tuple(m for m in members if m.index in refused or m.path in photos)
    labels = tuple(label_of.get(m.path, 0) for m in kept) if listed.classes else ()
    return Archive(location, kept, listed.classes, mark, labels, listed.notes, listed.left_alone)
