"""Sliders: directions against NumPy's SVD, how latents move, and the verbs and calls that use them."""

import json
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

import pggan_tf as pg
from pggan_tf import networks, synthesis
from pggan_tf.explore import sliders
from pggan_tf.networks import dcgan, progressive
from pggan_tf.report import strips
from tests import image_networks
from tests.conftest import TINY, pggan, run_folder, train
from tests.test_front_door import refused

SCHEDULE = ["--target-res", "8", "--fade-images", "0", "--stable-images", "4=320,8=320", "--batch", "8"]
GAINS = np.array([8.0, 4, 2, 1, 0.5, 0.5, 0.25, 0.1])


def orthogonal(size, rng):
    return np.linalg.qr(rng.normal(size=(size, size)))[0]


def known_network(**options):
    """A network whose directions were chosen: GAINS along the rows of the returned matrix."""
    keras.utils.set_random_seed(3)
    network = progressive.Generator((4, 8, 16), channels=3, fmap_base=256, fmap_max=32, latent_size=8, **options)
    network.build()
    rng = np.random.default_rng(4)
    directions = orthogonal(8, rng)
    kernel = network.dense.compute_kernel().numpy()
    kernel[:8] = directions.T @ np.diag(GAINS) @ orthogonal(kernel.shape[1], rng)[:8]
    network.dense.set_kernel(kernel, network.dense.bias)
    return network, directions


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    code, out, err = train(*TINY, *SCHEDULE, "--conditional", "--runs", tmp_path_factory.mktemp("runs"))
    assert code == 0, err
    return run_folder(out)


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "run")


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.mark.parametrize("size, units", [(8, 40), (40, 8), (16, 16)])
def test_directions_are_those_of_an_svd(size, units):
    kernel = np.random.default_rng(0).normal(size=(size, units))
    directions, strengths = sliders.find_directions(kernel)
    _, singular, right = np.linalg.svd(kernel.T, full_matrices=False)
    assert directions.shape == (min(size, units), size)
    np.testing.assert_allclose(strengths, singular / np.sqrt(np.square(singular).sum() / size), rtol=1e-9)
    np.testing.assert_allclose(np.abs((directions * right).sum(1)), 1, rtol=1e-9)
    gains = np.linalg.norm(directions @ kernel, axis=1)
    np.testing.assert_allclose(gains, singular, rtol=1e-9)
    others = np.random.default_rng(1).normal(size=(1000, size))
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    gained = np.linalg.norm(others @ kernel, axis=1)
    assert gains[0] > gained.max() and abs(np.sqrt(np.square(gained).mean()) - gains[0] / strengths[0]) < 0.2


def test_signs_are_the_same_each_time():
    """Though a decomposition may return either."""
    rng = np.random.default_rng(2)
    kernel = rng.normal(size=(12, 30))
    directions, _ = sliders.find_directions(kernel)
    for other in (-kernel, kernel @ orthogonal(30, rng)):
        np.testing.assert_allclose(sliders.find_directions(other)[0], directions, atol=1e-9)
    assert (directions[np.arange(12), np.abs(directions).argmax(1)] > 0).all()


def test_latents_move_on_their_sphere():
    z, east = np.array([[2.0, 0, 0, 0]]), np.array([[0.0, 1, 0, 0]])
    np.testing.assert_allclose(sliders.move(z, east, [2.0]), [[2**0.5, 2**0.5, 0, 0]], rtol=1e-6)  # by hand
    z = synthesis.latents(range(5), 16)
    directions, amounts = orthogonal(16, np.random.default_rng(5))[:3], np.array([1.0, -2.5, 4])
    moved = sliders.move(z, directions, amounts)
    assert moved.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), np.linalg.norm(z, axis=1), rtol=1e-6)
    np.testing.assert_array_equal(sliders.move(z, directions, np.zeros(3)), z)  # to the last bit
    np.testing.assert_allclose(sliders.move(z, directions[::-1], amounts[::-1]), moved, rtol=1e-6)
    np.testing.assert_allclose(sliders.move(7 * z, directions, amounts), 7 * moved, rtol=1e-5)
    # Before it is scaled back, a unit is one standard deviation of latents along the direction.
    z = synthesis.latents(range(4000), 64)
    step = sliders.move(z, directions := np.eye(64)[:1], [1.0])
    length = np.linalg.norm(z, axis=1)
    along = step @ directions[0] / np.sqrt(np.square(step).sum(1) - np.square(step @ directions[0]))
    before = z @ directions[0] / np.sqrt(np.square(z).sum(1) - np.square(z[:, 0]))
    assert abs((along - before).mean() * np.sqrt(64) - 1) < 0.05 and abs(length.mean() - 8) < 0.1


