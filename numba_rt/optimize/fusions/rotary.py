"""Rotary embedding as it is written out."""

from __future__ import annotations

from typing import Any

from numba_rt.dtypes import FLOAT32
from numba_rt.optimize.fusions.matmul import HEADS
from numba_rt.optimize.rule import Rule


class Rotary(Rule):
    """x * cos + Concat(-x2, x1) * sin, where x = (x1, x2)  →  FusedRotary(x, cos, sin)"""

    def pattern(op, x, cos, sin):
        second, first = op.Slice(x, ..., name="second"), op.Slice(x, ..., name="first")
        return op.Add(x * cos, op.Concat(op.Neg(second), first, name="joined") * sin)

    def check(m):
        shape, table = m.x.fact.shape, m.cos.fact.shape
        if m.x.fact.dtype != FLOAT32 or shape is None or len(shape) != 4 or not isinstance(shape[3], int):
            return "x is not float32 of 4 axes"
        size = shape[3]
        if table is None or table != m.sin.fact.shape or table[-1] != size or len(table) > 4:
            return "cos and sin are not tables of whole rows"
        if m.root.outputs[0].fact.shape != shape or m.joined.op.axis not in (-1, 3) or size % 2:
            return "the sum has another shape"
        halves = (_slice(m.first), _slice(m.second)) == ((0, size // 2), (size // 2, size))
        return None if halves else "what is joined are not the halves of x"

    def replace(op, m):
        return op.FusedRotary(m.x, m.cos, m.sin)


def _slice(node: Any) -> tuple[int, int] | None:
    """Start and end of a slice of the last of four axes, in steps of 1."""
    values = [None if v is None else v.constant for v in node.inputs[1:]]
    if len(values) < 3 or any(v is None or v.size != 1 for v in values):
        return None
    start, stop, axis, *step = (int(v.reshape(())) for v in values if v is not None)
    size = node.inputs[0].fact.shape[3]
    whole = axis in (-1, 3) and step in ([], [1])
    return (start % size, min(stop, size) if stop > 0 else size + stop) if whole else None


class TransposedRotary(Rule):
    """FusedRotary(Transpose(x, (0, 2, 1, 3)), ...) reads x where it lies"""

    shared = True

    def pattern(op, x, cos, sin):
        return op.FusedRotary(op.Transpose(x, name="transpose"), cos, sin, name="rotary")

    def check(m):
        fits = tuple(m.transpose.op.perm) == HEADS and not m.rotary.op.merged
        return None if fits else ""

    def replace(op, m):
        return op.FusedRotary(m.x, m.cos, m.sin, merged=True)


ROTARY = (Rotary, TransposedRotary)
