"""Exported files do what the network does."""

import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from export import build, litert, onnx, parity, signatures, source, web
from pggan_tf import synthesis
from pggan_tf.config import resolve
from pggan_tf.data import colour, pixels, portraits, shards
from pggan_tf.errors import UserError
from pggan_tf.networks import dcgan, progressive
from pggan_tf.tasks import recolor, upscale
from tests import image_networks
from tests.conftest import ROOT, TINY, pggan, run_folder, start, train

SMALL = {"channels": 3, "fmap_base": 64, "fmap_max": 12, "latent_size": 8}


def grown(**kwargs):
    keras.utils.set_random_seed(1)
    network = progressive.Generator((4, 8, 16, 48), **SMALL, **kwargs)
    network.build()
    return synthesis.finish(network, synthesis.calibration_latents(network.latent_size, 64))


def calm(network):
    """Random weights would give more contrast than photos have."""
    for r in network.resolutions:
        layer = getattr(network, f"to_image_{r}")
        layer.set_kernel(0.25 * layer.compute_kernel(), layer.bias)
    return network


def deep():
    keras.utils.set_random_seed(1)
    network = dcgan.Generator((32,), **SMALL)
    network.build()
    return synthesis.finish(network, synthesis.calibration_latents(network.latent_size, 64))


GENERATORS = {
    "progressive": grown,
    "classes": lambda: grown(classes=("cat", "dog")),
    "separable": lambda: grown(conv="separable", upsampling="bilinear", modulation="latents"),
    "batch-norm": lambda: grown(generator_norm="batch"),
    "dcgan": deep,
}


OFTEN = ("separable", "classes", "dcgan")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [k if k in OFTEN else pytest.param(k, marks=pytest.mark.slow) for k in GENERATORS])
def test_a_generator_s_file_gives_its_images_at_every_stage(kind):
    network = GENERATORS[kind]()
    offered = signatures.network_signatures(network)
    assert [s.name for s in offered] == [f"gen_{r}" for r in network.resolutions[::-1]]
    run = litert.Runner(litert.convert(network, offered))
    for truncation in (1.0, 0.6):
        for r in network.resolutions:
            truth = synthesis.Sampler(network, 4).images(
                synthesis.latents(range(4), 8), r, truncation=truncation, labels=np.array([0, 1, 1, 0])
            )
            for seed in range(4):
                inputs = {"latents": synthesis.latents([seed], 8), "truncation": np.array([truncation], np.float32)}
                if network.classes:
                    inputs["label"] = np.array([[0, 1, 1, 0][seed]], np.int32)
                image = run(f"gen_{r}", inputs)[0]
                assert image.dtype == np.uint8 and np.abs(image.astype(int) - truth[seed]).max() <= 1


@pytest.mark.slow
def test_stages_share_their_weights():
    network = progressive.Generator((4, 8, 16, 48), **{**SMALL, "fmap_base": 1024, "fmap_max": 64})
    network.build()
    offered = signatures.network_signatures(network)
    whole, last = litert.convert(network, offered), litert.convert(network, offered[:1])
    weights = 4 * network.count_params()
    assert len(whole) - len(last) < 0.1 * weights


def test_truncation_can_be_built_in_and_pixels_can_be_floats():
    network = grown()
    offered = signatures.network_signatures(network, truncation=0.5)
    assert list(offered[0].inputs) == ["latents"]
    run = litert.Runner(litert.convert(network, offered, "float32"))
    z = synthesis.latents([3], 8)
    image = network(z, resolution=16, truncation=0.5).numpy()
    assert abs(image).max() > 1, "so that there is something to clip"
    np.testing.assert_allclose(run("gen_16", {"latents": z}), image.clip(-1, 1), atol=1e-5)


def photo(height, width, number=0):
    return portraits.draw(number, 128)[:height, :width]


def expected(task, network, image):
    """By NumPy around the network, from the contract alone."""
    unit = image[None].astype(np.float32) / 255
    gray = np.rint(colour.to_gray(image)).astype(np.uint8)[None].astype(np.float32) / 255
    if task == "colorize":
        lightness, _ = colour.split_lab(gray.repeat(3, -1))
        return 2 * colour.join_lab(lightness, network(lightness).numpy()) - 1
    if task == "recolor":
        return 2 * network(gray).numpy() - 1
    return network(unit if task == "upscale" else 2 * unit - 1).numpy()


