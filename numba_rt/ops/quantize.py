"""Numbers of few bits in place of floats: x = (q - zero point) * scale."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from numba_rt.dtypes import FLOAT16, FLOAT32, FLOAT64, HALVES, INT32, UINT8, dtype_name, from_onnx
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact, Sym
from numba_rt.kernels.convert import look_up
from numba_rt.kernels.quantize import dynamic_range
from numba_rt.ops._checks import check_axis, check_dtype, same_dim
from numba_rt.ops._formats import (
    E8M0,
    SMALL,
    SMALL_FLOATS,
    SMALL_INTEGERS,
    convert,
    values_of,
    wrapping_codes,
)
from numba_rt.ops._generate import lower_steps, stored
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import OWN, Op, op
from numba_rt.ops.cast import lower_small
from numba_rt.ops.elementwise import ABSENT, Elementwise, Step
from numba_rt.ops.gather import Gather

BYTES = frozenset(np.dtype(t) for t in (np.int8, np.uint8))
WORDS = BYTES | {np.dtype(np.int16), np.dtype(np.uint16)}
QUANTIZED = WORDS | SMALL_INTEGERS | SMALL_FLOATS - {E8M0}
_ROUNDED = {
    FLOAT16: "kc.float16_to_float32(kc.float32_to_float16({}))",
    np.dtype(ml_dtypes.bfloat16): "kc.bfloat16_to_float32(kc.float32_to_bfloat16({}))",
    FLOAT32: "float32({})",
    FLOAT64: "float64({})",
}


@op("ScaleToRange", domain=OWN)
class ScaleToRange(Elementwise):
    """saturate(round(x / scale) + zero), or of x * scale with `multiply`; without a `dtype` of
    integers the scaled float itself. `precision` is that of the division.
    """

    dtype: np.dtype[Any] | None = None
    precision: np.dtype[Any] = FLOAT32
    multiply: bool = False
    lo: int = 0
    hi: int = 255

    half = False
    inplace = (0,)
    cost = 4

    def infer(self, x: Fact, scale: Fact, zero: Fact | None = None) -> Fact:
        return super().infer(x, scale, zero)

    def result_dtype(self, *dtypes: Any) -> np.dtype[Any]:
        return self.dtype or FLOAT32

    def scalars(self, *dtypes: Any) -> dict[str, Any]:
        real = np.float64 if self.precision == FLOAT64 else np.float32
        return {} if self.dtype is None else {"hi": real(self.hi), "lo": real(self.lo)}

    def expression(self, *dtypes: Any) -> str:
        rounded = _ROUNDED[self.precision]
        real = "float64" if self.precision == FLOAT64 else "float32"
        scaled = f"{rounded.format('{0}')} {'*' if self.multiply else '/'} {rounded.format('{1}')}"
        scaled = rounded.format(scaled)
        zero = f"{real}({{2}})" if len(dtypes) > 2 and dtypes[2] is not None else f"{real}(0)"
        if self.dtype is None:
            return f"{scaled} + {zero}"
        return f"int32(kq.to_range({scaled}, {zero}, {{lo}}, {{hi}}))"


@op("ShiftAndScale", domain=OWN)
class ShiftAndScale(Elementwise):
    """(x - zero) * scale, rounded once to `dtype`."""

    dtype: np.dtype[Any] = FLOAT32

    half = False
    inplace = (0,)

    def infer(self, x: Fact, scale: Fact, zero: Fact | None = None) -> Fact:
        return super().infer(x, scale, zero)

    def result_dtype(self, *dtypes: Any) -> np.dtype[Any]:
        return self.dtype

    def expression(self, *dtypes: Any) -> str:
        if len(dtypes) < 3 or dtypes[2] is None:
            return "float32({0}) * float32({1})"
        return "(float32({0}) - float32({2})) * float32({1})"


@op("QuantizeLinear", since=28)
class QuantizeLinear(Op):
    """saturate(round(x / y_scale) + y_zero_point): one scale for all, for each place along `axis`,
    or for each block along it.
    """

    axis: int = 1
    block_size: int = 0
    output_dtype: int = 0
    precision: int = 0
    saturate: bool = True

    half = False

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        zero = facts[2] if len(facts) > 2 else None
        given = from_onnx(self.output_dtype) if self.output_dtype else None
        if self.output_dtype and given not in QUANTIZED:
            raise ShapeError(f"output_dtype = {self.output_dtype} is no dtype to quantize to")
        if zero is None:
            return (given or UINT8,)
        if given is not None and given != zero.dtype:
            raise ShapeError(
                f"y_zero_point = {zero}: expected {dtype_name(given)}, which output_dtype asks for"
            )
        return (zero.dtype,)

    def division(self, scale: np.dtype[Any], x: np.dtype[Any]) -> np.dtype[Any]:
        """dtype in which the division is done."""
        dtype = from_onnx(self.precision) if self.precision else scale
        if dtype is not None and dtype in _ROUNDED:
            return dtype
        if self.precision:
            raise ShapeError(f"precision = {self.precision}: expected float32, float16, bfloat16 or float64")
        return FLOAT64 if dtype == INT32 == x else FLOAT32

    def infer(self, x: Fact, y_scale: Fact, y_zero_point: Fact | None = None) -> Fact:
        check_dtype(x, "x", {FLOAT32, INT32})
        check_dtype(y_scale, "y_scale", {FLOAT32, INT32, E8M0})
        if y_zero_point is not None:
            check_dtype(y_zero_point, "y_zero_point", QUANTIZED)
        self.division(y_scale.dtype, x.dtype)
        check_scales(x, ("y_scale", y_scale), ("y_zero_point", y_zero_point), self.axis, self.block_size)
        return Fact(self.out_dtypes(x, y_scale, y_zero_point)[0], x.shape)

    def lower(self, low: Lowering, x: View, y_scale: View, y_zero_point: View | None, y: View) -> None:
        if y.size == 0:
            return
        precision = self.division(y_scale.dtype, x.dtype)
        scale, zero = (
            as_float32(low, y_scale),
            None if y_zero_point is None else as_float32(low, y_zero_point),
        )
        shape, scale, zero = aligned(low, x, scale, zero, self.axis, self.block_size)
        if y.dtype in WORDS:
            scaling = to_range(y.dtype, precision)
            step(low, scaling, low.view(x, shape), scale, zero, low.view(y, shape))
        elif y.dtype in SMALL_INTEGERS:
            info = ml_dtypes.iinfo(y.dtype.type)
            scaling = ScaleToRange(
                dtype=np.dtype(np.int8), precision=precision, lo=int(info.min), hi=int(info.max)
            )
            made = low.scratch(shape, np.int8)
            step(low, scaling, low.view(x, shape), scale, zero, made)
            codes = low.view(y, (y.size,), stored(y.dtype))
            low.call(look_up, low.flat(made), low.const(wrapping_codes(y.dtype)), codes, low.tasks(y.size))
        else:
            made = low.scratch(shape, np.float32)
            step(low, ScaleToRange(precision=precision), low.view(x, shape), scale, zero, made)
            lower_small(low, made, y, self.saturate, "up")


@op("DequantizeLinear", since=28)
class DequantizeLinear(Op):
    """(x - x_zero_point) * x_scale, in the scale's dtype or that which `output_dtype` says."""

    axis: int = 1
    block_size: int = 0
    output_dtype: int = 0

    half = False

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        dtype = from_onnx(self.output_dtype) if self.output_dtype else facts[1].dtype
        if dtype == E8M0 and not self.output_dtype:
            return (FLOAT32,)
        if dtype != FLOAT32 and dtype not in HALVES:
            raise ShapeError(f"output_dtype = {self.output_dtype}: expected float32, float16 or bfloat16")
        return (dtype,)

    def infer(self, x: Fact, x_scale: Fact, x_zero_point: Fact | None = None) -> Fact:
        check_dtype(x, "x", QUANTIZED | {INT32})
        check_dtype(x_scale, "x_scale", {FLOAT32, E8M0})
        if x_zero_point is not None and x_zero_point.dtype != x.dtype:
            raise ShapeError(f"x_zero_point = {x_zero_point}: expected the dtype of x = {x}")
        check_scales(x, ("x_scale", x_scale), ("x_zero_point", x_zero_point), self.axis, self.block_size)
        return Fact(self.out_dtypes(x, x_scale)[0], x.shape)

    def lower(self, low: Lowering, x: View, x_scale: View, x_zero_point: View | None, y: View) -> None:
        if y.size == 0:
            return
        zero = None if x_zero_point is None else as_float32(low, x_zero_point)
        shape, scale, zero = aligned(low, x, as_float32(low, x_scale), zero, self.axis, self.block_size)
        source = as_float32(low, x)
        step(low, ShiftAndScale(y.dtype), low.view(source, shape), scale, zero, low.view(y, shape))


