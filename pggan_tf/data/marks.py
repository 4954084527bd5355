"""Marks: what a picture says about itself, as metadata that programs read.

A mark states by the vocabulary of the IPTC how the picture came about, and which program made it.
The mark of a generated picture also holds what makes the picture again: the run, the SHA-256 of
the file with the network's weights, seeds, stage, truncation and class. `pggan whose` reads it.

This is the only module that knows these properties; `xmp` knows how files hold them.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

from pggan_tf.data import xmp
from pggan_tf.errors import Unreadable
from pggan_tf.version import __version__

# Concepts of the IPTC's vocabulary (https://cv.iptc.org/newscodes/digitalsourcetype): pictures that
# a trained network made as a whole, and pictures that one has changed or added to. Its other concept
# for changes, algorithmicallyEnhanced, is of changes without a trained network, such as sharpening.
_VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED = f"{_VOCABULARY}trainedAlgorithmicMedia"
CHANGED = f"{_VOCABULARY}compositeWithTrainedAlgorithmicMedia"

_OURS = "https://github.com/pggan-tf/pggan-tf/ns/marks/1.0/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_PREFIXES = {xmp.XMP: "xmp", _IPTC: "Iptc4xmpExt", _OURS: "pggan"}
_SOURCE_TYPE, _MAKER = (_IPTC, "DigitalSourceType"), (xmp.XMP, "CreatorTool")
_PROGRAM = "pggan-tf"

# How the images of a picture are arranged: one image as the network made it; `pggan generate
# --grid`; the page of `pggan export --to web`, whose network is a smaller copy.
IMAGE, GRID, PAGE = LAYOUTS = ("image", "grid", "page")
NEGATIVE = "negative"  # a step: 1 - G(z)
_LONGEST_SEEDS = 8192  # characters; a longer list of seeds is left out


@dataclass(frozen=True)
class Mark:
    """What a picture says about itself. None: it does not say that."""

    source_type: str = GENERATED  # how it came about, a concept of the IPTC's vocabulary
    run: str | None = None  # name of the run whose network made it
    weights: str | None = None  # SHA-256 of the file with the network's weights, in hexadecimal
    seeds: str | None = None  # as --seeds takes them
    stage: int | None = None  # resolution in pixels
    truncation: float | None = None
    class_name: str | None = None  # class of all images; None: the class follows from each seed
    layout: str | None = None  # one of LAYOUTS
    # What was done to the images afterwards: NEGATIVE, or the SHA-256 of the weights of the network
    # that converted them.
    steps: tuple[str, ...] = ()

    def for_seeds(self, seeds: str, stage: int, truncation: float, class_name: str | None, layout: str) -> Mark:
        """Return the mark of a picture of these seeds. For the arguments, see the fields."""
        if len(seeds) > _LONGEST_SEEDS:
            return self
        return dataclasses.replace(
            self, seeds=seeds, stage=stage, truncation=truncation, class_name=class_name, layout=layout
        )

    def without_seeds(self) -> Mark:
        """Return the mark of a picture that the same network made in another way."""
        return Mark(self.source_type, self.run, self.weights)


def make_packet(
    mark: Mark | None, source: bytes | None = None, growth: tuple[float, float] = (1.0, 1.0)
) -> bytes | None:
    """Return the XMP packet of a picture; None if there is nothing to say.

    A photo that a network has generated remains one, whatever another network changes in it.

    Args:
        mark: the mark; None: without one.
        source: packet of the photo that the picture was made from; what it says is kept.
        growth: width and height of the picture, divided by those of that photo.
    """
    ours = (_SOURCE_TYPE, _MAKER) if mark else ()
    kept = xmp.clean(source, lambda name: name[0] == _OURS or name in ours, growth)
    if mark is None:
        return xmp.make({}, {}, kept) if kept else None
    before = _read_properties(source).get(_SOURCE_TYPE)
    source_type = GENERATED if before == GENERATED else mark.source_type
    said = {_SOURCE_TYPE: source_type, _MAKER: f"{_PROGRAM} {__version__}"}
    values = {
        "Run": mark.run,
        "Weights": mark.weights,
        "Seeds": mark.seeds,
        "Stage": mark.stage,
        "Truncation": mark.truncation,
        "Class": mark.class_name,
        "Layout": mark.layout,
        "Steps": " ".join(mark.steps) or None,
    }
    said |= {(_OURS, name): str(value) for name, value in values.items() if value is not None}
    return xmp.make(_PREFIXES, said, kept)


def make_tags(mark: Mark) -> dict[str, str]:
    """Return {name: text} for files without XMP that hold such tags, as Matroska does."""
    return {"DIGITAL_SOURCE_TYPE": mark.source_type, "CREATOR_TOOL": f"{_PROGRAM} {__version__}"}


def make_page_packets(mark: Mark, truncation: float | None) -> dict[str, str]:
    """Return the packets that an exported page writes, in which it fills in what the user chose.

    Args:
        mark: the mark of the network's pictures.
        truncation: truncation that is built into the exported network; None: the page chooses it.

    Returns:
        {"plain": packet as it is; "seeds": packet in which the page replaces @seeds@, @stage@,
        @truncation@ and @class@}.
    """
    plain = make_packet(mark)
    chosen = dataclasses.replace(mark, seeds="@seeds@", class_name="@class@", layout=PAGE)
    packet = make_packet(chosen)
    assert plain and packet
    numbers = {"Stage": "@stage@", "Truncation": "@truncation@" if truncation is None else str(truncation)}
    lines = "".join(f"<pggan:{name}>{value}</pggan:{name}>" for name, value in numbers.items())
    return {"plain": plain.decode(), "seeds": packet.decode().replace("<pggan:Layout>", f"{lines}<pggan:Layout>")}


def _read_properties(packet: bytes | None) -> dict[tuple[str, str], str]:
    """Return {property: text} of a packet; empty if there is none or it is damaged."""
    try:
        return xmp.read(packet) if packet else {}
    except Unreadable:
        return {}


def read(packet: bytes | None) -> Mark | None:
    """Return the mark in an XMP packet; None if there is no packet or no mark of this project.

    Raises Unreadable if a property of the mark has no valid value. None of them is trusted
    otherwise: whoever has a file can write them.

    packet: the packet; None: there is none.
    """
    found = _read_properties(packet)
    ours = {name: text for (space, name), text in found.items() if space == _OURS}
    if not ours and not found.get(_MAKER, "").startswith(f"{_PROGRAM} "):
        return None
    steps = tuple(ours.get("Steps", "").split())
    digests = [ours.get("Weights") or None, *(step for step in steps if step != NEGATIVE)]
    try:
        if any(not re.fullmatch("[0-9a-f]{64}", digest) for digest in digests if digest is not None):
            raise ValueError("no SHA-256 of weights")
        stage = int(ours["Stage"]) if "Stage" in ours else None
        truncation = float(ours["Truncation"]) if "Truncation" in ours else None
    except ValueError as error:
        raise Unreadable(f"a damaged mark ({_print(str(error))})") from None
    if truncation is not None and not 0 <= truncation <= 1 or ours.get("Layout", IMAGE) not in LAYOUTS:
        raise Unreadable("a damaged mark (no truncation from 0 to 1, or no known layout)")
    return Mark(
        _print(found.get(_SOURCE_TYPE, "")),
        _print(ours["Run"]) if ours.get("Run") else None,
        digests[0],
        _print(ours["Seeds"]) if ours.get("Seeds") else None,
        stage,
        truncation,
        _print(ours["Class"]) if ours.get("Class") else None,
        ours.get("Layout"),
        steps,
    )


def _print(text: str) -> str:
    """Return a text of an unknown file so that it can be printed: in one line, not too long."""
    return "".join(c if c.isprintable() else "?" for c in text[: _LONGEST_SEEDS + 1])