def test_a_generator_s_sliders_are_those_of_its_first_layer():
    network, directions = known_network()
    kernel = sliders.read_kernel(network, "x")
    found = sliders.make_sliders(kernel, {2: "smile"})
    assert [s.number for s in found] == list(range(1, 9)) and [s.label for s in found[:3]] == ["1", "2 smile", "3"]
    np.testing.assert_allclose([s.strength for s in found], GAINS / np.sqrt(np.square(GAINS).mean()), rtol=1e-4)
    for i in (0, 1, 2, 3, 6, 7):  # two of GAINS are equal, so any of their plane will do
        assert abs(found[i].direction @ directions[i]) > 0.9999
    step = network.dense(0.1 + found[0].direction[None].astype(np.float32)) - network.dense(np.full((1, 8), 0.1, "f"))
    assert abs(np.linalg.norm(step) - GAINS[0]) < 1e-3


def test_a_slider_changes_images_more_than_a_random_direction():
    network, _ = known_network()
    found = sliders.make_sliders(sliders.read_kernel(network, "x"), {})
    sampler, z = synthesis.Sampler(network), synthesis.latents(range(16), 8)
    before = sampler.images(z, 16).astype(float)

    def change(direction):
        moved = [sliders.move(z, direction[None], [amount]) for amount in (-1, 1)]
        return np.mean([np.abs(sampler.images(m, 16) - before).mean() for m in moved])

    random = np.random.default_rng(6).normal(size=(15, 8))
    median = np.median([change(v / np.linalg.norm(v)) for v in random])
    assert change(found[0].direction) > 1.3 * median > 0 and change(found[-1].direction) < 0.7 * median


@pytest.mark.parametrize("name, modulation", [("progressive", "none"), ("progressive", "latents"), ("dcgan", "none")])
def test_an_architecture_says_which_layers_latents_enter(name, modulation):
    """The part of their kernels that labels are multiplied with does not count."""
    sizes = {
        "resolutions": (8,),
        "fmap_base": 64,
        "fmap_max": 8,
        "latent_size": 6,
        "output_channels": 3,
        "upsampling": "nearest",
        "modulation": modulation,
    }
    network = networks.make_generator(name, {**networks.NETWORKS[name].defaults, **sizes, "classes": ("a", "b")})
    network.build()
    layers = [network.dense, *([network.modulate_conv_8] if modulation == "latents" else [])]
    whole = np.concatenate([layer.compute_kernel() for layer in layers], 1)
    assert whole.shape[0] == 8
    np.testing.assert_array_equal(sliders.read_kernel(network, name), whole[:6])


def test_dcgan_s_sliders_move_its_images():
    network = dcgan.Generator((8,), fmap_base=64, fmap_max=8, latent_size=6, generator_norm="none")
    network.build()
    for layer in (network.dense, network.up_8):  # weights of an untrained one are too small to be seen
        layer.set_kernel(20 * layer.compute_kernel(), layer.bias)
    generator = pg.Generator(network, "dcgan")
    images = [generator.sample([1], sliders={1: amount}).astype(int) for amount in (0, 2)]
    assert np.abs(images[1] - images[0]).max() > 5


def test_generators_without_sliders_are_refused(monkeypatch):
    network, _ = known_network()
    monkeypatch.setattr(progressive.Generator, "latent_layers", [])
    with pytest.raises(pg.UserError, match="own: its architecture has no affine layer"):
        _ = pg.Generator(network, "own").sliders
    with pytest.raises(pg.UserError, match="Give it photos: pggan upscale"):
        _ = pg.Generator(image_networks.built("upscale"), "larger").sliders


