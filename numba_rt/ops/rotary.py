"""Rotary position embedding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from numba_rt.dtypes import FLOATS, INT64
from numba_rt.errors import IndexRangeError, ShapeError
from numba_rt.graph import Fact
from numba_rt.kernels.rotary import rotary
from numba_rt.ops._attention import Heads, heads_of, mask_strides, reads_whole_rows
from numba_rt.ops._checks import check_dtype, check_rank, check_same_dtype, same_dim
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import OWN, Op, op

COST = 2
"""Work per element relative to an addition."""
NO_POSITIONS = np.zeros(1, np.int64)


@op("RotaryEmbedding", since=23)
class RotaryEmbedding(Op):
    """Turns pairs of numbers of each head by an angle that depends on the position."""

    interleaved: bool = False
    num_heads: int = 0
    rotary_embedding_dim: int = 0

    inplace = (0,)

    def infer(self, X: Fact, cos_cache: Fact, sin_cache: Fact, position_ids: Fact | None = None) -> Fact:
        check_same_dtype(("X", X), ("cos_cache", cos_cache), ("sin_cache", sin_cache))
        check_dtype(X, "X", FLOATS)
        if X.rank not in (3, 4):
            raise ShapeError(f"X = {X} has rank {X.rank}: expected 3 or 4")
        assert X.shape is not None
        if X.rank == 3 and self.num_heads < 1:
            raise ShapeError(f"num_heads = {self.num_heads}: expected the number of heads of X = {X}")
        for name, fact in (("cos_cache", cos_cache), ("sin_cache", sin_cache)):
            check_rank(fact, name, exactly=3 if position_ids is None else 2)
        size = X.shape[3] if X.rank == 4 else X.shape[2] // self.num_heads
        pairs = self.rotary_embedding_dim // 2 or size // 2
        n = X.shape[2] if X.rank == 4 else X.shape[1]
        table = cos_cache.shape
        assert table is not None
        if not same_dim(table[-1], pairs) or (position_ids is None and not same_dim(table[1], n)):
            raise ShapeError(
                f"cos_cache = {cos_cache} does not fit X = {X}: expected rows of {pairs} numbers"
            )
        if cos_cache.shape != sin_cache.shape and cos_cache.is_static and sin_cache.is_static:
            raise ShapeError(f"cos_cache = {cos_cache} and sin_cache = {sin_cache}: expected the same shape")
        return Fact(X.dtype, X.shape)

    def lower(
        self, low: Lowering, X: View, cos_cache: View, sin_cache: View, position_ids: View | None, Y: View
    ) -> None:
        x, y = heads_of(X, self.num_heads, False), heads_of(Y, self.num_heads, False)
        pairs = self.rotary_embedding_dim // 2 or x.shape[3] // 2
        strides = (0, 0, 0)
        if position_ids is None:
            batch, n = cos_cache.shape[:2]
            strides = (n * pairs if batch > 1 else 0, 0, pairs)
        table = (strides, pairs, 0, cos_cache.shape[0])
        _call(low, (X, Y), (x, y), (cos_cache, sin_cache), position_ids, table, self.interleaved)

    def reads_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        return position == 0 and reads_whole_rows(shape, run)

    def writes_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        return reads_whole_rows(shape, run)


@op("FusedRotary", domain=OWN)
class FusedRotary(Op):
    """x * cos + (-x2, x1) * sin, where x = (x1, x2) are the halves of a head.

    X is (batch, heads, positions, size) or, if it is merged, lies as (batch, positions, heads, size);
    cos and sin are broadcast to (batch, heads, positions, size) but for the last axis.
    """

    merged: bool = False

    def infer(self, X: Fact, cos: Fact, sin: Fact) -> Fact:
        check_rank(X, "X", exactly=4)
        assert X.shape is not None
        b, h, n, d = X.shape
        return Fact(X.dtype, (b, n, h, d) if self.merged else X.shape)

    def lower(self, low: Lowering, X: View, cos: View, sin: View, Y: View) -> None:
        x, y = heads_of(X, 0, self.merged), heads_of(Y, 0, False)
        pairs, strides = x.shape[3] // 2, mask_strides(cos.shape, x.shape)[2:5]
        _call(low, (X, Y), (x, y), (cos, sin), None, (strides, 2 * pairs, pairs, 0), False)

    def reads_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        return position == 0 and reads_whole_rows(shape, run)

    def writes_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        return reads_whole_rows(shape, run)


def _call(
    low: Lowering, views: tuple[View, View], heads: tuple[Heads, Heads], angles: tuple[View, View],
    positions: View | None, table: tuple[tuple[int, ...], int, int, int], interleaved: bool,
) -> None:  # fmt: skip
    (X, Y), (x, y), (strides, width, second, rows) = views, heads, table
    if Y.size == 0:
        return
    pairs = width // 2 if second else width
    step, apart = (2, 1) if interleaved else (1, pairs)
    b, h, n, size = x.shape
    g = np.array(
        [b, h, n, size, pairs, step, apart, *x.strides, *y.strides, positions is not None,
         *strides, width, second, rows], np.int64
    )  # fmt: skip
    status = low.guard(lambda bad: IndexRangeError(f"position_ids contains {bad}: expected 0 to {rows - 1}"))
    where = low.const(NO_POSITIONS) if positions is None else low.view(positions, (positions.size,), INT64)
    low.call(
        rotary, low.span(X), low.flat(angles[0]), low.flat(angles[1]), where, status, low.const(g),
        low.span(Y), low.tasks(Y.size * COST),
    )  # fmt: skip
