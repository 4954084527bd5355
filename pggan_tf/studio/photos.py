"""What is known about each photo of an opened folder, and what the user changed by hand."""

from __future__ import annotations

import hashlib
import io
import math
import threading
from pathlib import Path

from pggan_tf.errors import Unreadable
from pggan_tf.studio.folders import Folders, make_legible
from pggan_tf.studio.refusal import Refusal, show
from pggan_tf.studio.store import read_json, write_json

FILTERS = ("all", "kept", "left_out", "doubtful", "duplicates")
BY_HAND = "by hand"  # the reason of photos that the user has left out
PAGE = 60  # photos of a page
LARGEST = 2048  # longest side in pixels of a photo that is shown
_AT_ONCE = threading.BoundedSemaphore(2)  # photos that are decoded at the same time
_QUALITY = 85
_QUICK = 512  # up to this side, JPEGs are decoded at a lower resolution


class Photos:
    """Photos of the opened folders.

    Args:
        folders: the folders.
    """

    def __init__(self, folders: Folders):
        self.folders, self._lock = folders, threading.Lock()
        self._known: dict[str, tuple] = {}

    def _hand_file(self, id: str) -> Path:
        return self.folders.store.about_folder(id).with_suffix(".hand.json")

    def read_hand(self, id: str) -> dict[str, dict]:
        """Return {name of a photo: {crop, left_out}} of what was changed by hand in a folder."""
        return read_json(self._hand_file(id), {})

    def read(self, id: str) -> dict:
        """Return what is known about a folder: files, classes, labels, look, and photos."""
        folder = self.folders.get(id)
        file = self.folders.store.about_folder(id)
        try:
            about = file.stat()
        except OSError:
            return self.folders.list_photos(folder)
        # A file that took its place within a tick of the clock has the same time, and another number.
        mark = about.st_mtime_ns, about.st_ino, about.st_size
        with self._lock:
            if id not in self._known or self._known[id][0] != mark:
                self._known[id] = mark, read_json(file, {})
            known = self._known[id][1]
        return known if isinstance(known.get("files"), list) else self.folders.list_photos(folder)

    def describe(self, id: str, index: int, known: dict, hand: dict) -> dict:
        """Return one photo as the page gets it."""
        name = known["files"][index]
        seen = known["photos"][index] if known.get("photos") else {}
        own = hand.get(name, {})
        left_out = own.get("left_out", False)
        state = "left_out" if left_out else "kept" if own.get("crop") else seen.get("state", "kept")
        return {
            "index": index,
            "name": make_legible(name),
            "width": seen.get("width"),
            "height": seen.get("height"),
            "state": state,
            "reason": "left out by hand" if left_out else seen.get("reason") if state == "left_out" else None,
            "class": known["classes"][known["labels"][index]] if known["classes"] else None,
            "same_as": seen.get("same_as", []),
            "faces": seen.get("faces", []),
            "crop": own.get("crop") or seen.get("crop"),
            "doubt": None if own else seen.get("doubt"),
            "by_hand": bool(own),
            "cropped": bool(own.get("crop")),
        }

    def read_look(self, id: str) -> dict | None:
        """Return the last look at a folder with what was changed by hand since; None without a look."""
        known, hand = self.read(id), self.read_hand(id)
        look = known.get("look")
        if not (look and known.get("photos") and hand):
            return look
        reasons = {reason["reason"]: dict(reason) for reason in look["left_out"]}
        classes = {one["name"]: dict(one) for one in look["classes"]}
        kept, doubtful = look["kept"], look["doubtful"]
        for number in [number for number, name in enumerate(known["files"]) if name in hand]:
            seen, now = known["photos"][number], self.describe(id, number, known, hand)
            doubtful -= seen.get("doubt") is not None and now["doubt"] is None
            if seen["state"] == "left_out" and (reason := reasons.get(seen.get("kind"))):
                reason["count"] -= 1
            if now["state"] == "left_out":
                reasons.setdefault(BY_HAND, {"reason": BY_HAND, "sentence": now["reason"], "count": 0})["count"] += 1
            more = (now["state"] == "kept") - (seen["state"] == "kept")
            kept += more
            if now["class"] in classes:
                classes[now["class"]]["count"] += more
        left_out = [reason for reason in reasons.values() if reason["count"]]
        return look | {"kept": kept, "doubtful": doubtful, "left_out": left_out, "classes": list(classes.values())}

    def count_kept(self, id: str, faces: bool) -> int:
        """Return the number of photos of a folder that are trained on, as far as it is known.

        faces: whether faces are cut out of them; a look that decided otherwise does not count.
        """
        known, look = self.read(id), self.read_look(id)
        if look and bool(look["parameters"].get("faces")) == faces:
            return look["kept"]
        left_out = {name for name, own in self.read_hand(id).items() if own.get("left_out")}
        return known.get("shards") or sum(name not in left_out for name in known["files"])

    def list_page(self, id: str, filter: str, page: int) -> dict:
        """Return a page of the photos that a filter lets through."""
        known, hand = self.read(id), self.read_hand(id)
        everything = (self.describe(id, index, known, hand) for index in range(len(known["files"])))
        if filter == "duplicates":  # side by side
            chosen = sorted(
                (p for p in everything if p["same_as"]), key=lambda p: (min(p["index"], *p["same_as"]), p["index"])
            )
        else:
            chosen = [p for p in everything if _passes(p, filter)]
        return {
            "pages": max(1, math.ceil(len(chosen) / PAGE)),
            "total": len(chosen),
            "photos": chosen[page * PAGE : (page + 1) * PAGE],
        }

    def name_of(self, id: str, index: int) -> str:
        """Return the name of a photo. Raise Refusal if there is none with this index."""
        files = self.read(id)["files"]
        if not 0 <= index < len(files):
            raise Refusal(404, f"photo {index}: the folder has {len(files):,}. Look at the folder again.")
        return files[index]

    def change(self, id: str, index: int, crop, left_out: bool, seen: str | None = None) -> dict:
        """Note what the user wants of a photo, and return the photo.

        Args:
            id: the folder.
            index: the photo.
            crop: (x, y, width, height) in pixels of the upright photo; None: not by hand.
            left_out: whether it is not trained on.
            seen: the name that the page has shown; None: any.

        Raises:
            Refusal: if another photo has this index by now.
        """
        name = self.name_of(id, index)
        if seen is not None and seen != make_legible(name):
            raise Refusal(409, f"{show(seen)}: the folder has other photos by now. Look at it again.")
        if crop is not None:
            crop = _clip(crop, *self.measure(id, index))
        with self._lock:
            hand = self.read_hand(id)
            hand.pop(name, None)
            if crop is not None or left_out:
                hand[name] = {"crop": crop, "left_out": left_out}
            write_json(self._hand_file(id), hand)
        return self.describe(id, index, self.read(id), hand)

    def read_bytes(self, id: str, index: int) -> bytes:
        """Return the bytes of a photo's file. Raise Refusal if it cannot be read."""
        from pggan_tf.data.decoders import MAX_BYTES

        folder = self.folders.get(id)
        place = Path(folder["path"])
        file = place / self.name_of(id, index)
        try:
            real, root = file.resolve(strict=True), place.resolve()
            allowed = [root, *self.folders.roots]
            if not any(real.is_relative_to(each) for each in allowed):
                raise Refusal(404, f"{show(file.name)}: a link that leads out of the folders that are open.")
            if real.stat().st_size > MAX_BYTES:
                raise Refusal(404, f"{show(file.name)}: more than {MAX_BYTES >> 20} MB.")
            return real.read_bytes()
        except (OSError, RuntimeError, ValueError):
            raise Refusal(
                404, f"{show(str(file))}: cannot be read, or is gone. Put it back, or open the folder again."
            ) from None

    def find_mark(self, id: str, index: int, side: int) -> str:
        """Return a text that is another one as soon as a photo would be drawn differently."""
        file = Path(self.folders.get(id)["path"]) / self.name_of(id, index)
        try:
            about = file.stat()
        except (OSError, ValueError):
            return ""
        said = f"{file}:{about.st_mtime_ns}:{about.st_size}:{side}"
        return hashlib.sha256(said.encode("utf-8", "surrogateescape")).hexdigest()[:20]

    def measure(self, id: str, index: int) -> tuple[int, int]:
        """Return width and height of an upright photo in pixels."""
        known = self.read(id)
        seen = known["photos"][index] if known.get("photos") else {}
        if seen.get("width"):
            return seen["width"], seen["height"]
        with _AT_ONCE:
            return _decode(self.read_bytes(id, index)).size

    def decode_whole(self, id: str, index: int):
        """Return a photo as an upright Pillow image, RGBA if it is transparent anywhere, else RGB.

        Raise Refusal if it cannot be decoded.
        """
        with _AT_ONCE:
            image = _decode(self.read_bytes(id, index), channels=4).convert("RGBA")
            return image if image.getchannel("A").getextrema()[0] < 255 else image.convert("RGB")

    def draw(self, id: str, index: int, side: int) -> bytes:
        """Return a photo as JPEG, upright, reduced to a longer side of at most `side` pixels."""
        data = self.read_bytes(id, index)
        with _AT_ONCE:
            image = _decode(data, side)
            image.thumbnail((side, side))
            out = io.BytesIO()
            image.convert("RGB").save(out, "JPEG", quality=_QUALITY)
        return out.getvalue()


