"""Threads of parallel kernels: which threading layer runs them, and how many there are."""

from __future__ import annotations

import ctypes
import os
import site
import sys
import threading
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import llvmlite.binding as llvm
import numba
from numba.np.ufunc import parallel

from numba_rt.cores import cpu_quota, physical_cores
from numba_rt.errors import InputError

_TBB_FILES = {"linux": "lib/libtbb.so.12", "darwin": "lib/libtbb.12.dylib", "win32": "Library/bin/tbb12.dll"}


@dataclass(frozen=True)
class Layer:
    """What runs parallel regions: OpenMP, TBB or Numba's own work queue."""

    name: str
    is_concurrent: bool
    """Whether several threads may be in a region at once; otherwise they wait for each other."""
    survives_fork: bool
    """Whether a child of `os.fork` may run regions."""


class _RegionLock:
    """Held around parallel regions; does nothing where the threading layer allows several at once."""

    def __init__(self) -> None:
        self.lock: Any = None

    def __enter__(self) -> None:
        if self.lock is not None:
            self.lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.lock is not None:
            self.lock.release()


region_lock = _RegionLock()
_lock = threading.Lock()
_layer: Layer | None = None

NO_THREADS = "numba_rt_no_threads"
"""Symbol of a word that compiled code reads: if it is not 0, loops stay in the calling thread."""
_no_threads = ctypes.c_int64(0)
llvm.add_symbol(NO_THREADS, ctypes.addressof(_no_threads))


def launch() -> None:
    """Chooses a threading layer and starts its threads; later calls do nothing."""
    layer()


def layer() -> Layer:
    """The threading layer of this process, launched if it was not.

    TBB comes first: the calling thread takes over the tasks of a thread that does not get a processor,
    where OpenMP waits for it. A layer the user chose, or launched, is kept.
    """
    global _layer
    if _layer is None:
        with _lock:
            if _layer is None:
                _launch()
                name = numba.threading_layer()
                if name == "workqueue":
                    region_lock.lock = threading.RLock()
                _layer = Layer(name, is_concurrent=name != "workqueue", survives_fork=name != "omp")
    return _layer


def _launch() -> None:
    if not parallel._is_initialized:
        _load_tbb()
        parallel._launch_threads()


def _load_tbb() -> None:
    """Loads TBB from where pip puts it, which the system's loader does not search."""
    for prefix in (sys.prefix, sys.base_prefix, site.getuserbase()):
        file = Path(prefix, _TBB_FILES.get(sys.platform, ""))
        if file.is_file():
            try:
                ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
            except OSError:
                continue
            return


def default_count() -> int:
    """Threads of a model that does not say: the physical cores this process may use.

    `NUMBA_RT_NUM_THREADS` overrides it. Numba's own limit, `NUMBA_NUM_THREADS`, holds in any case.
    """
    most = int(numba.config.NUMBA_NUM_THREADS)
    stated = os.environ.get("NUMBA_RT_NUM_THREADS", "").strip()
    if stated:
        if not stated.isdecimal() or int(stated) == 0:
            raise InputError(
                f"NUMBA_RT_NUM_THREADS: expected a number of threads, at least 1, found {stated!r}"
            )
        return min(int(stated), most)
    return max(1, min(physical_cores(), cpu_quota(), most))


def checked_count(count: int) -> int:
    """The number of threads a model asks for, or as many as Numba has."""
    if not isinstance(count, int) or count < 1:
        raise InputError(f"threads: expected a number of at least 1, found {count!r}")
    return min(count, int(numba.config.NUMBA_NUM_THREADS))


def available(count: int) -> int:
    """Of the threads a model wants, those it can have: one, with a warning, in a forked child."""
    if not _no_threads.value:
        return count
    _warn_forked()
    return 1


class team:
    """`with team(n):` parallel regions of this Python thread use n threads."""

    __slots__ = ("count", "former")

    def __init__(self, count: int) -> None:
        self.count = count

    def __enter__(self) -> None:
        launch()
        self.former = parallel._get_num_threads()
        if self.former != self.count:
            parallel._set_num_threads(self.count)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.former != self.count:
            parallel._set_num_threads(self.former)


def _after_fork() -> None:
    """In a child: OpenMP's threads are gone and it ends a process that uses it, so loops stay serial."""
    global _lock
    _lock = threading.Lock()
    if _layer is not None:
        if not _layer.is_concurrent:
            region_lock.lock = threading.RLock()
        if not _layer.survives_fork:
            _no_threads.value = 1


@cache
def _warn_forked() -> None:
    warnings.warn(
        "numba_rt: this process was forked from one that runs OpenMP threads, which do not survive that, "
        "so kernels run on one thread. Start processes with the 'spawn' or 'forkserver' method, or set "
        "NUMBA_THREADING_LAYER=tbb.",
        RuntimeWarning,
        stacklevel=4,
    )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
