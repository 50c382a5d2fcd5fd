"""Weights that several layers share are stored once, also when they are packed."""

from __future__ import annotations

import numpy as np
import pytest

from numba_rt.dtypes import FLOAT32
from numba_rt.graph import Fact, Graph, Value
from numba_rt.model import Model
from numba_rt.optimize.rule import Builder

W = np.random.default_rng(0).standard_normal((40, 40), np.float32) / 8
ZEROS = np.zeros((40, 40), np.float32)


def layers(*weights: np.ndarray | Value) -> tuple[Graph, Builder]:
    """Relu(x @ w) for each of the weights, one after the other."""
    graph = Graph("shared")
    op, x = Builder(graph), graph.input("x", Fact(FLOAT32, (3, 40)))
    for w in weights:
        x = op.Relu(op.MatMul(x, w))
    graph.outputs = [x]
    return graph, op


def weights_of(graph: Graph) -> list[Value]:
    return [v for n in graph.nodes for v in n.inputs[1:2] if v is not None]


def changed(at: int) -> np.ndarray:
    other = W.copy()
    other.reshape(-1)[at] += 1
    return other


@pytest.mark.parametrize(
    ("weights", "distinct"),
    [
        ([W, W.copy(), W], 1),
        ([W, changed(1)], 2),
        ([W, changed(-1), W], 2),
        ([ZEROS, -ZEROS], 2),
        ([W * np.nan, W * np.nan], 1),
        ([W], 1),
    ],
    ids=["equal", "one element differs", "the last differs", "zeros of two signs", "nan", "one layer"],
)
def test_equal_weights_are_packed_once(weights: list[np.ndarray], distinct: int) -> None:
    graph, _ = layers(*weights)
    model = Model(graph, threads=1)
    packed = weights_of(graph)
    assert len(packed) == len(weights)
    assert len({id(v) for v in packed}) == distinct
    assert not graph._derived
    x = np.random.default_rng(1).standard_normal((3, 40), np.float32)
    expected = x
    for w in weights:
        expected = np.maximum(expected @ w, 0)
    np.testing.assert_allclose(model.run({"x": x})[0], expected, rtol=1e-4, atol=1e-5)


def test_one_weight_read_in_two_ways_is_packed_for_each() -> None:
    graph = Graph("tied")
    op, x = Builder(graph), graph.input("x", Fact(FLOAT32, (3, 40)))
    w = op.constant(W)
    graph.outputs = [op.MatMul(op.MatMul(x, w), op.Transpose(w, perm=(1, 0)))]
    model = Model(graph, threads=1)
    data = np.random.default_rng(1).standard_normal((3, 40), np.float32)
    np.testing.assert_allclose(model.run({"x": data})[0], data @ W @ W.T, rtol=1e-4, atol=1e-4)