def test_edit_writes_what_python_makes(copy, tmp_path):
    generator = pg.load(copy).generator
    z = synthesis.latents([5], 8)
    found = sliders.make_sliders(sliders.read_kernel(generator.network, "x"), {})
    moved = sliders.move(z, np.stack([found[1].direction, found[0].direction]), [3, -1.5])
    expected = synthesis.Sampler(generator.network).images(moved, 8, truncation=0.8, labels=np.array([0]))[0]
    plain = generator.sample([5], truncation=0.8, class_name=generator.classes[0])[0]
    assert np.abs(expected.astype(int) - plain).max() > 10
    assert pggan("sliders", copy, "--rename", "1=smile")[0] == 0
    given = ["--seed", "5", "--slider", "2=+3", "--truncation", "0.8", "--class", generator.classes[0]]
    for name in ("smile", "1"):
        code, out, err = pggan("edit", copy, *given, "--slider", f"{name}=-1.5", "--out", tmp_path / "x.png")
        assert code == 0 and out.split() == [str(tmp_path / "x.png")], err
        np.testing.assert_array_equal(read(tmp_path / "x.png"), expected)
    with Image.open(tmp_path / "x.png") as image:
        packet = image.info["XML:com.adobe.xmp"]
    assert "trainedAlgorithmicMedia" in packet and "Seeds" not in packet, "no seed alone makes it again"
    options = {"truncation": 0.8, "class_name": generator.classes[0]}
    both = generator.sample([5, 6], sliders={2: 3, "smile": -1.5}, **options)
    np.testing.assert_array_equal(both[0], expected)
    assert np.abs(both[1].astype(int) - generator.sample([6], **options)[0]).max() > 10


def test_a_slider_with_a_name_is_listed_however_weak_it_is(copy):
    code, out, err = pggan("sliders", copy, "--rename", "8=tilt", "--rename", "1=hair", "--count", "2")
    assert code == 0 and [line.partition(":")[0] for line in out.splitlines()] == ["1 hair", "2", "8 tilt"], err
    assert pggan("sliders", copy, "--count", "2")[1] == out


def test_names_are_kept_in_the_run(copy):
    run = pg.load(copy)
    assert [s.name for s in run.generator.sliders] == [""] * 8
    code, out, err = pggan("sliders", copy, "--rename", "2=smile", "--rename", "1= Haar-Länge ", "--count", "3")
    assert code == 0 and out.splitlines()[0].startswith("1 Haar-Länge: ") and len(out.splitlines()) == 3, err
    assert [s.name for s in run.generator.sliders[:3]] == ["Haar-Länge", "smile", ""]
    run.rename_slider(1, "")
    run.rename_slider(2, "grin")
    assert json.loads((copy / "sliders.json").read_text())["names"] == {"2": "grin"}
    assert [s.name for s in pg.Generator.open(copy / "generator.keras").sliders[:2]] == ["", "grin"]
    exported = pg.load(pg.export(copy, copy.with_name("exported"), "keras"))
    assert [s.name for s in exported.sliders[:2]] == ["", "grin"]
    # Other weights have other directions, which nobody has named.
    kernel = run.generator.network.dense.kernel
    kernel.assign(kernel * 1.1)
    run.generator.network.save(copy / "generator.keras")
    assert {s.name for s in pg.load(copy).generator.sliders} == {""}
    code, out, err = pggan("sliders", copy)
    assert code == 0 and "named before the run trained on, so left out: grin" in err
    pg.load(copy).rename_slider(3, "age")
    for number, name in ((1.5, "grin"), (True, "grin"), ("1", "grin"), (1, None), (1, 5)):
        with pytest.raises(pg.UserError, match="expected"):
            pg.load(copy).rename_slider(number, name)
    assert json.loads((copy / "sliders.json").read_text())["names"] == {"3": "age"}
    pg.load(copy).rename_sliders({1.0: "hair", np.int64(3): ""})
    assert json.loads((copy / "sliders.json").read_text())["names"] == {"1": "hair"}
    pg.load(copy).rename_sliders([(1, ""), (3, "age")])
    assert json.loads((copy / "sliders.json").read_text())["names"] == {"3": "age"}


