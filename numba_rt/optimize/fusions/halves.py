"""16-bit floats that are moved before they are computed with."""

from __future__ import annotations

from numba_rt.dtypes import FLOAT32, HALVES
from numba_rt.optimize.rule import Rule


class WidenedEarlier(Rule):
    """Cast(Transpose(x)) from 16 bits to float32  →  Transpose(Cast(x)); likewise other movers"""

    def pattern(op, x):
        moved = op.OneOf("Transpose|Reshape|Unsqueeze|Squeeze|Flatten|Expand", x, ..., name="mover")
        return op.Cast(moved, name="cast")

    def check(m):
        return None if m.x.fact.dtype in HALVES and m.root.outputs[0].fact.dtype == FLOAT32 else ""

    def replace(op, m):
        return op.add(m.mover.op, op.add(m.cast.op, m.x), *m.mover.inputs[1:])


HALF_MOVES = (WidenedEarlier,)
