"""Protobuf's wire format: messages as objects, long data as a place to read it from."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
WIRE_TYPES = {"float": FIXED32, "double": FIXED64, "int32": VARINT, "int64": VARINT, "uint64": VARINT}
NUMBERS = {"float": struct.Struct("<f"), "double": struct.Struct("<d")}
ITEMS = {"float": "<f4", "double": "<f8", "int32": "<i4", "int64": "<i8", "uint64": "<u8"}
SMALL = 1 << 16
"""Bytes of a message that is read as a whole, and of data that is copied with it."""
MANY = 256
"""Numbers that are worth an array."""
DEEPEST = 100
"""Nesting of messages; the limit of protobuf's own readers."""
LONGEST_HEAD = 20
"""Bytes of a field's tag and length, or of its number."""


class WireError(ValueError):
    """The bytes are no message."""


class Field(NamedTuple):
    """A field of a message, as its table has it."""

    name: str
    kind: str
    message: type[Message] | None
    repeated: bool
    one_of: bool
    as_array: bool
    """Whether many numbers may stay an array, not become a list."""


class Bytes(Protocol):
    """Where a message is: a file, or memory."""

    size: int

    def get(self, start: int, stop: int) -> bytes:
        """Some of them; fewer pieces are read from a file than are asked for."""
        ...

    def array(self, start: int, size: int, where: str) -> np.ndarray:
        """Some of them as an array of uint8; `where` names it in errors."""
        ...


class Span(NamedTuple):
    """Data that is read when it is needed."""

    source: Bytes
    start: int
    size: int

    def read(self, where: str) -> np.ndarray:
        """The data as uint8."""
        return self.source.array(self.start, self.size, where)


class Message:
    """A message whose fields are attributes, as those of the messages protobuf makes are."""

    fields: ClassVar[Mapping[int, tuple[Field, int]]] = {}
    """Tag → field and wire type."""
    kinds: ClassVar[Mapping[str, type[Message]]] = {}
    one_of: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def define(cls, fields: Mapping[int, Field]) -> None:
        """Give the class its fields, by number, and their defaults."""
        tags: dict[int, tuple[Field, int]] = {}
        for number, field in fields.items():
            enum = field.kind.startswith("enum")
            wire_type = VARINT if enum else WIRE_TYPES.get(field.kind, LENGTH)
            for used in {wire_type, LENGTH} if field.repeated else {wire_type}:
                tags[number << 3 | used] = field, used
            if field.repeated:
                setattr(cls, field.name, ())
            elif field.message is None:
                default = {"string": "", "bytes": b"", "data": b"", "float": 0.0, "double": 0.0}
                setattr(cls, field.name, default.get(field.kind, 0))
        cls.fields = tags
        cls.kinds = {f.name: f.message for f in fields.values() if f.message is not None and not f.repeated}
        cls.one_of = tuple(f.name for f in fields.values() if f.one_of)

    def __getattr__(self, name: str) -> Message:
        kind = self.kinds.get(name)
        if kind is None:
            raise AttributeError(f"{type(self).__name__} has no field {name!r}")
        return kind()

    def HasField(self, name: str) -> bool:
        """Whether a field is set."""
        return name in self.__dict__

    def WhichOneof(self, group: str) -> str | None:
        """Which of several fields is set."""
        return next((name for name in self.one_of if name in self.__dict__), None)

    def put(self, field: Field, value: Any) -> None:
        """Set a field, or append to it."""
        values = self.__dict__
        if field.repeated:
            found = values.get(field.name)
            if type(found) is not list:
                found = values[field.name] = [] if found is None else found.tolist()
            found.append(value)
            return
        if field.one_of:
            for other in self.one_of:
                values.pop(other, None)
        values[field.name] = value

    def inside(self, field: Field) -> Message:
        """The message to read a field into: what is given twice is merged, unless it is repeated."""
        assert field.message is not None
        made = None if field.repeated else self.__dict__.get(field.name)
        if made is None:
            made = field.message()
            self.put(field, made)
        return made


