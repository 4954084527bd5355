"""Convert the arguments of Python calls to what the library takes from the command line."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import click
import numpy as np

from pggan_tf import config
from pggan_tf.config.schema import FIELDS
from pggan_tf.data.shards import find_cache_folder
from pggan_tf.errors import UserError, nearest
from pggan_tf.files import atomic_write

# Options of training that name a file or a folder.
_FOLDERS = ("representative", "cache", "data_dir", "key")  # options of other commands that name a folder or a file
_PLACES = ("data", "init_from", "vgg_weights", "inception_weights", "features")


def expand(place) -> str:
    """Return a path as text, with the home folder in place of a leading ~.

    Raises UserError if `place` is neither text nor a Path.
    """
    if not isinstance(place, str | os.PathLike):
        raise UserError(f"{place!r}: expected a path, as text or as a Path.")
    return os.path.expanduser(os.fspath(place))


def as_location(images) -> str:
    """Return the location of a set of images as text, such as '/home/me/photos' or 'portraits'.

    Args:
        images: path of a folder or a file, a word such as 'portraits', an object with a `location`
            such as a Run, or an array of images uint8 [N, H, W, C]. An array is written to a file
            in the folder for prepared data, so that a run can be resumed.

    Raises:
        UserError: if an array is not uint8 or has another shape.
    """
    if hasattr(images, "location"):
        return str(images.location)
    if not isinstance(images, np.ndarray):
        return expand(images)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or not images.size:
        raise UserError(
            f"images: an array of {images.dtype} {list(images.shape)}; expected uint8 [N, H, W, C] or [N, H, W]."
        )
    images = np.ascontiguousarray(images)
    digest = hashlib.sha256(repr(images.shape).encode())
    digest.update(images.data)
    file = find_cache_folder(None) / "arrays" / f"{digest.hexdigest()[:16]}.npy"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as partial, partial.open("wb") as opened:
            np.save(opened, np.asarray(images))
    return str(file)


def parse_options(given: Mapping) -> dict:
    """Return {option: value} for training, each value converted to the option's type.

    Raises UserError for an unknown option or a value that is not valid.

    given: {option: value} with names such as 'target_res'; options whose value is None are left
        out.
    """
    out = {}
    for name, value in given.items():
        if name not in FIELDS:
            raise UserError(f"{name}: no option of train; {nearest(name, FIELDS)}")
        if value is None:
            continue
        if name == "data":
            value = tuple(map(as_location, value)) if isinstance(value, list | tuple) else as_location(value)
        elif name in _PLACES:
            value = as_location(value)
        elif isinstance(value, np.generic):
            value = value.item()
        out[name] = config.parse(name, value)
    return out


def take_options(command: click.Command, given: Mapping) -> dict:
    """Return {name: value} of all options of a command, with defaults for those not given.

    The command line's rules for values hold in Python, too.

    Args:
        command: the command with the same options.
        given: {name: value} with names such as 'min_face'.

    Raises:
        UserError: if an option is unknown or its value is not valid.
    """
    known = {p.name: p for p in command.params if isinstance(p, click.Option) and p.name}
    spelled = {name.lstrip("-").replace("-", "_"): p for p in known.values() for name in p.opts}
    context = command.make_context(command.name, [], resilient_parsing=True)
    values = {name: context.params[name] for name in known}
    for name, value in given.items():
        option = known.get(name) or spelled.get(name)
        if option is None:
            raise UserError(f"{name}: no option of {command.name}; {nearest(name, spelled)}")
        if value is None and option.required:
            raise UserError(f"{name} None: not valid. Expected what {option.opts[0]} takes.")
        if value is None:
            continue
        try:
            value = value.item() if isinstance(value, np.generic) else value
            if isinstance(value, os.PathLike) or option.name in _FOLDERS:
                value = expand(value)
            values[option.name] = option.type_cast_value(context, value)
        except click.BadParameter as error:
            raise UserError(error.format_message()) from None
        except (TypeError, ValueError, AttributeError):  # a value of a type that no text has
            expected = "True or False" if option.is_flag else f"what {option.opts[0]} takes"
            raise UserError(f"{name} {value!r}: not valid. Expected {expected}.") from None
    return values


def check_whole(name: str, value, least: int, most: int | None = None) -> int:
    """Return a number as int. Raise UserError if it is not whole, or outside of least..most."""
    number = int(value) if isinstance(value, float | np.floating) and float(value).is_integer() else value
    whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
    if not whole or number < least or (most is not None and number > most):
        allowed = f"from {least} on" if most is None else f"from {least} to {most}"
        raise UserError(f"{name} {value}: expected a whole number {allowed}.")
    return int(number)


def check_number(name: str, value, least: float, most: float) -> float:
    """Return a number as float. Raise UserError if it is none, or outside of least..most."""
    if not isinstance(value, int | float | np.number) or not least <= value <= most:
        raise UserError(f"{name} {value}: expected a number from {least} to {most}.")
    return float(value)


def list_paths(name: str, given) -> list[Path]:
    """Return a path, or several, as a list. Raise UserError if something else is among them."""
    paths = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    if unlike := [path for path in paths if not isinstance(path, str | os.PathLike)]:
        raise UserError(f"{name} {unlike[0]!r}: expected the path of a file, or a list of them.")
    return [Path(path) for path in paths]


def as_path(place) -> Path:
    """Return a path, with the home folder in place of a leading ~."""
    return Path(expand(place))
