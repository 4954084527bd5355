"""The step: gradients, the guard against NaN, the average, the clock."""

import dataclasses
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from pggan_tf import losses, schedule, tasks
from pggan_tf.losses import LOSSES, Objective
from pggan_tf.networks.progressive import Discriminator, Generator
from pggan_tf.schedule import Phase
from pggan_tf.training import updates
from pggan_tf.training.gan import GAN, GANOptions
from pggan_tf.training.step import TrainingStep, train_step
from tests.conftest import NEEDS_BFLOAT16

SHAPE = {"resolutions": (4, 8), "channels": 3, "fmap_base": 64, "fmap_max": 12}
FADE = schedule.Phase(1, 8, True, 0, 64, 8, 1e-3, 0)
LABELS = tf.zeros([8], tf.int64)


def gan(objective=None, update="two-stage", dtype="float32", **kwargs):
    keras.utils.set_random_seed(0)
    settings = {
        "seed": 0,
        "update": update,
        "adam_betas": (0.0, 0.99),
        "adam_epsilon": 1e-8,
        "ema_half_life_images": 100.0,
        "ema_rampup": 1e9,
        **kwargs,
    }
    objective = objective or Objective(LOSSES["nonsaturating"])
    return GAN(
        Generator(latent_size=8, dtype=dtype, **SHAPE),
        Discriminator(dtype=dtype, **SHAPE),
        Generator(latent_size=8, **SHAPE),
        lambda resolution: objective,
        GANOptions(**settings),
        task=tasks.Generate(),
    )


def pixels(n=8, size=8):
    return tf.constant(np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8))


def values(model):
    return {n: v.numpy().copy() for n, v in model.state().items()}


def context(model, objective, record, n=8):
    return updates.StepContext(
        generate=lambda z, labels: model.generator(z, resolution=8, alpha=0.4),
        discriminate=lambda x: [model.discriminator(x, resolution=8, alpha=0.4)],
        generator_variables=[v.value for v in model.generator.variables_at(8, True)],
        discriminator_variables=[v.value for v in model.discriminator.variables_at(8, True)],
        apply_generator=lambda g, loss: record.__setitem__("g", g),
        apply_discriminator=lambda g, loss: record.__setitem__("d", g),
        objective=objective,
        batch_size=n,
        batch_coupling=4,
    )


def batch_of(reals, z, mix=None, penalise=True, labels=LABELS):
    mix = tf.zeros((len(z), 1, 1, 1), reals.dtype) if mix is None else mix
    return updates.Batch(reals, labels, z, labels, z, labels, mix, tf.constant(penalise))


def test_lazy_penalty_is_rare_and_as_much_heavier():
    """The mean over k steps of the lazily penalised gradient is that of the penalty at every step."""
    z, reals = tf.random.stateless_normal((8, 8), (1, 1)), tf.cast(pixels(), tf.float32) / 127.5 - 1
    model = gan()

    def gradient(every, penalise):
        record = {}
        batch = batch_of(reals, z, penalise=penalise)
        stats = updates.two_stage(context(model, Objective(LOSSES["wgan"], "r1", 5.0, every), record), [batch])
        return np.concatenate([[stats["penalty"]], *(g.numpy().ravel() for g in record["d"])])

    always, lazy_on, lazy_off = gradient(1, True), gradient(4, True), gradient(4, False)
    assert always[0] > 0 and lazy_off[0] == 0
    np.testing.assert_allclose((lazy_on + 3 * lazy_off) / 4, always, rtol=1e-3, atol=1e-4 * np.abs(always).max())


