import math

import numpy as np
import pytest
import tensorflow as tf

from pggan_tf import losses

F = [-2.0, 0.0, 3.0]
# Computed by hand from the papers' formulas; softplus(x) = log(1 + e^x).
SOFTPLUS = {x: math.log1p(math.exp(x)) for x in (-3.0, -2.0, 0.0, 2.0, 3.0)}
VALUES = {
    "wgan": ([2, 0, -3], [-2, 0, 3], [2, 0, -3]),
    "lsgan": ([4.5, 0.5, 2.0], [0.5, 0.5, 8.0], [2.0, 0.0, 4.5]),
    "mse": ([9, 1, 4], [4, 0, 9], [9, 1, 4]),
    "saturating": ([SOFTPLUS[-f] for f in F], [SOFTPLUS[f] for f in F], [-SOFTPLUS[f] for f in F]),
    "hinge": ([3, 1, 0], [0, 1, 4], [2, 0, -3]),
    "nonsaturating": ([SOFTPLUS[-f] for f in F], [SOFTPLUS[f] for f in F], [SOFTPLUS[-f] for f in F]),
}


@pytest.mark.parametrize("name", VALUES)
def test_known_values(name):
    loss, f = losses.LOSSES[name], tf.constant(F)
    for terms, expected in zip((*loss.discriminator(f, f), *loss.generator(f, f)), VALUES[name], strict=True):
        np.testing.assert_allclose(terms, expected, rtol=1e-6)


# A contract for every row of LOSSES: a new row needs no test of its own, but for its published values.
ROWS = pytest.mark.parametrize("name", [name for name, loss in losses.LOSSES.items() if loss.adversarial])
REAL, FAKE = [-3.0, -0.4, 0.2, 1.7], [2.3, 0.1, -0.6, -2.5]


def derivatives(name, real, fake):
    """Of the sum of each network's loss with respect to the logits of reals and of fakes: {"d": [2], "g": [2]}, 0 where none."""
    objective, real, fake = losses.Objective(losses.LOSSES[name]), tf.constant(real), tf.constant(fake)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([real, fake])
        of = {"d": objective.discriminator(real, fake), "g": objective.generator(real, fake)}
    return {
        network: [x.numpy() for x in tape.gradient(loss, [real, fake], unconnected_gradients="zero")]
        for network, loss in of.items()
    }


@ROWS
def test_each_network_moves_the_logits_its_way(name):
    """Around the decision threshold D raises the logits of reals and lowers those of fakes; G raises fakes taken for fakes."""
    middle = losses.LOSSES[name].decision_threshold or 0.0
    found = derivatives(name, [middle + x for x in (-0.2, 0.0, 0.2)], [middle + x for x in (-0.3, -0.2, -0.1)])
    assert (found["d"][0] < 0).all() and (found["d"][1] > 0).all() and (found["g"][1] < 0).all()


@ROWS
def test_what_a_row_says_of_itself_is_true(name):
    loss, found = losses.LOSSES[name], derivatives(name, REAL, FAKE)
    assert loss.symmetric == np.allclose(found["g"][1], -found["d"][1])
    if not loss.generator_needs_reals:
        assert not found["g"][0].any()
        loss.generator(None, tf.constant(FAKE))
    else:
        assert found["g"][0].any()
    # Another first pair changes what the others learn only where a loss compares with the batch.
    other = derivatives(name, [9.0, *REAL[1:]], [-9.0, *FAKE[1:]])
    changed = any(not np.allclose(x[1:], y[1:]) for n in "dg" for x, y in zip(found[n], other[n]))
    assert changed == loss.compares_with_batch


@ROWS
def test_where_the_decision_threshold_is(name):
    """There, D learns as much from a real as from a fake; one pair at a time. Losses without one have none that is special."""
    loss = losses.LOSSES[name]
    if loss.decision_threshold is not None:
        (real,), (fake,) = derivatives(name, [loss.decision_threshold], [loss.decision_threshold])["d"]
        assert real == pytest.approx(-fake) and real < 0
        return
    for shift in (-1.0, 2.0):
        moved = derivatives(name, [x + shift for x in REAL], [x + shift for x in FAKE])["d"]
        np.testing.assert_allclose(moved, derivatives(name, REAL, FAKE)["d"], atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.1, 0.5, 0.7])
def test_the_threshold_of_a_smoothed_loss(smoothing):
    """Of as many reals as fakes, D's loss is least at that logit."""
    loss = losses.cross_entropy(smoothing=smoothing)
    logits = tf.constant(loss.decision_threshold + np.array([-0.01, 0.0, 0.01], np.float32))
    assert np.argmin(sum(loss.discriminator(logits, logits))) == 1


