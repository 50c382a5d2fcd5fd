"""Each fusion fires where it should, gives the same result, and says why where it does not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.optimize.expressions import check_rules, f32, i64, make


@dataclass(eq=False)
class Fusion:
    """An expression over inputs, the rule it is about, and the operators that should be left."""

    name: str
    build: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    fires: tuple[str, ...] = ()
    left: tuple[str, ...] | None = None
    refuses: str = ""
    """Reason reported where the rule must not fire."""
    symbolic: tuple[int, ...] = (0,)
    """Axes of the first input that are symbolic."""


def layer_norm(op, x, divide=True, axes=(-1,)):
    centred = op.Sub(x, op.ReduceMean(x, i64(*axes)))
    variance = op.ReduceMean(op.Mul(centred, centred), i64(*axes))
    deviation = op.Sqrt(op.Add(variance, np.float32([1e-5])))
    normal = op.Div(centred, deviation) if divide else op.Mul(centred, op.Reciprocal(deviation))
    return op.Add(op.Mul(f32(8, seed=3), normal), f32(8, seed=4))


def rms_norm(op, x):
    root = op.Sqrt(op.Add(op.ReduceMean(op.Pow(x, np.float32(2)), i64(-1)), np.float32(1e-6)))
    return op.Mul(op.Div(x, root), f32(8, seed=3))


def gelu_erf(op, x, order=0):
    erf = op.Add(op.Erf(op.Div(x, np.float32(math.sqrt(2)))), np.float32(1))
    if order == 0:
        return op.Mul(op.Mul(x, erf), np.float32(0.5))
    return op.Mul(op.Mul(np.float32(0.5), x), erf)


def gelu_tanh(op, x):
    inner = op.Add(x, op.Mul(op.Pow(x, np.float32(3)), np.float32(0.044715)))
    tanh = op.Tanh(op.Mul(inner, np.float32(math.sqrt(2 / math.pi))))
    return op.Mul(op.Mul(x, np.float32(0.5)), op.Add(tanh, np.float32(1)))


def attention(op, q, k, v, mask):
    scores = op.MatMul(op.Transpose(q, perm=(0, 2, 1, 3)), op.Transpose(k, perm=(0, 2, 3, 1)))
    scores = op.Add(op.Div(scores, np.float32(2.0)), mask)
    weights = op.Softmax(scores, axis=-1)
    weights = op.Where(op.IsNaN(weights), np.float32(0), weights)
    return op.Transpose(op.MatMul(weights, op.Transpose(v, perm=(0, 2, 1, 3))), perm=(0, 2, 1, 3))


def conv_block(op, x, residual=None):
    y = op.Conv(x, f32(16, 4, 3, 3, seed=1), pads=(1, 1, 1, 1))
    y = op.BatchNormalization(
        y, f32(16, seed=2), f32(16, seed=3), f32(16, seed=4), np.abs(f32(16, seed=5)) + np.float32(0.5)
    )
    return op.Relu(y if residual is None else op.Add(y, residual))


def two_convs(op, x):
    a = conv_block(op, x)
    b = op.Conv(a, f32(16, 16, 1, 1, seed=6), f32(16, seed=7))
    return op.GlobalAveragePool(op.Clip(op.Add(b, a), np.float32(0), np.float32(6)))


def one_dimensional(op, x):
    y = op.Relu(op.Conv(x, f32(8, 4, 3, seed=1), f32(8, seed=2), pads=(1, 1)))
    return op.Conv(y, f32(5, 8, 2, seed=3), strides=(2,))


X3, HEADS = f32(2, 5, 8), tuple(f32(2, 5, 3, 4, seed=s) for s in range(3))

CASES = [
    Fusion("layer norm", layer_norm, (X3,), ("LayerNorm",), ("LayerNormalization",)),
    Fusion("layer norm, reciprocal", lambda op, x: layer_norm(op, x, False), (X3,), ("LayerNorm",)),
    Fusion(
        "layer norm over two axes",
        lambda op, x: layer_norm(op, x, axes=(1, 2)),
        (X3,),
        refuses="not over the last axis",
    ),
    Fusion("rms norm", rms_norm, (X3,), ("RMSNorm",), ("RMSNormalization",)),
    Fusion("gelu, erf", gelu_erf, (X3,), ("GeluErf",), ("Gelu",)),
    Fusion("gelu, erf, half first", lambda op, x: gelu_erf(op, x, 1), (X3,), ("GeluErf",), ("Gelu",)),
    Fusion("gelu, tanh", gelu_tanh, (X3,), ("GeluTanh",), ("Gelu",)),
    Fusion("silu", lambda op, x: op.Mul(op.Sigmoid(x), x), (X3,), ("Silu",), ("Swish",)),
    Fusion(
        "quick gelu", lambda op, x: op.Mul(op.Sigmoid(op.Mul(x, np.float32(1.702))), x), (X3,), ("QuickGelu",)
    ),
    Fusion(
        "bias, gelu",
        lambda op, x: gelu_erf(op, op.Add(op.MatMul(x, f32(8, 9, seed=1)), f32(9, seed=2))),
        (X3,),
        ("MatMulBias", "MatMulActivation", "PackWeights"),
        ("FusedMatMul",),
    ),
    Fusion(
        "bias, residual, relu",
        lambda op, x: op.Relu(op.Add(x, op.Add(f32(8, seed=2), op.MatMul(x, f32(8, 8, seed=1))))),
        (X3,),
        ("MatMulBias", "MatMulResidual", "MatMulActivation"),
        ("FusedMatMul",),
    ),
    Fusion(
        "gemm, sigmoid",
        lambda op, x: op.Sigmoid(op.Gemm(x, f32(9, 8, seed=1), f32(9), transB=True)),
        (f32(5, 8),),
        ("GemmToFused", "MatMulActivation"),
        ("FusedMatMul",),
    ),
    Fusion(
        "product read twice",
        lambda op, x: (lambda y: (op.Relu(y), op.Neg(y)))(op.MatMul(x, f32(8, 9, seed=1))),
        (X3,),
        refuses="also read elsewhere",
    ),
    Fusion(
        "attention",
        attention,
        (*HEADS, f32(2, 1, 1, 5)),
        ("MaskedSoftmaxAdd", "MaskedSoftmaxScale", "SafeSoftmax", "TransposedOperand", "TransposedResult"),
        ("FusedMatMul", "FusedMatMul", "MaskedSoftmax"),
    ),
    Fusion(
        "scaled product",
        lambda op, x: op.Mul(op.MatMul(x, op.Transpose(x, perm=(0, 2, 1))), np.float32(0.3)),
        (X3,),
        ("TransposedOperand", "ScaledProduct"),
        ("FusedMatMul",),
    ),
    Fusion(
        "conv, batch norm, relu",
        conv_block,
        (f32(2, 4, 6, 5),),
        ("BatchNormIntoConv", "ConvToNhwc", "ConvActivation"),
        ("NhwcConv", "Transpose", "Transpose"),
    ),
    Fusion(
        "conv, residual",
        lambda op, x: conv_block(op, x, op.Conv(x, f32(16, 4, 1, 1, seed=8))),
        (f32(2, 4, 6, 5),),
        ("ConvResidual",),
        ("NhwcConv", "NhwcConv", "Transpose", "Transpose"),
    ),
    Fusion(
        "two convs and a pool",
        two_convs,
        (f32(2, 4, 6, 5),),
        ("ConvResidual", "ConvClip", "SinkMove"),
        ("NhwcConv", "NhwcConv", "ReduceMean", "Reshape", "Transpose"),
    ),
    Fusion(
        "gemm on merged axes",
        lambda op, x: op.Add(
            op.Reshape(op.Gemm(op.Reshape(x, i64(-1, 8)), f32(8, 8), f32(8)), i64(-1, 5, 8)), x
        ),
        (X3,),
        ("ProductOfMerged", "MatMulResidual"),
        ("FusedMatMul",),
    ),
    Fusion(
        "conv, scale, shift",
        lambda op, x: op.Add(op.Mul(op.Conv(x, f32(6, 4, 2, 2)), f32(6, 1, 1)), f32(1, 6, 1, 1)),
        (f32(2, 4, 5, 5),),
        ("ConvScale", "ConvBias"),
        ("NhwcConv", "Transpose", "Transpose"),
    ),
    Fusion(
        "scales and shifts",
        lambda op, x: op.Add(op.Mul(op.Add(op.Mul(x, f32(8)), f32(8)), f32(8)), f32(5, 1)),
        (X3,),
        ("ScaleShifted", "ShiftTwice"),
        ("FusedElementwise",),
    ),
    Fusion(
        "chain with an absent limit",
        lambda op, x: op.Neg(op.Clip(op.Abs(x), None, np.float32(1))),
        (X3,),
        left=("FusedElementwise",),
    ),
    Fusion(
        "sum, layer norm",
        lambda op, x, y: op.LayerNormalization(op.Add(x, y), f32(8, seed=3), f32(8, seed=4), axis=-1),
        (X3, f32(2, 5, 8, seed=5)),
        ("AddLayerNorm",),
        ("FusedAddLayerNormalization",),
        symbolic=(),
    ),
    Fusion(
        "transpose between reshapes",
        lambda op, x: op.Reshape(
            op.Transpose(op.Reshape(x, i64(-1, 3, 4)), perm=(0, 2, 1)), i64(-1, 5, 4, 3)
        ),
        (f32(2, 5, 3, 4),),
        ("TransposeOfMerged",),
        ("Transpose",),
    ),
    Fusion(
        "one-dimensional convs",
        one_dimensional,
        (f32(1, 4, 11),),
        ("Conv1dTo2d", "SinkSqueeze", "ConvActivation"),
        ("NhwcConv", "NhwcConv", "Squeeze", "Transpose", "Transpose", "Unsqueeze"),
        symbolic=(0, 2),
    ),
    Fusion(
        "batch norm alone",
        lambda op, x: op.BatchNormalization(
            x, f32(4), f32(4, seed=1), f32(4, seed=2), np.abs(f32(4, seed=3)) + 1
        ),
        (f32(2, 4, 3),),
        ("BatchNormToScale",),
        ("FusedElementwise",),
    ),
    Fusion(
        "transposes cancel",
        lambda op, x: op.Relu(op.Transpose(op.Transpose(x, perm=(2, 0, 1)), perm=(1, 2, 0))),
        (X3,),
        ("TransposeTwice",),
        ("Relu",),
    ),
    Fusion(
        "reshapes merge",
        lambda op, x: op.Reshape(op.Reshape(x, i64(-1, 4)), i64(-1, 5, 2)),
        (X3,),
        ("ReshapeTwice",),
        ("Reshape",),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_fusion(case: Fusion) -> None:
    plain, fused = make(case, False), make(case, True)
    if len(case.inputs[0].shape) and fused.graph.outputs[0] is not fused.graph.inputs[0]:
        feeds = {f"x{k}": x for k, x in enumerate(case.inputs)}
        for expected, got in zip(plain.run(feeds), fused.run(feeds), strict=True):
            np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)
    check_rules(case, fused)
    if case.left is not None:
        assert sorted(n.op.op_type for n in fused.graph.nodes) == sorted(case.left)
