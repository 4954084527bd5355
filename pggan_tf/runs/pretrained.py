"""Find the networks that come with the package: small runs in `pggan_tf/pretrained`.

They are named by one word: `pggan generate portraits` makes images at once, and `--init-from
portraits` starts a run with such weights. A file or folder of that name goes first. They are written by
`training.transfer.write_pretrained`.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from pggan_tf.config import Plan
from pggan_tf.errors import UserError
from pggan_tf.runs import folder, keras_files

FOLDER = Path(__file__).parent.parent / "pretrained"
# Options of networks that a run takes from the weights it begins with, unless they are typed. All others
# would make another plan.
_FOLLOWED = ("latent_size", "upsampling", "modulation")
_LEAST_RES = 32  # least resolution in pixels at which the weights were compared with none


def list_names() -> list[str]:
    """Return the names of the pretrained runs in alphabetical order."""
    return sorted(path.name for path in FOLDER.glob("*") if keras_files.is_run(path))


def is_inside(path: str | Path) -> bool:
    """Tell whether a path lies in a pretrained run, where nothing is written: it belongs to the package."""
    return Path(path).is_relative_to(FOLDER)


def locate(place: str | Path) -> Path | str:
    """Return the folder of the pretrained run `place`, or `place` if there is none of this name.

    place: path of a run, location on a hub or name of a pretrained run.
    """
    name = str(place)
    if Path(name).name == name and keras_files.is_run(FOLDER / name) and not Path(name).exists():
        return FOLDER / name
    return place


def describe_weights(plan: Plan) -> list[str]:
    """Return a line to print if a new run of photos might begin with weights that come with the package.

    That is for networks of the same options, which --init-from takes. What the weights gain on photos
    of faces, and that they gain nothing on horses, is in docs/benchmarks/quality.md.

    plan: the plan of the run.
    """
    config, drawn = plan.config, {None, "portraits", "sprites"}
    data = config.images.data if isinstance(config.images.data, tuple) else (config.images.data,)
    if config.optimization.init_from or not plan.architecture.grows or plan.target_res < _LEAST_RES or drawn & {*data}:
        return []
    for name in list_names():
        with contextlib.suppress(UserError):
            theirs = folder.read(FOLDER / name)[0].config
            followed = {option: theirs.value(option) for option in _FOLLOWED if option not in plan.asked}
            folder.check_weights(plan.replace(**followed), FOLDER / name)
            begins = f"--init-from {name} begins with weights that come with pggan-tf"
            return [f"if these are photos of faces: {begins}, and a short run gets further"]
    return []
