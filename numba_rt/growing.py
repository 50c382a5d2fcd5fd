"""Growing: plain runs whose caches are longer each time.

A run on arrays has caches of a new length, and so a new plan. Where a model's caches can be appended to,
copying them to buffers and back may take less time than that, while they are short: both are measured in use.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from numba_rt.appender import Appender
from numba_rt.appending import Appending
from numba_rt.graph import Graph, Sym
from numba_rt.windows import BLOCK

FIRST = 8
"""Runs that each continue the one before, until copies are tried."""
SAMPLES = 3
"""Times of which the least counts."""

Into = Mapping[str, np.ndarray | None]
Run = Callable[[Mapping[str, Any], Sequence[str] | None, Into | None], list[Any]]


class Growing:
    """Chooses how plain runs of a session are made.

    Args:
        graph: the session's.
        appending: finds what runs on copies.
        ordinary: runs on arrays as they are.
        clock: seconds.
    """

    def __init__(
        self,
        graph: Graph,
        appending: Appending,
        ordinary: Run,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._outputs = [v.name for v in graph.outputs]
        self._appending = appending
        self._ordinary = ordinary
        self._clock = clock
        self._watched = _watched(graph)
        """An input that is a cache, if any is."""
        self._shape: tuple[int, ...] = ()
        self._streak = 0
        self.limit = math.inf
        """Rows from which on copies took longer than plans."""
        self._plain = math.inf
        self._copying: list[float] = []
        self._last: Appender | None = None
        self._lock = threading.Lock()

    def run(
        self, feeds: Mapping[str, Any], wanted: Sequence[str] | None, into: Into | None = None
    ) -> list[Any]:
        """Outputs, in the order that is wanted, in the memory of `into` as for `Model.run`."""
        if self._watched is None or not self._lock.acquire(blocking=False):
            return self._ordinary(feeds, wanted, into)
        try:
            return self._run(feeds, wanted, into)
        finally:
            self._lock.release()

    def _run(self, feeds: Mapping[str, Any], wanted: Sequence[str] | None, into: Into | None) -> list[Any]:
        rows = self._continued(feeds)
        began = self._clock()
        if self._streak >= FIRST and rows < self.limit and self._streak % BLOCK:
            appender = self._appending.appender(feeds)
            names = list(wanted or self._outputs)
            if self._last is not None and self._last is not appender:
                self._last.forget_copies()
            self._last = appender
            found = None if appender is None else appender.run_on_copies(feeds, names, into or {})
            if found is not None:
                self._compare(rows, self._clock() - began)
                return found
            self._streak = 0
            if not self._appending.is_possible:
                self._watched = None
        made = self._ordinary(feeds, wanted, into)
        took = self._clock() - began
        self._plain = took if self._streak <= 1 or self._streak % BLOCK == 0 else min(self._plain, took)
        self._copying.clear()
        return made

    def _continued(self, feeds: Mapping[str, Any]) -> int:
        """Rows of the cache, if it is that of the run before with some added."""
        before = self._shape
        fed = feeds.get(self._watched or "") if isinstance(feeds, Mapping) else None
        self._shape = fed.shape if isinstance(fed, np.ndarray) else ()
        grown = [n for n, m in zip(self._shape, before, strict=False) if n != m]
        goes_on = len(self._shape) == len(before) and len(grown) == 1 and sum(self._shape) > sum(before)
        self._streak = self._streak + 1 if goes_on else 0
        return grown[0] if goes_on else 0

    def _compare(self, rows: int, took: float) -> None:
        """Note how long a run on copies took; the first of a block binds its plan."""
        self._copying.append(took)
        if len(self._copying) > SAMPLES and min(self._copying[-SAMPLES:]) > self._plain:
            self.limit = rows


def _watched(graph: Graph) -> str | None:
    """The first input that may be a cache."""
    ranks = {len(v.fact.shape) for v in graph.outputs if v.fact.shape is not None}
    for value in graph.inputs:
        shape = value.fact.shape
        if (
            shape is not None
            and len(shape) > 2
            and len(shape) in ranks
            and any(isinstance(d, Sym) for d in shape)
        ):
            return value.name
    return None
