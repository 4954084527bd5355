"""A network as one .onnx file: every stage is an output of it, the weights are there once."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from export import tflite
from export.signatures import Signature, output
from pggan_tf.errors import UserError

OPSET = 18  # the newest that tf2onnx writes
PACKAGES = ("tf2onnx", "onnx", "onnxruntime")


def require() -> None:
    import importlib.util

    if missing := [p for p in PACKAGES if importlib.util.find_spec(p) is None]:
        raise UserError(f'--to onnx: {", ".join(missing)} not installed. Type: pip install -e ".[onnx]"')


def offered(signatures: Sequence[Signature]) -> list[Signature]:
    """Those that one graph can hold, whose inputs are the same: of pictures those of any size, which hold the fixed ones too."""
    return [s for s in signatures if s.oblong] or list(signatures)


def convert(signatures: Sequence[Signature], kind: str) -> bytes:
    """signatures: of `offered`, which become the outputs, in this order. ONNX Runtime computes all of them whatever it is asked for,
    which costs little more than the last stage."""
    require()
    import tensorflow as tf

    names = list(signatures[0].inputs)

    def function(*values):
        given = dict(zip(names, values))
        return {s.name: output(s.function(**given), kind) for s in signatures}

    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in names]
    function.__signature__ = inspect.Signature(parameters)
    with tflite.quiet():
        import tf2onnx

        # What several stages compute, the optimizer of tf2onnx finds and keeps once.
        traced = tf.function(function, autograph=False)
        model, _ = tf2onnx.convert.from_function(traced, signatures[0].specs(), opset=OPSET)
    _sort(model.graph.output, [s.name for s in signatures])
    _sort(model.graph.input, names)
    _standardize(model.graph)
    return model.SerializeToString()


def _sort(values, names: Sequence[str]) -> None:
    """Brings inputs or outputs of a graph into this order."""
    ordered = sorted(values, key=lambda value: names.index(value.name))
    del values[:]
    values.extend(ordered)


def _standardize(graph) -> None:
    """Changes what tf2onnx writes and not every runtime reads."""
    constants = {constant.name: constant for constant in graph.initializer}
    for node in graph.node:
        # TensorFlow's own way of placing pixels, which operator set 13 took out of ONNX. Pixels are repeated a whole number of
        # times here: the standard's plainest way gives the same.
        for attribute in node.attribute:
            if attribute.s == b"tf_half_pixel_for_nn":
                attribute.s = b"asymmetric"
        if node.op_type == "OneHot":  # ONNX's own reference wants the number of classes as a scalar
            scalar = graph.initializer.add()
            scalar.CopyFrom(constants[node.input[1]])
            scalar.name, node.input[1] = f"{scalar.name}_scalar", f"{scalar.name}_scalar"
            scalar.ClearField("dims")
    used = {name for node in graph.node for name in node.input}
    kept = [constant for constant in graph.initializer if constant.name in used]  # ONNX Runtime warns of others
    del graph.initializer[:]
    graph.initializer.extend(kept)


class Runner:
    """A file, run by ONNX Runtime on the CPU."""

    def __init__(self, model: bytes | str | Path, threads: int = 1):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, name: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
        return self._session.run([name], inputs)[0]
