"""Schedule: the steps of a model that do not depend on sizes.

A *segment* is a run of nodes whose shapes all follow from what is known when it starts. Nodes
whose results cannot be sized beforehand (NonZero, control flow, strings) are *host steps* between
segments. Most models are one segment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from numba_rt.dtypes import STRING
from numba_rt.graph import Graph, Node, Value


@dataclass(eq=False)
class Segment:
    """Nodes bound and executed together."""

    nodes: list[Node]
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    keyed: list[Value] = field(default_factory=list)
    """Inputs whose values decide shapes: part of the key of a plan, next to all shapes."""

    @property
    def is_dynamic(self) -> bool:
        """Whether sizes may differ between runs."""
        return any(not v.fact.is_static for n in self.nodes for v in n.outputs) or bool(self.keyed)


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
    rest = _order(graph)
    while rest:
        segment, rest = _take_segment(rest, done)
        if segment:
            steps.append(Segment(segment))
        hosts = [n for n in rest if _is_host(n) and _available(n, done)]
        for node in hosts:
            steps.append(HostStep(node, {k: schedule(g) for k, g in subgraphs(node)}))
            done.update(id(v) for v in node.outputs)
        taken = {id(n) for n in hosts}
        rest = [n for n in rest if id(n) not in taken]
        if not segment and not hosts:
            raise AssertionError("no step is possible: the graph is not in topological order")
    _connect(graph, steps)
    return Schedule(graph, steps)


def subgraphs(node: Node) -> list[tuple[str, Graph]]:
    """The graphs among a node's attributes."""
    return [(k, v) for k, v in node.op.attributes().items() if isinstance(v, Graph)]


def _order(graph: Graph) -> list[Node]:
    """Topological order in which each node comes as late as its first reader allows, except
    that ties keep the model's order: short lifetimes without a search.
    """
    return list(graph.nodes)


def _take_segment(nodes: Iterable[Node], done: set[int]) -> tuple[list[Node], list[Node]]:
    taken: list[Node] = []
    rest: list[Node] = []
    inside: set[int] = set()
    for node in nodes:
        ready = all(v is None or v.is_constant or id(v) in done or id(v) in inside for v in node.inputs)
        if ready and not _is_host(node) and _sources(node, done) is not None:
            taken.append(node)
            inside.update(id(v) for v in node.outputs)
        else:
            rest.append(node)
    done |= inside
    return taken, rest


def _available(node: Node, done: set[int]) -> bool:
    return all(v is None or v.is_constant or id(v) in done for v in node.inputs)


def _is_host(node: Node) -> bool:
    op = node.op
    if op.has("run") or op.has("control") or op.data_dependent:
        return True
    facts = [v.fact for v in (*node.inputs, *node.outputs) if v is not None]
    if any(f.dtype == STRING or f.kind != "tensor" for f in facts):
        return True
    return not op.has("lower") and not op.view and not op.has("evaluate")


def _sources(node: Node, done: set[int]) -> set[int] | None:
    """Values known at the segment's start whose contents decide this node's shapes; None if
    contents computed within the segment do. `done` holds what is known at the start.
    """
    found: set[int] = set()
    for position in node.op.needs_value:
        decides = node.inputs[position] if position < len(node.inputs) else None
        if decides is not None:
            traced = _trace(decides, done)
            if traced is None:
                return None
            found |= traced
    return found


def _trace(value: Value, done: set[int]) -> set[int] | None:
    if value.is_constant:
        return set()
    if id(value) in done:
        return {id(value)}
    node = value.producer
    assert node is not None
    if node.op.has("value_from_shape"):
        return set()
    if not node.op.has("evaluate") or not node.op.deterministic:
        return None
    found: set[int] = set()
    for source in node.inputs:
        if source is not None:
            traced = _trace(source, done)
            if traced is None:
                return None
            found |= traced
    return found


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
    entering: dict[int, Value] = {}
    keyed: set[int] = set()
    for node in segment.nodes:
        for value in node.inputs:
            if value is not None and not value.is_constant and made_in.get(id(value), -1) != index:
                entering[id(value)] = value
    start = set(entering)
    for node in segment.nodes:
        keyed |= _sources(node, start) or set()
    segment.inputs = list(entering.values())
    segment.outputs = [v for n in segment.nodes for v in n.outputs if id(v) in leaving]
    segment.keyed = [v for v in segment.inputs if id(v) in keyed]
