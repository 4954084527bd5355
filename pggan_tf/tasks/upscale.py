"""Small images to large ones."""

from __future__ import annotations

import numpy as np

from pggan_tf import tiles
from pggan_tf.data import colour, degradation, pixels, resampling
from pggan_tf.errors import UserError
from pggan_tf.lazy import tf
from pggan_tf.tasks.base import Card, Page, Task

# Pixels a side of the images that the signature of fixed size makes. Browsers work tile by tile: larger
# tiles compute less twice and need more memory, 67 MB for 64 maps of this size.
ENLARGED = 512


class Upscale(Task):
    """Images reduced by `scale`, in 0..1, to the images (SRGAN: Ledig et al. 2017, section 3).

    scale: how many times as large. filter: of the reduction, as in preprocessing. degrade: whether
    the small images are blurred, noisy and compressed besides, as real photos are.
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
        """Return small images [N,H/scale,W/scale,3] in 0..1."""
        x = images * 0.5 + 0.5
        if self.degrade:
            return degradation.degrade(x, self.scale, self.filter, seed)
        x = resampling.resize(x, (images.shape[1] // self.scale, images.shape[2] // self.scale), self.filter)
        return tf.round(tf.clip_by_value(x, 0, 1) * 255) / 255  # the 8 bits of a file

    def target(self, images):
        """Return the images [N,H,W,3] in -1..1."""
        return images

    def to_image(self, condition, output):
        return output

    def preview(self, condition, size):
        """Return the small image with its pixels as squares."""
        return tf.image.resize(condition, (size, size), "nearest") * 2 - 1

    def check_size(self, size):
        if size % self.scale:
            raise UserError(f"--scale {self.scale}: {size} pixels are not a multiple of it. Give another --patch.")

    def describe_output(self, network):
        return f"RGB, {network.scale} times as wide and high"

    def tile_size(self, network):
        return max(2 * getattr(network, "multiple", 1), ENLARGED // network.scale)

    def converter(self, network, size=None, check=tiles.accept):
        """Convert in tiles that share the pixels that the network sees around a point.

        Gray photos stay gray.

        Args:
            network: a trained generator.
            size: pixels a side of a tile. By default 256, or four times `network.context` if that
                is more.
            check: called before every tile; what it raises ends the conversion.

        Raises:
            UserError: a tile that holds no pixel whose surroundings are all in it.
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
    """Return a photo's transparency [h,w,1] as [scale h, scale w, 1], by a bicubic filter."""

    def enlarge_tile(part):
        size = (scale * part.shape[0], scale * part.shape[1])
        values = pixels.resize_rows(part, size, "bicubic", 0, size[0])
        return np.clip(np.rint(values), 0, np.iinfo(part.dtype).max).astype(part.dtype)

    return tiles.join_tiles(enlarge_tile, alpha, 1024, 4, scale)
