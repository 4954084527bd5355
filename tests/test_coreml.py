"""An .mlpackage does what the network does, by an interpreter whose operations are held against NumPy and TensorFlow."""

import json

import numpy as np
import pytest
import tensorflow as tf

from export import card, coreml, mil, parity, signatures, source
from pggan_tf.errors import UserError
from pggan_tf.networks import unet
from pggan_tf.tasks import upscale
from tests import image_networks
from tests.conftest import pggan
from tests.test_export import calm, grown

INPUTS = range(16, 18)
OPERATION = mil.OPERATIONS


@pytest.fixture
def converters():
    """Skip without coremltools."""
    pytest.importorskip("coremltools", reason="coremltools is not installed (extra coreml)")


def hinted():
    """A colorizer that takes hints, with random weights."""
    tf.keras.utils.set_random_seed(1)
    network = unet.Generator((8,), 2, 4, "colorize", width=8, fmap_max=16, generator_norm="batch", dropout=0.0)
    network.build()
    return network


def to_channels_first(x):
    return np.moveaxis(x, -1, 1)


@pytest.mark.parametrize("size, kernel, stride", [(8, 3, 1), (7, 3, 2), (8, 4, 2), (5, 1, 1)])
def test_convolutions_are_tensorflow_s(size, kernel, stride):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, size, size, 4)).astype(np.float32)
    w = rng.standard_normal((kernel, kernel, 4, 6)).astype(np.float32)
    known = tf.nn.conv2d(x, w, stride, "SAME").numpy()
    made = OPERATION["conv"](
        to_channels_first(x), w.transpose(3, 2, 0, 1), "same", strides=np.array([stride] * 2), bias=np.arange(6)
    )
    np.testing.assert_allclose(made, to_channels_first(known + np.arange(6)), atol=1e-5)
    known = tf.nn.depthwise_conv2d(x, w[..., :1], [1, stride, stride, 1], "SAME").numpy()
    own = w[..., :1].transpose(2, 3, 0, 1)
    made = OPERATION["conv"](to_channels_first(x), own, "same", strides=np.array([stride] * 2), groups=np.int32(4))
    np.testing.assert_allclose(made, to_channels_first(known), atol=1e-5)


@pytest.mark.parametrize("size, kernel", [(4, 4), (3, 2), (1, 4), (4, 3)])
def test_transposed_convolutions_are_tensorflow_s(size, kernel):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, size, size, 4)).astype(np.float32)
    w = rng.standard_normal((kernel, kernel, 6, 4)).astype(np.float32)  # as TensorFlow has it: [kh, kw, out, in]
    known = tf.nn.conv2d_transpose(x, w, (1, 2 * size, 2 * size, 6), 2, "SAME").numpy()
    made = OPERATION["conv_transpose"](to_channels_first(x), w.transpose(3, 2, 0, 1), "same", strides=np.array([2, 2]))
    np.testing.assert_allclose(made, to_channels_first(known), atol=1e-5)


def test_images_are_enlarged_as_tensorflow_does():
    x = np.random.default_rng(0).standard_normal((1, 3, 5, 8)).astype(np.float32)
    first = to_channels_first(x)
    for method, name, given in (
        ("nearest", "resize_nearest_neighbor", {"target_size_height": 6, "target_size_width": 10}),
        ("bilinear", "upsample_bilinear", {"scale_factor_height": 2, "scale_factor_width": 2, "align_corners": False}),
    ):
        made = OPERATION[name](first, **given)
        np.testing.assert_allclose(made, to_channels_first(tf.image.resize(x, (6, 10), method)), atol=1e-5)
    made = OPERATION["depth_to_space"](first, 2)
    np.testing.assert_array_equal(made, to_channels_first(tf.nn.depth_to_space(x, 2)))
    with pytest.raises(UserError, match="by a fraction .*Nothing was written"):
        OPERATION["resize_nearest_neighbor"](first, 7, 10)
    with pytest.raises(UserError, match="without half-pixel centers"):
        OPERATION["upsample_bilinear"](first, 2, 2)


