"""The file around the sections: a header, a table that says where sections lie, checksums."""

from __future__ import annotations

import mmap
import os
import stat
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from struct import Struct

import numpy as np

from numba_rt.errors import FormatError
from numba_rt.format.limits import LIMITS, Limits

MAGIC = b"\x89NRT\r\n\x1a\n"
"""A byte that is not text, the name, and line ends that a transfer as text would change."""

VERSION = 1
ALIGNMENT = 64
CHECKED = 1 << 20
"""Sections up to this size are checked against their checksum whenever a file is opened."""

HEADER = Struct("<8sIIQII32x")
"""Magic, version, flags, size of the file, number of sections, checksum of header and table."""
ENTRY = Struct("<IIQQ8x")
"""Kind, checksum, offset, size."""


class Kind(IntEnum):
    """What a section holds."""

    GRAPH = 1
    TENSORS = 2
    READY = 3


NAMES = {Kind.GRAPH: "graph", Kind.TENSORS: "tensor", Kind.READY: "ready"}


@dataclass(frozen=True)
class Section:
    """Where a section lies."""

    kind: Kind
    checksum: int
    offset: int
    size: int


@dataclass(eq=False)
class Container:
    """An open file, or one in memory; arrays over its bytes keep it open."""

    data: np.ndarray
    """uint8[n], read-only."""
    where: str
    """Names the file in errors."""
    version: int = VERSION
    sections: Mapping[Kind, Section] = field(default_factory=dict)

    def bytes_of(self, kind: Kind) -> np.ndarray:
        """The bytes of a section; none if it is absent."""
        section = self.sections.get(kind)
        return self.data[:0] if section is None else self.data[section.offset : section.offset + section.size]

    def check(self, kind: Kind) -> None:
        """Compare a section with its checksum.

        Raises:
            FormatError: they differ.
        """
        section = self.sections.get(kind)
        if section is not None and checksum(self.bytes_of(kind)) != section.checksum:
            raise FormatError(
                f"{self.where} is damaged: the {NAMES[kind]} section does not match its checksum"
            )


def checksum(data: np.ndarray | bytes, start: int = 0) -> int:
    """CRC-32, of large arrays in pieces."""
    view = data if isinstance(data, bytes) else data.data
    step = 1 << 24
    for at in range(0, len(view), step):
        start = zlib.crc32(view[at : at + step], start)
    return start


def is_nrt(source: object) -> bool:
    """Whether a path or bytes begin as a .nrt file does; False for what cannot be read."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source[: len(MAGIC)]) == MAGIC
    if not isinstance(source, str | os.PathLike):
        return False
    try:
        if not stat.S_ISREG(os.stat(source).st_mode):
            return False
        with open(source, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except (OSError, ValueError):
        return False


def open_container(source: str | os.PathLike[str] | bytes, limits: Limits = LIMITS) -> Container:
    """Map a file, or take bytes, and check header and section table.

    Raises:
        FormatError: it is not a .nrt file, or is damaged.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data = np.frombuffer(bytes(source), np.uint8)
        container = Container(data, f"the model ({data.size} bytes)")
    else:
        path = Path(os.path.abspath(os.fsdecode(source)))
        container = Container(_mapped(path), repr(str(path)))
    container.sections = _sections(container, limits)
    for section in container.sections.values():
        if section.size <= CHECKED or section.kind is not Kind.TENSORS:
            container.check(section.kind)
    return container


def _mapped(path: Path) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise FormatError(f"{str(path)!r} is not a regular file")
            if status.st_size < HEADER.size:
                raise FormatError(f"{str(path)!r} is damaged: {status.st_size} bytes hold no header")
            return np.frombuffer(mmap.mmap(file.fileno(), status.st_size, access=mmap.ACCESS_READ), np.uint8)
    except (OSError, ValueError) as error:
        raise FormatError(f"{str(path)!r} cannot be read: {error}") from error


def _sections(container: Container, limits: Limits) -> dict[Kind, Section]:
    data, where = container.data, container.where
    if data.size < HEADER.size:
        raise FormatError(f"{where} is damaged: {data.size} bytes hold no header")
    head = data[: HEADER.size].tobytes()
    magic, version, flags, size, count, stated = HEADER.unpack(head)
    if magic != MAGIC:
        raise FormatError(f"{where} is not a .nrt file")
    if version > VERSION:
        raise FormatError(
            f"{where} has version {version} of the format: this version of numba_rt reads up to {VERSION}"
        )
    end = HEADER.size + count * ENTRY.size
    if version < 1 or flags or head != HEADER.pack(magic, version, flags, size, count, stated):
        raise FormatError(f"{where} is damaged: version {version}, flags {flags:#x}")
    container.version = version
    if size != data.size:
        raise FormatError(f"{where} is damaged: {data.size} bytes, its header says {size}")
    if not 1 <= count <= limits.sections or end > data.size:
        raise FormatError(f"{where} is damaged: {count} sections")
    table = data[HEADER.size : end].tobytes()
    if header_checksum(head, table) != stated:
        raise FormatError(f"{where} is damaged: header and section table do not match their checksum")
    return _checked(container, table, end)


def header_checksum(head: bytes, table: bytes) -> int:
    """Of header and section table, with zeros in place of the checksum itself."""
    return zlib.crc32(table, zlib.crc32(head[:28] + bytes(4) + head[32:]))


def _checked(container: Container, table: bytes, end: int) -> dict[Kind, Section]:
    """The sections: each kind once, in order of position, aligned, with nothing but zeros between."""
    data, where = container.data, container.where
    found: dict[Kind, Section] = {}
    for entry in (table[i : i + ENTRY.size] for i in range(0, len(table), ENTRY.size)):
        kind, crc, offset, size = ENTRY.unpack(entry)
        if kind not in tuple(Kind) or kind in found or entry != ENTRY.pack(kind, crc, offset, size):
            raise FormatError(f"{where} is damaged: a section of kind {kind}")
        if offset % ALIGNMENT or not end <= offset < end + ALIGNMENT or size > data.size - offset:
            raise FormatError(f"{where} is damaged: the {NAMES[Kind(kind)]} section lies at {offset}")
        if data[end:offset].any():
            raise FormatError(f"{where} is damaged: there is something between its sections")
        found[Kind(kind)] = Section(Kind(kind), crc, offset, size)
        end = offset + size
    if end != data.size:
        raise FormatError(f"{where} is damaged: something follows its last section")
    if Kind.GRAPH not in found:
        raise FormatError(f"{where} is damaged: it has no graph")
    return found
