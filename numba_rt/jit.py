"""Kernels: functions of loops that run compiled.

A kernel is a module-level function decorated with `@kernel`. It is compiled lazily, per signature,
and cached on disk; Numba is imported when something must be compiled. Its arguments are taken to be
different arrays, so that loops vectorise without checks; one that may get the same array twice, to work
in place, reads each element before it writes it. Before its `prange` loop it may only compute scalars,
because each task repeats that; what follows the loop runs once, when all tasks are done.
"""

from __future__ import annotations

import ctypes
import functools
import inspect
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from numba_rt import machine_code, threads
from numba_rt.errors import KernelError
from numba_rt.frame import address_of, code_of, frame_of
from numba_rt.generated import load_generated
from numba_rt.kernel_cache import KernelCache, register_source
from numba_rt.kernel_cache import stats as _stats
from numba_rt.prepare import Prepared, prepare, stats
from numba_rt.toolchain import setting

__all__ = [
    "DISABLED",
    "Entry",
    "Kernel",
    "Prepared",
    "addresses_of",
    "inline",
    "intrinsic",
    "kernel",
    "load_generated",
    "overload",
    "prange",
    "prepare",
    "stats",
    "u",
]

DISABLED = bool(setting("DISABLE_JIT"))
"""Whether NUMBA_DISABLE_JIT is set: kernels are then the Python functions they are written as."""

u = np.uintp
"""Casts an index known to be non-negative; without it Numba adds a wrap-around branch for
negative indices to every access, and the loop is not vectorised."""

prange = range
"""The loop of a kernel whose turns are shared between threads; as Python, a loop."""

_STRICT = frozenset({"contract", "nsz"})
_REASSOC = frozenset({"contract", "nsz", "reassoc", "arcp"})

_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)

Codes = tuple[str, ...]


class Entry:
    """Machine code of a kernel for arguments of certain types."""

    __slots__ = ("address", "call", "codes", "name")

    def __init__(self, name: str, codes: Codes, address: int) -> None:
        self.name = name
        self.codes = codes
        self.address = address
        self.call: Callable[[int], int] = _FUNCTION(address)
        """Machine code that takes the address of a frame; not 0 if it failed."""

    def __call__(self, *args: Any) -> None:
        """Runs with these arguments.

        Raises:
            TypeError: They have other types, or an array is not C-contiguous and aligned.
            KernelError: The kernel raised an exception.
        """
        frame = frame_of(self.codes, args)
        self.run(address_of(frame))

    def run(self, frame: int) -> None:
        """Runs on the frame at an address.

        Raises:
            KernelError: The kernel raised an exception.
        """
        if self.call(frame):
            raise failure(self.name)

    def __repr__(self) -> str:
        return f"<machine code of {self.name}({', '.join(self.codes)})>"


def failure(name: str) -> KernelError:
    """The error of a kernel that raised an exception, which compiled code cannot tell."""
    return KernelError(f"kernel {name} raised an exception; set NUMBA_DISABLE_JIT=1 to see which")


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
        self._entries: dict[Codes, Entry] = {}
        self.cache = None if DISABLED else self._find_cache()

    def _find_cache(self) -> KernelCache | None:
        path = source_file(self.function)
        if path is None:
            return None
        register_source(path)
        name = f"{self.function.__module__}.{self.function.__qualname__}"
        return KernelCache(name, path, (self.function.__code__.co_firstlineno, *sorted(self.fastmath)))

    @staticmethod
    def signature(args: tuple[Any, ...]) -> Codes:
        """Types of arguments."""
        return tuple(map(code_of, args))

    def is_ready(self, codes: Codes) -> bool:
        """Whether the machine code for these types is in memory."""
        return codes in self._entries

    def entry(self, codes: Codes) -> Entry:
        """Machine code for arguments of these types, from memory, the cache or the compiler."""
        found = self._entries.get(codes)
        if found is None:
            with self._lock:
                found = self._entries.get(codes)
                if found is None:
                    found = self._entries[codes] = Entry(self.name, codes, self._make(codes))
        return found

    def _make(self, codes: Codes) -> int:
        if self.is_parallel:
            threads.launch()
        image = None if self.cache is None else self.cache.load(codes)
        address = None if image is None else machine_code.load(image)
        if address is not None:
            _stats.loaded += 1
            return address
        start = time.perf_counter()
        image, address = compiler().compile_kernel(self, codes)
        _stats.compiled += 1
        _stats.compile_seconds += time.perf_counter() - start
        if self.cache is not None:
            self.cache.save(codes, image)
        return address

    def __call__(self, *args: Any) -> None:
        """Runs the kernel."""
        if DISABLED:
            self.function(*args)
            return
        entry = self.entry(self.signature(args))
        with threads.region_lock:
            entry(*args)

    def __repr__(self) -> str:
        return f"<kernel {self.name}>"


@functools.cache
def addresses_of(write: Kernel, count: int) -> np.ndarray:
    """What a kernel writes into an array of int64: addresses of functions, valid in this process. Zeros
    where nothing is compiled.
    """
    addresses = np.zeros(count, np.int64)
    if not DISABLED:
        write(addresses)
    return addresses


def source_file(function: Callable[..., Any]) -> Path | None:
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


# What kernels call, kept as it is written until something is compiled


class Inline:
    """A scalar helper compiled into the kernels that call it; called from Python, the function itself."""

    fastmath = _STRICT

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.dispatcher: Any = None

    def __call__(self, *args: Any) -> Any:
        """The value, computed as Python does."""
        return self.function(*args)


class Intrinsic:
    """A function that emits code, as `numba.extending.intrinsic` takes it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__name__, self.__doc__ = function.__name__, function.__doc__
        self.function = function
        self.made: Any = None


@dataclass(frozen=True)
class Overload:
    """What is compiled for a Python function: `choose` is given Numba's types of the arguments."""

    function: Callable[..., Any]
    options: dict[str, Any]
    choose: Callable[..., Any]


_overloads: list[Overload] = []
_install_lock = threading.Lock()

intrinsic = Intrinsic


def inline(function: Callable[..., Any]) -> Callable[..., Any]:
    """A scalar helper compiled into the kernels that call it."""
    if DISABLED:
        return function
    path = source_file(function)
    if path is not None:
        register_source(path)
    return Inline(function)


def overload(function: Callable[..., Any], options: dict[str, Any], choose: Callable[..., Any]) -> None:
    """States what kernels run for a Python function, as `numba.extending.overload` does."""
    _overloads.append(Overload(function, options, choose))


def compiler() -> Any:
    """The module that compiles, with all it must know of the modules of kernels imported so far."""
    from numba_rt import compiler as module

    with _install_lock:
        module.install(_overloads)
    return module
