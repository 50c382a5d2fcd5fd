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
from typing import Any, NamedTuple

import llvmlite.binding as llvm
from numba.core import sigutils
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult, compile_result
from numba.core.runtime import _nrt_python
from numba.core.serialize import dumps

from numba_rt.cache_directory import store, write_atomically

_MAGIC = b"numba_rt kernel 1\n"
_PACKAGE = Path(__file__).parent
_ALWAYS = frozenset(_PACKAGE / name for name in ("jit.py", "kernel_cache.py", "region.py"))
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


@dataclass(frozen=True)
class _Source:
    """A source file as it was when a module of kernels or inline functions was made from it."""

    content: bytes
    changed: int
    digest: bytes
    imports: frozenset[Path]


_sources: dict[Path, _Source] = {}


def register_source(path: Path) -> None:
    """Takes note of a source file while it is imported; what is imported again is read again."""
    known = _sources.get(path)
    if known is None or known.changed != path.stat().st_mtime_ns:
        _sources[path] = _read(path)


def source_text(path: Path) -> str:
    """Text of a file, as it was imported."""
    return _source(path).content.decode()


def source_digest(path: Path) -> str:
    """Digest of a source file and of all files of this package it imports, directly or not."""
    found = {path, *_ALWAYS}
    pending = list(found)
    while pending:
        new = _source(pending.pop()).imports - found
        found |= new
        pending += new
    return hashlib.sha256(b"".join(_source(file).digest for file in sorted(found))).hexdigest()


def _source(path: Path) -> _Source:
    if path not in _sources:
        _sources[path] = _read(path)
    return _sources[path]


def _read(path: Path) -> _Source:
    changed = path.stat().st_mtime_ns
    content = path.read_bytes()
    names: set[str] = set()
    for module, members, plain in _IMPORT.findall(content):
        base = (module or plain).decode()
        names |= {base, *(f"{base}.{member}" for member in re.findall(r"\w+", members.decode()))}
    imports = frozenset(file for name in names for file in _files(name))
    return _Source(content, changed, hashlib.sha256(content).digest(), imports)


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
        name = self.file_name(sig)
        for directory in store().read:
            payload = _read_payload(directory / name)
            result = None if payload is None else _Image(*pickle.loads(payload)).load(target_context)
            if result is not None:
                stats.loaded += 1
                return result
        target_context.refresh()
        self._missed = time.perf_counter()
        return None

    def save_overload(self, sig: Any, data: CompileResult) -> None:
        """Keeps a kernel that was just compiled."""
        stats.compiled += 1
        stats.compile_seconds += time.perf_counter() - self._missed
        if data.library.has_dynamic_globals or data.lifted:
            return
        payload = dumps(tuple(_Image.of(data)))
        content = _MAGIC + hashlib.sha256(payload).digest() + payload
        with contextlib.suppress(OSError):
            write_atomically(store().write / self.file_name(sig), content)


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


class _Image(NamedTuple):
    """Machine code of a kernel and what Python must know to call it.

    Unlike Numba's own form it has no bitcode, because kernels are never linked into other
    functions; reading that takes two thirds of the time of loading.
    """

    name: str
    code: bytes
    defined: tuple[str, ...]
    needed: tuple[str, ...]
    descriptor: Any
    environment: Any
    signature: Any
    environments: tuple[Any, ...]
    initializers: tuple[Any, ...]

    @classmethod
    def of(cls, result: CompileResult) -> _Image:
        """The image of a kernel that was just compiled."""
        library, descriptor = result.library, result.fndesc
        descriptor.typemap = descriptor.calltypes = None
        symbols = [
            (symbol.name, symbol.is_declaration)
            for symbols in (library._final_module.functions, library._final_module.global_variables)
            for symbol in symbols
        ]
        return cls(
            library.name,
            library._get_compiled_object(),
            tuple(name for name, is_declaration in symbols if not is_declaration),
            tuple(
                name for name, is_declaration in symbols if is_declaration and not name.startswith("llvm.")
            ),
            descriptor,
            result.environment,
            result.signature,
            tuple(result._find_referenced_environments()),
            tuple(result.reload_init),
        )

    def load(self, target_context: Any) -> CompileResult | None:
        """The kernel, ready to be called; nothing if the linker lacks a symbol, which would be fatal."""
        for initialize in self.initializers:
            initialize()
        if not _can_link(self.needed):
            target_context.refresh()
            if not _can_link(self.needed):
                return None
        codegen = target_context.codegen()
        library = codegen.create_library(self.name)
        library.enable_object_caching()
        library._set_compiled_object(self.code)
        library._finalize_final_module()
        codegen._engine._defined_symbols.update(self.defined)
        entry = target_context.get_executable(library, self.descriptor, self.environment)
        for environment in self.environments:
            codegen.set_env(environment.env_name, environment)
        return compile_result(
            target_context=target_context,
            typing_context=target_context.typing_context,
            library=library,
            environment=self.environment,
            entry_point=entry,
            fndesc=self.descriptor,
            type_annotation="",
            signature=self.signature,
            objectmode=False,
            lifted=(),
            reload_init=list(self.initializers),
            referenced_envs=list(self.environments),
        )


_linked: set[str] = set()


def _can_link(names: tuple[str, ...]) -> bool:
    """Whether the linker knows all these symbols."""
    _add_runtime_symbols()
    _linked.update(name for name in names if name not in _linked and llvm.address_of_symbol(name))
    return _linked.issuperset(names)


@cache
def _add_runtime_symbols() -> None:
    """Makes Numba's run-time functions known to the linker.

    With them alone a cached kernel can be linked; filling the registries of the compiler, which
    would do this too, takes as long as importing Numba and waits until something is compiled.
    """
    for name, address in _nrt_python.c_helpers.items():
        llvm.add_symbol(name if name.startswith("_") else f"NRT_{name}", address)
