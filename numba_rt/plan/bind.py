"""bind: sizes, kernel calls, buffers and offsets of a segment for one set of input shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_rt import jit
from numba_rt.errors import LoadError, NumbaRtError, ShapeError
from numba_rt.graph import Fact, Node, Value
from numba_rt.kernels.move import copy_bits
from numba_rt.ops._infer import infer, is_symbolic
from numba_rt.ops._lowering import Call, Guard, Lowering, Scratch, View
from numba_rt.plan.memory import Block, assign_offsets
from numba_rt.plan.plan import Place, Plan
from numba_rt.plan.reuse import Reuse, assign_buffers
from numba_rt.plan.schedule import Segment

ARENA_LIMIT = 1 << 40


def bind(segment: Segment, inputs: Sequence[Fact], threads: int) -> Plan:
    """The plan of a segment for inputs of these shapes (and, where keyed, values)."""
    facts = infer_segment(segment, inputs)
    known = {i for i, f in facts.items() if f.value is not None}
    nodes = _live_nodes(segment, known)
    reuse = assign_buffers(nodes, segment.inputs, segment.outputs, facts, known)
    low = Lowering(threads)
    spans = _lower(nodes, facts, known, reuse, low)
    _copy_known_outputs(segment, facts, known, low)
    plan = _place(segment, facts, nodes, reuse, low, spans)
    _prepare_kernels(plan, segment.is_dynamic and threads > 1)
    return plan


def infer_segment(segment: Segment, inputs: Sequence[Fact]) -> dict[int, Fact]:
    """Facts of every value of a segment, by id."""
    facts = {id(v): f for v, f in zip(segment.inputs, inputs, strict=True)}
    for node in segment.nodes:
        ins = [_fact(v, facts) for v in node.inputs]
        out = infer(node.op, ins, len(node.outputs), node.describe())
        for value, fact in zip(node.outputs, out, strict=False):
            if not fact.is_static:
                raise ShapeError(f"{node.describe()}: the shape of {value.name!r} does not follow from the inputs")
            if fact.value is not None and is_symbolic(fact.value, fact.dtype):
                raise ShapeError(f"{node.describe()}: the value of {value.name!r} does not follow from the inputs")
            if int(fact.size) * fact.dtype.itemsize > ARENA_LIMIT:
                raise ShapeError(f"{node.describe()}: {value.name!r} = {fact} is larger than memory")
            facts[id(value)] = fact
    return facts


def _fact(value: Value | None, facts: dict[int, Fact]) -> Fact | None:
    if value is None:
        return None
    return value.fact if value.is_constant else facts[id(value)]


def _live_nodes(segment: Segment, known: set[int]) -> list[Node]:
    """Nodes that must run: those whose results are read and not known already."""
    needed = {id(v) for v in segment.outputs}
    live: list[Node] = []
    for node in reversed(segment.nodes):
        if any(id(v) in needed and id(v) not in known for v in node.outputs):
            live.append(node)
            needed.update(id(v) for v in node.inputs if v is not None)
    return live[::-1]


def _lower(
    nodes: list[Node], facts: dict[int, Fact], known: set[int], reuse: Reuse, low: Lowering
) -> list[tuple[int, int]]:
    """Lower each node; returns the range of calls of each."""
    spans = []
    for node in nodes:
        start = len(low.calls)
        low.node = node
        ins = [_operand(v, facts, known) for v in node.inputs]
        outs = [_operand(v, facts, set()) for v in node.outputs]
        if node.op.view:
            if id(node) in reuse.copied:
                copy(low, ins[0], outs[0])
        elif not node.op.has("lower"):
            raise LoadError(f"{node.describe()} can only be computed from values known when shapes are bound")
        else:
            arity = len(node.op.parameters())
            ins += [None] * (arity - len(ins)) if not _variadic(node) else []
            try:
                node.op.lower(low, *ins, *outs)  # type: ignore[attr-defined]
            except NumbaRtError as error:
                raise type(error)(f"{node.describe()}: {error}") from error
        spans.append((start, len(low.calls)))
    return spans


def _variadic(node: Node) -> bool:
    return any(p.kind is p.VAR_POSITIONAL for p in node.op.parameters())


def _operand(value: Value | None, facts: dict[int, Fact], known: set[int]) -> View | None:
    if value is None:
        return None
    fact = value.fact if value.is_constant else facts[id(value)]
    shape = tuple(int(d) for d in fact.shape or ())
    if value.is_constant or id(value) in known:
        assert fact.value is not None
        return View(fact.value, shape, fact.dtype)
    return View(value, shape, fact.dtype)


def copy(low: Lowering, x: View, y: View) -> None:
    """Copy all bytes of x to y."""
    low.call(copy_bits, low.bits(x), low.bits(y), low.tasks(x.nbytes / 8))


def _copy_known_outputs(segment: Segment, facts: dict[int, Fact], known: set[int], low: Lowering) -> None:
    low.node = None
    for value in segment.outputs:
        if id(value) in known:
            fact = facts[id(value)]
            assert fact.value is not None
            shape = tuple(int(d) for d in fact.shape or ())
            if fact.value.size:
                copy(low, low.const(fact.value.reshape(shape)), View(value, shape, fact.dtype))


def _place(
    segment: Segment,
    facts: dict[int, Fact],
    nodes: list[Node],
    reuse: Reuse,
    low: Lowering,
    spans: list[tuple[int, int]],
) -> Plan:
    places: dict[int, Place] = {}
    blocks: list[Block] = []
    buffers = [b for b in reuse.buffers if b.output is None]
    for buffer in buffers:
        blocks.append(Block(buffer.nbytes, buffer.first, buffer.last))
    scratches: list[Scratch] = []
    guards: list[Guard] = []
    for at, (start, end) in enumerate(spans):
        seen: set[int] = set()
        for call in low.calls[start:end]:
            for view in call.args:
                if not isinstance(view, View) or id(view.source) in seen:
                    continue
                if isinstance(view.source, Scratch):
                    seen.add(id(view.source))
                    scratches.append(view.source)
                    blocks.append(Block(view.source.nbytes, at, at))
                elif isinstance(view.source, Guard):
                    seen.add(id(view.source))
                    places[id(view.source)] = Place("status", len(guards))
                    guards.append(view.source)
    arena_bytes = assign_offsets(blocks)
    for buffer, block in zip(buffers, blocks, strict=False):
        buffer.offset = block.offset
        for value in buffer.values:
            places[id(value)] = Place("arena", block.offset)
    for scratch, block in zip(scratches, blocks[len(buffers) :], strict=True):
        places[id(scratch)] = Place("arena", block.offset)
    for buffer in reuse.buffer_of.values():
        kind = "input" if buffer.input is not None else "output" if buffer.output is not None else ""
        index = buffer.input if buffer.input is not None else buffer.output
        for value in buffer.values if kind and index is not None else ():
            places[id(value)] = Place(kind, index)
    for index, value in enumerate(segment.outputs):
        if id(value) not in places:
            places[id(value)] = Place("output", index)
    outputs = [(tuple(int(d) for d in facts[id(v)].shape or ()), facts[id(v)].dtype) for v in segment.outputs]
    taken = {id(n): _taken_name(n, reuse) for n in nodes if id(n) in reuse.taken}
    keep: list[Any] = [nodes, scratches, guards, [v for n in segment.nodes for v in n.outputs]]
    return Plan(low.calls, places, outputs, arena_bytes, guards, taken, reuse.buffers, blocks, keep)


def _taken_name(node: Node, reuse: Reuse) -> str:
    value = node.inputs[reuse.taken[id(node)]]
    assert value is not None
    return value.name


def _prepare_kernels(plan: Plan, both: bool) -> None:
    """Load or compile what the plan calls; both builds of kernels that can be shared between
    threads when sizes may change, so that a later shape compiles nothing."""
    requests = []
    for call in plan.calls:
        types = tuple(_example(a) for a in call.args)
        requests.append((call.kernel, call.parallel, types))
        if both and call.kernel.is_parallel:
            requests.append((call.kernel, not call.parallel, types))
    jit.prepare(requests)


_examples: dict[tuple[Any, int], np.ndarray] = {}


def _example(arg: Any) -> Any:
    """An array of the same dtype and rank, for its type alone."""
    if not isinstance(arg, View):
        return arg
    key = (arg.dtype, arg.rank)
    if key not in _examples:
        _examples[key] = np.empty((1,) * arg.rank, arg.dtype)
    return _examples[key]
