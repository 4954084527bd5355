"""A network as one .onnx file, with an output for every stage. The weights are stored once."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from export import litert
from export.signatures import Signature, convert_output
from pggan_tf.errors import UserError

OPSET = 18  # the newest that tf2onnx writes
PACKAGES = ("tf2onnx", "onnx", "onnxruntime")


def check_installed() -> None:
    """Raise UserError if a package is missing."""
    import importlib.util

    if missing := [p for p in PACKAGES if importlib.util.find_spec(p) is None]:
        raise UserError(f'--to onnx: {", ".join(missing)} not installed. Type: pip install -e ".[onnx]"')


def select_signatures(signatures: Sequence[Signature]) -> list[Signature]:
    """Return signatures with the same inputs, which one graph can hold: for any size of picture."""
    return [s for s in signatures if s.oblong] or list(signatures)


def convert(signatures: Sequence[Signature], kind: str) -> bytes:
    """Return a network as an .onnx file whose outputs are the signatures, in this order.

    ONNX Runtime always computes all of them, which costs little more than the last stage.

    Args:
        signatures: as `select_signatures` returns them.
        kind: of the outputs, uint8 or float32.
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
        model, _ = tf2onnx.convert.from_function(traced, signatures[0].specs(), opset=OPSET)
    _sort(model.graph.output, [s.name for s in signatures])
    _sort(model.graph.input, names)
    _standardize(model.graph)
    return model.SerializeToString()


def _sort(values, names: Sequence[str]) -> None:
    """Bring inputs or outputs of a graph into the order of their names here."""
    ordered = sorted(values, key=lambda value: names.index(value.name))
    del values[:]
    values.extend(ordered)


def _standardize(graph) -> None:
    """Change parts of a graph that tf2onnx writes and not every runtime reads."""
    constants = {constant.name: constant for constant in graph.initializer}
    for node in graph.node:
        # TensorFlow's way to place pixels was removed from ONNX in operator set 13. Here pixels are
        # only repeated a whole number of times, for which "asymmetric" gives the same.
        for attribute in node.attribute:
            if attribute.s == b"tf_half_pixel_for_nn":
                attribute.s = b"asymmetric"
        if node.op_type == "OneHot":  # ONNX's reference runtime needs the number of classes as a scalar
            scalar = graph.initializer.add()
            scalar.CopyFrom(constants[node.input[1]])
            scalar.name, node.input[1] = f"{scalar.name}_scalar", f"{scalar.name}_scalar"
            scalar.ClearField("dims")
    used = {name for node in graph.node for name in node.input}
    kept = [constant for constant in graph.initializer if constant.name in used]  # ONNX Runtime warns of others
    del graph.initializer[:]
    graph.initializer.extend(kept)


class Runner:
    """An .onnx file, run by ONNX Runtime on the CPU: from (output's name, inputs) to an image."""

    def __init__(self, model: bytes | str | Path, threads: int = 1):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, name: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Return the image of an output."""
        return self._session.run([name], inputs)[0]
