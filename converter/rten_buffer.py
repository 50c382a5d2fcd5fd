"""Reads of a FlatBuffer, each checked before it is made."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct, unpack_from

import numpy as np

from numba_rt.errors import LoadError

_FORMATS = {code: Struct(f"<{code}") for code in "?bBhHiIfqQ"}
REPEATS = 4
"""How many times as much as it holds may be read of a file: parts may be referred to from several places."""


class Buffer:
    """The bytes of a FlatBuffer, uint8[n]."""

    def __init__(self, array: np.ndarray, where: str) -> None:
        self.array, self.where = array, where
        self.data = array.data
        self._left = REPEATS * len(array) + 1024

    def damaged(self, what: str) -> LoadError:
        """The error for bytes that are not what they should be."""
        return LoadError(f"{self.where} is damaged: {what}")

    def number(self, code: str, at: int) -> int:
        """One number."""
        form = _FORMATS[code]
        if not 0 <= at <= len(self.data) - form.size:
            raise self.damaged(f"an offset {at} outside of {len(self.data)} bytes")
        value: int = form.unpack_from(self.data, at)[0]
        return value

    def vector(self, at: int, itemsize: int) -> tuple[int, int]:
        """Start and length of the vector that the reference at a position leads to."""
        start = at + self.number("I", at)
        count = self.number("I", start)
        if count * itemsize > len(self.data) - start - 4:
            raise self.damaged(f"{count} items at {start} reach past the end")
        return start + 4, count

    def spend(self, nbytes: int) -> None:
        """Refuse files that refer to the same bytes again and again."""
        self._left -= nbytes
        if self._left < 0:
            raise self.damaged("its parts overlap")

    def root(self) -> Table:
        """The table the buffer begins with."""
        return self.table(0)

    def table(self, at: int) -> Table:
        """The table that the reference at a position leads to."""
        start = at + self.number("I", at)
        vtable = start - self.number("i", start)
        length, size = self.number("H", vtable), self.number("H", vtable + 2)
        if length < 4 or length % 2 or vtable + length > len(self.data) or start + size > len(self.data):
            raise self.damaged(f"the table at {start}")
        self.spend(4)
        return Table(self, start, size, vtable, (length - 4) // 2)


@dataclass(frozen=True, slots=True)
class Table:
    """A table; fields go by their number in the schema."""

    buffer: Buffer
    start: int
    size: int
    vtable: int
    fields: int

    def _at(self, field: int, itemsize: int) -> int:
        """Position of a field, 0 if it is absent."""
        if field >= self.fields:
            return 0
        offset = self.buffer.number("H", self.vtable + 4 + 2 * field)
        if offset + itemsize > self.size:
            raise self.buffer.damaged(f"field {field} of the table at {self.start}")
        return self.start + offset if offset else 0

    def number(self, field: int, code: str, default: int | None) -> int | None:
        """A number, the default if the field is absent."""
        at = self._at(field, _FORMATS[code].size)
        return self.buffer.number(code, at) if at else default

    def has(self, field: int) -> bool:
        """Whether a field is given."""
        return bool(self._at(field, 1))

    def table(self, field: int) -> Table | None:
        """Another table."""
        at = self._at(field, 4)
        return self.buffer.table(at) if at else None

    def tables(self, field: int) -> list[Table]:
        """A vector of tables."""
        at = self._at(field, 4)
        if not at:
            return []
        start, count = self.buffer.vector(at, 4)
        self.buffer.spend(4 * count)
        return [self.buffer.table(start + 4 * i) for i in range(count)]

    def text(self, field: int) -> str:
        """A string, empty if the field is absent."""
        at = self._at(field, 4)
        if not at:
            return ""
        start, count = self.buffer.vector(at, 1)
        self.buffer.spend(count)
        try:
            return str(self.buffer.data[start : start + count], "utf-8")
        except UnicodeDecodeError:
            raise self.buffer.damaged(f"the string at {start} is not valid UTF-8") from None

    def integers(self, field: int, code: str) -> list[int] | None:
        """A short vector of numbers, None if the field is absent."""
        at = self._at(field, 4)
        if not at:
            return None
        start, count = self.buffer.vector(at, 4)
        self.buffer.spend(4 * count)
        return list(unpack_from(f"<{count}{code}", self.buffer.data, start))

    def raw(self, field: int, itemsize: int) -> np.ndarray | None:
        """The bytes of a vector of numbers, None if the field is absent."""
        at = self._at(field, 4)
        if not at:
            return None
        start, count = self.buffer.vector(at, itemsize)
        return self.buffer.array[start : start + count * itemsize]
