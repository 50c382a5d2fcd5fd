"""Copies between strided parts of arrays, which most data-moving operators are."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from numba_rt.kernels.move import copy_axes, fill_bits, transpose_axes
from numba_rt.kernels.weave import unweave, weave
from numba_rt.ops._lowering import Lowering, View

Axis = tuple[int, int, int]
"""Size, stride in x, stride in y; strides count elements."""

SHORT = 8
"""Runs shorter than this cost more than their elements do."""
FEW = 4
"""Rows or columns of a matrix that are transposed together, whatever their length."""
FULL = 1 << 62


def strides_of(shape: Sequence[int]) -> list[int]:
    """Elements between neighbours along each axis of a C-contiguous array."""
    return [prod(shape[i + 1 :]) for i in range(len(shape))]


def words_of(dtype: np.dtype) -> int:
    """How many of the integers `Lowering.bits` makes there are in an item."""
    return 2 if dtype.itemsize == 16 else 1


def copy_strided(
    low: Lowering, x: View, y: View, axes: Sequence[Axis], x0: int = 0, y0: int = 0, turned: bool = False
) -> None:
    """Copy the elements of x that the axes walk over to y; either may have a pitch. `turned` says
    that the axis along which y is contiguous is not the one along which x is, whatever the sizes.
    """
    words = words_of(x.dtype)
    if words > 1:
        axes = [*((n, sx * words, sy * words) for n, sx, sy in axes), (words, 1, 1)]
        x0, y0, turned = x0 * words, y0 * words, False
    size = prod(n for n, _, _ in axes)
    if size == 0:
        return
    merged = merge_axes(axes)
    across = next((a for a in merged[:-1] if a[1] == 1), None)
    inner = merged[-1]
    if turned or (across and inner[2] == 1 and min(across[0], inner[0]) >= SHORT):
        _transpose(low, x, y, merged, across, x0, y0)
        return
    woven = None if x.pitch or y.pitch or x0 or y0 else _woven(merged)
    if woven is not None:
        kernel, g = woven
        tasks = low.tasks(size * x.dtype.itemsize / 4)
        low.call(kernel, low.bits(x), low.const(np.array(g, np.int64)), low.bits(y), tasks)
        return
    tasks = low.tasks(size * x.dtype.itemsize / 8 if inner[1] == inner[2] == 1 else size)
    table, end = _shared_rows(_long_runs_last(merged), tasks)
    low.call(copy_axes, _words(low, x), _geometry(low, table, end, x0, y0), _words(low, y), tasks)


def _woven(axes: list[Axis]) -> tuple[Any, tuple[int, int, int]] | None:
    """The kernel and its argument `g` for a batch of dense matrices of few rows or columns."""
    if not 2 <= len(axes) <= 3:
        return None
    (m, mx, my), (n, nx, ny) = axes[-2:]
    batch, bx, by = axes[0] if len(axes) == 3 else (1, m * n, m * n)
    if (mx, nx, my, ny) != (1, m, n, 1) or bx != m * n or by != m * n:
        return None
    if n <= FEW:
        return weave, (batch, m, n)
    return (unweave, (batch, n, m)) if m <= FEW else None


def fill(low: Lowering, value: View, y: View) -> None:
    """y = value, repeated.   value has one element."""
    if y.size:
        low.call(fill_bits, low.bits(value), low.bits(y), low.tasks(y.nbytes / 8))


def zero(low: Lowering, dtype: np.dtype) -> View:
    """One element of all zero bits."""
    return low.view(low.const(np.zeros(dtype.itemsize, np.uint8)), (1,), dtype)


def _words(low: Lowering, x: View) -> View:
    return low.bits(low.span(x))


def merge_axes(axes: Sequence[Axis]) -> list[Axis]:
    """Without axes of size 1, and with neighbours that both arrays walk alike as one axis."""
    merged: list[Axis] = []
    for n, sx, sy in axes:
        if n == 1:
            continue
        if merged and merged[-1][1] == sx * n and merged[-1][2] == sy * n:
            merged[-1] = (merged[-1][0] * n, sx, sy)
        else:
            merged.append((n, sx, sy))
    return merged or [(1, 1, 1)]


def _transpose(
    low: Lowering, x: View, y: View, axes: list[Axis], across: Axis | None, x0: int, y0: int
) -> None:
    """The axis along which x is contiguous, then the one along which y is, are walked as tiles."""
    inner = axes[-1] if axes[-1][2] == 1 else (1, 0, 1)
    if across is None:
        across = inner if inner[1] == 1 else (1, 1, 0)
        inner = (1, 0, 1) if inner[1] == 1 else inner
    rest = [a for a in axes if a is not across and a is not inner]
    size = prod(n for n, _, _ in axes)
    geometry = _geometry(low, [*rest, across, inner], FULL, x0, y0)
    low.call(transpose_axes, _words(low, x), geometry, _words(low, y), low.tasks(size))


def _long_runs_last(axes: list[Axis]) -> list[Axis]:
    """The last two axes swapped where that makes the inner loop worth its start."""
    if len(axes) > 1 and axes[-1][0] < SHORT and axes[-2][0] > axes[-1][0]:
        return [*axes[:-2], axes[-1], axes[-2]]
    return axes


def _shared_rows(axes: list[Axis], tasks: int) -> tuple[list[Axis], int]:
    """At least two axes, the last one split where there are too few runs to share, and how many
    elements the last two cover.
    """
    n, sx, sy = axes[-1]
    rows = prod(a[0] for a in axes[:-1])
    if len(axes) > 1 and (tasks == 1 or rows >= 4 * tasks):
        return axes, FULL
    parts = min(n, -(-4 * tasks // rows)) if tasks > 1 else 1
    run = -(-n // parts)
    return [*axes[:-1], (-(-n // run), sx * run, sy * run), (run, sx, sy)], n


def _geometry(low: Lowering, axes: list[Axis], end: int, x0: int, y0: int) -> View:
    return low.const(np.array([x0, y0, end, len(axes) - 2, *(v for a in axes for v in a)], np.int64))