PHOTOS_OFTEN = ("colorize", "upscale")


@pytest.mark.parametrize(
    "task",
    [t if t in PHOTOS_OFTEN else pytest.param(t, marks=pytest.mark.slow) for t in image_networks.NETWORKS],
)
def test_networks_of_photos_take_them_as_they_are(task):
    network = image_networks.built(task)
    offered = signatures.network_signatures(network)
    fixed, free = offered
    assert free.name == task and fixed.name == f"{task}_{fixed.photo}"
    run = litert.Runner(litert.convert(network, offered))
    (name,) = free.inputs
    for signature, size in ((fixed, (fixed.photo,) * 2), (free, (48, 36)), (free, (20, 64))):
        size = [side // network.multiple * network.multiple for side in size]
        image = np.asarray(photo(128, 128).repeat(2, 0).repeat(2, 1)[: size[0], : size[1]])
        given = np.rint(colour.to_gray(image)).astype(np.uint8) if name == "gray" else image
        made = run(signature.name, {name: given[None]})
        truth = pixels.to_uint8(expected(task, network, image))
        scale = getattr(network, "scale", 1)
        assert made.shape == (1, scale * size[0], scale * size[1], 3)
        assert np.abs(made.astype(int) - truth).max() <= 1


def test_a_gray_photo_keeps_its_lightness():
    """What a colorizer adds is colour: L of the result is L of the photo, where sRGB has such a colour."""

    def network(lightness):
        return np.zeros((*lightness.shape[:3], 2), np.float32) + np.float32(0.05)

    class Fixed:
        task, resolutions, multiple, classes, input_channels = "colorize", (16,), 1, (), 1

        def __call__(self, x):
            return network(x)

    gray = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    (made, _) = signatures.network_signatures(Fixed())
    image = signatures.convert_output(made.function(gray=gray), "uint8").numpy()
    before, _ = colour.split_lab(gray.repeat(3, -1) / 255)
    after, _ = colour.split_lab(image / 255)
    middle = (before > 0.1) & (before < 0.9)
    assert np.abs(before - after)[middle].max() < 0.01


@pytest.mark.slow
def test_quantised_files_are_smaller_and_near():
    network = calm(grown())
    offered = signatures.network_signatures(network)
    plain = litert.convert(network, offered)
    sizes = []
    for how, least in litert.QUANTIZATIONS.items():
        model = litert.quantize(plain, offered, how)
        rows = parity.compare(offered, litert.Runner(model))
        parity.require(rows, least, how)
        assert [r.signature for r in rows] == [s.name for s in offered] and all(r.ms > 0 for r in rows)
        sizes.append(len(model))
    assert sizes[0] > max(sizes[1:])


@pytest.fixture
def small_tiles(monkeypatch):
    """Networks that take photos of any size are exported for 32 px, whose arithmetic is that of 256."""
    monkeypatch.setattr(upscale, "ENLARGED", 64)
    monkeypatch.setattr(recolor, "TILE", 32)


@pytest.mark.parametrize(
    "task", ["recolor", *(pytest.param(t, marks=pytest.mark.slow) for t in ("upscale", "colorize", "translate"))]
)
def test_networks_of_photos_are_quantised_on_photos(task, small_tiles):
    network = image_networks.built(task)
    offered = signatures.network_signatures(network)
    plain, drawn = litert.convert(network, offered), source.draw_portraits(64)
    for how, least in litert.QUANTIZATIONS.items():
        model = litert.quantize(plain, offered, how, drawn)
        parity.require(parity.compare(offered, litert.Runner(model), drawn), least, how)


def test_what_differs_too_much_is_refused():
    offered = signatures.network_signatures(grown())

    def noisy(name, inputs):
        size = int(name[4:])
        return np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)

    rows = parity.compare(offered[:2], noisy)
    with pytest.raises(UserError, match=r"gen_\d+ differs from Keras by up to \d+ of 255, PSNR .*Nothing was written"):
        parity.require(rows, 26, "generator-int8.tflite")
    with pytest.raises(UserError, match="gen_4: gives .* none"):
        parity.compare(offered[-1:], lambda name, inputs: np.full((1, 4, 4, 3), np.nan, np.float32), kind="float32")


