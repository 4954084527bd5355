"""Export of a network as one .tflite file, which LiteRT runs.

The file holds every signature; they share the weights.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from export.signatures import Signature, convert_output, describe
from pggan_tf import terminal
from pggan_tf.errors import UserError

METADATA = "pggan-tf"  # name of the file's metadata buffer, which holds JSON
CALIBRATION = range(16)  # numbers of the examples on which int8 calibrates its ranges
# The quantisations, each with the PSNR against Keras (in dB, for pixels in 0..255) that every
# signature of a file must reach.
QUANTIZATIONS = {"none": 60.0, "float16": 45.0, "dynamic": 30.0, "int8": 26.0}
# Operations that are quantised. Others, such as normalisation and colour conversion, are cheap and
# would lose quality.
_LAYERS = ("CONV_2D", "CONV_2D_TRANSPOSE", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def write_saved_model(network, signatures: Sequence[Signature], folder: str | Path, kind: str) -> None:
    """Write a network as a SavedModel whose default is the first signature.

    This uses keras.export: if tf.saved_model.save writes the network as a module, the TFLite
    converter may read the weights as zeros.

    Args:
        network: the network.
        signatures: its signatures.
        folder: the folder to write.
        kind: type of the output, uint8 or float32.
    """
    import keras

    archive = keras.export.ExportArchive()
    archive.track(network)
    for s in signatures:
        archive.add_endpoint(s.name, name_inputs(s, kind), input_signature=s.specs())
    with silence():
        archive.write_out(str(folder), verbose=False)


def name_inputs(signature: Signature, kind: str):
    """Return a signature's function with its inputs as named arguments.

    Exported files take the names of their inputs from the arguments.
    """
    import inspect

    def function(*values):
        return {"image": convert_output(signature.function(**dict(zip(signature.inputs, values))), kind)}

    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in signature.inputs]
    function.__signature__ = inspect.Signature(parameters)
    function.__name__ = signature.name
    return function


def convert(network, signatures: Sequence[Signature], kind: str = "uint8") -> bytes:
    """Return a network as an unquantised .tflite file.

    kind: type of the output, uint8 or float32.
    """
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        write_saved_model(network, signatures, folder, kind)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[s.name for s in signatures])
        with silence():
            return _order_signatures(converter.convert(), signatures)


def _order_signatures(model: bytes, signatures: Sequence[Signature]) -> bytes:
    """Return a .tflite file with its functions and their inputs in the order of `signatures`.

    The converter sorts them by name, but callers that name no signature get the first one.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    parsed = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    given = {d.signatureKey.decode(): d for d in parsed.signatureDefs}
    functions = {name: parsed.subgraphs[d.subgraphIndex] for name, d in given.items()}
    parsed.signatureDefs = [given[s.name] for s in signatures]
    # Functions without a signature are called by index, so they keep their positions.
    for place, definition in zip(sorted(d.subgraphIndex for d in given.values()), parsed.signatureDefs):
        definition.subgraphIndex = place
    for s, definition in zip(signatures, parsed.signatureDefs):
        tensors = {t.name.decode(): t.tensorIndex for t in definition.inputs}
        function = parsed.subgraphs[definition.subgraphIndex] = functions[s.name]
        function.inputs = np.array([tensors[name] for name in s.inputs], np.int32)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(parsed))


