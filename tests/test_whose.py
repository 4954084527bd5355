"""`pggan whose`: pictures are made again, or refused."""

import contextlib
import json
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import pggan_tf as pg
from pggan_tf import synthesis
from pggan_tf.data import marks, pixels, portraits
from pggan_tf.data.writer import hash_file
from pggan_tf.errors import UserError
from pggan_tf.networks import progressive
from tests import image_networks
from tests.conftest import TINY, pggan, run_folder, train
from tests.test_front_door import refused


def write_generator(folder: Path, seed: int, classes=("cat", "dog"), channels=3) -> Path:
    """Not trained, but of the contrast of photos."""
    keras.utils.set_random_seed(seed)
    network = progressive.Generator(
        (4, 8, 16), channels=channels, fmap_base=256, fmap_max=32, latent_size=8, classes=classes
    )
    network.build()
    network = synthesis.finish(network, synthesis.calibration_latents(8, 64))
    for r in network.resolutions:
        layer = getattr(network, f"to_image_{r}")
        layer.set_kernel(0.3 * layer.compute_kernel(), layer.bias)
    folder.mkdir(parents=True)
    network.save(folder / "generator.keras")
    return folder / "generator.keras"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Generators of animals, of two in gray, and one that enlarges."""
    folder = tmp_path_factory.mktemp("runs")
    write_generator(folder / "animals", 1)
    write_generator(folder / "more" / "others", 2)
    write_generator(folder / "gray", 3, (), 1)
    (folder / "larger").mkdir()
    image_networks.built("upscale").save(folder / "larger" / "generator.keras")
    return folder


@pytest.fixture(scope="module")
def faces(runs, tmp_path_factory):
    """70 images of seeds in turn: the last bits of an image depend on its place in its batch of 32."""
    folder = tmp_path_factory.mktemp("faces")
    assert pggan("generate", runs / "animals" / "generator.keras", "--seeds", "100-169", "--dir", folder)[0] == 0
    return folder


def asked(*files, runs):
    """(exit code, {file's name: answer}) of `pggan whose`."""
    code, out, err = pggan("whose", *files, "--runs", runs)
    lines = [line.split(": ", 2) for line in out.splitlines() if not line.startswith(" ")]
    assert len(lines) == len(files), (out, err)
    return code, {Path(line[0]).name: ": ".join(line[1:]) for line in lines}


def forge(file: Path, out: Path, change=lambda image: image, **values) -> Path:
    """A PNG with the mark of another, but for some of its properties and pixels."""
    with Image.open(file) as image:
        packet, made = image.info["xmp"].decode(), change(np.array(image))
    for name, value in values.items():
        start, end = f"<pggan:{name}>", f"</pggan:{name}>"
        before, _, rest = packet.partition(start)
        packet = before + start + value + end + rest.partition(end)[2]
    pixels.save(out, made.reshape(*made.shape[:2], -1), packet.encode())
    return out


@pytest.mark.slow
def test_what_was_made_by_a_run_is_made_again(runs, faces, tmp_path):
    """Images at every place of a batch, of every option, and sheets; in one call."""
    animals, gray = runs / "animals" / "generator.keras", runs / "gray" / "generator.keras"
    made = sorted(faces.iterdir())
    assert len(made) == 70
    for name, source, *options in (
        ("stage", animals, "--stage", "8", "--seeds", "4"),
        ("truncated", animals, "--truncation", "0.7", "--seeds", "4294967295"),
        ("dogs", animals, "--class", "dog", "--seeds", "4,6"),
        ("negative", animals, "--negative", "--seeds", "5"),
        ("gray", gray, "--seeds", "7"),
        ("large", animals, "--upscale", runs / "larger" / "generator.keras", "--seeds", "8"),
    ):
        assert pggan("generate", source, *options, "--dir", tmp_path / name)[0] == 0
        made += sorted((tmp_path / name).iterdir())
    for name in ("sheet.png", "sheet.jpg", "sheet.webp"):
        assert pggan("generate", animals, "--seeds", "0-39,7", "--grid", tmp_path / name)[0] == 0
        made.append(tmp_path / name)
    assert pggan("generate", gray, "--count", "3", "--grid", tmp_path / "gray.jpg")[0] == 0
    pg.load(animals).sample(seeds=[3, 1], truncation=0.5).save(tmp_path / "python.png")
    made += [tmp_path / "gray.jpg", tmp_path / "python.png"]
    code, answers = asked(*made, runs=runs)
    assert code == 0 and len(made) == 82
    assert all(answer.startswith("yes, to the last bit: ") for answer in answers.values()), answers
    assert "once compressed to JPEG" in answers["gray.jpg"] and "compressed" not in answers["python.png"]


@pytest.mark.slow
def test_an_image_may_depend_on_its_place_in_its_batch(runs, tmp_path, monkeypatch):
    """As its last bits do, here so that every image does, and those of batches of one: as of a server."""
    images = synthesis.Sampler.images

    def shifted(self, latents, *arguments, **options):
        shift = np.arange(len(latents)) % self.batch if self.batch > 1 else np.full(len(latents), 100)
        return images(self, latents, *arguments, **options) ^ shift.astype(np.uint8)[:, None, None, None]

    monkeypatch.setattr(synthesis.Sampler, "images", shifted)
    animals = runs / "animals" / "generator.keras"
    assert pggan("generate", animals, "--seeds", "0-39", "--dir", tmp_path)[0] == 0
    alone = synthesis.Sampler(pg.load(animals).network, 1).images(synthesis.latents([7], 8), 16, labels=np.array([1]))
    files = sorted(tmp_path.iterdir())
    files.append(forge(tmp_path / "000007.png", tmp_path / "alone.png", lambda image: alone[0]))
    assert [origin.answer for origin in pg.whose(files, runs)] == ["yes"] * 41


def test_what_a_mark_says_is_told(runs, faces):
    code, out, _ = pggan("whose", faces / "000101.png", "--runs", runs)
    assert code == 0 and out.splitlines() == [
        f"{faces / '000101.png'}: yes, to the last bit: {runs / 'animals' / 'generator.keras'} makes the same pixels",
        "  its mark says: run animals, seed 101, stage 16, truncation 1.0, class dog",
    ]
    (origin,) = pg.whose(faces / "000101.png", runs)
    assert isinstance(origin, pg.Origin) and (origin.answer, origin.difference, origin.psnr) == ("yes", 0, np.inf)
    assert (origin.run, origin.seeds, origin.stage, origin.truncation) == ("animals", "101", 16, 1.0)
    assert (origin.class_name, origin.network) == ("dog", runs / "animals" / "generator.keras")


def test_what_was_not_made_so_is_refused(runs, faces, tmp_path):
    face, other = faces / "000101.png", runs / "more" / "others" / "generator.keras"

    def pixel(image):
        image[3, 5, 1] ^= 4
        return image

    files = {
        "pixel.png": (forge(face, tmp_path / "pixel.png", pixel), "1 of 256 pixels differ"),
        "seed.png": (forge(face, tmp_path / "seed.png", Seeds="103"), "pixels differ"),
        "truncation.png": (forge(face, tmp_path / "truncation.png", Truncation="0.5"), "pixels differ"),
        "class.png": (forge(face, tmp_path / "class.png", Class="cat"), "pixels differ"),
        "weights.png": (
            forge(face, tmp_path / "weights.png", Weights=hash_file(other)),
            "pixels differ from what .*others",
        ),
        "unknown.png": (forge(face, tmp_path / "unknown.png", Weights="0" * 64), "no network below .* 000000000000"),
        "stage.png": (forge(face, tmp_path / "stage.png", Stage="8"), "16 x 16 pixels; .* 8 x 8"),
        "many.png": (forge(face, tmp_path / "many.png", Seeds="0-9", Layout="grid"), "16 x 16 pixels; .* 259 x 194"),
        "huge.png": (forge(face, tmp_path / "huge.png", Seeds="0-999999", Layout="page"), "16 x 16 pixels; "),
        "nonsense.png": (forge(face, tmp_path / "nonsense.png", Seeds="1;2"), "does not make what its mark says"),
        "damaged.png": (forge(face, tmp_path / "damaged.png", Stage="big"), "a damaged mark"),
        "negative.png": (forge(face, tmp_path / "negative.png", lambda image: 255 - image), "256 of 256 pixels"),
        "photo.png": (forge(face, tmp_path / "photo.png", lambda image: portraits.draw(1, 16)), "pixels differ"),
        "photo.jpg": (tmp_path / "photo.jpg", "no mark"),
        "clear.png": (tmp_path / "clear.png", "transparency"),
        "colours.png": (tmp_path / "colours.png", "no seeds"),
        "large.png": (tmp_path / "large.png", "no seeds"),
        "walk.webp": (tmp_path / "walk.webp", "no seeds"),
        "plain.png": (tmp_path / "000101.png", "no mark"),
    }
    pixels.save(tmp_path / "photo.jpg", portraits.draw(1, 16))
    with Image.open(face) as image:
        image.putalpha(128)
        image.save(tmp_path / "clear.png", xmp=None, pnginfo=_text(face))
        Image.open(face).convert("RGB").save(tmp_path / "000101.png")
    assert pggan("grid", runs / "animals" / "generator.keras", "--stages", "--out", tmp_path / "colours.png")[0] == 0
    assert pggan("upscale", runs / "larger" / "generator.keras", face, "--out", tmp_path / "large.png")[0] == 0
    walk = ("--video", tmp_path / "walk.webp", "--seconds", "0.2")
    assert pggan("interpolate", runs / "animals" / "generator.keras", *walk)[0] == 0
    code, answers = asked(*(file for file, _ in files.values()), runs=runs)
    assert code == 1
    for (file, reason), (name, answer) in zip(files.values(), answers.items(), strict=True):
        assert file.name == name and answer.startswith("no: "), answer

        assert re.search(reason, answer), answer
    # The only generator that is searched is another run's.
    code, answers = asked(face, runs=other)
    assert code == 1 and "no network below" in answers[face.name]


def _text(file):
    from pggan_tf.data import xmp

    with Image.open(file) as image:
        return xmp.make_pillow_options("PNG", image.info["xmp"])["pnginfo"]


def test_no_mark(runs, tmp_path):
    made = ("generate", runs / "animals" / "generator.keras", "--seeds", "5", "--no-mark")
    assert pggan(*made, "--dir", tmp_path / "plain", "--grid", tmp_path / "sheet.png")[0] == 0
    for file in (tmp_path / "plain" / "000005.png", tmp_path / "sheet.png"):
        with Image.open(file) as image:
            assert not image.info
    assert asked(tmp_path / "sheet.png", runs=runs)[0] == 1


def test_what_was_compressed_by_others_is_alike(runs, tmp_path):
    """But no other seed's picture is; and what differs by one in its last bit is no proof."""
    animals = runs / "animals" / "generator.keras"
    assert pggan("generate", animals, "--seeds", "5", "--class", "cat", "--dir", tmp_path)[0] == 0
    face = tmp_path / "000005.png"
    with Image.open(face) as image:
        packet, picture = image.info["xmp"], image.convert("RGB")
    for name, options in (("a.jpg", {"quality": 90}), ("a.webp", {"quality": 90})):
        picture.save(tmp_path / name, xmp=packet, **options)
        picture.save(tmp_path / f"wrong-{name}", xmp=packet.replace(b"<pggan:Seeds>5<", b"<pggan:Seeds>6<"), **options)
    forge(face, tmp_path / "bit.png", lambda image: image ^ np.eye(16, dtype=np.uint8)[..., None])
    picture.save(tmp_path / "exact.webp", xmp=packet, lossless=True)
    picture.save(tmp_path / "exact.tif", xmp=packet)
    Image.fromarray(np.asarray(picture) ^ 16).save(tmp_path / "wrong.webp", xmp=packet, lossless=True)
    code, answers = asked(*(tmp_path / name for name in ("a.jpg", "a.webp", "bit.png", "exact.webp")), runs=runs)
    assert code == 3, answers
    assert [answers[name].split(",")[0] for name in ("a.jpg", "a.webp", "bit.png")] == ["alike"] * 3
    assert "PSNR" in answers["a.jpg"] and "of other seeds at most" in answers["a.jpg"]
    assert answers["exact.webp"].startswith("yes")
    wrong = [tmp_path / name for name in ("wrong-a.jpg", "wrong-a.webp", "wrong.webp")]
    code, answers = asked(*wrong, runs=runs)
    assert code == 1 and all(answer.startswith("no: ") for answer in answers.values()), answers


def test_what_pictures_of_a_page_prove(runs, tmp_path):
    """The page's network is smaller: near pictures are alike, as long as no other seed's are as near."""
    animals = runs / "animals" / "generator.keras"
    assert pggan("generate", animals, "--seeds", "8", "--class", "cat", "--dir", tmp_path)[0] == 0
    noise = np.random.default_rng(0).integers(0, 4, (16, 16, 3), np.uint8)
    near = forge(tmp_path / "000008.png", tmp_path / "near.png", lambda image: image ^ noise, Layout="page")
    far = forge(near, tmp_path / "far.png", Seeds="9")
    assert [origin.answer for origin in pg.whose([near, far], runs)] == ["alike", "no"]


def test_files_that_are_no_pictures_are_refused(runs, faces, tmp_path):
    (tmp_path / "text.png").write_text("text")
    face = faces / "000101.png"
    refused(pggan("whose", face, tmp_path / "text.png", "--runs", runs), "text.png: not a file of a known kind")
    refused(pggan("whose", tmp_path / "none.png", "--runs", runs), "none.png: cannot be read .No such file")
    refused(pggan("whose", tmp_path, "--runs", runs), "cannot be read .Is a directory")
    refused(pggan("whose", face, "--runs", tmp_path), f"--runs {tmp_path}: holds no run")
    refused(pggan("whose", face, "--runs", tmp_path / "none"), "no such folder")
    with contextlib.chdir(tmp_path), pytest.raises(UserError, match="no run in runs. Give the folder of your runs"):
        pg.whose(face)


@pytest.mark.slow
def test_a_run_that_has_not_ended(tmp_path):
    """Its newest checkpoint makes its pictures; later ones make others."""
    schedule = ["--target-res", "8", "--fade-images", "0", "--stable-images", "4=40,8=40", "--batch", "8"]
    code, out, err = train(*TINY, *schedule, "--runs", tmp_path / "runs")
    assert code == 0, err
    run = run_folder(out)
    assert pggan("generate", run, "--seeds", "3", "--dir", tmp_path / "ended")[0] == 0
    (origin,) = pg.whose(tmp_path / "ended" / "000003.png", tmp_path / "runs")
    assert (origin.answer, origin.run, origin.class_name) == ("yes", run.name, None)
    (run / "generator.keras").rename(tmp_path / "kept.keras")
    (run / "best.keras").unlink(missing_ok=True)
    assert pggan("generate", run, "--seeds", "3", "--dir", tmp_path / "begun")[0] == 0
    files = [tmp_path / "begun" / "000003.png", tmp_path / "ended" / "000003.png"]
    assert [origin.answer for origin in pg.whose(files, tmp_path / "runs")] == ["yes", "no"]
    (tmp_path / "kept.keras").rename(run / "generator.keras")
    assert [origin.answer for origin in pg.whose(files, tmp_path / "runs")] == ["no", "yes"]


def test_exported_folders_and_folders_of_keras(runs, faces, tmp_path):
    folder = tmp_path / "shared" / "hub"
    folder.mkdir(parents=True)
    shutil.copy(runs / "animals" / "generator.keras", folder / "faces.keras")  # under any name
    assert pg.whose(faces / "000101.png", tmp_path / "shared")[0].answer == "yes"
    from pggan_tf.runs import keras_files

    (tmp_path / "plain").mkdir()
    keras_files.unpack(runs / "animals" / "generator.keras", tmp_path / "plain")
    assert "class_name" in json.loads((tmp_path / "plain" / "config.json").read_text())
    assert pggan("generate", tmp_path / "plain", "--seeds", "3", "--dir", tmp_path / "made")[0] == 0
    assert pg.whose(tmp_path / "made" / "000003.png", tmp_path / "plain")[0].answer == "yes"


def test_arrays_that_were_converted(runs, tmp_path):
    images = pg.load(runs / "animals" / "generator.keras").sample([1])
    pg.load(runs / "larger" / "generator.keras").convert(images).save(tmp_path / "large.png")
    with Image.open(tmp_path / "large.png") as image:
        mark = marks.read(image.info["xmp"])
    assert (mark.source_type, mark.run, mark.seeds) == (marks.GENERATED, "larger", None)


def test_what_a_server_made_is_made_again(runs, tmp_path):
    """It makes one image at a time, whose last bits are others than those in a batch."""
    pytest.importorskip("fastapi", reason="fastapi is not installed (extra serve)")
    client = pytest.importorskip("starlette.testclient", reason="httpx2 is not installed")
    from export import api, source

    opened = source.open_source(runs / "animals" / "generator.keras")
    asked = client.TestClient(api.make_application(opened, api.Limits()))
    files = [tmp_path / f"{seed}.png" for seed in range(6)]
    for seed, file in enumerate(files):
        file.write_bytes(asked.get(f"/generate?seed={seed}&truncation=0.8").content)
    found = pg.whose(files, runs)
    assert [(origin.answer, origin.run) for origin in found] == [("yes", "animals")] * 6, found
