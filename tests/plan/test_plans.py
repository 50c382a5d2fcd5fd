"""Plans of random graphs: memory is never read after something else was written there."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings

from numba_rt.graph import Value
from numba_rt.ops._lowering import Scratch, View
from numba_rt.plan import Plan, Segment, schedule
from numba_rt.pool import TensorPool
from numba_rt.program import Program
from tests.random_graphs import Drawn, evaluate, graphs

SETTINGS = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def plan_of(drawn: Drawn) -> tuple[Segment | None, Plan | None]:
    program = Program(schedule(drawn.graph), 1)
    plans = program.plans([drawn.feeds[v.name] for v in drawn.graph.inputs])
    if not plans:
        return None, None
    assert len(plans) == 1
    return program.steps[0].segment, plans[0]


class Memory:
    """Which value every byte of the arena, the inputs and the outputs holds."""

    def __init__(self) -> None:
        self.spaces: dict[object, np.ndarray] = {}
        self.owners: dict[int, int] = {}

    def write(self, where: tuple[object, int, int], owner: int) -> None:
        space, start, nbytes = where
        held = self.spaces.setdefault(space, np.full(1 << 16, -1, np.int64))
        if start + nbytes > held.size:
            self.spaces[space] = held = np.concatenate([held, np.full(start + nbytes, -1, np.int64)])
        held[start : start + nbytes] = owner

    def holds(self, where: tuple[object, int, int], owner: int) -> bool:
        space, start, nbytes = where
        return bool((self.spaces[space][start : start + nbytes] == owner).all()) if nbytes else True


def overlap(a: tuple[object, int, int], b: tuple[object, int, int]) -> bool:
    return a[0] == b[0] and a[1] < b[1] + b[2] and b[1] < a[1] + a[2]


@SETTINGS
@given(graphs())
def test_every_read_finds_what_was_written(drawn: Drawn) -> None:
    segment, plan = plan_of(drawn)
    if segment is None or plan is None:
        return
    memory = Memory()
    holder: dict[int, int] = {}

    def where(value: Value) -> tuple[object, int, int]:
        place = plan.places[id(value)]
        nbytes = plan.facts[id(value)].nbytes
        if place.kind == "arena":
            return "arena", place.index, nbytes
        return (place.kind, place.index), 0, nbytes

    def computed(value: Value | None) -> bool:
        return value is not None and not value.is_constant and id(value) in plan.places

    for number, value in enumerate(segment.inputs):
        holder[id(value)] = -2 - number
        memory.write((("input", number), 0, value.fact.nbytes if value.fact.is_static else 4096), -2 - number)
    token = 0
    for at, node in enumerate(plan.nodes):
        start, end = plan.spans[at]
        calls = plan.calls[start:end]
        reads = {id(v): v for v in node.inputs if computed(v) and id(v) in holder}
        if node.op.view and not calls:
            source, result = node.inputs[0], node.outputs[0]
            assert plan.places[id(source)] == plan.places[id(result)]
            holder[id(result)] = holder[id(source)]
            continue
        for value in reads.values():
            if plan.places[id(value)].kind != "input":
                assert memory.holds(where(value), holder[id(value)]), f"{node} reads what was overwritten"
        scratches = {
            id(a.source): ("arena", plan.places[id(a.source)].index, a.source.nbytes)
            for call in calls
            for a in call.args
            if isinstance(a, View) and isinstance(a.source, Scratch)
        }
        written = [where(v) for v in node.outputs]
        for area in scratches.values():
            assert not any(overlap(area, where(v)) for v in reads.values())
            assert not any(overlap(area, other) for other in written)
            token += 1
            memory.write(area, token)
        for number, result in enumerate(node.outputs):
            assert plan.places[id(result)].kind != "input", f"{node} overwrites an input of the model"
            assert not any(overlap(written[number], other) for other in written[:number])
            for position, value in enumerate(node.inputs):
                if computed(value) and overlap(written[number], where(value)):
                    assert number == 0
                    assert position in node.op.inplace
                    assert where(value) == written[0]
            token += 1
            memory.write(written[number], token)
            holder[id(result)] = token
    for index, value in enumerate(segment.outputs):
        if id(value) in holder:
            assert plan.places[id(value)].kind == "output"
            assert memory.holds((("output", index), 0, plan.facts[id(value)].nbytes), holder[id(value)])


@SETTINGS
@given(graphs())
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