@ROWS
@pytest.mark.parametrize("shape", [(4,), (4, 2, 3, 1)], ids=["vector", "maps"])
def test_one_value_per_sample(name, shape):
    """Terms keep the shape of the logits; the losses of both networks are one number per sample, for maps their mean."""
    loss, objective = losses.LOSSES[name], losses.Objective(losses.LOSSES[name])
    real, fake = (
        tf.broadcast_to(tf.reshape(tf.constant(x), (4, *[1] * (len(shape) - 1))), shape) for x in (REAL, FAKE)
    )
    for terms in (loss.discriminator(real, fake), loss.generator(real, fake)):
        assert isinstance(terms, tuple) and terms and all(term.shape == shape for term in terms)
    for found, flat in (
        (objective.discriminator(real, fake), objective.discriminator(tf.constant(REAL), tf.constant(FAKE))),
        (objective.generator(real, fake), objective.generator(tf.constant(REAL), tf.constant(FAKE))),
    ):
        np.testing.assert_allclose(found, flat, rtol=1e-5)


@ROWS
@pytest.mark.parametrize("logits", [(1e4, -1e4), (-1e4, 1e4), (1e4, 1e4), (-1e4, -1e4)])
def test_finite_for_extreme_logits(name, logits):
    """Logits of one real and one fake, whichever network is certain of what."""
    real, fake = ([x] for x in logits)
    objective = losses.Objective(losses.LOSSES[name])
    assert np.isfinite(objective.discriminator(tf.constant(real), tf.constant(fake))).all()
    assert np.isfinite(objective.generator(tf.constant(real), tf.constant(fake))).all()
    assert all(np.isfinite(x).all() for found in derivatives(name, real, fake).values() for x in found)


def test_least_squares_takes_its_targets():
    loss = losses.LOSSES["lsgan"]
    one, minus, none = (tf.constant(x) for x in (1.0, -1.0, 0.0))
    assert [float(x) for x in (*loss.discriminator(one, minus), *loss.generator(None, none))] == [0, 0, 0]
    other = loss.with_targets(2, 3, 4)
    assert float(other.generator(None, one)[0]) == 4.5 and other.decision_threshold == 2.5


def linear_critic(slope):
    direction = tf.random.stateless_normal((1, 4, 4, 3), seed=(0, 1))
    direction = slope * direction / tf.norm(direction)
    return lambda x: tf.reduce_sum(direction * x, axis=[1, 2, 3])


IMAGES = [tf.random.stateless_normal((5, 4, 4, 3), seed=(s, 0)) for s in (1, 2)]
MIX = tf.random.stateless_uniform((5, 1, 1, 1), seed=(3, 0))


def test_penalty_is_zero_for_a_critic_of_unit_slope():
    np.testing.assert_allclose(losses.gradient_penalty(linear_critic(1.0), *IMAGES, MIX), np.zeros(5), atol=1e-10)


def test_penalty_for_other_slopes_and_targets():
    np.testing.assert_allclose(losses.gradient_penalty(linear_critic(3.0), *IMAGES, MIX), np.full(5, 4.0), rtol=1e-5)
    np.testing.assert_allclose(
        losses.gradient_penalty(linear_critic(3.0), *IMAGES, MIX, target=4.0), np.full(5, 1 / 16), rtol=1e-5
    )


def test_penalty_is_taken_between_real_and_fake():
    # |x|^2 / 2 has gradient x: the penalty sees the point itself.
    critic = lambda x: 0.5 * tf.reduce_sum(x**2, axis=[1, 2, 3])  # noqa: E731
    point = MIX * IMAGES[0] + (1 - MIX) * IMAGES[1]
    norm = np.sqrt((point.numpy() ** 2).sum((1, 2, 3)))
    np.testing.assert_allclose(losses.gradient_penalty(critic, *IMAGES, MIX), (norm - 1) ** 2, rtol=1e-5)
    np.testing.assert_allclose(losses.zero_centred_penalty(critic, point), norm**2 / 2, rtol=1e-5)


def test_a_flat_critic_gives_no_nan():
    weight = tf.Variable(0.0)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(losses.gradient_penalty(lambda x: weight * tf.reduce_sum(x, axis=[1, 2, 3]), *IMAGES, MIX))
    assert float(loss) == pytest.approx(5, rel=1e-4) and np.isfinite(tape.gradient(loss, weight))


