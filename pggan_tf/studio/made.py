"""What the studio has made of a run, found again in its files.

It is in the run's folder `studio`: a folder KIND-ID for each thing, in which the file KIND.json is
written last, so that what a killed helper has left is not shown; and export/FORMAT for each export.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from pathlib import Path

from pggan_tf import files
from pggan_tf.studio.refusal import Refusal, show
from pggan_tf.studio.runs import OWN, make_plain, quote_name
from pggan_tf.studio.store import make_id, read_json, write_json

# kind -> the file that is shown of it
SHOWN = {"walk": "walk.mp4", "nearest": "nearest.png", "project": "projection.png", "convert": "after.png"}
_NAME = re.compile(rf"({'|'.join(SHOWN)})-([0-9a-z]+)")
_STARTS = {b"\xff\xd8": "jpg", b"\x89PNG": "png", b"RIFF": "webp", b"GIF8": "gif", b"BM": "bmp"}


def choose_place(own: Path, kind: str) -> Path:
    """Return a new folder for one thing in the studio's folder of a run; it is not created yet."""
    return own / f"{kind}-{make_id()}"


def note(place: Path, about: dict) -> dict:
    """Write down what is known about a thing, after all its files, and return it."""
    write_json(place / f"{place.name.partition('-')[0]}.json", about)
    return about


def describe(run: str, place: Path) -> dict | None:
    """Return one thing as the page gets it; None if it is not complete.

    Args:
        run: name of the run.
        place: its folder.

    Returns:
        {id, kind, at, bytes, files, url, ...}: url is what is shown, at the time in seconds since
        1970, and what was written down about it is beside.
    """
    found = _NAME.fullmatch(place.name)
    if not found or place.is_symlink():
        return None
    kind = found[1]
    about = read_json(place / f"{kind}.json", {})
    listed = _list_files(place, f"{_address(run)}/{place.name}")
    url = next((file["url"] for file in listed if file["name"] == SHOWN[kind]), None)
    if not about or url is None:
        return None
    listed = [file for file in listed if file["name"] != f"{kind}.json"]
    size = sum(file["bytes"] for file in listed)
    at = _read_time(place / f"{kind}.json")
    return {**make_plain(about), "id": place.name, "kind": kind, "at": at, "bytes": size, "files": listed, "url": url}


def list_all(run: str, own: Path) -> list[dict]:
    """Return all that was made of a run but exports, the newest first, by name what is of one time.

    own: see `Runs.place_own`.
    """
    found = [describe(run, place) for place in _list_folders(own)]
    # Clocks of file systems have ticks: two things may have one time, and folders have no order.
    return sorted((one for one in found if one), key=lambda one: (-one["at"], one["id"]))


def list_exports(run: str, own: Path) -> dict[str, dict]:
    """Return {format: export} of all that a run was exported to; see `describe_export`."""
    places = [] if own.is_symlink() else _list_folders(own / "export")
    return {place.name: describe_export(run, place) for place in places if not place.name.startswith(".")}


def describe_export(run: str, place: Path) -> dict:
    """Return an export: {files, parity, at}, with the size and the address of every file."""
    listed = _list_files(place, f"{_address(run)}/export/{place.name}")
    return {"files": listed, "parity": describe_parity(place), "at": _read_time(place)}


def describe_parity(place: Path) -> str:
    """Return in a sentence how much exported files differ from Keras; "" if nothing tells."""
    try:
        report = json.loads((place / "report.json").read_text(encoding="utf-8"))
        signatures = [s for file in report["files"] for s in file["signatures"]]
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    if not signatures:
        return ""
    worst = max(s["max_difference"] for s in signatures)
    ratios = [s["psnr"] for s in signatures if s["psnr"] is not None]
    least = f", PSNR {min(ratios):.1f} dB at least" if ratios else ""
    return f"differs from Keras by {worst} of 255 at most{least}, compared for {len(signatures)} kinds of images"


def keep_photo(own: Path, id: str, photo: bytes, picture: bytes, about: dict) -> None:
    """Keep a converted photo with its picture; the newest picture of the same photo stays.

    Args:
        own: the studio's folder of the run.
        id: name of the photo, which follows from its bytes.
        photo: the photo as it was sent.
        picture: what the network made of it, a PNG.
        about: how.
    """
    place = own / f"convert-{id}"
    place.mkdir(parents=True, exist_ok=True)
    ending = next((end for start, end in _STARTS.items() if photo.startswith(start)), "photo")
    before = place / f"before.{ending}"
    for file, data in ((before, photo), (place / SHOWN["convert"], picture)):
        if file != before or not file.is_file():
            with files.atomic_write(file) as partial:
                partial.write_bytes(data)
    note(place, about)


def remove(run: str, own: Path, id: str) -> None:
    """Remove a thing. Raise Refusal if there is none of this name.

    The name is looked for among those that are there, and is no part of a path.
    """
    for place in _list_folders(own):
        if place.name == id and _NAME.fullmatch(id):
            shutil.rmtree(place)
            return
    raise Refusal(404, f"{show(id)}: {run} has nothing of this name. It may have been removed.")


def _address(run: str) -> str:
    return f"/api/runs/{quote_name(run)}/files/{OWN}"


def _list_folders(parent: Path) -> list[Path]:
    """Return the folders in a folder, without links; none if it cannot be read or is a link."""
    try:
        return [] if parent.is_symlink() else [p for p in parent.iterdir() if p.is_dir() and not p.is_symlink()]
    except OSError:
        return []


def _list_files(place: Path, address: str) -> list[dict]:
    """Return {name, bytes, url} of all files in a folder."""
    found = []
    for file in sorted(place.rglob("*")):
        with contextlib.suppress(OSError):  # one that is removed meanwhile
            if file.is_file() and not file.is_symlink() and not file.name.startswith(files.PARTIAL):
                name = file.relative_to(place).as_posix()
                address_of = f"{address}/{quote_name(name, '/')}"
                found.append({"name": name, "bytes": file.stat().st_size, "url": address_of})
    return found


def _read_time(path: Path) -> float:
    """Return the time at which a file was written, in seconds since 1970."""
    try:
        return round(path.stat().st_mtime, 3)
    except OSError:
        return 0.0
