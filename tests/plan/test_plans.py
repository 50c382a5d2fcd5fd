"""Plans of random graphs: memory is never read after something else was written there."""

from __future__ import annotations

from math import prod

import numpy as np
from hypothesis import HealthCheck, given, settings

from numba_rt.graph import Node, Value
from numba_rt.ops._eager import as_list
from numba_rt.ops._lowering import Call, Scratch, View
from numba_rt.ops._parts import whole
from numba_rt.plan import Plan, Segment, schedule
from numba_rt.plan.plan import Place
from numba_rt.pool import TensorPool
from numba_rt.program import Program
from tests.random_graphs import Drawn, evaluate, graphs

PARTS = (
    "Concat", "Concat", "Split", "Slice", "Reshape", "Unsqueeze", "Transpose", "Relu", "Softmax", "Add",
    "MatMul",
)  # fmt: skip
"""Operators that put together and take apart, and those between them."""

SETTINGS = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def plan_of(drawn: Drawn) -> tuple[Segment | None, Plan | None]:
    program = Program(schedule(drawn.graph), 1)
    plans = program.plans([drawn.feeds[v.name] for v in drawn.graph.inputs])
    if not plans:
        return None, None
    assert len(plans) == 1
    return program.steps[0].segment, plans[0]


class Memory:
    """Which element of which value every byte of the arena, the inputs and the outputs holds."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.spaces: dict[object, np.ndarray] = {}
        self.made = 0

    def fresh(self, shape: tuple[int, ...]) -> np.ndarray:
        """Elements that were never seen before."""
        self.made += prod(shape)
        return np.arange(self.made - prod(shape), self.made).reshape(shape)

    def where(self, value: Value) -> tuple[object, np.ndarray]:
        """The space a value lies in, and the place of each byte, by axis and byte of an element."""
        place, fact = self.plan.places[id(value)], self.plan.facts[id(value)]
        part = self.plan.parts.get(id(value), whole(int(fact.size)))
        rows = part.offset + np.arange(part.rows)[:, None] * part.pitch + np.arange(part.run)
        elements = rows.reshape(*fact.sizes, 1) * fact.dtype.itemsize + np.arange(fact.dtype.itemsize)
        if place.kind == "arena":
            return "arena", elements + place.index
        return (place.kind, place.index), elements

    def write(self, where: tuple[object, np.ndarray], elements: np.ndarray) -> None:
        self._space(where)[where[1]] = elements[..., None]

    def holds(self, where: tuple[object, np.ndarray], elements: np.ndarray) -> bool:
        return bool((self._space(where)[where[1]] == elements[..., None]).all())

    def _space(self, where: tuple[object, np.ndarray]) -> np.ndarray:
        space, places = where
        held = self.spaces.setdefault(space, np.full(1 << 16, -1, np.int64))
        if places.size and places.max() >= held.size:
            self.spaces[space] = held = np.concatenate([held, np.full(int(places.max()), -1, np.int64)])
        return held


def overlap(a: tuple[object, np.ndarray], b: tuple[object, np.ndarray]) -> bool:
    return a[0] == b[0] and bool(np.intersect1d(a[1], b[1]).size)


def same(a: tuple[object, np.ndarray], b: tuple[object, np.ndarray]) -> bool:
    return a[0] == b[0] and np.array_equal(a[1].reshape(-1), b[1].reshape(-1))


@SETTINGS
@given(graphs())
def test_every_read_finds_what_was_written(drawn: Drawn) -> None:
    check_memory(drawn)


@SETTINGS
@given(graphs(names=PARTS))
def test_every_read_finds_what_was_written_in_parts(drawn: Drawn) -> None:
    check_memory(drawn)


def check_memory(drawn: Drawn) -> None:
    """Follow every element of every value through memory."""
    segment, plan = plan_of(drawn)
    if segment is None or plan is None:
        return
    memory = Memory(plan)
    held: dict[int, np.ndarray] = {}
    for value in segment.inputs:
        if id(value) in plan.facts:
            held[id(value)] = memory.fresh(plan.facts[id(value)].sizes)
            memory.write(memory.where(value), held[id(value)])
    for at, node in enumerate(plan.nodes):
        calls = plan.calls[slice(*plan.spans[at])]
        reads = [v for v in node.inputs if v is not None and id(v) in held]
        for value in reads:
            assert memory.holds(memory.where(value), held[id(value)]), f"{node} reads what was overwritten"
        check_scratches(memory, node, calls, reads)
        made = elements_made(memory, node, held)
        if node.op.view and not calls:
            assert same(memory.where(node.inputs[0]), memory.where(node.outputs[0]))
        elif node.op.op_type == "Concat":
            check_joined(memory, node, held, made[0])
        else:
            for number, result in enumerate(node.outputs):
                if number not in plan.in_place.get(id(node), ()):
                    check_written(memory, node, number, reads)
                    memory.write(memory.where(result), made[number])
        for result, elements in zip(node.outputs, made, strict=True):
            held[id(result)] = elements
            assert memory.holds(memory.where(result), elements), f"{node} does not make {result}"
    for index, value in enumerate(segment.outputs):
        if id(value) in held:
            assert plan.places[id(value)] == Place("output", index)
            assert memory.holds(memory.where(value), held[id(value)])


def elements_made(memory: Memory, node: Node, held: dict[int, np.ndarray]) -> list[np.ndarray]:
    """The elements of each output: new ones, unless the operator only moves those of its inputs."""
    shapes = [memory.plan.facts[id(v)].sizes for v in node.outputs]
    if node.op.view:
        return [held[id(node.inputs[0])].reshape(shapes[0])]
    if node.op.op_type in ("Concat", "Split", "Slice"):
        arrays = [held.get(id(v), memory.plan.facts.get(id(v), v.fact).value) for v in node.inputs]
        return [x.copy() for x in as_list(node.op.evaluate(*arrays))]
    return [memory.fresh(shape) for shape in shapes]


def check_scratches(memory: Memory, node: Node, calls: list[Call], reads: list[Value]) -> None:
    """Working memory lies elsewhere than what is read and made."""
    sources = {id(a.source): a.source for c in calls for a in c.args if isinstance(a, View)}
    for scratch in sources.values():
        if isinstance(scratch, Scratch):
            area = "arena", memory.plan.places[id(scratch)].index + np.arange(scratch.nbytes)
            assert not any(overlap(area, memory.where(v)) for v in (*reads, *node.outputs))
            memory.write((area[0], area[1][:, None]), memory.fresh((scratch.nbytes,)))


def check_joined(memory: Memory, node: Node, held: dict[int, np.ndarray], made: np.ndarray) -> None:
    """Each input lies in the result, or is copied to where nothing lies that is read."""
    space, places = memory.where(node.outputs[0])
    axis, start = node.op.axis % made.ndim, 0
    for position, value in enumerate(node.inputs):
        size = memory.plan.facts.get(id(value), value.fact).sizes[axis]
        index = (*(slice(None),) * axis, slice(start, start + size))
        start += size
        if position in memory.plan.in_place.get(id(node), ()):
            assert memory.holds((space, places[index]), made[index])
        else:
            for other in node.inputs:
                assert id(other) not in held or not overlap((space, places[index]), memory.where(other))
            memory.write((space, places[index]), made[index])


def check_written(memory: Memory, node: Node, number: int, reads: list[Value]) -> None:
    """An output lies elsewhere than inputs and other outputs, or takes over an input."""
    there = memory.where(node.outputs[number])
    assert there[0] == "arena" or there[0][0] == "output", f"{node} overwrites an input of the model"
    assert not any(overlap(there, memory.where(other)) for other in node.outputs[:number])
    for position, value in enumerate(node.inputs):
        if any(value is v for v in reads) and overlap(there, memory.where(value)):
            assert number == 0
            assert position in node.op.inplace
            assert same(there, memory.where(value))


@SETTINGS
@given(graphs() | graphs(names=PARTS))
def test_poison_changes_nothing(drawn: Drawn) -> None:
    inputs = [drawn.feeds[v.name] for v in drawn.graph.inputs]
    expected = evaluate(drawn.graph, drawn.feeds)
    program = Program(schedule(drawn.graph), 1, TensorPool(poison=True))
    for _ in range(2):
        for got, want in zip(program.run(inputs), expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@SETTINGS
@given(graphs())
def test_two_plans_of_a_graph_are_equal(drawn: Drawn) -> None:
    first, second = plan_of(drawn)[1], plan_of(drawn)[1]
    assert str(first) == str(second)
    if first is not None and second is not None:
        assert [(b.first, b.last, b.nbytes, b.offset) for b in first.blocks] == [
            (b.first, b.last, b.nbytes, b.offset) for b in second.blocks
        ]


@SETTINGS
@given(graphs(names=("Reshape", "Flatten", "Unsqueeze", "Squeeze", "Identity", "Softmax")))
def test_views_cost_no_call(drawn: Drawn) -> None:
    plan = plan_of(drawn)[1]
    if plan is None:
        return
    for node, (start, end) in zip(plan.nodes, plan.spans, strict=True):
        if node.op.view and end > start:
            assert plan.places[id(node.outputs[0])].kind == "output"
