"""Maxima, averages and norms of windows that slide over planes or over NHWC images.

The geometry `g` of planes begins with 18 numbers, three each, for depth, height and width: size of
x, size of y, kernel, strides, dilations, padding in front. Three numbers for each tap in a row
follow: the range of output positions for which it is inside x, and its distance from them.
"""

from __future__ import annotations

import numpy as np

from numba_rt.jit import inline, kernel, prange, u
from numba_rt.kernels.extreme import maximum

__all__ = [
    "max_pixels",
    "max_planes",
    "max_positions",
    "pixel_layout",
    "sum_pixels",
    "sum_planes",
    "unpool",
]

FEW, MANY = 8, 32
"""Channels below which loops run over pixels, and from which each pixel has its own loops."""


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
def _power(x, i, power):
    """x[i] itself (power 0), or |x[i]| ** power."""
    v = x[u(i)]
    if power == 0:
        return v
    if power == 1:
        return abs(v)
    if power == 2:
        return v * v
    return x.dtype.type(abs(v) ** power)


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
                            y[u(to + i)] += _power(x, at + i, power)
                    elif stride == 2:
                        for i in range(i0, i1):
                            y[u(to + i)] += _power(x, at + 2 * i, power)
                    else:
                        for i in range(i0, i1):
                            y[u(to + i)] += _power(x, at + stride * i, power)
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


def pixel_layout(g: np.ndarray, images: int, channels: int, x_step: int, y_step: int) -> np.ndarray:
    """The argument `layout` of `max_pixels` and `sum_pixels`, for pixels so far apart.

    After these numbers follow: whether a row of y is a run as long as its windows, the elements that
    windows in a row begin at and all between, and the elements that they read.
    """
    reach, back = int(g[5] - 1) * int(g[11]), int(g[8] - 1) * int(g[14])
    dense = g[11] == 1 and y_step == channels
    span, width = (reach + 1) * channels, (reach + back + 1) * channels
    return np.array([images, channels, x_step, y_step, dense, span, width], np.int64)


