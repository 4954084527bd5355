"""Images that are not square: sizes, cutting, and one small run of 3:4 through every door."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

import pggan_tf as pg
from pggan_tf import schedule, shapes, synthesis
from pggan_tf.api import sizing
from pggan_tf.config import parsing, resolve
from pggan_tf.data import augment, decode, pipeline, pixels, shards
from pggan_tf.errors import UserError
from pggan_tf.networks import progressive, srgan
from pggan_tf.runs import checkpoint
from preprocessing import photo_shapes
from preprocessing.options import Selection
from tests.conftest import pggan

THREE_FOUR = (3, 4)
TINY = ["--fmap-base", 64, "--fmap-max", 8, "--latent-size", 8, "--batch", 8, "--seed", 3, "--precision", "float32"]
# 3x4, then 12x16 while it fades in: two phases, as each takes seconds to build.
STAGES = ["--resolutions", "4,16", "--stable-images", "4=64,16=0", "--fade-images", 160, "--snapshot-images", 80]
MEASURED = ["--metrics", "swd,ms-ssim", "--metrics-images", 20, "--metrics-every", 160, "--grid", 6, "--no-report"]


# Sizes


@pytest.mark.parametrize(
    "resolution, aspect, shape, name",
    [
        (64, (1, 1), (64, 64), "64"),
        (256, (3, 4), (256, 192), "192x256"),
        (256, (4, 3), (192, 256), "256x192"),
        (6, (2, 3), (6, 4), "4x6"),
        (16, (9, 16), (16, 9), "9x16"),
        (12, (1, 3), (12, 4), "4x12"),
    ],
)
def test_sizes_follow_from_the_longer_side(resolution, aspect, shape, name):
    assert shapes.shape_at(resolution, aspect) == shape and shapes.name_size(resolution, aspect) == name


def test_a_side_that_is_not_whole_is_no_size():
    assert not shapes.fits(10, THREE_FOUR)
    with pytest.raises(ValueError, match="10 px at 3:4"):
        shapes.shape_at(10, THREE_FOUR)


@pytest.mark.parametrize(
    "aspect, first", [((1, 1), 4), ((3, 4), 4), ((2, 3), 6), ((9, 16), 16), ((16, 9), 16), ((5, 1), 5)]
)
def test_the_first_stage_is_the_smallest_with_whole_sides(aspect, first):
    assert shapes.find_first_resolution(aspect) == first
    assert schedule.doubling(4 * first, aspect) == (first, 2 * first, 4 * first)


@pytest.mark.parametrize(
    "asked, resolutions, size",
    [
        ({"target_res": "192x256"}, (4, 8, 16, 32, 64, 128, 256), "192x256"),
        ({"shape": "3:4", "target_res": 64}, (4, 8, 16, 32, 64), "48x64"),
        ({"shape": "1080:1920"}, (16, 32, 64), "36x64"),
        ({"shape": "2:3"}, (6, 12, 24, 48), "32x48"),
        ({"shape": "2:3", "resolutions": "6,12,36"}, (6, 12, 36), "24x36"),
        ({"target_res": "64x64"}, (4, 8, 16, 32, 64), "64"),
        ({"recipe": "recolor", "target_res": "40x60"}, (60,), "40x60"),
        ({"recipe": "srgan", "target_res": "96x128", "patch": 48}, (128,), "96x128"),
    ],
)
def test_plans(asked, resolutions, size):
    plan = resolve(parsing.parse_all(asked))
    assert plan.resolutions == resolutions and plan.size == size and plan.phases[-1].name.startswith(f"{size}px ")


@pytest.mark.parametrize(
    "asked, words",
    [
        ({"target_res": "100x150"}, "not 6 times a power of two. The nearest are 64x96 and 128x192"),
        ({"target_res": "201x256"}, "as 201:256; .* nearest are 208x256 and 192x256"),
        ({"target_res": "64x"}, "expected a number of pixels, or WIDTHxHEIGHT such as 192x256"),
        ({"shape": "3:4", "target_res": 100}, "The nearest are 48x64 and 96x128. Other sizes go by --resolutions"),
        ({"shape": "3:4", "target_res": "64x64"}, "its shape is 1:1. Give one of them"),
        (
            {"shape": "2:3", "resolutions": "4,8"},
            "4 px with --shape 2:3: .* multiples of 3, such as --resolutions 6,12,24",
        ),
        ({"shape": "100:141"}, "--shape 100:141: .*nearest are 5:7 and 7:10"),
        ({"shape": "wide"}, "expected width:height in whole numbers, such as 3:4"),
        ({"shape": "auto"}, "chosen on the machine that trains"),
        ({"shape": "3:4", "network": "dcgan"}, "made for squares. Leave --shape out, or give --network progressive"),
        ({"recipe": "colorize", "target_res": "48x64"}, "--network unet: it is made for squares"),
        ({"recipe": "srgan", "target_res": "48x64", "patch": 60}, "--patch 60: expected 4 to 48"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_type(asked, words):
    with pytest.raises(UserError, match=words):
        resolve(parsing.parse_all(asked))


def test_the_largest_size_for_the_minutes_has_the_shape():
    values = resolve({"shape": "2:3"}).config.values()
    found = {sizing.choose(values, minutes, 1e10, None) for minutes in (1, 10, 100, 1000, 100000)}
    assert found <= {24, 48, 96, 192} and {24, 192} < found
    assert sizing.choose(values, 100000, 1e10, 40) == 48  # 32x48: photos of 40 px would be enlarged for 64x96


def test_squares_are_written_as_before(tmp_path):
    """Older versions read their configs, shards and networks."""
    content = json.loads(json.dumps(resolve({"target_res": 16, "shape": "1:1"}).to_json()))
    assert "shape" not in content["networks"] and parsing.from_json(content).config.networks.shape == "1:1"
    content = json.loads(json.dumps(resolve({"target_res": "12x16"}).to_json()))
    assert content["networks"]["shape"] == "3:4" and content["asked"] == {"target_res": 16, "shape": "3:4"}
    assert resolve({"target_res": 16, "shape": "1:1"}).config == resolve({"target_res": 16}).config
    for aspect, version in (((1, 1), 1), (THREE_FOUR, 2)):
        folder = tmp_path / str(version)
        writer = shards.Writer(folder, (4, 8), aspect=aspect)
        writer.add(np.zeros((*shapes.shape_at(8, aspect), 3), np.uint8))
        assert writer.close() == shards.Shards(folder).manifest
        written = json.loads((folder / "manifest.json").read_text())
        assert written["version"] == version and written.get("aspect") == (list(aspect) if version == 2 else None)
    network = progressive.Generator((4, 8), fmap_base=8, latent_size=4)
    assert "aspect" not in network.get_config()


# Cutting


def stripes(height, width):
    """A picture whose red says the row and whose green says the column."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(height)[:, None], np.arange(width)
    return Image.fromarray(image)


