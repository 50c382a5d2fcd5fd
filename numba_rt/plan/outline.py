"""What of a segment's plans does not depend on sizes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property

from numba_rt.graph import Fact, Node, Value
from numba_rt.ops._lowering import Call, View
from numba_rt.ops._op import Op
from numba_rt.ops._parts import Part

MOST_OUTLINES = 8
"""Sets of known values whose outlines a segment keeps."""


class Outline:
    """The nodes that run when some values are known, who makes and reads each value, and the calls
    each node was lowered to last.
    """

    def __init__(self, nodes: Sequence[Node], outputs: Sequence[Value], known: frozenset[int]) -> None:
        self.known = known
        """ids of the values that are constants once shapes are bound."""
        self.nodes = _live_nodes(nodes, {id(v) for v in outputs}, known)
        self.leaving: dict[int, int] = {}
        """id of an output → its index."""
        for index, value in enumerate(outputs):
            self.leaving.setdefault(id(value), index)
        self.maker: dict[int, tuple[Node, int]] = {}
        self.readers: dict[int, list[tuple[Node, int]]] = {}
        self.last_use: dict[int, int] = {}
        """id of a value → index of the last node that reads it."""
        for at, node in enumerate(self.nodes):
            for i, made in enumerate(node.outputs):
                self.maker[id(made)] = node, i
            for position, read in enumerate(node.inputs):
                if read is not None:
                    self.readers.setdefault(id(read), []).append((node, position))
                    self.last_use[id(read)] = at
        self._views: dict[int, tuple[Fact, Part | None, View]] = {}
        self._calls: dict[int, tuple[tuple[Hashable, ...], list[Call]]] = {}

    @cached_property
    def joins(self) -> list[Node]:
        """Nodes that put their inputs together."""
        return [n for n in self.nodes if type(n.op).input_parts is not Op.input_parts]

    @cached_property
    def arities(self) -> list[int]:
        """How many inputs `lower` of each node takes, absent ones included; 0 if it takes any number."""
        return [_arity(type(n.op)) for n in self.nodes]

    @cached_property
    def constants(self) -> frozenset[int]:
        """ids of the model's own arrays."""
        return frozenset(
            id(v.constant) for n in self.nodes for v in n.inputs if v is not None and v.is_constant
        )

    @cached_property
    def operands(self) -> list[list[Value | View | None]]:
        """Inputs of each node, of constants their views."""
        return [
            [
                v if v is None or v.constant is None else View(v.constant, v.fact.sizes, v.fact.dtype)
                for v in n.inputs
            ]
            for n in self.nodes
        ]

    def view(self, value: Value, fact: Fact, part: Part | None) -> View:
        """All of a value, which lies in this part of its memory; of a known one without a part. The
        same object for the same facts, so that calls can be told to be the same.
        """
        found = self._views.get(id(value))
        if found is not None and found[0] is fact and found[1] == part:
            return found[2]
        if part is None:
            assert fact.value is not None
            made = View(fact.value, fact.sizes, fact.dtype)
        elif part.rows == 1:
            made = View(value, fact.sizes, fact.dtype, part.offset * fact.dtype.itemsize)
        else:
            offset = part.offset * fact.dtype.itemsize
            made = View(value, fact.sizes, fact.dtype, offset, part.run, part.pitch)
        self._views[id(value)] = fact, part, made
        return made

    def calls(self, at: int, key: tuple[Hashable, ...], lower: Callable[[], list[Call]]) -> list[Call]:
        """The calls of a node, lowered again only if what they depend on is not what it last was."""
        found = self._calls.get(at)
        if found is None or found[0] != key:
            found = self._calls[at] = key, lower()
        return found[1]


def _live_nodes(nodes: Sequence[Node], needed: set[int], known: frozenset[int]) -> list[Node]:
    """Nodes that must run: those whose results are read and not known already."""
    live: list[Node] = []
    for node in reversed(nodes):
        if any(id(v) in needed and id(v) not in known for v in node.outputs):
            live.append(node)
            needed.update(id(v) for v in node.inputs if v is not None)
    return live[::-1]


def _arity(op: type[Op]) -> int:
    names = op.parameters()
    return 0 if any(p.kind is p.VAR_POSITIONAL for p in names) else len(names)
