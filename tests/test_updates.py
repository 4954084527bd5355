"""One-stage training gives the gradients of the simultaneous two-stage update, for every loss, discriminator and penalty."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import measure, one_stage
from pggan_tf.config import recipes
from pggan_tf.losses import LOSSES, PENALTIES, Loss, Objective, pixel_loss
from pggan_tf.training import execution, updates
from tests import test_recipes

N, SIZE, LATENT, CLASSES = 8, 8, 6, 3
# Every loss once, whatever penalty it starts with; and one that looks at a real and a fake as a pair (Jolicoeur-Martineau 2019, eq. 5;
# Huang et al. 2024, eq. 2), which no row of the table is.
PAIRS = {
    name: loss for name, loss in LOSSES.items() if loss.adversarial and name not in ("wgan-gp", "nonsaturating-r1")
}
PAIRS["paired"] = Loss(
    lambda real, fake: (tf.nn.softplus(fake - real),),
    lambda real, fake: (tf.nn.softplus(real - fake),),
    generator_needs_reals=True,
    decision_threshold=None,
)
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


class Networks:
    """A small generator and discriminator in the given float type, with smooth activations.

    kind: how the discriminator sees a batch: each sample by itself, mixed over the batch (batch normalisation), mixed in
    groups of four (minibatch stddev), as a map of logits, or with classes. bias: added to every logit; scale: multiplies it before.
    """

    GROUPS = {"alone": 1, "batch": 0, "groups": 4, "map": 1, "classes": 1}
    shape = (SIZE, SIZE, 3)  # of a real
    features = False  # whether `judge` gives what is before the last layer too

    def __init__(self, kind, dtype, bias=0.0, scale=1.0):
        self.maps, rng = kind == "map", np.random.default_rng(0)
        weight = lambda *shape: tf.Variable(rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1])), dtype=dtype)  # noqa: E731
        outputs = 1 + CLASSES if kind == "classes" else 1
        self.kind, self.bias, self.scale = kind, tf.constant(bias, dtype), tf.constant(scale, dtype)
        self.g = [weight(LATENT + CLASSES, SIZE * SIZE * 2), weight(3, 3, 2, 3)]
        self.d = [weight(3, 3, 3, 4), weight(3, 3, 4, 4), weight(SIZE * SIZE // 4 * (4 + (kind == "groups")), outputs)]
        self.head = weight(1, 1, 4, 1)
        if kind == "map":
            self.d = [*self.d[:2], self.head]

    def generate(self, z, labels):
        z = tf.concat([z, tf.one_hot(labels, CLASSES, dtype=z.dtype)], axis=1)
        x = tf.reshape(tf.tanh(z @ self.g[0]), [-1, SIZE, SIZE, 2])
        return tf.tanh(tf.nn.conv2d(x, self.g[1], 1, "SAME"))

    def discriminate(self, x):
        return self.judge(x)[0]

    def judge(self, x):
        """[logits], or [logits, features]."""
        logits, hidden = self._judged(x)
        return [logits, hidden] if self.features else [logits]

    def _judged(self, x):
        x = tf.nn.softplus(tf.nn.conv2d(x, self.d[0], 2, "SAME"))
        if self.kind == "batch":
            mean, variance = tf.nn.moments(x, [0, 1, 2])
            x = (x - mean) / tf.sqrt(variance + 1e-3)
        x = tf.nn.softplus(tf.nn.conv2d(x, self.d[1], 1, "SAME"))
        if self.kind == "map":
            return tf.nn.conv2d(x, self.head, 1, "SAME") * self.scale + self.bias, x
        if self.kind == "groups":
            y = tf.reshape(x, [-1, 4, *x.shape[1:]])
            y = tf.sqrt(tf.math.reduce_variance(y, axis=1) + 1e-3)
            x = tf.concat([x, tf.repeat(tf.reduce_mean(y, -1, keepdims=True), 4, axis=0)], axis=-1)
        return tf.reshape(x, [x.shape[0], -1]) @ self.d[2] * self.scale + self.bias, x


class Recipe:
    """The networks of a recipe, narrow; images that are turned into others stay the same ones."""

    def __init__(self, name):
        plan = test_recipes.tiny(name, **({"dropout": 0.0} if name in ("colorize", "translate") else {}))
        self.gan = execution.build(plan, "float32", test_recipes.CLASSES)
        self.task, size = plan.task, plan.config.purpose.patch or plan.target_res
        self.at = {"resolution": plan.target_res, "training": True}
        self.kind, self.GROUPS = name, {name: self.gan.discriminator.batch_coupling}
        self.maps = self.gan.discriminator.patch_logits
        self.latent = getattr(self.gan.generator, "latent_size", None)
        images = tf.random.stateless_uniform((N, size, size, plan.data_channels), (4, 0), -1, 1)
        self.given = None if self.latent else self.task.condition(images, tf.zeros([2], tf.int64))
        self.g, self.d = (
            [v.value for v in n.variables_at(self.at["resolution"], False)]
            for n in (self.gan.generator, self.gan.discriminator)
        )
        self.shape = self.generate(tf.zeros((N, LATENT)), tf.zeros([N], tf.int64)).shape[1:]

    def generate(self, z, labels):
        if self.given is not None:
            return self.task.discriminator_input(self.given, self.gan.generator(self.given, **self.at))
        z = tf.tile(z, [1, -(-self.latent // LATENT)])[:, : self.latent]
        return self.gan.generator(z, labels=labels, **self.at)

    def judge(self, x):
        return [self.gan.discriminator(x, **self.at)]


def auxiliary(fakes, reals):
    """G's distance to the reals, by pixels; with a weight."""
    return 3.0 * pixel_loss("l1", fakes, reals, 2)


