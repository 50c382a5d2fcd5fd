"""What a profile says of a step before it runs: operands, operations, bytes, algorithm."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numba_rt.dtypes import ort_type_name
from numba_rt.errors import NumbaRtError
from numba_rt.graph import Fact, Node, Value
from numba_rt.ops._lowering import Call, View
from numba_rt.ops._op import Op
from numba_rt.plan import Plan

_DIGEST = re.compile("_[0-9a-f]{12}$")
"""End of a generated kernel's name."""

Typed = tuple[str, tuple[int, ...]]
"""onnxruntime's name of an element type, and a shape."""


@dataclass(frozen=True)
class Step:
    """A node as it runs for one set of shapes; equal steps are added up."""

    index: int
    """Number of the node, in the order in which nodes ran first."""
    name: str
    op_type: str
    inputs: tuple[Typed, ...]
    outputs: tuple[Typed, ...]
    algorithm: str
    tasks: int = 1
    flops: int = 0
    """Operations of the plain algorithm, so a faster algorithm may come out above the peak."""
    nbytes: int = 0
    """Bytes of the operands, each read or written once."""
    parameter_bytes: int = 0
    activation_bytes: int = 0
    output_bytes: int = 0
    main: int = 0
    """Which input stands for all: the first that is not a parameter."""
    depth: int = 0
    """How many control flow nodes it stands in."""

    @property
    def shape(self) -> str:
        """Shape of the main input and of the first output."""
        made = _dims(self.outputs[0][1]) if self.outputs else ""
        return f"{_dims(self.inputs[self.main][1])} → {made}" if self.inputs else made


def _dims(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"


class Steps:
    """Makes Steps, numbering nodes as they come."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._keep: list[Any] = []

    def _number(self, node: object) -> int:
        if id(node) not in self._numbers:
            self._numbers[id(node)] = len(self._numbers)
            self._keep.append(node)
        return self._numbers[id(node)]

    def of_plan(self, plan: Plan, depth: int) -> list[tuple[Step, int, int]]:
        """The steps of a plan, each with its first and last (excluded) call; nodes without calls are none."""
        found = []
        for node, (start, end) in zip(plan.nodes, plan.spans, strict=True):
            if start < end:
                found.append((self._of_node(plan, node, plan.calls[start:end], depth), start, end))
        done = plan.spans[-1][1] if plan.spans else 0
        for at in range(done, len(plan.calls)):
            found.append((self._of_copy(plan, plan.calls[at], depth), at, at + 1))
        return found

    def _of_node(self, plan: Plan, node: Node, calls: list[Call], depth: int) -> Step:
        inputs = [None if v is None else _view(v, plan.facts) for v in node.inputs]
        outputs = [_view(v, plan.facts) for v in node.outputs]
        read = [(v, _stored(x)) for v, x in zip(inputs, node.inputs, strict=True) if v is not None]
        parameters = sum(v.nbytes for v, stored in read if stored)
        written = sum(v.nbytes for v in outputs)
        return Step(
            index=self._number(node),
            name=node.name or node.outputs[0].name,
            op_type=node.op.op_type,
            inputs=tuple([_typed(v) for v, _ in read]),
            outputs=tuple([_typed(v) for v in outputs]),
            algorithm=_algorithm(node, calls) + (", in place" if id(node) in plan.takeovers else ""),
            tasks=max(int(call.args[-1]) for call in calls),
            flops=_flops(node.op, inputs, outputs),
            nbytes=written + _bytes_read(node.op, inputs, written),
            parameter_bytes=parameters,
            activation_bytes=sum(v.nbytes for v, _ in read) - parameters,
            output_bytes=written,
            main=next((i for i, (_, stored) in enumerate(read) if not stored), 0),
            depth=depth,
        )

    def _of_copy(self, plan: Plan, call: Call, depth: int) -> Step:
        """A result that was known beforehand is copied to an output."""
        x, y = (arg for arg in call.args[:2])
        return Step(
            index=self._number(call), name=getattr(y.source, "name", ""), op_type="Copy",
            inputs=(_typed(x),), outputs=(_typed(y),), algorithm=call.kernel.name, tasks=int(call.args[-1]),
            nbytes=x.nbytes + y.nbytes, parameter_bytes=x.nbytes, output_bytes=y.nbytes, depth=depth,
        )  # fmt: skip

    def of_host(self, node: Node, inputs: Sequence[Any], outputs: Sequence[Any], depth: int) -> Step:
        """The step of a node that Python computed."""
        read = [x for x in inputs if isinstance(x, np.ndarray)]
        made = [x for x in outputs if isinstance(x, np.ndarray)]
        is_data = not node.op.has("control")
        sizes = sum(x.nbytes for x in read), sum(x.nbytes for x in made)
        return Step(
            index=self._number(node),
            name=node.name or node.outputs[0].name,
            op_type=node.op.op_type,
            inputs=tuple([(ort_type_name(x.dtype), x.shape) for x in read]),
            outputs=tuple([(ort_type_name(x.dtype), x.shape) for x in made]),
            algorithm="python" if is_data else "control flow",
            nbytes=sum(sizes) if is_data else 0,
            activation_bytes=sizes[0],
            output_bytes=sizes[1],
            depth=depth,
        )


def _stored(value: Value | None) -> bool:
    return value is not None and value.is_constant


def _view(value: Value, facts: dict[int, Fact]) -> View:
    fact = facts.get(id(value), value.fact)
    return View(value, tuple(int(d) for d in fact.shape or ()), fact.dtype)


def _typed(view: View) -> Typed:
    return ort_type_name(view.dtype), view.shape


def _algorithm(node: Node, calls: list[Call]) -> str:
    """What the operator says of itself, or the kernels it calls."""
    return node.op.algorithm or " + ".join(dict.fromkeys(_DIGEST.sub("", c.kernel.name) for c in calls))


def _flops(op: Op, inputs: list[View | None], outputs: list[View]) -> int:
    names = op.parameters()
    if not any(p.kind is p.VAR_POSITIONAL for p in names):
        inputs = inputs + [None] * (len(names) - len(inputs))
    try:
        return int(op.flops(*inputs, *outputs))
    except NumbaRtError:
        return 0


def _bytes_read(op: Op, inputs: list[View | None], written: int) -> int:
    sizes = [0 if v is None else v.nbytes for v in inputs]
    if sizes and not op.reads_all:
        sizes[0] = min(sizes[0], written)
    return sum(sizes)
