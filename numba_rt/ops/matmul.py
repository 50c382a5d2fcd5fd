"""Matrix products: MatMul, Gemm, and the fused form the optimiser makes of both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from numba_rt.dtypes import FLOAT32, NUMERIC
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact
from numba_rt.kernels.activation import ACTIVATIONS
from numba_rt.kernels.gemm import NO_ROWS, NO_VECTOR, epilogue, gemm, product
from numba_rt.kernels.matmul_any import matmul_any
from numba_rt.kernels.packing import pack_columns, pack_rows, packed_size
from numba_rt.ops._checks import (
    broadcast_dim,
    broadcast_shape,
    check_dtype,
    check_rank,
    check_same_dtype,
    same_dim,
)
from numba_rt.ops._lowering import Lowering, View, remembered
from numba_rt.ops._op import OWN, Op, op
from numba_rt.ops._parts import rows_fit
from numba_rt.ops._strided import copy_strided
from numba_rt.ops.elementwise import Elementwise, Step, lower_steps
from numba_rt.ops.expand import Expand
from numba_rt.ops.transpose import permute
from numba_rt.simd.tile import tile_addresses

_product, _epilogue = remembered(product), remembered(epilogue)


@op("MatMul", since=13)
class MatMul(Op):
    """The matrix product of the last two axes, broadcast over the others."""

    def infer(self, A: Fact, B: Fact) -> Fact:
        check_same_dtype(("A", A), ("B", B))
        check_dtype(A, "A", NUMERIC)
        check_rank(A, "A", at_least=1)
        check_rank(B, "B", at_least=1)
        assert A.shape is not None and B.shape is not None
        a = A.shape if A.rank > 1 else (1, *A.shape)
        b = B.shape if B.rank > 1 else (*B.shape, 1)
        shape = product_shape(A, a, B, b)
        if A.rank == 1:
            shape = (*shape[:-2], shape[-1])
        return Fact(A.dtype, shape if B.rank > 1 else shape[:-1])

    def flops(self, A: View, B: View, Y: View) -> int:
        return 2 * Y.size * A.shape[-1]

    def lower(self, low: Lowering, A: View, B: View, Y: View) -> None:
        a = A if A.rank > 1 else low.view(A, (1, A.size))
        b = B if B.rank > 1 else low.view(B, (B.size, 1))
        shape = list(Y.shape)
        if B.rank == 1:
            shape.append(1)
        if A.rank == 1:
            shape.insert(len(shape) - 1, 1)
        y = low.view(Y, shape)
        if Y.dtype == FLOAT32:
            FusedMatMul().lower(low, a, b, None, None, y)
        else:
            _any_product(low, a, b, y)

    def evaluate(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        return np.matmul(A, B)


def product_shape(A: Fact, a: tuple[Dim, ...], B: Fact, b: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """Shape of the product of (..., m, k) and (..., k, n)."""
    if not same_dim(a[-1], b[-2]):
        raise ShapeError(f"A = {A} has {a[-1]} columns, B = {B} has {b[-2]} rows: expected the same number")
    batch = _broadcast_batch(a[:-2], b[:-2], A, B)
    return (*batch, a[-2], b[-1])


def _broadcast_batch(a: tuple[Dim, ...], b: tuple[Dim, ...], A: Fact, B: Fact) -> list[Dim]:
    rank = max(len(a), len(b))
    left, right = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    try:
        return [broadcast_dim(x, y) for x, y in zip(left, right, strict=True)]
    except ShapeError:
        raise ShapeError(f"the leading axes of A = {A} and B = {B} cannot be broadcast together") from None


def _any_product(low: Lowering, a: View, b: View, y: View) -> None:
    """The product in other dtypes than float32."""
    if y.size == 0:
        return
    axes, a, b = batch_axes(low, a, b, y.shape[:-2])
    (m, k), n = a.shape[-2:], b.shape[-1]
    sizes = [*axes.sizes, m, n, k]
    strides = [m * k * s for s in axes.a] + [k * n * s for s in axes.b] + [m * n * axes.sizes[1], m * n]
    g = low.const(np.array(sizes + strides, np.int64))
    low.call(matmul_any, low.flat(a), low.flat(b), g, low.flat(y), low.tasks(float(y.size) * k))


@op("Gemm", since=13)
class Gemm(Op):
    """alpha * A' @ B' + beta * C, where A' and B' may be transposed."""

    alpha: float = 1.0
    beta: float = 1.0
    transA: bool = False
    transB: bool = False

    def infer(self, A: Fact, B: Fact, C: Fact | None = None) -> Fact:
        check_same_dtype(*((n, f) for n, f in (("A", A), ("B", B), ("C", C)) if f is not None))
        check_dtype(A, "A", NUMERIC)
        check_rank(A, "A", exactly=2)
        check_rank(B, "B", exactly=2)
        assert A.shape is not None and B.shape is not None
        a = A.shape[::-1] if self.transA else A.shape
        b = B.shape[::-1] if self.transB else B.shape
        made = Fact(A.dtype, product_shape(A, a, B, b))
        if C is not None and len(broadcast_shape(made, C)) != 2:
            raise ShapeError(f"C = {C} cannot be broadcast to {made}")
        return made

    def flops(self, A: View, B: View, C: View | None, Y: View) -> int:
        return 2 * Y.size * A.shape[0 if self.transA else 1]

    def lower(self, low: Lowering, A: View, B: View, C: View | None, Y: View) -> None:
        if self.transA:
            turned = low.scratch(A.shape[::-1], A.dtype)
            permute(low, A, turned, A.shape, (1, 0))
            A = turned
        if Y.dtype != FLOAT32:
            self._lower_any(low, A, B, C, Y)
            return
        residual = None
        if C is not None and self.beta != 0:
            lower_steps(low, (Step(ScaleBy(factor=self.beta), (0,)),), [C], Y)
            residual = Y
        FusedMatMul(alpha=self.alpha, transB=self.transB).lower(low, A, B, None, residual, Y)

    def _lower_any(self, low: Lowering, A: View, B: View, C: View | None, Y: View) -> None:
        if self.transB:
            turned = low.scratch(B.shape[::-1], B.dtype)
            permute(low, B, turned, B.shape, (1, 0))
            B = turned
        made = low.scratch(Y.shape, Y.dtype)
        _any_product(low, A, B, made)
        if C is None or self.beta == 0:
            lower_steps(low, (Step(ScaleBy(factor=self.alpha), (0,)),), [made], Y)
        else:
            lower_steps(low, (Step(ScaledSum(alpha=self.alpha, beta=self.beta), (0, 1)),), [made, C], Y)


@op("ScaleBy", domain=OWN)
class ScaleBy(Elementwise):
    """factor * x"""

    factor: float = 1.0

    expr = "{factor} * {0}"
    inplace = (0,)


@op("ScaledSum", domain=OWN)
class ScaledSum(Elementwise):
    """alpha * x + beta * y"""

    alpha: float = 1.0
    beta: float = 1.0

    expr = "{alpha} * {0} + {beta} * {1}"
    inplace = (0,)


@op("FusedMatMul", domain=OWN)
class FusedMatMul(Op):
    """act(clamp(alpha * A @ B + bias + residual, lo, hi)) in float32.

    A is (..., m, k), B (..., k, n), or (..., n, k) with transB. With `a_heads`, A lies in memory
    as (batch, m, heads, k) and means (batch, heads, m, k); likewise `b_heads` and, for the result,
    `c_heads`. With `packed` = n, B is a constant packed by `numba_rt.kernels.packing.pack_b`.
    """

    alpha: float = 1.0
    transB: bool = False
    a_heads: bool = False
    b_heads: bool = False
    c_heads: bool = False
    packed: int = 0
    lo: float = -math.inf
    hi: float = math.inf
    activation: str = ""
    act_alpha: float = 0.0
    act_beta: float = 0.0

    inplace = (3,)
    HEADS: ClassVar[tuple[int, ...]] = (0, 2, 1, 3)

    def infer(self, A: Fact, B: Fact, bias: Fact | None = None, residual: Fact | None = None) -> Fact:
        assert A.shape is not None and B.shape is not None
        a = _turned(A.shape, self.a_heads)
        if self.packed:
            return Fact(FLOAT32, _turned((*a[:-1], self.packed), self.c_heads))
        b = _turned(B.shape, self.b_heads)
        if self.transB:
            b = (*b[:-2], b[-1], b[-2])
        return Fact(FLOAT32, _turned(product_shape(A, a, B, b), self.c_heads))

    def flops(self, A: View, B: View, bias: View | None, residual: View | None, Y: View) -> int:
        return 2 * Y.size * A.shape[-1]

    @property
    def algorithm(self) -> str:
        return "product of packed weights" if self.packed else ""

    def lower(
        self, low: Lowering, A: View, B: View, bias: View | None, residual: View | None, Y: View
    ) -> None:
        if Y.size == 0:
            return
        if self.packed or (B.rank == 2 and not self.a_heads and not self.c_heads):
            self._lower_weights(low, A, B, bias, residual, Y)
        else:
            self._lower_batch(low, A, B, bias, residual, Y)

    @property
    def _has_heads(self) -> bool:
        return not self.packed and (self.a_heads or self.b_heads or self.c_heads)

    def reads_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        if self._has_heads:
            return position < 2 and run % shape[-1] == 0 and rows_fit(shape, run)
        return position == 0 and self.packed > 0 and run == shape[-1]

    def writes_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        return run == shape[-1] or (self._has_heads and run % shape[-1] == 0 and rows_fit(shape, run))

    def _lower_weights(
        self, low: Lowering, A: View, B: View, bias: View | None, residual: View | None, Y: View
    ) -> None:
        """One matrix B for all rows of A."""
        k = A.shape[-1]
        m, n = A.size // k if k else Y.size // Y.shape[-1], Y.shape[-1]
        if not self.packed:
            packed = low.scratch((packed_size(k, n),))
            self._pack(low, B, (1, 1, k, n, B.shape[-1], 0, 0), packed)
            B = packed
        g = _product(m, n, k, lda=A.pitch or k, ldc=Y.pitch or n, **self._flags(bias, residual))
        self._call(low, A, B, bias, residual, Y, g, float(m) * n * k)

    def _lower_batch(
        self, low: Lowering, A: View, B: View, bias: View | None, residual: View | None, Y: View
    ) -> None:
        """A matrix B for each matrix of A; up to two batch axes in one call."""
        a_shape, y_shape = _turned(A.shape, self.a_heads), _turned(Y.shape, self.c_heads)
        (m, k), n = a_shape[-2:], y_shape[-1]
        if self._has_heads:
            axes = _two_axes(a_shape[:-2], _turned(B.shape, self.b_heads)[:-2], y_shape[:-2])
            a_steps, b_steps, c_steps = (
                _turned(tuple(v.strides), heads)
                for v, heads in ((A, self.a_heads), (B, self.b_heads), (Y, self.c_heads))
            )
        else:
            axes, A, B = batch_axes(low, A, B, y_shape[:-2])
            size, ld = B.shape[-2] * B.shape[-1], B.shape[-1]
            a_steps = (m * k * axes.a[0], m * k * axes.a[1], k)
            b_steps = (size * axes.b[0], size * axes.b[1], ld)
            ldc = Y.pitch or n
            c_steps = (axes.sizes[1] * m * ldc, m * ldc, ldc)
        count, in_a, in_b = axes.sizes, axes.a, axes.b
        # Only distinct matrices of B are packed.
        own = (count[0] if in_b[0] else 1, count[1] if in_b[1] else 1)
        size = packed_size(k, n)
        packed = low.scratch((own[0] * own[1] * size,))
        self._pack(low, B, (*own, k, n, b_steps[2], b_steps[0], b_steps[1]), packed)
        g = _product(
            m, n, k, batch=count, lda=a_steps[2], ldc=c_steps[2],
            a_strides=(a_steps[0] if in_a[0] else 0, a_steps[1] if in_a[1] else 0),
            b_strides=(own[1] * size if in_b[0] else 0, size if in_b[1] else 0),
            c_strides=(c_steps[0], c_steps[1]),
            **self._flags(bias, residual),
        )  # fmt: skip
        self._call(low, A, packed, bias, residual, Y, g, float(m) * n * k * count[0] * count[1])

    def _pack(self, low: Lowering, B: View, g: tuple[int, ...], packed: View) -> None:
        kernel = pack_columns if self.transB else pack_rows
        low.call(kernel, low.span(B), low.const(np.array(g, np.int64)), packed, low.tasks(packed.size * 2))

    def _flags(self, bias: View | None, residual: View | None) -> dict[str, Any]:
        return {
            "bias": bias is not None,
            "residual": residual is not None,
            "act": ACTIVATIONS[self.activation] if self.activation else 0,
        }

    def _call(
        self, low: Lowering, A: View, B: View, bias: View | None, residual: View | None, Y: View,
        g: np.ndarray, work: float,
    ) -> None:  # fmt: skip
        f = _epilogue(self.alpha, self.lo, self.hi, self.act_alpha, self.act_beta)
        none = low.const(NO_VECTOR)
        if residual is not None and Y.pitch:
            copy_strided(low, residual, Y, list(zip(Y.shape, residual.strides, Y.strides, strict=True)))
            residual = Y
        low.call(
            gemm, low.span(A), low.flat(B), none if bias is None else low.flat(bias),
            none if residual is None else low.span(residual), low.const(NO_ROWS), low.const(tile_addresses()),
            low.const(g), low.const(f), low.span(Y), low.tasks(work / 8),
        )  # fmt: skip


def _turned(shape: tuple[Any, ...], heads: bool) -> tuple[Any, ...]:
    """(b, s, h, d) read as (b, h, s, d)."""
    return (shape[0], shape[2], shape[1], shape[3]) if heads else tuple(shape)


@dataclass(frozen=True)
class BatchAxes:
    """A batch of matrices counted by two axes: how far a step of each moves on in A and in B, in
    matrices; 0 where the operand is repeated.
    """

    sizes: tuple[int, int]
    a: tuple[int, int]
    b: tuple[int, int]


def batch_axes(low: Lowering, a: View, b: View, batch: tuple[int, ...]) -> tuple[BatchAxes, View, View]:
    """The leading axes of a product merged to two; operands are expanded where that cannot be."""
    groups: list[tuple[int, tuple[bool, bool]]] = []
    for size, in_a, in_b in zip(
        batch, _padded(a.shape[:-2], batch), _padded(b.shape[:-2], batch), strict=True
    ):
        kept = (in_a == size, in_b == size)
        if size == 1:
            continue
        if groups and groups[-1][1] == kept:
            groups[-1] = (groups[-1][0] * size, kept)
        else:
            groups.append((size, kept))
    if len(groups) > 2:
        a, b = (_expanded(low, x, batch) for x in (a, b))
        groups = [(math.prod(batch), (True, True))]
    groups = [(1, (True, True))] * (2 - len(groups)) + groups
    shapes = [tuple(n if kept[side] else 1 for n, kept in groups) for side in (0, 1)]
    return _two_axes(shapes[0], shapes[1], tuple(n for n, _ in groups)), a, b


def _padded(shape: tuple[int, ...], batch: tuple[int, ...]) -> tuple[int, ...]:
    return (1,) * (len(batch) - len(shape)) + shape


def _expanded(low: Lowering, x: View, batch: tuple[int, ...]) -> View:
    full = low.scratch((*batch, *x.shape[-2:]), x.dtype)
    Expand().lower(low, x, None, full)
    return full


def _two_axes(a: tuple[int, ...], b: tuple[int, ...], sizes: tuple[int, ...]) -> BatchAxes:
    steps = []
    for shape in (a, b):
        inner = 1 if shape[1] == sizes[1] else 0
        steps.append((shape[1] if shape[0] == sizes[0] else 0, inner))
    return BatchAxes((sizes[0], sizes[1]), steps[0], steps[1])
