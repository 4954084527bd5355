"""Steps as XLA modules, and the script that measures them on GPUs: no GPU is here, and JAX need not be."""

import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import gpu
from pggan_tf.config import resolve
from tests.conftest import ROOT, start

TINY = {"target_res": 8, "fmap_base": 64, "fmap_max": 8, "latent_size": 8, "batch": {4: 8}, "conv": "standard"}


def test_pictures_are_written_without_pillow(tmp_path):
    from PIL import Image

    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), np.uint8)
    picture = gpu.tile(images)
    gpu.write_png(tmp_path / "grid.png", picture)
    found = np.asarray(Image.open(tmp_path / "grid.png"))
    assert found.shape == (8, 12, 3) and (found[:4, 4:8] == images[1]).all() and (found[4:, 4:8] == images[4]).all()


def test_what_matters_most_is_measured_first():
    names = ("resolution", "objective", "size")
    forms = [(1024, "default", "paper"), (64, "default", "small"), (64, "wgan-gp", "phone"), (48, "wgan-gp", "small")]
    order = sorted((dict(zip(names, form)) for form in forms), key=gpu.place)
    assert [tuple(about.values()) for about in order] == [forms[2], forms[1], forms[0], forms[3]]
    clock = gpu.Clock(0.5)
    assert 29 < clock.left() <= 30 and 0 <= clock.spent() < 1


def test_a_peer_that_fails_is_told(monkeypatch):
    about = {"resolution": 8, "batch": 4, "options": {"latent_size": 8, "fmap_base": 64, "fmap_max": 8}}
    failed = subprocess.CompletedProcess([], 1, "", "no torch here")
    monkeypatch.setattr(gpu.subprocess, "run", lambda *a, **k: failed)
    assert gpu.measure_peer(about, {"best": False}, 1, 9) == {"error": "no torch here"}

    def waits(*arguments, **k):
        raise subprocess.TimeoutExpired("x", k["timeout"])

    monkeypatch.setattr(gpu.subprocess, "run", waits)
    assert gpu.measure_peer(about, {"best": False}, 1, 9) == {"error": "more than 9 s"}
    done = subprocess.CompletedProcess([], 0, "a warning\n12.5\n", "")
    monkeypatch.setattr(gpu.subprocess, "run", lambda *a, **k: done)
    assert gpu.measure_peer(about, {"best": False}, 1, 9) == {"images_per_second": 12.5}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(the folder of two files, {objective: what is in its file}, their steps)."""
    from benchmarks import xla

    folder, told, steps = tmp_path_factory.mktemp("steps"), {}, {}
    for objective, options in xla.OBJECTIVES.items():
        steps[objective] = xla.make_step(resolve({**TINY, **options}))
        told[objective] = xla.write(steps[objective], folder / f"8-phone-float32-{objective}.npz", "float32", objective)
    return folder, told, steps


@pytest.mark.slow
def test_a_module_is_the_step_of_tensorflow(written):
    from benchmarks import xla

    folder, told, steps = written
    default, penalised = told["default"], told["wgan-gp"]
    assert len(default["programs"]) == 2 and default["every"] == 16, "with the lazy penalty, and without"
    assert len(penalised["programs"]) == 1 and penalised["every"] == 1
    most, least = (program["gflop"] for program in default["programs"])
    assert default["gflop"] == pytest.approx((most + 15 * least) / 16) and most > 1.3 * least
    state = steps["default"].gan.state()
    for program in default["programs"]:
        changed = {program["names"][i] for i in program["results"]}
        assert {"images_seen", "generator/conv_8/kernel", "discriminator/conv_8/kernel", "ema/conv_8/kernel"} <= changed
        assert set(program["names"]) - {"pixels", "labels", "augment_probability:0"} <= set(state)
    with np.load(folder / "8-phone-float32-default.npz") as file:
        assert json.loads(str(file["about"])) == json.loads(json.dumps(default)) and file["hlo_0"].size > 1e5
        kernel = file["value/generator/conv_8/kernel"]
        assert (kernel == state["generator/conv_8/kernel"].numpy()).all()
        assert (file["hlo_0"].size, file["hlo_0"].tobytes()) != (file["whole_0"].size, file["whole_0"].tobytes())
    for step in steps.values():
        # Adam's first step is as long for gradients of rounding errors as for others.
        found = xla.check(step)
        assert found["stats"] < 1e-4 and found["weights"] < 1e-3, found


@pytest.mark.slow
def test_jax_takes_the_same_steps(written, tmp_path):
    """In full: measured, trained with photos, and drawn, as on a GPU."""
    pytest.importorskip("jax", reason="JAX is not installed")
    folder, told, steps = written
    np.savez(folder / gpu.PHOTOS, images=np.random.default_rng(0).integers(0, 256, (32, 8, 8, 3), np.uint8))
    command = [sys.executable, "-m", "benchmarks.gpu", folder, "--out", tmp_path, "--minutes", "4", "--seconds", "0.2"]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / "results.json").read_text())
    assert {(row["objective"], row["kind"]) for row in results["steps"]} == {
        *(("default", "tf32"), ("default", "float32"), ("wgan-gp", "tf32"), ("wgan-gp", "float32"))
    }
    assert all(row["finite"] and row["images_per_second"] > 0 for row in results["steps"])
    assert results["training"]["images"] > 0 and (tmp_path / "grid.png").stat().st_size > 100


@pytest.mark.slow
def test_the_page_of_modules_is_printed(tmp_path):
    out, folder = tmp_path / "xla.md", tmp_path / "steps"
    process = start("-m", "benchmarks.xla", "--resolutions", "8", "--folder", folder, "--photos", "3", "--out", out)
    said, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    assert "8 | phone | float32   | default" in said and "| GFLOP/image |" in out.read_text()
    with np.load(folder / gpu.PHOTOS) as file:
        assert file["images"].shape == (3, 64, 64, 3)
