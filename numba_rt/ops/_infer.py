"""Facts of a node's outputs, with values followed through small integer arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_
from typing import Any

import numpy as np

from numba_rt.dtypes import STRING
from numba_rt.errors import LoadError, NumbaRtError, ShapeError
from numba_rt.graph import Fact, Node, Sym, Undecided
from numba_rt.graph.fact import SMALL
from numba_rt.ops._op import Op

LARGEST = 1 << 40
"""Bytes no value of a sound model needs; more is refused before anything is allocated."""


def infer(op: Op, facts: Sequence[Fact | None], n_outputs: int, where: str = "") -> tuple[Fact, ...]:
    """Facts of the outputs of one node. `where` names the node in errors."""
    try:
        out = _infer_facts(op, facts, n_outputs)
        if len(out) < n_outputs:
            raise ShapeError(f"has {n_outputs} outputs, expected at most {len(out)}")
        return _follow_values(op, facts, out)
    except NumbaRtError as error:
        raise _located(error, op, facts, where) from error
    except Undecided:
        dtypes = op.out_dtypes(*facts)
        return tuple(Fact(dtypes[min(i, len(dtypes) - 1)], None) for i in range(n_outputs))


def infer_node(node: Node) -> None:
    """Set the facts of a node's outputs, unless they follow from the same facts as before."""
    op, facts = node.op, [None if v is None else v.fact for v in node.inputs]
    if node.inferred is not None:
        before, known, made = node.inferred
        if (
            before is op
            and all(map(is_, known, facts))
            and all(map(is_, made, [v.fact for v in node.outputs]))
        ):
            return
    try:
        made = infer(op, facts, len(node.outputs), node.describe())
    except NumbaRtError:
        raise
    except (ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise LoadError(f"{node.describe()}: {error}") from error
    for value, fact in zip(node.outputs, made, strict=False):
        value.fact = fact
    node.inferred = op, facts, made


def _infer_facts(op: Op, facts: Sequence[Fact | None], n_outputs: int) -> tuple[Fact, ...]:
    if not op.any_rank and any(f is not None and f.shape is None and f.kind == "tensor" for f in facts):
        raise Undecided("an input's rank is not known")
    out = op.infer(*facts)
    out = out if isinstance(out, tuple) else (out,)
    for fact in out:
        if fact.is_static and fact.nbytes > LARGEST:
            raise ShapeError(f"the result {fact} is larger than memory")
    return out


def _follow_values(op: Op, facts: Sequence[Fact | None], out: tuple[Fact, ...]) -> tuple[Fact, ...]:
    if not op.has("evaluate") or not op.deterministic or all(f.value is not None for f in out):
        return out
    values: list[np.ndarray | None] = []
    for fact in facts:
        if fact is None:
            values.append(None)
        elif fact.value is None or fact.value.size > SMALL or fact.dtype == STRING:
            return out
        else:
            values.append(fact.value)
    if not values or any(f.shape is None or not f.is_static or int(f.size) > SMALL for f in out):
        return out
    try:
        results = op.evaluate(*values)  # type: ignore[attr-defined]
    except (Undecided, TypeError, ValueError, ZeroDivisionError):
        return out
    results = results if isinstance(results, tuple) else (results,)
    return tuple(
        f if r is None else f.with_value(as_dtype(r, f.dtype)) for f, r in zip(out, results, strict=False)
    )


def as_dtype(value: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """`value` in `dtype`, or as an object array while it contains symbolic sizes."""
    value = np.asarray(value)
    if value.dtype == object and dtype != STRING:
        if any(isinstance(x, Sym) for x in value.reshape(-1)):
            return value
        return np.array(value.tolist(), dtype).reshape(value.shape)
    return np.ascontiguousarray(value, dtype).reshape(value.shape)


def is_symbolic(value: np.ndarray, dtype: np.dtype[Any]) -> bool:
    """Whether a known value still contains sizes that are not known."""
    return value.dtype == object and dtype != STRING


def _located(error: NumbaRtError, op: Op, facts: Sequence[Fact | None], where: str) -> NumbaRtError:
    inputs = ", ".join(f"{op.input_name(i)} = {f}" for i, f in enumerate(facts) if f is not None)
    return type(error)(f"{where or op.op_type}: {error}\n  inputs: {inputs or 'none'}")
