"""Declare the options of `schema`: a default, a help text, choices and bounds for each."""

from __future__ import annotations

import typing
from collections.abc import Collection
from dataclasses import field

# A table with a value per resolution. A resolution that is missing takes the value of the next
# lower one.
Table = dict[int, float]
CountTable = dict[int, int]


def option(
    default,
    help: str,
    choices: Collection[str] = (),
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    common: bool = False,
    alone: str | None = None,
) -> typing.Any:
    """Return a dataclass field that declares an option.

    Bounds apply to the value, or to every entry of a per-resolution table. A bound of None does not
    apply.

    Args:
        default: the option's default value.
        help: help text.
        choices: allowed values; empty if any value is allowed.
        least: smallest allowed value.
        most: largest allowed value.
        above: value that the option must exceed.
        below: value that the option must be less than.
        common: whether --help shows the option; --help-all shows all options.
        alone: value of the option if it is typed without one; None if it needs one. `true` in an older
            config.json stands for it, and `false` for 'none'.
    """
    kind = {"default_factory": lambda: dict(default)} if isinstance(default, dict) else {"default": default}
    bounds = {"least": least, "most": most, "above": above, "below": below}
    return field(**kind, metadata={"help": help, "choices": choices, "common": common, "alone": alone, **bounds})
