"""Support vector machines of ai.onnx.ml; NumPy computes them on the host."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from numba_rt.dtypes import FLOAT32
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact
from numba_rt.ops import _scores
from numba_rt.ops._checks import same_dim
from numba_rt.ops._op import Op, op
from numba_rt.ops.ml import ML

KERNELS = ("LINEAR", "POLY", "RBF", "SIGMOID")
STEPS = 100
"""After how many rounds the coupling of probabilities stops at the latest."""


def _check_kernel(kernel_type: str, kernel_params: tuple[float, ...]) -> None:
    if kernel_type not in KERNELS:
        raise ShapeError(f"kernel_type = {kernel_type!r}: expected one of {', '.join(KERNELS)}")
    if kernel_type != "LINEAR" and len(kernel_params) != 3:
        raise ShapeError(f"kernel_params has {len(kernel_params)} numbers: expected gamma, coef0 and degree")


def _check_vectors(support_vectors: tuple[float, ...], count: int, features: Dim) -> None:
    if not same_dim(features * count, len(support_vectors)):
        found = f"support_vectors has {len(support_vectors)} numbers for {count} vectors"
        raise ShapeError(f"{found}: expected {features} for each")


def _kernel(x: np.ndarray, vectors: np.ndarray, kernel_type: str, params: tuple[float, ...]) -> np.ndarray:
    """How alike each row of x and each vector are, (rows, vectors)."""
    products = x @ vectors.T
    if kernel_type == "LINEAR":
        return products
    gamma, coef0, degree = params
    if kernel_type == "RBF":
        distances = (x * x).sum(1)[:, None] + (vectors * vectors).sum(1) - 2 * products
        return np.exp(-gamma * np.maximum(distances, 0))
    made = gamma * products + coef0
    return np.tanh(made) if kernel_type == "SIGMOID" else made**degree


def _coupled(pairs: np.ndarray) -> np.ndarray:
    """Probabilities of k classes from those of pairs: pairs[n, i, j] is that of i if it is i or j.

    They minimise the squares of pairs[j, i] p[i] - pairs[i, j] p[j], found one class at a time
    (Wu, Lin and Weng, 2004, second method).
    """
    k = pairs.shape[1]
    matrix = -pairs.transpose(0, 2, 1) * pairs
    diagonal = np.arange(k)
    matrix[:, diagonal, diagonal] = (pairs**2).sum(axis=1)
    made = np.full(pairs.shape[:2], 1.0 / k)
    for n in range(len(made)):
        q, p = matrix[n], made[n]
        for _ in range(max(STEPS, k)):
            gradient = q @ p
            total = p @ gradient
            if np.abs(gradient - total).max() < 0.005 / k:
                break
            for i in range(k):
                step = (total - gradient[i]) / q[i, i]
                p[i] += step
                total = (total + step * (step * q[i, i] + 2 * gradient[i])) / (1 + step) ** 2
                gradient = (gradient + step * q[i]) / (1 + step)
                p /= 1 + step
    return made


@op("SVMClassifier", domain=ML)
class SVMClassifier(Op):
    """The class that most pairs of classes vote for, and scores.

    Scores are those of pairs of classes or, with prob_a and prob_b, the classes' probabilities. Without
    vectors_per_class the model is linear, with one row of coefficients for each class.
    """

    coefficients: tuple[float, ...]
    rho: tuple[float, ...]
    classlabels_ints: tuple[int, ...] = ()
    classlabels_strings: tuple[str, ...] = ()
    kernel_params: tuple[float, ...] = ()
    kernel_type: str = "LINEAR"
    post_transform: str = "NONE"
    prob_a: tuple[float, ...] = ()
    prob_b: tuple[float, ...] = ()
    support_vectors: tuple[float, ...] = ()
    vectors_per_class: tuple[int, ...] = ()

    def _labels(self) -> np.ndarray:
        return _scores.labels(self.classlabels_ints, self.classlabels_strings, "ints")

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return self._labels().dtype, FLOAT32

    def infer(self, X: Fact) -> tuple[Fact, Fact]:
        count, features = _scores.rows(X)
        labels = self._labels()
        _scores.check_transform(self.post_transform)
        _check_kernel(self.kernel_type, self.kernel_params)
        classes, scored = labels.size, labels.size
        if self.vectors_per_class:
            self._check_pairs(classes, features)
            pairs = classes * (classes - 1) // 2
            scored = classes if self.prob_a or classes == 2 else pairs
        elif not same_dim(features * classes, len(self.coefficients)) or not self.rho:
            found = f"{len(self.coefficients)} coefficients and {len(self.rho)} rho for {classes} classes"
            raise ShapeError(f"{found}: expected {features} for each, and 1")
        return Fact(labels.dtype, (count,)), Fact(FLOAT32, (count, scored))

    def _check_pairs(self, classes: int, features: Dim) -> None:
        vectors, pairs = sum(self.vectors_per_class), classes * (classes - 1) // 2
        if classes < 2 or len(self.vectors_per_class) != classes or min(self.vectors_per_class) < 0:
            raise ShapeError(f"vectors_per_class = {self.vectors_per_class}: expected {classes} numbers")
        _check_vectors(self.support_vectors, vectors, features)
        if len(self.coefficients) != (classes - 1) * vectors:
            raise ShapeError(f"{len(self.coefficients)} coefficients: expected {(classes - 1) * vectors}")
        probabilities = {len(self.prob_a), len(self.prob_b)}
        if len(self.rho) != pairs or len(probabilities) > 1 or not probabilities <= {0, pairs}:
            found = f"{len(self.rho)} rho, {len(self.prob_a)} prob_a and {len(self.prob_b)} prob_b"
            raise ShapeError(f"{found}: expected {pairs}, one for each pair of classes")

    def run(self, X: np.ndarray) -> tuple[np.ndarray, ...]:
        self.infer(Fact(X.dtype, X.shape))
        labels, x = self._labels(), X.reshape(-1, X.shape[-1]).astype(np.float64)
        if not self.vectors_per_class:
            weights = np.array(self.coefficients).reshape(labels.size, -1)
            scores = x @ weights.T + self.rho[0]
            made = _scores.transformed(scores, self.post_transform)
            return labels[scores.argmax(axis=1)], _scores.as_float32(made)
        scores, votes = self._pairs(x, labels.size)
        if self.prob_a:
            made = _scores.transformed(self._probabilities(scores, labels.size), self.post_transform)
        elif labels.size == 2:
            plain = self.post_transform == "NONE"
            made = _scores.of_two(scores[:, 0], self.post_transform, is_probability=not plain)
        else:
            made = _scores.transformed(scores, self.post_transform)
        return labels[votes.argmax(axis=1)], _scores.as_float32(made)

    def _pairs(self, x: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores of the pairs of classes, greater than 0 for the first of a pair, and votes for classes."""
        vectors = np.array(self.support_vectors).reshape(-1, x.shape[1])
        alike = _kernel(x, vectors, self.kernel_type, self.kernel_params)
        weights = np.array(self.coefficients).reshape(classes - 1, len(vectors))
        ends = np.cumsum(self.vectors_per_class)
        own = [slice(end - n, end) for end, n in zip(ends, self.vectors_per_class, strict=True)]
        scores, votes = np.empty((len(x), len(self.rho))), np.zeros((len(x), classes), np.int64)
        for pair, (i, j) in enumerate(combinations(range(classes), 2)):
            score = alike[:, own[i]] @ weights[j - 1, own[i]] + alike[:, own[j]] @ weights[i, own[j]]
            scores[:, pair] = score + self.rho[pair]
            votes[:, i] += scores[:, pair] > 0
            votes[:, j] += scores[:, pair] <= 0
        return scores, votes

    def _probabilities(self, scores: np.ndarray, classes: int) -> np.ndarray:
        first = _scores.logistic(-(scores * np.array(self.prob_a) + np.array(self.prob_b)))
        first = first.clip(1e-7, 1 - 1e-7)
        pairs = np.zeros((len(scores), classes, classes))
        for pair, (i, j) in enumerate(combinations(range(classes), 2)):
            pairs[:, i, j], pairs[:, j, i] = first[:, pair], 1 - first[:, pair]
        return _coupled(pairs)


