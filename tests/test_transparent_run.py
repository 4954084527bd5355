"""One small run of RGBA through every door, and what pictures it leaves."""

import io
import json

import numpy as np
import pytest
from PIL import Image

import pggan_tf as pg
from pggan_tf import synthesis
from pggan_tf.data import pixels, shards, sprites, transparency
from pggan_tf.errors import UserError
from pggan_tf.runs import checkpoint
from pggan_tf.studio import results
from tests.conftest import pggan

pytestmark = pytest.mark.slow

TINY = ["--fmap-base", 64, "--fmap-max", 8, "--latent-size", 8, "--batch", 8, "--seed", 3, "--precision", "float32"]
STAGES = ["--resolutions", "4,16", "--stable-images", "4=64,16=0", "--fade-images", 160, "--snapshot-images", 80]
MEASURED = ["--metrics", "swd", "--metrics-images", 20, "--metrics-every", 160, "--grid", 6]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "sprites"
    folder.mkdir()
    for i in range(60):
        Image.fromarray(sprites.draw(i, 48)).save(folder / f"{i:02d}.{'webp' if i % 2 else 'png'}")
    return folder


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    options = [*TINY, *STAGES, *MEASURED, "--augment", "diff"]
    code, out, err = pggan("train", "--data", data, "--channels", 4, *options, "--run", folder)
    assert code == 0 and "transparent" not in out + err, err
    return folder


def test_a_run_measures_on_white(run):
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    measured = [line for line in lines if "metrics" in line][-1]
    assert measured["resolution"] == 16 and all(np.isfinite(v) for v in measured["metrics"].values())
    assert pg.load(run).config.images.channels == 4


def test_grids_are_on_a_checkerboard(run):
    for file in (run / "reals.png", sorted(run.glob("fakes-*-16px-*.png"))[-1]):
        with Image.open(file) as grid:
            assert grid.mode == "RGB"
            if file.name == "reals.png":
                corner = np.asarray(grid)[:16, :16]
                assert (corner[:8, :8] == 255).all() and (corner[:8, 8:] == 204).all()


def test_data_with_other_channels_are_refused(run, tmp_path):
    made = pg.prepare("sprites", tmp_path / "rgba", size=16, count=8, alpha=True)
    assert isinstance(made, shards.Shards)
    code, _, err = pggan("train", "--data", tmp_path / "rgba", "--target-res", 16, "--run", tmp_path / "run")
    assert code == 2 and "holds images of 4 channels, not 3. Give --channels 4" in err


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_bits(run, data, tmp_path):
    folder, words = tmp_path / "stopped", [*TINY, *STAGES, *MEASURED]
    options = {word[2:].replace("-", "_"): value for word, value in zip(words[::2], words[1::2])}
    stop = [lambda tick: tick["images"] < 100]
    options |= {"channels": 4, "augment": "diff"}
    begun = pg.train(data, folder=folder, progress=False, report=False, callbacks=stop, **options)
    assert not begun.ended
    code, _, err = pggan("train", "--resume", folder)
    assert code == 0, err
    ours, theirs = (checkpoint.read(checkpoint.list_checkpoints(f)[0])[0] for f in (run, folder))
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_pictures_to_use_keep_alpha_and_others_do_not(run, tmp_path):
    images = pg.load(run).generator.sample(range(6))
    assert images.shape == (6, 16, 16, 4) and not images[images[..., 3] == 0].any()
    files = {
        name: tmp_path / name for name in ("grid.png", "grid.webp", "grid.jpg", "edit.png", "stages.png", "near.png")
    }
    edit = ("edit", run, "--seed", 3, "--slider", "1=2", "--out", files["edit.png"])
    calls = [
        *(("generate", run, "--count", 6, "--grid", files[f"grid.{kind}"]) for kind in ("png", "webp", "jpg")),
        ("generate", run, "--count", 6, "--dir", tmp_path / "images", "--npz", tmp_path / "images.npz"),
        edit,
        ("grid", run, "--stages", "--seeds", "0-2", "--out", files["stages.png"]),
        ("neighbours", run, "--seeds", "0-5", "--rows", 2, "-k", 3, "--out", files["near.png"]),
        ("sliders", run, "--seeds", 0, "--count", 2, "--out", tmp_path / "sliders.png"),
    ]
    for call in calls:
        code, _, err = pggan(*call)
        assert code == 0, err
    modes = []
    for file in files.values():
        with Image.open(file) as picture:
            modes.append(picture.mode)
    assert modes == ["RGBA", "RGBA", "RGB", "RGBA", "RGB", "RGB"]
    with Image.open(tmp_path / "images" / "000003.png") as one:
        np.testing.assert_array_equal(np.asarray(one), images[3])
    with np.load(tmp_path / "images.npz") as file:
        np.testing.assert_array_equal(file["images"], images)
    # Between the images of a sheet there is nothing.
    with Image.open(files["grid.png"]) as sheet:
        assert not np.asarray(sheet)[:, 64].any()
        np.testing.assert_array_equal(np.asarray(sheet)[:64:4, 65:129:4], images[1])
    # A .jpg has white behind them.
    flat = transparency.flatten(pixels.tile(pixels.enlarge(np.asarray(images), 64), 3, 1))
    with Image.open(files["grid.jpg"]) as sheet:
        assert np.abs(np.asarray(sheet).astype(int) - flat).mean() < 12


