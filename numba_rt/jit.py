"""Kernels: the only place that imports Numba's decorators, and the cache of compiled code.

A kernel is a module-level function decorated with `@kernel`. From one source it has two builds:
*parallel* (`prange` runs on the thread pool) and *serial* (`prange` is `range`; no parallel
region, a third of the compile time), used for work too small to share. Both are compiled
lazily, per signature, and cached on disk.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import prange
from numba.extending import intrinsic

__all__ = ["DISABLED", "Kernel", "inline", "intrinsic", "kernel", "prange", "u"]

DISABLED = bool(numba.config.DISABLE_JIT)

u = np.uintp
"""Casts an index known to be non-negative; without it Numba adds a wrap-around branch for
negative indices to every access, and the loop is not vectorised."""

_STRICT = {"contract", "nsz"}
_REASSOC = {"contract", "nsz", "reassoc", "arcp"}
_lock = threading.RLock()


class Kernel:
    """A function that runs compiled; calling it directly uses the parallel build."""

    def __init__(self, function: Callable[..., None], fastmath: set[str]) -> None:
        self.function = function
        self.fastmath = fastmath
        self.name = function.__name__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    @property
    def is_parallel(self) -> bool:
        """Whether the source contains a parallel loop."""
        return "prange" in self.function.__code__.co_names

    @cached_property
    def parallel(self) -> Callable[..., None]:
        """The build that shares its loop between threads."""
        return self._build(True) if self.is_parallel else self.serial

    @cached_property
    def serial(self) -> Callable[..., None]:
        """The build that runs in the calling thread."""
        return self._build(False)

    def build(self, parallel: bool) -> Callable[..., None]:
        """One of the two builds."""
        return self.parallel if parallel else self.serial

    def _build(self, parallel: bool) -> Callable[..., None]:
        if DISABLED:
            return self.function
        with _lock:
            return _njit(self.function, parallel, self.fastmath)

    def __call__(self, *args: Any) -> None:
        self.parallel(*args)

    def __repr__(self) -> str:
        return f"<kernel {self.name}>"


def _njit(function: Callable[..., None], parallel: bool, fastmath: set[str]) -> Callable[..., None]:
    saved = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(cache_dir() / ("parallel" if parallel else "serial"))
    try:
        decorate = numba.njit(parallel=parallel, fastmath=fastmath, error_model="numpy", nogil=True, cache=True)
        return decorate(function)
    finally:
        numba.config.CACHE_DIR = saved


def cache_dir() -> Path:
    """Directory of compiled kernels."""
    root = os.environ.get("NUMBA_RT_CACHE_DIR") or str(Path.home() / ".cache" / "numba_rt")
    path = Path(root) / source_digest()
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def source_digest() -> str:
    """Digest of everything compiled code depends on: all sources, numba, llvmlite, the CPU."""
    h = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        h.update(path.relative_to(root).as_posix().encode())
        h.update(path.read_bytes())
    return h.hexdigest()[:16]


class _KernelDecorator:
    """`@kernel` keeps the order of floating-point operations; `@kernel.reduction` lets sums and
    maxima be re-associated, which their loops need to vectorise."""

    def __call__(self, function: Callable[..., None]) -> Kernel:
        return Kernel(function, _STRICT)

    def reduction(self, function: Callable[..., None]) -> Kernel:
        return Kernel(function, _REASSOC)


kernel = _KernelDecorator()


def inline(function: Callable[..., Any]) -> Callable[..., Any]:
    """A scalar helper compiled into the kernels that call it."""
    if DISABLED:
        return function
    return numba.njit(fastmath=_STRICT, error_model="numpy", nogil=True)(function)
