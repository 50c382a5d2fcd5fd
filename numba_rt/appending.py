"""Appending: runs of a session on caches that an earlier run returned, without copies.

A cache that such a run returns is a `CacheValue`: the first rows of a buffer that later runs append to. The
newest values of a buffer, handed back, are appended to in place; for older ones a new buffer is made.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from numba_rt.collection import paused
from numba_rt.errors import NumbaRtError
from numba_rt.graph import Sym
from numba_rt.model import Model
from numba_rt.optimize.branches import copied
from numba_rt.optimize.infer import infer_facts
from numba_rt.ort_value import OrtValue
from numba_rt.windows import (
    BRANCH,
    FIRST_ROWS,
    MASK,
    Buffer,
    Window,
    fix_batch,
    may_be_padded,
    rounded,
    take_cache_branch,
    use_windows,
)

TOLERANCE = 1e-3
"""By how much results with and without padding may differ, relative to the largest."""
MOST_BATCHES = 8
"""Numbers of sequences for which a session keeps a graph."""


class CacheSet:
    """Buffers of all caches of a model, filled by runs of which each continues the one before."""

    def __init__(self, windows: Mapping[str, Window], room: int = FIRST_ROWS) -> None:
        self.buffers = {name: Buffer(window, room) for name, window in windows.items()}
        self.length = 0
        """Rows that belong to some value: a run that appends has claimed them before it writes."""
        self._lock = threading.Lock()

    def claim(self, length: int, stop: int) -> bool:
        """Take the rows from `length` to `stop`, unless another run has."""
        with self._lock:
            is_free = self.length == length
            if is_free:
                self.length = stop
            return is_free

    def give_back(self, length: int) -> None:
        """Let others have the rows from `length` on: the run that had claimed them failed."""
        with self._lock:
            self.length = length


class CacheValue(OrtValue):
    """A cache as a run returned it: rows of a buffer, and memory of its own once that is asked for."""

    def __init__(self, caches: CacheSet, past: str, length: int, made_by: tuple[object, str]) -> None:
        super().__init__(None, made_by)
        self.length = length
        self.caches: CacheSet | None = caches
        """None once the holder has the memory, and may write to it."""
        self._buffer = caches.buffers[past]
        self.window = self._buffer.of

    @property
    def value(self) -> Any:
        """The array; it is the holder's own from now on."""
        if self.caches is not None:
            self._value, self.caches = self.fetched(), None
        return self._value

    def peek(self) -> np.ndarray:
        """The contents, to be read only; not contiguous while they are rows of a buffer."""
        return self._value if self.caches is None else self._buffer.view(self.length)

    def fetched(self) -> np.ndarray:
        """The contents, in memory of their own."""
        return np.array(self.peek(), order="C")


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
        self._is_possible = True
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
        if not self._is_possible or not any(self._is_own(x) for x in inputs.values()):
            return None
        appender = self._appender(inputs)
        return None if appender is None else appender.run(inputs, wanted, into)

    def _is_own(self, value: Any) -> bool:
        return isinstance(value, OrtValue) and value.made_by is not None and value.made_by[0] is self.token

    def _appender(self, inputs: Mapping[str, Any]) -> Appender | None:
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
                self._is_possible = bool(windows and graph.outputs)
                if not self._is_possible:
                    return None
                model = Model(graph, own.threads, own.optimized, own.precision)
        except NumbaRtError:
            return None
        return Appender(self._finish(model), windows, batch, self.token)


