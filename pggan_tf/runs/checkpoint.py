"""Write and read checkpoints: files with everything that a resumed run needs.

A checkpoint is an uncompressed `.npz` file with one array per variable and a `meta.json` with
further values, called meta here. It is written under a temporary name, flushed to the disk and
renamed, so it is either complete or absent. The zip's CRC of each member shows whether the content
is intact. Nothing is pickled.
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
    """Error for a checkpoint whose file is intact but whose weights are useless, such as NaN."""


def path_for(run: Path, images_seen: int) -> Path:
    """Return the path of the checkpoint after `images_seen` images. run: the run's folder."""
    return run / FOLDER / f"checkpoint-{images_seen:012d}.npz"


def parse_images(path: Path) -> int:
    """Return the number of images that a run had seen at a checkpoint, from the file's name."""
    return int(path.stem.rpartition("-")[2])


def list_checkpoints(run: Path) -> list[Path]:
    """Return the paths of a run's checkpoints, newest first. run: the run's folder."""
    return sorted((run / FOLDER).glob("checkpoint-*.npz"), reverse=True)


def write(path: Path, arrays: Mapping[str, np.ndarray], meta: dict) -> None:
    """Write a checkpoint. If that raises OSError, no incomplete file remains.

    Args:
        path: path of the checkpoint.
        arrays: {variable name: array}.
        meta: {name: value} of further values that JSON can store.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_write(path, only_writer=True) as partial, partial.open("wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            archive.writestr(_META, json.dumps({**meta, "arrays": sorted(arrays)}))
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    if os.name == "nt":  # Windows cannot open folders
        return
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # writes the new name to the disk, too
    finally:
        os.close(descriptor)


def read(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Return ({variable name: array}, meta) of a checkpoint.

    Raises DamagedFile if the file is missing or damaged.
    """
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
    except Exception as error:  # zipfile and NumPy raise many kinds for damaged bytes
        raise DamagedFile(f"{path}: damaged ({error}).") from None


NETWORKS = ("generator", "discriminator", "ema")  # first part of the names of weights
# Adam moves a weight by about the learning rate per step, below 0.01: this takes 10^8 steps in one
# direction.
LARGEST_WEIGHT = 1e6


def describe_ruin(arrays: Mapping[str, np.ndarray]) -> str | None:
    """Return a text such as 'ema/x became NaN or Inf' if a run's variables are useless, else None.

    They are useless if a weight, a moving average or an optimizer's state is NaN or Inf, or if a
    weight exceeds LARGEST_WEIGHT.

    arrays: {variable name: array}.
    """
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not array.size:
            continue
        with np.errstate(invalid="ignore"):
            low, high = float(array.min()), float(array.max())  # NaN if any element is
        if not np.isfinite(low + high):
            return f"{name} became NaN or Inf"
        if name.partition("/")[0] in NETWORKS and max(-low, high) > LARGEST_WEIGHT:
            return f"{name} grew to {max(-low, high):.2g}"
    return None


def _read_good(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Return the content of a checkpoint as `read` does.

    Raises Ruined if its weights are useless.
    """
    arrays, meta = read(path)
    if why := describe_ruin(arrays):
        raise Ruined(f"{path}: its weights are ruined ({why}).")
    return arrays, meta


def read_newest(run: Path, report=print) -> tuple[dict[str, np.ndarray], dict]:
    """Return ({variable name: array}, meta) of the newest good checkpoint.

    Raises UserError if there is no good checkpoint.

    Args:
        run: the run's folder.
        report: called with a message for every damaged or ruined checkpoint.
    """
    error = None
    for path in list_checkpoints(run):
        try:
            return _read_good(path)
        except (DamagedFile, Ruined) as raised:
            error = raised
            report(f"{error} Trying the one before.")
    if isinstance(error, Ruined):
        raise UserError(f"{error} There is no good one before it: start a new run, with a lower --learning-rate.")
    raise UserError(
        f"{run}: no readable checkpoint in {run / FOLDER}. Expected the folder of a run that got as far as its first one."
    )


def clean_up(run: Path) -> None:
    """Remove unfinished files of a killed process, and rename damaged and ruined checkpoints.

    Renamed checkpoints are no longer listed. Checkpoints before the newest good one are not
    checked.

    run: the run's folder.
    """
    files.remove_partial(run / FOLDER, "*")
    for path in list_checkpoints(run):
        try:
            _read_good(path)
            break  # older checkpoints are only needed if this one is useless
        except (DamagedFile, Ruined) as error:
            path.replace(path.with_name(f"{path.name}.{'ruined' if isinstance(error, Ruined) else 'damaged'}"))


def prune(run: Path, keep: int) -> None:
    """Remove all checkpoints of the run in folder `run` except the newest `keep`."""
    for path in list_checkpoints(run)[keep:]:
        path.unlink()


def restore(variables: Mapping, arrays: Mapping[str, np.ndarray], source: str, newer: Collection[str] = ()) -> None:
    """Assign every array to the variable with the same name.

    Args:
        variables: {name: variable}.
        arrays: {name: array}, usually of a checkpoint.
        source: path of the run that the arrays come from, for messages.
        newer: names of variables that older checkpoints lack; they keep their values then.

    Raises:
        UserError: if names or shapes differ.
    """
    kept = [name for name in newer if name in variables and name not in arrays]
    arrays = {**{name: variables[name].numpy() for name in kept}, **arrays}
    if missing := sorted(set(variables) ^ set(arrays)):
        raise UserError(
            f"{source}: does not match these networks: {len(missing)} variables differ, such as {missing[0]}."
        )
    for name, variable in variables.items():
        if tuple(variable.shape) != arrays[name].shape:
            raise UserError(f"{source}: {name} is {arrays[name].shape}, expected {tuple(variable.shape)}.")
    for name, variable in variables.items():
        variable.assign(arrays[name])
