"""Program: a schedule that runs: plans cached by shapes, segments executed, host steps called.

Values that cross between steps have numbered slots; a run carries one list of them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from numba_rt import threads as thread_pool
from numba_rt.dtypes import STRING
from numba_rt.errors import NumbaRtError, ShapeError
from numba_rt.execute import execute
from numba_rt.graph import Fact, Graph, Value
from numba_rt.ops._eager import run_op
from numba_rt.optimize import optimize
from numba_rt.optimize.branches import Choice, decide, specialised
from numba_rt.plan import HostStep, Plan, Schedule, Segment, bind, schedule
from numba_rt.plan.branches import Deciders, find_deciders
from numba_rt.pool import TensorPool

MOST_VARIANTS = 8
"""Copies of a graph with branches taken; inputs that would need another one run the graph as it is."""
MOST_DECISIONS = 4096
"""Sets of shapes and values whose branches are remembered."""


def program_of(
    scheduled: Schedule,
    threads: int,
    pool: TensorPool | None = None,
    *,
    optimized: bool = True,
    by_value: bool = True,
) -> Program | BranchingProgram:
    """What runs a scheduled graph.

    Args:
        optimized: whether copies of the graph are optimised, as the graph was.
        by_value: whether small values that are fed may decide branches, as shapes may.
    """
    program = Program(scheduled, threads, pool, optimized)
    deciders = find_deciders(scheduled.graph, by_value)
    return program if deciders is None else BranchingProgram(program, deciders)


class BranchingProgram:
    """Runs a graph some of whose branches follow from the inputs' shapes and small values: each set of
    choices has a program of its own, in which the branches taken are part of the graph.
    """

    def __init__(self, base: Program, deciders: Deciders) -> None:
        self.base = base
        self.variants: dict[tuple[Choice, ...], Program] = {}
        self._deciders = deciders
        self._decided: dict[tuple[object, ...], Program] = {}
        self._lock = threading.RLock()

    def run(self, inputs: Sequence[Any], into: Sequence[Any] | None = None) -> list[Any]:
        """Outputs of the graph for inputs in its order, in the memory of `into` as for `Program`."""
        return self.program_for(inputs).run(inputs, into)

    def plans(self, inputs: Sequence[Any]) -> list[Plan]:
        """The plans used for these inputs."""
        return self.program_for(inputs).plans(inputs)

    def program_for(self, inputs: Sequence[np.ndarray]) -> Program:
        """The program in which these inputs' branches are taken, made now if it is new."""
        key: tuple[object, ...] = tuple([x.shape for x in inputs])
        for i in self._deciders.keyed:
            key += (inputs[i].tobytes(),)
        return self._decided.get(key) or self._decide(key, inputs)

    def _decide(self, key: tuple[object, ...], inputs: Sequence[np.ndarray]) -> Program:
        graph, keyed = self.base.graph, self._deciders.keyed
        facts = [Fact(x.dtype, x.shape, x.copy() if i in keyed else None) for i, x in enumerate(inputs)]
        choices = decide(graph, facts, self._deciders.needed)
        with self._lock:
            program = self.variants.get(choices)
            if program is None:
                program = self._variant(choices)
            if len(self._decided) >= MOST_DECISIONS:
                self._decided.clear()
            self._decided[key] = program
        return program

    def _variant(self, choices: tuple[Choice, ...]) -> Program:
        if all(c is None for c in choices) or len(self.variants) >= MOST_VARIANTS:
            return self.base
        base = self.base
        graph = specialised(base.graph, choices)
        graph.strict = base.graph.strict
        optimize(graph, only_required=not base.optimized)
        made = Program(schedule(graph), base.threads, base.pool, base.optimized)
        self.variants[choices] = made
        return made


