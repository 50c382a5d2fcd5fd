"""Concat and Split: along one axis, together and apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact, Sym
from numba_rt.ops._checks import check_axis, check_rank, check_same_dtype, known_ints, same_dim
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op
from numba_rt.ops._parts import Part, box, rows_fit
from numba_rt.ops._strided import copy_strided


@op("Concat", since=13)
class Concat(Op):
    """The inputs one after the other along `axis`."""

    axis: int

    half = False

    def infer(self, *inputs: Fact) -> Fact:
        if not inputs:
            raise ShapeError("has no inputs: expected at least one")
        check_same_dtype(*((f"inputs[{i}]", f) for i, f in enumerate(inputs)))
        rank = inputs[0].rank
        check_rank(inputs[0], "inputs[0]", at_least=1)
        axis = check_axis(self.axis, rank)
        assert inputs[0].shape is not None
        shape = list(inputs[0].shape)
        for number, fact in enumerate(inputs[1:], 1):
            check_rank(fact, f"inputs[{number}]", exactly=rank)
            assert fact.shape is not None
            for i, dim in enumerate(fact.shape):
                if i == axis:
                    shape[i] = shape[i] + dim
                elif not same_dim(shape[i], dim):
                    raise ShapeError(
                        f"inputs[{number}] = {fact} differs from inputs[0] = {inputs[0]} in axis {i}: "
                        f"only axis {axis} may differ"
                    )
                elif isinstance(shape[i], Sym):
                    shape[i] = dim
        return Fact(inputs[0].dtype, tuple(shape))

    def evaluate(self, *inputs: np.ndarray) -> np.ndarray:
        return np.concatenate(inputs, axis=self.axis)

    def input_parts(self, inputs: Sequence[Fact | None], output: Fact) -> list[Part | None]:
        return list(_parts(self.axis, output, inputs))

    def reads_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        return rows_fit(shape, run)

    writes_rows = reads_rows

    def lower(self, low: Lowering, *operands: View) -> None:
        *inputs, y = operands
        axis, strides = check_axis(self.axis, y.rank), y.strides
        at = 0
        for position, x in enumerate(inputs):
            if position not in low.in_place:
                axes = list(zip(x.shape, x.strides, strides, strict=True))
                copy_strided(low, x, y, axes, y0=at * strides[axis])
            at += x.shape[axis]


def _parts(axis: int, joined: Fact, parts: Sequence[Fact | None]) -> Iterator[Part | None]:
    """Where arrays that follow one another along an axis lie in what they make."""
    shape, at = joined.sizes, 0
    axis %= len(shape)
    before, after = (0,) * axis, (0,) * (len(shape) - axis - 1)
    for fact in parts:
        assert fact is not None
        sizes = fact.sizes
        yield box(shape, (*before, at, *after), sizes)
        at += sizes[axis]


@op("Split", since=18)
class Split(Op):
    """Parts of the input along `axis`: of the sizes `split`, or `num_outputs` of about equal size."""

    axis: int = 0
    num_outputs: int | None = None
    n_outputs: int = 1

    half = False
    needs_value = (1,)

    def infer(self, input: Fact, split: Fact | None = None) -> tuple[Fact, ...]:
        check_rank(input, "input", at_least=1)
        axis = check_axis(self.axis, input.rank)
        assert input.shape is not None
        sizes = self.sizes(input.shape[axis], None if split is None else known_ints(split, "split"))
        if len(sizes) < self.n_outputs:
            raise ShapeError(f"splits into {len(sizes)} parts: the node has {self.n_outputs} outputs")
        shape = input.shape
        return tuple(Fact(input.dtype, (*shape[:axis], n, *shape[axis + 1 :])) for n in sizes)

    def sizes(self, dim: Dim, split: list[Dim] | None) -> list[Dim]:
        """Sizes of the parts of an axis."""
        if split is not None:
            total: Dim = 0
            for n in split:
                if not isinstance(n, Sym) and n < 0:
                    raise ShapeError(f"split = {split} contains a negative size")
                total = total + n
            if not same_dim(total, dim):
                raise ShapeError(f"split = {split} adds up to {total}: the axis has size {dim}")
            return split
        parts = self.n_outputs if self.num_outputs is None else self.num_outputs
        if parts < 1:
            raise ShapeError(f"num_outputs = {parts}: expected at least 1")
        even = dim % parts == 0 if not isinstance(dim, Sym) else not isinstance(dim % parts, Sym)
        size = dim // parts if even else (dim + (parts - 1)) // parts
        last = dim - size * (parts - 1)
        if not isinstance(last, Sym) and last < 0:
            raise ShapeError(
                f"num_outputs = {parts} is too many for an axis of size {dim}: parts of {size} exceed it"
            )
        return [size] * (parts - 1) + [last]

    def evaluate(self, input: np.ndarray, split: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        sizes = self.sizes(input.shape[self.axis], None if split is None else [int(n) for n in split])
        ends = np.cumsum([0, *sizes])
        axis = check_axis(self.axis, input.ndim)
        lead = (slice(None),) * axis
        return tuple(input[(*lead, slice(a, b))] for a, b in pairwise(ends))

    def output_parts(self, inputs: Sequence[Fact | None], outputs: Sequence[Fact]) -> list[Part | None]:
        assert inputs[0] is not None
        return list(_parts(self.axis, inputs[0], outputs))

    def reads_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        return rows_fit(shape, run)

    writes_rows = reads_rows

    def lower(self, low: Lowering, input: View, split: View | None, *outputs: Any) -> None:
        axis, strides = check_axis(self.axis, input.rank), input.strides
        at = 0
        for position, y in enumerate(outputs):
            if position not in low.in_place:
                axes = list(zip(y.shape, strides, y.strides, strict=True))
                copy_strided(low, input, y, axes, x0=at * strides[axis])
            at += y.shape[axis]
