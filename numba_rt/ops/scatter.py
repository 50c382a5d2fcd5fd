"""Operators that place updates by index."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from numba_rt.dtypes import BOOL, HALVES, INT64, NATIVE, STRING
from numba_rt.errors import IndexRangeError, ShapeError
from numba_rt.graph import Fact
from numba_rt.kernels.gather import cache_offsets, scatter_rows
from numba_rt.kernels.move import copy_bits
from numba_rt.ops._checks import check_axis, check_dtype, check_rank, check_same_dtype, same_dim
from numba_rt.ops._indexing import (
    check_elements,
    check_indices,
    check_range,
    check_ranges,
    check_tuples,
    offsets_of_elements,
    offsets_of_tuples,
)
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op
from numba_rt.ops._strided import words_of

REDUCTIONS = ("none", "add", "mul", "max", "min")


class Placing(Op):
    """A copy of data with updates put in, or combined with what is there."""

    inplace = (0,)

    def reduces(self) -> int:
        """Position of the reduction in REDUCTIONS."""
        name = getattr(self, "reduction", "none")
        if name not in REDUCTIONS:
            raise ShapeError(f"reduction = {name!r}: expected one of {', '.join(REDUCTIONS)}")
        return REDUCTIONS.index(name)

    @property
    def half(self) -> bool:  # type: ignore[override]
        """Whether 16-bit floats are converted: only to compute with them."""
        return self.reduces() > 0

    def check(self, data: Fact, indices: Fact, updates: Fact) -> None:
        """Refuse what no form of the operator takes."""
        check_indices(indices)
        check_same_dtype(("data", data), ("updates", updates))
        if self.reduces():
            check_dtype(data, "data", NATIVE | HALVES)

    def place(
        self, low: Lowering, offsets: View, updates: View, inner: int, data: View, output: View
    ) -> None:
        """output = data with rows of `inner` elements placed at offsets."""
        words, kind = words_of(data.dtype), self.reduces()
        _copy(low, data, output)
        if data.dtype == BOOL and kind:
            kind = 3 if REDUCTIONS[kind] in ("add", "max") else 4
        ordered = kind and data.dtype != BOOL
        rows, made = (
            (low.flat(updates), low.flat(output)) if ordered else (low.bits(updates), low.bits(output))
        )
        inner *= words
        low.call(scatter_rows, offsets, rows, kind, inner, inner, made, low.tasks(updates.size))


def _copy(low: Lowering, data: View, output: View) -> None:
    """output = data, unless it lies in data's memory."""
    if low.taken != 0:
        low.call(copy_bits, low.bits(data), low.bits(output), low.tasks(data.nbytes / 8))


def _placed(data: np.ndarray, place: Any, updates: np.ndarray, reduction: str) -> np.ndarray:
    """`data` with updates at an advanced index."""
    out = data.copy()
    if reduction == "none" or data.dtype == STRING:
        out[place] = updates
        return out
    combine = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[reduction]
    combine.at(out, place, updates)
    return out