def quantize(model: bytes, signatures: Sequence[Signature], how: str, photos: Sequence[np.ndarray] = ()) -> bytes:
    """Return a .tflite file with quantised weights.

    Args:
        model: the file, as `convert` returns it.
        signatures: the signatures of the model.
        how: a key of QUANTIZATIONS.
        photos: uint8 [S, S, 3] each; int8 calibrates signatures that take photos on them.

    Raises:
        UserError: if the network's layers do not support this quantisation.
    """
    if how == "none":
        return model
    with silence():
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
        elif layer == "DEPTHWISE_CONV_2D":  # it has few weights, loses much quality, and does not run faster
            continue
        elif how == "dynamic" or layer == "FULLY_CONNECTED":  # few multiplications: a generator's first layer
            made.add_dynamic_config(".*", layer, num_bits=8)
        else:
            made.add_static_config(".*", layer, activation_num_bits=8, weight_num_bits=8)
    with silence():
        ranges = None
        try:
            if how == "int8":
                ranges = made.calibrate({s.name: make_examples(s, CALIBRATION, photos) for s in signatures})
            return bytes(made.quantize(ranges).quantized_model)
        except (ValueError, RuntimeError, NotImplementedError) as error:
            why = str(error).strip().splitlines()[0][:150]
            others = ", ".join(q for q in QUANTIZATIONS if q != how)
            raise UserError(f"--quantize {how}: this network's layers do not take it ({why}). Try {others}.") from None


@contextlib.contextmanager
def silence():
    """Suppress the messages of converters. The report states at the end what matters."""
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


def make_examples(
    signature: Signature, numbers: Sequence[int], photos: Sequence[np.ndarray], size: tuple[int, int] | None = None
) -> list[dict[str, np.ndarray]]:
    """Return example inputs of a signature: for each number, a dict of arrays by name.

    Args:
        signature: the signature.
        numbers: seeds of latents, or indices of photos.
        photos: uint8 [S, S, 3] each; they are resized, and used again from the first if there are
            too few.
        size: (height, width) of the resized photos (default: the signature's own).
    """
    if signature.photo is None:
        return [signature.example(i, None) for i in numbers]
    from PIL import Image

    height, width = size or (signature.photo, signature.photo)
    if not len(photos):
        raise ValueError(f"{signature.name}: no photos to make inputs from.")
    chosen = ((i, Image.fromarray(photos[i % len(photos)])) for i in numbers)
    return [signature.example(i, np.asarray(photo.resize((width, height)))) for i, photo in chosen]


def describe_file(source, licence: str | None, offered: Sequence[Signature], kind: str, how: str) -> dict:
    """Return the metadata of a .tflite file, for `add_metadata`.

    Args:
        source: `export.source.Source`.
        licence: licence of the weights; None: the one that the source states.
        offered: the signatures of the file.
        kind: type of the output, uint8 or float32.
        how: quantisation of the file, a key of QUANTIZATIONS.
    """
    whose = {
        "name": source.name,
        "task": source.task.name,
        "sha256": source.sha256,
        "licence": licence or source.licence,
    }
    return {**whose, "signatures": describe(offered, kind), "quantize": how}


def add_metadata(model: bytes, description: str, content: dict) -> bytes:
    """Return a .tflite file with a description, and with `content` as JSON in a metadata buffer."""
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


def read_metadata(model: bytes) -> dict:
    """Return the content that `add_metadata` has put into a .tflite file.

    Raise UserError if there is none.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    try:
        parsed = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
        entry = next(m for m in parsed.metadata or [] if m.name == METADATA.encode())
        return json.loads(bytes(parsed.buffers[entry.buffer].data))
    except Exception:  # the flatbuffer reader may raise any exception on other data
        raise UserError("not a .tflite file that this project wrote.") from None


class Runner:
    """A .tflite file that LiteRT runs on the CPU.

    Call it with (name of a signature, inputs by name) to get an image.
    """

    def __init__(self, model: bytes, threads: int = 1):
        with terminal.silence_stderr():
            from ai_edge_litert.interpreter import Interpreter

        try:
            self._interpreter = Interpreter(model_content=model, num_threads=threads)
        except ValueError as error:
            raise UserError(f"not a .tflite file that can be run ({error}).") from None
        self._signatures: dict = {}

    def __call__(self, name: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Return the image that a signature computes from its inputs."""
        if name not in self._signatures:
            self._signatures[name] = self._interpreter.get_signature_runner(name)
            with terminal.silence_stderr():  # the first call creates the delegate, which prints a message
                self._signatures[name](**inputs)
        return self._signatures[name](**inputs)["image"]
