"""What ai.onnx.ml does to features before a model reads them; NumPy computes it on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_rt.dtypes import FLOAT32, FLOATS, INT64, STRING
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact
from numba_rt.ops._checks import check_dtype, check_rank, same_dim
from numba_rt.ops._op import Op, op
from numba_rt.ops._scores import NUMBERS, rows
from numba_rt.ops.ml import ML
from numba_rt.ops.strings import elementwise


def _check_count(name: str, count: int, features: Dim) -> None:
    if count != 1 and isinstance(features, int) and count != features:
        raise ShapeError(f"{name} has {count} numbers: expected 1, or {features}, one a feature")


def _features(X: Fact) -> Dim:
    check_dtype(X, "X", NUMBERS)
    check_rank(X, "X", at_least=1)
    assert X.shape is not None
    return X.shape[-1]


@op("Scaler", domain=ML)
class Scaler(Op):
    """(X - offset) * scale, in float32."""

    offset: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (FLOAT32,)

    def infer(self, X: Fact) -> Fact:
        features = _features(X)
        _check_count("offset", len(self.offset), features)
        _check_count("scale", len(self.scale), features)
        return Fact(FLOAT32, X.shape)

    def run(self, X: np.ndarray) -> np.ndarray:
        self.infer(Fact(X.dtype, X.shape))
        offset, scale = np.array(self.offset, np.float32), np.array(self.scale, np.float32)
        return ((X - offset) * scale).astype(np.float32)


@op("Normalizer", domain=ML)
class Normalizer(Op):
    """Each row divided by its norm, which is MAX, L1 or L2, in float32; rows of 0 stay."""

    norm: str = "MAX"

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (FLOAT32,)

    def infer(self, X: Fact) -> Fact:
        _features(X)
        if self.norm not in ("MAX", "L1", "L2"):
            raise ShapeError(f"norm = {self.norm!r}: expected MAX, L1 or L2")
        return Fact(FLOAT32, X.shape)

    def run(self, X: np.ndarray) -> np.ndarray:
        self.infer(Fact(X.dtype, X.shape))
        x = X.astype(np.float64)
        order = {"MAX": np.inf, "L1": 1, "L2": 2}[self.norm]
        norms = np.linalg.norm(x, order, axis=-1, keepdims=True) if x.size else np.ones(1)
        return (x / np.where(norms == 0, 1, norms)).astype(np.float32)


@op("Imputer", domain=ML)
class Imputer(Op):
    """The input with one number, often NaN, replaced by others, one for all or one a feature."""

    imputed_value_floats: tuple[float, ...] | None = None
    imputed_value_int64s: tuple[int, ...] | None = None
    replaced_value_float: float = 0.0
    replaced_value_int64: int = 0

    def _values(self, X: np.dtype[Any]) -> tuple[Any, Any]:
        if X in FLOATS:
            return self.imputed_value_floats, self.replaced_value_float
        return self.imputed_value_int64s, self.replaced_value_int64

    def infer(self, X: Fact) -> Fact:
        features = _features(X)
        values, _ = self._values(X.dtype)
        if not values:
            raise ShapeError(f"X = {X}: expected imputed_value_floats or imputed_value_int64s to suit it")
        _check_count("imputed_value", len(values), features)
        return X.without_value()

    def run(self, X: np.ndarray) -> np.ndarray:
        self.infer(Fact(X.dtype, X.shape))
        values, replaced = self._values(X.dtype)
        missing = np.isnan(X) if replaced != replaced else np.array(replaced, X.dtype) == X
        return np.where(missing, np.array(values, X.dtype), X)


@op("OneHotEncoder", domain=ML)
class OneHotEncoder(Op):
    """1 at the place of each element's category along a new last axis, else 0."""

    cats_int64s: tuple[int, ...] = ()
    cats_strings: tuple[str, ...] = ()
    zeros: bool = True

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (FLOAT32,)

    def infer(self, X: Fact) -> Fact:
        check_dtype(X, "X", {STRING} if self.cats_strings else NUMBERS)
        return Fact(FLOAT32, (*(X.shape or ()), len(self.cats_strings or self.cats_int64s)))

    def run(self, X: np.ndarray) -> np.ndarray:
        self.infer(Fact(X.dtype, X.shape))
        categories: tuple[Any, ...] = self.cats_strings or self.cats_int64s
        whole = X if self.cats_strings else X.astype(np.int64)
        places = {category: i for i, category in enumerate(categories)}
        found = elementwise(lambda x: places.get(x, -1), np.int64, whole)
        if not self.zeros and (found < 0).any():
            raise ShapeError(f"X contains {whole[found < 0][0]!r}, which is no category")
        return (found[..., None] == np.arange(len(categories))).astype(np.float32)


@op("CategoryMapper", domain=ML)
class CategoryMapper(Op):
    """Strings replaced by the numbers of their categories, or numbers by strings."""

    cats_int64s: tuple[int, ...] = ()
    cats_strings: tuple[str, ...] = ()
    default_int64: int = -1
    default_string: str = "_Unused"

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (INT64 if facts[0].dtype == STRING else STRING,)

    def infer(self, X: Fact) -> Fact:
        check_dtype(X, "X", {STRING, INT64})
        if len(self.cats_int64s) != len(self.cats_strings):
            raise ShapeError(
                f"{len(self.cats_int64s)} cats_int64s and {len(self.cats_strings)} cats_strings: "
                "expected as many of both"
            )
        return Fact(self.out_dtypes(X)[0], X.shape)

    def run(self, X: np.ndarray) -> np.ndarray:
        made = self.infer(Fact(X.dtype, X.shape))
        pairs = zip(self.cats_strings, self.cats_int64s, strict=True)
        if made.dtype == INT64:
            numbers = dict(pairs)
            return elementwise(lambda x: numbers.get(x, self.default_int64), INT64, X)
        strings = {number: text for text, number in pairs}
        return elementwise(lambda x: strings.get(int(x), self.default_string), STRING, X)


@op("FeatureVectorizer", domain=ML)
class FeatureVectorizer(Op):
    """The columns of all inputs side by side, in float32; inputdimensions tells how many each has."""

    inputdimensions: tuple[int, ...] = ()

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (FLOAT32,)

    def infer(self, *X: Fact) -> Fact:
        if not X:
            raise ShapeError("expected at least one input")
        total: Dim = 0
        for i, fact in enumerate(X):
            count, features = rows(fact)
            if not same_dim(count, rows(X[0])[0]):
                raise ShapeError(f"X[{i}] = {fact} has other rows than X[0] = {X[0]}")
            if i < len(self.inputdimensions) and not same_dim(features, self.inputdimensions[i]):
                raise ShapeError(f"X[{i}] = {fact}: inputdimensions says {self.inputdimensions[i]} columns")
            total = total + features
        return Fact(FLOAT32, (rows(X[0])[0], total))

    def run(self, *X: np.ndarray) -> np.ndarray:
        self.infer(*(Fact(x.dtype, x.shape) for x in X))
        return np.concatenate([np.atleast_2d(x) for x in X], axis=1).astype(np.float32)
