"""Task that colours gray photos with a network that sees the whole photo at a small size.

The network predicts only the colours; detail comes from the photo. Colours are in CIE Lab: L is the
lightness, a (green to red) and b (blue to yellow) are the colour.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pggan_tf.data import colour, colour_hints, pixels
from pggan_tf.lazy import tf
from pggan_tf.networks import tiles
from pggan_tf.tasks.base import Card, Page, Task
from pggan_tf.tasks.signatures import Input, Signature

COLOUR_USE = "A plausible colouring for the eye. The colours are guesses: no evidence of what was there."

_STRIP = 1 << 20  # pixels of a photo that are converted to floating point at a time
_LONGEST = 32  # limit of the reduced photo's longer side, as a multiple of `size`


def colour_page(tab: str) -> Page:
    """Return the texts for the web page, which both colouring tasks share except for the tab.

    tab: label of the task's tab.
    """
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
    """Task that predicts colour from lightness: CIE Lab a and b in -1..1 from L in 0..1.

    See Isola et al. 2017, section 3. The discriminator sees L, a and b.

    Args:
        hints: also give the generator the colours of some places, see `data.colour_hints`: none to many
            in training, those of the user later.
    """

    name = verb = "colorize"
    config_fields = options = ("hints",)
    input_channels: int | None = 1
    output_channels = 2
    discriminator_sees_image = False
    sees_gray = True
    may_zoom = True
    card = Card("image-to-image", "colours gray photos: it guesses CIE a and b from L", COLOUR_USE)
    page = colour_page("Colorize")

    def __init__(self, hints: bool = False):
        self.hints = hints
        self.input_channels = 1 + colour_hints.CHANNELS if hints else 1

    @classmethod
    def of_network(cls, network):
        """Return the task of a generator, which takes hints if it has an input for them."""
        return cls(network.input_channels > 1)

    def condition(self, images, seed):
        """Return L (CIELAB) of images [N,H,W,3] in -1..1, [N,H,W,1] in 0..1, and random hints.

        With hints, the result has their three channels besides.
        """
        lightness, ab = colour.split_lab(images * 0.5 + 0.5)
        return tf.concat([lightness, colour_hints.reveal(ab, seed)], -1) if self.hints else lightness

    def sample_condition(self, images):
        """Return the condition without a hint: samples and metrics show what it colours alone."""
        return self._without_hints(colour.split_lab(images * 0.5 + 0.5)[0])

    def _without_hints(self, lightness):
        """Return the condition for L [...,1] in 0..1 of which no colour is known."""
        nothing = colour_hints.CHANNELS * [tf.zeros_like(lightness)]
        return tf.concat([lightness, *nothing], -1) if self.hints else lightness

    def target(self, images):
        """Return the colours a and b (CIELAB) of images [N,H,W,3] in -1..1: [N,H,W,2] in -1..1."""
        return colour.split_lab(images * 0.5 + 0.5)[1]

    def discriminator_input(self, condition, output):
        """Return L, a and b in one tensor [N,H,W,3]."""
        return tf.concat([condition[..., :1], output], axis=-1)

    def to_image(self, condition, output):
        return 2 * colour.join_lab(condition[..., :1], output) - 1

    def preview(self, condition, shape):
        """Return gray images with the lightness of the condition, as RGB [N,H,W,3] in -1..1.

        condition: lightness L (CIELAB), [N,H,W,1] in 0..1, and hints.
        shape: not used, because conditions already have the size of the outputs.
        """
        return self.to_image(condition, tf.zeros_like(tf.repeat(condition[..., :1], 2, axis=-1)))

    def encode_photo(self, photo):
        """Return the condition without a hint for a gray photo [..., 1] in 0..1."""
        return self._without_hints(colour.split_lab(tf.concat([photo, photo, photo], axis=-1))[0])

    def describe_output(self, network):
        return "the same picture in RGB"

    def signatures(self, network, pixel_type="uint8", truncation=None):
        """Return the functions of an exported network; with hints, a third one takes them.

        Its hints are an RGBA picture of the same size, opaque where a colour is known.
        """
        out = super().signatures(network, pixel_type, truncation)
        return [*out, self._hints_signature(network, pixel_type, out[0])] if self.hints else out

    def _hints_signature(self, network, pixel_type: str, plain: Signature) -> Signature:
        """Return the signature that takes a gray photo and hints; `plain` is that without hints."""
        side = self.tile_size(network)

        def convert(gray, hints):
            lightness = self.encode_photo(tf.cast(gray, tf.float32) / 255)[..., :1]
            hints = tf.cast(hints, tf.float32) / 255
            known = tf.cast(hints[..., 3:] > 0.5, tf.float32)
            condition = tf.concat([lightness, colour.split_lab(hints[..., :3])[1] * known, known], -1)
            return self.to_image(condition, network(condition))

        def make_example(number, photo):
            hints, rng = np.zeros((side, side, 4), np.uint8), np.random.default_rng(number)
            for y, x in rng.integers(0, side, (number % 6, 2)):
                hints[y : y + 3, x : x + 3] = [*photo[y, x], 255]
            return plain.example(number, photo) | {"hints": hints[None].astype(pixel_type)}

        about = f"RGBA, {side}x{side}, 0..255: colours that are known where it is opaque"
        inputs = plain.inputs | {"hints": Input((1, side, side, 4), pixel_type, about)}
        return Signature(f"{self.name}_hints_{side}", convert, inputs, plain.about, make_example, side)

    def converter(self, network, size=None, check=tiles.accept, wishes=colour_hints.NONE):
        """Return a function (photo, progress) -> photo in colour; both are `photos.Photo`.

        The network predicts colours for a reduced photo, and these are enlarged; detail and bit
        depth are the photo's own. `progress` is never called.

        Args:
            network: a trained generator.
            size: shorter side in pixels of the reduced photo that the network sees (default: the
                resolution of training).
            check: called before every part of a photo; an exception that it raises ends the
                conversion.
            wishes: what the user wants of the colours.
        """
        function = tiles.trace_network(network, self.input_channels, check)
        size = size or network.resolutions[-1]

        def convert(photo, progress=tiles.ignore):
            hints = wishes.make_hints(*photo.size) if self.hints else None
            ab = predict_ab(function, photo, size, hints, wishes.steady)
            return apply_colours(photo, wishes.apply(ab), check)

        return convert


def _reduce_photo(photo, size: tuple[int, int]) -> np.ndarray:
    """Return a photo as uint8 [h,w,3], resized with a Lanczos filter in 8 bits as in training.

    Args:
        photo: `photos.Photo`.
        size: (h, w) of the result in pixels.
    """
    from PIL import Image

    from pggan_tf.data import decoders

    planes = photo.pixels if photo.pixels.dtype == np.uint8 else decoders.to_eight_bits(photo.pixels)
    picture = Image.fromarray(planes.reshape(*photo.size, -1).squeeze(-1) if photo.pixels.shape[2] == 1 else planes)
    return np.asarray(picture.resize(size[::-1], Image.Resampling.LANCZOS).convert("RGB"))


def _choose_network_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Return (height, width) in pixels of the resized photo that the network sees.

    The proportions are kept. The shorter side becomes `size`, or less if the longer side would
    exceed _LONGEST * size.

    Args:
        height: height of the photo in pixels.
        width: width of the photo in pixels.
        size: desired length of the shorter side in pixels.
    """
    factor = min(size / min(height, width), _LONGEST * size / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def predict_ab(
    network: Callable[[np.ndarray], np.ndarray],
    photo,
    size: int,
    hints: Callable | None = None,
    steady: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Return the colours that a network predicts for a photo: a and b, float32 [h,w,2] in -1..1.

    h and w are the size of the reduced photo that the network sees. If its longer side exceeds
    2 * `size`, as in a panorama, the network sees it in overlapping windows with sides of at most
    2 * `size`, because a whole panorama would not resemble the training data.

    Args:
        network: function from L [h,w,1] in 0..1, with hints [h,w,3] if it takes any, to a and b
            [h,w,2], such as `tiles.trace_network` returns.
        photo: `photos.Photo`.
        size: shorter side in pixels of the reduced photo.
        hints: function from (h, w) to the hints [h,w,3]; None for a network that takes none.
        steady: function from L [h,w,1] and colours [h,w,2] to steadier colours; None leaves them.
    """
    height, width = _choose_network_size(*photo.size, size)
    condition, _ = colour.split_lab(pixels.to_unit(_reduce_photo(photo, (height, width))))
    if hints is not None:
        condition = np.concatenate([condition, hints(height, width)], -1)
    steady = steady or (lambda lightness, ab: ab)
    if max(height, width) <= 2 * size:
        return steady(condition[..., :1], network(condition))

    def predict_16_bits(part):
        return np.rint((np.clip(network(part), -1, 1) + 1) * 32767.5).astype(np.uint16)

    ab = tiles.blend_tiles(predict_16_bits, condition, 2 * size, size // 2)
    return steady(condition[..., :1], ab.astype(np.float32) / 32767.5 - 1)


def apply_colours(photo, ab: np.ndarray, check: Callable[[], None]):
    """Return a photo (`photos.Photo`) with new colours and its own lightness at full resolution.

    Args:
        photo: `photos.Photo`.
        ab: CIE a and b, [h,w,2] in -1..1, which are enlarged to the size of the photo.
        check: called before every strip of the photo; an exception that it raises ends the work.
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