@op("DynamicQuantizeLinear", since=11)
class DynamicQuantizeLinear(Op):
    """The input as uint8, with the scale and zero point that suit its range."""

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (UINT8, FLOAT32, UINT8)

    def infer(self, x: Fact) -> tuple[Fact, ...]:
        check_dtype(x, "x", {FLOAT32})
        return Fact(UINT8, x.shape), Fact(FLOAT32, ()), Fact(UINT8, ())

    def lower(self, low: Lowering, x: View, y: View, y_scale: View | None, y_zero_point: View | None) -> None:
        scale = low.scratch((1,)) if y_scale is None else low.flat(y_scale)
        zero = low.scratch((1,), np.uint8) if y_zero_point is None else low.flat(y_zero_point)
        tasks = low.tasks(x.size)
        low.call(dynamic_range, low.flat(x), low.scratch((tasks, 2)), scale, zero, tasks)
        if y.size:
            step(low, to_range(UINT8), x, low.view(scale, ()), low.view(zero, ()), y)


def to_range(
    dtype: np.dtype[Any], precision: np.dtype[Any] = FLOAT32, multiply: bool = False
) -> ScaleToRange:
    """Scaling to the whole range of an integer dtype."""
    info = np.iinfo(dtype)
    return ScaleToRange(
        dtype=dtype, precision=precision, multiply=multiply, lo=int(info.min), hi=int(info.max)
    )


