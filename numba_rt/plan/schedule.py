"""Schedule: the steps of a model that do not depend on sizes.

A *segment* is a run of nodes whose shapes all follow from what is known when it starts. Nodes
whose results cannot be sized beforehand (NonZero, control flow, strings) are *host steps* between
segments. Most models are one segment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from numba_rt.dtypes import BOOL, INTEGERS, STRING
from numba_rt.graph import Graph, Node, Value
from numba_rt.plan.inference import Inference
from numba_rt.plan.outline import Outline

MOST_KEYED = 64
"""Elements of a value that plans may be keyed by."""
KEYED_DTYPES = INTEGERS | {BOOL}

Roots = frozenset[int] | None
"""ids of the fed values a value follows from when shapes are bound; None if it does not."""


@dataclass(eq=False)
class Segment:
    """Nodes bound and executed together."""

    nodes: list[Node]
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    keyed: list[Value] = field(default_factory=list)
    """Inputs whose values decide shapes: part of the key of a plan, next to all shapes."""

    keyed_ids: frozenset[int] = frozenset()
    inference: Inference | None = None
    outlines: dict[frozenset[int], Outline] = field(default_factory=dict)
    """By the ids of the values that are known when shapes are bound."""


@dataclass(eq=False)
class HostStep:
    """One node computed by its own Python code on arrays."""

    node: Node
    bodies: dict[str, Schedule] = field(default_factory=dict)
    """Schedules of the node's subgraphs, by attribute name."""


@dataclass(eq=False)
class Schedule:
    """The steps of a graph, in order."""

    graph: Graph
    steps: list[Segment | HostStep]


def schedule(graph: Graph) -> Schedule:
    """Cut a graph into segments and host steps, computing as much as possible in each segment."""
    done: set[int] = {id(v) for v in graph.inputs}
    steps: list[Segment | HostStep] = []
    rest = list(graph.nodes)
    while rest:
        segment, rest = _take_segment(rest, done)
        if segment.nodes:
            steps.append(segment)
        hosts = [n for n in rest if is_host(n) and _available(n, done)]
        for node in hosts:
            steps.append(HostStep(node, {k: schedule(g) for k, g in subgraphs(node)}))
            done.update(id(v) for v in node.outputs)
        taken = {id(n) for n in hosts}
        rest = [n for n in rest if id(n) not in taken]
        if not segment.nodes and not hosts:
            raise AssertionError("no step is possible: the graph is not in topological order")
    _connect(graph, steps)
    return Schedule(graph, steps)


def subgraphs(node: Node) -> list[tuple[str, Graph]]:
    """The graphs among a node's attributes."""
    return [(k, v) for k, v in node.op.attributes().items() if isinstance(v, Graph)]


def _take_segment(nodes: Iterable[Node], done: set[int]) -> tuple[Segment, list[Node]]:
    """The nodes that can be bound together when `done` is known, and the others."""
    segment = Segment([])
    rest: list[Node] = []
    roots: dict[int, Roots] = {i: frozenset({i}) for i in done}
    for node in nodes:
        ready = all(v is None or v.is_constant or id(v) in roots for v in node.inputs)
        deciding = _deciding(node, roots) if ready and not is_host(node) else None
        if deciding is None:
            rest.append(node)
            continue
        segment.nodes.append(node)
        segment.keyed_ids |= deciding
        made = follows_from(node, roots)
        roots.update((id(v), made) for v in node.outputs)
    done.update(roots)
    return segment, rest


def _available(node: Node, done: set[int]) -> bool:
    return all(v is None or v.is_constant or id(v) in done for v in node.inputs)


def is_host(node: Node) -> bool:
    """Whether a node is computed between segments, by its own Python code."""
    op = node.op
    if op.has("run") or op.has("control") or op.data_dependent:
        return True
    facts = [v.fact for v in (*node.inputs, *node.outputs) if v is not None]
    if any(f.dtype == STRING or f.kind != "tensor" for f in facts):
        return True
    return not op.has("lower") and not op.view and not op.has("evaluate")


def _deciding(node: Node, roots: dict[int, Roots]) -> Roots:
    """Fed values whose contents decide the node's shapes; None if computed contents do."""
    found: frozenset[int] = frozenset()
    for position in node.op.needs_value:
        value = node.inputs[position] if position < len(node.inputs) else None
        if value is not None and not value.is_constant:
            of_value = roots[id(value)]
            if of_value is None:
                return None
            found |= of_value
    return found


def follows_from(node: Node, roots: dict[int, Roots]) -> Roots:
    """Fed values from which a node's results follow when a plan is bound; None if they do not."""
    op = node.op
    if op.has("value_from_shape"):
        return frozenset()
    if not op.has("evaluate") or not op.deterministic:
        return None
    found: frozenset[int] = frozenset()
    for value in node.inputs:
        if value is not None and not value.is_constant:
            of_value = roots[id(value)]
            if of_value is None:
                return None
            found |= of_value
    return None if found and not _is_small(node) else found


def _is_small(node: Node) -> bool:
    """Whether a node that computes with fed values may do so when a plan is bound: on a few
    integers, not on data.
    """
    facts = [v.fact for v in (*node.inputs, *node.outputs) if v is not None]
    return all(f.dtype in KEYED_DTYPES and f.is_static and int(f.size) <= MOST_KEYED for f in facts)


def _connect(graph: Graph, steps: list[Segment | HostStep]) -> None:
    """Fill in what enters and leaves each segment, and which inputs are keyed by value."""
    placed = [(i, n) for i, s in enumerate(steps) for n in (s.nodes if isinstance(s, Segment) else [s.node])]
    made_in = {id(v): index for index, node in placed for v in node.outputs}
    leaving = {id(v) for v in graph.outputs}
    for index, node in placed:
        leaving.update(id(v) for v in node.inputs if v is not None and made_in.get(id(v), index) != index)
    for index, step in enumerate(steps):
        if isinstance(step, Segment):
            _connect_segment(step, index, made_in, leaving)


def _connect_segment(segment: Segment, index: int, made_in: dict[int, int], leaving: set[int]) -> None:
    entering = {
        id(v): v
        for node in segment.nodes
        for v in node.inputs
        if v is not None and not v.is_constant and made_in.get(id(v), -1) != index
    }
    segment.inputs = list(entering.values())
    segment.outputs = [v for n in segment.nodes for v in n.outputs if id(v) in leaving]
    segment.keyed = [v for v in segment.inputs if id(v) in segment.keyed_ids]
