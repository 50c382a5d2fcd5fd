"""Weighted sums of a few elements for each output element, through tables of places and weights."""

from __future__ import annotations

import numpy as np

from numba_rt.jit import inline, kernel, prange, u

__all__ = ["deform_taps", "grid_taps", "round_to", "sample_planes", "sample_rows", "select_places"]

BLOCK = 256
"""Output elements whose sums are made together."""
FAR = np.float32(1e9)
"""Positions are limited to this distance, so that they fit into integers."""


@kernel
def select_places(x, rows, columns, step, y, tasks):
    """y[o, r, i] = x[o·step + rows[r] + columns[i]].   x: flat; y: flat (outer, rows, columns)."""
    n, m = columns.size, rows.size
    total = y.size // n
    for t in prange(tasks):
        first = t * total // tasks
        for row in range(first, (t + 1) * total // tasks):
            to, at = row * n, row // m * step + rows[u(row % m)]
            if row > first and row % m > 0 and rows[u(row % m - 1)] == rows[u(row % m)]:
                for i in range(to, to + n):
                    y[u(i)] = y[u(i - n)]
            else:
                for i in range(n):
                    y[u(to + i)] = x[u(at + columns[u(i)])]


@kernel
def sample_rows(x, places, weights, taps, n, inner, outside, y, tasks):
    """y[o, m, :] = Σ weights[j, m]·x[o, places[j, m], :] over taps j; `outside` where places[0, m] < 0.

    x: (outer, n, inner), flat; places, weights: (taps, m), flat, taps even; y: (outer, m, inner), flat.
    """
    m = places.size // taps
    rows = y.size // inner
    for t in prange(tasks):
        for row in range(t * rows // tasks, (t + 1) * rows // tasks):
            o, to, at = row // m, row * inner, row % m
            if places[u(at)] < 0:
                for i in range(inner):
                    y[u(to + i)] = outside
                continue
            for j in range(0, taps, 2):
                p, q = at + j * m, at + j * m + m
                a, b = (o * n + places[u(p)]) * inner, (o * n + places[u(q)]) * inner
                wa, wb = weights[u(p)], weights[u(q)]
                if j == 0:
                    for i in range(inner):
                        y[u(to + i)] = wa * x[u(a + i)] + wb * x[u(b + i)]
                else:
                    for i in range(inner):
                        y[u(to + i)] += wa * x[u(a + i)] + wb * x[u(b + i)]


@kernel
def sample_planes(x, places, weights, taps, points, channels, plane, outside, y, tasks):
    """y[b, c, p] = Σ weights[b, j, p]·x[b, c, places[b, j, p]] over taps j.

    A negative place adds nothing; if that of tap 0 is negative, the sum starts with `outside`.
    x: (batch, channels, plane), flat; places, weights: (batch, taps, points), flat;
    y: (batch, channels, points), flat.
    """
    blocks = (points + BLOCK - 1) // BLOCK
    units = y.size // points * blocks
    zero = x.dtype.type(0)
    for t in prange(tasks):
        for unit in range(t * units // tasks, (t + 1) * units // tasks):
            row, first = unit // blocks, unit % blocks * BLOCK
            count = min(BLOCK, points - first)
            base, to = row * plane, row * points + first
            at = row // channels * taps * points + first
            for i in range(count):
                y[u(to + i)] = outside if places[u(at + i)] < 0 else zero
            for _ in range(taps):
                for i in range(count):
                    k = places[u(at + i)]
                    v = x[u(base + max(k, 0))]
                    y[u(to + i)] += weights[u(at + i)] * v if k >= 0 else zero
                at += points


@kernel
def round_to(x, lowest, highest, y, tasks):
    """y = x rounded to the nearest integer, ties to even, and limited.   x, y: (n,)."""
    n = y.size
    for t in prange(tasks):
        for i in range(t * n // tasks, (t + 1) * n // tasks):
            y[u(i)] = y.dtype.type(min(max(np.rint(x[u(i)]), lowest), highest))


@inline
def _reflected(v, low, high):
    """A position mirrored at the borders until it is between them."""
    span = high - low
    if span <= 0:
        return low
    away = low - v if v < low else v - high
    if away <= 0:
        return v
    turns = np.floor(away / span)
    rest = away - turns * span
    from_low = (v < low) == (turns % 2 == 0)
    return low + rest if from_low else high - rest


@inline
def _position(v, size, align, mode, padding):
    """Where a coordinate in [-1, 1] is along an axis of pixels."""
    one = type(v)(1)
    half = type(v)(0.5)
    v = (v + one) * half * type(v)(size - 1) if align else ((v + one) * type(v)(size) - one) * half
    v = min(max(v, -type(v)(FAR)), type(v)(FAR)) if v == v else -type(v)(FAR)
    if mode == 0:
        v = np.rint(v)
    low = type(v)(0) if align else -half
    high = type(v)(size - 1) - low
    if v < low or v > high:
        if padding == 1:
            v = min(max(v, type(v)(0)), type(v)(size - 1))
        elif padding == 2:
            v = _reflected(v, low, high)
    return v


@inline
def _place(i, size, align, padding):
    """Index of a pixel, -1 for none."""
    if padding == 0:
        return i if i >= 0 and i < size else np.int64(-1)
    if padding == 2 and (i < 0 or i >= size):
        low = 0.0 if align else -0.5
        i = np.int64(_reflected(float(i), low, size - 1 - low))
    return min(max(i, np.int64(0)), np.int64(size - 1))


@inline
def _weight(mode, digit, part):
    """Weight of a tap of one axis; `part` is how far the position is from the tap before it."""
    one = type(part)(1)
    if mode == 0:
        return one
    if mode == 1:
        return part if digit == 1 else one - part
    a = type(part)(-0.75)
    far = abs(part - type(part)(digit - 1))
    if far <= one:
        return ((a + type(part)(2)) * far - (a + type(part)(3))) * far * far + one
    return ((a * far - type(part)(5) * a) * far + type(part)(8) * a) * far - type(part)(4) * a


@kernel
def grid_taps(grid, g, places, weights, tasks):
    """Taps of the pixels that GridSample reads.

    grid: (batch, points, axes), flat, width first; places, weights: (batch, taps, points), flat.
    g int64: mode (nearest, linear, cubic), padding (zeros, border, reflection), align_corners,
    axes, points, taps of an axis, then the sizes of depth, height and width.
    """
    mode, padding, align, axes, points, per_axis = g[0], g[1], g[2] != 0, g[3], g[4], g[5]
    depth, height, width = g[6], g[7], g[8]
    before = 1 if mode == 2 else 0
    total = grid.size // axes
    deep = per_axis if axes == 3 else 1
    taps = deep * per_axis * per_axis
    for t in prange(tasks):
        for point in range(t * total // tasks, (t + 1) * total // tasks):
            at = point * axes
            to = point // points * taps * points + point % points
            x = _position(grid[u(at)], width, align, mode, padding)
            y = _position(grid[u(at + 1)], height, align, mode, padding)
            z = _position(grid[u(at + 2)], depth, align, mode, padding) if axes == 3 else x - x
            x0, y0, z0 = np.floor(x), np.floor(y), np.floor(z)
            for kz in range(deep):
                pz, wz = np.int64(0), type(x)(1)
                if axes == 3:
                    pz = _place(np.int64(z0) + kz - before, depth, align, padding)
                    wz = _weight(mode, kz, z - z0)
                for ky in range(per_axis):
                    py = _place(np.int64(y0) + ky - before, height, align, padding)
                    wy = _weight(mode, ky, y - y0) * wz
                    for kx in range(per_axis):
                        px = _place(np.int64(x0) + kx - before, width, align, padding)
                        inside = px >= 0 and py >= 0 and pz >= 0
                        places[u(to)] = (pz * height + py) * width + px if inside else -1
                        weights[u(to)] = _weight(mode, kx, x - x0) * wy
                        to += points


@kernel
def deform_taps(offset, mask, g, places, weights, tasks):
    """Taps of the pixels that DeformConv reads.

    offset: (groups, taps, 2, points), flat, height first; mask: (groups, taps, points), flat, or of
    size 1; places, weights: (groups, 4, taps, points), flat. g int64: height and width of the
    image, of the output and of the kernel, then strides, dilations and padding in front.
    """
    height, width, out_h, out_w, taps = g[0], g[1], g[2], g[3], g[4] * g[5]
    points = out_h * out_w
    rows = places.size // (4 * out_w)
    one = weights.dtype.type(1)
    for t in prange(tasks):
        for row in range(t * rows // tasks, (t + 1) * rows // tasks):
            tap, oh = row // out_h, row % out_h
            group, k = tap // taps, tap % taps
            top = oh * g[6] + k // g[5] * g[8] - g[10]
            left = k % g[5] * g[9] - g[11]
            for ow in range(out_w):
                p = oh * out_w + ow
                y = offset[u(2 * tap * points + p)] + type(one)(top)
                x = offset[u((2 * tap + 1) * points + p)] + type(one)(left + ow * g[7])
                y = min(max(y, -type(one)(FAR)), type(one)(FAR)) if y == y else -type(one)(FAR)
                x = min(max(x, -type(one)(FAR)), type(one)(FAR)) if x == x else -type(one)(FAR)
                y0, x0 = np.floor(y), np.floor(x)
                factor = mask[u(tap * points + p)] if mask.size > 1 else mask[0]
                to = (group * 4 * taps + k) * points + p
                for corner in range(4):
                    h, w = np.int64(y0) + corner // 2, np.int64(x0) + corner % 2
                    wy = y - y0 if corner // 2 else one - (y - y0)
                    wx = x - x0 if corner % 2 else one - (x - x0)
                    inside = h >= 0 and h < height and w >= 0 and w < width
                    places[u(to)] = h * width + w if inside else -1
                    weights[u(to)] = wy * wx * factor
                    to += taps * points
