"""Values that are parts of others: nothing is copied to join them or to take them apart."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from numba_rt.dtypes import FLOAT32, INT64
from numba_rt.graph import Fact, Graph, Value
from numba_rt.kernels.move import copy_bits
from numba_rt.ops._lowering import Lowering, View
from numba_rt.optimize.rule import Builder
from numba_rt.plan import Plan, schedule
from numba_rt.pool import TensorPool
from numba_rt.program import Program
from tests.random_graphs import evaluate

COPIES = ("copy_bits", "copy_axes", "transpose_axes")


class Net:
    """A graph of one input x, and what it computes."""

    def __init__(self, *shape: int) -> None:
        self.graph = Graph("parts")
        self.op = Builder(self.graph)
        self.x = self.graph.input("x", Fact(FLOAT32, shape))

    def plan(self, *outputs: Value) -> Plan:
        """The plan, after a check of the results."""
        self.graph.outputs = list(outputs)
        x = np.random.default_rng(0).uniform(-1, 1, self.x.fact.sizes).astype(np.float32)
        program = Program(schedule(self.graph), 1, TensorPool(poison=True))
        (plan,) = program.plans([x])
        got = program.run([x])
        for result, want in zip(got, evaluate(self.graph, {"x": x}), strict=True):
            np.testing.assert_allclose(result, want, rtol=1e-5, atol=1e-5)
        assert not any(np.shares_memory(a, b) for i, a in enumerate(got) for b in [*got[:i], x])
        return plan


def copies(plan: Plan) -> int:
    return sum(call.kernel.name in COPIES for call in plan.calls)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_is_joined_is_computed_in_place(axis: int) -> None:
    net = Net(3, 4, 5)
    op = net.op
    joined = op.Concat(op.Relu(net.x), op.Neg(net.x), op.Abs(net.x), axis=axis)
    plan = net.plan(op.Softmax(joined))
    assert len(plan.calls) == 4 and copies(plan) == 0
    assert plan.arena_bytes == 0, "all lies in the output, which Softmax takes over"


def test_what_is_joined_lies_in_an_output_of_the_model() -> None:
    net = Net(3, 4)
    plan = net.plan(net.op.Concat(net.op.Relu(net.x), net.op.Neg(net.x), axis=1))
    assert len(plan.calls) == 2
    assert plan.arena_bytes == 0


def test_an_operator_that_needs_one_array_gets_one() -> None:
    net = Net(3, 4)
    op = net.op
    made = op.Softmax(net.x)
    plan = net.plan(op.Concat(made, op.Neg(net.x), axis=1))
    assert copies(plan) == 1, "Softmax cannot write rows that are apart"
    net = Net(3, 4)
    op = net.op
    made = op.Neg(net.x)
    plan = net.plan(op.Concat(made, op.Relu(net.x), axis=1), op.Softmax(made))
    assert copies(plan) == 1, "Softmax cannot read them"


def test_inputs_constants_and_outputs_of_the_model_are_copied() -> None:
    net = Net(3, 4)
    op = net.op
    made = op.Neg(net.x)
    plan = net.plan(op.Concat(net.x, made, op.constant(np.ones((3, 4), np.float32)), axis=0), made)
    assert copies(plan) == 3


def test_what_is_joined_twice_is_copied_once() -> None:
    net = Net(3, 4)
    op = net.op
    made = op.Neg(net.x)
    plan = net.plan(op.Relu(op.Concat(made, made, axis=1)))
    assert copies(plan) == 1
    net = Net(3, 4)
    op = net.op
    made = op.Neg(net.x)
    first = op.Concat(made, op.Relu(net.x), axis=1)
    plan = net.plan(op.Abs(op.Concat(first, made, axis=1)), op.Relu(first))
    assert copies(plan) == 1


def test_views_of_what_is_joined_lie_there_too() -> None:
    net = Net(3, 4)
    op = net.op
    flat = op.Reshape(op.Neg(net.x), ints(12))
    rest = op.Reshape(op.Reshape(op.Abs(net.x), ints(4, 3)), ints(12))
    plan = net.plan(op.Relu(op.Concat(flat, rest, axis=0)))
    assert copies(plan) == 0


def test_results_that_grow_along_the_last_axis_share_one_array() -> None:
    """As in DenseNet: each layer reads all that came before it."""
    net = Net(2, 3, 8)
    op = net.op
    joined = op.Relu(net.x)
    layers = 5
    for _ in range(layers):
        weight = np.random.default_rng(1).uniform(-1, 1, (joined.fact.sizes[-1], 4)).astype(np.float32)
        made = op.MatMul(op.Sigmoid(joined), weight)
        joined = op.Concat(joined, op.Relu(made), axis=2)
    plan = net.plan(op.Neg(joined))
    assert copies(plan) == 0
    assert max(b.nbytes for b in plan.buffers) == 2 * 3 * (8 + 4 * layers) * 4


def test_joining_again_what_was_joined_before() -> None:
    """As torch's DenseNet: each layer joins all that came before it anew."""
    net = Net(2, 3, 8)
    op = net.op
    parts = [net.x, op.Relu(net.x)]
    for _ in range(4):
        joined = op.Concat(*parts, axis=2)
        weight = np.random.default_rng(1).uniform(-1, 1, (joined.fact.sizes[-1], 4)).astype(np.float32)
        parts.append(op.Relu(op.MatMul(op.Sigmoid(joined), weight)))
    plan = net.plan(op.Neg(op.Concat(*parts, axis=2)))
    assert copies(plan) == 1, "the input, once"
    net = Net(2, 3, 8)
    op = net.op
    a, b, c = op.Relu(net.x), op.Neg(net.x), op.Abs(net.x)
    inner, softmax = op.Concat(b, c, axis=2), op.Softmax(op.Concat(a, b, axis=2))
    plan = net.plan(op.Tanh(op.Concat(a, b, c, axis=2)), op.Sigmoid(inner), softmax)
    assert copies(plan) == 2, "what Softmax reads is one array"


