"""Normalisations: rows to mean 0 and variance 1, channels by statistics, neighbours by their squares."""

from __future__ import annotations

import numpy as np

from numba_rt.jit import inline, kernel, prange, u
from numba_rt.kernels import math as km

__all__ = [
    "COLUMNS",
    "add_layer_norm",
    "batch_norm",
    "expand",
    "group_norm",
    "group_norm_pixels",
    "layer_norm",
    "lrn",
    "lrn_pixels",
]

BLOCK = 4096
"""Elements whose sum is kept in the array's own precision."""
COLUMNS = 512
"""Columns that `lrn` works on together."""


@kernel.reduction
def layer_norm(x, scale, bias, n, epsilon, centred, y, mean, inv, tasks):
    """y = (x - mean) * inv * scale + bias with inv = 1 / sqrt(variance + epsilon), for rows of n.

    x, y: (rows * n,), y may be x; scale: (n,); bias: (n,), or shorter if there is none; epsilon:
    of x's dtype; not `centred`: without the mean. mean, inv: (rows,), or shorter if not wanted.
    """
    rows = x.size // n
    for t in prange(tasks):
        for row in range(t * rows // tasks, (t + 1) * rows // tasks):
            start, stop = row * n, row * n + n
            total = 0.0
            if centred:
                for block in range(start, stop, BLOCK):
                    part = epsilon - epsilon
                    for i in range(block, min(block + BLOCK, stop)):
                        part += x[u(i)]
                    total += part
            m = x.dtype.type(total / n)
            total = 0.0
            for block in range(start, stop, BLOCK):
                part = epsilon - epsilon
                for i in range(block, min(block + BLOCK, stop)):
                    d = x[u(i)] - m
                    part += d * d
                total += part
            r = x.dtype.type(1 / np.sqrt(total / n + epsilon))
            if bias.size == n:
                for i in range(n):
                    y[u(start + i)] = (x[u(start + i)] - m) * r * scale[u(i)] + bias[u(i)]
            else:
                for i in range(n):
                    y[u(start + i)] = (x[u(start + i)] - m) * r * scale[u(i)]
            if mean.size == rows:
                mean[u(row)] = m
            if inv.size == rows:
                inv[u(row)] = r


@kernel.reduction
def add_layer_norm(a, b, scale, bias, n, epsilon, centred, y, x, tasks):
    """x = a + b, and y = layer_norm(x).   a, b, x, y: (rows * n,); y or x may be a or b, but not y = x."""
    rows = x.size // n
    for t in prange(tasks):
        for row in range(t * rows // tasks, (t + 1) * rows // tasks):
            start, stop = row * n, row * n + n
            total = 0.0
            for block in range(start, stop, BLOCK):
                part = epsilon - epsilon
                for i in range(block, min(block + BLOCK, stop)):
                    v = a[u(i)] + b[u(i)]
                    x[u(i)] = v
                    part += v
                total += part
            m = x.dtype.type(total / n if centred else 0.0)
            total = 0.0
            for block in range(start, stop, BLOCK):
                part = epsilon - epsilon
                for i in range(block, min(block + BLOCK, stop)):
                    d = x[u(i)] - m
                    part += d * d
                total += part
            r = x.dtype.type(1 / np.sqrt(total / n + epsilon))
            if bias.size == n:
                for i in range(n):
                    y[u(start + i)] = (x[u(start + i)] - m) * r * scale[u(i)] + bias[u(i)]
            else:
                for i in range(n):
                    y[u(start + i)] = (x[u(start + i)] - m) * r * scale[u(i)]


@kernel.reduction
def group_norm(x, scale, bias, n, segment, epsilon, y, tasks):
    """Rows of n to mean 0 and variance 1, then their segments times the scale plus the bias of a channel.

    x, y: (rows * n,), y may be x; scale, bias: (channels,); segments count through the channels.
    """
    rows, pieces = x.size // n, n // segment
    for t in prange(tasks):
        for row in range(t * rows // tasks, (t + 1) * rows // tasks):
            start, stop = row * n, row * n + n
            total = 0.0
            for block in range(start, stop, BLOCK):
                part = epsilon - epsilon
                for i in range(block, min(block + BLOCK, stop)):
                    part += x[u(i)]
                total += part
            m = x.dtype.type(total / n)
            total = 0.0
            for block in range(start, stop, BLOCK):
                part = epsilon - epsilon
                for i in range(block, min(block + BLOCK, stop)):
                    d = x[u(i)] - m
                    part += d * d
                total += part
            r = x.dtype.type(1 / np.sqrt(total / n + epsilon))
            for piece in range(pieces):
                channel = (row * pieces + piece) % scale.size
                s, shift = r * scale[u(channel)], bias[u(channel)]
                for i in range(start + piece * segment, start + (piece + 1) * segment):
                    y[u(i)] = (x[u(i)] - m) * s + shift


@kernel
def batch_norm(x, scale, bias, mean, var, inner, epsilon, y, tasks):
    """y = (x - mean) / sqrt(var + epsilon) * scale + bias.   x, y: (outer * channels * inner,), y may be x.

    scale, bias, mean, var: (channels,); epsilon: of x's dtype.
    """
    channels = scale.size
    rows = x.size // inner
    for t in prange(tasks):
        if inner == 1:
            for image in range(t * rows // channels // tasks, (t + 1) * rows // channels // tasks):
                for c in range(channels):
                    i = image * channels + c
                    s = scale[u(c)] / np.sqrt(var[u(c)] + epsilon)
                    y[u(i)] = (x[u(i)] - mean[u(c)]) * s + bias[u(c)]
        else:
            for row in range(t * rows // tasks, (t + 1) * rows // tasks):
                c = row % channels
                s, m, shift = scale[u(c)] / np.sqrt(var[u(c)] + epsilon), mean[u(c)], bias[u(c)]
                for i in range(row * inner, (row + 1) * inner):
                    y[u(i)] = (x[u(i)] - m) * s + shift


@kernel
def lrn(x, outer, channels, inner, size, alpha, beta, bias, squares, y, tasks):
    """y = x / (bias + alpha * sum of squares of `size` neighbouring channels) ** beta.

    x, y: (outer * channels * inner,); alpha, beta, bias: of x's dtype; squares: (tasks * COLUMNS,).
    """
    tiles = (inner + COLUMNS - 1) // COLUMNS
    units = outer * channels * tiles
    before, after = (size - 1) // 2, size // 2
    for t in prange(tasks):
        a = t * COLUMNS
        for unit in range(t * units // tasks, (t + 1) * units // tasks):
            row, j0 = unit // tiles, unit % tiles * COLUMNS
            c, width = row % channels, min(COLUMNS, inner - j0)
            for j in range(width):
                squares[u(a + j)] = alpha - alpha
            for k in range(max(0, c - before), min(channels, c + after + 1)):
                at = (row - c + k) * inner + j0
                for j in range(width):
                    squares[u(a + j)] += x[u(at + j)] * x[u(at + j)]
            at = row * inner + j0
            for j in range(width):
                y[u(at + j)] = x[u(at + j)] * km.exp(-beta * km.log(bias + alpha * squares[u(a + j)]))


@kernel
def lrn_pixels(x, channels, size, alpha, beta, bias, y, tasks):
    """Like `lrn`, of rows of channels.   x, y: (rows * channels,); alpha, beta, bias: of x's dtype."""
    rows = x.size // channels
    before, after = (size - 1) // 2, size // 2
    for t in prange(tasks):
        for row in range(t * rows // tasks, (t + 1) * rows // tasks):
            start = row * channels
            for i in range(start, start + channels):
                y[u(i)] = x[u(i)] * x[u(i)]
            for k in range(1, max(before, after) + 1):
                # The present channel's neighbours at distance k; y holds the sums so far.
                if k <= before:
                    for i in range(start + k, start + channels):
                        y[u(i)] += x[u(i - k)] * x[u(i - k)]
                if k <= after:
                    for i in range(start, start + channels - k):
                        y[u(i)] += x[u(i + k)] * x[u(i + k)]
            if beta == 0.75:
                for i in range(start, start + channels):
                    s = bias + alpha * y[u(i)]
                    y[u(i)] = x[u(i)] / np.sqrt(s * np.sqrt(s))
            else:
                for i in range(start, start + channels):
                    y[u(i)] = x[u(i)] * km.exp(-beta * km.log(bias + alpha * y[u(i)]))


@kernel
def group_norm_pixels(x, scale, bias, pixels, groups, epsilon, sums, rows, y, tasks):
    """Like `group_norm`, of images whose channels come last.

    x, y: (images * pixels * channels,), y may be x; scale, bias: (channels,);
    sums: (tasks, channels) float64; rows: (tasks, 3, channels).
    """
    channels = scale.size
    images, own = x.size // (pixels * channels), channels // groups
    for t in prange(tasks):
        first, stop = t * images * groups // tasks, (t + 1) * images * groups // tasks
        while first < stop:
            image = first // groups
            last = min(stop, (image + 1) * groups)
            c0, c1 = (first - image * groups) * own, (last - image * groups) * own
            start, end = image * pixels * channels, (image + 1) * pixels * channels
            for c in range(c0, c1):
                rows[u(t), u(0), u(c)] = epsilon - epsilon
            for power in range(2):
                _sum_columns(x, start, end, channels, c0, c1, power, sums[t], rows[t])
                for group in range(c0, c1, own):
                    total = 0.0
                    for c in range(group, group + own):
                        total += sums[t, c]
                    total /= pixels * own
                    for c in range(group, group + own):
                        if power == 0:
                            rows[t, 0, c] = total
                        else:
                            rows[t, 1, c] = scale[u(c)] / np.sqrt(total + epsilon)
            for at in range(start, end, channels):
                for c in range(c0, c1):
                    d = x[u(at + c)] - rows[u(t), u(0), u(c)]
                    y[u(at + c)] = d * rows[u(t), u(1), u(c)] + bias[u(c)]
            first = last


@inline
def _sum_columns(x, start, end, channels, c0, c1, power, sums, rows):
    """sums = sums of columns [c0, c1) of x, or of the squares of their distances from rows[0].

    rows[2] holds sums of a few neighbouring rows.
    """
    for c in range(c0, c1):
        sums[u(c)] = 0
    step = channels * (BLOCK // 64)
    for block in range(start, end, step):
        for c in range(c0, c1):
            rows[u(2), u(c)] = 0
        for at in range(block, min(block + step, end), channels):
            if power == 0:
                for c in range(c0, c1):
                    rows[u(2), u(c)] += x[u(at + c)]
            else:
                for c in range(c0, c1):
                    d = x[u(at + c)] - rows[u(0), u(c)]
                    rows[u(2), u(c)] += d * d
        for c in range(c0, c1):
            sums[u(c)] += rows[u(2), u(c)]


@kernel
def expand(x, positions, y, tasks):
    """y = x[positions].   positions, y: (n,)."""
    for t in prange(tasks):
        for i in range(t * y.size // tasks, (t + 1) * y.size // tasks):
            y[u(i)] = x[u(positions[u(i)])]
