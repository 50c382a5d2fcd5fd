"""What lies between operators that compute in 16-bit floats does not round."""

from __future__ import annotations

import numpy as np
import pytest

from numba_rt.graph import Fact, Graph
from numba_rt.model import Model
from numba_rt.ops import get
from numba_rt.optimize.half import widen_halves
from numba_rt.optimize.infer import infer_facts
from numba_rt.optimize.report import Report

X = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float16)


def softmax_product(between: str) -> Graph:
    """MatMul(between(Softmax(x)), y) in float16."""
    graph = Graph("half")
    x = graph.input("x", Fact(X.dtype, X.shape))
    y = graph.input("y", Fact(X.dtype, (7, 5)))
    made = graph.node(get("", "Softmax")(), [x]).outputs[0]
    if between == "Where":
        mask = graph.input("mask", Fact(np.dtype(np.bool_), (5, 1)))
        zero = graph.constant(np.zeros(1, np.float16), "zero")
        made = graph.node(get("", "Where")(), [mask, zero, made]).outputs[0]
    elif between == "Cast":
        made = graph.node(get("", "Cast")(to=10), [made]).outputs[0]
    elif between == "Identity":
        made = graph.node(get("", "Identity")(), [made]).outputs[0]
    graph.outputs = graph.node(get("", "MatMul")(), [made, y], ["z"]).outputs
    return graph


@pytest.mark.parametrize("between", ["", "Where", "Cast", "Identity"])
def test_rounded_once(between: str) -> None:
    mask = np.array([[True], [False], [False], [True], [False]])
    feeds = {"x": X, "y": np.ascontiguousarray(X.T)}
    e = np.exp(X.astype(np.float64))
    soft = e / e.sum(1, keepdims=True)
    if between == "Where":
        feeds["mask"] = mask
        soft = np.where(mask, 0, soft)
    (got,) = Model(softmax_product(between), threads=1).run(feeds)
    np.testing.assert_array_equal(got, (soft @ X.T.astype(np.float64)).astype(np.float16))


def test_where_on_inputs_moves_bits() -> None:
    graph = Graph("half")
    x = graph.input("x", Fact(X.dtype, X.shape))
    mask = graph.input("mask", Fact(np.dtype(np.bool_), X.shape))
    graph.outputs = graph.node(get("", "Where")(), [mask, x, x], ["y"]).outputs
    infer_facts(graph, Report())
    widen_halves(graph, Report())
    assert [node.op.op_type for node in graph.nodes] == ["Where"]
