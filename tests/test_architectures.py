"""The contract of every row of `networks.NETWORKS`, on tiny networks.

A new row is tested without a new test.

A row whose networks take an argument that TINY does not have needs a value for it there.
"""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from export import litert, signatures
from pggan_tf import networks
from pggan_tf.config import FIELDS
from pggan_tf.networks import NETWORKS
from pggan_tf.tasks import TASKS
from tests.conftest import NEEDS_BFLOAT16

BATCH = 4
TINY = {
    "fmap_base": 64,
    "fmap_max": 8,
    "classes": ("cat", "dog"),
    "latent_size": 6,
    "conv": "standard",
    "upsampling": "bilinear",
    "modulation": "latents",
    "minibatch": "stddev",
    "stddev_group": 2,
    "spectral": "down",
    "width": 4,
    "blocks": 2,
    "scale": 2,
    "dropout": 0.5,
    "patch": None,
}
# Values of the same arguments that are tried with batch normalisation.
OTHERWISE = {"classes": (), "conv": "standard", "minibatch": "discrimination", "spectral": "all"}
# Task -> channels of the generator's input, of its output, and of the discriminator's input.
CHANNELS = {
    name: (task.input_channels, task.output_channels or 3, task.discriminator_channels or 3)
    for name, task in TASKS.items()
}
ROWS = [(name, task) for name, row in NETWORKS.items() for task in row.tasks]
GENERATORS = [(name, "generator", norm) for name, row in NETWORKS.items() for norm in row.generator_norms or ("none",)]
DISCRIMINATORS = [
    (name, "discriminator", norm)
    for name, row in NETWORKS.items()
    if row.discriminator_module
    for norm in ("none", "batch")
]


def made(name, role, task=None, dtype="float32", **options):
    """A built network of a row, all of whose weights matter; None if it has no discriminator."""
    row = NETWORKS[name]
    task = task or row.tasks[0]
    inputs, outputs, judged = CHANNELS[task]
    sizes = {"resolutions": (4, 8, 24) if row.grows else (16,), "task": task}
    channels = {"input_channels": inputs, "output_channels": outputs, "discriminator_channels": judged}
    options = {**TINY, **row.defaults, **sizes, **channels, **options}
    missing = {*row.structure} - {*options}
    assert not missing, f"{name} takes {', '.join(missing)}: give a small value in TINY."
    keras.utils.set_random_seed(2)
    make = networks.make_generator if role == "generator" else networks.make_discriminator
    network, rng = make(name, options, dtype), np.random.default_rng(3)
    if network is not None:
        network.build()
        for variable in network.variables:
            change = rng.normal(0, 0.1, variable.shape)
            variable.assign(variable + (np.abs(change) if variable.path.endswith("variance") else change))
    return network


def inputs_of(network, resolution, seed=0):
    """Inputs of a network for `resolution`, float32 [BATCH, ...]."""
    if hasattr(network, "latent_size"):
        shape = (network.latent_size,)
    else:
        side = resolution // getattr(network, "scale", 1)
        shape = (side, side, getattr(network, "input_channels", network.channels))
    return tf.random.stateless_uniform((BATCH, *shape), (seed, resolution), -1, 1)


def passed(network, x, resolution, fade=False, training=False):
    """The outputs of a pass as training makes it, or as a finished network's."""
    own = {"labels": tf.constant([0, 1, 1, 0], tf.int64)} if hasattr(network, "latent_size") and network.classes else {}
    own |= {"seed": tf.constant([1, 2], tf.int64)} if hasattr(network, "input_channels") else {}
    return network(x, resolution=resolution, alpha=0.3 if fade else None, training=training, **own)


def stages(network):
    """(resolution, fade) of every phase of training."""
    return [(r, fade) for i, r in enumerate(network.resolutions) for fade in ((False, True) if i else (False,))]


@pytest.mark.parametrize("name, role, norm", GENERATORS + DISCRIMINATORS)
def test_gradients_reach_every_weight_of_a_stage_and_no_other(name, role, norm):
    network = made(name, role, **{f"{role}_norm": norm}, **(OTHERWISE if norm == "batch" else {}))
    for resolution, fade in stages(network):
        x = inputs_of(network, resolution)
        with tf.GradientTape() as tape:
            y = passed(network, x, resolution, fade, training=True)
            loss = tf.reduce_sum(y * tf.random.stateless_normal(y.shape, (5, 6)))
        gradients = tape.gradient(loss, [v.value for v in network.trainable_variables])
        used = {v.path for v in network.variables_at(resolution, fade)}
        reached = {v.path for v, g in zip(network.trainable_variables, gradients) if g is not None}
        assert reached == used, f"{resolution} px, fade {fade}"
        for variable, gradient in zip(network.trainable_variables, gradients):
            zero = gradient is not None and not np.any(gradient)
            assert not zero, f"{variable.path} at {resolution} px, fade {fade}: all of the gradient is zero"


