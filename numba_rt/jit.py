"""Kernels: the only place that imports Numba's decorators.

A kernel is a module-level function decorated with `@kernel`. It is compiled lazily, per signature,
and cached on disk. Its arguments are taken to be different arrays, so that loops vectorise without
checks; one that may get the same array twice, to work in place, reads each element before it
writes it.
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
from numba_rt.kernel_cache import KernelCache, source_text
from numba_rt.prepare import Prepared, prepare, stats
from numba_rt.region import shared

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
    """A function that runs compiled, in the calling thread or shared between threads.

    Its last argument says into how many tasks its parallel loop is cut; with one task it does not
    leave the calling thread.
    """

    def __init__(self, function: Callable[..., None], fastmath: frozenset[str]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.fastmath = fastmath
        self.name = function.__name__
        self.is_parallel = "prange" in function.__code__.co_names
        self._lock = threading.Lock()
        self._dispatcher: Any = None
        self.cache = None if DISABLED else _cache_of(function, fastmath)

    @property
    def dispatcher(self) -> Any:
        """Numba's view of the kernel; with NUMBA_DISABLE_JIT the function itself."""
        if self._dispatcher is None:
            with self._lock:
                if self._dispatcher is None:
                    self._dispatcher = self.function if DISABLED else self._dispatch()
        return self._dispatcher

    def _dispatch(self) -> Any:
        if self.is_parallel:
            threads.launch()
        dispatcher = numba.njit(
            fastmath=set(self.fastmath),
            error_model="numpy",
            nogil=True,
            no_cfunc_wrapper=True,
            pipeline_class=_KernelCompiler,
        )(self.function)
        if self.cache is not None:
            dispatcher._cache = self.cache
        return dispatcher

    def build(self, parallel: bool) -> Any:
        """What runs the kernel; one function does for one thread and for many."""
        return self.dispatcher

    parallel = serial = dispatcher

    def entry(self, args: tuple[Any, ...]) -> Callable[..., None]:
        """Machine code for arguments of these types: the fastest call, without a choice by type.

        Args:
            args: Arguments as they will be passed, or their Numba types.
        """
        if DISABLED:
            return self.function
        return self.dispatcher.compile(self.signature(args))

    @staticmethod
    def signature(args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Numba types of arguments."""
        return tuple(
            arg if isinstance(arg, numba.types.Type) else typeof(arg, Purpose.argument) for arg in args
        )

    def __call__(self, *args: Any) -> None:
        """Runs the kernel."""
        dispatcher = self.dispatcher
        with threads.region_lock:
            dispatcher(*args)

    def __repr__(self) -> str:
        return f"<kernel {self.name}>"


def _cache_of(function: Callable[..., None], fastmath: frozenset[str]) -> KernelCache | None:
    """The cache of a kernel from a source file; one typed at a prompt is compiled in each session."""
    path = Path(inspect.getfile(function))
    if path.suffix != ".py" or not path.is_file():
        return None
    line = function.__code__.co_firstlineno
    return KernelCache(f"{function.__module__}.{function.__qualname__}", path, (line, *sorted(fastmath)))


class _KernelCompiler(Compiler):
    """Numba's pipeline, with symbols that are unique to each kernel.

    Numba names the body of a parallel loop by an address and a counter, which repeat between
    processes; two kernels of one cache must not have the same symbol when both are loaded.
    """

    def compile_extra(self, func: Callable[..., None]) -> Any:
        """Compiles with function numbers counted from a digest of the kernel and its signature."""
        flags = self.state.flags
        flags.noalias = True
        identity = f"{func.__module__}.{func.__qualname__}{self.state.args}{flags.get_mangle_string()}"
        start = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:7])
        saved = FunctionIdentity._unique_ids
        FunctionIdentity._unique_ids = itertools.count(start)
        try:
            return super().compile_extra(_with_region(func))
        finally:
            FunctionIdentity._unique_ids = saved


def _with_region(function: Callable[..., None]) -> Callable[..., None]:
    """The function that is compiled; without source text its loop stays in the calling thread."""
    if "prange" not in function.__code__.co_names:
        return function
    path = Path(inspect.getfile(function))
    try:
        text = source_text(path) if path.is_file() else "".join(inspect.findsource(function)[0])
    except OSError:
        return function
    return shared(function, text)


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