def test_parts_are_views() -> None:
    net = Net(6, 4)
    op = net.op
    first, second = op.Split(op.Neg(net.x), outputs=2, axis=0, n_outputs=2)
    middle = op.Slice(net.x, ints(2), ints(4), ints(0))
    plan = net.plan(op.Concat(op.Softmax(first), op.Softmax(second), op.Softmax(middle), axis=0))
    assert Counter(c.kernel.name for c in plan.calls)["softmax_rows"] == 3
    assert copies(plan) == 0


def test_halves_of_rows_are_read_where_they_are() -> None:
    net = Net(3, 8)
    op = net.op
    first, second = op.Split(op.Neg(net.x), outputs=2, axis=1, n_outputs=2)
    plan = net.plan(op.Mul(first, op.Sigmoid(second)))
    assert copies(plan) == 0
    net = Net(3, 8)
    op = net.op
    first, second = op.Split(op.Neg(net.x), outputs=2, axis=1, n_outputs=2)
    plan = net.plan(op.Mul(op.Softmax(first), op.Sigmoid(second)))
    assert copies(plan) == 1, "Softmax cannot read rows that are apart"


def test_parts_under_other_shapes() -> None:
    """As attention splits its heads."""
    net = Net(1, 5, 24)
    op = net.op
    heads = [op.Reshape(v, ints(1, 5, 2, 4)) for v in op.Split(op.Neg(net.x), outputs=3, axis=2, n_outputs=3)]
    plan = net.plan(op.Add(op.Relu(heads[0]), heads[1]), op.Transpose(heads[2], perm=(0, 2, 1, 3)))
    assert copies(plan) == 1, "the Transpose"


def test_parts_that_leave_are_copied() -> None:
    net = Net(6, 4)
    op = net.op
    first, second = op.Split(net.x, outputs=2, axis=0, n_outputs=2)
    left, right = op.Split(op.Neg(net.x), outputs=2, axis=1, n_outputs=2)
    plan = net.plan(first, op.Flatten(second), left, op.Identity(right))
    assert copies(plan) == 4


