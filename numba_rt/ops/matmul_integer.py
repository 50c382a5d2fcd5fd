"""Matrix products and convolutions of 8-bit integers, and those of quantized numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numba_rt.dtypes import FLOAT32, INT32, dtype_name
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact, Sym
from numba_rt.kernels.gemm import NO_ROWS
from numba_rt.kernels.matmul_integer import (
    centre_rows,
    multiply_integers,
    pack_columns_of_integers,
    packed_words,
)
from numba_rt.ops._checks import check_dtype, check_rank, same_dim
from numba_rt.ops._formats import E8M0, SMALL_FLOATS
from numba_rt.ops._generate import lower_steps
from numba_rt.ops._lowering import Lowering, View, remembered
from numba_rt.ops._op import OWN, Op, op
from numba_rt.ops.binary import Div, Mul
from numba_rt.ops.cast import lower_small
from numba_rt.ops.elementwise import Step
from numba_rt.ops.matmul import MatMul, batch_axes, product_shape
from numba_rt.ops.quantize import BYTES, ScaleToRange, ShiftAndScale, as_float32, step, to_range
from numba_rt.simd.integer import integer_addresses

FACTORS = BYTES | SMALL_FLOATS - {E8M0}
"""dtypes that QLinearMatMul multiplies."""
_ZEROS = {dtype: np.zeros(1, dtype) for dtype in BYTES}


def matrices(low: Lowering, a: View, b: View, y: View) -> tuple[View, View, View]:
    """The operands of a product with at least two axes each, and a result to match."""
    shape = list(y.shape)
    if b.rank == 1:
        shape.append(1)
    if a.rank == 1:
        shape.insert(len(shape) - 1, 1)
    a = a if a.rank > 1 else low.view(a, (1, a.size))
    return a, b if b.rank > 1 else low.view(b, (b.size, 1)), low.view(y, shape)


def product_of(A: Fact, B: Fact, dtype: np.dtype[Any]) -> Fact:
    """The result of a matrix product."""
    check_rank(A, "A", at_least=1)
    check_rank(B, "B", at_least=1)
    assert A.shape is not None and B.shape is not None
    a = A.shape if A.rank > 1 else (1, *A.shape)
    b = B.shape if B.rank > 1 else (*B.shape, 1)
    shape = product_shape(A, a, B, b)
    if A.rank == 1:
        shape = (*shape[:-2], shape[-1])
    return Fact(dtype, shape if B.rank > 1 else shape[:-1])


def rows_of_words(low: Lowering, a: View, zero: View | None) -> View:
    """The left operand less its zero points, as rows of words."""
    k = a.shape[-1]
    words, rows = -(-k // 2), math.prod(a.shape[:-1])
    made = low.scratch((*a.shape[:-1], 2 * words), np.int16)
    given = no_zero(low, a.dtype) if zero is None else low.flat(zero)
    g = _numbers(rows, k, given.size)
    low.call(centre_rows, low.flat(a), given, low.const(g), low.flat(made), low.tasks(made.size))
    return low.view(made, (*a.shape[:-1], words), np.int32)


def columns_of_words(low: Lowering, b: View, zero: View | None) -> View:
    """The right operand less its zero points, packed; its last axis is a whole matrix."""
    k, n = b.shape[-2:]
    count, words = math.prod(b.shape[:-2]), packed_words(-(-k // 2), n)
    made = low.scratch((*b.shape[:-2], 2 * words), np.int16)
    given = no_zero(low, b.dtype) if zero is None else low.flat(zero)
    steps = (n if given.size > n else 0, 1 if given.size > 1 else 0)
    g = _numbers(count, 1, k, n, k * n, 0, n, 1, *steps)
    low.call(pack_columns_of_integers, low.flat(b), given, low.const(g), low.flat(made), low.tasks(b.size))
    return low.view(made, (*b.shape[:-2], 1, words), np.int32)


def lower_product(low: Lowering, a: View, b: View, y: View) -> None:
    """y = a @ b in int32, of rows of words and packed columns."""
    axes, a, b = batch_axes(low, a, b, y.shape[:-2])
    (m, n), k, size = y.shape[-2:], a.shape[-1], b.shape[-1]
    strides = [m * k * s for s in axes.a] + [size * s for s in axes.b] + [m * n * axes.sizes[1], m * n]
    g = _numbers(*axes.sizes, m, n, k, 1, k, n, 0, *strides)
    multiply_words(low, a, b, NO_ROWS, NO_ROWS, g, y, float(y.size) * k)


def multiply_words(
    low: Lowering, a: View, b: View, starts: np.ndarray, taps: np.ndarray, g: np.ndarray, y: View, work: float
) -> None:
    """Call `multiply_integers`; work is the number of words multiplied."""
    low.call(
        multiply_integers, low.flat(a), low.flat(b), low.const(starts), low.const(taps),
        low.const(integer_addresses()), low.const(g), low.flat(y), low.tasks(work / 8),
    )  # fmt: skip


@remembered
def _numbers(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def no_zero(low: Lowering, dtype: np.dtype[Any]) -> View:
    """The zero point 0."""
    return low.const(_ZEROS[dtype])


def per_row(low: Lowering, part: View | None, matrix: View) -> View | None:
    """A scale or zero point of the left operand, broadcasting to it."""
    if part is None or part.size == 1:
        return None if part is None else low.view(part, ())
    return low.view(part, (part.size, 1)) if part.rank == 1 else part


def per_column(low: Lowering, part: View | None) -> View | None:
    """A scale or zero point of the right operand, broadcasting to it."""
    return low.view(part, ()) if part is not None and part.size == 1 else part


def check_part(part: Fact | None, name: str, matrix: Fact, axis: int) -> None:
    """Refuse a scale or zero point that is neither one number nor one along an axis of the matrix."""
    if part is None or part.rank == 0 or part.shape == (1,):
        return
    assert part.shape is not None and matrix.shape is not None
    if matrix.rank < 2:
        fits = False
    elif part.rank == 1:
        fits = same_dim(part.shape[0], matrix.shape[axis])
    else:
        other = -3 - axis
        wanted: list[Dim] = list(matrix.shape)
        wanted[other] = 1
        fits = part.rank == matrix.rank and all(
            same_dim(p, w) for p, w in zip(part.shape, wanted, strict=True)
        )
    if not fits:
        what = "row" if axis == -2 else "column"
        raise ShapeError(f"{name} = {part}: expected one number, or one for each {what} of {matrix}")


def check_zero(zero: Fact | None, name: str, fact: Fact) -> None:
    """Refuse a zero point of another dtype."""
    if zero is not None and zero.dtype != fact.dtype:
        raise ShapeError(f"{name} = {zero}: expected {dtype_name(fact.dtype)}, as what it belongs to")


@op("MatMulInteger", since=10)
class MatMulInteger(Op):
    """The matrix product of A - a_zero_point and B - b_zero_point, in int32."""

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (INT32,)

    def infer(
        self, A: Fact, B: Fact, a_zero_point: Fact | None = None, b_zero_point: Fact | None = None
    ) -> Fact:
        check_dtype(A, "A", BYTES)
        check_dtype(B, "B", BYTES)
        check_zero(a_zero_point, "a_zero_point", A)
        check_zero(b_zero_point, "b_zero_point", B)
        check_part(a_zero_point, "a_zero_point", A, -2)
        check_part(b_zero_point, "b_zero_point", B, -1)
        return product_of(A, B, INT32)

    def lower(
        self, low: Lowering, A: View, B: View, a_zero_point: View | None, b_zero_point: View | None, Y: View
    ) -> None:
        if Y.size == 0:
            return
        a, b, y = matrices(low, A, B, Y)
        lower_product(low, rows_of_words(low, a, a_zero_point), columns_of_words(low, b, b_zero_point), y)


@op("PackedMatMulInteger", domain=OWN)
class PackedMatMulInteger(Op):
    """The matrix product of A - a_zero_point with packed columns, in int32."""

    columns: int

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (INT32,)

    def infer(self, A: Fact, B: Fact, a_zero_point: Fact | None = None) -> Fact:
        check_dtype(A, "A", BYTES)
        check_dtype(B, "B", {INT32})
        check_rank(A, "A", at_least=1)
        assert A.shape is not None and B.shape is not None
        k = A.shape[-1]
        if not isinstance(k, Sym) and B.shape != (packed_words(-(-k // 2), self.columns),):
            raise ShapeError(f"B = {B}: expected {self.columns} packed columns of {k} numbers")
        return Fact(INT32, (*A.shape[:-1], self.columns))

    def flops(self, A: View, B: View, a_zero_point: View | None, Y: View) -> int:
        return 2 * Y.size * A.shape[-1]

    def lower(self, low: Lowering, A: View, B: View, a_zero_point: View | None, Y: View) -> None:
        if Y.size == 0:
            return
        rows = rows_of_words(low, A, a_zero_point)
        m = math.prod(A.shape[:-1])
        lower_product(
            low,
            low.view(rows, (m, rows.shape[-1])),
            low.view(B, (1, B.size)),
            low.view(Y, (m, self.columns)),
        )


@op("QLinearMatMul", since=21)
class QLinearMatMul(Op):
    """The matrix product of quantized numbers, quantized; exact in between for 8-bit integers."""

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (facts[7].dtype,)

    def infer(
        self, a: Fact, a_scale: Fact, a_zero_point: Fact, b: Fact, b_scale: Fact, b_zero_point: Fact,
        y_scale: Fact, y_zero_point: Fact,
    ) -> Fact:  # fmt: skip
        for name, fact in (("a", a), ("b", b), ("y_zero_point", y_zero_point)):
            check_dtype(fact, name, FACTORS)
        for name, fact in (("a_scale", a_scale), ("b_scale", b_scale), ("y_scale", y_scale)):
            check_dtype(fact, name, {FLOAT32})
        check_zero(a_zero_point, "a_zero_point", a)
        check_zero(b_zero_point, "b_zero_point", b)
        made = product_of(a, b, y_zero_point.dtype)
        parts = (("a_scale", a_scale, a, -2), ("a_zero_point", a_zero_point, a, -2),
                 ("b_scale", b_scale, b, -1), ("b_zero_point", b_zero_point, b, -1),
                 ("y_scale", y_scale, made, -2), ("y_zero_point", y_zero_point, made, -2))  # fmt: skip
        for name, part, matrix, axis in parts:
            check_part(part, name, matrix, axis)
        return made

    def lower(
        self, low: Lowering, a: View, a_scale: View, a_zero_point: View, b: View, b_scale: View,
        b_zero_point: View, y_scale: View, y_zero_point: View, y: View,
    ) -> None:  # fmt: skip
        if y.size == 0:
            return
        a, b, y = matrices(low, a, b, y)
        left = [per_row(low, part, a) for part in (a_scale, a_zero_point)]
        right = [per_column(low, part) for part in (b_scale, b_zero_point)]
        of_y = [per_row(low, part, y) for part in (y_scale, y_zero_point)]
        if {a.dtype, b.dtype, y.dtype} <= BYTES:
            sums = low.scratch(y.shape, np.int32)
            lower_product(low, rows_of_words(low, a, left[1]), columns_of_words(low, b, right[1]), sums)
            scale = multiplier(low, left[0], right[0], of_y[0])
            step(low, to_range(y.dtype, multiply=True), sums, scale, of_y[1], y)
        else:
            self._lower_floats(low, a, left, b, right, of_y, y)

    def _lower_floats(
        self, low: Lowering, a: View, left: list[Any], b: View, right: list[Any], of_y: list[Any], y: View
    ) -> None:
        """Through float32, for factors that are floats of 8 bits."""
        factors = []
        for x, (scale, zero) in ((a, left), (b, right)):
            made = low.scratch(x.shape)
            step(low, ShiftAndScale(), as_float32(low, x), scale, as_float32(low, zero), made)
            factors.append(made)
        product = low.scratch(y.shape)
        MatMul().lower(low, factors[0], factors[1], product)
        scale, zero = of_y[0], as_float32(low, of_y[1])
        if y.dtype in BYTES:
            step(low, to_range(y.dtype), product, scale, zero, y)
        else:
            scaled = low.scratch(y.shape)
            step(low, ScaleToRange(), product, scale, zero, scaled)
            lower_small(low, scaled, y, True, "up")


def multiplier(low: Lowering, a: Any, b: Any, y: Any) -> View:
    """a * b / y of scales."""
    made = low.scratch(np.broadcast_shapes(a.shape, b.shape, y.shape))
    lower_steps(low, (Step(Mul(), (0, 1)), Step(Div(), (3, 2))), [a, b, y], made)
    return made
