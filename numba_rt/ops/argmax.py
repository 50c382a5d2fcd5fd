"""Positions of the largest and smallest elements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from numba_rt.dtypes import FLOATS, INT64, NUMERIC
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact, Sym
from numba_rt.jit import inline, kernel, prange, u
from numba_rt.kernels.extreme import maximum, minimum
from numba_rt.ops._checks import check_axis, check_dtype, check_rank
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op

BLOCK = 512
"""Elements whose extreme is found before its position is looked for."""


@inline
def _beats(a, b, smaller, ties):
    """Whether a takes the place of b, which came before it; a NaN beats every number."""
    if b != b:
        return ties and a != a
    if a != a or (ties and a == b):
        return True
    return a < b if smaller else a > b


@kernel.reduction
def arg_rows(x, n, smaller, last, y, tasks):
    """y[row] = position of the first (or last) extreme element.   x: (rows * n,), y: (rows,) int64."""
    for t in prange(tasks):
        for row in range(t * y.size // tasks, (t + 1) * y.size // tasks):
            base = row * n
            best, where = x[u(base)], 0
            for start in range(base, base + n, BLOCK):
                stop = min(start + BLOCK, base + n)
                found = x[u(start)]
                for i in range(start, stop):
                    found = minimum(x[u(i)], found) if smaller else maximum(x[u(i)], found)
                if start == base or _beats(found, best, smaller, last):
                    best, where = found, start
            stop = min(where + BLOCK, base + n)
            at = where
            for i in range(where, stop):
                if x[u(i)] == best or (best != best and x[u(i)] != x[u(i)]):
                    at = i
                    if not last:
                        break
            y[u(row)] = at - base


@kernel
def arg_columns(x, outer, n, inner, smaller, last, best, y, tasks):
    """y = positions along n of the first (or last) extreme elements.

    x: (outer * n * inner,), y: (outer * inner,) int64; best: (outer * inner,) of x's dtype.
    """
    total = outer * inner
    for t in prange(tasks):
        # A task's share may begin and end within a row of columns.
        at, end = t * total // tasks, (t + 1) * total // tasks
        while at < end:
            stop = min(end, at // inner * inner + inner)
            source = at // inner * (n - 1) * inner
            for j in range(at, stop):
                best[u(j)] = x[u(source + j)]
                y[u(j)] = 0
            for k in range(1, n):
                source += inner
                for j in range(at, stop):
                    v = x[u(source + j)]
                    wins = _beats(v, best[u(j)], smaller, last)
                    best[u(j)] = v if wins else best[u(j)]
                    y[u(j)] = k if wins else y[u(j)]
            at = stop


@kernel
def mark(positions, n, inner, one, y, tasks):
    """y = 1 at the positions along n, 0 elsewhere.   positions: (outer * inner,), y: (outer * n * inner,)."""
    rows = positions.size // inner * n
    for t in prange(tasks):
        for row in range(t * rows // tasks, (t + 1) * rows // tasks):
            source, k = row // n * inner, row % n
            for j in range(inner):
                y[u(row * inner + j)] = one if positions[u(source + j)] == k else one - one


def lower_positions(low: Lowering, x: View, axis: int, smaller: bool, last: bool, y: View) -> None:
    """Write the positions of the extremes of x along an axis into y, int64."""
    outer, n, inner = low.rows(x, axis).shape
    tasks = low.tasks(x.size)
    if inner == 1:
        low.call(arg_rows, low.flat(x), n, smaller, last, low.flat(y), tasks)
    else:
        best = low.scratch((outer * inner,), x.dtype)
        low.call(arg_columns, low.flat(x), outer, n, inner, smaller, last, best, low.flat(y), tasks)


@dataclass(init=False, eq=False, repr=False)
class ArgExtreme(Op):
    """The position along an axis of the largest or smallest element, or of the first NaN."""

    axis: int = 0
    keepdims: bool = True
    select_last_index: bool = False

    smaller: ClassVar[bool] = False

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (INT64,)

    def infer(self, data: Fact) -> Fact:
        check_dtype(data, "data", NUMERIC)
        check_rank(data, "data", at_least=1)
        axis = check_axis(self.axis, data.rank)
        assert data.shape is not None
        size = data.shape[axis]
        if not isinstance(size, Sym) and size == 0:
            raise ShapeError(f"axis {axis} of data = {data} is empty: it has no {self.op_type}")
        kept = (1,) if self.keepdims else ()
        return Fact(INT64, data.shape[:axis] + kept + data.shape[axis + 1 :])

    def lower(self, low: Lowering, data: View, reduced: View) -> None:
        if reduced.size:
            axis = self.axis % data.rank
            lower_positions(low, data, axis, self.smaller, self.select_last_index, reduced)


@op("ArgMax", since=13)
class ArgMax(ArgExtreme):
    """The position of the largest element along an axis."""


@op("ArgMin", since=13)
class ArgMin(ArgExtreme):
    """The position of the smallest element along an axis."""

    smaller = True


@op("Hardmax", since=13)
class Hardmax(Op):
    """1 for the first of the largest elements along an axis, 0 for the others."""

    axis: int = -1

    def infer(self, input: Fact) -> Fact:
        check_dtype(input, "input", FLOATS)
        check_rank(input, "input", at_least=1)
        check_axis(self.axis, input.rank)
        return Fact(input.dtype, input.shape)

    def lower(self, low: Lowering, input: View, output: View) -> None:
        if output.size == 0:
            return
        axis = self.axis % input.rank
        outer, n, inner = low.rows(input, axis).shape
        positions = low.scratch((outer * inner,), INT64)
        lower_positions(low, input, axis, False, False, positions)
        one = input.dtype.type(1)
        low.call(mark, positions, n, inner, one, low.flat(output), low.tasks(output.size))
