"""NumPy interpreter of Core ML programs, to compare an .mlpackage with Keras on any machine.

Core ML itself runs on Apple's systems alone. A program is written in MIL, Core ML's intermediate
language: functions of operations on tensors [N, C, H, W]. This interpreter knows the few operations
that the project's networks are made of, and refuses others. What they compute is described in the
reference of coremltools (Model Intermediate Language). Sums are computed in float32, and the result
of each operation is rounded to the type that the program states, which is float16 between layers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pggan_tf.errors import UserError

_DATA = Path("Data", "com.apple.CoreML")  # folder of a package that holds its model
_TYPES = {
    "FLOAT16": np.float16,
    "FLOAT32": np.float32,
    "INT32": np.int32,
    "INT16": np.int16,
    "UINT16": np.uint16,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "BOOL": np.bool_,
}
_SENTINEL = 0xDEADBEEF  # first number of each entry in a file of weights
_CAST = {"fp16": np.float16, "fp32": np.float32, "int32": np.int32, "int16": np.int16, "bool": np.bool_}


class Program:
    """The functions of an .mlpackage.

    Call it as `program(name, inputs)` to get the outputs of a function: a dict of name -> array.

    Args:
        folder: the .mlpackage, which is a folder.
        least: values between layers are rounded to no less precise a type than this one; float32
            shows what the rounding to float16 costs.

    Raises:
        UserError: if a function has an operation that is not known here.
    """

    def __init__(self, folder: str | Path, least: type = np.float16):
        from coremltools.proto import MIL_pb2, Model_pb2

        files = Path(folder) / _DATA
        spec = Model_pb2.Model()
        spec.ParseFromString((files / "model.mlmodel").read_bytes())
        weights = files / "weights" / "weight.bin"
        self._weights = weights.read_bytes() if weights.is_file() else b""
        self._names, self._least = MIL_pb2.DataType, least
        self.description = spec.description
        self.functions: dict[str, tuple] = {}
        for name, function in spec.mlProgram.functions.items():
            block = function.block_specializations[function.opset]
            constants = {
                o.outputs[0].name: self._read_value(o.attributes["val"]) for o in block.operations if o.type == "const"
            }
            operations = [o for o in block.operations if o.type != "const"]
            if unknown := sorted({o.type for o in operations} - OPERATIONS.keys()):
                raise _refuse(f"{name}: the operation {unknown[0]}")
            self.functions[name] = constants, operations, list(block.outputs)

    def _find_type(self, tensor) -> type:
        """Return the NumPy type of a tensorType of the format."""
        return _TYPES[self._names.Name(tensor.dataType)]

    def _read_value(self, value) -> Any:
        """Return a constant of the format as an array, or as text."""
        shape = [d.constant.size for d in value.type.tensorType.dimensions]
        if value.WhichOneof("value") == "blobFileValue":
            return self._read_blob(value.blobFileValue.offset, self._find_type(value.type.tensorType)).reshape(shape)
        tensor = value.immediateValue.tensor
        kind = tensor.WhichOneof("value")
        if kind == "strings":
            return tensor.strings.values[0]
        dtype = self._find_type(value.type.tensorType)
        if kind == "bytes":
            return np.frombuffer(tensor.bytes.values, dtype).reshape(shape)
        return np.array(getattr(tensor, kind).values if kind else [], dtype).reshape(shape)

    def _read_blob(self, offset: int, dtype: type) -> np.ndarray:
        """Return the numbers of an entry in the file of weights.

        An entry is a sentinel and a type (4 bytes each), the size and the place of its numbers in
        bytes (8 bytes each).
        """
        (sentinel,) = np.frombuffer(self._weights, np.uint32, 1, offset)
        size, place = np.frombuffer(self._weights, np.uint64, 2, offset + 8).tolist()
        if sentinel != _SENTINEL:
            raise ValueError(f"weight.bin: no entry at byte {offset}")
        return np.frombuffer(self._weights, dtype, size // np.dtype(dtype).itemsize, place)

    def __call__(self, name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs of a function as a dict of name -> array.

        Args:
            name: name of the function.
            inputs: dict of input name -> array.
        """
        constants, operations, outputs = self.functions[name]
        values = {**constants, **inputs}
        for operation in operations:
            given = {key: self._find(values, i.arguments, key) for key, i in operation.inputs.items()}
            try:
                made = np.asarray(OPERATIONS[operation.type](**given))
            except (TypeError, ValueError) as error:  # an option that the operation has not here
                raise _refuse(f"{name}: the operation {operation.type} with these options ({error})") from None
            (output,) = operation.outputs
            tensor = output.type.tensorType
            dtype = self._find_type(tensor)
            shape = tuple(d.constant.size for d in tensor.dimensions)
            if made.shape != shape:
                raise ValueError(f"{name}: {output.name} has the shape {made.shape} in place of {shape}")
            values[output.name] = made.astype(self._least if dtype == np.float16 else dtype, copy=False)
        return {output: values[output] for output in outputs}

    def _find(self, values: dict, arguments, key: str):
        """Return the value of an operation's input; a list if it takes several (`values`)."""
        found = [values[a.name] if a.WhichOneof("binding") == "name" else self._read_value(a.value) for a in arguments]
        return found if key == "values" else found[0]


