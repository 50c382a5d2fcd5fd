"""Where a graph is cut, and what keys a plan."""

from __future__ import annotations

import numpy as np
import pytest

from numba_rt.dtypes import FLOAT32, INT64
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact, Graph, Sym
from numba_rt.optimize.rule import Builder
from numba_rt.plan import HostStep, Segment, schedule
from numba_rt.program import Program, SegmentRunner

X = np.arange(12, dtype=np.float32).reshape(3, 4)


def runner(program: Program, index: int = 0) -> SegmentRunner:
    step = program.steps[index]
    assert isinstance(step, SegmentRunner)
    return step


def test_a_shape_fed_at_run_time_keys_the_plan() -> None:
    graph = Graph("fed")
    op = Builder(graph)
    x, shape = graph.input("x", Fact(FLOAT32, (3, 4))), graph.input("shape", Fact(INT64, (2,)))
    graph.outputs = [op.Add(op.Reshape(x, shape), np.float32(1).reshape(()))]
    program = Program(schedule(graph), 1)
    for target in ([2, 6], [12, 1], [2, 6], [-1, 3]):
        (got,) = program.run([X, np.array(target, np.int64)])
        np.testing.assert_array_equal(got, X.reshape(target) + 1)
    assert len(runner(program).plans) == 3
    with pytest.raises(ShapeError, match="does not fit into shape"):
        program.run([X, np.array([5, 5], np.int64)])
    np.testing.assert_array_equal(program.run([X, np.array([4, 3], np.int64)])[0], X.reshape(4, 3) + 1)


def test_shape_arithmetic_is_not_executed() -> None:
    graph = Graph("arithmetic")
    op = Builder(graph)
    x = graph.input("x", Fact(FLOAT32, (Sym("n"), 4)))
    rows = op.Gather(op.Shape(x), np.array([0], np.int64), axis=0)
    half = op.Concat(op.Mul(rows, np.array([2], np.int64)), np.array([2], np.int64), axis=0)
    graph.outputs = [op.Softmax(op.Reshape(x, half))]
    scheduled = schedule(graph)
    assert [type(s) for s in scheduled.steps] == [Segment]
    program = Program(scheduled, 1)
    (plan,) = program.plans([X])
    assert [c.node.op.op_type for c in plan.calls] == ["Softmax"]
    assert program.run([X])[0].shape == (6, 2)


def test_a_size_that_depends_on_data_ends_a_segment() -> None:
    graph = Graph("data")
    op = Builder(graph)
    x = graph.input("x", Fact(FLOAT32, (Sym("n"), 4)))
    found = op.NonZero(op.Add(x, x))
    graph.outputs = [op.Transpose(found, perm=(1, 0)), op.Softmax(x)]
    scheduled = schedule(graph)
    kinds = [type(s) for s in scheduled.steps]
    assert kinds == [Segment, HostStep, Segment]
    first = scheduled.steps[0]
    assert isinstance(first, Segment)
    assert [n.op.op_type for n in first.nodes] == ["Add", "Softmax"]
    program = Program(scheduled, 1)
    for x in (X, X[:1], np.zeros((2, 4), np.float32), np.zeros((0, 4), np.float32)):
        got, _ = program.run([x])
        np.testing.assert_array_equal(got, np.argwhere(x))


def test_a_shape_computed_from_data_begins_another_segment() -> None:
    graph = Graph("computed")
    op = Builder(graph)
    x, shape = graph.input("x", Fact(FLOAT32, (3, 4))), graph.input("shape", Fact(FLOAT32, (2,)))
    sizes = op.Cast(op.MatMul(shape, np.eye(2, dtype=np.float32)), to=7)
    graph.outputs = [op.Reshape(x, sizes)]
    scheduled = schedule(graph)
    assert [type(s) for s in scheduled.steps] == [Segment, Segment]
    program = Program(scheduled, 1)
    for target in ([2, 6], [6, 2], [2, 6]):
        (got,) = program.run([X, np.array(target, np.float32)])
        np.testing.assert_array_equal(got, X.reshape(target))
    assert len(runner(program, 1).plans) == 2


def test_arithmetic_on_a_few_fed_integers_does_not_cut() -> None:
    graph = Graph("fed")
    op = Builder(graph)
    x, shape = graph.input("x", Fact(FLOAT32, (3, 4))), graph.input("shape", Fact(INT64, (1,)))
    graph.outputs = [op.Reshape(x, op.Concat(shape, np.array([-1], np.int64), axis=0))]
    scheduled = schedule(graph)
    assert [type(s) for s in scheduled.steps] == [Segment]
    assert Program(scheduled, 1).run([X, np.array([6], np.int64)])[0].shape == (6, 2)


def test_a_fed_value_that_is_known_and_leaves() -> None:
    """The sizes a model computes may also be its output."""
    graph = Graph("leaves")
    op = Builder(graph)
    x = graph.input("x", Fact(FLOAT32, (Sym("n"), 4)))
    shape = op.Shape(x)
    graph.outputs = [shape, op.Mul(shape, np.array([2], np.int64)), shape]
    program = Program(schedule(graph), 1)
    a, b, c = program.run([X])
    np.testing.assert_array_equal(a, [3, 4])
    np.testing.assert_array_equal(b, [6, 8])
    a[0] = 99
    np.testing.assert_array_equal(c, [3, 4])
    np.testing.assert_array_equal(program.run([X])[0], [3, 4])
