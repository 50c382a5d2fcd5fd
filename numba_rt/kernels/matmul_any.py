"""Matrix products of the types that have no register tile: float64 and integers."""

from __future__ import annotations

from numba_rt.jit import kernel, prange, u

__all__ = ["matmul_any"]

ROWS = 8
"""Rows of c that share the reading of a block of b."""
DEPTH = 64
COLUMNS = 256
"""Size of the block of b that stays in the cache."""


@kernel
def matmul_any(a, b, g, c, tasks):
    """c[i] = a[i] @ b[j] for a batch of matrices; integers wrap around.

    a (m, k), b (k, n), c (m, n) of one dtype, each flat and contiguous, for items of the batch; g
    int64: batch0, batch1, m, n, k, then the strides of a, b and c along the two batch axes, in elements.
    """
    batch1, m, n, k = g[1], g[2], g[3], g[4]
    bands = (m + ROWS - 1) // ROWS
    blocks = (n + COLUMNS - 1) // COLUMNS
    total = g[0] * batch1 * bands
    if bands < tasks:
        total = g[0] * batch1 * bands * blocks
    split = total // max(g[0] * batch1 * bands, 1)
    for t in prange(tasks):
        for item in range(t * total // tasks, (t + 1) * total // tasks):
            band, piece = item // split % bands, item % split
            outer, inner = item // split // bands // batch1, item // split // bands % batch1
            a0, b0 = outer * g[5] + inner * g[6], outer * g[7] + inner * g[8]
            c0 = outer * g[9] + inner * g[10]
            low, high = (piece * blocks // split) * COLUMNS, ((piece + 1) * blocks // split) * COLUMNS
            for i in range(band * ROWS, min(band * ROWS + ROWS, m)):
                for j in range(low, min(high, n)):
                    c[u(c0 + i * n + j)] = 0
            for j0 in range(low, min(high, n), COLUMNS):
                j1 = min(j0 + COLUMNS, n)
                for p0 in range(0, k, DEPTH):
                    for i in range(band * ROWS, min(band * ROWS + ROWS, m)):
                        at, p1 = c0 + i * n, min(p0 + DEPTH, k)
                        p4 = p0 + (p1 - p0) // 4 * 4
                        for p in range(p0, p4, 4):
                            x, row = a0 + i * k + p, b0 + p * n
                            x0, x1, x2, x3 = a[u(x)], a[u(x + 1)], a[u(x + 2)], a[u(x + 3)]
                            for j in range(j0, j1):
                                c[u(at + j)] += (
                                    x0 * b[u(row + j)] + x1 * b[u(row + n + j)]
                                    + x2 * b[u(row + 2 * n + j)] + x3 * b[u(row + 3 * n + j)]
                                )  # fmt: skip
                        for p in range(p4, p1):
                            x0, row = a[u(a0 + i * k + p)], b0 + p * n
                            for j in range(j0, j1):
                                c[u(at + j)] += x0 * b[u(row + j)]
