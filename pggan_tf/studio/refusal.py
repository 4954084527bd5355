"""Check what a request contains, and refuse it with a sentence."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from pggan_tf.errors import UserError, nearest

JSON_BYTES = 1 << 20  # largest body of JSON
_SHOWN = 60  # characters of a wrong value in a message
_LONGEST = 1000  # characters of a message


class Refusal(Exception):
    """Error that is answered with a status code and a sentence: what came, and what to do."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence if len(sentence) <= _LONGEST else f"{sentence[:_LONGEST]}…")
        self.status = status


def show(value) -> str:
    """Return a value for a message, shortened."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", "?", text)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def parse_json(data: bytes) -> dict:
    """Return the object in a body of JSON. Raise Refusal if there is none."""
    try:
        content = json.loads(data or b"{}", parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        raise Refusal(400, 'the body is no JSON. Expected an object such as {"name": "value"}.') from None
    if not isinstance(content, dict):
        raise Refusal(400, f"the body is {show(content)}. Expected a JSON object.")
    return content


def check_names(given: Mapping, known: Collection[str]) -> None:
    """Raise Refusal if an object has a name that is not known."""
    for name in given:
        if name not in known:
            raise Refusal(400, f"{show(name)}: not known; {nearest(show(name), known)}")


def _wrong(name: str, value, expected: str) -> Refusal:
    return Refusal(400, f"{name} {show(value)}: expected {expected}.")


def take_text(given: Mapping, name: str, default: Any = ..., longest: int = 200) -> Any:
    """Return a text. A missing one, or null, is the default, or refused if there is none."""
    value = given.get(name)
    if value is None:
        if default is ...:
            raise Refusal(400, f"{name}: missing. Expected a text.")
        return default
    if (
        not isinstance(value, str)
        or len(value) > longest
        or any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in value)
    ):
        raise _wrong(name, value, f"a text of at most {longest} characters, in one line")
    return value


def take_switch(given: Mapping, name: str, default: bool = False) -> bool:
    """Return a truth value; see `take_text`."""
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise _wrong(name, value, "true or false")
    return value


def take_number(given: Mapping, name: str, least: float, most: float, default: Any = ...) -> Any:
    """Return a finite number; see `take_text`."""
    value, expected = given.get(name), f"a number from {least:,} to {most:,}"
    if value is None:
        if default is ...:
            raise Refusal(400, f"{name}: missing. Expected {expected}.")
        return default
    if isinstance(value, str):
        try:
            value = int(value) if value.lstrip("-").isdecimal() and len(value) < 20 else float(value)
        except ValueError:
            raise _wrong(name, value, expected) from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(name, value, expected)
    try:
        fits = math.isfinite(value) and least <= value <= most
    except OverflowError:  # an integer of hundreds of digits
        fits = False
    if not fits:
        raise _wrong(name, value, expected)
    return value


def take_whole(given: Mapping, name: str, least: int, most: int, default: Any = ...) -> Any:
    """Return a whole number; see `take_text`."""
    value = take_number(given, name, least, most, default)
    if isinstance(value, float):
        if not value.is_integer():
            raise _wrong(name, value, f"a whole number from {least:,} to {most:,}")
        value = int(value)
    return value


def take_choice(given: Mapping, name: str, choices: Collection[str], default: Any = ...) -> Any:
    """Return one of some words; see `take_text`."""
    value = take_text(given, name, default)
    if value is not default and value not in choices:
        raise Refusal(400, f"{name} {show(value)}: not known; {nearest(value, choices)}")
    return value


def take_box(given: Mapping, name: str) -> tuple[int, int, int, int] | None:
    """Return [x, y, width, height] in whole pixels, or None; see `take_text`."""
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 4:
        raise _wrong(name, value, "[x, y, width, height] in pixels")
    x, y, w, h = (take_number({name: v}, name, -1e5, 1e5) for v in value)
    return round(x), round(y), round(w), round(h)


def explain_disk(error: OSError) -> Refusal:
    """Return the refusal (not raised here) for a disk that is full or refuses."""
    what = error.strerror or str(error)
    return Refusal(
        409, f"{error.filename or 'the disk'}: {what}. Make room or give the right to write, then try again."
    )


def as_refusal(error: Exception) -> Refusal | None:
    """Return the refusal for an error that is not the program's own; None for another."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, UserError):
        return Refusal(400, str(error))
    return explain_disk(error) if isinstance(error, OSError) else None