def read_message(
    message: Message, source: Bytes, start: int = 0, stop: int | None = None, depth: int = 0
) -> None:
    """Read the fields of a message that may be too large to be held.

    Raises:
        WireError: the bytes are no message.
    """
    stop = source.size if stop is None else stop
    if depth > DEEPEST:
        raise WireError(f"messages are nested more than {DEEPEST} deep")
    while start < stop:
        head = source.get(start, min(start + LONGEST_HEAD, stop))
        tag, at = _varint(head, 0, len(head))
        size, begin = 0, 0
        if tag & 7 == LENGTH:
            size, at = _varint(head, at, len(head))
            begin, after = start + at, start + at + size
            if after > stop:
                raise WireError(f"the field at byte {start} ends at {after}, its message at {stop}")
        else:
            after = start + _skip(head, tag, at, len(head))
        field, _ = message.fields.get(tag, (None, 0))
        if size > SMALL and field is None:
            pass  # not known, and too large to be looked at
        elif size > SMALL and field is not None and field.message is not None:
            read_message(message.inside(field), source, begin, after, depth + 1)
        elif size > SMALL and field is not None and field.kind == "data":
            message.put(field, Span(source, begin, size))
        else:
            _decode(message, source.get(start, after), 0, after - start, depth)
        start = after


def _decode(message: Message, data: bytes, at: int, end: int, depth: int) -> None:
    """Read the fields of a message from its bytes."""
    if depth > DEEPEST:
        raise WireError(f"messages are nested more than {DEEPEST} deep")
    fields = message.fields
    while at < end:
        tag = data[at]
        if tag < 0x80:
            at += 1
        else:
            tag, at = _varint(data, at, end)
        field, wire_type = fields.get(tag, (None, -1))
        if field is None:
            at = _skip(data, tag, at, end)
        elif wire_type == LENGTH:
            size, at = (data[at], at + 1) if at < end and data[at] < 0x80 else _varint(data, at, end)
            stop = at + size
            if stop > end:
                raise WireError(f"{field.name} has {size} bytes, its message {end - at} more")
            if field.message is not None:
                _decode(message.inside(field), data, at, stop, depth + 1)
            elif field.kind == "string":
                message.put(field, _text(data[at:stop]))
            elif field.kind in ("bytes", "data"):
                message.put(field, data[at:stop])
            else:
                _extend(message, field, data[at:stop])
            at = stop
        elif wire_type == VARINT:
            number, at = _varint(data, at, end)
            _put_integer(message, field, number)
        else:
            unpack = NUMBERS[field.kind]
            if at + unpack.size > end:
                raise WireError(f"{field.name} has {end - at} bytes: expected {unpack.size}")
            message.put(field, unpack.unpack_from(data, at)[0])
            at += unpack.size


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A number in groups of 7 bits, and where it ends."""
    value, shift = 0, 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
    raise WireError("a number does not end" if at < end else "it ends within a field")


def _skip(data: bytes, tag: int, at: int, end: int) -> int:
    """Where a field that is not known ends."""
    kind = tag & 7
    if tag >> 3 == 0 or kind not in (VARINT, FIXED64, LENGTH, FIXED32):
        raise WireError(f"a field has the tag {tag}")
    if kind == VARINT:
        at = _varint(data, at, end)[1]
    elif kind == LENGTH:
        size, at = _varint(data, at, end)
        at += size
    else:
        at += 8 if kind == FIXED64 else 4
    if at > end:
        raise WireError("it ends within a field")
    return at


def _text(data: bytes) -> str | bytes:
    """Text; what is none stays bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _put_integer(message: Message, field: Field, number: int) -> None:
    if field.kind == "int64":
        number -= (number >> 63) << 64
    elif field.kind == "int32":
        number &= 0xFFFF_FFFF
        number -= (number >> 31) << 32
    elif field.kind.startswith("enum") and number >= int(field.kind[4:]):
        return  # protobuf's readers do not set such a field either
    message.put(field, number)


def _extend(message: Message, field: Field, data: bytes) -> None:
    """Append numbers that follow each other without tags."""
    if field.kind in NUMBERS:
        if len(data) % NUMBERS[field.kind].size:
            raise WireError(f"{field.name} has {len(data)} bytes, which hold no whole number of elements")
        made = np.frombuffer(data, ITEMS[field.kind])
    else:
        made = _varints(data).astype(ITEMS[field.kind])
    if field.as_array and made.size > MANY and not message.HasField(field.name):
        message.__dict__[field.name] = made
    else:
        for number in made.tolist():
            message.put(field, number)


def _varints(data: bytes) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Numbers in groups of 7 bits, one after the other."""
    groups = np.frombuffer(data, np.uint8)
    last = groups < 0x80
    if groups.size and not last[-1]:
        raise WireError("it ends within a number")
    starts = np.concatenate(([0], np.flatnonzero(last)[:-1] + 1)) if groups.size else np.zeros(0, np.int64)
    within = np.arange(groups.size) - np.repeat(starts, np.diff(starts, append=groups.size))
    if groups.size and within.max() >= 10:
        raise WireError("a number does not end")
    bits = (groups & 0x7F).astype(np.uint64) << (7 * within).astype(np.uint64)
    return np.add.reduceat(bits, starts) if groups.size else bits