@op("SVMRegressor", domain=ML)
class SVMRegressor(Op):
    """How alike a row and the support vectors are, or a linear score; a one-class model says its sign."""

    coefficients: tuple[float, ...]
    rho: tuple[float, ...]
    kernel_params: tuple[float, ...] = ()
    kernel_type: str = "LINEAR"
    n_supports: int = 0
    one_class: int = 0
    post_transform: str = "NONE"
    support_vectors: tuple[float, ...] = ()

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (FLOAT32,)

    def infer(self, X: Fact) -> Fact:
        count, features = _scores.rows(X)
        _check_kernel(self.kernel_type, self.kernel_params)
        if self.post_transform != "NONE":
            raise ShapeError(f"post_transform = {self.post_transform!r} is not supported: expected NONE")
        if self.n_supports:
            _check_vectors(self.support_vectors, self.n_supports, features)
        if not same_dim(self.n_supports or features, len(self.coefficients)) or len(self.rho) != 1:
            found = f"{len(self.coefficients)} coefficients and {len(self.rho)} rho"
            raise ShapeError(f"{found}: expected {self.n_supports or features} and 1")
        return Fact(FLOAT32, (count, 1))

    def run(self, X: np.ndarray) -> np.ndarray:
        self.infer(Fact(X.dtype, X.shape))
        x, weights = X.reshape(-1, X.shape[-1]).astype(np.float64), np.array(self.coefficients)
        if self.n_supports:
            vectors = np.array(self.support_vectors).reshape(self.n_supports, -1)
            x = _kernel(x, vectors, self.kernel_type, self.kernel_params)
        made = x @ weights + self.rho[0]
        if self.one_class:
            made = np.where(made > 0, 1.0, -1.0)
        return _scores.as_float32(made[:, None])
