"""Determinants."""

from __future__ import annotations

from numba_rt.jit import kernel, prange

__all__ = ["determinants"]


@kernel
def determinants(x, work, y, tasks):
    """y = the determinant of each matrix, by elimination with the largest pivot of each column.

    x (batch, n, n); work (tasks, n, n) float64; y (batch,).
    """
    n = x.shape[1]
    for t in prange(tasks):
        for item in range(t * y.size // tasks, (t + 1) * y.size // tasks):
            for i in range(n):
                for j in range(n):
                    work[t, i, j] = x[item, i, j]
            product = 1.0
            for p in range(n):
                best = p
                for i in range(p + 1, n):
                    if abs(work[t, i, p]) > abs(work[t, best, p]):
                        best = i
                pivot = work[t, best, p]
                product *= pivot if best == p else -pivot
                if pivot == 0:
                    break
                if best != p:
                    for j in range(p, n):
                        other = work[t, p, j]
                        work[t, p, j] = work[t, best, j]
                        work[t, best, j] = other
                for i in range(p + 1, n):
                    factor = work[t, i, p] / pivot
                    for j in range(p + 1, n):
                        work[t, i, j] -= factor * work[t, p, j]
            y[item] = product
