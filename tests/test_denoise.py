"""`--denoise`: a level of noise that training tells the network, and later a user."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import pggan_tf as pg
from pggan_tf import tasks
from pggan_tf.data import photos
from pggan_tf.errors import UserError
from pggan_tf.tasks import upscale
from tests.conftest import pggan
from tests.stand_ins import Colorizer, Upscaler, saved

SEED = tf.constant([3, 4], tf.int64)
GRAY = photos.Photo(np.full((20, 30, 3), 100, np.uint8))


class Told:
    """A network whose output is the level that it is told, in every pixel."""

    task, scale, multiple, context, input_channels = "upscale", 2, 1, 1, 4

    def __call__(self, x):
        return tf.repeat(tf.repeat(tf.repeat(x[..., 3:], 3, 3), 2, 1), 2, 2) * 2 - 1


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny network that enlarges and takes a level of noise."""
    return pg.train(
        recipe="srgan", target_res=32, patch=16, scale=2, portraits=64, batch=8, stable_images=64, pretrain_images=64,
        width=4, blocks=1, grid=3, snapshot_images=64, metrics="psnr", degrade="twice", denoise=True, report=False,
        progress=False, runs=tmp_path_factory.mktemp("runs"),
    )  # fmt: skip


@pytest.mark.parametrize("degrade", ["once", "twice"])
def test_training_tells_the_level_of_half_of_the_images(degrade):
    task = tasks.Upscale(4, degrade=degrade, denoise=True)
    images = tf.random.stateless_uniform((40, 32, 32, 3), (1, 2), -1, 1)
    condition = task.condition(images, SEED).numpy()
    assert condition.shape == (40, 8, 8, 4) and task.input_channels == 4
    assert not np.ptp(condition[..., 3], axis=(1, 2)).any(), "one level for the whole image"
    level = condition[:, 0, 0, 3]
    known = level != upscale.UNKNOWN
    assert 0.3 < known.mean() < 0.7 and (level[known] >= 0).all() and (level[known] <= 1).all()
    plain = tasks.Upscale(4, degrade=degrade)
    assert plain.input_channels == 3
    np.testing.assert_array_equal(plain.condition(images, SEED), condition[..., :3])
    sample = task.sample_condition(images).numpy()
    assert (sample[..., 3] == upscale.UNKNOWN).all(), "samples and metrics show what it does alone"
    np.testing.assert_array_equal(sample[..., :3], plain.sample_condition(images))
    assert task.preview(sample, (32, 32)).shape == (40, 32, 32, 3)


def test_the_network_is_told_what_the_user_says():
    task = tasks.task_of(Told())
    assert task.denoise and not tasks.task_of(Upscaler()).denoise
    for said, made in ((0.0, 0), (0.4, 102), (1.0, 255), (None, 0)):
        out = task.converter(Told(), denoise=said)(GRAY).pixels
        assert out.shape == (40, 60, 3) and (out == made).all()
    assert (task.encode_photo(tf.zeros((1, 4, 4, 3)))[..., 3] == upscale.UNKNOWN).numpy().all(), "exports work alone"


@keras.saving.register_keras_serializable("tests")
class Listener(Upscaler):
    """An enlarger that remembers the levels that it is told."""

    input_channels, heard = 4, []

    def call(self, x):
        tf.py_function(lambda level: Listener.heard.append(float(level)), [x[0, 0, 0, 3]], [])
        return super().call(x[..., :3])


@pytest.mark.parametrize(
    ("said", "told"), [(0.75, [0.75, 0, 0]), (np.float32(0.75), [0.75, 0, 0]), (None, [upscale.UNKNOWN] * 3)]
)
def test_only_the_first_of_several_passes_is_told_of_noise(said, told, tmp_path):
    run = saved(Listener(scale=2), tmp_path / "run", np.zeros((1, 8, 8, 4), np.float32))
    Image.fromarray(GRAY.pixels).save(tmp_path / "photo.png")
    Listener.heard.clear()
    pg.convert(
        run, tmp_path / "photo.png", tmp_path / "large.png", denoise=said, scale=np.float32(8), tile=np.float32(256)
    )
    assert Listener.heard == told


@pytest.mark.slow
def test_a_run_works_alone_and_with_the_dial(run, tmp_path):
    assert run.config.purpose.denoise and run.generator.network.input_channels == 4
    further = pg.plan(
        recipe="srgan", target_res=32, patch=16, scale=2, portraits=64, init_from=run.folder
    ).config.purpose
    assert further.denoise and further.degrade == "twice", "its weights know levels of noise"
    source = tmp_path / "noisy.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)).save(source)
    made = {}
    for level in (None, 0.0, 1.0):
        pg.convert(run, source, tmp_path / "made.png", denoise=level)
        made[level] = np.asarray(Image.open(tmp_path / "made.png"))
        assert made[level].shape == (48, 64, 3)
    assert (made[None] != made[0.0]).any() and (made[0.0] != made[1.0]).any()
    code, _, err = pggan("upscale", run.folder, source, "--out", tmp_path / "typed.png", "--denoise", "1")
    assert code == 0, err
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "typed.png")), made[1.0])
    code, _, err = pggan("upscale", run.folder, source, "--out", tmp_path / "typed.png", "--denoise", "1.5")
    assert code == 2 and "0<=x<=1" in err
    with pytest.raises(UserError, match="--denoise 2: expected 0"):
        pg.convert(run, source, tmp_path / "made.png", denoise=2)


def test_networks_without_the_dial_say_what_to_train(tmp_path):
    GRAY_FILE = tmp_path / "gray.png"
    Image.new("RGB", (20, 20)).save(GRAY_FILE)
    run = saved(Upscaler(scale=4), tmp_path / "run", np.zeros((1, 8, 8, 3), np.float32))
    with pytest.raises(
        UserError, match=r"--denoise 0.5: .*train a run with pggan train --recipe srgan --degrade once --denoise"
    ):
        pg.convert(run, GRAY_FILE, tmp_path / "out.png", denoise=0.5)
    run = saved(Colorizer(), tmp_path / "colour", np.zeros((1, 16, 16, 1), np.float32))
    with pytest.raises(UserError, match="was trained to colorize, not to upscale"):
        pg.convert(run, GRAY_FILE, tmp_path / "out.png", denoise=0.5)
    for options, message in (
        ({"recipe": "srgan", "denoise": True}, "there is no noise to learn from"),
        ({"recipe": "colorize", "denoise": True}, "it belongs to --task upscale"),
        ({"denoise": True}, "it belongs to tasks from images to images"),
    ):
        with pytest.raises(UserError, match=message):
            pg.plan(**options)
