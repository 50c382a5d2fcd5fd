"""Maxima, averages and norms of windows that slide over planes or over NHWC images.

The geometry `g` of planes begins with 18 numbers, three each, for depth, height and width: size of
x, size of y, kernel, strides, dilations, padding in front. Three numbers for each tap in a row
follow: the range of output positions for which it is inside x, and its distance from them.
"""

from __future__ import annotations

import numpy as np

from numba_rt.jit import inline, kernel, prange, u
from numba_rt.kernels.extreme import maximum

__all__ = ["max_pixels", "max_planes", "max_positions", "sum_pixels", "sum_planes", "unpool"]


@kernel
def max_planes(x, g, first, y, tasks):
    """y = maxima of windows.   x, y: planes, flat; first: result of an empty window."""
    wide, out_w, stride = g[2], g[5], g[11]
    rows = y.size // out_w
    for t in prange(tasks):
        for row in range(t * rows // tasks, (t + 1) * rows // tasks):
            to, plane = row * out_w, row // g[4] // g[3]
            h0, d0 = row % g[4] * g[10] - g[16], row // g[4] % g[3] * g[9] - g[15]
            for i in range(to, to + out_w):
                y[u(i)] = first
            for k in range(g[6] * g[7]):
                d, h = d0 + k // g[7] * g[12], h0 + k % g[7] * g[13]
                if h < 0 or h >= g[1] or d < 0 or d >= g[0]:
                    continue
                base = ((plane * g[0] + d) * g[1] + h) * wide
                for tap in range(18, 18 + 3 * g[8], 3):
                    i0, i1, at = g[u(tap)], g[u(tap + 1)], base + g[u(tap + 2)]
                    if stride == 1:
                        for i in range(i0, i1):
                            y[u(to + i)] = maximum(x[u(at + i)], y[u(to + i)])
                    elif stride == 2:
                        for i in range(i0, i1):
                            y[u(to + i)] = maximum(x[u(at + 2 * i)], y[u(to + i)])
                    else:
                        for i in range(i0, i1):
                            y[u(to + i)] = maximum(x[u(at + stride * i)], y[u(to + i)])


@inline
def _power(v, power):
    """v itself (power 0), or |v| ** power."""
    if power == 0:
        return v
    if power == 1:
        return abs(v)
    if power == 2:
        return v * v
    return abs(v) ** power


@kernel
def sum_planes(x, g, power, counts, y, tasks):
    """y = averages of windows (power 0), or their norms: roots of sums of |x| ** power.

    x, y: planes, flat; counts: elements of a window by depth, then by height, then by width.
    """
    wide, out_w, stride = g[2], g[5], g[11]
    rows = y.size // out_w
    by_width = g[3] + g[4]
    for t in prange(tasks):
        for row in range(t * rows // tasks, (t + 1) * rows // tasks):
            to, oh, od, plane = row * out_w, row % g[4], row // g[4] % g[3], row // g[4] // g[3]
            h0, d0 = oh * g[10] - g[16], od * g[9] - g[15]
            for i in range(to, to + out_w):
                y[u(i)] = 0
            for k in range(g[6] * g[7]):
                d, h = d0 + k // g[7] * g[12], h0 + k % g[7] * g[13]
                if h < 0 or h >= g[1] or d < 0 or d >= g[0]:
                    continue
                base = ((plane * g[0] + d) * g[1] + h) * wide
                for tap in range(18, 18 + 3 * g[8], 3):
                    i0, i1, at = g[u(tap)], g[u(tap + 1)], base + g[u(tap + 2)]
                    if stride == 1:
                        for i in range(i0, i1):
                            y[u(to + i)] += _power(x[u(at + i)], power)
                    elif stride == 2:
                        for i in range(i0, i1):
                            y[u(to + i)] += _power(x[u(at + 2 * i)], power)
                    else:
                        for i in range(i0, i1):
                            y[u(to + i)] += _power(x[u(at + stride * i)], power)
            if power == 0:
                count = counts[u(od)] * counts[u(g[3] + oh)]
                for i in range(out_w):
                    y[u(to + i)] /= count * counts[u(by_width + i)]
            elif power == 2:
                for i in range(to, to + out_w):
                    y[u(i)] = np.sqrt(y[u(i)])
            elif power > 2:
                for i in range(to, to + out_w):
                    y[u(i)] = y[u(i)] ** (1 / power)


@kernel
def max_positions(x, g, first, by_column, y, positions, tasks):
    """y = maxima of windows, and where they are in x.   x, y, positions: planes, flat; positions: int64.

    by_column: a position counts through depth first and width last, instead of the other way round.
    """
    volume, out_w = g[0] * g[1] * g[2], g[5]
    for t in prange(tasks):
        for i in range(t * y.size // tasks, (t + 1) * y.size // tasks):
            ow, oh, od = i % out_w, i // out_w % g[4], i // out_w // g[4] % g[3]
            base = i // out_w // g[4] // g[3] * volume
            w0, h0, d0 = ow * g[11] - g[17], oh * g[10] - g[16], od * g[9] - g[15]
            best, where = first, np.int64(-1)
            for kd in range(g[6]):
                for kh in range(g[7]):
                    d, h = d0 + kd * g[12], h0 + kh * g[13]
                    if d < 0 or d >= g[0] or h < 0 or h >= g[1]:
                        continue
                    for kw in range(g[8]):
                        w = w0 + kw * g[14]
                        if w < 0 or w >= g[2]:
                            continue
                        at = (d * g[1] + h) * g[2] + w
                        v = x[u(base + at)]
                        if where < 0 or v > best or (v != v and best == best):
                            best = v
                            where = base + ((w * g[1] + h) * g[0] + d if by_column else at)
            y[u(i)] = best
            positions[u(i)] = where


@kernel
def unpool(x, positions, sizes, out, status, y, tasks):
    """y[position] = x, where positions count through planes of one shape that lie in a corner of y's.

    x, positions: flat; sizes: depth, height, width of the first shape; out: those of y.
    """
    inside = x.dtype.type(0)
    for t in prange(tasks):
        for i in range(t * y.size // tasks, (t + 1) * y.size // tasks):
            y[u(i)] = inside
    planes = y.size // (out[0] * out[1] * out[2])
    total = planes * sizes[0] * sizes[1] * sizes[2]
    for i in range(x.size):
        at = positions[u(i)]
        if at < 0 or at >= total:
            status[0], status[1] = 1, at
            continue
        w, h, d = at % sizes[2], at // sizes[2] % sizes[1], at // sizes[2] // sizes[1] % sizes[0]
        plane = at // sizes[2] // sizes[1] // sizes[0]
        y[u(((plane * out[0] + d) * out[1] + h) * out[2] + w)] = x[u(i)]


@inline
def _inside(shift, dilation, size, tap):
    """The nearest tap that is not outside the input."""
    least = max(0, (dilation - 1 - shift) // dilation)
    return max(least, min(tap, (size - 1 - shift) // dilation))


@kernel
def max_pixels(x, g, layout, first, y, tasks):
    """y = maxima of windows.   x, y: NHWC, flat; g as for planes of depth 1; layout int64: images,
    channels, distance of pixels of x and of y.

    Taps are taken in threes; one outside the image counts as its neighbour inside.
    """
    height, wide, kernel_w, channels, x_step, y_step = g[1], g[2], g[8], layout[1], layout[2], layout[3]
    rows = layout[0] * g[4]
    for t in prange(tasks):
        for row in range(t * rows // tasks, (t + 1) * rows // tasks):
            image, top = row // g[4], row % g[4] * g[10] - g[16]
            for ow in range(g[5]):
                to, left = (row * g[5] + ow) * y_step, ow * g[11] - g[17]
                for c in range(channels):
                    y[u(to + c)] = first
                last_w = _inside(left, g[14], wide, kernel_w - 1) * g[14] + left
                if last_w < 0 or last_w >= wide:
                    continue
                for kh in range(g[7]):
                    h = top + kh * g[13]
                    if h < 0 or h >= height:
                        continue
                    base = (image * height + h) * wide
                    for kw in range(0, kernel_w, 3):
                        a = (base + left + g[14] * _inside(left, g[14], wide, kw)) * x_step
                        b = (
                            base + left + g[14] * _inside(left, g[14], wide, min(kw + 1, kernel_w - 1))
                        ) * x_step
                        e = (
                            base + left + g[14] * _inside(left, g[14], wide, min(kw + 2, kernel_w - 1))
                        ) * x_step
                        for c in range(channels):
                            v = maximum(x[u(a + c)], maximum(x[u(b + c)], x[u(e + c)]))
                            y[u(to + c)] = maximum(v, y[u(to + c)])


@kernel
def sum_pixels(x, g, layout, power, counts, y, tasks):
    """y = averages of windows (power 0), or their norms.   x, y: NHWC, flat; g, counts as for planes of
    depth 1; layout as for `max_pixels`.
    """
    height, wide, channels, x_step, y_step = g[1], g[2], layout[1], layout[2], layout[3]
    rows = layout[0] * g[4]
    zero = x.dtype.type(0)
    for t in prange(tasks):
        for row in range(t * rows // tasks, (t + 1) * rows // tasks):
            image, oh = row // g[4], row % g[4]
            for ow in range(g[5]):
                to = (row * g[5] + ow) * y_step
                for c in range(channels):
                    y[u(to + c)] = zero
                left, step = ow * g[11] - g[17], g[14] * x_step
                first = max(0, (g[14] - 1 - left) // g[14])
                stop = min(g[8], (wide - 1 - left) // g[14] + 1)
                for kh in range(g[7]):
                    h = oh * g[10] + kh * g[13] - g[16]
                    if h < 0 or h >= height:
                        continue
                    at = ((image * height + h) * wide + left) * x_step + first * step
                    kw = first
                    while kw < stop:
                        if power == 0 and kw + 3 <= stop:
                            b, e = at + step, at + 2 * step
                            for c in range(channels):
                                y[u(to + c)] += x[u(at + c)] + x[u(b + c)] + x[u(e + c)]
                            kw += 3
                            at += 3 * step
                            continue
                        for c in range(channels):
                            y[u(to + c)] += _power(x[u(at + c)], power)
                        kw += 1
                        at += step
                if power == 0:
                    count = counts[u(1 + oh)] * counts[u(1 + g[4] + ow)]
                    for c in range(channels):
                        y[u(to + c)] /= count
                elif power == 2:
                    for i in range(to, to + channels):
                        y[u(i)] = np.sqrt(y[u(i)])
                elif power > 2:
                    for i in range(to, to + channels):
                        y[u(i)] = y[u(i)] ** (1 / power)
