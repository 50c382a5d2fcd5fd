"""Threads of parallel kernels: which layer runs them, and how many there are."""

from __future__ import annotations

import threading
from types import TracebackType

import numba

_lock = threading.Lock()
_launched = False


class _RegionLock:
    """Held around parallel regions; does nothing where the threading layer allows several at once."""

    def __init__(self) -> None:
        self.lock: threading.RLock | None = None  # type: ignore[valid-type]

    def __enter__(self) -> None:
        if self.lock is not None:
            self.lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.lock is not None:
            self.lock.release()


region_lock = _RegionLock()


def usable() -> bool:
    """Whether this process can run parallel regions."""
    return True


def launch() -> None:
    """Chooses a threading layer and starts its threads; later calls do nothing."""
    global _launched
    with _lock:
        if not _launched:
            numba.get_num_threads()
            if numba.threading_layer() == "workqueue":
                region_lock.lock = threading.RLock()
            _launched = True
