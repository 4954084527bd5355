"""Export trained networks from Python."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pggan_tf import terminal
from pggan_tf.api import arguments
from pggan_tf.errors import UserError, explain_out_of_memory, nearest
from pggan_tf.runs import hub


def export(
    runs, out: str | Path | None = None, formats: str | Sequence[str] = ("tflite",), *, mark: bool = True, **options
) -> Path:
    """Write files of a trained network for phones, browsers and other tools.

    Every file is compared with Keras before it is kept.

    Args:
        runs: a Run, a Generator, or where to load it from, see `load`; for a web site also a list
            of networks of different tasks, as for an app.
        out: folder to write to, new or empty (default: the folder export beside the network; for
            one of a hub, ./export); for apk, the new file.
        formats: some of tflite, keras, savedmodel, onnx, coreml, web, hub, android-project and
            ios-project; or apk, an Android app, by itself.
        mark: let the web page and samples say in their metadata that a network made them.
        **options: the options of `pggan export`: `quantize` (none, float16, dynamic or int8),
            `output` (uint8 or float32), `truncation` (0..1), `representative` (a folder of photos),
            `licence` and `subject`; of an app `name`, `app_id`, `version_code` and `key` (a file);
            of a project `name` and `app_id`.

    Returns:
        The folder that was written; its report.json lists the files. For apk, the file.

    Raises:
        UserError: if an option is not valid, a package is missing or a file differs too much from
            Keras.
    """
    from export import build
    from export.command import command
    from export.files import Options

    known = [field.name for field in dataclasses.fields(Options) if field.name not in ("everything", "no_mark")]
    if unknown := [name for name in options if name not in known]:
        raise UserError(f"{unknown[0]}: no option of export; {nearest(unknown[0], ['out', 'formats', *known])}")
    several = isinstance(runs, Sequence) and not isinstance(runs, str)
    values = arguments.take_options(command, {**options, "formats": [formats] if isinstance(formats, str) else formats})
    places = tuple(map(arguments.as_location, runs if several else [runs]))
    if not places:
        raise UserError("runs: none. Give a run, or a list of them.")
    chosen = Options(**{name: values[name] for name in known}, no_mark=not mark)
    return build.build(places, values["formats"], arguments.expand(out) if out else None, chosen)[0]


def push(run, repository: str, *, private: bool = False, licence: str | None = None, message: str | None = None) -> str:
    """Upload a trained network to a model hub: Hugging Face, or the one at the address HF_ENDPOINT.

    What is uploaded is the folder of `export(run, formats="hub")`: no photo of yours, no path of
    this machine. Log in first with `hf auth login`, or set HF_TOKEN. Afterwards
    `load("hf://USER/NAME")` loads it.

    Args:
        run: a Run, a Generator, or where to load it from, see `load`.
        repository: USER/NAME.
        private: make a new repository that only its owner sees.
        licence: licence of the weights, by its name on the hub, such as cc-by-4.0 (default: that of
            the run, else other).
        message: message of the commit (default: Upload NAME).

    Returns:
        Address of the network's page.

    Raises:
        UserError: if the network cannot be exported, or the hub refuses it.
        TryAgain: if the hub cannot be reached now.
    """
    return push_files(run, repository, private=private, licence=licence, message=message)[0]


@explain_out_of_memory("the network is exported", "Take a machine with more memory.")
def push_files(
    run, repository: str, *, private: bool, licence: str | None, message: str | None
) -> tuple[str, list[dict]]:
    """Return (address of the page, entries of report.json) for the same arguments as `push`."""
    repository, revision = hub.parse(repository)
    if revision:
        raise UserError(f"{repository}@{revision}: a network is pushed to USER/NAME, without a revision.")
    hub.check_installed()
    hub.check_repository(repository, private)
    if licence is not None:
        hub.check_licence(licence)
    terminal.start_tensorflow()
    from export import build, card
    from export import source as sources

    name = repository.partition("/")[2]
    source = dataclasses.replace(sources.open_source(arguments.as_location(run)), name=name)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        files = build.write([source], build.expand_formats((build.HUB,)), folder, build.Options(licence=licence))
        for file in (folder / name for name in card.NAMES):
            text = file.read_text(encoding="utf-8")
            file.write_text(text.replace(card.PLACEHOLDER, repository), encoding="utf-8")
        return hub.upload(folder, repository, private, message or f"Upload {name}"), files
