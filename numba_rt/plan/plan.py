"""Plan: everything decided for one set of input shapes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from numba_rt.graph import Fact, Node, Value
from numba_rt.ops._lowering import Call, Guard, View
from numba_rt.ops._parts import Part
from numba_rt.plan.memory import Block
from numba_rt.plan.reuse import Buffer
from numba_rt.printable import printable

Shaped = tuple[tuple[int, ...], np.dtype[Any]]

_BYTES_PER_CALL = 4096
"""What a call and its arguments take in Python objects, roughly."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a view's source lies: in the arena, in an input, in an output, or in the status words."""

    kind: str
    index: int


@dataclass(eq=False)
class Plan:
    """Kernel calls with their arguments placed; not changed once made, shared by all threads."""

    nodes: list[Node]
    """What is computed, in order; the unit of time of buffers and blocks."""
    calls: list[Call]
    spans: list[tuple[int, int]]
    """First and last (excluded) call of each node."""
    places: dict[int, Place]
    """id of a view's source → place."""
    inputs: list[Shaped]
    outputs: list[Shaped]
    arena_bytes: int
    guards: list[tuple[Guard, Node]]
    takeovers: dict[int, str]
    """id of a node → name of the value whose buffer its output took over."""
    facts: dict[int, Fact]
    """id of a value → its dtype and shape."""
    parts: dict[int, Part]
    """id of a value → which elements of the memory at its place it is."""
    in_place: dict[int, frozenset[int]]
    """id of a node → what it joins, or takes apart, without copying."""
    buffers: list[Buffer]
    blocks: list[Block]
    shared: frozenset[int]
    """ids of the model's own arrays."""
    keep: list[Any]
    """Objects whose ids are used above."""
    is_retired: bool = False
    """Whether it has left the cache of plans: what was made for it is not worth keeping."""

    @cached_property
    def threads(self) -> int:
        """Threads its parallel calls use; 1 if there are none."""
        return max((call.tasks for call in self.calls), default=1)

    @cached_property
    def nbytes(self) -> int:
        """Memory the plan itself takes, without the arena and the model's constants."""
        constants = {id(x): x.nbytes for call in self.calls for x in call.own if isinstance(x, np.ndarray)}
        own = sum(nbytes for i, nbytes in constants.items() if i not in self.shared)
        return _BYTES_PER_CALL * len(self.calls) + own

    def __str__(self) -> str:
        """One line per call: operator, kernel, shapes, where the result lies, what it took over; and one
        for each operator that has nothing to copy.
        """
        rows: list[list[str]] = []
        done = 0
        for node, (start, end) in zip(self.nodes, self.spans, strict=True):
            rows += [self._row(call) for call in self.calls[start:end]]
            if start == end and id(node) in self.in_place:
                rows.append([printable(node.describe()), "in place", self._shapes(node), ""])
            done = end
        rows += [self._row(call) for call in self.calls[done:]]
        widths = [max((len(r[i]) for r in rows), default=0) for i in range(4)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
        lines.append(f"{len(self.calls)} calls, arena {self.arena_bytes:,} bytes")
        return "\n".join(lines)

    def _row(self, call: Call) -> list[str]:
        views = [a for a in call.args if isinstance(a, View)]
        tasks = call.tasks
        kernel = call.kernel.name + (f" ×{tasks}" if tasks > 1 else "")
        where = self._where(call, views[-1]) if views else ""
        if call.node is None:
            return ["copy", kernel, "", where]
        taken = self.takeovers.get(id(call.node))
        where += f" = {printable(taken)}" if taken else ""
        return [printable(call.node.describe()), kernel, self._shapes(call.node), where]

    def _shapes(self, node: Node) -> str:
        reads = " ".join("-" if v is None else str(self._fact(v)).replace(" ", "") for v in node.inputs)
        makes = " ".join(str(self._fact(v)).replace(" ", "") for v in node.outputs)
        return f"{reads} → {makes}"

    def _fact(self, value: Value) -> Fact:
        return self.facts.get(id(value), value.fact)

    def _where(self, call: Call, view: View) -> str:
        place = self.places.get(id(view.source))
        if place is None:
            return "constant"
        apart = ""
        for value in call.node.outputs if call.node is not None else ():
            part = self.parts.get(id(value))
            if value is view.source and part is not None and part.rows > 1:
                size = view.dtype.itemsize
                apart = f" (rows of {part.run * size} bytes, {part.pitch * size} apart)"
        if place.kind == "arena":
            return f"@{place.index + view.offset}{apart}"
        return f"{place.kind} {place.index}" + (f" + {view.offset}" if view.offset else "") + apart
