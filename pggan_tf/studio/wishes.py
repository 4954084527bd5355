"""Wishes: what the page asks to be trained, and the commands of `pggan` that do it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pggan_tf import config as configs
from pggan_tf import files
from pggan_tf.config.recipes import PIPELINES, RECIPES
from pggan_tf.config.schema import DEFAULTS, FIELDS
from pggan_tf.runs import folder as folders
from pggan_tf.runs import pretrained
from pggan_tf.studio.choices import OWN
from pggan_tf.studio.commands import list_arguments
from pggan_tf.studio.photos import Photos
from pggan_tf.studio.refusal import Refusal, check_names, show, take_choice, take_number, take_switch, take_text
from pggan_tf.studio.runs import Runs
from pggan_tf.studio.store import Store

_FIELDS = ("name", "data", "faces", "recipe", "minutes", "target_res", "shape", "options")
PORTRAITS = "portraits"
MARGIN = 0.3  # around faces, without a look that says another
_CROPS = threading.Lock()


@dataclass(frozen=True)
class Wish:
    """What the page asks for."""

    name: str | None  # title of the run
    data: str | dict  # id of a folder, PORTRAITS, or {"run": name}
    faces: bool  # train on the faces that are found in the photos
    options: dict  # {option: value} as typed, without data


def parse(body: Mapping, runs: Runs) -> Wish:
    """Return the wish in the body of a request.

    Args:
        body: the JSON object.
        runs: the runs, which --init-from may name.

    Raises:
        Refusal: if something in it is not known or not allowed.
        UserError: if a value of an option is not valid.
    """
    check_names(body, _FIELDS)
    recipe = take_choice(body, "recipe", (*RECIPES, *PIPELINES), str(DEFAULTS["recipe"]))
    options: dict = {"recipe": recipe} if recipe != DEFAULTS["recipe"] else {}
    size = body.get("target_res")
    if size is not None:
        if isinstance(size, bool) or not isinstance(size, int | float | str):
            raise Refusal(400, f"target_res {show(size)}: expected a number of pixels, 192x256 or auto.")
        options["target_res"] = configs.parse("target_res", size)
    minutes = take_number(body, "minutes", 0.05, 1e5, None)
    if minutes is not None:
        options["minutes"] = configs.parse("minutes", minutes)
    if (shape := take_text(body, "shape", None)) is not None:
        options["shape"] = configs.parse("shape", shape)
    given = {} if body.get("options") is None else body["options"]
    if not isinstance(given, dict):
        raise Refusal(400, f"options {show(given)}: expected an object such as {{'batch': '16'}}.")
    for name, value in given.items():
        if value is None or value == "":
            continue
        check_names({name: None}, [n for n in FIELDS if n not in OWN])
        options[name] = _parse_option(name, value, runs)
    data = body.get("data", PORTRAITS)
    if isinstance(data, dict):
        check_names(data, ("run",))
        runs.find(take_text(data, "run"))
    elif not isinstance(data, str):
        raise Refusal(400, f"data {show(data)}: expected the id of a folder, portraits, or {{'run': name}}.")
    return Wish(take_text(body, "name", None, longest=80), data, take_switch(body, "faces"), options)


def _parse_option(name: str, value, runs: Runs):
    """Return the value of an option. No path of a request is used: runs are looked up by name."""
    if name == "init_from":
        text = take_text({name: value}, name, longest=300)
        return text if text in pretrained.list_names() else str(runs.find(text))
    if name == "features" and not re.fullmatch(r"[A-Za-z0-9_-]{1,60}", str(value)):
        raise Refusal(400, f"features {show(value)}: expected a name. Files are given on the command line.")
    if isinstance(value, str) and len(value) > 500:
        raise Refusal(400, f"{name}: a text of {len(value):,} characters. Expected at most 500.")
    if isinstance(value, dict) and not all(isinstance(v, int | float) for v in value.values()):
        raise Refusal(400, f"{name} {show(value)}: expected numbers by resolution, such as 4=16,32=8.")
    try:
        return configs.parse(name, value)
    except (TypeError, ValueError, OverflowError):
        raise Refusal(400, f"{name} {show(value)}: not a value of this option.") from None


def as_json(options: Mapping) -> dict:
    """Return {option: value} as JSON can hold it and `config.parse` reads it again."""
    return {n: configs.as_text(v) if isinstance(v, dict | tuple) else v for n, v in options.items()}


class Granter:
    """Turns wishes into commands.

    Args:
        store: the store.
        photos: the photos of the opened folders.
        runs: the runs.
    """

    def __init__(self, store: Store, photos: Photos, runs: Runs):
        self.store, self.photos, self.runs = store, photos, runs

    def find_data(self, wish: Wish, make: bool) -> tuple[dict, int | None]:
        """Return ({option: value} that says where the photos are, number of photos or None).

        Args:
            wish: the wish.
            make: write the folder with what was changed by hand, if anything was.
        """
        if isinstance(wish.data, dict):
            plan, environment = folders.read(self.runs.find(wish.data["run"]))
            data = plan.config.images.data
            return ({} if data is None else {"data": data}), environment["dataset"]["images"]
        if wish.data == PORTRAITS:
            return {}, wish.options.get("portraits", DEFAULTS["portraits"])
        folder, known = self.photos.folders.get(wish.data), self.photos.read(wish.data)
        hand, count = self.photos.read_hand(wish.data), self.photos.count_kept(wish.data, wish.faces)
        if not (known.get("shards") or known["files"]):
            raise Refusal(400, f"{folder['name']}: has no photos yet. Send some into it.")
        if not count:
            raise Refusal(400, f"{folder['name']}: every photo is left out. Open Photos to see why, and keep some.")
        hand = {name: own for name, own in hand.items() if name in set(known["files"])}
        if not hand:
            return {"data": folder["path"]}, count
        place = self._place_by_hand(folder, known, hand)
        if make and not place.is_dir():
            self._write_by_hand(folder, known, hand, place)
        return {"data": str(place)}, count

    def is_unwritten(self, data: dict) -> bool:
        """Tell whether the photos that `find_data` names are a folder that is written when the wish is granted."""
        place = data.get("data")
        return (
            isinstance(place, str) and Path(place).parent == self.store.photos / "by-hand" and not Path(place).is_dir()
        )

    def make_commands(self, wish: Wish, size: int | None, make: bool) -> list[list[str]]:
        """Return the commands of `pggan` that train a wish, one after the other.

        Args:
            wish: the wish.
            size: resolution that was chosen for it, which faces need; None: not known yet.
            make: see `find_data`.
        """
        data, _ = self.find_data(wish, make)
        options, commands = dict(wish.options), []
        if wish.faces:
            if not isinstance(wish.data, str) or wish.data == PORTRAITS:
                raise Refusal(400, "faces: are looked for in a folder of photos. Choose one, or leave it out.")
            if size is None:
                raise Refusal(400, "faces: the resolution is not known. Give target_res.")
            commands.append(self._find_faces(wish.data, data["data"], size))
            data, options["target_res"] = {"data": commands[0][2]}, size
        commands.append(["train", *list_arguments(data | options), "--runs", str(self.store.runs)])
        return commands

    def _find_faces(self, id: str, place: str, size: int) -> list[str]:
        """Return the command that finds the faces in a folder."""
        look = (self.photos.read(id).get("look") or {}).get("parameters", {})
        margin, least = (look["margin"], look["least"]) if look.get("faces") else (MARGIN, None)
        words = ["--size", str(size), "--margin", f"{margin:g}", *(["--min-face", f"{least:g}"] if least else [])]
        key = _digest([place, words, self.photos.read(id).get("marks")])
        out = self.store.photos / "faces" / f"{Path(place).name}-faces-{size}-{key}"
        return ["faces", place, str(out), *words, "--resume"]

    def _place_by_hand(self, folder: dict, known: dict, hand: dict) -> Path:
        """Return where the photos of a folder are with what was changed by hand."""
        key = _digest([folder["path"], known.get("marks"), known["files"], hand])
        return self.store.photos / "by-hand" / f"{Path(folder['path']).name}-{key}"

    def _write_by_hand(self, folder: dict, known: dict, hand: dict, place: Path) -> None:
        """Write a folder of links to the photos, with crops in place of those that were cropped."""
        root, numbers = Path(folder["path"]), {name: n for n, name in enumerate(known["files"])}
        with _CROPS:
            if place.is_dir():
                return
            partial = files.make_partial_path(place)
            try:
                for name in known["files"]:
                    own, target = hand.get(name, {}), partial / name
                    if own.get("left_out"):
                        continue
                    target.parent.mkdir(parents=True, exist_ok=True)
                    if own.get("crop"):
                        x, y, w, h = own["crop"]
                        image = self.photos.decode_whole(folder["id"], numbers[name]).crop((x, y, x + w, y + h))
                        image.save(target.with_name(f"{target.stem}-crop-{target.suffix[1:]}.png"))
                    else:
                        _link(root / name, target)
                place.parent.mkdir(parents=True, exist_ok=True)
                partial.rename(place)
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def with_size(self, wish: Wish, size: int) -> Wish:
        """Return a wish with a number in place of auto."""
        return replace(wish, options={**wish.options, "target_res": size})


def _link(source: Path, target: Path) -> None:
    """Make a link to a photo, or a copy where there are no links."""
    try:
        target.symlink_to(source)
    except (OSError, NotImplementedError):
        if not source.is_file():
            raise
        shutil.copyfile(source, target)


def _digest(content) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:10]
