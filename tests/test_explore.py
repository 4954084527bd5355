"""Verbs that look at a trained generator, through the front door."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pggan_tf import synthesis
from pggan_tf.data import pipeline, pixels
from pggan_tf.data.shards import Shards
from pggan_tf.explore import walks
from pggan_tf.report import nearest
from pggan_tf.runs import generators
from tests.conftest import TINY, pggan, run_folder, train
from tests.test_front_door import refused

SCHEDULE = ["--target-res", "8", "--fade-images", "0", "--stable-images", "4=640,8=800", "--batch", "8"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    code, out, err = train(*TINY, *SCHEDULE, "--conditional", "--runs", tmp_path_factory.mktemp("runs"))
    assert code == 0, err
    return run_folder(out)


@pytest.fixture(scope="module")
def generator(run):
    return generators.load(run)


def frames(path):
    import av

    with av.open(path) as container:
        stream = container.streams.video[0]
        return stream, np.stack([f.to_ndarray(format="rgb24") for f in container.decode(stream)])


def test_slerp_keeps_to_the_sphere():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 16)).astype(np.float32)
    t = np.linspace(0, 1, 9)
    path = synthesis.slerp(a, b, t)
    assert path.shape == (9, 5, 16) and path.dtype == np.float32
    np.testing.assert_allclose(path[0], a, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(path[-1], b, rtol=1e-6, atol=1e-6)
    lengths = np.linalg.norm(path, axis=-1)
    straight = np.linspace(np.linalg.norm(a, axis=-1), np.linalg.norm(b, axis=-1), 9)
    np.testing.assert_allclose(lengths, straight, rtol=1e-5)
    unit = path / lengths[..., None]
    steps = np.arccos((unit[1:] * unit[:-1]).sum(-1))
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:1], steps.shape), rtol=1e-3)  # even turns
    # Quarter of a circle by hand, and latents that point the same way.
    np.testing.assert_allclose(
        synthesis.slerp(np.array([[1.0, 0]]), np.array([[0, 1.0]]), [0.5])[0, 0], [0.5**0.5] * 2, rtol=1e-6
    )
    np.testing.assert_allclose(synthesis.slerp(a, 2 * a, [0.5])[0], 1.5 * a, rtol=1e-5)


def test_a_walk_visits_its_keyframes():
    keys = np.random.default_rng(1).normal(size=(4, 2, 8)).astype(np.float32)
    open_walk = walks.interpolate(keys, 31, loop=False)
    np.testing.assert_allclose(open_walk[::10], keys, rtol=1e-5, atol=1e-6)
    loop = walks.interpolate(keys, 40, loop=True)
    np.testing.assert_allclose(loop[::10], keys, rtol=1e-5, atol=1e-6)
    # The frame after the last is the first: the last step is as long as the others of its span.
    np.testing.assert_allclose(loop[-1], synthesis.slerp(keys[3], keys[0], [0.9])[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(walks.interpolate(keys[:1], 3, loop=True), np.repeat(keys[:1], 3, axis=0), rtol=1e-6)


def test_interpolate_writes_h264(run, generator, tmp_path):
    video = tmp_path / "sub" / "walk.mp4"
    arguments = (
        "--video",
        video,
        "--grid",
        "3x2",
        "--seeds",
        "0-23",
        "--seconds",
        "1",
        "--fps",
        "12",
        "--loop",
        "--class",
        "red",
    )
    code, out, err = pggan("interpolate", run, *arguments)
    assert code == 0 and out.strip() == str(video), err
    stream, pictures = frames(video)
    assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
    assert stream.average_rate == 12 and pictures.shape == (12, 256, 384, 3)
    # Frames 0, 3, 6 and 9 are the keyframes: seeds 0-5, 6-11, 12-17, 18-23.
    sampler, red = synthesis.Sampler(generator), generator.classes.index("red")
    for i in range(4):
        images = sampler.images(synthesis.latents(range(6 * i, 6 * i + 6), 8), 8, labels=np.full(6, red))
        expected = pixels.tile(pixels.enlarge(images, 128), 3).astype(float)
        assert np.abs(pictures[3 * i] - expected).mean() < 12, "as the generator makes them, but for the compression"


@pytest.mark.parametrize("name", ["walk.gif", "walk.webp"])
def test_interpolate_writes_animations(run, tmp_path, name):
    code, out, err = pggan("interpolate", run, "--video", tmp_path / name, "--seconds", "0.5", "--fps", "10")
    assert code == 0, err
    with Image.open(tmp_path / name) as picture:
        assert picture.n_frames == 5 and picture.size == (128, 128) and picture.info["loop"] == 0


@pytest.mark.parametrize("fps, shown", [(30, {30, 40}), (50, {20})])
def test_a_gif_lasts_as_long_as_asked_for(tmp_path, fps, shown):
    from pggan_tf.explore import video

    pictures = np.random.default_rng(0).integers(0, 256, (fps, 8, 8, 3), np.uint8)
    video.write(tmp_path / "v.gif", iter(pictures), fps)
    with Image.open(tmp_path / "v.gif") as picture:
        durations = [picture.seek(i) or picture.info["duration"] for i in range(picture.n_frames)]
    assert len(durations) == fps and sum(durations) == 1000 and set(durations) == shown


@pytest.mark.parametrize("fps", [30, 60, 120])
def test_a_webp_lasts_as_long_as_asked_for(tmp_path, fps):
    from pggan_tf.explore import video

    pictures = np.random.default_rng(0).integers(0, 256, (2 * fps, 8, 8, 3), np.uint8)
    video.write(tmp_path / "v.webp", iter(pictures), fps)
    with Image.open(tmp_path / "v.webp") as picture:
        durations = []
        for i in range(picture.n_frames):
            picture.seek(i)
            picture.load()
            durations.append(picture.info["duration"])
    assert len(durations) == 2 * fps and sum(durations) == 2000 and max(durations) - min(durations) <= 1


def test_a_gray_odd_video(tmp_path):
    """H.264 wants even sides and colour."""
    from pggan_tf.explore import video

    gray = np.full((4, 25, 51, 1), 90, np.uint8)
    video.write(tmp_path / "v.mp4", iter(gray), 5)
    _, pictures = frames(tmp_path / "v.mp4")
    assert pictures.shape == (4, 26, 52, 3) and np.abs(pictures.astype(int) - 90).max() <= 2
    with pytest.raises(RuntimeError, match="halfway"):

        def broken():
            yield gray[0]
            raise RuntimeError("halfway")

        video.write(tmp_path / "w.mp4", broken(), 5)
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]


def test_interpolate_refuses(run, tmp_path):
    refused(pggan("interpolate", run, "--video", tmp_path / "x.gif", "--fps", "60"), "--fps 60", "50 frames a second")
    refused(pggan("interpolate", run, "--video", tmp_path / "x.avi"), "--video .*x.avi", ".mp4, .gif, .webp")
    refused(pggan("interpolate", run, "--video", tmp_path / "x.mp4", "--grid", "3"), "--grid 3", "3x2")
    refused(
        pggan("interpolate", run, "--video", tmp_path / "x.mp4", "--grid", "3x2", "--seeds", "0-4"),
        "5 keyframes are too few",
    )
    np.save(tmp_path / "z.npy", np.ones((2, 9)))
    np.save(tmp_path / "none_of_them.npy", np.zeros((2, 8)))
    np.save(tmp_path / "nan.npy", np.full((2, 8), np.nan))
    for file, words in (
        ("none.npy", "cannot be read"),
        ("nan.npy", "finite floats"),
        ("none_of_them.npy", "all zeros"),
    ):
        refused(pggan("interpolate", run, "--video", tmp_path / "x.mp4", "--latents", tmp_path / file), words)
    refused(
        pggan("interpolate", run, "--video", tmp_path / "x.mp4", "--latents", tmp_path / "z.npy"),
        "9 numbers each; .* takes 8",
    )


def test_grid_of_stages(run, generator, tmp_path):
    code, out, err = pggan("grid", run, "--stages", "--seeds", "3,5-6", "--class", "red", "--out", tmp_path / "s.png")
    assert code == 0, err
    with Image.open(tmp_path / "s.png") as picture:
        sheet = np.asarray(picture)
    assert sheet.shape == (2 * 64 + 1, 3 * 64 + 2, 3)
    sampler, labels = synthesis.Sampler(generator), np.full(3, generator.classes.index("red"))
    for row, stage in enumerate((4, 8)):
        images = sampler.images(synthesis.latents([3, 5, 6], 8), stage, labels=labels)
        for column, image in enumerate(images):
            cell = sheet[65 * row : 65 * row + 64, 65 * column : 65 * column + 64]
            np.testing.assert_array_equal(cell[:: 64 // stage, :: 64 // stage], image)


def test_grid_of_classes(run, generator, tmp_path):
    code, out, err = pggan("grid", run, "--classes", "--seeds", "0-1", "--out", tmp_path / "c.png")
    assert code == 0 and f"from the top: {', '.join(generator.classes)}" in out, err
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.size == (2 * 65 - 1, 65 * len(generator.classes) - 1)
    refused(pggan("grid", run), "--stages or --classes")
    refused(pggan("grid", run, "--stages", "--out", "x.pdf"), "--out x.pdf")


@pytest.mark.parametrize(
    "arguments, size",
    [
        (["generate", "--count", "70000", "--grid", "x.webp"], "17,224 x 17,224"),
        (["generate", "--count", "200000", "--grid", "x.png"], "29,119 x 29,054"),
        (["grid", "--stages", "--seeds", "0-299", "--out", "x.webp"], "19,499 x 129"),
        (["grid", "--classes", "--seeds", "0-1099", "--out", "x.jpg"], "71,499 x 649"),
        (["neighbours", "--seeds", "0-299", "--rows", "300", "-k", "1", "--out", "x.webp"], "138 x 19,798"),
        (["interpolate", "--grid", "200x1", "--video", "x.mp4"], "25,600 x 128"),
    ],
    ids=["square", "area", "stages", "classes", "neighbours", "video"],
)
def test_pictures_too_large_for_their_file_are_refused_before_they_are_made(
    run, tmp_path, monkeypatch, arguments, size
):
    monkeypatch.setattr(synthesis.Sampler, "images", lambda *_, **__: pytest.fail("too late"))
    verb, *options, name = arguments
    refused(pggan(verb, run, *options, tmp_path / name), f"{name}: .*{size} pixels")
    assert not list(tmp_path.iterdir())


def test_generate_writes_as_it_goes(run, generator, tmp_path, monkeypatch):
    """The same images as all at once."""
    whole = synthesis.Sampler(generator).images(
        synthesis.latents(range(70), 8), 8, labels=np.arange(70) % len(generator.classes)
    )
    images, there = synthesis.Sampler.images, []

    def watched(*arguments, **options):
        there.append(len(list((tmp_path / "d").glob("*.png"))))
        return images(*arguments, **options)

    monkeypatch.setattr(synthesis.Sampler, "images", watched)
    places = ("--npz", tmp_path / "a.npz", "--dir", tmp_path / "d", "--grid", tmp_path / "g.png")
    code, out, err = pggan("generate", run, "--count", "70", "--no-mark", *places)
    assert code == 0 and out.split() == [str(tmp_path / name) for name in ("g.png", "a.npz", "d")], err
    assert there == [0, 32, 64]
    np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["images"], whole)
    pixels.save_grid(tmp_path / "expected.png", whole, size=pixels.VISIBLE)
    assert (tmp_path / "g.png").read_bytes() == (tmp_path / "expected.png").read_bytes()
    for number, image in enumerate(whole):
        with Image.open(tmp_path / "d" / f"{number:06}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), image)


def test_generate_that_fails_leaves_what_is_whole(run, tmp_path, monkeypatch):
    images, calls = synthesis.Sampler.images, []

    def full(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return images(*arguments, **options)

    monkeypatch.setattr(synthesis.Sampler, "images", full)
    places = ("--npz", tmp_path / "a.npz", "--dir", tmp_path / "d", "--grid", tmp_path / "g.png")
    refused(pggan("generate", run, "--count", "70", *places), "a.npz: cannot be written .No space left on device")
    assert [f.name for f in tmp_path.iterdir()] == ["d"] and len(list((tmp_path / "d").iterdir())) == 64


def test_generate_tries_its_places_first(tmp_path):
    (tmp_path / "file").touch()
    for option, name in (("--grid", "g.png"), ("--npz", "a.npz"), ("--dir", "")):
        place = tmp_path / "file" / name
        refused(pggan("generate", tmp_path / "no-run", option, place), f"{option} {place}.*cannot be written")
    refused(
        pggan("generate", tmp_path, "--count", "2000000", "--dir", tmp_path), "--count 2000000: .*1,000,000 at most"
    )


def test_projecting_an_image_of_its_own_finds_it(run, generator, tmp_path):
    seed, label = 3_000_000_007 % 2**32, 4
    z = synthesis.latents([seed], 8)
    image = synthesis.Sampler(generator).images(z, 8, labels=np.array([label]))[0]
    pixels.save(tmp_path / "own.png", image)
    arguments = (
        "--steps",
        "250",
        "--class",
        generator.classes[label],
        "--out",
        tmp_path / "p",
        "--video",
        tmp_path / "way.gif",
    )
    code, out, err = pggan("project", run, tmp_path / "own.png", *arguments)
    assert code == 0, err
    found = np.load(tmp_path / "p" / "latent.npy")
    assert found.shape == (1, 8) and found.dtype == np.float32
    cosine = float(found[0] @ z[0] / np.linalg.norm(found) / np.linalg.norm(z))
    again = synthesis.Sampler(generator).images(found, 8, labels=np.array([label]))[0]
    assert np.abs(again.astype(int) - image).max() <= 3 and cosine > 0.99, (cosine, out)
    assert f"class: {generator.classes[label]}" in out
    about = json.loads((tmp_path / "p" / "projection.json").read_text())
    assert (about["class"], about["stage"], about["photo"]) == (generator.classes[label], 8, "own.png")
    with Image.open(tmp_path / "p" / "projection.png") as picture:
        target, _, result = np.split(np.delete(np.asarray(picture), [256, 513], axis=1), 3, axis=1)
    np.testing.assert_array_equal(target[::32, ::32], image)
    np.testing.assert_array_equal(result[::32, ::32], again)
    with Image.open(tmp_path / "way.gif") as picture:
        assert picture.n_frames > 60
    # The latent is of use: a video that begins there.
    arguments = (
        "--latents",
        tmp_path / "p" / "latent.npy",
        "--seconds",
        "0.2",
        "--fps",
        "10",
        "--video",
        tmp_path / "v.webp",
    )
    assert pggan("interpolate", run, *arguments)[0] == 0


def test_projection_repeats_itself_and_chooses_a_class(generator):
    from pggan_tf.explore.projection import project
    from pggan_tf.metrics import psnr

    image = synthesis.Sampler(generator).images(synthesis.latents([77_777], 8), 8, labels=np.array([6]))[0]
    a, b = (project(generator, image, 40) for _ in range(2))
    np.testing.assert_array_equal(a.latent, b.latent)
    before, after = psnr.compute_each(np.stack([image, image]), np.stack([a.start, a.image]))
    assert after > before > 15
    assert 0.5 < np.square(a.latent).mean() < 1.5, "latents stay as long as those that were trained on"
    # One step leads away from a photo that is one of the starts itself.
    z = synthesis.latents([3], 8)
    own = synthesis.Sampler(generator).images(z, 8, labels=np.array([3]))[0]
    c = project(generator, own, 1, keep_frames=True)
    np.testing.assert_array_equal(c.latent, z[0])
    assert c.label == 3 and (c.image == own).all() and (c.start == own).all() and (c.frames[-1] == own).all()


def test_project_refuses(run, tmp_path):
    (tmp_path / "text.jpg").write_text("no photo")
    refused(
        pggan("project", run, tmp_path / "text.jpg", "--out", tmp_path / "o"), "text.jpg: not a file of a known kind"
    )
    refused(pggan("project", run, tmp_path / "none.jpg", "--out", tmp_path / "o"), "none.jpg: cannot be read")


def test_nearest_finds_copies_mirrored_ones_and_no_others(run):
    from pggan_tf.report.runs import read_run

    shards = nearest.open_training_data(read_run(run))
    images = shards.read(8, np.array([7, 100, 31]))
    images[1] = images[1, :, ::-1]
    images[2] = np.clip(images[2].astype(int) + 3, 0, 255)
    numbers, distances = nearest.find_nearest(images, shards, 3, mirror=True)
    assert numbers[:, 0].tolist() == [7, 100, 31]
    np.testing.assert_allclose(distances[:2, 0], 0, atol=1e-6)
    assert 2.5 < distances[2, 0] <= 3 and (np.diff(distances, axis=1) >= 0).all()
    assert nearest.find_nearest(images, shards, 1, mirror=False)[1][1, 0] > 1
    # By hand, over all images at once.
    everything = shards.read(8, np.arange(len(shards))).astype(float)
    by_hand = np.sqrt(np.square(everything - images[0]).mean((1, 2, 3)))
    found, distance = nearest.find_nearest(images[:1], shards, 5, mirror=False)
    np.testing.assert_array_equal(found[0], np.argsort(by_hand, kind="stable")[:5])
    np.testing.assert_allclose(distance[0], np.sort(by_hand)[:5], atol=1e-9)
    # Photos that were held out are none that the run was trained on.
    count = shards.count(8)
    out = pipeline.holdout_indices(np.arange(count - pipeline.train_count(count, 0.1)), count, 0.1)
    held = shards.read(8, out)
    numbers, distances = nearest.find_nearest(held, shards, 1, mirror=False, held_out=0.1)
    assert not np.isin(numbers, out).any() and (distances > 0).all()
    # An image is not its own neighbour.
    numbers, distances = nearest.find_nearest(images[:1], shards, 1, mirror=True, own=[7])
    assert numbers[0, 0] != 7 and distances[0, 0] > 0


def test_copies_are_found_where_smaller_photos_were_kept(tmp_path):
    rng, photos = np.random.default_rng(0), tmp_path / "photos"
    photos.mkdir()
    for i in range(10):
        side = 32 if i % 2 else 64
        Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(photos / f"{i}.png")
    code, _, err = pggan("prepare", photos, tmp_path / "shards", "--size", "64", "--keep-small")
    assert code == 0, err
    data = Shards(tmp_path / "shards")
    assert (data.count(32), data.count(64)) == (10, 5)
    copies = data.read(64, np.arange(5))
    known = SimpleNamespace(latent_size=4, classes=(), resolutions=(64,))
    sampler = SimpleNamespace(generator=known, images=lambda z, stage, **options: copies)
    found = nearest.compare_samples(sampler, data, range(5), 2, mirror=False)
    assert (found.distances[:, 0] == 0).all() and (found.near[:, 0] == found.samples).all()


def test_neighbours(run, tmp_path):
    out = tmp_path / "sub" / "n.png"
    code, text, err = pggan("neighbours", run, "--seeds", "0-9", "--rows", "2", "-k", "3", "--out", out)
    assert code == 0 and text.count("training images ") >= 2 and "Median distance" in text, err
    with Image.open(out) as picture:
        assert picture.size == (4 * 66 - 2 + 64 // 8, 2 * 66 - 2)
    copy = shutil.copytree(run, tmp_path / "copy")
    environment = json.loads((copy / "environment.json").read_text())
    environment["dataset"]["folder"] = str(tmp_path / "gone")
    (copy / "environment.json").write_text(json.dumps(environment))
    refused(pggan("neighbours", copy, "--out", out), "its prepared data are gone from .*gone.*pggan train --resume")


@pytest.mark.parametrize(
    "options, words",
    [
        (["--shape", "1:2"], "has images of the shape 1:2 with 3 channels"),
        (["--gray"], "has images of the shape 1:1 with 1 channel, and"),
    ],
)
def test_neighbours_refuses_other_data(run, tmp_path, options, words):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 60), "green").save(tmp_path / "photos" / "a.png")
    code, _, err = pggan("prepare", tmp_path / "photos", tmp_path / "shards", "--size", "8", *options)
    assert code == 0, err
    other = ("--data", tmp_path / "shards")
    refused(pggan("neighbours", run, *other, "--out", tmp_path / "n.png"), words, "on images of the shape 1:1 with 3")
    refused(pggan("report", run, *other, "--out", tmp_path / "r.html"), words)


@pytest.mark.parametrize("values", [None, [[1e300] * 8], [[1e20] * 8], [[1e-300] * 8], [[0.0] * 8], []])
def test_latents_that_are_none_are_refused(run, tmp_path, values):
    file = tmp_path / "a.npy"
    file.touch()
    if values is not None:
        np.save(file, np.reshape(np.array(values, float), (-1, 8)))
    words = "not a .npy of numbers" if values is None else "expected a .npy of finite floats"
    refused(pggan("interpolate", run, "--latents", file, "--video", tmp_path / "a.gif"), words)


def test_no_seeds_are_refused(run, tmp_path):
    refused(pggan("generate", run, "--seeds", "", "--grid", tmp_path / "a.png"), "--seeds : expected numbers")
    refused(pggan("interpolate", run, "--seeds", "", "--video", tmp_path / "a.gif"), "--seeds : expected numbers")
    refused(pggan("interpolate", run, "--seconds", "inf", "--video", tmp_path / "a.gif"), "inf is not in the range")


def test_neighbours_by_features(run, tmp_path):
    code, text, err = pggan("neighbours", run, "--seeds", "0-3", "--features", "random", "--out", tmp_path / "n.png")
    assert code == 0 and "root mean square of features 'random'" in text, err
