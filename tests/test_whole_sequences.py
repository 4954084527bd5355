"""A TIFF of a hundred pages and animations with alpha come out whole from `pggan upscale` and `colorize`."""

import keras
import numpy as np
import pytest
import tifffile
from PIL import Image

from pggan_tf.data import sprites, transparency
from tests import image_networks
from tests.conftest import pggan
from tests.test_sequences import look

PAGES, FRAMES = 100, 24


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    for task in ("upscale", "colorize"):
        keras.utils.set_random_seed(1)
        network = image_networks.NETWORKS[task]()  # its colours are nearly gray, so that lightness stays
        network.build()
        network.save(folder / f"{task}.keras")
    return folder


def make_page(i: int) -> np.ndarray:
    """Page number i of a scan: gray or colour, with 8 or 16 bits, some with alpha, of many sizes."""
    height, width = 16 + i % 7, 12 + i % 5
    planes = np.full((height, width, (1, 3, 4)[i % 3]), 2 * i, np.uint8)
    planes[: height // 2] += 40
    if planes.shape[2] == 4:
        planes[..., 3] = 255
        planes[:, : width // 2, 3] = i
    return planes.astype(np.uint16) * 257 if i % 4 == 3 else planes


VERBS = [("upscale", 2), pytest.param("colorize", 1, marks=pytest.mark.slow)]


@pytest.mark.parametrize("verb, scale", VERBS)
def test_a_hundred_pages(verb, scale, runs, tmp_path):
    with tifffile.TiffWriter(tmp_path / "scan.tif") as file:
        for i in range(PAGES):
            planes = make_page(i)
            extra = ["unassalpha"] if planes.shape[2] == 4 else None
            photometric = "minisblack" if planes.shape[2] == 1 else "rgb"
            planes = planes[..., 0] if planes.shape[2] == 1 else planes
            file.write(planes, photometric=photometric, extrasamples=extra, metadata=None, compression="zlib")
    code, out, err = pggan(verb, runs / f"{verb}.keras", tmp_path / "scan.tif", "--out", tmp_path / "out.tif")
    assert code == 0 and err == "", err
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        made = [page.asarray() for page in file.pages]
    assert len(made) == PAGES
    for i, planes in enumerate(made):
        given = make_page(i)
        assert planes.dtype == given.dtype and planes.shape[:2] == tuple(scale * n for n in given.shape[:2]), i
        has_alpha = given.shape[2] == 4
        assert (planes.shape[2:] == (4,)) == has_alpha, i
        if has_alpha:
            corners = planes[-1, [0, -1], 3] // (257 if planes.dtype == np.uint16 else 1)
            assert corners.tolist() == [i, 255]
        # What is light stays so: pages have not been mixed up.
        if verb == "colorize":
            full = 257 if planes.dtype == np.uint16 else 1
            light = np.asarray(planes[..., :3] if planes.ndim == 3 else planes).mean() / full
            assert abs(light - given[..., : min(3, given.shape[2])].mean() / full) < 8, i


def animate(path):
    """A sprite that wanders over nothing, each frame for another time."""
    sprite, made = Image.fromarray(sprites.draw(5, 24)), []
    for i in range(FRAMES):
        frame = Image.new("RGBA", (48, 32))
        frame.paste(sprite, (i, 4 + i % 5))
        made.append(frame)
    times = [30 + 10 * i for i in range(FRAMES)]
    options = {"lossless": True, "kmin": 1, "kmax": 1} if path.suffix == ".webp" else {}
    made[0].save(path, save_all=True, append_images=made[1:], duration=times, loop=0, **options)
    return np.stack([np.asarray(frame) for frame in made]), times


@pytest.mark.parametrize("verb, scale", VERBS)
@pytest.mark.parametrize(
    "given, name",
    [
        ("a.webp", "out.webp"),
        pytest.param("a.png", "out.webp", marks=pytest.mark.slow),
        pytest.param("a.webp", "out.png", marks=pytest.mark.slow),
    ],
)
def test_an_animation_with_alpha(verb, scale, given, name, runs, tmp_path):
    frames, times = animate(tmp_path / given)
    code, out, err = pggan(verb, runs / f"{verb}.keras", tmp_path / given, "--out", tmp_path / name)
    assert code == 0 and err == "", err
    seen, their_times, loop = look(tmp_path / name)
    assert len(seen) == FRAMES and their_times == times and loop == 0
    for i, (planes, frame) in enumerate(zip(seen, frames)):
        assert planes.shape == (32 * scale, 48 * scale, 4)
        alpha = planes[..., 3].astype(int)
        if scale > 1:
            alpha = alpha.reshape(32, scale, 48, scale).mean((1, 3))
        assert np.abs(alpha - frame[..., 3]).mean() < 12, i
        assert planes[:, -1, 3].max() == 0 and planes[..., 3].max() > 250, "what is left behind is gone"
        if verb == "colorize":
            light = [transparency.flatten(x).mean() for x in (planes, frame)]
            assert abs(light[0] - light[1]) < 6, i
