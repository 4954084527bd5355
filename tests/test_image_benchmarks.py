"""The figures of super-resolution and colorization: their arithmetic, and the published row of bicubic interpolation."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import color, data

from benchmarks import colorization, super_resolution
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
    assert [line[0].strip() for line in lines] == ["bicubic", run.name]
    bicubic, bilinear = (float(line[1].split()[0]) for line in lines)
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


def test_known_distances_of_colour():
    truth = np.zeros((1, 2, 2, 2))
    assert colorization.psnr(truth + 0.2, truth) == pytest.approx(20)  # 10 log10(4 / .04)


def test_rows_of_colorization():
    warm = np.stack([data.coffee()[:64, i : i + 64] for i in (100, 200, 300)])
    ab = color.rgb2lab(warm)[..., 1:] / 128
    mean = ab.mean((0, 1, 2)).tolist()
    found = colorization.rows({"mean": Colorizer(constant=mean), "other": Recolorer()}, warm)
    names = list(found)
    assert names == ["gray (a = b = 0)", "mean colour of these photos", "mean", "other", "the photos"]
    assert found["mean"] == pytest.approx(found["mean colour of these photos"], abs=1e-3)
    assert found["gray (a = b = 0)"][0] < found["mean"][0] and found["gray (a = b = 0)"][1] < 0.1
    assert found["gray (a = b = 0)"][0] == pytest.approx(10 * np.log10(4 / np.square(ab).mean()), abs=1e-3)
    assert found["the photos"][0] == np.inf


def test_the_command_of_colorization(tmp_path, capsys):
    run = saved(Colorizer(), tmp_path / "run", np.zeros((1, 64, 64, 1), np.float32))
    (tmp_path / "photos").mkdir()
    Image.fromarray(data.coffee()).save(tmp_path / "photos" / "coffee.jpg")
    (tmp_path / "photos" / "broken.png").write_bytes(b"")
    assert entry.main(colorization.main, [str(tmp_path / "photos"), str(run)]) == 0
    out = capsys.readouterr().out
    assert "1 photos of 64 pixels" in out and len([line for line in out.splitlines() if line.startswith("|")]) == 6
