"""What binding new shapes looks at again, counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from numba_rt.dtypes import FLOAT32
from numba_rt.graph import Fact, Graph, Sym
from numba_rt.ops.matmul import MatMul
from numba_rt.ops.softmax import Softmax
from numba_rt.optimize.rule import Builder
from numba_rt.plan import inference, schedule
from numba_rt.program import Program

RNG = np.random.default_rng(0)
LAYERS = 6


def layers() -> tuple[Program, list[np.ndarray]]:
    """Equal layers on rows (n, 8), and a branch on rows whose number is fixed."""
    graph = Graph("layers")
    op = Builder(graph)
    x = graph.input("x", Fact(FLOAT32, (Sym("n"), 8)))
    other = graph.input("other", Fact(FLOAT32, (3, 8)))
    weights = [RNG.uniform(-1, 1, (8, 8)).astype(np.float32) for _ in range(LAYERS)]
    y, z = x, other
    for weight in weights:
        y, z = op.Softmax(op.MatMul(y, weight)), op.Softmax(z)
    graph.outputs = [y, z]
    return Program(schedule(graph), 1), weights


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts calls of `infer` and `lower` by operator from now on."""
    counts: Counter[str] = Counter()

    def count(owner: Any, name: str) -> None:
        plain = getattr(owner, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            op = args[0]
            counts[f"{name} {op.op_type}"] += 1
            return plain(*args, **kwargs)

        monkeypatch.setattr(owner, name, counting)

    count(inference, "infer")
    count(MatMul, "lower")
    count(Softmax, "lower")
    return counts


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def check(program: Program, weights: list[np.ndarray], n: int) -> None:
    x, other = (RNG.uniform(-1, 1, (rows, 8)).astype(np.float32) for rows in (n, 3))
    y, z = program.run([x, other])
    for weight in weights:
        x, other = softmax(x @ weight), softmax(other)
    np.testing.assert_allclose(y, x, rtol=1e-5)
    np.testing.assert_allclose(z, other, rtol=1e-5)


def test_of_equal_layers_one_is_inferred(monkeypatch: pytest.MonkeyPatch) -> None:
    program, weights = layers()
    counts = counted(monkeypatch)
    check(program, weights, 5)
    assert counts["infer MatMul"] == 1
    assert counts["infer Softmax"] == 2
    assert counts["lower MatMul"] == LAYERS


def test_what_a_new_size_does_not_change_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    program, weights = layers()
    check(program, weights, 5)
    counts = counted(monkeypatch)
    check(program, weights, 7)
    expected = {"infer MatMul": 1, "infer Softmax": 1, "lower MatMul": LAYERS, "lower Softmax": LAYERS}
    assert counts == expected
    for n in (5, 9, 1, 7):
        check(program, weights, n)


def test_values_of_constants_that_decide_shapes_tell_nodes_apart() -> None:
    graph = Graph("reshapes")
    op = Builder(graph)
    x = graph.input("x", Fact(FLOAT32, (Sym("n"), 12)))
    shapes = [(0, 3, 4), (0, 4, 3), (0, 2, 6)]
    graph.outputs = [op.Softmax(op.Reshape(x, np.array(s, np.int64))) for s in shapes]
    program = Program(schedule(graph), 1)
    for n in (2, 5):
        data = RNG.uniform(-1, 1, (n, 12)).astype(np.float32)
        for got, shape in zip(program.run([data]), shapes, strict=True):
            np.testing.assert_allclose(got, softmax(data.reshape(n, *shape[1:])), rtol=1e-5)


def test_known_values_are_followed_for_each_constant() -> None:
    """Where all inputs are known, results follow from the values of constants, not from their shapes."""
    graph = Graph("known")
    op = Builder(graph)
    x = graph.input("x", Fact(FLOAT32, (Sym("n"), 2)))
    sizes = op.Cast(op.Shape(x), to=1)
    graph.outputs = [op.Mul(sizes, np.array([factor, 1], np.float32)) for factor in (2, 3, 4)]
    program = Program(schedule(graph), 1)
    for n in (3, 8):
        results = program.run([np.zeros((n, 2), np.float32)])
        assert [r.tolist() for r in results] == [[factor * n, 2] for factor in (2, 3, 4)]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "MOST_REMEMBERED", 20)
    program, _ = layers()
    segment = program.steps[0].segment  # type: ignore[union-attr]
    found = inference.Inference(segment.nodes)
    for n in range(1, 60):
        facts = found.facts(segment.inputs, [Fact(FLOAT32, (n, 8)), Fact(FLOAT32, (3, 8))])
        assert [facts[id(v)].shape for v in segment.outputs] == [(n, 8), (3, 8)]
        assert len(found._made) <= 20 + len(segment.nodes)
