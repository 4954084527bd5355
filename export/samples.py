"""Samples of code for the model card that run an exported file in Kotlin, Swift and C++.

They call LiteRT's CompiledModel for a .tflite and Core ML for an .mlpackage. `interface` here is an
entry's description of its signatures in report.json, of which a sample calls the first.
"""

from __future__ import annotations

import math

LITERT = "2.3.0"  # release of LiteRT whose programming interface the samples follow


def make_samples(file: dict) -> list[tuple[str, list[str]]]:
    """Return samples for a file: pairs of a language, as Markdown names it, and lines of code.

    There are none for files of other kinds than .tflite and .mlpackage.

    file: the file's entry in report.json.
    """
    if file["file"].endswith(".mlpackage"):
        return [("swift", _write_core_ml(file))]
    if file["file"].endswith(".tflite"):
        return [("kotlin", _write_kotlin(file)), ("swift", _write_swift(file)), ("cpp", _write_cpp(file))]
    return []


def _describe_input(name: str, given: dict, side: int) -> tuple[int, str]:
    """Return (number of values, comment) of an input.

    Args:
        name: name of the input.
        given: its description.
        side: height and width in pixels for photos that may have any size.
    """
    shape = [n or side for n in given["shape"]]
    about = {
        "latents": "random numbers from N(0, 1)",
        "truncation": "0..1: below 1, less varied and more typical images",
        "label": "number of the class",
    }.get(name, f"pixels, {given['type']} 0..255, row by row as {shape}")
    return math.prod(shape), about


def _list_inputs(file: dict) -> tuple[str, list[tuple[str, str, int, str]], bool]:
    """Return (signature, inputs, whether the image's values are floats) of a file's first signature.

    An input is a tuple (name, type, number of values, comment).
    """
    name, signature = next(iter(file["interface"].items()))
    inputs = [(n, i["type"], *_describe_input(n, i, 64)) for n, i in signature["inputs"].items()]
    return name, inputs, signature["image"].endswith("-1..1")


def _write_kotlin(file: dict) -> list[str]:
    """Return lines of Kotlin for an Android app."""
    signature, inputs, floats = _list_inputs(file)
    lines = [
        f'// app/build.gradle.kts: implementation("com.google.ai.edge.litert:litert:{LITERT}"), for GPUs litert-gpu, too',
        f"// {file['file']} lies in app/src/main/assets",
        "import com.google.ai.edge.litert.Accelerator",
        "import com.google.ai.edge.litert.CompiledModel",
        "",
        f'val model = CompiledModel.create(assets, "{file["file"]}", CompiledModel.Options(Accelerator.GPU, Accelerator.CPU))',
        "val inputs = mapOf(",
        *(f'    "{n}" to model.createInputBuffer("{n}", "{signature}"),' for n, *_ in inputs),
        ")",
    ]
    for name, kind, count, about in inputs:
        value = {
            "latents": f"java.util.Random().let {{ r -> FloatArray({count}) {{ r.nextGaussian().toFloat() }} }}",
            "truncation": "floatArrayOf(1f)",
            "label": "intArrayOf(0)",
        }.get(name, f"{'FloatArray' if kind == 'float32' else 'ByteArray'}({count})")
        write = {"float32": "writeFloat", "int32": "writeInt"}.get(kind, "writeInt8")
        lines.append(f'inputs.getValue("{name}").{write}({value})   // {about}')
    read = "readFloat()   // -1..1" if floats else "readInt8()   // bytes: image[i].toInt() and 255 is 0..255"
    return [
        *lines,
        f'val image = model.createOutputBuffer("image", "{signature}").also {{ model.run(inputs, mapOf("image" to it), "{signature}") }}',
        f"    .{read}",
    ]


def _write_swift(file: dict) -> list[str]:
    """Return lines of Swift that call LiteRT in an app for iOS or macOS."""
    _, inputs, floats = _list_inputs(file)
    stem = file["file"].rpartition("/")[2].removesuffix(".tflite")
    lines = [
        f"// Package: https://github.com/google-ai-edge/LiteRT, branch release/{LITERT}; for the GPU LiteRtMetalAccelerator, too",
        "import Foundation",
        "import LiteRT",
        "",
        "let options = try Options()",
        "try options.setHardwareAccelerators([.gpu, .cpu])",
        f'let path = Bundle.main.path(forResource: "{stem}", ofType: "tflite")!',
        "let model = try CompiledModel(filePath: path, environment: try Environment(), options: options)",
        "let inputs = try model.createInputBuffers()   // of the first signature, in its order",
    ]
    for i, (name, kind, count, about) in enumerate(inputs):
        number = {"float32": "Float", "int32": "Int32"}.get(kind, "UInt8")
        value = {
            "latents": f"(0..<{count}).map {{ _ in gaussian() }}",
            "truncation": "[Float(1)]",
            "label": "[Int32(0)]",
        }
        lines.append(
            f"try inputs[{i}].write({value.get(name, f'[{number}](repeating: 0, count: {count})')})   // {name}: {about}"
        )
    values = ("Float", "-1..1") if floats else ("UInt8", "0..255")
    lines.append(f"let image: [{values[0]}] = try model.run(inputs: inputs)[0].read()   // {values[1]}")
    return [*lines, *_write_gaussian(inputs)]


