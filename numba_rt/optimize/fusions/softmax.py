"""Softmax with the scale and the mask that come before it in attention."""

from __future__ import annotations

import dataclasses

from numba_rt.dtypes import FLOAT32
from numba_rt.optimize.pattern import Match
from numba_rt.optimize.rule import Rule, scale_of


def _is_last_axis(m: Match) -> str | None:
    fact = m.softmax.outputs[0].fact
    if fact.dtype != FLOAT32 or fact.shape is None:
        return "it is not float32 of known rank"
    return None if m.softmax.op.axis in (-1, fact.rank - 1) else "it is not over the last axis"


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


SOFTMAX = (MaskedSoftmaxAdd, MaskedSoftmaxScale, SafeSoftmax)
