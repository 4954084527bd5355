"""`pggan colorize` on real files: what is kept, what is joined, what is refused."""

import numpy as np
import pytest
from PIL import Image
from skimage import color, data

from pggan_tf import tasks
from pggan_tf.commands import cli
from pggan_tf.data import colour, photos, pixels
from pggan_tf.tasks import colorize
from tests.conftest import start
from tests.stand_ins import Colorizer, Recolorer, runs
from tests.test_decode import encode
from tests.test_photos import deep_png


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return runs(tmp_path_factory.mktemp("runs"))


def pggan(*arguments):
    """A real process that knows the stand-ins."""
    process = start("-m", "tests.stand_ins", *arguments)
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def test_lightness_is_the_photos_own_to_the_last_pixel():
    """A photo of 512 pixels through a network of 64: only the colour is coarse."""
    astronaut = data.astronaut()
    changed = tasks.Colorize().converter(Colorizer(constant=[0.1, 0.05]))(photos.Photo(astronaut)).pixels
    before, after = color.rgb2lab(astronaut), color.rgb2lab(changed)
    inside = (changed > 0).all(-1) & (changed < 255).all(-1)  # colours that sRGB has
    assert inside.mean() > 0.5
    assert np.abs(before[..., 0] - after[..., 0])[inside].max() < 0.5
    assert np.abs(after[..., 1] - 12.8)[inside].max() < 1.2 and np.abs(after[..., 2] - 6.4)[inside].max() < 1.2


def test_no_colour_leaves_gray_of_either_depth_as_it_is():
    colorizer = tasks.Colorize().converter(Colorizer(constant=[0.0, 0.0]))
    for most, dtype in ((255, np.uint8), (65535, np.uint16)):
        gray = np.random.default_rng(0).integers(0, most + 1, (50, 70, 1)).astype(dtype)
        out = colorizer(photos.Photo(gray))
        assert out.pixels.dtype == dtype and out.pixels.shape == (50, 70, 3)
        # The neutral point of the matrix is rounded: a = -0.002 and b = 0.005 are white.
        assert np.abs(out.pixels.astype(int) - gray).max() <= most * 2e-4 + 0.5


@pytest.mark.parametrize("height, width", [(1, 1), (64, 64), (63, 65), (40, 300), (7, 9000), (500, 3)])
def test_every_size_and_proportion(height, width):
    gray = np.random.default_rng(0).integers(0, 256, (height, width, 1)).astype(np.uint8)
    assert tasks.Colorize().converter(Colorizer())(photos.Photo(gray)).pixels.shape == (height, width, 3)
    h, w = colorize._choose_network_size(height, width, 64)
    assert max(h, w) <= 2048 and min(h, w) <= 64
    if max(height, width) <= 32 * min(height, width):
        assert min(h, w) == 64


def test_colours_lie_where_the_network_saw_their_cause():
    """Left dark, right light: the stand-in makes the light half redder. 6.25 times enlarged, the step stays in the middle."""
    gray = np.full((400, 400, 1), 60, np.uint8)
    gray[:, 200:] = 180
    changed = tasks.Colorize().converter(Colorizer(), size=64)(photos.Photo(gray)).pixels
    a = color.rgb2lab(changed)[..., 1]
    middle = (a[:, :120].mean() + a[:, 280:].mean()) / 2
    where = np.abs(a[200] - middle).argmin()
    assert a[:, 280:].mean() > 1.5 * a[:, :120].mean() and abs(where - 200) <= 8
    assert np.ptp(a[:, 20]) < 2 and np.ptp(a[:, 380]) < 2


def test_strips_do_not_show(monkeypatch):
    photo = photos.Photo(data.astronaut()[..., :1].copy())
    colorizer = tasks.Colorize().converter(Colorizer())
    whole = colorizer(photo).pixels
    monkeypatch.setattr(colorize, "_STRIP", 512 * 7)
    np.testing.assert_array_equal(colorizer(photo).pixels, whole)


