"""What the page offers to choose from: recipes, options of training, and formats of export."""

from __future__ import annotations

import functools
import importlib.util
import shutil
from typing import NamedTuple

from pggan_tf import config as configs
from pggan_tf.config.recipes import PIPELINES, RECIPES
from pggan_tf.config.schema import DEFAULTS, FIELDS, GROUP_OF, GROUPS, base_type


class About(NamedTuple):
    """What a card says of a recipe."""

    title: str
    sentence: str
    paper: str | None  # address


_PGGAN, _SRGAN = "https://arxiv.org/abs/1710.10196", "https://arxiv.org/abs/1609.04802"
_PIX2PIX = "https://arxiv.org/abs/1611.07004"
ABOUT: dict[str, About] = {
    "pggan": About("Grow", "Grows from 4 pixels up. Made for few minutes on a computer without a GPU.", _PGGAN),
    "pggan-paper": About("Grow as published", "The paper's wide networks and long schedule. For days on a GPU.", _PGGAN),
    "pggan-cifar10": About("CIFAR-10 as published", "The paper's network for 32 px, and its very long training.", _PGGAN),
    "pggan-separable": About("Grow, separable", "The small networks of Grow, by their own name.", _PGGAN),
    "pggan-separable+srgan": About("Grow, then enlarge", "Two runs: one grows small images, one enlarges them.", _SRGAN),
    "dcgan": About("DCGAN", "The first convolutional GAN that trained reliably. 32 px.", "https://arxiv.org/abs/1511.06434"),
    "wgan": About("Wasserstein GAN", "A critic with clipped weights; its loss follows the quality.", "https://arxiv.org/abs/1701.07875"),
    "wgan-gp": About("WGAN-GP", "A critic whose gradients are held near 1.", "https://arxiv.org/abs/1704.00028"),
    "acgan": About("By class", "Learns each folder as a class, and draws the one you ask for.", "https://arxiv.org/abs/1610.09585"),
    "sngan": About("Spectral GAN", "Spectral normalisation keeps the discriminator steady.", "https://arxiv.org/abs/1802.05957"),
    "lsgan": About("Least squares", "DCGAN with squared errors in place of cross-entropy.", "https://arxiv.org/abs/1611.04076"),
    "pegasus": About("Gray horses", "Grows gray images up to 96 px with batch normalisation.", None),
    "faces-mse": About("Faces, squared errors", "Faces up to 256 px with standard convolutions.", None),
    "faces-bce-bn": About("Faces, batch norm", "The same with cross-entropy and batch normalisation.", None),
    "recolor": About("Colour small images", "Learns the colours of gray images of its own size.", None),
    "colorize": About("Colour photos", "Learns the colours of your photos, and colours gray ones of any size.", _PIX2PIX),
    "translate": About("Translate pairs", "Learns one picture from another: edges to photos, plans to facades.", _PIX2PIX),
    "srgan": About("Enlarge", "Learns detail from your photos, and enlarges others four times.", _SRGAN),
}  # fmt: skip
# The options that the page shows at first, in this order.
FIRST = (
    "target_res", "shape", "minutes", "batch", "augment", "mirror", "seed", "conditional", "metrics", "init_from",
    "fmap_base", "learning_rate",
)  # fmt: skip
# Options that the page sets otherwise, or that name files.
OWN = ("data", "recipe", "vgg_weights", "inception_weights", "log", "strategy")


def list_recipes() -> list[dict]:
    """Return what the page shows of each recipe."""
    out = []
    for name in (*RECIPES, *PIPELINES):
        about = ABOUT.get(name, About(name, "", None))
        values = RECIPES.get(name, {})
        task = str(values.get("task", DEFAULTS["task"]))
        options = {option: configs.as_text(value) for option, value in values.items()}
        out.append({"name": name, **about._asdict(), "task": task, "options": options})
    return out


def _as_json(value):
    return configs.as_text(value) if isinstance(value, dict | tuple) else value


def list_options() -> list[dict]:
    """Return what the page shows of each option of training."""
    out = []
    for name, field in FIELDS.items():
        if name in OWN:
            continue
        kind, about = base_type(name), field.metadata
        choices = list(about["choices"] or ())
        plain = {int: "number", float: "number", bool: "switch"}.get(
            kind, "choice" if choices and kind is str else "text"
        )
        out.append(
            {
                "name": name,
                "group": (GROUPS[GROUP_OF[name]].__doc__ or "").partition("\n")[0].rstrip("."),
                "kind": plain,
                "whole": kind is int,
                "default": _as_json(DEFAULTS[name]),
                "choices": choices,
                "minimum": about["least"] if about["least"] is not None else about["above"],
                "maximum": about["most"] if about["most"] is not None else about["below"],
                "help": about["help"],
                "first": name in FIRST,
            }
        )
    order = {name: place for place, name in enumerate(FIRST)}
    return sorted(out, key=lambda option: order.get(option["name"], len(order)))


_FORMATS = {  # name -> title, sentence, packages, extra
    "web": ("Web page", "A page that draws in any browser, offline too.", ("ai_edge_litert", "ai_edge_quantizer"), "export"),
    "apk": ("Android app", "One file to install on a phone.", ("ai_edge_litert", "ai_edge_quantizer", "cryptography"), "export,apk"),
    "tflite": ("TFLite", "For apps of your own on phones.", ("ai_edge_litert", "ai_edge_quantizer"), "export"),
    "keras": ("Keras", "To load again in Python.", (), ""),
    "savedmodel": ("SavedModel", "For TensorFlow Serving.", (), ""),
    "onnx": ("ONNX", "For other runtimes.", ("tf2onnx", "onnx", "onnxruntime"), "onnx"),
    "coreml": ("Core ML", "For apps on iPhones and Macs.", ("coremltools",), "coreml"),
    "hub": ("Model hub", "The folder that pggan push sends to Hugging Face.", (), ""),
}  # fmt: skip


@functools.cache
def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def list_formats() -> list[dict]:
    """Return what the page shows of each format of export."""
    out = []
    for name, (title, sentence, packages, extra) in _FORMATS.items():
        missing = None
        if not all(map(_is_installed, packages)):
            missing = f'pip install "pggan-tf[{extra}]"'
        elif name in ("web", "apk") and shutil.which("npm") is None:
            missing = "npm, which fetches the page's runtime once"
        out.append(
            {"name": name, "title": title, "sentence": sentence, "available": missing is None, "missing": missing}
        )
    return out
