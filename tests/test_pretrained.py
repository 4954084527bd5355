"""Networks that come with the package: images at once, and weights to begin with."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pggan_tf as pg
from pggan_tf.config import resolve
from pggan_tf.errors import UserError
from pggan_tf.runs import checkpoint, pretrained
from pggan_tf.training import transfer
from tests import conftest
from tests.conftest import pggan
from tests.test_api import TINY


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A tiny run of 4 and 8 px that has ended."""
    return pg.train(runs=tmp_path_factory.mktemp("runs"), progress=False, **TINY)


@pytest.fixture
def tiny(source, tmp_path, monkeypatch):
    """The name of a pretrained run that was made of it."""
    transfer.write_pretrained(source.folder, tmp_path / "pretrained" / "tiny")
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "pretrained")
    return "tiny"


def weights(folder):
    """Return {name: array} of the networks in a run's newest checkpoint."""
    arrays, _ = checkpoint.read_newest(folder)
    return {name: array for name, array in arrays.items() if name.split("/")[0] in checkpoint.NETWORKS}


def test_images_right_after_the_installation(tmp_path):
    pggan("generate", "portraits", "--count", "16", "--npz", tmp_path / "faces.npz")
    (faces,) = np.load(tmp_path / "faces.npz").values()
    assert faces.shape == (16, 64, 64, 3)
    assert faces.std(0).mean() > 20, "sixteen faces, not one"


def test_nothing_is_written_into_the_package(tmp_path, monkeypatch):
    """As where the package is installed for all users, and may not be written to."""
    monkeypatch.chdir(tmp_path)
    before = sorted(pretrained.FOLDER.rglob("*"))
    run = pg.load("portraits")
    assert run.report() == Path("report.html") and pg.export(run, formats="keras") == Path("export")
    assert (tmp_path / "report.html").is_file() and (tmp_path / "export" / "generator.keras").is_file()
    with pytest.raises(pg.UserError, match='portraits: comes with pggan-tf, .* Begin a run with init_from="portraits"'):
        run.resume()
    assert sorted(pretrained.FOLDER.rglob("*")) == before


def test_its_pictures_are_known_without_a_run_of_ones_own(tmp_path, monkeypatch):
    picture = tmp_path / "faces.png"
    assert pggan("generate", "portraits", "--seeds", "0-3", "--grid", picture)[0] == 0
    monkeypatch.setattr(conftest, "ROOT", tmp_path)  # where commands are given: there is no folder `runs`
    for options in ((), ("--runs", pretrained.FOLDER)):
        code, out, err = pggan("whose", picture, *options)
        assert code == 0 and "faces.png: yes, to the last bit" in out, err
    code, _, err = pggan("whose", picture, "--runs", "runs")
    assert code == 2 and "--runs runs: no such folder" in err


