"""Recorded runs: a twin of a program whose steps take the time.

The twin shares plans and arenas with the program. Between the calls of its plans stand calls that
read the clock, so the loop that runs them is the ordinary one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from numba_rt.instance import Instance, instantiate
from numba_rt.plan import Plan
from numba_rt.pool import Lane, TensorPool
from numba_rt.profile.step import Step, Steps
from numba_rt.program import HostRunner, Program, SegmentRunner

MOST_EVENTS = 1_000_000
"""Events that are kept; runs after that are not recorded."""

MOST_INSTANCES = 64
"""Plans a lane keeps with clocks."""

_Part = tuple[Step, int, int]


@dataclass(frozen=True, slots=True)
class Event:
    """A step that ran, in nanoseconds of `time.perf_counter_ns`."""

    step: Step
    start: int
    end: int
    inner: int = 0
    """Time of the steps inside it."""

    @property
    def own(self) -> int:
        """Time without that of the steps inside it."""
        return self.end - self.start - self.inner


@dataclass(slots=True)
class Run:
    """A recorded run."""

    start: int
    thread: int
    end: int = 0
    events: list[Event] = field(default_factory=list)


class Recorder:
    """Collects what the steps of one program at a time report."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runs: list[Run] = []
        self.steps = Steps()
        self.count = 0
        self.is_on = True
        self.depth = 0
        self._inner = [0]
        self._events: list[Event] = []
        self._segments: list[tuple[list[Step], list[int]]] = []

    def clear(self) -> None:
        """Forget the runs so far."""
        self.runs, self.count = [], 0

    @property
    def is_full(self) -> bool:
        """Whether no more events are kept."""
        return self.count >= MOST_EVENTS

    def start(self) -> None:
        """Begin a run; what is noted becomes events when it has ended."""
        self.depth, self._inner, self._events, self._segments = 0, [0], [], []
        self.runs.append(Run(time.perf_counter_ns(), threading.get_native_id()))

    def finish(self, is_complete: bool) -> None:
        """End a run; one that failed is not kept."""
        end = time.perf_counter_ns()
        if not is_complete:
            self.runs.pop()
            return
        run = self.runs[-1]
        for steps, times in self._segments:
            self._events += map(Event, steps, times[::2], times[1::2])
        run.end, run.events = end, sorted(self._events, key=lambda e: (e.start, -e.end))
        self.count += len(run.events)

    def add_segment(self, steps: list[Step], times: list[int]) -> None:
        """Note the steps of a segment; `times` are when they began and ended, in turn."""
        self._segments.append((steps, times.copy()))
        if self.depth:
            self._inner[-1] += sum(times[1::2]) - sum(times[::2])

    def add(self, step: Step, start: int, end: int, inner: int = 0) -> None:
        """Note a step."""
        self._events.append(Event(step, start, end, inner))
        self._inner[-1] += end - start

    def enter(self) -> None:
        """What follows is inside a step."""
        self.depth += 1
        self._inner.append(0)

    def leave(self) -> int:
        """The step's end; the time of what was inside."""
        self.depth -= 1
        return self._inner.pop()


class Runnable(Protocol):
    """What a model runs: a program, or several of which inputs choose one (`program_for`)."""

    def run(self, inputs: Sequence[Any], into: Sequence[Any] | None = None) -> list[Any]:
        """Outputs for these inputs, in given memory where it fits."""

    def plans(self, inputs: Sequence[Any]) -> list[Plan]:
        """The plans used for these inputs."""


class RecordedProgram:
    """A program whose runs are recorded."""

    def __init__(self, program: Runnable, recorder: Recorder) -> None:
        self.recorder = recorder
        self.program = program
        self._twins = _Twins(program, recorder)

    def run(self, inputs: Sequence[Any], into: Sequence[Any] | None = None) -> list[Any]:
        """Outputs for these inputs; runs that overlap wait for each other."""
        with self.recorder.lock:
            if not self.recorder.is_on or self.recorder.is_full:
                return self.program.run(inputs, into)
            twin = self._twins.program_for(inputs)
            self.recorder.start()
            is_complete = False
            try:
                results = twin.run(inputs, into)
                is_complete = True
            finally:
                self.recorder.finish(is_complete)
        return results

    def plans(self, inputs: Sequence[Any]) -> list[Plan]:
        """The plans used for these inputs."""
        return self.program.plans(inputs)


