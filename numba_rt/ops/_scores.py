"""What the models of ai.onnx.ml share: numbers as they take them, post transforms, classes' labels."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np

from numba_rt.dtypes import FLOAT32, FLOATS, INT32, INT64, STRING
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact
from numba_rt.ops._checks import check_dtype, check_rank

NUMBERS: frozenset[np.dtype[Any]] = FLOATS | frozenset({INT32, INT64})
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


def rows(X: Fact) -> tuple[Dim, Dim]:
    """How many rows of how many features X has; a vector is one row."""
    check_dtype(X, "X", NUMBERS)
    check_rank(X, "X", at_least=1)
    assert X.shape is not None
    if len(X.shape) == 1:
        return 1, X.shape[0]
    check_rank(X, "X", exactly=2)
    return X.shape[0], X.shape[1]


def check_transform(post_transform: str) -> None:
    """Refuse an unknown one."""
    if post_transform not in TRANSFORMS:
        raise ShapeError(f"post_transform = {post_transform!r}: expected one of {', '.join(TRANSFORMS)}")


def logistic(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)


def transformed(scores: np.ndarray, post_transform: str) -> np.ndarray:
    """Scores, one row for each row of X, after a post transform."""
    if post_transform == "LOGISTIC":
        return logistic(scores)
    if post_transform == "PROBIT":
        return np.vectorize(_probit, otypes=[np.float64])(scores)
    if post_transform == "NONE" or scores.size == 0:
        return scores
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    if post_transform == "SOFTMAX_ZERO":
        powers = np.where(np.abs(scores) <= 1e-7, 0.0, powers)
    total = powers.sum(axis=1, keepdims=True)
    return powers / np.where(total == 0, 1.0, total)


def _probit(p: float) -> float:
    if 0 < p < 1:
        return NormalDist().inv_cdf(p)
    return -np.inf if p == 0 else np.inf if p == 1 else np.nan


def of_two(score: np.ndarray, post_transform: str, *, is_probability: bool) -> np.ndarray:
    """The scores of two classes from one of the second: p and 1 - p, or s and -s."""
    pair = np.stack([1 - score if is_probability else -score, score], axis=1)
    if post_transform == "LOGISTIC":
        return logistic(np.stack([-score, score], axis=1))
    return transformed(pair, "PROBIT") if post_transform == "PROBIT" else pair


def labels(ints: tuple[int, ...], strings: tuple[str, ...], kind: str) -> np.ndarray:
    """Labels of the classes, whichever attribute holds them."""
    if bool(ints) == bool(strings):
        found = "both" if ints else "none"
        raise ShapeError(f"classlabels_strings and classlabels_{kind}: {found} are given, expected one")
    return np.array(strings, STRING) if strings else np.array(ints, INT64)


def as_float32(scores: np.ndarray) -> np.ndarray:
    """Scores as they leave a model."""
    return np.ascontiguousarray(scores, FLOAT32)