def test_a_network_recognises_its_pictures(run, tmp_path):
    files = [tmp_path / name for name in ("grid.png", "grid.jpg", "negative.png")]
    for file in files:
        more = ["--negative"] if file.name.startswith("n") else []
        assert pggan("generate", run, "--count", 4, "--grid", file, *more)[0] == 0
    assert pggan("generate", run, "--seeds", 2, "--dir", tmp_path)[0] == 0
    found = pg.whose([*files, tmp_path / "000002.png"], run.parent)
    assert [one.answer for one in found] == ["yes"] * 4, [one.reason for one in found]
    changed = np.asarray(Image.open(files[0])).copy()
    changed[20:30, 20:30] = (1, 2, 3, 200)
    with Image.open(files[0]) as picture:
        Image.fromarray(changed).save(tmp_path / "changed.png", **_xmp(picture))
    assert pg.whose(tmp_path / "changed.png", run.parent)[0].answer == "no"


def _xmp(picture) -> dict:
    """The packet of a picture, for another one."""
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", picture.info["XML:com.adobe.xmp"])
    return {"pnginfo": info}


@pytest.mark.parametrize("suffix, channels", [(".webp", 4), (".gif", 3), (".mp4", 3)])
def test_walks_keep_alpha_where_the_format_does(suffix, channels, run, tmp_path):
    file = tmp_path / f"walk{suffix}"
    code, _, err = pggan("interpolate", run, "--video", file, "--seconds", 0.3, "--fps", 10, "--seeds", "0-3")
    assert code == 0, err
    if suffix == ".mp4":
        return
    with Image.open(file) as walk:
        assert walk.n_frames == 3
        walk.seek(1)
        assert np.asarray(walk.convert("RGBA"))[..., 3].min() < 255 if channels == 4 else walk.mode != "RGBA"


def test_a_picture_with_alpha_is_projected(run, tmp_path):
    Image.fromarray(sprites.draw(70, 48)).save(tmp_path / "sprite.png")
    code, _, err = pggan("project", run, tmp_path / "sprite.png", "--steps", 5, "--out", tmp_path / "found")
    assert code == 0, err
    with Image.open(tmp_path / "found" / "projection.png") as three:
        corner = np.asarray(three)[:16, :16]
        assert three.mode == "RGB" and (corner[:8, 8:] == 204).all()


def test_evaluation_of_pictures_with_and_without_alpha(run, data):
    found = pg.evaluate(data, run, "swd", images=20)
    assert np.isfinite(found["swd"]) and found.images == 20


def test_reports_show_a_checkerboard(run, tmp_path):
    code, _, err = pggan("report", run, "--out", tmp_path / "report.html")
    assert code == 0 and "Nearest training images" in (tmp_path / "report.html").read_text(), err


def test_images_in_a_notebook(run, tmp_path):
    images = pg.load(run).generator.sample(range(3))
    assert images.grid().mode == "RGBA"
    with Image.open(io.BytesIO(images._repr_png_())) as shown:
        assert shown.mode == "RGB"
    images.save(tmp_path / "three.npz")
    assert pg.prepare(tmp_path / "three.npz", tmp_path / "out", size=16, alpha=True).manifest.channels == 4


@pytest.mark.slow
def test_images_with_alpha_are_enlarged(run, tmp_path):
    options = {
        "recipe": "srgan",
        "target_res": 16,
        "width": 4,
        "blocks": 1,
        "total_images": 16,
        "batch": 8,
        "patch": 16,
    }
    made = pg.train("sprites", folder=tmp_path / "up", progress=False, report=False, grid=3, portraits=16,
                    loss="none", pixel="l1", content="none", **options)  # fmt: skip
    images = pg.load(run).generator.sample(range(2))
    large = made.generator.convert(images)
    assert large.shape == (2, 64, 64, 4) and large[..., 3].min() < 255
    with pytest.raises(UserError, match="C of 1 to 4"):
        made.generator.convert(np.zeros((1, 8, 8, 5), np.uint8))


def test_the_studio_finds_a_transparent_photo(run, data, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "STEPS", 2)
    args = {"run": str(run), "photo": str(data / "00.png"), "name": "00.png", "stage": None, "out": str(tmp_path)}
    found = results.project(args, lambda done, total: None)
    assert found["stage"] == 16 and 0 < found["psnr_before"] < np.inf and 0 < found["psnr"] < np.inf
    with Image.open(tmp_path / results.SHOWN["project"]) as picture:
        assert 3 * picture.height <= picture.width < 3.1 * picture.height


@pytest.mark.slow
def test_gray_with_alpha_is_trained(tmp_path):
    options = [*TINY, "--resolutions", 4, "--stable-images", 16, "--grid", 4, "--no-report", "--portraits", 16]
    code, _, err = pggan("train", "--data", "sprites", "--channels", 2, *options, "--run", tmp_path / "run")
    assert code == 0, err
    assert pggan("generate", tmp_path / "run", "--count", 4, "--grid", tmp_path / "grid.png")[0] == 0
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.mode == "LA"
    assert [one.answer for one in pg.whose([tmp_path / "grid.png"], tmp_path)] == ["yes"]
    assert synthesis.Sampler(pg.load(tmp_path / "run").generator.network).images(
        synthesis.latents([0], 8), 4
    ).shape == (1, 4, 4, 2)
