"""Colours that files state by numbers instead of an ICC profile: in PNG, AVIF and HEIC.

ITU-T H.273 numbers primaries and transfer curves. PNG has them in a chunk cICP, or states a gamma
alone in gAMA; AVIF and HEIC have them in a box. What differs from sRGB becomes an ICC profile
(ICC.1:2022), so that such pictures are handled like others with a profile.
"""

from __future__ import annotations

import functools

import numpy as np

from pggan_tf.data import hdr, heif, png

# ColourPrimaries -> x and y of red, green and blue (H.273, table 2). All have the white D65.
_PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_WHITE = (0.3127, 0.3290)
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}  # TransferCharacteristics -> gamma; all others of SDR: the curve of sRGB
_SRGB_GAMMA = 2.2
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])  # white of ICC profiles


def read(data: bytes) -> tuple[int, int, float | None] | None:
    """Return (ColourPrimaries, TransferCharacteristics, gamma) of a file, or None if it states none.

    gamma is None where the curve is that of TransferCharacteristics.

    data: bytes of the file.
    """
    if not data.startswith(png.SIGNATURE):
        coded = heif.read_colours(data)
        return coded and (*coded, _GAMMAS.get(coded[1]))
    stated = png.read_colours(data)
    if len(cicp := stated.get(b"cICP", b"")) == 4:
        return cicp[0], cicp[1], _GAMMAS.get(cicp[1])
    if b"sRGB" in stated or not (exponent := int.from_bytes(stated.get(b"gAMA", b""))):
        return None
    gamma = 100_000 / exponent
    # Many programs round sRGB's gamma, and its curve is not that of a power.
    return 1, 13, None if abs(gamma - _SRGB_GAMMA) < 0.1 or not 0.5 < gamma < 4 else gamma


@functools.lru_cache(maxsize=16)
def make_profile(primaries: int, gamma: float | None, gray: bool = False) -> bytes | None:
    """Return an ICC profile of numbered colours, or None if they are those of sRGB or not known.

    Args:
        primaries: ColourPrimaries of H.273.
        gamma: gamma of the transfer curve; None: the curve of sRGB.
        gray: whether the profile is of gray pictures.
    """
    if primaries not in _PRIMARIES or gray:
        primaries = 1
    if primaries == 1 and gamma is None:
        return None
    # IEC 61966-2-1, or a power alone.
    numbers = [2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045] if gamma is None else [gamma]
    kind = 3 if gamma is None else 0
    curve = b"para" + bytes(4) + kind.to_bytes(2) + bytes(2) + b"".join(map(_make_number, numbers))
    tags = {b"desc": _make_text("coded colours"), b"cprt": _make_text("none"), b"wtpt": _make_xyz(_D50)}
    if gray:
        tags[b"kTRC"] = curve
    else:
        for name, column in zip((b"r", b"g", b"b"), _find_colorants(primaries).T):
            tags |= {name + b"XYZ": _make_xyz(column), name + b"TRC": curve}
    offset, table, body = 132 + 12 * len(tags), len(tags).to_bytes(4), b""
    for name, block in tags.items():
        table += name + (offset + len(body)).to_bytes(4) + len(block).to_bytes(4)
        body += block + bytes(-len(block) % 4)
    header = (offset + len(body)).to_bytes(4) + bytes(4) + b"\4\x30\0\0mntr" + (b"GRAY" if gray else b"RGB ")
    header += b"XYZ " + bytes(12) + b"acsp" + bytes(28) + _make_xyz(_D50)[8:]
    return header.ljust(128, b"\0") + table + body


def _find_colorants(primaries: int) -> np.ndarray:
    """Return the XYZ of red, green and blue, as columns [3,3], adapted to D50 by Bradford's matrix."""
    points = np.array([(x / y, 1, (1 - x - y) / y) for x, y in (*_PRIMARIES[primaries], _WHITE)]).T
    colorants = points[:, :3] * np.linalg.solve(points[:, :3], points[:, 3])
    adapted = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ points[:, 3]))
    return np.linalg.inv(_BRADFORD) @ adapted @ _BRADFORD @ colorants


def _make_number(value: float) -> bytes:
    """Return a number as ICC profiles hold it: 16 bits before the point, 16 behind it."""
    return round(value * 65536).to_bytes(4, signed=True)


def _make_xyz(values) -> bytes:
    """Return a tag of an ICC profile with three numbers."""
    return b"XYZ " + bytes(4) + b"".join(map(_make_number, values))


def _make_text(text: str) -> bytes:
    """Return a tag of an ICC profile with an English text."""
    body = text.encode("utf-16-be")
    place = (1).to_bytes(4) + (12).to_bytes(4) + b"enUS" + len(body).to_bytes(4) + (28).to_bytes(4)
    return b"mluc" + bytes(4) + place + body


def is_hdr(transfer: int) -> bool:
    """Return whether TransferCharacteristics of H.273 are those of HDR."""
    return transfer in (hdr.PQ, hdr.HLG)
