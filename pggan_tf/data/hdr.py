"""Conversion of HDR videos and photos (HLG and PQ) to SDR, following recommendations of the ITU.

HLG and PQ are the two formats of HDR (high dynamic range). Codes are the stored values of
pixels, light is what a display emits for them. Codes are converted to light in cd/m2 with
BT.2100-2, tables 4 (PQ) and 5 (HLG, on its reference display of 1,000 cd/m2). The white of SDR is
set to 203 cd/m2, the level of graphics white in HDR (BT.2408-7, section 2.2). Brighter light is
compressed with the EETF of BT.2390-11, section 5.4.1, which is applied to the largest of R, G and B
to preserve hues. Colours are converted from BT.2020 to BT.709 (BT.2087-0, in linear light) and
clipped to the gamut of BT.709. Videos are encoded for the display of BT.1886, with a gamma of 2.4,
photos with the curve of sRGB.
"""

from __future__ import annotations

import functools

import numpy as np

# Values of TransferCharacteristics and ColourPrimaries in ITU-T H.273, tables 3 and 2.
PQ, HLG = 16, 18
BT2020, _BT709, _P3 = 9, 1, 12

_WHITE, _HLG_PEAK = 203.0, 1000.0  # cd/m2
PEAK = 1000.0  # light in cd/m2 that is assumed for the brightest pixel if PQ video does not state it
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073
_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)
# ColourPrimaries -> matrix to those of BT.709, in linear light; all but these are taken for BT.2020.
_TO_709 = {
    BT2020: np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32),
    _P3: np.array([[1.2249, -0.2249, 0.0], [-0.0421, 1.0421, 0.0], [-0.0196, -0.0786, 1.0982]], np.float32),
}
_STRIP = 256  # rows of a photo that are converted at once, so that its light fills no memory


def _encode_pq(light):
    """Convert light in cd/m2 to PQ codes in 0..1."""
    power = (light / 10_000) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def _decode_pq(code):
    """Convert PQ codes in 0..1 to light in cd/m2."""
    power = code ** (1 / _M2)
    return 10_000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1)


def _decode_hlg(code):
    """Convert HLG codes in 0..1 to the light of the scene in 0..1."""
    return np.where(code <= 0.5, code * code / 3, (np.exp((code - _C) / _A) + _B) / 12)


@functools.cache
def _make_table(transfer: int) -> np.ndarray:
    """Return a table with the light of every 16-bit code, float32 [65536].

    The values are in cd/m2; for HLG they are the light of the scene in 0..1.

    transfer: TransferCharacteristics of H.273: PQ or HLG; all others are treated as SDR.
    """
    codes = np.arange(1 << 16) / 65535
    if transfer not in (PQ, HLG):
        return (_WHITE * codes**2.4).astype(np.float32)
    return (_decode_pq(codes) if transfer == PQ else _decode_hlg(codes)).astype(np.float32)


def _decode_light(rgb: np.ndarray, transfer: int) -> np.ndarray:
    """Convert uint16 codes [H,W,3] to light, float32 [H,W,3] in cd/m2.

    transfer: TransferCharacteristics of H.273, as in `_make_table`.
    """
    light = _make_table(transfer)[rgb]
    if transfer == HLG:
        luminance = np.maximum(light @ _LUMA, 1e-6)[..., None]
        light = _HLG_PEAK * luminance**0.2 * light  # HLG's OOTF, with a gamma of 1.2
    return light


@functools.lru_cache(maxsize=8)
def _make_compression(peak: float) -> tuple[np.ndarray, np.ndarray]:
    """Return BT.2390's EETF, which compresses light from 0..peak to 0.._WHITE, as a table.

    peak: light of the brightest pixel in cd/m2.

    Returns:
        Two arrays of shape [4096]: levels of light in cd/m2, and the factor that light of each
        level is multiplied by.
    """
    steps = np.linspace(0, 1, 4096)  # PQ codes, relative to the code of the peak
    most = _encode_pq(_WHITE) / _encode_pq(peak)
    knee = 1.5 * most - 0.5
    t = np.clip((steps - knee) / (1 - knee), 0, 1)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    light = _decode_pq(steps * _encode_pq(peak))
    mapped = _decode_pq(np.where(steps < knee, steps, spline) * _encode_pq(peak))
    return light, np.where(light > 0, mapped / np.maximum(light, 1e-12), 1.0)


def needs_conversion(transfer: int, primaries: int) -> bool:
    """Return whether a frame's colours are not those of BT.709: HDR, or SDR in BT.2020.

    transfer, primaries: TransferCharacteristics and ColourPrimaries of H.273.
    """
    return transfer in (PQ, HLG) or primaries == BT2020


def describe_transfer(transfer: int) -> str:
    """Return a name for messages, such as 'HDR (PQ)', of a format that needs conversion.

    transfer: TransferCharacteristics of H.273.
    """
    return {PQ: "HDR (PQ)", HLG: "HDR (HLG)"}.get(transfer, "the colours of BT.2020")


def _find_light(rgb: np.ndarray, transfer: int, primaries: int, peak: float) -> np.ndarray:
    """Convert codes to linear light of BT.709 in 0..1, float32 [H,W,3]. For the arguments, see `to_sdr`."""
    peak = max({PQ: min(peak, 10_000.0), HLG: _HLG_PEAK}.get(transfer, _WHITE), _WHITE)
    light = np.minimum(_decode_light(rgb, transfer), np.float32(peak))
    if peak > _WHITE:
        light *= np.interp(light.max(axis=2), *_make_compression(peak)).astype(np.float32)[..., None]
    light /= np.float32(_WHITE)
    if primaries != _BT709:
        light = light @ _TO_709.get(primaries, _TO_709[BT2020]).T
    return np.clip(light, 0, 1)


def to_srgb(rgb: np.ndarray, transfer: int, primaries: int = BT2020) -> np.ndarray:
    """Convert a photo to sRGB, uint8 [H,W,3].

    Args:
        rgb: uint8 or uint16 codes [H,W,3] of full range.
        transfer: TransferCharacteristics of H.273: PQ, whose brightest pixel is taken to have PEAK
            cd/m2, or HLG.
        primaries: ColourPrimaries of H.273, as in `to_sdr`.
    """
    out = np.empty(rgb.shape, np.uint8)
    for top in range(0, len(rgb), _STRIP):
        codes = rgb[top : top + _STRIP]
        codes = codes if codes.dtype == np.uint16 else codes.astype(np.uint16) * 257
        light = _find_light(codes, transfer, primaries, PEAK)
        curve = np.where(light > 0.0031308, 1.055 * light ** np.float32(1 / 2.4) - 0.055, 12.92 * light)
        out[top : top + _STRIP] = np.rint(255 * curve)
    return out


def to_sdr(rgb: np.ndarray, transfer: int, primaries: int = BT2020, peak: float = PEAK) -> np.ndarray:
    """Convert a frame to BT.709, uint8 [H,W,3].

    Args:
        rgb: uint16 codes [H,W,3] of full range, 0..65535.
        transfer: TransferCharacteristics of H.273.
        primaries: ColourPrimaries of H.273. All except those of BT.709 and P3 are treated as
            BT.2020.
        peak: light of the brightest pixel in cd/m2; used for PQ only.
    """
    return np.rint(_find_light(rgb, transfer, primaries, peak) ** np.float32(1 / 2.4) * 255).astype(np.uint8)