def test_depthwise_convolutions_stay_floats_where_integers_would_be_slow():
    network = grown(conv="separable", upsampling="bilinear")
    plain = litert.convert(network, signatures.network_signatures(network)[:1])
    kinds = {
        how: _weights(litert.quantize(plain, signatures.network_signatures(network)[:1], how))
        for how in ("dynamic", "int8")
    }
    assert kinds["dynamic"] == {"CONV_2D": "INT8", "DEPTHWISE_CONV_2D": "FLOAT32"}
    assert kinds["int8"] == {"CONV_2D": "INT8", "DEPTHWISE_CONV_2D": "FLOAT32"}


def _weights(model):
    """Kind of convolution -> type of its weights in the file."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    parsed, out = flatbuffer_utils.read_model_from_bytearray(bytearray(model)), {}
    types = {v: k for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
    for graph in parsed.subgraphs:
        for op in graph.operators:
            name = flatbuffer_utils.opcode_to_name(parsed, op.opcodeIndex)
            if "CONV_2D" in name:
                out[name] = types[graph.tensors[op.inputs[1]].type]
    return out


def test_metadata_comes_back_and_damage_is_told():
    network = deep()
    offered = signatures.network_signatures(network)
    model = litert.add_metadata(litert.convert(network, offered), "a network", {"licence": "cc0-1.0", "n": [1, 2]})
    assert litert.read_metadata(model) == {"licence": "cc0-1.0", "n": [1, 2]}
    assert litert.Runner(model)("gen_32", offered[0].example(0, None)).shape == (1, 32, 32, 3)
    for damaged in (b"", b"not a model", model[: len(model) // 3]):
        with pytest.raises(UserError, match="not a .tflite file"):
            litert.read_metadata(damaged)
    with pytest.raises(UserError, match="not a .tflite file"):
        litert.Runner(b"not a model")


def test_photos_of_the_run_s_own_data(tmp_path):
    writer = shards.Writer(tmp_path / "shards", (8, 16))
    images = [portraits.draw(i, 16) for i in range(5)]
    for image in images:
        writer.add(image)
    writer.close()
    network = image_networks.built("upscale")
    made = source.Source(
        "a", network, tmp_path / "generator.keras", "0", None, {"dataset": {"folder": str(tmp_path / "shards")}}
    )
    np.testing.assert_array_equal(made.load_photos(None), images)
    shutil.rmtree(tmp_path / "shards")
    assert made.load_photos(None) is None
    (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match="--representative .*no images found"):
        made.load_photos(tmp_path / "photos")
    pixels.save(tmp_path / "photos" / "a.png", images[0])
    assert made.load_photos(tmp_path / "photos").shape == (1, 32, 32, 3)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained run of a generator."""
    arguments = ["--target-res", "8", "--batch", "8", "--runs", tmp_path_factory.mktemp("runs")]
    arguments += ["--fade-images", "0", "--stable-images", "4=32,8=40"]
    code, out, err = train(*TINY, *arguments)
    assert code == 0, err
    return run_folder(out)


def test_a_run_s_export_is_complete(run, tmp_path):
    """Into a folder that is somewhere else, too."""
    out = tmp_path / "out"
    (tmp_path / "elsewhere").mkdir()
    out.symlink_to(tmp_path / "elsewhere")
    formats = ("tflite", "keras", "savedmodel")
    options = [x for f in formats for x in ("--to", f)]
    process = start("-m", "pggan_tf", "export", run, *options, "--out", out, "--licence", "cc0-1.0")
    said, err = process.communicate(timeout=240)
    assert process.returncode == 0 and err == "", err  # not even by the libraries beneath
    assert "gen_8" in said and said.strip().endswith(str(out))
    assert {p.name for p in out.iterdir()} == {
        "generator.tflite", "generator.keras", "saved_model", "report.json", "MODEL_CARD.md", "README.md", "run.json", "samples.png",
        "config.json", "metadata.json", "model.weights.h5",
    }  # fmt: skip
    assert (out / "generator.keras").read_bytes() == (run / "generator.keras").read_bytes()
    report = json.loads((out / "report.json").read_text())
    assert [f["file"] for f in report["files"]] == ["generator.tflite", "generator.keras", "saved_model"]
    for f in report["files"]:
        for row in f["signatures"]:
            assert row["max_difference"] <= 1 and (row["psnr"] is None or row["psnr"] > 60) and row["ms"] > 0
    model = (out / "generator.tflite").read_bytes()
    described = litert.read_metadata(model)
    assert described["sha256"] == report["sha256"] and described["licence"] == "cc0-1.0"
    assert described["signatures"]["gen_8"]["inputs"]["latents"]["shape"] == [1, 8]
    card = (out / "MODEL_CARD.md").read_text()
    assert card == (out / "README.md").read_text() and card.startswith("---\nlicense: cc0-1.0\n")
    for word in ("120 images: drawn portraits", "72 images seen", "Intended use", "generator.tflite", report["sha256"]):
        assert word in card, word
    assert len(read_card(out)) == 3 and (out / "grid.png").is_file()
    held = json.loads((out / "run.json").read_text())
    assert held["recipe"] == "pggan" and str(tmp_path.parents[1]) not in json.dumps(held)


