"""Operators of classical machine learning: the domain ai.onnx.ml."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numba_rt.dtypes import FLOATS, INT32, INT64, NUMERIC, STRING, dtype_name
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact
from numba_rt.ops._checks import check_dtype, check_rank
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op
from numba_rt.ops.elementwise import Elementwise
from numba_rt.ops.gather import Gather

ML = "ai.onnx.ml"


@op("ArrayFeatureExtractor", domain=ML)
class ArrayFeatureExtractor(Op):
    """The elements of the last axis that Y names; a vector counts as a matrix of one row."""

    half = False

    def infer(self, X: Fact, Y: Fact) -> Fact:
        check_dtype(X, "X", NUMERIC | {STRING})
        check_dtype(Y, "Y", {INT64})
        check_rank(X, "X", at_least=1)
        assert X.shape is not None
        return Fact(X.dtype, (*(X.shape[:-1] or (1,)), Y.size))

    def evaluate(self, X: np.ndarray, Y: np.ndarray) -> np.ndarray:
        wrong = Y[(Y < 0) | (X.shape[-1] <= Y)]
        if wrong.size:
            raise ShapeError(f"Y contains {wrong.flat[0]}: expected indices from 0 to {X.shape[-1] - 1}")
        made = X[..., Y.reshape(-1)]
        return made if X.ndim > 1 else made[None]

    def lower(self, low: Lowering, X: View, Y: View, Z: View) -> None:
        Gather(axis=-1).lower(low, X, low.flat(Y), low.view(Z, (*X.shape[:-1], Y.size)))


@op("Binarizer", domain=ML)
class Binarizer(Elementwise):
    """1 where the input is greater than the threshold, else 0"""

    threshold: float = 0.0

    expr = "{T}(1) if {0} > {threshold} else {T}(0)"
    inplace = (0,)

    def check(self, *facts: Fact) -> None:
        check_dtype(facts[0], "X", FLOATS | {INT32, INT64})

    def infer(self, X: Fact) -> Fact:
        return super().infer(X)

    def scalars(self, *dtypes: Any) -> dict[str, Any]:
        whole = dtypes[0].kind in "iu"
        return {"threshold": dtypes[0].type(math.floor(self.threshold) if whole else self.threshold)}


@op("LabelEncoder", since=4, domain=ML)
class LabelEncoder(Op):
    """Each element replaced by the value that belongs to it as a key, or by the default."""

    default_float: float = -0.0
    default_int64: int = -1
    default_string: str = "_Unused"
    default_tensor: np.ndarray | None = None
    keys_floats: tuple[float, ...] | None = None
    keys_int64s: tuple[int, ...] | None = None
    keys_strings: tuple[str, ...] | None = None
    keys_tensor: np.ndarray | None = None
    values_floats: tuple[float, ...] | None = None
    values_int64s: tuple[int, ...] | None = None
    values_strings: tuple[str, ...] | None = None
    values_tensor: np.ndarray | None = None

    half = False

    def _given(self, what: str) -> np.ndarray:
        """The keys or the values, whichever attribute holds them."""
        dtypes: dict[str, Any] = {"floats": np.float32, "int64s": np.int64, "strings": STRING, "tensor": None}
        given = [(d, getattr(self, f"{what}_{n}")) for n, d in dtypes.items()]
        found = [np.asarray(x, d).reshape(-1) for d, x in given if x is not None and len(x)]
        if len(found) != 1:
            raise ShapeError(f"{len(found)} of the attributes {what}_* are given: expected one")
        return found[0]

    def _default(self, dtype: np.dtype[Any]) -> Any:
        if self.default_tensor is not None and self.values_tensor is not None:
            if self.default_tensor.dtype != dtype or self.default_tensor.size != 1:
                raise ShapeError(f"default_tensor: expected one {dtype_name(dtype)}, as in values_tensor")
            return self.default_tensor.reshape(-1)[0]
        if dtype == STRING:
            return self.default_string
        return self.default_int64 if dtype.kind in "iu" else self.default_float

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (self._given("values").dtype,)

    def infer(self, X: Fact) -> Fact:
        keys, values = self._given("keys"), self._given("values")
        check_dtype(X, "X", {keys.dtype})
        if keys.size != values.size:
            raise ShapeError(f"{keys.size} keys and {values.size} values: expected as many of both")
        self._default(values.dtype)
        return Fact(values.dtype, X.shape)

    def run(self, X: np.ndarray) -> np.ndarray:
        self.infer(Fact(X.dtype, X.shape))
        values = self._given("values")
        keys = self._given("keys").tolist()
        table = dict(zip(keys, values, strict=True))
        default = self._default(values.dtype)
        missing = next((v for k, v in zip(keys[::-1], values[::-1], strict=True) if k != k), default)
        made = np.empty(X.size, values.dtype)
        for i, x in enumerate(X.reshape(-1).tolist()):
            made[i] = table.get(x, default) if x == x else missing
        return made.reshape(X.shape)