def test_those_in_the_package_are_whole():
    assert pretrained.list_names() == ["portraits"]
    files = [path for path in (pretrained.FOLDER / "portraits").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2e6
    text = "".join(path.read_text() for path in files if path.suffix == ".json")
    assert "/root" not in text and "/home" not in text and "/tmp" not in text, "nothing of the machine of the training"


def test_a_folder_of_that_name_goes_first(tiny, source, tmp_path, monkeypatch):
    assert pretrained.locate("tiny") == pretrained.FOLDER / "tiny"
    assert pretrained.locate("other") == "other" and pretrained.locate("hf://me/tiny") == "hf://me/tiny"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    assert pretrained.locate("tiny") == "tiny"


def test_a_pretrained_run_is_the_run_in_half_precision(tiny, source, tmp_path):
    small, whole = pg.load(tiny).generator, source.generator
    assert small.stages == whole.stages
    near = np.abs(small.sample(range(8)).astype(int) - whole.sample(range(8)).astype(int))
    assert near.max() <= 2, "rounding to 11 bits moves a pixel by a step or two"
    (tmp_path / "begun").mkdir()
    with pytest.raises(UserError, match="has not ended"):
        transfer.write_pretrained(tmp_path / "begun", tmp_path / "other")


@pytest.mark.slow
def test_training_begins_with_its_weights(tiny, source, tmp_path):
    run = pg.train(
        **TINY | {"stable_images": {4: 160, 8: 8}, "init_from": tiny}, runs=tmp_path / "runs", progress=False
    )
    assert run.images_seen == 8, "the stage of 4 px is left out"
    then, now = weights(source.folder), weights(run.folder)
    assert then.keys() == now.keys()
    for name, array in now.items():
        if name.startswith("discriminator/"):  # Adam moves a weight by the learning rate per step
            np.testing.assert_allclose(array, then[name], atol=0.03)


@pytest.mark.slow
def test_frozen_stages_stay_as_they_are_across_a_stop(tiny, source, tmp_path):
    options = {**TINY, "init_from": tiny, "freeze_discriminator": 1, "progress": False}
    whole = pg.train(**options, folder=tmp_path / "whole")
    early = pg.train(**options, folder=tmp_path / "stopped", callbacks=[lambda tick: tick["images"] < 60])
    assert 60 <= early.images_seen < whole.images_seen == 160
    early.resume(progress=False)
    first, second, begun = (weights(folder) for folder in (whole.folder, early.folder, source.folder))
    assert all(np.array_equal(first[name], second[name]) for name in first), "to the last bit"
    still = {n for n, a in first.items() if n.startswith("disc") and np.array_equal(a, begun[n].astype(np.float16))}
    last = {name for name in first if name.startswith("discriminator/") and "8" in name.split("/")[1]}
    unused = {"discriminator/from_image_4/kernel", "discriminator/from_image_4/bias"}  # of the stage before
    assert last and still == last | unused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze_discriminator": 1}, "it belongs to --init-from"),
        ({"freeze_discriminator": 2, "init_from": "tiny"}, "have completed 2 stages.*Expected 1 at most"),
        (
            {"freeze_discriminator": 1, "init_from": "tiny", "target_res": 16, "stable_images": {4: 0, 16: 80}},
            "the stage of 16 px would be frozen, .* end with 8 px .* Expected .*--fade-images",
        ),
    ],
)
def test_what_cannot_be_frozen_is_refused(tiny, options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        pg.train(**TINY | options, runs=tmp_path, progress=False)


def test_every_verb_takes_the_word(tmp_path):
    for arguments in (
        ("generate", "portraits", "--seeds", "5", "--stage", "8", "--dir", tmp_path / "faces"),
        ("grid", "portraits", "--stages", "--seeds", "0-1", "--out", tmp_path / "grid.png"),
        ("interpolate", "portraits", "--seeds", "0,1", "--stage", "8", "--seconds", "1", "--video", tmp_path / "a.mp4"),
        ("edit", "portraits", "--stage", "8", "--slider", "1=2", "--out", tmp_path / "edited.png"),
        ("whose", tmp_path / "faces" / "000005.png", "--runs", "portraits"),
    ):
        code, out, err = pggan(*arguments)
        assert code == 0, err
    assert "yes, to the last bit" in out
    code, _, err = pggan("sliders", "portraits", "--rename", "1=smile")
    assert code == 2 and "keeps no names" in err


def test_a_smaller_run_takes_the_weights_that_it_has_layers_for(tiny, source, tmp_path):
    run = pg.train(**TINY | {"target_res": 4, "stable_images": 8, "init_from": tiny}, runs=tmp_path, progress=False)
    assert run.images_seen == 8
    then, now = weights(source.folder), weights(run.folder)
    assert now.keys() < then.keys()


def test_what_is_frozen_has_been_trained():
    """Also where the first phase fades in the next stage."""
    from pggan_tf.training import execution

    small = {"fmap_base": 64, "fmap_max": 16, "latent_size": 8, "portraits": 120}
    schedule = {"stable_images": {4: 0, 16: 100}, "fade_images": {4: 0, 16: 100}}
    plan = resolve({**small, "target_res": 16, "init_from": "tiny", "freeze_discriminator": 1, **schedule})
    assert plan.phases[0].fade and plan.phases[0].resolution == 16
    frozen = execution.build(plan, "float32").discriminator._frozen
    assert frozen and not [name for name in frozen if "16" in name]


def test_the_last_stage_gets_what_skipped_stages_leave_of_a_total(source):
    schedule = {"stable_images": {4: 1000}, "fade_images": {4: 1000}, "total_images": 20_000}
    plan = resolve({"target_res": 16, "fmap_base": 64, "fmap_max": 16, "latent_size": 8, **schedule})
    left, _ = transfer.skip_trained_stages(plan, source.folder, (), print)
    assert [(p.resolution, p.fade, p.images) for p in left.phases] == [
        (8, False, 1008),
        (16, True, 1000),
        (16, False, 18_000),
    ]


def make_photos(folder):
    """Write ten photos of noise, and return their folder."""
    folder.mkdir()
    for i in range(10):
        noise = np.random.default_rng(i).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), True),
        (("--loss", "hinge"), True),
        (("--target-res", "16"), False),
        (("--fmap-base", "2048"), False),
        (("--resolutions", "8,32"), False),
        (("--recipe", "dcgan"), False),
        (("--recipe", "colorize"), False),
        (("--init-from", "portraits"), False),
    ],
)
def test_a_new_run_of_photos_is_told_of_weights_that_fit(options, told, tmp_path):
    size = () if "--resolutions" in options or "--target-res" in options else ("--target-res", "32")
    command = ("train", "--data", make_photos(tmp_path / "photos"), *size, *options)
    code, out, err = pggan(*command, "--cache", tmp_path / "cache", "--dry-run")
    assert code == 0 and "in all" in out, err
    assert ("a short run gets further" in out) == told


def test_a_run_of_drawings_or_one_that_has_begun_is_told_nothing(tmp_path, monkeypatch):
    from pggan_tf.training import session

    for data in ((), ("--data", "sprites")):
        _, out, _ = pggan("train", *data, "--target-res", "32", "--dry-run")
        assert "in all" in out and "gets further" not in out
    command = ("train", "--data", make_photos(tmp_path / "photos"), "--target-res", "32", "--total-images", "4000")
    command += ("--cache", tmp_path / "cache", "--run", tmp_path / "run")
    monkeypatch.setattr(session.loop.Run, "train", lambda run: None)
    for told, *end in ((True,), (False,), (False, "--dry-run")):
        code, out, err = pggan(*command, *end)
        assert code == 0, err
        assert ("gets further" in out) == told
