"""Rules that remove work: identities, casts, shape changes of shape changes."""

from __future__ import annotations

import numpy as np

from numba_rt.dtypes import from_onnx
from numba_rt.graph import Sym
from numba_rt.optimize.pattern import Match
from numba_rt.optimize.rule import Rule, scalar


class IdentityOut(Rule):
    """Identity(x)  →  x"""

    def pattern(op, x):
        return op.Identity(x)

    def check(m):
        return None if m.x.producer is not None else "the input of the graph would be its output"

    def replace(op, m):
        return m.x


class CastToSame(Rule):
    """Cast(x)  →  x where x has that dtype already"""

    def pattern(op, x):
        return op.Cast(x, name="cast")

    def check(m):
        return None if from_onnx(m.cast.op.to) == m.x.fact.dtype else ""

    def replace(op, m):
        return m.x


class NeutralElement(Rule):
    """x + 0, x - 0, x * 1, x / 1, x ** 1  →  x"""

    def pattern(op, x, c):
        return op.Add(x, c), op.Sub(x, c), op.Mul(x, c), op.Div(x, c), op.Pow(x, c)

    def check(m):
        neutral = 0.0 if m.root.op.op_type in ("Add", "Sub") else 1.0
        if scalar(m.c) != neutral:
            return ""
        if m.x.fact.shape is None or m.x.fact.shape != m.root.outputs[0].fact.shape:
            return "the constant changes the shape"
        return None

    def replace(op, m):
        return m.x


class SumOfTwo(Rule):
    """Sum(x, y)  →  x + y"""

    def pattern(op, x, y):
        return op.Sum(x, y)

    def replace(op, m):
        return op.Add(m.x, m.y)


class TransposeTwice(Rule):
    """Transpose(Transpose(x))  →  Transpose(x), or x"""

    shared = True

    def pattern(op, x):
        return op.Transpose(op.Transpose(x, name="first"), name="second")

    def check(m):
        return None if m.x.fact.shape is not None else "the rank is not known"

    def replace(op, m):
        rank = m.x.fact.rank
        first = m.first.op.perm or tuple(reversed(range(rank)))
        second = m.second.op.perm or tuple(reversed(range(rank)))
        perm = tuple(first[i] for i in second)
        return m.x if perm == tuple(range(rank)) else op.Transpose(m.x, perm=perm)


class TransposeNothing(Rule):
    """Transpose(x)  →  Reshape(x) where only axes of size 1 move"""

    def pattern(op, x):
        return op.Transpose(x, name="transpose")

    def check(m):
        shape = m.x.fact.shape
        if shape is None:
            return "the rank is not known"
        perm = m.transpose.op.perm or tuple(reversed(range(len(shape))))
        moved = [i for i in perm if isinstance(shape[i], Sym) or shape[i] != 1]
        return None if moved == sorted(moved) else "axes that hold more than one element move"

    def replace(op, m):
        shape = m.root.outputs[0].fact.shape
        if sum(isinstance(d, Sym) for d in shape) < 2:
            target = np.array([-1 if isinstance(d, Sym) else d for d in shape], np.int64)
            return op.Reshape(m.x, target, allowzero=True)
        before, after = (np.array([a for a, d in enumerate(s) if d == 1]) for s in (m.x.fact.shape, shape))
        return op.Unsqueeze(op.Squeeze(m.x, before), after) if before.size else m.x


class ReshapeTwice(Rule):
    """Reshape(Reshape(x, s), t)  →  Reshape(x, t) where t says all sizes itself"""

    shared = True

    def pattern(op, x, s, t):
        return (
            op.Reshape(op.OneOf("Reshape|Flatten|Squeeze|Unsqueeze", x, s), t, name="last"),
            op.Reshape(op.OneOf("Flatten|Squeeze", x), t, name="last"),
        )

    def check(m):
        target = m.t.constant
        if target is None:
            return "the last shape is not constant"
        if not m.last.op.allowzero and (target == 0).any():
            return "the last shape copies a dimension of the first"
        if m.x.fact.shape is None:
            return "the rank is not known"
        return None

    def replace(op, m):
        return op.Reshape(m.x, m.t, allowzero=m.last.op.allowzero)


