"""A zip or tar archive of images as a source.

The files in an archive are called its members. They are read one by one, and nothing is unpacked to
the disk. Members that must not be read, such as encrypted ones, are refused: they are items that
hold the reason instead of an image.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from pggan_tf.data import listing
from pggan_tf.data.decode import MAX_BYTES, Unreadable
from pggan_tf.errors import UserError, hide_secrets
from preprocessing import storage
from preprocessing.sources import Item, Source, list_labels

OPTIONS = ()
# Compression hardly shrinks photos. A member that is compressed to less than a hundredth is not a
# photo.
_BOMB_FACTOR = 100
# All label files of an archive are kept in memory. Those of ImageNet's 1.3 million photos have about 50 MB.
_MAX_LABEL_BYTES = 64 << 20
# Headers of a tar that hold a long name or further fields. tarfile reads a whole one into memory.
_EXTENDED_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_MAX_HEADER_BYTES = 1 << 20


def _leads_out(name: str) -> bool:
    """Return whether a member's name, if unpacked, leads out of the folder to unpack into."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:[\\/]", name) is not None


@dataclass(frozen=True)
class _Member:
    """File in an archive."""

    index: int  # position in the archive, because several members may have one name
    name: str
    bytes: int  # size when unpacked
    crc: int = 0  # checksum, in a zip
    refused: str = ""  # reason why it is not read; empty if it is read

    @property
    def path(self) -> str:
        """Name with / between its parts."""
        return listing.normalize(self.name)


def _list_zip(archive: zipfile.ZipFile) -> Iterator[_Member]:
    """Yield the members of a zip, sorted by name."""
    for index, info in sorted(enumerate(archive.infolist()), key=lambda pair: pair[1].filename):
        if not info.is_dir():
            link = (info.external_attr >> 16) & 0o170000 == 0o120000
            why = _find_fault(info.filename, info.file_size, link, info.flag_bits & 1)
            if not why and info.file_size > _BOMB_FACTOR * max(info.compress_size, 1 << 20):
                why = f"{info.file_size >> 20} MB packed into {info.compress_size >> 20}"
            yield _Member(index, info.filename, info.file_size, info.CRC, why)


def _check_label_bytes(location: str, member: _Member, labels: Mapping[str, bytes]) -> None:
    """Raise UserError if a label file and those that were read before are too large together."""
    total = member.bytes + sum(map(len, labels.values()))
    if total > _MAX_LABEL_BYTES:
        raise UserError(
            f"{location}: {member.name}: {total >> 20} MB of label files, more than {_MAX_LABEL_BYTES >> 20}. "
            "Leave it out of the archive, or sort the photos into a folder for each class."
        )


def _list_tar(location: str, archive: tarfile.TarFile, labels: dict[str, bytes]) -> Iterator[_Member]:
    """Yield the members of a tar in their order.

    Args:
        location: path or URL of the tar, for errors.
        archive: the tar.
        labels: dict that the contents of label files are added to, with their names as keys,
            because a tar is read only once.

    Raises:
        UserError: if the label files are too large.
    """
    for index, info in enumerate(archive):
        if not info.isdir():
            member = _Member(index, info.name, info.size, refused=_find_fault(info.name, info.size, not info.isreg()))
            yield member
            if not member.refused and listing.may_hold_labels(member.path):
                _check_label_bytes(location, member, labels)
                labels[member.path] = archive.extractfile(info).read()


@contextlib.contextmanager
def _open_tar(name: str, file):
    """Context manager that opens a tar for reading once, from its beginning.

    Args:
        name: path or URL of the tar, for errors.
        file: binary file that holds the tar, compressed or not.

    Yields:
        (archive, function without arguments). After all members have been read, the function
        returns whether the tar is complete, because tarfile does not notice a truncated tar.
    """
    empty_headers = []  # for each header, whether it was the empty block at the end

    class Header(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buffer, encoding, errors):
            empty_headers.append(buffer == bytes(tarfile.BLOCKSIZE))
            found = super().frombuf(buffer, encoding, errors)
            if found.type in _EXTENDED_HEADERS and found.size > _MAX_HEADER_BYTES:
                raise UserError(
                    f"{name}: has a header of {found.size / 2**20:.1f} MB, and no archive of photos needs more than "
                    f"{_MAX_HEADER_BYTES >> 20}. Pack it again without extended attributes."
                )
            return found

    with tarfile.open(fileobj=file, mode="r|*", tarinfo=Header) as archive:
        yield archive, lambda: empty_headers and empty_headers[-1]


def _find_fault(name: str, size: int, link: bool, encrypted: int = 0) -> str:
    """Return the reason why a member is not read, or '' if there is none.

    Args:
        name: name of the member.
        size: its size in bytes when unpacked.
        link: whether it is a link or a special file.
        encrypted: 1 if it is encrypted.
    """
    if _leads_out(name):
        return "its name leads out of the archive"
    if link:
        return "a link or a special file"
    if encrypted:
        return "encrypted"
    return f"{size >> 20} MB unpacked, more than {MAX_BYTES >> 20}" if size > MAX_BYTES else ""


