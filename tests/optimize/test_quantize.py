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
