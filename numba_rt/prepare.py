"""Making kernels ready before they run: loaded from the cache, or compiled once for all processes."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from numba_rt import kernel_cache
from numba_rt.cache_directory import store
from numba_rt.toolchain import setting

if TYPE_CHECKING:
    from numba_rt.jit import Kernel

_POLL_SECONDS = 0.02
_PATIENCE_SECONDS = 120.0
_SILENT_SECONDS = 2.0

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Prepared:
    """How kernels became ready: from the cache, by compiling, and in what time."""

    loaded: int
    compiled: int
    seconds: float


@dataclass(frozen=True)
class _Job:
    kernel: Kernel
    codes: tuple[str, ...]

    def is_cached(self) -> bool:
        return self.kernel.cache is not None and self.kernel.cache.has(self.codes)


def stats() -> kernel_cache.Stats:
    """What this process has loaded and compiled so far."""
    return replace(kernel_cache.stats)


def prepare(requests: Iterable[tuple[Kernel, tuple[str, ...]]], progress: Progress | None = None) -> Prepared:
    """Makes kernels ready to run.

    Args:
        requests: Kernel, and the types of its arguments (`Kernel.signature`).
        progress: Called before each compilation with the number done, their total, and the name of
            the next kernel; by default a line on stderr, which `NUMBA_RT_PROGRESS=0` turns off.
    """
    if setting("DISABLE_JIT"):
        return Prepared(0, 0, 0.0)
    start = time.perf_counter()
    before = stats()
    missing = []
    for job in dict.fromkeys(_Job(kernel, codes) for kernel, codes in requests):
        if job.kernel.is_ready(job.codes):
            continue
        if job.is_cached():
            job.kernel.entry(job.codes)
        else:
            missing.append(job)
    if missing:
        with _Line() as line:
            _compile(missing, progress or line.show)
    now = stats()
    return Prepared(now.loaded - before.loaded, now.compiled - before.compiled, time.perf_counter() - start)


def _compile(jobs: list[_Job], progress: Progress) -> None:
    """Compiles each job that no other process works on, and loads those of others when they are done."""
    total = len(jobs)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while jobs:
        for job in list(jobs):
            with _claim(job, wait=time.monotonic() < deadline) as is_ours:
                if is_ours or job.is_cached():
                    progress(total - len(jobs), total, job.kernel.name)
                    job.kernel.entry(job.codes)
                    jobs.remove(job)
                    deadline = time.monotonic() + _PATIENCE_SECONDS
        if jobs:
            time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def _claim(job: _Job, wait: bool) -> Iterator[bool]:
    """Holds the right to compile, unless another process has it; where locks fail, everyone has it."""
    import filelock  # not needed, and slow to import, where everything is cached

    if job.kernel.cache is None or not wait:
        yield True
        return
    file = store().write / "locks" / f"{job.kernel.cache.file_name(job.codes)}.lock"
    try:
        file.parent.mkdir(mode=0o700, exist_ok=True)
        lock = filelock.FileLock(file)
        lock.acquire(blocking=False)
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


class _Line:
    """One line on stderr while kernels compile; where it cannot be updated, one line if it takes long."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._width = 0
        self._is_on = os.environ.get("NUMBA_RT_PROGRESS", "1") != "0"
        module = type(sys.stderr).__module__
        self._is_live = module.startswith("ipykernel") or (sys.stderr is not None and sys.stderr.isatty())

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_live and self._width:
            self._write(f"\r{' ' * self._width}\r")

    def show(self, done: int, total: int, name: str) -> None:
        """Says what is being compiled."""
        if not self._is_on:
            return
        if self._is_live:
            text = f"numba_rt: compiling kernel {done + 1} of {total} for this machine ({name})"[:100]
            self._write(f"\r{text:<{self._width}}")
            self._width = max(self._width, len(text))
        elif not self._width and time.monotonic() > self._start + _SILENT_SECONDS:
            self._width = 1
            kernels = f"{total} kernels" if total > 1 else "1 kernel"
            self._write(f"numba_rt: compiling {kernels} for this machine (once; cached afterwards)\n")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(text)
            sys.stderr.flush()
