"""Export trained networks from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from pggan_tf.api import arguments
from pggan_tf.errors import UserError, nearest


def export(runs, out: str | Path | None = None, formats: str | Sequence[str] = ("tflite",), **options) -> Path:
    """Write files of a trained network for phones, browsers and other tools.

    Every file is compared with Keras before it is kept.

    Args:
        runs: a Run, a Generator, or where to load it from, see `load`; for a web site also a list
            of networks of different tasks.
        out: folder to write to, new or empty (default: the folder export beside the network).
        formats: some of tflite, keras, savedmodel, onnx, web and hub.
        **options: the options of `pggan export`: `quantize` (none, float16, dynamic or int8),
            `output` (uint8 or float32), `truncation` (0..1), `representative` (a folder of photos),
            `licence` and `subject`.

    Returns:
        The folder that was written; its report.json lists the files.

    Raises:
        UserError: if an option is not valid, a package is missing or a file differs too much from
            Keras.
    """
    from export import build
    from export.command import command
    from export.files import Options

    known = [field.name for field in fields(Options) if field.name != "everything"]
    if unknown := [name for name in options if name not in known]:
        raise UserError(f"{unknown[0]}: no option of export; {nearest(unknown[0], known)}")
    several = isinstance(runs, Sequence) and not isinstance(runs, str)
    values = arguments.take_options(command, {**options, "formats": [formats] if isinstance(formats, str) else formats})
    places = tuple(map(arguments.as_location, runs if several else [runs]))
    chosen = Options(**{name: values[name] for name in known})
    return build.build(places, values["formats"], arguments.expand(out) if out else None, chosen)[0]
