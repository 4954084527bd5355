"""A network as .onnx files, one for every signature: the format holds one function a file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export import tflite
from export.signatures import Signature
from pggan_tf.errors import UserError

OPSET = 18
PACKAGES = ("tf2onnx", "onnx", "onnxruntime")


def require() -> None:
    import importlib.util

    if missing := [p for p in PACKAGES if importlib.util.find_spec(p) is None]:
        raise UserError(f'--to onnx: {", ".join(missing)} not installed. Type: pip install -e ".[onnx]"')


def convert(signatures: Sequence[Signature], kind: str) -> dict[str, bytes]:
    """Signature's name -> file."""
    require()
    import tensorflow as tf

    with tflite.quiet():
        import tf2onnx

        functions = {s.name: tf.function(tflite.named(s, kind), autograph=False) for s in signatures}
        return {
            s.name: tf2onnx.convert.from_function(functions[s.name], s.specs(), opset=OPSET)[0].SerializeToString()
            for s in signatures
        }


class Runner:
    """The files, run by ONNX Runtime on the CPU."""

    def __init__(self, files: dict[str, bytes], threads: int = 1):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        providers = ["CPUExecutionProvider"]
        self._sessions = {n: onnxruntime.InferenceSession(f, options, providers=providers) for n, f in files.items()}

    def __call__(self, name: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
        return self._sessions[name].run(["image"], inputs)[0]
