"""Names that a user gave to the sliders of a run, kept in sliders.json in the run's folder.

The names hold for the weights that they were given for: after more training, a slider of the same
number is another direction.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from pggan_tf.errors import UserError
from pggan_tf.runs import folder as folders

FILE = "sliders.json"
_LONGEST = 24  # characters of a name; more do not fit beside a slider on a phone


def _read(folder: Path) -> tuple[str, dict[int, str]]:
    """Return (digest of the weights, number of a slider -> name); ("", {}) if there is no file.

    Raise UserError if the file is damaged.
    """
    file = folder / FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return content["weights"], {int(number): str(name) for number, name in content["names"].items()}
    except (FileNotFoundError, NotADirectoryError):
        return "", {}
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise UserError(f"{file}: no names of sliders ({error}). Remove it, then give the names again.") from None


def read_names(folder: Path | None, digest: str) -> dict[int, str]:
    """Return the names of sliders: number -> name. Names that belong to other weights are left out.

    Args:
        folder: folder of the generator; None: it is not on this machine.
        digest: digest of the weights, see `explore.sliders.compute_digest`.
    """
    weights, names = ("", {}) if folder is None else _read(folder)
    return names if weights == digest else {}


def find_outdated(folder: Path, digest: str) -> list[str]:
    """Return the names in the file that belong to other weights; for the arguments, see above."""
    weights, names = _read(folder)
    return [] if weights == digest else list(names.values())


def rename(folder: Path, digest: str, changes: Iterable[tuple[int, str]], count: int) -> None:
    """Give sliders names, or take their names away: all of them, or none if one cannot have its name.

    Args:
        folder: the run's folder.
        digest: digest of the weights.
        changes: pairs of the number of a slider, from 1 on, and its name; "" takes it away.
        count: number of sliders of the generator.

    Raises:
        UserError: if there is no such slider, a name is not valid or another slider has it.
    """
    names = read_names(folder, digest)
    for number, name in changes:
        names = _change(names, number, name, count)
    content = {"weights": digest, "names": {str(n): names[n] for n in sorted(names)}}
    try:
        folders.write_json(folder / FILE, content)
    except OSError as error:
        raise UserError(f"{folder / FILE}: cannot be written ({error.strerror or error}).") from None


def _change(names: Mapping[int, str], number: int, name: str, count: int) -> dict[int, str]:
    """Return names of sliders after one change; for the rest, see `rename`."""
    typed = f"--rename {number}={name}"
    if not isinstance(name, str):
        raise UserError(f"{typed}: expected a name, such as smile.")
    name = name.strip()
    if not 1 <= number <= count:
        raise UserError(f"{typed}: the run has the sliders 1 to {count}.")
    if name and not re.fullmatch(rf"[^\W\d_][\w -]{{0,{_LONGEST - 1}}}", name):
        raise UserError(
            f"{typed}: expected a name of at most {_LONGEST} letters, digits, spaces, - and _ that begins with a letter."
        )
    rest = {n: other for n, other in names.items() if n != number}
    for other, taken in rest.items():
        if name and taken.casefold() == name.casefold():
            raise UserError(f"{typed}: slider {other} has this name. Choose another, or type --rename {other}= first.")
    return rest | ({number: name} if name else {})
