"""RTen files for tests: what RTen's own converter makes of ONNX models, and small ones written by hand."""

from __future__ import annotations

import contextlib
import io
import struct
from typing import Any

import flatbuffers
import numpy as np
import onnx
from rten_convert import converter
from rten_convert.tensor_data import TensorDataBuilder

from converter.rten_attributes import _fields
from converter.rten_schema import ATTRIBUTES, DTYPES, ENUMS, OPERATORS


def converted(model: onnx.ModelProto, version: int = 2, **about: str) -> bytes:
    """The file that RTen's converter makes."""
    with contextlib.redirect_stderr(io.StringIO()):
        graph = converter.graph_from_onnx_graph(model.graph)
        tensors = TensorDataBuilder() if version == 2 else None
        nodes = bytes(converter.serialize_model(graph, converter.Metadata(**about), tensors))
    if tensors is None:
        return nodes
    file = io.BytesIO()
    start = -(-(32 + len(nodes)) // 64) * 64
    converter.write_header(file, 32, len(nodes), start)
    file.write(nodes + bytes(start - 32 - len(nodes)))
    tensors.write(file)
    return file.getvalue()


def written(
    op_type: str, inputs: list[str | None], n_outputs: int = 1, table: str = "", **attributes: Any
) -> bytes:
    """A version 1 file of one operator that RTen's published converter does not know.

    Inputs are given by dtype ("" for no dtype, as in old files), None for an absent one; `table` names
    the attributes' table if it is another operator's.
    """
    b = flatbuffers.Builder(1024)
    tag = next((i for i, (name, _) in enumerate(ATTRIBUTES, 1) if name == (table or op_type)), 0)
    operator = _operator(b, op_type, tag, inputs, n_outputs, attributes)
    nodes = [_node(b, "operator", 1, operator)]
    for i, dtype in enumerate(inputs):
        if dtype is not None:
            nodes.append(_node(b, f"i{i}", 3, _value(b, dtype)))
    first = len(nodes)
    nodes += [_node(b, f"o{i}", 3, _value(b, "")) for i in range(n_outputs)]
    fields = [(0, "ref", _offsets(b, nodes)), (1, "ref", _ints(b, range(1, first)))]
    graph = _table(b, 4, [*fields, (2, "ref", _ints(b, range(first, first + n_outputs)))])
    b.Finish(_table(b, 3, [(0, "i", 1), (1, "ref", graph)]), b"RTEN")
    return bytes(b.Output())


def _operator(
    b: Any, op_type: str, tag: int, inputs: list[str | None], n_outputs: int, attributes: dict[str, Any]
) -> int:
    fields: list[Any] = []
    for number, name, kind, _ in _fields(tag) if tag else ():
        if name in attributes:
            value = attributes[name]
            fields.append((number, "B" if kind in ENUMS else kind, value))
    made = _table(b, 12, fields)
    numbers = iter(range(1, 100))
    ins = _ints(b, [-1 if dtype is None else next(numbers) for dtype in inputs])
    outs = _ints(b, [next(numbers) for _ in range(n_outputs)])
    head = [(0, "B", OPERATORS.index(op_type)), (3, "ref", ins), (4, "ref", outs)]
    return _table(b, 5, [*head, *([(1, "B", tag), (2, "ref", made)] if tag else [])])


def _value(b: Any, dtype: str) -> int:
    names = [str(d) for d in DTYPES]
    return _table(b, 2, [(1, "B", names.index(dtype))] if dtype else [])


def _node(b: Any, name: str, kind: int, body: int) -> int:
    text = b.CreateString(name)
    return _table(b, 3, [(0, "ref", text), (1, "B", kind), (2, "ref", body)])


def _table(b: Any, size: int, fields: list[tuple[int, str, Any]]) -> int:
    put = {"f": b.PrependFloat32, "i": b.PrependInt32, "I": b.PrependUint32, "B": b.PrependUint8}
    put |= {"bool": b.PrependBool, "ref": b.PrependUOffsetTRelative}
    b.StartObject(size)
    for number, kind, value in fields:
        put[kind](value)
        b.Slot(number)
    return b.EndObject()


def _ints(b: Any, numbers: Any) -> int:
    return b.CreateNumpyVector(np.array(list(numbers), np.int32))


def _offsets(b: Any, offsets: list[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return b.EndVector()


def header(version: int, start: int, size: int, rest: int) -> bytes:
    """The header of a version 2 file."""
    return struct.pack("<4sIQQQ", b"RTEN", version, start, size, rest)
