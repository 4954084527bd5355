"""Find operations of a .tflite file that a phone's GPU would leave to its CPU.

LiteRT gives a GPU the operations that its GPU delegate takes, and computes the others on the CPU,
which costs copies between both. The rules below are those of TensorFlow's
`tensorflow/lite/tools/versioning/gpu_compatibility.cc`, as far as they concern operations in files
of this project: the names of the operations, and conditions on their types, shapes and options. No
GPU was asked.
"""

from __future__ import annotations

from collections.abc import Callable

SOURCE = "tensorflow/lite/tools/versioning/gpu_compatibility.cc of TensorFlow"

# Operations that the delegate takes, at least if the conditions below are met.
_TAKEN = """
    ABS ADD ADD_N AVERAGE_POOL_2D BATCH_MATMUL CAST CEIL CONCATENATION CONV_2D COS CUMSUM DENSIFY DEPTHWISE_CONV_2D
    DEPTH_TO_SPACE DEQUANTIZE DIV ELU EQUAL EXP FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GELU GREATER
    GREATER_EQUAL HARD_SWISH LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGISTIC MAXIMUM MAX_POOL_2D MEAN MINIMUM
    MIRROR_PAD MUL NEG NOT_EQUAL ONE_HOT PACK PAD PADV2 POW PRELU QUANTIZE REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6
    RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SELECT SELECT_V2 SIGN SIN SLICE SOFTMAX
    SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM TANH TILE TRANSPOSE TRANSPOSE_CONV
"""
TAKEN = frozenset(_TAKEN.split())
_FLOATS = ("FLOAT16", "FLOAT32")
_NUMBERS = ("FLOAT32", "INT32")


def find_fallbacks(model: bytes) -> dict[str, dict[str, str]]:
    """Return the operations of each signature that the GPU delegate would not take.

    Args:
        model: content of a .tflite file.

    Returns:
        dict: signature -> {operation: reason}, the latter empty if a GPU takes all of them.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    parsed = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    names = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}

    def describe(graph, index: int) -> tuple[str, list[int], bool]:
        """Return (type, shape, whether it is constant) of a tensor."""
        tensor = graph.tensors[index]
        data = parsed.buffers[tensor.buffer].data
        shape = [] if tensor.shape is None else list(tensor.shape)
        return names[tensor.type], shape, data is not None and len(data) > 0

    found: dict[str, dict[str, str]] = {}
    for signature in parsed.signatureDefs:
        graph = parsed.subgraphs[signature.subgraphIndex]
        reasons = found.setdefault(signature.signatureKey.decode(), {})
        if any(-1 in list(t.shapeSignature) for t in graph.tensors if t.shapeSignature is not None):
            reasons["all"] = "shapes that are not fixed"
            continue
        for operation in graph.operators:
            name = flatbuffer_utils.opcode_to_name(parsed, operation.opcodeIndex)
            inputs = [describe(graph, i) for i in operation.inputs if i >= 0]
            output = describe(graph, operation.outputs[0])
            condition = _CONDITIONS.get(name)
            reason = (
                "not an operation of GPUs"
                if name not in TAKEN
                else condition and condition(inputs, output, operation.builtinOptions)
            )
            if reason:
                reasons.setdefault(name, reason)
    return found


def _check_cast(inputs, output, options) -> str | None:
    """Return why a CAST is not taken: of bytes, for instance."""
    pair = inputs[0][0], output[0]
    taken = all(kind in _NUMBERS for kind in pair) or "BOOL" in pair and any(kind in _FLOATS for kind in pair)
    return None if taken else f"from {pair[0].lower()} to {pair[1].lower()}"


def _check_gather(inputs, output, options) -> str | None:
    """Return why a GATHER is not taken."""
    (kind, _, _), (index, shape, _) = inputs[:2]
    return (
        None
        if kind != "INT32" and index == "INT32" and len(shape) == 1
        else f"{kind.lower()} by {index.lower()} {shape}"
    )


def _check_one_hot(inputs, output, options) -> str | None:
    """Return why a ONE_HOT is not taken."""
    (kind, shape, _), _, on, off = inputs
    plain = all(x[0] == "FLOAT32" and x[2] for x in (on, off)) and all(n == 1 for n in shape[:-1])
    return None if kind == "INT32" and plain and options.axis in (-1, len(shape)) else f"of {kind.lower()} {shape}"


def _check_select(inputs, output, options) -> str | None:
    """Return why a SELECT is not taken: values have the output's shape, or are one number."""
    for kind, shape, _ in inputs[1:]:
        if kind not in _FLOATS or (shape and shape != output[1] and shape != [1]):
            return f"of {kind.lower()} {shape} for {output[1]}"
    return None


def _check_slice(inputs, output, options) -> str | None:
    """Return why a SLICE or STRIDED_SLICE is not taken."""
    if len(inputs[0][1]) not in (3, 4):
        return f"of {len(inputs[0][1])} dimensions"
    masks = [n for n in ("ellipsisMask", "newAxisMask", "shrinkAxisMask") if getattr(options, n, 0)]
    return f"with {masks[0]}" if masks else None


def _check_product(inputs, output, options) -> str | None:
    """Return why a MUL is not taken: neither tensor is as large as the other in every dimension."""
    (_, one, _), (_, other, _) = inputs
    if len(one) == len(other) and any(a < b for a, b in zip(one, other)) and any(a > b for a, b in zip(one, other)):
        return f"of {one} by {other}"
    return None


def _check_axes(inputs, output, options) -> str | None:
    """Return why a MEAN or SUM is not taken: its axes are no constants of int32."""
    return None if inputs[1][0] == "INT32" and inputs[1][2] else "over axes that are no constants"


def _check_depthwise(inputs, output, options) -> str | None:
    """Return why a DEPTHWISE_CONV_2D is not taken."""
    channels, maps = inputs[0][1][-1], output[1][-1]
    return None if maps == channels or channels == 1 else f"with {channels} channels and {maps} maps"


_CONDITIONS: dict[str, Callable] = {
    "CAST": _check_cast,
    "GATHER": _check_gather,
    "ONE_HOT": _check_one_hot,
    "SELECT": _check_select,
    "SELECT_V2": _check_select,
    "SLICE": _check_slice,
    "STRIDED_SLICE": _check_slice,
    "MUL": _check_product,
    "MEAN": _check_axes,
    "SUM": _check_axes,
    "DEPTHWISE_CONV_2D": _check_depthwise,
}
