"""Sizes that follow the device, batches that fit its memory, and what both cost."""

import json
import math
import os
import subprocess
import sys
import types

import numpy as np
import pytest

from pggan_tf import networks, schedule, shapes
from pggan_tf.api import sizing
from pggan_tf.config import cost, load, parse, resolve
from pggan_tf.config.resolve import Base
from pggan_tf.config.sizes import SIZES
from pggan_tf.errors import UserError
from pggan_tf.training import distribution, gpus, precision, requests
from tests.conftest import ROOT, TINY, options_of, pggan, run_folder, train

GIB = 2**30
LARGE = {"size": "small", "target_res": 1024}


def test_every_value_has_a_source_and_phone_is_what_runs_are_today():
    for size in SIZES.values():
        assert size.values.keys() == size.sources.keys()
    phone, today = resolve({"size": "phone"}), resolve({})
    assert phone.config.replace(size=None) == today.config and phone.phases == today.phases
    assert "size" not in today.to_json()["networks"], "earlier versions can read it"
    assert phone.to_json()["networks"]["size"] == "phone"


@pytest.mark.parametrize("size", ["small", "paper"])
def test_a_size_follows_its_sources(size):
    plan = resolve({"size": size, "target_res": 1024})
    options, share = plan.config.networks, {"small": 2, "paper": 1}[size]
    # Karras et al. 2018: base 8192, at most 512, latents of 512.
    assert (options.fmap_base, options.fmap_max, options.latent_size) == (8192 // share, 512 // share, 512 // share)
    assert options.conv == "standard"
    authors = {4: 128, 8: 128, 16: 128, 32: 64, 64: 32, 128: 16, 256: 8, 512: 4, 1024: 4}
    # Twice as many would need 8.15 GiB at 1024 px.
    assert plan.config.optimization.batch == {r: n if r in (4, 8, 16, 1024) else share * n for r, n in authors.items()}
    for resolution, batch in plan.config.optimization.batch.items():
        rule = 0.0002 * resolution**2 / batch  # StyleGAN2-ADA
        gamma = plan.config.objective.penalty_weight[resolution]
        assert gamma == pytest.approx(max(0.3, rule), rel=0.05), resolution
    assert plan.phases[-1].end == pytest.approx(12e6, abs=1000) and plan.phases[-1].images > 2e6
    assert {round(p.images, -3) for p in plan.phases[:-1]} == {600_000}


def test_typed_options_win_then_a_recipe_then_the_size():
    typed = resolve({"size": "paper", "fmap_max": 64, "batch": {4: 8}, "stable_images": {4: 1000}})
    assert typed.config.networks.fmap_max == 64 and set(typed.config.optimization.batch.values()) == {8}
    assert typed.config.networks.fmap_base == 8192
    assert typed.config.schedule.total_images is None, "the stages were typed"
    recipe = resolve({"size": "small", "recipe": "pegasus"})
    assert recipe.config.networks.fmap_base == 4096 and recipe.config.optimization.batch[96] == 16
    assert recipe.config.objective.penalty_weight == resolve({"recipe": "pegasus"}).config.objective.penalty_weight
    assert recipe.config.schedule.total_images is None
    loss = resolve({"size": "small", "loss": "wgan-gp", "target_res": 1024})
    assert set(loss.config.objective.penalty_weight.values()) == {10.0}, "gamma belongs to R1"
    assert resolve({"size": "small", "minutes": 9.0}).config.schedule.total_images is None
    with pytest.raises(UserError, match="sizes are for networks that grow, and --network dcgan does not"):
        resolve({"size": "small", "recipe": "dcgan"})


def test_a_size_is_kept_in_the_config(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(resolve({"size": "small", "target_res": 128, "batch": "auto"}).to_json()))
    again = load(file)
    assert again.config.networks.size == "small" and again.phases == Base.of_file(file).plan({}).phases
    assert Base.of_file(file).plan({"network": "dcgan", "target_res": 32}).config.networks.size is None
    (tmp_path / "environment.json").write_text("{}")
    # The same command goes on with the run where there is no GPU.
    assert sizing.replace_auto_size({}, print, own=tmp_path) == {"size": "small"}
    assert sizing.replace_auto_size({"recipe": "dcgan"}, print, own=tmp_path) == {"recipe": "dcgan"}
    assert sizing.replace_auto_size({"init_from": str(tmp_path)}, print)["size"] == "small"
    halved = json.loads(file.read_text())
    halved["optimization"]["batch"] |= {"128": 16}
    file.write_text(json.dumps(halved))
    repeated = Base.of_file(file).plan({})
    assert repeated.config.optimization.batch[128] == 16 and repeated.asked["batch"] == "auto"


def test_weights_have_a_size_already():
    options = {"init_from": str(ROOT / "tests/golden/fading"), "target_res": 8}
    with pytest.raises(UserError, match="its networks have the size phone. Give that, or leave it out."):
        requests.plans({**options, "size": "small"})
    assert requests.plans({**options, "size": "phone"})[0].config.networks.size == "phone"
    assert requests.plans({**options, "size": "auto"})[0].config.networks.size is None


def test_numbers_of_images_may_be_short():
    assert parse("total_images", "12M") == 12_000_000 and parse("total_images", "2.5m") == 2_500_000
    assert parse("stable_images", "4=600k,32=1M") == {4: 600_000, 32: 1_000_000}
    assert parse("metrics_every", "50K") == {4: 50_000} and parse("portraits", "2k") == 2_000
    assert parse("batch", "auto") == "auto"
    for name, text in (("seed", "1k"), ("total_images", "M"), ("total_images", "1.00001k"), ("batch", "1k")):
        with pytest.raises(UserError, match="not a"):
            parse(name, text)


def cards(*memory):
    return [gpus.Gpu("NVIDIA T4", round(gib * GIB)) for gib in memory]


@pytest.mark.parametrize(
    "here, photos, size, why",
    [
        ((), 50_000, "phone", "there is no GPU here"),
        (
            (3.9,),
            50_000,
            "phone",
            "1 x NVIDIA T4 with 4 GiB and 50,000 photos; the next size is for 4 GiB and 1,000 photos",
        ),
        ((8,), 50_000, "small", "the next size is for 15 GiB and 10,000 photos"),
        ((80, 80), 50_000, "paper", "2 x NVIDIA T4 with 80 GiB and 50,000 photos"),
        ((80,), 9_999, "small", "9,999 photos"),
        ((80,), 999, "phone", "999 photos"),
        ((80, 8), None, "small", "with 8 GiB; the next"),
    ],
)
def test_auto_asks_device_memory_and_photos(here, photos, size, why):
    chosen, reason = sizing.choose_size(cards(*here), photos)
    assert chosen == size and why in reason


def test_drawings_are_counted_as_they_are_asked_for():
    counts = [sizing._count_photos({"data": data, "portraits": 50}) for data in (None, "portraits", "sprites")]
    assert counts == [50, 50, 50]


def test_the_driver_is_asked_for_memory(monkeypatch):
    answer = types.SimpleNamespace(stdout="15360\n81559\n")
    monkeypatch.setattr(gpus.subprocess, "run", lambda *a, **k: answer)
    assert gpus._read_memory() == [15 * GIB, 81559 * 2**20]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert gpus.list_gpus() == [] and not gpus.may_exist()


def test_the_front_door_says_what_it_chose(monkeypatch, photos):
    """As with a card of 80 GiB: no GPU is here."""
    code, out, err = train("--dry-run", "--size", "auto", "--target-res", "16")
    assert code == 0 and out.startswith("--size auto: phone, for there is no GPU here"), err
    monkeypatch.setattr(gpus, "may_exist", lambda: True)
    monkeypatch.setattr(gpus, "list_gpus", lambda strategy: cards(80))
    code, out, err = train("--dry-run", "--target-res", "256", "--precision", "float32")
    assert code == 0, err
    said, _, rest = out.partition("\n")
    assert said == "--size auto: paper, for 1 x NVIDIA T4 with 80 GiB and 10,000 photos"
    config, end = json.JSONDecoder().raw_decode(rest)
    assert config["networks"]["size"] == "paper" and config["asked"] == {"recipe": "pggan", "target_res": 256, "precision": "float32", "size": "paper", "batch": "auto"}  # fmt: skip
    assert "paper: 23,0" in rest[end:] and "a step at 256 px in batches of 8 needs about 3" in rest[end:]
    for words, sentence in (((), "for 1 x NVIDIA T4 with 80 GiB and 12 photos"), (("--size", "small"), "small: ")):
        code, out, _ = train("--dry-run", "--data", photos, "--target-res", "16", *words)
        assert code == 0 and sentence in out
    for words in (
        ("--recipe", "dcgan"),
        ("--recipe", "pegasus"),
        ("--recipe", "pggan-separable+srgan", "--target-res", "128"),
    ):
        code, out, _ = train("--dry-run", *words)
        assert code == 0 and "--size" not in out and '"size"' not in out
    assert train("--dry-run", "--recipe", "dcgan", "--size", "small")[0] == 2
    monkeypatch.setattr(gpus, "may_exist", lambda: False)
    code, out, err = train("--dry-run", "--recipe", "faces-mse", "--size", "small", "--target-res", "16")
    assert code == 0 and out.startswith("--size small: --recipe faces-mse sets --"), err
    assert " itself, and that stays." in out.partition("\n")[0] and "--learning-rate" in out.partition("\n")[0]


@pytest.mark.slow
def test_batches_are_halved_until_they_fit(monkeypatch, tmp_path):
    """As on a device with memory for 8 images at 8 px: whatever is larger ends as it does there."""
    import tensorflow as tf

    from pggan_tf.training import planning

    measure, tried = planning._measure_speed, []

    def limited(plan, programs, phase, clock):
        tried.append((phase.resolution, phase.batch))
        if phase.resolution == 8 and phase.batch > 8:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return measure(plan, programs, phase, clock)

    monkeypatch.setattr(planning, "_measure_speed", limited)
    monkeypatch.setattr(planning, "PROBE_SECONDS", 1e-3)
    words = [*TINY, "--target-res", "8", "--stable-images", "8=32", "--fade-images", "0", "--held-out", "0"]
    code, out, err = train(*words, "--batch", "auto", "--runs", tmp_path)
    assert code == 0, err
    run = run_folder(out)
    assert tried == [(4, 16), (8, 16), (8, 8)]
    assert options_of(run)["batch"] == {"4": 16, "8": 8}
    said = "--batch auto: 16 images at 8 px are too many for the memory of the device; 8 from now on"
    assert said in out and said in (run / "log.txt").read_text()
    tried.clear()
    code, out, err = train("--config", run / "config.json", "--dry-run")
    assert code == 0 and json.JSONDecoder().raw_decode(out)[0]["optimization"]["batch"] == {"4": 16, "8": 8}, err
    monkeypatch.setattr(planning, "_measure_speed", lambda *a: (_ for _ in ()).throw(MemoryError()))
    code, _, err = train(*words, "--batch", "auto", "--runs", tmp_path)
    assert code != 0 and "out of memory while the speed at 4 px is measured in batches of 1" in err


DEVICES = (2, 3, 5, 6, 7, 8)


@pytest.mark.parametrize("devices", DEVICES)
def test_the_defaults_fit_any_number_of_devices(devices):
    strategy = types.SimpleNamespace(num_replicas_in_sync=devices)
    alone = types.SimpleNamespace(num_replicas_in_sync=1)
    for options in (
        {},
        {"size": "small"},
        {"size": "paper"},
        {"recipe": "pggan-paper"},
        {"recipe": "dcgan"},
        {"stddev_group": 1},
    ):
        plan = resolve({"target_res": 32, **options})
        fitted = distribution.fit_batch(plan, strategy)
        distribution.check_devices(fitted, devices, precision.Arithmetic(), print)
        before, after = plan.with_large_batches().config.optimization, fitted.config.optimization
        group = 4 if options.get("stddev_group") != 1 and options.get("recipe") != "dcgan" else 1
        for resolution, batch in after.batch.items():
            assert batch % (devices * group) == 0
            assert 0 <= batch - before.batch[resolution] < devices * group, "the next such number"
        assert before.learning_rate == after.learning_rate
        assert distribution.fit_batch(plan, alone) is plan
    typed = resolve({"batch": {4: 9}, "stddev_group": 1})
    assert distribution.fit_batch(typed, strategy) is typed
    if devices != 3:
        with pytest.raises(UserError, match="cannot share it evenly"):
            distribution.check_devices(typed, devices, precision.Arithmetic(), print)


SEVERAL = """
import sys, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1]))
from pggan_tf.commands import cli
sys.exit(cli.main(sys.argv[2:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 3, 5, 8])
def test_devices_train_with_the_defaults(devices, tmp_path):
    words = [*TINY, "--target-res", "4", "--stable-images", "240", "--strategy", "mirrored", "--run", tmp_path / "run"]
    command = [sys.executable, "-c", SEVERAL, devices, "train", *words]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    batch = options_of(tmp_path / "run")["batch"]["4"]
    assert batch % (4 * devices) == 0 and f"in batches of {batch}" in done.stdout


@pytest.mark.parametrize(
    "options, classes",
    [
        ({}, ()),
        ({"size": "small"}, ()),
        (
            {
                "conv": "standard",
                "minibatch": "discrimination",
                "generator_norm": "batch",
                "discriminator_norm": "batch",
            },
            (),
        ),
        ({"conditional": True, "stddev_group": 1}, ("a", "b")),
        ({"modulation": "latents", "conditional": True}, ("a", "b", "c")),
        ({"target_res": 12, "shape": "3:4", "resolutions": (4, 12), "channels": 1}, ()),
    ],
)
def test_parameters_are_counted_as_the_networks_have_them(options, classes):
    plan = resolve({"target_res": 16, "fmap_base": 256, "fmap_max": 24, "latent_size": 8, **options})
    built = {
        "generator": networks.make_generator("progressive", plan.network_options(classes)),
        "discriminator": networks.make_discriminator("progressive", plan.network_options(classes)),
    }
    for network in built.values():
        network.build()
    found = {name: sum(math.prod(v.shape) for v in network.trainable_variables) for name, network in built.items()}
    assert cost.count_parameters(plan.config, len(classes)) == found


MEASURED = """
import ast, sys
from benchmarks import xla
from pggan_tf.config import resolve
step = xla.make_step(resolve(ast.literal_eval(sys.argv[1])), fade=ast.literal_eval(sys.argv[2]))
print(xla.plan_memory(step.functions[0], *step.inputs))
"""
SAMPLED = """
import ast, sys
import tensorflow as tf
from benchmarks import xla
from pggan_tf import networks
from pggan_tf.config import resolve
network = networks.make_generator("progressive", resolve(ast.literal_eval(sys.argv[1])).network_options(()))
network.build()
call = tf.function(lambda z: network(z), autograph=False, jit_compile=True)
print(xla.plan_memory(call, tf.zeros((int(sys.argv[2]), network.latent_size))))
"""


def planned_bytes(script, *arguments):
    """Bytes that XLA plans, by its own buffer assignment; a process of its own, as compilers keep memory."""
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"  # of code that is not run
    command = [sys.executable, "-c", script, *map(repr, arguments)]
    environment = {**os.environ, "XLA_FLAGS": flags}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"size": "small", "target_res": 32},
        {"target_res": 32, "batch": {4: 32}},
        {"size": "paper", "target_res": 16, "loss": "wgan-gp", "update": "two-stage"},
    ],
)
def test_memory_is_estimated_as_xla_plans_it(options):
    plan = resolve(options)
    xla = planned_bytes(MEASURED, {**options, "batch": plan.config.optimization.batch}, False)
    assert cost.estimate_memory(plan.config, plan.target_res) == pytest.approx(xla, rel=1 / 3)


@pytest.mark.slow
def test_1024_pixels_need_less_than_8_gib_at_the_small_size():
    from pggan_tf import synthesis

    plan = resolve(LARGE)
    xla = planned_bytes(MEASURED, LARGE, True)  # the fade needs the most
    print(f"a step at 1024 px: {xla / GIB:.2f} GiB")
    assert xla < 8 * GIB and cost.estimate_memory(plan.config, 1024) == pytest.approx(xla, rel=1 / 3)
    batch = synthesis.Sampler(networks.make_generator("progressive", plan.network_options(())))._batch_size(1024)
    sampled = planned_bytes(SAMPLED, LARGE, batch)
    print(f"{batch} samples at 1024 px: {sampled / GIB:.2f} GiB")
    assert batch == 2 and sampled + 2 * batch * 1024**2 * 3 * 4 < GIB


class Painter:
    """A generator that paints latents: for the arithmetic of the sampler alone."""

    classes, latent_size, channels = (), 4, 3

    def __init__(self, resolution):
        self.resolutions, self.seen = (resolution,), []

    def shape_at(self, resolution):
        return (resolution, resolution)

    def __call__(self, z, resolution, alpha, truncation):
        import tensorflow as tf

        self.seen.append(z.shape[0])
        return tf.zeros((z.shape[0], resolution, resolution, 3)) + z[:, :1, None, None]


@pytest.mark.parametrize("resolution, batch, grid", [(64, 32, 64), (256, 32, 64), (512, 8, 64), (1024, 2, 16)])
def test_what_draws_has_a_budget_of_pixels(resolution, batch, grid):
    from pggan_tf import synthesis

    painter = Painter(resolution)
    samples = synthesis.FromLatents(painter, 64)
    assert len(samples.latents) == grid
    z = np.linspace(-1, 1, 3, dtype=np.float32)[:, None].repeat(4, 1)
    images = samples.sampler.images(z, resolution)
    assert painter.seen == [batch] and images.shape == (3, resolution, resolution, 3)
    assert images[:, 0, 0, 0].tolist() == [0, 128, 255]
    assert sum(len(part) for part in samples.sampler.batches(range(5), np.zeros(5, int), resolution)) == 5


def test_budgets():
    assert shapes.limit_images(64, (1024, 1024), 1 << 24) == 16 and shapes.limit_images(64, (4, 4), 1 << 24) == 64
    assert shapes.limit_images(64, (4096, 8192), 1 << 24) == 1 and shapes.limit_images(0, (4, 4), 16) == 0
    assert shapes.limit_images(8, (1024, 1024), 1 << 20, least=2) == 2
    from pggan_tf.data import pixels

    assert [pixels.find_reduction((n, n), 1 << 22) for n in (64, 2048, 2049, 4096)] == [1, 1, 2, 2]


def test_schedules_of_a_size_reach_the_last_stage():
    (last,) = (p for p in resolve({**LARGE, "total_images": 20_000_000}).phases if p.resolution == 1024 and not p.fade)
    assert last.images == pytest.approx(20e6 - 16 * 600_000, abs=1000)
    assert isinstance(last, schedule.Phase) and pggan("train", "--size", "smal")[0] == 2
