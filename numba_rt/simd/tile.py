"""The register tile of matrix products and convolutions, as LLVM vector code.

One call computes up to `ISA.mr` rows of

    C = clamp(alpha * (A @ B) + bias + D, lo, hi)

A is read in place. Row r of tap t is `k` contiguous floats that start at element
`a_at + r * lda + table[table_at + t * tap_step + r * row_step]`; a negative table entry stands
for a row of zeros. A matrix is one tap with a table of a single 0 and both steps 0; a
convolution has a tap per kernel position and a table of pixel offsets. B is packed:
`nr` floats per (tap, k); tap t of panel p starts at `b_at + p * panel_size + t * tap_size`.

Each height is a function of its own. They are compiled once, into the kernel `_write_addresses`;
kernels call them by address, which keeps them out of the compilation of every kernel that
multiplies.
"""

from __future__ import annotations

import functools

import numpy as np

from numba_rt.jit import DISABLED, addresses_of, intrinsic, kernel
from numba_rt.llvm import types
from numba_rt.simd.isa import ISA, MAX_K

__all__ = ["MAX_K", "tile", "tile_addresses"]


def tile_addresses() -> np.ndarray:
    """Addresses of the tiles by height, the argument `tiles` of `tile`; valid in this process."""
    return addresses_of(_write_addresses, ISA.mr + 1)


@kernel
def _write_addresses(addresses):
    _store_addresses(addresses)


@intrinsic
def _store_addresses(context, addresses):
    from numba_rt.simd.emit import TileEmitter
    from numba_rt.simd.emit_tile import emit_addresses

    return types.void(addresses), functools.partial(emit_addresses, TileEmitter)


def _tile(a, a_at, lda, table, table_at, row_step, tap_step, taps, k, b, b_at, tap_size, panel_size,
          c, c_at, ldc, cols, bias, bias_at, d, d_at, accumulate, alpha, lo, hi, height, tiles):  # fmt: skip
    """The tile in NumPy, for runs without a compiler."""
    a, b, c, nr = a.reshape(-1), b.reshape(-1), c.reshape(-1), ISA.nr
    panels = -(-cols // nr)
    total = np.zeros((height, panels, nr), np.float32)
    for t, r in np.ndindex(taps, height):
        entry = table[table_at + t * tap_step + r * row_step]
        row = a[a_at + r * lda + entry :]
        for p in range(panels if entry >= 0 else 0):
            weights = b[b_at + p * panel_size + t * tap_size :]
            total[r, p] += row[:k] @ weights[: k * nr].reshape(k, nr)
    result = total.reshape(height, -1)[:, :cols] * alpha
    rows = np.arange(height)[:, None] * ldc + np.arange(cols)
    if bias_at >= 0:
        result = result + bias[bias_at : bias_at + cols]
    if accumulate:
        result = result + c[c_at + rows]
    elif d_at >= 0:
        result = result + d[d_at + rows]
    result = np.where(result < lo, lo, result)
    c[c_at + rows] = np.where(result > hi, hi, result)


def _tile_intrinsic(context, a, a_at, lda, table, table_at, row_step, tap_step, taps, k,
                    b, b_at, tap_size, panel_size, c, c_at, ldc, cols, bias, bias_at, d, d_at, accumulate,
                    alpha, lo, hi, height, tiles):  # fmt: skip
    """Rows [0, height) and columns [0, cols) of C from element `c_at` on; see the module's docstring.

    `bias_at` and `d_at` are -1 where there is none; with `accumulate`, D is C itself. A kernel that is
    compiled for float64 too may contain the call, but not reach it.
    """
    from numba_rt.simd.emit_tile import call_tile

    i, f = types.intp, types.float32
    signature = types.void(
        a, i, i, table, i, i, i, i, i, b, i, i, i, c, i, i, i, bias, i, d, i, i, f, f, f, i, tiles
    )
    return signature, call_tile


tile = _tile if DISABLED else intrinsic(_tile_intrinsic)
