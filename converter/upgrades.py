"""Old opsets rewritten to the current meaning: one rule per change of form or meaning.

A rule stands for the opset that made the change and applies to nodes of earlier ones. Rules of an
operator run from the oldest change on; each edits the node, or returns the nodes that replace it.
Operators without a rule read the same in every opset (new opsets only added types, optional inputs
or attributes whose default is the old behaviour).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from converter.raw import RawNode
from converter.scope import Scope
from numba_rt.dtypes import FLOAT32, INT64, STRING
from numba_rt.errors import LoadError, UnsupportedOp
from numba_rt.format.definition import AttributeDef, AttributeType, GraphDef, NodeDef, ValueInfoDef

Rule = Callable[[RawNode, Scope], list[RawNode] | None]
RULES: dict[str, list[tuple[int, Rule]]] = {}
_ELEMENT_TYPES = (
    "UNDEFINED", "FLOAT", "UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64", "STRING", "BOOL", "FLOAT16",
    "DOUBLE", "UINT32", "UINT64", "COMPLEX64", "COMPLEX128",
)  # fmt: skip
"""Names that Cast had for element types, by number."""
ALWAYS = 1000
"""For rules that apply to every opset: operators that others have replaced."""


def before(opset: int, *op_types: str) -> Callable[[Rule], Rule]:
    """Register a rule for nodes of opsets older than `opset`."""

    def register(rule: Rule) -> Rule:
        for op_type in op_types:
            RULES.setdefault(op_type, []).append((opset, rule))
            RULES[op_type].sort(key=lambda r: r[0])
        return rule

    return register


def upgrade(node: RawNode, version: int, scope: Scope) -> list[RawNode]:
    """The nodes of the current meaning that do what `node` does at opset `version`."""
    if node.domain:
        return [node]
    if version < 6:
        node.attributes.pop("consumed_inputs", None)
    for changed, rule in RULES.get(node.op_type, ()):
        if version < changed:
            replaced = rule(node, scope)
            if replaced is not None:
                return replaced
    return [node]


def constant(scope: Scope, node: RawNode, wish: str, value: Any, dtype: Any = INT64) -> str:
    """Name of a stored array that becomes an input of the node."""
    return scope.constant(np.asarray(value, dtype), f"{node.outputs[0]}/{wish}")


def set_input(node: RawNode, position: int, name: str) -> None:
    """Put a further input at its place."""
    node.inputs += [""] * (position + 1 - len(node.inputs))
    node.inputs[position] = name


def move_to_input(scope: Scope, node: RawNode, attribute: str, position: int, dtype: Any = INT64) -> None:
    """Turn an attribute into a constant input, if it is given."""
    value = node.attributes.pop(attribute, None)
    if value is not None:
        set_input(node, position, constant(scope, node, attribute, value, dtype))


def input_dtype(scope: Scope, node: RawNode, position: int = 0) -> np.dtype[Any]:
    """dtype of an input."""
    fact = scope.fact(node.input(position))
    return np.dtype(np.float32) if fact is None else fact.dtype


# -- stored values --------------------------------------------------------------------------


@before(ALWAYS, "Constant")
def _constant(node: RawNode, scope: Scope) -> None:
    given = list(node.attributes.items())
    if len(given) != 1:
        raise LoadError(f"{node.where}: expected exactly one value, found {[k for k, _ in given] or 'none'}")
    name, value = given[0]
    dtypes: dict[str, np.dtype[Any]] = {"int": INT64, "float": FLOAT32, "string": STRING}
    kind = name.removeprefix("value_").removesuffix("s")
    if kind in dtypes:
        value = np.array(value, dtypes[kind])
    elif name not in ("value", "sparse_value"):
        raise LoadError(f"{node.where}: unknown attribute {name!r}")
    if not isinstance(value, np.ndarray):
        raise LoadError(f"{node.where}: attribute {name!r}: expected a tensor, found {type(value).__name__}")
    node.attributes = {"value": value}


# -- attributes that became inputs ----------------------------------------------------------


@before(13, "Squeeze", "Unsqueeze", "ReduceSum")
@before(
    18, "ReduceMax", "ReduceMin", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum",
    "ReduceLogSumExp", "ReduceSumSquare",
)  # fmt: skip
def _axes_input(node: RawNode, scope: Scope) -> None:
    move_to_input(scope, node, "axes", 1)


@before(5, "Reshape")
def _reshape_shape(node: RawNode, scope: Scope) -> None:
    move_to_input(scope, node, "shape", 1)


@before(10, "Slice")
def _slice_inputs(node: RawNode, scope: Scope) -> None:
    for position, name in enumerate(("starts", "ends", "axes"), 1):
        move_to_input(scope, node, name, position)


@before(11, "Clip")
def _clip_inputs(node: RawNode, scope: Scope) -> None:
    for position, name in enumerate(("min", "max"), 1):
        move_to_input(scope, node, name, position, input_dtype(scope, node))


@before(2, "Pad")
def _pad_paddings(node: RawNode, scope: Scope) -> None:
    if "paddings" in node.attributes:
        node.attributes["pads"] = node.attributes.pop("paddings")


@before(11, "Pad")
def _pad_inputs(node: RawNode, scope: Scope) -> None:
    move_to_input(scope, node, "pads", 1)
    move_to_input(scope, node, "value", 2, input_dtype(scope, node))


@before(10, "TopK")
def _topk_k(node: RawNode, scope: Scope) -> None:
    k = node.attributes.pop("k", None)
    set_input(node, 1, constant(scope, node, "k", [] if k is None else [k]))


@before(13, "Split")
def _split_sizes(node: RawNode, scope: Scope) -> None:
    move_to_input(scope, node, "split", 1)


@before(18, "Split")
def _split_outputs(node: RawNode, scope: Scope) -> None:
    if not node.input(1):
        node.attributes["num_outputs"] = len(node.outputs)


@before(20, "DFT")
def _dft_axis(node: RawNode, scope: Scope) -> None:
    set_input(node, 2, constant(scope, node, "axis", node.attributes.pop("axis", 1)))


@before(6, "Tile")
def _tile_repeats(node: RawNode, scope: Scope) -> None:
    rank = scope.rank(node.input(0))
    tiles, axis = (scope.find(node.input(i)) for i in (1, 2))
    if rank is None or tiles is None or tiles.constant is None or axis is None or axis.constant is None:
        raise UnsupportedOp(f"{node.where}: tiles and axis of opset 1 must be constants and the rank known")
    repeats = np.ones(rank, np.int64)
    repeats[int(axis.constant.reshape(()))] = int(tiles.constant.reshape(()))
    node.inputs = [node.inputs[0], constant(scope, node, "repeats", repeats)]


# -- other names and defaults ---------------------------------------------------------------


@before(6, "Cast")
def _cast_to_name(node: RawNode, scope: Scope) -> None:
    to = node.attributes.get("to")
    if isinstance(to, str):
        if to.upper() not in _ELEMENT_TYPES:
            raise LoadError(f"{node.where}: attribute 'to' = {to!r} is not an element type")
        node.attributes["to"] = _ELEMENT_TYPES.index(to.upper())


@before(4, "Concat")
def _concat_axis(node: RawNode, scope: Scope) -> None:
    node.attributes.setdefault("axis", 1)


@before(6, "Selu")
def _selu_constants(node: RawNode, scope: Scope) -> None:
    node.attributes.setdefault("alpha", 1.6732)
    node.attributes.setdefault("gamma", 1.0507)


@before(2, "LpPool", "GlobalLpPool")
def _integer_p(node: RawNode, scope: Scope) -> None:
    node.attributes["p"] = int(node.attributes.get("p", 2))


@before(16, "RoiAlign")
def _roi_align_pixels(node: RawNode, scope: Scope) -> None:
    node.attributes.setdefault("coordinate_transformation_mode", "output_half_pixel")


@before(20, "GridSample")
def _grid_sample_mode(node: RawNode, scope: Scope) -> None:
    names = {"bilinear": "linear", "bicubic": "cubic"}
    mode = node.attributes.get("mode", "bilinear")
    node.attributes["mode"] = names.get(mode, mode)


@before(7, "RNN", "GRU", "LSTM")
def _recurrent(node: RawNode, scope: Scope) -> None:
    node.attributes.pop("output_sequence", None)
    if node.attributes.get("direction") == "foward":  # the spelling in GRU's first definition
        node.attributes["direction"] = "forward"


@before(ALWAYS, "Scatter")
def _scatter(node: RawNode, scope: Scope) -> list[RawNode]:
    return [node.changed(op_type="ScatterElements")]


# -- broadcasting before opset 7 ------------------------------------------------------------


@before(7, "Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less")
def _broadcast_axis(node: RawNode, scope: Scope) -> list[RawNode] | None:
    broadcast = node.attributes.pop("broadcast", 0)
    axis = node.attributes.pop("axis", None)
    if not broadcast or axis is None:
        return None
    return _align(node, scope, axis)


@before(7, "PRelu")
def _prelu_channels(node: RawNode, scope: Scope) -> list[RawNode] | None:
    return _align(node, scope, 1) if scope.rank(node.input(1)) == 1 else None


def _align(node: RawNode, scope: Scope, axis: int) -> list[RawNode] | None:
    """Let the axes of the second input stand for those of the first from `axis` on."""
    rank, rank_b = scope.rank(node.input(0)), scope.rank(node.input(1))
    if rank is None or rank_b is None:
        raise UnsupportedOp(f"{node.where}: broadcasting from an axis needs inputs of known rank")
    trailing = rank - axis % max(rank, 1) - rank_b
    if trailing <= 0:
        return None
    axes = constant(scope, node, "axes", range(rank_b, rank_b + trailing))
    aligned = scope.fresh(f"{node.outputs[0]}/aligned")
    unsqueeze = RawNode("Unsqueeze", [node.inputs[1], axes], [aligned], name=f"{node.name}/align")
    return [unsqueeze, node.changed(inputs=[node.inputs[0], aligned])]


@before(7, "Gemm")
def _gemm_broadcast(node: RawNode, scope: Scope) -> None:
    node.attributes.pop("broadcast", None)


# -- normalisation --------------------------------------------------------------------------


@before(13, "Softmax", "LogSoftmax", "Hardmax")
def _flattened_softmax(node: RawNode, scope: Scope) -> list[RawNode] | None:
    """The axes from `axis` on were taken as one."""
    axis = node.attributes.get("axis", 1)
    fact = scope.fact(node.input(0))
    if fact is not None and fact.shape is not None:
        rank = len(fact.shape)
        if not -rank <= axis < rank:
            raise LoadError(f"{node.where}: axis = {axis} is out of range for {fact}")
        if all(isinstance(d, int) and d == 1 for d in fact.shape[axis % rank + 1 :]):
            node.attributes["axis"] = axis
            return None
    base = node.outputs[0]
    shape, rows, result = (scope.fresh(f"{base}/{part}") for part in ("shape", "rows", "result"))
    return [
        RawNode("Shape", node.inputs[:1], [shape], name=f"{node.name}/shape"),
        RawNode("Flatten", node.inputs[:1], [rows], {"axis": axis}, f"{node.name}/flatten"),
        node.changed(inputs=[rows], outputs=[result], attributes={"axis": -1}),
        RawNode("Reshape", [result, shape], node.outputs[:1], {"allowzero": 1}, f"{node.name}/reshape"),
    ]


@before(9, "BatchNormalization")
def _batch_norm_spatial(node: RawNode, scope: Scope) -> list[RawNode] | None:
    """Without `spatial`, every element of a sample has statistics of its own."""
    node.attributes.pop("is_test", None)
    if node.attributes.pop("spatial", 1) or len(node.inputs) != 5:
        return None
    x, scale, bias, mean, variance = node.inputs
    dtype = input_dtype(scope, node)
    epsilon = constant(scope, node, "epsilon", node.attributes.get("epsilon", 1e-5), dtype)
    base = node.outputs[0]
    names = [scope.fresh(f"{base}/{part}") for part in ("centred", "variance", "deviation", "unit", "scaled")]
    centred, shifted, deviation, unit, scaled = names
    steps = [
        ("Sub", [x, mean], centred),
        ("Add", [variance, epsilon], shifted),
        ("Sqrt", [shifted], deviation),
        ("Div", [centred, deviation], unit),
        ("Mul", [unit, scale], scaled),
        ("Add", [scaled, bias], base),
    ]
    return [RawNode(op, inputs, [out], name=f"{node.name}/{op}") for op, inputs, out in steps]


@before(14, "BatchNormalization")
def _batch_norm_outputs(node: RawNode, scope: Scope) -> None:
    """Further outputs asked for training; the saved statistics no longer exist."""
    if any(n in scope.read for n in node.outputs[1:]):
        raise UnsupportedOp(f"{node.where}: the outputs after Y are of training before opset 14")
    node.outputs = node.outputs[:1]


@before(21, "GroupNormalization")
def _group_norm_channels(node: RawNode, scope: Scope) -> list[RawNode]:
    """Scale and bias were given per group."""
    fact = scope.fact(node.input(0))
    groups = node.attributes.get("num_groups")
    channels = fact.shape[1] if fact is not None and fact.shape is not None and len(fact.shape) > 1 else None
    if not isinstance(channels, int) or not isinstance(groups, int) or groups < 1 or channels % groups:
        raise UnsupportedOp(
            f"{node.where}: num_groups = {groups!r} must divide the channels of {fact}, which must be known"
        )
    column = constant(scope, node, "column", [groups, 1])
    repeated = constant(scope, node, "repeated", [groups, channels // groups])
    flat = constant(scope, node, "channels", [channels])
    out: list[RawNode] = []
    inputs = [node.inputs[0]]
    for part, source in zip(("scale", "bias"), node.inputs[1:3], strict=True):
        for op, shape in (("Reshape", column), ("Expand", repeated), ("Reshape", flat)):
            made = scope.fresh(f"{node.outputs[0]}/{part}")
            out.append(RawNode(op, [source, shape], [made], name=f"{node.name}/{part}"))
            source = made
        inputs.append(source)
    return [*out, node.changed(inputs=inputs)]


@before(12, "Dropout")
def _dropout_inputs(node: RawNode, scope: Scope) -> None:
    """Training was asked for elsewhere: loaded models are run for inference."""
    for name in ("ratio", "is_test"):
        node.attributes.pop(name, None)


@before(10, "Dropout")
def _dropout_mask(node: RawNode, scope: Scope) -> list[RawNode] | None:
    """The mask had the dtype of the data."""
    mask = node.outputs[1] if len(node.outputs) > 1 else ""
    if not mask:
        return None
    kept = scope.fresh(f"{mask}/bool")
    cast = RawNode("CastLike", [kept, node.inputs[0]], [mask], name=f"{node.name}/mask")
    return [*_without_dropout(node.changed(outputs=[node.outputs[0], kept]), scope), cast]


@before(ALWAYS, "Dropout")
def _dropout_identity(node: RawNode, scope: Scope) -> list[RawNode] | None:
    """Nothing is dropped unless in training."""
    training = scope.find(node.input(2)) if node.input(2) else None
    if training is not None and (training.constant is None or training.constant.any()):
        return None
    return _without_dropout(node, scope)


def _without_dropout(node: RawNode, scope: Scope) -> list[RawNode]:
    out = [RawNode("Identity", node.inputs[:1], node.outputs[:1], name=node.name)]
    if len(node.outputs) > 1 and node.outputs[1]:
        shape = scope.fresh(f"{node.outputs[1]}/shape")
        value = {"value": np.array([True])}
        out.append(RawNode("Shape", node.inputs[:1], [shape], name=f"{node.name}/shape"))
        out.append(RawNode("ConstantOfShape", [shape], node.outputs[1:2], value, f"{node.name}/mask"))
    return out


# -- resizing -------------------------------------------------------------------------------


@before(7, "Upsample")
def _upsample_height_width(node: RawNode, scope: Scope) -> None:
    height, width = (node.attributes.pop(f"{side}_scale", 1.0) for side in ("height", "width"))
    node.attributes["scales"] = (1.0, 1.0, height, width)


@before(9, "Upsample")
def _upsample_scales(node: RawNode, scope: Scope) -> None:
    move_to_input(scope, node, "scales", 1, np.float32)


@before(11, "Resize")
@before(ALWAYS, "Upsample")
def _resize_asymmetric(node: RawNode, scope: Scope) -> list[RawNode]:
    """Positions were divided by the scale; nearest rounded down, and up where the axis shrinks."""
    mode = node.attributes.get("mode", "nearest")
    attributes = {
        "mode": "linear" if mode in ("linear", "bilinear") else mode,
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "ceil" if _shrinks(scope, node.input(1)) else "floor",
    }
    return [
        node.changed(op_type="Resize", inputs=[node.inputs[0], "", node.input(1)], attributes=attributes),
    ]


def _shrinks(scope: Scope, scales: str) -> bool:
    value = scope.find(scales) if scales else None
    return value is not None and value.constant is not None and bool((value.constant < 1).any())


# -- control flow ---------------------------------------------------------------------------


@before(9, "Scan")
def _batched_scan(node: RawNode, scope: Scope) -> list[RawNode] | None:
    """Opset 8 scanned axis 1 of every sample of a batch: a scan over the batch of scans."""
    if "scan_input_directions" in node.attributes:  # the inner scan made below
        return None
    if node.input(0):
        raise UnsupportedOp(f"{node.where}: sequence_lens of opset 8 is not implemented")
    inputs = node.inputs[1:]
    scanned = node.attributes.get("num_scan_inputs", 0)
    body = node.attributes.get("body")
    if not isinstance(body, GraphDef):
        raise LoadError(f"{node.where}: attribute 'body' is missing")
    directions = node.attributes.get("directions", (0,) * scanned)
    ins = [scope.fresh(f"{n}/sample") for n in inputs]
    outs = [scope.fresh(f"{node.outputs[0]}/sample{i}") for i in range(len(body.output))]
    attributes = [
        AttributeDef("body", AttributeType.GRAPH, g=body),
        AttributeDef("num_scan_inputs", AttributeType.INT, i=scanned),
        AttributeDef("scan_input_directions", AttributeType.INTS, ints=directions),
    ]
    inner = NodeDef("Scan", ins, outs, attributes, f"{node.name}/sample")
    formals, results = ([ValueInfoDef(n) for n in names] for names in (ins, outs))
    sample = GraphDef("sample", [inner], formals, results)
    return [node.changed(inputs=inputs, attributes={"body": sample, "num_scan_inputs": len(inputs)})]
