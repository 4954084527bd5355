"""What `pggan export` wrote is opened again: by every verb, by Keras, by ONNX's own reference, by runtimes that name no function."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from export import litert, parity, signatures, source
from pggan_tf.data import colour, portraits
from pggan_tf.tasks import recolor, upscale
from tests import image_networks
from tests.conftest import pggan
from tests.test_export import calm, grown, refused

KINDS = ("generate", *image_networks.NETWORKS)
_LARGE = ("colorize", "translate")  # U-Nets, whose export takes long
SOME_KINDS = [pytest.param(kind, marks=pytest.mark.slow) if kind in _LARGE else kind for kind in KINDS]
CHANGES = {"colorize": "colorize", "recolor": "colorize", "upscale": "upscale", "translate": "translate"}
FORMATS = ("keras", "tflite", "onnx")
RUN = {"recipe": "pggan", "data": "faces", "target_res": 32}  # what an exported folder tells of its run


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """kind -> an exported folder."""
    for package in ("tf2onnx", "onnxruntime", "ai_edge_litert"):
        pytest.importorskip(package)
    folder, made = tmp_path_factory.mktemp("exported"), {}

    def export(kind):
        if kind not in made:
            network = calm(grown(classes=("cat", "dog"))) if kind == "generate" else image_networks.built(kind)
            network.save(folder / f"{kind}.keras")
            out = folder / kind
            formats = [word for name in FORMATS for word in ("--to", name)]
            with pytest.MonkeyPatch.context() as patch:  # small ones
                patch.setattr(upscale, "ENLARGED", 64)
                patch.setattr(recolor, "TILE", 32)
                patch.setattr(parity, "INPUTS", range(16, 18))
                code, _, err = pggan("export", folder / f"{kind}.keras", *formats, "--licence", "cc0-1.0", "--out", out)
            assert code == 0 and err == "", err
            (out / source.RUN).write_text(json.dumps(RUN))
        return made.setdefault(kind, folder / kind)

    return export


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(portraits.draw(3, 32)).save(path)
    return path


def weights(network):
    return [np.asarray(v) for v in network.weights]


@pytest.mark.parametrize("kind", SOME_KINDS)
def test_keras_opens_the_folder_and_the_file(exported, kind):
    """A folder as Keras's hf:// loader and model hubs have it: the members of the .keras file, as files."""
    out = exported(kind)
    with zipfile.ZipFile(out / "generator.keras") as archive:
        assert set(archive.namelist()) <= {"config.json", "metadata.json", "model.weights.h5", "assets/"}
    truth = grown(classes=("cat", "dog")) if kind == "generate" else image_networks.built(kind)
    truth = weights(calm(truth) if kind == "generate" else truth)
    for path in (out, out / "generator.keras"):
        network = keras.saving.load_model(path)
        assert network.task == kind
        for a, b in zip(truth, weights(network), strict=True):
            np.testing.assert_array_equal(a, b)


def succeeds(*arguments):
    code, out, err = pggan(*arguments)
    assert code == 0, err
    return out


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOME_KINDS)
def test_every_verb_opens_it_or_says_why_not(exported, kind, photo, tmp_path):
    out = exported(kind)
    picture = tmp_path / "made.png"
    if kind == "generate":
        succeeds("generate", out, "--count", "2", "--grid", picture)
        succeeds("grid", out, "--stages", "--seeds", "0-1", "--out", picture)
        succeeds("interpolate", out, "--video", tmp_path / "v.gif", "--seconds", "0.2", "--fps", "5")
        succeeds("evaluate", out, out, "--images", "4", "--metrics", "swd")
        succeeds("project", out, photo, "--out", tmp_path / "projected", "--steps", "2")
        refused(pggan("upscale", out, photo, "--out", picture), "trained to generate, not to upscale")
    else:
        succeeds(CHANGES[kind], out, photo, "--out", picture)
        scale = 2 if kind == "upscale" else 1
        with Image.open(picture) as made:
            assert made.size == (32 * scale,) * 2
        for verb in ("generate", "grid", "interpolate", "project"):
            more = {
                "generate": ("--grid", picture),
                "project": (photo,),
                "interpolate": ("--video", tmp_path / "v.gif"),
            }
            refused(pggan(verb, out, *more.get(verb, ("--stages",))), f"was trained to {kind}", "Give it photos")
        refused(pggan("evaluate", out, out, "--metrics", "swd"), rf"makes images of images \({kind}\)")
    for verb, *more in (("report",), ("neighbours",), ("compare", tmp_path), ("train", "--init-from")):
        arguments = (verb, *more, out) if verb == "train" else (verb, out, *more)
        refused(pggan(*arguments), f"{out}: holds an exported network and nothing of its training. Give the folder")
    refused(pggan("train", "--resume", out), "holds an exported network")
    refused(pggan("train", "--config", out / "config.json", "--dry-run"), "describes a network to Keras", "run.json")
    refused(pggan("train", "--config", out / "run.json", "--dry-run"), "faces: no such file or folder")


