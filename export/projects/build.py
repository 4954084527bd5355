"""Write the projects of an export, with networks that were compared with Keras before."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from export import coreml, gpu, litert, parity, signatures, web
from export.apk import build as apps
from export.files import Options
from export.projects import ANDROID, FORMATS, IOS, facts, write
from export.source import Source


def build(source: Source, formats: Sequence[str], out: Path, options: Options, photos) -> list[dict]:
    """Write a folder for each requested project: android-project, ios-project.

    Args:
        source: the network and what is known about it.
        formats: the requested formats; those that are no projects are left out.
        out: folder of the folders.
        options: the options of the command.
        photos: photos for examples, uint8 [N, S, S, 3]; empty for a generator of latents.

    Returns:
        The entries of the networks' files for report.json.
    """
    wanted = [f for f in FORMATS if f in formats]
    if not wanted:
        return []
    offered = facts.choose_signatures(
        signatures.network_signatures(source.network, options.truncation, dynamic=False, pixels="float32")
    )
    subject = options.subject or "face"
    name = options.name or source.task.page.short.format(subject[0].upper() + subject[1:])[: apps.MAX_NAME]
    with tempfile.TemporaryDirectory() as folder:
        icon = Path(folder, "icon.png")
        web.draw_icon(source if not source.task.from_images else None).save(icon)
        project = write.Project(
            name=name,
            app_id=options.app_id or apps.make_id(name),
            about=f"A network that {source.task.card.sentence}",
            licence=options.licence or source.licence or "not stated",
            subject=subject,
            task=source.task,
            facts=facts.collect_facts(source.network, offered),
            icon=icon,
        )
        writers = {ANDROID: _write_android, IOS: _write_ios}
        return [writers[f](project, source, offered, out / f, options, photos) for f in wanted]


def _write_android(project: write.Project, source, offered, out: Path, options: Options, photos) -> dict:
    """Write a project for Android Studio and return the entry of its network for report.json.

    Photos go in and images come out as float32, which every accelerator takes.
    """
    how = options.quantize or "none"
    model = litert.quantize(litert.convert(source.network, offered, "float32"), offered, how, photos)
    about = litert.describe_file(source, options.licence, offered, "float32", how)
    model = litert.add_metadata(model, f"{source.name}: {source.task.name}", about)
    rows = parity.compare(offered, litert.Runner(model), photos, "float32")
    path = out / write.TFLITE
    parity.require(rows, litert.QUANTIZATIONS[how], str(path.relative_to(out.parent)))
    write.write_android(project, model, out)
    entry = _describe(path, out, len(model), how, signatures.describe(offered, "float32"), rows)
    return {**entry, "gpu": {"rules": gpu.SOURCE, "falls_back": gpu.find_fallbacks(model)}}


def _write_ios(project: write.Project, source, offered, out: Path, options: Options, photos) -> dict:
    """Write a project for Xcode and return the entry of its network for report.json."""
    write.write_ios(project, out)
    path = out / write.PACKAGE
    coreml.convert(offered, "uint8", path, coreml.describe_source(source, options.licence))
    examples = coreml.PHOTOS if source.task.from_images else None
    rows = parity.compare(offered, coreml.Runner(path, "uint8"), photos, timed=False, examples=examples)
    parity.require(rows, litert.QUANTIZATIONS["float16"], str(path.relative_to(out.parent)), coreml.ADVICE)
    return _describe(path, out, coreml.measure_size(path), "float16", coreml.describe(offered, "uint8"), rows)


def _describe(path: Path, out: Path, size: int, how: str, interface: dict, rows: list[parity.Row]) -> dict:
    """Return the entry of a network's file for report.json.

    Args:
        path: the file.
        out: the folder of its project.
        size: its size in bytes.
        how: its quantisation.
        interface: description of its signatures.
        rows: the result of the comparison.
    """
    whose = {"file": path.relative_to(out.parent).as_posix(), "bytes": size, "quantize": how, "interface": interface}
    return {**whose, "signatures": [asdict(r) for r in rows]}