def test_a_part_is_taken_over_when_nobody_reads_it_any_more() -> None:
    net = Net(6, 4)
    op = net.op
    first, second = op.Split(op.Neg(net.x), outputs=2, axis=0, n_outputs=2)
    plan = net.plan(op.Softmax(op.Mul(op.Softmax(first), op.Softmax(second))))
    assert len(plan.takeovers) == 3, "all but what becomes the output"


def test_a_part_is_not_taken_over_while_the_whole_is_read() -> None:
    net = Net(6, 4)
    op = net.op
    whole = op.Neg(net.x)
    first, second = op.Split(whole, outputs=2, axis=0, n_outputs=2)
    changed = op.Softmax(first)
    plan = net.plan(op.Concat(changed, second, op.Relu(whole), axis=0), op.Softmax(changed))
    softmax = next(n for n in plan.nodes if n.op.op_type == "Softmax")
    assert id(softmax) not in plan.takeovers


def test_an_output_never_takes_over_a_part() -> None:
    net = Net(6, 4)
    op = net.op
    first, second = op.Split(op.Neg(net.x), outputs=2, axis=0, n_outputs=2)
    plan = net.plan(op.Softmax(first), op.Softmax(second))
    assert not plan.takeovers


def test_parts_of_other_item_sizes() -> None:
    graph = Graph("pairs")
    op = Builder(graph)
    x = graph.input("x", Fact(np.dtype(np.complex128), (3, 4)))
    parts = op.Split(op.Transpose(x, perm=(1, 0)), outputs=3, axis=1, n_outputs=3)
    graph.outputs = [op.Concat(*[op.Transpose(p, perm=(1, 0)) for p in parts], axis=1)]
    array = np.random.default_rng(0).uniform(-1, 1, (3, 4)) + 1j
    (got,) = Program(schedule(graph), 1, TensorPool(poison=True)).run([array])
    np.testing.assert_array_equal(got, array.reshape(1, -1))


def test_empty_parts() -> None:
    net = Net(3, 4)
    op = net.op
    none, all_ = op.Split(op.Neg(net.x), ints(0, 4), outputs=2, axis=1, n_outputs=2)
    net.plan(op.Concat(op.Relu(none), op.Relu(all_), op.Abs(none), axis=1))


def test_indices_may_be_joined() -> None:
    graph = Graph("indices")
    op = Builder(graph)
    x, at = graph.input("x", Fact(FLOAT32, (5, 4))), graph.input("at", Fact(INT64, (3,)))
    both = op.Concat(op.Add(at, op.constant(ints(1))), op.Mul(at, op.constant(ints(2))), axis=0)
    graph.outputs = [op.Gather(x, both, axis=0)]
    array = np.random.default_rng(0).uniform(-1, 1, (5, 4)).astype(np.float32)
    (got,) = Program(schedule(graph), 1, TensorPool(poison=True)).run([array, ints(2, 0, 1)])
    np.testing.assert_array_equal(got, array[[3, 1, 2, 4, 0, 2]])


def test_the_plan_says_what_is_a_part_of_what() -> None:
    net = Net(3, 4)
    plan = net.plan(net.op.Softmax(net.op.Concat(net.op.Relu(net.x), net.op.Neg(net.x), axis=1)))
    lines = str(plan).splitlines()
    assert "output 0 + 16 (rows of 16 bytes, 32 apart)" in lines[1]
    assert any("in place" in line and line.startswith("Concat") for line in lines)


def test_rows_that_are_apart_cannot_be_taken_for_one_array() -> None:
    low = Lowering(1)
    rows = View(np.zeros(24, np.float32), (3, 4), FLOAT32, 0, 4, 8)
    assert rows.strides == [8, 1]
    assert low.span(rows).shape == (20,)
    uses: list[Any] = [
        low.flat,
        low.bits,
        low.matrices,
        lambda v: low.rows(v, 1),
        lambda v: low.view(v, (12,)),
    ]
    for use in uses:
        with pytest.raises(ValueError, match="4 elements, 8 apart"):
            use(rows)
    with pytest.raises(ValueError, match="rows that are apart"):
        low.call(copy_bits, rows, rows, 1)