class Program:
    """Runs a scheduled graph on arrays; safe to call from several threads."""

    def __init__(
        self, scheduled: Schedule, threads: int, pool: TensorPool | None = None, optimized: bool = True
    ) -> None:
        self.graph: Graph = scheduled.graph
        self.threads = threads
        self.optimized = optimized
        self.pool = pool or TensorPool()
        slots = {id(v): i for i, v in enumerate(self.graph.inputs)}
        for step in scheduled.steps:
            for value in step.outputs if isinstance(step, Segment) else step.node.outputs:
                slots[id(value)] = len(slots)
        self._blank = [None] * (len(slots) - len(self.graph.inputs))
        self.steps: list[SegmentRunner | HostRunner] = [
            SegmentRunner(step, threads, self.pool, slots)
            if isinstance(step, Segment)
            else HostRunner(step, self, slots)
            for step in scheduled.steps
        ]
        self._set_leaving(slots)
        self._set_freed()

    def _set_leaving(self, slots: dict[int, int]) -> None:
        """Slots and constants of the outputs; whether some may be memory that is not the caller's."""
        self._leaving: list[tuple[int, Any]] = []
        fresh = {slot for s in self.steps if isinstance(s, SegmentRunner) for slot in s.targets}
        self._all_fresh = True
        for value in self.graph.outputs:
            slot = -1 if value.is_constant else slots[id(value)]
            self._all_fresh &= slot in fresh
            fresh.discard(slot)
            self._leaving.append((slot, value.constant))

    def _set_freed(self) -> None:
        """After each step but the last, the slots nobody reads any more."""
        kept = {slot for slot, _ in self._leaving}
        for step in reversed(self.steps):
            step.freed = [s for s in dict.fromkeys([*step.sources, *step.targets]) if s not in kept]
            kept.update(step.freed)

    def run(self, inputs: Sequence[Any], into: Sequence[Any] | None = None) -> list[Any]:
        """Outputs of the graph for inputs in its order.

        Those for which `into` has an array are written there, if it fits and shares no memory with an
        input; the caller sees by identity whether they were.
        """
        env = [*inputs, *self._blank]
        given = None if into is None else self._given(inputs, into)
        for step in self.steps:
            if given and isinstance(step, SegmentRunner):
                step.run(env, given)
            else:
                step.run(env)
        if self._all_fresh:
            return [env[slot] for slot, _ in self._leaving]
        return self._own_outputs(inputs, env)

    def _given(self, inputs: Sequence[Any], into: Sequence[Any]) -> dict[int, np.ndarray]:
        """Memory that outputs may be written to, by slot."""
        given: dict[int, np.ndarray] = {}
        taken = [x for x in _elements(inputs) if isinstance(x, np.ndarray)]
        for (slot, _), array in zip(self._leaving, into, strict=True):
            if (
                array is not None
                and slot not in given
                and not any(np.may_share_memory(array, x) for x in taken)
            ):
                given[slot] = array
                taken.append(array)
        return given

    def _own_outputs(self, inputs: Sequence[Any], env: list[Any]) -> list[Any]:
        """Outputs that share no memory with inputs, constants or one another."""
        taken = {id(x) for x in inputs}
        outputs = []
        for slot, constant in self._leaving:
            result = constant if slot < 0 else env[slot]
            if slot < 0 or not self._is_fresh(slot) or id(result) in taken:
                result = _copied(result)
            taken.add(id(result))
            outputs.append(result)
        return outputs

    def _is_fresh(self, slot: int) -> bool:
        return any(isinstance(s, SegmentRunner) and slot in s.targets for s in self.steps)

    def plans(self, inputs: Sequence[Any]) -> list[Plan]:
        """The plans used for these inputs; all steps are run to know the sizes of later ones."""
        env = [*inputs, *self._blank]
        found = []
        for step in self.steps:
            if isinstance(step, SegmentRunner):
                found.append(step.plan_for([env[slot] for slot in step.sources]))
            step.run(env)
        return found