def gradients(rule, networks, objective, dtype):
    """Of both networks, at the same weights, reals and latents."""
    draw = lambda i, *shape: tf.random.stateless_normal(shape, (i, 0), dtype=dtype)  # noqa: E731
    record = {}
    context = updates.StepContext(
        generate=networks.generate,
        discriminate=networks.judge,
        generator_variables=networks.g,
        discriminator_variables=networks.d,
        apply_generator=lambda g, loss: record.__setitem__("g", g),
        apply_discriminator=lambda g, loss: record.__setitem__("d", g),
        objective=objective,
        batch_size=N,
        batch_coupling=networks.GROUPS[networks.kind],
        auxiliary=auxiliary if objective.pixel != "none" else None,
        patch_logits=networks.maps,
    )
    z, labels = draw(1, N, LATENT), tf.constant(np.arange(N) % CLASSES)
    mix = tf.random.stateless_uniform((N, 1, 1, 1), (3, 0), dtype=dtype)
    reals = draw(2, N, *networks.shape)
    batch = updates.Batch(reals, labels, z, labels, z, labels, mix, tf.constant(True))
    stats = rule(context, [batch])
    return record, stats, context


def literal(networks, objective, dtype):
    """The gradients by their definition: each loss written out, and differentiated by itself."""
    draw = lambda i, *shape: tf.random.stateless_normal(shape, (i, 0), dtype=dtype)  # noqa: E731
    z, labels, reals = draw(1, N, LATENT), tf.constant(np.arange(N) % CLASSES), draw(2, N, SIZE, SIZE, 3)
    with tf.GradientTape(persistent=True) as tape:
        fakes = networks.generate(z, labels)
        real, fake = networks.discriminate(reals), networks.discriminate(fakes)
        loss_g = tf.reduce_mean(objective.generator(real, fake, labels))
        if objective.pixel != "none":
            loss_g += tf.reduce_mean(auxiliary(fakes, reals))
        if objective.content != "none":
            apart = networks.judge(fakes)[1] - networks.judge(reals)[1]
            loss_g += objective.content_weight * tf.reduce_mean(tf.square(apart))
        real, fake = networks.discriminate(reals), networks.discriminate(tf.stop_gradient(fakes))
        loss_d = tf.reduce_mean(objective.discriminator(real, fake, labels, labels))
    return {"g": tape.gradient(loss_g, networks.g), "d": tape.gradient(loss_d, networks.d)}


