"""The store: the folder `.studio` in the folder of runs, with all that the studio keeps.

key                 the key of the address
folders.json        the folders that the user has opened
phones.json         pages that are shown to phones
open.html           leads the browser to the address
folders/ID.json     what is known about the photos of a folder, and what was changed by hand
photos/             photos that were sent from the page, and folders made for training
queue/NNNN-ID.json  what is to be trained, in this order
runs/NAME.json      title of a run, and how it ended
worker.json         the process that trains, and what it is at
work/               files that helpers write; what commands have printed
worker.log, helper.log, studio.log
"""

from __future__ import annotations

import contextlib
import html
import json
import os
import secrets
import time
from collections.abc import Collection
from pathlib import Path

from export import lan
from pggan_tf import files
from pggan_tf.errors import UserError

NAME = ".studio"
KEPT_LOGS = 20  # of commands that have ended
_REDIRECT = "open.html"
_LEFT_SECONDS = 24 * 3600.0  # after which a file that a helper was to write is not waited for
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


def write_private(path: Path, text: str) -> None:
    """Write a text to a file that the user alone may read, and which is never incomplete."""
    with files.atomic_write(path) as partial:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(text)


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
            write_private(file, key)
        return key

    def write_redirect(self, address: str) -> Path:
        """Write a page that leads to an address, and return it.

        A browser is started with the page, as others may see with what a program was started, and
        the address has the key.
        """
        file = self.folder / _REDIRECT
        target = html.escape(address)
        write_private(
            file,
            "<!doctype html><html lang=en><meta charset=utf-8><meta name=referrer content=no-referrer>"
            f'<meta http-equiv=refresh content="0;url={target}"><title>pggan studio</title>'
            f'<p><a href="{target}">To the studio</a>\n',
        )
        return file

    def remove_redirect(self) -> None:
        """Remove the page of `write_redirect`, if there is one."""
        (self.folder / _REDIRECT).unlink(missing_ok=True)

    def tidy(self, needed: Collection[str] = ()) -> None:
        """Remove what commands have printed long ago, and what killed processes have left.

        The newest logs stay, and those of entries of the queue.

        needed: ids of the entries of the queue.
        """
        now, logs = time.time(), []
        for file in self.work.iterdir():
            with contextlib.suppress(OSError):  # such as one that is removed meanwhile
                if file.suffix == ".log":
                    logs.append((file.stat().st_mtime, file))
                elif now - file.stat().st_mtime > _LEFT_SECONDS:
                    file.unlink()
        for _, file in sorted(logs, reverse=True)[KEPT_LOGS:]:
            if file.stem not in needed:
                file.unlink(missing_ok=True)

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
