"""`pggan upscale` on real files."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from pggan_tf import tasks
from pggan_tf.commands import cli
from pggan_tf.data import photos
from tests.stand_ins import Upscaler, saved
from tests.test_colorize import pggan, trained  # noqa: F401  a fixture
from tests.test_photos import deep_png

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planes", [1, 3])
def test_depth_gray_and_transparency_are_kept(dtype, planes):
    most = np.iinfo(dtype).max
    smooth = (np.add.outer(np.arange(60), np.arange(80)) / 138 * most).astype(dtype)[..., None]
    photo = photos.Photo(smooth.repeat(planes, 2), smooth)
    large = tasks.Upscale().converter(Upscaler(scale=2))(photo)
    assert large.pixels.shape == (120, 160, planes) and large.pixels.dtype == dtype
    assert large.alpha.shape == (120, 160, 1) and large.alpha.dtype == dtype
    # Both are a ramp enlarged: by the stand-in's bilinear filter, and by the cubic one.
    inside = np.s_[8:-8, 8:-8]
    difference = large.pixels[inside].astype(float) - large.alpha[inside]
    assert np.abs(difference).max() <= most * 2e-6 + 1
    if dtype == np.uint16:
        assert len(np.unique(large.pixels)) > 256 * 1.05  # no photo of 8 bits in disguise


def test_seams_do_not_show_in_a_photo():
    photo = photos.Photo(data.astronaut())
    network = Upscaler(scale=2, depth=8)
    whole = tasks.Upscale().converter(network, size=512)(photo).pixels.astype(int)
    for tile in (40, 100):
        parts = tasks.Upscale().converter(network, tile)(photo).pixels
        assert np.abs(parts - whole).max() <= 1  # rounding


def test_a_panorama_of_20000_pixels_in_bounded_memory():
    import tracemalloc

    strip = np.broadcast_to(np.arange(20_000)[None, :, None] // 79 % 256, (100, 20_000, 3)).astype(np.uint8)
    change = tasks.Upscale().converter(Upscaler(scale=4), size=128)
    change(photos.Photo(strip[:8, :8]))
    tracemalloc.start()
    large = change(photos.Photo(strip)).pixels
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert large.shape == (400, 80_000, 3)
    assert peak < large.nbytes * 1.2  # in float32 it would be four times its size
    np.testing.assert_allclose(large[200, 1600:-1600:4, 0], strip[50, 400:-400, 0], atol=60)


def test_progress_is_told_of_every_tile():
    told = []
    tasks.Upscale().converter(Upscaler(scale=2), size=40)(
        photos.Photo(data.astronaut()[:100, :70]), lambda *at: told.append(at)
    )
    total = told[0][1]
    assert total > 4 and told == [(done, total) for done in range(total + 1)]


def test_one_pixel():
    photo = photos.Photo(np.full((1, 1, 3), 77, np.uint8), np.full((1, 1, 1), 9, np.uint8))
    large = tasks.Upscale().converter(Upscaler(scale=4))(photo)
    assert (large.pixels == 77).all() and (large.alpha == 9).all() and large.size == (4, 4)


def test_the_command(trained, tmp_path):  # noqa: F811
    Image.fromarray(data.astronaut()[::4, ::4]).save(tmp_path / "photo.png")
    deep = RNG.integers(0, 65536, (20, 30, 4)).astype(np.uint16)
    (tmp_path / "deep.png").write_bytes(deep_png(deep))
    code, out, err = pggan(
        "upscale",
        trained["upscale"],
        tmp_path / "photo.png",
        "--scale",
        4,
        "--tile",
        50,
        "--compare",
        "--out",
        tmp_path / "large.jpg",
    )
    assert code == 0 and out.strip() == str(tmp_path / "large.jpg")
    with Image.open(tmp_path / "large.jpg") as image:
        assert image.size == (512, 512)
    with Image.open(tmp_path / "large-compare.jpg") as image:
        assert image.size == (1024, 512)
    (tmp_path / "large-compare.jpg").unlink()
    code, out, err = pggan("upscale", trained["upscale"], tmp_path, "--out", tmp_path / "out")
    assert code == 0 and "3 of 3" in out, err
    assert photos.read((tmp_path / "out/deep.png").read_bytes()).pixels.dtype == np.uint16
    assert photos.read((tmp_path / "out/deep.png").read_bytes()).size == (80, 120)


@pytest.mark.parametrize(
    "run, options, message",
    [
        ("upscale", ["--scale", "2", "--to", "90x90"], "--scale and --to: give one of them"),
        ("upscale", ["--scale", "17"], "1<=x<=16"),
        ("upscale", ["--to", "90"], "--to 90: expected WIDTHxHEIGHT"),
        ("upscale", ["--to", "7x7"], "is only enlarged"),
        ("upscale", ["--to", "9000x9000"], "Expected 16 times at most"),
        ("upscale", ["--tile", "4"], "--tile 4: too small"),
        ("colorize", [], "was trained to colorize, not to upscale"),
    ],
)
def test_what_cannot_be_done_says_why(trained, tmp_path, capsys, run, options, message):  # noqa: F811
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    arguments = [str(trained[run]), str(tmp_path / "photo.png"), "--out", str(tmp_path / "o.png")]
    assert cli.main(["upscale", *arguments, *options]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "o.png").exists()


def test_a_jpeg_that_would_grow_too_long_becomes_a_png(tmp_path):
    run = saved(Upscaler(scale=8), tmp_path / "run", np.zeros((1, 8, 8, 3), np.float32))
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (9000, 2)).save(tmp_path / "photos" / "long.jpg")
    assert cli.main(["upscale", str(run), str(tmp_path / "photos"), "--out", str(tmp_path / "out")]) == 0
    with Image.open(tmp_path / "out" / "long.jpg.png") as image:
        assert image.size == (72_000, 16)
