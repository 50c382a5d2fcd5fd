"""bind: sizes, kernel calls, buffers and offsets of a segment for one set of input shapes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from numba_rt import jit
from numba_rt.errors import LoadError, NumbaRtError
from numba_rt.frame import array_code, code_of
from numba_rt.graph import Fact, Node, Value
from numba_rt.kernels.move import copy_bits
from numba_rt.ops._lowering import Call, Guard, Lowering, Scratch, View
from numba_rt.ops._strided import copy_strided
from numba_rt.plan.inference import Inference
from numba_rt.plan.memory import Block, assign_offsets
from numba_rt.plan.outline import MOST_OUTLINES, Outline
from numba_rt.plan.plan import Place, Plan, Shaped
from numba_rt.plan.reuse import Reuse, assign_buffers
from numba_rt.plan.schedule import Segment


def bind(segment: Segment, inputs: Sequence[Fact], threads: int) -> Plan:
    """The plan of a segment for inputs of these shapes (and, where keyed, values)."""
    if segment.inference is None:
        segment.inference = Inference(segment.nodes)
    facts = segment.inference.facts(segment.inputs, inputs)
    outline = _outline(segment, frozenset(i for i, f in facts.items() if f.value is not None))
    reuse = assign_buffers(outline, segment.inputs, facts)
    low = Lowering(threads)
    spans = _lower(outline, facts, reuse, low)
    _copy_known_outputs(segment, facts, outline.known, low)
    _prepare_kernels(low.calls)
    return _place(segment, outline, facts, reuse, low, spans)


def _outline(segment: Segment, known: frozenset[int]) -> Outline:
    outline = segment.outlines.get(known)
    if outline is None:
        if len(segment.outlines) >= MOST_OUTLINES:
            segment.outlines.clear()
        outline = segment.outlines[known] = Outline(segment.nodes, segment.outputs, known)
    return outline


def _lower(outline: Outline, facts: dict[int, Fact], reuse: Reuse, low: Lowering) -> list[tuple[int, int]]:
    """Lower each node; returns the range of calls of each."""
    spans = []
    taken, in_place, copied = reuse.taken, reuse.in_place, reuse.copied
    for at, (node, operands) in enumerate(zip(outline.nodes, outline.operands, strict=True)):
        start = len(low.calls)
        if not (node.op.view and id(node) not in copied and not node.op.has("write")):
            views = [x if isinstance(x, View) else _operand(x, outline, facts, reuse) for x in operands]
            views += [outline.view(v, facts[id(v)], reuse.part_of[id(v)]) for v in node.outputs]
            low.node, low.taken = node, taken.get(id(node))
            low.in_place = in_place.get(id(node), frozenset())
            is_copied = id(node) in copied
            key = (low.threads, low.taken, low.in_place, is_copied, *views)
            low.calls += outline.calls(at, key, partial(_lower_node, low, at, views, outline, is_copied))
        spans.append((start, len(low.calls)))
    return spans


def _lower_node(
    low: Lowering, at: int, views: list[View | None], outline: Outline, is_copied: bool
) -> list[Call]:
    """The calls of one node for operands that lie here."""
    node, before = outline.nodes[at], low.calls
    low.calls = []
    ins, outs = views[: len(node.inputs)], views[len(node.inputs) :]
    if node.op.view:
        if node.op.has("write"):
            node.op.write(low, *ins)  # type: ignore[attr-defined]
        if is_copied and ins[0] is not None and outs[0] is not None:
            copy(low, ins[0], outs[0])
    elif not node.op.has("lower"):
        raise LoadError(f"{node.describe()} can only be computed from values known when shapes are bound")
    else:
        ins += [None] * (outline.arities[at] - len(ins))
        try:
            node.op.lower(low, *ins, *outs)  # type: ignore[attr-defined]
        except NumbaRtError as error:
            raise type(error)(f"{node.describe()}: {error}") from error
    made, low.calls = low.calls, before
    return made


def _operand(value: Value | None, outline: Outline, facts: dict[int, Fact], reuse: Reuse) -> View | None:
    if value is None:
        return None
    fact = facts[id(value)]
    return outline.view(value, fact, reuse.part_of[id(value)] if fact.value is None else None)


def copy(low: Lowering, x: View, y: View) -> None:
    """Copy all elements of x to y."""
    if x.pitch:
        rows = x.size // x.run
        copy_strided(low, x, y, [(rows, x.pitch, x.run), (x.run, 1, 1)])
        return
    low.call(copy_bits, low.bits(x), low.bits(y), low.tasks(x.nbytes / 8))


def _copy_known_outputs(
    segment: Segment, facts: dict[int, Fact], known: frozenset[int], low: Lowering
) -> None:
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
    outline: Outline,
    facts: dict[int, Fact],
    reuse: Reuse,
    low: Lowering,
    spans: list[tuple[int, int]],
) -> Plan:
    """Give every view's source its place, and put the plan together."""
    nodes = outline.nodes
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
    return Plan(
        nodes=nodes,
        calls=low.calls,
        spans=spans,
        places=places,
        inputs=[_shaped(facts[id(v)]) for v in segment.inputs],
        outputs=[_shaped(facts[id(v)]) for v in segment.outputs],
        arena_bytes=arena_bytes,
        guards=guards,
        takeovers={id(n): _taken_name(n, reuse) for n in nodes if id(n) in reuse.taken},
        facts=facts,
        parts=reuse.part_of,
        in_place=reuse.in_place,
        buffers=reuse.buffers,
        blocks=blocks,
        shared=outline.constants,
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
            for source in call.own:
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


def _prepare_kernels(calls: list[Call]) -> None:
    """Load or compile what the calls need."""
    if jit.DISABLED:
        return
    new = [call for call in calls if call.entry is None]
    signatures = [(call.kernel, tuple(map(_code_of, call.args))) for call in new]
    missing = {s: call for call, s in zip(new, signatures, strict=True) if s not in _entries}
    if missing:
        jit.prepare(missing)
        _entries.update((s, call.kernel.entry(s[1])) for s, call in missing.items())
    for call, signature in zip(new, signatures, strict=True):
        call.entry = _entries[signature]


_entries: dict[tuple[jit.Kernel, tuple[str, ...]], jit.Entry] = {}
"""Machine code by kernel and the types of its arguments."""


def _code_of(arg: Any) -> str:
    """The type of an argument."""
    return array_code(arg.dtype, len(arg.shape)) if type(arg) is View else code_of(arg)
