"""Transparency: images with 2 channels (gray, alpha) or 4 (RGB, alpha).

Alpha is 0 where an image is transparent and 255 where it is opaque. There are two forms. In files,
and wherever images are handed to a user, alpha is *straight*: colours are those of the opaque
image. Shards and networks hold *premultiplied* images, whose colours were multiplied with alpha: a
transparent pixel is 0 in all channels, whatever colour its file has there. Premultiplied images can
be averaged, resized and moved without a seam of such invisible colours along edges.

Functions for arrays uint8 return images with 1, 3 or 6 channels unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pggan_tf.lazy import tf

if TYPE_CHECKING:
    from pggan_tf.data.photos import Photo

CHANNELS = (2, 4)  # numbers of channels of images with alpha
# Behind images that are measured, or written in formats without alpha: white, because photos are
# blended with white if they are read without their transparency. So the metrics of a run with alpha
# compare with those of a run without it on the same photos.
BACKGROUND = 255
_SQUARE, _LIGHT, _DARK = 8, 255, 204  # side in pixels and gray values of a checkerboard
_LEAST = 1 / 255  # smallest alpha that a colour is divided by


def has_alpha(channels: int) -> bool:
    """Return whether images with this number of channels have an alpha channel, the last one."""
    return channels in CHANNELS


def count_colours(channels: int) -> int:
    """Return the number of channels without alpha."""
    return channels - has_alpha(channels)


def premultiply(images: np.ndarray) -> np.ndarray:
    """Convert straight images uint8 [..., C] to premultiplied ones: round(colour * alpha / 255)."""
    if not has_alpha(images.shape[-1]):
        return images
    # colour * alpha / 255 is never halfway between two whole numbers, since 255 is odd.
    out = images.astype(np.uint16)
    out[..., :-1] = (out[..., :-1] * out[..., -1:] + 127) // 255
    return out.astype(np.uint8)


def unpremultiply(images: np.ndarray) -> np.ndarray:
    """Convert premultiplied images uint8 [..., C] to straight ones: 255 * colour / alpha, rounded.

    Colours above alpha, which no image can have, count as alpha. Where alpha is 0, colours are 0.
    For every premultiplied image without such colours, `premultiply` of the result is the image.
    """
    if not has_alpha(images.shape[-1]):
        return images
    opacity = images[..., -1:].astype(np.uint32)
    colour = np.minimum(images[..., :-1], opacity)
    out = images.copy()
    out[..., :-1] = (510 * colour + opacity) // np.maximum(2 * opacity, 1)
    return out


def clip_overshoot(image: np.ndarray) -> np.ndarray:
    """Convert a resized premultiplied image to uint8, with no colour above alpha.

    Where a filter such as Lanczos gives alpha above 255, all channels are scaled down together.

    image: float [..., 2 or 4], about 0..255.
    """
    opacity = image[..., -1:]
    scaled = image * (255 / np.maximum(opacity, 255))
    return np.rint(np.clip(scaled, 0, np.clip(opacity, 0, 255))).astype(np.uint8)


def flatten(images: np.ndarray, premultiplied: bool = False, background: np.ndarray | int = BACKGROUND) -> np.ndarray:
    """Blend images uint8 [..., H, W, C] with a background, and return them without alpha.

    Values are colour * alpha / 255 + background * (255 - alpha) / 255, both terms rounded.

    Args:
        images: the images.
        premultiplied: whether they are premultiplied, else straight.
        background: gray value 0..255, or one for every pixel, [H, W, 1].
    """
    if not has_alpha(images.shape[-1]):
        return images
    images = images if premultiplied else premultiply(images)
    behind = ((255 - images[..., -1:].astype(np.uint16)) * np.uint16(background) + 127) // 255
    return np.minimum(images[..., :-1] + behind, 255).astype(np.uint8)


def draw_on_checkerboard(images: np.ndarray) -> np.ndarray:
    """Show straight images uint8 [..., H, W, C] on a checkerboard, and return them without alpha."""
    height, width, channels = images.shape[-3:]
    if not has_alpha(channels):
        return images
    rows, columns = np.arange(height)[:, None] // _SQUARE, np.arange(width)[None] // _SQUARE
    board = np.where((rows + columns) % 2, _DARK, _LIGHT)[..., None]
    return flatten(images, background=board)


def clear_hidden(images: np.ndarray) -> np.ndarray:
    """Return straight images uint8 [..., C] with colours of 0 where alpha is 0."""
    return np.where(images[..., -1:] > 0, images, 0) if has_alpha(images.shape[-1]) else images


def invert(images: np.ndarray) -> np.ndarray:
    """Return the negatives of images uint8 [..., C]; alpha stays."""
    out = 255 - images
    if has_alpha(images.shape[-1]):
        out[..., -1:] = images[..., -1:]
    return out


def to_straight(x):
    """Convert premultiplied images with alpha, as a generator returns them, to straight ones.

    In 0..1, the colour is clipped to 0..alpha and divided by alpha; by 1/255 where alpha is less.

    Args:
        x: float tensor [..., 2 or 4] in about -1..1.

    Returns:
        Tensor of the same shape, in -1..1.
    """
    unit = tf.clip_by_value(0.5 * x + 0.5, 0.0, 1.0)
    colour, opacity = unit[..., :-1], unit[..., -1:]
    straight = tf.minimum(colour, opacity) / tf.maximum(opacity, _LEAST)
    return 2.0 * tf.concat([straight, opacity], -1) - 1.0


def to_pixels(x: np.ndarray) -> np.ndarray:
    """Convert premultiplied images with alpha, as a generator returns them, to straight uint8.

    See `to_straight`; but where alpha is 0, so are the colours.

    x: float array [..., 2 or 4] in about -1..1.
    """
    unit = np.clip(np.asarray(x, np.float32) * np.float32(0.5) + np.float32(0.5), 0, 1)
    opacity = unit[..., -1:]
    straight = np.minimum(unit[..., :-1], opacity) / np.maximum(opacity, np.float32(_LEAST))
    return clear_hidden(np.rint(np.concatenate([straight, opacity], -1) * np.float32(255)).astype(np.uint8))


def read_photo(photo: Photo) -> np.ndarray | None:
    """Return the pixels of a photo, to compare them with others; None if they have 16 bits.

    They are uint8 [H, W, 3], or with transparency [H, W, 4], premultiplied.
    """
    if photo.pixels.dtype != np.uint8:
        return None
    if photo.alpha is None or photo.alpha.min() == 255:
        return photo.rgb()
    return premultiply(np.concatenate([photo.rgb(), photo.alpha], axis=-1))


def match(image: np.ndarray, channels: int) -> np.ndarray:
    """Return a straight image uint8 [H, W, C] in the form of pixels that `read_photo` returned.

    channels: number of channels of these pixels. Without alpha, they are of an opaque image, or one
        that was written on white.
    """
    if channels != 4 or not has_alpha(image.shape[-1]):
        return flatten(image)
    return premultiply(image[..., [0, 0, 0, 1]] if image.shape[-1] == 2 else image)
