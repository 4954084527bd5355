"""Conversions of colour, the same code for NumPy arrays and for TensorFlow tensors (differentiable), of any shape [..., C].

RGB is sRGB in 0..1 (IEC 61966-2-1); Lab is CIE 1976 L*a*b* for illuminant D65 and the 2-degree observer. The constants are
rounded as scikit-image has them, so that figures agree with what others report: of pure white, a is -0.002 and b 0.005.
"""

from __future__ import annotations

import numpy as np

from pggan_tf.lazy import tf

_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))  # BT.709
_RGB = tuple(map(tuple, np.linalg.inv(np.array(_XYZ)).tolist()))
_WHITE = (0.95047, 1.0, 1.08883)  # D65
_BT601 = (0.299, 0.587, 0.114)

AB = 128.0  # what a and b are divided by to lie in -1..1; those of sRGB go from -108 to 99


def _floats(x):
    """The array module of x, and x in float32 (float64 stays)."""
    if isinstance(x, (np.ndarray, np.generic, list, tuple)):
        x = np.asarray(x)
        return np, x if x.dtype == np.float64 else x.astype(np.float32)
    x = tf.convert_to_tensor(x)
    return tf, x if x.dtype == tf.float64 else tf.cast(x, tf.float32)


def _mixed(weights, planes):
    """Sum of weighted planes. Not a matrix product: a GPU would round its factors to TF32, 10 bits."""
    return sum(w * plane for w, plane in zip(weights, planes, strict=True))


def _planes(x):
    return [x[..., i] for i in range(3)]


# In each of the four curves below, the branch that is not taken is kept away from 0, where a power has no finite slope:
# 0 times infinity would make the gradient NaN.


def _linear(xp, c):
    """sRGB 0..1 -> linear light."""
    return xp.where(c > 0.04045, ((xp.maximum(c, 0.04045) + 0.055) / 1.055) ** 2.4, c / 12.92)


def _gamma(xp, c):
    """Linear light -> sRGB."""
    return xp.where(c > 0.0031308, 1.055 * xp.maximum(c, 0.0031308) ** (1 / 2.4) - 0.055, c * 12.92)


def _f(xp, t):
    """CIE 15:2004, eq. 8.3."""
    return xp.where(t > 0.008856, xp.maximum(t, 0.008856) ** (1 / 3), 7.787 * t + 16 / 116)


def _f_inverse(xp, f):
    return xp.where(f > 0.2068966, f**3, (f - 16 / 116) / 7.787)


def rgb_to_lab(rgb):
    """[..., 3] in 0..1 -> [..., 3]: L in 0..100, a and b."""
    xp, rgb = _floats(rgb)
    planes = _planes(_linear(xp, rgb))
    x, y, z = (_f(xp, _mixed(row, planes) / white) for row, white in zip(_XYZ, _WHITE))
    return xp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def lab_to_rgb(lab):
    """[..., 3]: L in 0..100, a and b -> [..., 3], clipped to 0..1 where sRGB has no such colour."""
    xp, lab = _floats(lab)
    lightness, a, b = _planes(lab)
    y = (lightness + 16) / 116
    z = xp.maximum(y - b / 200, 0.0)  # as scikit-image: no colour has less than no blue
    planes = [_f_inverse(xp, f) * white for f, white in zip((y + a / 500, y, z), _WHITE)]
    rgb = xp.stack([_gamma(xp, _mixed(row, planes)) for row in _RGB], -1)
    return xp.minimum(xp.maximum(rgb, 0.0), 1.0)


def split_lab(rgb):
    """[..., 3] in 0..1 -> what colorizers see and make: L / 100 [..., 1] in 0..1, and a, b / 128 [..., 2] in -1..1."""
    lab = rgb_to_lab(rgb)
    return lab[..., :1] / 100.0, lab[..., 1:] / AB


def join_lab(lightness, ab):
    """L / 100 [..., 1] and a, b / 128 [..., 2] -> RGB [..., 3] in 0..1. The inverse of `split_lab`."""
    xp, lightness = _floats(lightness)
    _, ab = _floats(ab)
    return lab_to_rgb((np.concatenate if xp is np else tf.concat)([lightness * 100.0, ab * AB], -1))


def gray(rgb):
    """[..., 3] -> [..., 1], the same range: luma of BT.601, 0.299 R + 0.587 G + 0.114 B."""
    _, rgb = _floats(rgb)
    return _mixed(_BT601, _planes(rgb))[..., None]


def luma(rgb):
    """[..., 3] in 0..1 -> [..., 1] in 16..235: Y of BT.601 in studio range, on which super-resolution is measured."""
    return 16.0 + 219.0 * gray(rgb)
