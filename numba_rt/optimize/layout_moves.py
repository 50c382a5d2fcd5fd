"""What operators become when their first input is read as NHWC data: other axes, or another operator."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numba_rt.graph import Node, Value
from numba_rt.ops._op import Op
from numba_rt.optimize.rule import operator

TO_NCHW = (0, 3, 1, 2)
TO_NHWC = (0, 2, 3, 1)
AXIS = (0, 3, 1, 2)
"""Where axis i of NCHW data is in NHWC data."""


@dataclass
class Moved:
    """The operator for NHWC data, its inputs after the first, and how its outputs are transposed then."""

    op: Op
    inputs: Sequence[Value | np.ndarray | None]
    perm: tuple[int, ...] | None = TO_NCHW
    """None: they are as ONNX has them."""


def along_axis(node: Node) -> Moved | str:
    """Operators with an attribute `axis`."""
    op: Any = node.op
    return Moved(dataclasses.replace(op, axis=AXIS[op.axis % 4]), node.inputs[1:])


def quantised(node: Node) -> Moved | str:
    """Operators with one scale, or one for each place along `axis`."""
    op: Any = node.op
    return "its scales are blocks" if op.block_size else along_axis(node)


def along_axes(node: Node) -> Moved | str:
    """Operators with an attribute `axes`; without it they mean all of them."""
    op: Any = node.op
    moved = TO_NCHW if op.axes is None else tuple(AXIS[a % 4] for a in op.axes)
    return Moved(dataclasses.replace(op, axes=moved), node.inputs[1:])


def along_given_axes(count: int) -> Callable[[Node], Moved | str]:
    """Operators whose input 3 names the axes; without it they are the first, as many as numbers in
    input 1 say (`count` numbers for each axis).
    """

    def move(node: Node) -> Moved | str:
        inputs: list[Any] = [*node.inputs[1:], *[None] * (4 - len(node.inputs))]
        given = inputs[2]
        if given is None:
            numbers = inputs[0].fact.shape if inputs[0] is not None else None
            if not numbers or not isinstance(numbers[0], int):
                return "how many axes there are is not known"
            axes = np.arange(numbers[0] // count)
        elif given.constant is None:
            return "the axes are not constant"
        else:
            axes = given.constant.reshape(-1) % 4
        inputs[2] = np.array([AXIS[a] for a in axes], np.int64)
        return Moved(node.op, inputs)

    return move


def channel_parameters(node: Node) -> Moved | str:
    """Operators of which there is another for NHWC data, with the same attributes."""
    made = operator("Nhwc" + node.op.op_type)
    names = {f.name for f in dataclasses.fields(made)}
    return Moved(made(**{k: v for k, v in node.op.attributes().items() if k in names}), node.inputs[1:])


def max_pool(node: Node) -> Moved | str:
    """MaxPool, which may have positions as its second output."""
    if len(node.outputs) > 1 and node.outputs[1].uses:
        return "indices are wanted"
    return channel_parameters(node)


def global_pool(node: Node) -> Moved | str:
    """Global pools are reductions over height and width."""
    kind = {"GlobalAveragePool": "ReduceMean", "GlobalMaxPool": "ReduceMax"}.get(node.op.op_type)
    if kind is None:
        kind = {1: "ReduceL1", 2: "ReduceL2"}.get(node.op.p)  # type: ignore[attr-defined]
    return Moved(operator(kind)(), [np.array([1, 2], np.int64)]) if kind else "its p is neither 1 nor 2"


def reduction(node: Node) -> Moved | str:
    """Reductions whose input 1 names the axes."""
    op: Any = node.op
    axes = node.inputs[1] if len(node.inputs) > 1 else None
    if axes is not None and axes.constant is None:
        return "the axes are not constant"
    given: Any = [] if axes is None or axes.constant is None else axes.constant.reshape(-1) % 4
    if len(given) == 0:
        return "it is over no axes" if op.noop_with_empty_axes else _reduced(op, [], range(4))
    return _reduced(op, [np.array([AXIS[a] for a in given], np.int64)], given)


def position(node: Node) -> Moved | str:
    """Reductions over the attribute `axis`."""
    op: Any = node.op
    return _reduced(dataclasses.replace(op, axis=AXIS[op.axis % 4]), [], [op.axis % 4])


def _reduced(op: Any, inputs: list[Any], gone: Any) -> Moved:
    """A reduction over the axes `gone` of NCHW data."""
    if op.keepdims:
        return Moved(op, inputs)
    kept = [a for a in range(4) if a not in gone]
    made = sorted(kept, key=lambda a: AXIS[a])
    perm = tuple(made.index(a) for a in kept)
    return Moved(op, inputs, None if perm == tuple(range(len(kept))) else perm)


def _table(move: Callable[[Node], Moved | str], names: str) -> dict[str, Callable[[Node], Moved | str]]:
    return dict.fromkeys(names.split("|"), move)


MOVES: dict[str, Callable[[Node], Moved | str]] = {
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
"""By operator type. An operator of which the result has NHWC data's axes is added here, with cases in
tests/optimize/test_layout.py.
"""
