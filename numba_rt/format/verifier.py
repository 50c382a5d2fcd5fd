"""FlatBuffer bytes → objects, in one pass that follows no offset it has not checked.

The pass is driven by the schema. Nothing of the result is used before all of it has been checked:
bounds, alignment, vtables, UTF-8, depth, counts, and that no two objects share bytes (only strings and
vtables may be referred to more than once).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from struct import Struct, unpack_from
from typing import Any

import numpy as np

from numba_rt.errors import FormatError
from numba_rt.format import definition as d
from numba_rt.format import ready_definition as r
from numba_rt.format.limits import LIMITS, Limits
from numba_rt.format.schema_generated import TABLES

CLASSES: dict[str, type[Any]] = {
    "Annotation": d.AnnotationDef,
    "Attribute": d.AttributeDef,
    "Dimension": d.DimensionDef,
    "Entry": d.Entry,
    "Factor": r.Factor,
    "Function": d.FunctionDef,
    "Graph": d.GraphDef,
    "Model": d.ModelDef,
    "Node": d.NodeDef,
    "OperatorSet": d.OperatorSet,
    "Ready": r.ReadyDef,
    "ReadyFact": r.ReadyFact,
    "ReadyGraph": r.ReadyGraph,
    "ReadyNode": r.ReadyNode,
    "Setting": r.Setting,
    "Shape": d.ShapeDef,
    "Size": r.Size,
    "SparseTensor": d.SparseTensorDef,
    "Tensor": d.TensorDef,
    "Term": r.Term,
    "TrainingInfo": d.TrainingInfoDef,
    "Type": d.TypeDef,
    "ValueInfo": d.ValueInfoDef,
}

NAMES = frozenset({"name", "op_type", "domain", "overload", "input", "output", "key", "dim_param"})
GRAPHS = frozenset({"Graph", "ReadyGraph"})
NODES = frozenset({"Node", "ReadyNode"})
LONG = 4096
"""Vectors of more numbers stay arrays over the file's bytes."""

