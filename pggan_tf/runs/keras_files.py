"""Networks in Keras's files: `.keras` archives, and folders as its `hf://` loader has them.

The members of an archive are the files of such a folder. TensorFlow is not imported before a
network is loaded.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from pggan_tf.errors import UserError, is_out_of_memory

GENERATOR = "generator.keras"
CONFIG, WEIGHTS, ENVIRONMENT = "config.json", "model.weights.h5", "environment.json"
MEMBERS = (CONFIG, "metadata.json", WEIGHTS)


def is_run(folder: Path) -> bool:
    """Tell whether training wrote this folder."""
    return (folder / CONFIG).is_file() and (folder / ENVIRONMENT).is_file()


def is_exported(folder: Path) -> bool:
    """Tell whether `pggan export` wrote this folder."""
    return any(folder.glob("MODEL_CARD*.md"))


def is_model(folder: Path) -> bool:
    """Tell whether this folder is a network as Keras writes it.

    Its config.json describes a network; that of a run does not.
    """
    if not all((folder / name).is_file() for name in (CONFIG, WEIGHTS)):
        return False
    try:
        return "class_name" in json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def check_run(folder: Path) -> None:
    """Refuse a folder that training did not write. Raises UserError."""
    if is_run(folder):
        return
    if is_exported(folder) or is_model(folder):
        raise UserError(f"{folder}: holds an exported network and nothing of its training. Give the folder of its run.")
    missing = next(name for name in (CONFIG, ENVIRONMENT) if not (folder / name).is_file())
    raise UserError(f"{folder}: no {missing}, so not a run's folder.")


def find(path: Path) -> Path:
    """Return the file or folder that Keras loads for `path`: itself, or the generator.keras in it.

    Raises UserError.
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
    raise UserError(f"{path}: no {GENERATOR}. Expected a run's folder, an exported one, or a .keras file.")


def load(path: Path):
    """Load the generator in a file or folder of `find`.

    Files that contain code are refused. Raises UserError.
    """
    import keras

    from pggan_tf import tasks

    if path.is_file() and not zipfile.is_zipfile(path):
        raise UserError(f"{path}: not a .keras file: expected the zip archive that Keras writes. It may be damaged.")
    try:
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds for an unsuitable file
        if is_out_of_memory(error):
            raise
        why = (str(error).strip() or type(error).__name__).splitlines()[0].partition(". ")[0][:150]
        raise UserError(f"{path}: not a generator that can be loaded ({why}).") from None
    if getattr(network, "task", None) not in tasks.TASKS:
        raise UserError(
            f"{path}: holds a network of another kind ({type(network).__name__}). Expected a generator that pggan-tf trained."
        )
    return network


def unpack(archive: Path, folder: Path) -> None:
    """Write the members of a `.keras` file into `folder`, which Keras loads like the file."""
    with zipfile.ZipFile(archive) as opened:
        for name in MEMBERS:
            (folder / name).write_bytes(opened.read(name))