def _refuse(what: str) -> UserError:
    """Return the error for a program that cannot be interpreted. what: what is not known here."""
    return UserError(
        f"{what} of Core ML is not one that can be compared with Keras here. Nothing was written. "
        "Take another format: --to tflite or onnx."
    )


def _float(x) -> np.ndarray:
    """Return x as float32, in which sums are computed; integers stay as they are."""
    x = np.asarray(x)
    return x.astype(np.float32) if x.dtype == np.float16 else x


def _binary(function: Callable) -> Callable:
    """Return an operation of two tensors that are broadcast."""
    return lambda x, y: function(_float(x), _float(y))


def _unary(function: Callable) -> Callable:
    """Return an operation of one tensor."""
    return lambda x: function(_float(x))


def _measure_padding(pad_type: str, pad, size, kernel, strides) -> list[tuple[int, int]]:
    """Return the numbers of zeros before and after each of the two spatial dimensions.

    Args:
        pad_type: valid, same or custom. For same, an odd number is larger by one after.
        pad: [before, after, before, after] for custom.
        size: height and width of the input.
        kernel: height and width of the kernel, with its dilation.
        strides: of both dimensions.
    """
    if pad_type == "valid":
        return [(0, 0), (0, 0)]
    if pad_type == "custom":
        return [(int(pad[0]), int(pad[1])), (int(pad[2]), int(pad[3]))]
    if pad_type != "same":
        raise ValueError(f"pad_type {pad_type}")
    total = [max(0, (-(-n // s) - 1) * s + k - n) for n, k, s in zip(size, kernel, strides)]
    return [(t // 2, t - t // 2) for t in total]


def _convolve(x, weight, pad_type="valid", pad=(0, 0, 0, 0), strides=(1, 1), dilations=(1, 1), groups=1, bias=None):
    """Compute a convolution, x [N, C, H, W] with weight [K, C / groups, kh, kw]."""
    x, weight, groups = _float(x), _float(weight), int(groups)
    (n, channels, *size), (maps, _, *kernel) = x.shape, weight.shape
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    padding = _measure_padding(pad_type, pad, size, reach, strides)
    x = np.pad(x, [(0, 0), (0, 0), *padding]).reshape(
        n, groups, channels // groups, *(s + sum(p) for s, p in zip(size, padding))
    )
    height, width = ((s + sum(p) - r) // t + 1 for s, p, r, t in zip(size, padding, reach, strides))
    weight = weight.reshape(groups, maps // groups, channels // groups, *kernel)
    out = np.zeros((n, groups, maps // groups, height * width), np.float32)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilations[0], j * dilations[1]
            seen = x[..., top : top + strides[0] * (height - 1) + 1 : strides[0], left : left + strides[1] * (width - 1) + 1 : strides[1]]  # fmt: skip
            out += weight[..., i, j] @ seen.reshape(n, groups, channels // groups, -1)
    return _add_bias(out.reshape(n, maps, height, width), bias)


def _convolve_transposed(
    x, weight, pad_type="valid", pad=(0, 0, 0, 0), strides=(1, 1), dilations=(1, 1), groups=1, bias=None, output_shape=None
):  # fmt: skip
    """Compute a transposed convolution, x [N, C, H, W] with weight [C, K / groups, kh, kw]."""
    x, weight, groups = _float(x), _float(weight), int(groups)
    (n, channels, *size), (_, maps, *kernel) = x.shape, weight.shape
    if tuple(dilations) != (1, 1):
        raise ValueError(f"dilations {dilations}")
    full = [(s - 1) * t + k for s, t, k in zip(size, strides, kernel)]
    final = [s * t for s, t in zip(size, strides)]
    padding = _measure_padding(pad_type, pad, final, kernel, strides)  # of the convolution that it transposes
    x = x.reshape(n, groups, channels // groups, -1)
    weight = weight.reshape(groups, channels // groups, maps, *kernel)
    out = np.zeros((n, groups, maps, *full), np.float32)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            made = weight[..., i, j].swapaxes(1, 2) @ x
            out[..., i : i + strides[0] * (size[0] - 1) + 1 : strides[0], j : j + strides[1] * (size[1] - 1) + 1 : strides[1]] += made.reshape(n, groups, maps, *size)  # fmt: skip
    out = out.reshape(n, groups * maps, *full)
    (top, bottom), (left, right) = padding
    return _add_bias(out[:, :, top : full[0] - bottom, left : full[1] - right], bias)


def _add_bias(x, bias):
    """Add a bias [C] to x [N, C, H, W]; None adds nothing."""
    return x if bias is None else x + _float(bias)[:, None, None]


def _repeat_pixels(x, target_size_height, target_size_width):
    """Enlarge x [..., H, W] by nearest neighbour, a whole number of times."""
    (height, width), target = x.shape[-2:], (int(target_size_height), int(target_size_width))
    if target[0] % height or target[1] % width:
        raise _refuse(f"enlarging by a fraction (from {height}x{width} to {target[0]}x{target[1]})")
    return x.repeat(target[0] // height, -2).repeat(target[1] // width, -1)


def _enlarge_bilinear(x, scale_factor_height, scale_factor_width, align_corners=True, half_pixel_centers=None):
    """Enlarge x [..., H, W] by bilinear interpolation with half-pixel centers."""
    if align_corners or half_pixel_centers is not None and not half_pixel_centers:
        raise _refuse("enlarging without half-pixel centers")

    def weights(size: int, factor: float) -> np.ndarray:
        """Return the matrix [size * factor, size] that interpolates a row."""
        count = int(size * factor)
        places = np.clip((np.arange(count) + 0.5) * size / count - 0.5, 0, size - 1)
        return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(size))).astype(np.float32)

    rows, columns = (weights(s, float(f)) for s, f in zip(x.shape[-2:], (scale_factor_height, scale_factor_width)))
    return rows @ _float(x) @ columns.T


def _depth_to_space(x, block_size):
    """Turn x [N, b * b * C, H, W] into [N, C, b * H, b * W], as TensorFlow does for NHWC."""
    (n, channels, height, width), b = x.shape, int(block_size)
    x = x.reshape(n, b, b, channels // (b * b), height, width)
    return x.transpose(0, 3, 4, 1, 5, 2).reshape(n, channels // (b * b), height * b, width * b)


def _slice(x, begin, end, stride=None, begin_mask=None, end_mask=None, squeeze_mask=None):
    """Return a part of x; a dimension whose squeeze mask is true is indexed and removed."""

    def cut(i: int):
        if squeeze_mask is not None and squeeze_mask[i]:
            return int(begin[i])
        first = None if begin_mask is not None and begin_mask[i] else int(begin[i])
        last = None if end_mask is not None and end_mask[i] else int(end[i])
        return slice(first, last, 1 if stride is None else int(stride[i]))

    return x[tuple(map(cut, range(x.ndim)))]


def _one_hot(indices, one_hot_vector_size, axis=-1, on_value=1, off_value=0):
    """Return vectors that have `on_value` at their index and `off_value` elsewhere."""
    chosen = np.asarray(indices)[..., None] == np.arange(int(one_hot_vector_size))
    return np.moveaxis(np.where(chosen, _float(on_value), _float(off_value)), -1, int(axis))


def _concatenate(values, axis, interleave=False):
    """Join tensors along an axis."""
    if interleave:
        raise ValueError("concat: interleave")
    return np.concatenate(values, int(axis))


def _gather(x, indices, axis=0, batch_dims=0, validate_indices=False):
    """Return the slices of x at indices along an axis."""
    if batch_dims:
        raise ValueError("gather: batch_dims")
    return np.take(x, indices, int(axis))


def _multiply(x, y, transpose_x=False, transpose_y=False):
    """Return a matrix product."""
    x, y = _float(x), _float(y)
    return (x.swapaxes(-1, -2) if transpose_x else x) @ (y.swapaxes(-1, -2) if transpose_y else y)


def _average(x, axes=None, keep_dims=False):
    """Return the mean over axes, or over all of them."""
    return _float(x).mean(None if axes is None else tuple(axes.tolist()), keepdims=bool(keep_dims))


def _sigmoid(x):
    """Return 1 / (1 + exp(-x)); written so that no exponential overflows."""
    return 0.5 * (1 + np.tanh(0.5 * x))


# MIL's name of an operation -> function of its inputs, by MIL's names.
OPERATIONS: dict[str, Callable] = {
    "add": _binary(np.add),
    "sub": _binary(np.subtract),
    "mul": _binary(np.multiply),
    "real_div": _binary(np.divide),
    "maximum": _binary(np.maximum),
    "minimum": _binary(np.minimum),
    "pow": _binary(np.power),
    "greater": _binary(np.greater),
    "greater_equal": _binary(np.greater_equal),
    "square": _unary(np.square),
    "tanh": _unary(np.tanh),
    "sigmoid": _unary(_sigmoid),
    "relu": lambda x: np.maximum(x, 0),
    "round": _unary(np.rint),
    "clip": lambda x, alpha, beta: np.clip(_float(x), alpha, beta),
    "rsqrt": lambda x, epsilon=1e-12: 1 / np.sqrt(_float(x) + epsilon),
    "sqrt": _unary(np.sqrt),
    "leaky_relu": lambda x, alpha: np.where(x >= 0, _float(x), _float(x) * alpha),
    "prelu": lambda x, alpha: np.where(x >= 0, _float(x), _float(x) * _float(alpha)[:, None, None]),
    "cast": lambda x, dtype: np.asarray(x).astype(_CAST[dtype]),
    "identity": lambda x: x,
    "select": lambda cond, a, b: np.where(cond, a, b),
    "reshape": lambda x, shape: x.reshape(shape.tolist()),
    "transpose": lambda x, perm: x.transpose(perm.tolist()),
    "expand_dims": lambda x, axes: np.expand_dims(x, tuple(axes.tolist())),
    "squeeze": lambda x, axes=None: x.squeeze(None if axes is None else tuple(axes.tolist())),
    "stack": lambda values, axis: np.stack(values, int(axis)),
    "reduce_mean": _average,
    "concat": _concatenate,
    "slice_by_index": _slice,
    "gather": _gather,
    "one_hot": _one_hot,
    "matmul": _multiply,
    "linear": lambda x, weight, bias=0: _float(x) @ _float(weight).T + _float(bias),
    "conv": _convolve,
    "conv_transpose": _convolve_transposed,
    "resize_nearest_neighbor": _repeat_pixels,
    "upsample_bilinear": _enlarge_bilinear,
    "depth_to_space": _depth_to_space,
}
