"""Softmax and its relatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from numba_rt.dtypes import FLOATS
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact
from numba_rt.kernels import softmax as kernels
from numba_rt.ops._checks import check_axis, check_dtype, check_rank, check_same_dtype, same_dim
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import OWN, Op, op

COST = 8
"""Work per element relative to an addition."""
MASK_AXES = 4
"""Leading axes over which a mask's rows may be laid out."""


@dataclass(init=False, eq=False, repr=False)
class Exponentials(Op):
    """Exponentials along an axis, divided by their sum."""

    axis: int = -1

    inplace = (0,)
    log: ClassVar[bool] = False

    def infer(self, input: Fact) -> Fact:
        check_dtype(input, "input", FLOATS)
        check_rank(input, "input", at_least=1)
        check_axis(self.axis, input.rank)
        return Fact(input.dtype, input.shape)

    def lower(self, low: Lowering, input: View, output: View) -> None:
        if output.size == 0:
            return
        outer, n, inner = low.rows(input, self.axis % input.rank).shape
        x, y, one = low.flat(input), low.flat(output), input.dtype.type(1)
        tasks = low.tasks(input.size * COST)
        if inner == 1:
            low.call(kernels.softmax_rows, x, n, self.log, one, y, tasks)
        else:
            columns = low.scratch((tasks * 2 * kernels.COLUMNS,), input.dtype)
            low.call(kernels.softmax_columns, x, outer, n, inner, self.log, one, columns, y, tasks)


@op("Softmax", since=13)
class Softmax(Exponentials):
    """Exponentials along an axis, divided by their sum."""


@op("LogSoftmax", since=13)
class LogSoftmax(Exponentials):
    """The logarithm of Softmax."""

    log = True


@op("MaskedSoftmax", domain=OWN)
class MaskedSoftmax(Op):
    """Softmax of scale * x + mask over the last axis; the mask is repeated over axes where it has size 1.

    With `safe`, rows without a result (all of them masked by -inf) are 0 instead of NaN.
    """

    scale: float = 1.0
    safe: bool = False

    inplace = (0,)

    def infer(self, x: Fact, mask: Fact) -> Fact:
        check_dtype(x, "x", FLOATS)
        check_rank(x, "x", at_least=1)
        check_same_dtype(("x", x), ("mask", mask))
        assert x.shape is not None and mask.shape is not None
        pairs = zip(x.shape[::-1], mask.shape[::-1], strict=False)
        if mask.rank > x.rank or not all(same_dim(m, 1) or same_dim(d, m) for d, m in pairs):
            raise ShapeError(f"mask = {mask} cannot be broadcast to x = {x}")
        return Fact(x.dtype, x.shape)

    def lower(self, low: Lowering, x: View, mask: View, y: View) -> None:
        if y.size == 0:
            return
        geometry = low.const(np.append(mask_geometry(x.shape, mask.shape), int(self.safe)))
        tasks, scale = low.tasks(x.size * COST), x.dtype.type(self.scale)
        low.call(
            kernels.masked_softmax_rows, low.flat(x), low.flat(mask), geometry, scale, low.flat(y), tasks
        )


def mask_geometry(shape: tuple[int, ...], mask: tuple[int, ...]) -> np.ndarray:
    """The argument `g` of the kernel."""
    mask = (1,) * (len(shape) - len(mask)) + mask
    sizes: list[int] = []
    repeated: list[bool] = []
    for size, own in zip(shape[:-1], mask[:-1], strict=True):
        if size == 1:
            continue
        if repeated and repeated[-1] == (own == 1):
            sizes[-1] *= size
        else:
            sizes.append(size)
            repeated.append(own == 1)
    if len(sizes) > MASK_AXES:
        raise ShapeError(
            f"mask of shape {list(mask)} alternates over more than {MASK_AXES} axes of {list(shape)}"
        )
    strides, step = [], mask[-1]
    for size, again in zip(reversed(sizes), reversed(repeated), strict=True):
        strides.append(0 if again else step)
        step *= 1 if again else size
    missing = MASK_AXES - len(sizes)
    sizes, strides = [1] * missing + sizes, [0] * missing + strides[::-1]
    return np.array([*sizes[1:], shape[-1], *strides, int(mask[-1] == shape[-1])], np.int64)
