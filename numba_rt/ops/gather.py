"""Operators that select by index."""

from __future__ import annotations

from math import prod

import numpy as np

from numba_rt.dtypes import INT64
from numba_rt.errors import IndexRangeError, ShapeError
from numba_rt.graph import Fact
from numba_rt.kernels.gather import gather_rows, reverse_offsets
from numba_rt.ops._checks import check_axis, check_dtype, check_rank, same_dim
from numba_rt.ops._indexing import (
    check_elements,
    check_indices,
    check_range,
    check_ranges,
    check_tuples,
    offsets_of_axis,
    offsets_of_elements,
    offsets_of_tuples,
)
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op
from numba_rt.ops._strided import words_of


def _select(
    low: Lowering, data: View, offsets: View, outer: int, step: int, inner: int, output: View
) -> None:
    """Rows of `inner` elements at offsets into each of `outer` parts of `step` elements."""
    words = words_of(data.dtype)
    low.call(
        gather_rows,
        low.bits(data),
        offsets,
        outer,
        step * words,
        inner * words,
        low.bits(output),
        low.tasks(max(output.nbytes / 8, offsets.size * outer)),
    )


@op("Gather", since=13)
class Gather(Op):
    """The entries of `axis` that the indices name; the indices' axes take its place."""

    axis: int = 0

    half = False
    reads_all = False

    def infer(self, data: Fact, indices: Fact) -> Fact:
        check_indices(indices)
        check_rank(data, "data", at_least=1)
        axis = check_axis(self.axis, data.rank)
        assert data.shape is not None and indices.shape is not None
        return Fact(data.dtype, (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]))

    def evaluate(self, data: np.ndarray, indices: np.ndarray) -> np.ndarray:
        axis = check_axis(self.axis, data.ndim)
        check_range(indices, data.shape[axis], axis)
        made = np.empty((*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]), data.dtype)
        made[...] = np.take(data, indices, axis=axis)
        return made

    def lower(self, low: Lowering, data: View, indices: View, output: View) -> None:
        if output.size == 0:
            return
        axis = check_axis(self.axis, data.rank)
        size, inner = data.shape[axis], prod(data.shape[axis + 1 :])
        offsets = offsets_of_axis(low, indices, size, inner * words_of(data.dtype), axis)
        _select(low, data, offsets, prod(data.shape[:axis]), size * inner, inner, output)


@op("GatherElements", since=13)
class GatherElements(Op):
    """For each index the element there along `axis`, at the index's own place along the others."""

    axis: int = 0

    half = False
    reads_all = False

    def infer(self, data: Fact, indices: Fact) -> Fact:
        check_elements(data, indices, check_axis(self.axis, data.rank))
        return Fact(data.dtype, indices.shape)

    def evaluate(self, data: np.ndarray, indices: np.ndarray) -> np.ndarray:
        axis = check_axis(self.axis, data.ndim)
        check_range(indices, data.shape[axis], axis)
        place = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
        place[axis] = indices
        return data[tuple(place)]

    def lower(self, low: Lowering, data: View, indices: View, output: View) -> None:
        if output.size:
            words = words_of(data.dtype)
            offsets = offsets_of_elements(low, indices, data.shape, check_axis(self.axis, data.rank), words)
            _select(low, data, offsets, 1, data.size, 1, output)


@op("GatherND", since=13)
class GatherND(Op):
    """The parts of data that the index tuples along the last axis of the indices name."""

    batch_dims: int = 0

    half = False
    reads_all = False

    def infer(self, data: Fact, indices: Fact) -> Fact:
        check_indices(indices)
        k = check_tuples(data, indices, self.batch_dims)
        assert data.shape is not None and indices.shape is not None
        return Fact(data.dtype, (*indices.shape[:-1], *data.shape[self.batch_dims + k :]))

    def evaluate(self, data: np.ndarray, indices: np.ndarray) -> np.ndarray:
        b, k = self.batch_dims, indices.shape[-1]
        check_ranges(indices, data.shape[b : b + k], b)
        if b + k == 0:
            return np.broadcast_to(data, indices.shape[:-1] + data.shape).copy()
        free = (1,) * (indices.ndim - 1 - b)
        lead = [g.reshape(*g.shape, *free) for g in np.ogrid[tuple(slice(n) for n in indices.shape[:b])]]
        made = data[(*lead, *np.moveaxis(indices, -1, 0))]
        return made if isinstance(made, np.ndarray) else np.array(made, data.dtype)

    def lower(self, low: Lowering, data: View, indices: View, output: View) -> None:
        if output.size:
            inner = prod(data.shape[self.batch_dims + indices.shape[-1] :])
            offsets = offsets_of_tuples(low, indices, data.shape, self.batch_dims, words_of(data.dtype))
            _select(low, data, offsets, 1, data.size, inner, output)


def _bad_length(length: int, time: int) -> IndexRangeError:
    return IndexRangeError(f"sequence_lens contains {length}: expected 0 to {time}, the time axis")


def check_lengths(lengths: np.ndarray, time: int) -> None:
    """Refuse sequences longer than the time axis."""
    bad = lengths[(lengths < 0) | (lengths > time)]
    if bad.size:
        raise _bad_length(int(bad[0]), time)


@op("ReverseSequence", since=28)
class ReverseSequence(Op):
    """The first sequence_lens[b] steps of each batch entry in reverse order, the others as they are."""

    batch_axis: int = 1
    time_axis: int = 0

    half = False

    def infer(self, input: Fact, sequence_lens: Fact) -> Fact:
        check_rank(input, "input", at_least=2)
        check_rank(sequence_lens, "sequence_lens", exactly=1)
        check_dtype(sequence_lens, "sequence_lens", {INT64})
        if {self.batch_axis, self.time_axis} != {0, 1}:
            found = f"batch_axis = {self.batch_axis} and time_axis = {self.time_axis}"
            raise ShapeError(f"{found}: expected 0 and 1 in some order")
        assert input.shape is not None and sequence_lens.shape is not None
        if not same_dim(sequence_lens.shape[0], input.shape[self.batch_axis]):
            raise ShapeError(
                f"sequence_lens = {sequence_lens} does not have a length for each batch entry of {input}"
            )
        return input.without_value()

    def evaluate(self, input: np.ndarray, sequence_lens: np.ndarray) -> np.ndarray:
        time = np.arange(input.shape[self.time_axis])[:, None]
        check_lengths(sequence_lens, time.size)
        source = np.where(time < sequence_lens, sequence_lens - 1 - time, time)
        batch = np.arange(sequence_lens.size)
        return input[source, batch] if self.time_axis == 0 else input[batch[:, None], source.T]

    def lower(self, low: Lowering, input: View, sequence_lens: View, output: View) -> None:
        if output.size == 0:
            return
        time, batch = input.shape[self.time_axis], input.shape[self.batch_axis]
        inner = prod(input.shape[2:])
        status = low.guard(lambda bad: _bad_length(bad, time))
        offsets = low.scratch((time * batch,), np.int64)
        time_first = self.time_axis == 0
        strides = (batch, 1) if time_first else (1, time)
        low.call(
            reverse_offsets,
            sequence_lens,
            time,
            *strides,
            inner * words_of(input.dtype),
            time_first,
            status,
            offsets,
            low.tasks(offsets.size),
        )
        _select(low, input, offsets, 1, input.size, inner, output)
