"""The figures of super-resolution and colorization: their arithmetic, and the published row of bicubic interpolation."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import color, data

from benchmarks import colorization, enlargers, super_resolution
from pggan_tf import entry, tasks
from pggan_tf.data import photos
from tests.stand_ins import Colorizer, Recolorer, Upscaler, saved

SET5 = Path(os.environ.get("PGGAN_SET5", "set5_x4"))


def test_psnr_and_ssim_are_those_of_scikit_image():
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    truth = data.astronaut()[:128, :128]
    noisy = np.clip(truth + np.random.default_rng(0).normal(0, 10, truth.shape), 0, 255).astype(np.uint8)
    psnr, ssim = super_resolution.luma_figures(noisy, truth, 4)
    a, b = (color.rgb2ycbcr(x)[4:-4, 4:-4, 0] for x in (noisy, truth))
    assert psnr == pytest.approx(peak_signal_noise_ratio(b, a, data_range=255), abs=1e-3)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    _, whole = structural_similarity(a, b, full=True, **options)
    assert ssim == pytest.approx(whole[5:-5, 5:-5].mean(), abs=1e-3)  # where the window lies inside


@pytest.mark.skipif(not SET5.is_dir(), reason="the photos of Set5 are not here; PGGAN_SET5 says where")
def test_bicubic_interpolation_of_set5_is_the_published_one(capsys):
    found = super_resolution.figures(
        lambda low: super_resolution.bicubic(low, 4), super_resolution.pairs(str(SET5), 4), 4
    )
    psnr, ssim = np.mean(list(found.values()), 0)
    with capsys.disabled():
        print(f"\nSet5 x4, bicubic: {psnr:.3f} dB, SSIM {ssim:.4f}")
    assert len(found) == 5 and psnr == pytest.approx(28.43, abs=0.05) and ssim == pytest.approx(0.8104, abs=0.005)


def test_rows_of_super_resolution(tmp_path, capsys):
    run = saved(Upscaler(), tmp_path / "bilinear", np.zeros((1, 8, 8, 3), np.float32))
    (tmp_path / "set").mkdir()
    Image.fromarray(data.astronaut()[:130, :131]).save(tmp_path / "set" / "astronaut.png")
    Image.fromarray(data.coffee()[:100, :100]).save(tmp_path / "set" / "coffee_HR.png")
    Image.fromarray(data.coffee()[:100:4, :100:4]).save(tmp_path / "set" / "coffee_LR.png")
    assert entry.main(super_resolution.main, [str(tmp_path / "set"), str(run)]) == 0
    lines = [line.split("|")[1:] for line in capsys.readouterr().out.splitlines() if line.startswith("|")][2:]
    assert [line[0].strip() for line in lines[:2]] == ["bicubic", run.name]
    bicubic, bilinear = (float(line[1].split()[0]) for line in lines[:2])
    assert 20 < bilinear < bicubic < 40
    # The network's row is of what the command writes.
    images = super_resolution.pairs(str(tmp_path / "set"), 4)
    change = tasks.Upscale().converter(Upscaler())
    expected = super_resolution.luma_figures(
        change(photos.Photo(images["astronaut"][0])).pixels, images["astronaut"][1], 4
    )
    assert bilinear == pytest.approx(expected[0], abs=0.006)
    assert entry.main(super_resolution.main, [str(tmp_path / "set"), str(run), "--scale", "2"]) == 2
    assert "coffee_LR.png: 25x25 pixels, not 2 times fewer" in capsys.readouterr().err


def test_the_distance_on_features_grows_with_blur_and_is_zero_for_the_same():
    from pggan_tf.metrics import features

    network, truth = features.make_random(), data.astronaut()[:128, :160]
    assert super_resolution.patches(truth).shape == (3 * 4, 64, 64, 3)
    assert (super_resolution.patches(truth)[5] == truth[32:96, 32:96]).all()
    blurs = [super_resolution.bicubic(super_resolution._resized(truth, 128 // s, 160 // s), s) for s in (1, 2, 4)]
    same, little, much = (super_resolution.feature_distance(blur, truth, network) for blur in blurs)
    assert same == pytest.approx(0, abs=1e-6) and 1e-4 < little < much


def test_damage_is_the_same_every_time_and_leaves_the_originals():
    high = data.astronaut()[:64, :96]
    images = {
        "a": (super_resolution._resized(high, 16, 24), high),
        "b": (super_resolution._resized(high, 16, 24), high),
    }
    once, again = super_resolution.damage(images, 4), super_resolution.damage(images, 4)
    assert all((once[name][0] == again[name][0]).all() and once[name][1] is high for name in images)
    assert once["a"][0].shape == (16, 24, 3) and (once["a"][0] != once["b"][0]).any()
    assert all(np.abs(once[name][0].astype(int) - images[name][0]).mean() > 1 for name in images)


def _layers_model(folder, shards=2):
    """Write a network that repeats pixels, by a convolution that passes them on, in the form of TensorFlow.js."""
    folder.mkdir()
    kernel = np.zeros((3, 3, 3, 3), np.float32)
    kernel[1, 1] = np.eye(3)
    bias = np.full(3, 5, np.float32)
    content = kernel.tobytes() + bias.tobytes()
    for i in range(shards):  # the files may end anywhere
        (folder / f"shard{i}.bin").write_bytes(content[i * 50 :][: 50 if i < shards - 1 else None])
    same = {"filters": 3, "kernel_size": [3, 3], "padding": "same", "kernel_initializer": {"class_name": "Zeros"}}
    layers = [
        {
            "class_name": "InputLayer",
            "name": "low",
            "config": {"batch_input_shape": [None, None, None, 3]},
            "inbound_nodes": [],
        },
        {"class_name": "Conv2D", "name": "c", "config": {"name": "c", **same}, "inbound_nodes": [[["low", 0, 0, {}]]]},
        {
            "class_name": "UpSampling2D",
            "name": "up",
            "config": {"name": "up", "size": [4, 4]},
            "inbound_nodes": [[["c", 0, 0, {}]]],
        },
        {
            "class_name": "Average",
            "name": "out",
            "config": {"name": "out"},
            "inbound_nodes": [[["up", 0, 0, {}], ["up", 0, 0, {}]]],
        },
    ]
    model = {"layers": layers, "input_layers": [["low", 0, 0]], "output_layers": [["out", 0, 0]]}
    weights = [{"name": "c/kernel", "shape": [3, 3, 3, 3]}, {"name": "c/bias", "shape": [3]}]
    manifest = [
        {"paths": [f"shard{i}.bin" for i in range(shards)], "weights": [{**w, "dtype": "float32"} for w in weights]}
    ]
    topology = {"model_config": {"class_name": "Functional", "config": model}}
    (folder / "model.json").write_text(json.dumps({"modelTopology": topology, "weightsManifest": manifest}))
    return folder / "model.json"


def test_layers_models_of_tensorflow_js_are_read(tmp_path):
    opened = enlargers.open_peer(str(_layers_model(tmp_path / "x4")))
    low = data.astronaut()[:20, :24]
    lighter = np.clip(low.astype(int) + 5, 0, 255).repeat(4, 0).repeat(4, 1)
    assert (np.abs(opened.enlarge(low).astype(int) - lighter) <= 1).all() and opened.bytes == 4 * (81 + 3)


def test_damaged_layers_models_are_named(tmp_path, capsys):
    file = _layers_model(tmp_path / "x4")
    (tmp_path / "x4" / "shard1.bin").write_bytes(b"")
    Image.fromarray(data.astronaut()[:64, :64]).save(tmp_path / "a.png")
    assert entry.main(super_resolution.main, [str(tmp_path), str(file)]) == 2
    assert "the weights end before c/kernel. Unpack the package again." in capsys.readouterr().err
    (tmp_path / "x4" / "shard1.bin").unlink()
    assert entry.main(super_resolution.main, [str(tmp_path), str(file)]) == 2
    assert "shard1.bin: No such file or directory, but model.json names it" in capsys.readouterr().err
    file.write_text('{"format": "graph-model"}')
    assert entry.main(super_resolution.main, [str(tmp_path), str(file)]) == 2
    assert "not a layers model of TensorFlow.js" in capsys.readouterr().err


def test_networks_of_ncnn_are_run(tmp_path):
    pytest.importorskip("ncnn", reason="the package ncnn, of the extra benchmarks, is not installed")
    file = tmp_path / "x4.param"
    file.write_text("7767517\n2 2\nInput data 0 1 data\nInterp up 1 1 data out 0=1 1=4.0 2=4.0\n")
    file.with_suffix(".bin").write_bytes(b"")
    low = data.astronaut()[:20, :24]
    assert (enlargers.open_peer(str(file)).enlarge(low) == low.repeat(4, 0).repeat(4, 1)).all()


def test_several_sets_damaged_and_beside_the_networks_of_others(tmp_path, capsys):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.fromarray(data.astronaut()[100 * i :, 60 * i :][:96, :64]).save(tmp_path / name / f"{i}.png")
    peer = _layers_model(tmp_path / "x4")
    words = [
        *(str(tmp_path / name) for name in ("one", "two")),
        str(peer),
        "--damaged",
        "--features",
        "random",
        "--count",
        "2",
    ]
    assert entry.main(super_resolution.main, words) == 0
    out = capsys.readouterr().out
    heads = [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("|") and "PSNR" in line]
    expected = [
        f"{name}{part}"
        for name in ("one", "two")
        for part in (": PSNR of Y in dB, SSIM", ": 2 photos", ", damaged: 2 photos")
    ]
    assert heads == expected
    rows = [line for line in out.splitlines() if line.startswith("| x4/model.json")]
    assert len(rows) == 7 and rows[-1].split("|")[3].strip() == "0.00"  # 336 bytes of weights
    assert entry.main(super_resolution.main, [str(peer)]) == 2
    assert "no folder of photos among them" in capsys.readouterr().err


def test_known_distances_of_colour():
    truth = np.zeros((1, 2, 2, 2))
    assert colorization.psnr(truth + 0.2, truth) == pytest.approx(20)  # 10 log10(4 / .04)


def test_rows_of_colorization():
    warm = np.stack([data.coffee()[:64, i : i + 64] for i in (100, 200, 300)])
    ab = color.rgb2lab(warm)[..., 1:] / 128
    mean = ab.mean((0, 1, 2)).tolist()
    found = colorization.rows({"mean": Colorizer(constant=mean), "other": Recolorer()}, warm, saturations=(0.0, 2.0))
    simple, strong = ["gray (a = b = 0)", "mean colour of these photos"], ["mean, saturation 0", "mean, saturation 2"]
    assert list(found) == [*simple, "mean", *strong, "other", "the photos"], "recolor knows no saturation"
    assert found["mean, saturation 0"] == pytest.approx(found["gray (a = b = 0)"], abs=1e-3)
    expected = 10 * np.log10(4 / np.square(2 * ab.mean((0, 1, 2)) - ab).mean())
    assert found["mean, saturation 2"][0] == pytest.approx(expected, abs=1e-3)
    assert found["mean, saturation 2"][1] > found["mean"][1]
    assert found["mean"] == pytest.approx(found["mean colour of these photos"], abs=1e-3)
    assert found["gray (a = b = 0)"][0] < found["mean"][0] and found["gray (a = b = 0)"][1] < 0.1
    assert found["gray (a = b = 0)"][0] == pytest.approx(10 * np.log10(4 / np.square(ab).mean()), abs=1e-3)
    assert found["the photos"][0] == np.inf


def test_the_command_of_colorization(tmp_path, capsys):
    run = saved(Colorizer(), tmp_path / "run", np.zeros((1, 64, 64, 1), np.float32))
    (tmp_path / "photos").mkdir()
    Image.fromarray(data.coffee()).save(tmp_path / "photos" / "coffee.jpg")
    (tmp_path / "photos" / "broken.png").write_bytes(b"")
    assert entry.main(colorization.main, [str(tmp_path / "photos"), str(run), "--saturation", "1.2"]) == 0
    out = capsys.readouterr().out
    assert "saturation 1.2" in out
    assert "1 photos of 64 pixels" in out and len([line for line in out.splitlines() if line.startswith("|")]) == 7
