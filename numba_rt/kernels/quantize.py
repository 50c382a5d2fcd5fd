"""Quantization: the scalar function of generated kernels, and the range of an array."""

from __future__ import annotations

import numpy as np

from numba_rt.jit import inline, kernel, prange, u

f32 = np.float32


@inline
def to_range(scaled, zero, lo, hi):
    """A scaled number rounded to even, moved by the zero point, kept from lo to hi; lo for NaN."""
    x = np.rint(scaled) + zero
    x = x if x > lo else lo
    return x if x < hi else hi


@inline
def range_parameters(lowest, highest):
    """The scale and zero point by which numbers from lowest to highest become 0 to 255.

    A function of its own because its divisions must stay divisions: the kernel's may become products.
    """
    scale = (f32(1) if highest == lowest else f32(highest - lowest)) / f32(255)
    place = f32(0) - f32(lowest / scale)
    return scale, np.uint8(np.rint(max(f32(0), min(f32(255), place))))


@kernel.reduction
def dynamic_range(x, parts, scale, zero, tasks):
    """The scale and zero point by which the range of x, extended to 0, becomes 0 to 255.

    x: (n,) float32; parts: (tasks, 2), working memory; scale: (1,) float32; zero: (1,) uint8.
    """
    n = x.size
    for t in prange(tasks):
        low, high = f32(0), f32(0)
        for i in range(t * n // tasks, (t + 1) * n // tasks):
            low = min(low, x[u(i)])
            high = max(high, x[u(i)])
        parts[t, 0] = low
        parts[t, 1] = high
    lowest, highest = f32(0), f32(0)
    for part in range(tasks):
        lowest = min(lowest, parts[part, 0])
        highest = max(highest, parts[part, 1])
    scale[0], zero[0] = range_parameters(lowest, highest)
