"""Every recipe takes steps, and its generator can be finished, saved and loaded. Tiny widths."""

import types

import numpy as np
import pytest
import tensorflow as tf

from pggan_tf import synthesis
from pggan_tf.config import recipes, resolve
from pggan_tf.errors import UserError
from pggan_tf.metrics import features
from pggan_tf.runs import checkpoint, generators
from pggan_tf.runs import folder as run
from pggan_tf.training import execution, planning, requests, session
from pggan_tf.training.step import train_step

CLASSES = ("cat", "dog", "eel")


def tiny(name, **changes):
    """The plan of a recipe with tiny networks."""
    base = resolve({"recipe": name}).config
    size = min(base.networks.target_res, 16) if not recipes.RECIPES[name].get("resolutions") else None
    small = {"fmap_base": 64, "fmap_max": 12, "latent_size": 8, "batch": {4: 8}, "target_res": size}
    if base.purpose.task != "generate":
        small = {"batch": {4: 4}, "target_res": 16}
        small |= {"width": 4} if base.networks.network != "srresnet" else {"width": 4, "blocks": 2, "patch": 8}
    small = {option: value for option, value in small.items() if value is not None}
    return resolve({"recipe": name, **small, **changes})


def data(plan, phase):
    rng = np.random.default_rng(0)
    size = plan.config.purpose.patch or phase.resolution
    shape = (phase.images_per_step, size, size, plan.data_channels)
    return tf.constant(rng.integers(0, 256, shape, np.uint8)), tf.constant(rng.integers(0, 3, shape[0]))


def asked(given, config_file=None, **kwargs):
    """The options of every run that is asked for, whatever group they are in."""
    return [types.SimpleNamespace(**plan.config.values()) for plan in requests.plans(given, config_file, **kwargs)]


QUICK = ("pggan", "pegasus")  # the others are left to make test-slow


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in recipes.RECIPES]
)
def test_every_recipe_trains_and_its_generator_outlives_it(name, tmp_path):
    plan = tiny(name)
    gan = execution.build(plan, "float32", CLASSES)
    phase = plan.phases[-1]
    gan.begin(phase)
    before = {n: v.numpy().copy() for n, v in gan.state().items()}
    for _ in range(2):
        stats = train_step(gan, phase, *data(plan, phase))
    assert all(np.isfinite(float(v)) for v in stats.values()) and int(gan.skipped.numpy()) == 0
    assert int(gan.images_seen.numpy()) == 2 * phase.batch * plan.config.objective.critic_steps
    for network in filter(None, (gan.generator, gan.discriminator)):
        trained = network.variables_at(phase.resolution, phase.fade)
        named = {id(v): n for n, v in gan.state().items()}
        still = [named[id(v)] for v in trained if np.array_equal(v, before[named[id(v)]])]
        # A bias before batch normalisation has no effect, and no gradient.
        assert all(n.endswith("bias") for n in still), still

    def finished(inputs):
        gan.ema.calibrate_batch_norm(inputs, phase.resolution)
        done = synthesis.finish(gan.ema, inputs)
        done.save(tmp_path / "generator.keras")
        return done, generators.load(tmp_path / "generator.keras")

    if plan.task.from_images:
        pixels = data(plan, phase)[0]
        given = plan.task.condition(tf.cast(pixels, tf.float32) / 127.5 - 1, tf.zeros([2], tf.int64))
        done, again = finished(given.numpy())
        made = done(given)
        np.testing.assert_array_equal(again(given), made)
        n, height, width, channels = plan.task.target(tf.cast(pixels, tf.float32)).shape
        assert made.shape == (n, height, width, channels) and made.dtype == tf.float32
        assert again.task == plan.config.purpose.task and again.scale * given.shape[1] == height
        return
    done, again = finished(synthesis.calibration_latents(gan.ema.latent_size, 64))
    z = synthesis.latents(range(6), plan.config.networks.latent_size)
    images = synthesis.Sampler(done).images(z, phase.resolution)
    np.testing.assert_array_equal(synthesis.Sampler(again).images(z, phase.resolution), images)
    assert images.shape == (6, phase.resolution, phase.resolution, plan.config.images.channels)
    # A seed's image does not depend on what else is drawn.
    np.testing.assert_array_equal(synthesis.Sampler(again).images(z[:2], phase.resolution), images[:2])


