"""Export of a network as one .onnx file.

An .onnx file holds one graph, which may have several outputs. Here each output is a signature of
the network (one of its exported functions): for a generator of latents one for every stage, which
is a resolution of its training. The outputs share the weights.

A file takes any number of images at once, as the first axis of its inputs, which is called N.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from export import litert
from export.signatures import Signature, convert_output
from pggan_tf.errors import UserError

OPSET = 18  # the newest operator set that tf2onnx writes
PACKAGES = ("tf2onnx", "onnx", "onnxruntime")
COUNT = "N"  # name of the axis of the images
_FOR_ALL = "truncation"  # the input that is one number for all images


def check_installed() -> None:
    """Raise UserError if a package that the export needs is missing."""
    import importlib.util

    if missing := [p for p in PACKAGES if importlib.util.find_spec(p) is None]:
        raise UserError(f'--to onnx: {", ".join(missing)} not installed. Type: pip install "pggan-tf[onnx]"')


def select_signatures(signatures: Sequence[Signature]) -> list[Signature]:
    """Return the signatures whose inputs are the same, so that one graph can hold them.

    For networks that take photos, this is only the signature for any size. For generators of
    latents, it is all of them.
    """
    return [s for s in signatures if s.oblong] or list(signatures)


def describe_count(inputs: Iterable[str]) -> str:
    """Return a sentence that says how a file makes several images at once. inputs: names of its inputs."""
    apart = f"; {_FOR_ALL} is one number for all" if _FOR_ALL in inputs else ""
    return f"Several images at once: a first axis longer than 1{apart}."


def convert(signatures: Sequence[Signature], kind: str) -> bytes:
    """Return the content of an .onnx file, as bytes, whose outputs are the signatures in order.

    ONNX Runtime always computes all outputs, which costs little more than the last stage alone.

    Args:
        signatures: as `select_signatures` returns them.
        kind: dtype of the output images, uint8 or float32.

    Raises:
        UserError: if a package that the export needs is missing.
    """
    check_installed()
    import tensorflow as tf

    names = list(signatures[0].inputs)

    def function(*values):
        given = dict(zip(names, values))
        return {s.name: convert_output(s.function(**given), kind) for s in signatures}

    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in names]
    function.__signature__ = inspect.Signature(parameters)
    with litert.silence():
        import tf2onnx

        # tf2onnx's optimizer merges computations that several stages share.
        traced = tf.function(function, autograph=False)
        specs = [
            tf.TensorSpec(spec.shape if spec.name == _FOR_ALL else (None, *spec.shape[1:]), spec.dtype, spec.name)
            for spec in signatures[0].specs()
        ]
        model, _ = tf2onnx.convert.from_function(traced, specs, opset=OPSET)
    _sort(model.graph.output, [s.name for s in signatures])
    _sort(model.graph.input, names)
    _name_count([*model.graph.input, *model.graph.output])
    _standardize(model.graph)
    return model.SerializeToString()


def _sort(values, names: Sequence[str]) -> None:
    """Sort the inputs or outputs of a graph in place.

    Args:
        values: `graph.input` or `graph.output`.
        names: names of all values, in the desired order.
    """
    ordered = sorted(values, key=lambda value: names.index(value.name))
    del values[:]
    values.extend(ordered)


def _name_count(values) -> None:
    """Give the first axis of inputs and outputs of a graph its name, in place, unless it has a fixed length."""
    for value in values:
        first = value.type.tensor_type.shape.dim[0]
        if not first.HasField("dim_value"):
            first.dim_param = COUNT


def _standardize(graph) -> None:
    """Replace, in place, parts of a graph of tf2onnx that not every ONNX runtime supports."""
    constants = {constant.name: constant for constant in graph.initializer}
    for node in graph.node:
        # tf_half_pixel_for_nn was removed from ONNX in operator set 13. Here pixels are only
        # repeated a whole number of times, for which "asymmetric" gives the same result.
        for attribute in node.attribute:
            if attribute.s == b"tf_half_pixel_for_nn":
                attribute.s = b"asymmetric"
        if node.op_type == "OneHot":  # ONNX's reference runtime needs the number of classes as a scalar
            scalar = graph.initializer.add()
            scalar.CopyFrom(constants[node.input[1]])
            scalar.name, node.input[1] = f"{scalar.name}_scalar", f"{scalar.name}_scalar"
            scalar.ClearField("dims")
    used = {name for node in graph.node for name in node.input}
    kept = [constant for constant in graph.initializer if constant.name in used]  # ONNX Runtime warns about unused ones
    del graph.initializer[:]
    graph.initializer.extend(kept)


class Runner:
    """An .onnx file that ONNX Runtime runs on the CPU.

    Call it as `runner(name, inputs)` to get images.

    Args:
        model: content or path of the file.
        threads: number of CPU threads.
    """

    def __init__(self, model: bytes | str | Path, threads: int = 1):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, name: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Return the images, [N, H, W, C], of one output.

        Args:
            name: name of the output, which is the name of a signature.
            inputs: dict of input name -> array, for N images.
        """
        return self._session.run([name], inputs)[0]
