"""What images are turned into, and runs that learn from images to images: real processes, stopped and resumed."""

import json
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks import pipeline_table
from pggan_tf import entry, tasks
from pggan_tf.config import load
from pggan_tf.data import pixels, shards
from pggan_tf.metrics import sets
from pggan_tf.networks.srresnet import Generator as SRResNet
from pggan_tf.networks.unet import Generator as UNet
from pggan_tf.runs import checkpoint, generators
from tests import image_networks
from tests.conftest import pggan, run_folder, start, train
from tests.test_front_door import refused, wait_for

SEED = tf.zeros([2], tf.int64)


@pytest.fixture(scope="module")
def pictures():
    """Smooth ones: uint8 [6,32,32,3]."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (6, 5, 5, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(p).resize((32, 32), Image.BICUBIC)) for p in small])


@pytest.mark.parametrize("name", [t for t in tasks.TASKS if t != "generate"])
def test_a_perfect_output_is_the_picture(name, pictures):
    """The image that an ideal generator makes is the image that it was given a part of."""
    task = tasks.TASKS[name]()
    images = tf.constant(pixels.to_float(pictures))
    images = tf.concat([images[:, :, ::-1], images], axis=-1) if name == "translate" else images
    condition, target = task.condition(images, SEED), task.target(images)
    judged = task.discriminator_input(condition, target)
    assert condition.shape[-1] == task.input_channels and target.shape[-1] == task.output_channels
    assert judged.shape[-1] == task.discriminator_channels and judged.shape[:3] == (6, 32, 32)
    np.testing.assert_allclose(judged[..., -task.output_channels :], target)
    picture = pixels.to_uint8(task.to_image(condition, target).numpy()).astype(int)
    assert np.abs(picture - pictures).max() <= 1
    assert task.preview(condition, (32, 32)).shape == (6, 32, 32, 3)


def test_gray_and_lightness_are_those_of_the_image(pictures):
    images = tf.constant(pixels.to_float(pictures))
    luma = np.asarray([np.asarray(Image.fromarray(p).convert("L")) for p in pictures], float)
    gray = tasks.Recolor().condition(images, SEED).numpy()[..., 0] * 255
    assert np.abs(gray - luma).max() <= 1
    white = tasks.Colorize().condition(tf.ones((1, 2, 2, 3)), SEED)
    np.testing.assert_allclose(white, 1.0, atol=1e-4)


@pytest.mark.parametrize("filter", ["bicubic", "lanczos", "box"])
def test_small_images_are_those_that_pillow_makes(filter, pictures):
    condition = tasks.Upscale(4, filter).condition(tf.constant(pixels.to_float(pictures)), SEED).numpy()
    kind = Image.Resampling[filter.upper()]
    small = np.stack([np.asarray(Image.fromarray(p).resize((8, 8), kind)) for p in pictures])
    # Pillow rounds and cuts off between its two passes, so what overshoots may differ by more.
    apart = np.abs(np.rint(condition * 255) - small.astype(int))
    assert apart.max() <= (1 if filter == "box" else 4) and (apart <= 1).mean() > 0.98


def test_an_upscaler_knows_how_far_it_looks():
    """A pixel further away than `context` changes nothing, for any size of image."""
    network = SRResNet((32,), 3, 3, "upscale", scale=4, width=4, blocks=2)
    network.build()
    x = np.random.default_rng(0).random((1, 30, 41, 3), np.float32)
    whole = network(tf.constant(x)).numpy()
    assert whole.shape == (1, 120, 164, 3)
    cut = network(tf.constant(x[:, :, : 20 + network.context])).numpy()
    np.testing.assert_allclose(cut[:, :, :80], whole[:, :, :80], atol=1e-6)


def test_a_colorizer_takes_any_multiple_of_its_size():
    network = UNet((16,), 2, 1, "colorize", width=4, fmap_max=8, generator_norm="group")
    network.build()
    assert network.multiple == 16 and network(tf.zeros((1, 32, 48, 1))).shape == (1, 32, 48, 2)
    again = UNet.from_config(network.get_config())
    again.build()
    assert [v.shape for v in again.variables] == [v.shape for v in network.variables]


QUICK = ["--no-report"]
COLORIZE = ["--recipe", "colorize", "--target-res", "16", "--width", "8", "--batch", "8", "--pretrain-images", "160"]
UPSCALE = ["--recipe", "srgan", "--target-res", "32", "--patch", "16", "--width", "8", "--blocks", "1", "--batch", "8"]


IMAGE_RECIPES = {
    "colorize": [*COLORIZE, "--generator-norm", "batch"],
    "srgan": [*UPSCALE, "--discriminator-norm", "group"],
    "recolor": ["--recipe", "recolor", "--target-res", "16", "--width", "8", "--batch", "8", "--zoom", "0.3"],
    "real photos": [*UPSCALE, "--degrade", "--discriminator-norm", "group"],
    "two-stage": [*COLORIZE, "--update", "two-stage", "--critic-steps", "2"],
    "augmented": [*COLORIZE, "--augment", "ada"],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["recolor", *(pytest.param(n, marks=pytest.mark.slow) for n in IMAGE_RECIPES if n != "recolor")]
)
def test_a_killed_run_from_images_goes_on_as_if_it_had_not_been(name, tmp_path):
    common = [*IMAGE_RECIPES[name], *QUICK, "--portraits", "60", "--total-images", "1600"]
    common += ["--snapshot-images", "400", "--grid", "6"]
    code, out, err = train(*common, "--runs", tmp_path / "a")
    assert code == 0, err
    whole = run_folder(out)
    stopped = tmp_path / "b"
    process = start("train.py", *common, "--run", stopped, "--checkpoint-minutes", "0.0005")
    wait_for(process, lambda: any(500 < int(p.stem.split("-")[1]) < 1500 for p in checkpoint.list_checkpoints(stopped)))
    process.kill()
    process.communicate()
    assert not (stopped / "generator.keras").exists()
    code, out, err = train("--resume", stopped)
    assert code == 0, err
    ours, theirs = (checkpoint.read(checkpoint.list_checkpoints(run)[0])[0] for run in (stopped, whole))
    assert ours.keys() == theirs.keys()
    assert any(n.startswith("optimizer_discriminator") for n in ours) == (name != "recolor")
    for variable in ours:
        np.testing.assert_array_equal(ours[variable], theirs[variable], err_msg=variable)
    for path in whole.glob("fakes-*.png"):
        assert path.read_bytes() == (stopped / path.name).read_bytes()
    task = {"srgan": "upscale", "real photos": "upscale", "recolor": "recolor"}.get(name, "colorize")
    assert generators.load(whole).task == task
    refused(pggan("generate", whole, "--grid", tmp_path / "x.png"), "was trained to", "not to generate")


@pytest.mark.slow
def test_pairs_are_translated(tmp_path):
    """Two folders, or pictures side by side: the same shards, and the same training."""
    rng = np.random.default_rng(0)
    for i in range(6):
        a, b = (rng.integers(0, 256, (20, 24, 3), np.uint8) for _ in "ab")
        for name, image in (("two/edges", a), ("two/photos", b), ("beside", np.concatenate([a, b], axis=1))):
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(tmp_path / name / f"{i}.png")
    Image.fromarray(a).save(tmp_path / "two" / "edges" / "alone.png")
    Image.fromarray(a[:10]).save(tmp_path / "two" / "photos" / "alone.png")
    made = {}
    for source, out in ((f"pairs:{tmp_path / 'two'}", "a"), (tmp_path / "beside", "b")):
        code, _, err = pggan("prepare", source, tmp_path / out, "--size", "16", "--pairs")
        assert code == 0, err
        made[out] = shards.Shards(tmp_path / out).read(16, np.arange(6))
    assert made["a"].shape == (6, 16, 16, 6)
    np.testing.assert_array_equal(made["a"], made["b"])
    options = ["--recipe", "colorize", "--task", "translate", "--loss", "none", "--target-res", "16", "--width", "4"]
    options += ["--batch", "4", "--total-images", "16", "--grid", "6", *QUICK]
    measured = ["--metrics", "fid", "--features", "random"]  # on the one that is held out of six
    code, out, err = train(*options, *measured, "--data", tmp_path / "a", "--runs", tmp_path / "runs")
    assert code == 0, err
    run = run_folder(out)
    assert "1 image to measure on. Give more photos" in (run / "log.txt").read_text()
    assert generators.load(run).task == "translate"
    code, _, err = pggan("translate", run, tmp_path / "two" / "edges" / "0.png", "--out", tmp_path / "made.png")
    assert code == 0, err
    with Image.open(tmp_path / "made.png") as picture:
        assert picture.size == (24, 20)
    made["data"] = shards.Shards(tmp_path / "a")
    code, out, err = train(*options, "--reverse", "--data", f"pairs:{tmp_path / 'two'}", "--runs", tmp_path / "reverse")
    assert code == 0, err
    ahead, back = (
        generators.make_samples(load(r / "config.json"), generators.load(r), made["data"])
        for r in (run, run_folder(out))
    )
    kept = {sets.read_originals(samples).content for samples in (ahead, back)}
    assert len(kept) == 2, "what is kept of the one are no figures of the other"
    for samples, given, original in ((ahead, slice(3), slice(3, 6)), (back, slice(3, 6), slice(3))):
        truth = made["data"].read(16, np.arange(6))
        before, _, after = samples.triples(0, 2)
        np.testing.assert_array_equal(after, samples.read(0, 2))
        assert any((before[0] == t[..., given]).all() and (after[0] == t[..., original]).all() for t in truth)
    wrong = train("--data", tmp_path / "a", "--target-res", "16", "--runs", tmp_path)
    refused(wrong, "6 channels", "Give --task translate")


PIPELINE = ["--recipe", "pggan-separable+srgan", "--target-res", "32", "--patch", "16", "--blocks", "1", "--width", "4"]
PIPELINE += ["--fmap-base", "32", "--fmap-max", "8", "--latent-size", "8", "--portraits", "40", "--batch", "4", *QUICK]


@pytest.mark.slow
def test_a_pipeline_is_trained_by_one_command(tmp_path):
    code, out, err = train(*PIPELINE, "--grid", "4", "--total-images", "64", "--runs", tmp_path)
    assert code == 0, err
    (folder,) = tmp_path.iterdir()
    assert folder.name == "00000-pggan-separable+srgan-portraits-32"
    faces, larger = folder / "pggan-separable", folder / "srgan"
    assert out.splitlines()[-1].endswith(f"pggan generate {faces} --upscale {larger} --grid faces.png")
    code, _, err = pggan("generate", faces, "--upscale", larger, "--count", "2", "--npz", tmp_path / "a.npz")
    assert code == 0 and np.load(tmp_path / "a.npz")["images"].shape == (2, 32, 32, 3), err


@pytest.mark.slow
def test_both_parts_of_a_pipeline_are_measured_as_they_are(tmp_path, monkeypatch, capsys):
    assert train(*PIPELINE, "--grid", "4", "--total-images", "64", "--run", tmp_path / "both")[0] == 0
    faces, larger = tmp_path / "both" / "pggan-separable", tmp_path / "both" / "srgan"
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(4, "softmax")]
    keras.Sequential(layers).save(tmp_path / "four.keras")
    monkeypatch.setattr(pipeline_table, "trained", lambda *_: (faces, larger))
    for extra, words in (([], "is left out"), (["--features", str(tmp_path / "four.keras")], "IS[four.keras]")):
        assert entry.main(pipeline_table.main, ["portraits", "--images", "16", *extra]) == 0
        out = capsys.readouterr().out
        assert words in out and "with SRGAN" in out and " ± " in out, out


@pytest.mark.slow
def test_a_pipeline_that_was_stopped_says_how_both_go_on(tmp_path):
    long = ["--total-images", "200000", "--checkpoint-minutes", "0.0005"]
    process = start("train.py", *PIPELINE, *long, "--runs", tmp_path)
    wait_for(process, lambda: any(checkpoint.list_checkpoints(f) for f in tmp_path.glob("*/pggan-separable")))
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    (folder,) = tmp_path.iterdir()
    assert process.returncode == 143 and f"the same command, --run {folder}" in err, err


def test_a_pipeline_misses_no_data_later(tmp_path):
    """Photos that are large enough for the first run and not for the second are refused before either begins."""
    (tmp_path / "photos").mkdir()
    for i in range(3):
        Image.fromarray(np.full((100, 100, 3), 80 * i, np.uint8)).save(tmp_path / "photos" / f"{i}.png")
    options = ["--data", tmp_path / "photos", "--target-res", "256", "--runs", tmp_path / "runs"]
    refused(train("--recipe", "pggan-separable+srgan", *options), "smaller than 256x256")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_classes_can_be_asked_for(tmp_path, photos):
    code, out, err = train(
        *("--recipe", "acgan", "--data", photos, "--target-res", "16", "--fmap-base", "32", "--fmap-max", "8"),
        *("--batch", "4", "--total-images", "48", "--latent-size", "8", "--runs", tmp_path, "--grid", "4", *QUICK),
    )
    assert code == 0, err
    run = run_folder(out)
    assert "two-stage update: the discriminator's steps, then the generator's" in (run / "log.txt").read_text()
    # At every epoch of the twelve photos, in whole batches: a grid, and figures.
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines if "swd" in line.get("metrics", {})] == [12, 24, 36, 48]
    assert [int(p.stem.split("-")[-1]) for p in sorted(run.glob("fakes-*.png"))][-4:] == [12, 24, 36, 48]
    made = {}
    for name in ("cats", "dogs"):
        code, out, err = pggan("generate", run, "--class", name, "--seeds", "0-3", "--npz", tmp_path / f"{name}.npz")
        assert code == 0, err
        made[name] = np.load(tmp_path / f"{name}.npz")["images"]
    assert made["cats"].shape == (4, 16, 16, 3) and (made["cats"] != made["dogs"]).any()
    refused(pggan("generate", run, "--class", "cows", "--grid", tmp_path / "x.png"), "--class cows", "dogs or cats")
    flat = photos / "cats"
    command = ["--conditional", "--data", flat, "--target-res", "16", "--runs", tmp_path, "--cache", tmp_path / "cache"]
    refused(train(*command), "the data has no classes")
    assert not (tmp_path / "cache" / "shards").exists(), "nothing is prepared in vain"


@pytest.mark.slow
def test_horses_are_gray_and_may_be_shown_as_negatives(tmp_path, photos):
    code, out, err = train(
        *("--recipe", "pegasus", "--data", photos, "--resolutions", "12", "--upscale-small", "--fmap-base", "32"),
        *("--fmap-max", "8", "--batch", "4", "--total-images", "80", "--latent-size", "8", "--runs", tmp_path),
        *("--grid", "4", *QUICK),
    )
    assert code == 0, err
    run = run_folder(out)
    for extra, name in (((), "a"), (("--negative",), "b")):
        code, _, err = pggan("generate", run, "--seeds", "0-3", "--npz", tmp_path / f"{name}.npz", *extra)
        assert code == 0, err
    plain, negative = (np.load(tmp_path / f"{name}.npz")["images"] for name in "ab")
    assert plain.shape == (4, 12, 12, 1)
    np.testing.assert_array_equal(negative, 255 - plain)

    # The whole pipeline: gray, negative, coloured, enlarged.
    files = {task: tmp_path / f"{task}.keras" for task in ("recolor", "upscale")}
    for task, file in files.items():
        image_networks.built(task).save(file)
    given = ("--seeds", "0-3", "--negative", "--recolor", files["recolor"], "--upscale", files["upscale"])
    code, _, err = pggan("generate", run, *given, "--npz", tmp_path / "c.npz")
    assert code == 0, err
    assert np.load(tmp_path / "c.npz")["images"].shape == (4, 24, 24, 3)
    wrong = pggan("generate", run, "--upscale", files["recolor"], "--grid", tmp_path / "x.png")
    refused(wrong, "was trained to recolor, not to upscale")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--task", "colorize"], ["--network progressive", "Give --network unet"]),
        (["--recipe", "recolor", "--loss", "mse"], ["has no discriminator"]),
        (["--recipe", "srgan", "--pixel", "none"], ["would learn from nothing"]),
        (["--recipe", "srgan", "--patch", "98"], ["--scale 4", "not a multiple"]),
        (["--recipe", "srgan", "--patch", "512"], ["--patch 512", "128"]),
        (["--recipe", "colorize", "--target-res", "48"], ["nearest are 32 and 64"]),
        (["--recipe", "srgan", "--augment", "diff"], ["--augment diff with --content discriminator", "vgg19"]),
        (["--recipe", "recolor", "--augment", "diff"], ["--augment"]),
        (["--recipe", "colorize", "--content", "vgg19"], ["--content vgg19", "discriminator"]),
        (["--recipe", "colorize", "--generator-norm", "pixel"], ["takes batch, group, none"]),
        (["--pixel", "l1"], ["--pixel l1 with --task generate"]),
        (["--zoom", "0.2"], ["--zoom 0.2 with --task generate", "tasks from images to images"]),
        (["--recipe", "srgan", "--zoom", "0.2"], ["--zoom 0.2 with --task upscale", "blurred"]),
        (["--recipe", "recolor", "--zoom", "1"], ["--zoom 1", "0.5"]),
        (["--recipe", "srgan", "--zoom", "0"], ["--zoom: nothing would read it"]),
        (["--recipe", "srgan", "--content", "vgg19", "--vgg-weights", "missing.h5", "--portraits", "9"], ["--vgg-weights"]),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(arguments, words, tmp_path):
    refused(train(*arguments, "--runs", tmp_path), *words)
