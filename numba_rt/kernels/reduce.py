"""Reductions of (outer, n, inner) over n.

`splits` pieces of n give a result each, (outer, splits, inner), so that a few long runs can be
shared between tasks; reducing those results once more ends the reduction.
"""

from __future__ import annotations

import numpy as np

from numba_rt.jit import inline, kernel, prange, u
from numba_rt.kernels import math as km
from numba_rt.kernels.extreme import maximum, minimum

__all__ = ["COLUMNS", "reduce_log_sum_exp", "reduce_order", "reduce_product", "reduce_sum"]

COLUMNS = 512
"""Columns that are reduced together when inner > 1."""
BLOCK = 4096
"""Elements whose sum is kept in the array's own precision."""


@inline
def _term(v, power):
    """v, |v| or v * v."""
    if power == 1:
        return abs(v)
    if power == 2:
        return v * v
    return v


@inline
def _store(y, i, total, finish, count):
    """y[i] = total, total / count, sqrt(total) or log(total)."""
    if finish == 0:
        y[u(i)] = total
    elif finish == 1:
        y[u(i)] = total / count
    elif finish == 2:
        y[u(i)] = np.sqrt(total)
    else:
        y[u(i)] = np.log(total)


@kernel.reduction
def reduce_sum(x, outer, n, inner, splits, zero, wide, power, finish, count, sums, y, tasks):
    """y = finish(sum of |x|^power).   x: (outer * n * inner,), y: (outer * splits * inner,).

    zero: 0 of x's dtype; wide: 0 of the dtype that adds up blocks; sums: (tasks * COLUMNS,) of it.
    """
    tiles = (inner + COLUMNS - 1) // COLUMNS
    units = outer * splits * tiles
    for t in prange(tasks):
        a = t * COLUMNS
        for unit in range(t * units // tasks, (t + 1) * units // tasks):
            run, j0 = unit // tiles, unit % tiles * COLUMNS
            split = run % splits
            k, stop = split * n // splits, (split + 1) * n // splits
            at = (run // splits * n + k) * inner + j0
            if inner == 1:
                total = wide
                for start in range(at, at + stop - k, BLOCK):
                    part = zero
                    for i in range(start, min(start + BLOCK, at + stop - k)):
                        part += _term(x[u(i)], power)
                    total += part
                _store(y, run, total, finish, count)
                continue
            # Few columns: several rows are taken as one, and their columns added at the end.
            width = min(COLUMNS, inner - j0)
            fold = min(COLUMNS // inner, stop - k) if inner * 2 <= COLUMNS else 1
            fold = max(fold, 1)
            step, cols = inner * fold, width * fold
            for j in range(cols):
                sums[u(a + j)] = wide
            while k + 8 * fold <= stop:
                r1, r2, r3, r4 = at + step, at + 2 * step, at + 3 * step, at + 4 * step
                r5, r6, r7 = at + 5 * step, at + 6 * step, at + 7 * step
                for j in range(cols):
                    low = _term(x[u(at + j)], power) + _term(x[u(r1 + j)], power)
                    low += _term(x[u(r2 + j)], power) + _term(x[u(r3 + j)], power)
                    high = _term(x[u(r4 + j)], power) + _term(x[u(r5 + j)], power)
                    high += _term(x[u(r6 + j)], power) + _term(x[u(r7 + j)], power)
                    sums[u(a + j)] += low + high
                k += 8 * fold
                at += 8 * step
            while k < stop:
                rows = min(fold, stop - k)
                for j in range(width * rows):
                    sums[u(a + j)] += _term(x[u(at + j)], power)
                k += rows
                at += step
            for f in range(1, fold):
                for j in range(width):
                    sums[u(a + j)] += sums[u(a + f * inner + j)]
            for j in range(width):
                _store(y, run * inner + j0 + j, sums[u(a + j)], finish, count)


@inline
def _pick(a, b, smaller):
    """The larger, or the smaller."""
    return minimum(a, b) if smaller else maximum(a, b)


@kernel.reduction
def reduce_order(x, outer, n, inner, splits, first, smaller, y, tasks):
    """y = max of x, or min when `smaller`.   x: (outer * n * inner,), y: (outer * splits * inner,).

    first: result of nothing, of x's dtype. A result with a NaN among its elements is NaN.
    """
    tiles = (inner + COLUMNS - 1) // COLUMNS
    units = outer * splits * tiles
    for t in prange(tasks):
        for unit in range(t * units // tasks, (t + 1) * units // tasks):
            run, j0 = unit // tiles, unit % tiles * COLUMNS
            split = run % splits
            k, stop = split * n // splits, (split + 1) * n // splits
            at = (run // splits * n + k) * inner + j0
            if inner == 1:
                best = first
                for i in range(at, at + stop - k):
                    best = _pick(best, x[u(i)], smaller)
                y[u(run)] = best
                continue
            to, width = run * inner + j0, min(COLUMNS, inner - j0)
            for j in range(width):
                y[u(to + j)] = first
            for _ in range(k, stop):
                for j in range(width):
                    y[u(to + j)] = _pick(x[u(at + j)], y[u(to + j)], smaller)
                at += inner


@kernel.reduction
def reduce_product(x, outer, n, inner, splits, one, y, tasks):
    """y = product of x.   x: (outer * n * inner,), y: (outer * splits * inner,); one: 1 of x's dtype."""
    tiles = (inner + COLUMNS - 1) // COLUMNS
    units = outer * splits * tiles
    for t in prange(tasks):
        for unit in range(t * units // tasks, (t + 1) * units // tasks):
            run, j0 = unit // tiles, unit % tiles * COLUMNS
            split = run % splits
            k, stop = split * n // splits, (split + 1) * n // splits
            at = (run // splits * n + k) * inner + j0
            if inner == 1:
                total = one
                for i in range(at, at + stop - k):
                    total *= x[u(i)]
                y[u(run)] = total
                continue
            to, width = run * inner + j0, min(COLUMNS, inner - j0)
            for j in range(width):
                y[u(to + j)] = one
            for _ in range(k, stop):
                for j in range(width):
                    y[u(to + j)] *= x[u(at + j)]
                at += inner


@kernel.reduction
def reduce_log_sum_exp(x, outer, n, inner, splits, lowest, tops, y, tasks):
    """y = log(sum(exp(x))).   x: (outer * n * inner,), y: (outer * splits * inner,).

    lowest: -inf of x's dtype; tops: (tasks * COLUMNS,) of it.
    """
    tiles = (inner + COLUMNS - 1) // COLUMNS
    units = outer * splits * tiles
    for t in prange(tasks):
        a = t * COLUMNS
        for unit in range(t * units // tasks, (t + 1) * units // tasks):
            run, j0 = unit // tiles, unit % tiles * COLUMNS
            split = run % splits
            k, stop = split * n // splits, (split + 1) * n // splits
            at = (run // splits * n + k) * inner + j0
            if inner == 1:
                top = lowest
                for i in range(at, at + stop - k):
                    top = maximum(top, x[u(i)])
                total = top - top
                for i in range(at, at + stop - k):
                    total += km.exp_neg(x[u(i)] - top)
                y[u(run)] = top if top - top != 0 else top + km.log(total)
                continue
            to, width = run * inner + j0, min(COLUMNS, inner - j0)
            for j in range(width):
                tops[u(a + j)] = lowest
                y[u(to + j)] = 0
            for k1 in range(stop - k):
                for j in range(width):
                    tops[u(a + j)] = maximum(x[u(at + k1 * inner + j)], tops[u(a + j)])
            for k1 in range(stop - k):
                for j in range(width):
                    y[u(to + j)] += km.exp_neg(x[u(at + k1 * inner + j)] - tops[u(a + j)])
            for j in range(width):
                top = tops[u(a + j)]
                y[u(to + j)] = top if top - top != 0 else top + km.log(y[u(to + j)])
