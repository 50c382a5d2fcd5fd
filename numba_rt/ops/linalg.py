"""Functions of whole matrices."""

from __future__ import annotations

import numpy as np

from numba_rt.dtypes import FLOATS
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact
from numba_rt.kernels.linalg import determinants
from numba_rt.ops._checks import check_dtype, check_rank, same_dim
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op


@op("Det", since=22)
class Det(Op):
    """The determinant of each matrix of the last two axes."""

    def infer(self, X: Fact) -> Fact:
        check_dtype(X, "X", FLOATS)
        check_rank(X, "X", at_least=2)
        assert X.shape is not None
        if not same_dim(X.shape[-1], X.shape[-2]):
            raise ShapeError(f"X = {X}: expected square matrices")
        return Fact(X.dtype, X.shape[:-2])

    def lower(self, low: Lowering, X: View, Y: View) -> None:
        if Y.size:
            n = X.shape[-1]
            tasks = low.tasks(float(Y.size) * n**3)
            work = low.scratch((tasks, n, n), np.float64)
            low.call(determinants, low.matrices(X), work, low.flat(Y), tasks)
