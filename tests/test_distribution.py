"""Two devices against one, on logical CPUs: a process of its own, since devices are split before the first use."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCRIPT = """
import json, sys
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from pggan_tf import augment, config as configs, growth
from pggan_tf.training import loop

augment.ADA_TARGET = -2.0  # D is always surer than that: the probability rises

def train(strategy):
    settings = {"loss": "wgan-gp", "penalty": "none", **json.loads(sys.argv[1])}
    config = configs.complete(configs.Config(target_res=8, fmap_base=64, fmap_max=12, latent_size=8, batch={4: 8}, stddev_group=1,
                                             **settings))
    phase = growth.Phase(0, 8, True, 0, 64, 8, 1e-3, 0, config.critic_steps)
    each = 8 * config.critic_steps
    pixels = np.random.default_rng(0).integers(0, 256, (5 * each, 8, 8, 3)).astype(np.uint8)
    with strategy.scope():
        gan = loop.build(config, "float32")
        gan.begin(phase)
        # The same latents whatever the number of devices: replica i takes its part of them.
        def latents(draw, shape, stream, ahead, **kwargs):
            whole = draw((8, *shape[1:]), seed=tf.stack([gan.images_seen.read_value() * 4 + stream, tf.constant(0, tf.int64)]))
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return whole[replica * shape[0] : (replica + 1) * shape[0]]
        gan._random = latents
        # What D sees is not changed here, since every device would draw its own; how likely a change is still adapts.
        gan._augmented = lambda images, calls: images
        # Every device cuts its part into the batches of D's steps: what D sees together has to be the same.
        steps, devices = config.critic_steps, strategy.num_replicas_in_sync
        images = pixels.reshape(5, steps, devices, 8 // devices, 8, 8, 3).swapaxes(1, 2).reshape(pixels.shape)
        dataset = tf.data.Dataset.from_tensor_slices((images, np.zeros(5 * each, np.int64))).batch(each, drop_remainder=True)
        data = iter(strategy.experimental_distribute_dataset(dataset) if strategy.num_replicas_in_sync > 1 else dataset)
        call = loop.compiled(gan, phase, strategy)
        count, sums = call(data, 5)
    return {n: v.numpy() for n, v in gan.state().items()}, {k: float(v) for k, v in sums.items()}

one, sums_one = train(tf.distribute.get_strategy())
two, sums_two = train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
worst = max(float(np.abs(one[n].astype(np.float64) - two[n]).max()) for n in one)
print(json.dumps({"worst": worst, "variables": len(one), "images": int(two["images_seen"]), "sums": [sums_one, sums_two]}))
"""


@pytest.mark.parametrize(
    "settings",
    [
        {"update": "two-stage"},
        {"update": "one-stage"},
        {"update": "two-stage", "critic_steps": 2, "optimizer": "rmsprop", "weight_clip": 0.5},
        {"update": "one-stage", "loss": "hinge", "spectral": "all", "augment": "ada"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_two_devices_train_like_one(settings):
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(settings)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr[-3000:]
    out = json.loads(result.stdout.strip().splitlines()[-1])
    # Weights of size 1 after five steps at 1e-3: sums in another order, nothing else.
    assert out["images"] == 40 * settings.get("critic_steps", 1) and out["worst"] < 2e-4
    for name, value in out["sums"][0].items():
        assert abs(value - out["sums"][1][name]) < 1e-3 * max(1, abs(value)), name
    assert (out["sums"][0]["augment_probability"] > 0) == (settings.get("augment") == "ada")