class SegmentRunner:
    """A segment with its plans."""

    def __init__(self, segment: Segment, threads: int, pool: TensorPool, slots: dict[int, int]) -> None:
        self.segment = segment
        self.threads = threads
        self.pool = pool
        self.sources = [slots[id(v)] for v in segment.inputs]
        self.targets = [slots[id(v)] for v in segment.outputs]
        self.freed: list[int] = []
        self.plans = pool.plan_cache()
        self._lock = threading.RLock()
        keyed = {id(v) for v in segment.keyed}
        self._keyed = [i for i, v in enumerate(segment.inputs) if id(v) in keyed]

    def run(self, env: list[Any], given: dict[int, np.ndarray] | None = None) -> None:
        """Read the segment's inputs from the slots, write its outputs there."""
        inputs = [env[slot] for slot in self.sources]
        plan = self.plan_for(inputs)
        into = [given.get(slot) for slot in self.targets] if given else None
        lane = self.pool.acquire()
        try:
            outputs = execute(lane.instance(plan), inputs, into)
        finally:
            self.pool.release(lane)
        for slot in self.freed:
            env[slot] = None
        for slot, array in zip(self.targets, outputs, strict=True):
            env[slot] = array

    def plan_for(self, inputs: Sequence[np.ndarray]) -> Plan:
        """The plan for these shapes, bound now if they are new."""
        count = thread_pool.available(self.threads)
        key: tuple[object, ...] = (count, *[x.shape for x in inputs])
        for i in self._keyed:
            key += (inputs[i].tobytes(),)
        return self.plans.get(key) or self._bind(key, inputs, count)

    def _bind(self, key: tuple[object, ...], inputs: Sequence[np.ndarray], count: int) -> Plan:
        with self._lock:
            plan = self.plans.get(key)
            if plan is None:
                plan = bind(self.segment, [self._fact(i, x) for i, x in enumerate(inputs)], count)
                self.plans.put(key, plan)
            return plan

    def _fact(self, index: int, array: np.ndarray) -> Fact:
        known = array.copy() if index in self._keyed else None
        return Fact(array.dtype, array.shape, known)


class HostRunner:
    """A node computed by its own code, with the programs of its subgraphs."""

    def __init__(self, step: HostStep, owner: Program, slots: dict[int, int]) -> None:
        self.node = step.node
        self.threads = owner.threads
        self.bodies = {
            k: program_of(s, owner.threads, owner.pool, optimized=owner.optimized, by_value=False)
            for k, s in step.bodies.items()
        }
        self.freed: list[int] = []
        read = [v for v in self.node.inputs if v is not None and not v.is_constant]
        self.sources = [slots[id(v)] for v in read]
        self.targets = [slots[id(v)] for v in self.node.outputs]
        self._slots = {id(v): slots[id(v)] for v in read}

    def run(self, env: list[Any]) -> None:
        """Compute the node from the slots, and write its outputs there."""
        op = self.node.op
        inputs = [self._read(v, env) for v in self.node.inputs]
        try:
            if op.has("control"):
                outputs = op.control({k: p.run for k, p in self.bodies.items()}, *inputs)  # type: ignore[attr-defined]
            else:
                outputs = run_op(op, inputs, len(self.node.outputs), self.node.describe(), self.threads)
        except NumbaRtError as error:
            if self.node.describe() in str(error):
                raise
            raise type(error)(f"{self.node.describe()}: {error}") from error
        if len(outputs) < len(self.node.outputs):
            wanted = len(self.node.outputs)
            raise ShapeError(f"{self.node.describe()}: made {len(outputs)} outputs of {wanted}")
        for slot in self.freed:
            env[slot] = None
        for slot, value, made in zip(self.targets, self.node.outputs, outputs, strict=False):
            env[slot] = self._checked(value, made)

    def _read(self, value: Value | None, env: list[Any]) -> Any:
        if value is None:
            return None
        return value.constant if value.is_constant else env[self._slots[id(value)]]

    def _checked(self, value: Value, made: Any) -> Any:
        """A tensor as segments take it: C-contiguous, aligned, of the dtype that was inferred."""
        if value.fact.kind != "tensor" or made is None:
            return made
        array = np.asarray(made)
        if array.dtype != value.fact.dtype and value.fact.dtype != STRING:
            raise ShapeError(f"{self.node.describe()}: made {array.dtype} for {value.name!r} = {value.fact}")
        if array.dtype == STRING or (array.flags.c_contiguous and array.flags.aligned):
            return array
        return np.array(array, order="C", copy=True)


def _elements(values: Sequence[Any]) -> Iterator[Any]:
    """Values, and those in sequences."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _elements(value)
        else:
            yield value


def _copied(result: Any) -> Any:
    """A result that shares no memory with the one given, itself a tensor, a sequence or nothing."""
    if isinstance(result, list):
        return [_copied(x) for x in result]
    return result.copy() if isinstance(result, np.ndarray) else result
