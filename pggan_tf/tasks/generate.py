"""Task that generates images from latents, which are vectors of random numbers from N(0, 1)."""

from __future__ import annotations

import numpy as np

from pggan_tf.data import marks, transparency
from pggan_tf.networks import tiles
from pggan_tf.networks.latents import latents
from pggan_tf.tasks.base import Card, Page, Task
from pggan_tf.tasks.signatures import Input, Signature


class Generate(Task):
    """Task that generates images from latents.

    The training step draws the latents. The real samples for the discriminator are the training
    images themselves.
    """

    name = verb = "generate"
    from_images = False
    source_type = marks.GENERATED
    output_channels = discriminator_channels = None
    card = Card(
        "unconditional-image-generation",
        "makes pictures out of random numbers",
        "Play, teaching, placeholders, studies of how such networks learn. Nobody in the pictures exists.",
    )
    page = Page(title="{0}s that do not exist", tab="{0}s", short="{0}s")

    def condition(self, images, seed):
        """Raise TypeError: the generator's input is random and does not depend on images."""
        raise TypeError("latents do not follow from images")

    def target(self, images):
        """Return the images, which are the real samples for the discriminator."""
        return images

    def to_image(self, condition, output):
        return output

    def preview(self, condition, shape):
        """Raise TypeError: latents are not images."""
        raise TypeError("latents cannot be shown")

    def signatures(self, network, pixel_type="uint8", truncation=None):
        """Return a signature (exported function) gen_R for every resolution R, the highest first.

        All signatures share the weights. `pixel_type` is not used, because no photo goes in.
        """
        inputs = {"latents": Input((1, network.latent_size), "float32", "numbers from N(0, 1)")}
        if truncation is None:
            inputs["truncation"] = Input((1,), "float32", "0..1: below 1, less varied and more typical images")
        if network.classes:
            classes = ", ".join(f"{i} {c}" for i, c in enumerate(network.classes))
            inputs["label"] = Input((1,), "int32", f"class: {classes}")

        def make_example(number, _photo):
            """Return an array for each input; the latents have the seed `number`."""
            values = {"latents": latents([number], network.latent_size)}
            if truncation is None:
                values["truncation"] = np.array([(1.0, 0.7)[number % 2]], np.float32)
            if network.classes:
                values["label"] = np.array([number % len(network.classes)], np.int32)
            return values

        def function_at(resolution):
            def generate(latents, truncation=truncation, label=None):
                # Labels stay int32: phones' GPUs take no int64.
                labels = {"labels": label} if network.classes else {}
                image = network(latents, resolution=resolution, truncation=truncation, **labels)
                return transparency.to_straight(image) if transparency.has_alpha(network.channels) else image

            return generate

        stages = network.resolutions[::-1]

        def describe(resolution):
            height, width = network.shape_at(resolution)
            alpha = transparency.has_alpha(network.channels)
            return f"{width}x{height} image{' with straight alpha in its last channel' if alpha else ''}"

        return [Signature(f"gen_{r}", function_at(r), inputs, describe(r), make_example) for r in stages]

    def converter(self, network, size=None, check=tiles.accept):
        """Raise TypeError: the generator takes no photos."""
        raise TypeError("a generator of latents converts no photos")

    def sample_code(self, network):
        """Return (lines of imports, other lines) of Python code that generates a grid of images."""
        return ["from pggan_tf import synthesis", "from pggan_tf.data import pixels"], [
            "z = synthesis.latents(range(16), network.latent_size)",
            f'pixels.save_grid("grid.png", synthesis.Sampler(network).images(z, {network.resolutions[-1]}))',
        ]
