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
    "pixel_moments",
]

BLOCK = 4096
"""Elements whose sum is kept in the array's own precision."""
ROWS, MOST_ROWS = 1 << 15, 64
"""Most elements of rows of pixels whose moments are taken together, for they stay in the nearest caches,
and most such rows, for their sums are kept in the array's own precision."""
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
def pixel_moments(x, channels, pixels, pieces, fold, lines, totals, moments, tasks):
    """Means of channels and sums of squared distances from them, for each piece of images (pixels, channels).

    `fold` pixels are taken as one row, that rows may be long.   x: flat; lines: (tasks * 2 * row,);
    totals: (tasks * 2 * row,) float64; moments: (images * pieces * 2 * channels,) float64.
    """
    width = fold * channels
    units, most = x.size // (pixels * channels) * pieces, min(MOST_ROWS, max(1, ROWS // (4 * width)) * 4)
    for t in prange(tasks):
        a = t * 2 * width
        for unit in range(t * units // tasks, (t + 1) * units // tasks):
            first, stop = unit % pieces * pixels // pieces, (unit % pieces + 1) * pixels // pieces
            start = (unit // pieces * pixels + first) * channels
            rows, rest = (stop - first) // fold, (stop - first) % fold * channels
            for j in range(a, a + 2 * width):
                totals[u(j)] = 0
            done, stop_row = 0, rows + (1 if rest > 0 else 0)
            while done < stop_row:
                count, columns = min(most, rows - done), width
                if done == rows:
                    count, columns = 1, rest
                _row_moments(x, start + done * width, count, columns, lines, a)
                _add_moments(totals, a, width, done, lines, a, columns, count)
                done += count
            to = unit * 2 * channels
            for j in range(channels):
                moments[u(to + j)] = totals[u(a + j)]
                moments[u(to + channels + j)] = totals[u(a + width + j)]
            for pixel in range(1, min(fold, stop - first)):
                for j in range(channels):
                    at = pixel * channels + j
                    seen = pixel * rows + min(rest, pixel * channels) // channels
                    own = rows + (1 if at < rest else 0)
                    d = totals[u(a + at)] - moments[u(to + j)]
                    moments[u(to + j)] += d * own / (seen + own)
                    moments[u(to + channels + j)] += totals[u(a + width + at)] + d * d * seen * own / (
                        seen + own
                    )


@inline
def _row_moments(x, at, rows, width, lines, a):
    """lines[a:] = means of the columns of some rows, then sums of squared distances from them."""
    b, end = a + width, at + rows * width
    whole = at + rows // 4 * 4 * width
    for j in range(a, a + 2 * width):
        lines[u(j)] = 0
    for r0 in range(at, whole, 4 * width):
        r1, r2, r3 = r0 + width, r0 + 2 * width, r0 + 3 * width
        for j in range(width):
            lines[u(a + j)] += (x[u(r0 + j)] + x[u(r1 + j)]) + (x[u(r2 + j)] + x[u(r3 + j)])
    for r0 in range(whole, end, width):
        for j in range(width):
            lines[u(a + j)] += x[u(r0 + j)]
    for j in range(a, b):
        lines[u(j)] /= rows
    for r0 in range(at, whole, 4 * width):
        r1, r2, r3 = r0 + width, r0 + 2 * width, r0 + 3 * width
        for j in range(width):
            m = lines[u(a + j)]
            d0, d1, d2, d3 = x[u(r0 + j)] - m, x[u(r1 + j)] - m, x[u(r2 + j)] - m, x[u(r3 + j)] - m
            lines[u(b + j)] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
    for r0 in range(whole, end, width):
        for j in range(width):
            d = x[u(r0 + j)] - lines[u(a + j)]
            lines[u(b + j)] += d * d


@inline
def _add_moments(totals, a, apart, seen, lines, b, width, count):
    """Adds moments of `count` rows to those of `seen`, whose squares are `apart` behind their means."""
    weight, spread = count / (seen + count), seen * count / (seen + count)
    for j in range(width):
        d = lines[u(b + j)] - totals[u(a + j)]
        totals[u(a + j)] += d * weight
        totals[u(a + apart + j)] += lines[u(b + width + j)] + d * d * spread


@kernel
def group_norm_pixels(
    x, scale, bias, moments, pixels, groups, pieces, fold, epsilon, totals, lines, y, tasks
):
    """Like `group_norm`, of images whose channels come last, with their `pixel_moments`.

    x, y: flat, y may be x; scale, bias: (channels,); totals: (tasks * 2 * channels,) float64;
    lines: (tasks * 3 * fold * channels,).
    """
    channels = scale.size
    width, own, units = fold * channels, channels // groups, x.size // (pixels * channels) * pieces
    for t in prange(tasks):
        a, known = t * 3 * width, -1
        b, c = a + width, a + 2 * width
        for unit in range(t * units // tasks, (t + 1) * units // tasks):
            image, piece = unit // pieces, unit % pieces
            if image != known:
                known = image
                _join_moments(moments, image * pieces, pieces, pixels, channels, totals, t * 2 * channels)
                for group in range(0, channels, own):
                    mean, variance = _group_moments(totals, t * 2 * channels + group, channels, own, pixels)
                    inv = 1 / np.sqrt(variance + epsilon)
                    for j in range(group, group + own):
                        lines[u(a + j)], lines[u(b + j)], lines[u(c + j)] = (
                            mean,
                            scale[u(j)] * inv,
                            bias[u(j)],
                        )
                for j in range(channels, width):
                    for line in range(a, a + 3 * width, width):
                        lines[u(line + j)] = lines[u(line + j - channels)]
            start = (image * pixels + piece * pixels // pieces) * channels
            end = (image * pixels + (piece + 1) * pixels // pieces) * channels
            for at in range(start, end, width):
                for j in range(min(width, end - at)):
                    d = x[u(at + j)] - lines[u(a + j)]
                    y[u(at + j)] = d * lines[u(b + j)] + lines[u(c + j)]


@inline
def _join_moments(moments, unit, pieces, pixels, channels, totals, a):
    """totals[a:] = moments of the channels of an image, of those of its pieces."""
    for j in range(a, a + 2 * channels):
        totals[u(j)] = 0
    for piece in range(pieces):
        first, stop = piece * pixels // pieces, (piece + 1) * pixels // pieces
        at = (unit + piece) * 2 * channels
        _add_moments(totals, a, channels, first, moments, at, channels, stop - first)


@inline
def _group_moments(totals, first, apart, own, count):
    """Mean and variance of channels with `count` elements each."""
    mean, squares = 0.0, 0.0
    for j in range(first, first + own):
        mean += totals[u(j)]
    mean /= own
    for j in range(first, first + own):
        d = totals[u(j)] - mean
        squares += totals[u(j + apart)] + d * d * count
    return mean, squares / (own * count)


@kernel
def expand(x, positions, y, tasks):
    """y = x[positions].   positions, y: (n,)."""
    for t in prange(tasks):
        for i in range(t * y.size // tasks, (t + 1) * y.size // tasks):
            y[u(i)] = x[u(positions[u(i)])]
