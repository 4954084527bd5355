"""Task that colours gray photos with a network that sees the neighbourhood of each pixel.

The radius of this neighbourhood in pixels is `network.context`.
"""

from __future__ import annotations

from pggan_tf.data import colour, pixels
from pggan_tf.lazy import tf
from pggan_tf.networks import tiles
from pggan_tf.tasks.base import Card, Task
from pggan_tf.tasks.colorize import COLOUR_USE, colour_page

TILE = 256  # side in pixels of the photos that the signature of fixed size takes


class Recolor(Task):
    """Task that predicts RGB in 0..1 from gray in 0..1 (luma of BT.601)."""

    name, verb = "recolor", "colorize"
    input_channels = 1
    sees_gray = True
    may_zoom = True
    card = Card("image-to-image", "colours gray photos", COLOUR_USE)
    page = colour_page("Recolor")

    def condition(self, images, seed):
        """Return the luma (gray value) of images [N,H,W,3] in -1..1: [N,H,W,1] in 0..1."""
        return colour.to_gray(images * 0.5 + 0.5)

    def target(self, images):
        """Convert images [N,H,W,3] from -1..1 to 0..1, the range of the generator's output."""
        return images * 0.5 + 0.5

    def to_image(self, condition, output):
        return 2 * output - 1

    def preview(self, condition, shape):
        """Return the gray images as RGB [N,H,W,3] in -1..1.

        condition: luma of the images, [N,H,W,1] in 0..1.
        shape: not used, because conditions already have the size of the outputs.
        """
        return tf.repeat(condition, 3, axis=-1) * 2 - 1

    def describe_output(self, network):
        return "the same picture in RGB"

    def tile_size(self, network):
        return TILE

    def converter(self, network, size=None, check=tiles.accept):
        """Return a function (photo, progress) -> photo in colour; both are `photos.Photo`.

        Photos are converted in tiles that overlap, so that each tile includes `network.context`
        pixels around the part that is used.

        Args:
            network: a trained generator.
            size: side of a tile in pixels (default: 256, or 4 * `network.context` if that is more).
            check: called before every tile; an exception that it raises ends the conversion.
        """
        function = tiles.trace_network(network, 1, check)

        def convert_tile(part):
            return pixels.from_unit(function(colour.to_gray(pixels.to_unit(part))), part.dtype)

        tile = size or max(256, 4 * network.context)
        return lambda photo, progress=tiles.ignore: photo.with_pixels(
            tiles.join_tiles(convert_tile, photo.rgb(), tile, network.context, progress=progress)
        )
