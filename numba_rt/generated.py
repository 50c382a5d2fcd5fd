"""Kernels generated from source text: real files, named by their content, so that they can be cached."""

from __future__ import annotations

import hashlib
import re
import sys
import threading
from pathlib import Path
from types import ModuleType

from numba_rt.cache_directory import store, write_atomically

_lock = threading.RLock()


def load_generated(name: str, source: str) -> ModuleType:
    """The module of a generated source text, made once per process.

    Args:
        name: What the file is called, for people; the module is named by its content.
        source: The text. It runs as code, so nothing in it may come from a model's bytes.
    """
    content = source.encode()
    digest = hashlib.sha256(content).hexdigest()[:32]
    module_name = f"numba_rt_generated_{digest}"
    with _lock:
        if module_name not in sys.modules:
            path = _file(f"{re.sub(r'[^A-Za-z0-9_]', '_', name)[:60]}_{digest}.py", content)
            module = ModuleType(module_name)
            module.__file__ = str(path)
            sys.modules[module_name] = module
            try:
                exec(compile(source, str(path), "exec"), module.__dict__)
            except BaseException:
                del sys.modules[module_name]
                raise
        return sys.modules[module_name]


def _file(name: str, content: bytes) -> Path:
    """A file with exactly this content; one that was damaged is written again."""
    found = store()
    for directory in found.read:
        path = directory / "generated" / name
        try:
            if path.read_bytes() == content:
                return path
        except OSError:
            continue
    path = found.write / "generated" / name
    write_atomically(path, content)
    return path
