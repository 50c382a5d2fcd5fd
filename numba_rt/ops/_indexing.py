"""Offsets of the rows that index tensors point at, shared by the gathering and scattering operators."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from numba_rt.dtypes import INT32, INT64
from numba_rt.errors import IndexRangeError, ShapeError
from numba_rt.graph import Fact, Sym
from numba_rt.kernels.gather import element_offsets, tuple_offsets
from numba_rt.ops._checks import check_dtype, check_rank, same_dim
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._strided import merge_axes, strides_of

INDICES: frozenset[np.dtype[Any]] = frozenset({INT32, INT64})


def check_indices(indices: Fact) -> None:
    """Refuse indices that are not int32 or int64."""
    check_dtype(indices, "indices", INDICES)


def out_of_range(index: int, size: int, axis: int) -> IndexRangeError:
    """The error for an index of one axis."""
    if size == 0:
        return IndexRangeError(f"indices contains {index}, but axis {axis} has size 0")
    expected = f"expected {-size} to {size - 1}"
    return IndexRangeError(
        f"indices contains {index}, out of range for axis {axis} of size {size}: {expected}"
    )


def out_of_ranges(index: int, sizes: Sequence[int], first: int) -> IndexRangeError:
    """The error for an index of a tuple that names several axes."""
    if len(sizes) == 1:
        return out_of_range(index, sizes[0], first)
    axes = f"axes {first} to {first + len(sizes) - 1} of sizes {', '.join(map(str, sizes))}"
    return IndexRangeError(f"indices contains {index}, out of range for its axis among {axes}")


def check_range(indices: np.ndarray, size: int, axis: int) -> None:
    """Refuse indices of one axis that are out of range."""
    bad = indices[(indices < -size) | (indices >= size)]
    if bad.size:
        raise out_of_range(int(bad.flat[0]), size, axis)


def check_ranges(indices: np.ndarray, sizes: Sequence[int], first: int) -> None:
    """Refuse index tuples that are out of range."""
    limits = np.array(sizes, np.int64)
    bad = indices[(indices < -limits) | (indices >= limits)]
    if bad.size:
        raise out_of_ranges(int(bad.flat[0]), sizes, first)


def offsets_of_axis(low: Lowering, indices: View, size: int, stride: int, axis: int) -> View:
    """index·stride for indices of one axis."""
    known = indices.constant
    if known is not None:
        check_range(known, size, axis)
        return low.const(np.where(known < 0, known + size, known).reshape(-1).astype(np.int64) * stride)
    if size == 0:
        raise out_of_range(0, size, axis)
    made = low.scratch((indices.size,), np.int64)
    status = low.guard(lambda bad: out_of_range(bad, size, axis))
    axes = low.const(np.array([[size, stride]], np.int64))
    low.call(tuple_offsets, low.flat(indices), axes, indices.size, 0, status, made, low.tasks(indices.size))
    return made


def offsets_of_tuples(
    low: Lowering, indices: View, shape: tuple[int, ...], batch_dims: int, words: int
) -> View:
    """Offset in an array of `shape` of each index tuple; the leading axes are walked alike."""
    k, rows = indices.shape[-1], prod(indices.shape[:-1])
    sizes = shape[batch_dims : batch_dims + k]
    if 0 in sizes:
        raise out_of_ranges(0, sizes, batch_dims)
    strides = strides_of(shape)[batch_dims : batch_dims + k]
    axes = np.array([[n, s * words] for n, s in zip(sizes, strides, strict=True)], np.int64).reshape(k, 2)
    made = low.scratch((rows,), np.int64)
    status = low.guard(lambda bad: out_of_ranges(bad, sizes, batch_dims))
    batches, batch = prod(shape[:batch_dims]), prod(shape[batch_dims:]) * words
    low.call(
        tuple_offsets,
        low.flat(indices),
        low.const(axes),
        rows // batches,
        batch,
        status,
        made,
        low.tasks(rows * k),
    )
    return made


def offsets_of_elements(low: Lowering, indices: View, shape: tuple[int, ...], axis: int, words: int) -> View:
    """Offset in an array of `shape` of each element, its place along `axis` replaced by the index."""
    size, strides = shape[axis], [s * words for s in strides_of(shape)]
    if size == 0:
        raise out_of_range(0, size, axis)
    stride = strides[axis]
    strides[axis] = 0
    walked = merge_axes(list(zip(indices.shape, strides, strides_of(indices.shape), strict=True)))
    axes = low.const(np.array([(n, s) for n, s, _ in walked], np.int64))
    made = low.scratch((indices.size,), np.int64)
    status = low.guard(lambda bad: out_of_range(bad, size, axis))
    low.call(element_offsets, low.flat(indices), axes, size, stride, status, made, low.tasks(indices.size))
    return made


def check_elements(data: Fact, indices: Fact, axis: int) -> None:
    """Refuse indices that are not of data's rank, or larger than it along another axis."""
    check_indices(indices)
    check_rank(data, "data", at_least=1)
    check_rank(indices, "indices", exactly=data.rank)
    assert data.shape is not None and indices.shape is not None
    for i, (n, m) in enumerate(zip(data.shape, indices.shape, strict=True)):
        if i != axis and not isinstance(n, Sym) and not isinstance(m, Sym) and m > n:
            raise ShapeError(f"indices = {indices} is larger than data = {data} along axis {i}")


def check_tuples(data: Fact, indices: Fact, batch_dims: int) -> int:
    """Refuse index tuples that do not fit data; returns how many axes a tuple names."""
    check_rank(data, "data", at_least=1)
    check_rank(indices, "indices", at_least=1)
    assert data.shape is not None and indices.shape is not None
    if not 0 <= batch_dims < min(data.rank, indices.rank):
        most = min(data.rank, indices.rank) - 1
        raise ShapeError(f"batch_dims = {batch_dims} is out of range: expected 0 to {most}")
    for i in range(batch_dims):
        if not same_dim(data.shape[i], indices.shape[i]):
            raise ShapeError(f"data = {data} and indices = {indices} differ in batch axis {i}")
    k = int(indices.shape[-1])
    if batch_dims + k > data.rank:
        raise ShapeError(
            f"indices = {indices} names {k} axes after {batch_dims} batch axes: data = {data} has {data.rank}"
        )
    return k