def test_names_and_amounts_that_are_none_are_refused(copy, tmp_path):
    pg.load(copy).rename_slider(2, "smile")
    picture = ["--out", tmp_path / "x.png"]
    for given, *words in (
        ("9=1", "--slider 9: .* has the sliders 1 to 8"),
        ("0=1", "has the sliders 1 to 8"),
        ("smil=1", "--slider smil: .* no slider of this name; did you mean smile"),
        ("2", "--slider 2: expected NUMBER=AMOUNT", "smile=-1.5"),
        ("=2", "--slider =2: expected NUMBER=AMOUNT"),
        ("2=much", "--slider 2=much: expected NUMBER=AMOUNT"),
        ("2=11", "--slider 2=11.0: expected an amount from -10 to 10"),
        ("2=nan", "expected an amount from -10 to 10"),
    ):
        result = pggan("edit", copy, "--slider", given, *picture)
        refused(result, *words)
    twice = pggan("edit", copy, "--slider", "2=1", "--slider", "smile=1", *picture)
    refused(twice, "--slider 2 and --slider smile: are the same one")
    refused(pggan("edit", copy, "--slider", "2=1", "--slider", "2=2", *picture), "2 is given twice")
    for given, *words in (
        ("2", "--rename 2: expected NUMBER=NAME"),
        ("smile=grin", "expected NUMBER=NAME"),
        ("9=grin", "--rename 9=grin: the run has the sliders 1 to 8"),
        ("3=7", "--rename 3=7: expected a name of at most 24 letters"),
        ("3=<b>", "begins with a letter"),
        (f"3={'x' * 25}", "at most 24 letters"),
        ("3=Smile", "--rename 3=Smile: slider 2 has this name", "--rename 2="),
    ):
        refused(pggan("sliders", copy, "--rename", "4=frown", "--rename", given), *words)  # none is kept
    assert json.loads((copy / "sliders.json").read_text())["names"] == {"2": "smile"}
    refused(pggan("sliders", copy / "generator.keras", "--rename", "2=grin"), "not a run's folder|no config.json")
    refused(pggan("sliders", "hf://some/one", "--rename", "2=grin"), "hf://some/one: .*Give the folder of its run")
    (copy / "sliders.json").write_text("{")
    refused(pggan("edit", copy, "--slider", "2=1", *picture), "sliders.json: no names of sliders", "Remove it")
    (copy / "sliders.json").unlink()
    refused(pggan("edit", copy, "--slider", "smile=1", *picture), "none has a name yet", "--rename 2=smile")
    assert not (tmp_path / "x.png").exists()


def test_strips_show_what_sliders_change(copy, tmp_path):
    run = pg.load(copy)
    run.rename_slider(2, "smile")
    given = ["--seeds", "3,5", "--count", "2", "--stage", "4", "--class", run.generator.classes[1]]
    code, out, err = pggan("sliders", copy, "--out", tmp_path / "s.png", *given)
    assert code == 0 and out.splitlines()[-1] == str(tmp_path / "s.png"), err
    sheet, shown = read(tmp_path / "s.png"), run.generator.sliders[:2]
    assert sheet.shape == (*strips.get_size(shown, 2, (4, 4)), 3)
    left = sheet.shape[1] - 9 * 65 + 1 - 10
    for row, slider in enumerate(shown):
        for line, seed in enumerate((3, 5)):
            for column, amount in enumerate(range(-4, 5)):
                options = {"stage": 4, "class_name": run.generator.classes[1], "sliders": {slider.number: amount}}
                y, x = 35 + row * 139 + line * 65, left + column * 65
                cell = sheet[y : y + 64, x : x + 64]
                np.testing.assert_array_equal(cell[::16, ::16], run.generator.sample([seed], **options)[0])
        assert (sheet[35 + row * 139 :][:129, :left] < 128).any()  # its label
    drawn = run.generator.draw_sliders([3, 5], count=2, stage=4, class_name=run.generator.classes[1])
    np.testing.assert_array_equal(np.asarray(drawn), sheet)
    refused(pggan("sliders", copy, "--out", tmp_path / "x.pdf"), "--out .*x.pdf")
    refused(pggan("sliders", copy, "--out", tmp_path / "x.jpg", "--seeds", "0-999"), "x.jpg: would be")
    with pytest.raises(pg.UserError, match="--count 9: .* has 8 sliders"):
        run.generator.draw_sliders(count=9)


def test_strips_of_gray_images():
    network = progressive.Generator((4, 8), channels=1, fmap_base=64, fmap_max=8, latent_size=6)
    network.build()
    drawn = np.asarray(pg.Generator(network, "gray").draw_sliders([1], count=1))
    assert drawn.shape[2] == 3 and (np.ptp(drawn[35:, 40:], axis=2) == 0).all()
