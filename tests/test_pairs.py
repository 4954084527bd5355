"""Two folders with files of the same names are pairs, whatever lies beside them."""

import json

import numpy as np
import pytest
from PIL import Image

from pggan_tf.data import shards
from tests.conftest import pggan
from tests.test_front_door import refused


def draw(folder, *names, level=0, size=(24, 24)):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        Image.new("RGB", size, (level, 40 * i, 90)).save(folder / name)


def prepare(place, out, *options):
    return pggan("prepare", f"pairs:{place}", out, "--size", "16", "--pairs", *options)


def read(out):
    opened = shards.Shards(out)
    return opened.read(16, np.arange(len(opened)))[:, 0, 0].tolist()


def test_what_has_no_partner_is_said(tmp_path):
    draw(tmp_path / "set" / "in", "1.png", "2.png", "2.jpg", "3.png", "only.png")
    draw(tmp_path / "set" / "out", "1.png", "2.png", "3.png", "8.png", "9.png", level=200)
    code, out, err = prepare(tmp_path / "set", tmp_path / "a")
    assert code == 0 and "3 images read, 3 kept" in out, err
    assert "1 of in/ without a partner of that name in out/: only (left out)" in err
    assert "2 of out/ without a partner of that name in in/: 8, 9 (left out)" in err
    assert "differ only in their endings: in/2.png (left out)" in err
    np.testing.assert_allclose([pixel[0::3] for pixel in read(tmp_path / "a")], [[0, 200]] * 3, atol=2)  # one is a JPEG


@pytest.mark.parametrize(
    "names",
    [
        ("trainA", "trainB", "testA", "testB"),
        ("train_a", "train_b"),
        ("testA", "testB"),
        ("valA", "valB"),
        ("test data", "test images"),
        ("train data", "train images"),
    ],
)
def test_the_usual_names_of_pairs(tmp_path, names):
    for name in names:
        draw(tmp_path / "set" / name, "1.png", level=10 + 10 * names.index(name))
    code, _, err = prepare(tmp_path / "set", tmp_path / "a")
    assert code == 0 and ("not testA, testB" in err) == (len(names) == 4), err
    assert [pixel[0::3] for pixel in read(tmp_path / "a")] == [[10, 20]]


@pytest.mark.parametrize(
    "parts", [("train", "test"), ("train2017", "val2017"), ("training_set", "test_set"), ("train", "dev")]
)
def test_pairs_in_the_training_part_of_a_set(tmp_path, parts):
    for part, level in zip(parts, (10, 20)):
        draw(tmp_path / "set" / part / "x", "1.png", level=level)
        draw(tmp_path / "set" / part / "y", "1.png", level=100 + level)
    code, _, err = prepare(tmp_path / "set", tmp_path / "a")
    assert code == 0 and f"{parts[0]}/ are used" in err, err
    assert [pixel[0::3] for pixel in read(tmp_path / "a")] == [[10, 110]]


def test_what_are_no_pairs_is_refused(tmp_path):
    for name in "abc":
        draw(tmp_path / "three" / name, "1.png")
    refused(prepare(tmp_path / "three", tmp_path / "o"), "expected two folders of images in it, found a, b, c")
    draw(tmp_path / "one", "1.png", "2.png")
    refused(prepare(tmp_path / "one", tmp_path / "o"), "expected two folders of images in it, found none")
    refused(prepare(tmp_path / "none", tmp_path / "o"), "none: no such file or folder")
    draw(tmp_path / "unlike" / "a", "1.png")
    draw(tmp_path / "unlike" / "b", "2.png")
    refused(prepare(tmp_path / "unlike", tmp_path / "o"), "no file of a/ has the name of one in b/")
    for part in ("train", "test"):
        draw(tmp_path / "joined" / part, "1.png")
    refused(prepare(tmp_path / "joined", tmp_path / "o"), "expected two folders of images in it, found none")


def test_pairs_are_no_photos(tmp_path):
    draw(tmp_path / "set" / "a", "1.png", "2.png")
    draw(tmp_path / "set" / "b", "1.png", "2.png")
    pairs = f"pairs:{tmp_path / 'set'}"
    refused(pggan("prepare", pairs, tmp_path / "o", "--size", "16"), "only `prepare --pairs` and runs of")
    refused(pggan("evaluate", pairs, tmp_path / "set" / "a", "--metrics", "swd"), "only `prepare --pairs`")


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    draw(tmp_path / "set" / "a", "1.png")
    draw(tmp_path / "set" / "b", "1.png")
    code, _, err = prepare("~/set", tmp_path / "o")
    assert code == 0, err


def test_pairs_are_the_same_only_if_both_pictures_are(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (4, 24, 24, 3), np.uint8)
    for name, which in (("a", (0, 0, 0)), ("b", (1, 2, 1))):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i, number in enumerate(which):
            Image.fromarray(noise[number]).save(tmp_path / "set" / name / f"{i}.png")
    code, out, err = prepare(tmp_path / "set", tmp_path / "o", "--dedupe")
    assert code == 0 and "2 kept" in out, err
    dropped = json.loads((tmp_path / "o" / "report.json").read_text())["dropped_images"]
    assert [d["name"] for d in dropped] == ["a/2.png"]
