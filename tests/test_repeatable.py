"""A step repeated from the same state is the same to the last bit, on as many cores as there are: what a resumed run stands on."""

import numpy as np
import pytest
import tensorflow as tf

from pggan_tf import schedule
from pggan_tf.config import resolve
from pggan_tf.training import compiled, execution
from pggan_tf.training.step import train_step


def begun(settings):
    """(gan, its last phase, images of a step, their classes)."""
    plan = resolve(settings)
    resolution, steps = plan.target_res, plan.config.objective.critic_steps
    batch = plan.config.optimization.batch[resolution]
    phase = schedule.Phase(0, resolution, len(plan.resolutions) > 1, 0, 6400, batch, 4e-3, 0, steps)
    gan = execution.build(plan, plan.config.running.precision)
    gan.begin(phase)
    shape = (phase.images_per_step, resolution, resolution, plan.data_channels)
    pixels = tf.constant(np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8))
    return gan, phase, pixels, tf.zeros([phase.images_per_step], tf.int64)


def stepping(settings):
    """(gan, a function of one step of its last phase)."""
    gan, phase, pixels, labels = begun(settings)
    return gan, tf.function(lambda: train_step(gan, phase, pixels, labels), autograph=False)


@pytest.mark.parametrize(
    "loss, resolutions",
    [
        ("nonsaturating-r1", (8, 16)),
        pytest.param("nonsaturating-r1", (16, 32), marks=pytest.mark.slow),
        pytest.param("wgan-gp", (16, 32), marks=pytest.mark.slow),
    ],
)
def test_a_repeated_step_is_the_same_step(loss, resolutions):
    """With networks wide enough to be shared by several threads."""
    gan, step = stepping({"resolutions": resolutions, "precision": "float32", "loss": loss})
    state = gan.state()
    start = {name: variable.numpy() for name, variable in state.items()}
    ends = []
    for _ in range(6):
        for name, variable in state.items():
            variable.assign(start[name])
        step(), step()
        ends.append({name: variable.numpy() for name, variable in state.items()})
    for end in ends[1:]:
        for name in end:
            np.testing.assert_array_equal(end[name], ends[0][name], err_msg=name)


SMALL = {"target_res": 8, "fmap_base": 64, "fmap_max": 12, "latent_size": 8, "batch": {4: 8}, "precision": "float32"}
IMAGES = {"stddev_group": 1, "loss": "nonsaturating", "target_res": 16, "width": 8}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"update": "two-stage", "loss": "wgan-gp", "critic_steps": 2},
        pytest.param({"penalty": "r1+r2", "augment": "diff"}, marks=pytest.mark.slow),
        pytest.param({"conv": "separable", "minibatch": "discrimination"}, marks=pytest.mark.slow),
        pytest.param({"spectral": "all", "loss": "relativistic"}, marks=pytest.mark.slow),
        pytest.param({"generator_norm": "batch"}, marks=pytest.mark.slow),
        pytest.param({"network": "dcgan", "loss": "nonsaturating", "penalty": "r1"}, marks=pytest.mark.slow),
        {**IMAGES, "task": "colorize", "network": "unet", "pixel": "l1"},
        pytest.param(
            {
                **IMAGES,
                "task": "upscale",
                "network": "srresnet",
                "pixel": "mse",
                "blocks": 2,
                "content": "discriminator",
            },
            marks=pytest.mark.slow,
        ),
    ],
    ids=str,
)
def test_sums_are_taken_two_by_two(settings):
    """AddN of three and more begins with whichever is there first. (Of scalars, only whether they are finite is asked.)"""
    _, step = stepping({**SMALL, **settings})
    sums = [op for op in step.get_concrete_function().graph.get_operations() if op.type == "AddN"]
    assert sums and [op.name for op in sums if len(op.inputs) > 2 and op.outputs[0].shape.rank] == []
    assert tf.config.optimizer.get_experimental_options()["arithmetic_optimization"] is False


@pytest.mark.slow
def test_how_many_steps_share_a_call_does_not_matter():
    """That depends on the machine's speed. Figures are to be the same to the last bit, as weights are."""
    found = []
    for calls in ((7,), (1, 2, 4), (1,) * 7):
        gan, phase, pixels, labels = begun({**SMALL, "target_res": 4, "penalty_every": 2})
        iterator = iter(tf.data.Dataset.from_tensors((pixels, labels)).repeat())
        call, sums = compiled.CompiledSteps(gan, phase, tf.distribute.get_strategy()), {}
        for steps in calls:
            count, sums = call(iterator, steps, sums)
            assert count == steps
        found.append(sums)
    assert found[0] == found[1] == found[2] and found[0]["loss_d"] and found[0]["penalty"]
