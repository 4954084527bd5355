"""Colours that are known at some places: how training reveals them, and how a user gives them."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import pggan_tf as pg
from pggan_tf import tasks
from pggan_tf.data import colour, colour_hints, photos
from pggan_tf.errors import UserError
from tests.conftest import pggan
from tests.stand_ins import Obedient

RED = (200, 30, 30)


def ab_of(rgb):
    return colour.split_lab(np.asarray(rgb, np.float32) / 255)[1]


@pytest.fixture
def gray():
    return photos.Photo(np.full((120, 160, 1), 120, np.uint8))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny colorizer that takes hints."""
    return pg.train(
        recipe="colorize", target_res=16, portraits=64, batch=8, stable_images=64, width=4, fmap_max=8, grid=3,
        snapshot_images=64, metrics="psnr", report=False, progress=False, runs=tmp_path_factory.mktemp("runs"),
    )  # fmt: skip


def test_what_is_revealed_is_the_mean_colour_of_patches():
    ab = tf.random.stateless_uniform((64, 32, 32, 2), (1, 2), -1, 1)
    found = colour_hints.reveal(ab, tf.constant([3, 4], tf.int64)).numpy()
    known, shown = found[..., 2], found[..., :2]
    assert found.shape == (64, 32, 32, 3) and set(np.unique(known)) == {0.0, 1.0}
    assert not shown[known == 0].any(), "nothing is said of the other places"
    alone = (known.sum((1, 2)) == 0).mean()
    assert 0.1 < alone < 0.5, "about ALONE of the images show nothing"
    assert known.mean((1, 2)).max() < 0.3, "and none shows much"
    again = colour_hints.reveal(ab, tf.constant([3, 4], tf.int64)).numpy()
    assert (found == again).all(), "it follows from the seed"
    flat = tf.ones((8, 32, 32, 2)) * tf.constant([0.25, -0.5])
    found = colour_hints.reveal(flat, tf.constant([5, 6], tf.int64)).numpy()
    np.testing.assert_allclose(found[found[..., 2] == 1][:, :2], [[0.25, -0.5]] * int(found[..., 2].sum()), atol=1e-6)


def test_the_condition_has_hints_in_training_and_none_in_samples():
    task = tasks.Colorize(hints=True)
    images = tf.random.stateless_uniform((32, 16, 16, 3), (1, 2), -1, 1)
    condition = task.condition(images, tf.constant([1, 2], tf.int64)).numpy()
    assert condition.shape[-1] == task.input_channels == 4 and condition[..., 1:].any()
    sample = task.sample_condition(images).numpy()
    np.testing.assert_array_equal(sample[..., :1], condition[..., :1])
    assert not sample[..., 1:].any()
    plain = tasks.Colorize()
    assert plain.condition(images, tf.constant([1, 2], tf.int64)).shape[-1] == plain.input_channels == 1


def test_a_point_colours_its_place_in_the_photo(gray):
    change = tasks.Colorize(hints=True).converter(
        Obedient(), wishes=colour_hints.Wishes(points=(colour_hints.parse("120,30=#c81e1e"),))
    )
    made = change(gray).pixels
    assert ab_of(made[30, 120])[0] > 0.2 and np.ptp(made[90, 40]) <= 2, "red there, gray elsewhere"
    where = np.argwhere(np.ptp(made, axis=2) > 40)
    assert np.abs(where.mean(0) - (30, 120)).max() < 2, "centred where it was given"


def test_a_picture_with_dots_is_the_same_with_transparency_or_gray(gray):
    dots = np.zeros((120, 160, 4), np.uint8)
    dots[25:36, 115:126] = (*RED, 255)
    opaque = np.full((120, 160, 3), 90, np.uint8)
    opaque[25:36, 115:126] = RED
    saved = np.concatenate([opaque, np.full((120, 160, 1), 255, np.uint8)], -1)  # as many programs write it
    made = [
        tasks.Colorize(hints=True)
        .converter(Obedient(), wishes=colour_hints.Wishes(picture=colour_hints.as_rgba(picture)))(gray)
        .pixels
        for picture in (dots, opaque, dots[::5, ::5], saved)
    ]
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[0], made[3])
    np.testing.assert_allclose(ab_of(made[2][30, 120]), ab_of(made[0][30, 120]), atol=0.05)


