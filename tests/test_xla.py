"""The step as GPUs run it, compiled by XLA: on this CPU, it is the same step."""

import numpy as np
import pytest
import tensorflow as tf

from pggan_tf import schedule
from pggan_tf.config import Config, resolve
from pggan_tf.data import resampling
from pggan_tf.training import compiled, distribution, execution, precision

SMALL = {"target_res": 8, "fmap_base": 64, "fmap_max": 12, "latent_size": 8, "batch": {4: 8}, "precision": "float32"}
IMAGES = {"loss": "nonsaturating", "target_res": 16, "width": 4}


def trained(plan, xla):
    resolution, steps = plan.target_res, plan.config.objective.critic_steps
    batch = plan.config.optimization.batch[resolution]
    phase = schedule.Phase(0, resolution, len(plan.resolutions) > 1, 0, 6400, batch, 4e-3, 0, steps)
    gan = execution.build(plan, plan.config.running.precision)
    gan.begin(phase)
    shape = (5 * phase.images_per_step, resolution, resolution, plan.data_channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    batches = tf.data.Dataset.from_tensor_slices((pixels, np.zeros(len(pixels), np.int64)))
    iterator = iter(batches.batch(phase.images_per_step, drop_remainder=True))
    count, sums = compiled.CompiledSteps(gan, phase, tf.distribute.get_strategy(), xla)(iterator, 5)
    return count, sums, {name: v.numpy() for name, v in gan.state().items()}


ROWS = {
    "lazy-r1": {"penalty_every": 2, "augment": "ada"},
    "wgan-gp": {"loss": "wgan-gp", "update": "two-stage", "critic_steps": 2, "minibatch": "discrimination"},
    "dcgan": {"network": "dcgan", "loss": "nonsaturating", "spectral": "all"},
    "colorize": {**IMAGES, "task": "colorize", "network": "unet", "pixel": "l1"},
    "upscale": {**IMAGES, "task": "upscale", "network": "srresnet", "blocks": 1, "scale": 2, "pixel": "mse"},
}
OFTEN = ("dcgan",)


@pytest.mark.slow
@pytest.mark.parametrize("row", [n if n in OFTEN else pytest.param(n, marks=pytest.mark.slow) for n in ROWS])
def test_xla_takes_the_same_steps(row):
    plan = resolve({**SMALL, **ROWS[row]})
    (count, plain, expected), (again, compiled, found) = (trained(plan, xla) for xla in (False, True))
    assert count == again == 5
    for name, value in plain.items():
        assert compiled[name] == pytest.approx(value, rel=1e-3, abs=1e-3), name
    # A bias before a normalisation has no gradient; Adam makes steps of its rounding errors.
    still = {
        n.removesuffix("/v").partition("/")[2] for n, v in expected.items() if n.endswith("/v") and v.max() < 1e-10
    }
    compared = [n for n in expected if not any(f"/{s}/" in f"/{n}/" for s in still)]
    assert len(compared) > 0.6 * len(expected)
    for name in compared:
        np.testing.assert_allclose(found[name], expected[name], atol=5e-4, err_msg=name)


def test_who_is_compiled():
    assert not precision.use_xla("auto")  # no GPU here
    assert precision.use_xla("on")
    for xla, degrade in (("on", False), ("off", False), ("auto", True)):
        found = precision.choose(Config().replace(xla=xla, degrade=degrade, precision="bfloat16"), 1)
        assert found == precision.Arithmetic("mixed_bfloat16", True, xla == "on") and found.half
    assert precision.choose(Config(), 1, "float32").policy == "float32", "that of a resumed run stays"


def check(options, say):
    plan = resolve(options)
    distribution.check_devices(plan, 1, precision.choose(plan.config, 1), say)


def test_what_gpus_are_given(monkeypatch):
    """As TensorFlow describes them: no GPU is here."""
    details = {}
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: ["gpu"])
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: ["gpu"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    for capability, policy in (
        ((8, 6), "mixed_bfloat16"),
        ((7, 5), "mixed_float16"),
        ((6, 1), "float32"),
        (None, "float32"),
    ):
        details = {"compute_capability": capability} if capability else {}
        assert precision.choose_policy("auto") == policy
    for name in ("bfloat16", "float16"):
        assert precision.choose_policy(name) == f"mixed_{name}"
    assert precision.choose_policy("float32") == "float32"
    assert precision.use_xla("auto") and not precision.use_xla("off")
    assert not precision.use_xla("auto", devices=2), "replicas talk within a step"
    assert not precision.use_xla("auto", degrade=True), "JPEG is not compiled"
    assert not precision.choose(Config().replace(degrade="once"), 1).xla and precision.choose(Config(), 1).xla
    # A resumed run is the same to the last bit, where there is a way to make it so.
    made, said = [], []
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: made.append(True))
    exact = {"target_res": 8, "exact": True}
    check({**exact, "conv": "separable", "xla": "off"}, said.append)
    assert not made and "to rounding, not to the last bit" in said[0]
    check({**exact, "conv": "standard"}, said.append)
    check(exact, said.append)
    assert len(made) == 2 and len(said) == 1
    for asked in ({}, {"exact": False}):  # what GPUs do unless they are asked to be exact
        check({"target_res": 8, **asked}, said.append)
        assert len(made) == 2 and "to rounding and not to the last bit; --exact" in said.pop()
        assert not precision.choose(resolve({"target_res": 8, **asked}).config, 1).exact
    assert precision.choose(resolve(exact).config, 1).exact


def test_cpus_are_exact_whatever_is_asked():
    for asked in (None, True, False):
        assert precision.is_exact(asked)


def test_tf32_is_for_training_steps_alone(monkeypatch):
    """Images are resampled with all digits even there."""
    enabled = tf.config.experimental.tensor_float_32_execution_enabled
    before = enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        assert not resampling.multiplies_in_tf32()
        with precision.allow_tf32():
            assert enabled() and not resampling.multiplies_in_tf32()  # there is no GPU
            monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: ["gpu"])
            assert resampling.multiplies_in_tf32()
            images = tf.constant(np.random.default_rng(0).random((2, 16, 16, 3)), tf.float32)
            reduce = tf.function(lambda: resampling.resize(images, (8, 8), "lanczos"))
            products = [op for op in reduce.get_concrete_function().graph.get_operations() if op.type == "Einsum"]
            assert products and {op.inputs[0].dtype for op in products} == {tf.float64}
            wide = reduce()
        assert not enabled()
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
    monkeypatch.undo()
    np.testing.assert_allclose(wide, resampling.resize(images, (8, 8), "lanczos"), atol=1e-6)
