"""ModelProto → the model's definition; tensors stay where they are until they are read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from converter.external import EXTERNAL, read_external
from converter.wire import Span
from numba_rt.dtypes import PACKED_BITS, STRING, dtype_name, from_onnx, stored_bytes
from numba_rt.errors import LoadError
from numba_rt.format import definition as d

if TYPE_CHECKING:
    import onnx

_T = d.AttributeType
_STRING = 8
_FIELDS: dict[str, tuple[str, ...]] = {
    "float_data": ("float32", "complex64"),
    "int64_data": ("int64",),
    "double_data": ("float64", "complex128"),
    "uint64_data": ("uint32", "uint64"),
    "string_data": ("object",),
}
"""Typed field → dtypes stored in it; all others are in int32_data."""


@dataclass(slots=True)
class ProtoData:
    """The elements of a TensorProto, or of the file it names."""

    tensor: onnx.TensorProto
    directory: Path | None

    def read(self, where: str) -> np.ndarray:
        """The bytes as raw_data has them."""
        tensor = self.tensor
        dtype = _dtype(tensor, where)
        count = _count(tensor)
        if tensor.data_location == EXTERNAL:
            if dtype == STRING:
                raise LoadError(f"{where} holds strings in external data: the standard does not allow it")
            return read_external(tensor, stored_bytes(dtype, count), self.directory, where)
        filled = [f for f in (*_FIELDS, "int32_data") if len(getattr(tensor, f))]
        if tensor.HasField("raw_data") and not (filled and not tensor.raw_data):
            if filled:
                raise LoadError(f"{where} has both raw_data and {filled[0]}: expected one of them")
            if dtype == STRING:
                raise LoadError(f"{where} holds strings in raw_data: expected string_data")
            data = tensor.raw_data
            return data.read(where) if isinstance(data, Span) else np.frombuffer(data, np.uint8)
        return _from_field(tensor, dtype, count, filled, where)

    def strings(self, where: str) -> list[bytes]:
        """The elements of string_data."""
        if self.tensor.HasField("raw_data") or self.tensor.data_location == EXTERNAL:
            self.read(where)  # raises
        _dtype(self.tensor, where)
        return list(self.tensor.string_data)


def _dtype(tensor: onnx.TensorProto, where: str) -> np.dtype[Any]:
    dtype = from_onnx(tensor.data_type)
    if dtype is None:
        raise LoadError(f"{where} has element type {tensor.data_type}, which is not known")
    if tensor.HasField("segment"):
        raise LoadError(f"{where} is stored in segments, which is not supported")
    return dtype


def _count(tensor: onnx.TensorProto) -> int:
    count = 1
    for dim in tensor.dims:
        count *= dim
    return count


def _from_field(
    tensor: onnx.TensorProto, dtype: np.dtype[Any], count: int, filled: list[str], where: str
) -> np.ndarray:
    field = next((f for f, names in _FIELDS.items() if dtype.name in names), "int32_data")
    if wrong := [f for f in filled if f != field]:
        raise LoadError(f"{where} of {dtype_name(dtype)} has its data in {wrong[0]}: expected {field}")
    data = getattr(tensor, field)
    bits = PACKED_BITS.get(dtype.name, 0)
    # Elements of 6 bits have an item each here; those of 4 and 2 share bytes as in raw_data.
    expected = stored_bytes(dtype, count) if bits in (2, 4) else count * (2 if dtype.kind == "c" else 1)
    if len(data) != expected:
        raise LoadError(
            f"{where} has {len(data)} items in {field}: expected {expected} for dims {list(tensor.dims)}"
        )
    return _encoded(data, dtype, field, bits)


def _encoded(data: Any, dtype: np.dtype[Any], field: str, bits: int) -> np.ndarray:
    """The items of a typed field as bytes."""
    array: np.ndarray
    if dtype.kind == "c":
        array = np.array(data, np.float32 if dtype.itemsize == 8 else np.float64)
    elif bits:
        codes: np.ndarray[Any, np.dtype[np.uint8]] = np.array(data, np.int32).astype(np.uint8)
        array = codes if bits < 6 else _six_bits(codes)
    elif field == "int32_data" and not (dtype.kind in "iub" and dtype.itemsize <= 4):
        array = np.array(data, np.int32).astype(f"u{dtype.itemsize}")
    elif field == "int32_data":
        array = np.array(data, np.int32).astype(dtype)
    else:
        array = np.array(data, dtype)
    return array.view(np.uint8)


def _six_bits(codes: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray:
    """Elements of 6 bits next to each other, the first in the low bits."""
    bits = np.unpackbits(codes[:, None], axis=1, bitorder="little")[:, :6]
    return np.packbits(bits.reshape(-1), bitorder="little")


class FromOnnx:
    """Converts the messages of one model; external data may come from `directory`."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory

    def model(self, m: onnx.ModelProto) -> d.ModelDef:
        """A model."""
        return d.ModelDef(
            m.ir_version,
            _opsets(m.opset_import),
            self.graph(m.graph),
            [self.function(f) for f in m.functions],
            m.producer_name,
            m.producer_version,
            m.domain,
            m.HasField("model_version"),
            m.model_version,
            m.doc_string,
            entries(m.metadata_props),
            [self._training(t) for t in m.training_info],
            messages(getattr(m, "configuration", ())),
        )

    def graph(self, g: onnx.GraphProto) -> d.GraphDef:
        """A graph."""
        return d.GraphDef(
            g.name,
            [self.node(n) for n in g.node],
            [value_info(v) for v in g.input],
            [value_info(v) for v in g.output],
            [self.tensor(t) for t in g.initializer],
            [self.sparse(s) for s in g.sparse_initializer],
            [value_info(v) for v in g.value_info],
            g.doc_string,
            [
                d.AnnotationDef(a.tensor_name, entries(a.quant_parameter_tensor_names))
                for a in g.quantization_annotation
            ],
            entries(g.metadata_props),
        )

    def function(self, f: onnx.FunctionProto) -> d.FunctionDef:
        """A function."""
        return d.FunctionDef(
            f.name,
            f.domain,
            f.overload,
            tuple(f.input),
            tuple(f.output),
            tuple(f.attribute),
            [self.attribute(a) for a in f.attribute_proto],
            [self.node(n) for n in f.node],
            _opsets(f.opset_import),
            [value_info(v) for v in f.value_info],
            f.doc_string,
            entries(f.metadata_props),
        )

    def node(self, n: onnx.NodeProto) -> d.NodeDef:
        """A node."""
        return d.NodeDef(
            n.op_type,
            tuple(n.input),
            tuple(n.output),
            [self.attribute(a) for a in n.attribute],
            n.name,
            n.domain,
            n.overload,
            n.doc_string,
            entries(n.metadata_props),
            messages(getattr(n, "device_configurations", ())),
        )

    def attribute(self, a: onnx.AttributeProto) -> d.AttributeDef:
        """An attribute; one that does not say its type gets that of the field which is filled."""
        kind = a.type or _kind_by_field(a)
        made = d.AttributeDef(a.name, kind, ref_attr_name=a.ref_attr_name, doc_string=a.doc_string)
        if a.ref_attr_name:
            return made
        match kind:
            case _T.FLOAT:
                made.f = a.f
            case _T.INT:
                made.i = a.i
            case _T.STRING:
                self._set_strings(made, [a.s])
            case _T.TENSOR:
                made.t = self.tensor(a.t)
            case _T.GRAPH:
                made.g = self.graph(a.g)
            case _T.FLOATS:
                made.floats = tuple(a.floats)
            case _T.INTS:
                made.ints = tuple(a.ints)
            case _T.STRINGS:
                self._set_strings(made, list(a.strings))
            case _T.TENSORS:
                made.tensors = [self.tensor(t) for t in a.tensors]
            case _T.GRAPHS:
                made.graphs = [self.graph(g) for g in a.graphs]
            case _T.SPARSE_TENSOR:
                made.sparse_tensor = self.sparse(a.sparse_tensor)
            case _T.SPARSE_TENSORS:
                made.sparse_tensors = [self.sparse(s) for s in a.sparse_tensors]
            case _T.TYPE_PROTO:
                made.tp = type_def(a.tp)
            case _T.TYPE_PROTOS:
                made.type_protos = [type_def(t) for t in a.type_protos]
        return made

    def _set_strings(self, made: d.AttributeDef, texts: list[bytes]) -> None:
        try:
            decoded = [t.decode("utf-8") for t in texts]
        except UnicodeDecodeError:
            made.blob = d.TensorDef("", _STRING, (len(texts),), source=d.Held(texts))
            return
        if made.type == _T.STRING:
            made.s = decoded[0]
        else:
            made.strings = tuple(decoded)

    def tensor(self, t: onnx.TensorProto) -> d.TensorDef:
        """A tensor, its elements still in the message."""
        return d.TensorDef(
            t.name,
            t.data_type,
            tuple(t.dims),
            doc_string=t.doc_string,
            metadata_props=entries(t.metadata_props),
            source=ProtoData(t, self.directory),
        )

    def sparse(self, s: onnx.SparseTensorProto) -> d.SparseTensorDef:
        """A sparse tensor."""
        return d.SparseTensorDef(self.tensor(s.values), self.tensor(s.indices), tuple(s.dims))

    def _training(self, t: onnx.TrainingInfoProto) -> d.TrainingInfoDef:
        return d.TrainingInfoDef(
            self.graph(t.initialization) if t.HasField("initialization") else None,
            self.graph(t.algorithm) if t.HasField("algorithm") else None,
            entries(t.initialization_binding),
            entries(t.update_binding),
        )


