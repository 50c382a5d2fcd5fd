"""Run a plan: put inputs and outputs into the calls, then call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numba_rt import threads
from numba_rt.ops._lowering import View
from numba_rt.plan.plan import Place, Plan
from numba_rt.pool import aligned_empty

_Patch = tuple[list[Any], int, View]


class Instance:
    """A plan on one arena: ready argument lists, and where inputs and outputs go into them."""

    __slots__ = ("inputs", "outputs", "plan", "status", "steps")

    def __init__(self, plan: Plan, arena: np.ndarray) -> None:
        self.plan = plan
        self.status = np.zeros((len(plan.guards), 2), np.int64)
        self.inputs: list[tuple[int, _Patch]] = []
        self.outputs: list[tuple[int, _Patch]] = []
        self.steps: list[tuple[Callable[..., None], list[Any]]] = []
        for call in plan.calls:
            args = list(call.args)
            for position, arg in enumerate(args):
                if isinstance(arg, View):
                    args[position] = self._realise(arg, arena, args, position)
            self.steps.append((call.kernel.build(call.parallel), args))

    def _realise(self, view: View, arena: np.ndarray, args: list[Any], position: int) -> np.ndarray | None:
        if isinstance(view.source, np.ndarray):
            return part(as_bytes(view.source), view)
        place: Place = self.plan.places[id(view.source)]
        if place.kind == "arena":
            return part(arena[place.index :], view)
        if place.kind == "status":
            return self.status[place.index]
        patches = self.inputs if place.kind == "input" else self.outputs
        patches.append((place.index, (args, position, view)))
        return None


def execute(instance: Instance, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Run the calls on these inputs (C-contiguous, of the shapes the plan is for)."""
    outputs = [_empty(shape, dtype) for shape, dtype in instance.plan.outputs]
    if instance.inputs:
        raw = [as_bytes(x) for x in inputs]
        for index, (args, position, view) in instance.inputs:
            args[position] = part(raw[index], view)
    if instance.outputs:
        raw = [as_bytes(y) for y in outputs]
        for index, (args, position, view) in instance.outputs:
            args[position] = part(raw[index], view)
    with threads.region_lock:
        for kernel, args in instance.steps:
            kernel(*args)
    if instance.plan.guards and instance.status.any():
        _raise(instance)
    return outputs


def _raise(instance: Instance) -> None:
    index = int(np.flatnonzero(instance.status[:, 0])[0])
    bad = int(instance.status[index, 1])
    instance.status[:] = 0
    raise instance.plan.guards[index].message(bad)


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    size = dtype.itemsize
    for dim in shape:
        size *= dim
    if size < 4096:
        return np.empty(shape, dtype)
    return aligned_empty(size).view(dtype).reshape(shape)


class _Borrowed:
    """Lets a writable view of memory be made from a read-only array that kernels only read."""

    __slots__ = ("__array_interface__", "owner")

    def __init__(self, owner: np.ndarray) -> None:
        self.owner = owner
        self.__array_interface__ = {
            "shape": (owner.nbytes,),
            "typestr": "|u1",
            "data": (owner.ctypes.data, False),
            "version": 3,
        }


def as_bytes(array: np.ndarray) -> np.ndarray:
    """The memory of a C-contiguous array as flat, writable uint8."""
    if array.flags.writeable:
        return array.reshape(-1).view(np.uint8)
    return np.asarray(_Borrowed(array))


def part(raw: np.ndarray, view: View) -> np.ndarray:
    """The array a view describes within its source's bytes."""
    return np.ndarray(view.shape, view.dtype, raw, view.offset)