@inline
def _taps(shift, dilation, size, kernel):
    """The range of taps that are inside the input."""
    return max(0, (dilation - 1 - shift) // dilation), min(kernel, (size - 1 - shift) // dilation + 1)


@inline
def _max_of_runs(x, at, step, taps, n, y, to):
    """y[to : to + n] = maxima of runs of x that are `step` apart.   Three at a time; the last may repeat."""
    for tap in range(0, taps, 3):
        a = at + tap * step
        b, e = at + min(tap + 1, taps - 1) * step, at + min(tap + 2, taps - 1) * step
        if tap == 0:
            for i in range(n):
                y[u(to + i)] = maximum(x[u(a + i)], maximum(x[u(b + i)], x[u(e + i)]))
        else:
            for i in range(n):
                v = maximum(x[u(a + i)], maximum(x[u(b + i)], x[u(e + i)]))
                y[u(to + i)] = maximum(v, y[u(to + i)])


@inline
def _copy_pixels(x, at, step, channels, count, y, to, y_step):
    """Copies so many pixels that are `step` and then `y_step` apart."""
    if channels < FEW:
        for c in range(channels):
            for pixel in range(count):
                y[u(to + pixel * y_step + c)] = x[u(at + pixel * step + c)]
    else:
        for pixel in range(count):
            for c in range(channels):
                y[u(to + pixel * y_step + c)] = x[u(at + pixel * step + c)]


@kernel
def max_pixels(x, g, layout, first, lines, maxima, y, tasks):
    """y = maxima of windows: of the rows of a window, a line of maxima, then of the columns in it.

    x, y: NHWC, flat; g as for planes of depth 1; layout: `pixel_layout(...)`; lines: (tasks * width,);
    maxima: (tasks * span,).
    """
    height, wide, channels, x_step, y_step = g[1], g[2], layout[1], layout[2], layout[3]
    out_h, out_w, begin, dense, span, width = g[4], g[5], g[17], layout[4] != 0, layout[5], layout[6]
    total, stride, step = layout[0] * out_h, g[11] * channels, g[14] * channels
    start, pixels = max(0, begin), min(width // channels, wide + begin) - max(0, begin)
    pieces, run, together = pixels, channels, out_w if dense else 1
    if x_step == channels:
        pieces, run = min(1, max(0, pixels)), pixels * channels
    for t in prange(tasks):
        at, to = t * width, t * span
        for i in range(at, at + width):
            lines[u(i)] = first
        for row in range(t * total // tasks, (t + 1) * total // tasks):
            top = row % out_h * g[10] - g[16]
            kh, stop = _taps(top, g[13], height, g[7])
            source = ((row // out_h * height + top + kh * g[13]) * wide + start - begin) * x_step
            for piece in range(pieces):
                line = at + (start + piece) * channels
                if kh >= stop:
                    for i in range(line, line + run):
                        lines[u(i)] = first
                _max_of_runs(x, source, g[13] * wide * x_step, stop - kh, run, lines, line)
                source += x_step
            out = row * out_w * y_step
            if dense or channels >= MANY:
                for i in range(0, out_w, together):
                    a = at + i * stride
                    _max_of_runs(lines, a, step, g[8], together * channels, y, out + i * y_step)
            else:
                _max_of_runs(lines, at, step, g[8], span, maxima, to)
                _copy_pixels(maxima, to, stride, channels, out_w, y, out, y_step)


@inline
def _sum_of_runs(x, at, step, taps, n, y, to):
    """y[to : to + n] = sums of runs of x that are `step` apart."""
    b, e = at + step, at + 2 * step
    if taps >= 3:
        for i in range(n):
            y[u(to + i)] = x[u(at + i)] + x[u(b + i)] + x[u(e + i)]
    elif taps == 2:
        for i in range(n):
            y[u(to + i)] = x[u(at + i)] + x[u(b + i)]
    else:
        for i in range(n):
            y[u(to + i)] = x[u(at + i)]
    for tap in range(3, taps):
        a = at + tap * step
        for i in range(n):
            y[u(to + i)] += x[u(a + i)]


@inline
def _sum_of_powers(x, at, step, taps, power, n, y, to):
    """Like `_sum_of_runs`, of |x| ** power; zeros where there are no taps."""
    for i in range(n):
        y[u(to + i)] = 0
    for tap in range(taps):
        a = at + tap * step
        for i in range(n):
            y[u(to + i)] += _power(x, a + i, power)


@inline
def _finish(y, at, step, channels, factor, counts, first, pixels, power):
    """Makes averages (power 0) or norms of sums; between pixels that are `step` apart, too.

    The elements of a window are `factor` times its number among counts[first : first + pixels].
    """
    pixel = 0
    while pixel < pixels and power != 1:
        stop, own = pixel + 1, counts[u(first + pixel)]
        while stop < pixels and counts[u(first + stop)] == own:
            stop += 1
        a, b, divisor = at + pixel * step, at + (stop - 1) * step + channels, factor * own
        if power == 0:
            for i in range(a, b):
                y[u(i)] /= divisor
        elif power == 2:
            for i in range(a, b):
                y[u(i)] = np.sqrt(y[u(i)])
        else:
            for i in range(a, b):
                y[u(i)] = y[u(i)] ** (1 / power)
        pixel = stop


@kernel
def sum_pixels(x, g, layout, power, counts, lines, sums, y, tasks):
    """y = averages of windows (power 0), or their norms: sums of rows, then of the columns in them.

    x, y: NHWC, flat; g, counts as for planes of depth 1; layout: `pixel_layout(...)`;
    lines: (tasks * width,); sums: (tasks * span,).
    """
    height, wide, channels, x_step, y_step = g[1], g[2], layout[1], layout[2], layout[3]
    out_h, out_w, begin, dense, span, width = g[4], g[5], g[17], layout[4] != 0, layout[5], layout[6]
    total, stride, step, zero = layout[0] * out_h, g[11] * channels, g[14] * channels, x.dtype.type(0)
    start, pixels = max(0, begin), min(width // channels, wide + begin) - max(0, begin)
    pieces, run, together = pixels, channels, out_w if dense else 1
    if x_step == channels:
        pieces, run = min(1, max(0, pixels)), pixels * channels
    for t in prange(tasks):
        at, to = t * width, t * span
        for i in range(at, at + width):
            lines[u(i)] = zero
        for row in range(t * total // tasks, (t + 1) * total // tasks):
            top = row % out_h * g[10] - g[16]
            kh, stop = _taps(top, g[13], height, g[7])
            source = ((row // out_h * height + top + kh * g[13]) * wide + start - begin) * x_step
            row_step = g[13] * wide * x_step
            for piece in range(pieces):
                line = at + (start + piece) * channels
                if kh < stop and power == 0:
                    _sum_of_runs(x, source, row_step, stop - kh, run, lines, line)
                else:
                    _sum_of_powers(x, source, row_step, stop - kh, power, run, lines, line)
                source += x_step
            out, count, first = row * out_w * y_step, counts[u(1 + row % out_h)], 1 + out_h
            if dense or channels >= MANY:
                for i in range(0, out_w, together):
                    a, b = at + i * stride, out + i * y_step
                    _sum_of_runs(lines, a, step, g[8], together * channels, y, b)
                    _finish(y, b, channels, channels, count, counts, first + i, together, power)
            else:
                _sum_of_runs(lines, at, step, g[8], span, sums, to)
                _finish(sums, to, stride, channels, count, counts, first, out_w, power)
                _copy_pixels(sums, to, stride, channels, out_w, y, out, y_step)
