"""Reductions over axes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from numba_rt.dtypes import BOOL, FLOATS, NUMERIC, UINT8
from numba_rt.graph import Fact, dim_max, dim_min
from numba_rt.kernels import reduce as kernels
from numba_rt.ops._checks import check_axes, check_dtype, known_ints
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op

WIDE_INTEGERS = frozenset(np.dtype(t) for t in (np.int32, np.int64, np.uint32, np.uint64))

Sizes = tuple[int, int, int]
"""outer, n, inner."""


def runs(shape: Sequence[int], axes: Sequence[int]) -> list[Sizes]:
    """The reductions over one run of neighbouring axes each, last run first, that together reduce `axes`."""
    sizes: list[int] = []
    gone: list[bool] = []
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        if gone and gone[-1] == (axis in axes):
            sizes[-1] *= size
        else:
            sizes.append(size)
            gone.append(axis in axes)
    out = []
    while True in gone:
        at = len(gone) - 1 - gone[::-1].index(True)
        kept = [s for s, g in zip(sizes[at:], gone[at:], strict=True) if not g]
        out.append((prod(sizes[:at]), sizes[at], prod(kept)))
        gone[at], sizes[at] = False, 1
    return out or [(1, 1, prod(sizes))]


@dataclass(frozen=True)
class Part:
    """One of the calls a reduction is made of."""

    sizes: Sizes
    splits: int
    first: bool
    last: bool
    count: int
    """Elements of x for each element of the last result."""


def lower_runs(reduction: Any, low: Lowering, x: View, axes: Sequence[int], y: View) -> None:
    """Reduce `axes` of x into y by calls of `reduction(low, x, part, y)`, through scratch memory."""
    if y.size == 0:
        return
    count = x.size // y.size
    parts: list[tuple[Sizes, int]] = []
    for outer, n, inner in runs(x.shape, axes):
        units = outer * -(-inner // kernels.COLUMNS)
        tasks = low.tasks(outer * n * inner)
        splits = -(-tasks // units) if units < tasks else 1
        parts.append(((outer, n, inner), splits))
        if splits > 1:
            parts.append(((outer, splits, inner), 1))
    for i, (sizes, splits) in enumerate(parts):
        last = i == len(parts) - 1
        size = sizes[0] * splits * sizes[2]
        out = low.flat(y) if last else low.scratch((size,), y.dtype)
        reduction(low, low.flat(x), Part(sizes, splits, i == 0, last, count), out)
        x = out


def column_scratch(low: Lowering, sizes: Sizes, tasks: int, dtype: Any) -> View:
    """Room for the columns each task works on."""
    return low.scratch((tasks * kernels.COLUMNS if sizes[2] != 1 else 1,), dtype)


@dataclass(init=False, eq=False, repr=False)
class Reduce(Op):
    """A number for all elements along some axes."""

    keepdims: bool = True
    noop_with_empty_axes: bool = False

    needs_value = (1,)
    dtypes: ClassVar[Collection[Any]] = FLOATS | WIDE_INTEGERS

    def axes(self, rank: int, axes: Sequence[Any] | None) -> tuple[int, ...]:
        """The axes that are reduced."""
        if axes is None or len(axes) == 0:
            return () if self.noop_with_empty_axes else tuple(range(rank))
        return check_axes(axes, rank)

    def infer(self, data: Fact, axes: Fact | None = None) -> Fact:
        check_dtype(data, "data", self.dtypes)
        assert data.shape is not None
        gone = self.axes(data.rank, None if axes is None else known_ints(axes, "axes"))
        if self.keepdims:
            return Fact(data.dtype, tuple(1 if i in gone else d for i, d in enumerate(data.shape)))
        return Fact(data.dtype, tuple(d for i, d in enumerate(data.shape) if i not in gone))

    def lower(self, low: Lowering, data: View, axes: View | None, reduced: View) -> None:
        known = None
        if axes is not None:
            assert axes.constant is not None
            known = axes.constant.reshape(-1).tolist()
        lower_runs(self.reduce, low, data, self.axes(data.rank, known), reduced)

    def reduce(self, low: Lowering, x: View, part: Part, y: View) -> None:
        """One call of the operator's kernel."""
        raise NotImplementedError

    def over(self, data: np.ndarray, axes: np.ndarray | None, function: Any) -> np.ndarray:
        """`function` of NumPy, over the axes, in the dtype of the data."""
        gone = self.axes(data.ndim, None if axes is None else axes.reshape(-1).tolist())
        with np.errstate(all="ignore"):
            return np.asarray(function(data, axis=gone, keepdims=self.keepdims), data.dtype)


