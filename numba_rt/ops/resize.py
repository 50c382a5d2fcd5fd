"""Resize: values on a finer or coarser raster, axis by axis."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from math import floor, prod
from typing import Any

import numpy as np

from numba_rt.dtypes import FLOAT32, FLOAT64, FLOATS, INTEGERS, NUMERIC, STRING
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact, Sym, Undecided
from numba_rt.kernels.gather import gather_rows
from numba_rt.kernels.move import copy_bits, pad_axes
from numba_rt.kernels.sampling import round_to, sample_planes, sample_rows, select_places
from numba_rt.ops._checks import check_axes, check_dtype, known_ints, known_value
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op
from numba_rt.ops._resample import COORDINATES, NEAREST, ResizedAxis
from numba_rt.ops._strided import strides_of, words_of
from numba_rt.ops.cast import cast_to

LONG_RUN = 4
"""Words that are worth a copy of their own."""
GATHER = 4
"""Work of a sum of scattered elements, relative to one of neighbours of theirs in memory."""
MANY = 4
"""With more axes than this, not all orders of passes are compared."""
DYADIC = 1 << 12
"""Scales with smaller denominators multiply sizes without rounding."""

_CHOICES = {
    "mode": ("nearest", "linear", "cubic"),
    "coordinate_transformation_mode": COORDINATES,
    "nearest_mode": NEAREST,
    "keep_aspect_ratio_policy": ("stretch", "not_larger", "not_smaller"),
}


@op("Resize", since=19)
class Resize(Op):
    """The input on another raster: nearest elements, or sums weighted by distance."""

    antialias: bool = False
    axes: tuple[int, ...] | None = None
    coordinate_transformation_mode: str = "half_pixel"
    cubic_coeff_a: float = -0.75
    exclude_outside: bool = False
    extrapolation_value: float = 0.0
    keep_aspect_ratio_policy: str = "stretch"
    mode: str = "nearest"
    nearest_mode: str = "round_prefer_floor"

    needs_value = (1, 2, 3)

    def infer(
        self, X: Fact, roi: Fact | None = None, scales: Fact | None = None, sizes: Fact | None = None
    ) -> Fact:
        self._check(X)
        assert X.shape is not None
        axes = self._axes(X.rank)
        if self.coordinate_transformation_mode == "tf_crop_and_resize":
            count = 2 * len(axes)
            if roi is None or (not isinstance(roi.size, Sym) and roi.size != count):
                raise ShapeError(
                    f"roi = {roi}: expected {count} numbers, as tf_crop_and_resize cuts out a region"
                )
        if _is_given(scales) == _is_given(sizes):
            raise ShapeError(f"scales = {scales}, sizes = {sizes}: expected exactly one of them")
        shape = list(X.shape)
        before = [shape[a] for a in axes]
        if _is_given(scales):
            given = known_value(scales, "scales").reshape(-1).tolist()
            self._check_count("scales", given, len(axes))
            after = [_scaled(n, scale) for n, scale in zip(before, given, strict=True)]
        else:
            after = known_ints(sizes, "sizes")
            self._check_count("sizes", after, len(axes))
            after = self._kept_aspect(before, after)[0]
        for axis, n, out in zip(axes, before, after, strict=True):
            if n == 0 and out != 0:
                raise ShapeError(f"axis {axis} of X = {X} is empty: it cannot be resized to {out}")
            shape[axis] = out
        return Fact(X.dtype, tuple(shape))

    def _check(self, X: Fact) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ShapeError(f"{name} = {getattr(self, name)!r}: expected one of {', '.join(allowed)}")
        if self.mode != "nearest":
            check_dtype(X, "X", NUMERIC)
        elif self.antialias:
            raise ShapeError("antialias is for the modes linear and cubic: mode = 'nearest'")

    def _axes(self, rank: int) -> tuple[int, ...]:
        return tuple(range(rank)) if self.axes is None else check_axes(self.axes, rank)

    @staticmethod
    def _check_count(name: str, given: Sequence[Any], count: int) -> None:
        least = 0 if name == "sizes" else np.finfo(np.float32).tiny
        bad = [v for v in given if not isinstance(v, Sym) and not least <= v < np.inf]
        if len(given) != count or bad:
            raise ShapeError(f"{name} = {list(given)}: expected {count} positive numbers")

    def _kept_aspect(self, before: Sequence[Dim], after: Sequence[Dim]) -> tuple[list[Dim], float | None]:
        """Sizes under keep_aspect_ratio_policy, and the scale common to all axes if there is one."""
        if self.keep_aspect_ratio_policy == "stretch" or not before:
            return list(after), None
        if any(isinstance(n, Sym) for n in (*before, *after)):
            raise Undecided("the scale common to all axes is not known before the model runs")
        choose = min if self.keep_aspect_ratio_policy == "not_larger" else max
        scale = choose(int(out) / max(int(n), 1) for n, out in zip(before, after, strict=True))
        return [floor(scale * int(n) + 0.5) for n in before], scale

    def resized(
        self,
        before: Sequence[int],
        after: Sequence[int],
        roi: np.ndarray | None,
        scales: np.ndarray | None,
        sizes: np.ndarray | None,
    ) -> list[ResizedAxis]:
        """The axes that change, for shapes before and after."""
        axes = self._axes(len(before))
        count = len(axes)
        region = np.repeat([0.0, 1.0], count)
        if self.coordinate_transformation_mode == "tf_crop_and_resize":
            assert roi is not None
            region = roi.reshape(-1).astype(np.float64)
        common = None
        if sizes is not None and sizes.size:
            common = self._kept_aspect([before[a] for a in axes], sizes.reshape(-1).tolist())[1]
        made = []
        for i, a in enumerate(axes):
            if scales is not None and scales.size:
                scale = float(scales.reshape(-1)[i])
            else:
                scale = common or after[a] / before[a]
            made.append(
                ResizedAxis(a, before[a], after[a], scale, float(region[i]), float(region[count + i]))
            )
        return [a for a in made if not a.is_identity]

    def weighted(self, axis: ResizedAxis) -> tuple[np.ndarray, np.ndarray]:
        """Indices and weights, (taps, out), of a linear or cubic pass."""
        a = self.cubic_coeff_a if self.mode == "cubic" else None
        return axis.weighted(self.coordinate_transformation_mode, a, self.antialias, self.exclude_outside)

    def nearest(self, axis: ResizedAxis) -> np.ndarray:
        """Indices of a nearest pass."""
        return axis.nearest(self.coordinate_transformation_mode, self.nearest_mode)

    def evaluate(
        self,
        X: np.ndarray,
        roi: np.ndarray | None = None,
        scales: np.ndarray | None = None,
        sizes: np.ndarray | None = None,
    ) -> np.ndarray:
        facts = (None if x is None else Fact.of(x) for x in (roi, scales, sizes))
        shape = tuple(int(d) for d in self.infer(Fact.of(X), *facts).shape or ())
        if 0 in shape:
            return np.empty(shape, X.dtype)
        y = X if self.mode == "nearest" else X.astype(_computed(X.dtype))
        for axis in self.resized(X.shape, shape, roi, scales, sizes):
            if self.mode == "nearest":
                index = self.nearest(axis)
                y, outside = np.take(y, np.maximum(index, 0), axis=axis.axis), index < 0
            else:
                indices, weights = self.weighted(axis)
                column = (-1, *(1,) * (X.ndim - axis.axis - 1))
                parts = (
                    np.take(y, np.maximum(i, 0), axis=axis.axis) * w.astype(y.dtype).reshape(column)
                    for i, w in zip(indices, weights, strict=True)
                )
                y, outside = np.asarray(sum(parts)), indices[0] < 0
            if outside.any():
                np.moveaxis(y, axis.axis, 0)[outside] = _outside(X.dtype, self.extrapolation_value)
        if self.mode != "nearest" and X.dtype in INTEGERS:
            y = np.clip(np.rint(y), *_limits(X.dtype, y.dtype))
        return y.astype(X.dtype)

    def lower(
        self, low: Lowering, X: View, roi: View | None, scales: View | None, sizes: View | None, Y: View
    ) -> None:
        if Y.size == 0:
            return
        values = (None if v is None else v.constant for v in (roi, scales, sizes))
        axes = self.resized(X.shape, Y.shape, *values)
        if not axes:
            low.call(copy_bits, low.bits(X), low.bits(Y), low.tasks(Y.nbytes / 8))
        elif self.mode == "nearest":
            outside = low.const(np.array([_outside(X.dtype, self.extrapolation_value)], X.dtype))
            tables = {a.axis: self.nearest(a) for a in axes}
            _gather_axes(low, X, [tables.get(i) for i in range(X.rank)], outside, Y)
        else:
            self._lower_sums(low, X, axes, Y)

    def _lower_sums(self, low: Lowering, X: View, axes: list[ResizedAxis], Y: View) -> None:
        """One pass for each axis."""
        dtype = _computed(X.dtype)
        x = X
        if dtype != X.dtype:
            x = low.scratch(X.shape, dtype)
            cast_to(dtype).lower(low, X, x)
        shape = list(X.shape)
        order = _cheapest(shape, axes)
        for a in order:
            shape[a.axis] = a.out
            y = Y if a is order[-1] and dtype == X.dtype else low.scratch(shape, dtype)
            self._lower_pass(low, x, a, y)
            x = y
        if x is not Y:
            lowest, highest = _limits(X.dtype, dtype)
            low.call(round_to, low.flat(x), lowest, highest, low.flat(Y), low.tasks(Y.size))

    def _lower_pass(self, low: Lowering, x: View, axis: ResizedAxis, y: View) -> None:
        indices, weights = self.weighted(axis)
        taps, inner = len(indices), prod(x.shape[axis.axis + 1 :])
        places, factors = low.const(indices.reshape(-1)), low.const(weights.reshape(-1).astype(x.dtype))
        value = x.dtype.type(self.extrapolation_value)
        tasks = low.tasks(y.size * taps)
        if inner == 1:
            rows = y.size // axis.out
            low.call(
                sample_planes, low.flat(x), places, factors, taps, axis.out, rows, axis.size, value,
                low.flat(y), tasks,
            )  # fmt: skip
        else:
            low.call(
                sample_rows, low.flat(x), places, factors, taps, axis.size, inner, value, low.flat(y), tasks
            )


def _cheapest(shape: Sequence[int], axes: list[ResizedAxis]) -> tuple[ResizedAxis, ...]:
    """The order of passes with the least work; those that make the value smaller first if there are many."""

    def work(order: tuple[ResizedAxis, ...]) -> float:
        sizes, total = list(shape), 0.0
        for a in order:
            sizes[a.axis] = a.out
            total += prod(sizes) * (GATHER if prod(sizes[a.axis + 1 :]) == 1 else 1)
        return total

    if len(axes) > MANY:
        return tuple(sorted(axes, key=lambda a: a.out / a.size))
    return min(permutations(axes), key=work)


def _is_given(fact: Fact | None) -> bool:
    """Whether an optional input is there and not empty."""
    if fact is None:
        return False
    if isinstance(fact.size, Sym):
        raise Undecided("how many numbers there are is not known before the model runs")
    return fact.size > 0


def _scaled(n: Dim, scale: Any) -> Dim:
    """The size an axis gets: rounded down after a product in float32."""
    if isinstance(scale, Sym):
        return n * scale
    if not isinstance(n, Sym):
        return floor(np.float32(scale) * np.float32(n))
    numerator, denominator = float(scale).as_integer_ratio()
    if denominator > DYADIC:
        raise Undecided("the product of a size and a scale is rounded")
    return n * numerator // denominator


def _computed(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """dtype that sums are computed in."""
    if dtype in FLOATS:
        return dtype
    return FLOAT32 if dtype.itemsize <= 2 else FLOAT64


def _limits(dtype: np.dtype[Any], computed: np.dtype[Any]) -> tuple[Any, Any]:
    """The least and the greatest number of an integer dtype, as floats that fit into it."""
    info = np.iinfo(dtype)
    highest = computed.type(info.max)
    if float(highest) > info.max:
        highest = np.nextafter(highest, computed.type(0))
    return computed.type(info.min), highest


def _outside(dtype: np.dtype[Any], value: float) -> Any:
    """extrapolation_value in a dtype."""
    if dtype == STRING:
        return ""
    if dtype in INTEGERS:
        return dtype.type(np.clip(np.rint(value), *_limits(dtype, FLOAT64)))
    return np.array(value).astype(dtype)[()]


def _gather_axes(low: Lowering, X: View, tables: list[np.ndarray | None], outside: View, Y: View) -> None:
    """Y = X read through a table of indices for each axis that has one; `outside` where they are negative."""
    strides = strides_of(X.shape)
    resized = [i for i, table in enumerate(tables) if table is not None]
    words = words_of(X.dtype)
    run = strides[resized[-1]] * words
    parts = []
    for i in range(resized[0], resized[-1] + 1):
        table = tables[i]
        index = np.arange(X.shape[i]) if table is None else table
        parts.append(np.where(index >= 0, index * strides[i] * words, -1))
    lead = prod(X.shape[: resized[0]])
    step = X.size // max(lead, 1) * words
    tasks = low.tasks(Y.nbytes / 4)
    x, y = low.bits(X), low.bits(Y)
    if all(p.min() >= 0 for p in parts):
        if run < LONG_RUN:
            *parts, last = parts
            columns = low.const((last[:, None] + np.arange(run)).reshape(-1))
            low.call(select_places, x, low.const(_sums(parts)), columns, step, y, tasks)
        else:
            low.call(gather_rows, x, low.const(_sums(parts)), lead, step, run, y, tasks)
        return
    *outer, last = [np.arange(lead) * step, *parts]
    last = np.where(last[:, None] >= 0, last[:, None] + np.arange(run), -1).reshape(-1)
    starts = np.cumsum([last.size, *(p.size for p in outer)])[:-1]
    g = [len(outer), last.size, 0, 0, 0]
    g += [v for p, at in zip(outer, starts, strict=True) for v in (p.size, at)]
    table = np.concatenate([last, *outer]).astype(np.int64)
    low.call(pad_axes, x, low.bits(outside), low.const(np.array(g, np.int64)), low.const(table), y, tasks)


def _sums(parts: list[np.ndarray]) -> np.ndarray:
    """All sums of one number from each array, the last array's fastest."""
    made = np.zeros(1, np.int64)
    for part in parts:
        made = (made[:, None] + part).reshape(-1)
    return made
