"""Depthwise convolutions of float32 images (b, h, w, c): one filter per channel."""

from __future__ import annotations

import numpy as np

from numba_rt.jit import kernel, prange
from numba_rt.kernels.activation import activate, activation_address
from numba_rt.kernels.conv import Window
from numba_rt.simd.depthwise import ANY, FAMILIES, MAX_CHANNELS, WIDTHS, row_addresses, row_tile

__all__ = ["depthwise", "depthwise_sizes", "depthwise_tiles", "row_width"]

LINE = 16
"""Floats of a cache line."""


def depthwise_tiles(window: Window) -> np.ndarray:
    """The argument `tiles` of `depthwise`."""
    family = window.kernel[1], window.strides[1]
    return row_addresses(*(family if window.dilations[1] == 1 and family in FAMILIES else ANY))


def row_width(ow: int) -> int:
    """The width of tiles for rows of so many outputs."""
    return min((-(-ow // width) * (width + 1), width) for width in WIDTHS if width <= max(ow, 1))[1]


def depthwise_sizes(
    window: Window, bias: bool = False, residual: bool = False, act: int = 0, out_pitch: int = 0
) -> np.ndarray:
    """The sizes `g` of `depthwise`; `out_pitch` as for `convolution`."""
    oh, ow = window.out
    width = row_width(ow)
    strips = -(-ow // width)
    return np.array(
        [window.batch, *window.size, window.channels, oh, ow, *window.kernel, *window.strides,
         *window.dilations, *window.pads[:2], bias, residual, act, activation_address() if act else 0,
         window.step, out_pitch or window.channels, width, strips],
        np.int64,
    )  # fmt: skip


@kernel
def depthwise(x, w, bias, residual, tiles, g, f, y, tasks):
    """x, w, bias, residual, y: flat float32; w is (taps, c); tiles: `depthwise_tiles(...)`;
    g: `depthwise_sizes(...)`; f: `epilogue(...)`, whose alpha is 1. The residual must not be y.

    Addresses of a tile's inputs lie on the stack: windows of some thousand taps are the limit.
    """
    h, wide, c, oh, ow, taps_h, taps_w = g[1], g[2], g[3], g[4], g[5], g[6], g[7]
    stride_h, stride_w, dilation_h, dilation_w, top, left = g[8], g[9], g[10], g[11], g[12], g[13]
    has_bias, has_residual, act, x_step, y_step = g[14] != 0, g[15] != 0, g[16], g[18], g[19]
    width, strips = g[20], g[21]
    lines, vectors = g[0] * oh, (c + LINE - 1) // LINE
    chunks = (c + MAX_CHANNELS - 1) // MAX_CHANNELS
    if lines % tasks != 0 and lines < 8 * tasks:
        chunks *= tasks
    units = lines * chunks
    for t in prange(tasks):
        for unit in range(t * units // tasks, (t + 1) * units // tasks):
            line, chunk = unit // chunks, unit % chunks
            image, row = line // oh, line % oh
            at, stop = chunk * vectors // chunks * LINE, min((chunk + 1) * vectors // chunks * LINE, c)
            y_in = row * stride_h - top
            first = min(max(0, (dilation_h - 1 - y_in) // dilation_h), taps_h)
            last = max(first, min(taps_h, (h - y_in + dilation_h - 1) // dilation_h))
            for strip in range(strips):
                column = min(strip * width, ow - width)
                x_in, to = column * stride_w - left, (line * ow + column) * y_step + at
                row_tile(
                    x, ((image * h + y_in) * wide + x_in) * x_step + at, dilation_h * wide * x_step, x_step,
                    first, last, -x_in, wide - x_in, taps_w, stride_w, dilation_w, w, at, c,
                    y, to, y_step, stop - at, bias, at if has_bias else -1,
                    residual, to if has_residual else -1, y_step, f[1], f[2], width, tiles,
                )  # fmt: skip
            if act != 0:
                activate(g[17], y, line * ow * y_step + at, ow, stop - at, y_step, act, f[3], f[4])