def read_card(out, card="MODEL_CARD.md"):
    """Runs the code of a card as a reader would type it. Returns it by block."""
    photo = out / "photo.jpg"
    Image.fromarray(portraits.draw(1, 64)).save(photo)
    blocks = re.findall(r"```python\n(.*?)```", (out / card).read_text(), re.S)
    code = "".join(
        f"x = {{}}\nexec({block!r}, x)\nassert 'image' not in x or x['image'].std() > 0\n" for block in blocks
    )
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(out.parent)}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}
    result = subprocess.run([sys.executable, "-c", code], cwd=out, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    photo.unlink()
    return blocks


@pytest.mark.slow
def test_a_card_s_code_runs(tmp_path, monkeypatch):
    """Of a default export, which holds no .keras."""
    calm(grown(classes=("cat", "dog"))).save(tmp_path / "generator.keras")
    code, _, err = pggan("export", tmp_path / "generator.keras", "--out", tmp_path / "plain")
    assert code == 0, err
    (block,) = read_card(tmp_path / "plain")
    assert "generator.tflite" in block and "generator.keras" not in block


@pytest.mark.slow
@pytest.mark.parametrize("task", ["generate", "colorize"])
def test_the_code_of_a_card_of_everything_runs(task, tmp_path, monkeypatch):
    try:
        web.fetch_runtime()
        formats = build.FORMATS
    except UserError:
        formats = tuple(f for f in build.FORMATS if f != "web")
    network = calm(grown(classes=("cat", "dog"))) if task == "generate" else image_networks.built(task)
    file = tmp_path / "generator.keras"
    network.save(file)
    monkeypatch.setattr(build, "FORMATS", formats)
    drawn = source.draw_portraits(network.resolutions[-1])
    monkeypatch.setattr(source.Source, "load_photos", lambda self, folder: None if task == "generate" else drawn)
    code, _, err = pggan("export", file, "--all", "--out", tmp_path / "all")
    assert code == 0, err
    assert [name in "".join(read_card(tmp_path / "all")) for name in ("generator.keras", "generator.tflite", "saved_model", ".onnx")] == [True] * 4  # fmt: skip
    files = json.loads((tmp_path / "all" / "report.json").read_text())["files"]
    assert len(files) == 8 + ("web" in formats)


@pytest.mark.slow
def test_a_run_of_pairs_is_exported(tmp_path):
    """With its data there, of which the first picture of each pair is what the file is compared on."""
    writer = shards.Writer(tmp_path / "pairs", (16,), channels=6)
    for i in range(6):
        a = portraits.draw(i, 16)
        writer.add(np.concatenate([a, 255 - a], axis=-1))
    writer.close()
    plain = ("--recipe", "colorize", "--task", "translate", "--width", "4", "--target-res", "16", "--batch", "4")
    run = ("--total-images", "8", "--grid", "4", "--no-report", "--runs", tmp_path / "runs")
    code, out, err = train(*plain, *run, "--data", tmp_path / "pairs")
    assert code == 0, err
    made = source.open_source(run_folder(out)).load_photos(None)
    np.testing.assert_array_equal(made[0], portraits.draw(0, 16))
    code, said, err = pggan("export", run_folder(out), "--quantize", "int8", "--out", tmp_path / "out")
    assert code == 0 and "translate_16" in said, err
    held = json.loads((tmp_path / "out" / "run.json").read_text())
    assert held["images"]["data"] == "pairs" and str(tmp_path) not in json.dumps(held)


@pytest.mark.parametrize("reverse", [False, True])
def test_photos_of_pairs_are_what_the_task_is_given(tmp_path, reverse):
    writer = shards.Writer(tmp_path / "pairs", (16,), channels=6)
    for i in range(6):
        a = portraits.draw(i, 16)
        writer.add(np.concatenate([a, 255 - a], axis=-1))
    writer.close()
    plan = resolve({"recipe": "translate", "reverse": reverse})
    environment = {"dataset": {"folder": str(tmp_path / "pairs")}}
    network = image_networks.built("translate")
    made = source.Source("a", network, tmp_path / "generator.keras", "0", plan, environment).load_photos(None)
    pairs = pixels.to_float(shards.Shards(tmp_path / "pairs").read(16, np.arange(6)))
    np.testing.assert_array_equal(pixels.to_float(made), plan.task.condition(pairs, None))
    assert (made[0] == portraits.draw(0, 16)).all() != reverse


@pytest.mark.slow
def test_a_site_says_what_its_files_are(run, tmp_path):
    try:
        web.fetch_runtime()
    except UserError as reason:
        pytest.skip(str(reason))
    code, _, err = pggan("export", run, "--to", "web", "--out", tmp_path / "s", "--licence", "cc0-1.0")
    assert code == 0, err
    described = litert.read_metadata((tmp_path / "s" / "models" / "generate.tflite").read_bytes())
    assert described["licence"] == "cc0-1.0" and described["quantize"] == "dynamic"
    assert described["signatures"]["gen_8"]["inputs"]["latents"]["shape"] == [1, 8]
    assert described["signatures"]["gen_8"]["image"].endswith("float32 -1..1")
    report = json.loads((tmp_path / "s" / "report.json").read_text())
    assert report["licence"] == "cc0-1.0" and [f["file"] for f in report["files"]] == ["models/generate.tflite"]
    assert len(read_card(tmp_path / "s")) == 1
    assert "<title>Faces that do not exist</title>" in (tmp_path / "s" / "index.html").read_text()
    # Of several networks, each has its own files, and its card names them.
    image_networks.built("upscale").save(tmp_path / "upscaler.keras")
    code, _, err = pggan("export", run, tmp_path / "upscaler.keras", "--to", "web", "--out", tmp_path / "both")
    assert code == 0, err
    for card, names in (
        ("s/MODEL_CARD.md", {"report.json", "run.json"}),
        ("both/MODEL_CARD-generate.md", {"report-generate.json", "run-generate.json"}),
        ("both/MODEL_CARD-upscale.md", {"report-upscale.json"}),  # a .keras file has no configuration
    ):
        path = tmp_path / card
        assert set(re.findall(r"[\w-]+\.json", path.read_text())) == names
        assert names <= {p.name for p in path.parent.iterdir()}


def test_first_exports_at_once_leave_each_other_alone(tmp_path, monkeypatch):
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text("#!/bin/sh\nsleep 0.5\ntest -f package.json && mkdir -p node_modules/@litertjs\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PGGAN_CACHE", str(tmp_path / "cache"))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: web.fetch_runtime(), range(2))
    assert one == other and one.is_dir()
    assert [p.name for p in (tmp_path / "cache" / "web").iterdir()] == [one.parents[1].name]


