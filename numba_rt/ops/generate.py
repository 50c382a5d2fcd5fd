"""Operators that make values from shapes, scalars and attributes."""

from __future__ import annotations

from math import ceil, isfinite, prod
from typing import Any

import numpy as np

from numba_rt.dtypes import FLOAT32, HALVES, INT64, NATIVE, NUMERIC, STRING, dtype_name, from_onnx
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact, Sym, Undecided, dim_max
from numba_rt.kernels.gather import class_offsets, scatter_rows
from numba_rt.kernels.generate import arange
from numba_rt.ops._checks import (
    check_axis,
    check_dtype,
    check_rank,
    check_same_dtype,
    known_ints,
    known_value,
)
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op
from numba_rt.ops._strided import copy_strided, fill, words_of, zero


@op("Constant", since=25)
class Constant(Op):
    """The value of its attribute."""

    value: np.ndarray | None = None
    sparse_value: np.ndarray | None = None
    value_float: float | None = None
    value_floats: tuple[float, ...] | None = None
    value_int: int | None = None
    value_ints: tuple[int, ...] | None = None
    value_string: str | None = None
    value_strings: tuple[str, ...] | None = None

    half = False

    def array(self) -> np.ndarray:
        """The one attribute that is given, as an array."""
        given = {k: v for k, v in self.attributes().items() if v is not None}
        if len(given) != 1:
            raise ShapeError(
                f"has {len(given)} attributes ({', '.join(given) or 'none'}): expected exactly one value"
            )
        ((name, value),) = given.items()
        if isinstance(value, np.ndarray):
            return value
        return np.array(value, FLOAT32 if "float" in name else INT64 if "int" in name else STRING)

    def infer(self) -> Fact:
        return Fact.of(self.array())

    def evaluate(self) -> np.ndarray:
        return self.array()


@op("ConstantOfShape", since=25)
class ConstantOfShape(Op):
    """An array of the given shape filled with one value, 0 by default."""

    value: np.ndarray | None = None

    half = False
    needs_value = (0,)

    def element(self) -> np.ndarray:
        """The value as an array of one element."""
        if self.value is None:
            return np.zeros(1, np.float32)
        if self.value.size != 1:
            raise ShapeError(f"value has shape {list(self.value.shape)}: expected one element")
        return self.value.reshape(1)

    def out_dtypes(self, *facts: Fact) -> tuple[np.dtype[Any], ...]:
        return (self.element().dtype,)

    def infer(self, input: Fact) -> Fact:
        shape = known_ints(input, "input")
        if any(not isinstance(d, Sym) and d < 0 for d in shape):
            raise ShapeError(f"input = {shape} contains a negative size")
        return Fact(self.element().dtype, tuple(shape))

    def evaluate(self, input: np.ndarray) -> np.ndarray:
        return np.full(tuple(int(d) for d in input.reshape(-1)), self.element()[0], self.element().dtype)

    def lower(self, low: Lowering, input: View, output: View) -> None:
        fill(low, low.const(self.element()), output)


@op("Range", since=27)
class Range(Op):
    """start, start + delta, ... up to limit, which is left out."""

    stash_type: int = 1

    half = False
    needs_value = (0, 1, 2)

    def infer(self, start: Fact, limit: Fact, delta: Fact) -> Fact:
        named = (("start", start), ("limit", limit), ("delta", delta))
        check_same_dtype(*named)
        check_dtype(start, "start", NUMERIC | HALVES)
        return Fact(start.dtype, (_count(*(_scalar(f, n) for n, f in named)),))

    def evaluate(self, start: np.ndarray, limit: np.ndarray, delta: np.ndarray) -> np.ndarray:
        first, last, step = (x.reshape(-1)[0] for x in (start, limit, delta))
        if object in (start.dtype, limit.dtype, delta.dtype):
            count = int(_count(first, last, step))
            out = np.empty(count, object)
            out[:] = [first + i * step for i in range(count)]
            return out
        index = np.arange(int(_count(first.item(), last.item(), step.item())))
        wide = np.int64 if start.dtype.kind in "iu" else np.float64
        return (wide(first) + index * wide(step)).astype(start.dtype)

    def lower(self, low: Lowering, start: View, limit: View, delta: View, output: View) -> None:
        known = [v.constant for v in (start, limit, delta) if v.constant is not None]
        if output.dtype in HALVES:
            copy_strided(low, low.const(self.evaluate(*known)), output, [(output.size, 1, 1)])
        elif output.size:
            first, _, step = (v.reshape(-1)[0].item() for v in known)
            low.call(arange, first, step, output, low.tasks(output.size))


