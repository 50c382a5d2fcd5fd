"""Program: a schedule that runs: plans cached by shapes, segments executed, host steps called."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_rt.errors import NumbaRtError, ShapeError
from numba_rt.execute import execute
from numba_rt.graph import Fact, Graph, Value
from numba_rt.ops._eager import run_op
from numba_rt.plan import HostStep, Plan, Schedule, Segment, bind
from numba_rt.pool import TensorPool

PLANS_PER_SEGMENT = 64


class Program:
    """Runs a scheduled graph on arrays; safe to call from several threads."""

    def __init__(self, scheduled: Schedule, threads: int, pool: TensorPool | None = None) -> None:
        self.graph: Graph = scheduled.graph
        self.threads = threads
        self.pool = pool or TensorPool()
        self.steps: list[SegmentRunner | HostRunner] = [
            SegmentRunner(step, threads, self.pool)
            if isinstance(step, Segment)
            else HostRunner(step, threads, self.pool)
            for step in scheduled.steps
        ]

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """Outputs of the graph for inputs in its order."""
        env: dict[int, Any] = {id(v): x for v, x in zip(self.graph.inputs, inputs, strict=True)}
        for step in self.steps:
            step.run(env)
        seen: set[int] = {id(v) for v in self.graph.inputs}
        outputs = []
        for value in self.graph.outputs:
            result = value.constant if value.is_constant else env[id(value)]
            if (value.is_constant or id(value) in seen) and isinstance(result, np.ndarray):
                result = result.copy()
            seen.add(id(value))
            outputs.append(result)
        return outputs

    def plans(self, inputs: Sequence[Any]) -> list[Plan]:
        """The plans used for these inputs; host steps between them are run."""
        env: dict[int, Any] = {id(v): x for v, x in zip(self.graph.inputs, inputs, strict=True)}
        found = []
        for step in self.steps:
            if isinstance(step, SegmentRunner):
                found.append(step.plan_for([env[id(v)] for v in step.segment.inputs]))
            step.run(env)
        return found


class SegmentRunner:
    """A segment with its plans."""

    def __init__(self, segment: Segment, threads: int, pool: TensorPool) -> None:
        self.segment = segment
        self.threads = threads
        self.pool = pool
        self.plans: OrderedDict[tuple[object, ...], Plan] = OrderedDict()
        self._lock = threading.RLock()
        keyed = {id(v) for v in segment.keyed}
        self._keyed = [i for i, v in enumerate(segment.inputs) if id(v) in keyed]

    def run(self, env: dict[int, Any]) -> None:
        inputs = [env[id(v)] for v in self.segment.inputs]
        plan = self.plan_for(inputs)
        with self.pool.lease() as lane:
            outputs = execute(lane.instance(plan), inputs)
        for value, array in zip(self.segment.outputs, outputs, strict=True):
            env[id(value)] = array

    def plan_for(self, inputs: Sequence[np.ndarray]) -> Plan:
        """The plan for these shapes, bound now if they are new."""
        key: tuple[object, ...] = tuple(x.shape for x in inputs)
        for i in self._keyed:
            key += (inputs[i].tobytes(),)
        plan = self.plans.get(key)
        if plan is not None:
            return plan
        with self._lock:
            plan = self.plans.get(key)
            if plan is None:
                plan = bind(self.segment, [self._fact(i, x) for i, x in enumerate(inputs)], self.threads)
                self.plans[key] = plan
                if len(self.plans) > PLANS_PER_SEGMENT:
                    self.plans.popitem(last=False)
        return plan

    def _fact(self, index: int, array: np.ndarray) -> Fact:
        known = array.copy() if index in self._keyed else None
        return Fact(array.dtype, array.shape, known)


class HostRunner:
    """A node computed by its own code, with the programs of its subgraphs."""

    def __init__(self, step: HostStep, threads: int, pool: TensorPool) -> None:
        self.node = step.node
        self.threads = threads
        self.bodies = {k: Program(s, threads, pool) for k, s in step.bodies.items()}

    def run(self, env: dict[int, Any]) -> None:
        op = self.node.op
        inputs = [None if v is None else _lookup(v, env) for v in self.node.inputs]
        try:
            if op.has("control"):
                outputs = op.control({k: p.run for k, p in self.bodies.items()}, *inputs)  # type: ignore[attr-defined]
            else:
                outputs = run_op(op, inputs, len(self.node.outputs), self.node.describe(), self.threads)
        except NumbaRtError as error:
            if self.node.name and self.node.name in str(error):
                raise
            raise type(error)(f"{self.node.describe()}: {error}") from error
        if len(outputs) < len(self.node.outputs):
            raise ShapeError(f"{self.node.describe()}: made {len(outputs)} outputs of {len(self.node.outputs)}")
        for value, array in zip(self.node.outputs, outputs, strict=False):
            env[id(value)] = array


def _lookup(value: Value, env: dict[int, Any]) -> Any:
    return value.constant if value.is_constant else env[id(value)]
