"""The store: the folder `.studio` in the folder of runs, with all that the studio keeps.

key                 the key of the address
folders.json        the folders that the user has opened
folders/ID.json     what is known about the photos of a folder, and what was changed by hand
photos/             photos that were sent from the page, and folders made for training
queue/NNNN-ID.json  what is to be trained, in this order
runs/NAME.json      title of a run, and how it ended
worker.json         the process that trains, and what it is at
worker.log, helper.log, studio.log
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from export import lan
from pggan_tf import files
from pggan_tf.errors import UserError

NAME = ".studio"
_PARTS = ("folders", "photos", "queue", "runs", "work")


def read_json(path: Path, default):
    """Return the content of a JSON file of the same type as `default`; that if it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return default
    return content if isinstance(content, type(default)) else default


def write_json(path: Path, content) -> None:
    """Write a value as JSON to a file, which is never incomplete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_write(path) as partial:
        partial.write_text(json.dumps(content), encoding="utf-8")


def make_id() -> str:
    """Return a new random name of 10 letters and digits."""
    return secrets.token_hex(5)


class Store:
    """The store of a folder of runs.

    Args:
        runs: the folder of runs.

    Attributes:
        runs: the same as an absolute path.
        folder: the folder `.studio`.
    """

    def __init__(self, runs: str | Path):
        self.runs = Path(runs).absolute()
        self.folder = self.runs / NAME

    def create(self) -> None:
        """Create the folders. Raise UserError if that is not possible."""
        try:
            for part in _PARTS:
                (self.folder / part).mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)
        except OSError as error:
            raise UserError(
                f"--runs {self.runs}: cannot be written ({error.strerror}). Choose a folder you may write to."
            ) from None

    def read_key(self) -> str:
        """Return the key, which stays the same so that open windows live on; make it if needed."""
        file = self.folder / "key"
        try:
            key = file.read_text(encoding="utf-8").strip()
        except OSError:
            key = ""
        if len(key) < 16 or not key.replace("-", "").replace("_", "").isalnum():
            key = lan.make_key()
            with files.atomic_write(file) as partial:
                descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w") as opened:
                    opened.write(key)
        return key

    @property
    def queue(self) -> Path:
        """Folder of the queue's entries."""
        return self.folder / "queue"

    @property
    def photos(self) -> Path:
        """Folder of photos that the page has sent, and of folders that were made for training."""
        return self.folder / "photos"

    @property
    def work(self) -> Path:
        """Folder for files that helpers write."""
        return self.folder / "work"

    def about_run(self, name: str) -> Path:
        """Return the path of the file with a run's title and how it ended. name: see `runs`."""
        return self.folder / "runs" / f"{name}.json"

    def about_folder(self, id: str) -> Path:
        """Return the path of the file with what is known about a folder of photos."""
        return self.folder / "folders" / f"{id}.json"
