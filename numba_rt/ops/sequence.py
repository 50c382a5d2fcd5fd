"""Sequences (lists of arrays) and optionals (an array, a list or None), on the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from numba_rt.dtypes import BOOL, INT64, from_onnx
from numba_rt.errors import IndexRangeError, ShapeError
from numba_rt.graph import Fact, Graph, Sym, fresh_dim
from numba_rt.ops._checks import check_axis
from numba_rt.ops._op import OWN, Op, op
from numba_rt.ops.control_flow import either


def _sequence(element: Fact) -> Fact:
    return Fact(element.dtype, element.shape, None, "sequence")


def _element(sequence: Fact) -> Fact:
    """The fact of one element of a sequence."""
    return _inside(_checked(sequence))


def _inside(fact: Fact) -> Fact:
    """The fact of one of many: sizes without a number differ from element to element."""
    shape = fact.shape
    if shape is not None:
        shape = tuple(fresh_dim("element") if isinstance(d, Sym) else d for d in shape)
    return Fact(fact.dtype, shape)


def _checked(sequence: Fact) -> Fact:
    """The fact of a sequence; a tensor is none."""
    if sequence.kind == "tensor":
        raise ShapeError(f"input_sequence = {sequence}: expected a sequence")
    return sequence


def _position(position: np.ndarray | None, length: int, last: int) -> int:
    """An index as a number from 0 to `last`; the end if it is absent."""
    if position is None:
        return last
    index = int(position.reshape(()))
    if not -length <= index <= last:
        raise IndexRangeError(f"position = {index} is out of range for a sequence of {length}")
    return index + length if index < 0 else index


@op("Identity", domain=OWN)
class PassThrough(Op):
    """The sequence or optional itself."""

    any_rank = True
    half = False

    def infer(self, input: Fact) -> Fact:
        return input.without_value()

    def run(self, input: Any) -> Any:
        return (list(input) if isinstance(input, list) else input,)


@op("SequenceConstruct", since=11)
class SequenceConstruct(Op):
    """A sequence of the inputs."""

    any_rank = True
    half = False

    def infer(self, *inputs: Fact) -> Fact:
        if not inputs:
            raise ShapeError("a sequence is made of at least one input")
        element = inputs[0].without_value()
        for i, fact in enumerate(inputs[1:], 1):
            element = either(element, fact, f"inputs[0] or inputs[{i}]")
        return _sequence(element)

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        return list(inputs)


@op("SequenceEmpty", since=11)
class SequenceEmpty(Op):
    """A sequence without elements."""

    dtype: int = 1

    half = False

    def infer(self) -> Fact:
        dtype = from_onnx(self.dtype)
        if dtype is None:
            raise ShapeError(f"dtype = {self.dtype} is not an element type")
        return Fact(dtype, None, None, "sequence")

    def run(self) -> list[np.ndarray]:
        return []


@op("SequenceAt", since=11)
class SequenceAt(Op):
    """One element of a sequence."""

    any_rank = True
    half = False

    def infer(self, input_sequence: Fact, position: Fact) -> Fact:
        return _element(input_sequence)

    def run(self, input_sequence: list[np.ndarray], position: np.ndarray) -> np.ndarray:
        return input_sequence[_position(position, len(input_sequence), len(input_sequence) - 1)]


@op("SequenceInsert", since=11)
class SequenceInsert(Op):
    """A sequence with one more element, at a position or at the end."""

    any_rank = True
    half = False

    def infer(self, input_sequence: Fact, tensor: Fact, position: Fact | None = None) -> Fact:
        if input_sequence.dtype != tensor.dtype:
            raise ShapeError(f"input_sequence = {input_sequence}, tensor = {tensor}: expected the same dtype")
        return _sequence(either(_element(input_sequence), tensor))

    def run(
        self, input_sequence: list[np.ndarray], tensor: np.ndarray, position: np.ndarray | None = None
    ) -> list[np.ndarray]:
        index = _position(position, len(input_sequence), len(input_sequence))
        return [*input_sequence[:index], tensor, *input_sequence[index:]]


@op("SequenceErase", since=11)
class SequenceErase(Op):
    """A sequence without one of its elements, by default the last."""

    any_rank = True
    half = False

    def infer(self, input_sequence: Fact, position: Fact | None = None) -> Fact:
        return _checked(input_sequence)

    def run(self, input_sequence: list[np.ndarray], position: np.ndarray | None = None) -> list[np.ndarray]:
        if not input_sequence:
            raise IndexRangeError("an empty sequence has no element to erase")
        index = _position(position, len(input_sequence), len(input_sequence) - 1)
        return input_sequence[:index] + input_sequence[index + 1 :]


@op("SequenceLength", since=11)
class SequenceLength(Op):
    """The number of elements."""

    any_rank = True
    half = False

    def infer(self, input_sequence: Fact) -> Fact:
        _checked(input_sequence)
        return Fact(INT64, ())

    def run(self, input_sequence: list[np.ndarray]) -> np.ndarray:
        return np.array(len(input_sequence), np.int64)


@op("ConcatFromSequence", since=11)
class ConcatFromSequence(Op):
    """The elements joined along an axis, or stacked along a new one."""

    axis: int
    new_axis: bool = False

    any_rank = True
    half = False

    def infer(self, input_sequence: Fact) -> Fact:
        element = _element(input_sequence)
        if element.shape is None:
            return element
        rank = element.rank + self.new_axis
        axis = check_axis(self.axis, rank)
        rest = iter(element.shape[:axis] + element.shape[axis + (not self.new_axis) :])
        return Fact(
            element.dtype, tuple(fresh_dim("joined") if i == axis else next(rest) for i in range(rank))
        )

    def run(self, input_sequence: list[np.ndarray]) -> np.ndarray:
        if not input_sequence:
            raise ShapeError("an empty sequence cannot be joined")
        check_axis(self.axis, input_sequence[0].ndim + self.new_axis)
        try:
            if self.new_axis:
                return np.ascontiguousarray(np.stack(input_sequence, self.axis))
            return np.ascontiguousarray(np.concatenate(input_sequence, self.axis))
        except ValueError as error:
            shapes = [list(x.shape) for x in input_sequence]
            raise ShapeError(
                f"elements of shapes {shapes} cannot be joined along axis {self.axis}"
            ) from error


@op("SplitToSequence", since=24)
class SplitToSequence(Op):
    """The parts of a tensor along an axis: of one size, of given sizes, or single slices."""

    axis: int = 0
    keepdims: bool = True

    any_rank = True
    half = False

    def infer(self, input: Fact, split: Fact | None = None) -> Fact:
        if input.shape is None:
            return _sequence(input)
        axis = check_axis(self.axis, input.rank)
        middle = (fresh_dim("part"),) if split is not None else (1,) if self.keepdims else ()
        return Fact(input.dtype, (*input.shape[:axis], *middle, *input.shape[axis + 1 :]), None, "sequence")

    def run(self, input: np.ndarray, split: np.ndarray | None = None) -> list[np.ndarray]:
        axis = check_axis(self.axis, input.ndim)
        length = input.shape[axis]
        if split is None:
            sizes = [1] * length
        elif split.ndim == 0:
            size = int(split)
            if size <= 0:
                raise ShapeError(f"split = {size}: expected a positive size")
            sizes = [min(size, length - start) for start in range(0, length, size)]
        else:
            sizes = [int(s) for s in split]
            if min(sizes, default=0) < 0 or sum(sizes) != length:
                raise ShapeError(
                    f"split = {sizes}: expected sizes that sum to {length}, axis {axis} of input"
                )
        parts = np.split(input, np.cumsum(sizes)[:-1], axis) if sizes else []
        if split is None and not self.keepdims:
            parts = [part.squeeze(axis) for part in parts]
        return [np.ascontiguousarray(part).reshape(part.shape) for part in parts]


@op("SequenceMap", since=17)
class SequenceMap(Op):
    """A graph applied to every element of a sequence, and to the elements of others in step."""

    body: Graph
    n_captures: int = 0

    any_rank = True
    half = False

    def infer(self, input_sequence: Fact, *additional_inputs: Fact) -> tuple[Fact, ...]:
        return tuple(_sequence(_inside(v.fact)) for v in self.body.outputs)

    def control(
        self,
        bodies: Mapping[str, Callable[[Sequence[Any]], list[Any]]],
        input_sequence: list[np.ndarray],
        *additional_inputs: Any,
    ) -> list[list[np.ndarray]]:
        own = len(additional_inputs) - self.n_captures
        inputs, captures = (input_sequence, *additional_inputs[:own]), additional_inputs[own:]
        lengths = [len(x) for x in inputs if isinstance(x, list)]
        if len(set(lengths)) > 1:
            raise ShapeError(f"the sequences have {lengths} elements: expected as many in each")
        rounds = []
        for i in range(len(input_sequence)):
            given = [x[i] if isinstance(x, list) else x for x in inputs]
            rounds.append(bodies["body"]([*given, *captures]))
        return [[made[k] for made in rounds] for k in range(len(self.body.outputs))]


@op("Optional", since=28)
class Optional(Op):
    """An optional that holds the input, or nothing."""

    type: Fact | None = None

    any_rank = True
    half = False

    def infer(self, input: Fact | None = None) -> Fact:
        held = input or self.type
        if held is None:
            raise ShapeError("neither input nor type is given")
        kind = "optional sequence" if held.kind == "sequence" else "optional"
        return Fact(held.dtype, held.shape, None, kind)

    def run(self, input: Any = None) -> Any:
        return (input,)


@op("OptionalHasElement", since=28)
class OptionalHasElement(Op):
    """Whether an optional holds something."""

    any_rank = True
    half = False

    def infer(self, input: Fact | None = None) -> Fact:
        return Fact(BOOL, ())

    def run(self, input: Any = None) -> np.ndarray:
        return np.array(input is not None)


@op("OptionalGetElement", since=28)
class OptionalGetElement(Op):
    """What an optional holds."""

    any_rank = True
    half = False

    def infer(self, input: Fact) -> Fact:
        kinds = {"optional": "tensor", "optional sequence": "sequence"}
        return Fact(input.dtype, _inside(input).shape, None, kinds.get(input.kind, input.kind))

    def run(self, input: Any) -> Any:
        if input is None:
            raise ShapeError("the optional holds nothing")
        return (input,)