_EMPTY: dict[str, Any] = {"number": 0, "string": "", "table": None}
_SIZES = {"?": 1, "b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "f": 4, "q": 8, "Q": 8, "d": 8}


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the tables that share a vtable are read."""

    size: int
    struct: Struct
    residue: int
    """What, added to a table's position, must be a multiple of 8; -1 if it has no field of 8 bytes."""
    scalars: tuple[tuple[int, int], ...]
    """Position among the unpacked values, number of the field."""
    references: tuple[tuple[int, int, int, str, str, str], ...]
    """Position, field, offset in the table, kind, item, name."""


class Verifier:
    """Reads one FlatBuffer."""

    def __init__(self, data: bytes, limits: Limits = LIMITS) -> None:
        self.data = data
        self.limits = limits
        self.tensors: list[d.TensorDef] = []
        self._spans: list[tuple[int, int]] = []
        """First byte and end of every object, each once."""
        self._seen: set[int] = set()
        self._strings: dict[int, str] = {}
        self._layouts: dict[tuple[str, int], _Layout] = {}
        self._vtables: set[int] = set()
        self._nesting = 0
        self._nodes = 0

    def root(self, table: str) -> Any:
        """The object at the root, a table of the given name.

        Raises:
            FormatError: the bytes are not what the schema says.
        """
        if not 8 <= len(self.data) <= self.limits.graph_bytes:
            raise FormatError(f"{table} has {len(self.data)} bytes: expected 8 to {self.limits.graph_bytes}")
        (at,) = unpack_from("<I", self.data)
        self._spans.append((0, 4))
        made = self._table(table, at, 1, "root")
        spans = np.array(sorted(self._spans), np.int64)
        if (spans[1:, 0] < spans[:-1, 1]).any():
            raise FormatError(f"{table} is damaged: two objects share bytes")
        return made

    # -- tables -----------------------------------------------------------------------------

    def _table(self, name: str, at: int, depth: int, where: str) -> Any:
        data = self.data
        if at & 3 or not 4 <= at <= len(data) - 4:
            raise FormatError(f"{where}: the offset {at} of a table is outside or not aligned")
        if at in self._seen:
            raise FormatError(f"{where}: the table at {at} is referred to twice")
        self._seen.add(at)
        if depth > self.limits.depth or len(self._seen) > self.limits.tables:
            raise FormatError(f"{where}: more than {self.limits.depth} levels, or too many tables")
        vtable = at - unpack_from("<i", data, at)[0]
        layout = self._layouts.get((name, vtable)) or self._layout(name, vtable, where)
        if at + layout.size > len(data) or (layout.residue >= 0 and (at + layout.residue) & 7):
            raise FormatError(f"{where}: the table at {at} reaches past the end or is not aligned")
        self._spans.append((at, at + layout.size))
        if name in GRAPHS:
            self._enter(where)
        elif name in NODES:
            self._count_node(where)
        values = layout.struct.unpack_from(data, at)
        made = list(_defaults(name))
        for position, field in layout.scalars:
            made[field] = values[position]
        for position, field, inside, kind, item, label in layout.references:
            target = at + inside + values[position]
            made[field] = _READ[kind](self, item, target, depth, label)
        if name in GRAPHS:
            self._nesting -= 1
        out = CLASSES[name](*made)
        if name == "Tensor":
            self.tensors.append(out)
        return out

    def _enter(self, where: str) -> None:
        self._nesting += 1
        if self._nesting > self.limits.subgraphs + 1:
            raise FormatError(f"{where}: graphs are nested more than {self.limits.subgraphs} deep")

    def _count_node(self, where: str) -> None:
        self._nodes += 1
        if self._nodes > self.limits.nodes:
            raise FormatError(f"{where}: more than {self.limits.nodes} nodes")

    def _layout(self, name: str, at: int, where: str) -> _Layout:
        """The vtable at a position, checked."""
        data, schema = self.data, TABLES[name]
        if at & 1 or not 4 <= at <= len(data) - 4:
            raise FormatError(f"{where}: the offset {at} of a vtable is outside or not aligned")
        length, size = unpack_from("<HH", data, at)
        count = (length - 4) // 2
        if length & 1 or length < 4 or at + length > len(data) or size < 4:
            raise FormatError(f"{where}: the vtable at {at} is damaged")
        if count > len(schema):
            raise FormatError(f"{where}: {name} has fields this version does not know")
        offsets = unpack_from(f"<{count}H", data, at + 4)
        present = sorted((o, i) for i, o in enumerate(offsets) if o)
        layout = _make_layout(name, size, present, where)
        self._layouts[name, at] = layout
        if at not in self._vtables:
            self._vtables.add(at)
            self._spans.append((at, at + length))
        return layout

    # -- what fields refer to ---------------------------------------------------------------

    def _child(self, item: str, at: int, depth: int, where: str) -> Any:
        return self._table(item, at, depth + 1, where)

    def _string(self, item: str, at: int, depth: int, where: str) -> str:
        known = self._strings.get(at)
        if known is not None:
            return known
        data = self.data
        if at & 3 or not 4 <= at <= len(data) - 5:
            raise FormatError(f"{where}: the offset {at} of a string is outside or not aligned")
        (length,) = unpack_from("<I", data, at)
        end = at + 4 + length
        if end >= len(data) or data[end]:
            raise FormatError(f"{where}: the string at {at} reaches past the end or has no end mark")
        if length > self.limits.name and where.rpartition(".")[2] in NAMES:
            raise FormatError(f"{where}: a name of {length} bytes: expected at most {self.limits.name}")
        try:
            text = str(data[at + 4 : end], "utf-8")
        except UnicodeDecodeError:
            raise FormatError(f"{where}: the string at {at} is not valid UTF-8") from None
        self._spans.append((at, end + 1))
        self._strings[at] = text
        return text

    def _vector(self, at: int, itemsize: int, where: str) -> int:
        """Number of items of a vector whose bytes have been checked."""
        if at & 3 or not 4 <= at <= len(self.data) - 4 or (at + 4) % itemsize:
            raise FormatError(f"{where}: the offset {at} of a list is outside or not aligned")
        (count,) = unpack_from("<I", self.data, at)
        end = at + 4 + count * itemsize
        if end > len(self.data):
            raise FormatError(f"{where}: a list of {count} items reaches past the end")
        if at in self._seen:
            raise FormatError(f"{where}: the list at {at} is referred to twice")
        self._seen.add(at)
        self._spans.append((at, end))
        return int(count)

    def _numbers(self, item: str, at: int, depth: int, where: str) -> Sequence[Any] | np.ndarray:
        count = self._vector(at, _SIZES[item], where)
        if count > LONG or item == "B":
            return np.frombuffer(self.data, f"<{item}" if item != "B" else np.uint8, count, at + 4)
        return unpack_from(f"<{count}{item}", self.data, at + 4)

    def _texts(self, item: str, at: int, depth: int, where: str) -> tuple[str, ...]:
        count = self._vector(at, 4, where)
        known, out, slot = self._strings, [], at + 4
        for offset in unpack_from(f"<{count}I", self.data, slot):
            target = slot + offset
            text = known.get(target)
            out.append(self._string(item, target, depth, where) if text is None else text)
            slot += 4
        return tuple(out)

    def _tables(self, item: str, at: int, depth: int, where: str) -> list[Any]:
        count = self._vector(at, 4, where)
        out, slot = [], at + 4
        for offset in unpack_from(f"<{count}I", self.data, slot):
            out.append(self._table(item, slot + offset, depth + 1, where))
            slot += 4
        return out


_READ: dict[str, Callable[..., Any]] = {
    "table": Verifier._child,
    "string": Verifier._string,
    "numbers": Verifier._numbers,
    "strings": Verifier._texts,
    "tables": Verifier._tables,
}


@cache
def _defaults(name: str) -> tuple[Any, ...]:
    return tuple(_EMPTY.get(kind, ()) for _, kind, _ in TABLES[name])


def _make_layout(name: str, size: int, present: list[tuple[int, int]], where: str) -> _Layout:
    """How to read the fields at these offsets of a table."""
    parts, end, residues = ["<"], 0, set()
    scalars, references = [], []
    for position, (offset, field) in enumerate(present):
        label, kind, item = TABLES[name][field]
        code = item if kind == "number" else "I"
        width = _SIZES[code]
        if offset < max(end, 4) or offset + width > size or offset % min(width, 4):
            raise FormatError(f"{where}: the field {name}.{label} lies outside its table or on another field")
        if width == 8:
            residues.add(offset & 7)
        parts += [f"{offset - end}x", code]
        end = offset + width
        if kind == "number":
            scalars.append((position, field))
        else:
            references.append((position, field, offset, kind, item, f"{name}.{label}"))
    if len(residues) > 1:
        raise FormatError(f"{where}: the fields of {name} are not aligned")
    residue = residues.pop() if residues else -1
    return _Layout(size, Struct("".join(parts)), residue, tuple(scalars), tuple(references))
