"""What the inputs of a control-flow operator's subgraphs are known to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.raw import RawNode
from numba_rt.dtypes import BOOL, INT64
from numba_rt.errors import LoadError
from numba_rt.graph import Fact, fresh_dim


def body_facts(node: RawNode, facts: Sequence[Fact | None]) -> list[Fact]:
    """Facts of the formal inputs of a node's subgraphs."""
    given = [f for f in facts if f is not None]
    if node.op_type == "Loop":
        carried = [f for f in facts[2:] if f is not None]
        return [Fact(INT64, ()), Fact(BOOL, ()), *(_any_sizes(f) for f in carried)]
    if node.op_type == "Scan":
        return _scan_facts(node, given)
    if node.op_type == "SequenceMap":
        return [Fact(f.dtype, _any_sizes(f).shape) for f in given]
    return []


def loosened(formals: list[Fact], outputs: Sequence[Fact]) -> list[Fact] | None:
    """For a Loop whose body changes the rank of a carried value: its formals with that rank
    unknown; None if all ranks stay.
    """
    changed = False
    out = list(formals)
    for i, (before, after) in enumerate(zip(formals[2:], outputs[1:], strict=False), 2):
        if before.shape is None or before.kind != "tensor":
            continue
        if after.shape is None or len(after.shape) != len(before.shape):
            out[i] = Fact(before.dtype, None)
            changed = True
    return out if changed else None


def _any_sizes(fact: Fact) -> Fact:
    """The fact with every size free, since it may change from one iteration to the next."""
    shape = None if fact.shape is None else tuple(fresh_dim("loop") for _ in fact.shape)
    return Fact(fact.dtype, shape, None, fact.kind)


def _scan_facts(node: RawNode, facts: Sequence[Fact]) -> list[Fact]:
    scanned = node.attributes.get("num_scan_inputs", 0)
    if not isinstance(scanned, int) or not 1 <= scanned <= len(facts):
        raise LoadError(f"{node.where}: num_scan_inputs = {scanned!r}: expected 1 to {len(facts)}")
    states, inputs = facts[:-scanned], facts[-scanned:]
    axes: Any = node.attributes.get("scan_input_axes", ()) or (0,) * scanned
    out = [f.without_value() for f in states]
    for i, (fact, axis) in enumerate(zip(inputs, axes, strict=False)):
        shape = fact.shape
        if shape is not None:
            if not -len(shape) <= axis < len(shape):
                raise LoadError(f"{node.where}: scan_input_axes[{i}] = {axis} is out of range for {fact}")
            axis %= len(shape)
            shape = shape[:axis] + shape[axis + 1 :]
        out.append(Fact(fact.dtype, shape))
    return out