def test_classes_are_asked_for_and_make_a_difference():
    plan = tiny("acgan")
    gan = execution.build(plan, "float32", CLASSES)
    z = np.repeat(synthesis.latents([5], plan.config.networks.latent_size), 3, axis=0)
    images = synthesis.Sampler(gan.ema).images(z, 16, labels=np.array([0, 1, 1]))
    assert (images[0] != images[1]).any() and (images[1] == images[2]).all()
    with pytest.raises(ValueError, match="makes cat, dog, eel; say which"):
        gan.generator(tf.constant(z))
    with pytest.raises(UserError, match="--conditional: the data has no classes"):
        execution.build(plan, "float32", ())


def test_weights_stay_within_the_clip():
    plan = tiny("wgan", learning_rate={4: 1.0})
    gan = execution.build(plan, "float32")
    phase = plan.phases[0]
    gan.begin(phase)
    train_step(gan, phase, *data(plan, phase))
    assert max(np.abs(v).max() for v in gan.discriminator.trainable_variables) == pytest.approx(0.01)
    assert max(np.abs(v).max() for v in gan.generator.trainable_variables) > 0.01


def test_the_paper_s_dcgan_has_its_parameters():
    """At 64 pixels with 1024 maps at 4 (Radford et al. 2016, figure 1): counted layer by layer, biases included."""
    plan = resolve({"recipe": "dcgan", "target_res": 64, "fmap_base": 2048, "fmap_max": 1024})
    gan = execution.build(plan, "float32")
    widths = [1024, 512, 256, 128, 3]
    kernels = 100 * 16 * 1024 + 16 * 1024 + sum(16 * a * b + b for a, b in zip(widths, widths[1:]))
    norms = 2 * sum(widths[:-1])
    assert sum(int(np.prod(v.shape)) for v in gan.generator.trainable_variables) == kernels + norms


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"target_res": 512}, "made for one size, a power of two from 8 to 256"),
        ({"resolutions": (4, 8)}, "made for one size"),
        ({"critic_steps": 5, "update": "one-stage"}, "--critic-steps 5 with --update one-stage"),
        ({"label_smoothing": 0.1, "loss": "hinge"}, "--label-smoothing with --loss hinge"),
        ({"weight_clip": 0.0}, "--weight-clip 0.0: expected more than 0"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        resolve({"recipe": "dcgan", **changes})


def test_truncation_keeps_the_class():
    plan = tiny("pggan", conditional=True)
    gan = execution.build(plan, "float32", CLASSES)
    done = synthesis.finish(gan.generator, synthesis.calibration_latents(gan.generator.latent_size, 96))
    z = np.repeat(synthesis.latents([1], plan.config.networks.latent_size), 3, axis=0)
    images = synthesis.Sampler(done).images(z, 16, truncation=0.0, labels=np.arange(3))
    assert len({i.tobytes() for i in images}) == 3


def test_statistics_are_not_part_of_a_run_s_state():
    gan = execution.build(tiny("dcgan"), "float32")
    gan.begin(tiny("dcgan").phases[0])
    assert not [n for n in gan.state() if n.endswith(("/mean", "/variance"))]
    assert [n for n in gan.state() if "norm_4/scale" in n]


def test_lazy_penalties_with_critic_steps_come_at_every_kth_update():
    plan = tiny("wgan-gp", penalty_every=3, critic_steps=5)
    gan = execution.build(plan, "float32")
    phase = plan.phases[0]
    gan.begin(phase)
    came = []
    gan.update = lambda context, batches: came.extend(bool(b.penalise) for b in batches) or _no_update(context)
    for _ in range(3):
        train_step(gan, phase, *data(plan, phase))
    assert came == [i % 3 == 0 for i in range(15)]


def _no_update(context):
    context.apply_generator([tf.zeros_like(v) for v in context.generator_variables], tf.constant(0.0))
    return {
        n: tf.constant(0.0)
        for n in ("loss_d", "loss_g", "penalty", "logit_real", "logit_fake", "sign_real", "auxiliary")
    }


def test_a_generator_alone_needs_no_other_options():
    (plan,) = requests.plans({"recipe": "srgan", "loss": "none"})
    assert plan.config.objective.content == "none" and plan.config.schedule.pretrain_images == 0
    (phase,) = plan.phases
    assert not phase.adversarial


def test_a_pipeline_is_two_runs():
    faces, larger = asked({"recipe": "pggan-separable+srgan", "target_res": 128, "minutes": 10.0})
    assert (faces.target_res, faces.conv, larger.task, larger.target_res) == (32, "separable", "upscale", 128)
    assert faces.minutes + larger.minutes == 10
    faces, larger = asked({"recipe": "pggan-separable+srgan", "target_res": 128, "scale": 2})
    assert (faces.target_res, larger.target_res, larger.scale) == (64, 128, 2)


def test_a_pipeline_begins_with_the_weights_of_the_run_they_are_for(tmp_path):
    name = {"recipe": "pggan-separable+srgan", "target_res": 128}
    faces, larger = asked(name)
    for number, theirs in enumerate((faces, larger)):
        folder = begun_by({}, tmp_path / theirs.recipe)
        run.write_json(folder / run.CONFIG, requests.plans(name)[number].to_json())
        source = str(folder)
        wanted = asked({**name, "init_from": source})
        assert [c.init_from for c in wanted] == [source if c.recipe == theirs.recipe else None for c in wanted]
        wanted = asked({**name, "target_res": 256, "init_from": source})
        assert any(c.init_from for c in wanted), "an upscaler's weights go with any size, and a grown one grows on"
    other = begun_by({"recipe": "dcgan"}, tmp_path / "other")
    with pytest.raises(UserError, match="--network dcgan, which is neither pggan-separable nor srgan"):
        asked({**name, "init_from": str(other)})


def begun_by(given, folder):
    """A run's folder, begun with these options, as --run finds it."""
    folder.mkdir()
    run.write_json(folder / run.CONFIG, requests.plans(given)[0].to_json())
    run.write_json(folder / run.ENVIRONMENT, {})
    checkpoint.path_for(folder, 0).parent.mkdir()
    checkpoint.path_for(folder, 0).touch()
    return folder


def test_a_run_of_an_earlier_default_goes_on_and_what_was_typed_otherwise_is_named(tmp_path):
    (plan,) = requests.plans({"total_images": 3000})
    earlier = {"asked": plan.replace(fmap_base=2048).to_json()}
    run.check_same(tmp_path, plan, earlier, free=())
    for typed, named in (({"total_images": 6000}, "--total-images 6000"), ({"seed": 1}, "--seed 1")):
        (other,) = requests.plans({"total_images": 3000} | typed)
        with pytest.raises(UserError, match=f"^{named}: the run in .* begun with"):
            run.check_same(tmp_path, other, earlier, free=())


def test_features_of_vgg_are_taken_where_keras_has_them(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (config,) = asked({"recipe": "srgan"})
    assert (config.content, config.content_weight) == ("discriminator", 0.003)
    weights = tmp_path / "models" / "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
    weights.parent.mkdir()
    weights.touch()
    (config,) = asked({"recipe": "srgan"})
    assert (config.content, config.content_weight, config.vgg_weights) == ("vgg19", 1.0, str(weights))
    for given in ({"content": "discriminator"}, {"loss": "none"}):
        assert asked({"recipe": "srgan", **given})[0].content != "vgg19"
    begun = begun_by({"recipe": "srgan"}, tmp_path / "with")
    weights.unlink()
    (again,) = asked({"recipe": "srgan"}, own_folder=begun)
    assert vars(again) == vars(config) | {"vgg_weights": None}, "Keras fetches them"


def test_fid_is_measured_where_its_graph_has_been_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("PGGAN_CACHE", str(tmp_path))
    kept = features.locate_weights(features.INCEPTION_URL, tmp_path)
    for there, measured in ((False, ("swd", "ms-ssim")), (True, ("swd", "ms-ssim", "fid"))):
        if there:
            kept.parent.mkdir()
            kept.touch()
        (config,) = asked({"recipe": "dcgan"})
        assert config.metrics == measured
        begun = begun_by({"recipe": "dcgan"}, tmp_path / str(there))
    kept.unlink()
    assert asked({"recipe": "dcgan"}, own_folder=begun)[0].metrics == measured
    kept.touch()
    begun = tmp_path / "False"
    assert asked({"recipe": "dcgan"}, own_folder=begun)[0].metrics == ("swd", "ms-ssim")
    assert asked({"recipe": "pggan"})[0].metrics is None
    assert asked({"recipe": "dcgan", "metrics": ("swd",)})[0].metrics == ("swd",)


def test_a_recolorer_is_trained_at_any_size():
    assert asked({"recipe": "recolor"})[0].resolutions == (96,)
    assert asked({"recipe": "recolor", "target_res": 48})[0].resolutions == (48,)


def test_few_photos_bring_few_grids():
    """A grid for each of 6,400 epochs would take longer than the training."""
    (plan,) = requests.plans({"recipe": "dcgan", "total_images": 64_000})
    for images, every in ((10, 320), (400, 400), (30_000, 30_000)):
        few = types.SimpleNamespace(count=lambda resolution, images=images: images)
        found = planning.with_snapshots(plan, few)
        assert found.config.running.snapshot_images == {4: every} and found.config.running.snapshot_epochs is None
        assert planning.with_snapshots(found, few) is found
    part = planning.with_snapshots(plan.replace(held_out=0.2, snapshot_epochs=2.0), few)
    assert part.config.running.snapshot_images == {4: 48_000}, "of the photos that are trained on"


GROWING = [name for name, values in recipes.RECIPES.items() if values.get("network", "progressive") == "progressive"]


def over(given, then, tmp_path):
    """What options ask for over the config.json of a run that others asked for."""
    run.write_json(tmp_path / "config.json", requests.plans(given)[0].to_json())
    return asked(then, str(tmp_path / "config.json"))[0]


@pytest.mark.parametrize("name", GROWING)
def test_growing_recipes_take_another_network(name, tmp_path):
    given = {"network": "dcgan", "target_res": 32}
    (config,) = asked({"recipe": name, **given})
    assert (config.network, config.conv, config.resolutions) == ("dcgan", None, (32,))
    again = over({"recipe": name, "target_res": 32, "resolutions": (4, 32)}, {"network": "dcgan"}, tmp_path)
    assert (again.network, again.conv, again.generator_norm) == ("dcgan", None, "batch")
    assert again.resolutions == (32,), "the same size"
    assert over({"minibatch": "none", "target_res": 32}, {"network": "dcgan"}, tmp_path).minibatch == "stddev"
    with pytest.raises(UserError, match="--conv separable: --network dcgan does not have it"):
        asked({"recipe": name, **given, "conv": "separable"})


def test_baselines_grow_with_convolutions_of_their_own(tmp_path):
    (config,) = asked({"recipe": "dcgan", "network": "progressive"})
    assert (config.conv, config.generator_norm) == ("separable", "pixel")
    again = over({"recipe": "dcgan"}, {"network": "progressive"}, tmp_path)
    assert (
        again == config
        and (config.minibatch, config.stddev_group) == ("stddev", 4)
        and config.resolutions == (4, 8, 16, 32)
        and config.fade_images[8]
    )
    with pytest.raises(UserError, match="nothing bounds the critic. Give --penalty gp .* or --spectral all"):
        asked({"recipe": "wgan", "network": "progressive"})
    for bound in ({"penalty": "gp"}, {"spectral": "all"}, {"loss": "wgan-gp"}):
        assert asked({"recipe": "wgan", "network": "progressive", **bound})[0].weight_clip is None


def test_another_loss_brings_what_belongs_to_it_and_nothing_else(tmp_path):
    wgan, gp = ({"network": "dcgan", "target_res": 32, "loss": loss} for loss in ("wgan", "wgan-gp"))
    for then in ({"loss": "hinge"}, {"loss": "wgan-gp"}, {"penalty": "gp"}):
        assert over(wgan, then, tmp_path) == asked({**wgan, **then})[0]
        assert asked({**wgan, **then})[0].weight_clip is None
        assert asked({"recipe": "wgan", **then})[0].weight_clip is None
    assert over(gp, {"loss": "hinge"}, tmp_path).discriminator_norm == "batch"
    assert over(gp, {"loss": "wgan"}, tmp_path).weight_clip == 0.01
    chosen = {**wgan, "weight_clip": 0.05, "discriminator_norm": "none"}
    for then in ({"loss": "hinge"}, {"loss": "wgan"}, {"penalty": "none"}, {"penalty": "r1"}):
        config = over(chosen, then, tmp_path)
        assert (config.weight_clip, config.discriminator_norm) == (0.05, "none"), "somebody said so"
    assert asked({"recipe": "wgan-gp", "loss": "wgan-gp"}) == asked({"recipe": "wgan-gp"})


def test_what_a_recipe_says_of_convolutions_stays(tmp_path):
    for objective in ({}, {"loss": "hinge"}, {"penalty": "r2"}):
        with pytest.raises(UserError, match="--spectral with --conv separable"):
            asked({"recipe": "pggan-separable", "spectral": "all", **objective})
        assert asked({"recipe": "pegasus", "spectral": "none", **objective})[0].conv == "standard"
        for then in ({"spectral": "all"}, {"spectral": "none"}):
            assert over({}, {**then, **objective}, tmp_path) == asked({**then, **objective})[0]


def test_networks_of_other_weights_are_taken_over(tmp_path):
    source = str(begun_by({"target_res": 16, "conv": "standard", "fmap_max": 64}, tmp_path / "theirs"))
    (config,) = asked({"target_res": 32, "init_from": source})
    assert (config.conv, config.fmap_max, config.target_res) == ("standard", 64, 32)
    for said, why in (
        ({"recipe": "pggan-paper"}, "--fmap-base is 1024 there and 8192 here"),
        ({"recipe": "pggan-separable"}, "--conv is standard there and separable here"),
        ({"fmap_max": 32}, "give --fmap-max 64"),
        ({"channels": 1}, "--channels is 3 there and 1 here"),
        ({"resolutions": (4, 16)}, "grew through 4, 8, 16 px, which does not begin like 4, 16"),
    ):
        with pytest.raises(UserError, match=why):
            asked({"init_from": source, **({} if "resolutions" in said else {"target_res": 32}), **said})
    with pytest.raises(UserError, match="it has no checkpoint yet"):
        checkpoint.path_for(tmp_path / "theirs", 0).rename(tmp_path / "kept")
        asked({"target_res": 32, "init_from": source})
    (tmp_path / "kept").rename(checkpoint.path_for(tmp_path / "theirs", 0))
    gray = str(begun_by({"target_res": 16, "channels": 1}, tmp_path / "gray"))
    assert asked({"target_res": 32, "init_from": gray})[0].channels == 1
    # Begun from weights that are no longer there.
    begun = begun_by({"target_res": 32, "init_from": source}, tmp_path / "begun")
    (tmp_path / "theirs" / run.CONFIG).unlink()
    (again,) = asked({"target_res": 32, "init_from": source}, own_folder=begun)
    assert (again.conv, again.fmap_max) == ("standard", 64)


def test_another_loss_goes_on_from_the_weights_of_a_former_one(tmp_path):
    gp = begun_by({"recipe": "wgan-gp"}, tmp_path / "gp")
    for given in (
        {"recipe": "wgan-gp", "loss": "hinge"},
        {"recipe": "wgan-gp"},
        {"network": "dcgan", "loss": "wgan-gp"},
    ):
        given = {**given, "init_from": str(gp), **({} if "recipe" in given else {"target_res": 32})}
        assert asked(given)[0].discriminator_norm == "none"
    (config,) = asked({"loss": "hinge", "init_from": str(gp)}, str(gp / run.CONFIG))
    assert (config.discriminator_norm, config.loss) == ("none", "hinge")


def test_weights_of_networks_for_images_go_with_any_size_that_both_take(tmp_path):
    plain = {"task": "upscale", "network": "srresnet", "pixel": "mse"}
    for name, given in (
        ("srgan", {"recipe": "srgan"}),
        ("whole", {**plain, "target_res": 64}),
        ("alone", {**plain, "target_res": 64, "loss": "none"}),
        ("colours", {"recipe": "colorize", "target_res": 64}),
        ("recolor", {"recipe": "recolor"}),
    ):
        begun_by(given, tmp_path / name)
    for name, given in (
        ("srgan", {"recipe": "srgan", "target_res": 256}),
        ("alone", {"recipe": "srgan", "loss": "none", "target_res": 256}),
        ("recolor", {"recipe": "recolor", "target_res": 48}),
        ("colours", {"recipe": "colorize", "target_res": 64, "dropout": 0.2}),
    ):
        asked({**given, "init_from": str(tmp_path / name)})
    for name, given, words in (
        ("whole", {"recipe": "srgan", "blocks": 16}, "made for 64 px, these for 96: give --patch 64"),
        ("whole", {**plain, "target_res": 128}, "made for 64 px, these for 128: give --patch 64"),
        ("colours", {"recipe": "colorize"}, "made for 64 px, these for 256: give --target-res 64"),
    ):
        with pytest.raises(UserError, match=words):
            asked({**given, "init_from": str(tmp_path / name)})


def test_a_run_goes_on_as_it_was_begun_when_defaults_were_others(tmp_path):
    given = {"target_res": 16, "conv": "standard"}
    (theirs,), begun = asked(given), begun_by(given, tmp_path / "begun")
    assert asked({"target_res": 16}, own_folder=begun)[0].conv == "separable", "which is refused then"
    old = vars(theirs) | {"version": 1}
    run.write_json(begun / run.ENVIRONMENT, {"asked": old})
    assert asked({"target_res": 16}, own_folder=begun)[0] == theirs
    assert asked({"target_res": 16, "conv": "separable"}, own_folder=begun)[0].conv == "separable"


def test_options_beside_resume_that_say_what_the_run_was_begun_with(tmp_path):
    given = {"target_res": 16, "batch": {4: 8}, "minutes": 20.0}
    (plan,) = requests.plans(given)
    planned = plan.rescheduled(stable_images={4: 1, 8: 2, 16: 3})
    environment = {"asked": plan.to_json()}

    def check(given):
        run.refuse_changes(tmp_path, planned, environment, given, session.FREE_ON_RESUME)

    check({**given, "fade_images": {4: 300_000}, "keep_checkpoints": 5})
    check({"target_res": "auto", "shape": "auto", "size": "auto", "batch": "auto"})
    for given, words in (
        ({"batch": {4: 16}}, "--batch 4=16,8=16,16=16: .* was started with 4=8,8=8,16=8"),
        ({"minutes": 30.0}, "--minutes 30.0: .* was started with 20.0"),
        ({"resolutions": (4, 16)}, "--resolutions 4,16: .* was started with 4,8,16"),
        ({"mirror": False}, "--no-mirror: .* was started with True, .* new run, with --init-from"),
        ({"channels": 1}, "--channels 1: .* was started with 3, .* start a new run[.]"),
        ({"size": "small"}, "--size small: .* was started without it, "),
        ({"precision": "float16"}, "--precision float16: .* was started with auto, "),
    ):
        with pytest.raises(UserError, match=words):
            check(given)


def test_beside_resume_a_stage_has_the_images_that_were_typed(tmp_path):
    """The plan gives the last stage what the total leaves, which nobody types."""
    (plan,) = requests.plans(
        {"target_res": 8, "stable_images": {4: 100}, "fade_images": {4: 100}, "total_images": 2000}
    )
    assert plan.config.schedule.stable_images == {4: 100, 8: 1800}
    environment = {"asked": plan.to_json()}
    run.refuse_changes(tmp_path, plan, environment, {"stable_images": {4: 100}, "total_images": 2000}, free=())
    with pytest.raises(UserError, match="--stable-images 4=200,8=200: .* was started with"):
        run.refuse_changes(tmp_path, plan, environment, {"stable_images": {4: 200}}, free=())
