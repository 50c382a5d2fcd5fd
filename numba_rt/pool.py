"""Plans, kept while they are used and memory lasts; and arenas, lent to one run at a time."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict, deque

from numba_rt.execute import aligned_empty
from numba_rt.instance import Instance, instantiate
from numba_rt.plan.plan import Plan

MOST_PLANS = 64
"""Plans a segment keeps, least recently used first to go."""
MOST_PLAN_BYTES = 1 << 24
"""Memory of the plans of all segments of a model, whatever their number; each keeps its newest."""
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
        made = instantiate(plan, self.arena)
        if self.poison:
            made.poison(self.arena)
        for old in [p for p in self.instances if p.is_retired]:
            del self.instances[old]
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


class PlanCache:
    """Plans of one segment by shapes and values, least recently used first."""

    def __init__(self, pool: TensorPool) -> None:
        self.nbytes = 0
        self._pool = pool
        self._plans: OrderedDict[tuple[object, ...], Plan] = OrderedDict()

    def __len__(self) -> int:
        return len(self._plans)

    def values(self) -> list[Plan]:
        """The plans."""
        return list(self._plans.values())

    def get(self, key: tuple[object, ...]) -> Plan | None:
        """The plan for these shapes and values, which is now the last to go."""
        plan = self._plans.get(key)
        if plan is not None:
            with contextlib.suppress(KeyError):  # another thread may have dropped it
                self._plans.move_to_end(key)
        return plan

    def put(self, key: tuple[object, ...], plan: Plan) -> None:
        """Keep a new plan; others may have to go, of this segment or another."""
        self._pool.keep(self, key, plan)

    def add(self, key: tuple[object, ...], plan: Plan) -> None:
        """Keep a new plan, and no more than MOST_PLANS."""
        self._plans[key] = plan
        self.nbytes += plan.nbytes
        while len(self._plans) > MOST_PLANS:
            self.drop_oldest()

    def drop_oldest(self) -> int:
        """Let go of a plan, and its instances when their lanes make others; returns its bytes."""
        _, plan = self._plans.popitem(last=False)
        plan.is_retired = True
        self.nbytes -= plan.nbytes
        return plan.nbytes


class TensorPool:
    """Lanes not in use; as many exist as runs were ever at work at once.

    With `poison` (by default from NUMBA_RT_POISON) unused memory is overwritten: results that
    change are a bug.
    """

    def __init__(self, poison: bool | None = None) -> None:
        self.poison = os.environ.get("NUMBA_RT_POISON", "0") not in ("", "0") if poison is None else poison
        self._free: deque[Lane] = deque()
        self._caches: list[PlanCache] = []
        self._lock = threading.Lock()

    def plan_cache(self) -> PlanCache:
        """Where a segment keeps its plans."""
        made = PlanCache(self)
        with self._lock:
            self._caches.append(made)
        return made

    def keep(self, cache: PlanCache, key: tuple[object, ...], plan: Plan) -> None:
        """Put a plan into a cache, and let others go until all fit: first the oldest of the segment
        whose plans take most.
        """
        with self._lock:
            cache.add(key, plan)
            total = self.plan_bytes
            while total > MOST_PLAN_BYTES:
                largest = max(self._caches, key=lambda c: c.nbytes if len(c) > 1 else 0)
                if len(largest) < 2:
                    return
                total -= largest.drop_oldest()

    @property
    def plan_bytes(self) -> int:
        """Memory of all plans."""
        return sum(c.nbytes for c in self._caches)

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
