"""Append, CacheAttention: rows written into memory that outlives a run, and read where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba_rt.errors import ShapeError
from numba_rt.graph import Fact
from numba_rt.kernels.move import copy_bits
from numba_rt.ops._attention import Heads, heads_of
from numba_rt.ops._checks import check_axis, check_rank, check_same_dtype, same_dim
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import OWN, Op, op
from numba_rt.ops.attention import FusedAttention


@op("Append", domain=OWN)
class Append(Op):
    """`window` whose last rows along `axis` have become `rows`: they are written into the memory that
    is fed. Nothing else may read the window itself, and all axes before `axis` have size 1.
    """

    axis: int = 0

    view = True
    half = False
    deterministic = False  # two of them are never one: each has memory of its own

    def infer(self, window: Fact, rows: Fact) -> Fact:
        check_same_dtype(("window", window), ("rows", rows))
        check_rank(rows, "rows", exactly=window.rank)
        axis = check_axis(self.axis, window.rank, "axis")
        assert window.shape is not None and rows.shape is not None
        for i, (whole, part) in enumerate(zip(window.shape, rows.shape, strict=True)):
            if i < axis and not (same_dim(whole, 1) and same_dim(part, 1)):
                raise ShapeError(f"window = {window}: expected size 1 on the axes before {axis}")
            if i > axis and not same_dim(whole, part):
                raise ShapeError(f"rows = {rows} do not fit into window = {window} along axis {axis}")
        whole, part = window.shape[axis], rows.shape[axis]
        if isinstance(whole, int) and isinstance(part, int) and part > whole:
            raise ShapeError(f"rows = {rows} are more than window = {window} has along axis {axis}")
        return window

    def write(self, low: Lowering, window: View, rows: View) -> None:
        """The calls that write; what is read from then on is the window."""
        if rows.size:
            to = low.view(window, rows.shape, offset=window.nbytes - rows.nbytes)
            low.call(copy_bits, low.bits(rows), low.bits(to), low.tasks(rows.nbytes / 8))


@op("CacheAttention", domain=OWN)
class CacheAttention(FusedAttention):
    """FusedAttention whose K and V are windows of caches: (positions, batch, heads, size), not merged."""

    def infer(self, Q: Fact, K: Fact, V: Fact, mask: Fact | None = None, bias: Fact | None = None) -> Fact:
        return super().infer(Q, _as_heads(K, "K"), _as_heads(V, "V"), mask, bias)

    def reads_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        return position == 0 and super().reads_rows(position, shape, run)

    def _heads(self, Q: View, K: View, V: View) -> Any:
        moved = []
        for x in (K, V):
            (n, b, h, d), (along, batch, head, _) = x.shape, x.strides
            moved.append(Heads((b, h, n, d), (batch, head, along)))
        return (heads_of(Q, self.heads, self.q_merged), *moved)


def _as_heads(window: Fact, name: str) -> Fact:
    """(batch, heads, positions, size)"""
    check_rank(window, name, exactly=4)
    assert window.shape is not None
    n, b, h, d = window.shape
    return Fact(window.dtype, (b, h, n, d))
