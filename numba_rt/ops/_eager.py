"""Run one operator on arrays now: for constant folding, host steps and tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_rt.dtypes import STRING
from numba_rt.errors import UnsupportedOp
from numba_rt.graph import Fact
from numba_rt.ops._infer import infer
from numba_rt.ops._lowering import Guard, Lowering, Scratch, View
from numba_rt.ops._op import Op


def run_op(
    op: Op,
    inputs: Sequence[Any],
    n_outputs: int,
    where: str = "",
    threads: int = 1,
    over: int | None = None,
) -> list[Any]:
    """Outputs of one operator; `inputs` are arrays (None where absent). With `over`, output 0 is
    written over that input, as a plan may do.
    """
    if op.has("run"):
        return as_list(op.run(*inputs))  # type: ignore[attr-defined]
    facts = [None if x is None else Fact.of(x) for x in inputs]
    made = infer(op, [_plain(f) for f in facts], n_outputs, where)
    strings = any(f is not None and f.dtype == STRING for f in (*facts, *made))
    if strings or not (op.has("lower") or op.view):
        if not op.has("evaluate"):
            raise UnsupportedOp(f"{where or op.op_type}: not implemented for strings")
        results = as_list(op.evaluate(*inputs))  # type: ignore[attr-defined]
        return [np.asarray(r, f.dtype) for r, f in zip(results, made, strict=False)]
    return _run_kernels(op, inputs, made[:n_outputs], where, threads, over)


def _plain(fact: Fact | None) -> Fact | None:
    return fact if fact is None or fact.dtype != STRING else fact.without_value()


def _run_kernels(
    op: Op, inputs: Sequence[Any], made: Sequence[Fact], where: str, threads: int, over: int | None
) -> list[np.ndarray]:
    shapes = [tuple(int(d) for d in f.shape or ()) for f in made]
    if op.view:
        return [np.ascontiguousarray(inputs[0]).reshape(shapes[0]).copy()]
    outputs = [np.empty(s, f.dtype) for s, f in zip(shapes, made, strict=True)]
    if over is not None:
        outputs[0] = inputs[over].view(made[0].dtype)
    low = Lowering(threads)
    low.taken = over
    ins = [None if x is None else low.const(x if x.flags.writeable else x.copy()) for x in inputs]
    ins = [
        None if view is None or x is None else low.view(view, x.shape)
        for view, x in zip(ins, inputs, strict=True)
    ]
    arity = len(op.parameters())
    if not any(p.kind is p.VAR_POSITIONAL for p in op.parameters()):
        ins += [None] * (arity - len(ins))
    op.lower(low, *ins, *(View(y, y.shape, y.dtype) for y in outputs))  # type: ignore[attr-defined]
    memory: dict[int, np.ndarray] = {}
    guards: list[tuple[Guard, np.ndarray]] = []
    for call in low.calls:
        args = [_realise(a, memory, guards) if isinstance(a, View) else a for a in call.args]
        call.kernel(*args)
    for guard, status in guards:
        if status[0]:
            error = guard.message(int(status[1]))
            raise type(error)(f"{where}: {error}" if where else str(error))
    return outputs


def _realise(view: View, memory: dict[int, np.ndarray], guards: list[tuple[Guard, np.ndarray]]) -> np.ndarray:
    source = view.source
    if isinstance(source, np.ndarray):
        raw = source.reshape(-1).view(np.uint8)
    else:
        raw = memory.get(id(source), np.empty(0, np.uint8))
        if id(source) not in memory:
            nbytes = source.nbytes if isinstance(source, Scratch) else 16
            raw = memory[id(source)] = np.zeros(nbytes, np.uint8)
            if isinstance(source, Guard):
                guards.append((source, raw.view(np.int64)))
    return np.ndarray(view.shape, view.dtype, raw, view.offset)


def as_list(results: Any) -> list[Any]:
    """The outputs of a host operator as a list; one that returns a sequence wraps it in a tuple."""
    return list(results) if isinstance(results, tuple) else [results]
