"""Which values share a buffer: views of one another, and outputs that take over a dying input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from numba_rt.graph import Fact, Node, Value


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

    buffer_of: dict[int, Buffer]
    buffers: list[Buffer]
    copied: set[int]
    """ids of the nodes that are views but must copy (their output leaves the segment)."""
    taken: dict[int, int]
    """id of a node → the input whose buffer its first output took over."""


def assign_buffers(
    nodes: Sequence[Node],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    facts: dict[int, Fact],
    known: set[int],
) -> Reuse:
    """Buffers for the live nodes in execution order; `known` are the values that are constants
    once shapes are bound. A segment's inputs and constants are never overwritten.
    """
    reuse = Reuse({}, [], set(), {})
    leaving: dict[int, int] = {}
    for index, value in enumerate(outputs):
        leaving.setdefault(id(value), index)
    last_use = _last_uses(nodes)
    for index, value in enumerate(inputs):
        reuse.buffer_of[id(value)] = Buffer(0, -1, -1, [value], input=index)
    for at, node in enumerate(nodes):
        for position, value in enumerate(node.outputs):
            buffer = _shared(node, at, reuse, leaving, facts, known) if position == 0 else None
            if buffer is None:
                buffer = Buffer(facts[id(value)].nbytes, at, at)
                reuse.buffers.append(buffer)
            buffer.values.append(value)
            buffer.last = max(buffer.last, at, last_use.get(id(value), at))
            if id(value) in leaving:
                buffer.output = leaving[id(value)]
            reuse.buffer_of[id(value)] = buffer
    return reuse


def _last_uses(nodes: Sequence[Node]) -> dict[int, int]:
    last: dict[int, int] = {}
    for at, node in enumerate(nodes):
        for value in node.inputs:
            if value is not None:
                last[id(value)] = at
    return last


def _shared(
    node: Node,
    at: int,
    reuse: Reuse,
    leaving: dict[int, int],
    facts: dict[int, Fact],
    known: set[int],
) -> Buffer | None:
    """The buffer output 0 of a node lies in without a new one, if any."""
    out = node.outputs[0]
    if node.op.view:
        source = node.inputs[0]
        buffer = None if source is None or id(source) in known else reuse.buffer_of.get(id(source))
        has_place = buffer is not None and (buffer.input is not None or buffer.output is not None)
        if buffer is not None and not (id(out) in leaving and has_place):
            return buffer
        reuse.copied.add(id(node))
        return None
    for position in node.op.inplace:
        source = node.inputs[position] if position < len(node.inputs) else None
        if source is None or id(source) in known:
            continue
        buffer = reuse.buffer_of.get(id(source))
        if buffer is None or buffer.input is not None or buffer.output is not None or buffer.last > at:
            continue
        if not _fits(facts[id(source)], facts[id(out)]) or _read_otherwise(node, source, buffer, reuse):
            continue
        reuse.taken[id(node)] = position
        return buffer
    return None


def _fits(source: Fact, out: Fact) -> bool:
    return source.shape == out.shape and source.dtype.itemsize == out.dtype.itemsize


def _read_otherwise(node: Node, source: Value, buffer: Buffer, reuse: Reuse) -> bool:
    """Whether the node also reads the memory as an input that it may not overwrite: through
    another value with another shape, or in a place that is not read element by element.
    """
    for position, value in enumerate(node.inputs):
        reads = value is not None and reuse.buffer_of.get(id(value)) is buffer
        if reads and (value is not source or position not in node.op.inplace):
            return True
    return False