def objective_for(kind, name, penalty="none"):
    labels = CLASSES if kind == "classes" else 0
    return Objective(PAIRS[name], penalty, 2.0, 1, 1.0, 1e-3, labels, 0.7)


def distance(ours, exact):
    ours, exact = (np.concatenate([t.numpy().ravel() for t in g]) for g in (ours, exact))
    return np.linalg.norm(ours - exact) / max(np.linalg.norm(exact), 1e-20)


OFTEN_PENALTIES = ("none", "gp", "r1+r2")


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "penalty", [p if p in OFTEN_PENALTIES else pytest.param(p, marks=pytest.mark.slow) for p in PENALTIES]
)
@pytest.mark.parametrize("kind", Networks.GROUPS)
@pytest.mark.parametrize("name", PAIRS)
def test_one_stage_gives_the_gradients_of_two_stage(name, kind, penalty, dtype):
    objective, networks = objective_for(kind, name, penalty), Networks(kind, dtype)
    one, _, _ = gradients(updates.one_stage, networks, objective, dtype)
    two, _, _ = gradients(updates.two_stage, networks, objective, dtype)
    for network in "gd":
        assert distance(one[network], two[network]) < TOLERANCE[dtype]


OFTEN = ("pggan", "acgan", "colorize")
WITH_D = [name for name, recipe in recipes.RECIPES.items() if recipe.get("loss") != "none"]


@pytest.mark.parametrize("losses", [("nonsaturating", "hinge"), pytest.param(tuple(PAIRS), marks=pytest.mark.slow)])
@pytest.mark.parametrize("recipe", [n if n in OFTEN else pytest.param(n, marks=pytest.mark.slow) for n in WITH_D])
def test_one_stage_is_exact_for_the_networks_of_the_recipes(recipe, losses):
    """So what they say of themselves is true: whether they mix samples, and return maps or classes."""
    networks = Recipe(recipe)
    for name in losses:
        for penalty in ("none", "r1"):
            objective = objective_for("classes" if recipe == "acgan" else "alone", name, penalty)
            one, _, _ = gradients(updates.one_stage, networks, objective, "float32")
            two, _, _ = gradients(updates.two_stage, networks, objective, "float32")
            for network in "gd":
                assert distance(one[network], two[network]) < TOLERANCE["float32"], (name, penalty, network)


def test_the_wasteful_form_that_one_stage_is_timed_against_gives_the_same():
    rule = functools.partial(one_stage.wasteful, nearly_nothing=tf.Variable(1e-30))
    networks = Networks("batch", "float32")
    for name in ("nonsaturating", "wgan"):
        wasteful, _, _ = gradients(rule, networks, objective_for("batch", name), "float32")
        two, _, _ = gradients(updates.two_stage, networks, objective_for("batch", name), "float32")
        assert max(distance(wasteful[n], two[n]) for n in "gd") < 1e-5


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", Networks.GROUPS)
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("rule", updates.UPDATES)
def test_both_rules_give_the_gradients_of_the_definition(name, kind, dtype, rule):
    objective, networks = objective_for(kind, name), Networks(kind, dtype)
    ours, _, _ = gradients(updates.UPDATES[rule], networks, objective, dtype)
    exact = literal(networks, objective, dtype)
    for network in "gd":
        assert distance(ours[network], exact[network]) < TOLERANCE[dtype]