def _passes(photo: dict, filter: str) -> bool:
    if filter == "doubtful":
        return photo["doubt"] is not None and photo["state"] == "kept"
    return filter == "all" or photo["state"] == filter


def _clip(crop, width: int, height: int) -> list[int]:
    """Return a crop within a photo. Raise Refusal if nothing of it is."""
    x, y, w, h = crop
    left, top, right, bottom = max(0, x), max(0, y), min(width, x + w), min(height, y + h)
    if right - left < 4 or bottom - top < 4:
        raise Refusal(400, f"crop {list(crop)}: expected at least 4 x 4 pixels of the photo's {width} x {height}.")
    return [left, top, right - left, bottom - top]


def _decode(data: bytes, side: int | None = None, channels: int = 3):
    """Return a photo as an upright Pillow image. Raise Refusal if it cannot be decoded.

    Args:
        data: content of the file.
        side: a longer side in pixels that is enough.
        channels: see `decode.decode_photo`.
    """
    from PIL import Image

    from pggan_tf.data import decode, decoders, orientation

    try:
        if side is not None and side <= _QUICK and data[:2] == b"\xff\xd8":
            with decoders.raise_unreadable(), Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
                decoders.check_size(*image.size)
                image.draft("RGB", (2 * side, 2 * side))
                return orientation.turn_upright(image.convert("RGB"), image.getexif())
        return decode.decode_photo(data, channels)
    except Unreadable as reason:
        raise Refusal(404, f"the photo cannot be shown: {reason}.") from None
