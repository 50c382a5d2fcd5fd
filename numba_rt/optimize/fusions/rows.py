"""One-dimensional networks: rows (b, c, n) are images of height 1, so that all other rules apply to them."""

from __future__ import annotations

import dataclasses

import numpy as np

from numba_rt.dtypes import FLOAT32
from numba_rt.graph import Value
from numba_rt.ops.transpose import Transpose
from numba_rt.optimize.fusions.conv import to_nchw, to_nhwc
from numba_rt.optimize.fusions.conv_transpose import axis_of, filters_of
from numba_rt.optimize.layout_moves import ELEMENTWISE, ROW_AXIS, ROW_MOVES, TO_NCHW
from numba_rt.optimize.rule import Builder, Rule

HEIGHT = np.array([2], np.int64)


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
        wide = dataclasses.replace(
            conv,
            kernel_shape=(1, w.shape[2]),
            strides=(1, *(conv.strides or (1,))),
            dilations=(1, *(conv.dilations or (1,))),
            pads=None if conv.pads is None else (0, conv.pads[0], 0, conv.pads[1]),
        )
        made = op.add(wide, op.Unsqueeze(m.x, HEIGHT), w[:, :, None, :], bias)
        return op.Squeeze(made, HEIGHT)


class ConvTranspose1dToConv(Rule):
    """ConvTranspose over one axis  →  Conv that makes the pixels of a block as channels, and a Reshape"""

    def pattern(op, x, w):
        return op.ConvTranspose(x, w, ..., name="conv")

    def check(m):
        conv, w = m.conv.op, m.w.constant
        bias = m.conv.inputs[2] if len(m.conv.inputs) > 2 else None
        if m.x.fact.dtype != FLOAT32 or m.x.fact.shape is None or m.x.fact.rank != 3:
            return ""
        if w is None or (bias is not None and not bias.is_constant):
            return "the weights are not constant"
        stride, dilation = (conv.strides or (1,))[0], (conv.dilations or (1,))[0]
        if conv.group != 1 or (stride != 1 and dilation != 1):
            return "it has groups, or dilations as well as strides"
        if conv.output_shape or min(axis_of(conv, w.shape[2], 0)) < 0:
            return "its padding depends on the size, or is larger than the window"
        return None

    def replace(op, m):
        conv, w = m.conv.op, m.w.constant
        bias = m.conv.inputs[2] if len(m.conv.inputs) > 2 else None
        s = (conv.strides or (1,))[0]
        begin, end, first, last = axis_of(conv, w.shape[2], 0)
        y = op.Conv(
            op.Unsqueeze(m.x, HEIGHT),
            filters_of(w[:, :, None, :], 1, (1, s), "DCR"),
            None if bias is None else np.tile(bias.constant, s),
            pads=(0, begin, 0, end),
            dilations=(1, *(conv.dilations or (1,))),
        )
        if s > 1:
            y = to_nchw(op, op.Reshape(to_nhwc(op, y), np.array([0, 1, -1, w.shape[1]], np.int64)))
        if first or last:
            stop = -last if last else np.iinfo(np.int64).max
            y = op.Slice(y, np.array([first]), np.array([stop]), np.array([3]))
        return op.Squeeze(y, HEIGHT)


def _is_row(value: Value | None) -> bool:
    """Whether a value is NHWC data of height 1 under a Transpose and a Squeeze."""
    node = None if value is None else value.producer
    if node is None or node.op.op_type != "Squeeze" or len(node.inputs) < 2:
        return False
    x, axes = node.inputs[:2]
    if x is None or axes is None or axes.constant is None or axes.constant.reshape(-1).tolist() != [2]:
        return False
    image = None if x.producer is None else x.producer.op
    return isinstance(image, Transpose) and image.perm == TO_NCHW


def _image(op: Builder, value: Value | None) -> Value | np.ndarray | None:
    """A value as an image of height 1, or as it is if it is broadcast anyway."""
    if value is None or value.fact.rank < 2 or (value.is_constant and value.fact.size == 1):
        return value
    if value.constant is not None:
        return np.expand_dims(value.constant, -2)
    return op.Unsqueeze(value, np.array([value.fact.rank - 1], np.int64))


class SinkSqueeze(Rule):
    """f(Squeeze(x), y, ...)  →  Squeeze(f(x, Unsqueeze(y), ...)), where f is elementwise"""

    shared = True

    def pattern(op):
        return op.OneOf(ELEMENTWISE, ..., name="f")

    def check(m):
        if not any(_is_row(v) for v in m.f.inputs):
            return ""
        if m.f.outputs[0].fact.shape is None or m.f.outputs[0].fact.rank != 3:
            return "the result does not have three axes"
        return (
            None if all(v is None or v.fact.shape is not None for v in m.f.inputs) else "a rank is not known"
        )

    def replace(op, m):
        return op.Squeeze(op.add(m.f.op, *(_image(op, v) for v in m.f.inputs)), HEIGHT)


class SinkRowConcat(Rule):
    """Concat(Squeeze(x), Squeeze(y), ...)  →  Squeeze(Concat(x, y, ...))"""

    shared = True

    def pattern(op):
        return op.Concat(..., name="concat")

    def check(m):
        return None if all(_is_row(v) for v in m.concat.inputs) else ""

    def replace(op, m):
        inputs = [v.producer.inputs[0] for v in m.concat.inputs]
        return op.Squeeze(op.Concat(*inputs, axis=ROW_AXIS[m.concat.op.axis % 3]), HEIGHT)


class SinkRowMove(Rule):
    """f(Squeeze(x), ...)  →  Squeeze(f'(x, ...)), where f' is what ROW_MOVES makes of f"""

    shared = True
    all_outputs = True

    def pattern(op, x, axes):
        return op.OneOf("|".join(ROW_MOVES), op.Squeeze(x, axes), ..., name="f")

    def check(m):
        if not _is_row(m.f.inputs[0]):
            return ""
        moved = ROW_MOVES[m.f.op.op_type](m.f, ROW_AXIS)
        return moved if isinstance(moved, str) else None

    def replace(op, m):
        moved = ROW_MOVES[m.f.op.op_type](m.f, ROW_AXIS)
        made = op.add(moved.op, m.x, *moved.inputs, outputs=len(m.f.outputs))
        outputs = made if isinstance(made, tuple) else (made,)
        return tuple(op.Squeeze(y, HEIGHT) for y in outputs)


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


ROWS = (Conv1dTo2d, ConvTranspose1dToConv, UnsqueezeOfSqueeze, SinkSqueeze, SinkRowConcat, SinkRowMove)
