"""Appender: runs a model on windows of its caches, and says when it cannot."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from numba_rt.cache_value import CacheSet, CacheValue
from numba_rt.errors import NumbaRtError
from numba_rt.model import Model
from numba_rt.ort_value import OrtValue
from numba_rt.windows import BLOCK, BRANCH, FIRST_ROWS, MASK, Window, is_table, rounded

TOLERANCE = 1e-4
"""By how much results with and without padding may differ, relative to the largest."""
LEAST_PADDING = BLOCK // 4
"""Rows that show in the results if they are not hidden, or if positions are counted from the first."""


class Appender:
    """A model that appends to the caches of some number of sequences.

    Args:
        model: reads and writes windows.
        windows: how, by the name of the session's input.
        batch: how many sequences.
        token: stands for the session in the values it makes.
    """

    def __init__(self, model: Model, windows: dict[str, Window], batch: int, token: object) -> None:
        self.model = model
        self.windows = windows
        self._batch = batch
        self._token = token
        self._caches = {w.cache.present: name for name, w in windows.items()}
        self._makers = {name: (token, name) for name in self._caches}
        self._names = {v.name: v.fact for v in model.graph.inputs}
        self._fed = self._names.keys() - {w.name for w in windows.values()}
        self._counting = tuple({w.rows: w for w in windows.values()}.values())
        self._outputs = [v.name for v in model.graph.outputs]
        self._known = {*self._outputs, *self._caches}
        self.is_padded = MASK in self._names and is_table(self._names[MASK])
        """Whether steps may see windows that begin before the first row: the results of one tell whether the
        model hides what the mask says, and takes positions from its inputs."""
        self._is_checked = False
        self._copies: CacheSet | None = None

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
        stop = self._stop(feeds, wanted, length)
        if stop is None:
            return None
        caches = self._claimed(inputs, length, stop)
        try:
            made = self._step(caches, length, stop, feeds, wanted, into)
        except NumbaRtError:
            caches.give_back(length)
            return None  # the ordinary run says what is wrong in the model's own terms
        except BaseException:
            caches.give_back(length)
            raise
        return [self._value(name, caches, stop, made) for name in wanted]

    def run_on_copies(
        self, feeds: Mapping[str, Any], wanted: Sequence[str], into: Mapping[str, np.ndarray | None]
    ) -> list[Any] | None:
        """Outputs for plain arrays, whose caches are copied to buffers and back, or None if they are not what
        the model takes. One call at a time.
        """
        lengths, pasts = set(), {}
        for name, window in self.windows.items():
            past = feeds.get(name)
            if not isinstance(past, np.ndarray) or past.dtype != window.past.dtype:
                return None
            lengths.add(window.length(past.shape))
            pasts[name] = past
        length = lengths.pop()
        others = {n: x for n, x in feeds.items() if n not in pasts}
        stop = None if lengths else self._stop(others, wanted, length)
        if stop is None:
            return None
        caches = self._copies
        if caches is None or caches.room < stop:
            caches = self._copies = CacheSet(self.windows, max(FIRST_ROWS, 2 * stop))
        for name, buffer in caches.buffers.items():
            buffer.put(pasts[name])
        try:
            made = self._step(caches, length, stop, others, wanted, into)
        except NumbaRtError:
            return None
        for name in self._caches.keys() & set(wanted):
            made[name] = caches.buffers[self._caches[name]].array(stop, into.get(name))
        return [made[name] for name in wanted]

    def forget_copies(self) -> None:
        """Give back the memory that `run_on_copies` keeps."""
        self._copies = None

    def _value(self, name: str, caches: CacheSet, stop: int, made: Mapping[str, Any]) -> OrtValue:
        past = self._caches.get(name)
        if past is None:
            return OrtValue(made[name], (self._token, name))
        return CacheValue(caches, past, stop, self._makers[name])

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

    def _stop(self, feeds: dict[str, Any], wanted: Sequence[str], length: int) -> int | None:
        """Rows in the caches after the run; None if it cannot be one of this model."""
        has_cache = np.all(feeds.pop(BRANCH, True)) if BRANCH not in self._names else True
        is_ours = length and has_cache and feeds.keys() == self._fed and self._known.issuperset(wanted)
        if not is_ours or not all(isinstance(x, np.ndarray) for x in feeds.values()):
            return None
        counts = {window.appended(feeds) for window in self._counting}
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
        wanted: Sequence[str],
        into: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Results that are no caches, by name."""
        names = [name for name in wanted if name not in self._caches]
        size = rounded(stop) if self.is_padded else stop
        given = {n: x for n, x in into.items() if x is not None} or None
        if size != stop and not self._is_checked:
            if size - stop >= LEAST_PADDING:
                return self._checked_step(caches, length, stop, feeds)
            size = stop
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
