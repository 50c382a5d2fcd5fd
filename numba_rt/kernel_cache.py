"""Compiled kernels on disk: what names a file, how it is written and read.

One file holds one kernel for one signature. Its name is a digest of everything the
machine code depends on, so a file is never out of date, and a checksum inside tells a damaged
file from a sound one. A file that cannot be used is a miss.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import os
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from weakref import WeakSet

from numba_rt.cache_directory import store, write_atomically
from numba_rt.machine_code import Image

_MAGIC = b"numba_rt kernel 2\n"
_PACKAGE = os.path.dirname(__file__)
_ALWAYS = frozenset(os.path.join(_PACKAGE, name) for name in ("compiler.py", "region.py"))
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


class _Source:
    """A source file as it was when a module of kernels or inline functions was made from it."""

    def __init__(self, path: str) -> None:
        self.changed = os.stat(path).st_mtime_ns
        self.content = Path(path).read_bytes()

    @cached_property
    def digest(self) -> bytes:
        """Digest of the content."""
        return hashlib.sha256(self.content).digest()

    @cached_property
    def imports(self) -> set[str]:
        """Files of this package that it imports and that compiled code can depend on."""
        names: set[str] = set()
        for module, members, plain in _IMPORT.findall(self.content):
            base = (module or plain).decode()
            names |= {base, *(f"{base}.{member}" for member in re.findall(r"\w+", members.decode()))}
        return {file for name in names for file in _files(name)}


_sources: dict[str, _Source] = {}
_unnamed: WeakSet[KernelCache] = WeakSet()
"""Those of the sources above that do not know their digest yet."""


def register_source(path: Path) -> None:
    """Takes note of a source file while it is imported; what is imported again is read again."""
    known = _sources.get(str(path))
    if known is None:
        _sources[str(path)] = _Source(str(path))
    elif known.changed != path.stat().st_mtime_ns:
        for cache in list(_unnamed):
            _ = cache.identity
        _sources[str(path)] = _Source(str(path))


def source_text(path: Path) -> str:
    """Text of a file, as it was imported."""
    return _source(str(path)).content.decode()


def source_digest(path: Path) -> str:
    """Digest of a source file and of all files of this package it imports, directly or not."""
    found = {str(path), *_ALWAYS}
    pending = list(found)
    while pending:
        new = _source(pending.pop()).imports - found
        found |= new
        pending += new
    return hashlib.sha256(b"".join(_source(file).digest for file in sorted(found))).hexdigest()


def _source(path: str) -> _Source:
    if path not in _sources:
        _sources[path] = _Source(path)
    return _sources[path]


@cache
def _files(name: str) -> list[str]:
    """Source of a module of this package, if compiled code can depend on it."""
    parts = name.split(".")[1:]
    if not parts or parts[0] not in _COMPILED:
        return []
    path = os.path.join(_PACKAGE, *parts)
    return [file for file in (f"{path}.py", os.path.join(path, "__init__.py")) if os.path.isfile(file)]


class KernelCache:
    """The files of one kernel."""

    def __init__(self, name: str, file: Path, options: tuple[Any, ...]) -> None:
        self._stem = name.rpartition(".")[2][:60]
        self._key = name, file, options
        _unnamed.add(self)

    @cached_property
    def identity(self) -> str:
        """The kernel and the sources it depends on."""
        _unnamed.discard(self)
        name, file, options = self._key
        return repr((name, options, source_digest(file)))

    def file_name(self, codes: tuple[str, ...]) -> str:
        """Name of the file for arguments of these types."""
        digest = hashlib.sha256(f"{self.identity}{codes}".encode()).hexdigest()
        return f"{self._stem}-{digest[:24]}.kernel"

    def has(self, codes: tuple[str, ...]) -> bool:
        """Whether there is a file; it may turn out to be damaged."""
        name = self.file_name(codes)
        return any((directory / name).is_file() for directory in store().read)

    def load(self, codes: tuple[str, ...]) -> Image | None:
        """The compiled kernel, or nothing if it must be compiled."""
        name = self.file_name(codes)
        for directory in store().read:
            payload = _read_payload(directory / name)
            if payload is not None:
                return Image(*marshal.loads(payload))
        return None

    def save(self, codes: tuple[str, ...], image: Image) -> None:
        """Keeps a kernel that was just compiled."""
        payload = marshal.dumps(tuple(image))
        content = _MAGIC + hashlib.sha256(payload).digest() + payload
        with contextlib.suppress(OSError):
            write_atomically(store().write / self.file_name(codes), content)


def _read_payload(path: Path) -> bytes | None:
    """What a file holds, if it is there and whole."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    start = len(_MAGIC) + hashlib.sha256().digest_size
    payload = content[start:]
    return payload if content[:start] == _MAGIC + hashlib.sha256(payload).digest() else None
