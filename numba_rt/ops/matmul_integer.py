"""Matrix products and convolutions of 8-bit integers, and those of quantized numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from numba_rt.dtypes import FLOAT32, INT32, dtype_name
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact
from numba_rt.kernels.matmul_integer import dot_rows, patches
from numba_rt.ops._checks import check_dtype, check_rank, same_dim
from numba_rt.ops._formats import E8M0, SMALL_FLOATS
from numba_rt.ops._generate import lower_steps
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import OWN, Op, op
from numba_rt.ops._window import slide_filters
from numba_rt.ops.binary import Add, Div, Mul
from numba_rt.ops.cast import lower_small
from numba_rt.ops.elementwise import Elementwise, Step
from numba_rt.ops.matmul import MatMul, batch_axes, product_shape
from numba_rt.ops.quantize import BYTES, ScaleToRange, ShiftAndScale, as_float32, step, to_range
from numba_rt.ops.transpose import permute

FACTORS = BYTES | SMALL_FLOATS - {E8M0}
"""dtypes that QLinearMatMul multiplies."""


@op("Centred", domain=OWN)
class Centred(Elementwise):
    """x - zero of 8-bit integers, in 16 bits."""

    def infer(self, x: Fact, zero: Fact | None = None) -> Fact:
        return super().infer(x, zero)

    def result_dtype(self, *dtypes: Any) -> np.dtype[Any]:
        return np.dtype(np.int16)

    def expression(self, *dtypes: Any) -> str:
        return "int16({0})" if len(dtypes) < 2 or dtypes[1] is None else "int16({0}) - int16({1})"


def centred(low: Lowering, x: View, zero: View | None) -> View:
    """x less its zero point, as int16."""
    made = low.scratch(x.shape, np.int16)
    xs = [x] if zero is None else [x, zero]
    lower_steps(low, (Step(Centred(), tuple(range(len(xs)))),), xs, made)
    return made


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


def lower_product(low: Lowering, a: View, b: View, y: View) -> None:
    """y = a @ b of int16 matrices, in int32."""
    turned = low.scratch((*b.shape[:-2], b.shape[-1], b.shape[-2]), np.int16)
    rank = b.rank
    permute(low, b, turned, b.shape, (*range(rank - 2), rank - 1, rank - 2))
    axes, a, turned = batch_axes(low, a, turned, y.shape[:-2])
    (m, k), n = a.shape[-2:], y.shape[-1]
    strides = [m * k * s for s in axes.a] + [k * n * s for s in axes.b] + [m * n * axes.sizes[1], m * n]
    g = np.array([*axes.sizes, m, n, k, *strides], np.int64)
    work = float(y.size) * (k + 1) / 4
    low.call(dot_rows, low.flat(a), low.flat(turned), low.const(g), low.flat(y), low.tasks(work))


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
        left = centred(low, a, per_row(low, a_zero_point, a))
        lower_product(low, left, centred(low, b, per_column(low, b_zero_point)), y)


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
            lower_product(low, centred(low, a, left[1]), centred(low, b, right[1]), sums)
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


@dataclass(init=False, eq=False, repr=False)
class IntegerConvolution(Op):
    """Convolution of 8-bit integers over 1 to 3 spatial axes."""

    auto_pad: str = "NOTSET"
    dilations: tuple[int, ...] | None = None
    group: int = 1
    kernel_shape: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None

    def shape(self, x: Fact, w: Fact, w_zero_point: Fact | None) -> tuple[Dim, ...]:
        """Shape of the result."""
        check_dtype(x, "x", BYTES)
        check_dtype(w, "w", BYTES)
        check_rank(x, "x", at_least=3)
        check_rank(w, "w", exactly=x.rank)
        assert x.shape is not None and w.shape is not None
        if x.rank > 5:
            raise ShapeError(f"x = {x} has {x.rank - 2} spatial axes: expected at most 3")
        if self.group < 1 or not same_dim(x.shape[1], w.shape[1] * self.group):
            raise ShapeError(
                f"x = {x} has {x.shape[1]} channels: "
                f"expected {w.shape[1]} for each of {self.group} groups of {w}"
            )
        if isinstance(w.shape[0], int) and w.shape[0] % self.group:
            raise ShapeError(f"w = {w} has {w.shape[0]} filters, which group = {self.group} does not divide")
        check_filters(w_zero_point, "w_zero_point", w)
        return (x.shape[0], w.shape[0], *slide_filters(self, x.shape, w.shape, self.auto_pad).sizes)

    def lower_sums(
        self, low: Lowering, x: View, x_zero: View | None, w: View, w_zero: View | None, y: View
    ) -> None:
        """The convolution in int32: for each image, a product of the filters and the patches."""
        window = slide_filters(self, x.shape, w.shape, self.auto_pad)
        lead = (1,) * (5 - x.rank)
        none = (0,) * len(lead)
        if w_zero is not None and w_zero.size > 1:
            w_zero = low.view(w_zero, (w_zero.size, *(1,) * (w.rank - 1)))
        elif w_zero is not None:
            w_zero = low.view(w_zero, ())
        images = centred(low, x, None if x_zero is None else low.view(x_zero, ()))
        filters = low.flat(centred(low, w, w_zero))
        size = (x.shape[1], *lead, *x.shape[2:])
        groups, pixels, k = self.group, math.prod(int(n) for n in window.sizes), math.prod(w.shape[1:])
        own = w.shape[0] // groups
        geometry = (
            groups, *lead, *window.kernel, *lead, *window.sizes, *lead, *window.strides, *lead,
            *window.dilations, *none, *window.begins,
        )  # fmt: skip
        product = (1, groups, own, pixels, k, 0, own * k, 0, pixels * k, 0, own * pixels)
        g, sizes = (low.const(np.array(numbers, np.int64)) for numbers in (geometry, product))
        made = low.scratch((groups * pixels * k,), np.int16)
        work = float(made.size) * (own + 1) / 4
        for image in range(x.shape[0]):
            source = low.view(images, size, offset=image * math.prod(size) * 2)
            part = low.view(y, (w.shape[0] * pixels,), offset=image * w.shape[0] * pixels * 4)
            low.call(patches, source, g, made, low.tasks(made.size))
            low.call(dot_rows, filters, made, sizes, part, low.tasks(work))


def check_filters(part: Fact | None, name: str, w: Fact) -> None:
    """Refuse what is neither one number nor one for each filter."""
    if part is None or part.rank == 0 or part.shape == (1,):
        return
    assert part.shape is not None and w.shape is not None
    if part.rank != 1 or not same_dim(part.shape[0], w.shape[0]):
        raise ShapeError(f"{name} = {part}: expected one number, or one for each of {w.shape[0]} filters")


def check_single(part: Fact | None, name: str) -> None:
    """Refuse what is not one number."""
    if part is not None and part.rank and part.shape != (1,):
        raise ShapeError(f"{name} = {part}: expected one number")


@op("ConvInteger", since=10)
class ConvInteger(IntegerConvolution):
    """The convolution of x - x_zero_point with w - w_zero_point, in int32; padding is 0."""

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (INT32,)

    def infer(
        self, x: Fact, w: Fact, x_zero_point: Fact | None = None, w_zero_point: Fact | None = None
    ) -> Fact:
        made = Fact(INT32, self.shape(x, w, w_zero_point))
        check_zero(x_zero_point, "x_zero_point", x)
        check_zero(w_zero_point, "w_zero_point", w)
        check_single(x_zero_point, "x_zero_point")
        return made

    def lower(
        self, low: Lowering, x: View, w: View, x_zero_point: View | None, w_zero_point: View | None, y: View
    ) -> None:
        if y.size:
            self.lower_sums(low, x, x_zero_point, w, w_zero_point, y)


@op("QLinearConv", since=10)
class QLinearConv(IntegerConvolution):
    """The convolution of quantized numbers, exact in between, quantized."""

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (facts[7].dtype,)

    def infer(
        self, x: Fact, x_scale: Fact, x_zero_point: Fact, w: Fact, w_scale: Fact, w_zero_point: Fact,
        y_scale: Fact, y_zero_point: Fact, B: Fact | None = None,
    ) -> Fact:  # fmt: skip
        made = Fact(y_zero_point.dtype, self.shape(x, w, w_zero_point))
        check_dtype(y_zero_point, "y_zero_point", BYTES)
        check_zero(x_zero_point, "x_zero_point", x)
        check_zero(w_zero_point, "w_zero_point", w)
        check_filters(w_scale, "w_scale", w)
        single = (("x_scale", x_scale), ("x_zero_point", x_zero_point), ("y_scale", y_scale),
                  ("y_zero_point", y_zero_point))  # fmt: skip
        for name, part in single:
            check_single(part, name)
        if B is not None:
            check_dtype(B, "B", {INT32})
            check_rank(B, "B", exactly=1)
            check_filters(B, "B", w)
        return made

    def lower(
        self, low: Lowering, x: View, x_scale: View, x_zero_point: View, w: View, w_scale: View,
        w_zero_point: View, y_scale: View, y_zero_point: View, B: View | None, y: View,
    ) -> None:  # fmt: skip
        if y.size == 0:
            return
        sums = low.scratch(y.shape, np.int32)
        self.lower_sums(low, x, x_zero_point, w, w_zero_point, sums)
        across = (1,) * (y.rank - 2)
        one = multiplier(low, low.view(x_scale, ()), low.flat(w_scale), low.view(y_scale, ()))
        scale = low.view(one, (one.size, *across) if one.size > 1 else ())
        scaling, zero = to_range(y.dtype, multiply=True), low.view(y_zero_point, ())
        if B is None:
            step(low, scaling, sums, scale, zero, y)
        else:
            steps = (Step(Add(), (0, 1)), Step(scaling, (4, 2, 3)))
            lower_steps(low, steps, [sums, low.view(B, (B.size, *across)), scale, zero], y)
