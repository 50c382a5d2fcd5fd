"""Operators of ONNX Runtime's own domain that the standard's cannot express."""

from __future__ import annotations

import numpy as np

from numba_rt.dtypes import FLOATS
from numba_rt.errors import InputError, ShapeError
from numba_rt.graph import Fact
from numba_rt.ops._checks import check_dtype, check_rank, same_dim
from numba_rt.ops._op import Op, op
from numba_rt.ops.activation import MICROSOFT


@op("Inverse", domain=MICROSOFT)
class Inverse(Op):
    """The inverse of each matrix of the last two axes."""

    def infer(self, X: Fact) -> Fact:
        check_dtype(X, "X", FLOATS)
        check_rank(X, "X", at_least=2)
        assert X.shape is not None
        if not same_dim(X.shape[-1], X.shape[-2]):
            raise ShapeError(f"X = {X}: expected square matrices")
        return Fact(X.dtype, X.shape)

    def run(self, X: np.ndarray) -> np.ndarray:
        try:
            return np.linalg.inv(X)
        except np.linalg.LinAlgError:
            raise InputError("X holds a matrix that has no inverse") from None
