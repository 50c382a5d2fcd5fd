"""Attention: softmax(scale * Q @ K' + mask) @ V for many heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba_rt.dtypes import FLOAT32
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact
from numba_rt.ops._attention import Extras, heads_of, lower_attention, reads_whole_rows
from numba_rt.ops._checks import check_dtype, same_dim
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import OWN, Op, op


@op("FusedAttention", domain=OWN)
class FusedAttention(Op):
    """softmax(scale * Q @ K' + mask + bias) @ V in float32, head by head.

    Operands are (batch, heads, positions, size); those said to be merged lie in memory as (batch,
    positions, heads, size), where the last two axes may be one. A merged result is (batch, positions,
    heads * size). Each head of K and V serves heads / kv_heads heads of Q. mask and bias are
    broadcast to (batch, heads, queries, keys); their batch may also divide that of Q. With `safe`,
    queries that see nothing give 0 instead of NaN.
    """

    heads: int
    kv_heads: int
    scale: float = 1.0
    q_merged: bool = False
    k_merged: bool = False
    v_merged: bool = False
    y_merged: bool = False
    safe: bool = False

    def infer(self, Q: Fact, K: Fact, V: Fact, mask: Fact | None = None, bias: Fact | None = None) -> Fact:
        q = head_shape(Q, "Q", self.heads, self.q_merged)
        k = head_shape(K, "K", self.kv_heads, self.k_merged)
        v = head_shape(V, "V", self.kv_heads, self.v_merged)
        if not (
            same_dim(q[3], k[3]) and same_dim(k[2], v[2]) and same_dim(q[0], k[0]) and same_dim(k[0], v[0])
        ):
            raise ShapeError(f"Q = {Q}, K = {K} and V = {V} do not belong together")
        for name, fact in (("mask", mask), ("bias", bias)):
            if fact is not None:
                check_dtype(fact, name, {FLOAT32})
        y = (q[0], q[2], q[1] * v[3]) if self.y_merged else (*q[:3], v[3])
        return Fact(FLOAT32, y)

    def flops(self, Q: View, K: View, V: View, mask: View | None, bias: View | None, Y: View) -> int:
        q, k, v = self._heads(Q, K, V)
        return 2 * q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2] * (q.shape[3] + v.shape[3])

    def reads_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        return position < 3 and reads_whole_rows(shape, run)

    def writes_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        return reads_whole_rows(shape, run)

    def _heads(self, Q: View, K: View, V: View) -> Any:
        return (
            heads_of(Q, self.heads, self.q_merged),
            heads_of(K, self.kv_heads, self.k_merged),
            heads_of(V, self.kv_heads, self.v_merged),
        )

    def lower(
        self, low: Lowering, Q: View, K: View, V: View, mask: View | None, bias: View | None, Y: View
    ) -> None:
        if Y.size == 0:
            return
        heads = (*self._heads(Q, K, V), heads_of(Y, self.heads, self.y_merged))
        extras = Extras(self.scale, mask=mask, bias=bias, safe=self.safe)
        lower_attention(low, (Q, K, V, Y), heads, extras)


def head_shape(fact: Fact, name: str, heads: int, merged: bool) -> tuple[Dim, Dim, Dim, Dim]:
    """(batch, heads, positions, size) of an operand."""
    check_dtype(fact, name, {FLOAT32})
    shape = fact.shape
    assert shape is not None
    if len(shape) == 3 and merged:
        if isinstance(shape[2], int) and shape[2] % heads:
            raise ShapeError(f"{name} = {fact}: expected a last axis that {heads} heads divide")
        return (shape[0], heads, shape[1], shape[2] // heads)
    if len(shape) != 4:
        raise ShapeError(f"{name} = {fact}: expected 4 axes, or 3 where the heads are merged")
    b, h, n, d = (shape[0], shape[2], shape[1], shape[3]) if merged else shape
    if not same_dim(h, heads):
        raise ShapeError(f"{name} = {fact} has {h} heads: expected {heads}")
    return (b, heads, n, d)
