"""HDR video to SDR, by the ITU's documents: HLG and PQ to BT.709.

Codes become light in cd/m2 by BT.2100-2, tables 4 (PQ) and 5 (HLG, on its reference display of
1,000 cd/m2). SDR's white is the level of graphics in HDR, 203 cd/m2 (BT.2408-7, section 2.2).
Brighter light is compressed by the EETF of BT.2390-11, section 5.4.1, on the largest of R, G and B,
which keeps hues. Colours are converted from BT.2020 to BT.709 (BT.2087-0, in linear light) and
clipped to those that BT.709 has. The display is that of BT.1886, a gamma of 2.4.
"""

from __future__ import annotations

import functools

import numpy as np

# TransferCharacteristics and ColourPrimaries of ITU-T H.273, tables 3 and 2.
PQ, HLG = 16, 18
BT2020, _BT709 = 9, 1

_WHITE, _HLG_PEAK = 203.0, 1000.0  # cd/m2
PEAK = 1000.0  # cd/m2 of the brightest pixel, for PQ that does not state it
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073
_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)
_TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)


def _encode_pq(light):
    """Return the PQ code, in 0..1, of light in cd/m2."""
    power = (light / 10_000) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def _decode_pq(code):
    """Return the light in cd/m2 of a PQ code in 0..1."""
    power = code ** (1 / _M2)
    return 10_000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1)


def _decode_hlg(code):
    """Return the light of the scene, in 0..1, of an HLG code in 0..1."""
    return np.where(code <= 0.5, code * code / 3, (np.exp((code - _C) / _A) + _B) / 12)


@functools.cache
def _make_table(transfer: int) -> np.ndarray:
    """Return the light of each 16-bit code, float32 [65536]: cd/m2; of HLG, the scene's, 0..1."""
    codes = np.arange(1 << 16) / 65535
    if transfer not in (PQ, HLG):
        return (_WHITE * codes**2.4).astype(np.float32)
    return (_decode_pq(codes) if transfer == PQ else _decode_hlg(codes)).astype(np.float32)


def _decode_light(rgb: np.ndarray, transfer: int) -> np.ndarray:
    """Return the light, float32 [H,W,3] in cd/m2, of uint16 codes."""
    light = _make_table(transfer)[rgb]
    if transfer == HLG:
        luminance = np.maximum(light @ _LUMA, 1e-6)[..., None]
        light = _HLG_PEAK * luminance**0.2 * light  # the OOTF: a gamma of 1.2
    return light


@functools.lru_cache(maxsize=8)
def _make_compression(peak: float) -> tuple[np.ndarray, np.ndarray]:
    """Return BT.2390's EETF from 0..peak to 0..white: light in cd/m2, and factors for it."""
    steps = np.linspace(0, 1, 4096)  # of PQ, relative to the peak
    most = _encode_pq(_WHITE) / _encode_pq(peak)
    knee = 1.5 * most - 0.5
    t = np.clip((steps - knee) / (1 - knee), 0, 1)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    light = _decode_pq(steps * _encode_pq(peak))
    mapped = _decode_pq(np.where(steps < knee, steps, spline) * _encode_pq(peak))
    return light, np.where(light > 0, mapped / np.maximum(light, 1e-12), 1.0)


def needs_conversion(transfer: int, primaries: int) -> bool:
    """Return whether codes are other colours than in BT.709: HDR, or SDR of BT.2020."""
    return transfer in (PQ, HLG) or primaries == BT2020


def describe_transfer(transfer: int) -> str:
    """Return a name for people of what `needs_conversion` has found."""
    return {PQ: "HDR (PQ)", HLG: "HDR (HLG)"}.get(transfer, "the colours of BT.2020")


def to_sdr(rgb: np.ndarray, transfer: int, primaries: int = BT2020, peak: float = PEAK) -> np.ndarray:
    """Convert a frame to BT.709: uint16 codes [H,W,3] of full range to uint8 [H,W,3].

    Args:
        rgb: the codes.
        transfer: TransferCharacteristics of H.273.
        primaries: ColourPrimaries of H.273. All but those of BT.709 are taken for BT.2020's.
        peak: cd/m2 of the brightest pixel, of PQ.
    """
    peak = max({PQ: min(peak, 10_000.0), HLG: _HLG_PEAK}.get(transfer, _WHITE), _WHITE)
    light = np.minimum(_decode_light(rgb, transfer), np.float32(peak))
    if peak > _WHITE:
        light *= np.interp(light.max(axis=2), *_make_compression(peak)).astype(np.float32)[..., None]
    light /= np.float32(_WHITE)
    if primaries != _BT709:
        light = light @ _TO_709.T
    return np.rint(np.clip(light, 0, 1) ** np.float32(1 / 2.4) * 255).astype(np.uint8)
