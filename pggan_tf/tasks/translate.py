"""Task that translates images of one kind into another kind, learned from pairs of images."""

from __future__ import annotations

from pggan_tf.lazy import tf
from pggan_tf.tasks.base import Card, Page, Task


class Translate(Task):
    """Task that translates one image into another, as in pix2pix (Isola et al. 2017).

    The training data has six channels, a pair of RGB images: the first three are the condition (the
    generator's input), the last three are the target (the desired output).

    Args:
        reverse: use the second image of each pair as the condition and the first one as the target.
    """

    name = verb = "translate"
    config_fields = options = ("reverse",)
    may_zoom = True
    served = False
    input_channels, discriminator_channels, data_channels = 3, 6, 6
    rgb_output = True
    discriminator_sees_image = False
    card = Card("image-to-image", "turns photos of one kind into another", "Illustration. What it adds is invented.")
    page = Page(
        title="Photos turned into others",
        tab="Translate",
        short="Translate",
        instruction="Open a photo: the network turns its middle into another kind.",
    )

    def __init__(self, reverse: bool = False):
        self.reverse = reverse
        self.originals_key = "/reverse" if reverse else ""

    def select_inputs(self, images):
        """Return the condition image of each pair, [N,H,W,3], of images [N,H,W,6]."""
        return images[..., 3:] if self.reverse else images[..., :3]

    def select_originals(self, images):
        """Return the target image of each pair, [N,H,W,3], of images [N,H,W,6]."""
        return images[..., :3] if self.reverse else images[..., 3:]

    def condition(self, images, seed):
        """Return the condition image of each pair, [N,H,W,3] in -1..1."""
        return self.select_inputs(images)

    def target(self, images):
        """Return the target image of each pair, [N,H,W,3] in -1..1."""
        return self.select_originals(images)

    def discriminator_input(self, condition, output):
        """Return condition and output in one tensor [N,H,W,6]."""
        return tf.concat([condition, output], axis=-1)

    def to_image(self, condition, output):
        return output

    def preview(self, condition, shape):
        """Return the conditions, which are RGB images already."""
        return condition

    def encode_photo(self, photo):
        """Return a photo in 0..1 scaled to -1..1."""
        return 2 * photo - 1
