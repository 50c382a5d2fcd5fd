"""Which outputs take over which buffers."""

from __future__ import annotations

import numpy as np

from numba_rt.dtypes import FLOAT32
from numba_rt.graph import Fact, Graph, Value
from numba_rt.optimize.rule import Builder
from numba_rt.plan import Plan, schedule
from numba_rt.pool import TensorPool
from numba_rt.program import Program


def network(*shape: int) -> tuple[Graph, Builder, Value]:
    graph = Graph("reuse")
    return graph, Builder(graph), graph.input("x", Fact(FLOAT32, shape))


def plan_and_run(graph: Graph, *inputs: np.ndarray) -> tuple[Plan, list[np.ndarray]]:
    program = Program(schedule(graph), 1, TensorPool(poison=True))
    (plan,) = program.plans(inputs)
    return plan, program.run(inputs)


X = np.random.default_rng(0).uniform(-1, 1, (4, 4)).astype(np.float32)


def test_a_chain_lies_in_the_output() -> None:
    graph, op, x = network(4, 4)
    graph.outputs = [op.Softmax(op.Softmax(op.Softmax(x)))]
    plan, _ = plan_and_run(graph, X)
    assert len(plan.takeovers) == 2
    assert plan.arena_bytes == 0


def test_a_value_read_later_is_not_taken_over() -> None:
    graph, op, x = network(4, 4)
    y = op.Softmax(x)
    graph.outputs = [op.Add(op.Softmax(y), y)]
    plan, (got,) = plan_and_run(graph, X)
    first = np.exp(X) / np.exp(X).sum(-1, keepdims=True)
    second = np.exp(first) / np.exp(first).sum(-1, keepdims=True)
    np.testing.assert_allclose(got, first + second, rtol=1e-5)
    assert id(plan.nodes[1]) not in plan.takeovers


def test_an_output_of_the_model_is_not_taken_over() -> None:
    graph, op, x = network(4, 4)
    y = op.Add(x, x)
    graph.outputs = [y, op.Add(y, y)]
    _, (first, second) = plan_and_run(graph, X)
    np.testing.assert_array_equal(first, X + X)
    np.testing.assert_array_equal(second, 4 * X)


def test_an_input_of_the_model_is_not_taken_over() -> None:
    graph, op, x = network(4, 4)
    graph.outputs = [op.Softmax(op.Reshape(x, np.array([2, 8], np.int64)))]
    before = X.copy()
    plan, _ = plan_and_run(graph, X)
    assert not plan.takeovers
    np.testing.assert_array_equal(X, before)


def test_memory_read_in_another_place_too_is_not_taken_over() -> None:
    """`updates` are read where nothing says that they are read element by element."""
    graph, op, x = network(4, 4)
    y = op.Add(x, x)
    rows = np.array([[3] * 4, [2] * 4, [1] * 4, [0] * 4], np.int64)
    graph.outputs = [op.ScatterElements(y, rows, y, axis=0)]
    _, (got,) = plan_and_run(graph, X)
    np.testing.assert_array_equal(got, (X + X)[::-1])


def test_memory_read_through_a_view_too_is_not_taken_over() -> None:
    graph, op, x = network(4, 4)
    y = op.Add(x, x)
    again = op.Reshape(op.Reshape(y, np.array([16], np.int64)), np.array([4, 4], np.int64))
    rows = np.array([[3] * 4, [2] * 4, [1] * 4, [0] * 4], np.int64)
    graph.outputs = [op.ScatterElements(y, rows, again, axis=0)]
    _, (got,) = plan_and_run(graph, X)
    np.testing.assert_array_equal(got, (X + X)[::-1])


def test_views_of_an_input_that_leave_are_copied() -> None:
    graph, op, x = network(4, 4)
    flat = op.Flatten(x, axis=0)
    graph.outputs = [flat, op.Identity(flat), x]
    _, outputs = plan_and_run(graph, X)
    for got in outputs:
        np.testing.assert_array_equal(got.reshape(4, 4), X)
        assert not np.shares_memory(got, X)


def test_two_views_of_one_value_leave_as_two_arrays() -> None:
    graph, op, x = network(4, 4)
    y = op.Add(x, x)
    graph.outputs = [y, op.Reshape(y, np.array([16], np.int64)), op.Flatten(y, axis=0)]
    _, outputs = plan_and_run(graph, X)
    for got in outputs:
        np.testing.assert_array_equal(got.reshape(4, 4), X + X)
    assert not any(np.shares_memory(a, b) for i, a in enumerate(outputs) for b in outputs[:i])


def test_the_plan_says_what_took_over_what() -> None:
    graph, op, x = network(4, 4)
    y = op.Add(x, x)
    graph.outputs = [op.MatMul(op.Softmax(y), np.eye(4, dtype=np.float32))]
    plan, _ = plan_and_run(graph, X)
    lines = str(plan).splitlines()
    assert len(lines) == len(plan.calls) + 1
    assert lines[0].split()[0] == "Add" and "@" in lines[0]
    assert f"= {y.name}" in lines[1]
    assert "float32[4,4] → float32[4,4]" in lines[1]
    assert "output 0" in lines[-2]
    assert lines[-1].endswith(f"arena {plan.arena_bytes:,} bytes")


def test_names_in_a_plan_cannot_act_on_the_terminal() -> None:
    graph, _, x = network(4, 4)
    op = Builder(graph, name="evil\x1b[31m\n")
    graph.outputs = [op.Add(x, x)]
    plan, _ = plan_and_run(graph, X)
    assert "\x1b" not in str(plan)
    assert len(str(plan).splitlines()) == 2
