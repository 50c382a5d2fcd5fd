"""Rotary position embedding: pairs of numbers of each head turned by an angle of their position."""

from __future__ import annotations

from numba_rt.jit import kernel, prange, u

__all__ = ["rotary"]


@kernel
def rotary(x, cos, sin, positions, status, g, y, tasks):
    """y = pairs of x turned, the rest of x after them.   x, y: flat, of one float type; y may be x.

    g int64: batch, heads, n, size of a head, pairs, step from one pair to the next, from the first to
    the second of a pair; strides of batch, head and position in x, then in y; whether positions
    (batch * n) say which row of cos and sin; strides of batch, head and position of the rows
    otherwise; numbers of a row, how far on the second of a pair finds its own, and the number of rows.
    """
    heads, n, size, pairs, step, apart = g[1], g[2], g[3], g[4], g[5], g[6]
    rows = g[0] * n * heads
    for t in prange(tasks):
        for row in range(t * rows // tasks, (t + 1) * rows // tasks):
            head, i, b = row % heads, row // heads % n, row // heads // n
            from_, to = b * g[7] + head * g[8] + i * g[9], b * g[10] + head * g[11] + i * g[12]
            angle = b * g[14] + head * g[15] + i * g[16]
            if g[13] != 0:
                position = positions[u(b * n + i)]
                if position < 0 or position >= g[19]:
                    status[0], status[1], position = 1, position, 0
                angle = position * g[17]
            for j in range(pairs):
                first, second = x[u(from_ + j * step)], x[u(from_ + j * step + apart)]
                c, s = cos[u(angle + j)], sin[u(angle + j)]
                c2, s2 = cos[u(angle + j + g[18])], sin[u(angle + j + g[18])]
                y[u(to + j * step)] = c * first - s * second
                y[u(to + j * step + apart)] = s2 * first + c2 * second
            for j in range(2 * pairs, size):
                y[u(to + j)] = x[u(from_ + j)]