@pytest.mark.parametrize(
    "size, shape, crop, where, rows, columns",
    [
        ((40, 60), (4, 3), "centre", 0, (0, 40), (15, 45)),
        ((40, 60), (4, 3), "random", 0, (0, 40), (0, 30)),
        ((40, 60), (4, 3), "random", 1, (0, 40), (30, 60)),
        ((60, 30), (4, 3), "centre", 0, (10, 50), (0, 30)),
        ((60, 30), (3, 4), "centre", 0, (18, 41), (0, 30)),  # 22.5 pixels high
        ((40, 60), (4, 3), "none", 0, (0, 40), (0, 60)),
    ],
)
def test_a_part_of_the_shape_is_cut(size, shape, crop, where, rows, columns):
    out = decode.cut(stripes(*size), shape, "box", crop, where).astype(float)
    assert out.shape == (*shape, 3)
    assert (
        abs(out[..., 0].mean() - (sum(rows) - 1) / 2) <= 0.6 and abs(out[..., 1].mean() - (sum(columns) - 1) / 2) <= 0.6
    )
    assert abs(out[1, 0, 0] - out[0, 0, 0] - (rows[1] - rows[0]) / shape[0]) <= 1


def test_fit_and_pad_keep_the_whole_picture():
    """Ten rows of 20 pixels in a square of 20: five rows above and below."""
    pixel = np.array(stripes(10, 20))
    pixel[0, :, 2], pixel[-1, :, 2] = 200, 100
    image = Image.fromarray(pixel)
    for crop in ("fit", "pad"):
        out = decode.cut(image, (20, 20), "box", crop)
        np.testing.assert_array_equal(out[5:15], np.asarray(image))
        if crop == "fit":
            np.testing.assert_array_equal(out[:5], np.asarray(image)[4::-1])
            np.testing.assert_array_equal(out[15:], np.asarray(image)[:4:-1])
        else:  # of the first and the last row, the red is 0 and 9, the green 0 to 19, the blue 200 and 100
            assert (out[:5] == [4, 10, 150]).all() and (out[15:] == [4, 10, 150]).all()
    tall = decode.cut(stripes(60, 10), (8, 6), "box", "fit")  # 8 x 1: the rest is mirrored again and again
    assert tall.shape == (8, 6, 3) and len(np.unique(tall[0, :, 0])) == 1
    gray = decode.cut(stripes(10, 20).convert("L"), (20, 20), "box", "pad")
    assert gray.shape == (20, 20, 1)


