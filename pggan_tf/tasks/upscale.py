"""Task that enlarges images (super-resolution).

The condition, which is the generator's input, is a reduced training image; the target is the
training image itself.
"""

from __future__ import annotations

import numpy as np

from pggan_tf import tiles
from pggan_tf.data import colour, degradation, pixels, resampling
from pggan_tf.errors import UserError
from pggan_tf.lazy import tf
from pggan_tf.tasks.base import Card, Page, Task

# Side in pixels of the images that an exported network's function of fixed size returns. Browsers
# convert photos tile by tile. With larger tiles, less is computed twice but more memory is needed:
# 67 MB for 64 feature maps of this size.
ENLARGED = 512


class Upscale(Task):
    """Task that restores images from small versions of them (SRGAN: Ledig et al. 2017, section 3).

    Conditions are in 0..1, outputs in -1..1.

    Args:
        scale: factor by which width and height grow.
        filter: name of the filter that reduces the images, one of `data.pixels.FILTERS`.
        degrade: also blur the small images, add noise and compress them, as happens to real photos.
    """

    name = verb = "upscale"
    config_fields, options = ("scale", "filter", "degrade"), ("degrade",)
    input_channels = 3
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

    def __init__(self, scale: int = 4, filter: str = "lanczos", degrade: bool = False):
        self.scale, self.filter, self.degrade = scale, filter, degrade

    def condition(self, images, seed):
        """Return the images reduced by `scale`, [N,H/scale,W/scale,3] in 0..1."""
        x = images * 0.5 + 0.5
        if self.degrade:
            return degradation.degrade(x, self.scale, self.filter, seed)
        x = resampling.resize(x, (images.shape[1] // self.scale, images.shape[2] // self.scale), self.filter)
        return tf.round(tf.clip_by_value(x, 0, 1) * 255) / 255  # rounded to 8 bits, as in a file

    def target(self, images):
        """Return the images [N,H,W,3] in -1..1 unchanged."""
        return images

    def to_image(self, condition, output):
        return output

    def preview(self, condition, shape):
        """Return the small images, enlarged with nearest-neighbour interpolation.

        The result is [N,H,W,3] in -1..1; `shape` is (H, W) in pixels.
        """
        return tf.image.resize(condition, shape, "nearest") * 2 - 1

    def check_size(self, size):
        """Raise UserError if `size` in pixels is not a multiple of the scale."""
        if size % self.scale:
            raise UserError(f"--scale {self.scale}: {size} pixels are not a multiple of it. Give another --patch.")

    def describe_output(self, network):
        return f"RGB, {network.scale} times as wide and high"

    def tile_size(self, network):
        """Return the side in pixels of small photos whose enlargements have the side ENLARGED."""
        return max(2 * network.multiple, ENLARGED // network.scale)

    def converter(self, network, size=None, check=tiles.accept):
        """Return a function (photo, progress) -> enlarged photo; both are `photos.Photo`.

        Photos are converted in tiles that overlap, so that each tile includes `network.context`
        pixels around the part that is used: the distance up to which the network's output depends
        on its input. Gray photos stay gray. `progress` is called with (tiles done, tiles in all).

        Args:
            network: a trained generator.
            size: side of a tile in pixels (default: 256, or 4 * `network.context` if that is more).
            check: called before every tile; an exception that it raises ends the conversion.

        Raises:
            UserError: if `size` is so small that no pixel of a tile has its whole context inside
                the tile.
        """
        function = tiles.trace_network(network, 3, check)
        if size and size <= 2 * network.context:
            raise UserError(
                f"--tile {size}: too small, as the network looks {network.context} pixels around. Expected more than "
                f"{2 * network.context}; {4 * network.context} and more waste less work."
            )
        tile = size or max(256, 4 * network.context)

        def convert_tile(part):  # uint [h,w,1|3]
            low = np.broadcast_to(pixels.to_unit(part), (*part.shape[:2], 3))
            high = (function(low) + 1) / 2
            return pixels.from_unit(colour.to_gray(high) if part.shape[2] == 1 else high, part.dtype)

        def convert(photo, progress=tiles.ignore):
            high = tiles.join_tiles(convert_tile, photo.pixels, tile, network.context, network.scale, progress)
            return photo.with_pixels(high, None if photo.alpha is None else enlarge_alpha(photo.alpha, network.scale))

        return convert


def enlarge_alpha(alpha: np.ndarray, scale: int) -> np.ndarray:
    """Return a photo's alpha channel [h,w,1] enlarged to [scale h, scale w, 1], bicubic.

    The result has the dtype of `alpha`, uint8 or uint16.
    """

    def enlarge_tile(part):
        size = (scale * part.shape[0], scale * part.shape[1])
        values = pixels.resize_rows(part, size, "bicubic", 0, size[0])
        return np.clip(np.rint(values), 0, np.iinfo(part.dtype).max).astype(part.dtype)

    return tiles.join_tiles(enlarge_tile, alpha, 1024, 4, scale)
