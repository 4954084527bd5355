"""Colours for gray photos, by a network that sees the whole photo at a small size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pggan_tf import tiles
from pggan_tf.data import colour, pixels
from pggan_tf.lazy import tf
from pggan_tf.tasks.base import Card, Page, Task

COLOUR_USE = "A plausible colouring for the eye. The colours are guesses: no evidence of what was there."

_STRIP = 1 << 20  # pixels of a photo that are held in floating point at a time
_LONGEST = 32  # the longer side is at most so many times `size`: a longer strip is reduced further


def colour_page(tab: str) -> Page:
    """Return the texts of the web page that tasks of colouring share."""
    return Page(
        title="Colour for gray photos",
        tab=tab,
        short="Colour",
        instruction="Open a black-and-white photo: the network guesses its colours.",
        tags=("Gray", "Coloured"),
        method="colours",
        longest=1600,
    )


class Colorize(Task):
    """Lightness to colour: L of CIE Lab in 0..1 to a and b in -1..1 (Isola et al. 2017, section 3).

    The discriminator sees all three.
    """

    name = verb = "colorize"
    input_channels, output_channels = 1, 2
    discriminator_sees_image = False
    card = Card("image-to-image", "colours gray photos: it guesses CIE a and b from L", COLOUR_USE)
    page = colour_page("Colorize")

    def condition(self, images, seed):
        """Return L [N,H,W,1] in 0..1."""
        return colour.split_lab(images * 0.5 + 0.5)[0]

    def target(self, images):
        """Return a and b [N,H,W,2] in -1..1."""
        return colour.split_lab(images * 0.5 + 0.5)[1]

    def discriminator_input(self, condition, output):
        """Return L, a and b [N,H,W,3]."""
        return tf.concat([condition, output], axis=-1)

    def to_image(self, condition, output):
        return 2 * colour.join_lab(condition, output) - 1

    def preview(self, condition, size):
        """Return the image without colours."""
        return self.to_image(condition, tf.zeros_like(tf.repeat(condition, 2, axis=-1)))

    def encode_photo(self, photo):
        """Return L of a gray photo."""
        return colour.split_lab(tf.concat([photo, photo, photo], axis=-1))[0]

    def describe_output(self, network):
        return "the same picture in RGB"

    def converter(self, network, size=None, check=tiles.accept):
        """Return a function from (photo, progress) to the photo in colour.

        The network gives colours at its own resolution; detail and bit depth are the photo's own.

        Args:
            network: a trained generator.
            size: pixels of the photo's shorter side that the network sees; by default as many as in
                training.
            check: called before every part of a photo; what it raises ends the conversion.
        """
        function = tiles.trace_network(network, 1, check)
        size = size or network.resolutions[-1]
        # A photo that is reduced to the size of training is soon converted: progress is not told.
        return lambda photo, progress=tiles.ignore: apply_colours(photo, predict_ab(function, photo, size), check)


def _reduce_photo(photo, size: tuple[int, int]) -> np.ndarray:
    """Return a photo as uint8 [h,w,3], reduced in 8 bits by Lanczos as for training."""
    from PIL import Image

    from pggan_tf.data import decoders

    planes = photo.pixels if photo.pixels.dtype == np.uint8 else decoders.to_eight_bits(photo.pixels)
    picture = Image.fromarray(planes.reshape(*photo.size, -1).squeeze(-1) if photo.pixels.shape[2] == 1 else planes)
    return np.asarray(picture.resize(size[::-1], Image.Resampling.LANCZOS).convert("RGB"))


def _choose_network_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Return the photo's proportions as (height, width), the shorter of them `size` pixels."""
    factor = min(size / min(height, width), _LONGEST * size / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def predict_ab(network: Callable[[np.ndarray], np.ndarray], photo, size: int) -> np.ndarray:
    """Return a photo's colours by a network: a and b, float32 [h,w,2] in -1..1, at its resolution.

    A panorama is shown in windows twice as long as they are high: as a whole it would look like
    nothing in the training data.

    Args:
        network: from L [h,w,1] in 0..1 to a and b [h,w,2], such as `tiles.trace_network` returns.
        photo: `photos.Photo`.
        size: pixels of the photo's shorter side that the network sees.
    """
    height, width = _choose_network_size(*photo.size, size)
    lightness, _ = colour.split_lab(pixels.to_unit(_reduce_photo(photo, (height, width))))
    if max(height, width) <= 2 * size:
        return network(lightness)

    def predict_16_bits(part):
        return np.rint((np.clip(network(part), -1, 1) + 1) * 32767.5).astype(np.uint16)

    ab = tiles.blend_tiles(predict_16_bits, lightness, 2 * size, size // 2)
    return ab.astype(np.float32) / 32767.5 - 1


def apply_colours(photo, ab: np.ndarray, check: Callable[[], None]):
    """Return a photo with new colours: its own L at full resolution, with ab enlarged to it.

    Args:
        photo: `photos.Photo`.
        ab: [h,w,2] in -1..1.
        check: called before every strip of the photo.
    """
    height, width = photo.size
    out = np.empty((height, width, 3), photo.pixels.dtype)
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        check()
        bottom = min(top + rows, height)
        lightness, _ = colour.split_lab(pixels.to_unit(photo.rgb()[top:bottom]))
        colours = pixels.resize_rows(ab, photo.size, "bicubic", top, bottom)
        out[top:bottom] = pixels.from_unit(colour.join_lab(lightness, colours), out.dtype)
    return photo.with_pixels(out)
