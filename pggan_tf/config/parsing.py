"""Convert options to and from text on the command line and JSON in a run's config.json.

Option names are those of the fields in `schema`, such as 'target_res'.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import typing
from collections.abc import Mapping
from pathlib import Path

from pggan_tf import metrics, networks, shapes
from pggan_tf.config.schema import DEFAULTS, FIELDS, GROUP_OF, GROUPS, REPEATABLE, Config, base_type, takes_none
from pggan_tf.errors import UserError, nearest
from pggan_tf.option_types import parse_count

# Versions of config.json. 1: flat; `conv` was "standard" by default. 2: flat, with the resolved
# value of every option. 3: the requested options, and the resolved values of all options in groups.
VERSION = 3
# Value of --target-res, --shape and --size that `api.sizing` replaces, and of --batch, which the device decides.
AUTO = "auto"
DECIDED_ONCE = ("target_res", "shape", "size", "batch")  # options for which it stands until a run starts
# Options that count images, see `pggan_tf.option_types`.
_COUNTS = ("portraits", "metrics_every", *(name for name in FIELDS if name.endswith("_images")))
CONV_WAS_STANDARD = 1
# Values that a config.json does not state, so that earlier versions can read those of squares.
_LEFT_OUT = {
    "shape": shapes.name_aspect(shapes.SQUARE),
    "degrade_strength": 1.0,
    "denoise": False,
    "zoom": 0.0,
    "augment_images": 500_000,
    "modulation": "none",
}
_AS_FLAGS = {"degrade": {"none": False, "once": True}}  # values that a config.json states as earlier versions did


def flag(name: str) -> str:
    """Return an option's name on the command line: 'target_res' -> '--target-res'."""
    return "--" + name.replace("_", "-")


def as_text(value) -> str:
    """Return an option's value as text for the command line: {4: 64, 32: 16} -> '4=64,32=16'."""
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in value.items())
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def as_typed(name: str, value) -> str:
    """Return an option with its value as typed on the command line, such as '--batch 4=64,32=16'.

    Booleans become '--mirror' or '--no-mirror'.
    """
    if isinstance(value, bool):
        return flag(name) if value else f"--no-{name.replace('_', '-')}"
    if name in REPEATABLE and isinstance(value, tuple):
        return " ".join(f"{flag(name)} {v}" for v in value)
    return f"{flag(name)} {as_text(value)}"


def _number(text, kind, name: str):
    """Return a text or number as int or float (`kind`), or raise UserError for the option `name`.

    NaN and infinity are not valid, nor are fractions if `kind` is int. Numbers of images may be
    written as 600k or 12M.
    """
    try:
        value = parse_count(text) if name in _COUNTS else float(text)
        if not math.isfinite(value) or kind is int and value != int(value):
            raise ValueError
        return kind(value)
    except (TypeError, ValueError):
        raise UserError(f"{flag(name)} {text}: not a {'whole ' if kind is int else ''}number.") from None


def _table(name: str, value, kind) -> dict:
    """Return a per-resolution table as {resolution: number}, sorted by resolution.

    Args:
        name: the option, for messages.
        value: '4=64,32=16', or {"4": 64} from JSON, or one number for all resolutions.
        kind: type of the numbers, int or float.

    Raises:
        UserError: if the value is not such a table, or has a negative number.
    """
    if isinstance(value, Mapping):
        items = list(value.items())
    elif "=" in str(value):
        parts = [part.split("=", 1) for part in str(value).split(",")]
        if bad := [part[0] for part in parts if len(part) == 1]:
            raise UserError(f"{flag(name)} {value}: expected RES=VALUE in place of {bad[0]}, such as 4=16,32=8.")
        items = [(resolution, number) for resolution, number in parts]
    else:
        items = [(4, value)]
    table = {_number(k, int, name): _number(v, kind, name) for k, v in items}
    if not table:
        raise UserError(f"{flag(name)}: an empty table. Give at least one value, such as 4=16.")
    if bad := [v for v in table.values() if v < 0]:
        raise UserError(f"{flag(name)} {bad[0]}: below zero.")
    return dict(sorted(table.items()))


def parse(name: str, value):
    """Return an option's value from the command line or from JSON, converted to the option's type.

    Args:
        name: the option.
        value: text, number, boolean, list, dict or None.

    Raises:
        UserError: if the value is not valid; the message names the option.
    """
    kind, choices = base_type(name), FIELDS[name].metadata["choices"]
    if value is None:
        if takes_none(name):
            return None
        raise UserError(f"{flag(name)}: may not be null.")
    if isinstance(value, bool) and (alone := FIELDS[name].metadata["alone"]):
        return alone if value else DEFAULTS[name]
    if name in REPEATABLE and isinstance(value, list | tuple):
        if not value or not all(isinstance(v, str) for v in value):
            raise UserError(f"{flag(name)} {json.dumps(value)}: expected text, or a list of it.")
        return tuple(value) if len(value) > 1 else value[0]
    if name == "batch" and value == AUTO:
        return value
    if typing.get_origin(kind) is dict:
        return _table(name, value, typing.get_args(kind)[1])
    if typing.get_origin(kind) is tuple:
        parts = value if isinstance(value, list | tuple) else str(value).split(",")
        if typing.get_args(kind)[0] is str:
            return metrics.parse(",".join(map(str, parts)), choices, flag(name))
        return tuple(_number(p, typing.get_args(kind)[0], name) for p in parts)
    if kind is bool:
        if not isinstance(value, bool):
            raise UserError(f"{flag(name)} {value}: expected true or false.")
        return value
    if name in ("target_res", "shape") and value == AUTO:
        return value
    if name == "shape":
        return shapes.name_aspect(shapes.parse_aspect(str(value)))
    if name == "target_res" and isinstance(value, str) and "x" in value.lower():
        shapes.parse_size(value, flag(name))
        return value.strip().lower()
    value = _number(value, kind, name) if kind in (int, float) else str(value)
    if choices and str(value) not in choices:
        raise UserError(f"{flag(name)} {value}: not known; {nearest(value, choices)}")
    return value