def step(low: Lowering, function: Elementwise, x: View, scale: View, zero: View | None, y: View) -> None:
    """One elementwise function of x, scale and perhaps zero."""
    args = (0, 1, ABSENT if zero is None else 2)
    lower_steps(low, (Step(function, args),), [x, scale] if zero is None else [x, scale, zero], y)


def as_float32(low: Lowering, x: View) -> View:
    """Numbers of a format of at most 8 bits as float32; other numbers as they are."""
    if x.dtype not in SMALL or x.size == 0:
        return x
    made = low.scratch(x.shape)
    table = convert(values_of(x.dtype), FLOAT32)
    codes = low.view(x, (x.size,), np.uint8)
    low.call(look_up, codes, low.const(table), low.flat(made), low.tasks(x.size))
    return made


def aligned(
    low: Lowering, x: View, scale: View, zero: View | None, axis: int, block: int
) -> tuple[tuple[int, ...], View, View | None]:
    """A shape for x, and scale and zero point under shapes that broadcast to it."""
    if scale.size == 1:
        return x.shape, low.view(scale, ()), None if zero is None else low.view(zero, ())
    axis = check_axis(axis, x.rank)
    if not block:
        across = (scale.size, *(1,) * (x.rank - axis - 1))
        return x.shape, low.view(scale, across), None if zero is None else low.view(zero, across)
    n = x.shape[axis]
    if n % block == 0:
        blocks = (*x.shape[:axis], n // block, 1, *x.shape[axis + 1 :])
        shape = (*blocks[: axis + 1], block, *blocks[axis + 2 :])
        return shape, low.view(scale, blocks), None if zero is None else low.view(zero, blocks)
    return (
        x.shape,
        _repeated(low, scale, x.shape, axis, block),
        (None if zero is None else _repeated(low, zero, x.shape, axis, block)),
    )


def _repeated(low: Lowering, part: View, shape: tuple[int, ...], axis: int, block: int) -> View:
    made = low.scratch(shape, part.dtype)
    Gather(axis=axis).lower(low, part, low.const(np.arange(shape[axis]) // block), made)
    return made


def check_scales(
    x: Fact, scale: tuple[str, Fact], zero: tuple[str, Fact | None], axis: int, block: int
) -> None:
    """Refuse scales that fit neither the whole input, nor its axis, nor its blocks."""
    name, fact = scale
    if zero[1] is not None and not _same_shape(fact, zero[1]):
        raise ShapeError(f"{name} = {fact} and {zero[0]} = {zero[1]}: expected the same shape")
    if fact.rank == 0 or fact.shape == (1,):
        return
    assert fact.shape is not None and x.shape is not None
    axis = check_axis(axis, x.rank)
    if block < 0:
        raise ShapeError(f"block_size = {block}: expected a positive number, or 0 for no blocks")
    if not block:
        if fact.rank != 1 or not same_dim(fact.shape[0], x.shape[axis]):
            raise ShapeError(
                f"{name} = {fact}: expected one number, or {x.shape[axis]} along axis {axis} of {x}; "
                "blocks need block_size"
            )
        return
    n = x.shape[axis]
    wanted = (*x.shape[:axis], n if isinstance(n, Sym) else -(-n // block), *x.shape[axis + 1 :])
    fits = fact.rank == x.rank and all(
        (i == axis and isinstance(n, Sym)) or same_dim(s, w)
        for i, (s, w) in enumerate(zip(fact.shape, wanted, strict=True))
    )
    if not fits:
        raise ShapeError(f"{name} = {fact}: expected {list(wanted)} for blocks of {block} along axis {axis}")


def _same_shape(a: Fact, b: Fact) -> bool:
    if a.rank != b.rank:
        return {a.rank, b.rank} == {0, 1} and (a.shape or b.shape) == (1,)
    return all(same_dim(x, y) for x, y in zip(a.shape or (), b.shape or (), strict=True))
