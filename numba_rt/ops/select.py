"""Operators whose output has as many elements as meet a condition."""

from __future__ import annotations

import numpy as np

from numba_rt.dtypes import BOOL, INT64, STRING
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact, Sym, fresh_dim
from numba_rt.ops._checks import check_axis, check_dtype, check_rank
from numba_rt.ops._op import Op, op


@op("NonZero", since=13)
class NonZero(Op):
    """Indices of the elements that are not zero, a row for each axis."""

    half = False
    data_dependent = True

    def out_dtypes(self, *facts: Fact) -> tuple[np.dtype, ...]:
        return (INT64,)

    def infer(self, X: Fact) -> Fact:
        return Fact(INT64, (X.rank, fresh_dim("nonzero")))

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        if X.dtype == STRING:
            X = X != ""
        if X.ndim == 0:
            return np.zeros((0, int(X != 0)), np.int64)
        return np.array(np.nonzero(X), np.int64)


@op("Compress", since=28)
class Compress(Op):
    """The entries along `axis`, or of the flattened input, for which the condition holds."""

    axis: int | None = None

    half = False
    data_dependent = True

    def infer(self, input: Fact, condition: Fact) -> Fact:
        check_rank(input, "input", at_least=1)
        check_rank(condition, "condition", exactly=1)
        check_dtype(condition, "condition", {BOOL})
        assert input.shape is not None and condition.shape is not None
        axis = None if self.axis is None else check_axis(self.axis, input.rank)
        size, given = (input.size if axis is None else input.shape[axis]), condition.shape[0]
        if not isinstance(size, Sym) and not isinstance(given, Sym) and given > size:
            raise ShapeError(f"condition = {condition} is longer than what it selects from: {size}")
        count = fresh_dim("compress")
        return Fact(
            input.dtype, (count,) if axis is None else (*input.shape[:axis], count, *input.shape[axis + 1 :])
        )

    def evaluate(self, input: np.ndarray, condition: np.ndarray) -> np.ndarray:
        return np.compress(condition, input, axis=self.axis)
