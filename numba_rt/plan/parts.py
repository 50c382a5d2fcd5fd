"""Values that are computed where an operator that joins them would copy them to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from numba_rt.graph import Fact, Node, Value
from numba_rt.ops._op import Op
from numba_rt.ops._parts import Part, rows_fit, whole


@dataclass(slots=True)
class Homes:
    """Where values must lie so that joining them copies nothing."""

    of: dict[int, tuple[Value, Part]] = field(default_factory=dict)
    """id of a value → the joined value whose memory it lies in, and as which part of it."""
    joined: dict[int, set[int]] = field(default_factory=dict)
    """id of a node → its inputs that lie in its output."""


class Segment:
    """The live nodes of a segment with their facts, and who makes and reads each value."""

    def __init__(
        self, nodes: Sequence[Node], facts: dict[int, Fact], known: Collection[int], leaving: Collection[int]
    ) -> None:
        self.nodes, self.facts, self.known, self.leaving = nodes, facts, known, leaving
        self.maker = {id(v): (n, i) for n in nodes for i, v in enumerate(n.outputs)}
        self.readers: dict[int, list[tuple[Node, int]]] = {}
        for node in nodes:
            for position, value in enumerate(node.inputs):
                if value is not None:
                    self.readers.setdefault(id(value), []).append((node, position))

    def fact(self, value: Value) -> Fact:
        """dtype and shape of a value, which may be a constant."""
        return self.facts.get(id(value), value.fact)

    def is_readable(self, value: Value, run: int) -> bool:
        """Whether all that read a value can read it from rows of `run` elements that are apart."""
        shape = self.fact(value).sizes
        if not rows_fit(shape, run):
            return False
        return all(
            self.is_readable(node.outputs[0], run)
            if node.op.view and position == 0 and not node.op.has("write")
            else node.op.reads_rows(position, shape, run)
            for node, position in self.readers.get(id(value), ())
        )


def find_homes(segment: Segment) -> Homes:
    """Homes of all values that can have one, last joined first: what is joined twice then lies in
    the larger result, and what was joined before in that of the last.
    """
    homes = Homes()
    for node in reversed(segment.nodes):
        if type(node.op).input_parts is Op.input_parts:
            continue
        joined = node.outputs[0]
        fact = segment.fact(joined)
        facts = [None if v is None else segment.fact(v) for v in node.inputs]
        into, place = homes.of.get(id(joined), (joined, whole(int(fact.size))))
        for position, part in enumerate(node.op.input_parts(facts, fact)):
            value = node.inputs[position]
            home = None if part is None else part.within(place)
            source = None if value is None or home is None else _computed(segment, value)
            if source is None or home is None or id(source) in homes.of:
                continue
            if home.rows > 1 and not _fits_rows(segment, source, home.run):
                continue
            homes.of[id(source)] = (into, home)
            homes.joined.setdefault(id(node), set()).add(position)
    return homes


def _computed(segment: Segment, value: Value) -> Value | None:
    """The value whose memory a value is, if it is one that may lie elsewhere."""
    while id(value) in segment.maker and id(value) not in segment.known:
        node, _ = segment.maker[id(value)]
        source = node.inputs[0] if node.op.view else None
        if source is None:
            return None if id(value) in segment.leaving or not segment.fact(value).size else value
        value = source
    return None


def _fits_rows(segment: Segment, value: Value, run: int) -> bool:
    node, position = segment.maker[id(value)]
    return node.op.writes_rows(position, segment.fact(value).sizes, run) and segment.is_readable(value, run)
