"""Products of small integers, exact in 32 bits, for matrices and convolutions."""

from __future__ import annotations

import numpy as np

from numba_rt.jit import kernel, prange, u

__all__ = ["dot_rows", "patches"]

COLUMNS = 64
"""Rows of b that stay in the cache while all rows of a pass by."""

i32 = np.int32


@kernel
def dot_rows(a, b, g, c, tasks):
    """c[i, j] = sum over p of a[i, p] * b[j, p] for a batch of matrices; sums wrap around.

    a (m, k), b (n, k) int16, c (m, n) int32, each flat and contiguous, for items of the batch; g
    int64: batch0, batch1, m, n, k, then the strides of a, b and c along the two batch axes, in elements.
    """
    batch1, m, n, k = g[1], g[2], g[3], g[4]
    blocks = (n + COLUMNS - 1) // COLUMNS
    rows = g[0] * batch1 * blocks * m
    for t in prange(tasks):
        at, end = t * rows // tasks, (t + 1) * rows // tasks
        while at < end:
            block, first = at // m, at % m
            last = min(m, first + end - at)
            item, j0 = block // blocks, block % blocks * COLUMNS
            j1 = min(n, j0 + COLUMNS)
            a0 = item // batch1 * g[5] + item % batch1 * g[6]
            b0 = item // batch1 * g[7] + item % batch1 * g[8]
            c0 = item // batch1 * g[9] + item % batch1 * g[10]
            for i in range(first, last):
                row = a0 + i * k
                j4 = j0 + (j1 - j0) // 4 * 4
                for j in range(j0, j4, 4):
                    q = b0 + j * k
                    s0, s1, s2, s3 = i32(0), i32(0), i32(0), i32(0)
                    for p in range(k):
                        x = i32(a[u(row + p)])
                        s0 = i32(s0 + x * i32(b[u(q + p)]))
                        s1 = i32(s1 + x * i32(b[u(q + k + p)]))
                        s2 = i32(s2 + x * i32(b[u(q + 2 * k + p)]))
                        s3 = i32(s3 + x * i32(b[u(q + 3 * k + p)]))
                    y = c0 + i * n + j
                    c[u(y)], c[u(y + 1)], c[u(y + 2)], c[u(y + 3)] = s0, s1, s2, s3
                for j in range(j4, j1):
                    s0 = i32(0)
                    for p in range(k):
                        s0 = i32(s0 + i32(a[u(row + p)]) * i32(b[u(b0 + j * k + p)]))
                    c[u(c0 + i * n + j)] = s0
            at += last - first


@kernel
def patches(x, g, y, tasks):
    """The numbers each output pixel of a convolution is made of, side by side; 0 in the padding.

    x (c, d, h, w) of one image; y (groups, pixels, own, taps), flat; g int64: groups, then of three
    axes each the kernel, the output's sizes, strides, dilations and pads before.
    """
    own = x.shape[0] // g[0]
    k0, k1, k2 = g[1], g[2], g[3]
    n0, n1, n2 = g[4], g[5], g[6]
    lines = g[0] * n0 * n1
    for t in prange(tasks):
        for line in range(t * lines // tasks, (t + 1) * lines // tasks):
            group, o0, o1 = line // (n0 * n1), line // n1 % n0, line % n1
            at = line * n2 * own * k0 * k1 * k2
            for o2 in range(n2):
                for c in range(group * own, (group + 1) * own):
                    for q0 in range(k0):
                        i0 = o0 * g[7] + q0 * g[10] - g[13]
                        for q1 in range(k1):
                            i1 = o1 * g[8] + q1 * g[11] - g[14]
                            inside = i0 >= 0 and i0 < x.shape[1] and i1 >= 0 and i1 < x.shape[2]
                            for q2 in range(k2):
                                i2 = o2 * g[9] + q2 * g[12] - g[15]
                                if inside and i2 >= 0 and i2 < x.shape[3]:
                                    y[u(at)] = x[u(c), u(i0), u(i1), u(i2)]
                                else:
                                    y[u(at)] = 0
                                at += 1