def _scalar(fact: Fact, name: str) -> Any:
    value = known_value(fact, name).reshape(-1)
    if value.size != 1:
        raise ShapeError(f"{name} = {fact}: expected a scalar")
    found = value[0]
    return found.item() if hasattr(found, "item") else found


def _count(start: Any, limit: Any, delta: Any) -> Dim:
    """Number of elements of a range."""
    if not isinstance(delta, Sym) and delta == 0:
        raise ShapeError("delta = 0: expected a step that leads to the limit")
    if isinstance(delta, Sym):
        raise Undecided("delta is not known before the model runs")
    if any(isinstance(v, float) for v in (start, limit, delta)):
        if not all(isfinite(v) for v in (start, limit, delta)):
            raise ShapeError(f"start = {start}, limit = {limit}, delta = {delta}: expected finite numbers")
        return max(ceil((limit - start) / delta), 0)
    span = limit - start if delta > 0 else start - limit
    by = abs(delta)
    return dim_max(span if by == 1 else (span + (by - 1)) // by, 0)


@op("EyeLike", since=22)
class EyeLike(Op):
    """A matrix of the input's shape: ones on diagonal k, zeros elsewhere."""

    dtype: int | None = None
    k: int = 0

    half = False

    def out_dtypes(self, *facts: Fact) -> tuple[np.dtype[Any], ...]:
        if self.dtype is None:
            return (facts[0].dtype,)
        found = from_onnx(self.dtype)
        if found is None or found == STRING:
            raise ShapeError(f"dtype = {self.dtype} is not a numeric type")
        return (found,)

    def infer(self, input: Fact) -> Fact:
        check_rank(input, "input", exactly=2)
        (dtype,) = self.out_dtypes(input)
        if dtype not in NATIVE | HALVES:
            raise ShapeError(f"dtype {dtype_name(dtype)} has no identity matrix")
        return Fact(dtype, input.shape)

    def lower(self, low: Lowering, input: View, output: View) -> None:
        fill(low, zero(low, output.dtype), output)
        m, n = output.shape
        i, j = max(-self.k, 0), max(self.k, 0)
        count = min(m - i, n - j)
        if count > 0:
            one = low.const(np.ones(1, output.dtype))
            copy_strided(low, one, output, [(count, 0, n + 1)], y0=i * n + j)


@op("OneHot", since=28)
class OneHot(Op):
    """values[1] where the new axis equals the index, values[0] elsewhere; an index outside
    [-depth, depth) is on nowhere.
    """

    axis: int = -1

    needs_value = (1,)

    def out_dtypes(self, *facts: Fact) -> tuple[np.dtype[Any], ...]:
        return (facts[2].dtype,)

    def infer(self, indices: Fact, depth: Fact, values: Fact) -> Fact:
        check_dtype(indices, "indices", NUMERIC | HALVES)
        check_dtype(depth, "depth", NUMERIC | HALVES)
        wanted = known_value(depth, "depth").reshape(-1)
        if wanted.size != 1:
            raise ShapeError(f"depth = {depth}: expected one number")
        size: Dim = wanted[0] if isinstance(wanted[0], Sym) else int(wanted[0])
        if not isinstance(size, Sym) and size < 0:
            raise ShapeError(f"depth = {size}: expected at least 0")
        if values.rank != 1 or (not isinstance(values.size, Sym) and values.size != 2):
            raise ShapeError(f"values = {values}: expected [off, on]")
        assert indices.shape is not None
        axis = check_axis(self.axis, indices.rank + 1)
        return Fact(values.dtype, (*indices.shape[:axis], size, *indices.shape[axis:]))

    def evaluate(self, indices: np.ndarray, depth: np.ndarray, values: np.ndarray) -> np.ndarray:
        size = int(depth.reshape(-1)[0])
        whole = np.expand_dims(indices.astype(np.int64), self.axis)
        whole = np.where(whole < 0, whole + size, whole)
        axis = check_axis(self.axis, whole.ndim)
        steps = np.arange(size).reshape([-1 if i == axis else 1 for i in range(whole.ndim)])
        return np.where(whole == steps, values[1], values[0]).astype(values.dtype)

    def lower(self, low: Lowering, indices: View, depth: View, values: View, output: View) -> None:
        if output.size == 0:
            return
        axis = check_axis(self.axis, output.rank)
        size = values.dtype.itemsize
        fill(low, low.view(values, (1,)), output)
        offsets = low.scratch((indices.size,), np.int64)
        words, inner = words_of(values.dtype), prod(output.shape[axis + 1 :])
        tasks = low.tasks(indices.size)
        low.call(class_offsets, low.flat(indices), output.shape[axis], inner, words, offsets, tasks)
        on = low.bits(low.view(values, (1,), None, size))
        low.call(scatter_rows, offsets, on, 0, words, 0, low.bits(output), tasks)
