"""Running sums and products along an axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from numba_rt.dtypes import FLOAT32, FLOAT64, FLOATS
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact
from numba_rt.jit import inline, kernel, prange, u
from numba_rt.ops._checks import check_axis, check_dtype, check_rank, known_ints
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op
from numba_rt.ops.reduce import WIDE_INTEGERS


@inline
def _join(a, b, product):
    return a * b if product else a + b


@kernel
def accumulate(x, outer, n, inner, product, exclusive, reverse, first, y, tasks):
    """y = running sums (or products) of x along n.   x, y: (outer * n * inner,).

    first: 0 for sums, 1 for products, of the dtype that adds up rows.
    """
    for t in prange(tasks):
        if inner == 1:
            for row in range(t * outer // tasks, (t + 1) * outer // tasks):
                at, step = (row * n + n - 1, -1) if reverse else (row * n, 1)
                total = first
                for _ in range(n):
                    before = total
                    total = _join(total, x[u(at)], product)
                    y[u(at)] = before if exclusive else total
                    at += step
        else:
            # A task's share may begin and end within a row of columns.
            begin, end = t * outer * inner // tasks, (t + 1) * outer * inner // tasks
            while begin < end:
                j0 = begin % inner
                width = min(end - begin, inner - j0)
                start = begin // inner * n * inner + j0
                at, step = (start + (n - 1) * inner, -inner) if reverse else (start, inner)
                for j in range(width):
                    y[u(at + j)] = first if exclusive else x[u(at + j)]
                for _ in range(n - 1):
                    before = at
                    at += step
                    source = before if exclusive else at
                    for j in range(width):
                        y[u(at + j)] = _join(y[u(before + j)], x[u(source + j)], product)
                begin += width


@dataclass(init=False, eq=False, repr=False)
class Cumulative(Op):
    """Sums or products of all elements up to each one along an axis."""

    exclusive: bool = False
    reverse: bool = False

    needs_value = (1,)
    product: ClassVar[bool] = False

    def infer(self, x: Fact, axis: Fact) -> Fact:
        check_dtype(x, "x", FLOATS | WIDE_INTEGERS)
        check_rank(x, "x", at_least=1)
        values = known_ints(axis, "axis")
        if len(values) != 1:
            raise ShapeError(f"axis = {axis} must be one number")
        check_axis(int(values[0]), x.rank)
        return Fact(x.dtype, x.shape)

    def lower(self, low: Lowering, x: View, axis: View, y: View) -> None:
        if y.size == 0:
            return
        assert axis.constant is not None
        sizes = low.rows(x, int(axis.constant.reshape(-1)[0]) % x.rank).shape
        wide = FLOAT64 if x.dtype == FLOAT32 else x.dtype
        first = wide.type(self.product)
        tasks = low.tasks(x.size)
        low.call(
            accumulate,
            low.flat(x),
            *sizes,
            self.product,
            self.exclusive,
            self.reverse,
            first,
            low.flat(y),
            tasks,
        )


@op("CumSum", since=14)
class CumSum(Cumulative):
    """Sums of all elements up to each one along an axis."""


@op("CumProd", since=26)
class CumProd(Cumulative):
    """Products of all elements up to each one along an axis."""

    product = True