def test_every_loss_starts_with_a_known_penalty():
    for name, loss in losses.LOSSES.items():
        assert loss.penalty in losses.PENALTIES and loss.adversarial == (name != "none")
        assert (loss.penalty != "none") == (loss.penalty_weight > 0)


def test_label_smoothing():
    """With the target 0.9 for reals: 0.9 softplus(-f) + 0.1 softplus(f), least at f = log 9."""
    loss = losses.LOSSES["nonsaturating"].with_smoothing(0.1)
    np.testing.assert_allclose(
        loss.discriminator(tf.constant(F), tf.constant(F))[0],
        [0.9 * SOFTPLUS[-f] + 0.1 * SOFTPLUS[f] for f in F],
        rtol=1e-6,
    )
    with tf.GradientTape() as tape:
        f = tf.constant(math.log(9.0))
        tape.watch(f)
        on_real, _ = loss.discriminator(f, f)
    assert abs(float(tape.gradient(on_real, f))) < 1e-6


def test_relativistic_average():
    """Jolicoeur-Martineau 2019: D(x) = f(x) - mean of f over the other kind."""
    objective = losses.Objective(losses.LOSSES["relativistic"])
    real, fake = tf.constant([1.0, 3.0]), tf.constant([-1.0, 0.0])  # means 2 and -0.5
    softplus = lambda x: math.log1p(math.exp(x))  # noqa: E731
    of_d = [softplus(-1.5) + softplus(-3.0), softplus(-3.5) + softplus(-2.0)]
    of_g = [softplus(3.0) + softplus(1.5), softplus(2.0) + softplus(3.5)]
    np.testing.assert_allclose(objective.discriminator(real, fake), of_d, rtol=1e-6)
    np.testing.assert_allclose(objective.generator(real, fake), of_g, rtol=1e-6)


def test_a_map_of_logits_counts_as_its_mean():
    objective = losses.Objective(losses.LOSSES["mse"])
    maps = tf.constant([[1.0, 3.0], [0.0, 0.0]])[:, None, :, None]  # [2, 1, 2, 1]
    np.testing.assert_allclose(objective.generator(None, maps), [2.0, 1.0])


def test_classes():
    """ACGAN: the cross-entropy of the classes joins both losses."""
    objective = losses.Objective(losses.LOSSES["wgan"], labels=2, class_weight=0.5)
    real, fake = tf.constant([[1.0, 2.0, 0.0]]), tf.constant([[4.0, 0.0, 0.0]])
    right, even = math.log1p(math.exp(-2.0)), math.log(2.0)
    loss = objective.discriminator(real, fake, tf.constant([0]), tf.constant([1]))
    np.testing.assert_allclose(loss, [-1 + 4 + 0.5 * (right + even)], rtol=1e-6)
    np.testing.assert_allclose(objective.generator(real, fake, tf.constant([1])), [-4 + 0.5 * even], rtol=1e-6)
    assert not objective.symmetric


def test_r1_and_r2_are_taken_where_they_say():
    """With f = |x|^2 / 2 the gradient is x: R1 sees the reals, R2 the fakes."""
    from pggan_tf.training import updates

    weight = tf.Variable(1.0)
    norms = [float(tf.reduce_mean(tf.reduce_sum(x**2, axis=[1, 2, 3])) / 2) for x in IMAGES]
    for name, expected in (("r1", norms[0]), ("r2", norms[1]), ("r1+r2", sum(norms))):
        objective = losses.Objective(losses.LOSSES["wgan"], name, 1.0)
        context = updates.StepContext(
            None,
            lambda x: [weight * 0.5 * tf.reduce_sum(x**2, axis=[1, 2, 3])],
            [],
            [weight],
            None,
            None,
            objective,
            5,
            1,
        )
        batch = updates.Batch(IMAGES[0], None, None, None, None, None, MIX, tf.constant(True))
        loss, (gradient,) = updates.penalty_gradients(context, batch, IMAGES[1])
        assert float(loss) == pytest.approx(expected, rel=1e-5) and float(gradient) == pytest.approx(
            2 * expected, rel=1e-5
        )


def test_drift_is_the_mean_square_of_what_d_says_of_reals():
    """Karras et al. 2018, appendix A.1: 0.001 E[D(x)^2]; of the WGAN loss f(fake) - f(real)."""
    real, fake = tf.constant([[2.0], [-4.0]]), tf.constant([[1.0], [1.0]])
    objective = losses.Objective(losses.LOSSES["wgan"], drift=0.001)
    np.testing.assert_allclose(objective.discriminator(real, fake), [1 - 2 + 0.004, 1 + 4 + 0.016], rtol=1e-6)
