"""A plan on an arena: all arguments in place but inputs and outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from numba_rt import jit
from numba_rt.frame import ADDRESS, address_of, array_words, frame_of, number_word
from numba_rt.kernels.steps import run_steps
from numba_rt.ops._lowering import View
from numba_rt.plan.plan import Place, Plan

POISON = 0xCD

Step = tuple[Callable[..., None], list[Any]]


class Instance(ABC):
    """What a run executes: `steps`; used by one run at a time."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.is_poisoned = False
        self.status = np.zeros((len(plan.guards), 2), np.int64)
        self.clean = self.status.tobytes()
        self.steps: list[Step] = []

    @property
    @abstractmethod
    def calls(self) -> list[Step]:
        """The calls of the plan one by one, for those who have something to do between them."""

    @abstractmethod
    def connect(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Put inputs and outputs into the calls."""

    @abstractmethod
    def disconnect(self) -> None:
        """Let go of inputs and outputs."""

    def poison(self, arena: np.ndarray) -> None:
        """Fill memory with a pattern before its first and after its last use: reading it then shows."""
        self.is_poisoned = True
        self.steps = _poisoned(self.calls, self.plan, arena)


def instantiate(plan: Plan, arena: np.ndarray) -> Instance:
    """The calls of a plan with arguments in this arena."""
    return ArrayInstance(plan, arena) if jit.DISABLED else FrameInstance(plan, arena)


class FrameInstance(Instance):
    """Arguments are words of frames, and all calls together one step."""

    def __init__(self, plan: Plan, arena: np.ndarray) -> None:
        super().__init__(plan)
        self._arena = address_of(arena)
        self._constants: dict[int, int] = {}
        self._copies: list[np.ndarray] = []
        spots: dict[str, dict[int, list[tuple[int, int]]]] = {"input": {}, "output": {}}
        words: list[int] = []
        starts: list[int] = []
        for call in plan.calls:
            starts.append(len(words))
            for arg in call.args:
                self._add(words, arg, spots)
        self._words = np.array(words, np.int64)
        self._slots = memoryview(self._words)  # type: ignore[arg-type]
        self._inputs, self._outputs = list(spots["input"].items()), list(spots["output"].items())
        self._frames = address_of(self._words) + 8 * np.array(starts, np.int64)
        self._failed = np.zeros(1, np.int64)
        if plan.calls:
            addresses = np.array([entry.address for entry in self._entries()], np.int64)
            args = (np.column_stack([addresses, self._frames]).reshape(-1), self._failed)
            entry = run_steps.entry(run_steps.signature(args))
            self._own = args, frame_of(entry.codes, args)
            self.steps = [(_run_all, [entry.call, address_of(self._own[1]), self._failed, plan])]

    def _add(self, words: list[int], arg: Any, spots: dict[str, dict[int, list[tuple[int, int]]]]) -> None:
        """The words of an argument; where it is an input or output, a note of where its address will go."""
        kind = type(arg)
        if kind is int:
            words.append(arg)
        elif kind is View:
            source, offset = arg.source, arg.offset
            place = self.plan.places.get(id(source))
            if place is None:
                address = self._constant(source) + offset
            elif place.kind == "arena":
                address = self._arena + place.index + offset
            elif place.kind == "status":
                address = address_of(self.status[place.index])
            else:
                address = 0
                spots[place.kind].setdefault(place.index, []).append((len(words) + ADDRESS, offset))
            words += array_words(address, arg.shape, arg.dtype.itemsize)
        elif isinstance(arg, np.ndarray):
            words += array_words(self._constant(arg), arg.shape, arg.itemsize)
        else:
            words.append(number_word(arg))

    def _constant(self, array: np.ndarray) -> int:
        """Where a constant lies."""
        address = self._constants.get(id(array))
        if address is None:
            flags, placed = array.flags, array
            if not (flags.c_contiguous and flags.aligned):
                placed = np.require(array, requirements=("C", "A"))
                self._copies.append(placed)
            address = self._constants[id(array)] = address_of(placed)
        return address

    @cached_property
    def calls(self) -> list[Step]:
        """The calls of the plan one by one, for those who have something to do between them."""
        return [(e.run, [int(at)]) for e, at in zip(self._entries(), self._frames, strict=True)]

    def _entries(self) -> list[jit.Entry]:
        return [call.entry for call in self.plan.calls if call.entry is not None]

    def connect(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Put the addresses of inputs and outputs into the frames."""
        slots = self._slots
        for feeds, arrays in ((self._inputs, inputs), (self._outputs, outputs)):
            for index, spots in feeds:
                address = address_of(arrays[index])
                for position, offset in spots:
                    slots[position] = address + offset

    def disconnect(self) -> None:
        """Nothing to do: addresses keep nothing alive."""


def _run_all(call: Callable[[int], int], frame: int, failed: np.ndarray, plan: Plan) -> None:
    """All calls of a plan, as machine code."""
    call(frame)
    if failed[0]:
        number, failed[0] = int(failed[0]), 0
        raise jit.failure(plan.calls[number - 1].kernel.name)


_Spot = tuple[list[Any], int]


class ArrayInstance(Instance):
    """Arguments are arrays, for kernels that Python runs."""

    def __init__(self, plan: Plan, arena: np.ndarray) -> None:
        super().__init__(plan)
        self._spots: dict[tuple[str, int], list[tuple[_Spot, View]]] = {}
        for call in plan.calls:
            args = list(call.args)
            for position, arg in enumerate(args):
                if isinstance(arg, View):
                    args[position] = self._realise(arg, arena, (args, position))
            self.steps.append((call.kernel.function, args))
        self._calls = self.steps

    @property
    def calls(self) -> list[Step]:
        """The calls of the plan."""
        return self._calls

    def _realise(self, view: View, arena: np.ndarray, spot: _Spot) -> np.ndarray | None:
        """The array of a view; for inputs and outputs nothing, and a note of where it will go."""
        source = view.source
        if isinstance(source, np.ndarray):
            return part(source, view.shape, view.dtype, view.offset)
        place: Place = self.plan.places[id(source)]
        if place.kind == "status":
            return self.status[place.index]
        if place.kind == "arena":
            return part(arena, view.shape, view.dtype, place.index + view.offset)
        self._spots.setdefault((place.kind, place.index), []).append((spot, view))
        return None

    def connect(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Put views of inputs and outputs into the calls."""
        for (kind, index), spots in self._spots.items():
            array = (inputs if kind == "input" else outputs)[index]
            for (args, position), view in spots:
                args[position] = part(array, view.shape, view.dtype, view.offset)

    def disconnect(self) -> None:
        """Let go of inputs and outputs."""
        for spots in self._spots.values():
            for (args, position), _ in spots:
                args[position] = None


def part(array: np.ndarray, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int) -> np.ndarray:
    """The array of this shape and dtype that begins `offset` bytes into a C-contiguous array."""
    return np.ndarray(shape, dtype, array.ravel().view(np.uint8), offset)


def _poisoned(calls: list[Step], plan: Plan, arena: np.ndarray) -> list[Step]:
    """The calls with every block of the arena overwritten after its last use, and all of it before."""
    ends: dict[int, list[np.ndarray]] = {}
    for block in plan.blocks:
        memory = arena[block.offset : block.offset + block.nbytes]
        ends.setdefault(plan.spans[block.last][1], []).append(memory)
    out: list[Step] = [(arena.fill, [POISON])]
    for at, call in enumerate(calls):
        out += [(memory.fill, [POISON]) for memory in ends.pop(at, [])]
        out.append(call)
    return out + [(memory.fill, [POISON]) for memories in ends.values() for memory in memories]
