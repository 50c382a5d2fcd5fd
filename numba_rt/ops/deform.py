"""DeformConv: a convolution whose taps lie at positions that are inputs."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from numba_rt.dtypes import FLOATS
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact
from numba_rt.kernels.sampling import deform_taps, sample_planes
from numba_rt.ops._checks import check_dtype, check_groups, check_rank, check_same_dtype, same_dim
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op
from numba_rt.ops._window import slide_filters
from numba_rt.ops.binary import Add
from numba_rt.ops.matmul import MatMul

CORNERS = 4
"""Pixels that a tap between pixels is interpolated from."""


@op("DeformConv", since=22)
class DeformConv(Op):
    """Convolution of images whose taps are moved by `offset` and scaled by `mask`."""

    dilations: tuple[int, ...] | None = None
    group: int = 1
    kernel_shape: tuple[int, ...] | None = None
    offset_group: int = 1
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None

    def infer(self, X: Fact, W: Fact, offset: Fact, B: Fact | None = None, mask: Fact | None = None) -> Fact:
        given = (("X", X), ("W", W), ("offset", offset), ("B", B), ("mask", mask))
        check_same_dtype(*((n, f) for n, f in given if f is not None))
        check_dtype(X, "X", FLOATS)
        for name, fact in given:
            if fact is not None:
                check_rank(fact, name, exactly=1 if name == "B" else 4)
        assert X.shape is not None and W.shape is not None and offset.shape is not None
        if any(isinstance(n, int) and n == 0 for n in X.shape[2:]):
            raise ShapeError(f"X = {X} has no pixels")
        self._check_groups(X, W)
        window = slide_filters(self, X.shape, W.shape)
        taps = self.offset_group * prod(window.kernel)
        for name, fact, rows in (("offset", offset, 2 * taps), ("mask", mask, taps)):
            expected = (X.shape[0], rows, *window.sizes)
            if fact is not None and not all(map(same_dim, fact.shape or (), expected)):
                raise ShapeError(f"{name} = {fact}: expected the shape {list(expected)}")
        if B is not None and not same_dim((B.shape or (1,))[0], W.shape[0]):
            raise ShapeError(f"B = {B}: expected one number for each of {W.shape[0]} filters")
        return Fact(X.dtype, (X.shape[0], W.shape[0], *window.sizes))

    def _check_groups(self, X: Fact, W: Fact) -> None:
        assert X.shape is not None
        channels = X.shape[1]
        check_groups(X, W, self.group)
        if self.offset_group < 1 or (isinstance(channels, int) and channels % self.offset_group):
            raise ShapeError(
                f"X = {X} has {channels} channels, which offset_group = {self.offset_group} does not divide"
            )

    def flops(self, X: View, W: View, *others: Any) -> int:
        return 2 * others[-1].size * prod(W.shape[1:])

    def lower(
        self, low: Lowering, X: View, W: View, offset: View, B: View | None, mask: View | None, Y: View
    ) -> None:
        if Y.size == 0:
            return
        window = slide_filters(self, X.shape, W.shape)
        batch, channels, height, width = X.shape
        taps, pixels = prod(window.kernel), prod(Y.shape[2:])
        groups, points = batch * self.offset_group, taps * pixels
        columns = low.scratch((batch, self.group, channels // self.group * taps, pixels), X.dtype)
        places = low.scratch((groups * CORNERS * points,), np.int64)
        weights = low.scratch((places.size,), X.dtype)
        g = np.array(
            [
                height,
                width,
                *Y.shape[2:],
                *window.kernel,
                *window.strides,
                *window.dilations,
                *window.pads[:2],
            ],
            np.int64,
        )
        factors = low.const(np.ones(1, X.dtype)) if mask is None else low.flat(mask)
        low.call(
            deform_taps, low.flat(offset), factors, low.const(g), places, weights, low.tasks(places.size * 2)
        )
        if X.size:
            low.call(
                sample_planes, low.flat(X), places, weights, CORNERS, points, channels // self.offset_group,
                height * width, X.dtype.type(0), low.flat(columns), low.tasks(columns.size * CORNERS),
            )  # fmt: skip
        filters = low.view(W, (1, self.group, W.shape[0] // self.group, columns.shape[2]))
        made = low.view(Y, (batch, self.group, filters.shape[2], pixels))
        MatMul().lower(low, filters, columns, made)
        if B is not None:
            y = low.view(Y, (batch, W.shape[0], pixels))
            Add().lower(low, y, low.view(B, (B.size, 1)), y)
