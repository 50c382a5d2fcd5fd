"""Compiled kernels on disk: what names a file, how it is written and read.

One file holds one build of one kernel for one signature. Its name is a digest of everything the
machine code depends on, so a file is never out of date, and a checksum inside tells a damaged
file from a sound one. A file that cannot be used is a miss.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import re
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from numba.core import sigutils
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from numba_rt.cache_directory import store, write_atomically

_MAGIC = b"numba_rt kernel 1\n"
_PACKAGE = Path(__file__).parent
_ALWAYS = frozenset({_PACKAGE / "jit.py", _PACKAGE / "kernel_cache.py"})
_COMPILED = frozenset({"jit", "dtypes", "simd", "kernels", "ops"})
"""The modules of this package that compiled code can depend on."""

_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+(numba_rt[\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]*)"
    rb"|import[ \t]+(numba_rt[\w.]*))",
    re.MULTILINE,
)


@dataclass
class Stats:
    """What this process has loaded from the cache, and what it has compiled."""

    loaded: int = 0
    compiled: int = 0
    compile_seconds: float = 0.0


stats = Stats()


@cache
def source_digest(path: Path) -> str:
    """Digest of a source file and of all files of this package it imports, directly or not."""
    found = {path, *_ALWAYS}
    pending = list(found)
    while pending:
        new = _read(pending.pop())[1] - found
        found |= new
        pending += new
    return hashlib.sha256(b"".join(_read(file)[0] for file in sorted(found))).hexdigest()


@cache
def _read(path: Path) -> tuple[bytes, frozenset[Path]]:
    """Digest of one file, and the files it imports."""
    content = path.read_bytes()
    names: set[str] = set()
    for module, members, plain in _IMPORT.findall(content):
        base = (module or plain).decode()
        names |= {base, *(f"{base}.{member}" for member in re.findall(r"\w+", members.decode()))}
    return hashlib.sha256(content).digest(), frozenset(file for name in names for file in _files(name))


def _files(name: str) -> list[Path]:
    """Source of a module of this package, if compiled code can depend on it."""
    parts = name.split(".")[1:]
    if not parts or parts[0] not in _COMPILED:
        return []
    path = _PACKAGE.joinpath(*parts)
    return [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]


class KernelCache(_Cache):
    """The cache of one build of one kernel, in the form a Numba dispatcher uses."""

    def __init__(self, name: str, file: Path, options: tuple[Any, ...]) -> None:
        self._stem = name.rpartition(".")[2][:60]
        self._identity = repr((name, options, source_digest(file)))
        self._missed = 0.0

    @property
    def cache_path(self) -> str:
        """Where new files go."""
        return str(store().write)

    def enable(self) -> None:
        """Part of Numba's interface; this cache is always on."""

    def disable(self) -> None:
        """Part of Numba's interface; this cache is always on."""

    def flush(self) -> None:
        """Part of Numba's interface; a file is never out of date."""

    def file_name(self, sig: Any) -> str:
        """Name of the file of one signature."""
        args, _ = sigutils.normalize_signature(sig)
        digest = hashlib.sha256(f"{self._identity}{tuple(map(str, args))}".encode()).hexdigest()
        return f"{self._stem}-{digest[:24]}.kernel"

    def has(self, sig: Any) -> bool:
        """Whether there is a file for a signature; it may turn out to be damaged."""
        name = self.file_name(sig)
        return any((directory / name).is_file() for directory in store().read)

    def load_overload(self, sig: Any, target_context: Any) -> CompileResult | None:
        """The compiled kernel, or nothing if it must be compiled."""
        target_context.refresh()
        name = self.file_name(sig)
        for directory in store().read:
            result = _load(directory / name, target_context)
            if result is not None:
                stats.loaded += 1
                return result
        self._missed = time.perf_counter()
        return None

    def save_overload(self, sig: Any, data: CompileResult) -> None:
        """Keeps a kernel that was just compiled."""
        stats.compiled += 1
        stats.compile_seconds += time.perf_counter() - self._missed
        if data.library.has_dynamic_globals or any(not lifted.can_cache for lifted in data.lifted):
            return
        payload = dumps(data._reduce())
        content = _MAGIC + hashlib.sha256(payload).digest() + payload
        try:
            write_atomically(store().write / self.file_name(sig), content)
        except OSError:
            return


def _load(path: Path, target_context: Any) -> CompileResult | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    start = len(_MAGIC) + hashlib.sha256().digest_size
    payload = content[start:]
    if content[:start] != _MAGIC + hashlib.sha256(payload).digest():
        return None
    return CompileResult._rebuild(target_context, *pickle.loads(payload))
