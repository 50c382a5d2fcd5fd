"""What operators become when their first input is read in another layout: other axes, or another operator.

Movers take a node and where each axis of its input is in that layout.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numba_rt.graph import Node, Value
from numba_rt.ops._op import Op
from numba_rt.ops.elementwise import Elementwise
from numba_rt.optimize.pattern import Family
from numba_rt.optimize.rule import operator

TO_NCHW = (0, 3, 1, 2)
TO_NHWC = (0, 2, 3, 1)
AXIS = (0, 3, 1, 2)
"""Where axis i of NCHW data is in NHWC data."""
ROW_AXIS = (0, 1, 3)
"""Where axis i of (b, c, n) is in images of height 1."""
ELEMENTWISE = Family(Elementwise)

Axes = tuple[int, ...]


@dataclass
class Moved:
    """The operator for NHWC data, its inputs after the first, and how its outputs are transposed then."""

    op: Op
    inputs: Sequence[Value | np.ndarray | None]
    perm: tuple[int, ...] | None = TO_NCHW
    """For NHWC data; None: they are as ONNX has them."""


Mover = Callable[[Node, Axes], Moved | str]


def along_axis(node: Node, axes: Axes) -> Moved | str:
    """Operators with an attribute `axis`."""
    op: Any = node.op
    return Moved(dataclasses.replace(op, axis=axes[op.axis % len(axes)]), node.inputs[1:])


def quantised(node: Node, axes: Axes) -> Moved | str:
    """Operators with one scale, or one for each place along `axis`."""
    op: Any = node.op
    return "its scales are blocks" if op.block_size else along_axis(node, axes)


def along_axes(node: Node, axes: Axes) -> Moved | str:
    """Operators with an attribute `axes`; without it they mean all of them."""
    op: Any = node.op
    moved = axes if op.axes is None else tuple(axes[a % len(axes)] for a in op.axes)
    return Moved(dataclasses.replace(op, axes=moved), node.inputs[1:])


def along_given_axes(count: int) -> Mover:
    """Operators whose input 3 names the axes; without it they are the first, as many as numbers in
    input 1 say (`count` numbers for each axis).
    """

    def move(node: Node, axes: Axes) -> Moved | str:
        inputs: list[Any] = [*node.inputs[1:], *[None] * (4 - len(node.inputs))]
        given = inputs[2]
        if given is None:
            numbers = inputs[0].fact.shape if inputs[0] is not None else None
            if not numbers or not isinstance(numbers[0], int):
                return "how many axes there are is not known"
            places = np.arange(numbers[0] // count)
        elif given.constant is None:
            return "the axes are not constant"
        else:
            places = given.constant.reshape(-1) % len(axes)
        inputs[2] = np.array([axes[a] for a in places], np.int64)
        return Moved(node.op, inputs)

    return move


def channel_parameters(node: Node, axes: Axes) -> Moved | str:
    """Operators of which there is another for NHWC data, with the same attributes."""
    made = operator("Nhwc" + node.op.op_type)
    names = {f.name for f in dataclasses.fields(made)}
    return Moved(made(**{k: v for k, v in node.op.attributes().items() if k in names}), node.inputs[1:])


def max_pool(node: Node, axes: Axes) -> Moved | str:
    """MaxPool, which may have positions as its second output."""
    if len(node.outputs) > 1 and node.outputs[1].uses:
        return "indices are wanted"
    return channel_parameters(node, axes)


def global_pool(node: Node, axes: Axes) -> Moved | str:
    """Global pools are reductions over height and width."""
    kind = {"GlobalAveragePool": "ReduceMean", "GlobalMaxPool": "ReduceMax"}.get(node.op.op_type)
    if kind is None:
        kind = {1: "ReduceL1", 2: "ReduceL2"}.get(node.op.p)  # type: ignore[attr-defined]
    return Moved(operator(kind)(), [np.array([1, 2], np.int64)]) if kind else "its p is neither 1 nor 2"


def reduction(node: Node, axes: Axes) -> Moved | str:
    """Reductions whose input 1 names the axes."""
    op: Any = node.op
    given = node.inputs[1] if len(node.inputs) > 1 else None
    if given is not None and given.constant is None:
        return "the axes are not constant"
    gone: Any = [] if given is None or given.constant is None else given.constant.reshape(-1) % len(axes)
    if len(gone) == 0:
        return "it is over no axes" if op.noop_with_empty_axes else _reduced(op, [], range(len(axes)), axes)
    return _reduced(op, [np.array([axes[a] for a in gone], np.int64)], gone, axes)


def position(node: Node, axes: Axes) -> Moved | str:
    """Reductions over the attribute `axis`."""
    op: Any = node.op
    gone = op.axis % len(axes)
    return _reduced(dataclasses.replace(op, axis=axes[gone]), [], [gone], axes)


def _reduced(op: Any, inputs: list[Any], gone: Any, axes: Axes) -> Moved:
    """A reduction over the axes `gone`."""
    if op.keepdims:
        return Moved(op, inputs)
    kept = [a for a in range(len(axes)) if a not in gone]
    made = sorted(kept, key=lambda a: axes[a])
    perm = tuple(made.index(a) for a in kept)
    return Moved(op, inputs, None if perm == tuple(range(len(kept))) else perm)


def pool_of_rows(node: Node, axes: Axes) -> Moved | str:
    """Pools over one axis are pools over two, of which the first has size 1."""
    op: Any = node.op
    if len(node.outputs) > 1 and node.outputs[1].uses:
        return "indices are wanted"
    wide = {n: (1, *v) for n in ("kernel_shape", "strides", "dilations") if (v := getattr(op, n))}
    if op.pads:
        wide["pads"] = (0, op.pads[0], 0, op.pads[1])
    return Moved(dataclasses.replace(op, **wide), [])


def same(node: Node, axes: Axes) -> Moved | str:
    """Operators for which a row is an image of height 1."""
    return Moved(node.op, node.inputs[1:])


def _table(move: Mover, names: str) -> dict[str, Mover]:
    return dict.fromkeys(names.split("|"), move)


MOVES: dict[str, Mover] = {
    **_table(along_axis, "Softmax|LogSoftmax|Hardmax|LpNormalization|Split|ChannelShuffle"),
    **_table(quantised, "QuantizeLinear|DequantizeLinear"),
    **_table(along_axes, "Resize|MeanVarianceNormalization"),
    "Slice": along_given_axes(1),
    "Pad": along_given_axes(2),
    **_table(channel_parameters, "AveragePool|LpPool|LRN|InstanceNormalization|GroupNormalization"),
    **_table(channel_parameters, "DepthToSpace|SpaceToDepth"),
    "MaxPool": max_pool,
    **_table(global_pool, "GlobalAveragePool|GlobalMaxPool|GlobalLpPool"),
    **_table(
        reduction,
        "ReduceSum|ReduceMean|ReduceMax|ReduceMin|ReduceProd|ReduceL1|ReduceL2|ReduceSumSquare"
        "|ReduceLogSum|ReduceLogSumExp",
    ),
    **_table(position, "ArgMax|ArgMin"),
}
"""NHWC data, by operator type. An operator of which the result has NHWC data's axes is added here, with cases
in tests/optimize/test_layout.py.
"""

ROW_MOVES: dict[str, Mover] = {
    **_table(along_axis, "Softmax|LogSoftmax|LpNormalization|Split"),
    "Resize": along_axes,
    "Slice": along_given_axes(1),
    "Pad": along_given_axes(2),
    **_table(pool_of_rows, "MaxPool|AveragePool|LpPool"),
    **_table(same, "LRN|InstanceNormalization|GroupNormalization"),
    **_table(same, "GlobalAveragePool|GlobalMaxPool|GlobalLpPool"),
}
"""Rows (b, c, n) as images of height 1, by operator type."""
