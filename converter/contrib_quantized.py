"""Rules for ONNX Runtime's own operators on quantized numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from converter.contrib import Body, replaces
from converter.contrib_attention import attention
from converter.contrib_float import embed
from numba_rt.dtypes import FLOAT32, INT32, NUMPY_TO_ONNX
from numba_rt.errors import LoadError

FLOAT = NUMPY_TO_ONNX[FLOAT32]


def _floats(b: Body, x: str, scale: str, zero: str = "") -> str:
    return b("DequantizeLinear", x, scale, zero)


def _quantized(b: Body, y: str, scale: str, zero: str, like: str) -> str:
    """The quantized result; without a zero point in the dtype of an input."""
    dtype = None if zero else NUMPY_TO_ONNX[b.dtype(like)]
    return b("QuantizeLinear", y, scale, zero, output_dtype=dtype)


@replaces("QuantizeLinear", "DequantizeLinear")
def _same(b: Body, x: str, scale: str, zero_point: str = "", *, axis: int | None = None) -> str:
    return b(b.node.op_type, x, scale, zero_point, axis=axis)


# -- products -------------------------------------------------------------------------------


def _scaled_product(b: Body, A: str, B: str, a_zero: str, b_zero: str, scales: list[str], bias: str) -> str:
    made = b("Cast", b("MatMulInteger", A, B, a_zero, b_zero), to=FLOAT)
    return b.sum(b("Mul", made, b("Mul", *scales)), bias)


@replaces("DynamicQuantizeMatMul")
def _dynamic_matmul(b: Body, A: str, B: str, b_scale: str, b_zero_point: str = "", bias: str = "") -> str:
    x, scale, zero = b("DynamicQuantizeLinear", A, n=3)
    return _scaled_product(b, x, B, zero, b_zero_point, [scale, b_scale], bias)


@replaces("MatMulIntegerToFloat")
def _matmul_to_float(
    b: Body, A: str, B: str, a_scale: str, b_scale: str, a_zero_point: str = "", b_zero_point: str = "",
    bias: str = "",
) -> str:  # fmt: skip
    return _scaled_product(b, A, B, a_zero_point, b_zero_point, [a_scale, b_scale], bias)


@replaces("MatMulInteger16")
def _matmul16(b: Body, A: str, B: str) -> str:
    to = NUMPY_TO_ONNX[INT32]
    return b("MatMul", b("Cast", A, to=to), b("Cast", B, to=to))


@replaces("QGemm")
def _gemm(
    b: Body, A: str, a_scale: str, a_zero_point: str, B: str, b_scale: str, b_zero_point: str, C: str = "",
    y_scale: str = "", y_zero_point: str = "", *, alpha: float = 1.0, transA: bool = False,
    transB: bool = False,
) -> str:  # fmt: skip
    left = b.turned(A, (1, 0) if transA else None)
    right = b.turned(B, (1, 0) if transB else None)
    sums = b.sum(b("MatMulInteger", left, right, a_zero_point, b_zero_point), C)
    made = b("Mul", b("Cast", sums, to=FLOAT), b("Mul", a_scale, b_scale))
    if alpha != 1:
        made = b("Mul", made, b.constant(alpha, np.float32))
    return _quantized(b, made, y_scale, y_zero_point, A) if y_scale else made


@replaces("QLinearConv")
def _conv(b: Body, x: str, *parts: str, channels_last: bool = False, **window: Any) -> str:
    made = b("QLinearConv", b.channels_first(x, x, channels_last), *parts, **window)
    return b.channels_last(made, x, channels_last)


@replaces("QAttention")
def _attention(
    b: Body, input: str, weight: str, bias: str, input_scale: str, weight_scale: str, mask_index: str = "",
    input_zero_point: str = "", weight_zero_point: str = "", past: str = "", **attributes: Any,
) -> Any:  # fmt: skip
    scale, zero = (b("Reshape", n, b.constant([-1])) if n else "" for n in (weight_scale, weight_zero_point))
    x = _floats(b, input, input_scale, input_zero_point)
    w = b("DequantizeLinear", weight, scale, zero, axis=1)
    return attention(b, x, w, bias, mask_index, past, **attributes)


@replaces("DynamicQuantizeLSTM")
def _lstm(
    b: Body, X: str, W: str, R: str, B: str = "", sequence_lens: str = "", initial_h: str = "",
    initial_c: str = "", P: str = "", W_scale: str = "", W_zero_point: str = "", R_scale: str = "",
    R_zero_point: str = "", **attributes: Any,
) -> Any:  # fmt: skip
    matrices = []
    for codes, scale, zero in ((W, W_scale, W_zero_point), (R, R_scale, R_zero_point)):
        axes = b.constant([1, 2] if b.rank(scale) == 1 else [1])
        wide = (b("Unsqueeze", b("Cast", n, to=FLOAT), axes) for n in (zero, scale))
        whole = b("Sub", b("Cast", codes, to=FLOAT), next(wide))
        matrices.append(b("Transpose", b("Mul", whole, next(wide)), perm=(0, 2, 1)))
    return b("LSTM", X, *matrices, B, sequence_lens, initial_h, initial_c, P, n=3, **attributes)


@replaces("QEmbedLayerNormalization")
def _embed(b: Body, *inputs: str, epsilon: float = 1e-12) -> Any:
    if len(inputs) != 18:
        raise LoadError(f"{b.node.where} has {len(inputs)} inputs: expected 18")
    ids, segment_ids, words, places, segments, gamma, beta, mask, *quantization = inputs
    tables = [
        _floats(b, table, quantization[i], quantization[5 + i]) if table else ""
        for i, table in enumerate((words, places, segments, gamma, beta))
    ]
    return embed(b, ids, segment_ids, *tables, mask, epsilon=epsilon)


# -- arithmetic -----------------------------------------------------------------------------


@replaces("QLinearAdd", "QLinearMul")
def _binary(
    b: Body, A: str, A_scale: str, A_zero_point: str = "", B: str = "", B_scale: str = "",
    B_zero_point: str = "", C_scale: str = "", C_zero_point: str = "",
) -> str:  # fmt: skip
    xs = _floats(b, A, A_scale, A_zero_point), _floats(b, B, B_scale, B_zero_point)
    made = b(b.node.op_type.removeprefix("QLinear"), *xs)
    return _quantized(b, made, C_scale, C_zero_point, A)


@replaces("QLinearLeakyRelu", "QLinearSigmoid")
def _unary(
    b: Body, X: str, X_scale: str, X_zero_point: str = "", Y_scale: str = "", Y_zero_point: str = "",
    **attributes: Any,
) -> str:  # fmt: skip
    made = b(b.node.op_type.removeprefix("QLinear"), _floats(b, X, X_scale, X_zero_point), **attributes)
    return _quantized(b, made, Y_scale, Y_zero_point, X)


@replaces("QLinearSoftmax")
def _softmax(
    b: Body, X: str, X_scale: str, x_zero_point: str = "", y_scale: str = "", y_zero_point: str = "", *,
    opset: int, axis: int = -1,
) -> str:  # fmt: skip
    x = _floats(b, X, X_scale, x_zero_point)
    if opset >= 13 or axis in (-1, b.rank(X) - 1):
        made = b("Softmax", x, axis=axis)
    else:  # over all axes from this one on
        made = b("Reshape", b("Softmax", b("Flatten", x, axis=axis), axis=1), b("Shape", X))
    return _quantized(b, made, y_scale, y_zero_point, X)


@replaces("QLinearWhere")
def _where(
    b: Body, condition: str, X: str, x_scale: str, x_zero_point: str, Y: str, y_scale: str, y_zero_point: str,
    z_scale: str, z_zero_point: str,
) -> str:  # fmt: skip
    xs = _floats(b, X, x_scale, x_zero_point), _floats(b, Y, y_scale, y_zero_point)
    return _quantized(b, b("Where", condition, *xs), z_scale, z_zero_point, X)


@replaces("QLinearConcat")
def _concat(b: Body, Y_scale: str, Y_zero_point: str, *inputs: str, axis: int) -> str:
    if not inputs or len(inputs) % 3:
        raise LoadError(f"{b.node.where} has {len(inputs)} inputs to join: expected three for each")
    parts = [_floats(b, *inputs[i : i + 3]) for i in range(0, len(inputs), 3)]
    return _quantized(b, b("Concat", *parts, axis=axis), Y_scale, Y_zero_point, inputs[0])


@replaces("QLinearAveragePool", "QLinearGlobalAveragePool")
def _pool(
    b: Body, X: str, x_scale: str, x_zero_point: str = "", y_scale: str = "", y_zero_point: str = "", *,
    channels_last: bool = False, **window: Any,
) -> str:  # fmt: skip
    x = b.channels_first(_floats(b, X, x_scale, x_zero_point), X, channels_last)
    made = b(b.node.op_type.removeprefix("QLinear"), x, **window)
    return b.channels_last(_quantized(b, made, y_scale, y_zero_point, X), X, channels_last)
