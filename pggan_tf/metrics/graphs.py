"""Check that the graph of Inception only computes."""

from __future__ import annotations

# Operations of inception-2015-12-05 and of graphs of the same network. All only compute: a graph may also read
# and write files, so a run's config from a stranger could else run what it likes.
_OPERATIONS = {
    "Add", "AddV2", "AvgPool", "BatchNormWithGlobalNormalization", "BiasAdd", "Cast", "CheckNumerics", "Concat",
    "ConcatV2", "Const", "Conv2D", "DecodeJpeg", "ExpandDims", "FusedBatchNorm", "FusedBatchNormV3", "Identity",
    "MatMul", "MaxPool", "Mean", "Mul", "Placeholder", "RealDiv", "Relu", "Reshape", "ResizeBilinear", "Rsqrt",
    "Softmax", "Squeeze", "Sub",
}  # fmt: skip


def _list_operations(definition) -> set[str]:
    """Return the operations of a graph, a GraphDef, that run when its features and logits are computed.

    What comes before its images is replaced and does not run, unless a control input asks for it.
    """
    nodes, ops = {node.name: node for node in definition.node}, {}
    left = ["pool_3", "softmax/logits/MatMul"]
    while left:
        name = left.pop().removeprefix("^").partition(":")[0]
        if name in nodes and name not in ops:
            ops[name] = nodes[name].op
            left += [given for given in nodes[name].input if given not in ("ExpandDims", "ExpandDims:0")]
    return set(ops.values())


def check_operations(definition) -> None:
    """Raise ValueError if a graph, a GraphDef, runs operations that Inception has not."""
    if foreign := sorted(_list_operations(definition) - _OPERATIONS):
        raise ValueError(f"it has the operations {', '.join(foreign)}, which Inception has not")