@pytest.mark.parametrize("content", ["none", "discriminator"])
@pytest.mark.parametrize("kind", ["map", *(pytest.param(k, marks=pytest.mark.slow) for k in ("batch", "alone"))])
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("rule", updates.UPDATES)
def test_losses_by_pixels_and_features_join_the_adversarial_one(name, kind, content, rule):
    """As of a colorizer or SRGAN: a weighted adversarial loss, L1 and the distance of D's features."""
    networks = Networks(kind, "float32")
    networks.features = content != "none"
    objective = dataclasses.replace(
        objective_for(kind, name), adversarial_weight=0.3, pixel="l1", content=content, content_weight=0.5
    )
    ours, stats, _ = gradients(updates.UPDATES[rule], networks, objective, "float32")
    exact = literal(networks, objective, "float32")
    for network in "gd":
        assert distance(ours[network], exact[network]) < 1e-5
    assert 0 < float(stats["auxiliary"]) != float(stats["loss_g"])


def test_the_generator_may_learn_alone():
    networks = Networks("alone", "float32")
    objective = dataclasses.replace(objective_for("alone", "wgan"), pixel="l1", adversarial_weight=0.0)
    ours, stats, _ = gradients(updates.generator_alone, networks, objective, "float32")
    assert "d" not in ours and float(stats["loss_g"]) == float(stats["auxiliary"]) > 0
    assert distance(ours["g"], literal(networks, objective, "float32")["g"]) < 1e-5


def test_photos_are_not_generated_from_twice():
    """Where G's step of two-stage is given the same photos again, its forward pass is shared."""
    networks, made = Networks("alone", "float32"), []
    _, _, context = gradients(updates.two_stage, networks, objective_for("alone", "nonsaturating"), "float32")
    counting = dataclasses.replace(context, generate=lambda *given: made.append(1) or networks.generate(*given))
    z, labels, images = tf.zeros((N, LATENT)), tf.zeros([N], tf.int64), tf.zeros((N, SIZE, SIZE, 3))
    for second, times in (((None, None), 1), ((z, labels), 2)):
        batch = updates.Batch(images, labels, z, labels, *second, tf.zeros((N, 1, 1, 1)), tf.constant(True))
        made.clear()
        updates.two_stage(counting, [batch])
        assert len(made) == times


@pytest.mark.parametrize("bias", [-1e4, 1e4, *(pytest.param(b, marks=pytest.mark.slow) for b in (-90.0, 0.0, 90.0))])
@pytest.mark.parametrize("kind", Networks.GROUPS)
@pytest.mark.parametrize("name", PAIRS)
def test_no_logit_is_too_large(name, kind, bias):
    """Where a discriminator is certain, its own derivative is 0 or beyond any float: G's must not suffer."""
    objective, networks = objective_for(kind, name), Networks(kind, "float32", bias)
    one, stats, _ = gradients(updates.one_stage, networks, objective, "float32")
    exact = literal(networks, objective, "float32")
    assert all(np.isfinite(v).all() for v in stats.values())
    for network in "gd":
        assert all(np.isfinite(g).all() for g in one[network])
        # Where the exact gradient vanishes in float32, what is left is nothing that moves a weight.
        size = np.sqrt(sum(np.square(g.numpy().astype(np.float64)).sum() for g in exact[network]))
        ours = np.sqrt(sum(np.square(g.numpy().astype(np.float64)).sum() for g in one[network]))
        assert distance(one[network], exact[network]) < 1e-5 or size < 1e-20 and ours < 1e-15


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", Networks.GROUPS)
@pytest.mark.parametrize("name", PAIRS)
def test_logits_far_apart_are_exact(name, kind, dtype):
    """Some images of a batch taken for real and some for fake, each with a certainty of thousands; with a penalty too."""
    networks = Networks(kind, dtype, scale=4e4)
    some = tf.random.stateless_normal((64, *networks.shape), (2, 0), dtype=dtype)
    networks.bias = -tf.reduce_mean(networks.discriminate(some))
    logits = networks.discriminate(some).numpy()
    assert logits.min() < -5e3 and logits.max() > 5e3
    for penalty in ("none", "gp"):
        objective = objective_for(kind, name, penalty)
        one, stats, _ = gradients(updates.one_stage, networks, objective, dtype)
        two, _, _ = gradients(updates.two_stage, networks, objective, dtype)
        assert all(np.isfinite(v).all() for v in stats.values())
        for network in "gd":
            assert all(np.isfinite(g).all() for g in one[network])
            assert distance(one[network], two[network]) < TOLERANCE[dtype], (penalty, network)


