"""Depthwise convolutions with the 1x1 convolutions around them, by bands of rows.

The 1x1 convolution before (`expand`), the depthwise one, and the 1x1 convolution after it (`project`)
of float32 images (b, h, w, c) in one pass: a band of a map between them is made, read and
forgotten while it is in the second-level cache. Either 1x1 convolution may be absent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from numba_rt.jit import inline, kernel, prange, u
from numba_rt.kernels.activation import activate, activation_address
from numba_rt.kernels.conv import Window
from numba_rt.kernels.depthwise import row_width
from numba_rt.kernels.packing import NR, packed_size
from numba_rt.simd.depthwise import row_tile
from numba_rt.simd.isa import ISA
from numba_rt.simd.tile import tile

__all__ = ["BAND", "DepthwiseBlock", "Stage", "depthwise_block", "depthwise_block_plan", "unevenness"]

MR = ISA.mr
BAND = 80 << 10
"""Floats of the maps between that a task keeps: they stay in the second-level cache."""
WEIGHTS = 48 << 10
"""Floats of the weights that pass over a band before the next ones do."""
PIXELS = 16 * MR
"""Output pixels of a band from which on tiles are about as high as they can be."""


@dataclass(frozen=True)
class Stage:
    """What one of the three convolutions adds and applies to its sums."""

    bias: bool = False
    act: int = 0


@dataclass(frozen=True)
class DepthwiseBlock:
    """Arguments of `depthwise_block`: its sizes, and how many floats of scratch it needs."""

    g: np.ndarray
    scratch: int


def depthwise_block_plan(
    window: Window,
    tasks: int,
    expand: Stage | None,
    depthwise: Stage,
    project: Stage | None,
    in_channels: int,
    out_channels: int,
    residual: bool = False,
    out_pitch: int = 0,
    by_channels: bool = False,
) -> DepthwiseBlock:
    """The plan for a depthwise convolution with this window, whose pitch is that of the images.

    `out_pitch` is the distance of pixels of the result and of the residual, if it is more than
    their channels. Tasks share rows of the result, or its channels where there is no `project`.
    """
    (h, w), c, (oh, ow) = window.size, window.channels, window.out
    extent, stride = window.dilations[0] * (window.kernel[0] - 1) + 1, window.strides[0]
    own_channels = -(-packed_size(1, c) // (tasks * NR)) * NR if by_channels else c
    line, deep = (w * own_channels if expand else 0), (ow * c if project else 0)
    most = (BAND - (extent - stride) * line) // max(stride * line + deep, 1)
    step = max(1, min(most, -(-PIXELS // max(ow, 1)), oh))
    room = min(h, max((step - 1) * stride + extent, (BAND - step * deep) // max(line, 1)))
    own = -(-(room * line + step * deep) // NR) * NR
    width = row_width(ow)
    stages = [s or Stage() for s in (expand, depthwise, project)]
    acts = [s.act for s in stages]
    g = np.array(
        [window.batch, h, w, in_channels, c, out_channels, oh, ow, *window.kernel, *window.strides,
         *window.dilations, *window.pads[:2], window.step, out_pitch or out_channels, room, step, width,
         -(-ow // width), own, expand is not None, project is not None, *(s.bias for s in stages), residual,
         *acts, activation_address() if any(acts) else 0, by_channels],
        np.int64,
    )  # fmt: skip
    return DepthwiseBlock(g, tasks * own)


def unevenness(window: Window, tasks: int, in_channels: int, out_channels: int) -> float:
    """Work of the busiest task relative to an even share of what one task would do.

    Tasks share rows of the result, and those next to each other both make the rows that both read.
    `in_channels` and `out_channels` are those of `expand` and of `project`, 0 where there is none.
    """
    (h, w), (oh, ow), batch = window.size, window.out, window.batch
    extent, stride = window.dilations[0] * (window.kernel[0] - 1) + 1, window.strides[0]
    after = ow * (window.kernel[0] * window.kernel[1] + out_channels)

    def work(first: int, last: int) -> int:
        made = 0
        for image in range(first // oh, -(-last // oh)):
            begin, end = max(0, first - image * oh), min(oh, last - image * oh)
            read = min(h, (end - 1) * stride - window.pads[0] + extent)
            made += max(0, read - max(0, begin * stride - window.pads[0]))
        return made * w * in_channels + (last - first) * after

    lines = batch * oh
    shares = [work(t * lines // tasks, (t + 1) * lines // tasks) for t in range(tasks)]
    return max(shares) * tasks / max(work(0, lines), 1)


@inline
def _product(a, a_at, lda, k, b, b_at, bias, residual, table, tiles, c, c_at, ldc, rows, cols,
             has_bias, has_residual, lo, hi):  # fmt: skip
    """clamp(a @ b + bias + residual) for `cols` columns of b from `b_at` on: `rows` rows of c."""
    bands, block = (rows + MR - 1) // MR, max(1, WEIGHTS // (k * NR)) * NR
    least, higher = rows // max(bands, 1), rows % max(bands, 1)
    for first in range(0, cols, block):
        for band in range(bands):
            row = band * least + min(band, higher)
            at = c_at + row * ldc + first
            tile(
                a, a_at + row * lda, lda, table, 0, 0, 0, 1, k, b, (b_at + first) * k, 0, k * NR,
                c, at, ldc, min(block, cols - first),
                bias, b_at + first if has_bias != 0 else -1, residual, at if has_residual != 0 else -1, 0,
                np.float32(1), lo, hi, least + 1 if band < higher else least, tiles,
            )  # fmt: skip


@kernel
def depthwise_block(
    x, w1, bias1, w2, bias2, w3, bias3, residual, table, tiles, row_tiles, g, f, scratch, y, tasks
):
    """x, weights, biases, residual, scratch, y: flat float32; w1, w3: `pack_conv`; w2: (taps, c);
    table: `NO_ROWS`; tiles: `tile_addresses()`; row_tiles: `depthwise_tiles(...)`; g:
    `depthwise_block_plan(...)`; f: `epilogue(...)` of the three stages. The residual may be y.
    """
    h, w, k, n, oh, ow, taps_h, taps_w = g[1], g[2], g[3], g[5], g[6], g[7], g[8], g[9]
    stride_h, stride_w, dilation_h, dilation_w, top, left = g[10], g[11], g[12], g[13], g[14], g[15]
    x_step, y_step, room, step, width, strips = g[16], g[17], g[18], g[19], g[20], g[21]
    expands, projects = g[23] != 0, g[24] != 0
    act1, act2, act3, address = g[29], g[30], g[31], g[32]
    none = np.int64(0)  # a literal would have `_product` compiled a second time
    extent, lines, panels = (taps_h - 1) * dilation_h + 1, g[0] * oh, (g[4] + NR - 1) // NR
    for t in prange(tasks):
        images, deep = scratch if expands else x, scratch if projects else y
        first_line, last_line = t * lines // tasks, (t + 1) * lines // tasks
        c0, c = 0, g[4]
        if g[33] != 0:
            c0 = t * panels // tasks * NR
            c = max(0, min((t + 1) * panels // tasks * NR, g[4]) - c0)
            first_line, last_line = 0, lines if c > 0 else 0
        d_step, in_step = c if projects else y_step, c if expands else x_step
        wide = t * g[22]
        narrow = wide + room * w * c if expands else wide
        for image in range(first_line // max(oh, 1), (last_line + oh - 1) // max(oh, 1)):
            begin, end = max(0, first_line - image * oh), min(oh, last_line - image * oh)
            base = min(max(0, begin * stride_h - top), h)
            done = base
            for row in range(begin, end, step):
                stop = min(row + step, end)
                low = min(max(0, row * stride_h - top), h)
                high = min(h, (stop - 1) * stride_h - top + extent)
                if expands and high > done:
                    if high - base > room:
                        source = wide + (low - base) * w * c
                        for i in range(max(0, done - low) * w * c):
                            scratch[u(wide + i)] = scratch[u(source + i)]
                        base = low
                    start = max(done, low)
                    at, pixels = wide + (start - base) * w * c, (high - start) * w
                    _product(
                        x, (image * h + start) * w * x_step, x_step, k, w1, c0, bias1, x, table, tiles,
                        scratch, at, c, pixels, c, g[25], none, f[1], f[2],
                    )  # fmt: skip
                    if act1 != 0:
                        activate(address, scratch, at, pixels, c, c, act1, f[3], f[4])
                    done = high
                origin = wide - base * w * c if expands else image * h * w * x_step + c0
                to = (image * oh + row) * ow * y_step + c0
                d_at, pixels = narrow if projects else to, (stop - row) * ow
                for line in range(row, stop):
                    y_in, d_line = line * stride_h - top, d_at + (line - row) * ow * d_step
                    first = min(max(0, (dilation_h - 1 - y_in) // dilation_h), taps_h)
                    last = max(first, min(taps_h, (h - y_in + dilation_h - 1) // dilation_h))
                    for strip in range(strips):
                        column = min(strip * width, ow - width)
                        x_in = column * stride_w - left
                        row_tile(
                            images, origin + (y_in * w + x_in) * in_step, dilation_h * w * in_step, in_step,
                            first, last, -x_in, w - x_in, taps_w, stride_w, dilation_w, w2, c0, g[4],
                            deep, d_line + column * d_step, d_step, c, bias2, c0 if g[26] != 0 else -1,
                            x, -1, 0, f[6], f[7], width, row_tiles,
                        )  # fmt: skip
                if act2 != 0:
                    activate(address, deep, d_at, pixels, c, d_step, act2, f[8], f[9])
                if projects:
                    _product(
                        scratch, narrow, c, c, w3, none, bias3, residual, table, tiles,
                        y, to, y_step, pixels, n, g[27], g[28], f[11], f[12],
                    )  # fmt: skip
                    if act3 != 0:
                        activate(address, y, to, pixels, n, y_step, act3, f[13], f[14])
