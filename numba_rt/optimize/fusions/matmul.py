"""Matrix products: what comes before, after and around them goes into one call."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from numba_rt.dtypes import FLOAT32
from numba_rt.graph import Value
from numba_rt.kernels.packing import pack_matrix
from numba_rt.optimize.pattern import Match
from numba_rt.optimize.rule import Builder, Rule, scale_of

HEADS = (0, 2, 1, 3)
FUSED_ACTIVATIONS = "Relu|Gelu|Swish|Sigmoid|Tanh|HardSwish|HardSigmoid|LeakyRelu|Elu|Mish|Softplus"


class MatMulToFused(Rule):
    """MatMul(a, b)  →  FusedMatMul(a, b)"""

    def pattern(op, a, b):
        return op.MatMul(a, b)

    def check(m):
        if m.a.fact.dtype != FLOAT32:
            return "it is not float32"
        if m.a.fact.shape is None or m.b.fact.shape is None or m.a.fact.rank < 2 or m.b.fact.rank < 2:
            return "an operand is not a matrix"
        return None

    def replace(op, m):
        return op.FusedMatMul(m.a, m.b)


class GemmToFused(Rule):
    """Gemm(a, b, c)  →  FusedMatMul(a, b, bias or residual)"""

    def pattern(op, a, b, c):
        return op.Gemm(a, b, c, name="gemm"), op.Gemm(a, b, None, name="gemm")

    def check(m):
        gemm = m.gemm.op
        if m.a.fact.dtype != FLOAT32:
            return "it is not float32"
        if gemm.transA:
            return "A is transposed"
        c = m.bound.get("c")
        if c is not None and gemm.beta != 1 and not c.is_constant:
            return "beta scales a C that is not constant"
        if (
            c is not None
            and not _is_vector(c, m.root.outputs[0])
            and c.fact.shape != m.root.outputs[0].fact.shape
        ):
            return "C is neither a vector nor of the result's shape"
        return None

    def replace(op, m):
        gemm, c = m.gemm.op, m.bound.get("c")
        if c is not None and gemm.beta != 1:
            c = op.constant((c.constant * np.float32(gemm.beta)).astype(np.float32))
        vector = c is not None and _is_vector(c, m.root.outputs[0])
        bias = _flat_vector(op, c) if vector else None
        residual = None if vector else c
        return op.FusedMatMul(m.a, m.b, bias, residual, alpha=gemm.alpha, transB=gemm.transB)


def _is_vector(value: Value, result: Value) -> bool:
    """Whether a value is added alike to every row of the result."""
    shape, columns = value.fact.shape, (result.fact.shape or (None,))[-1]
    if shape is None or not value.is_constant or len(shape) == 0:
        return False
    return shape[-1] == columns and all(d == 1 for d in shape[:-1])


def _flat_vector(op: Builder, value: Value) -> Value:
    if value.fact.rank == 1:
        return value
    array = value.constant
    assert array is not None
    return op.constant(array.reshape(-1), value.name)


def _with(op: Builder, m: Match, inputs: list[Value | None] | None = None, **changes: Any) -> Value:
    """The matched FusedMatMul with other inputs or attributes."""
    node = m.matmul
    ins = list(node.inputs) if inputs is None else inputs
    return op.add(dataclasses.replace(node.op, **changes), *ins)


def _inputs(m: Match) -> list[Value | None]:
    ins = list(m.matmul.inputs)
    return ins + [None] * (4 - len(ins))


def _is_plain(m: Match, bias: bool = True) -> str | None:
    """Reason why nothing can be added inside the product any more."""
    node = m.matmul
    op, inputs = node.op, _inputs(m)
    if op.activation or not np.isneginf(op.lo) or not np.isposinf(op.hi):
        return "it has an activation already"
    if inputs[3] is not None:
        return "it has a residual already"
    if not bias and inputs[2] is not None:
        return "it has a bias already"
    return None


class ScaledProduct(Rule):
    """FusedMatMul(a, b) * c, / c  →  FusedMatMul(a, b, alpha=c)"""

    def pattern(op, a, b, c):
        product = op.FusedMatMul(a, b, None, None, name="matmul")
        return product * c, product / c

    def check(m):
        scale = scale_of(m.root, m.matmul.outputs[0])
        return scale if isinstance(scale, str) else _is_plain(m)

    def replace(op, m):
        return _with(op, m, alpha=m.matmul.op.alpha * scale_of(m.root, m.matmul.outputs[0]))


class ScaledOperand(Rule):
    """FusedMatMul(a * c, b)  →  FusedMatMul(a, b, alpha=c); likewise for b, and for a / c"""

    def pattern(op, x, y, c):
        return (
            op.FusedMatMul(op.Mul(x, c, name="scale"), y, ..., name="matmul"),
            op.FusedMatMul(y, op.Mul(x, c, name="scale"), ..., name="matmul"),
            op.FusedMatMul(op.Div(x, c, name="scale"), y, ..., name="matmul"),
            op.FusedMatMul(y, op.Div(x, c, name="scale"), ..., name="matmul"),
        )

    def check(m):
        scale = scale_of(m.scale, m.x)
        return scale if isinstance(scale, str) else None

    def replace(op, m):
        inputs = [m.x if v is m.scale.outputs[0] else v for v in m.matmul.inputs]
        return _with(op, m, inputs, alpha=m.matmul.op.alpha * scale_of(m.scale, m.x))


class TransposedOperand(Rule):
    """FusedMatMul of a transposed operand reads it where it lies"""

    shared = True

    def pattern(op, x, y):
        turned = op.Transpose(x, name="transpose")
        return op.FusedMatMul(turned, y, ..., name="matmul"), op.FusedMatMul(y, turned, ..., name="matmul")

    def check(m):
        return None if _absorbed(m) is not None else "the transpose is not one the product can read through"

    def replace(op, m):
        position, changes = _absorbed(m)
        inputs = list(m.matmul.inputs)
        inputs[position] = m.x
        return _with(op, m, inputs, **changes)


def _absorbed(m: Match) -> tuple[int, dict[str, bool]] | None:
    """Which operand, and how the product changes when it reads the untransposed one."""
    perm, op = m.transpose.op.perm, m.matmul.op
    if not perm or m.x.fact.shape is None:
        return None
    position = 0 if m.matmul.inputs[0] is m.transpose.outputs[0] else 1
    other = m.matmul.inputs[1 - position]
    rank = len(perm)
    if position == 1 and tuple(perm) == (*range(rank - 2), rank - 1, rank - 2) and not op.b_heads:
        return 1, {"transB": not op.transB}
    if rank != 4 or other is None or other.fact.shape is None or other.fact.rank != 4:
        return None
    if position == 0 and tuple(perm) == HEADS and not op.a_heads:
        return 0, {"a_heads": True}
    if position == 1 and tuple(perm) == HEADS and not op.b_heads:
        return 1, {"b_heads": True}
    if position == 1 and tuple(perm) == (0, 2, 3, 1) and not op.b_heads:
        return 1, {"b_heads": True, "transB": not op.transB}
    return None


class TransposedResult(Rule):
    """Transpose(FusedMatMul(a, b), (0, 2, 1, 3))  →  FusedMatMul that writes it so"""

    def pattern(op, a, b):
        return op.Transpose(op.FusedMatMul(a, b, None, None, name="matmul"), name="transpose")

    def check(m):
        if tuple(m.transpose.op.perm) != HEADS or m.matmul.op.c_heads:
            return "it is not the exchange of heads and positions"
        shapes = (m.a.fact.shape, m.b.fact.shape)
        return (
            None if all(s is not None and len(s) == 4 for s in shapes) else "the operands do not have heads"
        )

    def replace(op, m):
        return _with(op, m, c_heads=True)


class ProductOfMerged(Rule):
    """Reshape(FusedMatMul(Reshape(x, (b s, k)), w), (b, s, n))  →  FusedMatMul(x, w)"""

    def pattern(op, x, w, s, t):
        product = op.FusedMatMul(op.Reshape(x, s, name="merge"), w, ..., name="matmul")
        return op.Reshape(product, t, name="split")

    def check(m):
        before, after = m.x.fact.shape, m.split.outputs[0].fact.shape
        if before is None or after is None or m.w.fact.shape is None or m.w.fact.rank != 2:
            return ""
        if _inputs(m)[3] is not None or m.merge.outputs[0].fact.shape[-1] != before[-1]:
            return "it has a residual, or columns are merged"
        return None if (*before[:-1], m.matmul.outputs[0].fact.shape[-1]) == after else "other axes are split"

    def replace(op, m):
        return _with(op, m, [m.x, *m.matmul.inputs[1:]])


class MatMulBias(Rule):
    """FusedMatMul(a, b) + bias  →  FusedMatMul(a, b, bias)"""

    def pattern(op, a, b, bias):
        return op.FusedMatMul(a, b, None, None, name="matmul") + bias

    def check(m):
        if not _is_vector(m.bias, m.root.outputs[0]):
            return "what is added is not a constant vector"
        if m.matmul.op.c_heads or m.root.outputs[0].fact.shape != m.matmul.outputs[0].fact.shape:
            return "the sum has another shape"
        return _is_plain(m, bias=False)

    def replace(op, m):
        return _with(op, m, [m.a, m.b, _flat_vector(op, m.bias), None])


class MatMulResidual(Rule):
    """FusedMatMul(a, b, bias) + r  →  FusedMatMul(a, b, bias, r)"""

    def pattern(op, a, b, bias, r):
        return (
            op.FusedMatMul(a, b, bias, name="matmul") + r,
            op.FusedMatMul(a, b, None, None, name="matmul") + r,
        )

    def check(m):
        if m.r.fact.shape is None or m.r.fact.shape != m.matmul.outputs[0].fact.shape:
            return "what is added has another shape"
        return _is_plain(m)

    def replace(op, m):
        return _with(op, m, [*_inputs(m)[:3], m.r])


class SplitResidual(Rule):
    """Reshape(FusedMatMul(a, b, bias)) + r  →  Reshape(FusedMatMul(a, b, bias, Reshape(r)))"""

    def pattern(op, a, b, bias, r, s):
        return (
            op.Reshape(op.FusedMatMul(a, b, bias, name="matmul"), s) + r,
            op.Reshape(op.FusedMatMul(a, b, None, None, name="matmul"), s) + r,
        )

    def check(m):
        product, whole = m.matmul.outputs[0].fact.shape, m.root.outputs[0].fact.shape
        if whole is None or product is None or len(product) != 2 or m.r.fact.shape != whole:
            return ""
        if not isinstance(product[1], int) or product[1] != whole[-1]:
            return "columns are split"
        return _is_plain(m)

    def replace(op, m):
        merged = op.Reshape(m.r, np.array([-1, m.matmul.outputs[0].fact.shape[1]], np.int64))
        return op.Reshape(_with(op, m, [*_inputs(m)[:3], merged]), m.s)


class MatMulActivation(Rule):
    """act(FusedMatMul(...))  →  FusedMatMul(..., activation)"""

    def pattern(op, a):
        product = op.FusedMatMul(a, ..., name="matmul")
        return op.OneOf(FUSED_ACTIVATIONS, product, name="act")

    def check(m):
        done = m.matmul.op.activation or not np.isneginf(m.matmul.op.lo)
        return "it has an activation already" if done else None

    def replace(op, m):
        return _with(op, m, **activation_of(m.act.op))


def activation_of(op: Any) -> dict[str, Any]:
    """Epilogue attributes that apply an activation."""
    kind = op.op_type
    if kind == "Relu":
        return {"lo": 0.0}
    if kind == "Gelu":
        tanh = getattr(op, "approximate", "none") == "tanh"  # com.microsoft's has no such attribute
        return {"activation": "GeluTanh" if tanh else "Gelu"}
    if kind == "Swish":
        return {"activation": "Silu", "act_alpha": op.alpha}
    alpha, beta = getattr(op, "alpha", 0.0), getattr(op, "beta", 0.0)
    return {"activation": kind, "act_alpha": alpha, "act_beta": beta}


class PackWeights(Rule):
    """FusedMatMul(a, constant b)  →  the same with b packed into panels"""

    def pattern(op, a, b):
        return op.FusedMatMul(a, b, ..., name="matmul")

    def check(m):
        if m.matmul.op.packed:
            return "its weights are packed already"
        if not m.b.is_constant or m.b.fact.rank != 2:
            return "b is not a constant matrix"
        if m.matmul.op.a_heads or m.matmul.op.b_heads or m.matmul.op.c_heads:
            return "it has heads"
        return None

    def replace(op, m):
        b, trans = m.b.constant, m.matmul.op.transB
        columns = b.shape[0] if trans else b.shape[1]
        packed = op.graph.derived([m.b], trans, lambda: pack_matrix(b, transposed=trans))
        inputs = [m.a, packed, *m.matmul.inputs[2:]]
        return _with(op, m, inputs, packed=columns, transB=False)


MATMULS = (
    MatMulToFused,
    GemmToFused,
    ProductOfMerged,
    TransposedOperand,
    ScaledOperand,
    ScaledProduct,
    MatMulBias,
    MatMulResidual,
    SplitResidual,
    TransposedResult,
    MatMulActivation,
)
PACKING = (PackWeights,)
