"""Drawn sprites are the same pictures in every version, and a set of data like portraits."""

import hashlib

import numpy as np
import pytest

import pggan_tf as pg
from pggan_tf.data import shards, sprites, transparency
from pggan_tf.errors import UserError
from preprocessing.sources import open_source
from tests.conftest import pggan


def test_drawings_stay_the_same_to_the_pixel():
    sha = hashlib.sha256()
    for index in range(24):  # every kind is among them
        sha.update(sprites.draw(index).tobytes() + bytes([sprites.find_label(index)]))
    assert sha.hexdigest() == "60341ef35edd30850c85d71b9a4dd98d7b48fa7c35e147e42499c00cdf5592f9"


def test_sprites_follow_from_their_seed():
    image = sprites.draw(7, 64)
    np.testing.assert_array_equal(image, sprites.draw(7, 64))
    assert (sprites.draw(7, 64, seed=1) != image).any() and (sprites.draw(8, 64) != image).any()


def test_all_kinds_are_drawn_on_nothing():
    labels = [sprites.find_label(i) for i in range(64)]
    assert set(labels) == set(range(len(sprites.CLASSES)))
    for i in range(32):
        alpha = sprites.draw(i, 64)[..., 3]
        assert not alpha[[0, -1]].any() and not alpha[:, [0, -1]].any(), "it reaches the edge"
        assert 0.1 < (alpha > 0).mean() < 0.6 and alpha.max() > 160
        assert ((alpha > 0) & (alpha < 255)).any(), "edges are smooth"


def test_small_sprites_are_means_of_large_ones_without_a_seam():
    large = transparency.premultiply(sprites.draw(3)).astype(float)
    small = transparency.premultiply(sprites.draw(3, 32)).astype(float)
    assert np.abs(large.reshape(32, 8, 32, 8, 4).mean((1, 3)) - small).max() <= 2


def test_sprites_are_a_source_of_data(tmp_path):
    assert len(open_source("sprites", count=5, size=16)) == 5
    with pytest.raises(UserError, match="sprites: 512 px: they are drawn at up to 256 px"):
        open_source("sprites", count=5, size=512)
    code, out, err = pggan("prepare", "sprites", tmp_path / "rgba", "--size", 16, "--count", 24, "--alpha")
    assert code == 0 and "24 kept" in out + err and "transparent" not in out + err
    manifest = shards.Shards(tmp_path / "rgba").manifest
    assert manifest.channels == 4 and manifest.classes == sprites.CLASSES and manifest.source == "sprites"
    code, out, err = pggan("prepare", "sprites", tmp_path / "rgb", "--size", 16, "--count", 24)
    assert "24 of 24 images have transparent parts" in out + err and "--channels 4 keeps them" in out + err
    rgba, rgb = (shards.Shards(tmp_path / name).read(16, np.arange(24)) for name in ("rgba", "rgb"))
    assert np.abs(transparency.flatten(rgba, premultiplied=True).astype(int) - rgb).max() <= 1
    expected = transparency.premultiply(np.stack([sprites.draw(i, 16) for i in range(24)]))
    np.testing.assert_array_equal(rgba, expected)


def test_gray_sprites(tmp_path):
    made = pg.prepare("sprites", tmp_path / "out", size=8, count=4, alpha=True, gray=True)
    assert made.manifest.channels == 2 and made.read(8, np.arange(4)).shape == (4, 8, 8, 2)
    code, out, err = pggan("prepare", "sprites", tmp_path / "gray", "--size", 8, "--count", 4, "--gray")
    assert "--channels 2 keeps them (pggan prepare: --gray --alpha)" in out + err
