"""Everything that a resumed run needs, in one file that is there whole or not at all.

A checkpoint is an uncompressed `.npz`: one array per variable, and `meta.json`. It is written beside its place, flushed
to the disk and renamed; the zip's CRC of every member says whether it still holds what was written. No pickle.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from pggan_tf import files
from pggan_tf.errors import DamagedFile, UserError

FOLDER = "checkpoints"
_META = "meta.json"


class Ruined(Exception):
    """A checkpoint that is whole, of weights that are of no use."""


def path_for(run: Path, images_seen: int) -> Path:
    return run / FOLDER / f"checkpoint-{images_seen:012d}.npz"


def saved(run: Path) -> list[Path]:
    """The run's checkpoints, newest first."""
    return sorted((run / FOLDER).glob("checkpoint-*.npz"), reverse=True)


def write(path: Path, arrays: Mapping[str, np.ndarray], meta: dict) -> None:
    """Raises OSError, and leaves no trace, where the disk does not take it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_write(path, only_writer=True) as partial, partial.open("wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            archive.writestr(_META, json.dumps({**meta, "arrays": sorted(arrays)}))
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    if os.name == "nt":  # which opens no folders
        return
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # the rename too
    finally:
        os.close(descriptor)


def read(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """(arrays by variable name, meta). Raises DamagedFile."""
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise DamagedFile(f"{path}: damaged at {damaged}.")
            meta = json.loads(archive.read(_META))
            arrays = {}
            for name in archive.namelist():
                if name != _META:
                    with archive.open(name) as member:
                        arrays[name.removesuffix(".npy")] = np.lib.format.read_array(member, allow_pickle=False)
            if sorted(arrays) != meta.pop("arrays"):
                raise DamagedFile(f"{path}: damaged (arrays are missing).")
            return arrays, meta
    except DamagedFile:
        raise
    except Exception as error:  # zipfile and NumPy raise a dozen kinds for bytes that are not what they wrote
        raise DamagedFile(f"{path}: damaged ({error}).") from None


NETWORKS = ("generator", "discriminator", "ema")  # how the names of their weights begin
# Adam moves a weight by about the learning rate, which is below 0.01: there by a hundred million steps in one direction.
LARGEST_WEIGHT = 1e6


def ruin(arrays: Mapping[str, np.ndarray]) -> str | None:
    """Why a run's arrays are of no use, in words, or None: anything that is NaN or Inf (weights, averages, what an optimiser keeps),
    and weights beyond LARGEST_WEIGHT."""
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not array.size:
            continue
        with np.errstate(invalid="ignore"):
            low, high = float(array.min()), float(array.max())  # NaN if any is
        if not np.isfinite(low + high):
            return f"{name} became NaN or Inf"
        if name.partition("/")[0] in NETWORKS and max(-low, high) > LARGEST_WEIGHT:
            return f"{name} grew to {max(-low, high):.2g}"
    return None


def _good(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """As `read`. Raises Ruined too."""
    arrays, meta = read(path)
    if why := ruin(arrays):
        raise Ruined(f"{path}: its weights are ruined ({why}).")
    return arrays, meta


def newest(run: Path, report=print) -> tuple[dict[str, np.ndarray], dict]:
    """The newest checkpoint that can be read whole and is not ruined; `report` hears of every one that cannot or is."""
    error = None
    for path in saved(run):
        try:
            return _good(path)
        except (DamagedFile, Ruined) as raised:
            error = raised
            report(f"{error} Trying the one before.")
    if isinstance(error, Ruined):
        raise UserError(f"{error} There is no good one before it: start a new run, with a lower --learning-rate.")
    raise UserError(
        f"{run}: no readable checkpoint in {run / FOLDER}. Expected the folder of a run that got as far as its first one."
    )


def tidy(run: Path) -> None:
    """Removes what a killed process left half-written, and sets damaged and ruined checkpoints aside: they count no longer."""
    files.remove_partial(run / FOLDER, "*")
    for path in saved(run):
        try:
            _good(path)
            break  # older ones are not looked at unless this one is of no use
        except (DamagedFile, Ruined) as error:
            path.replace(path.with_name(f"{path.name}.{'ruined' if isinstance(error, Ruined) else 'damaged'}"))


def prune(run: Path, keep: int) -> None:
    for path in saved(run)[keep:]:
        path.unlink()


def restore(variables: Mapping, arrays: Mapping[str, np.ndarray], source: str, newer: Collection[str] = ()) -> None:
    """Assigns every array to the variable of its name: all of them, and nothing else, or UserError. newer: variables that older
    checkpoints do not have; without an array they stay as they are."""
    arrays = {**{name: variables[name].numpy() for name in newer if name not in arrays}, **arrays}
    if missing := sorted(set(variables) ^ set(arrays)):
        raise UserError(
            f"{source}: does not match these networks: {len(missing)} variables differ, such as {missing[0]}."
        )
    for name, variable in variables.items():
        if tuple(variable.shape) != arrays[name].shape:
            raise UserError(f"{source}: {name} is {arrays[name].shape}, expected {tuple(variable.shape)}.")
    for name, variable in variables.items():
        variable.assign(arrays[name])
