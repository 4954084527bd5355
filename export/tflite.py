"""A network as one .tflite file: every signature in it, the weights once.

python -m export.tflite RUN                       # the same as pggan export RUN --to tflite
"""

from __future__ import annotations

if __name__ == "__main__":  # before what is imported below, so that Ctrl-C is answered from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("export.command:command"))

import contextlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from export.signatures import Signature, described, output
from pggan_tf import terminal
from pggan_tf.errors import UserError

METADATA = "pggan-tf"  # name of the file's metadata buffer: JSON
CALIBRATION = range(16)  # numbers of the examples of each signature that int8's ranges are measured on
# Least peak signal-to-noise ratio against Keras, in dB over 0..255, that a file has to reach for every signature.
QUANTIZATIONS = {"none": 60.0, "float16": 45.0, "dynamic": 30.0, "int8": 26.0}
# What is quantised: the rest (normalisation, colour conversion) is cheap, and would suffer.
_LAYERS = ("CONV_2D", "CONV_2D_TRANSPOSE", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def saved_model(network, signatures: Sequence[Signature], folder: str | Path, kind: str) -> None:
    """A SavedModel with the signatures, the first of which is its default. Not tf.saved_model.save of a module: the converter can read weights of zero from it."""
    import keras

    archive = keras.export.ExportArchive()
    archive.track(network)
    for s in signatures:
        archive.add_endpoint(s.name, named(s, kind), input_signature=s.specs())
    with quiet():
        archive.write_out(str(folder), verbose=False)


def named(signature: Signature, kind: str):
    """The signature's function with its inputs as named arguments, from which files take the names."""
    import inspect

    def function(*values):
        return {"image": output(signature.function(**dict(zip(signature.inputs, values))), kind)}

    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in signature.inputs]
    function.__signature__ = inspect.Signature(parameters)
    function.__name__ = signature.name
    return function


def convert(network, signatures: Sequence[Signature], kind: str = "uint8") -> bytes:
    """Without quantisation. kind: of the output, uint8 or float32."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        saved_model(network, signatures, folder, kind)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[s.name for s in signatures])
        with quiet():
            return _ordered(converter.convert(), signatures)


def _ordered(model: bytes, signatures: Sequence[Signature]) -> bytes:
    """The file with its functions, and their inputs, in the order of the signatures: who names none gets the first. The converter
    sorts them by name."""
    from ai_edge_litert.tools import flatbuffer_utils

    parsed = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    given = {d.signatureKey.decode(): d for d in parsed.signatureDefs}
    functions = {name: parsed.subgraphs[d.subgraphIndex] for name, d in given.items()}
    parsed.signatureDefs = [given[s.name] for s in signatures]
    # Functions that no signature names are called by number: they stay where they are.
    for place, definition in zip(sorted(d.subgraphIndex for d in given.values()), parsed.signatureDefs):
        definition.subgraphIndex = place
    for s, definition in zip(signatures, parsed.signatureDefs):
        tensors = {t.name.decode(): t.tensorIndex for t in definition.inputs}
        function = parsed.subgraphs[definition.subgraphIndex] = functions[s.name]
        function.inputs = np.array([tensors[name] for name in s.inputs], np.int32)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(parsed))


def quantize(model: bytes, signatures: Sequence[Signature], how: str, photos: Sequence[np.ndarray] = ()) -> bytes:
    """A converted file with smaller weights. photos: what int8 measures its ranges on, uint8 [S, S, 3] for signatures that
    take pictures."""
    if how == "none":
        return model
    with quiet():
        from ai_edge_quantizer import qtyping, quantizer

    made = quantizer.Quantizer(bytearray(model))
    for layer in map(qtyping.TFLOperationName, _LAYERS):
        if how == "float16":
            weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
            config = qtyping.OpQuantizationConfig(
                weight_tensor_config=weights,
                compute_precision=qtyping.ComputePrecision.FLOAT,
                explicit_dequantize=True,
            )
            made.update_quantization_recipe(".*", layer, config, "float_casting")
        elif layer == "DEPTHWISE_CONV_2D":  # few weights, of which much depends, and runtimes compute them no faster so
            continue
        elif how == "dynamic" or layer == "FULLY_CONNECTED":  # the first layer of generators: few multiplications
            made.add_dynamic_config(".*", layer, num_bits=8)
        else:
            made.add_static_config(".*", layer, activation_num_bits=8, weight_num_bits=8)
    with quiet():
        ranges = None
        try:
            if how == "int8":
                ranges = made.calibrate({s.name: examples(s, CALIBRATION, photos) for s in signatures})
            return bytes(made.quantize(ranges).quantized_model)
        except (ValueError, RuntimeError, NotImplementedError) as error:
            why = str(error).strip().splitlines()[0][:150]
            others = ", ".join(q for q in QUANTIZATIONS if q != how)
            raise UserError(f"--quantize {how}: this network's layers do not take it ({why}). Try {others}.") from None


@contextlib.contextmanager
def quiet():
    """What converters say while they work, the report says at the end."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(action="ignore"),
            terminal.silence_stderr(),
        ):
            yield
    finally:
        logging.disable(before)


