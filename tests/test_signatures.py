"""What an exported network offers, of networks whose output is known."""

import types

import numpy as np
import pytest
import tensorflow as tf

from export import signatures
from pggan_tf import synthesis
from pggan_tf.data import colour
from tests import stand_ins

RNG = np.random.default_rng(0)


class Faces:
    """Every pixel is the latent's first numbers times the truncation, plus the label."""

    task, latent_size, resolutions, channels = "generate", 8, (4, 16, 8), 3

    def __init__(self, classes=()):
        self.classes = classes

    def shape_at(self, resolution):
        return resolution, resolution

    def __call__(self, latents, resolution, truncation, labels=None):
        assert (labels is None) == (not self.classes) and (labels is None or labels.dtype == np.int32)
        colours = truncation * latents[:, :3] + tf.cast(0 if labels is None else labels, tf.float32)
        return tf.tile(colours[:, None, None], (1, resolution, resolution, 1))


def inputs(signature):
    return {name: (i.shape, i.dtype, i.about) for name, i in signature.inputs.items()}


LATENTS = ((1, 8), "float32", "numbers from N(0, 1)")
TRUNCATION = ((1,), "float32", "0..1: below 1, less varied and more typical images")


def test_stages_of_a_generator_the_last_first():
    offered = signatures.network_signatures(Faces())
    assert [(s.name, s.about, s.photo, s.oblong) for s in offered] == [
        (f"gen_{r}", f"{r}x{r} image", None, None) for r in (8, 16, 4)
    ]
    z = synthesis.latents([5], 8)
    for signature, r in zip(offered, (8, 16, 4)):
        assert inputs(signature) == {"latents": LATENTS, "truncation": TRUNCATION}
        image = signature.function(latents=z, truncation=np.float32([0.5]))
        np.testing.assert_array_equal(image, np.broadcast_to(z[0, :3] * np.float32(0.5), (1, r, r, 3)))
        for number, truncation in ((4, 1.0), (5, 0.7)):
            example = signature.example(number, None)
            assert example["truncation"] == [np.float32(truncation)] and example["truncation"].dtype == np.float32
            np.testing.assert_array_equal(example["latents"], synthesis.latents([number], 8))
            assert set(example) == {"latents", "truncation"}
    specs = offered[0].specs()
    assert specs == [tf.TensorSpec((1, 8), "float32", "latents"), tf.TensorSpec((1,), "float32", "truncation")]
    assert [s.name for s in specs] == ["latents", "truncation"]


def test_truncation_and_classes_of_a_generator():
    (signature, *_), z = signatures.network_signatures(Faces(), truncation=0.25), synthesis.latents([2], 8)
    assert inputs(signature) == {"latents": LATENTS} and set(signature.example(1, None)) == {"latents"}
    np.testing.assert_array_equal(signature.function(latents=z)[0, 0, 0], z[0, :3] * np.float32(0.25))
    signature = signatures.network_signatures(Faces(("cat", "dog", "cow")))[0]
    assert inputs(signature)["label"] == ((1,), "int32", "class: 0 cat, 1 dog, 2 cow")
    image = signature.function(latents=z, truncation=np.float32([1]), label=np.int32([2]))
    np.testing.assert_array_equal(image[0, 0, 0], z[0, :3] + 2)
    example = signature.example(5, None)
    assert example["label"] == [2] and example["label"].dtype == np.int32


