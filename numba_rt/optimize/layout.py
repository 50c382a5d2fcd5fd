"""Channels last: convolutions and pools work on NHWC data, so the Transposes around them are moved
down the graph until they meet and cancel.
"""

from __future__ import annotations

import numpy as np

from numba_rt.graph import Value
from numba_rt.ops.transpose import Transpose
from numba_rt.optimize.fusions.conv import ConvToNhwc, to_nchw, to_nhwc
from numba_rt.optimize.fusions.pixels import PIXELS
from numba_rt.optimize.fusions.quantize import INTEGER_CONVS
from numba_rt.optimize.fusions.rows import ROWS
from numba_rt.optimize.layout_moves import AXIS, ELEMENTWISE, MOVES, TO_NCHW
from numba_rt.optimize.rule import Builder, Rule
from numba_rt.optimize.simplify import TransposeTwice


def is_nchw_view(value: Value | None) -> bool:
    """Whether a value is NHWC data under a Transpose."""
    node = None if value is None else value.producer
    return node is not None and isinstance(node.op, Transpose) and node.op.perm == TO_NCHW


def nhwc_of(value: Value) -> Value:
    """The NHWC data under the Transpose."""
    assert value.producer is not None and value.producer.inputs[0] is not None
    return value.producer.inputs[0]


class SinkElementwise(Rule):
    """f(Transpose(x), Transpose(y), constants)  →  Transpose(f(x, y, constants))"""

    shared = True

    def pattern(op):
        return op.OneOf(ELEMENTWISE, ..., name="f")

    def check(m):
        inputs = [v for v in m.f.inputs if v is not None]
        if not any(is_nchw_view(v) for v in inputs):
            return ""
        if m.f.outputs[0].fact.shape is None or m.f.outputs[0].fact.rank != 4:
            return "the result does not have four axes"
        for value in inputs:
            if not is_nchw_view(value) and not _is_movable(value):
                return f"{value.name!r} cannot be transposed at no cost"
        return None

    def replace(op, m):
        inputs = [None if v is None else _moved(op, v) for v in m.f.inputs]
        return to_nchw(op, op.add(m.f.op, *inputs))


def _is_movable(value: Value) -> bool:
    """Constants, and values that get a Transpose, which often meets another."""
    return value.is_constant or (value.fact.shape is not None and value.fact.rank <= 4)


def _moved(op: Builder, value: Value) -> Value:
    if is_nchw_view(value):
        return nhwc_of(value)
    if value.is_constant:
        array = value.constant
        assert array is not None
        if array.size == 1:
            return value
        full = array.reshape((1,) * (4 - array.ndim) + array.shape)
        return op.constant(np.ascontiguousarray(full.transpose(0, 2, 3, 1)), value.name)
    rank = value.fact.rank
    if rank == 0:
        return value
    return to_nhwc(op, value if rank == 4 else op.Unsqueeze(value, np.arange(4 - rank)))


class SinkConcat(Rule):
    """Concat(Transpose(x), Transpose(y), ...)  →  Transpose(Concat(x, y, ...))"""

    shared = True

    def pattern(op):
        return op.Concat(..., name="concat")

    def check(m):
        moved = sum(is_nchw_view(v) for v in m.concat.inputs)
        if moved == 0:
            return ""
        if not all(is_nchw_view(v) or _is_movable(v) for v in m.concat.inputs):
            return "the rank of an input is not known"
        return None if 2 * moved >= len(m.concat.inputs) else "most inputs are not NHWC data"

    def replace(op, m):
        inputs = [_moved(op, v) for v in m.concat.inputs]
        return to_nchw(op, op.Concat(*inputs, axis=AXIS[m.concat.op.axis % 4]))


class SinkMove(Rule):
    """f(Transpose(x), ...)  →  Transpose(f'(x, ...)), where f' is what MOVES makes of f"""

    shared = True
    all_outputs = True

    def pattern(op, x):
        return op.OneOf("|".join(MOVES), op.Transpose(x, name="transpose"), ..., name="f")

    def check(m):
        if m.transpose.op.perm != TO_NCHW:
            return "it is not NHWC data"
        moved = MOVES[m.f.op.op_type](m.f, AXIS)
        return moved if isinstance(moved, str) else None

    def replace(op, m):
        moved = MOVES[m.f.op.op_type](m.f, AXIS)
        count = getattr(moved.op, "n_outputs", 1)
        made = op.add(moved.op, m.x, *moved.inputs, outputs=count)
        outputs = made if count > 1 else (made,)
        if moved.perm is not None:
            outputs = [op.Transpose(y, perm=moved.perm) for y in outputs]
        return *outputs, *m.f.outputs[count:]


LAYOUT = (
    *ROWS,
    ConvToNhwc,
    *INTEGER_CONVS,
    TransposeTwice,
    SinkElementwise,
    SinkConcat,
    SinkMove,
    *PIXELS,
)
