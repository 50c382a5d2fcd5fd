"""Arenas, lent to one run at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from numba_rt.plan.memory import ALIGNMENT

if TYPE_CHECKING:
    from numba_rt.execute import Instance
    from numba_rt.plan.plan import Plan

INSTANCES_PER_LANE = 64
PAGE = 4096


def aligned_empty(nbytes: int) -> np.ndarray:
    """Uninitialised bytes whose address is a multiple of the alignment."""
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + nbytes]


class Lane:
    """One arena and the plans instantiated on it; used by one run at a time."""

    def __init__(self) -> None:
        self.arena = aligned_empty(0)
        self.instances: OrderedDict[int, Instance] = OrderedDict()

    def instance(self, plan: Plan) -> Instance:
        """The plan's calls with arrays of this arena."""
        found = self.instances.get(id(plan))
        if found is not None:
            self.instances.move_to_end(id(plan))
            return found
        from numba_rt.execute import Instance

        if plan.arena_bytes > self.arena.size:
            self.instances.clear()
            self.arena = aligned_empty(max(plan.arena_bytes, self.arena.size * 5 // 4))
            self.arena[::PAGE] = 0
        made = Instance(plan, self.arena)
        self.instances[id(plan)] = made
        if len(self.instances) > INSTANCES_PER_LANE:
            self.instances.popitem(last=False)
        return made


class TensorPool:
    """Lanes not in use; as many exist as runs were ever at work at once."""

    def __init__(self) -> None:
        self._free: list[Lane] = []
        self._lock = threading.Lock()
        self.lanes = 0

    @contextmanager
    def lease(self) -> Iterator[Lane]:
        """A lane for the duration of a run."""
        with self._lock:
            if self._free:
                lane = self._free.pop()
            else:
                lane = Lane()
                self.lanes += 1
        try:
            yield lane
        finally:
            with self._lock:
                self._free.append(lane)

    def clear(self) -> None:
        """Give back the memory of all lanes that are not in use."""
        with self._lock:
            self.lanes -= len(self._free)
            self._free.clear()