@dataclass(frozen=True)
class Archive(Source):
    """Images in a zip or tar."""

    name: str
    members: tuple[_Member, ...]
    classes: tuple[str, ...]
    mark: str  # size of the archive and, for a local tar, the time of its last change, as a text
    labels: tuple[int, ...] = ()  # label of each member; empty without classes
    notes: tuple[str, ...] = ()  # lines for the user
    # {kind: number} of members that are not images, see `listing.Found.ignored`.
    ignored: Mapping = field(default_factory=Counter)

    def __len__(self):
        return len(self.members)

    def _read_item(self, number: int, read) -> Item:
        """Return item `number`; `read` is a function that returns the bytes of its member."""
        member, label = self.members[number], self.labels[number] if self.classes else 0
        if member.refused:
            return Item(member.name, Unreadable(member.refused))
        try:
            data = read()
        except Exception as error:  # zipfile, tarfile and the decompressors raise many kinds
            return Item(member.name, Unreadable(f"{type(error).__name__}: {error}"[:120]), label)
        if len(data) > member.bytes:
            return Item(member.name, Unreadable("larger than the archive says"), label)
        return Item(member.name, data, label)

    def items(self, start: int, stop: int) -> Iterator[Item]:
        """Yield the images with the numbers `start` to `stop` - 1, in order, as items (`Item`)."""
        return self.pick(range(start, min(stop, len(self))))

    def pick(self, numbers: Iterable[int]) -> Iterator[Item]:
        """Yield the images with these numbers, which have to be in rising order, as items."""
        with storage.open_binary(self.name) as file:
            if _is_zip(self.name):
                with zipfile.ZipFile(file) as archive:
                    entries = archive.infolist()
                    for number in numbers:
                        member = self.members[number]
                        yield self._read_item(number, lambda m=member: archive.open(entries[m.index]).read(m.bytes + 1))
                return
            # A tar is read from its beginning. Members in between are skipped, which in a
            # compressed tar means reading them.
            with _open_tar(self.name, file) as (archive, _):
                wanted = {self.members[number].index: number for number in numbers}
                for index, info in enumerate(archive):
                    if not wanted:
                        return
                    if (number := wanted.pop(index, None)) is not None:
                        size = self.members[number].bytes
                        yield self._read_item(number, lambda i=info, s=size: archive.extractfile(i).read(s + 1))

    def fingerprint(self) -> str:
        """Return a hash of names, sizes and labels of the members, the files in the archive.

        It includes checksums for a zip, and the archive's size and time for a tar.
        """
        members = [(m.name, m.bytes, m.crc) for m in self.members]
        parts = members if _is_zip(self.name) else [(self.name, self.mark), *members]
        return storage.digest([*parts, *self._list_labels()])

    def _list_labels(self) -> list:
        """Return the result of `list_labels` for the members that are not refused."""
        sound = [i for i, member in enumerate(self.members) if not member.refused]
        names = [self.members[i].path for i in sound]
        tops = {name.partition("/")[0] for name in names}
        if len(tops) == 1:  # one folder holds everything
            names = [name.partition("/")[2] for name in names]
        return list_labels(names, self.classes, [self.labels[i] for i in sound] if self.classes else [])

    def hash_content(self) -> str:
        """Return a hash of the images, which for a zip does not depend on its location."""
        return self.fingerprint() if _is_zip(self.name) else super().hash_content()

    def select(self, labels: Sequence[int]) -> Archive:
        """Return the same source with only the images whose label is in `labels`."""
        chosen = set(labels)
        numbers = [i for i, label in enumerate(self.labels) if label in chosen and not self.members[i].refused]
        return dataclasses.replace(
            self, **{name: tuple(getattr(self, name)[i] for i in numbers) for name in ("members", "labels")}
        )

    def list_notes(self) -> tuple[str, ...]:
        """Return lines for the user about decisions that were made when the archive was opened."""
        return self.notes

    def count_ignored(self) -> Counter:
        """Return {kind: number} of members that are not images."""
        return Counter(self.ignored)


def _is_zip(location: str) -> bool:
    return hide_secrets(location).lower().endswith(".zip")


def _read_members(location: str) -> tuple[list[_Member], dict[str, bytes], str]:
    """Read the list of an archive's members.

    Raise UserError if the archive cannot be read.

    Returns:
        (list of all members, {name: content} of its label files, mark of the archive, see
        `Archive.mark`).
    """
    labels: dict[str, bytes] = {}
    try:
        with storage.open_binary(location) as file:
            mark = str(file.seek(0, 2))
            if not storage.is_remote(location) and not _is_zip(location):
                mark += f"-{os.stat(location).st_mtime_ns}"
            file.seek(0)
            if _is_zip(location):
                with zipfile.ZipFile(file) as archive:
                    members, entries = list(_list_zip(archive)), archive.infolist()
                    for member in members:
                        if not member.refused and listing.may_hold_labels(member.path):
                            _check_label_bytes(location, member, labels)
                            labels[member.path] = archive.read(entries[member.index])
            else:
                with _open_tar(location, file) as (archive, is_complete):
                    members = list(_list_tar(location, archive, labels))
                    if not is_complete():
                        raise tarfile.ReadError("its end is missing")
    except UserError:
        raise
    except Exception as error:  # zipfile, tarfile and the decompressors raise many kinds
        raise UserError(f"{location}: not an archive that can be read ({error}). Check that it is whole.") from None
    return members, labels, mark


def open(location: str) -> Archive:
    """Open a zip or tar at a path or URL and return it as a source.

    Raise UserError if it cannot be read, or has no images.
    """
    members, contents, mark = _read_members(location)
    # Photos that cannot be read are reported one by one, and are ignored when classes are decided.
    photos = [m for m in members if listing.is_photo(m.path)]
    refused = {m.index for m in photos if m.refused}
    if photos and len(refused) == len(photos):
        raise UserError(
            f"{location}: none of {len(photos):,} images can be used. The first: {photos[0].name}: {photos[0].refused}."
        )
    names = (m.path for m in members if m.index not in refused)
    listed = listing.list_photos(location, names, (), contents.get)
    photos, label_of = set(listed.photos), dict(zip(listed.photos, listed.labels))
    used = tuple(m for m in members if m.index in refused or m.path in photos)
    labels = tuple(label_of.get(m.path, 0) for m in used) if listed.classes else ()
    return Archive(location, used, listed.classes, mark, labels, listed.notes, listed.ignored)
