"""Find the networks that come with the package: small runs in `pggan_tf/pretrained`.

They are named by one word: `pggan generate portraits` makes images at once, and `--init-from
portraits` starts a run with such weights. A file or folder of that name goes first. They are written by
`training.transfer.write_pretrained`.
"""

from __future__ import annotations

from pathlib import Path

from pggan_tf.runs import keras_files

FOLDER = Path(__file__).parent.parent / "pretrained"


def list_names() -> list[str]:
    """Return the names of the pretrained runs in alphabetical order."""
    return sorted(path.name for path in FOLDER.glob("*") if keras_files.is_run(path))


def locate(place: str | Path) -> Path | str:
    """Return the folder of the pretrained run `place`, or `place` if there is none of this name.

    place: path of a run, location on a hub or name of a pretrained run.
    """
    name = str(place)
    if Path(name).name == name and keras_files.is_run(FOLDER / name) and not Path(name).exists():
        return FOLDER / name
    return place