@pytest.mark.parametrize("update", updates.UPDATES)
@pytest.mark.parametrize("dtype", ["float32", pytest.param("mixed_bfloat16", marks=NEEDS_BFLOAT16)])
def test_a_step_trains_what_the_phase_uses_and_nothing_else(update, dtype):
    model = gan(Objective(LOSSES["nonsaturating"], "r1", 1.0, 1), update, dtype)
    phase = schedule.Phase(0, 4, False, 0, 64, 8, 1e-3, 0)
    model.begin(phase)
    before = values(model)
    train_step(model, phase, pixels(size=4), LABELS)
    changed = {n for n, v in values(model).items() if not np.array_equal(v, before[n])}
    used = {
        "generator/dense",
        "generator/conv_4",
        "generator/to_image_4",
        "discriminator/from_image_4",
        "discriminator/conv_4",
        "discriminator/dense",
        "discriminator/logits",
        "ema/dense",
        "ema/conv_4",
        "ema/to_image_4",
    }
    assert {n.rpartition("/")[0] for n in changed if n.split("/")[0] in ("generator", "discriminator", "ema")} == used
    assert int(model.images_seen.numpy()) == 8


@pytest.mark.parametrize("update", updates.UPDATES)
@pytest.mark.parametrize(
    "poison",
    [lambda f: f * np.nan, lambda f: f * np.inf, lambda f: tf.sqrt(f * 0)],
    ids=["nan", "inf", "finite loss, gradient nan"],
)
def test_a_poisoned_step_is_skipped_and_counted(update, poison):
    poisoned = losses.separate(real=poison, fake=poison, generator=poison)
    model = gan(Objective(poisoned), update)
    model.begin(FADE)
    before = values(model)
    for _ in range(3):
        stats = train_step(model, FADE, pixels(), LABELS)
    counts = ("skipped", "skipped_generator", "skipped_discriminator")
    assert [stats.pop(name) for name in counts] == [1, 1, 1]
    assert not any(stats.values()), "means are taken over the other steps"
    after = values(model)
    assert after.pop("images_seen") == 24 and after.pop("skipped_in_a_row") == 3
    assert [after.pop(name) for name in counts] == [3, 3, 3]
    for name, value in after.items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    model.objective_at = lambda resolution: Objective(LOSSES["nonsaturating"])
    train_step(model, FADE, pixels(), LABELS)
    assert model.skipped.numpy() == 3 and model.skipped_in_a_row.numpy() == 0


@pytest.mark.parametrize(("poisoned", "moved"), [("discriminator", "generator"), ("generator", "discriminator")])
def test_steps_of_which_one_network_moved_are_told_apart(poisoned, moved):
    """In two stages: the discriminator's loss has no say in the generator's step."""
    pair = LOSSES["nonsaturating"]
    broken = getattr(pair, poisoned)
    nan = {poisoned: lambda *logits: tuple(term * np.nan for term in broken(*logits))}
    model = gan(Objective(dataclasses.replace(pair, **nan)))
    model.begin(FADE)
    before = values(model)
    for _ in range(2):
        stats = train_step(model, FADE, pixels(), LABELS)
    counts = {name: int(model.skipped_by[f"skipped_{name}"].numpy()) for name in (poisoned, moved)}
    assert int(model.skipped.numpy()) == 2 and counts == {poisoned: 2, moved: 0}
    assert stats["skipped"] == stats[f"skipped_{poisoned}"] == 1 and stats[f"skipped_{moved}"] == 0
    changed = {n.split("/")[0] for n, v in values(model).items() if not np.array_equal(v, before[n])}
    assert moved in changed and poisoned not in changed


def test_the_average_has_its_half_life():
    model = gan(ema_half_life_images=8.0)
    model.begin(FADE)
    before = {id(v): v.numpy().copy() for v in model.generator.variables}
    train_step(model, FADE, pixels(), LABELS)
    for average, weight in zip(model.ema.variables_at(8, True), model.generator.variables_at(8, True)):
        np.testing.assert_allclose(average, (before[id(weight)] + weight.numpy()) / 2, rtol=1e-5, atol=1e-7)