@pytest.mark.parametrize("dtype", ["float32", pytest.param("mixed_bfloat16", marks=[pytest.mark.slow, NEEDS_BFLOAT16])])
@pytest.mark.parametrize("role", ["generator", "discriminator"])
@pytest.mark.parametrize("name, task", ROWS)
def test_outputs_are_as_promised_and_those_of_the_saved_network(name, task, role, dtype, tmp_path):
    """At every resolution; the copies are made by the config and by a .keras file."""
    network = made(name, role, task, dtype)
    if network is None:
        return
    network.save(tmp_path / "n.keras")
    loaded = keras.saving.load_model(tmp_path / "n.keras", compile=False)
    twin = type(network).from_config(network.get_config())
    twin.build()
    for mine, theirs in zip(twin.variables, network.variables, strict=True):
        mine.assign(theirs)
    assert [v.path for v in network.variables] == [v.path for v in twin.variables] == [v.path for v in loaded.variables]
    assert {v.dtype for v in network.variables} == {"float32"}
    for resolution in network.resolutions:
        x = inputs_of(network, resolution)
        y = passed(network, x, resolution)
        assert y.dtype == tf.float32 and np.isfinite(y).all()
        if role == "generator":
            assert network.task == task and y.shape == (BATCH, resolution, resolution, CHANNELS[task][1])
        elif network.patch_logits:
            assert y.shape == (BATCH, y.shape[1], y.shape[1], 1) and 1 < y.shape[1] < resolution
        else:
            assert y.shape == (BATCH, 1 + len(network.classes))
        for other in (twin, loaded):
            np.testing.assert_array_equal(passed(other, x, resolution), y)


@pytest.mark.parametrize("name, role, norm", DISCRIMINATORS)
def test_a_logit_depends_on_as_many_images_as_it_says(name, role, norm):
    network = made(name, role, discriminator_norm=norm)
    resolution = network.resolutions[-1]
    x = inputs_of(network, resolution)
    other = tf.concat([inputs_of(network, resolution, seed=1)[:1], x[1:]], axis=0)
    before, after = (passed(network, images, resolution, training=True).numpy() for images in (x, other))
    changed = [not np.array_equal(before[i], after[i]) for i in range(BATCH)]
    assert changed == [i < (network.batch_coupling or BATCH) for i in range(BATCH)]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_finalized_generator_is_the_same_in_tflite(name):
    generator = made(name, "generator", classes=(), resolutions=(4, 8) if NETWORKS[name].grows else (8,))
    generator.finalize(inputs_of(generator, 8).numpy())
    (signature,) = signatures.network_signatures(generator)[-1:]  # the smallest stage, or any size
    run = litert.Runner(litert.convert(generator, [signature], "float32"))
    inputs = signature.example(1, np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    expected = signature.function(**{n: tf.constant(v) for n, v in inputs.items()}).numpy().clip(-1, 1)
    assert np.isfinite(expected).all() and expected.std() > 0.01
    np.testing.assert_allclose(run(signature.name, inputs), expected, atol=1e-4)


@pytest.mark.parametrize("name", [name for name, row in NETWORKS.items() if row.discriminator_module])
def test_the_table_knows_whose_weights_are_equalized(name):
    layers = made(name, "discriminator")._flatten_layers(include_self=False)
    assert {layer.gain is not None for layer in layers if hasattr(layer, "gain")} == {NETWORKS[name].equalized}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_table_knows_which_arguments_are_options(name):
    row = NETWORKS[name]
    assert [n for n in row.structure if n in FIELDS] == [*row.options]
    assert {*row.options_of_weights} <= {*FIELDS} and not {"target_res", "resolutions"} & {*row.options_of_weights}


def test_every_class_is_registered_under_a_name_of_its_own():
    modules = [importlib.import_module(f"pggan_tf.networks.{m}") for m in networks.list_modules()]
    public = [c for m in modules for name, c in vars(m).items() if name in ("Generator", "Discriminator")]
    classes = {c for c in public if c.__module__ in {m.__name__ for m in modules}}
    names = [keras.saving.get_registered_name(c) for c in classes]
    assert len(set(names)) == len(names) >= len(networks.list_modules())
    assert all(keras.saving.get_registered_object(name) is not None for name in names)
