"""Softmax with the scale and the mask that come before it in attention."""

from __future__ import annotations

import dataclasses

import numpy as np

from numba_rt.dtypes import BOOL, FLOAT32
from numba_rt.graph import Value
from numba_rt.optimize.pattern import Match
from numba_rt.optimize.rule import Rule, scalar, scale_of

ONNX_BOOL = 9
HIDING = -9e3
"""What is no larger has an exponential of 0 next to any other score."""
ABSORBING = -1e30
"""A sum with it, or less, is this number itself, so that hidden rows are uniform as the model says."""


def _is_last_axis(m: Match) -> str | None:
    fact = m.softmax.outputs[0].fact
    if fact.dtype != FLOAT32 or fact.shape is None:
        return "it is not float32 of known rank"
    return None if m.softmax.op.axis in (-1, fact.rank - 1) else "it is not over the last axis"


class HiddenScores(Rule):
    """Softmax(Where(hidden, c, x)) for a very small c  →  Softmax(x + Where(hidden, c, 0))"""

    def pattern(op, hidden, c, x):
        return (
            op.Softmax(op.Where(hidden, c, x, name="where"), name="softmax"),
            op.Softmax(op.Where(hidden, x, c, name="where"), name="softmax"),
        )

    def check(m):
        number = scalar(m.c)
        if number is None or number > HIDING:
            return "what hides scores is not a very small constant"
        return _is_last_axis(m)

    def replace(op, m):
        zero, least = np.float32(0), np.float32(min(scalar(m.c), ABSORBING))
        first = m.where.inputs[2] is m.x
        mask = op.Where(m.hidden, least, zero) if first else op.Where(m.hidden, zero, least)
        return op.add(m.softmax.op, op.Add(m.x, mask))


class GatedScores(Rule):
    """Softmax(x * m - c * (1 - m)) for a large c and m of 0 and 1  →  Softmax(Where(m, x, -c))"""

    shared = True

    def pattern(op, x, m, c):
        return op.Softmax(x * m - (1.0 - m) * c, name="softmax")

    def check(m):
        number = scalar(m.c)
        if number is None or -number > HIDING:
            return "what hides scores is not a very large constant"
        return None if _is_flag(m.m) else "the factor is not a cast truth"

    def replace(op, m):
        seen = op.Cast(m.m, to=ONNX_BOOL)
        return op.add(m.softmax.op, op.Where(seen, m.x, np.float32(-scalar(m.c))))


def _is_flag(value: Value) -> bool:
    """Whether a value is 0 or 1, as casts of truth values are."""
    node = value.producer
    while node is not None and node.op.op_type in ("Reshape", "Unsqueeze", "Squeeze", "Slice", "Expand"):
        node = None if node.inputs[0] is None else node.inputs[0].producer
    source = None if node is None or node.op.op_type != "Cast" else node.inputs[0]
    return source is not None and source.fact.dtype == BOOL


class MaskedSoftmaxAdd(Rule):
    """Softmax(x + mask)  →  MaskedSoftmax(x, mask)"""

    def pattern(op, x, mask):
        return op.Softmax(x + mask, name="softmax")

    def check(m):
        whole = m.softmax.outputs[0].fact.shape
        if m.x.fact.shape is None or m.x.fact.shape != whole:
            return "x is broadcast"
        if m.mask.fact.shape is None or m.mask.fact.shape == whole:
            return "the mask is as large as x"
        return _is_last_axis(m)

    def replace(op, m):
        return op.MaskedSoftmax(m.x, m.mask)


class MaskedSoftmaxScale(Rule):
    """MaskedSoftmax(x * c, mask)  →  MaskedSoftmax(x, mask, scale=c); likewise x / c"""

    def pattern(op, x, c, mask):
        return (
            op.MaskedSoftmax(op.Mul(x, c, name="factor"), mask, name="softmax"),
            op.MaskedSoftmax(op.Div(x, c, name="factor"), mask, name="softmax"),
        )

    def check(m):
        scale = scale_of(m.factor, m.x)
        return scale if isinstance(scale, str) else None

    def replace(op, m):
        scale = m.softmax.op.scale * scale_of(m.factor, m.x)
        return op.add(dataclasses.replace(m.softmax.op, scale=scale), m.x, m.mask)


class SafeSoftmax(Rule):
    """Where(IsNaN(s), 0, s)  →  s with `safe`, where s is a MaskedSoftmax"""

    def pattern(op, x):
        softmax = op.MaskedSoftmax(x, ..., name="softmax")
        return op.Where(op.IsNaN(softmax), 0.0, softmax)

    def replace(op, m):
        return op.add(dataclasses.replace(m.softmax.op, safe=True), *m.softmax.inputs)


SOFTMAX = (GatedScores, HiddenScores, MaskedSoftmaxAdd, MaskedSoftmaxScale, SafeSoftmax)
