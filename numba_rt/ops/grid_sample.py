"""GridSample: pixels at given positions of an image."""

from __future__ import annotations

from math import prod

import numpy as np

from numba_rt.dtypes import FLOATS
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact
from numba_rt.kernels.sampling import grid_taps, sample_planes
from numba_rt.ops._checks import check_dtype, check_rank, same_dim
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op
from numba_rt.ops.cast import cast_to

MODES = ("nearest", "linear", "cubic")
PADDINGS = ("zeros", "border", "reflection")
TAPS = (1, 2, 4)
"""Pixels along an axis that each mode reads."""


@op("GridSample", since=22)
class GridSample(Op):
    """The input interpolated at the positions of a grid, which range from -1 to 1 along each axis."""

    align_corners: bool = False
    mode: str = "linear"
    padding_mode: str = "zeros"

    def infer(self, X: Fact, grid: Fact) -> Fact:
        check_dtype(X, "X", FLOATS)
        check_dtype(grid, "grid", FLOATS)
        for name, allowed in (("mode", MODES), ("padding_mode", PADDINGS)):
            if getattr(self, name) not in allowed:
                raise ShapeError(f"{name} = {getattr(self, name)!r}: expected one of {', '.join(allowed)}")
        if X.rank not in (4, 5):
            raise ShapeError(f"X = {X}: expected two or three spatial axes")
        check_rank(grid, "grid", exactly=X.rank)
        assert X.shape is not None and grid.shape is not None
        if not same_dim(X.shape[0], grid.shape[0]) or not same_dim(grid.shape[-1], X.rank - 2):
            raise ShapeError(
                f"grid = {grid}: expected {X.shape[0]} grids of {X.rank - 2} coordinates for X = {X}"
            )
        if any(isinstance(n, int) and n == 0 for n in X.shape[2:]):
            raise ShapeError(f"X = {X} has no pixels")
        return Fact(X.dtype, (*X.shape[:2], *grid.shape[1:-1]))

    def lower(self, low: Lowering, X: View, grid: View, Y: View) -> None:
        if Y.size == 0:
            return
        if grid.dtype != X.dtype:
            converted = low.scratch(grid.shape, X.dtype)
            cast_to(X.dtype).lower(low, grid, converted)
            grid = converted
        axes, mode = X.rank - 2, MODES.index(self.mode)
        batch, channels = X.shape[:2]
        points, taps = prod(Y.shape[2:]), TAPS[mode] ** axes
        places = low.scratch((batch * taps * points,), np.int64)
        weights = low.scratch((batch * taps * points,), X.dtype)
        sizes = (1, *X.shape[2:])[-3:]
        padding = PADDINGS.index(self.padding_mode)
        g = np.array([mode, padding, self.align_corners, axes, points, TAPS[mode], *sizes], np.int64)
        low.call(grid_taps, low.flat(grid), low.const(g), places, weights, low.tasks(places.size * 4))
        low.call(
            sample_planes, low.flat(X), places, weights, taps, points, channels, prod(sizes), X.dtype.type(0),
            low.flat(Y), low.tasks(Y.size * taps),
        )  # fmt: skip