def _kind_by_field(attribute: onnx.AttributeProto) -> int:
    """The type of an attribute that does not say it, as the first version of the format allowed."""
    kinds = {"f": _T.FLOAT, "i": _T.INT, "s": _T.STRING, "t": _T.TENSOR, "g": _T.GRAPH}
    kinds |= {"floats": _T.FLOATS, "ints": _T.INTS, "strings": _T.STRINGS}
    lists = ("floats", "ints", "strings")
    filled = (k for n, k in kinds.items() if (getattr(attribute, n) if n in lists else attribute.HasField(n)))
    return next(filled, _T.UNDEFINED)


def _opsets(imports: Iterable[onnx.OperatorSetIdProto]) -> list[d.OperatorSet]:
    return [d.OperatorSet(entry.domain, entry.version) for entry in imports]


def entries(props: Iterable[onnx.StringStringEntryProto]) -> Sequence[d.Entry]:
    """Keys and values."""
    return [d.Entry(entry.key, entry.value) for entry in props]


def messages(parts: Iterable[Any]) -> np.ndarray:
    """Messages nobody here looks into, as bytes, each after its length."""
    encoded = [p if isinstance(p, bytes) else p.SerializeToString(deterministic=True) for p in parts]
    return np.frombuffer(b"".join(len(e).to_bytes(4, "little") + e for e in encoded), np.uint8)