@pytest.mark.parametrize("kind", SOME_KINDS)
def test_it_is_exported_again_and_served(exported, kind, photo, tmp_path):
    fastapi = pytest.importorskip("fastapi.testclient")
    from export import api
    from pggan_tf.errors import UserError

    out = exported(kind)
    again = tmp_path / "again"
    succeeds("export", out, "--to", "keras", "--out", again)
    for name in ("generator.keras", "model.weights.h5", "config.json"):
        assert (again / name).read_bytes() == (out / name).read_bytes()
    assert json.loads((again / "run.json").read_text()) == RUN
    first, second = (json.loads((folder / "report.json").read_text()) for folder in (out, again))
    assert (
        {**first, "files": 0} == {**second, "files": 0} and second["licence"] == "cc0-1.0" and second["source"] == kind
    )
    assert "images seen" not in (again / "MODEL_CARD.md").read_text()
    if kind == "translate":
        with pytest.raises(UserError, match="was trained to translate; serve offers"):
            api.serve(str(out), "127.0.0.1", 0, api.Limits(), print)
        return
    asked = fastapi.TestClient(api.make_application(source.open_source(out), api.Limits()))
    answer = (
        asked.get("/generate") if kind == "generate" else asked.post(f"/{CHANGES[kind]}", content=photo.read_bytes())
    )
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"


def given(kind, height, width):
    """Inputs of a network's function for one picture, and what Keras makes of them."""
    if kind == "generate":
        offered = signatures.network_signatures(calm(grown(classes=("cat", "dog"))))
        return offered[0], offered[0].example(3, None)
    (fixed, free) = signatures.network_signatures(image_networks.built(kind))
    image = portraits.draw(2, 64)[:height, :width]
    (name,) = free.inputs
    return free, {name: (np.rint(colour.to_gray(image)).astype(np.uint8) if name == "gray" else image)[None]}


@pytest.mark.parametrize("kind", SOME_KINDS)
def test_the_reference_of_onnx_runs_it_and_the_runtime_does_not_warn(exported, kind, capfd):
    onnxruntime = pytest.importorskip("onnxruntime")
    import onnx.reference

    model = onnx.load(exported(kind) / "generator.onnx")
    onnx.checker.check_model(model, full_check=True)
    signature, inputs = given(kind, 48, 32)
    truth = signatures.convert_output(signature.function(**inputs), "uint8").numpy().astype(int)
    reference = onnx.reference.ReferenceEvaluator(model).run(None, inputs)[0]
    capfd.readouterr()
    session = onnxruntime.InferenceSession(exported(kind) / "generator.onnx", providers=["CPUExecutionProvider"])
    made = session.run(None, inputs)[0]
    assert capfd.readouterr() == ("", "")
    for image in (reference, made):
        assert image.shape == truth.shape and np.abs(image - truth).max() <= 1
    first = [output.name for output in session.get_outputs()]
    assert first == (["gen_48", "gen_16", "gen_8", "gen_4"] if kind == "generate" else [kind])


@pytest.mark.parametrize("kind", SOME_KINDS)
def test_an_onnx_file_takes_several_images_at_once(exported, kind):
    """Three together are the same as each alone, and what Keras makes of them."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(exported(kind) / "generator.onnx", providers=["CPUExecutionProvider"])
    signature, first = given(kind, 48, 32)
    turned = [{n: np.ascontiguousarray(v[:, ::-1]) if v.ndim == 4 else v for n, v in first.items()}]
    each = [signature.example(i, None) for i in range(3)] if kind == "generate" else [first, *turned, first]
    each = [{**one, **{n: np.full(1, 0.7, np.float32) for n in one if n == "truncation"}} for one in each]
    together = {n: each[0][n] if n == "truncation" else np.concatenate([one[n] for one in each]) for n in each[0]}
    axes = {value.name: value.shape[0] for value in (*session.get_inputs(), *session.get_outputs())}
    assert axes == {name: 1 if name == "truncation" else "N" for name in axes}
    made = session.run(None, together)[0]
    assert len(made) == 3 and not np.array_equal(made[0], made[1])
    card = (exported(kind) / "MODEL_CARD.md").read_text()
    apart = "; truncation is one number for all" if kind == "generate" else ""
    assert card.count(f"# Several images at once: a first axis longer than 1{apart}.") == 1
    for image, one in zip(made, each):
        truth = signatures.convert_output(signature.function(**one), "uint8").numpy().astype(int)
        assert np.abs(session.run(None, one)[0].astype(int) - image).max() <= 1
        assert np.abs(truth - image).max() <= 1


def test_stages_of_an_onnx_file_share_their_weights(exported):
    """Sizes of the convolutions' kernels: each is there once."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported("generate") / "generator.onnx")
    held = [c.raw_data for c in model.graph.initializer if len(c.dims) >= 2]
    assert len(held) == len(set(held))
    parameters = calm(grown(classes=("cat", "dog"))).count_params()
    assert sum(map(len, held)) < 4 * 1.25 * parameters


