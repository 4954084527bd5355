"""Export of a network as one .tflite file, which LiteRT runs.

The file holds the signatures of the network: named functions that share the weights. An example is
a dict with an array for each input of a signature; examples calibrate the quantisation to int8,
which needs the ranges of the values between layers. Functions here pass the content of a .tflite
file as bytes, named `model`.
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
CALIBRATION = range(16)  # numbers of the examples on which int8 is calibrated, see `make_examples`
# The quantisations, each with the PSNR against Keras (in dB, for pixels in 0..255) that every
# signature of a file must reach.
QUANTIZATIONS = {"none": 60.0, "float16": 45.0, "dynamic": 30.0, "int8": 26.0}
# Operations that are quantised. Others, such as normalisation and colour conversion, are cheap and
# would lose quality.
_LAYERS = ("CONV_2D", "CONV_2D_TRANSPOSE", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def write_saved_model(network, signatures: Sequence[Signature], folder: str | Path, kind: str) -> None:
    """Write a network as a SavedModel (TensorFlow's format) whose default is the first signature.

    This uses keras.export: if tf.saved_model.save writes the network as a module, the TFLite
    converter may read the weights as zeros.

    Args:
        network: the network.
        signatures: its signatures.
        folder: the folder to write.
        kind: dtype of the output images, uint8 or float32.
    """
    import keras

    archive = keras.export.ExportArchive()
    archive.track(network)
    for s in signatures:
        archive.add_endpoint(s.name, name_inputs(s, kind), input_signature=s.specs())
    with silence():
        archive.write_out(str(folder), verbose=False)


def name_inputs(signature: Signature, kind: str):
    """Return a function that computes a signature and whose parameters are named as its inputs.

    Exporters name the inputs of a file after these parameters. The function returns
    {"image": image}.

    kind: dtype of the image, uint8 or float32.
    """
    import inspect

    def function(*values):
        return {"image": convert_output(signature.function(**dict(zip(signature.inputs, values))), kind)}

    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in signature.inputs]
    function.__signature__ = inspect.Signature(parameters)
    function.__name__ = signature.name
    return function


def convert(network, signatures: Sequence[Signature], kind: str = "uint8") -> bytes:
    """Return the content of an unquantised .tflite file, as bytes.

    Args:
        network: the network.
        signatures: its signatures, which the file offers in the same order.
        kind: dtype of the output images, uint8 or float32.
    """
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        write_saved_model(network, signatures, folder, kind)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[s.name for s in signatures])
        with silence():
            return _order_signatures(converter.convert(), signatures)


def _order_signatures(model: bytes, signatures: Sequence[Signature]) -> bytes:
    """Return the content of a .tflite file with its signatures and their inputs in another order.

    The order is that of `signatures`. The converter sorts them by name, but callers that name no
    signature get the first one.
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
    """Return the content of a .tflite file with quantised weights, as bytes.

    Args:
        model: content of the file, as `convert` returns it.
        signatures: the signatures of the model.
        how: quantisation, a key of QUANTIZATIONS.
        photos: uint8 [S, S, 3] each; signatures that take photos are calibrated on them for int8.

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
    """Context manager that suppresses what converters print, log and warn about."""
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
    """Return examples of a signature: for each number, a dict of input name -> array.

    Args:
        signature: the signature.
        numbers: seeds of latents, or indices of photos.
        photos: uint8 [S, S, 3] each; they are resized, and used again from the first if there are
            too few.
        size: (height, width) of the resized photos (default: a square of side `signature.photo`).

    Raises:
        ValueError: if the signature takes photos and `photos` is empty.
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
    """Return the metadata of a .tflite file as a dict, for `add_metadata`.

    Args:
        source: `export.source.Source`, the network and what is known about it.
        licence: licence of the weights; None: the one that the source states.
        offered: the signatures of the file.
        kind: dtype of the output images, uint8 or float32.
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
    """Return the content of a .tflite file to which metadata was added, as bytes.

    Args:
        model: content of the file without metadata.
        description: text for the description field of the format.
        content: dict to store as JSON in the metadata buffer METADATA.
    """
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
    """Return the dict that `add_metadata` has stored in a .tflite file.

    Raise UserError if there is none.

    model: content of the file.
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

    Call it as `runner(name, inputs)` to get an image.

    Args:
        model: content of the file.
        threads: number of CPU threads.

    Raises:
        UserError: if the file cannot be run.
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
        """Return the image, [1, H, W, C], that a signature computes.

        Args:
            name: name of the signature.
            inputs: dict of input name -> array.
        """
        if name not in self._signatures:
            self._signatures[name] = self._interpreter.get_signature_runner(name)
            with terminal.silence_stderr():  # the first call creates the delegate, which prints a message
                self._signatures[name](**inputs)
        return self._signatures[name](**inputs)["image"]
