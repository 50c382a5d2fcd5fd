"""Kernels: the only place that imports Numba's decorators.

A kernel is a module-level function decorated with `@kernel`. From one source it has two builds:
*parallel* (`prange` runs on the thread pool) and *serial* (`prange` is `range`; no parallel
region, a third of the compile time), used for work too small to share. Both are compiled
lazily, per signature, and cached on disk.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import prange
from numba.core.bytecode import FunctionIdentity
from numba.core.compiler import Compiler
from numba.core.typing.typeof import Purpose, typeof
from numba.extending import intrinsic

from numba_rt import threads
from numba_rt.generated import load_generated
from numba_rt.kernel_cache import KernelCache
from numba_rt.prepare import Prepared, prepare, stats

__all__ = [
    "DISABLED",
    "Kernel",
    "Prepared",
    "inline",
    "intrinsic",
    "kernel",
    "load_generated",
    "prange",
    "prepare",
    "stats",
    "u",
]

DISABLED = bool(numba.config.DISABLE_JIT)
"""Whether NUMBA_DISABLE_JIT is set: kernels are then the Python functions they are written as."""

u = np.uintp
"""Casts an index known to be non-negative; without it Numba adds a wrap-around branch for
negative indices to every access, and the loop is not vectorised."""

_STRICT = frozenset({"contract", "nsz"})
_REASSOC = frozenset({"contract", "nsz", "reassoc", "arcp"})


class Kernel:
    """A function that runs compiled; calling it directly uses the parallel build."""

    def __init__(self, function: Callable[..., None], fastmath: frozenset[str]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.fastmath = fastmath
        self.name = function.__name__
        self.is_parallel = "prange" in function.__code__.co_names
        self._file = _source_file(function)
        self._builds: dict[bool, Any] = {}
        self._lock = threading.Lock()

    @property
    def parallel(self) -> Any:
        """The build that shares its loop between threads."""
        return self.build(True)

    @property
    def serial(self) -> Any:
        """The build that runs in the calling thread."""
        return self.build(False)

    def build(self, parallel: bool) -> Any:
        """One of the two builds, as a Numba dispatcher."""
        parallel = parallel and self.is_parallel
        if parallel not in self._builds:
            with self._lock:
                if parallel not in self._builds:
                    self._builds[parallel] = self._make(parallel)
        return self._builds[parallel]

    def _make(self, parallel: bool) -> Any:
        if DISABLED:
            return self.function
        if parallel:
            threads.launch()
        decorate = numba.njit(
            parallel=parallel,
            fastmath=set(self.fastmath),
            error_model="numpy",
            nogil=True,
            pipeline_class=_KernelCompiler,
        )
        dispatcher = decorate(self.function)
        if self._file is not None:
            name = f"{self.function.__module__}.{self.function.__qualname__}"
            options = (parallel, sorted(self.fastmath), self.function.__code__.co_firstlineno)
            dispatcher._cache = KernelCache(name, self._file, options)
        return dispatcher

    def entry(self, parallel: bool, args: tuple[Any, ...]) -> Callable[..., None]:
        """Machine code for arguments of these types: the fastest call, without a check of the types.

        Args:
            parallel: Which build.
            args: Arguments as they will be passed, or their Numba types.
        """
        build = self.build(parallel)
        if DISABLED:
            return build
        return build.compile(self.signature(args))

    @staticmethod
    def signature(args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Numba types of arguments."""
        return tuple(
            arg if isinstance(arg, numba.types.Type) else typeof(arg, Purpose.argument) for arg in args
        )

    def __call__(self, *args: Any) -> None:
        """Runs the parallel build, or the serial one where threads cannot be used."""
        build = self.build(threads.usable())
        with threads.region_lock:
            build(*args)

    def __repr__(self) -> str:
        return f"<kernel {self.name}>"


class _KernelCompiler(Compiler):
    """Numba's pipeline, with symbols that are unique to each kernel.

    Numba names the body of a parallel loop by an address and a counter, which repeat between
    processes; two kernels of one cache must not have the same symbol when both are loaded.
    """

    def compile_extra(self, func: Callable[..., None]) -> Any:
        """Compiles with function numbers counted from a digest of the kernel and its signature."""
        state = self.state
        identity = f"{func.__module__}.{func.__qualname__}{state.args}{state.flags.get_mangle_string()}"
        start = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:7])
        saved = FunctionIdentity._unique_ids
        FunctionIdentity._unique_ids = itertools.count(start)
        try:
            return super().compile_extra(func)
        finally:
            FunctionIdentity._unique_ids = saved


def _source_file(function: Callable[..., None]) -> Path | None:
    """File whose text a cached kernel depends on; a function typed at a prompt has none."""
    path = Path(inspect.getfile(function))
    return path if path.is_file() and path.suffix == ".py" else None


class _KernelDecorator:
    """`@kernel` keeps the order of floating-point operations; `@kernel.reduction` lets sums and
    maxima be re-associated, which their loops need to vectorise.
    """

    def __call__(self, function: Callable[..., None]) -> Kernel:
        """A kernel that keeps the order of operations."""
        return Kernel(function, _STRICT)

    def reduction(self, function: Callable[..., None]) -> Kernel:
        """A kernel whose sums and maxima may be computed in any order."""
        return Kernel(function, _REASSOC)


kernel = _KernelDecorator()


def inline(function: Callable[..., Any]) -> Callable[..., Any]:
    """A scalar helper compiled into the kernels that call it."""
    if DISABLED:
        return function
    return numba.njit(fastmath=set(_STRICT), error_model="numpy", nogil=True)(function)