@pytest.mark.parametrize("kind", SOME_KINDS)
def test_a_runtime_that_names_no_function_gets_the_last_stage(exported, kind):
    """Of networks that take photos, the one of a fixed size."""
    from ai_edge_litert.interpreter import Interpreter

    network = calm(grown(classes=("cat", "dog"))) if kind == "generate" else image_networks.built(kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upscale, "ENLARGED", 64)
        patch.setattr(recolor, "TILE", 32)
        offered = signatures.network_signatures(network)
    inputs = litert.make_examples(offered[0], [5], source.draw_portraits(64))[0]
    truth = signatures.convert_output(offered[0].function(**inputs), "uint8").numpy().astype(int)
    plain = (exported(kind) / "generator.tflite").read_bytes()
    for model, apart in ((plain, 1), (litert.quantize(plain, offered, "dynamic"), 16)):
        runtime = Interpreter(model_content=model)
        runtime.allocate_tensors()
        for detail, value in zip(runtime.get_input_details(), inputs.values(), strict=True):
            runtime.set_tensor(detail["index"], value)
        runtime.invoke()
        (detail,) = runtime.get_output_details()
        made = runtime.get_tensor(detail["index"])
        assert made.shape == truth.shape and np.abs(made - truth).mean() <= apart
    report = json.loads((exported(kind) / "report.json").read_text())
    first = [next(iter(f["interface"])) for f in report["files"] if f["interface"]]
    assert first == [offered[0].name, "gen_48" if kind == "generate" else kind]


def test_a_saved_model_s_default_is_its_last_stage(tmp_path):
    """In the folder of a version, as TensorFlow Serving asks for."""
    import tensorflow as tf

    grown().save(tmp_path / "generator.keras")
    succeeds("export", tmp_path / "generator.keras", "--to", "savedmodel", "--out", tmp_path / "out")
    loaded = tf.saved_model.load(str(tmp_path / "out" / "saved_model" / "1"))
    default = loaded.signatures["serving_default"]
    assert default.structured_outputs["image"].shape == (1, 48, 48, 3)
    assert [p.name for p in (tmp_path / "out" / "saved_model").iterdir()] == ["1"]
    (file,) = json.loads((tmp_path / "out" / "report.json").read_text())["files"]
    assert [row["signature"] for row in file["signatures"]] == ["gen_48", "gen_16", "gen_8", "gen_4"]


def test_folders_of_older_versions_are_read(exported, tmp_path):
    """Their config.json is the run's, and only generator.keras is of Keras."""
    old = tmp_path / "old"
    old.mkdir()
    for name in ("generator.keras", "MODEL_CARD.md", "report.json"):
        shutil.copy(exported("upscale") / name, old)
    (old / "config.json").write_text(json.dumps(RUN))
    succeeds("export", old, "--to", "keras", "--out", tmp_path / "new")
    assert json.loads((tmp_path / "new" / "run.json").read_text()) == RUN
    assert keras.saving.load_model(tmp_path / "new").task == "upscale"
    refused(pggan("report", old), "holds an exported network")


def test_a_folder_that_keras_wrote_is_enough(exported, tmp_path):
    """As a hub gives it back, without a generator.keras."""
    network = keras.saving.load_model(exported("generate"))
    keras.saving.save_model(network, tmp_path / "hub", zipped=False)
    succeeds("generate", tmp_path / "hub", "--count", "1", "--npz", tmp_path / "a.npz")
    succeeds("generate", exported("generate"), "--count", "1", "--npz", tmp_path / "b.npz")
    a, b = (np.load(tmp_path / name)["images"] for name in ("a.npz", "b.npz"))
    np.testing.assert_array_equal(a, b)
    succeeds("export", tmp_path / "hub", "--to", "keras", "--out", tmp_path / "again")
    assert keras.saving.load_model(tmp_path / "again" / "generator.keras").task == "generate"


