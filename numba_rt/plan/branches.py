"""Which conditions of a graph follow from the shapes and the small values it is fed."""

from __future__ import annotations

from dataclasses import dataclass

from numba_rt.graph import Graph, Node, Value
from numba_rt.ops.control_flow import If
from numba_rt.plan.schedule import KEYED_DTYPES, MOST_KEYED, Roots, follows_from, is_host


@dataclass(frozen=True)
class Deciders:
    """What is needed to know the branches a run takes before it starts."""

    keyed: tuple[int, ...]
    """Inputs whose values decide, next to all shapes."""
    needed: frozenset[int]
    """ids of the nodes, those of subgraphs included, from which conditions follow."""


def find_deciders(graph: Graph, by_value: bool = True) -> Deciders | None:
    """What decides the graph's branches; None if no condition follows from what is fed. Subgraphs that
    run again and again (`by_value` is False) may decide by shapes only: their values may never recur.
    """
    if any(v.fact.kind != "tensor" for v in graph.inputs):
        return None
    roots: dict[int, Roots] = {
        id(v): frozenset({id(v)}) if by_value and _is_small(v) else None for v in graph.inputs
    }
    found: list[frozenset[int]] = []
    _find(graph, roots, found)
    if not found:
        return None
    deciding = frozenset[int]().union(*found)
    needed: set[int] = set()
    _need(graph, set(), needed)
    keyed = tuple(i for i, v in enumerate(graph.inputs) if id(v) in deciding)
    return Deciders(keyed, frozenset(needed))


def _is_small(value: Value) -> bool:
    fact = value.fact
    return fact.dtype in KEYED_DTYPES and fact.is_static and int(fact.size) <= MOST_KEYED


def _find(graph: Graph, roots: dict[int, Roots], found: list[frozenset[int]]) -> None:
    """Note the fed values behind every condition that follows from them, in taken order."""
    for node in graph.nodes:
        made: list[Roots] = [None] * len(node.outputs)
        if isinstance(node.op, If):
            deciding = _of(node.inputs[0], roots)
            if deciding is not None:
                found.append(deciding)
                made = _find_in_branches(node, node.op, deciding, roots, found)
        elif not is_host(node):
            made = [follows_from(node, roots)] * len(node.outputs)
        roots.update((id(v), r) for v, r in zip(node.outputs, made, strict=True))


def _find_in_branches(
    node: Node, op: If, deciding: frozenset[int], roots: dict[int, Roots], found: list[frozenset[int]]
) -> list[Roots]:
    made: list[Roots] = [deciding] * len(node.outputs)
    for branch in (op.then_branch, op.else_branch):
        inner: dict[int, Roots] = {
            id(v): _of(a, roots) for v, a in zip(branch.inputs, node.inputs[1:], strict=True)
        }
        _find(branch, inner, found)
        for i, value in enumerate(branch.outputs):
            own, other = made[i], _of(value, inner)
            made[i] = None if own is None or other is None else own | other
    return made


def _of(value: Value | None, roots: dict[int, Roots]) -> Roots:
    return frozenset() if value is None or value.is_constant else roots[id(value)]


def _need(graph: Graph, wanted: set[int], needed: set[int]) -> None:
    """Collect the nodes that conditions and the wanted values follow from; `wanted` grows on the way."""
    for node in reversed(graph.nodes):
        if isinstance(node.op, If):
            needed.add(id(node))
            for branch in (node.op.then_branch, node.op.else_branch):
                pairs = zip(node.outputs, branch.outputs, strict=True)
                inner = {id(own) for outer, own in pairs if id(outer) in wanted}
                _need(branch, inner, needed)
                captured = zip(branch.inputs, node.inputs[1:], strict=True)
                wanted.update(id(a) for v, a in captured if id(v) in inner)
            wanted.add(id(node.inputs[0]))
        elif any(id(v) in wanted for v in node.outputs):
            needed.add(id(node))
            wanted.update(id(v) for v in node.inputs)
