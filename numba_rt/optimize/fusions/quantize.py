"""Quantized numbers: scaling as arithmetic, which joins the chains around it, and packed weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_rt.dtypes import FLOAT32, INT32
from numba_rt.graph import Value
from numba_rt.kernels.matmul_integer import pack_integers
from numba_rt.kernels.packing import NR, merge_groups
from numba_rt.ops.conv_integer import DepthwiseConvInteger, PackedConvInteger
from numba_rt.ops.matmul_integer import PackedMatMulInteger
from numba_rt.ops.quantize import BYTES, WORDS, ShiftAndScale, to_range
from numba_rt.optimize.rule import Rule


class QuantizeAsArithmetic(Rule):
    """QuantizeLinear(x, scale, zero) → ScaleToRange, of one scale or constant ones along an axis"""

    def pattern(op, x):
        return op.QuantizeLinear(x, ..., name="quantize")

    def check(m):
        if m.quantize.outputs[0].fact.dtype not in WORDS or m.x.fact.dtype != FLOAT32:
            return "only float32 to integers of 8 and 16 bits"
        return _refusal(m.quantize)

    def replace(op, m):
        node = m.quantize
        scaling = to_range(node.outputs[0].fact.dtype, node.op.division(FLOAT32, FLOAT32))
        return op.add(scaling, *_operands(node))


class DequantizeAsArithmetic(Rule):
    """DequantizeLinear(x, scale, zero) → ShiftAndScale, of one scale or constant ones along an axis"""

    def pattern(op, x):
        return op.DequantizeLinear(x, ..., name="dequantize")

    def check(m):
        if m.x.fact.dtype not in WORDS | {INT32} or m.dequantize.outputs[0].fact.dtype != FLOAT32:
            return "only integers of 8, 16 and 32 bits to float32"
        return _refusal(m.dequantize)

    def replace(op, m):
        return op.add(ShiftAndScale(), *_operands(m.dequantize))


class PackIntegerWeights(Rule):
    """MatMulInteger(a, constant b)  →  the same with b packed, less its zero point"""

    def pattern(op, a, b):
        return op.MatMulInteger(a, b, ..., name="matmul")

    def check(m):
        return _no_columns(m.b, _input(m.matmul, 3))

    def replace(op, m):
        return _packed_product(op, m.a, m.b, _input(m.matmul, 2), _input(m.matmul, 3))


class PackQuantizedWeights(Rule):
    """QLinearMatMul(a, constant b)  →  ScaleToRange(the product in integers, with b packed)"""

    def pattern(op, a, scale, zero, b):
        return op.QLinearMatMul(a, scale, zero, b, ..., name="matmul")

    def check(m):
        _, a_scale, _, _, b_scale, b_zero, y_scale, y_zero = m.matmul.inputs
        if m.a.fact.dtype not in BYTES or m.matmul.outputs[0].fact.dtype not in BYTES:
            return "it multiplies floats"
        if not all(_is_single(v) for v in (a_scale, y_scale, y_zero)):
            return "a scale is not one constant"
        if not b_scale.is_constant or b_scale.fact.rank > 1:
            return "the scale of b is not constant"
        return _no_columns(m.b, b_zero)

    def replace(op, m):
        _, a_scale, a_zero, _, b_scale, b_zero, y_scale, y_zero = m.matmul.inputs
        sums = _packed_product(op, m.a, m.b, a_zero, b_zero)
        return _requantized(op, sums, a_scale, b_scale, y_scale, y_zero)


class PackIntegerFilters(Rule):
    """ConvInteger(x, constant w)  →  Transpose(the same of Transpose(x), with w packed)"""

    def pattern(op, x, w):
        return op.ConvInteger(x, w, ..., name="conv")

    def check(m):
        return _no_filters(m.w, _input(m.conv, 3))

    def replace(op, m):
        sums = _packed_convolution(op, m.conv, m.x, m.w, _input(m.conv, 2), _input(m.conv, 3))
        return _channels_first(op, sums)


class PackQuantizedFilters(Rule):
    """QLinearConv(x, constant w)  →  Transpose(ScaleToRange(ConvInteger of Transpose(x) + bias))"""

    def pattern(op, x, scale, zero, w):
        return op.QLinearConv(x, scale, zero, w, ..., name="conv")

    def check(m):
        _, x_scale, _, _, w_scale, w_zero, y_scale, y_zero, *bias = m.conv.inputs
        if not all(_is_single(v) for v in (x_scale, y_scale, y_zero)):
            return "a scale is not one constant"
        if not all(v is None or v.is_constant for v in (w_scale, *bias)):
            return "the scale of w or the bias is not constant"
        return _no_filters(m.w, w_zero)

    def replace(op, m):
        _, x_scale, x_zero, _, w_scale, w_zero, y_scale, y_zero, *_ = m.conv.inputs
        sums = _packed_convolution(op, m.conv, m.x, m.w, x_zero, w_zero)
        bias = _input(m.conv, 8)
        if bias is not None:
            sums = op.Add(sums, bias)
        return _channels_first(op, _requantized(op, sums, x_scale, w_scale, y_scale, y_zero))


def _input(node: Any, position: int) -> Value | None:
    return node.inputs[position] if position < len(node.inputs) else None


def _is_single(value: Value) -> bool:
    return value.is_constant and value.fact.size == 1


def _no_columns(b: Value, zero: Value | None) -> str | None:
    if not b.is_constant or b.fact.rank != 2 or b.fact.dtype not in BYTES:
        return "b is not a constant matrix of bytes"
    return None if zero is None or zero.is_constant else "the zero point of b is not constant"


def _no_filters(w: Value, zero: Value | None) -> str | None:
    constant = w.is_constant and (zero is None or zero.is_constant)
    return None if constant else "w or its zero point is not constant"


def _packed_product(op: Any, a: Value, b: Value, a_zero: Value | None, b_zero: Value | None) -> Value:
    weights = b.constant
    assert weights is not None

    def pack() -> np.ndarray:
        centred = _centred(weights, b_zero, (1, -1))
        return pack_integers(np.pad(centred, ((0, len(centred) % 2), (0, 0))))

    packed = op.graph.derived([b] if b_zero is None else [b, b_zero], "words", pack)
    return op.add(PackedMatMulInteger(columns=weights.shape[1]), a, packed, a_zero)


def _packed_convolution(
    op: Any, conv: Any, x: Value, w: Value, x_zero: Value | None, w_zero: Value | None
) -> Value:
    weights, groups = w.constant, conv.op.group
    assert weights is not None
    filters, kernel = weights.shape[0], weights.shape[2:]
    depthwise = groups == filters > 1 and weights.shape[1] == 1
    # Groups that share a panel cost no more than one of them alone.
    merged = max(
        n for n in range(1, groups + 1) if groups % n == 0 and (n == 1 or n * filters <= NR * groups)
    )

    def pack() -> np.ndarray:
        centred = _centred(weights, w_zero, (-1, *(1,) * (weights.ndim - 1)))
        if depthwise:
            return centred.reshape(filters, -1).T.reshape(-1)
        wide = merge_groups(centred, groups, merged)
        wide = np.pad(wide, ((0, 0), (0, wide.shape[1] % 2), *((0, 0),) * len(kernel)))
        taps = wide.reshape(groups // merged, filters * merged // groups, wide.shape[1], -1)
        columns = taps.transpose(0, 3, 2, 1).reshape(groups // merged, -1, taps.shape[1])
        return pack_integers(columns).reshape(-1)

    packed = op.graph.derived([w] if w_zero is None else [w, w_zero], ("words", groups), pack)
    window = {name: getattr(conv.op, name) for name in ("auto_pad", "dilations", "pads", "strides")}
    kind, count = (DepthwiseConvInteger, groups) if depthwise else (PackedConvInteger, groups // merged)
    made = kind(filters=filters, group=count, kernel_shape=kernel, **window)
    rank = x.fact.rank
    return op.add(made, op.Transpose(x, perm=(0, *range(2, rank), 1)), packed, x_zero)


def _centred(weights: np.ndarray, zero: Value | None, across: tuple[int, ...]) -> np.ndarray:
    """Weights less their zero points, of which there may be several along one axis."""
    wide = weights.astype(np.int16)
    return wide if zero is None or zero.constant is None else wide - zero.constant.reshape(across)


def _requantized(op: Any, sums: Value, x: Value, w: Value, y: Value, zero: Value) -> Value:
    """Sums in the range of the result, by the scales of the operands and the result."""
    scale = x.constant.reshape(()) * w.constant / y.constant.reshape(())  # type: ignore[union-attr]
    scaling = to_range(zero.fact.dtype, multiply=True)
    return op.add(scaling, sums, scale.reshape(()) if scale.size == 1 else scale, zero.constant.reshape(()))  # type: ignore[union-attr]


def _channels_first(op: Any, x: Value) -> Value:
    rank = x.fact.rank
    return op.Transpose(x, perm=(0, rank - 1, *range(1, rank - 1)))


def _refusal(node: Any) -> str | None:
    x, scale, *zeros = node.inputs
    if scale.fact.dtype != FLOAT32 or node.op.block_size or x.fact.shape is None:
        return "blocks, scales that are not float32, or an unknown number of axes"
    parts = [v for v in (scale, *zeros) if v is not None]
    if all(v.is_constant for v in parts):
        return None
    single = all(v.fact.shape is not None and v.fact.is_static and v.fact.size == 1 for v in parts)
    return None if single and x.fact.rank else "scales along an axis that are not constants"


def _operands(node: Any) -> list[Value | np.ndarray | None]:
    """x, scale and zero point, the latter two under shapes that broadcast to that of x."""
    x, *parts = node.inputs
    return [x, *(_across(v, x.fact.rank, node.op.axis) for v in parts)]


def _across(part: Value | None, rank: int, axis: int) -> Value | np.ndarray | None:
    if part is None or part.constant is None:
        return part
    array = part.constant
    return array.reshape(() if array.size == 1 else (array.size, *(1,) * (rank - axis % rank - 1)))


QUANTIZATION = (
    PackIntegerWeights,
    PackQuantizedWeights,
    QuantizeAsArithmetic,
    DequantizeAsArithmetic,
)
INTEGER_CONVS = (PackIntegerFilters, PackQuantizedFilters)
