"""Operators that order elements: TopK and Unique."""

from __future__ import annotations

import numpy as np

from numba_rt.dtypes import HALVES, INT64, NUMERIC
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact, Sym, fresh_dim
from numba_rt.kernels.sort import top_k
from numba_rt.ops._checks import check_axis, check_dtype, check_rank, known_ints
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op


@op("TopK", since=24)
class TopK(Op):
    """The K largest (or smallest) elements along `axis` in order, and where they were; of equal
    ones the first comes first, and NaN is larger than any number.
    """

    axis: int = -1
    largest: bool = True
    sorted: bool = True

    needs_value = (1,)

    def out_dtypes(self, *facts: Fact) -> tuple[np.dtype, ...]:
        return facts[0].dtype, INT64

    def infer(self, X: Fact, K: Fact) -> tuple[Fact, Fact]:
        check_dtype(X, "X", NUMERIC | HALVES)
        check_rank(X, "X", at_least=1)
        axis = check_axis(self.axis, X.rank)
        wanted = known_ints(K, "K")
        if len(wanted) != 1:
            raise ShapeError(f"K = {K}: expected one number")
        assert X.shape is not None
        k, n = wanted[0], X.shape[axis]
        if not isinstance(k, Sym) and (k < 0 or (not isinstance(n, Sym) and k > n)):
            raise ShapeError(f"K = {k} is out of range for axis {axis} of X = {X}: expected 0 to {n}")
        shape = (*X.shape[:axis], k, *X.shape[axis + 1 :])
        return Fact(X.dtype, shape), Fact(INT64, shape)

    def lower(self, low: Lowering, X: View, K: View, values: View, indices: View | None = None) -> None:
        if values.size == 0:
            return
        axis = check_axis(self.axis, X.rank)
        places = low.scratch(values.shape, INT64) if indices is None else indices
        work = low.tasks(4 * X.size)
        low.call(top_k, low.rows(X, axis), self.largest, low.rows(values, axis), low.rows(places, axis), work)


@op("Unique", since=28)
class Unique(Op):
    """The distinct elements, or slices along `axis`: in order, or as they first appear unless
    `sorted`; where each appears first, which of them every element is, and how often each appears.
    """

    axis: int | None = None
    sorted: bool = True
    n_outputs: int = 4

    half = False
    data_dependent = True

    def out_dtypes(self, *facts: Fact) -> tuple[np.dtype, ...]:
        return facts[0].dtype, INT64, INT64, INT64

    def infer(self, X: Fact) -> tuple[Fact, ...]:
        assert X.shape is not None
        count = fresh_dim("unique")
        if self.axis is None:
            return (
                Fact(X.dtype, (count,)),
                Fact(INT64, (count,)),
                Fact(INT64, (X.size,)),
                Fact(INT64, (count,)),
            )
        axis = check_axis(self.axis, X.rank)
        shape = (*X.shape[:axis], count, *X.shape[axis + 1 :])
        inverse = Fact(INT64, (X.shape[axis],))
        return Fact(X.dtype, shape), Fact(INT64, (count,)), inverse, Fact(INT64, (count,))

    def evaluate(self, X: np.ndarray) -> tuple[np.ndarray, ...]:
        if self.axis is not None and (X.dtype == object or X.size == 0):
            _, first, inverse, counts = _unique_slices(X, check_axis(self.axis, X.ndim))
        else:
            _, first, inverse, counts = np.unique(
                X, return_index=True, return_inverse=True, return_counts=True, axis=self.axis
            )
        inverse = inverse.reshape(-1)
        if not self.sorted:
            order = np.argsort(first, kind="stable")
            rank = np.empty_like(order)
            rank[order] = np.arange(order.size)
            first, counts, inverse = first[order], counts[order], rank[inverse]
        values = X.reshape(-1)[first] if self.axis is None else np.take(X, first, axis=self.axis)
        return values, first, inverse, counts


def _unique_slices(X: np.ndarray, axis: int) -> tuple[None, np.ndarray, np.ndarray, np.ndarray]:
    """np.unique along an axis for what it does not take: strings, and slices without elements."""
    slices = [tuple(s.reshape(-1).tolist()) for s in np.moveaxis(X, axis, 0)]
    known = {s: i for i, s in enumerate(sorted(set(slices)))}
    inverse = np.array([known[s] for s in slices], np.int64)
    first = np.array([slices.index(s) for s in known], np.int64)
    return None, first, inverse, np.bincount(inverse, minlength=len(known))
