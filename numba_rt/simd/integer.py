"""The register tile of products of 16-bit integers, as LLVM vector code.

One call computes up to `ISA.mr` rows of C = A @ B in 32 bits; sums wrap around. Numbers lie in words of
32 bits, two that follow one another in a sum to a word, so that one instruction multiplies and adds both.

A is read in place. Row r of tap t is `k` contiguous words that start at word
`a_at + r * lda + starts[starts_at + r * row_step] + taps[t]`. A matrix is one tap at 0; a convolution has a
tap for each row of its kernel, and a table of the windows' starts. B is packed: `nr` words per (tap, k),
those past the last column zero; tap t of panel p starts at word `b_at + p * panel_size + t * tap_size`.
"""

from __future__ import annotations

import functools

import numpy as np

from numba_rt.jit import DISABLED, addresses_of, intrinsic, kernel
from numba_rt.llvm import types
from numba_rt.simd.isa import ISA

__all__ = ["integer_addresses", "integer_tile"]


def integer_addresses() -> np.ndarray:
    """Addresses of the tiles by height, the argument `tiles` of `integer_tile`; valid in this process."""
    return addresses_of(_write_addresses, ISA.mr + 1)


@kernel
def _write_addresses(addresses):
    _store_addresses(addresses)


@intrinsic
def _store_addresses(context, addresses):
    from numba_rt.simd.emit_integer import IntegerEmitter
    from numba_rt.simd.emit_tile import emit_addresses

    return types.void(addresses), functools.partial(emit_addresses, IntegerEmitter)


def _tile(a, a_at, lda, starts, starts_at, row_step, taps, taps_at, n_taps, k, b, b_at, tap_size, panel_size,
          c, c_at, ldc, cols, accumulate, height, tiles):  # fmt: skip
    """The tile in NumPy, for runs without a compiler."""
    nr = ISA.nr
    panels = -(-cols // nr)
    total = np.zeros((height, panels, nr), np.int32)
    for t, r, p in np.ndindex(n_taps, height, panels):
        row = a_at + r * lda + starts[starts_at + r * row_step] + taps[taps_at + t]
        place = b_at + p * panel_size + t * tap_size
        pairs = a[row : row + k].view(np.int16).reshape(k, 1, 2).astype(np.int32)
        columns = b[place : place + k * nr].view(np.int16).reshape(k, nr, 2).astype(np.int32)
        total[r, p] += (pairs * columns).sum((0, 2), dtype=np.int32)
    rows = c_at + np.arange(height)[:, None] * ldc + np.arange(cols)
    made = total.reshape(height, -1)[:, :cols]
    c[rows] = c[rows] + made if accumulate else made


def _tile_intrinsic(context, a, a_at, lda, starts, starts_at, row_step, taps, taps_at, n_taps, k, b, b_at,
                    tap_size, panel_size, c, c_at, ldc, cols, accumulate, height, tiles):  # fmt: skip
    """Rows [0, height) and columns [0, cols) of C from element `c_at` on, written, or added to with
    `accumulate`; see the module's docstring.
    """
    from numba_rt.simd.emit_integer import call_tile

    i = types.intp
    signature = types.void(a, i, i, starts, i, i, taps, i, i, i, b, i, i, i, c, i, i, i, i, i, tiles)
    return signature, call_tile


integer_tile = _tile if DISABLED else intrinsic(_tile_intrinsic)