def test_the_way_is_the_cheapest_that_is_exact():
    ways = {}
    for kind in Networks.GROUPS:
        for name in ("wgan", "nonsaturating"):
            _, _, context = gradients(
                updates.one_stage, Networks(kind, "float32"), objective_for(kind, name), "float32"
            )
            ways[kind, name] = updates.one_stage_method(
                context.objective, context.batch_coupling, patch_logits=kind == "map"
            )
    assert ways == {
        ("alone", "wgan"): "reversed", ("alone", "nonsaturating"): "scaled",
        ("batch", "wgan"): "reversed", ("batch", "nonsaturating"): "second product",
        ("groups", "wgan"): "reversed", ("groups", "nonsaturating"): "second product",
        ("map", "wgan"): "reversed", ("map", "nonsaturating"): "second product",
        ("classes", "wgan"): "second product", ("classes", "nonsaturating"): "second product",
    }  # fmt: skip


class OneConvolutionEach:
    """A generator and a discriminator of one convolution, all of whose passes take the same operations."""

    kind, GROUPS, maps, shape = "alone", {"alone": 1}, False, (4, 4, 2)
    cost = 2 * N * 4 * 4 * 2 * 2 * 9  # of a pass: forward, back to the input, or back to the weights

    def __init__(self):
        self.g, self.d = ([tf.Variable(tf.random.stateless_normal((3, 3, 2, 2), (i, 0)))] for i in range(2))

    def generate(self, z, labels):
        return tf.nn.conv2d(tf.reshape(tf.tile(z, [1, 6])[:, :32], [-1, *self.shape]), self.g[0], 1, "SAME")

    def judge(self, x):
        return [tf.reduce_mean(tf.nn.softplus(tf.nn.conv2d(x, self.d[0], 1, "SAME")), axis=[1, 2, 3])[:, None]]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wgan", "nonsaturating"])
def test_what_one_stage_saves(name):
    """Two-stage training wastes nothing: no pass back into G in D's step, none into D's weights in G's."""
    wasteful = functools.partial(one_stage.wasteful, nearly_nothing=tf.Variable(1e-30, trainable=False))
    passes = {}
    for rule in (updates.one_stage, updates.two_stage, wasteful):
        networks = OneConvolutionEach()

        def run(rule=rule, networks=networks):
            record, stats, _ = gradients(rule, networks, objective_for("alone", name), "float32")
            return [*record["g"], *record["d"], *stats.values()]

        graph = tf.function(run).get_concrete_function().graph
        passes[rule] = measure.executed_flops(graph) / networks.cost
    # G forward and to its weights; D forward, to its weights and to its images, of reals and fakes: they are one batch to it, so
    # that its first layer, which is all of this one, is passed back to the reals too.
    assert passes[updates.one_stage] == 2 + 6
    # D's step: G forward; D forward and to its weights, twice. G's: G forward and to its weights; D forward and to the fakes.
    assert passes[updates.two_stage] == 5 + 4
    # Besides: D's step to the fakes and to G's weights, G's step to D's weights.
    assert passes[wasteful] == 7 + 5


def test_two_stage_takes_a_step_of_d_for_every_batch():
    networks, taken = Networks("alone", "float32"), []
    _, _, context = gradients(updates.two_stage, networks, objective_for("alone", "wgan"), "float32")
    counting = dataclasses.replace(
        context,
        apply_discriminator=lambda g, loss: taken.append("d"),
        apply_generator=lambda g, loss: taken.append("g"),
    )
    z = tf.zeros((N, LATENT))
    labels = tf.zeros([N], tf.int64)
    batch = updates.Batch(
        tf.zeros((N, SIZE, SIZE, 3)), labels, z, labels, z, labels, tf.zeros((N, 1, 1, 1)), tf.constant(True)
    )
    updates.two_stage(counting, [batch] * 5)
    assert taken == ["d"] * 5 + ["g"]
