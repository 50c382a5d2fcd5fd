"""CacheValue: a cache that a run returned, which later runs can append to.

It is the first rows of a buffer. The newest values of a buffer, handed back, are appended to in place; for
older ones a new buffer is made.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from numba_rt.ort_value import OrtValue
from numba_rt.windows import BLOCK, FIRST_ROWS, Buffer, Window


class CacheSet:
    """Buffers of all caches of a model, filled by runs of which each continues the one before."""

    def __init__(self, windows: Mapping[str, Window], room: int = FIRST_ROWS) -> None:
        self.buffers = {name: Buffer(window, room) for name, window in windows.items()}
        self.length = 0
        """Rows that belong to some value: a run that appends has claimed them before it writes."""
        self._lock = threading.Lock()

    @property
    def room(self) -> int:
        """Rows that fit."""
        return min(len(b.rows) for b in self.buffers.values()) - BLOCK

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
        self._value = None
        self.made_by = made_by
        self.length = length
        self.caches: CacheSet | None = caches
        """None once the holder has the memory, and may write to it."""
        self._buffer = caches.buffers[past]
        self.window = self._buffer.of

    @property
    def value(self) -> Any:
        """The array; it is the holder's own from now on."""
        if self.caches is not None:
            self._value, self.caches = self._buffer.array(self.length), None
        return self._value

    def peek(self) -> np.ndarray:
        """The contents, to be read only; not contiguous while they are rows of a buffer."""
        return self._value if self.caches is None else self._buffer.view(self.length)

    def fetched(self) -> np.ndarray:
        """The contents, contiguous."""
        return self._value if self.caches is None else self._buffer.array(self.length)
