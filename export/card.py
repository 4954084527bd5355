"""MODEL_CARD.md: what a model is, what it was made from, what it is good for and what not (Mitchell et al. 2019)."""

from __future__ import annotations

import json
import re

from export.source import Source
from pggan_tf import __version__
from pggan_tf.runs import records

KINDS = {
    "generate": ("unconditional-image-generation", "makes pictures out of random numbers"),
    "colorize": ("image-to-image", "colours gray photos: it guesses CIE a and b from L"),
    "recolor": ("image-to-image", "colours gray photos"),
    "upscale": ("image-to-image", "enlarges photos and invents the detail that they lack"),
    "translate": ("image-to-image", "turns photos of one kind into another"),
}
USE = {
    "generate": "Play, teaching, placeholders, studies of how such networks learn. Nobody in the pictures exists.",
    "colorize": "A plausible colouring for the eye. The colours are guesses: no evidence of what was there.",
    "recolor": "A plausible colouring for the eye. The colours are guesses: no evidence of what was there.",
    "upscale": "Pleasing enlargements. Detail is invented: not for faces to be recognised, signs to be read, or medicine.",
    "translate": "Illustration. What it adds is invented.",
}


def plain(text) -> str:
    """A text from outside, such as the name of a class, as one line of Markdown that means nothing but its characters: no link, no HTML, no
    cell of a table, no front matter."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return re.sub(r"([\\`*_\[\]|#~$!])", r"\\\1", line).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _as_yaml(text: str) -> str:
    """A value of the front matter: quoted, unless it is a plain word."""
    other = text.lower() in ("y", "n", "yes", "no", "on", "off", "true", "false", "null")  # than a text, to YAML
    return text if re.fullmatch(r"[A-Za-z][\w.+-]*", text) and not other else json.dumps(text, ensure_ascii=False)


def card(source: Source, licence: str | None, files: list[dict], samples: bool, which: str = "") -> str:
    """Markdown, headed by the fields that model hubs read. files: of report.json. samples: whether samples.png lies beside it.
    which: what is added to the names of the report and the configuration beside it."""
    network, task, licence = source.network, source.task, licence or source.licence
    pipeline, does = KINDS[task]
    head = ["---", f"license: {_as_yaml(licence or 'other')}", "library_name: keras", f"pipeline_tag: {pipeline}"]
    head += ["tags:", "- gan", "- tflite", "- pggan-tf", "---"]
    sizes = ", ".join(map(str, network.resolutions))
    lines = [
        *head,
        "",
        f"# {plain(source.name)}",
        "",
        f"A network that {does}, at {sizes} pixels. Made by pggan-tf {__version__}.",
        "",
    ]
    lines += ["![samples](samples.png)", ""] if samples else []
    lines += [
        "## Data",
        "",
        *_data(source),
        "",
        "## Training",
        "",
        *(line[:2] + plain(line[2:]) for line in _training(source, which)),
        "",
    ]
    lines += ["## Measured", "", *_metrics(source), "", "## Intended use and limits", "", USE[task]]
    lines += [
        "It shows what its data showed, with the data's gaps and its biases: who is rare there is drawn badly here. A picture may",
        "come close to one it was trained on; nothing rules that out. Label what it makes as made by a machine.",
        "",
        "## How to load",
        "",
        *_loading(source, files),
        "",
        "## Files",
        "",
    ]
    lines += ["| file | size | from Keras at most | PSNR | ms an image |", "|---|---|---|---|---|"]
    for f in files:
        worst = max(f["signatures"], key=lambda r: r["max_difference"], default=None)
        first = f["signatures"][0] if f["signatures"] else None
        least = min((r["psnr"] for r in f["signatures"] if r["psnr"] is not None), default=None)
        row = (
            (f"{worst['max_difference']} of 255", f"{least} dB" if least else "same", f"{first['ms']:.1f}")
            if first
            else ("", "", "")
        )
        lines.append(f"| `{f['file']}` | {f['bytes'] / 1e6:.2f} MB | {' | '.join(row)} |")
    lines += [
        "",
        f"Times: the first signature, on one thread of the CPU that wrote this (saved_model: on all). Every signature is in report{which}.json.",
        "",
    ]
    lines += [
        f"Licence of the weights: {plain(licence or 'not stated by who exported them')}. sha256 of generator.keras: `{source.sha256}`.",
        "",
    ]
    return "\n".join(lines)


def _data(source: Source) -> list[str]:
    if source.environment is None:
        return ["Not known: exported without its run."]
    held = source.environment["dataset"]
    named = (
        "drawn portraits (no real person)"
        if held["source"] == "portraits"
        else plain(records.name_source(held["source"] or "") or "of unknown origin")
    )
    images = "Unknown many" if held["images"] is None else f"{held['images']:,}"
    text = f"{images} images: {named}; checksum `{(held['checksum'] or 'unknown')[:16]}`."
    return [text + (f" Classes: {', '.join(map(plain, held['classes'][:20]))}." if held["classes"] else "")]


def _training(source: Source, which: str) -> list[str]:
    if source.plan is None:
        return ["Not known."]
    config, environment = source.plan.config, source.environment
    stages = " -> ".join(map(str, dict.fromkeys(phase.resolution for phase in source.plan.phases)))
    parameters, seen = source.network.count_params(), f" {source.images_seen():,} images seen," if environment else ""
    lines = [
        f"- recipe {config.recipe}, network {source.plan.network_in_words}, {parameters:,} parameters, stages {stages} px",
        f"- loss {config.objective.loss}, {config.objective.update} updates,{seen} seed {config.running.seed}",
    ]
    if environment is not None:
        known = {"packages": {}, "gpus": []} | environment  # which other versions, or people, may have written
        library = " and ".join(
            f"{name} {known['packages'].get(name.lower(), 'unknown')}" for name in ("TensorFlow", "Keras")
        )
        device = ", ".join(known["gpus"]) or known.get("cpu") or "an unknown device"
        commit = (known.get("commit") or "unknown")[:12]
        lines += [f"- {known.get('precision', 'unknown precision')} on {device}, {library}, commit {commit}"]
    return [*lines, f"- the whole configuration: run{which}.json"]


def _metrics(source: Source) -> list[str]:
    if source.environment is None:
        return ["Not known."]
    if not (found := source.metrics()):
        return ["Nothing was measured while it trained."]
    lines = ["| metric | value | images seen |", "|---|---|---|"]
    lines += [f"| {plain(name)} | {value:.4g} | {images:,} |" for name, (value, images) in sorted(found.items())]
    return [
        *lines,
        "",
        "Such numbers depend on the features, on how many images were drawn and on the data: compare only like with like.",
    ]


def _loading(source: Source, files: list[dict]) -> list[str]:
    """Code for one file of each kind that there is."""
    kinds: dict[str, dict] = {}
    for f in files:
        kinds.setdefault(f["file"].rpartition(".")[2], f)
    blocks = [["```python", *_code(source, kind, f), "```"] for kind, f in kinds.items()]
    return "\n\n".join("\n".join(block) for block in blocks).splitlines()


def _code(source: Source, kind: str, file: dict) -> list[str]:
    path = file["file"]
    if kind == "keras":
        module = type(source.network).__module__
        head = [
            "import keras",
            *(
                ["from pggan_tf import synthesis", "from pggan_tf.data import pixels"]
                if source.task == "generate"
                else []
            ),
            f"import {module}   # tells Keras what this network is; of a checkout of pggan-tf, after: pip install -e .",
            f'network = keras.saving.load_model("{path}")   # or this folder, or "hf://OWNER/NAME" where a hub has it',
        ]
        if source.task != "generate":
            return head
        return [
            *head,
            "z = synthesis.latents(range(16), network.latent_size)",
            f'pixels.grid("grid.png", synthesis.Sampler(network).images(z, {source.network.resolutions[-1]}))',
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
    return [
        head,
        *_inputs(signature, source.network.resolutions[-1]),
        f"image = {call}   # [1, height, width, channels]: {signature['image']}",
    ]


def _comment(text: str) -> str:
    """A text in a block of code, which it cannot end."""
    return " ".join(text.replace("`", "'").split())


def _inputs(signature: dict, side: int) -> list[str]:
    """Code that makes the inputs of a signature; of one that takes any size, with this side."""
    imports, lines = ["import numpy as np"], []
    for name, given in signature["inputs"].items():
        shape, kind = tuple(n or side for n in given["shape"]), f"np.{given['type']}"
        if name == "latents":
            lines.append(f"latents = np.random.default_rng(0).standard_normal({shape}, {kind})")
        elif name in ("truncation", "label"):
            lines.append(
                f"{name} = np.{'ones' if name == 'truncation' else 'zeros'}({shape}, {kind})   # {_comment(given['about'])}"
            )
        else:
            imports.append("from PIL import Image")
            photo = f'Image.open("photo.jpg").convert("{"L" if name == "gray" else "RGB"}").resize({shape[1:3]})'
            lines.append(f"{name} = np.asarray({photo}, {kind}).reshape({shape})")
    return [*imports, *lines]
