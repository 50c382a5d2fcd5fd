"""Functions that a model brings along: found by name, refused where they call each other in a cycle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from converter.raw import RawNode
from numba_rt.errors import LoadError
from numba_rt.format.definition import AttributeType, FunctionDef, GraphDef, NodeDef

MOST_NODES = 1_000_000
"""Nodes a model may have once its functions are expanded."""

Key = tuple[str, str, str]


def function_key(function: FunctionDef | NodeDef | RawNode) -> Key:
    """Domain, name and overload, which together identify a function."""
    name = function.name if isinstance(function, FunctionDef) else function.op_type
    domain = "" if function.domain == "ai.onnx" else function.domain
    return domain, name, function.overload


def check_functions(graph: GraphDef, functions: Mapping[Key, FunctionDef]) -> None:
    """Refuse functions that call themselves, or that expand to more than MOST_NODES nodes."""
    sizes: dict[Key, int] = {}
    for root in functions:
        stack: list[tuple[Key, bool]] = [(root, False)]
        active: list[Key] = []
        while stack:
            key, done = stack.pop()
            body = functions[key].node
            if done:
                active.pop()
                sizes[key] = _size(body, sizes)
            elif key not in sizes:
                if key in active:
                    names = " → ".join(k[1] for k in [*active[active.index(key) :], key])
                    raise LoadError(f"functions call each other in a cycle: {names}")
                active.append(key)
                stack.append((key, True))
                called = {function_key(n) for n in _all_nodes(body)} & functions.keys()
                if cycle := next((k for k in called if k in active), None):
                    names = " → ".join(k[1] for k in [*active[active.index(cycle) :], cycle])
                    raise LoadError(f"functions call each other in a cycle: {names}")
                stack.extend((k, False) for k in sorted(called) if k not in sizes)
    total = _size(graph.node, sizes)
    if total > MOST_NODES:
        raise LoadError(f"the model has {total} nodes once its functions are expanded: at most {MOST_NODES}")


def _size(nodes: Iterable[NodeDef], sizes: Mapping[Key, int]) -> int:
    return sum(sizes.get(function_key(n), 1) for n in _all_nodes(nodes))


def _all_nodes(nodes: Iterable[NodeDef]) -> Iterable[NodeDef]:
    """The nodes and those of their subgraphs."""
    stack = list(nodes)
    while stack:
        node = stack.pop()
        yield node
        for attribute in node.attribute:
            if attribute.type == AttributeType.GRAPH and attribute.g is not None:
                stack.extend(attribute.g.node)
