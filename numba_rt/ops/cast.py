"""Conversions between dtypes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_rt.dtypes import (
    BOOL,
    FLOAT32,
    FLOATS,
    HALVES,
    INT64,
    INTEGERS,
    NATIVE,
    NUMPY_TO_ONNX,
    STRING,
    dtype_name,
    from_onnx,
)
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact, Sym
from numba_rt.kernels.convert import look_up, round_to_codes
from numba_rt.kernels.move import copy_bits
from numba_rt.ops._checks import check_dtype
from numba_rt.ops._formats import (
    SMALL,
    SMALL_INTEGERS,
    convert,
    rounding_tables,
    values_of,
    wrapping_codes,
)
from numba_rt.ops._generate import lower_steps, stored
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op
from numba_rt.ops.elementwise import Elementwise, Step

_CASTABLE = NATIVE | HALVES | SMALL | {STRING}


def target(code: int) -> np.dtype[Any]:
    """dtype of a `to` attribute."""
    dtype = from_onnx(code)
    if dtype is None:
        raise ShapeError(f"to = {code} is not an element type")
    return dtype


@op("Cast", since=28)
class Cast(Elementwise):
    """The input in another dtype. `saturate` and `round_mode` matter for float8 results only."""

    to: int
    saturate: bool = True
    round_mode: str = "up"

    half = False
    inplace = (0,)
    rounds = True

    def check(self, *facts: Fact) -> None:
        check_dtype(facts[0], "input", _CASTABLE)
        if target(self.to) not in _CASTABLE:
            raise ShapeError(f"to = {dtype_name(target(self.to))}: no dtype can be cast to it")

    def infer(self, input: Fact) -> Fact:
        return super().infer(input)

    def result_dtype(self, *dtypes: Any) -> np.dtype[Any]:
        return target(self.to)

    def expression(self, *dtypes: Any) -> str:
        return conversion(dtypes[0], target(self.to))

    def evaluate(self, input: np.ndarray) -> np.ndarray:
        return converted(input, target(self.to), self.saturate, self.round_mode)

    def reads_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        return False

    writes_rows = reads_rows

    def lower(self, low: Lowering, *operands: Any) -> None:
        x, y = operands
        if x.dtype in SMALL or y.dtype in SMALL:
            lower_small(low, x, y, self.saturate, self.round_mode)
        else:
            lower_steps(low, (Step(self, (0,)),), [x], y)


@op("CastLike", since=25)
class CastLike(Op):
    """The input in the dtype of target_type"""

    saturate: bool = True
    round_mode: str = "up"

    half = False
    inplace = (0,)

    def out_dtypes(self, *facts: Fact) -> tuple[np.dtype[Any], ...]:
        return (facts[1].dtype,)

    def infer(self, input: Fact, target_type: Fact) -> Fact:
        check_dtype(input, "input", _CASTABLE)
        check_dtype(target_type, "target_type", _CASTABLE)
        return Fact(target_type.dtype, input.shape)

    def evaluate(self, input: np.ndarray, target_type: np.ndarray) -> np.ndarray:
        return converted(input, target_type.dtype, self.saturate, self.round_mode)

    def lower(self, low: Lowering, input: View, target_type: View, output: View) -> None:
        cast_to(output.dtype, self.saturate, self.round_mode).lower(low, input, output)


def cast_to(dtype: np.dtype[Any], saturate: bool = True, round_mode: str = "up") -> Cast:
    """The Cast that gives a dtype."""
    return Cast(to=NUMPY_TO_ONNX[dtype], saturate=saturate, round_mode=round_mode)


def conversion(source: np.dtype[Any], to: np.dtype[Any]) -> str:
    """Expression that converts one number a kernel computes with to another dtype."""
    if to == BOOL:
        return "{0}" if source == BOOL else "{0} != {T}(0)"
    if to in HALVES:
        return "float32({0})"
    if source not in FLOATS or to not in INTEGERS:
        return f"{to.name}({{0}})"
    if to == np.uint64:
        return "kc.float_to_uint64({0})"
    # A float that does not fit gives the lowest number, as the instruction does; LLVM leaves it open.
    through = "int64" if to.itemsize == 8 or to == np.uint32 else "int32"
    lowest = -(2**63) if through == "int64" else -(2**31)
    fits = f"({{0}} >= {{T}}({lowest})) & ({{0}} < {{T}}({-lowest}))"
    return f"{to.name}({through}({{0}}) if {fits} else {through}({lowest}))"


def converted(x: np.ndarray, to: np.dtype[Any], saturate: bool, round_mode: str) -> np.ndarray:
    """An array in another dtype, on the host; sizes that are not known stay what they are."""
    if x.dtype == STRING:
        if any(isinstance(e, Sym) for e in x.flat):
            if to not in INTEGERS | FLOATS:
                raise TypeError("a size that is not known has no such form")
            return x
        texts = x.astype(np.str_)
        if to == STRING:
            return x
        return convert(texts.astype(np.int64 if to in INTEGERS else np.float64), to, saturate, round_mode)
    if to == STRING:
        return x.astype(np.str_).astype(object)
    with np.errstate(all="ignore"):
        return convert(x, to, saturate, round_mode)


def lower_small(low: Lowering, x: View, y: View, saturate: bool, round_mode: str) -> None:
    """Conversion to or from a format of at most 8 bits, by tables."""
    if y.size == 0:
        return
    tasks = low.tasks(y.size * 4)
    flat = low.view(y, (y.size,), stored(y.dtype))
    if x.dtype in SMALL:
        with np.errstate(all="ignore"):
            table = convert(values_of(x.dtype), y.dtype, saturate, round_mode)
        low.call(look_up, low.view(x, (x.size,), np.uint8), low.const(table.view(flat.dtype)), flat, tasks)
    elif y.dtype in SMALL_INTEGERS:
        if x.dtype in FLOATS | HALVES:
            x = _through(low, x, INT64)
        low.call(look_up, low.flat(x), low.const(wrapping_codes(y.dtype)), flat, tasks)
    else:
        if x.dtype != FLOAT32:
            x = _through(low, x, FLOAT32)
        thresholds, codes = rounding_tables(y.dtype, saturate, round_mode)
        low.call(round_to_codes, low.flat(x), low.const(thresholds), low.const(codes), flat, tasks)


def _through(low: Lowering, x: View, dtype: np.dtype[Any]) -> View:
    made = low.scratch(x.shape, dtype)
    cast_to(dtype).lower(low, x, made)
    return made


@op("BitCast", since=26)
class BitCast(Op):
    """The bits of the input, read as another dtype of the same width"""

    to: int

    half = False
    inplace = (0,)

    def out_dtypes(self, *facts: Fact) -> tuple[np.dtype[Any], ...]:
        return (target(self.to),)

    def infer(self, input: Fact) -> Fact:
        to = target(self.to)
        if STRING in (to, input.dtype) or width(to) != width(input.dtype):
            raise ShapeError(f"input = {input} cannot be read as {dtype_name(to)}: expected the same width")
        return Fact(to, input.shape)

    def evaluate(self, input: np.ndarray) -> np.ndarray:
        return input.view(target(self.to))

    def lower(self, low: Lowering, input: View, output: View) -> None:
        if output.size:
            low.call(copy_bits, low.bits(input), low.bits(output), low.tasks(output.nbytes / 8))


def width(dtype: np.dtype[Any]) -> int:
    """Bits of a number; fewer than its memory has for the formats of less than 8."""
    digits = "".join(c for c in dtype.name.split("_")[0] if c.isdigit())
    return int(digits) if dtype in SMALL else dtype.itemsize * 8
