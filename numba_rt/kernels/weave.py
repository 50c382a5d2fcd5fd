"""Transposition of matrices with 2 to 4 rows or columns: layouts of pictures, groups of channels.

Data movement on unsigned integers of the item size, as in `move`.
"""

from numba_rt.jit import kernel, prange, u
from numba_rt.simd.shuffle import VECTOR_BYTES, WIDEST, transpose_tile

__all__ = ["unweave", "weave"]

SHORT = 64
"""Columns from which the compiler's own vectors are used."""


@kernel
def weave(x, g, y, tasks):
    """y[b, i, j] = x[b, j, i].   x, y: flat; g: batch, size of i, size of j (2 to 4)."""
    batch, m, n, tile = g[0], g[1], g[2], min(WIDEST, VECTOR_BYTES // x.itemsize)
    for t in prange(tasks):
        first, stop = t * batch * m // tasks, (t + 1) * batch * m // tasks
        while first < stop:
            i0 = first % m
            i1 = min(m, i0 + stop - first)
            at = (first - i0) * n
            if n == 2:
                for i in range(i0, i1):
                    y[u(at + 2 * i)] = x[u(at + i)]
                    y[u(at + 2 * i + 1)] = x[u(at + m + i)]
            elif n == 3:
                for i in range(i0, i1):
                    y[u(at + 3 * i)] = x[u(at + i)]
                    y[u(at + 3 * i + 1)] = x[u(at + m + i)]
                    y[u(at + 3 * i + 2)] = x[u(at + 2 * m + i)]
            else:
                done = i0
                # Rows of x past the fourth go where the next rows of y are written.
                while (
                    i1 - done < SHORT
                    and 4 * (done + tile - 1) + tile <= 4 * i1
                    and at + (tile - 1) * m + done + tile <= x.size
                ):
                    transpose_tile(x, at + done, m, y, at + 4 * done, 4)
                    done += tile
                for i in range(done, i1):
                    y[u(at + 4 * i)] = x[u(at + i)]
                    y[u(at + 4 * i + 1)] = x[u(at + m + i)]
                    y[u(at + 4 * i + 2)] = x[u(at + 2 * m + i)]
                    y[u(at + 4 * i + 3)] = x[u(at + 3 * m + i)]
            first += i1 - i0


@kernel
def unweave(x, g, y, tasks):
    """y[b, j, i] = x[b, i, j].   x, y: flat; g: batch, size of i, size of j (2 to 4)."""
    batch, m, n = g[0], g[1], g[2]
    for t in prange(tasks):
        first, stop = t * batch * m // tasks, (t + 1) * batch * m // tasks
        while first < stop:
            i0 = first % m
            i1 = min(m, i0 + stop - first)
            at = (first - i0) * n
            if n == 2:
                for i in range(i0, i1):
                    y[u(at + i)] = x[u(at + 2 * i)]
                    y[u(at + m + i)] = x[u(at + 2 * i + 1)]
            elif n == 3:
                for i in range(i0, i1):
                    y[u(at + i)] = x[u(at + 3 * i)]
                    y[u(at + m + i)] = x[u(at + 3 * i + 1)]
                    y[u(at + 2 * m + i)] = x[u(at + 3 * i + 2)]
            else:
                for i in range(i0, i1):
                    y[u(at + i)] = x[u(at + 4 * i)]
                    y[u(at + m + i)] = x[u(at + 4 * i + 1)]
                    y[u(at + 2 * m + i)] = x[u(at + 4 * i + 2)]
                    y[u(at + 3 * m + i)] = x[u(at + 4 * i + 3)]
            first += i1 - i0