def test_a_step_follows_from_the_state_alone():
    """Nothing random is kept outside `state()`: restored variables repeat the step bit for bit."""
    model = gan(Objective(LOSSES["wgan"], "gp", 10.0))
    model.begin(FADE)
    train_step(model, FADE, pixels(), LABELS)
    kept = values(model)
    train_step(model, FADE, pixels(), LABELS)
    once = values(model)
    for name, variable in model.state().items():
        variable.assign(kept[name])
    train_step(model, FADE, pixels(), LABELS)
    for name, value in values(model).items():
        np.testing.assert_array_equal(value, once[name], err_msg=name)


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("update", updates.UPDATES)
def test_batches_smaller_than_the_stddev_group_keep_reals_and_fakes_apart(update, batch):
    """The logit of reals is what D says of the reals alone."""
    model = gan(Objective(LOSSES["nonsaturating"]), update)
    phase = schedule.Phase(0, 8, False, 0, 64, batch, 1e-3, 0)
    model.begin(phase)
    alone = model.discriminator(tf.cast(pixels(batch), tf.float32) / 127.5 - 1, resolution=8)[:, 0]
    stats = train_step(model, phase, pixels(batch), LABELS[:batch])
    assert float(stats["logit_real"]) == pytest.approx(float(np.mean(alone)), rel=1e-4)


def test_state_holds_every_variable_under_its_own_name():
    model = gan()
    model.begin(FADE)
    counts = [len(n.variables) for n in (model.generator, model.discriminator, model.ema)]
    slots = sum(1 + 2 * len(o.trained) for o in model.optimizers.values())
    assert len(model.state()) == sum(counts) + slots + 5


def test_adam_equals_its_formula():
    from pggan_tf.training.optimizer import Adam

    variable = keras.Variable(np.array([1.0, -2.0], np.float32), name="w")
    adam = Adam([variable], 0.1, (0.5, 0.9), 1e-3)
    w, m, v = np.array([1.0, -2.0]), 0.0, 0.0
    for t, g in enumerate(([1.0, 0.5], [-2.0, 0.0], [0.3, 4.0]), 1):
        adam.apply([tf.constant(g)])
        g = np.array(g)
        m, v = 0.5 * m + 0.5 * g, 0.9 * v + 0.1 * g**2
        w = w - 0.1 * np.sqrt(1 - 0.9**t) / (1 - 0.5**t) * m / (np.sqrt(v) + 1e-3)
        np.testing.assert_allclose(variable.numpy(), w, rtol=1e-5)


@pytest.mark.parametrize("augment", ["diff", "ada"])
def test_augmented_training_is_repeatable_and_adapts(augment):
    model = gan(augment=augment)
    model.begin(FADE)
    kept = values(model)
    stats = train_step(model, FADE, pixels(), LABELS)
    once, probability = values(model), float(model.augment_probability.numpy())
    assert probability == 0
    if augment == "ada":
        np.testing.assert_allclose(model.augment_signs.numpy(), [8 * float(stats["sign_real"]), 8], rtol=1e-6)
    for name, variable in model.state().items():
        variable.assign(kept[name])
    train_step(model, FADE, pixels(), LABELS)
    for name, value in values(model).items():
        np.testing.assert_array_equal(value, once[name], err_msg=name)


@pytest.mark.parametrize("fade, decay", [(True, 0), (False, 40), (False, 0)])
def test_the_step_fades_and_decays_as_the_plan_says(fade, decay):
    phase = Phase(1, 8, fade, 100, 80, 4, 1e-3, 100, decay_images=decay)
    gan = types.SimpleNamespace(images_seen=tf.Variable(0, dtype=tf.int64), objective_at=lambda resolution: None)
    for images in (100, 112, 140, 156, 176):
        gan.images_seen.assign(images)
        step = TrainingStep(gan, phase)
        alpha = 1.0 if step.alpha is None else float(step.alpha)
        assert (alpha, float(step.rate)) == pytest.approx((phase.alpha(images), phase.rate(images)))