def examples(
    signature: Signature, numbers: Sequence[int], photos: Sequence[np.ndarray], size: tuple[int, int] | None = None
) -> list[dict[str, np.ndarray]]:
    """A set of inputs for each number. photos: uint8 [S, S, 3], used in turn and resized. size: (height, width), by default
    the signature's own."""
    if signature.photo is None:
        return [signature.example(i, None) for i in numbers]
    from PIL import Image

    height, width = size or (signature.photo, signature.photo)
    if not len(photos):
        raise ValueError(f"{signature.name}: no photos to make inputs from.")
    chosen = ((i, Image.fromarray(photos[i % len(photos)])) for i in numbers)
    return [signature.example(i, np.asarray(photo.resize((width, height)))) for i, photo in chosen]


def about(source, licence: str | None, offered: Sequence[Signature], kind: str, how: str) -> dict:
    """What a file says of itself, for `with_metadata`. source: export.source.Source. how: its quantisation."""
    whose = {"name": source.name, "task": source.task, "sha256": source.sha256, "licence": licence or source.licence}
    return {**whose, "signatures": described(offered, kind), "quantize": how}


def with_metadata(model: bytes, description: str, content: dict) -> bytes:
    """The file with a description, and `content` as JSON in a metadata buffer that any reader of the format can get at."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    parsed = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(json.dumps(content).encode(), np.uint8)
    parsed.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA.encode(), len(parsed.buffers) - 1
    parsed.metadata = [*(parsed.metadata or []), entry]
    parsed.description = description.encode()
    return bytes(flatbuffer_utils.convert_object_to_bytearray(parsed))


def metadata(model: bytes) -> dict:
    """What `with_metadata` put in."""
    from ai_edge_litert.tools import flatbuffer_utils

    try:
        parsed = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
        entry = next(m for m in parsed.metadata or [] if m.name == METADATA.encode())
        return json.loads(bytes(parsed.buffers[entry.buffer].data))
    except Exception:  # a reader of flat buffers raises anything on bytes that are none
        raise UserError("not a .tflite file that this project wrote.") from None


class Runner:
    """A .tflite file run by LiteRT on the CPU."""

    def __init__(self, model: bytes, threads: int = 1):
        with terminal.silence_stderr():
            from ai_edge_litert.interpreter import Interpreter

        try:
            self._interpreter = Interpreter(model_content=model, num_threads=threads)
        except ValueError as error:
            raise UserError(f"not a .tflite file that can be run ({error}).") from None
        self._signatures: dict = {}

    def __call__(self, name: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
        if name not in self._signatures:
            self._signatures[name] = self._interpreter.get_signature_runner(name)
            with terminal.silence_stderr():  # a first call makes the delegate, which says so
                self._signatures[name](**inputs)
        return self._signatures[name](**inputs)["image"]