def test_npm_is_called_by_its_whole_name(tmp_path, monkeypatch):
    """On Windows it is a script, npm.cmd, which is not found by the name of npm alone."""
    monkeypatch.setenv("PGGAN_CACHE", str(tmp_path))
    monkeypatch.setattr(web.shutil, "which", lambda name: r"C:\node\npm.CMD")
    called = []

    def run(command, **kwargs):
        called.append(command[0])
        return subprocess.CompletedProcess(command, 1, "", "error: no network")

    monkeypatch.setattr(web.subprocess, "run", run)
    with pytest.raises(UserError, match="npm could not bring .*error: no network"):
        web.fetch_runtime()
    assert called == [r"C:\node\npm.CMD"]


def test_the_module_is_a_command_too():
    process = start("-m", "export.tflite", "--help")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "--quantize" in out, err


def test_onnx_agrees(run, tmp_path):
    for package in onnx.PACKAGES:
        pytest.importorskip(package)
    code, out, err = pggan("export", run, "--to", "onnx", "--out", tmp_path / "o")
    assert code == 0, err
    (file,) = json.loads((tmp_path / "o" / "report.json").read_text())["files"]
    assert file["file"] == "generator.onnx" and [row["signature"] for row in file["signatures"]] == ["gen_8", "gen_4"]
    assert all(row["max_difference"] <= 1 for row in file["signatures"])


