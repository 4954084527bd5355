"""Convert arrays of colours, of any shape [..., C], between RGB, Lab, gray and luma.

Functions accept NumPy arrays and TensorFlow tensors; with tensors they are differentiable. RGB is
sRGB in 0..1 (IEC 61966-2-1); Lab is CIE 1976 L*a*b* for illuminant D65 and the 2-degree observer.
The constants are rounded as in scikit-image, so that metrics are comparable with published ones:
pure white has a = -0.002 and b = 0.005.

In private functions, `xp` is the array module, np or tf, and a plane is an array [...] of one
channel.
"""

from __future__ import annotations

import numpy as np

from pggan_tf.lazy import tf

# From linear RGB (primaries of BT.709) to XYZ.
_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_RGB = tuple(map(tuple, np.linalg.inv(np.array(_XYZ)).tolist()))
_WHITE = (0.95047, 1.0, 1.08883)  # XYZ of D65
_BT601 = (0.299, 0.587, 0.114)

AB = 128.0  # a and b are divided by this to lie in -1..1; in sRGB they range from -108 to 99


def _to_floats(x):
    """Convert x to floats and return (np, NumPy array) or (tf, tensor).

    The array is float64 if x is float64, otherwise float32. Tensors stay tensors; everything else
    becomes a NumPy array.
    """
    if isinstance(x, (np.ndarray, np.generic, list, tuple)):
        x = np.asarray(x)
        return np, x if x.dtype == np.float64 else x.astype(np.float32)
    x = tf.convert_to_tensor(x)
    return tf, x if x.dtype == tf.float64 else tf.cast(x, tf.float32)


def _mix(weights, planes):
    """Return the weighted sum [...] of planes, with one weight for each plane.

    A matrix product is not used because GPUs round its factors to 10 bits (TF32).
    """
    return sum(w * plane for w, plane in zip(weights, planes, strict=True))


def _split(x):
    """Return the three planes of x [..., 3] as a list."""
    return [x[..., i] for i in range(3)]


# In the functions below, the argument of the branch that `where` does not choose is kept away from
# 0, where the slope of a power is infinite. Otherwise the gradient would be 0 times infinity, NaN.


def _to_linear(xp, c):
    """Convert gamma-encoded sRGB values in 0..1 to linear values in 0..1."""
    return xp.where(c > 0.04045, ((xp.maximum(c, 0.04045) + 0.055) / 1.055) ** 2.4, c / 12.92)


def _to_srgb(xp, c):
    """Convert linear values in 0..1 to gamma-encoded sRGB values in 0..1."""
    return xp.where(c > 0.0031308, 1.055 * xp.maximum(c, 0.0031308) ** (1 / 2.4) - 0.055, c * 12.92)


def _f(xp, t):
    """Compute the function f of CIE 15:2004, equation 8.3, of every element of t.

    L, a and b are linear combinations of f(X), f(Y) and f(Z), relative to white.
    """
    return xp.where(t > 0.008856, xp.maximum(t, 0.008856) ** (1 / 3), 7.787 * t + 16 / 116)


def _f_inverse(xp, f):
    """Compute the inverse of `_f` of every element of f."""
    return xp.where(f > 0.2068966, f**3, (f - 16 / 116) / 7.787)


def rgb_to_lab(rgb):
    """Convert RGB [..., 3] in 0..1 to Lab [..., 3]: L in 0..100, a and b in about -108..99."""
    xp, rgb = _to_floats(rgb)
    planes = _split(_to_linear(xp, rgb))
    x, y, z = (_f(xp, _mix(row, planes) / white) for row, white in zip(_XYZ, _WHITE))
    return xp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def lab_to_rgb(lab):
    """Convert Lab [..., 3] (L in 0..100, a, b) to RGB [..., 3] in 0..1.

    Colours outside of the sRGB gamut are clipped.
    """
    xp, lab = _to_floats(lab)
    lightness, a, b = _split(lab)
    y = (lightness + 16) / 116
    z = xp.maximum(y - b / 200, 0.0)  # as in scikit-image: blue is never negative
    planes = [_f_inverse(xp, f) * white for f, white in zip((y + a / 500, y, z), _WHITE)]
    rgb = xp.stack([_to_srgb(xp, _mix(row, planes)) for row in _RGB], -1)
    return xp.minimum(xp.maximum(rgb, 0.0), 1.0)


def split_lab(rgb):
    """Split RGB [..., 3] in 0..1 into the input and the output of colorization networks.

    Returns:
        (input: L / 100, [..., 1] in 0..1; output: a / 128 and b / 128, [..., 2] in -1..1).
    """
    lab = rgb_to_lab(rgb)
    return lab[..., :1] / 100.0, lab[..., 1:] / AB


def join_lab(lightness, ab):
    """Convert the input and output of colorization networks to RGB [..., 3] in 0..1.

    This is the inverse of `split_lab`.

    Args:
        lightness: L / 100, [..., 1] in 0..1.
        ab: a / 128 and b / 128, [..., 2] in -1..1.
    """
    xp, lightness = _to_floats(lightness)
    _, ab = _to_floats(ab)
    return lab_to_rgb((np.concatenate if xp is np else tf.concat)([lightness * 100.0, ab * AB], -1))


def to_gray(rgb):
    """Convert RGB [..., 3] to gray [..., 1] in the same range.

    Gray is the luma of BT.601, 0.299 R + 0.587 G + 0.114 B.
    """
    _, rgb = _to_floats(rgb)
    return _mix(_BT601, _split(rgb))[..., None]


def to_luma(rgb):
    """Convert RGB [..., 3] in 0..1 to luma of BT.601 (Y), floats [..., 1] in studio range, 16..235.

    Metrics of super-resolution are computed on this channel.
    """
    return 16.0 + 219.0 * to_gray(rgb)
