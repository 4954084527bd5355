"""Commands of `pggan` as text that is copied from the page into a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pggan_tf import config as configs
from pggan_tf.config.schema import REPEATABLE
from pggan_tf.errors import shell_path

_OPTION = r"--[a-z][a-z0-9-]*(?: (?!--)[^\s,]+)?"


def list_arguments(options: Mapping) -> list[str]:
    """Return the arguments of `pggan train` for {option: value}."""
    out: list[str] = []
    for name, value in options.items():
        if isinstance(value, bool):
            out.append(configs.as_typed(name, value))
        elif name in REPEATABLE and isinstance(value, tuple):
            out += [part for one in value for part in (configs.flag(name), one)]
        else:
            text = f"{value:.15g}" if isinstance(value, float) else configs.as_text(value)
            out += [configs.flag(name), text]
    return out


def join(commands: list[list[str]]) -> str:
    """Return commands of `pggan` as text that a shell takes."""
    return " && ".join(" ".join(["pggan", *map(shell_path, command)]) for command in commands)


def split_advice(told: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return (options that can be typed as they are, sentences) of what the coach advises."""
    options: list[str] = []
    others: list[str] = []
    for one in told:
        (options if re.fullmatch(f"{_OPTION}(?: {_OPTION})*", one) else others).append(one)
    return options, others