@pytest.mark.slow
@pytest.mark.parametrize("task", ["colorize", "upscale"])
def test_onnx_takes_photos_of_any_size(task):
    for package in onnx.PACKAGES:
        pytest.importorskip(package)
    network = image_networks.built(task)
    offered = onnx.select_signatures(signatures.network_signatures(network))
    run = onnx.Runner(onnx.convert(offered, "uint8"))
    parity.require(parity.compare(offered, run, source.draw_portraits(64)), 60, task)
    image = photo(48, 64)
    given = (
        {"gray": np.rint(colour.to_gray(image)).astype(np.uint8)[None]}
        if task == "colorize"
        else {"photo": image[None]}
    )
    truth = pixels.to_uint8(expected(task, network, image))
    assert np.abs(run(task, given).astype(int) - truth).max() <= 1


def test_a_keras_file_is_enough(run, tmp_path):
    shutil.copy(run / "generator.keras", tmp_path / "face.keras")
    code, out, err = pggan("export", tmp_path / "face.keras", "--quantize", "int8", "--truncation", "0.7")
    assert code == 0, err
    assert (tmp_path / "export" / "generator-int8.tflite").is_file()
    assert "Not known" in (tmp_path / "export" / "MODEL_CARD.md").read_text()
    assert json.loads((tmp_path / "export" / "report.json").read_text())["files"][0]["interface"]["gen_8"][
        "inputs"
    ].keys() == {"latents"}