@pytest.mark.parametrize(
    "make, argument, channels, side, about, given, oblong",
    [
        (lambda: stand_ins.Upscaler(scale=2), "photo", 3, 256, "RGB, 2 times as wide and high", "any size", (255, 257)),
        (lambda: stand_ins.Upscaler(scale=4), "photo", 3, 128, "RGB, 4 times as wide and high", "any size", (127, 129)),
        (stand_ins.Recolorer, "gray", 1, 256, "the same picture in RGB", "any size", (255, 257)),
        (stand_ins.Colorizer, "gray", 1, 64, "the same picture in RGB", "sides any multiple of 16", (48, 80)),
        (lambda: types.SimpleNamespace(task="translate", multiple=16, resolutions=(8, 16)), "photo", 3, 16, "RGB", "sides any multiple of 16", (16, 32)),
        (lambda: types.SimpleNamespace(task="upscale", multiple=400, scale=4, input_channels=3), "photo", 3, 800, "RGB, 4 times as wide and high", "sides any multiple of 400", (400, 1200)),
    ],
)  # fmt: skip
def test_signatures_of_networks_of_photos(make, argument, channels, side, about, given, oblong):
    network = make()
    fixed, free = signatures.network_signatures(network)
    kind = {1: "gray", 3: "RGB"}[channels]
    assert inputs(fixed) == {argument: ((1, side, side, channels), "uint8", f"{kind}, {side}x{side}, 0..255")}
    assert inputs(free) == {argument: ((1, None, None, channels), "uint8", f"{kind}, {given}, 0..255")}
    assert (fixed.name, free.name) == (f"{network.task}_{side}", network.task)
    assert (fixed.photo, fixed.oblong, free.photo, free.oblong) == (side, None, side, oblong)
    assert fixed.about == free.about == about
    assert [s.name for s in signatures.network_signatures(network, dynamic=False)] == [fixed.name]
    floats = signatures.network_signatures(network, pixels="float32")[1]
    assert floats.inputs[argument].dtype == "float32"
    photo = RNG.integers(0, 256, (5, 6, 3), np.uint8)
    for signature, dtype in ((free, np.uint8), (floats, np.float32)):
        (made,) = signature.example(3, photo).values()
        truth = photo if channels == 3 else np.rint(colour.to_gray(photo))
        assert made.dtype == dtype and made.shape == (1, 5, 6, channels)
        np.testing.assert_array_equal(made[0], truth)


def test_pixels_go_in_as_they_are_and_come_out_between_minus_one_and_one():
    gray = RNG.integers(0, 256, (1, 16, 16, 1), np.uint8)
    unit = gray / np.float32(255)
    made = signatures.network_signatures(stand_ins.Recolorer())[1].function(gray=gray).numpy()
    np.testing.assert_allclose(made[..., 1:], 2 * np.concatenate([unit / 2, 0 * unit], -1) - 1, atol=1e-6)
    photo = RNG.integers(0, 256, (1, 16, 16, 3), np.uint8)
    network = stand_ins.Translator()
    network.resolutions = (16,)
    made = signatures.network_signatures(network)[0].function(photo=photo).numpy()
    np.testing.assert_allclose(made, 1 - 2 * (photo / 255), atol=1e-6)
    flat = np.full((1, 4, 4, 3), 51, np.uint8)
    made = signatures.network_signatures(stand_ins.Upscaler(scale=2))[1].function(photo=flat).numpy()
    np.testing.assert_allclose(made, np.full((1, 8, 8, 3), -0.6), atol=1e-6)
    network = stand_ins.Colorizer(constant=[0.25, -0.125])
    made = signatures.network_signatures(network)[1].function(gray=np.full((1, 2, 2, 1), 100, np.uint8)).numpy()
    lightness, ab = colour.split_lab(np.float32(made + 1) / 2)
    truth, _ = colour.split_lab(np.full((1, 2, 2, 3), 100 / 255, np.float32))
    np.testing.assert_allclose(lightness, truth, atol=1e-3)
    np.testing.assert_allclose(ab, np.broadcast_to([0.25, -0.125], ab.shape), atol=2e-3)


def test_images_are_rounded_and_clipped():
    values = np.float32([-1.5, -1, -0.5, 0, 0.001, 0.5, 1, 1.5])
    assert signatures.convert_output(values, "uint8").numpy().tolist() == [0, 0, 64, 128, 128, 191, 255, 255]
    assert signatures.convert_output(values, "uint8").dtype == tf.uint8
    assert signatures.convert_output(values, "float32").numpy().tolist() == values.clip(-1, 1).tolist()


def test_what_is_offered_is_described():
    offered = signatures.network_signatures(Faces(("cat",)))[-1:]
    latents, truncation, label = (
        {"shape": shape, "type": kind, "about": about}
        for shape, kind, about in (LATENTS, TRUNCATION, ((1,), "int32", "class: 0 cat"))
    )
    for kind, values in (("uint8", "0..255"), ("float32", "-1..1")):
        assert signatures.describe(offered, kind) == {
            "gen_4": {
                "inputs": {"latents": latents, "truncation": truncation, "label": label},
                "image": f"4x4 image, {kind} {values}",
            }
        }
