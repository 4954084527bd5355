"""What a phone's GPU leaves to its CPU, by LiteRT's rules, and samples that call the files."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from export import command, gpu, litert, samples, signatures
from tests.test_export import grown


def convert(function, *specs):
    """Return the content of a .tflite file with one signature that computes a function."""

    class Module(tf.Module):
        run = staticmethod(tf.function(function, input_signature=list(specs)))

    module = Module()
    with litert.silence():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([module.run.get_concrete_function()], module)
        model = converter.convert()
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    parsed = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    if not parsed.signatureDefs:
        definition = schema.SignatureDefT()
        definition.signatureKey, definition.subgraphIndex = b"run", 0
        parsed.signatureDefs = [definition]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(parsed))


def find(function, *specs):
    (found,) = gpu.find_fallbacks(convert(function, *specs)).values()
    return found


PICTURE = tf.TensorSpec((1, 4, 4, 3))


@pytest.mark.parametrize(
    "function, specs, found",
    [
        (lambda x: tf.nn.relu(x) + tf.reduce_mean(x, axis=-1, keepdims=True), [PICTURE], {}),
        (tf.round, [PICTURE], {"ROUND": "not an operation of GPUs"}),
        (lambda x: tf.cast(x, tf.uint8), [PICTURE], {"CAST": "from float32 to uint8"}),
        (lambda x: tf.cast(x, tf.int32), [PICTURE], {}),
        (lambda x: x[..., 0], [PICTURE], {"STRIDED_SLICE": "with shrinkAxisMask"}),
        (lambda x: x[..., :1], [PICTURE], {}),
        (lambda i: tf.gather(np.float32([[1, 2], [3, 4]]), i), [tf.TensorSpec((1,), tf.int64)], {"GATHER": "float32 by int64 [1]"}),
        (lambda i: tf.gather(np.float32([[1, 2], [3, 4]]), i), [tf.TensorSpec((1,), tf.int32)], {}),
        (lambda a, b: a * b, [tf.TensorSpec((1, 4)), tf.TensorSpec((4, 1))], {"MUL": "of [1, 4] by [4, 1]"}),
        (tf.nn.relu, [tf.TensorSpec((1, None, None, 3))], {"all": "shapes that are not fixed"}),
    ],
)  # fmt: skip
def test_operations_are_judged_by_their_types_shapes_and_options(function, specs, found):
    assert find(function, *specs) == found


@pytest.mark.slow
@pytest.mark.parametrize("classes", [(), ("cat", "dog")])
def test_a_generator_leaves_nothing_over_but_its_bytes(classes):
    network = grown(conv="separable", classes=classes)
    offered = signatures.network_signatures(network)[-2:]
    left = gpu.find_fallbacks(litert.convert(network, offered))
    assert {name: {*reasons} for name, reasons in left.items()} == {s.name: {"ROUND", "CAST"} for s in offered}
    model = litert.convert(network, offered, "float32")
    assert gpu.find_fallbacks(model) == {s.name: {} for s in offered}
    # The last stage comes first, and inputs in their own order, also to callers that count instead of naming them.
    from ai_edge_litert.compiled_model import CompiledModel

    compiled = CompiledModel.from_buffer(model)
    assert [compiled.get_signature_by_index(i)["key"] for i in range(2)] == [s.name for s in offered]
    assert compiled.get_signature_list()[offered[0].name]["inputs"] == list(offered[0].inputs)


def test_what_falls_back_is_told():
    file = {
        "file": "a.tflite",
        "gpu": {
            "falls_back": {
                "x_8": {"CAST": "y", "ROUND": "z"},
                "x_4": {"CAST": "y", "ROUND": "z"},
                "x": {"all": "w"},
                "n": {},
            }
        },
    }
    assert command._tell_fallbacks(file) == "a.tflite on a phone's GPU leaves to the CPU x_8, x_4: CAST, ROUND; x: all"


LATENTS = {
    "latents": {"shape": [1, 8], "type": "float32", "about": ""},
    "truncation": {"shape": [1], "type": "float32", "about": ""},
}
GRAY = {"gray": {"shape": [1, 16, 16, 1], "type": "uint8", "about": ""}}


def entry(name, inputs, image):
    return {
        "file": name,
        "interface": {"first": {"inputs": inputs, "image": image}, "second": {"inputs": {}, "image": image}},
    }


@pytest.mark.parametrize("inputs, image", [(LATENTS, "8x8 image, float32 -1..1"), (GRAY, "RGB, uint8 0..255")])
def test_samples_name_the_file_its_first_signature_and_every_input(inputs, image):
    made = dict(samples.make_samples(entry("generator.tflite", inputs, image)))
    assert list(made) == ["kotlin", "swift", "cpp"]
    for language, lines in made.items():
        text = "\n".join(lines)
        assert "numpy" not in text.lower() and "second" not in text
        for opening, closing in ("()", "{}", "[]"):
            assert text.count(opening) == text.count(closing), language
        for name in inputs:
            assert name in text
        assert ("-1..1" if "float32" in image else "0..255") in text
    assert '"generator.tflite"' in "\n".join(made["kotlin"]) and 'forResource: "generator"' in "\n".join(made["swift"])
    count = "(8)" if "latents" in inputs else "(256)"
    assert f"FloatArray{count}" in "\n".join(made["kotlin"]) or f"ByteArray{count}" in "\n".join(made["kotlin"])
    (core_ml,) = samples.make_samples(entry("generator.mlpackage", inputs, image))
    assert core_ml[0] == "swift" and 'functionName = "first"   // one of first, second' in "\n".join(core_ml[1])
    assert samples.make_samples(entry("generator.onnx", inputs, image)) == []


STUB = """
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>
namespace litert {
template <typename T> struct Span { Span(T*, std::size_t) {} };
template <typename T> struct Expected {
  T value; Expected(T v) : value(v) {} bool operator!() const { return false; } };
template <> struct Expected<void> { bool operator!() const { return false; } };
enum class HwAccelerators { kCpu };
struct Environment { static Expected<Environment> Create(std::vector<int>) { return Environment(); } };
struct TensorBuffer {
  template <typename T> Expected<void> Write(Span<const T>) { return {}; }
  template <typename T> Expected<void> Read(Span<T>) { return {}; }
  Expected<std::size_t> PackedSize() const { return std::size_t(4); }
};
struct CompiledModel {
  static Expected<CompiledModel> Create(Environment&, const std::string&, HwAccelerators) { return CompiledModel(); }
  Expected<std::vector<TensorBuffer>> CreateInputBuffers(const char*) const { return std::vector<TensorBuffer>(2); }
  Expected<std::vector<TensorBuffer>> CreateOutputBuffers(const char*) const { return std::vector<TensorBuffer>(1); }
  Expected<void> Run(const char*, const std::vector<TensorBuffer>&, const std::vector<TensorBuffer>&) const { return {}; }
};
}
#define LITERT_JOIN2(a, b) a##b
#define LITERT_JOIN(a, b) LITERT_JOIN2(a, b)
#define LITERT_ASSIGN_OR_RETURN(left, right) auto LITERT_JOIN(e, __LINE__) = right; left = LITERT_JOIN(e, __LINE__).value
#define LITERT_RETURN_IF_ERROR(x) (void)(x)
"""


@pytest.mark.skipif(not shutil.which("c++"), reason="there is no C++ compiler")
@pytest.mark.parametrize("inputs, image", [(LATENTS, "8x8 image, float32 -1..1"), (GRAY, "RGB, uint8 0..255")])
def test_the_sample_in_cpp_compiles_with_stubs_of_litert(inputs, image, tmp_path):
    """With declarations as LiteRT's headers have them; LiteRT itself is not here."""
    headers = tmp_path / "litert" / "cc"
    headers.mkdir(parents=True)
    for name in ("litert_compiled_model.h", "litert_environment.h", "litert_macros.h"):
        (headers / name).write_text('#include "stub.h"\n')
    (headers / "stub.h").write_text(STUB)
    lines = dict(samples.make_samples(entry("generator.tflite", inputs, image)))["cpp"]
    (tmp_path / "sample.cc").write_text("\n".join(lines))
    done = subprocess.run(["c++", "-std=c++20", "-fsyntax-only", "-Wall", "-Werror", "-I", tmp_path, tmp_path / "sample.cc"], capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_rules_are_told_in_the_report(tmp_path):
    from tests.conftest import pggan

    network = grown(conv="separable")
    network.save(tmp_path / "a.keras")
    code, said, err = pggan("export", tmp_path / "a.keras", "--output", "float32", "--out", tmp_path / "out")
    assert code == 0 and "leaves to the CPU" not in said, err
    (file,) = json.loads((tmp_path / "out" / "report.json").read_text())["files"]
    assert file["gpu"]["rules"] == gpu.SOURCE and not any(file["gpu"]["falls_back"].values())
    text = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "takes every operation of every signature" in text and "No phone ran it." in text
    assert re.findall(r"```(\w+)", text) == ["python", "kotlin", "swift", "cpp"]