def test_tiles_have_the_shape():
    parts = decode.cut_tiles(stripes(16, 24), (8, 6))
    assert [part.shape for part in parts] == [(8, 6, 3)] * 8
    np.testing.assert_array_equal(parts[5], np.asarray(stripes(16, 24))[8:16, 6:12])


@pytest.fixture
def mixed(tmp_path):
    """Photos of 3:4 and a few others; one lies, and its EXIF says that it stands."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, height, width in (("a", 32, 24), ("b", 64, 48), ("c", 40, 31), ("d", 30, 60), ("e", 31, 24)):
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(folder / f"{name}.png")
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(folder / "f.jpg", exif=exif)
    return folder


def test_the_shape_of_most_photos(mixed, tmp_path):
    aspect, about = photo_shapes.choose_aspect([str(mixed)])
    assert aspect == THREE_FOUR and about == "--shape auto: 3:4, as are 4 of the 6 photos looked at"
    assert photo_shapes.choose_aspect(["portraits"])[0] == (1, 1)


def test_prepare_leaves_out_what_is_smaller_than_the_shape(mixed, tmp_path):
    code, out, err = pggan("prepare", mixed, tmp_path / "a", "--size", 32, "--shape", "auto")
    assert code == 0 and "--shape auto: 3:4" in err
    # d is 60x30: its largest part of 3:4 is not 32 pixels high, nor is e.
    assert "6 images read, 4 kept at 3x4, 6x8, 12x16, 24x32 px, dropped: 2 too small" in out
    code, out, _ = pggan("prepare", mixed, tmp_path / "b", "--size", "48x64", "--crop", "pad")
    assert code == 0 and "3 kept" in out  # b and f, and d, which reaches the width
    kept = pg.prepare(mixed, tmp_path / "c", size=32, shape="3:4", keep_small=True)
    assert len(kept) == 6 and kept.count(16) == 6 and kept.count(32) == 4
    assert kept.read(16, np.arange(6)).shape == (6, 16, 12, 3)
    assert kept.read(8, [0]).shape == (1, 8, 6, 3) and repr(kept.manifest.aspect) == "(3, 4)"
    large = shards.Shards(tmp_path / "a")
    np.testing.assert_array_equal(large.read(16, [0]), pixels.average_blocks(large.read(32, [0]), 2))


@pytest.mark.parametrize(
    "options, words",
    [
        (
            ["--size", 30, "--shape", "3:4"],
            "30 px with --shape 3:4: the shorter side is not whole. Give a multiple of 4; .* reach 16 and 32 near it",
        ),
        (["--size", 256, "--shape", "3:2"], "Give a multiple of 3; stages that double reach 192 and 384 near it"),
        (["--size", 32, "--split", "nan"], "nan is not a finite number"),
        (["--size", "24x32", "--shape", "1:2"], "--size 24x32 and --shape: its shape is 3:4"),
        (["--size", "2000"], "expected 4 to 1024"),
        (["--size", "big"], "--size big: expected a number of pixels"),
        (["--size", 32, "--shape", "auto", "--pairs"], "--pairs and --shape auto"),
    ],
)
def test_sizes_that_prepare_refuses(mixed, tmp_path, options, words):
    code, _, err = pggan("prepare", mixed, tmp_path / "out", *options)
    assert code == 2 and re.search(words, err), err


def test_patches_and_batches_of_rectangles(tmp_path):
    pg.prepare("portraits", tmp_path / "p", size=16, shape="3:4", count=10)
    opened = shards.Shards(tmp_path / "p")
    whole = pipeline.TrainingImages(opened, 16, seed=1)
    assert next(iter(pipeline.make_batches(whole, 0, 8, 4)))[0].shape == (4, 16, 12, 3)
    patches = pipeline.TrainingImages(opened, 16, seed=1, patch=10)
    assert patches.read(np.arange(6))[0].shape == (6, 10, 10, 3)


def test_augmentation_keeps_the_shape():
    x = np.random.default_rng(0).normal(size=(6, 8, 6, 3)).astype(np.float32)
    y = augment.augment_images(x, np.array([1, 2])).numpy()
    assert y.shape == x.shape and np.isfinite(y).all() and (y != x).any()


def test_networks_take_the_shape():
    assert srgan.Discriminator((16,), 3, width=2, aspect=THREE_FOUR)._input_channels["dense"] == 1 * 1 * 16
    assert srgan.Discriminator((64,), 3, width=2, aspect=THREE_FOUR)._input_channels["dense"] == 4 * 3 * 16
    network = progressive.Generator((6, 12), fmap_base=24, fmap_max=4, latent_size=4, aspect=(2, 3))
    network.build()
    assert network(synthesis.latents([0], 4)).shape == (1, 12, 8, 3)
    again = progressive.Generator.from_config(network.get_config())
    assert again.aspect == (2, 3) and again.shape_at(6) == (6, 4)


# One run through every door


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shards"
    code, out, err = pggan("prepare", "portraits", folder, "--size", 16, "--shape", "3:4", "--count", 60)
    assert code == 0 and "60 kept at 3x4, 6x8, 12x16 px" in out, err
    return folder


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    code, out, err = pggan("train", "--data", data, "--shape", "auto", *TINY, *STAGES, *MEASURED, "--run", folder)
    assert code == 0 and "--shape auto: 3:4, as the images in" in out, err
    return folder


def test_a_run_says_its_sizes(run):
    text = (run / "log.txt").read_text()
    assert "3x4px stable" in text and "12x16px fade" in text
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    measured = [line for line in lines if "metrics" in line][-1]
    assert measured["resolution"] == 16 and measured["metrics"].keys() == {"swd", "ms-ssim"}
    assert all(np.isfinite(value) for value in measured["metrics"].values())
    assert list(pg.load(run).plan.phases)[0].name == "3x4px stable"


def test_grids_have_the_size(run):
    # Six images in rows of three, enlarged until no side is below 64 pixels, and a pixel between them.
    with Image.open(run / "reals.png") as real, Image.open(sorted(run.glob("fakes-*-16px-*.png"))[-1]) as fake:
        assert real.size == fake.size == (3 * 72 + 2, 2 * 96 + 1)
    with Image.open(sorted(run.glob("fakes-*-4px-*.png"))[0]) as first:
        assert first.size == (3 * 66 + 2, 2 * 88 + 1)


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_bits(run, data, tmp_path):
    folder = tmp_path / "stopped"
    words = (*TINY, *STAGES, *MEASURED[:-1])
    options = {word[2:].replace("-", "_"): value for word, value in zip(words[::2], words[1::2])}
    stop = [lambda tick: tick["images"] < 100]
    begun = pg.train(data, shape="3:4", folder=folder, progress=False, report=False, callbacks=stop, **options)
    assert not begun.ended
    code, _, err = pggan("train", "--resume", folder, "--target-res", "48x64")
    assert code == 2 and "--target-res 64" in err
    code, _, err = pggan("train", "--resume", folder, "--target-res", "12x16")
    assert code == 0, err
    ours, theirs = (checkpoint.read(checkpoint.list_checkpoints(f)[0])[0] for f in (run, folder))
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_data_of_another_shape_is_refused(data, tmp_path):
    code, _, err = pggan("train", "--data", data, "--target-res", 16, "--run", tmp_path / "run")
    assert code == 2 and "holds images of the shape 3:4, not 1:1. Give --shape 3:4" in err


def test_weights_of_another_shape_are_refused(run):
    code, _, err = pggan("train", "--init-from", run, "--shape", "1:1", "--target-res", 16, "--dry-run")
    assert code == 2 and "--shape is 3:4 there and 1:1 here" in err
    small = {"fmap_base": 64, "fmap_max": 8, "latent_size": 8}  # as in the run
    assert pg.plan(init_from=run, resolutions="4,16,32", **small).size == "24x32", "the shape is taken over"


@pytest.mark.slow
def test_images_walks_and_pictures(run, tmp_path):
    network = pg.load(run).generator
    images = network.sample(range(5))
    assert images.shape == (5, 16, 12, 3) and network.sample([0], stage=4).shape == (1, 4, 3, 3)
    files = [tmp_path / name for name in ("grid.png", "walk.webp", "stages.png", "near.png")]
    calls = [
        ("generate", run, "--count", 6, "--grid", files[0], "--dir", tmp_path / "images"),
        ("interpolate", run, "--video", files[1], "--seconds", 0.2, "--fps", 10),
        ("grid", run, "--stages", "--seeds", "0-2", "--out", files[2]),
        ("neighbours", run, "--seeds", "0-5", "--rows", 2, "-k", 3, "--out", files[3]),
        ("sliders", run, "--seeds", 0, "--count", 2, "--out", tmp_path / "sliders.png"),
        ("whose", files[0], "--runs", run.parent),
    ]
    for call in calls:
        code, _, err = pggan(*call)
        assert code == 0, err
    sizes = []
    for file in files:
        with Image.open(file) as picture:
            sizes.append(picture.size)
    # The walk is enlarged to 128 pixels a side, the others to 64; a gap of 9 pixels parts samples and data.
    assert sizes == [(3 * 72 + 2, 2 * 96 + 1), (132, 176), (3 * 48 + 2, 2 * 64 + 1), (4 * 72 + 3 * 2 + 9, 2 * 96 + 2)]
    with Image.open(tmp_path / "images" / "000003.png") as one:
        np.testing.assert_array_equal(np.asarray(one), images[3])


def test_reports(run, tmp_path):
    code, _, err = pggan("report", run, "--out", tmp_path / "report.html")
    assert code == 0, err
    text = (tmp_path / "report.html").read_text()
    assert "12x16 px" in text and "3x4px stable" in text and "Nearest training images" in text


def test_a_photo_is_cut_to_the_shape_and_projected(run, tmp_path):
    stripes(40, 60).save(tmp_path / "photo.png")
    code, _, err = pggan("project", run, tmp_path / "photo.png", "--steps", 5, "--out", tmp_path / "found")
    assert code == 0, err
    with Image.open(tmp_path / "found" / "projection.png") as three:
        assert three.size == (3 * 264 + 2, 352)  # photo, start and result, enlarged to 256 a side


def test_evaluation(run, data, tmp_path):
    found = pg.evaluate(data, run, "swd", images=20)
    assert np.isfinite(found["swd"]) and found.title.endswith("12x16 px")
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(8):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (50, 60, 3), np.uint8)).save(photos / f"{i}.png")
    cut = pg.evaluate(photos, run, "swd", images=20)
    assert cut.images == 8 and "cut to 3:4 and brought to 12x16 px" in cut.notes[0]
    pg.prepare(photos, tmp_path / "squares", size=16)
    with pytest.raises(UserError, match="different shapes .* 1:1 and .* 3:4, cannot be compared"):
        pg.evaluate(tmp_path / "squares", run, "swd", images=20)
    with pytest.raises(UserError, match="--size 10 for images of 3:4"):
        pg.evaluate(data, run, "swd", images=20, size=10)


@pytest.mark.slow
def test_a_network_from_images_learns_from_rectangles(data, tmp_path):
    options = {"recipe": "recolor", "target_res": "12x16", "width": 4, "total_images": 16, "batch": 8}
    made = pg.train(data, folder=tmp_path / "run", progress=False, report=False, grid=3, **options)
    (grid,) = sorted((tmp_path / "run").glob("fakes-*.png"))[-1:]
    with Image.open(grid) as triple:
        assert triple.size == (3 * 72 + 2, 96) and made.plan.size == "12x16"


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    from export import web

    try:
        web.fetch_runtime()
    except UserError as reason:
        pytest.skip(str(reason))
    out = tmp_path_factory.mktemp("exported") / "out"
    code, _, err = pggan("export", run, "--to", "tflite", "--to", "web", "--quantize", "float16", "--out", out)
    assert code == 0, err
    return out


@pytest.mark.slow
def test_files_make_the_images_of_python(run, exported):
    from export import litert

    runner = litert.Runner((exported / "generator-float16.tflite").read_bytes())
    network = pg.load(run).generator
    for stage in (4, 16):
        inputs = {"latents": synthesis.latents([5], 8), "truncation": np.ones(1, np.float32)}
        image = runner(f"gen_{stage}", inputs)[0]
        assert np.abs(image.astype(int) - np.asarray(network.sample([5], stage=stage))[0]).max() <= 2
    report = json.loads((exported / "report.json").read_text())
    assert report["files"][0]["interface"]["gen_16"]["image"].startswith("12x16 image")
    assert "at 3x4, 12x16 pixels" in (exported / "MODEL_CARD.md").read_text()
    with Image.open(exported / "samples.png") as samples, Image.open(exported / "web" / "icon-192.png") as icon:
        assert samples.size == (4 * 72 + 3, 4 * 96 + 3) and icon.size == (192, 192)


def test_the_page_draws_the_images_of_python(run, exported, page):
    from tests.test_web import near, read, serving, settled

    with serving(exported / "web") as url:
        page.goto(f"{url}#seed=5&stage=16&count=4")
        settled(page)
        drawn = read(page, ".faces button:nth-child(2) canvas")
        near(drawn, np.asarray(pg.load(run).generator.sample([6]))[0])
        assert read(page, ".growth label:first-child canvas").shape == (4, 3, 3)
        assert page.locator(".growth label").all_inner_texts() == ["3x4 px", "12x16 px"]
        assert "12x16 px in" in page.inner_text("#status")
        box = page.locator(".faces button").first.bounding_box()
        assert abs(box["width"] / box["height"] - 3 / 4) < 0.01
        with page.expect_download() as download:
            page.click("[name=save]")
        with Image.open(download.value.path()) as sheet:
            assert sheet.size == (24, 32) and "12x16px" in download.value.suggested_filename


def test_a_server_draws_the_images_of_python(run):
    testclient = pytest.importorskip("starlette.testclient")
    from export import api, source

    application = api.make_application(source.open_source(run), api.Limits())
    with testclient.TestClient(application) as client:
        answer = client.get("/generate?seed=5")
    image = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert np.abs(image.astype(int) - np.asarray(pg.load(run).generator.sample([5]))[0]).max() <= 1


def test_selection_of_several_places_has_one_shape(mixed):
    assert photo_shapes.choose_aspect(Selection.of((str(mixed), str(mixed))).places)[0] == THREE_FOUR