@op("ScatterElements", since=18)
class ScatterElements(Placing):
    """Each update placed at its index along `axis`, and at its own place along the other axes."""

    axis: int = 0
    reduction: str = "none"

    def infer(self, data: Fact, indices: Fact, updates: Fact) -> Fact:
        self.check(data, indices, updates)
        check_elements(data, indices, check_axis(self.axis, data.rank))
        check_rank(updates, "updates", exactly=data.rank)
        assert indices.shape is not None and updates.shape is not None
        if not all(same_dim(n, m) for n, m in zip(indices.shape, updates.shape, strict=True)):
            raise ShapeError(f"updates = {updates} and indices = {indices} differ in shape")
        return data.without_value()

    def evaluate(self, data: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
        axis = check_axis(self.axis, data.ndim)
        check_range(indices, data.shape[axis], axis)
        place = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
        place[axis] = indices
        return _placed(data, tuple(place), updates, self.reduction)

    def lower(self, low: Lowering, data: View, indices: View, updates: View, output: View) -> None:
        if updates.size == 0:
            _copy(low, data, output)
            return
        words = words_of(data.dtype)
        offsets = offsets_of_elements(low, indices, data.shape, check_axis(self.axis, data.rank), words)
        self.place(low, offsets, updates, 1, data, output)


@op("Scatter", since=9)
class Scatter(Placing):
    """The former name of ScatterElements."""

    axis: int = 0

    def current(self) -> ScatterElements:
        """The operator under its present name."""
        return ScatterElements(axis=self.axis)

    def infer(self, data: Fact, indices: Fact, updates: Fact) -> Fact:
        return self.current().infer(data, indices, updates)

    def evaluate(self, data: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
        return self.current().evaluate(data, indices, updates)

    def lower(self, low: Lowering, data: View, indices: View, updates: View, output: View) -> None:
        self.current().lower(low, data, indices, updates, output)


@op("ScatterND", since=18)
class ScatterND(Placing):
    """Each update placed where the index tuple along the last axis of the indices points."""

    reduction: str = "none"

    def infer(self, data: Fact, indices: Fact, updates: Fact) -> Fact:
        self.check(data, indices, updates)
        k = check_tuples(data, indices, 0)
        assert data.shape is not None and indices.shape is not None and updates.shape is not None
        expected = (*indices.shape[:-1], *data.shape[k:])
        if len(expected) != updates.rank or not all(map(same_dim, expected, updates.shape)):
            raise ShapeError(f"updates = {updates}: expected shape [{', '.join(map(str, expected))}]")
        return data.without_value()

    def evaluate(self, data: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
        check_ranges(indices, data.shape[: indices.shape[-1]], 0)
        return _placed(data, tuple(np.moveaxis(indices, -1, 0)), updates, self.reduction)

    def lower(self, low: Lowering, data: View, indices: View, updates: View, output: View) -> None:
        if updates.size == 0:
            _copy(low, data, output)
            return
        inner = prod(data.shape[indices.shape[-1] :])
        offsets = offsets_of_tuples(low, indices, data.shape, 0, words_of(data.dtype))
        self.place(low, offsets, updates, inner, data, output)


@op("TensorScatter", since=24)
class TensorScatter(Placing):
    """A cache with new entries written along `axis`, for each batch entry from its write index on."""

    axis: int = -2
    mode: str = "linear"

    def infer(self, past_cache: Fact, update: Fact, write_indices: Fact | None = None) -> Fact:
        check_same_dtype(("past_cache", past_cache), ("update", update))
        check_rank(past_cache, "past_cache", at_least=2)
        check_rank(update, "update", exactly=past_cache.rank)
        if self.mode not in ("linear", "circular"):
            raise ShapeError(f"mode = {self.mode!r}: expected 'linear' or 'circular'")
        axis = check_axis(self.axis, past_cache.rank)
        if axis == 0:
            raise ShapeError(f"axis = {self.axis} is the batch axis")
        assert past_cache.shape is not None and update.shape is not None
        for i, (n, m) in enumerate(zip(past_cache.shape, update.shape, strict=True)):
            longer = i == axis and isinstance(n, int) and isinstance(m, int) and m > n
            if longer or (i != axis and not same_dim(n, m)):
                raise ShapeError(f"update = {update} does not fit past_cache = {past_cache} along axis {i}")
        if write_indices is not None:
            check_dtype(write_indices, "write_indices", {INT64})
            check_rank(write_indices, "write_indices", exactly=1)
            assert write_indices.shape is not None
            if not same_dim(write_indices.shape[0], past_cache.shape[0]):
                raise ShapeError(
                    f"write_indices = {write_indices}: expected one for each batch entry of {past_cache}"
                )
        return past_cache.without_value()

    def lower(
        self, low: Lowering, past_cache: View, update: View, write_indices: View | None, present_cache: View
    ) -> None:
        axis = check_axis(self.axis, past_cache.rank)
        batch, capacity, length = past_cache.shape[0], past_cache.shape[axis], update.shape[axis]
        if update.size == 0:
            _copy(low, past_cache, present_cache)
            return
        rows, inner = prod(past_cache.shape[1:axis]), prod(past_cache.shape[axis + 1 :])
        starts = low.const(np.zeros(batch, np.int64)) if write_indices is None else write_indices
        offsets = low.scratch((batch * rows * length,), np.int64)
        status = low.guard(
            lambda bad: IndexRangeError(
                f"write_indices contains {bad}: {length} entries do not fit from there "
                f"into {capacity} along axis {axis}"
            )
        )
        circular = self.mode == "circular"
        inner_words = inner * words_of(past_cache.dtype)
        low.call(
            cache_offsets,
            starts,
            rows,
            length,
            capacity,
            inner_words,
            circular,
            status,
            offsets,
            low.tasks(offsets.size),
        )
        self.place(low, offsets, update, inner, past_cache, present_cache)
