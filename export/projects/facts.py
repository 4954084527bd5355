"""What the sources of a project have to know about its network, and its form in Kotlin and Swift."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from export.signatures import Signature


@dataclass(frozen=True)
class Facts:
    """Facts about a network, for the sources of a project."""

    signatures: tuple[Signature, ...]  # functions of its file, in their order
    images: tuple[tuple[int, int, int], ...]  # (height, width, channels) of their images
    classes: tuple[str, ...]  # names of the classes, if it draws images of classes


def choose_signatures(offered: Sequence[Signature]) -> list[Signature]:
    """Return those signatures that a project uses.

    They are all of a generator of latents, and the first of a network that takes photos.

    offered: signatures of fixed shapes.
    """
    return list(offered) if offered[0].photo is None else [offered[0]]


def collect_facts(network, offered: Sequence[Signature]) -> Facts:
    """Return the facts about a network.

    Args:
        network: the trained generator.
        offered: signatures of its file, which have fixed shapes.
    """
    import tensorflow as tf

    images = []
    for s in offered:
        traced = tf.function(partial(s.function), autograph=False)
        made = traced.get_concrete_function(**{spec.name: spec for spec in s.specs()})
        _, height, width, channels = made.structured_outputs.shape
        images.append((height, width, channels))
    return Facts(tuple(offered), tuple(images), () if offered[0].photo else tuple(network.classes))


def quote(text: str, kotlin: bool = False) -> str:
    """Return a text as a literal of Swift or Kotlin.

    Characters that cannot be printed become spaces.

    kotlin: whether it is for Kotlin, where $ begins a variable.
    """
    plain = "".join(c if c.isprintable() else " " for c in text)
    return '"' + re.sub(r'[\\"$]' if kotlin else r'[\\"]', r"\\\g<0>", plain) + '"'


def _comment(text: str) -> str:
    """Return a text for the end of a line of code."""
    return "".join(c if c.isprintable() else " " for c in text)


def write_kotlin(facts: Facts) -> dict[str, str]:
    """Return what Facts.kt holds about a network: the texts for @SIGNATURES@ and @MORE@."""
    rows = []
    for s, (height, width, channels) in zip(facts.signatures, facts.images):
        rows += [f"        // Returns: {_comment(s.about)}."]
        rows += [f"        Signature({quote(s.name, True)}, mapOf("]
        for name, i in s.inputs.items():
            shape = ", ".join(map(str, i.shape))
            rows += [f"            {quote(name, True)} to listOf({shape}), // {i.dtype}: {_comment(i.about)}"]
        rows += [f"        ), height = {height}, width = {width}, channels = {channels}),"]
    more = ""
    if facts.signatures[0].photo is None:
        names = ", ".join(quote(c, True) for c in facts.classes)
        more = (
            f"\n\n    /** Names of its classes, by their numbers. */\n    val CLASSES: List<String> = listOf({names})"
        )
    return {"SIGNATURES": "\n".join(rows), "MORE": more}


def write_swift(facts: Facts) -> dict[str, str]:
    """Return what Facts.swift holds about a network: the texts for @SIGNATURES@ and @MORE@."""
    rows = []
    for s, (height, width, channels) in zip(facts.signatures, facts.images):
        rows += [f"        // Returns: {_comment(s.about)}."]
        rows += [f"        Signature(name: {quote(s.name)}, inputs: ["]
        for name, i in s.inputs.items():
            shape = ", ".join(map(str, i.shape))
            rows += [f"            {quote(name)}: [{shape}], // {i.dtype}: {_comment(i.about)}"]
        rows += [f"        ], height: {height}, width: {width}, channels: {channels}),"]
    more = ""
    if facts.signatures[0].photo is None:
        names = ", ".join(map(quote, facts.classes))
        more = f"\n\n    /// Names of its classes, by their numbers.\n    static let classes: [String] = [{names}]"
    return {"SIGNATURES": "\n".join(rows), "MORE": more}