def split_size(options: Mapping) -> dict:
    """Return {option: value} with a number for --target-res, and with --shape, for WIDTHxHEIGHT.

    Raises UserError if --shape is given too and is another one.

    options: {option: value} that were typed, each converted by `parse`.
    """
    size = options.get("target_res")
    if not isinstance(size, str) or size == AUTO:
        return dict(options)
    resolution, aspect = shapes.parse_size(size, flag("target_res"))
    shape = shapes.name_aspect(aspect)
    if options.get("shape") not in (None, shape):
        raise UserError(f"--target-res {size} and --shape {options['shape']}: its shape is {shape}. Give one of them.")
    return {**options, "target_res": resolution, "shape": shape}


def parse_all(values: Mapping) -> dict:
    """Return {option: value} with every value converted by `parse`.

    Raises UserError for unknown options and values that are not valid.
    """
    if unknown := [k for k in values if k not in FIELDS]:
        raise UserError(f"config field {unknown[0]}: not known; {nearest(unknown[0], FIELDS)}")
    return {k: parse(k, v) for k, v in values.items()}


@dataclasses.dataclass(frozen=True)
class Written:
    """Content of a config.json."""

    version: int  # version of the file's format
    config: Config  # the resolved value of every option
    # {option: value} of the requested options and the recipe; None in versions 1 and 2, which lack
    # them.
    asked: dict | None


def from_json(content: Mapping) -> Written:
    """Return the parsed content of a config.json of this version or an older one.

    Raises UserError for unknown options and newer versions.

    content: the JSON object in the file.
    """
    values = dict(content)
    version = values.pop("version", 2)
    if type(version) is not int or version < 1:
        raise UserError(f"config of version {version!r}: expected 1 to {VERSION}.")
    if version > VERSION:
        raise UserError(f"config of version {version}: this pggan-tf reads up to version {VERSION}. Update pggan-tf.")
    if version < 3:
        if version == CONV_WAS_STANDARD:  # every config had it, but only growing networks use it
            network = networks.NETWORKS.get(str(values.get("network", DEFAULTS["network"])))
            conv = values.get("conv") or "standard"
            values["conv"] = None if conv == "standard" and network and "conv" not in network.structure else conv
        return Written(version, Config().replace(**(_LEFT_OUT | parse_all(values))), None)
    if unknown := [k for k in values if k not in ("asked", "recipe", *GROUPS)]:
        raise UserError(f"config field {unknown[0]}: not known; {nearest(unknown[0], ('asked', 'recipe', *GROUPS))}")
    flat = {"recipe": values.get("recipe", DEFAULTS["recipe"])}
    for group in GROUPS:
        if not isinstance(values.get(group, {}), Mapping):
            raise UserError(f"config field {group}: expected an object with options.")
        flat |= values.get(group, {})
    asked = values.get("asked", {})
    if not isinstance(asked, Mapping):
        raise UserError("config field asked: expected an object with options.")
    config = Config().replace(**(_LEFT_OUT | parse_all(flat)))
    return Written(version, config, parse_all({"recipe": flat["recipe"], **asked}))


def to_json(config: Config, asked: Mapping) -> dict:
    """Return the content of a config.json as a dict: requested options, and all options in groups.

    Args:
        config: the resolved value of every option.
        asked: {option: value} of the requested options.
    """
    content = {"version": VERSION, "asked": dict(asked), **dataclasses.asdict(config)}
    for name, usual in _LEFT_OUT.items():
        if content[GROUP_OF[name]][name] in (None, usual):
            del content[GROUP_OF[name]][name]
    for name, flags in _AS_FLAGS.items():
        for values in (content["asked"], content[GROUP_OF[name]]):
            if name in values:
                values[name] = flags.get(values[name], values[name])
    if content["networks"]["size"] is None:  # so that earlier versions can read it
        del content["networks"]["size"]
    return content


def read(path: str | Path) -> Written:
    """Return the parsed content of the config.json at `path`.

    Raises UserError if it cannot be read or is not valid; the message names the file.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). Expected the config.json of a run.") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}). Expected the config.json of a run.") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a JSON object with a config's fields.")
    if "class_name" in values:
        raise UserError(
            f"{path}: describes a network to Keras. Expected a run's folder, or the run.json of an exported one."
        )
    try:
        return from_json(values)
    except UserError as error:
        own = re.match(r"--(loss|recipe|task) \S+: not known", str(error))
        table = own and {"loss": "LOSSES", "recipe": "RECIPES", "task": "TASKS"}[own[1]]
        advice = f" If it is your own: a program that adds it to pg.{table} first reads the run." if table else ""
        raise UserError(f"{path}: {error}{advice}") from None
