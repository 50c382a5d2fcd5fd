"""Growing: plain runs whose caches are longer each time.

A run on arrays has caches of a new length, and so a new plan. Where a model's caches can be appended to,
copying them to buffers and back takes less time than that, while they are short.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from numba_rt.appender import Appender
from numba_rt.appending import Appending
from numba_rt.graph import Graph, Sym

FIRST = 8
"""Runs that each continue the one before, until copies are tried."""
MOST_BYTES = 1 << 24
"""Of what is fed: copying more there and back takes as long as binding a plan of a few hundred nodes."""

Into = Mapping[str, np.ndarray | None]
Run = Callable[[Mapping[str, Any], Sequence[str] | None, Into | None], list[Any]]


class Growing:
    """Chooses how plain runs of a session are made.

    Args:
        graph: the session's.
        appending: finds what runs on copies.
        ordinary: runs on arrays as they are.
    """

    def __init__(self, graph: Graph, appending: Appending, ordinary: Run) -> None:
        self._outputs = [v.name for v in graph.outputs]
        self._appending = appending
        self._ordinary = ordinary
        self._watched = _watched(graph)
        """An input that is a cache, if any is."""
        self._shape: tuple[int, ...] = ()
        self._streak = 0
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
        self._streak = self._streak + 1 if self._continues(feeds) else 0
        if self._streak >= FIRST and _nbytes(feeds) <= MOST_BYTES:
            appender = self._appending.appender(feeds)
            names = list(wanted or self._outputs)
            if self._last is not None and self._last is not appender:
                self._last.forget_copies()
            self._last = appender
            found = None if appender is None else appender.run_on_copies(feeds, names, into or {})
            if found is not None:
                return found
            self._streak = 0
            if not self._appending.is_possible:
                self._watched = None
        return self._ordinary(feeds, wanted, into)

    def _continues(self, feeds: Mapping[str, Any]) -> bool:
        """Whether the cache is that of the run before with rows added."""
        before = self._shape
        fed = feeds.get(self._watched or "") if isinstance(feeds, Mapping) else None
        self._shape = fed.shape if isinstance(fed, np.ndarray) else ()
        grown = [n for n, m in zip(self._shape, before, strict=False) if n != m]
        return len(self._shape) == len(before) and len(grown) == 1 and sum(self._shape) > sum(before)


def _nbytes(feeds: Mapping[str, Any]) -> int:
    return sum(x.nbytes for x in feeds.values() if isinstance(x, np.ndarray))


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
