"""The model card MODEL_CARD.md, which describes an exported network (Mitchell et al. 2019).

It states the network's data, training, metrics, uses and limits. The source of a card is the
exported network with what is known about it (`export.source.Source`). report.json, in the same
folder, has an entry (a dict) for each exported file.
"""

from __future__ import annotations

import json
import re

from export import onnx
from export import samples as others
from export.coreml import SYSTEM
from export.source import DRAWN, Source
from pggan_tf.runs import records
from pggan_tf.shapes import name_size
from pggan_tf.version import __version__

NAMES = ("MODEL_CARD.md", "README.md")  # names of the card in an exported folder; hubs show README.md
PLACEHOLDER = "OWNER/NAME"  # stands for the repository on a hub until this is known


def escape(text) -> str:
    """Return a text, such as a class name, as Markdown that shows exactly this text on one line.

    No part of the text can act as a link, HTML, a cell of a table or front matter.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return re.sub(r"([\\`*_\[\]|#~$!])", r"\\\1", line).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _quote_yaml(text: str) -> str:
    """Return a text as a YAML value for the front matter: in quotes unless it is one word."""
    special = text.lower() in ("y", "n", "yes", "no", "on", "off", "true", "false", "null")  # not texts in YAML
    return text if re.fullmatch(r"[A-Za-z][\w.+-]*", text) and not special else json.dumps(text, ensure_ascii=False)


def _make_front_matter(licence: str | None, pipeline_tag: str, files: list[dict]) -> list[str]:
    """Return the lines of the front matter: fields in YAML that model hubs read.

    Args:
        licence: licence of the weights; None: not known.
        pipeline_tag: the task's name on model hubs.
        files: the entries of report.json, one for each file.
    """
    formats = [
        name
        for name, end in (("tflite", ".tflite"), ("coreml", ".mlpackage"))
        if any(f["file"].endswith(end) for f in files)
    ]
    head = [f"license: {_quote_yaml(licence or 'other')}", "library_name: keras", f"pipeline_tag: {pipeline_tag}"]
    return ["---", *head, "tags:", *(f"- {tag}" for tag in ("gan", *formats, "pggan-tf")), "---"]


def make_card(source: Source, licence: str | None, files: list[dict], samples: bool, which: str = "") -> str:
    """Return the text of the model card as Markdown.

    It begins with front matter, see `_make_front_matter`.

    Args:
        source: the network and what is known about it.
        licence: licence of the weights; None: the licence that the source states.
        files: the entries of report.json, one for each file.
        samples: whether there is a samples.png in the folder of the card.
        which: suffix in the file names report*.json and run*.json that the card refers to, such as
            '-upscale' if the folder holds several networks.
    """
    network, about, licence = source.network, source.task.card, licence or source.licence
    sizes = ", ".join(name_size(resolution, network.aspect) for resolution in network.resolutions)
    lines = [
        *_make_front_matter(licence, about.pipeline_tag, files),
        "",
        f"# {escape(source.name)}",
        "",
        f"A network that {about.sentence}, at {sizes} pixels. Made by pggan-tf {__version__}.",
        "",
    ]
    lines += ["![samples](samples.png)", ""] if samples else []
    lines += [
        "## Data",
        "",
        *_describe_data(source),
        "",
        "## Training",
        "",
        *(line[:2] + escape(line[2:]) for line in _describe_training(source, which)),
        "",
    ]
    lines += ["## Measured", "", *_describe_metrics(source), "", "## Intended use and limits", "", about.intended_use]
    lines += [
        "It shows what its data showed, with the data's gaps and its biases: who is rare there is drawn badly here. A picture may",
        "come close to one it was trained on; nothing rules that out. Label what it makes as made by a machine.",
        "",
        "## How to load",
        "",
        *_make_code_blocks(source, files),
        "",
        "## Files",
        "",
    ]
    lines += ["| file | size | from Keras at most | PSNR | ms an image |", "|---|---|---|---|---|"]
    lines += map(_make_row, files)
    lines += [
        "",
        f"Times: the first signature, on one thread of the CPU that wrote this (saved_model: on all). Every signature is in report{which}.json.",
        "",
    ]
    lines += _describe_devices(files)
    lines += [
        f"Licence of the weights: {escape(licence or 'not stated by who exported them')}. sha256 of generator.keras: `{source.sha256}`.",
        "",
    ]
    return "\n".join(lines)


def _describe_devices(files: list[dict]) -> list[str]:
    """Return Markdown lines about what of the files phones' processors run, and what was not tried.

    files: the entries of report.json.
    """
    lines = []
    for f in (f for f in files if "gpu" in f):
        left = {name: ", ".join(reasons) for name, reasons in f["gpu"]["falls_back"].items() if reasons}
        said = "; ".join(
            f"{name}: {'all, its shapes are not fixed' if what == 'all' else what}" for name, what in left.items()
        )
        told = f"it leaves to the CPU: {said}" if left else "it takes every operation of every signature"
        lines.append(
            f"`{f['file']}` on the GPU of a phone: by LiteRT's rules ({f['gpu']['rules']}) {told}. No phone ran it."
        )
    for f in (f for f in files if f["file"].endswith(".mlpackage")):
        lines.append(
            f"`{f['file']}` (float16; {SYSTEM} or later) was compared with Keras by an interpreter of its operations. "
            "Core ML itself did not run it: try it before you rely on it."
        )
    if any(map(others.make_samples, files)):
        lines.append("The samples in Kotlin, Swift and C++ were not compiled.")
    return [line for text in lines for line in (text, "")]


def _make_row(file: dict) -> str:
    """Return the Markdown row of a file in the card's table of files.

    file: the file's entry in report.json.
    """
    rows = file["signatures"]
    cells = ["", "", ""]
    if rows:
        least = min((r["psnr"] for r in rows if r["psnr"] is not None), default=None)
        cells = [f"{max(r['max_difference'] for r in rows)} of 255", f"{least} dB" if least else "same"]
        cells += ["" if rows[0]["ms"] is None else f"{rows[0]['ms']:.1f}"]
    return f"| `{file['file']}` | {file['bytes'] / 1e6:.2f} MB | {' | '.join(cells)} |"


def _describe_data(source: Source) -> list[str]:
    """Return Markdown lines about the training data: number of images, origin and classes."""
    if source.environment is None:
        return ["Not known: exported without its run."]
    data = source.environment["dataset"]
    origin = DRAWN.get(data["source"]) or escape(records.name_source(data["source"] or "") or "of unknown origin")
    images = "Unknown many" if data["images"] is None else f"{data['images']:,}"
    text = f"{images} images: {origin}; checksum `{(data['checksum'] or 'unknown')[:16]}`."
    return [text + (f" Classes: {', '.join(map(escape, data['classes'][:20]))}." if data["classes"] else "")]


def _describe_training(source: Source, which: str) -> list[str]:
    """Return lines about how and where the network was trained; they are not escaped yet.

    which: suffix in the file name run*.json, see `make_card`.
    """
    if source.plan is None:
        return ["Not known."]
    config, environment = source.plan.config, source.environment
    sizes = dict.fromkeys(phase.resolution for phase in source.plan.phases)
    stages = " -> ".join(name_size(resolution, source.plan.aspect) for resolution in sizes)
    parameters, seen = (
        source.network.count_params(),
        f" {source.count_images_seen():,} images seen," if environment else "",
    )
    lines = [
        f"- recipe {config.recipe}, network {source.plan.network_in_words}, {parameters:,} parameters, stages {stages} px",
        f"- loss {config.objective.loss}, {config.objective.update} updates,{seen} seed {config.running.seed}",
    ]
    if environment is not None:
        known = {"packages": {}, "gpus": []} | environment  # other versions may have left some out
        library = " and ".join(
            f"{name} {known['packages'].get(name.lower(), 'unknown')}" for name in ("TensorFlow", "Keras")
        )
        device = ", ".join(known["gpus"]) or known.get("cpu") or "an unknown device"
        commit = (known.get("commit") or "unknown")[:12]
        lines += [f"- {known.get('precision', 'unknown precision')} on {device}, {library}, commit {commit}"]
    return [*lines, f"- the whole configuration: run{which}.json"]


def _describe_metrics(source: Source) -> list[str]:
    """Return the lines of a Markdown table with the last value of each metric."""
    if source.environment is None:
        return ["Not known."]
    if not (found := source.read_metrics()):
        return ["Nothing was measured while it trained."]
    lines = ["| metric | value | images seen |", "|---|---|---|"]
    lines += [f"| {escape(name)} | {value:.4g} | {images:,} |" for name, (value, images) in sorted(found.items())]
    return [
        *lines,
        "",
        "Such numbers depend on the features, on how many images were drawn and on the data: compare only like with like.",
    ]


def _make_code_blocks(source: Source, files: list[dict]) -> list[str]:
    """Return the lines of Markdown code blocks that show how to load the files.

    There is one block for each file format. If a hub can hold the network, a sentence about this
    follows.

    files: the entries of report.json.
    """
    kinds: dict[str, dict] = {}
    for f in files:
        kinds.setdefault(f["file"].rpartition(".")[2], f)
    blocks = [["```python", *_make_code(source, kind, f), "```"] for kind, f in kinds.items() if kind != "mlpackage"]
    blocks += [[f"```{language}", *lines, "```"] for f in kinds.values() for language, lines in others.make_samples(f)]
    if "keras" in kinds:
        use = f"pggan {source.task.verb} hf://{PLACEHOLDER}"
        blocks.append([f"Where a hub has it, commands of pggan-tf take it in place of a run: `{use} ...`"])
    return "\n\n".join("\n".join(block) for block in blocks).splitlines()


def _make_code(source: Source, kind: str, file: dict) -> list[str]:
    """Return lines of Python that load a file and call its first signature (exported function).

    Args:
        source: the network and what is known about it.
        kind: the file's extension without the dot, or its name if it has none.
        file: the file's entry in report.json.
    """
    path = file["file"]
    if kind == "keras":
        imports, lines = source.task.sample_code(source.network)
        return [
            "import keras",
            *imports,
            "import pggan_tf   # tells Keras what this network is; after: pip install pggan-tf",
            f'network = keras.saving.load_model("{path}")   # or this folder, or "hf://{PLACEHOLDER}" where a hub has it',
            *lines,
        ]
    name = next(iter(file["interface"]))
    signature = file["interface"][name]
    named = ", ".join(f"{n}={f'tf.constant({n})' if kind == 'saved_model' else n}" for n in signature["inputs"])
    head, call = {
        "tflite": (
            "from ai_edge_litert.interpreter import Interpreter   # pip install ai-edge-litert",
            f'Interpreter("{path}").get_signature_runner("{name}")({named})["image"]',
        ),
        "saved_model": (
            "import tensorflow as tf",
            f'tf.saved_model.load("{path}/1").signatures["{name}"]({named})["image"].numpy()',
        ),
        "onnx": (
            "import onnxruntime   # pip install onnxruntime",
            f'onnxruntime.InferenceSession("{path}").run(["{name}"], dict({named}))[0]',
        ),
    }[kind]
    several = [f"# {onnx.describe_count(signature['inputs'])}"] if kind == "onnx" else []
    return [
        head,
        *_make_inputs(signature, source.network.resolutions[-1]),
        f"image = {call}   # [1, height, width, channels]: {signature['image']}",
        *several,
    ]


def _clean_comment(text: str) -> str:
    """Return a text on one line and with ' for backticks, to be a comment in a code block."""
    return " ".join(text.replace("`", "'").split())


def _make_inputs(signature: dict, side: int) -> list[str]:
    """Return lines of Python that create the inputs of a signature (exported function).

    Args:
        signature: description of the signature, a value of the dict that `signatures.describe`
            returns.
        side: height and width in pixels for photos that may have any size.
    """
    imports, lines = ["import numpy as np"], []
    for name, given in signature["inputs"].items():
        shape, kind = tuple(n or side for n in given["shape"]), f"np.{given['type']}"
        if name == "latents":
            lines.append(f"latents = np.random.default_rng(0).standard_normal({shape}, {kind})")
        elif name in ("truncation", "label"):
            lines.append(
                f"{name} = np.{'ones' if name == 'truncation' else 'zeros'}({shape}, {kind})   # {_clean_comment(given['about'])}"
            )
        else:
            imports.append("from PIL import Image")
            photo = f'Image.open("photo.jpg").convert("{"L" if name == "gray" else "RGB"}").resize({shape[1:3]})'
            lines.append(f"{name} = np.asarray({photo}, {kind}).reshape({shape})")
    return [*imports, *lines]
