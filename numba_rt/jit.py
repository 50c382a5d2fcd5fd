"""Kernels: the only place that imports Numba's decorators.

A kernel is a module-level function decorated with `@kernel`. It is compiled lazily, per signature,
and cached on disk. Its arguments are taken to be different arrays, so that loops vectorise without
checks; one that may get the same array twice, to work in place, reads each element before it
writes it. Before its `prange` loop it may only compute scalars, because each task repeats that;
what follows the loop runs once, when all tasks are done.
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
from numba_rt.kernel_cache import KernelCache, register_source, source_digest, source_text
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
        self.function = _interpreted(function) if DISABLED else function
        self.fastmath = fastmath
        self.name = function.__name__
        self.is_parallel = "prange" in function.__code__.co_names
        self._lock = threading.Lock()
        self._dispatcher: Any = None
        self.cache = None if DISABLED else self._find_cache()

    def _find_cache(self) -> KernelCache | None:
        path = _source_file(self.function)
        if path is None:
            return None
        register_source(path)
        name = f"{self.function.__module__}.{self.function.__qualname__}"
        return KernelCache(name, path, (self.function.__code__.co_firstlineno, *sorted(self.fastmath)))

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


def _source_file(function: Callable[..., Any]) -> Path | None:
    """File a function comes from; one typed at a prompt has none, and is compiled in each session."""
    path = Path(inspect.getfile(function))
    return path if path.suffix == ".py" and path.is_file() else None


def _interpreted(function: Callable[..., None]) -> Callable[..., None]:
    """The function as Python runs it, as silent about overflow and NaN as compiled code is."""

    @functools.wraps(function)
    def run(*args: Any) -> None:
        with np.errstate(all="ignore"):
            function(*args)

    return run


class _KernelCompiler(Compiler):
    """Numba's pipeline for kernels: arguments are different arrays, and symbols are unique.

    Numba numbers functions as they are compiled, so two processes may give the same symbol to
    different versions of a function; when both are loaded, the linker would take one for both.
    """

    def compile_extra(self, func: Callable[..., None]) -> Any:
        """Compiles with function numbers counted from a digest of all that the code depends on."""
        flags = self.state.flags
        flags.noalias = True
        path = _source_file(func)
        version = source_digest(path) if path else func.__code__.co_code
        identity = repr(
            (func.__module__, func.__qualname__, self.state.args, flags.get_mangle_string(), version)
        )
        start = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:7])
        saved = FunctionIdentity._unique_ids
        FunctionIdentity._unique_ids = itertools.count(start)
        try:
            return super().compile_extra(_with_region(func, path))
        finally:
            FunctionIdentity._unique_ids = saved


def _with_region(function: Callable[..., None], path: Path | None) -> Callable[..., None]:
    """The function that is compiled; without source text its loop stays in the calling thread."""
    if "prange" not in function.__code__.co_names:
        return function
    try:
        text = source_text(path) if path else "".join(inspect.findsource(function)[0])
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
    path = _source_file(function)
    if path is not None:
        register_source(path)
    return numba.njit(fastmath=set(_STRICT), error_model="numpy", nogil=True)(function)