class _Twins:
    """The recorded twins of a program, or of the several of which inputs choose one."""

    def __init__(self, program: Runnable, recorder: Recorder) -> None:
        self.program = program
        self._recorder = recorder
        self._made: dict[int, tuple[Program, Program]] = {}

    def program_for(self, inputs: Sequence[Any]) -> Program:
        """The twin that runs these inputs."""
        choose = getattr(self.program, "program_for", None)
        plain: Any = self.program if choose is None else choose(inputs)
        if id(plain) not in self._made:
            self._made[id(plain)] = plain, _twin(plain, self._recorder)
        return self._made[id(plain)][1]

    def run(self, inputs: Sequence[Any], into: Sequence[Any] | None = None) -> list[Any]:
        """Outputs for these inputs, in given memory where it fits."""
        return self.program_for(inputs).run(inputs, into)


def _twin(program: Program, recorder: Recorder) -> Program:
    twin: Program = object.__new__(Program)
    twin.__dict__.update(program.__dict__)
    twin.steps = [
        _Segment(step, recorder) if isinstance(step, SegmentRunner) else _Host(step, recorder)
        for step in program.steps
    ]
    return twin


class _Segment(SegmentRunner):
    """A segment that runs on instances with clocks."""

    def __init__(self, runner: SegmentRunner, recorder: Recorder) -> None:
        self.__dict__.update(runner.__dict__)
        self.pool = _Lanes(runner.pool, recorder)


class _Host(HostRunner):
    """A host step that reads the clock before and after."""

    def __init__(self, runner: HostRunner, recorder: Recorder) -> None:
        self.__dict__.update(runner.__dict__)
        self.bodies: Any = {name: _Twins(body, recorder) for name, body in runner.bodies.items()}
        self._recorder = recorder

    def run(self, env: list[Any]) -> None:
        """Compute the node, and note how long it took."""
        recorder, inner = self._recorder, 0
        read = [env[slot] for slot in self.sources]
        recorder.enter()
        start = time.perf_counter_ns()
        try:
            super().run(env)
        finally:
            end = time.perf_counter_ns()
            inner = recorder.leave()
        made = [env[slot] for slot in self.targets]
        recorder.add(recorder.steps.of_host(self.node, read, made, recorder.depth), start, end, inner)


class _Lanes(TensorPool):
    """Lends the lanes of another pool, with clocks."""

    def __init__(self, pool: TensorPool, recorder: Recorder) -> None:
        super().__init__(poison=False)
        self._pool = pool
        self._recorder = recorder
        self._lanes: dict[int, _Lane] = {}

    def acquire(self) -> Lane:
        lane = self._pool.acquire()
        if id(lane) not in self._lanes:
            self._lanes[id(lane)] = _Lane(lane, self._recorder)
        return self._lanes[id(lane)]

    def release(self, lane: Lane) -> None:
        assert isinstance(lane, _Lane)
        lane.report()
        self._pool.release(lane.lent)


class _Lane(Lane):
    """A lane whose instances note the time before and after each step."""

    def __init__(self, lane: Lane, recorder: Recorder) -> None:
        super().__init__()
        self.lent = lane
        self._recorder = recorder
        self._made: dict[Plan, tuple[Instance, list[Step]]] = {}
        self._running: list[Step] = []
        self._times: list[int] = []

    def instance(self, plan: Plan) -> Instance:
        self.lent.instance(plan)  # makes the arena large enough
        if self.arena is not self.lent.arena:
            self.arena = self.lent.arena
            self._made.clear()
        if plan not in self._made:
            for old in [p for p in self._made if p.is_retired]:
                del self._made[old]
            if len(self._made) >= MOST_INSTANCES:
                self._made.clear()
            parts = self._recorder.steps.of_plan(plan, self._recorder.depth)
            self._made[plan] = self._timed(plan, parts), [step for step, _, _ in parts]
        made, self._running = self._made[plan]
        self._times.clear()
        return made

    def _timed(self, plan: Plan, parts: list[_Part]) -> Instance:
        made, times, clock = instantiate(plan, self.arena), self._times, time.perf_counter_ns

        def note() -> None:
            times.append(clock())

        steps: list[Any] = []
        for _, start, end in parts:
            steps += [(note, []), *made.calls[start:end], (note, [])]
        made.steps = steps
        return made

    def report(self) -> None:
        """Hand over the times of a run that came to its end."""
        if len(self._times) == 2 * len(self._running):
            self._recorder.add_segment(self._running, self._times)
        self._times.clear()
