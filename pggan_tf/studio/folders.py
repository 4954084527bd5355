"""Folders of photos that the user has opened, and those that the page may open.

No path of a request is used before it was found below a folder that the user allows: the home
folder, those of the command line, and the studio's own for photos that the page has sent.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

from pggan_tf import files
from pggan_tf.data import listing
from pggan_tf.errors import Unreadable, UserError
from pggan_tf.studio.refusal import Refusal, show
from pggan_tf.studio.store import Store, make_id, read_json, write_json

UPLOAD_BYTES = 64 << 20  # largest photo that the page may send into a folder
MOST_FOLDERS, MOST_UPLOADS = 200, 20_000  # opened folders; files in a folder of sent photos
_MOST_ENTRIES = 5_000  # entries of a folder that are looked at for `browse`
_LEAST_FREE = 1 << 30  # bytes that stay free on the disk
_LONGEST_NAME = 200


class Folders:
    """The folders that the user has opened.

    Args:
        store: where they are kept.
        places: folders of the command line, which may be opened beside the home folder.
    """

    def __init__(self, store: Store, places: Sequence[str | Path] = ()):
        self.store, self._lock, self._writing = store, threading.RLock(), threading.Lock()
        self._file = store.folder / "folders.json"
        self._sent: dict[str, int] = {}  # id -> at most so many files are in a folder of sent photos
        self.roots: list[Path] = []
        for place in (Path.home(), *map(Path, places)):
            with contextlib.suppress(OSError):
                if (resolved := place.resolve()).is_dir() and resolved not in self.roots:
                    self.roots.append(resolved)

    def resolve(self, path: str) -> Path:
        """Return a path of a request without links, if it is a folder that may be opened.

        Raises Refusal if it is not.
        """
        if not path or "\0" in path:
            raise Refusal(400, f"path {show(path)}: expected the path of a folder.")
        try:
            found = Path(os.path.expanduser(path)).resolve()
        except (OSError, RuntimeError, ValueError):
            raise Refusal(400, f"path {show(path)}: cannot be followed. Expected the path of a folder.") from None
        own = found.is_relative_to(self.store.photos.resolve())
        roots = [root for root in self.roots if found.is_relative_to(root)]
        if not roots and not own:
            allowed = ", ".join(map(str, self.roots))
            raise Refusal(
                400, f"{show(str(found))}: not below {allowed}. To open it, name it: pggan studio {show(str(found))}"
            )
        hidden = [any(part.startswith(".") for part in found.relative_to(root).parts) for root in roots]
        if not own and all(hidden):  # one that the command line names may lie in a hidden folder
            raise Refusal(400, f"{show(str(found))}: hidden folders are not opened.")
        try:
            if not found.is_dir():
                raise Refusal(404, f"{show(str(found))}: no such folder.")
        except OSError as error:
            raise Refusal(400, f"{show(str(found))}: cannot be read ({error.strerror}).") from None
        return found

    def browse(self, path: str | None) -> dict:
        """Return the folders in a folder, with the number of photos that lie right in each.

        path: the folder; None: the home folder.
        """
        found = self.resolve(path) if path else self.roots[0]
        root = any(found == root for root in self.roots)
        inside = []
        try:
            entries = sorted(os.scandir(found), key=lambda entry: entry.name.lower())[:_MOST_ENTRIES]
        except OSError as error:
            raise Refusal(400, f"{found}: cannot be read ({error.strerror}).") from None
        for entry in entries:
            with contextlib.suppress(OSError, Refusal):
                if entry.is_symlink():
                    self.resolve(entry.path)  # one that leads out is not counted
                if entry.is_dir() and not listing.is_hidden(f"{entry.name}/x"):
                    inside.append(
                        {
                            "name": make_legible(entry.name),
                            "path": make_legible(entry.path),
                            "photos": _count_photos(entry.path),
                        }
                    )
        return {
            "path": make_legible(str(found)),
            "parent": None if root else make_legible(str(found.parent)),
            "photos": _count_photos(found),
            "folders": inside,
            "roots": [make_legible(str(place)) for place in self.roots],
        }

    def _read(self) -> list[dict]:
        found = read_json(self._file, [])
        return [
            f for f in found if isinstance(f, dict) and all(isinstance(f.get(k), str) for k in ("id", "path", "name"))
        ]

    def list_all(self) -> list[dict]:
        """Return every opened folder: {id, path, name, photos}."""
        return [self.describe(folder) for folder in self._read()]

    def describe(self, folder: dict) -> dict:
        """Return an opened folder as the page gets it. photos: None if it was not counted yet."""
        known = read_json(self.store.about_folder(folder["id"]), {})
        files = known.get("files")
        count = known.get("shards") or (len(files) if isinstance(files, list) else None)
        return {name: folder[name] for name in ("id", "path", "name")} | {"photos": count}

    def get(self, id: str) -> dict:
        """Return an opened folder. Raise Refusal if there is none with this id."""
        for folder in self._read():
            if folder["id"] == id:
                return folder
        raise Refusal(404, f"folder {show(id)}: not open. Open it again.")

    def open(self, path: str) -> dict:
        """Open a folder and list its photos; if it is open already, list them anew."""
        found = self.resolve(path)
        known = next((f for f in self._read() if f["path"] == str(found)), None)
        folder = known or {"id": make_id(), "path": str(found), "name": make_legible(found.name) or str(found)}
        self.list_photos(folder)
        if known is None:
            folder = self._add(folder)
        return self.describe(folder)

    def _add(self, folder: dict) -> dict:
        """Add a folder, and return it; or the same one that another window has opened meanwhile."""
        with self._lock:
            others = self._read()
            if same := next((other for other in others if other["path"] == folder["path"]), None):
                self.store.about_folder(folder["id"]).unlink(missing_ok=True)
                return same
            if len(others) >= MOST_FOLDERS:
                raise Refusal(409, f"{len(others)} folders are open. Close one first.")
            write_json(self._file, [*others, folder])
        return folder

    def list_photos(self, folder: dict) -> dict:
        """List the photos of a folder, write down what is found, and return it.

        What a look has found stays, if the folder has the same photos.
        """
        from pggan_tf.data import shards
        from preprocessing.sources import folder as source

        file = self.store.about_folder(folder["id"])
        known = read_json(file, {})
        if shards.is_shards(folder["path"]):
            about = {"shards": shards.Shards(folder["path"], verify=False).manifest.images}
            write_json(file, about | {"files": [], "classes": [], "labels": []})
            return read_json(file, {})
        try:
            opened = source.open(folder["path"])
        except UserError:
            if not (folder.get("own") and Path(folder["path"]).is_dir()):
                raise
            opened = source.Folder(folder["path"], (), ())
        now = {
            "files": list(opened.files),
            "classes": list(opened.classes),
            "labels": list(opened.labels),
            "marks": [list(mark[1:]) for mark in opened.marks],
            "notes": list(opened.notes),
        }
        if {name: known.get(name) for name in now} != now:
            write_json(file, now)
            return now
        return known

    def close(self, id: str) -> None:
        """Forget a folder. Photos that the page has sent are deleted; the user's own never."""
        with self._lock:
            folder = self.get(id)
            write_json(self._file, [f for f in self._read() if f["id"] != id])
        for file in self.store.about_folder(id).parent.glob(f"{id}.*json"):
            file.unlink(missing_ok=True)
        if folder.get("own"):
            shutil.rmtree(self.store.photos / id, ignore_errors=True)

    def begin_upload(self, name: str) -> dict:
        """Return a new empty folder of the studio's own, for photos that the page sends."""
        id = make_id()
        place = self.store.photos / id / (_clean(name) or "photos")
        place.mkdir(parents=True)
        folder = {"id": id, "path": str(place), "name": place.name, "own": True}
        self._add(folder)
        self.list_photos(folder)
        return self.describe(folder)

    def place_upload(self, id: str, name: str) -> Path:
        """Return where a sent photo is written. Raise Refusal if it cannot be.

        name: relative name, whose folders are the classes.
        """
        folder = self.get(id)
        if not folder.get("own"):
            raise Refusal(400, "photos are sent into a folder of the studio's own. Begin one with POST /api/uploads.")
        parts = [_clean(part) for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        if not parts or not all(parts) or len(parts) > 4:
            raise Refusal(400, f"name {show(name)}: expected the name of a photo, in at most three folders.")
        if not listing.is_photo("/".join(parts)):
            kinds = ", ".join(ending[1:] for ending in listing.photos.EXTENSIONS)
            raise Refusal(400, f"name {show(name)}: no photo. Expected one of {kinds}.")
        root = Path(folder["path"])
        if not root.is_dir():
            raise Refusal(404, f"{folder['name']}: its folder is gone. Send the photos into a new one.")
        if self._count_sent(id, root) >= MOST_UPLOADS:
            raise Refusal(
                409,
                f"{folder['name']}: has {MOST_UPLOADS:,} files, which is the limit. Open a folder of this machine instead.",
            )
        if shutil.disk_usage(root).free < _LEAST_FREE:
            raise Refusal(409, "less than 1 GB is free on the disk. Make room, then send the photos again.")
        return root.joinpath(*parts)

    def _count_sent(self, id: str, root: Path) -> int:
        """Return the number of files in a folder of sent photos, and count the one that comes."""
        with self._lock:
            if self._sent.get(id, MOST_UPLOADS) >= MOST_UPLOADS:  # not looked at yet, or maybe some were removed
                self._sent[id] = sum(len(names) for _, _, names in os.walk(root))
            self._sent[id] += 1
            return self._sent[id] - 1

    def keep_upload(self, file: Path, data: bytes) -> Path:
        """Write a sent photo. Raise Refusal if it is none.

        Args:
            file: the file to write. If it is there with other bytes, the photo gets a number after its
                name: two names may have become one by what was left out of them.
            data: the photo's bytes.

        Returns:
            The file that it was written to.
        """
        from pggan_tf.data import decoders

        try:
            with decoders.open_pictures(data) as pictures:
                decoders.check_size(*pictures.first_size())
        except Unreadable as reason:
            raise Refusal(400, f"{show(file.name)}: {reason}. Expected a photo.") from None
        file.parent.mkdir(parents=True, exist_ok=True)
        with self._writing:
            place, number = file, 1
            while place.exists() and place.read_bytes() != data:
                number += 1
                place = file.with_name(f"{file.stem}-{number}{file.suffix}")
            with files.atomic_write(place) as partial:
                partial.write_bytes(data)
        return place


def _clean(name: str) -> str:
    """Return a name that is safe as one part of a path; "" if nothing is left of it."""
    name = "".join(c for c in name if c.isprintable() and c not in '/\\:*?"<>|').strip().lstrip(".").strip()
    name = name.encode("utf-8", "ignore").decode()
    ending = Path(name).suffix if len(Path(name).suffix) < 16 else ""
    room = _LONGEST_NAME - len(ending.encode())
    return name.removesuffix(ending).encode()[:room].decode(errors="ignore") + ending


def make_legible(name: str) -> str:
    """Return a name without bytes that are no text, which JSON cannot hold."""
    return name.encode("utf-8", "replace").decode()


def _count_photos(folder: str | Path) -> int:
    """Return the number of photos right in a folder, of its first entries; 0 if it cannot be read."""
    count = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            if number >= _MOST_ENTRIES:
                break
            count += listing.is_photo(entry.name)
    return count
