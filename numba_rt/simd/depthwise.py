"""The register tile of depthwise convolutions, as LLVM vector code.

One call computes `width` neighbouring outputs of a row, for a run of channels. Each input is loaded
once for the row of the filter that it meets, and multiplied with up to `kernel` weights, which are in
registers, as the outputs are. Columns outside of the image are read from a row of zeros; rows outside
of it are left out. There is a family of such tiles for each width of a filter and stride in `FAMILIES`.
"""

from __future__ import annotations

import functools

import numpy as np

from numba_rt.jit import DISABLED, addresses_of, intrinsic, kernel
from numba_rt.llvm import types
from numba_rt.simd.isa import MAX_CHANNELS

__all__ = ["ANY", "FAMILIES", "MAX_CHANNELS", "WIDTHS", "row_addresses", "row_tile"]

FAMILIES = ((3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (7, 2))
"""Widths of filters, and strides, without dilation."""
ANY = (0, 0)
"""The family for any filter, stride and dilation."""
WIDTHS = (1, 2, 4, 6, 7, 8)
"""Outputs of a tile."""


def row_addresses(kernel: int, stride: int) -> np.ndarray:
    """Addresses of the tiles of a family by width, the argument `tiles` of `row_tile`."""
    return addresses_of(_WRITERS[kernel, stride], max(WIDTHS) + 1)


@intrinsic
def _store_addresses(context, addresses, kernel, stride):
    """Emits the tiles of a family, which are part of the kernel that calls this."""
    if not isinstance(kernel, types.IntegerLiteral) or not isinstance(stride, types.IntegerLiteral):
        return None
    from numba_rt.simd.emit_depthwise import emit_addresses

    emit = functools.partial(emit_addresses, kernel.literal_value, stride.literal_value)
    return types.void(addresses, kernel, stride), emit


@kernel
def _write_any(addresses):
    _store_addresses(addresses, 0, 0)


@kernel
def _write_3_1(addresses):
    _store_addresses(addresses, 3, 1)


@kernel
def _write_3_2(addresses):
    _store_addresses(addresses, 3, 2)


@kernel
def _write_5_1(addresses):
    _store_addresses(addresses, 5, 1)


@kernel
def _write_5_2(addresses):
    _store_addresses(addresses, 5, 2)


@kernel
def _write_7_1(addresses):
    _store_addresses(addresses, 7, 1)


@kernel
def _write_7_2(addresses):
    _store_addresses(addresses, 7, 2)


_WRITERS = {
    ANY: _write_any,
    (3, 1): _write_3_1,
    (3, 2): _write_3_2,
    (5, 1): _write_5_1,
    (5, 2): _write_5_2,
    (7, 1): _write_7_1,
    (7, 2): _write_7_2,
}


def _row_tile(x, x_at, row_step, col_step, first, last, left, right, kernel, stride, dilation, w, w_at,
              w_step, y, y_at, y_step, channels, bias, bias_at, d, d_at, d_step, lo, hi, width,
              tiles):  # fmt: skip
    """The tile in NumPy, for runs without a compiler."""
    own = np.arange(channels)
    for n in range(int(width)):
        total = np.zeros(channels, np.float32) if bias_at < 0 else bias[bias_at + own]
        for k in range(int(first), int(last)):
            for j in range(int(kernel)):
                column = n * stride + j * dilation
                if left <= column < right:
                    weights = w[w_at + (k * kernel + j) * w_step + own]
                    total = total + x[x_at + k * row_step + column * col_step + own] * weights
        if d_at >= 0:
            total = total + d[d_at + n * d_step + own]
        total = np.where(total < lo, lo, total)
        y[y_at + n * y_step + own] = np.where(total > hi, hi, total)


def _row_intrinsic(context, x, x_at, row_step, col_step, first, last, left, right, kernel, stride, dilation,
                   w, w_at, w_step, y, y_at, y_step, channels, bias, bias_at, d, d_at, d_step, lo, hi, width,
                   tiles):  # fmt: skip
    """Outputs [0, width) from element `y_at` on, `y_step` apart, of at most `MAX_CHANNELS` channels.

    Row k of the window and column j of the image start at `x_at + k * row_step + j * col_step`; rows
    [first, last) and columns [left, right) are in the image. Weights are (rows, kernel, w_step). `bias_at`
    and `d_at` are -1 where there is none.
    """
    from numba_rt.simd.emit_depthwise import call_row

    i, f = types.intp, types.float32
    signature = types.void(x, *[i] * 10, w, i, i, y, i, i, i, bias, i, d, i, i, f, f, i, tiles)
    return signature, call_row


row_tile = _row_tile if DISABLED else intrinsic(_row_intrinsic)
