"""Topological order of a graph's nodes, or the cycle that prevents one."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from converter.raw import check_names, names_used
from numba_rt.errors import LoadError
from numba_rt.format.definition import NodeDef


def sorted_nodes(nodes: Sequence[NodeDef], given: set[str], where: str) -> list[NodeDef]:
    """The nodes such that each comes after those it reads from, otherwise in the given order.

    Raises:
        LoadError: a value is made twice (also if it is one of `given`), or nodes form a cycle.
    """
    for node in nodes:
        own = (node.name, node.op_type, node.domain, node.overload)
        check_names((*own, *node.input, *node.output, *(a.name for a in node.attribute)), where)
    maker = _makers(nodes, given)
    reads = [sorted({maker[n] for n in names_used(node) if n in maker}) for node in nodes]
    if all(source < i for i, sources in enumerate(reads) for source in sources):
        return list(nodes)
    readers: list[list[int]] = [[] for _ in nodes]
    for i, sources in enumerate(reads):
        for source in sources:
            readers[source].append(i)
    missing = [len(sources) for sources in reads]
    ready = [i for i, n in enumerate(missing) if n == 0]
    order: list[int] = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for reader in readers[i]:
            missing[reader] -= 1
            if missing[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        cycle = _cycle(reads, {i for i, n in enumerate(missing) if n > 0})
        path = " → ".join(label(nodes[i]) for i in [*cycle, cycle[0]])
        raise LoadError(f"{where} has a cycle: {path}")
    return [nodes[i] for i in order]


def label(node: NodeDef) -> str:
    """`Softmax 'encoder/softmax'`; a nameless node goes by its first output."""
    return f"{node.op_type} {node_name(node)!r}"


def node_name(node: NodeDef) -> str:
    """The node's name, or that of its first output."""
    return node.name or next((n for n in node.output if n), "")


def _makers(nodes: Sequence[NodeDef], given: set[str]) -> dict[str, int]:
    maker: dict[str, int] = {}
    for i, node in enumerate(nodes):
        for name in node.output:
            if not name:
                continue
            if name in maker:
                raise LoadError(
                    f"tensor {name!r} is made twice: by {label(nodes[maker[name]])} and {label(node)}"
                )
            if name in given:
                raise LoadError(
                    f"{label(node)} makes {name!r}, which is an input or initializer of the graph"
                )
            maker[name] = i
    return maker


def _cycle(reads: list[list[int]], stuck: set[int]) -> list[int]:
    """One cycle among the nodes that cannot be ordered, in the direction data would flow."""
    here = min(i for i in stuck if any(s in stuck for s in reads[i]))
    seen: dict[int, int] = {}
    path: list[int] = []
    while here not in seen:
        seen[here] = len(path)
        path.append(here)
        here = next(s for s in reads[here] if s in stuck)
    cycle = path[seen[here] :][::-1]
    first = cycle.index(min(cycle))
    return cycle[first:] + cycle[:first]