def test_the_best_generator_of_a_run_has_its_history(run, tmp_path):
    own = tmp_path / "run"
    shutil.copytree(run, own)
    shutil.copy(own / "generator.keras", own / "best.keras")
    (own / "best.json").write_text(json.dumps({"metric": "swd", "value": 12.5, "images": 700, "resolution": 8}))
    lines = [{"images": n, "seconds": 1, "metrics": {"swd": value}} for n, value in ((700, 12.5), (900, 13.5))]
    (own / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, _, err = pggan("export", own / "best.keras")
    card = (own / "export" / "MODEL_CARD.md").read_text()
    assert code == 0, err
    assert "# run-best" in card and "700 images" in card and "12.5" in card and "13.5" not in card
    for name in ("best", "generator"):  # the latter is the same file, as after --stop plateau
        opened = source.open_source(own / f"{name}.keras")
        assert opened.read_metrics() == {"swd": (12.5, 700)} and opened.count_images_seen() == 700
    for damaged in ("{", '{"images": Infinity}', "[]"):
        (own / "best.json").write_text(damaged)
        assert source.open_source(own / "best.keras").read_metrics() == {}, "of which moment it is, is not known"


def refused(result, *words):
    code, _, err = result
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1, err
    for word in words:
        assert re.search(word, err), err


def test_bad_input_is_refused(run, tmp_path, monkeypatch):
    def no(*arguments, words):
        refused(pggan("export", *arguments), *words)

    full = tmp_path / "full"
    full.mkdir()
    (full / "photo.jpg").write_text("mine")
    no(run, "--out", full, words=("not an empty folder",))
    assert (full / "photo.jpg").read_text() == "mine"
    no(tmp_path / "none", words=("no such folder. Expected a run",))
    no(run, "--to", "tflight", words=("--to tflight", "did you mean tflite"))
    no(run, "--quantize", "int4", words=("--quantize int4", "int8"))
    no(run, "--all", "--to", "keras", words=("--all",))
    no(
        run,
        "--to",
        "onnx",
        "--quantize",
        "int8",
        words=("--quantize int8 with --to onnx: nothing would", "tflite, web"),
    )
    no(run, "--to", "keras", "--to", "savedmodel", "--quantize", "dynamic", words=("--to keras --to savedmodel",))
    no(run, "--to", "web", "--output", "float32", words=("--output float32 with --to web", "tflite, savedmodel, onnx"))
    no(run, "--to", "keras", "--truncation", "0.5", words=("--truncation 0.5 with --to keras",))
    no(run, "--to", "keras", "--representative", full, words=("--representative .* with --to keras",))
    no(run, "--representative", full, words=("--representative .* takes no photos",))
    no(run, run, words=("2 runs: only --to web",))
    no(run, run, "--to", "web", "--out", tmp_path / "s", words=("two are for generate",))
    unfinished = tmp_path / "unfinished"
    shutil.copytree(run, unfinished)
    (unfinished / "generator.keras").unlink()
    no(unfinished, words=("run has not ended", "--resume"))
    (unfinished / "generator.keras").write_text("no archive")
    no(unfinished, words=("not a .keras file: expected the zip",))
    monkeypatch.setenv("PGGAN_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("PATH", str(tmp_path))
    no(run, "--to", "web", "--out", tmp_path / "s", words=("npm is not installed", "Node.js"))
    assert not (tmp_path / "s").exists() and not list(tmp_path.glob(".*.partial"))
    no(run, "--out", "", words=("--out: no name",))


def test_exports_to_one_place_at_once(run, tmp_path):
    """The first goes on, and the second is refused; what a killed one left is removed."""
    left = tmp_path / ".out.partial" / "files"
    left.mkdir(parents=True)
    (left / "junk").touch()
    with build._reserve(tmp_path / "out") as partial:
        assert partial == left and not any(partial.iterdir())
        refused(pggan("export", run, "--to", "keras", "--out", tmp_path / "out"), "another export writes there")
        assert partial.is_dir()
    assert pggan("export", run, "--to", "keras", "--out", tmp_path / "out")[0] == 0
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_exports_that_fail_leave_nothing_and_never_share_a_folder(tmp_path):
    """Not even while one ends and removes the lock that others wait for."""
    inside, done = [], []

    def reserve_often():
        while len(done) < 200:
            try:
                with build._reserve(tmp_path / "out") as partial:
                    inside.append(partial)
                    assert len(inside) == 1
                    (partial / "model").touch()
                    assert len(list(partial.iterdir())) == 1
                    inside.pop()
                    done.append(1)
                    raise UserError("it failed")
            except UserError:
                continue

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for job in [pool.submit(reserve_often) for _ in range(3)]:
            job.result()
    assert not any(tmp_path.iterdir())


def test_a_folder_s_name_may_be_anything(run, tmp_path):
    copy = tmp_path / os.fsdecode(b"caf\xe9-best")
    shutil.copytree(run, copy)
    assert source.open_source(copy).mark.run == "caf?-best"
    code, _, err = pggan("export", copy, "--out", tmp_path / "out")
    assert code == 0, err
    assert json.loads((tmp_path / "out" / "report.json").read_text())["source"] == "caf?-best"


@pytest.mark.slow
def test_int8_needs_photos_of_networks_that_take_them(tmp_path, monkeypatch, small_tiles):
    opened = source.Source("up", image_networks.built("upscale"), tmp_path / "generator.keras", "0")
    monkeypatch.setattr(source, "open_source", lambda path: opened)
    (tmp_path / "generator.keras").write_text("")
    arguments = (tmp_path / "generator.keras", "--out", tmp_path / "o", "--quantize", "int8")
    monkeypatch.setattr(build, "_check_installed", lambda formats: None)  # of --all, what other formats need
    told = "int8 measures .* the data of up are not here", "--representative"
    refused(pggan("export", *arguments), "--quantize int8: ", *told)
    refused(pggan("export", *arguments[:3], "--all"), "--all: ", *told)
    refused(pggan("export", *arguments, "--truncation", "0.5"), "--truncation 0.5: .* takes photos")
    (tmp_path / "photos").mkdir()
    for i in range(3):
        pixels.save(tmp_path / "photos" / f"{i}.png", portraits.draw(i, 64))
    code, out, err = pggan("export", *arguments, "--representative", tmp_path / "photos")
    assert code == 0 and "upscale_32" in out, err
    assert "Detail is invented" in (tmp_path / "o" / "MODEL_CARD.md").read_text()
