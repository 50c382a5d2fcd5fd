"""bind: sizes, kernel calls, buffers and offsets of a segment for one set of input shapes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any

import numpy as np

from numba_rt import jit
from numba_rt.errors import LoadError, NumbaRtError, ShapeError
from numba_rt.graph import Fact, Node, Value
from numba_rt.kernels.move import copy_bits
from numba_rt.ops._infer import infer, is_symbolic
from numba_rt.ops._lowering import Call, Guard, Lowering, Scratch, View
from numba_rt.ops._op import Op
from numba_rt.ops._strided import copy_strided
from numba_rt.plan.memory import Block, assign_offsets
from numba_rt.plan.plan import Place, Plan, Shaped
from numba_rt.plan.reuse import Reuse, assign_buffers
from numba_rt.plan.schedule import Segment


def bind(segment: Segment, inputs: Sequence[Fact], threads: int) -> Plan:
    """The plan of a segment for inputs of these shapes (and, where keyed, values)."""
    facts = infer_segment(segment, inputs)
    known = {i for i, f in facts.items() if f.value is not None}
    nodes = _live_nodes(segment, known)
    reuse = assign_buffers(nodes, segment.inputs, segment.outputs, facts, known)
    low = Lowering(threads)
    spans = _lower(nodes, facts, known, reuse, low)
    _copy_known_outputs(segment, facts, known, low)
    entries = _prepare_kernels(low.calls)
    return _place(segment, facts, nodes, reuse, low, spans, entries)


def infer_segment(segment: Segment, inputs: Sequence[Fact]) -> dict[int, Fact]:
    """Facts of every value of a segment, by id."""
    facts = {id(v): f for v, f in zip(segment.inputs, inputs, strict=True)}
    for node in segment.nodes:
        ins = [_fact(v, facts) for v in node.inputs]
        out = infer(node.op, ins, len(node.outputs), node.describe())
        for value, fact in zip(node.outputs, out, strict=False):
            unknown = "shape" if not fact.is_static else ""
            if fact.value is not None and is_symbolic(fact.value, fact.dtype):
                unknown = "value"
            if unknown:
                where = f"{node.describe()}: the {unknown} of {value.name!r}"
                raise ShapeError(f"{where} does not follow from the inputs")
            facts[id(value)] = fact
        source = ins[0] if node.op.view else None
        viewed = facts[id(node.outputs[0])]
        if source is not None and source.value is not None and viewed.value is None:
            shape = tuple(int(d) for d in viewed.shape or ())
            facts[id(node.outputs[0])] = viewed.with_value(source.value.reshape(shape))
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
        if node.op.view and id(node) not in reuse.copied and not node.op.has("write"):
            spans.append((start, start))
            continue
        low.node, low.taken = node, reuse.taken.get(id(node))
        low.in_place = reuse.in_place.get(id(node), frozenset())
        ins = [_operand(v, facts, known, reuse) for v in node.inputs]
        outs = [_operand(v, facts, set(), reuse) for v in node.outputs]
        if node.op.view:
            source, result = ins[0], outs[0]
            if node.op.has("write"):
                node.op.write(low, *ins)  # type: ignore[attr-defined]
            if id(node) in reuse.copied and source is not None and result is not None:
                copy(low, source, result)
        elif not node.op.has("lower"):
            raise LoadError(f"{node.describe()} can only be computed from values known when shapes are bound")
        else:
            ins += [None] * (_arity(type(node.op)) - len(ins))  # type: ignore[arg-type]
            try:
                node.op.lower(low, *ins, *outs)  # type: ignore[attr-defined]
            except NumbaRtError as error:
                raise type(error)(f"{node.describe()}: {error}") from error
        spans.append((start, len(low.calls)))
    return spans


@cache
def _arity(op: type[Op]) -> int:
    """How many inputs `lower` takes, absent ones included; 0 if it takes any number."""
    names = op.parameters()
    return 0 if any(p.kind is p.VAR_POSITIONAL for p in names) else len(names)


def _operand(
    value: Value | None, facts: dict[int, Fact], known: Collection[int], reuse: Reuse
) -> View | None:
    if value is None:
        return None
    fact = value.fact if value.is_constant else facts[id(value)]
    if value.is_constant or id(value) in known:
        assert fact.value is not None
        return View(fact.value, fact.sizes, fact.dtype)
    part = reuse.part_of[id(value)]
    offset = part.offset * fact.dtype.itemsize
    if part.rows == 1:
        return View(value, fact.sizes, fact.dtype, offset)
    return View(value, fact.sizes, fact.dtype, offset, part.run, part.pitch)


def copy(low: Lowering, x: View, y: View) -> None:
    """Copy all elements of x to y."""
    if x.pitch:
        rows = x.size // x.run
        copy_strided(low, x, y, [(rows, x.pitch, x.run), (x.run, 1, 1)])
        return
    low.call(copy_bits, low.bits(x), low.bits(y), low.tasks(x.nbytes / 8))


def _copy_known_outputs(segment: Segment, facts: dict[int, Fact], known: set[int], low: Lowering) -> None:
    low.node = low.taken = None
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
    entries: list[Callable[..., None]],
) -> Plan:
    """Give every view's source its place, and put the plan together."""
    places: dict[int, Place] = {}
    buffers = [b for b in reuse.buffers if b.output is None]
    scratches, guards = _found_in_calls(nodes, low, spans)
    blocks = [Block(b.nbytes, b.first, b.last) for b in buffers]
    blocks += [Block(scratch.nbytes, at, at) for scratch, at in scratches]
    arena_bytes = assign_offsets(blocks)
    for buffer, block in zip(buffers, blocks, strict=False):
        places.update(dict.fromkeys(map(id, buffer.values), Place("arena", block.offset)))
    for (scratch, _), block in zip(scratches, blocks[len(buffers) :], strict=True):
        places[id(scratch)] = Place("arena", block.offset)
    for index, (guard, _) in enumerate(guards):
        places[id(guard)] = Place("status", index)
    for buffer in {id(b): b for b in reuse.buffer_of.values()}.values():
        if buffer.input is not None:
            places.update(dict.fromkeys(map(id, buffer.values), Place("input", buffer.input)))
        elif buffer.output is not None:
            places.update(dict.fromkeys(map(id, buffer.values), Place("output", buffer.output)))
    for index, value in enumerate(segment.outputs):
        places.setdefault(id(value), Place("output", index))
    live = [v for n in nodes for v in (*n.inputs, *n.outputs) if v is not None]
    return Plan(
        nodes=nodes,
        calls=low.calls,
        spans=spans,
        entries=entries,
        places=places,
        inputs=[_shaped(facts[id(v)]) for v in segment.inputs],
        outputs=[_shaped(facts[id(v)]) for v in segment.outputs],
        arena_bytes=arena_bytes,
        guards=guards,
        takeovers={id(n): _taken_name(n, reuse) for n in nodes if id(n) in reuse.taken},
        facts={id(v): facts[id(v)] for v in live if id(v) in facts},
        parts=reuse.part_of,
        in_place=reuse.in_place,
        buffers=reuse.buffers,
        blocks=blocks,
        keep=[scratches, segment],
    )


