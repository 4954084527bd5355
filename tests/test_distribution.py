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
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[3]))
from pggan_tf import schedule
from pggan_tf.data import shards
from pggan_tf.config import resolve
from pggan_tf.training import compiled, distribution, execution, step

def prepared(settings, folder):
    plan = resolve({"fmap_base": 64, "fmap_max": 12, "latent_size": 8, "batch": {4: 8}, **settings})
    resolution, grows, steps = plan.target_res, len(plan.resolutions) > 1, plan.config.objective.critic_steps
    phase = schedule.Phase(0, resolution, grows, 0, 64 * steps, 8, 1e-3, 0, steps)
    channels = plan.data_channels
    writer = shards.Writer(folder, (resolution,), channels=channels, source="noise", classes=("a", "b"))
    for i, image in enumerate(np.random.default_rng(0).integers(0, 256, (40, resolution, resolution, channels), np.uint8)):
        writer.add(image, i % 2)
    writer.close()
    return plan, phase, shards.Shards(folder)

def train(plan, phase, data, strategy):
    with strategy.scope():
        gan = execution.build(plan, "float32", data.manifest.classes)
        gan.begin(phase)
        gan.augment_probability.assign(0.5)
        gan.augment_signs.assign([250.0, 250.0])  # of as many images, so that it is adapted soon
        call = compiled.CompiledSteps(gan, phase, strategy)
        lazy, exchanges = call.every > 1, step.exchanges_statistics(gan, phase, strategy.num_replicas_in_sync)
        assert call.separate == (lazy and exchanges)  # devices cannot exchange values in a loop of some of them
        count, sums = call(execution.read_batches(plan.training_images(data, phase.resolution), phase, 0, strategy), 5)
    return {n: v.numpy() for n, v in gan.state().items()}, sums

mirrored = distribution.create_strategy("mirrored")  # one for the whole process, as in a run: a second one's messages would meet the first's
for number, settings in enumerate(json.loads(sys.argv[1])):
    what = prepared(settings, f"{sys.argv[2]}/{number}")
    one, sums_one = train(*what, distribution.create_strategy("cpu"))
    two, sums_two = train(*what, mirrored)
    # A bias before batch normalisation has no gradient; Adam makes steps of its rounding errors.
    still = {n.removesuffix("/v").partition("/")[2] for n in one if n.endswith("/v") and np.abs(one[n]).max() < 1e-12}
    compared = [n for n in one if not any(f"{n}/".split("/", 1)[1].startswith(f"{s}/") for s in still)]
    worst = max(float(np.abs(one[n].astype(np.float64) - two[n]).max()) for n in compared)
    print(json.dumps({"worst": worst, "compared": len(compared) / len(one), "images": int(two["images_seen"]), "sums": [sums_one, sums_two]}))
"""
WGAN = {"loss": "wgan-gp", "penalty": "none", "weight_clip": 0.5, "target_res": 8, "stddev_group": 1}
DCGAN = {"network": "dcgan", "loss": "nonsaturating", "target_res": 8}
IMAGES = {"stddev_group": 1, "pixel": "l1", "width": 4, "fmap_max": 8, "loss": "nonsaturating", "target_res": 16}


ALONE = {**DCGAN, "update": "one-stage", "sync_batch": False}  # each device normalises its own share
LATENTS = [{"target_res": 8, "penalty_every": 2, "augment": "diff", "update": "two-stage"}]
CRITICS = [
    {**WGAN, "update": "one-stage", "loss": "nonsaturating", "spectral": "all", "augment": "ada", "conditional": True},
    {**WGAN, "update": "two-stage"},
    {**WGAN, "update": "one-stage"},
    {**WGAN, "update": "two-stage", "critic_steps": 2, "optimizer": "rmsprop", "weight_clip": 0.5},
]
BATCHES = [
    {"target_res": 8, "penalty_every": 2, "stddev_group": 8},
    {"target_res": 8, "minibatch": "discrimination", "loss": "lsgan"},
    {**DCGAN, "update": "one-stage"},
    {**DCGAN, "update": "two-stage", "penalty": "r1", "penalty_every": 2},
]
TASKS = [
    {**IMAGES, "task": "colorize", "network": "unet"},
    # Degraded photos are rounded to 8 bits: what is a hair apart in a norm's sums may be a whole step apart there.
    {**IMAGES, "task": "upscale", "network": "srresnet", "scale": 2, "blocks": 1, "degrade": "once"},
    {**IMAGES, "task": "upscale", "network": "srresnet", "scale": 2, "blocks": 1, "generator_norm": "batch"},
]


def both(settings: list[dict], folder, devices: int = 2) -> list[dict]:
    command = [sys.executable, "-c", SCRIPT, json.dumps(settings), str(folder), str(devices)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300 * devices)
    assert result.returncode == 0, result.stderr[-3000:]
    return [json.loads(line) for line in result.stdout.strip().splitlines()[-len(settings) :]]


@pytest.mark.parametrize(
    "group",
    [*(pytest.param(g, marks=pytest.mark.slow) for g in ([*LATENTS, ALONE], CRITICS, BATCHES, TASKS))],
    ids=["latents", "critics", "batches", "tasks"],
)
def test_two_devices_train_like_one(group, tmp_path):
    """Latents, classes, dropout, augmentation and degradation too are those of one device; so are the statistics of a batch."""
    for settings, out in zip(group, both(group, tmp_path), strict=True):
        if settings is ALONE:  # so the agreement of the others is that of the statistics, and --no-sync-batch is heard
            assert out["worst"] > 1e-3
            continue
        # Weights of size 1 after five steps at 1e-3: sums in another order, nothing else.
        assert out["images"] == 40 * settings.get("critic_steps", 1), settings
        assert out["worst"] < 2e-4 and out["compared"] > 0.6, settings
        for name, value in out["sums"][0].items():
            assert abs(value - out["sums"][1][name]) < 1e-3 * max(1, abs(value)), (settings, name)
        adapted = out["sums"][0]["augment_probability"] != 2.5  # five times 0.5
        assert adapted == (settings.get("augment") == "ada")


@pytest.mark.slow
def test_eight_devices_train_like_one(tmp_path):
    """Each has one image, and the statistics of four neighbours; the penalty is as rare as on one device."""
    (out,) = both([{"target_res": 4, "penalty_every": 4, "stddev_group": 4}], tmp_path, 8)
    assert out["images"] == 40 and out["worst"] < 2e-4 and out["compared"] > 0.6
    one, eight = out["sums"]
    assert one["penalty"] > 0 and all(abs(eight[n] - one[n]) < 1e-3 * max(1, abs(one[n])) for n in one)
