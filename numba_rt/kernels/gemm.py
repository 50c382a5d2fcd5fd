"""Matrix products of float32: loops over register tiles, for matrices and for convolutions.

    C = act(clamp(alpha * (A @ B) + bias + residual, lo, hi))

for a batch of matrices counted by two axes. A is read in place through row and batch strides and
an optional table of rows (see `numba_rt.simd.tile`), B is packed (`numba_rt.kernels.packing`).
"""

from __future__ import annotations

import math

import numpy as np

from numba_rt.jit import inline, kernel, prange
from numba_rt.kernels.activation import activate, activation_address
from numba_rt.kernels.packing import NR
from numba_rt.simd.isa import ISA
from numba_rt.simd.tile import MAX_K, tile

__all__ = ["NO_ROWS", "NO_VECTOR", "divide", "epilogue", "gemm", "product"]

MR = ISA.mr
NV = ISA.nv

KC = MAX_K
"""Length of the sum that one pass over a block of C adds."""
NC = 96 // NR
"""Panels of B that stay in the second-level cache."""
MC = 240 // MR
"""Bands of rows of A that pass over them."""

ROWS_FROM = 6
"""Bands of rows for each task from which groups of an image are cut into rows."""

NO_ROWS = np.zeros(1, np.int64)
"""The table of a plain matrix, whose rows are `lda` apart."""
NO_VECTOR = np.zeros(1, np.float32)
"""Stands in for a bias or residual that is absent."""

Pair = tuple[int, int]


def product(
    m: int,
    n: int,
    k: int,
    *,
    batch: Pair = (1, 1),
    lda: int | None = None,
    ldc: int | None = None,
    a_strides: Pair = (0, 0),
    b_strides: Pair = (0, 0),
    c_strides: Pair = (0, 0),
    bias_strides: Pair = (0, 0),
    taps: int = 1,
    row_step: int = 0,
    tap_step: int = 0,
    bias: bool = False,
    residual: bool = False,
    act: int = 0,
) -> np.ndarray:
    """The sizes `g` of `gemm`: m rows, n columns, sums over `taps` runs of k elements.

    Strides are in elements and per batch axis; those of B count packed elements. `lda` and `ldc`
    are the distances of rows, by default k and n.
    """
    return np.array(
        [*batch, m, n, k, taps, k if lda is None else lda, n if ldc is None else ldc, row_step, tap_step,
         *a_strides, *b_strides, *c_strides, *bias_strides, bias, residual,
         act, activation_address() if act else 0],
        np.int64,
    )  # fmt: skip


def epilogue(
    alpha: float = 1.0,
    lo: float = -math.inf,
    hi: float = math.inf,
    act_alpha: float = 0.0,
    act_beta: float = 0.0,
) -> np.ndarray:
    """The factors `f` of `gemm`: scale of the product, limits of the result, parameters of `act`."""
    return np.array([alpha, lo, hi, act_alpha, act_beta], np.float32)


@inline
def divide(bands, panels, pieces):
    """Into how many pieces bands of rows and panels of columns are cut, so that all pieces are small."""
    row_pieces, col_pieces, least = pieces, 1, np.int64(1) << 62
    for cols in range(1, pieces + 1):
        if pieces % cols == 0:
            rows = pieces // cols
            own_bands, own_panels = (bands + rows - 1) // rows, (panels + cols - 1) // cols
            cost = own_bands * own_panels * MR * NV * 2 + own_bands * MR + own_panels * NR
            if cost < least:
                least, row_pieces, col_pieces = cost, rows, cols
    return row_pieces, col_pieces


@kernel
def gemm(a, b, bias, residual, table, tiles, g, f, c, tasks):
    """a, b, bias, residual, c: flat float32; table: int64; g: `product(...)`; f: `epilogue(...)`.

    The residual has the layout of c, and may be c. Elements of c between the rows stay as they are.
    """
    batch1, m, n, k, taps, lda, ldc, row_step, tap_step = g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9]
    has_bias, has_residual = g[18] != 0, g[19] != 0
    alpha, lo, hi, inf = f[0], f[1], f[2], np.float32(np.inf)
    bands, panels = (m + MR - 1) // MR, (n + NR - 1) // NR
    batch = g[0] * batch1
    pieces = 1 if batch % tasks == 0 or batch >= 8 * tasks else tasks
    # Of the groups of one image tasks take rows of pixels, as what comes before and after does.
    by_rows = g[0] == 1 and batch1 > 1 and row_step != 0 and bands >= ROWS_FROM * tasks
    by_rows = by_rows and taps * k * n <= m * (k + n)
    pieces = tasks if by_rows else pieces
    row_pieces, col_pieces = divide(bands, panels, pieces)
    if by_rows:
        row_pieces, col_pieces = pieces, 1
    least_height, higher = m // max(bands, 1), m % max(bands, 1)
    units = batch * pieces
    act, act_address = g[20], g[21]
    tap_block = max(1, KC // max(k, 1))
    k_parts = max(1, (k + KC - 1) // KC)
    parts = max(1, (taps + tap_block - 1) // tap_block * k_parts)
    for t in prange(tasks):
        for unit in range(t * units // tasks, (t + 1) * units // tasks):
            item, piece = unit // pieces, unit % pieces
            if by_rows:
                item, piece = unit % batch, unit // batch
            outer, inner = item // batch1, item % batch1
            a0, b0 = outer * g[10] + inner * g[11], outer * g[12] + inner * g[13]
            c0, bias0 = outer * g[14] + inner * g[15], outer * g[16] + inner * g[17]
            by_row, by_col = piece // col_pieces, piece % col_pieces
            band_stop, panel_stop = (by_row + 1) * bands // row_pieces, (by_col + 1) * panels // col_pieces
            for p0 in range(by_col * panels // col_pieces, panel_stop, NC):
                for i0 in range(by_row * bands // row_pieces, band_stop, MC):
                    for part in range(parts):
                        first, last = part == 0, part == parts - 1
                        tap0 = part // k_parts * tap_block
                        own_taps = min(tap_block, taps - tap0)
                        k0 = part % k_parts * k // k_parts
                        own_k = (part % k_parts + 1) * k // k_parts - k0
                        for i in range(i0, min(i0 + MC, band_stop)):
                            m0 = i * least_height + min(i, higher)
                            height = least_height + 1 if i < higher else least_height
                            n0, at = p0 * NR, c0 + m0 * ldc + p0 * NR
                            cols = min((p0 + NC) * NR, panel_stop * NR, n) - n0
                            tile(
                                a, a0 + m0 * lda + k0, lda,
                                table, tap0 * tap_step + m0 * row_step, row_step, tap_step, own_taps, own_k,
                                b, b0 + ((p0 * taps + tap0) * k + k0) * NR, k * NR, taps * k * NR,
                                c, at, ldc, cols,
                                bias, bias0 + n0 if first and has_bias else -1,
                                residual, at if first and has_residual else -1, 0 if first else 1,
                                alpha, lo if last else -inf, hi if last else inf, height, tiles,
                            )  # fmt: skip
                            if last and act != 0:
                                activate(act_address, c, at, height, cols, ldc, act, f[3], f[4])