def test_recolour_is_gray_to_rgb_at_full_size_in_tiles():
    rgb = np.random.default_rng(0).integers(0, 256, (300, 530, 3)).astype(np.uint8)
    changed = tasks.Recolor().converter(Recolorer())(photos.Photo(rgb)).pixels
    gray = colour.to_gray(pixels.to_unit(rgb))[..., 0]
    right = np.pad(gray, [(0, 0), (0, 1)])[:, 1:]
    expected = pixels.from_unit(np.stack([right, gray / 2, 0 * gray], -1), np.uint8)
    np.testing.assert_array_equal(changed, expected)


def test_the_command(trained, tmp_path):
    """A folder, nested: gray, colour, 16 bits with alpha, turned by EXIF, one broken: the rest is done, and the exit code says so."""
    source = tmp_path / "photos"
    (source / "deeper").mkdir(parents=True)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (30, 50), np.uint8)).save(source / "gray.jpg")
    Image.fromarray(data.astronaut()[::4, ::4]).save(source / "colour.png")
    deep = rng.integers(0, 65536, (20, 30, 4)).astype(np.uint16)
    (source / "deeper" / "deep.png").write_bytes(deep_png(deep))
    exif = Image.Exif()
    exif[274] = 6
    (source / "turned.jpg").write_bytes(encode(Image.new("L", (40, 20)), "jpeg", exif=exif))
    Image.new("P", (8, 8)).save(source / "palette.gif")
    (source / "broken.jpg").write_bytes(b"\xff\xd8\xff not a photo")
    (source / "notes.txt").write_text("no photo")

    code, out, err = pggan("colorize", trained["colorize"], source, "--out", tmp_path / "out", "--compare")
    assert code == 1, err
    assert "broken.jpg: not a file of a known kind" in err and "5 of 6 photos written" in err
    assert "left alone: 1 .txt" in err
    written = sorted(str(f.relative_to(tmp_path / "out")) for f in (tmp_path / "out").rglob("*") if f.is_file())
    names = ["gray.jpg", "colour.png", "deeper/deep.png", "turned.jpg", "palette.gif.png"]
    pairs = [
        "gray-compare.jpg",
        "colour-compare.png",
        "deeper/deep-compare.png",
        "turned-compare.jpg",
        "palette.gif-compare.png",
    ]
    assert written == sorted(names + pairs)
    after = photos.read((tmp_path / "out/deeper/deep.png").read_bytes())
    assert after.pixels.dtype == np.uint16
    np.testing.assert_array_equal(after.alpha, deep[..., 3:])
    with Image.open(tmp_path / "out/turned.jpg") as image:
        assert image.size == (20, 40) and 274 not in image.getexif()
    with Image.open(tmp_path / "out/colour-compare.png") as image:
        assert image.size == (256, 128)
        np.testing.assert_array_equal(np.asarray(image)[:, :128], data.astronaut()[::4, ::4])


def test_a_panorama_is_looked_at_window_by_window():
    """Each with the proportions of a photo; what one sees has nothing to do with what another sees."""
    seen = []

    def network(lightness):
        seen.append(lightness.shape)
        return np.broadcast_to(lightness.mean(), (*lightness.shape[:2], 2)) * 2 - 1

    half = np.full((64, 1000, 3), 255, np.uint8)
    ab = colorize.predict_ab(network, photos.Photo(np.concatenate([0 * half, half], axis=1)), 32)
    assert ab.shape == (32, 1000, 2) and len(seen) > 15 and set(seen) == {(32, 64, 1)}
    np.testing.assert_allclose(ab[:, :400], -1, atol=1e-4)
    np.testing.assert_allclose(ab[:, 600:], 1, atol=1e-4)
    assert np.abs(np.diff(ab[0, :, 0])).max() < 0.2  # no seams where both meet


