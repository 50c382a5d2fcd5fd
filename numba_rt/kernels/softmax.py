"""Softmax over n of (outer, n, inner), and over masked rows."""

from __future__ import annotations

from numba_rt.jit import kernel, prange, u
from numba_rt.kernels import math as km
from numba_rt.kernels.extreme import maximum

__all__ = ["COLUMNS", "masked_softmax_rows", "softmax_columns", "softmax_rows"]

COLUMNS = 256
"""Columns that are worked on together when inner > 1."""


@kernel.reduction
def softmax_rows(x, n, log, one, y, tasks):
    """y = softmax(x), or its logarithm, over rows of n.   x, y: (rows * n,); y may be x.

    one: 1 of x's dtype.
    """
    rows = x.size // n
    for t in prange(tasks):
        for row in range(t * rows // tasks, (t + 1) * rows // tasks):
            start, stop = row * n, row * n + n
            top = x[u(start)]
            for i in range(start, stop):
                top = maximum(x[u(i)], top)
            total = one - one
            for i in range(start, stop):
                v = x[u(i)] - top
                e = km.exp_neg(v)
                y[u(i)] = v if log else e
                total += e
            if log:
                rest = km.log(total)
                for i in range(start, stop):
                    y[u(i)] -= rest
            else:
                scale = one / total
                for i in range(start, stop):
                    y[u(i)] *= scale


@kernel
def softmax_columns(x, outer, n, inner, log, one, columns, y, tasks):
    """y = softmax(x), or its logarithm, over n.   x, y: (outer * n * inner,); y may be x.

    one: 1 of x's dtype; columns: (tasks * 2 * COLUMNS,), the maxima and the sums.
    """
    tiles = (inner + COLUMNS - 1) // COLUMNS
    units = outer * tiles
    for t in prange(tasks):
        tops, sums = t * 2 * COLUMNS, (t * 2 + 1) * COLUMNS
        for unit in range(t * units // tasks, (t + 1) * units // tasks):
            j0 = unit % tiles * COLUMNS
            start = unit // tiles * n * inner + j0
            stop, width = start + n * inner, min(COLUMNS, inner - j0)
            for j in range(width):
                columns[u(tops + j)] = x[u(start + j)]
                columns[u(sums + j)] = one - one
            for at in range(start, stop, inner):
                for j in range(width):
                    columns[u(tops + j)] = maximum(x[u(at + j)], columns[u(tops + j)])
            for at in range(start, stop, inner):
                for j in range(width):
                    v = x[u(at + j)] - columns[u(tops + j)]
                    e = km.exp_neg(v)
                    columns[u(sums + j)] += e
                    y[u(at + j)] = v if log else e
            for j in range(width):
                total = columns[u(sums + j)]
                columns[u(sums + j)] = km.log(total) if log else one / total
            for at in range(start, stop, inner):
                for j in range(width):
                    v = y[u(at + j)]
                    y[u(at + j)] = v - columns[u(sums + j)] if log else v * columns[u(sums + j)]


@kernel.reduction
def masked_softmax_rows(x, mask, g, scale, y, tasks):
    """y = softmax(scale * x + mask) over rows of n.   x, y: (rows * n,); y may be x.

    g: d1, d2, d3, n, strides of the mask along d0 to d3 and along n (1 or 0), where the rows are
    d0 * d1 * d2 * d3; last whether rows that hold NaN become 0. scale: of x's dtype.
    """
    d1, d2, d3, n = g[0], g[1], g[2], g[3]
    rows = x.size // n
    for t in prange(tasks):
        for row in range(t * rows // tasks, (t + 1) * rows // tasks):
            start, rest = row * n, row // d3
            m = row % d3 * g[7] + rest % d2 * g[6] + rest // d2 % d1 * g[5] + rest // d2 // d1 * g[4]
            top = scale * x[u(start)] + mask[u(m)]
            if g[8] == 1:
                for i in range(n):
                    v = scale * x[u(start + i)] + mask[u(m + i)]
                    y[u(start + i)] = v
                    top = maximum(v, top)
            else:
                for i in range(n):
                    v = scale * x[u(start + i)] + mask[u(m)]
                    y[u(start + i)] = v
                    top = maximum(v, top)
            total = scale - scale
            for i in range(start, start + n):
                e = km.exp_neg(y[u(i)] - top)
                y[u(i)] = e
                total += e
            if g[9] == 1 and total != total:
                for i in range(start, start + n):
                    y[u(i)] = 0
                total = scale - scale + 1
            for i in range(start, start + n):
                y[u(i)] /= total
