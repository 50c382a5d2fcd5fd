"""What attention computes besides matrix products by the register tile, as LLVM vector code."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from numba_rt.jit import DISABLED, intrinsic
from numba_rt.llvm import types

__all__ = ["dots", "exponentials", "weighted_sum"]


def _code(name: str) -> Callable[..., Any]:
    """What emits the call of a function."""
    from numba_rt.simd.emit_attention import AttentionEmitter
    from numba_rt.simd.emit_rows import call_function

    return functools.partial(call_function, AttentionEmitter, name)


def _exponentials(scores, at, ld, rows, cols, tops, totals, factors):
    """The same in NumPy, for runs without a compiler."""
    for r in range(rows):
        row = scores[at + r * ld : at + r * ld + cols]
        before = scores[tops + r]
        scores[tops + r] = top = max(before, np.fmax.reduce(row, initial=np.float32(-math.inf)))
        base = np.float32(0) if top == -math.inf else top
        row[:] = np.exp(row - base)
        scores[factors + r] = factor = np.exp(before - base)
        scores[totals + r] = scores[totals + r] * factor + row.sum(dtype=np.float32)


def _dots(x, x_at, rows, rows_at, step, n, d, scale, y, y_at):
    for j in range(n):
        row = rows[rows_at + j * step : rows_at + j * step + d]
        y[y_at + j] = np.float32(row @ x[x_at : x_at + d]) * scale


def _dots_intrinsic(context, x, x_at, rows, rows_at, step, n, d, scale, y, y_at):
    """y[j] = scale * dot(x, rows[j]) for n rows of d numbers that are `step` apart."""
    i = types.intp
    signature = types.void(x, i, rows, i, i, i, i, types.float32, y, i)
    return signature, _code("dots")


def _weighted_sum(weights, w_at, rows, rows_at, step, n, d, y, y_at):
    for j in range(n):
        y[y_at : y_at + d] += weights[w_at + j] * rows[rows_at + j * step : rows_at + j * step + d]


def _weighted_sum_intrinsic(context, weights, w_at, rows, rows_at, step, n, d, y, y_at):
    """y += weights[j] * rows[j] for n rows of d numbers that are `step` apart."""
    i = types.intp
    return types.void(weights, i, rows, i, i, i, i, y, i), _code("weighted_sum")


def _exponentials_intrinsic(context, scores, at, ld, rows, cols, tops, totals, factors):
    """Replaces scores by exp(score - top), where top is the largest of the row and of scores[tops + row].

    scores: flat float32; row r starts at `at + r * ld` and may be written up to the next multiple of the
    vector length past `cols`. Updates tops and totals, the sums of exponentials, by row; factors
    become what earlier sums are multiplied with. A row of -inf gives zeros.
    """
    from numba_rt.simd.emit_attention import call_exponentials

    i = types.intp
    return types.void(scores, i, i, i, i, i, i, i), call_exponentials


dots = _dots if DISABLED else intrinsic(_dots_intrinsic)
weighted_sum = _weighted_sum if DISABLED else intrinsic(_weighted_sum_intrinsic)
exponentials = _exponentials if DISABLED else intrinsic(_exponentials_intrinsic)
