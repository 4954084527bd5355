"""Export of a network as one .mlpackage, which Core ML runs on iPhones, iPads and Macs.

The package has a function for each signature of the network, over shared weights in float16, which
needs iOS 18 or macOS 15. It is written on any system; only Apple's can run it. So it is compared
with Keras by an interpreter of its operations, see `export.mil`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from export import litert, signatures
from export.signatures import Signature, convert_output
from pggan_tf.errors import UserError

PACKAGE = "coremltools"
NAME = "generator.mlpackage"
ADVICE = "Take another format: --to tflite or onnx."  # where a network cannot be had as a package
PHOTOS = 4  # number of photos on which a package is compared; the interpreter is slow
SYSTEM = "iOS 18, iPadOS 18 or macOS 15"  # the first with several functions in a package


def check_installed() -> None:
    """Raise UserError if the package that the export needs is missing."""
    import importlib.util

    if importlib.util.find_spec(PACKAGE) is None:
        raise UserError(f'{PACKAGE} is not installed. Type: pip install "pggan-tf[coreml]"')


def convert(offered: Sequence[Signature], kind: str, out: Path, about: dict[str, str]) -> None:
    """Write an .mlpackage whose functions are the signatures; the first is its default.

    Photos go in, and images come out, as float32: Core ML has no arrays of bytes.

    Args:
        offered: the signatures, of fixed shapes and with photos in float32.
        kind: uint8 for images of whole numbers 0..255, float32 for -1..1.
        out: the folder to write, whose name ends in .mlpackage.
        about: texts for the description of the model: author, license, shortDescription, and others
            by names of the user's own.

    Raises:
        UserError: if the package that the export needs is missing, or does not convert a network.
    """
    check_installed()
    with litert.silence():
        from coremltools.models.utils import MultiFunctionDescriptor, save_multifunction

    with tempfile.TemporaryDirectory() as folder:
        several = MultiFunctionDescriptor()
        for s in offered:
            file = str(Path(folder, f"{s.name}.mlpackage"))
            with litert.silence():
                _convert_signature(s, kind).save(file)
            several.add_function(file, "main", s.name)
        several.default_function_name = offered[0].name
        with litert.silence():
            save_multifunction(several, str(out))
    _write_texts(out, offered, about)


def _convert_signature(signature: Signature, kind: str):
    """Return one signature as a Core ML model, a `coremltools.models.MLModel`."""
    import coremltools
    import tensorflow as tf

    def function(*values):
        image = signature.function(**dict(zip(signature.inputs, values)))
        return tf.cast(convert_output(image, "float32") if kind == "float32" else _round(image), tf.float32)

    traced = tf.function(function, autograph=False).get_concrete_function(*signature.specs())
    try:
        made = coremltools.convert(
            [traced],
            source="tensorflow",
            convert_to="mlprogram",
            minimum_deployment_target=coremltools.target.iOS18,
            compute_precision=coremltools.precision.FLOAT16,
            inputs=[coremltools.TensorType(n, i.shape, np.dtype(i.dtype)) for n, i in signature.inputs.items()],
            outputs=[coremltools.TensorType(dtype=np.float32)],
            skip_model_load=True,
        )
    except (NotImplementedError, ValueError) as error:
        why = str(error).strip().splitlines()[0][:150]
        raise UserError(f"--to coreml: {signature.name} cannot be converted ({why}). {ADVICE}") from None
    # Outputs are named by TensorFlow's graph.
    spec = made.get_spec()
    coremltools.utils.rename_feature(spec, spec.description.output[0].name, "image")
    return coremltools.models.MLModel(spec, weights_dir=made.weights_dir, skip_model_load=True)


def _round(image):
    """Return an image in about -1..1 as whole numbers 0..255, in its own type."""
    import tensorflow as tf

    return tf.round(tf.clip_by_value(image * 127.5 + 127.5, 0.0, 255.0))


def _write_texts(package: Path, offered: Sequence[Signature], about: dict[str, str]) -> None:
    """Add descriptions of the model, its inputs and its outputs to a package, which Xcode shows."""
    from coremltools.proto import Model_pb2

    (file,) = package.rglob("model.mlmodel")
    spec = Model_pb2.Model()
    spec.ParseFromString(file.read_bytes())
    metadata = spec.description.metadata
    for name, text in about.items():
        if name in ("author", "license", "shortDescription"):
            setattr(metadata, name, text)
        else:
            metadata.userDefined[name] = text
    by_name = {s.name: s for s in offered}
    for function in spec.description.functions:
        for feature in function.input:
            feature.shortDescription = by_name[function.name].inputs[feature.name].about
        function.output[0].shortDescription = by_name[function.name].about
    file.write_bytes(spec.SerializeToString(deterministic=True))


def describe_source(source, licence: str | None) -> dict[str, str]:
    """Return texts about a network, for the description of its package; see `convert`.

    Args:
        source: `export.source.Source`, the network and what is known about it.
        licence: licence of the weights; None: the one that the source states.
    """
    text = f"{source.name}: a network that {source.task.card.sentence}"
    own = {"pggan-tf.task": source.task.name, "pggan-tf.sha256": source.sha256}
    return {"shortDescription": text, "license": licence or source.licence or "not stated", **own}


def describe(offered: Sequence[Signature], kind: str) -> dict:
    """Return a description of the functions of a package for JSON, see `signatures.describe`.

    kind: uint8 for images of whole numbers 0..255, float32 for -1..1.
    """
    values = "whole numbers 0..255" if kind == "uint8" else "-1..1"
    described = signatures.describe(offered, kind)
    return {s.name: {**described[s.name], "image": f"{s.about}, float32, {values}"} for s in offered}


def measure_size(package: Path) -> int:
    """Return the size of a package's files in bytes."""
    return sum(p.stat().st_size for p in package.rglob("*") if p.is_file())


class Runner:
    """An .mlpackage that the interpreter of `export.mil` runs.

    Call it as `runner(name, inputs)` to get an image.

    Args:
        package: the .mlpackage.
        kind: uint8 to return images as bytes, else float32.
    """

    def __init__(self, package: Path, kind: str):
        from export import mil

        self._program, self._kind = mil.Program(package), kind

    def __call__(self, name: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Return the image, [1, H, W, C], that a function computes.

        Args:
            name: name of the function, which is the name of a signature.
            inputs: dict of input name -> array.
        """
        (image,) = self._program(name, inputs).values()
        return image.astype(self._kind)