@pytest.mark.parametrize("text", ["", "1,2", "1,2=red", "-1,2=#ffffff", "1.5,2=#ffffff", "1,2=#fffffff"])
def test_other_texts_are_no_hints(text):
    with pytest.raises(UserError, match="expected X,Y=#RRGGBB"):
        colour_hints.parse(text)


def test_a_palette_has_the_mean_and_the_spread_of_the_reference():
    rng = np.random.default_rng(0)
    ab = rng.normal(0, 0.05, (40, 50, 2)).astype(np.float32)
    reference = (rng.normal(0, 1, (900, 2)) @ [[0.06, 0.02], [0.0, 0.04]] + [0.1, -0.2]).astype(np.float32)
    made = colour_hints.transfer_palette(ab, reference).reshape(-1, 2)
    np.testing.assert_allclose(made.mean(0), reference.mean(0), atol=1e-5)
    np.testing.assert_allclose(np.cov(made.T), np.cov(reference.T), rtol=2e-2, atol=1e-5)
    same = colour_hints.transfer_palette(ab, ab.reshape(-1, 2))
    np.testing.assert_allclose(same, ab, atol=1e-5, err_msg="its own palette changes nothing")
    nearly_gray = colour_hints.transfer_palette(ab * 1e-3, reference)
    point = colour_hints.transfer_palette(ab, reference[:1])
    np.testing.assert_allclose(point, np.broadcast_to(reference[0], ab.shape), atol=0.01, err_msg="a single colour")
    assert np.abs(nearly_gray - reference.mean(0)).max() < 0.01, "noise is not made into colours"


def test_a_run_colours_alone_and_with_hints(run, tmp_path):
    network = run.generator.network
    assert network.input_channels == 4 and "hints" in run.config.values() and run.config.purpose.hints
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)).save(tmp_path / "gray.png")
    pg.convert(run, tmp_path / "gray.png", tmp_path / "alone.png")
    pg.convert(run, tmp_path / "gray.png", tmp_path / "hinted.png", hints=["10,10=#ff0000", "50,40=#0000ff"])
    pg.convert(run, tmp_path / "gray.png", tmp_path / "none.png", saturation=0)
    pg.convert(run, tmp_path / "gray.png", tmp_path / "one.png", hints="10,10=#ff0000")  # a text is one hint
    alone, hinted, none = (np.asarray(Image.open(tmp_path / f"{n}.png")) for n in ("alone", "hinted", "none"))
    assert (alone != hinted).any() and np.ptp(none, axis=2).max() <= 1
    code, _, err = pggan(
        "colorize", run.folder, tmp_path / "gray.png", "--out", tmp_path / "typed.png",
        "--hint", "10,10=#ff0000", "--hint", "50,40=#0000ff",
    )  # fmt: skip
    assert code == 0, err
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "typed.png")), hinted)
    (tmp_path / "photos").mkdir()
    for options, message in (
        (["--hint", "64,10=#ff0000"], "outside of the photo, which has 64 x 48 pixels"),
        (["--hint", "1,1=#ff0000", "--hints", "x.png"], "--hint and --hints: give one of them"),
        (["--hints", tmp_path / "missing.png"], "missing.png: No such file"),
        (["--saturation", "5"], "0<=x<=4"),
    ):
        code, _, err = pggan("colorize", run.folder, tmp_path / "gray.png", "--out", tmp_path / "x.png", *options)
        assert code == 2 and message in err, err
    code, _, err = pggan("colorize", run.folder, tmp_path / "photos", "--out", tmp_path / "o", "--hint", "1,1=#ff0000")
    assert code == 2 and "hints are for a single photo" in err


def test_a_network_without_hints_says_so(tmp_path):
    with pytest.raises(UserError, match="--hints nothing would read it|it belongs to"):
        pg.plan(task="upscale", network="srresnet", hints=True, target_res=16)
