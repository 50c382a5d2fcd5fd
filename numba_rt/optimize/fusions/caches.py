"""Caches: attention that reads them where they lie."""

from __future__ import annotations

from numba_rt.ops.cache import CacheAttention
from numba_rt.optimize.rule import Rule

ROWS_FIRST = (1, 2, 0, 3)
"""From (positions, batch, heads, size) to (batch, heads, positions, size)."""


class WindowOperands(Rule):
    """FusedAttention(q, Transpose(k), Transpose(v))  →  CacheAttention(q, k, v)"""

    def pattern(op, q, k, v):
        return op.FusedAttention(
            q, op.Transpose(k, name="of_k"), op.Transpose(v, name="of_v"), ..., name="attention"
        )

    def check(m):
        if any(tuple(t.op.perm) != ROWS_FIRST for t in (m.of_k, m.of_v)):
            return "positions do not come first in memory"
        return "heads are merged" if m.attention.op.k_merged or m.attention.op.v_merged else None

    def replace(op, m):
        made = CacheAttention(**m.attention.op.attributes())
        return op.add(made, m.q, m.k, m.v, *m.attention.inputs[3:])


CACHES = (WindowOperands,)
