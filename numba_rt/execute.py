"""Run a plan: put inputs and outputs into the calls, then call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from numba_rt import jit, threads
from numba_rt.ops._lowering import View
from numba_rt.plan.memory import ALIGNMENT
from numba_rt.plan.plan import Place, Plan

POISON = 0xCD
_SMALL_OUTPUT = 1 << 15

_Spot = tuple[list[Any], int]
_Shape = tuple[tuple[int, ...], np.dtype[Any], int]
_Feed = tuple[int, bool, _Shape | None, list[_Spot]]
"""Index of an input or output; what is wanted of it: all in one axis, a part (None: itself); and
where that goes.
"""


class Instance:
    """A plan on one arena: ready argument lists, and where inputs and outputs go into them.

    Used by one run at a time. With `poison`, memory is filled with a pattern before its first
    and after its last use, so that reading it then shows.
    """

    __slots__ = ("clean", "inputs", "outputs", "plan", "poison", "spots", "status", "steps")

    def __init__(self, plan: Plan, arena: np.ndarray, poison: bool = False) -> None:
        self.plan = plan
        self.poison = poison
        self.status = np.zeros((len(plan.guards), 2), np.int64)
        self.clean = self.status.tobytes()
        arrays: dict[tuple[object, ...], np.ndarray] = {}
        feeds: dict[tuple[object, ...], _Feed] = {}
        self.steps: list[tuple[Callable[..., None], list[Any]]] = []
        for call in plan.calls:
            args = list(call.args)
            for position, arg in enumerate(args):
                if isinstance(arg, View):
                    args[position] = self._realise(arg, arena, arrays, feeds, (args, position))
            assert call.entry is not None
            self.steps.append((call.entry, args))
        self.inputs = [f for k, f in feeds.items() if k[0] == "input"]
        self.outputs = [f for k, f in feeds.items() if k[0] == "output"]
        self.spots = [spot for f in feeds.values() for spot in f[3]]
        if poison:
            self.steps = _poisoned(self.steps, plan, arena)

    def _realise(
        self,
        view: View,
        arena: np.ndarray,
        arrays: dict[tuple[object, ...], np.ndarray],
        feeds: dict[tuple[object, ...], _Feed],
        spot: _Spot,
    ) -> np.ndarray | None:
        """The array of a view; for inputs and outputs None, and a note of where it will go."""
        source = view.source
        if isinstance(source, np.ndarray):
            if (
                type(source) is np.ndarray
                and source.flags.carray
                and _is_same(source.shape, source.dtype, view)
            ):
                return source
            key: tuple[object, ...] = (id(source), view.shape, view.dtype, view.offset)
            if key not in arrays:
                arrays[key] = part(source, view.shape, view.dtype, view.offset)
            return arrays[key]
        place: Place = self.plan.places[id(source)]
        if place.kind == "status":
            return self.status[place.index]
        key = (place.kind, place.index, view.shape, view.dtype, view.offset)
        if place.kind == "arena":
            if key not in arrays:
                arrays[key] = part(arena, view.shape, view.dtype, place.index + view.offset)
            return arrays[key]
        shaped = (self.plan.inputs if place.kind == "input" else self.plan.outputs)[place.index]
        wanted = None if _is_same(*shaped, view) else (view.shape, view.dtype, view.offset)
        is_flat = wanted is not None and _is_same((prod(shaped[0]),), shaped[1], view)
        feeds.setdefault(key, (place.index, is_flat, wanted, []))[3].append(spot)
        return None


def execute(
    instance: Instance, inputs: Sequence[np.ndarray], into: Sequence[np.ndarray | None] | None = None
) -> list[np.ndarray]:
    """Run the calls on these inputs (C-contiguous, of the shapes and dtypes the plan is for).

    Results go into the arrays of `into` that fit, and into new ones.
    """
    if into is None:
        outputs = [_empty(shape, dtype) for shape, dtype in instance.plan.outputs]
    else:
        outputs = [_given(x, *s) for x, s in zip(into, instance.plan.outputs, strict=True)]
    if instance.poison:
        for output in outputs:
            part(output, (output.nbytes,), np.dtype(np.uint8), 0).fill(POISON)
    try:
        for feeds, arrays in ((instance.inputs, inputs), (instance.outputs, outputs)):
            for index, is_flat, wanted, spots in feeds:
                array = arrays[index]
                if is_flat:
                    array = array.ravel()
                elif wanted is not None:
                    array = part(array, *wanted)
                for args, position in spots:
                    args[position] = array
        if instance.plan.threads > 1:
            with threads.region_lock, threads.team(instance.plan.threads):
                for kernel, args in instance.steps:
                    kernel(*args)
        else:
            for kernel, args in instance.steps:
                kernel(*args)
        if instance.clean and instance.status.tobytes() != instance.clean:
            raise _invalid(instance)
    except BaseException:
        instance.status.fill(0)
        raise
    finally:
        for args, position in instance.spots:
            args[position] = None
    return outputs


def _invalid(instance: Instance) -> Exception:
    """The error of the first guard that was set."""
    index = int(np.flatnonzero(instance.status[:, 0])[0])
    guard, node = instance.plan.guards[index]
    error = guard.message(int(instance.status[index, 1]))
    return type(error)(f"{node.describe()}: {error}")


def _is_same(shape: tuple[int, ...], dtype: np.dtype[Any], view: View) -> bool:
    """Whether an array can itself be the argument: compiled code looks at memory and item size only."""
    same_size = view.dtype.itemsize == dtype.itemsize and not jit.DISABLED
    return view.shape == shape and view.offset == 0 and (same_size or view.dtype == dtype)


def _given(array: np.ndarray | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """The array, if results can be written into it, or another one."""
    if array is not None and array.shape == shape and array.dtype == dtype and array.flags.carray:
        return array
    return _empty(shape, dtype)


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    nbytes = prod(shape) * dtype.itemsize
    if nbytes < _SMALL_OUTPUT:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, aligned_empty(nbytes))


def aligned_empty(nbytes: int) -> np.ndarray:
    """Uninitialised bytes whose address is a multiple of the alignment."""
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + nbytes]


def part(array: np.ndarray, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int) -> np.ndarray:
    """The array of this shape and dtype that begins `offset` bytes into a C-contiguous array."""
    return np.ndarray(shape, dtype, array.ravel().view(np.uint8), offset)


def _poisoned(
    steps: list[tuple[Callable[..., None], list[Any]]], plan: Plan, arena: np.ndarray
) -> list[tuple[Callable[..., None], list[Any]]]:
    """The steps with every block of the arena overwritten after its last use, and all of it before."""
    ends: dict[int, list[np.ndarray]] = {}
    for block in plan.blocks:
        memory = arena[block.offset : block.offset + block.nbytes]
        ends.setdefault(plan.spans[block.last][1], []).append(memory)
    out: list[tuple[Callable[..., None], list[Any]]] = [(arena.fill, [POISON])]
    for at, step in enumerate(steps):
        out += [(memory.fill, [POISON]) for memory in ends.pop(at, [])]
        out.append(step)
    return out + [(memory.fill, [POISON]) for memories in ends.values() for memory in memories]
