"""Pad: more (or fewer) elements at the borders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_rt.dtypes import STRING
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact, Sym
from numba_rt.kernels.move import pad_axes
from numba_rt.ops._checks import check_axes, check_same_dtype, known_ints
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op
from numba_rt.ops._strided import strides_of, words_of, zero

MODES = ("constant", "reflect", "edge", "wrap")


@op("Pad", since=25)
class Pad(Op):
    """`pads` elements added before and after the axes, or taken away where negative; new ones are
    a constant, or repeat the border, mirror the data or start it again.
    """

    mode: str = "constant"

    half = False
    needs_value = (1, 3)

    def infer(
        self, data: Fact, pads: Fact, constant_value: Fact | None = None, axes: Fact | None = None
    ) -> Fact:
        if self.mode not in MODES:
            raise ShapeError(f"mode = {self.mode!r}: expected one of {', '.join(MODES)}")
        if constant_value is not None:
            check_same_dtype(("data", data), ("constant_value", constant_value))
            if not isinstance(constant_value.size, Sym) and constant_value.size != 1:
                raise ShapeError(f"constant_value = {constant_value}: expected one element")
        assert data.shape is not None
        places = None if axes is None else [int(a) for a in known_ints(axes, "axes")]
        shape = list(data.shape)
        for axis, (before, after) in enumerate(_by_axis(data.rank, known_ints(pads, "pads"), places)):
            self.check(axis, shape[axis], before, after)
            shape[axis] = shape[axis] + before + after
        return Fact(data.dtype, tuple(shape))

    def check(self, axis: int, dim: Dim, before: Dim, after: Dim) -> None:
        """Refuse to take more than there is, or to repeat what is empty."""
        if any(isinstance(d, Sym) for d in (dim, before, after)):
            return
        kept = dim + min(before, 0) + min(after, 0)
        if kept < 0:
            raise ShapeError(f"pads {before} and {after} take more than axis {axis} of size {dim} has")
        if self.mode != "constant" and kept == 0 and max(before, after) > 0:
            raise ShapeError(f"mode = {self.mode!r} cannot pad axis {axis}: nothing of it is left to repeat")

    def source(self, n: int, before: int, after: int, where: np.ndarray | None = None) -> np.ndarray:
        """Index of the input each index of the output (or those in `where`) takes, -1 for the constant."""
        start, kept = max(-before, 0), n + min(before, 0) + min(after, 0)
        index = np.arange(n + before + after) if where is None else where
        index = index - max(before, 0)
        if self.mode == "constant":
            return np.where((index >= 0) & (index < kept), index + start, -1)
        if self.mode == "wrap":
            index %= max(kept, 1)
        elif self.mode == "reflect":
            index = np.abs((index + kept - 1) % max(2 * kept - 2, 1) - (kept - 1))
        return np.clip(index, 0, max(kept - 1, 0)) + start

    def evaluate(
        self,
        data: np.ndarray,
        pads: np.ndarray,
        constant_value: np.ndarray | None = None,
        axes: np.ndarray | None = None,
    ) -> np.ndarray:
        amounts = _by_axis(
            data.ndim, pads.reshape(-1).tolist(), None if axes is None else axes.reshape(-1).tolist()
        )
        default = "" if data.dtype == STRING and not _holds_sizes(data) else data.dtype.type(0)
        value = default if constant_value is None else constant_value.reshape(-1)[0]
        for axis, (before, after) in enumerate(amounts):
            index = self.source(data.shape[axis], before, after)
            lead: tuple[Any, ...] = (slice(None),) * axis
            shape = (*data.shape[:axis], index.size, *data.shape[axis + 1 :])
            made = np.full(shape, value, data.dtype)
            made[(*lead, index >= 0)] = data[(*lead, index[index >= 0])]
            data = made
        return data

    def lower(
        self,
        low: Lowering,
        data: View,
        pads: View,
        constant_value: View | None,
        axes: View | None,
        output: View,
    ) -> None:
        if output.size == 0:
            return
        assert pads.constant is not None
        places = None if axes is None or axes.constant is None else axes.constant.reshape(-1).tolist()
        amounts = _by_axis(data.rank, pads.constant.reshape(-1).tolist(), places)
        merged = _merged(data.shape, amounts, words_of(data.dtype))
        n, stride, scale, (before, after) = merged.pop()
        lo, kept = max(before, 0), n + min(before, 0) + min(after, 0)
        borders = np.concatenate([np.arange(lo), np.arange(lo + kept, n + before + after)])
        last = _scaled(self.source(n, before, after, borders), stride, scale)
        tables = [_scaled(self.source(n, *amount), stride) for n, stride, _, amount in merged]
        starts = np.cumsum([last.size, *(t.size for t in tables)])[:-1]
        outer = [v for t, at in zip(tables, starts, strict=True) for v in (t.size, at)]
        row, first = (n + before + after) * scale, (max(-before, 0) - lo) * stride
        fixed = [len(tables), row, lo * scale, (lo + kept) * scale, first]
        geometry = low.const(np.array([*fixed, *outer], np.int64))
        table = low.const(np.concatenate([last, *tables]).astype(np.int64))
        value = zero(low, data.dtype) if constant_value is None else constant_value
        bits = low.bits(data)
        tasks = low.tasks(output.nbytes / 4)
        low.call(pad_axes, bits, low.bits(value), geometry, table, low.bits(output), tasks)


def _scaled(index: np.ndarray, stride: int, scale: int = 1) -> np.ndarray:
    """Offsets in the input for indices of an axis, of which `scale` neighbours move together."""
    offsets = index[:, None] * stride + np.arange(scale)
    return np.where(index[:, None] >= 0, offsets, -1).reshape(-1)


def _by_axis(rank: int, pads: Sequence[Any], axes: Sequence[int] | None) -> list[tuple[Any, Any]]:
    """(before, after) for each axis."""
    places = range(rank) if axes is None else check_axes(axes, rank)
    count = len(places)
    if len(pads) != 2 * count:
        raise ShapeError(
            f"pads = {list(pads)} has {len(pads)} numbers: expected two for each of {count} axes"
        )
    amounts: list[tuple[Any, Any]] = [(0, 0)] * rank
    for i, axis in enumerate(places):
        amounts[axis] = (pads[i], pads[count + i])
    return amounts


def _holds_sizes(data: np.ndarray) -> bool:
    return any(not isinstance(x, str) for x in data.reshape(-1))


def _merged(
    shape: tuple[int, ...], amounts: list[tuple[int, int]], words: int
) -> list[tuple[int, int, int, tuple[int, int]]]:
    """(size, stride, elements moved together, pads) of each padded axis; axes without pads join
    the one before, which then moves their elements together.
    """
    merged: list[tuple[int, int, int, tuple[int, int]]] = []
    for n, stride, amount in zip(shape, strides_of(shape), amounts, strict=True):
        if amount == (0, 0) and merged and merged[-1][3] == (0, 0):
            merged[-1] = (merged[-1][0] * n, stride * words, 1, amount)
        elif n != 1 or amount != (0, 0):
            merged.append((n, stride * words, 1, amount))
    if merged and merged[-1][3] == (0, 0) and len(merged) > 1:
        scale = merged.pop()[0]
        n, stride, _, amount = merged[-1]
        merged[-1] = (n, stride, scale, amount)
    n, stride, scale, amount = merged.pop() if merged else (1, words, 1, (0, 0))
    return [*merged, (n, stride, scale * words, amount)]
