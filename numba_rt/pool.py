"""Arenas, lent to one run at a time."""

from __future__ import annotations

import os
from collections import OrderedDict, deque

from numba_rt.execute import Instance, aligned_empty
from numba_rt.plan.plan import Plan

INSTANCES_PER_LANE = 64
PAGE = 4096


class Lane:
    """One arena and the plans instantiated on it; used by one run at a time."""

    def __init__(self, poison: bool = False) -> None:
        self.poison = poison
        self.arena = aligned_empty(0)
        self.instances: OrderedDict[Plan, Instance] = OrderedDict()

    def instance(self, plan: Plan) -> Instance:
        """The plan's calls with arrays of this arena."""
        found = self.instances.get(plan)
        if found is not None:
            self.instances.move_to_end(plan)
            return found
        if plan.arena_bytes > self.arena.size:
            self._grow(plan.arena_bytes)
        made = Instance(plan, self.arena, self.poison)
        self.instances[plan] = made
        if len(self.instances) > INSTANCES_PER_LANE:
            self.instances.popitem(last=False)
        return made

    def _grow(self, nbytes: int) -> None:
        """A larger arena, its pages touched; the old one goes first."""
        nbytes = max(nbytes, self.arena.size * 5 // 4)
        self.instances.clear()
        self.arena = aligned_empty(0)
        self.arena = aligned_empty(nbytes)
        self.arena[::PAGE] = 0


class TensorPool:
    """Lanes not in use; as many exist as runs were ever at work at once.

    With `poison` (by default from NUMBA_RT_POISON) unused memory is overwritten: results that
    change are a bug.
    """

    def __init__(self, poison: bool | None = None) -> None:
        self.poison = os.environ.get("NUMBA_RT_POISON", "0") not in ("", "0") if poison is None else poison
        self._free: deque[Lane] = deque()

    def acquire(self) -> Lane:
        """A lane for a run; the one used last, whose memory is still in the cache."""
        try:
            return self._free.pop()
        except IndexError:
            return Lane(self.poison)

    def release(self, lane: Lane) -> None:
        """Give a lane back after a run."""
        self._free.append(lane)

    def clear(self) -> None:
        """Give back the memory of all lanes that are not in use."""
        self._free.clear()

    @property
    def nbytes(self) -> int:
        """Memory of the lanes that are not in use."""
        return sum(lane.arena.size for lane in list(self._free))
