"""Pass: elementwise operators that feed one another become one generated kernel."""

from __future__ import annotations

from numba_rt.dtypes import NATIVE
from numba_rt.graph import Graph, Node, Value
from numba_rt.ops._infer import infer_node
from numba_rt.ops.elementwise import ABSENT, Elementwise, FusedElementwise, Step
from numba_rt.optimize.report import Report

MOST_INPUTS = 8
MOST_STEPS = 24


def fuse_chains(graph: Graph, report: Report) -> None:
    """Merge each elementwise node with the elementwise nodes only it reads, bottom up."""
    for node in list(reversed(graph.nodes)):
        if not _is_chainable(node):
            continue
        while True:
            merged = _merge_one(graph, node)
            if merged is None:
                break
            node, name = merged
            report.fire("fuse_chains", f"{name} into {node.name!r}")


def _is_chainable(node: Node) -> bool:
    if not isinstance(node.op, Elementwise) or len(node.outputs) != 1:
        return False
    values = [v for v in (*node.inputs, *node.outputs) if v is not None]
    return all(v.fact.dtype in NATIVE and v.fact.kind == "tensor" for v in values)


def _merge_one(graph: Graph, node: Node) -> tuple[Node, str] | None:
    if node not in graph.nodes:
        return None
    for value in dict.fromkeys(node.inputs):
        if value is None or value.producer is None or not _is_chainable(value.producer):
            continue
        producer = value.producer
        if any(reader is not node for reader in value.uses) or graph.is_output(value):
            continue
        if value.fact.shape is None or value.fact.shape != node.outputs[0].fact.shape:
            continue  # computed once per broadcast element would be computed many times
        merged = _merged(producer, node, value)
        if merged is not None:
            inputs, steps = merged
            return _replace(graph, producer, node, inputs, steps), producer.describe()
    return None


def _merged(producer: Node, node: Node, link: Value) -> tuple[list[Value], tuple[Step, ...]] | None:
    first, second = _steps(producer), _steps(node)
    inputs = list(
        dict.fromkeys(v for v in (*producer.inputs, *node.inputs) if v is not None and v is not link)
    )
    if len(inputs) > MOST_INPUTS or len(first) + len(second) > MOST_STEPS:
        return None
    place = {id(v): i for i, v in enumerate(inputs)}
    steps: list[Step] = []

    def renumber(index: int, owner: Node, own: list[int]) -> int:
        if index == ABSENT:
            return ABSENT
        if index >= len(owner.inputs):
            return own[index - len(owner.inputs)]
        value = owner.inputs[index]
        return len(inputs) + len(first) - 1 if value is link else place[id(value)]

    for owner, old in ((producer, first), (node, second)):
        own: list[int] = []
        for step in old:
            steps.append(Step(step.op, tuple(renumber(i, owner, own) for i in step.args)))
            own.append(len(inputs) + len(steps) - 1)
    return inputs, tuple(steps)


def _steps(node: Node) -> tuple[Step, ...]:
    if isinstance(node.op, FusedElementwise):
        return node.op.steps
    assert isinstance(node.op, Elementwise)
    return (Step(node.op, tuple(ABSENT if v is None else i for i, v in enumerate(node.inputs))),)


def _replace(graph: Graph, producer: Node, node: Node, inputs: list[Value], steps: tuple[Step, ...]) -> Node:
    made = graph.node(FusedElementwise(steps=steps), inputs, 1, node.name, before=node)
    infer_node(made)
    old, new = node.outputs[0], made.outputs[0]
    if graph.is_output(old):
        old.name, new.name = new.name, old.name
    graph.replace(old, new)
    graph.remove([node])
    graph.remove([producer])
    return made
