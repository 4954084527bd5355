"""Task that enlarges images (super-resolution).

The condition, which is the generator's input, is a reduced training image; the target is the
training image itself.
"""

from __future__ import annotations

import numpy as np

from pggan_tf import replicas
from pggan_tf.data import colour, degradation, pixels, resampling, second_order
from pggan_tf.errors import UserError
from pggan_tf.lazy import tf
from pggan_tf.networks import tiles
from pggan_tf.tasks.base import Card, Page, Task

# Side in pixels of the images that an exported network's function of fixed size returns. Browsers
# convert photos tile by tile. With larger tiles, less is computed twice but more memory is needed:
# 67 MB for 64 feature maps of this size.
ENLARGED = 512
UNKNOWN = -1.0  # level of noise, in a condition, of photos whose noise nobody knows
_BLIND = 0.5  # share of the training images whose level of noise is not told


class Upscale(Task):
    """Task that restores images from small versions of them (SRGAN: Ledig et al. 2017, section 3).

    Conditions are in 0..1, outputs in -1..1.

    Args:
        scale: factor by which width and height grow.
        filter: name of the filter that reduces the images, one of `data.pixels.FILTERS`.
        degrade: how often the small images are also blurred, made noisy and compressed, as happens
            to real photos: none, once or twice.
        degrade_strength: factor of the ranges of `twice`.
        denoise: also give the generator a map with the level of the noise that was added, 0..1 (1: a
            standard deviation of `degradation.LEVEL`), or UNKNOWN for half of the images.
    """

    name = verb = "upscale"
    options = ("degrade", "degrade_strength", "denoise")
    config_fields = ("scale", "filter", *options)
    input_channels: int | None = 3
    rgb_output = True
    card = Card(
        "image-to-image",
        "enlarges photos and invents the detail that they lack",
        "Pleasing enlargements. Detail is invented: not for faces to be recognised, signs to be read, or medicine.",
    )
    page = Page(
        title="Larger photos",
        tab="Upscale",
        short="Enlarge",
        instruction="Open a small photo: the network enlarges it and invents the detail.",
        tags=("Small", "Enlarged"),
        method="tiles",
    )

    def __init__(
        self,
        scale: int = 4,
        filter: str = "lanczos",
        degrade: str = "none",
        degrade_strength: float = 1.0,
        denoise: bool = False,
    ):
        self.scale, self.filter, self.degrade = scale, filter, degrade
        self.degrade_strength, self.denoise = degrade_strength, denoise
        self.input_channels = 4 if denoise else 3

    @classmethod
    def of_network(cls, network):
        """Return the task of a generator, which takes a level of noise if it has an input for it."""
        return cls(denoise=network.input_channels > 3)

    def condition(self, images, seed):
        """Return the images reduced by `scale`, [N,H/scale,W/scale,3] in 0..1.

        With `denoise`, the result has a fourth channel with the level of noise.
        """
        low, level = self._reduce(images * 0.5 + 0.5, seed)
        if not self.denoise:
            return low
        n = images.shape[0] or tf.shape(images)[0]
        blind = replicas.uniform((n, 1, 1, 1), replicas.seed_for(seed, 26)) < _BLIND
        return _add_level(low, tf.where(blind, UNKNOWN, level[:, None, None, None]))

    def sample_condition(self, images):
        """Return the condition without a level: samples and metrics show what it does alone."""
        return self.encode_photo(self._reduce(images * 0.5 + 0.5, tf.zeros([2], tf.int64))[0])

    def encode_photo(self, photo):
        """Return the condition of a photo [...,3] in 0..1 whose noise is not known."""
        return _add_level(photo, UNKNOWN) if self.denoise else photo

    def _reduce(self, x, seed):
        """Return (images [N,H,W,3] in 0..1 reduced by `scale`, level of their noise [N] or None)."""
        if self.degrade == "twice":
            return second_order.degrade(x, self.scale, self.filter, seed, self.degrade_strength)
        if self.degrade == "once":
            return degradation.degrade_once(x, self.scale, self.filter, seed)
        size = x.shape[1] // self.scale, x.shape[2] // self.scale
        x = resampling.resize(x, size, self.filter)
        return tf.round(tf.clip_by_value(x, 0, 1) * 255) / 255, None  # rounded to 8 bits, as in a file

    def target(self, images):
        """Return the images [N,H,W,3] in -1..1 unchanged."""
        return images

    def to_image(self, condition, output):
        return output

    def preview(self, condition, shape):
        """Return the small images, enlarged with nearest-neighbour interpolation.

        The result is [N,H,W,3] in -1..1; `shape` is (H, W) in pixels.
        """
        return tf.image.resize(condition[..., :3], shape, "nearest") * 2 - 1

    def check_size(self, size):
        """Raise UserError if `size` in pixels is not a multiple of the scale."""
        if size % self.scale:
            raise UserError(f"--scale {self.scale}: {size} pixels are not a multiple of it. Give another --patch.")

    def describe_output(self, network):
        return f"RGB, {network.scale} times as wide and high"

    def tile_size(self, network):
        """Return the side in pixels of small photos whose enlargements have the side ENLARGED."""
        return max(2 * network.multiple, ENLARGED // network.scale)

    def converter(self, network, size=None, check=tiles.accept, denoise: float | None = None):
        """Return a function (photo, progress) -> enlarged photo; both are `photos.Photo`.

        Photos are converted in tiles that overlap, so that each tile includes `network.context`
        pixels around the part that is used: the distance up to which the network's output depends
        on its input. Gray photos stay gray. `progress` is called with (tiles done, tiles in all).

        Args:
            network: a trained generator.
            size: side of a tile in pixels (default: 256, or 4 * `network.context` if that is more).
            check: called before every tile; an exception that it raises ends the conversion.
            denoise: level of noise that the network is told, 0..1; None: it finds out itself. Other
                networks than those with `denoise` take none.

        Raises:
            UserError: if `size` is so small that no pixel of a tile has its whole context inside
                the tile.
        """
        function = tiles.trace_network(network, self.input_channels, check)
        if size and size <= 2 * network.context:
            raise UserError(
                f"--tile {size}: too small, as the network looks {network.context} pixels around. Expected more than "
                f"{2 * network.context}; {4 * network.context} and more waste less work."
            )
        tile = size or max(256, 4 * network.context)

        def convert_tile(part):  # uint [h,w,1|3]
            low = np.broadcast_to(pixels.to_unit(part), (*part.shape[:2], 3))
            if self.denoise:
                level = np.full((*part.shape[:2], 1), UNKNOWN if denoise is None else denoise, np.float32)
                low = np.concatenate([low, level], -1)
            high = (function(low) + 1) / 2
            return pixels.from_unit(colour.to_gray(high) if part.shape[2] == 1 else high, part.dtype)

        def convert(photo, progress=tiles.ignore):
            high = tiles.join_tiles(convert_tile, photo.pixels, tile, network.context, network.scale, progress)
            return photo.with_pixels(high, None if photo.alpha is None else enlarge_alpha(photo.alpha, network.scale))

        return convert


def _add_level(low, level):
    """Return images [...,3] with a channel that holds the level of their noise everywhere."""
    return tf.concat([low, tf.zeros_like(low[..., :1]) + level], -1)


def enlarge_alpha(alpha: np.ndarray, scale: int) -> np.ndarray:
    """Return a photo's alpha channel [h,w,1] enlarged to [scale h, scale w, 1], bicubic.

    The result has the dtype of `alpha`, uint8 or uint16.
    """

    def enlarge_tile(part):
        size = (scale * part.shape[0], scale * part.shape[1])
        values = pixels.resize_rows(part, size, "bicubic", 0, size[0])
        return np.clip(np.rint(values), 0, np.iinfo(part.dtype).max).astype(part.dtype)

    return tiles.join_tiles(enlarge_tile, alpha, 1024, 4, scale)
