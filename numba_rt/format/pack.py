"""Objects → FlatBuffer bytes, as the schema says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from flatbuffers import Builder
from flatbuffers import number_types as n
from flatbuffers.builder import BuilderSizeError

from numba_rt.errors import FormatError
from numba_rt.format.limits import LIMITS
from numba_rt.format.schema_generated import TABLES

_FLAGS: dict[str, Any] = {
    "?": n.BoolFlags,
    "B": n.Uint8Flags,
    "i": n.Int32Flags,
    "I": n.Uint32Flags,
    "q": n.Int64Flags,
    "Q": n.Uint64Flags,
    "f": n.Float32Flags,
    "d": n.Float64Flags,
}


def pack(part: Any, table: str) -> bytes:
    """The FlatBuffer whose root is `part`, an object of the class of `table`.

    Raises:
        FormatError: it is nested too deep, or holds what the schema has no place for.
    """
    builder = Builder(1 << 16)
    try:
        builder.Finish(_table(builder, part, table, 1))
    except (TypeError, ValueError, OverflowError, AttributeError, UnicodeError, BuilderSizeError) as error:
        raise FormatError(f"the {table} cannot be stored: {error}") from error
    return bytes(builder.Output())


def _table(builder: Builder, part: Any, table: str, depth: int) -> int:
    if depth > LIMITS.depth:
        raise FormatError(f"the model is nested more than {LIMITS.depth} levels deep: it cannot be stored")
    values: list[tuple[int, str, str, Any]] = []
    for slot, (name, kind, item) in enumerate(TABLES[table]):
        value = getattr(part, name)
        if kind == "number":
            values.append((slot, kind, item, value))
        elif value is not None and len_of(value):
            values.append((slot, kind, item, _CHILD[kind](builder, value, item, depth)))
    builder.StartObject(len(TABLES[table]))
    for slot, kind, item, value in sorted(values, key=_width):
        if kind == "number":
            # Without a default zero is stored too: that of -0.0 has a sign.
            builder.PrependSlot(
                _FLAGS[item], slot, value, None if isinstance(value, float) and value == 0 else 0
            )
        else:
            builder.PrependUOffsetTRelativeSlot(slot, value, 0)
    return int(builder.EndObject())


def len_of(value: Any) -> int:
    """Length of text or a list; 1 for a table."""
    return len(value) if isinstance(value, str | bytes | Sequence | np.ndarray) else 1


def _width(value: tuple[int, str, str, Any]) -> int:
    """Widest fields last, since tables are built from the end: nothing is lost to alignment."""
    _, kind, item, _ = value
    return int(_FLAGS[item].bytewidth) if kind == "number" else 4


def _child(builder: Builder, value: Any, item: str, depth: int) -> int:
    return _table(builder, value, item, depth + 1)


def _string(builder: Builder, value: Any, item: str, depth: int) -> int:
    if not isinstance(value, str):
        raise FormatError(f"the text {value!r} is not valid UTF-8: it cannot be stored")
    return int(builder.CreateSharedString(value))


def _numbers(builder: Builder, value: Any, item: str, depth: int) -> int:
    return int(builder.CreateNumpyVector(np.asarray(value, item)))


def _strings(builder: Builder, value: Any, item: str, depth: int) -> int:
    return _vector(builder, [_string(builder, v, item, depth) for v in value])


def _tables(builder: Builder, value: Any, item: str, depth: int) -> int:
    return _vector(builder, [_table(builder, v, item, depth + 1) for v in value])


def _vector(builder: Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


_CHILD: dict[str, Callable[..., int]] = {
    "table": _child,
    "string": _string,
    "numbers": _numbers,
    "strings": _strings,
    "tables": _tables,
}