def test_small_operations_give_known_values():
    x = np.float32([[-2, 0], [1, 3]])
    assert OPERATION["leaky_relu"](x, 0.5).tolist() == [[-1, 0], [1, 3]]
    assert OPERATION["rsqrt"](np.float32([4, 0.25])).tolist() == [0.5, 2]
    assert OPERATION["reduce_mean"](x, np.array([1]), True).tolist() == [[-1], [2]]
    assert OPERATION["slice_by_index"](
        x, [1, 0], [0, 1], None, [False, True], [False, False], [True, False]
    ).tolist() == [1]
    assert OPERATION["slice_by_index"](x, [0, 1], [1, 2]).tolist() == [[0]]
    assert OPERATION["one_hot"](np.array([1]), 3, on_value=2.0).tolist() == [[0, 2, 0]]
    assert OPERATION["gather"](x, np.array([1])).tolist() == [[1, 3]]
    assert OPERATION["sigmoid"](np.float32([0, 100])).tolist() == [0.5, 1]
    assert OPERATION["prelu"](x[None, :, None], np.float32([0.5, 2]))[0, :, 0].tolist() == [[-1, 0], [1, 3]]


@pytest.fixture
def small(monkeypatch):
    """Few examples, and upscalers for small photos."""
    monkeypatch.setattr(parity, "INPUTS", INPUTS)
    monkeypatch.setattr(upscale, "ENLARGED", 32)