def test_a_folder_without_a_network_for_keras_is_told(exported, photo, tmp_path):
    out = tmp_path / "phone"
    out.mkdir()
    for name in ("generator.tflite", "MODEL_CARD.md", "report.json", "run.json"):
        shutil.copy(exported("generate") / name, out)
    Image.fromarray(portraits.draw(3, 32)).save(out / "samples.png")
    picture = tmp_path / "made.png"
    for arguments in (
        ("generate", out, "--grid", picture),
        ("upscale", out, photo, "--out", picture),
        ("evaluate", out, photo.parent, "--metrics", "swd"),
        ("export", out, "--out", tmp_path / "again"),
        ("serve", out, "--port", "0"),
    ):
        refused(pggan(*arguments), f"{out}: exported without generator.keras", "--to keras")


def broken(folder):
    """Name -> a file or folder that is no generator of ours."""
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    plain.save(folder / "foreign.keras")
    keras.saving.save_model(plain, folder / "foreign", zipped=False)
    whole = (folder / "foreign.keras").read_bytes()
    (folder / "cut.keras").write_bytes(whole[: len(whole) // 2])
    (folder / "text.keras").write_text("my network")
    (folder / "empty.keras").touch()
    with zipfile.ZipFile(folder / "zip.keras", "w") as archive:
        archive.writestr("config.json", b"{]")
    (folder / "network.h5").write_bytes(whole)
    (folder / "nothing").mkdir()
    another = r"another kind \(Sequential\). Expected a generator"
    unreadable = "not a .keras file: expected the zip archive"
    return {
        "foreign.keras": another,
        "foreign": another,
        "cut.keras": unreadable,
        "text.keras": unreadable,
        "empty.keras": unreadable,
        "zip.keras": "not a generator that can be loaded",
        "network.h5": "not a .keras file. Expected",
        "nothing": "no generator.keras",
        "none.keras": "no such file",
    }


def test_files_of_others_are_refused_by_every_verb_in_a_line(tmp_path, photo):
    for name, words in broken(tmp_path).items():
        path, out = tmp_path / name, tmp_path / "out.png"
        for arguments in (
            ("generate", path, "--grid", out),
            ("grid", path, "--stages", "--out", out),
            ("interpolate", path, "--video", tmp_path / "v.gif"),
            ("project", path, photo, "--out", tmp_path / "projected"),
            ("colorize", path, photo, "--out", out),
            ("upscale", path, photo, "--out", out),
            ("translate", path, photo, "--out", out),
            ("export", path, "--out", tmp_path / "exported"),
        ):
            refused(pggan(*arguments), words)
        if name.endswith(".keras"):
            refused(pggan("evaluate", path, photo.parent, "--metrics", "swd"), words)
        if path.exists():
            refused(pggan("serve", path, "--port", "0"), words)
        for arguments in (
            ("report", path),
            ("compare", path, tmp_path),
            ("neighbours", path),
            ("train", "--resume", path),
        ):
            refused(pggan(*arguments), "not a run's folder|no such folder|holds an exported network")


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_network_s_file_is_not_run(tmp_path, zipped):
    """A Lambda layer brings a function along; loading it would let the file do anything."""
    touched = str(tmp_path / "touched")
    network = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: [x, os.mkdir(touched)][0], (3,))])
    path = tmp_path / ("generator.keras" if zipped else "folder")
    keras.saving.save_model(network, path, zipped=zipped)
    if Path(touched).is_dir():
        os.rmdir(touched)
    refused(
        pggan("generate", path, "--grid", tmp_path / "a.png"), "not a generator that can be loaded .*`Lambda` layer"
    )
    assert not Path(touched).exists()


@pytest.mark.slow
def test_int8_says_what_dynamic_would_give(exported, tmp_path):
    code, out, err = pggan("export", exported("generate"), "--quantize", "int8", "--out", tmp_path / "o")
    assert code == 0, err
    (file,) = json.loads((tmp_path / "o" / "report.json").read_text())["files"]
    other = file["dynamic"]
    assert other["signature"] == "gen_48" and other["bytes"] > 0 and other["psnr"] > file["signatures"][0]["psnr"]
    sizes = [
        f"{n / 1e6:.2f} MB, {p:.1f} dB"
        for n, p in ((file["bytes"], file["signatures"][0]["psnr"]), (other["bytes"], other["psnr"]))
    ]
    assert all(size in out for size in sizes) and "gen_48 by --quantize int8" in out
    assert not (tmp_path / "o" / "generator-dynamic.tflite").exists()
