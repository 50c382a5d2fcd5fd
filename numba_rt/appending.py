"""Appending: runs of a session on caches that an earlier run returned, without copies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from numba_rt.appender import Appender
from numba_rt.collection import paused
from numba_rt.errors import NumbaRtError
from numba_rt.graph import Sym
from numba_rt.model import Model
from numba_rt.optimize.branches import copied
from numba_rt.optimize.infer import infer_facts
from numba_rt.ort_value import OrtValue
from numba_rt.windows import fix_batch, take_cache_branch, use_windows

MOST_BATCHES = 8
"""Numbers of sequences for which a session keeps a graph."""


class Appending:
    """Finds the runs of a model whose caches can be appended to, and runs them.

    What runs them is a copy of the model's graph, which shares its weights, for each number of sequences.

    Args:
        model: the session's.
        finish: what else becomes of the Models made here.
    """

    def __init__(self, model: Model, finish: Callable[[Model], Model] = lambda m: m) -> None:
        self.token = object()
        """Stands for the session in the values it made."""
        self._model = model
        self._finish = finish
        self._inputs = {v.name: v.fact for v in model.graph.inputs}
        batched = [
            n for n, f in self._inputs.items() if f.shape and len(f.shape) > 1 and isinstance(f.shape[0], Sym)
        ]
        self._batched = batched[0] if batched else None
        self._by_batch: dict[int, Appender | None] = {}
        self.is_possible = True
        """Whether the model has caches, as far as is known."""
        self._lock = threading.Lock()

    def run(
        self, inputs: Mapping[str, Any], wanted: Sequence[str], into: Mapping[str, np.ndarray | None]
    ) -> list[OrtValue] | None:
        """The outputs, if the inputs' caches are those that a run of this session returned; or None.

        Args:
            inputs: what is fed, values of other runs as OrtValues.
            wanted: outputs, in order.
            into: memory for some of them.
        """
        if not self.is_possible or not any(self._is_own(x) for x in inputs.values()):
            return None
        appender = self.appender(inputs)
        return None if appender is None else appender.run(inputs, wanted, into)

    def _is_own(self, value: Any) -> bool:
        return isinstance(value, OrtValue) and value.made_by is not None and value.made_by[0] is self.token

    def appender(self, inputs: Mapping[str, Any]) -> Appender | None:
        """What runs as many sequences as are fed, if the model's caches can be appended to."""
        batch = 1
        if self._batched is not None:
            fed = inputs.get(self._batched)
            shape = np.shape(fed.peek() if isinstance(fed, OrtValue) else fed)  # type: ignore[arg-type]
            batch = shape[0] if shape else 1
        with self._lock:
            if batch not in self._by_batch:
                if len(self._by_batch) >= MOST_BATCHES:
                    self._by_batch.pop(next(iter(self._by_batch)))
                self._by_batch[batch] = self._make(batch)
            return self._by_batch[batch]

    def _make(self, batch: int) -> Appender | None:
        own = self._model
        try:
            with paused():
                graph = copied(own.graph)
                fix_batch(graph, batch)
                take_cache_branch(graph)
                infer_facts(graph)
                windows = use_windows(graph)
                self.is_possible = bool(windows and graph.outputs)
                if not self.is_possible:
                    return None
                model = Model(graph, own.threads, own.optimized, own.precision)
        except NumbaRtError:
            return None
        return Appender(self._finish(model), windows, batch, self.token)
