"""Threads of parallel kernels: which threading layer runs them, and how many there are."""

from __future__ import annotations

import ctypes
import importlib
import importlib.machinery
import importlib.util
import os
import site
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NamedTuple

from numba_rt.cores import cpu_quota, physical_cores
from numba_rt.errors import InputError
from numba_rt.toolchain import is_default, most_threads, package_folder

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

_MODULES = {"tbb": "tbbpool", "omp": "omppool", "workqueue": "workqueue"}
"""Numba's extension modules by layer, in the order in which they are preferred."""
_CALLED = ("numba_parallel_for", "get_num_threads")
"""What compiled code calls, by Numba's names."""
_LEAST_TBB = 12060
"""Interface of TBB that Numba's layer needs."""


class _Pool(NamedTuple):
    """Functions of the layer's library."""

    symbols: dict[str, int]
    """Addresses of those that compiled code calls."""
    get_count: Callable[[], int]
    set_count: Callable[[int], None]


_pool: _Pool


def launch() -> None:
    """Chooses a threading layer and starts its threads; later calls do nothing."""
    layer()


def layer() -> Layer:
    """The threading layer of this process, launched if it was not.

    TBB comes first: the calling thread takes over the tasks of a thread that does not get a processor,
    where OpenMP waits for it. A layer the user chose, or launched, is kept.
    """
    global _layer, _pool
    if _layer is None:
        with _lock:
            if _layer is None:
                name, module = _launch()
                _pool = _Pool(
                    dict(zip(_CALLED, (module.parallel_for, module.get_num_threads), strict=True)),
                    ctypes.CFUNCTYPE(ctypes.c_int)(module.get_num_threads),
                    ctypes.CFUNCTYPE(None, ctypes.c_int)(module.set_num_threads),
                )
                if name == "workqueue":
                    region_lock.lock = threading.RLock()
                _layer = Layer(name, is_concurrent=name != "workqueue", survives_fork=name != "omp")
    return _layer


def symbol(name: str) -> int | None:
    """Address of what compiled code calls or reads here; nothing if it is not of this module."""
    if name == NO_THREADS:
        return ctypes.addressof(_no_threads)
    if name not in _CALLED:
        return None
    launch()
    return _pool.symbols[name]


def _launch() -> tuple[str, Any]:
    """The layer's name and library, with threads started."""
    _load_tbb()
    if is_default("THREADING_LAYER") and is_default("THREADING_LAYER_PRIORITY"):
        for name in _MODULES:
            module = _library(name)
            if module is not None:
                ctypes.CFUNCTYPE(None, ctypes.c_int)(module.launch_threads)(most_threads())
                ctypes.CFUNCTYPE(None, ctypes.c_int)(module.set_num_threads)(most_threads())
                return name, module
    from numba.np.ufunc import parallel

    parallel._launch_threads()
    name = parallel._threading_layer
    return name, importlib.import_module(f"numba.np.ufunc.{_MODULES[name]}")


def _library(name: str) -> ModuleType | None:
    """Numba's library of a layer, without the rest of Numba; nothing if it is not there or cannot be used."""
    if name == "tbb" and not _has_tbb():
        return None
    folder = package_folder("numba") / "np" / "ufunc"
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        file = folder / f"{_MODULES[name]}{suffix}"
        if file.is_file():
            loader = importlib.machinery.ExtensionFileLoader(f"numba.np.ufunc.{_MODULES[name]}", str(file))
            spec = importlib.util.spec_from_file_location(loader.name, file, loader=loader)
            assert spec is not None
            try:
                module = importlib.util.module_from_spec(spec)
                loader.exec_module(module)
            except ImportError:
                return None
            return module
    return None


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


def _has_tbb() -> bool:
    """Whether there is a TBB that is new enough."""
    try:
        library = ctypes.CDLL(Path(_TBB_FILES.get(sys.platform, "none")).name)
        return int(library.TBB_runtime_interface_version()) >= _LEAST_TBB
    except (OSError, AttributeError):
        return False


def default_count() -> int:
    """Threads of a model that does not say: the physical cores this process may use.

    `NUMBA_RT_NUM_THREADS` overrides it. Numba's own limit, `NUMBA_NUM_THREADS`, holds in any case.
    """
    most = most_threads()
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
    return min(count, most_threads())


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
        self.former = _pool.get_count()
        if self.former != self.count:
            _pool.set_count(self.count)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.former != self.count:
            _pool.set_count(self.former)


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