def _found_in_calls(
    nodes: list[Node], low: Lowering, spans: list[tuple[int, int]]
) -> tuple[list[tuple[Scratch, int]], list[tuple[Guard, Node]]]:
    """Working memory, with the node it lives at, and guards, with the node they belong to."""
    scratches: dict[int, tuple[Scratch, int]] = {}
    guards: dict[int, tuple[Guard, Node]] = {}
    for at, (start, end) in enumerate(spans):
        for call in low.calls[start:end]:
            for view in call.args:
                source = view.source if isinstance(view, View) else None
                if isinstance(source, Scratch):
                    scratches.setdefault(id(source), (source, at))
                elif isinstance(source, Guard):
                    guards.setdefault(id(source), (source, nodes[at]))
    return list(scratches.values()), list(guards.values())


def _shaped(fact: Fact) -> Shaped:
    return tuple(int(d) for d in fact.shape or ()), fact.dtype


def _taken_name(node: Node, reuse: Reuse) -> str:
    value = node.inputs[reuse.taken[id(node)]]
    assert value is not None
    return value.name


def _prepare_kernels(calls: list[Call]) -> list[Callable[..., None]]:
    """Load or compile what the calls need; their machine code."""
    signatures: list[tuple[Any, ...]] = [(call.kernel, *map(_type_number, call.args)) for call in calls]
    missing = {s: call for call, s in zip(calls, signatures, strict=True) if s not in _entries}
    if missing:
        wanted = [(s, call, tuple(_types[i] for i in s[1:])) for s, call in missing.items()]
        jit.prepare([(call.kernel, call.parallel, types) for _, call, types in wanted])
        _entries.update((s, call.kernel.entry(types)) for s, call, types in wanted)
    return [_entries[s] for s in signatures]


_entries: dict[tuple[Any, ...], Callable[..., None]] = {}
"""Machine code by kernel and numbers of the arguments' types."""
_types: list[Any] = []
_numbers: dict[object, int] = {}


def _type_number(arg: Any) -> int:
    """Where the compiler's type of an argument is in `_types`; types are slow to make and to compare."""
    if type(arg) is View:
        key: object = (arg.dtype, len(arg.shape))
    elif isinstance(arg, int | float | np.generic):
        key = type(arg)
    else:
        key = jit.Kernel.signature((arg,))[0]
    number = _numbers.get(key)
    if number is None:
        example = np.empty((1,) * arg.rank, arg.dtype) if isinstance(arg, View) else arg
        with _lock:
            _types.append(jit.Kernel.signature((example,))[0])
            number = _numbers[key] = len(_types) - 1
    return number


_lock = threading.Lock()
