"""Attention: softmax(scale * Q @ K' + mask) @ V for many heads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_rt.dtypes import BOOL, FLOAT32, FLOAT64, FLOATS
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact, Sym, dim_max
from numba_rt.ops._attention import Extras, Heads, heads_of, lower_attention, reads_whole_rows
from numba_rt.ops._checks import check_dtype, check_rank, same_dim
from numba_rt.ops._generate import lower_steps
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import OWN, Op, op
from numba_rt.ops._strided import copy_strided
from numba_rt.ops.elementwise import Elementwise, Step


@op("FusedAttention", domain=OWN)
class FusedAttention(Op):
    """softmax(scale * Q @ K' + mask + bias) @ V in float32, head by head.

    The batch and the queries of Q are repeated for those of masks.
    Operands are (batch, heads, positions, size); those said to be merged lie in memory as (batch,
    positions, heads, size), where the last two axes may be one. A merged result is (batch, positions,
    heads * size). Each head of K and V serves heads / kv_heads heads of Q. mask and bias are
    broadcast to (batch, heads, queries, keys); their batch may also divide that of Q. Query i sees the keys
    from i - left to i + right, all of those before or after where that is negative. With `safe`,
    queries without a result give 0 instead of NaN; if it is 2, only those that see no key.
    """

    heads: int
    kv_heads: int
    scale: float = 1.0
    q_merged: bool = False
    k_merged: bool = False
    v_merged: bool = False
    y_merged: bool = False
    softcap: float = 0.0
    left: int = -1
    right: int = -1
    safe: int = 0
    at_end: bool = False
    """Whether queries are the last of the keys, for `left` and `right`, and not the first."""

    def infer(self, Q: Fact, K: Fact, V: Fact, mask: Fact | None = None, bias: Fact | None = None) -> Fact:
        q = head_shape(Q, "Q", self.heads, self.q_merged)
        k = head_shape(K, "K", self.kv_heads, self.k_merged)
        v = head_shape(V, "V", self.kv_heads, self.v_merged)
        if not (
            same_dim(q[3], k[3]) and same_dim(k[2], v[2]) and same_dim(q[0], k[0]) and same_dim(k[0], v[0])
        ):
            raise ShapeError(f"Q = {Q}, K = {K} and V = {V} do not belong together")
        b, m = q[0], q[2]
        for name, fact in (("mask", mask), ("bias", bias)):
            if fact is not None and fact.shape is not None:
                check_dtype(fact, name, {FLOAT32})
                sizes = ((1,) * (4 - fact.rank) + fact.shape)[-4:]
                b, m = _repeated(b, sizes[0]), _repeated(m, sizes[2])
        return Fact(FLOAT32, (b, m, q[1] * v[3]) if self.y_merged else (b, q[1], m, v[3]))

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
        q, k, v = self._heads(Q, K, V)
        y = heads_of(Y, self.heads, self.y_merged)
        heads = (q.repeated(y.shape[0], y.shape[2]), k.repeated(y.shape[0]), v.repeated(y.shape[0]), y)
        extras = Extras(
            self.scale, self.softcap, mask, bias, offset=None if self.at_end else 0, left=self.left,
            right=self.right, safe=self.safe,
        )  # fmt: skip
        lower_attention(low, (Q, K, V, Y), heads, extras)


def _repeated(dim: Dim, other: Dim) -> Dim:
    """The size of an axis of Q that is repeated for a mask's if it is 1."""
    if dim == other or (isinstance(other, int) and (other == 1 or dim != 1)):
        return dim
    if isinstance(dim, Sym):
        return dim_max(dim, other)
    return other if dim == 1 else dim


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


@op("MaskToBias", domain=OWN)
class MaskToBias(Elementwise):
    """0 where a mask is set, -inf elsewhere, as float32."""

    expr = "np.float32(0) if {0} else np.float32(-np.inf)"

    def result_dtype(self, *dtypes: Any) -> np.dtype[Any]:
        return FLOAT32


@op("Attention", since=25)
class Attention(Op):
    """Attention as the standard has it: with a mask, and with keys and values of the past put first."""

    is_causal: bool = False
    kv_num_heads: int = 0
    q_num_heads: int = 0
    left_window_size: int = -1
    right_window_size: int = -1
    qk_matmul_output_mode: int = 0
    scale: float | None = None
    softcap: float = 0.0
    softmax_precision: int = 1
    n_outputs: int = 1

    @classmethod
    def is_left_to_standard(cls, facts: Sequence[Any], n_outputs: int) -> bool:
        return n_outputs > 3 or facts[0].dtype == FLOAT64

    def infer(
        self, Q: Fact, K: Fact, V: Fact, attn_mask: Fact | None = None, past_key: Fact | None = None,
        past_value: Fact | None = None, nonpad_kv_seqlen: Fact | None = None,
    ) -> tuple[Fact, ...]:  # fmt: skip
        q, k, v = (self._shape(f, n) for f, n in ((Q, "Q"), (K, "K"), (V, "V")))
        if (past_key is None) != (past_value is None):
            raise ShapeError("past_key and past_value belong together: only one of them is given")
        same = ((q[0], k[0]), (k[0], v[0]), (q[3], k[3]), (k[1], v[1]), (k[2], v[2]))
        if not all(same_dim(a, b) for a, b in same):
            raise ShapeError(f"Q = {Q}, K = {K} and V = {V} do not belong together")
        if isinstance(q[1], int) and isinstance(k[1], int) and (k[1] == 0 or q[1] % k[1]):
            raise ShapeError(f"{k[1]} heads of K do not divide {q[1]} heads of Q")
        n = k[2]
        if past_key is not None:
            check_rank(past_key, "past_key", exactly=4)
            assert past_key.shape is not None
            n = n + past_key.shape[2]
        y = (*q[:3], v[3]) if Q.rank == 4 else (q[0], q[2], q[1] * v[3])
        if self.n_outputs > 3:
            raise ShapeError("the product of queries and keys is not computed: expected at most 3 outputs")
        facts = [Fact(Q.dtype, y), Fact(K.dtype, (*k[:2], n, k[3])), Fact(V.dtype, (*k[:2], n, v[3]))]
        return tuple(facts[: self.n_outputs])

    def _shape(self, fact: Fact, name: str) -> tuple[Dim, ...]:
        """(batch, heads, positions, size)"""
        check_dtype(fact, name, FLOATS)
        assert fact.shape is not None
        if fact.rank == 4:
            return fact.shape
        heads = self.q_num_heads if name == "Q" else self.kv_num_heads
        check_rank(fact, name, exactly=3)
        if heads < 1 or (isinstance(fact.shape[2], int) and fact.shape[2] % heads):
            raise ShapeError(f"{name} = {fact}: expected a number of heads that divides the last axis")
        return (fact.shape[0], heads, fact.shape[1], fact.shape[2] // heads)

    def flops(self, Q: View, K: View, V: View, *rest: View | None) -> int:
        q, v = heads_of(Q, self.q_num_heads, False).shape, heads_of(V, self.kv_num_heads, False).shape
        past = 0 if rest[1] is None else rest[1].shape[2]
        return 2 * q[0] * q[1] * q[2] * (v[2] + past) * (q[3] + v[3])

    def lower(
        self, low: Lowering, Q: View, K: View, V: View, attn_mask: View | None, past_key: View | None,
        past_value: View | None, nonpad_kv_seqlen: View | None, Y: View, *present: View,
    ) -> None:  # fmt: skip
        past = 0 if past_key is None else past_key.shape[2]
        outs = (*present[:2], None, None)[:2]
        k = _with_past(low, K, self.kv_num_heads, past_key, outs[0])
        v = _with_past(low, V, self.kv_num_heads, past_value, outs[1])
        if Y.size == 0:
            return
        heads = (heads_of(Q, self.q_num_heads, False), k[1], v[1], heads_of(Y, self.q_num_heads, False))
        mask, lengths = attn_mask, nonpad_kv_seqlen
        if mask is not None:
            seen = mask.shape[-1] if mask.shape[-1] > 1 else k[1].shape[2]
            heads = (heads[0], heads[1].cut(seen), heads[2].cut(seen), heads[3])
            if mask.dtype == BOOL:
                bits, mask = mask, low.scratch(mask.shape)
                lower_steps(low, (Step(MaskToBias(), (0,)),), [bits], mask)
        right = 0 if self.is_causal else self.right_window_size
        offset = None if nonpad_kv_seqlen is not None and past_key is None else past
        extras = Extras(
            self.score_scale(heads[0].shape[3]), self.softcap, mask, lengths=lengths, offset=offset,
            left=self.left_window_size, right=right, safe=2,
        )  # fmt: skip
        lower_attention(low, (Q, k[0], v[0], Y), heads, extras)

    def score_scale(self, size: int) -> float:
        """What scores are multiplied with."""
        return 1 / math.sqrt(max(size, 1)) if self.scale is None else self.scale


def _with_past(
    low: Lowering, x: View, heads: int, past: View | None, present: View | None
) -> tuple[View, Heads]:
    """Keys or values with those of the past before them, and how they lie."""
    own = heads_of(x, heads, False)
    if past is None and present is None:
        return x, own
    b, h, n, d = own.shape
    before = 0 if past is None else past.shape[2]
    if present is None:
        present = low.scratch((b, h, before + n, d), x.dtype)
    steps = present.strides
    if past is not None:
        copy_strided(low, past, present, list(zip(past.shape, past.strides, steps, strict=True)))
    axes = list(zip(own.shape, (*own.strides, 1), steps, strict=True))
    copy_strided(low, x, present, axes, y0=before * steps[2])
    return present, heads_of(present, 0, False)
