"""Winograd's convolution of float32 images (b, h, w, c) with 3x3 filters, stride 1.

Tiles of `size` x `size` output pixels are computed from n x n patches, n = size + 2, with n² products
of matrices instead of 9 products for each of their pixels: 2.25 times fewer multiplications for size 2,
4 times fewer for size 4. Results differ from those of `gemm` by rounding, and a NaN or Inf in the images
spreads to whole tiles: to outputs whose own window does not contain it, where it is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from numba_rt import threads
from numba_rt.jit import kernel, prange, prepare, u
from numba_rt.kernels.activation import activate, activation_address
from numba_rt.kernels.conv import Window
from numba_rt.kernels.packing import NR, aligned_empty
from numba_rt.simd.isa import ISA
from numba_rt.simd.tile import MAX_K, tile
from numba_rt.simd.winograd import TRANSFORMS, input_tile, output_tile

__all__ = ["Winograd", "best_size", "pack_winograd", "winograd", "winograd_plan"]

MR = ISA.mr
LINE = 16
"""Floats of a cache line."""
WAITING = 112 << 10
"""Most products that wait in the second-level cache until they are transformed back."""
BLOCK = 48
"""Most tiles of a block: its products pass over the filters once."""
MULTIPLY_ADDS = 2 * ISA.lanes
"""Per cycle."""
READING = 0.5
"""Cycles per float of the filters, which come from memory or from the last cache."""
TRANSFORM = 4.0
"""Cycles per vector that is transformed."""
LEAST_CHANNELS = 16
"""With fewer, the transforms take longer than the products they save."""
LEAST_GAIN = 1.1
"""Expected gain for which rounding is given up."""


def pack_winograd(w: np.ndarray, size: int) -> np.ndarray:
    """Packs filters (oc, c, 3, 3) as (n², panels, c, NR), for tiles of `size` x `size` outputs."""
    transform, (oc, c) = TRANSFORMS[size], w.shape[:2]
    n, panels, tasks = transform.patch, -(-oc // NR), threads.default_count()
    packed = aligned_empty(n * n * panels * c * NR)
    g, work = np.array([oc, c, n], np.int64), np.empty(tasks * (9 + 3 * n) * NR)
    args = (np.ascontiguousarray(w).reshape(-1), transform.g, g, work, packed, tasks)
    prepare([(pack_filters, pack_filters.signature(args))])
    pack_filters(*args)
    return packed.reshape(n * n, panels, c, NR)


@kernel
def pack_filters(w, factors, g, work, packed, tasks):
    """G f G' of filters f, in float64.

    w: (oc, c, 3, 3), flat; factors: G, (n, 3); g int64: oc, c, n; work: float64, (9 + 3 n) NR per task;
    packed: (n², panels, c, NR), flat.
    """
    oc, c, n = g[0], g[1], g[2]
    panels = (oc + NR - 1) // NR
    units = panels * c
    for t in prange(tasks):
        taps = t * (9 + 3 * n) * NR
        rows = taps + 9 * NR
        for unit in range(t * units // tasks, (t + 1) * units // tasks):
            panel, channel = unit // c, unit % c
            for lane in range(NR):
                o = panel * NR + lane
                at = (o * c + channel) * 9
                for k in range(9):
                    work[u(taps + k * NR + lane)] = w[u(at + k)] if o < oc else np.float32(0)
            for i in range(n):
                a, b, d = factors[i, 0], factors[i, 1], factors[i, 2]
                for lane in range(3 * NR):
                    at = taps + lane
                    value = a * work[u(at)] + b * work[u(at + 3 * NR)] + d * work[u(at + 6 * NR)]
                    work[u(rows + i * 3 * NR + lane)] = value
            for e in range(n * n):
                k, first, to = e % n, rows + e // n * 3 * NR, (e * units + unit) * NR
                a, b, d = factors[k, 0], factors[k, 1], factors[k, 2]
                for lane in range(NR):
                    at = first + lane
                    packed[u(to + lane)] = np.float32(
                        a * work[u(at)] + b * work[u(at + NR)] + d * work[u(at + 2 * NR)]
                    )


def best_size(out: tuple[int, int], c: int, oc: int) -> int:
    """The size of tiles expected to be fastest for outputs of (h, w); 0 where `gemm` is."""
    if min(c, oc) < LEAST_CHANNELS or c > MAX_K or min(out) < 1:
        return 0
    panels = -(-oc // NR)
    direct = 9 * c * panels * NR * (out[0] * out[1] / MULTIPLY_ADDS + READING)
    costs = [(direct / LEAST_GAIN, 0)]
    for size, transform in TRANSFORMS.items():
        tiles, elements = -(-out[0] // size) * -(-out[1] // size), transform.patch**2
        blocks, _ = _division(tiles, c, panels, elements, 1)
        costs.append((blocks * _cycles(-(-tiles // blocks), c, panels * NR, elements), size))
    return min(costs)[1]


@dataclass(frozen=True)
class Winograd:
    """Arguments of `winograd`: its sizes, and how many floats of scratch it needs."""

    g: np.ndarray
    scratch: int


def winograd_plan(
    window: Window,
    out_channels: int,
    size: int,
    tasks: int,
    bias: bool = False,
    residual: bool = False,
    act: int = 0,
    out_pitch: int = 0,
) -> Winograd:
    """The plan of a convolution with weights from `pack_winograd`, for so many tasks.

    `out_pitch` is the distance of pixels of the result and of the residual, if it is more than
    their channels.
    """
    (h, w), c, (oh, ow) = window.size, window.channels, window.out
    down, across = -(-oh // size), -(-ow // size)
    tiles, panels, elements = (
        window.batch * down * across,
        -(-out_channels // NR),
        TRANSFORMS[size].patch ** 2,
    )
    blocks, pieces = _division(tiles, c, panels, elements, tasks)
    block = -(-tiles // blocks)
    panel_block = min(max(1, WAITING // (elements * block * NR)), -(-panels // pieces))
    v_step, m_step = _spread(block * c), _spread(block * panel_block * NR)
    row = -(-max(c, panel_block * NR) // LINE) * LINE
    own = 2 * row + elements * (v_step + m_step)
    g = np.array(
        [window.batch, h, w, c, out_channels, *window.pads[:2], oh, ow, size, elements, down, across, blocks,
         pieces, panel_block, row, v_step, m_step, own, bias, residual, act,
         activation_address() if act else 0, window.step, out_pitch or out_channels],
        np.int64,
    )  # fmt: skip
    return Winograd(g, tasks * own)


def _division(tiles: int, c: int, panels: int, elements: int, tasks: int) -> tuple[int, int]:
    """Into how many blocks of tiles and pieces of output channels the work is cut."""
    choices = []
    for pieces in range(1, min(tasks, panels) + 1):
        if tasks % pieces == 0:
            share = tasks // pieces
            for bands in range(1, BLOCK // MR + 1):
                blocks = min(tiles, -(-tiles // (bands * MR * share)) * share)
                turns = -(-blocks * pieces // tasks)
                own = _cycles(-(-tiles // blocks), c, -(-panels // pieces) * NR, elements)
                choices.append((turns * own, blocks, pieces))
    return min(choices)[1:]


def _cycles(tiles: int, c: int, oc: int, elements: int) -> float:
    """About how long a block takes: its products, reading the filters, and the transforms."""
    rows = -(-tiles // MR) * MR
    products = elements * c * oc * (rows / MULTIPLY_ADDS + READING)
    return products + elements * tiles * (c + oc) / ISA.lanes * TRANSFORM


def _spread(count: int) -> int:
    """A distance of at least `count` floats whose multiples fall on different sets of the cache."""
    return (-(-count // LINE) | 1) * LINE


@kernel
def winograd(x, w, bias, residual, table, tiles, g, f, scratch, y, tasks):
    """x, w, bias, residual, scratch, y: flat float32; w: `pack_winograd`; table: `NO_ROWS`; tiles:
    `tile_addresses()`; g: `winograd_plan(...)`; f: `epilogue(...)`. The residual may be y.
    """
    image_h, image_w, c, oc, top, left, oh, ow, size = g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9]
    elements, down, across, blocks, pieces, panel_block = g[10], g[11], g[12], g[13], g[14], g[15]
    row, v_step, m_step = g[16], g[17], g[18]
    has_bias, has_residual, act, x_step, y_step = g[20] != 0, g[21] != 0, g[22], g[24], g[25]
    panels = (oc + NR - 1) // NR
    all_tiles, units, ldm = g[0] * down * across, blocks * pieces, panel_block * NR
    one, lo, hi, inf = np.float32(1), f[1], f[2], np.float32(np.inf)
    for t in prange(tasks):
        zeros = t * g[19]
        dump, v0, m0 = zeros + row, zeros + 2 * row, zeros + 2 * row + elements * v_step
        for i in range(zeros, v0):
            scratch[u(i)] = 0
        for unit in range(t * units // tasks, (t + 1) * units // tasks):
            piece, block = unit // blocks, unit % blocks
            first, count = block * all_tiles // blocks, (block + 1) * all_tiles // blocks
            count -= first
            for n in range(count):
                image, at = (first + n) // (down * across), (first + n) % (down * across)
                y_in, x_in = at // across * size - top, at % across * size - left
                input_tile(
                    x, ((image * image_h + y_in) * image_w + x_in) * x_step, image_w * x_step, x_step,
                    -y_in, image_h - y_in, -x_in, image_w - x_in, scratch, zeros,
                    scratch, v0 + n * c, v_step, c, size,
                )  # fmt: skip
            bands = (count + MR - 1) // MR
            least, higher = count // max(bands, 1), count % max(bands, 1)
            last_panel = (piece + 1) * panels // pieces
            for p0 in range(piece * panels // pieces, last_panel, panel_block):
                cols = min(panel_block, last_panel - p0) * NR
                for e in range(elements):
                    for band in range(bands):
                        n0 = band * least + min(band, higher)
                        tile(
                            scratch, v0 + e * v_step + n0 * c, c, table, 0, 0, 0, 1, c,
                            w, (e * panels + p0) * c * NR, 0, c * NR,
                            scratch, m0 + e * m_step + n0 * ldm, ldm, cols, bias, -1, scratch, -1, 0,
                            one, -inf, inf, least + 1 if band < higher else least, tiles,
                        )  # fmt: skip
                o0 = p0 * NR
                cols = min(cols, oc - o0)
                for n in range(count):
                    image, at = (first + n) // (down * across), (first + n) % (down * across)
                    y_out, x_out = at // across * size, at % across * size
                    rows, width = min(size, oh - y_out), min(size, ow - x_out)
                    to = ((image * oh + y_out) * ow + x_out) * y_step + o0
                    output_tile(
                        scratch, m0 + n * ldm, m_step, y, to, ow * y_step, y_step, rows, width, scratch, dump,
                        bias, o0 if has_bias else -1, residual, to if has_residual else -1, cols,
                        lo, hi, size,
                    )  # fmt: skip
                    if act != 0:
                        for i in range(rows):
                            activate(g[23], y, to + i * ow * y_step, width, cols, y_step, act, f[3], f[4])