def test_results_inside_the_folder_of_the_photos_are_no_photos_of_it(trained, tmp_path, capsys):
    Image.new("L", (30, 20), 99).save(tmp_path / "gray.png")
    for _ in range(2):
        assert cli.main(["colorize", str(trained["recolor"]), str(tmp_path), "--out", str(tmp_path / "out")]) == 0
        assert "1 of 1 photos written" in capsys.readouterr().out


def test_a_photo_that_cannot_be_written_does_not_end_a_folder(trained, tmp_path, capsys):
    """One result whose name is taken by a folder, one EXIF that JPEG cannot hold."""
    for name in ("a.png", "b.png", "c.png"):
        Image.new("L", (30, 20), 99).save(tmp_path / name)
    exif = Image.Exif()
    exif[34665] = {37500: bytes(70_000)}
    data = encode(Image.new("RGB", (30, 20)), "png", exif=exif)
    (tmp_path / "long.jpg").write_bytes(data)  # the bytes say what it is, not the name
    (tmp_path / "out" / "b.png").mkdir(parents=True)
    assert cli.main(["colorize", str(trained["recolor"]), str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert f"{tmp_path / 'out' / 'b.png'}: cannot be written (Is a directory)" in err
    assert f"{tmp_path / 'out' / 'long.jpg'}: without its EXIF" in err
    assert "3 of 4 photos written; 1 could not be read or written, the first" in err
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "c.png", "long.jpg"]


def test_a_photo_on_its_own(trained, tmp_path):
    file = tmp_path / "photo.png"
    Image.fromarray(data.astronaut()[..., 0]).save(file)
    assert (
        cli.main(["colorize", str(trained["colorize"]), str(file), "--out", str(tmp_path / "new" / "photo.jpg")]) == 0
    )
    assert (
        cli.main(["colorize", str(trained["colorize"]), str(file), "--out", str(tmp_path / "new"), "--size", "128"])
        == 0
    )
    assert sorted(f.name for f in (tmp_path / "new").iterdir()) == ["photo.jpg", "photo.png"]


@pytest.mark.parametrize(
    "run, source, out, options, message",
    [
        ("upscale", "photo.png", "o.png", [], "was trained to upscale, not to colorize"),
        ("generate", "photo.png", "o.png", [], "was trained to generate, not to colorize"),
        ("colorize", "nowhere.png", "o.png", [], "no such file or folder"),
        ("colorize", "photo.png", "photo.png", [], "is the file itself"),
        ("colorize", "photo.png", "o.bmp", [], "o.bmp: photos are not written as .bmp"),
        ("colorize", "deep.png", "o.jpg", [], "o.jpg: .jpg holds no transparency"),
        ("colorize", "broken.png", "o.png", [], "broken.png: not a file of a known kind"),
        ("colorize", "folder", "o.png", [], "Expected a folder"),
        ("colorize", "folder", "o", [], "no images found"),
        ("colorize", ".", ".", [], "is the folder of the photos"),
        ("recolor", "photo.png", "o.png", ["--size", "64"], "leave --size out"),
    ],
)
def test_what_cannot_be_done_says_why(trained, tmp_path, capsys, monkeypatch, run, source, out, options, message):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("photo.png")
    (tmp_path / "deep.png").write_bytes(deep_png(np.zeros((4, 4, 4), np.uint16)))
    (tmp_path / "broken.png").write_bytes(b"broken")
    (tmp_path / "folder").mkdir()
    before = (tmp_path / "photo.png").read_bytes()
    assert cli.main(["colorize", str(trained[run]), source, "--out", out, *options]) == 2
    assert message in capsys.readouterr().err
    assert (tmp_path / "photo.png").read_bytes() == before and not (tmp_path / "o.png").exists()


def test_help_needs_no_tensorflow():
    process = start("-X", "importtime", "-m", "pggan_tf", "colorize", "--help")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "--compare" in out
    assert not any(line.split("|")[-1].strip() in ("tensorflow", "PIL.Image", "av") for line in err.splitlines())
