"""The transforms of Winograd's convolutions with 3x3 filters, as LLVM vector code.

A tile of `size` x `size` outputs comes from a patch of n x n inputs, n = size + 2:

    Y = A' [(G w G') * (B' D B)] A

where * multiplies element by element; summed over input channels, that is n² matrix products.
`input_tile` computes B' D B of a patch, `output_tile` A' M A of a tile, for a run of channels. Pixels
outside of the image are read from a row of zeros, pixels outside of the output are written to a
row that nobody reads.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from numba_rt.jit import DISABLED, intrinsic
from numba_rt.llvm import types

__all__ = ["TRANSFORMS", "Transform", "input_tile", "output_tile"]


@dataclass(frozen=True)
class Transform:
    """The matrices for tiles of `size` x `size`, from the points 0, ±p for each p, and infinity."""

    size: int
    points: tuple[float, ...]

    @property
    def patch(self) -> int:
        """Height and width of the inputs of a tile."""
        return self.size + 2

    @functools.cached_property
    def finite(self) -> tuple[float, ...]:
        """The points but infinity; pairs of opposite points are neighbours."""
        return (0.0, *(sign * p for p in self.points for sign in (1.0, -1.0)))

    @functools.cached_property
    def b(self) -> np.ndarray:
        """B': the polynomials that vanish at all points but one, lowest power first."""
        rows = [_vanishing([p for p in self.finite if p != own]) for own in self.finite]
        return np.array([[*row, 0.0] for row in rows] + [_vanishing(self.finite)])

    @functools.cached_property
    def a(self) -> np.ndarray:
        """A': powers of the points."""
        powers = np.array(self.finite)[None, :] ** np.arange(self.size)[:, None]
        return np.hstack([powers, np.eye(self.size)[:, -1:]])

    @functools.cached_property
    def g(self) -> np.ndarray:
        """G: filters evaluated at the points."""
        scales = [np.prod([own - p for p in self.finite if p != own]) for own in self.finite]
        rows = np.array(self.finite)[:, None] ** np.arange(3)[None, :] / np.array(scales)[:, None]
        return np.vstack([rows, [0.0, 0.0, 1.0]])


def _vanishing(points: Any) -> np.ndarray:
    """The polynomial that vanishes at the points, lowest power first."""
    return np.asarray(np.polynomial.polynomial.polyfromroots(points))


TRANSFORMS = {2: Transform(2, (1.0,)), 4: Transform(4, (0.5**0.5, 2.0**0.5))}
"""By size. Points whose products are 1 keep the entries of B' and A' small, and the error with them."""


def _input_intrinsic(context, x, x_at, row_step, col_step, top, bottom, left, right, zeros, zeros_at, v, v_at,
                     v_step, channels, size):  # fmt: skip
    """v[v_at + e * v_step + c] = (B' D B)[e] of the patch that starts at pixel `x_at`.

    Rows [top, bottom) and columns [left, right) of the patch lie in the image.
    """
    from numba_rt.simd.emit_winograd import call_input

    i = types.intp
    return types.void(x, *[i] * 7, zeros, i, v, i, i, i, i), call_input


def _output_intrinsic(context, m, m_at, m_step, y, y_at, row_step, col_step, rows, cols, dump, dump_at,
                      bias, bias_at, residual, residual_at, channels, lo, hi, size):  # fmt: skip
    """Writes clamp(A' M A + bias + residual) of a tile to y, of which `rows` x `cols` pixels exist.

    `bias_at` and `residual_at` are -1 where there is none; the residual may be y.
    """
    from numba_rt.simd.emit_winograd import call_output

    i, f = types.intp, types.float32
    return types.void(m, i, i, y, *[i] * 5, dump, i, bias, i, residual, i, i, f, f, i), call_output


def _both_sides(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
    """matrix @ values @ matrix' for each channel."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.einsum("ai,bj,ijc->abc", matrix, matrix, values, optimize=True))


def _input_tile(x, x_at, row_step, col_step, top, bottom, left, right, zeros, zeros_at, v, v_at, v_step,
                channels, size):  # fmt: skip
    """`input_tile` in NumPy, for runs without a compiler."""
    transform = TRANSFORMS[int(size)]
    n, matrix = transform.patch, transform.b.astype(np.float32)
    patch = np.zeros((n, n, channels), np.float32)
    for i, j in np.ndindex(n, n):
        if top <= i < bottom and left <= j < right:
            at = x_at + i * row_step + j * col_step
            patch[i, j] = x[at : at + channels]
    changed = _both_sides(matrix, patch).reshape(n * n, channels)
    for e in range(n * n):
        v[v_at + e * v_step : v_at + e * v_step + channels] = changed[e]


def _output_tile(m, m_at, m_step, y, y_at, row_step, col_step, rows, cols, dump, dump_at, bias, bias_at,
                 residual, residual_at, channels, lo, hi, size):  # fmt: skip
    """`output_tile` in NumPy, for runs without a compiler."""
    transform = TRANSFORMS[int(size)]
    n, matrix = transform.patch, transform.a.astype(np.float32)
    products = np.stack([m[m_at + e * m_step :][:channels] for e in range(n * n)]).reshape(n, n, channels)
    tile = _both_sides(matrix, products)
    for i, j in np.ndindex(min(int(rows), transform.size), min(int(cols), transform.size)):
        at, value = i * row_step + j * col_step, tile[i, j]
        if bias_at >= 0:
            value = value + bias[bias_at : bias_at + channels]
        if residual_at >= 0:
            value = value + residual[residual_at + at : residual_at + at + channels]
        value = np.where(value < lo, lo, value)
        y[y_at + at : y_at + at + channels] = np.where(value > hi, hi, value)


input_tile = _input_tile if DISABLED else intrinsic(_input_intrinsic)
output_tile = _output_tile if DISABLED else intrinsic(_output_intrinsic)
