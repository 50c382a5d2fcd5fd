"""Values that are computed where an operator that joins them would copy them to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from numba_rt.graph import Fact, Node, Value
from numba_rt.ops._parts import Part, rows_fit, whole
from numba_rt.plan.outline import Outline


@dataclass(slots=True)
class Homes:
    """Where values must lie so that joining them copies nothing."""

    of: dict[int, tuple[Value, Part]] = field(default_factory=dict)
    """id of a value → the joined value whose memory it lies in, and as which part of it."""
    joined: dict[int, set[int]] = field(default_factory=dict)
    """id of a node → its inputs that lie in its output."""


class Segment:
    """The live nodes of a segment with their facts."""

    def __init__(self, outline: Outline, facts: dict[int, Fact]) -> None:
        self.outline, self.facts = outline, facts
        self.nodes, self.maker, self.readers = outline.nodes, outline.maker, outline.readers
        self.known, self.leaving = outline.known, outline.leaving

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
    joins = list(segment.outline.joins)
    while joins:
        node = joins.pop()
        joined = node.outputs[0]
        fact = segment.fact(joined)
        into, place = homes.of.get(id(joined), (joined, whole(int(fact.size))))
        parts = node.op.input_parts([None if v is None else segment.fact(v) for v in node.inputs], fact)
        in_place = homes.joined.setdefault(id(node), set())
        for position, part in enumerate(parts):
            value = node.inputs[position]
            source = None if value is None else _computed(segment, value)
            if source is not None and part is not None and _settle(segment, homes, source, into, place, part):
                in_place.add(position)
        for earlier in joins:
            first = _position(earlier, node)
            last = first + len(earlier.inputs)
            part = _together(parts[first:last]) if first >= 0 else None
            value = earlier.outputs[0]
            if part is not None and _settle(segment, homes, value, into, place, part):
                in_place.update(range(first, last))
    return homes


def _settle(segment: Segment, homes: Homes, value: Value, into: Value, place: Part, part: Part) -> bool:
    """Whether a value has this part of a joined value, which lies at `place`, as its home."""
    home = part.within(place)
    if home is None or id(value) in homes.of:
        return homes.of.get(id(value)) == (into, home)
    if _computed(segment, value) is not value:
        return False
    if home.rows > 1 and not _fits_rows(segment, value, home.run):
        return False
    homes.of[id(value)] = into, home
    return True


def _position(earlier: Node, node: Node) -> int:
    """Which of the inputs of a node is the first that another joins in the same way; -1 if none is."""
    count = len(earlier.inputs)
    if type(earlier.op) is not type(node.op) or count >= len(node.inputs):
        return -1
    wanted = [id(v) for v in earlier.inputs]
    for first, value in enumerate(node.inputs[: len(node.inputs) - count + 1]):
        if id(value) == wanted[0] and [id(v) for v in node.inputs[first : first + count]] == wanted:
            return first if earlier.op.key() == node.op.key() else -1
    return -1


def _together(parts: Sequence[Part | None]) -> Part | None:
    """Parts that follow one another as one."""
    first = parts[0]
    if first is None:
        return None
    run = 0
    for part in parts:
        if part is None or part.rows != first.rows or part.offset != first.offset + run:
            return None
        run += part.run
    if first.rows == 1:
        return Part(first.offset, 1, run, run)
    return replace(first, run=run) if run < first.pitch else None


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
