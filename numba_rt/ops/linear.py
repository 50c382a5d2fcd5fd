"""Linear models of ai.onnx.ml; NumPy computes them on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_rt.dtypes import FLOAT32
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact
from numba_rt.ops import _scores
from numba_rt.ops._checks import same_dim
from numba_rt.ops._op import Op, op
from numba_rt.ops.ml import ML


def _scored(X: np.ndarray, coefficients: Any, intercepts: Any, targets: int) -> np.ndarray:
    """X @ coefficients + intercepts, (rows, targets)"""
    weights = np.array(coefficients, np.float64).reshape(targets, -1)
    return X.reshape(-1, weights.shape[1]) @ weights.T + np.array(intercepts or 0.0)


def _check_weights(X: Fact, coefficients: Any, intercepts: Any, targets: int, what: str) -> None:
    _, features = _scores.rows(X)
    if targets < 1 or not same_dim(features * targets, len(coefficients)):
        found = f"{len(coefficients)} coefficients for {targets} {what}"
        raise ShapeError(f"{found}: expected {features} for each")
    if intercepts and len(intercepts) != targets:
        raise ShapeError(f"{len(intercepts)} intercepts: expected {targets}, one for each of the {what}")


@op("LinearRegressor", domain=ML)
class LinearRegressor(Op):
    """X @ coefficients + intercepts for each target, in float32."""

    coefficients: tuple[float, ...]
    intercepts: tuple[float, ...] | None = None
    post_transform: str = "NONE"
    targets: int = 1

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (FLOAT32,)

    def infer(self, X: Fact) -> Fact:
        _check_weights(X, self.coefficients, self.intercepts, self.targets, "targets")
        _scores.check_transform(self.post_transform)
        return Fact(FLOAT32, (_scores.rows(X)[0], self.targets))

    def run(self, X: np.ndarray) -> np.ndarray:
        self.infer(Fact(X.dtype, X.shape))
        scores = _scored(X, self.coefficients, self.intercepts, self.targets)
        return _scores.as_float32(_scores.transformed(scores, self.post_transform))


@op("LinearClassifier", domain=ML)
class LinearClassifier(Op):
    """The class whose linear score is greatest, and the scores of all.

    One row of coefficients for two labels scores the second: it is chosen where its score is greater than 0.
    """

    coefficients: tuple[float, ...]
    classlabels_ints: tuple[int, ...] = ()
    classlabels_strings: tuple[str, ...] = ()
    intercepts: tuple[float, ...] | None = None
    multi_class: int = 0
    post_transform: str = "NONE"

    def _labels(self) -> np.ndarray:
        return _scores.labels(self.classlabels_ints, self.classlabels_strings, "ints")

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return self._labels().dtype, FLOAT32

    def _classes(self, features: Any) -> int:
        """How many rows of coefficients there are."""
        labels = self._labels()
        if labels.size == 2 and features == len(self.coefficients):
            return 1
        return labels.size

    def infer(self, X: Fact) -> tuple[Fact, Fact]:
        count, features = _scores.rows(X)
        labels = self._labels()
        _scores.check_transform(self.post_transform)
        scored = self._classes(features)
        _check_weights(X, self.coefficients, self.intercepts, scored, "classes")
        return Fact(labels.dtype, (count,)), Fact(FLOAT32, (count, labels.size))

    def run(self, X: np.ndarray) -> tuple[np.ndarray, ...]:
        self.infer(Fact(X.dtype, X.shape))
        labels = self._labels()
        scores = _scored(X, self.coefficients, self.intercepts, self._classes(X.shape[-1]))
        if scores.shape[1] == labels.size:
            made = _scores.transformed(scores, self.post_transform)
            return labels[scores.argmax(axis=1)], _scores.as_float32(made)
        made = _scores.of_two(scores[:, 0], self.post_transform, is_probability=True)
        return labels[(scores[:, 0] > 0).astype(np.intp)], _scores.as_float32(made)
