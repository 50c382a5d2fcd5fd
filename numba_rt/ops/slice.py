"""Slice: part of an array by start, end and step along some axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact, Sym, dim_max, dim_min
from numba_rt.ops._checks import FAR, check_axes, known_ints
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op
from numba_rt.ops._parts import Part, box, rows_fit
from numba_rt.ops._strided import copy_strided


@op("Slice", since=13)
class Slice(Op):
    """data[starts:ends:steps] along `axes`; bounds count from the end if negative, and are clamped."""

    half = False
    reads_all = False
    needs_value = (1, 2, 3, 4)

    def infer(
        self, data: Fact, starts: Fact, ends: Fact, axes: Fact | None = None, steps: Fact | None = None
    ) -> Fact:
        assert data.shape is not None
        given = [None if f is None else known_ints(f, n) for f, n in ((axes, "axes"), (steps, "steps"))]
        first, last = known_ints(starts, "starts"), known_ints(ends, "ends")
        shape = list(data.shape)
        for axis, start, end, step in _parts(data.rank, first, last, *given):
            shape[axis] = extent(shape[axis], start, end, step)[1]
        return Fact(data.dtype, tuple(shape))

    def evaluate(
        self,
        data: np.ndarray,
        starts: np.ndarray,
        ends: np.ndarray,
        axes: np.ndarray | None = None,
        steps: np.ndarray | None = None,
    ) -> np.ndarray:
        index: list[Any] = [slice(None)] * data.ndim
        for axis, start, end, step in _parts(data.ndim, *(_ints(a) for a in (starts, ends, axes, steps))):
            first, count = extent(data.shape[axis], start, end, step)
            index[axis] = int(first) + int(step) * np.arange(int(count))
        for axis, chosen in enumerate(index):
            if not isinstance(chosen, slice):
                data = np.take(data, chosen, axis)
        return data

    def output_parts(self, inputs: Sequence[Fact | None], outputs: Sequence[Fact]) -> list[Part | None]:
        shape, sizes = (f.sizes for f in (inputs[0], outputs[0]) if f is not None)
        starts = [0] * len(shape)
        bounds = [None if f is None else _ints(f.value) for f in (*inputs[1:], None, None)[:4]]
        for axis, start, end, step in _parts(len(shape), *bounds):
            if step != 1 and sizes[axis] > 1:
                return [None]
            starts[axis] = int(extent(shape[axis], start, end, step)[0])
        return [box(shape, tuple(starts), sizes)]

    def reads_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        return rows_fit(shape, run)

    writes_rows = reads_rows

    def lower(
        self,
        low: Lowering,
        data: View,
        starts: View,
        ends: View,
        axes: View | None,
        steps: View | None,
        output: View,
    ) -> None:
        if 0 in low.in_place:
            return
        strides = data.strides
        walked, at = list(strides), 0
        bounds = [None if v is None else _ints(v.constant) for v in (starts, ends, axes, steps)]
        for axis, start, end, step in _parts(data.rank, *bounds):
            first, _ = extent(data.shape[axis], start, end, step)
            at += int(first) * strides[axis]
            walked[axis] *= int(step)
        copy_strided(low, data, output, list(zip(output.shape, walked, output.strides, strict=True)), at)


def _ints(values: np.ndarray | None) -> list[Dim] | None:
    return None if values is None else values.reshape(-1).tolist()


def _parts(
    rank: int,
    starts: list[Dim] | None,
    ends: list[Dim] | None,
    axes: list[Dim] | None = None,
    steps: list[Dim] | None = None,
) -> list[tuple[int, Dim, Dim, int]]:
    """(axis, start, end, step) for each axis that is cut."""
    starts, ends = starts or [], ends or []
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        found = f"starts {len(starts)}, ends {len(ends)}, axes {len(axes)}, steps {len(steps)}"
        raise ShapeError(f"expected as many of each, found {found}")
    if any(not isinstance(s, Sym) and s == 0 for s in steps):
        raise ShapeError(f"steps = {steps} contains 0")
    places = check_axes([int(a) for a in axes], rank)
    return list(zip(places, starts, ends, [int(s) for s in steps], strict=True))


def extent(dim: Dim, start: Dim, end: Dim, step: int) -> tuple[Dim, Dim]:
    """First index and number of indices of a slice of an axis of size `dim`."""
    if step > 0:
        first, past = _bound(dim, start), _bound(dim, end)
        length = past - first if _is(first, 0) or past is dim else dim_max(past - first, 0)
        return first, length if step == 1 else (length + (step - 1)) // step
    first, past = _bound_back(dim, start, 0), _bound_back(dim, end, -1)
    return first, dim_max((first - past + (-step - 1)) // -step, 0)


def _is(dim: Dim, value: int) -> bool:
    return not isinstance(dim, Sym) and dim == value


def _bound(dim: Dim, bound: Dim) -> Dim:
    """`bound` counted from the start and clamped to [0, dim]."""
    if not isinstance(bound, Sym) and abs(bound) >= FAR and isinstance(dim, Sym):
        return dim if bound > 0 else 0
    if bound < 0:
        return dim_max(dim + bound, 0)
    return dim if bound == dim else dim_min(bound, dim) if not _is(bound, 0) else 0


def _bound_back(dim: Dim, bound: Dim, lowest: int) -> Dim:
    """`bound` counted from the start and clamped to [lowest, dim - 1]."""
    if not isinstance(bound, Sym) and abs(bound) >= FAR and isinstance(dim, Sym):
        return dim - 1 if bound > 0 else dim_min(lowest, dim - 1)
    if bound < 0:
        return dim - 1 if _is(bound, -1) else dim_min(dim_max(dim + bound, lowest), dim - 1)
    return dim_min(bound, dim - 1)