def _write_core_ml(file: dict) -> list[str]:
    """Return lines of Swift that call Core ML in an app for iOS or macOS."""
    signature, inputs, floats = _list_inputs(file)
    shapes = {n: list(i["shape"]) for n, i in file["interface"][signature]["inputs"].items()}
    stem = file["file"].rpartition("/")[2].removesuffix(".mlpackage")
    lines = [
        f"// Add {file['file']} to a target of Xcode, which compiles it into the app.",
        "import CoreML",
        "import Foundation",
        "",
        "let configuration = MLModelConfiguration()",
        f'configuration.functionName = "{signature}"   // one of {", ".join(file["interface"])}',
        f'let url = Bundle.main.url(forResource: "{stem}", withExtension: "mlmodelc")!',
        "let model = try await MLModel.load(contentsOf: url, configuration: configuration)",
        "var inputs: [String: MLFeatureValue] = [:]",
    ]
    for name, kind, _, about in inputs:
        value = {"latents": "gaussian()", "truncation": "1", "label": "0"}.get(name, "0")
        number = "Int32" if kind == "int32" else "Float"
        lines += [
            f"let {name} = try MLMultiArray(shape: {shapes[name]}, dataType: .{number.lower()}{'32' if number == 'Float' else ''})   // {about}",
            f"for i in 0..<{name}.count {{ {name}[i] = NSNumber(value: {number}({value})) }}",
            f'inputs["{name}"] = MLFeatureValue(multiArray: {name})',
        ]
    return [
        *lines,
        "let outputs = try await model.prediction(from: try MLDictionaryFeatureProvider(dictionary: inputs))",
        'let image = outputs.featureValue(for: "image")!.multiArrayValue!',
        f"// image[[0, y, x, channel] as [NSNumber]].floatValue is {'-1..1' if floats else '0..255'}",
        *_write_gaussian(inputs),
    ]


def _write_gaussian(inputs) -> list[str]:
    """Return lines of Swift with a function that draws from N(0, 1), if an input needs it."""
    if inputs[0][0] != "latents":
        return []
    return [
        "",
        "func gaussian() -> Float {   // by Box and Muller",
        "    (-2 * log(Float.random(in: Float.leastNormalMagnitude..<1))).squareRoot() * cos(Float.random(in: 0..<(2 * .pi)))",
        "}",
    ]


def _write_cpp(file: dict) -> list[str]:
    """Return lines of C++ for any system that LiteRT runs on."""
    signature, inputs, floats = _list_inputs(file)
    pixel = "float" if floats else "uint8_t"
    lines = [
        "#include <random>",
        "#include <vector>",
        '#include "litert/cc/litert_compiled_model.h"',
        '#include "litert/cc/litert_environment.h"',
        '#include "litert/cc/litert_macros.h"',
        "",
        f"litert::Expected<std::vector<{pixel}>> MakeImage() {{",
        "  LITERT_ASSIGN_OR_RETURN(auto environment, litert::Environment::Create({}));",
        f'  LITERT_ASSIGN_OR_RETURN(auto model, litert::CompiledModel::Create(environment, "{file["file"]}", litert::HwAccelerators::kCpu));',
        f'  LITERT_ASSIGN_OR_RETURN(auto inputs, model.CreateInputBuffers("{signature}"));',
        f'  LITERT_ASSIGN_OR_RETURN(auto outputs, model.CreateOutputBuffers("{signature}"));',
    ]
    for i, (name, kind, count, about) in enumerate(inputs):
        number = {"float32": "float", "int32": "int32_t"}.get(kind, "uint8_t")
        start = f"({count})" if name != "truncation" else "{1.0f}"
        lines.append(f"  std::vector<{number}> {name}{start};   // {about}")
        if name == "latents":
            lines.append("  std::mt19937 random{std::random_device{}()};")
            lines.append("  for (float& z : latents) z = std::normal_distribution<float>()(random);")
        lines.append(
            f"  LITERT_RETURN_IF_ERROR(inputs[{i}].Write<{number}>(litert::Span<const {number}>({name}.data(), {name}.size())));"
        )
    return [
        *lines,
        f'  LITERT_RETURN_IF_ERROR(model.Run("{signature}", inputs, outputs));',
        "  LITERT_ASSIGN_OR_RETURN(size_t bytes, outputs[0].PackedSize());",
        f"  std::vector<{pixel}> image(bytes / sizeof({pixel}));   // {'-1..1' if floats else '0..255'}",
        f"  LITERT_RETURN_IF_ERROR(outputs[0].Read<{pixel}>(litert::Span<{pixel}>(image.data(), image.size())));",
        "  return image;",
        "}",
    ]
