"""Making kernels ready before they run: loaded from the cache, or compiled once for all processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import filelock
import numba
from numba.core.compiler_lock import global_compiler_lock

from numba_rt import kernel_cache
from numba_rt.cache_directory import store

if TYPE_CHECKING:
    from numba_rt.jit import Kernel

_POLL_SECONDS = 0.02
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Prepared:
    """How kernels became ready: from the cache, by compiling, and in what time."""

    loaded: int
    compiled: int
    seconds: float


@dataclass(frozen=True)
class _Job:
    kernel: Kernel
    types: tuple[Any, ...]

    def is_ready(self) -> bool:
        return self.types in self.kernel.dispatcher.overloads

    def is_cached(self) -> bool:
        return self.kernel.cache is not None and self.kernel.cache.has(self.types)

    def run(self) -> bool:
        """Loads or compiles; tells whether it compiled."""
        with global_compiler_lock:
            before = kernel_cache.stats.compiled
            self.kernel.dispatcher.compile(self.types)
            return kernel_cache.stats.compiled > before


def stats() -> kernel_cache.Stats:
    """What this process has loaded and compiled so far."""
    now = kernel_cache.stats
    return kernel_cache.Stats(now.loaded, now.compiled, now.compile_seconds)


def prepare(
    requests: Iterable[tuple[Kernel, bool, tuple[Any, ...]]],
    progress: Callable[[int, int, str], None] | None = None,
) -> Prepared:
    """Makes kernels ready to run.

    Args:
        requests: Kernel, whether its parallel build is meant, and its arguments or their types.
        progress: Called with the number compiled, their total, and the kernel being compiled.
    """
    if numba.config.DISABLE_JIT:
        return Prepared(0, 0, 0.0)
    start = time.perf_counter()
    jobs = dict.fromkeys(_Job(kernel, kernel.signature(args)) for kernel, _, args in requests)
    missing = []
    compiled = loaded = 0
    for job in jobs:
        if job.is_ready():
            continue
        if job.is_cached():
            made = job.run()
            compiled, loaded = compiled + made, loaded + (not made)
        else:
            missing.append(job)
    total = len(missing)
    for job in _shared(missing):
        if progress is not None:
            progress(compiled, total, job.kernel.name)
        made = job.run()
        compiled, loaded = compiled + made, loaded + (not made)
    return Prepared(loaded, compiled, time.perf_counter() - start)


def _shared(jobs: list[_Job]) -> Iterator[_Job]:
    """Yields each job while no other process works on it, and those of others when they are done."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while jobs:
        for job in list(jobs):
            with _claim(job, wait=time.monotonic() < deadline) as mine:
                if mine or job.is_cached():
                    jobs.remove(job)
                    deadline = time.monotonic() + _PATIENCE_SECONDS
                    yield job
        if jobs:
            time.sleep(_POLL_SECONDS)


@contextmanager
def _claim(job: _Job, wait: bool) -> Iterator[bool]:
    """Holds the right to compile, if no other process has it; without locks, everyone has it."""
    cache = job.kernel.cache
    if cache is None or not wait:
        yield True
        return
    directory = store().write / "locks"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        lock = filelock.FileLock(directory / f"{cache.file_name(job.types)}.lock", blocking=False)
        lock.acquire()
    except filelock.Timeout:
        yield False
        return
    except (OSError, NotImplementedError):
        yield True
        return
    try:
        yield True
    finally:
        lock.release()
