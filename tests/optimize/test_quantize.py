"""Scaling to and from few bits joins the arithmetic between: one pass, the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numba_rt.graph import Fact, Graph, Sym
from numba_rt.model import Model
from numba_rt.optimize.rule import Builder

U8 = np.random.default_rng(0).integers(0, 256, (3, 5, 7)).astype(np.uint8)
F32 = np.random.default_rng(1).standard_normal((3, 5, 7)).astype(np.float32)
SCALE, ZERO = 0.03, 120


def number(value: Any, dtype: Any = np.float32) -> np.ndarray:
    return np.array(value, dtype)


def added(op: Any, x: Any) -> Any:
    """QLinearAdd as it is written out."""
    y = op.DequantizeLinear(x, number(0.5), number(3, np.uint8))
    total = op.Add(op.DequantizeLinear(x, number(SCALE), number(ZERO, np.uint8)), y)
    return op.QuantizeLinear(total, number(0.6), number(9, np.uint8))


def of_channels(op: Any, x: Any) -> Any:
    scales, zeros = F32[0, :, 0] ** 2 + 0.01, U8[0, :, 0]
    q = op.QuantizeLinear(x, scales, zeros, axis=-2)
    return op.Relu(op.DequantizeLinear(q, scales, zeros, axis=1))


def without_zero(op: Any, x: Any) -> Any:
    return op.Neg(op.DequantizeLinear(op.QuantizeLinear(x, number([0.1]), output_dtype=3), number([0.1])))


FUSED = [(added, U8), (of_channels, F32), (without_zero, F32)]


def run(build: Any, x: np.ndarray, optimized: bool) -> tuple[Model, np.ndarray]:
    graph = Graph("case")
    value = graph.input("x", Fact(x.dtype, (Sym("n"), *x.shape[1:])))
    graph.outputs = [build(Builder(graph), value)]
    model = Model(graph, threads=1, optimized=optimized)
    return model, model.run({"x": x})[0]


@pytest.mark.parametrize(("build", "x"), FUSED, ids=lambda v: getattr(v, "__name__", ""))
def test_one_pass(build: Any, x: np.ndarray) -> None:
    model, got = run(build, x, True)
    np.testing.assert_array_equal(got, run(build, x, False)[1])
    assert [n.op.op_type for n in model.graph.nodes] == ["FusedElementwise"]


def blocks(op: Any, x: Any) -> Any:
    return op.QuantizeLinear(x, np.full((3, 1, 7), 0.1, np.float32), axis=1, block_size=5)


def small(op: Any, x: Any) -> Any:
    return op.QuantizeLinear(x, number(0.1), output_dtype=22)


@pytest.mark.parametrize(("build", "reason"), [(blocks, "blocks"), (small, "8 and 16 bits")])
def test_what_is_left_alone(build: Any, reason: str) -> None:
    model, _ = run(build, F32, True)
    assert [n.op.op_type for n in model.graph.nodes] == ["QuantizeLinear"]
    assert any(reason in why for rule, _, why in model.report.refused if rule == "QuantizeAsArithmetic")


def integers(seed: int, *shape: int, dtype: Any = np.int8) -> np.ndarray:
    info = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(info.min, info.max + 1, shape).astype(dtype)


ZU8, ZI8 = number(ZERO, np.uint8), number(-3, np.int8)
OF_COLUMNS = np.float32([0.01, 0.02, 0.005])


def dynamic(op: Any, x: Any) -> Any:
    """A dynamically quantized layer."""
    q, scale, zero = op.DynamicQuantizeLinear(x, outputs=3)
    sums = op.Cast(op.MatMulInteger(q, integers(0, 7, 3), zero, integers(1, 3)), to=1)
    return op.Relu(op.Mul(sums, op.Mul(scale, OF_COLUMNS)))


def static(op: Any, x: Any) -> Any:
    """A statically quantized layer."""
    return op.QLinearMatMul(
        x, number(SCALE), ZU8, integers(0, 7, 3), OF_COLUMNS, integers(1, 3), number(0.3), ZU8
    )


def quantized_convolution(op: Any, x: Any) -> Any:
    bias = integers(5, 4, dtype=np.int16).astype(np.int32)
    scales = np.float32([0.01, 0.02, 0.005, 0.03])
    return op.QLinearConv(
        x,
        number(SCALE),
        ZU8,
        integers(2, 4, 5, 3),
        scales,
        integers(3, 4),
        number(2.0),
        ZU8,
        bias,
        pads=(1, 2),
    )


def two_filters_each(op: Any, x: Any) -> Any:
    filters = integers(4, 10, 1, 3, dtype=np.uint8)
    return op.ConvInteger(x, filters, ZU8, ZU8, group=5, dilations=(2,), strides=(2,))


def depthwise(op: Any, x: Any) -> Any:
    filters, zeros = integers(4, 5, 1, 4, dtype=np.uint8), integers(6, 5, dtype=np.uint8)
    return op.ConvInteger(x, filters, ZU8, zeros, group=5, dilations=(2,), strides=(2,), pads=(3, 2))


def depthwise_images(op: Any, x: Any) -> Any:
    images = op.Reshape(x, np.array([0, 5, 7, 1]))
    y = op.ConvInteger(images, integers(4, 5, 1, 3, 2), ZU8, group=5, auto_pad="SAME_UPPER", strides=(2, 1))
    return op.ConvInteger(op.Cast(y, to=2), integers(7, 5, 1, 3, 3), group=5, pads=(1, 1, 1, 1))


def without_zeros(op: Any, x: Any) -> Any:
    return op.MatMulInteger(x, integers(0, 7, 3))


PACKED = [
    (dynamic, F32, "PackedMatMulInteger"),
    (static, U8, "PackedMatMulInteger"),
    (without_zeros, U8, "PackedMatMulInteger"),
    (quantized_convolution, U8, "PackedConvInteger"),
    (two_filters_each, U8, "PackedConvInteger"),
    (depthwise, U8, "DepthwiseConvInteger"),
    (depthwise_images, U8, "DepthwiseConvInteger"),
]


@pytest.mark.parametrize(("build", "x", "kind"), PACKED, ids=lambda v: getattr(v, "__name__", ""))
def test_weights_are_packed_once(build: Any, x: np.ndarray, kind: str) -> None:
    model, got = run(build, x, True)
    np.testing.assert_array_equal(got, run(build, x, False)[1])
    assert kind in [n.op.op_type for n in model.graph.nodes]


def moving_weights(op: Any, x: Any) -> Any:
    return op.MatMulInteger(x, op.Transpose(x, perm=(0, 2, 1)), ZU8)


def moving_scale(op: Any, x: Any) -> Any:
    _, scale, _ = op.DynamicQuantizeLinear(op.Cast(x, to=1), outputs=3)
    return op.QLinearMatMul(x, scale, ZU8, integers(0, 7, 3), OF_COLUMNS, ZI8, number(0.3), ZU8)


@pytest.mark.parametrize(
    ("build", "rule", "reason"),
    [
        (moving_weights, "PackIntegerWeights", "not a constant matrix"),
        (moving_scale, "PackQuantizedWeights", "not one constant"),
    ],
)
def test_weights_that_are_not_packed(build: Any, rule: str, reason: str) -> None:
    model, got = run(build, U8, True)
    np.testing.assert_array_equal(got, run(build, U8, False)[1])
    assert any(reason in why for name, _, why in model.report.refused if name == rule)
