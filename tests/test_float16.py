"""Training in float16: losses are scaled, an overflow is survived, and the scale is a part of the state."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from pggan_tf.losses import LOSSES, Objective
from pggan_tf.networks.progressive import Discriminator
from pggan_tf.runs import checkpoint
from pggan_tf.training import loss_scaling
from pggan_tf.training.step import TrainingStep, train_step
from tests import test_step
from tests.test_step import FADE, LABELS, gan, pixels, values

PENALISED = Objective(LOSSES["nonsaturating"], "r1", 0.5, 1)


def gradients(monkeypatch, dtype, objective, update, scale=None):
    """{network: gradients of a step} before they are applied."""
    found = {}

    def record(self, name, gradients, loss):
        scale = 1.0 if self.scale is None else self.scale
        found[name] = np.concatenate([np.ravel(g / scale) for g in gradients])
        self.applied.append((name, tf.constant(True)))

    monkeypatch.setattr(TrainingStep, "_apply", record)
    model = gan(objective, update, dtype)
    model.begin(FADE)
    model.images_seen.assign(32)
    if scale:
        model.loss_scale.scale.assign(scale)
    stats = train_step(model, FADE, pixels(), LABELS)
    return found, float(stats["penalty"])


@pytest.mark.parametrize(
    "objective, update",
    [
        (PENALISED, "one-stage"),
        pytest.param(Objective(LOSSES["wgan"], "gp", 10.0), "two-stage", marks=pytest.mark.slow),
        pytest.param(Objective(LOSSES["hinge"], "r1+r2", 0.5, 1), "two-stage", marks=pytest.mark.slow),
        pytest.param(dataclasses.replace(PENALISED, pixel="l1"), "one-stage", marks=pytest.mark.slow),
    ],
    ids=["r1", "gp", "r1+r2", "pixel"],
)
def test_gradients_are_those_of_float32(monkeypatch, objective, update):
    """Those of the penalty, which are second derivatives, too.

    The generator's are off by more, for any scale: units of the discriminator that are nearly 0 change sides.
    """
    exact, penalty = gradients(monkeypatch, "float32", objective, update)
    half, rounded = gradients(monkeypatch, "mixed_float16", objective, update)
    assert rounded == pytest.approx(penalty, rel=0.01) and penalty > 1e-4
    for name, most in (("generator", 0.15), ("discriminator", 0.03)):
        assert error(half[name], exact[name]) < most, name


def test_the_generator_learns_from_a_discriminator_that_is_certain(monkeypatch):
    """Hinge has no gradient for D at a logit of -3, and all of it for G."""
    monkeypatch.setattr(test_step, "Discriminator", functools.partial(Discriminator, minibatch="none"))
    norms = []
    for dtype in ("float32", "mixed_float16"):
        model = gan(Objective(LOSSES["hinge"]), "one-stage", dtype)
        assert model.discriminator.batch_coupling == 1
        model.begin(FADE)
        model.discriminator.logits.bias.assign([-3.0])
        before = values(model)
        stats = train_step(model, FADE, pixels(), LABELS)
        assert float(stats["logit_fake"]) < -1 and float(stats["skipped"]) == 0
        after = values(model)
        moved = [np.ravel(after[n] - before[n]) for n in before if n.startswith("generator/")]
        norms.append(np.linalg.norm(np.concatenate(moved)))
    assert norms[1] == pytest.approx(norms[0], rel=0.05) and norms[0] > 0


def error(found, exact):
    return np.linalg.norm(found - exact) / np.linalg.norm(exact)


@pytest.mark.slow
@pytest.mark.parametrize("update", ["one-stage", "two-stage"])
def test_small_gradients_do_not_vanish(monkeypatch, update):
    """Without a scale they are below the smallest number that float16 has."""
    small = dataclasses.replace(PENALISED, adversarial_weight=1e-5)
    (exact, _), (half, _), (lost, _) = (
        gradients(monkeypatch, *given) for given in (("float32", small, update), *(("mixed_float16", small, update, s) for s in (2.0**15, 1.0)))
    )  # fmt: skip
    assert error(half["generator"], exact["generator"]) < 0.15 < 0.3 < error(lost["generator"], exact["generator"])


@pytest.mark.slow
def test_a_run_ends_where_float32_ends_within_noise():
    """After 30 steps the losses differ by less than those of another seed's run do."""

    def trained(dtype, seed=0):
        model = gan(PENALISED, dtype=dtype, seed=seed)
        model.begin(FADE)
        take = tf.function(lambda: train_step(model, FADE, pixels(), LABELS), autograph=False)
        sums = [take() for _ in range(30)]
        return model, np.array([[float(s[name]) for name in ("loss_d", "loss_g", "penalty")] for s in sums])

    (model, half), (_, exact), (_, other) = trained("mixed_float16"), trained("float32"), trained("float32", 1)
    assert int(model.skipped.numpy()) < 5 and np.isfinite(half).all()
    learned = half[:, 0] != 0
    apart = np.abs(half - exact)[learned].mean(0)
    assert (apart < np.abs(other - exact)[learned].mean(0)).all() and (apart < 0.1).all()


@pytest.mark.slow
def test_an_overflow_is_survived_and_the_scale_found(monkeypatch):
    monkeypatch.setattr(loss_scaling, "STEPS_PER_DOUBLING", 2)
    model = gan(PENALISED, dtype="mixed_float16")
    model.begin(FADE)
    model.loss_scale.scale.assign(2.0**28)
    take = tf.function(lambda: train_step(model, FADE, pixels(), LABELS), autograph=False)
    before, scales, skipped = values(model), [], []
    while len(skipped) < 20 and skipped.count(0) < 2:
        skipped.append(int(take()["skipped"]))
        scales.append(float(model.loss_scale.scale.numpy()))
        if all(skipped):
            for name in (
                "discriminator/dense/kernel",
                "optimizer_discriminator/dense/kernel/v",
            ):
                np.testing.assert_array_equal(values(model)[name], before[name])
    first = skipped.index(0)
    assert first > 1 and scales[:first] == [2.0 ** (27 - i) for i in range(first)], "every skipped step halves it"
    assert skipped[first:] == [0, 0] and scales[first + 1] == 2 * scales[first], "two good steps double it here"
    assert not np.array_equal(values(model)["discriminator/dense/kernel"], before["discriminator/dense/kernel"])
    assert all(np.isfinite(v).all() for v in values(model).values())


def test_the_scale_is_saved_and_a_resumed_run_is_the_same(tmp_path):
    model = gan(PENALISED, dtype="mixed_float16")
    model.begin(FADE)
    model.loss_scale.scale.assign(2.0**13)
    train_step(model, FADE, pixels(), LABELS)
    path = checkpoint.path_for(tmp_path, 8)
    checkpoint.write(path, values(model), {})
    train_step(model, FADE, pixels(), LABELS)
    arrays, _ = checkpoint.read(path)
    assert arrays["loss_scale"] == 2.0**13 and arrays["good_steps"] == 1
    again = gan(PENALISED, dtype="mixed_float16")
    again.begin(FADE)
    checkpoint.restore(again.state(), arrays, "a run")
    train_step(again, FADE, pixels(), LABELS)
    for name, value in values(model).items():
        np.testing.assert_array_equal(values(again)[name], value, err_msg=name)
    for dtype in ("float32", "mixed_bfloat16"):
        assert not {"loss_scale", "good_steps"} & set(gan(PENALISED, dtype=dtype).state())