KINDS = {
    "separable": lambda: calm(grown(conv="separable")),
    "classes": lambda: calm(grown(classes=("cat", "dog"))),
    "hints": hinted,
    "upscale": lambda: image_networks.built("upscale"),
}
OFTEN = ("hints", "upscale")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [k if k in OFTEN else pytest.param(k, marks=pytest.mark.slow) for k in KINDS])
def test_a_package_gives_the_network_s_images(kind, tmp_path, converters, small):
    network = KINDS[kind]()
    offered = signatures.network_signatures(network, dynamic=False, pixels="float32")
    coreml.convert(offered, "uint8", tmp_path / "a.mlpackage", {"license": "cc0-1.0", "pggan-tf.task": "x"})
    run = coreml.Runner(tmp_path / "a.mlpackage", "uint8")
    assert {*run._program.functions} == {s.name for s in offered}
    drawn = source.draw_portraits(32)
    rows = parity.compare(offered, run, drawn, "uint8", timed=False)
    parity.require(rows, 45, kind)
    assert all(r.ms is None for r in rows)
    exact = mil.Program(tmp_path / "a.mlpackage", np.float32)  # float16 weights, float32 between them
    for s in offered:
        inputs = s.example(3, drawn[0] if s.photo is None else drawn[0][: s.photo, : s.photo])
        truth = signatures.convert_output(s.function(**inputs), "uint8").numpy().astype(int)
        assert np.abs(exact(s.name, inputs)["image"] - truth).mean() < 0.1


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An exported folder with a package, of a generator of 4 and 8 px."""
    pytest.importorskip("coremltools", reason="coremltools is not installed (extra coreml)")
    from pggan_tf.networks import progressive

    folder = tmp_path_factory.mktemp("exported")
    tf.keras.utils.set_random_seed(1)
    network = progressive.Generator(
        (4, 8),
        channels=3,
        fmap_base=64,
        fmap_max=12,
        latent_size=8,
        conv="separable",
        upsampling="bilinear",
        modulation="latents",
    )
    network.build()
    network.save(folder / "face.keras")
    code, said, err = pggan(
        "export", folder / "face.keras", "--to", "coreml", "--licence", "cc0-1.0", "--out", folder / "out"
    )
    assert code == 0 and err == "", err
    assert "generator.mlpackage" in said and "gen_8" in said
    return folder / "out"


def test_a_package_has_a_function_for_every_stage_and_says_what_it_is(exported):
    description = mil.Program(exported / coreml.NAME).description
    assert [f.name for f in description.functions] and description.defaultFunctionName == "gen_8"
    assert {f.name for f in description.functions} == {"gen_8", "gen_4"}
    metadata = description.metadata
    assert metadata.license == "cc0-1.0" and metadata.userDefined["pggan-tf.task"] == "generate"
    (function,) = (f for f in description.functions if f.name == "gen_8")
    assert [(i.name, list(i.type.multiArrayType.shape)) for i in function.input] == [
        ("latents", [1, 8]),
        ("truncation", [1]),
    ]
    assert "less varied" in function.input[1].shortDescription
    assert function.output[0].name == "image" and list(function.output[0].type.multiArrayType.shape) == [1, 8, 8, 3]


def test_a_package_s_report_and_card_say_how_it_was_checked(exported):
    (file,) = json.loads((exported / "report.json").read_text())["files"]
    assert file["file"] == "generator.mlpackage" and file["quantize"] == "float16"
    assert [row["signature"] for row in file["signatures"]] == ["gen_8", "gen_4"]
    assert all((row["psnr"] is None or row["psnr"] > 45) and row["ms"] is None for row in file["signatures"])
    assert file["interface"]["gen_8"]["image"] == "8x8 image, float32, whole numbers 0..255"
    text = (exported / "MODEL_CARD.md").read_text()
    assert "Core ML itself did not run it" in text and coreml.SYSTEM in text and "- coreml\n" in text
    assert "```swift" in text and 'functionName = "gen_8"   // one of gen_8, gen_4' in text and "```python" not in text


def test_weights_are_shared_by_stages(exported):
    weights = (exported / coreml.NAME).rglob("weight.bin")
    assert sum(p.stat().st_size for p in weights) < 2 * 2 * 3000  # twice the parameters in float16


def test_an_operation_that_is_not_known_is_refused(exported, monkeypatch):
    monkeypatch.setattr(mil, "OPERATIONS", {k: v for k, v in mil.OPERATIONS.items() if k != "rsqrt"})
    with pytest.raises(UserError, match="operation rsqrt of Core ML .*Nothing was written"):
        mil.Program(exported / coreml.NAME)


def test_an_option_that_is_not_known_is_refused(exported, monkeypatch):
    program = mil.Program(exported / coreml.NAME)
    monkeypatch.setitem(mil.OPERATIONS, "rsqrt", lambda x: x)
    inputs = {"latents": np.ones((1, 8), np.float32), "truncation": np.ones(1, np.float32)}
    with pytest.raises(UserError, match=r"gen_4: the operation rsqrt with these options \(.*epsilon"):
        program("gen_4", inputs)


def test_a_wrong_weight_is_noticed(exported):
    """What the comparison is for."""
    program = mil.Program(exported / coreml.NAME)
    offered = [s for s in signatures.network_signatures(source.open_source(exported.parent / "face.keras").network)]
    constants, operations, outputs = program.functions["gen_8"]
    # Another scale would be normalised away, so the largest weight is given in reverse.
    name = max(constants, key=lambda n: getattr(constants[n], "size", 0))
    program.functions["gen_8"] = {**constants, name: constants[name][::-1]}, operations, outputs

    def run(name, inputs):
        return program(name, inputs)["image"].astype(np.uint8)

    rows = parity.compare(offered[:1], run, timed=False, examples=2)
    with pytest.raises(UserError, match="gen_8 differs from Keras"):
        parity.require(rows, 45, coreml.NAME)
    with pytest.raises(UserError, match="Nothing was written. Take another format"):
        parity.require(rows, 45, coreml.NAME, coreml.ADVICE)


def test_a_missing_package_is_told(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'coremltools is not installed. Type: pip install "pggan-tf\[coreml\]"'):
        coreml.check_installed()


def test_times_of_an_interpreter_are_not_told():
    row = {"signature": "gen_8", "max_difference": 1, "psnr": 60.0, "ms": None}
    assert card._make_row({"file": "a.mlpackage", "bytes": 10, "signatures": [row]}).endswith("| 60.0 dB |  |")
