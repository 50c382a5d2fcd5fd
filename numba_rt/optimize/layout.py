"""Channels last: convolutions and pools work on NHWC data, so the Transposes around them are moved
down the graph until they meet and cancel.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from numba_rt.dtypes import FLOAT32
from numba_rt.graph import Value
from numba_rt.ops._op import REGISTRY
from numba_rt.ops.elementwise import Elementwise
from numba_rt.ops.transpose import Transpose
from numba_rt.optimize.fusions.conv import ConvToNhwc, to_nchw, to_nhwc
from numba_rt.optimize.rule import Builder, Rule
from numba_rt.optimize.simplify import TransposeNothing, TransposeTwice

TO_NCHW = (0, 3, 1, 2)
AXIS = (0, 3, 1, 2)
"""Where axis i of NCHW data is in NHWC data."""

_ELEMENTWISE = "|".join(sorted(n for (_, n), c in REGISTRY.items() if issubclass(c, Elementwise)))


def is_nchw_view(value: Value | None) -> bool:
    """Whether a value is NHWC data under a Transpose."""
    node = None if value is None else value.producer
    return node is not None and isinstance(node.op, Transpose) and node.op.perm == TO_NCHW


def nhwc_of(value: Value) -> Value:
    """The NHWC data under the Transpose."""
    assert value.producer is not None and value.producer.inputs[0] is not None
    return value.producer.inputs[0]


class Conv1dTo2d(Rule):
    """Conv over one axis  →  Squeeze(Conv(Unsqueeze(x))) over two, the first of size 1"""

    def pattern(op, x, w):
        return op.Conv(x, w, ..., name="conv")

    def check(m):
        if m.x.fact.dtype != FLOAT32 or m.x.fact.shape is None or m.x.fact.rank != 3:
            return ""
        return None if m.w.is_constant else "the weights are not constant"

    def replace(op, m):
        conv, w = m.conv.op, m.w.constant
        bias = m.conv.inputs[2] if len(m.conv.inputs) > 2 else None
        height = np.array([2], np.int64)
        wide = dataclasses.replace(
            conv,
            kernel_shape=(1, w.shape[2]),
            strides=(1, *(conv.strides or (1,))),
            dilations=(1, *(conv.dilations or (1,))),
            pads=None if conv.pads is None else (0, conv.pads[0], 0, conv.pads[1]),
        )
        made = op.add(wide, op.Unsqueeze(m.x, height), w[:, :, None, :], bias)
        return op.Squeeze(made, height)


class SinkSqueeze(Rule):
    """f(Squeeze(x))  →  Squeeze(f(x)), where f is elementwise with one input"""

    def pattern(op, x, axes):
        return op.OneOf(_ELEMENTWISE, op.Squeeze(x, axes), name="f")

    def replace(op, m):
        return op.Squeeze(op.add(m.f.op, m.x), m.axes)


class UnsqueezeOfSqueeze(Rule):
    """Unsqueeze(Squeeze(x, axes), axes)  →  x"""

    shared = True

    def pattern(op, x, axes, again):
        return op.Unsqueeze(op.Squeeze(x, axes), again)

    def check(m):
        same = (
            m.axes.is_constant and m.again.is_constant and np.array_equal(m.axes.constant, m.again.constant)
        )
        return None if same and (m.axes.constant >= 0).all() else ""

    def replace(op, m):
        return m.x


class SinkElementwise(Rule):
    """f(Transpose(x), Transpose(y), constants)  →  Transpose(f(x, y, constants))"""

    shared = True

    def pattern(op):
        return op.OneOf(_ELEMENTWISE, ..., name="f")

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
    """Constants, and values of the same rank (they get a Transpose, which often meets another)."""
    if value.fact.shape is None or value.fact.rank > 4:
        return False
    return value.is_constant or value.fact.rank in (0, 4)


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
    return value if value.fact.rank == 0 else to_nhwc(op, value)


class SinkConcat(Rule):
    """Concat(Transpose(x), Transpose(y), ...)  →  Transpose(Concat(x, y, ...))"""

    shared = True

    def pattern(op):
        return op.Concat(..., name="concat")

    def check(m):
        return None if all(is_nchw_view(v) for v in m.concat.inputs) else ""

    def replace(op, m):
        inputs = [nhwc_of(v) for v in m.concat.inputs]
        return to_nchw(op, op.Concat(*inputs, axis=AXIS[m.concat.op.axis % 4]))


class SinkPool(Rule):
    """MaxPool(Transpose(x))  →  Transpose(NhwcMaxPool(x)); likewise the average pools"""

    shared = True

    def pattern(op, x):
        pools = "MaxPool|AveragePool|GlobalAveragePool"
        return op.OneOf(pools, op.Transpose(x, name="transpose"), name="pool")

    def check(m):
        if tuple(m.transpose.op.perm) != TO_NCHW:
            return "it is not NHWC data"
        if len(m.pool.outputs) > 1 and (m.pool.outputs[1].uses):
            return "indices are wanted"
        return None

    def replace(op, m):
        attributes = {
            k: v for k, v in m.pool.op.attributes().items() if k not in ("n_outputs", "storage_order")
        }
        made = getattr(op, "Nhwc" + m.pool.op.op_type)(m.x, **attributes)
        return to_nchw(op, made)


class SinkSpatialMean(Rule):
    """ReduceMean(Transpose(x), (2, 3))  →  ReduceMean(x, (1, 2))"""

    shared = True

    def pattern(op, x, axes):
        return op.ReduceMean(op.Transpose(x, name="transpose"), axes, name="mean")

    def check(m):
        axes = m.axes.constant
        if tuple(m.transpose.op.perm) != TO_NCHW or axes is None:
            return "it is not NHWC data over constant axes"
        return (
            None
            if sorted(int(a) % 4 for a in axes.reshape(-1)) == [2, 3]
            else "it is not over height and width"
        )

    def replace(op, m):
        keep = m.mean.op.keepdims
        made = op.ReduceMean(m.x, np.array([1, 2], np.int64), keepdims=keep)
        return to_nchw(op, made) if keep else made


class SinkPad(Rule):
    """Pad(Transpose(x), pads)  →  Transpose(Pad(x, pads'))"""

    shared = True

    def pattern(op, x, pads):
        return op.Pad(op.Transpose(x, name="transpose"), pads, ..., name="pad")

    def check(m):
        if tuple(m.transpose.op.perm) != TO_NCHW or m.pads.constant is None:
            return "it is not NHWC data with constant pads"
        has_axes = len(m.pad.inputs) > 3 and m.pad.inputs[3] is not None
        return "it names its axes" if has_axes or m.pads.constant.size != 8 else None

    def replace(op, m):
        pads = m.pads.constant.reshape(2, 4)[:, [0, 2, 3, 1]].reshape(-1)
        value = m.pad.inputs[2] if len(m.pad.inputs) > 2 else None
        return to_nchw(op, op.Pad(m.x, pads, value, mode=m.pad.op.mode))


LAYOUT = (
    Conv1dTo2d,
    UnsqueezeOfSqueeze,
    SinkSqueeze,
    ConvToNhwc,
    TransposeTwice,
    TransposeNothing,
    SinkElementwise,
    SinkConcat,
    SinkPool,
    SinkSpatialMean,
    SinkPad,
)