def reduce_sum(low: Lowering, x: View, part: Part, y: View, power: int, finish: int) -> None:
    """Sums of |x|^power, finished as `kernels.reduce_sum` says."""
    dtype = x.dtype
    wide = np.dtype(np.float64 if dtype in FLOATS else np.int64 if dtype.kind == "i" else np.uint64)
    outer, n, inner = part.sizes
    tasks = low.tasks(outer * n * inner)
    power, finish = power if part.first else 0, finish if part.last else 0
    sums = column_scratch(low, part.sizes, tasks, wide)
    low.call(
        kernels.reduce_sum, x, outer, n, inner, part.splits, dtype.type(0), wide.type(0), power, finish,
        part.count, sums, y, tasks,
    )  # fmt: skip


class Sum(Reduce):
    """A function of the sum of powers of the absolute values."""

    power: ClassVar[int] = 0
    """0: the elements themselves."""
    finish: ClassVar[int] = 0
    """What becomes of the sum: 0 itself, 1 the mean, 2 its root, 3 its logarithm."""

    def reduce(self, low: Lowering, x: View, part: Part, y: View) -> None:
        reduce_sum(low, x, part, y, self.power, self.finish)


@op("ReduceSum", since=13)
class ReduceSum(Sum):
    """The sum."""

    def evaluate(self, data: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
        return self.over(data, axes, np.sum)


@op("ReduceMean", since=18)
class ReduceMean(Sum):
    """The mean."""

    finish = 1


@op("ReduceL1", since=18)
class ReduceL1(Sum):
    """The sum of absolute values."""

    power = 1


@op("ReduceL2", since=18)
class ReduceL2(Sum):
    """The root of the sum of squares."""

    power = 2
    finish = 2


@op("ReduceSumSquare", since=18)
class ReduceSumSquare(Sum):
    """The sum of squares."""

    power = 2


@op("ReduceLogSum", since=28)
class ReduceLogSum(Sum):
    """The logarithm of the sum."""

    finish = 3


@op("ReduceLogSumExp", since=28)
class ReduceLogSumExp(Reduce):
    """The logarithm of the sum of exponentials, which does not overflow."""

    dtypes = FLOATS

    def reduce(self, low: Lowering, x: View, part: Part, y: View) -> None:
        tasks = low.tasks(prod(part.sizes) * 4)
        tops = column_scratch(low, part.sizes, tasks, x.dtype)
        lowest = x.dtype.type(-np.inf)
        low.call(kernels.reduce_log_sum_exp, x, *part.sizes, part.splits, lowest, tops, y, tasks)


@op("ReduceProd", since=18)
class ReduceProd(Reduce):
    """The product."""

    def reduce(self, low: Lowering, x: View, part: Part, y: View) -> None:
        one = x.dtype.type(1)
        low.call(kernels.reduce_product, x, *part.sizes, part.splits, one, y, low.tasks(prod(part.sizes)))

    def evaluate(self, data: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
        return self.over(data, axes, np.prod)


class Extreme(Reduce):
    """The largest or the smallest element; NaN if one is."""

    dtypes = NUMERIC | {BOOL}
    smaller: ClassVar[bool] = False

    @classmethod
    def of_nothing(cls, dtype: np.dtype[Any]) -> Any:
        """The result for no elements: what every element replaces."""
        if dtype in FLOATS:
            return dtype.type(np.inf if cls.smaller else -np.inf)
        if dtype == BOOL:
            return np.uint8(cls.smaller)
        limits = np.iinfo(dtype)
        return dtype.type(limits.max if cls.smaller else limits.min)

    def reduce(self, low: Lowering, x: View, part: Part, y: View) -> None:
        first = self.of_nothing(x.dtype)
        if x.dtype == BOOL:
            x, y = low.view(x, x.shape, UINT8), low.view(y, y.shape, UINT8)
        tasks = low.tasks(prod(part.sizes))
        low.call(kernels.reduce_order, x, *part.sizes, part.splits, first, self.smaller, y, tasks)

    def evaluate(self, data: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
        if data.size == 0:
            return self.over(data, axes, self._of_nothing_everywhere)
        return self.over(data, axes, self._of_objects if data.dtype == object else self._of_numbers)

    def _of_nothing_everywhere(self, data: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
        return np.full(np.sum(data, axis=axis, keepdims=keepdims).shape, self.of_nothing(data.dtype))

    def _of_numbers(self, data: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
        return (np.min if self.smaller else np.max)(data, axis=axis, keepdims=keepdims)

    def _of_objects(self, data: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
        choose = np.frompyfunc(dim_min if self.smaller else dim_max, 2, 1)
        for a in sorted(axis, reverse=True):
            data = np.asarray(choose.reduce(data, axis=a, keepdims=keepdims), object)
        return data


@op("ReduceMax", since=20)
class ReduceMax(Extreme):
    """The largest element."""


@op("ReduceMin", since=20)
class ReduceMin(Extreme):
    """The smallest element."""

    smaller = True
