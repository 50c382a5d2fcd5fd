"""Which values share a buffer: views and parts of one another, what is joined in place, and
outputs that take over a dying input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from numba_rt.graph import Fact, Node, Value
from numba_rt.ops._op import Op
from numba_rt.ops._parts import Part, whole
from numba_rt.plan.outline import Outline
from numba_rt.plan.parts import Homes, Segment, find_homes


@dataclass(slots=True, eq=False)
class Buffer:
    """Memory shared by one or more values."""

    nbytes: int
    first: int
    last: int
    values: list[Value] = field(default_factory=list)
    input: int | None = None
    """Index of the segment input whose memory it is."""
    output: int | None = None
    """Index of the segment output it becomes."""
    offset: int = -1


@dataclass(slots=True)
class Reuse:
    """Buffers of all values of a segment, and what must be copied because sharing is impossible."""

    buffer_of: dict[int, Buffer] = field(default_factory=dict)
    part_of: dict[int, Part] = field(default_factory=dict)
    """Which elements of its buffer a value is."""
    buffers: list[Buffer] = field(default_factory=list)
    copied: set[int] = field(default_factory=set)
    """ids of the nodes that are views but must copy (their output leaves the segment)."""
    in_place: dict[int, frozenset[int]] = field(default_factory=dict)
    """id of a node → its inputs or outputs that there is nothing to copy for (`Lowering.in_place`)."""
    taken: dict[int, int] = field(default_factory=dict)
    """id of a node → the input whose buffer its first output took over."""
    last_use: dict[int, int] = field(default_factory=dict)


def assign_buffers(outline: Outline, inputs: Sequence[Value], facts: dict[int, Fact]) -> Reuse:
    """Buffers for the live nodes in execution order. A segment's inputs and constants are never
    overwritten.
    """
    return _Assignment(Segment(outline, facts)).run(inputs)


class _Assignment:
    """One pass over the nodes."""

    def __init__(self, segment: Segment) -> None:
        self.segment, self.facts, self.known = segment, segment.facts, segment.known
        self.leaving = segment.leaving
        self.homes: Homes = find_homes(segment)
        self.reuse = Reuse(last_use=segment.outline.last_use)

    def run(self, inputs: Sequence[Value]) -> Reuse:
        """Buffers of the inputs, then of the outputs of each node."""
        reuse = self.reuse
        for index, value in enumerate(inputs):
            self._put(value, Buffer(0, -1, -1, input=index), self._whole(value), -1)
        for at, node in enumerate(self.segment.nodes):
            taken_apart = self._taken_apart(node)
            for position, value in enumerate(node.outputs):
                found = self._home(value, at) or taken_apart.get(position)
                if found is None and position == 0:
                    found = self._viewed(node) if node.op.view else self._taken_over(node, at)
                if found is None:
                    found = self._new(value, at), self._whole(value)
                self._put(value, *found, at)
            in_place = self.homes.joined.get(id(node), set()) | set(taken_apart)
            if in_place:
                reuse.in_place[id(node)] = frozenset(in_place)
        return reuse

    def _new(self, value: Value, at: int) -> Buffer:
        buffer = Buffer(self.facts[id(value)].nbytes, at, at)
        self.reuse.buffers.append(buffer)
        return buffer

    def _whole(self, value: Value) -> Part:
        return whole(int(self.facts[id(value)].size))

    def _put(self, value: Value, buffer: Buffer, part: Part, at: int) -> None:
        buffer.values.append(value)
        buffer.last = max(buffer.last, at, self.reuse.last_use.get(id(value), at))
        if id(value) in self.leaving:
            buffer.output = self.leaving[id(value)]
        self.reuse.buffer_of[id(value)] = buffer
        self.reuse.part_of[id(value)] = part

    def _source(self, value: Value | None) -> tuple[Buffer, Part] | None:
        """Where an input lies, if it is not a constant."""
        if value is None or id(value) in self.known or id(value) not in self.reuse.buffer_of:
            return None
        return self.reuse.buffer_of[id(value)], self.reuse.part_of[id(value)]

    def _home(self, value: Value, at: int) -> tuple[Buffer, Part] | None:
        """In the value it will be joined to; in memory of its own if it is what others are joined to."""
        if id(value) in self.reuse.buffer_of:
            return self.reuse.buffer_of[id(value)], self._whole(value)
        if id(value) not in self.homes.of:
            return None
        into, part = self.homes.of[id(value)]
        if id(into) not in self.reuse.buffer_of:
            self._put(into, self._new(into, at), self._whole(into), at)
        return self.reuse.buffer_of[id(into)], part

    def _taken_apart(self, node: Node) -> dict[int, tuple[Buffer, Part]]:
        """Outputs that are parts of input 0."""
        found: dict[int, tuple[Buffer, Part]] = {}
        if type(node.op).output_parts is Op.output_parts:
            return found
        source = self._source(node.inputs[0])
        if source is None:
            return found
        facts = [None if v is None else self.segment.fact(v) for v in node.inputs]
        outputs = [self.facts[id(v)] for v in node.outputs]
        for position, part in enumerate(node.op.output_parts(facts, outputs)):
            value = node.outputs[position]
            there = None if part is None else part.within(source[1])
            if there is None or id(value) in self.leaving or id(value) in self.homes.of:
                continue
            if outputs[position].size and (there.rows == 1 or self.segment.is_readable(value, there.run)):
                found[position] = source[0], there
        return found

    def _viewed(self, node: Node) -> tuple[Buffer, Part] | None:
        """The memory of input 0, unless a result would share memory with an input or another result."""
        source = self._source(node.inputs[0])
        if source is not None:
            buffer, part = source
            if id(node.outputs[0]) not in self.leaving or self._may_leave(node.outputs[0], buffer, part):
                return source
        self.reuse.copied.add(id(node))
        return None

    def _may_leave(self, value: Value, buffer: Buffer, part: Part) -> bool:
        """Whether a buffer can become the result that a value is."""
        has_place = buffer.input is not None or buffer.output is not None
        return not has_place and part == whole(part.run) and buffer.nbytes == self.facts[id(value)].nbytes

    def _taken_over(self, node: Node, at: int) -> tuple[Buffer, Part] | None:
        """The memory of an input that nobody reads after this node."""
        out = node.outputs[0]
        for position in node.op.inplace:
            value = node.inputs[position] if position < len(node.inputs) else None
            source = self._source(value)
            if value is None or source is None:
                continue
            buffer, part = source
            if buffer.input is not None or buffer.output is not None or part.rows > 1:
                continue
            if self._is_read_later(buffer, part, at) or self._is_read_otherwise(node, value, buffer, part):
                continue
            if not _fits(self.facts[id(value)], self.facts[id(out)]):
                continue
            if id(out) in self.leaving and not self._may_leave(out, buffer, part):
                continue
            self.reuse.taken[id(node)] = position
            return source
        return None

    def _is_read_later(self, buffer: Buffer, part: Part, at: int) -> bool:
        """Whether a value that has elements of this part is read after a node. (What will only be
        made later from this part keeps the value alive that it is made from.)
        """
        return buffer.last > at and any(
            self.reuse.last_use.get(id(v), -1) > at and self.reuse.part_of[id(v)].overlaps(part)
            for v in buffer.values
        )

    def _is_read_otherwise(self, node: Node, source: Value, buffer: Buffer, part: Part) -> bool:
        """Whether the node also reads the memory as an input that it may not overwrite: through
        another value with another shape, or in a place that is not read element by element.
        """
        for position, value in enumerate(node.inputs):
            if value is None or self.reuse.buffer_of.get(id(value)) is not buffer:
                continue
            if not self.reuse.part_of[id(value)].overlaps(part):
                continue
            if value is not source or position not in node.op.inplace:
                return True
        return False


def _fits(source: Fact, out: Fact) -> bool:
    return source.shape == out.shape and source.dtype.itemsize == out.dtype.itemsize
