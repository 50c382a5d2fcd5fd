"""What comes before convolutions and pools goes into their weights or their padding."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from numba_rt.dtypes import FLOAT32
from numba_rt.graph import Value
from numba_rt.optimize.pattern import Match
from numba_rt.optimize.rule import Rule, scalar


def _padding(pad: Any) -> tuple[int, ...] | str:
    """Spatial pads, begins then ends, of a Pad by zeros that leaves the first two axes alone."""
    pads, value, axes = (*pad.inputs[1:], None, None, None)[:3]
    if pad.op.mode != "constant" or (value is not None and scalar(value) != 0):
        return "it does not pad by zeros"
    x = pad.inputs[0].fact
    if pads.constant is None or (axes is not None and axes.constant is None) or x.shape is None:
        return "the pads are not constant"
    places = range(x.rank) if axes is None else [int(a) % x.rank for a in axes.constant.reshape(-1)]
    numbers = [[0] * x.rank, [0] * x.rank]
    for side, half in zip(numbers, pads.constant.reshape(2, -1).tolist(), strict=True):
        for axis, n in zip(places, half, strict=True):
            side[axis] = n
    if any(side[axis] for side in numbers for axis in (0, 1)):
        return "it pads more than the spatial axes"
    if any(n < 0 for side in numbers for n in side):
        return "it takes pixels away"
    return (*numbers[0][2:], *numbers[1][2:])


def _added(op: Any, pads: tuple[int, ...]) -> tuple[int, ...]:
    """The pads of a window over an input that is padded before."""
    own = op.pads if op.pads and op.auto_pad == "NOTSET" else (0,) * len(pads)
    return tuple(a + b for a, b in zip(own, pads, strict=True))


class PadIntoConv(Rule):
    """Conv(Pad(x))  →  Conv(x) with more padding"""

    shared = True

    def pattern(op, x, w):
        return op.Conv(op.Pad(x, ..., name="pad"), w, ..., name="conv")

    def check(m):
        if m.conv.op.auto_pad not in ("NOTSET", "VALID"):
            return "its padding depends on the size"
        pads = _padding(m.pad)
        return pads if isinstance(pads, str) else None

    def replace(op, m):
        pads = _added(m.conv.op, _padding(m.pad))
        conv = dataclasses.replace(m.conv.op, pads=pads, auto_pad="NOTSET")
        return op.add(conv, m.x, *m.conv.inputs[1:])


class PadIntoPool(Rule):
    """AveragePool(Pad(x))  →  AveragePool(x) that counts its padding"""

    def pattern(op, x):
        return op.AveragePool(op.Pad(x, ..., name="pad"), name="pool")

    def check(m):
        pool = m.pool.op
        if pool.auto_pad not in ("NOTSET", "VALID") or pool.ceil_mode:
            return "its padding depends on the size"
        if any(pool.pads or ()) and not pool.count_include_pad:
            return "it does not count its own padding"
        pads = _padding(m.pad)
        return pads if isinstance(pads, str) else None

    def replace(op, m):
        pads = _added(m.pool.op, _padding(m.pad))
        pool = dataclasses.replace(m.pool.op, pads=pads, auto_pad="NOTSET", count_include_pad=True)
        return op.add(pool, m.x)


def _by_channel(m: Match, value: Value) -> str | None:
    """Why a constant before a convolution is not one number a channel, or the weights are not constant."""
    shape, x = value.fact.shape, m.x.fact
    if not value.is_constant or not m.w.is_constant or shape is None or x.shape is None:
        return "it is not combined with a constant"
    if x.dtype != FLOAT32 or m.x.is_constant:
        return ""
    full = (1,) * (x.rank - len(shape)) + shape
    if len(full) != x.rank or any(d != 1 for d in (full[0], *full[2:])):
        return "the constant is not one number a channel"
    return None if full[1] in (1, m.w.fact.shape[1] * m.conv.op.group) else "the channels do not fit"


def _for_weights(m: Match, value: Value) -> np.ndarray:
    """The constant's number for each input channel of each filter, in float64: (filters, own, 1, ...)."""
    w, groups = m.w.constant, m.conv.op.group
    channels = w.shape[1] * groups
    numbers = np.broadcast_to(np.asarray(value.constant, np.float64).reshape(-1), (channels,))
    rows = np.repeat(numbers.reshape(groups, -1), w.shape[0] // groups, axis=0)
    return rows.reshape(*rows.shape, *[1] * (w.ndim - 2))


class ScaleIntoConv(Rule):
    """Conv(x * c, w)  →  Conv(x, w * c)"""

    def pattern(op, x, w, c):
        return op.Conv(x * c, w, ..., name="conv")

    def check(m):
        return _by_channel(m, m.c)

    def replace(op, m):
        w = (m.w.constant * _for_weights(m, m.c)).astype(np.float32)
        return op.add(m.conv.op, m.x, w, *m.conv.inputs[2:])


class ShiftIntoConv(Rule):
    """Conv(x + c, w, b)  →  Conv(x, w, b + Σ c * w), where nothing is padded"""

    def pattern(op, x, w, c):
        return op.Conv(x + c, w, ..., name="conv")

    def check(m):
        conv = m.conv.op
        if conv.auto_pad != "VALID" and (conv.auto_pad != "NOTSET" or any(conv.pads or ())):
            return "the padding is not shifted"
        bias = m.conv.inputs[2] if len(m.conv.inputs) > 2 else None
        if bias is not None and not bias.is_constant:
            return "the bias is not constant"
        return _by_channel(m, m.c)

    def replace(op, m):
        bias = m.conv.inputs[2] if len(m.conv.inputs) > 2 else None
        w = m.w.constant
        added = (w * _for_weights(m, m.c)).sum(tuple(range(1, w.ndim)))
        total = added if bias is None else added + bias.constant
        return op.add(m.conv.op, m.x, m.w, total.astype(np.float32))


CONV_INPUTS = (PadIntoConv, PadIntoPool, ScaleIntoConv, ShiftIntoConv)
