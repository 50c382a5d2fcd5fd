"""A model's definition → a .nrt file, put in place in one step."""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from numba_rt.dtypes import from_onnx, stored_bytes
from numba_rt.errors import FormatError, LoadError
from numba_rt.format.container import (
    ALIGNMENT,
    ENTRY,
    HEADER,
    MAGIC,
    VERSION,
    Kind,
    checksum,
    header_checksum,
)
from numba_rt.format.definition import Held, ModelDef, Source, TensorDef, tensors_in
from numba_rt.format.limits import LIMITS
from numba_rt.format.reader import STRINGS, checked_count, encode_strings
from numba_rt.format.ready_definition import ReadyDef

Progress = Callable[[int, int], None]
"""Bytes done, bytes in all."""

STEP = 1 << 24


@dataclass(frozen=True)
class Optimised:
    """An optimised graph to be stored, what it fits, and what signs it."""

    graph: ReadyDef
    fits: str
    sign: Callable[[str, bytes, Iterable[TensorDef]], bytes]


def write_model(
    path: str | os.PathLike[str],
    model: ModelDef,
    optimised: Optimised | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a model, replacing a file of that name when all is written.

    Args:
        path: where to.
        model: what to write; offsets of its tensors are set.
        optimised: what the optimiser made of it.
        progress: is told how many bytes are written.

    Raises:
        LoadError: a tensor cannot be read, or the model cannot be stored.
        OSError: the file cannot be written.
    """
    with replacing(path) as file:
        write_to(file, model, optimised, progress)


def write_to(
    file: BinaryIO,
    model: ModelDef,
    optimised: Optimised | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a model to an open file, from its start."""
    from numba_rt.format.pack import pack  # imports the flatbuffers package, which reading does without

    layout = _Layout()
    for tensor in tensors_in(model):
        layout.place(tensor, in_memory=False)
    sections = {Kind.GRAPH: np.frombuffer(pack(model, "Model"), np.uint8)}
    if optimised is not None:
        tensors = list(tensors_in(optimised.graph))
        for tensor in tensors:
            layout.place(tensor, in_memory=True)
        graph, fits = pack(optimised.graph, "Ready"), optimised.fits
        sealed = _sealed(fits, optimised.sign(fits, graph, tensors), graph)
        sections[Kind.READY] = np.frombuffer(sealed, np.uint8)
    _write(file, sections, layout, progress or _silent)


def _sealed(fits: str, signature: bytes, graph: bytes) -> bytes:
    text = fits.encode()
    head = len(text).to_bytes(8, "little") + text + signature
    return head + bytes(-len(head) % ALIGNMENT) + graph


def _silent(done: int, total: int) -> None:
    """Progress nobody follows."""


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when the block ends well."""
    target = Path(os.path.realpath(os.fsdecode(path)))
    name = target.parent / f".{target.name[:40]}.{secrets.token_hex(8)}.tmp"
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        name.unlink(missing_ok=True)
        raise


class _Layout:
    """Where tensors go; those that share memory are stored once."""

    def __init__(self) -> None:
        self.size = 0
        self.pending: list[tuple[TensorDef, Source]] = []
        self._known: dict[tuple[int, int], int] = {}
        self._kept: list[Any] = []
        self._done: set[int] = set()

    def place(self, tensor: TensorDef, in_memory: bool) -> None:
        """Set a tensor's offset and length."""
        if id(tensor) in self._done:
            return
        self._done.add(id(tensor))
        where = f"tensor {tensor.name!r}"
        dtype = from_onnx(tensor.data_type)
        if dtype is None or tensor.source is None:
            raise FormatError(f"{where} has element type {tensor.data_type}, which is not known")
        count = checked_count(tensor.dims, LIMITS, where)
        source = tensor.source
        if tensor.data_type == STRINGS:
            items = source.strings(where)
            if len(items) != count:
                raise LoadError(f"{where} has {len(items)} strings: its dims need {count}")
            source = Held(encode_strings(items))
            tensor.length = source.read(where).size
        else:
            tensor.length = count * dtype.itemsize if in_memory else stored_bytes(dtype, count)
        same = self._memory_of(source)
        known = self._known.get(same) if same else None
        if known is not None:
            tensor.offset = known
            return
        tensor.offset = self.size
        self.size += tensor.length + -tensor.length % ALIGNMENT
        self.pending.append((tensor, source))
        if same:
            self._known[same] = tensor.offset

    def _memory_of(self, source: Source) -> tuple[int, int] | None:
        """Address and size of elements that are in memory already."""
        data = getattr(source, "data", None)
        if not isinstance(data, np.ndarray) or not data.nbytes or not data.flags.c_contiguous:
            return None
        self._kept.append(data)
        return data.__array_interface__["data"][0], data.nbytes


def _write(file: BinaryIO, sections: dict[Kind, np.ndarray], layout: _Layout, progress: Progress) -> None:
    order = [k for k in (Kind.GRAPH, Kind.READY) if k in sections] + [Kind.TENSORS]
    head_size = HEADER.size + len(order) * ENTRY.size
    at = head_size
    entries = []
    file.write(bytes(head_size))
    for kind in order:
        gap = -at % ALIGNMENT
        file.write(bytes(gap))
        at += gap
        if kind is Kind.TENSORS:
            size, crc = layout.size, _write_tensors(file, layout, progress)
        else:
            size, crc = sections[kind].size, checksum(sections[kind])
            file.write(sections[kind].data)
        entries.append(ENTRY.pack(kind, crc, at, size))
        at += size
    table = b"".join(entries)
    head = HEADER.pack(MAGIC, VERSION, 0, at, len(order), 0)
    file.seek(0)
    file.write(HEADER.pack(MAGIC, VERSION, 0, at, len(order), header_checksum(head, table)) + table)


def _write_tensors(file: BinaryIO, layout: _Layout, progress: Progress) -> int:
    """Write the tensor section; returns its checksum."""
    crc = done = 0
    for tensor, source in layout.pending:
        where = f"tensor {tensor.name!r}"
        data = np.ascontiguousarray(source.read(where))
        if data.size != tensor.length:
            raise LoadError(f"{where} has {data.size} bytes of data: its dims and dtype need {tensor.length}")
        for piece in _pieces(data):
            file.write(piece)
            crc = zlib.crc32(piece, crc)
            done += len(piece)
            progress(done, layout.size)
        gap = bytes(-tensor.length % ALIGNMENT)
        file.write(gap)
        crc, done = zlib.crc32(gap, crc), done + len(gap)
    progress(layout.size, layout.size)
    return crc


def _pieces(data: np.ndarray) -> Iterable[memoryview]:
    view = data.data
    return (view[at : at + STEP] for at in range(0, data.size, STEP))