class Appender:
    """A model that appends to the caches of some number of sequences."""

    def __init__(self, model: Model, windows: dict[str, Window], batch: int, token: object) -> None:
        self.model = model
        self.windows = windows
        self._batch = batch
        self._token = token
        self._caches = {w.cache.present: name for name, w in windows.items()}
        self._names = {v.name: v.fact for v in model.graph.inputs}
        self._outputs = [v.name for v in model.graph.outputs]
        self.is_padded = may_be_padded(self._names)
        """Whether steps see windows that begin before the first row; checked with the first of them."""
        self._is_checked = False

    def run(
        self, inputs: Mapping[str, Any], wanted: Sequence[str], into: Mapping[str, np.ndarray | None]
    ) -> list[OrtValue] | None:
        """As `Appending.run`."""
        if any(into.get(name) is not None for name in self._caches):
            return None
        length = self._length(inputs)
        feeds = {
            n: x.value if isinstance(x, OrtValue) else x for n, x in inputs.items() if n not in self.windows
        }
        if not length or (BRANCH not in self._names and not np.all(feeds.pop(BRANCH, True))):
            return None
        stop = self._stop(feeds, length)
        if stop is None:
            return None
        caches = self._claimed(inputs, length, stop)
        try:
            made = self._step(caches, length, stop, feeds, [n for n in wanted if n not in self._caches], into)
        except NumbaRtError:
            caches.give_back(length)
            return None  # the ordinary run says what is wrong in the model's own terms
        except BaseException:
            caches.give_back(length)
            raise
        return [self._value(name, caches, stop, made) for name in wanted]

    def _value(self, name: str, caches: CacheSet, stop: int, made: Mapping[str, Any]) -> OrtValue:
        by = (self._token, name)
        return (
            CacheValue(caches, self._caches[name], stop, by)
            if name in self._caches
            else OrtValue(made[name], by)
        )

    def _length(self, inputs: Mapping[str, Any]) -> int:
        """Rows in all caches; 0 if they are not all the session's own and of equal length."""
        length = 0
        for name, window in self.windows.items():
            value = inputs.get(name)
            if not isinstance(value, OrtValue) or value.made_by != (self._token, window.cache.present):
                return 0
            if isinstance(value, CacheValue):
                rows = value.length if value.window is window else 0
            else:
                rows = window.length(np.shape(value.peek()))
            if rows != (length or rows):
                return 0
            length = rows
        return length

    def _stop(self, feeds: Mapping[str, Any], length: int) -> int | None:
        """Rows in the caches after the run; None if it cannot be one of this model."""
        if not all(
            isinstance(x, np.ndarray) for x in feeds.values()
        ) or feeds.keys() != self._names.keys() - {w.name for w in self.windows.values()}:
            return None
        counts = {w.appended(feeds) for w in self.windows.values()}
        stop = length + counts.pop()
        mask = feeds.get(MASK)
        is_short = mask is not None and mask.ndim == 2 and mask.shape != (self._batch, stop)
        return None if counts or is_short else stop

    def _claimed(self, inputs: Mapping[str, Any], length: int, stop: int) -> CacheSet:
        """Buffers that hold what is fed, and whose next rows are this run's alone."""
        sets = {id(c): c for c in (getattr(inputs[name], "caches", None) for name in self.windows)}
        caches = sets.popitem()[1]
        if caches is not None and not sets and caches.claim(length, stop):
            return caches
        made = CacheSet(self.windows, max(FIRST_ROWS, 2 * stop))
        for name, buffer in made.buffers.items():
            buffer.put(inputs[name].peek())
        made.length = stop
        return made

    def _step(
        self,
        caches: CacheSet,
        length: int,
        stop: int,
        feeds: dict[str, Any],
        names: list[str],
        into: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Results by name."""
        size = rounded(stop) if self.is_padded else stop
        given = {n: x for n, x in into.items() if x is not None} or None
        if size != stop and not self._is_checked:
            return self._checked_step(caches, length, stop, feeds)
        if size != stop:
            try:
                full = {**feeds, **self._windows(caches, length, stop, size, feeds)}
                return dict(zip(names, self.model.run(full, names, given), strict=False))
            except NumbaRtError:
                pass  # tables of the model may end before the padding does
        full = {**feeds, **self._windows(caches, length, stop, stop, feeds)}
        return dict(zip(names, self.model.run(full, names, given), strict=False))

    def _checked_step(
        self, caches: CacheSet, length: int, stop: int, feeds: dict[str, Any]
    ) -> dict[str, Any]:
        """A step without padding, after one with padding that tells whether it can be had so."""
        padded = None
        with contextlib.suppress(NumbaRtError):
            padded = self.model.run({**feeds, **self._windows(caches, length, stop, rounded(stop), feeds)})
        # Last, for what it appends is right in any case.
        exact = self.model.run({**feeds, **self._windows(caches, length, stop, stop, feeds)})
        if padded is not None:
            self.is_padded = all(_close(x, y) for x, y in zip(exact, padded, strict=True))
            self._is_checked = True
        return dict(zip(self._outputs, exact, strict=True))

    def _windows(
        self, caches: CacheSet, length: int, stop: int, size: int, feeds: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """The last `size` rows of all caches, and a mask for as many."""
        made = {b.of.name: b.window(length, stop, size) for b in caches.buffers.values()}
        if size != stop:
            mask = np.zeros((self._batch, size), feeds[MASK].dtype)
            mask[:, size - stop :] = feeds[MASK]
            made[MASK] = mask
        return made


def _close(x: Any, y: Any) -> bool:
    """Whether two results are the same but for rounding."""
    if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray) or x.shape != y.shape:
        return False
    if x.dtype.kind not in "fV":
        return np.array_equal(x, y)
    x, y = x.astype(np.float64), y.astype(np.float64)
    largest = np.abs(x[np.isfinite(x)]).max(initial=0.0)
    return np.allclose(x, y, rtol=0, atol=TOLERANCE * largest, equal_nan=True)