def value_info(v: onnx.ValueInfoProto) -> d.ValueInfoDef:
    """Name and type of a value."""
    declared = type_def(v.type) if v.HasField("type") else None
    return d.ValueInfoDef(v.name, declared, v.doc_string, entries(v.metadata_props))


def type_def(t: onnx.TypeProto) -> d.TypeDef:
    """A type."""
    match t.WhichOneof("value"):
        case "tensor_type":
            kind, made = t.tensor_type, d.TypeDef(d.TypeKind.TENSOR, t.tensor_type.elem_type)
            made.shape = _shape(kind.shape) if kind.HasField("shape") else None
        case "sparse_tensor_type":
            sparse = t.sparse_tensor_type
            made = d.TypeDef(d.TypeKind.SPARSE_TENSOR, sparse.elem_type)
            made.shape = _shape(sparse.shape) if sparse.HasField("shape") else None
        case "sequence_type":
            made = d.TypeDef(d.TypeKind.SEQUENCE, element=type_def(t.sequence_type.elem_type))
        case "optional_type":
            made = d.TypeDef(d.TypeKind.OPTIONAL, element=type_def(t.optional_type.elem_type))
        case "map_type":
            made = d.TypeDef(d.TypeKind.MAP, t.map_type.key_type, element=type_def(t.map_type.value_type))
        case "opaque_type":
            made = d.TypeDef(d.TypeKind.OPAQUE, domain=t.opaque_type.domain, name=t.opaque_type.name)
        case _:
            made = d.TypeDef()
    made.denotation = t.denotation
    return made


def _shape(shape: onnx.TensorShapeProto) -> d.ShapeDef:
    dims = []
    for dim in shape.dim:
        said = dim.WhichOneof("value")
        kind = {"dim_value": d.DimensionKind.VALUE, "dim_param": d.DimensionKind.NAME}.get(
            said or "", d.DimensionKind.NOTHING
        )
        dims.append(d.DimensionDef(kind, dim.dim_value, dim.dim_param, dim.denotation))
    return d.ShapeDef(dims)