class ReshapeToSame(Rule):
    """Reshape(x, s)  →  x where x has that shape already"""

    def pattern(op, x, s):
        return op.Reshape(x, s), op.Expand(x, s), op.Squeeze(x, s), op.Unsqueeze(x, s)

    def check(m):
        shape = m.root.outputs[0].fact.shape
        return None if shape is not None and shape == m.x.fact.shape else ""

    def replace(op, m):
        return m.x


class PowerOfTwo(Rule):
    """x ** 2  →  x * x"""

    def pattern(op, x):
        return op.Pow(x, 2.0)

    def check(m):
        return None if m.x.fact.dtype.kind == "f" else "x is not floating point"

    def replace(op, m):
        return op.Mul(m.x, m.x)


class PowerOfHalf(Rule):
    """x ** 0.5  →  Sqrt(x)"""

    def pattern(op, x):
        return op.Pow(x, 0.5)

    def replace(op, m):
        return op.Sqrt(m.x)


def _are_constants(m: Match) -> str | None:
    """Why two operands cannot be combined when the model is loaded; "" where it is not worth saying."""
    if not (m.a.is_constant and m.b.is_constant) or m.x.is_constant or m.x.fact.dtype.kind != "f":
        return ""
    before, after = m.x.fact.shape, m.root.outputs[0].fact.shape
    return None if before is not None and before == after else ""


class ScaleTwice(Rule):
    """(x * a) * b  →  x * (a * b) for constants"""

    def pattern(op, x, a, b):
        return (x * a) * b

    check = _are_constants

    def replace(op, m):
        return op.Mul(m.x, m.a.constant * m.b.constant)


class ShiftTwice(Rule):
    """(x + a) + b  →  x + (a + b) for constants"""

    def pattern(op, x, a, b):
        return (x + a) + b

    check = _are_constants

    def replace(op, m):
        return op.Add(m.x, m.a.constant + m.b.constant)


class ScaleShifted(Rule):
    """(y * c + a) * b  →  y * (c * b) + a * b for constants"""

    def pattern(op, x, c, a, b):
        return (x * c + a) * b

    def check(m):
        return _are_constants(m) if m.c.is_constant else ""

    def replace(op, m):
        return op.Add(op.Mul(m.x, m.c.constant * m.b.constant), m.a.constant * m.b.constant)


class TransposeOfMerged(Rule):
    """Reshape(Transpose(Reshape(x, (b h, s, d)), (0, 2, 1)), (b, h, d, s))  →  Transpose(x, (0, 1, 3, 2))"""

    shared = True

    def pattern(op, x, s, t):
        return op.Reshape(op.Transpose(op.Reshape(x, s, name="merge"), name="transpose"), t, name="split")

    def check(m):
        shapes = [v.fact.shape for v in (m.x, m.merge.outputs[0], m.split.outputs[0])]
        if any(s is None for s in shapes) or tuple(m.transpose.op.perm or ()) != (0, 2, 1):
            return ""
        before, merged, after = shapes
        if len(before) != 4 or merged[1:] != before[2:]:
            return ""
        return None if after == (*before[:2], before[3], before[2]) else "it does not split what was merged"

    def replace(op, m):
        return op.Transpose(m.x, perm=(0, 1, 3, 2))


NO_MOVES = (TransposeNothing, TransposeTwice, ReshapeTwice, ReshapeToSame)
"""After layouts are chosen: a Transpose that has become a Reshape is no longer seen as one."""

LINEAR = (ScaleTwice, ShiftTwice, ScaleShifted)
"""Scales and shifts of one another; after they had their chance to go into weights."""

SIMPLIFY = (
    IdentityOut,
    CastToSame,
    NeutralElement,
    SumOfTwo,
    TransposeTwice,
    TransposeNothing,
    TransposeOfMerged,
    ReshapeTwice,
    ReshapeToSame,
    PowerOfTwo,
    PowerOfHalf,
)

__all__ = ["LINEAR", "NO_MOVES", "SIMPLIFY"]
