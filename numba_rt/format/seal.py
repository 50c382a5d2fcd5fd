"""What an optimised graph fits, and whether this user's programs made it.

Operators that the optimiser makes check less than those of a model: their packed weights and their shapes
are as the optimiser left them. So an optimised graph from a file is trusted as a compiled kernel is: only if
it was signed with a secret that lies in the directory of the kernel cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from numba_rt.cache_directory import store, toolchain, write_atomically
from numba_rt.format.definition import TensorDef
from numba_rt.simd.isa import ISA

_ROOT = Path(__file__).parents[2]
_OWN = ("dtypes.py", "format", "graph", "kernels", "ops", "optimize", "simd")
_SOURCES = ("converter", *(f"numba_rt/{name}" for name in _OWN))
"""What decides which graph a model becomes, how it is optimised and how weights are packed."""

_SECRET = "optimised-graphs.secret"
_WORDS = frozenset({4, 5, 6, 7, 8, 9, 12, 13})
"""Element types of which indices, sizes and conditions are: these elements are signed too."""


def key(precision: str = "fast") -> str:
    """What must be equal for an optimised graph to be used: sources, processor, settings."""
    return json.dumps(
        {
            "sources": sources_digest(),
            "toolchain": toolchain(),
            "vectors": ISA.name,
            "tile": [ISA.mr, ISA.nr],
            "precision": precision,
            "winograd": os.environ.get("NUMBA_RT_WINOGRAD", "1"),
        }
    )


@cache
def sources_digest() -> str:
    """Digest of the sources that decide what an optimised graph is."""
    digest = hashlib.sha256()
    for path in sorted(_source_files()):
        with open(path, "rb") as file:
            content = file.read()
        digest.update(f"{path[len(str(_ROOT)) :].replace(os.sep, '/')}\n{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:32]


def _source_files() -> Iterator[str]:
    for name in _SOURCES:
        path = str(_ROOT / name)
        if os.path.isfile(path):
            yield path
        for directory, _, files in os.walk(path):
            yield from (f"{directory}{os.sep}{file}" for file in files if file.endswith(".py"))


def sign(fits: str, graph: bytes, tensors: Iterable[TensorDef]) -> bytes:
    """The signature of an optimised graph."""
    return _signature(_new_secret(), fits, graph, tensors)


def is_ours(signature: bytes, fits: str, graph: bytes, tensors: Iterable[TensorDef]) -> bool:
    """Whether a signature was made by `sign` with a secret of this cache."""
    known = [s for s in _secrets() if s]
    tensors = list(tensors) if known else []
    return any(hmac.compare_digest(signature, _signature(s, fits, graph, tensors)) for s in known)


def _signature(secret: bytes, fits: str, graph: bytes, tensors: Iterable[TensorDef]) -> bytes:
    made = hmac.new(secret, f"{len(fits)}\n{len(graph)}\n{fits}".encode(), hashlib.sha256)
    made.update(graph)
    parts = {t.offset: t for t in tensors if t.data_type in _WORDS and t.length}
    for offset in sorted(parts):
        tensor = parts[offset]
        assert tensor.source is not None
        if tensor.data_type == 8:
            for item in tensor.source.strings(tensor.name):
                made.update(len(item).to_bytes(8, "little") + item)
        else:
            made.update(tensor.source.read(tensor.name).data)
    return made.digest()


def _secrets() -> list[bytes]:
    """The secrets of all directories that only this user can have written to."""
    found = []
    for directory in store().read:
        with contextlib.suppress(OSError):
            path = directory / _SECRET
            found.append(path.read_bytes())
            os.utime(path)  # unused files of the cache are removed in time
    return [s for s in found if len(s) == 32]


def _new_secret() -> bytes:
    """The secret of the directory new files go to."""
    path = store().write / _SECRET
    with contextlib.suppress(OSError):
        known = path.read_bytes()
        if len(known) == 32:
            return known
    made = secrets.token_bytes(32)
    write_atomically(path, made)
    return made
