"""Read networks that Keras has saved: `.keras` archives, and folders with an archive's files.

Keras itself writes such folders to Hugging Face (`hf://`). TensorFlow is only imported when a
network is loaded.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from pggan_tf.errors import UserError, is_out_of_memory, shell_path

GENERATOR = "generator.keras"
CONFIG, WEIGHTS, ENVIRONMENT = "config.json", "model.weights.h5", "environment.json"
MEMBERS = (CONFIG, "metadata.json", WEIGHTS)
BEST, BEST_GENERATOR = "best.json", "best.keras"  # where a run's best snapshot was measured, and the snapshot
REPORT, RUN = "report.json", "run.json"  # in an exported folder: the list of its files, and its run's configuration


def is_location(place: str | Path) -> bool:
    """Tell whether a place is on a model hub, such as `hf://USER/NAME`, and not on this machine."""
    return str(place).startswith("hf:/")  # a Path keeps one of the two slashes


def is_run(folder: Path) -> bool:
    """Tell whether a folder was written by training."""
    return (folder / CONFIG).is_file() and (folder / ENVIRONMENT).is_file()


def is_exported(folder: Path) -> bool:
    """Tell whether a folder was written by `pggan export`, or downloaded from a hub."""
    if any(folder.glob("MODEL_CARD*.md")):
        return True
    return all((folder / name).is_file() for name in (REPORT, GENERATOR))  # shards have a report.json, too


def is_model(folder: Path) -> bool:
    """Tell whether a folder is a network saved by Keras.

    The config.json of such a folder describes a network, while that of a run contains options.
    """
    if not all((folder / name).is_file() for name in (CONFIG, WEIGHTS)):
        return False
    try:
        return "class_name" in json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def check_run(folder: Path) -> None:
    """Raise UserError if a folder was not written by training."""
    if is_run(folder):
        return
    if is_location(folder) or is_exported(folder) or is_model(folder):
        name = str(folder).replace("hf:/", "hf://", 1) if is_location(folder) else folder
        raise UserError(f"{name}: holds an exported network and nothing of its training. Give the folder of its run.")
    missing = next(name for name in (CONFIG, ENVIRONMENT) if not (folder / name).is_file())
    if not folder.exists():
        raise UserError(f"{folder}: no such folder. Expected the folder of a run.")
    runs = sorted(str(path.parent) for path in folder.glob(f"*/{ENVIRONMENT}") if is_run(path.parent))
    hint = f" It holds runs: give one of them, such as {shell_path(runs[-1])}" if runs else ""
    raise UserError(f"{folder}: no {missing}, so not a run's folder.{hint}")


def find(path: Path) -> Path:
    """Return the file or folder that Keras can load: `path`, or the generator.keras in it.

    Raises UserError if there is none.

    path: a `.keras` file, a run's folder, an exported folder or a folder saved by Keras.
    """
    if path.is_file():
        if path.suffix != ".keras":
            raise UserError(f"{path}: not a .keras file. Expected a run's folder, an exported one, or a .keras file.")
        return path
    if (path / GENERATOR).is_file():
        return path / GENERATOR
    if is_model(path):
        return path
    if is_exported(path):
        raise UserError(
            f"{path}: exported without {GENERATOR}, which this needs. Give the run's folder, or one of pggan export --to keras."
        )
    if not path.exists():
        what = "file" if path.suffix == ".keras" else "folder"
        raise UserError(f"{path}: no such {what}. Expected a run's folder, an exported one, or a .keras file.")
    raise UserError(f"{path}: no {GENERATOR}. Expected a run's folder, an exported one, or a .keras file.")


def load(path: Path, name: str | None = None):
    """Return the generator, a Keras model, in a file or folder that `find` returned.

    Args:
        path: the file or folder.
        name: what the messages call it; None: its path.

    Raises:
        UserError: if it was not trained by this project, or if it contains Python code.
    """
    import keras

    from pggan_tf import tasks

    name = name or str(path)
    if path.is_file() and not zipfile.is_zipfile(path):
        raise UserError(f"{name}: not a .keras file: expected the zip archive that Keras writes. It may be damaged.")
    try:
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds for an unsuitable file
        if is_out_of_memory(error):
            raise
        why = (str(error).strip() or type(error).__name__).splitlines()[0].partition(". ")[0][:150]
        raise UserError(f"{name}: not a generator that can be loaded ({why}).") from None
    if getattr(network, "task", None) not in tasks.TASKS:
        raise UserError(
            f"{name}: holds a network of another kind ({type(network).__name__}). Expected a generator that pggan-tf trained."
        )
    return network


def unpack(archive: Path, folder: Path) -> None:
    """Extract the files in a `.keras` archive into `folder`, so that Keras can load the folder."""
    with zipfile.ZipFile(archive) as opened:
        for name in MEMBERS:
            (folder / name).write_bytes(opened.read(name))
