"""The model's definition → ModelProto or an .onnx file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from numba_rt.dtypes import from_onnx, stored_bytes
from numba_rt.errors import LoadError
from numba_rt.format import definition as d
from numba_rt.format.container import ALIGNMENT
from numba_rt.format.writer import replacing

LARGEST = 2**31 - 2**24
"""Bytes of tensors in an ONNX file; more go into a file beside it."""

_T = d.AttributeType


def to_proto(model: d.ModelDef) -> onnx.ModelProto:
    """The model as the onnx package has it.

    Raises:
        LoadError: a tensor cannot be read.
    """
    return ToOnnx().model(model)


def export(model: d.ModelDef, path: str | os.PathLike[str]) -> Path | None:
    """Write an .onnx file, and a file of tensors beside it if they are larger than ONNX allows.

    Returns:
        The file of tensors.

    Raises:
        LoadError: a tensor cannot be read, or the graph alone is too large for the format.
        OSError: a file cannot be written.
    """
    total = sum(_nbytes(t) for t in d.tensors_in(model))
    target = Path(path)
    if total <= LARGEST:
        _write(ToOnnx().model(model), target)
        return None
    beside = target.with_name(target.name + ".data")
    with replacing(beside) as file:
        proto = ToOnnx(file, beside.name).model(model)
    _write(proto, target)
    return beside


def _write(proto: onnx.ModelProto, path: Path) -> None:
    try:
        data = proto.SerializeToString(deterministic=True)
    except (ValueError, onnx.checker.ValidationError) as error:
        raise LoadError(f"the model cannot be written as ONNX: {error}") from error
    with replacing(path) as file:
        file.write(data)


def _nbytes(tensor: d.TensorDef) -> int:
    dtype = from_onnx(tensor.data_type)
    if dtype is None or tensor.data_type == onnx.TensorProto.STRING:
        return 0
    return stored_bytes(dtype, int(np.prod(np.array(tensor.dims, object))) if len(tensor.dims) else 1)


class ToOnnx:
    """Makes the messages of one model; tensors go to `file`, known as `location`, if there is one."""

    def __init__(self, file: BinaryIO | None = None, location: str = "") -> None:
        self.file = file
        self.location = location

    def model(self, m: d.ModelDef) -> onnx.ModelProto:
        """A model."""
        out = onnx.ModelProto()
        _set(out, m, "ir_version", "producer_name", "producer_version", "domain", "doc_string")
        if m.has_model_version:
            out.model_version = m.model_version
        _add_opsets(out.opset_import, m.opset_import)
        if m.graph is not None:
            self.graph(out.graph, m.graph)
        for f in m.functions:
            self._function(out.functions.add(), f)
        _add_entries(out.metadata_props, m.metadata_props)
        for t in m.training_info:
            self._training(out.training_info.add(), t)
        _add_messages(out, "configuration", m.configuration)
        return out

    def graph(self, out: onnx.GraphProto, g: d.GraphDef) -> None:
        """Write a graph into `out`."""
        out.SetInParent()
        _set(out, g, "name", "doc_string")
        for n in g.node:
            self._node(out.node.add(), n)
        for field, infos in (("input", g.input), ("output", g.output), ("value_info", g.value_info)):
            _add_infos(getattr(out, field), infos)
        for t in g.initializer:
            self._tensor(out.initializer.add(), t)
        for s in g.sparse_initializer:
            self._sparse(out.sparse_initializer.add(), s)
        for a in g.quantization_annotation:
            made = out.quantization_annotation.add(tensor_name=a.tensor_name)
            _add_entries(made.quant_parameter_tensor_names, a.quant_parameter_tensor_names)
        _add_entries(out.metadata_props, g.metadata_props)

    def _function(self, out: onnx.FunctionProto, f: d.FunctionDef) -> None:
        _set(out, f, "name", "domain", "overload", "doc_string")
        out.input.extend(f.input)
        out.output.extend(f.output)
        out.attribute.extend(f.attribute)
        for a in f.attribute_proto:
            self._attribute(out.attribute_proto.add(), a)
        for n in f.node:
            self._node(out.node.add(), n)
        _add_opsets(out.opset_import, f.opset_import)
        _add_infos(out.value_info, f.value_info)
        _add_entries(out.metadata_props, f.metadata_props)

    def _node(self, out: onnx.NodeProto, n: d.NodeDef) -> None:
        _set(out, n, "op_type", "name", "domain", "overload", "doc_string")
        out.input.extend(n.input)
        out.output.extend(n.output)
        for a in n.attribute:
            self._attribute(out.attribute.add(), a)
        _add_entries(out.metadata_props, n.metadata_props)
        _add_messages(out, "device_configurations", n.device_configurations)

    def _attribute(self, out: onnx.AttributeProto, a: d.AttributeDef) -> None:
        _set(out, a, "name", "ref_attr_name", "doc_string")
        out.type = a.type  # type: ignore[assignment]
        if a.ref_attr_name:
            return
        match a.type:
            case _T.FLOAT:
                out.f = a.f
            case _T.INT:
                out.i = a.i
            case _T.STRING:
                out.s = _texts(a, [a.s])[0]
            case _T.TENSOR if a.t is not None:
                self._tensor(out.t, a.t)
            case _T.GRAPH if a.g is not None:
                self.graph(out.g, a.g)
            case _T.FLOATS:
                out.floats.extend(a.floats)
            case _T.INTS:
                out.ints.extend(a.ints)
            case _T.STRINGS:
                out.strings.extend(_texts(a, a.strings))
            case _T.SPARSE_TENSOR if a.sparse_tensor is not None:
                self._sparse(out.sparse_tensor, a.sparse_tensor)
            case _T.TYPE_PROTO if a.tp is not None:
                set_type(out.tp, a.tp)
            case _:
                self._lists(out, a)

    def _lists(self, out: onnx.AttributeProto, a: d.AttributeDef) -> None:
        for t in a.tensors:
            self._tensor(out.tensors.add(), t)
        for g in a.graphs:
            self.graph(out.graphs.add(), g)
        for s in a.sparse_tensors:
            self._sparse(out.sparse_tensors.add(), s)
        for p in a.type_protos:
            set_type(out.type_protos.add(), p)

    def _tensor(self, out: onnx.TensorProto, t: d.TensorDef) -> None:
        out.SetInParent()
        _set(out, t, "name", "data_type", "doc_string")
        out.dims.extend(t.dims)
        _add_entries(out.metadata_props, t.metadata_props)
        where = f"tensor {t.name!r}"
        if t.source is None:
            raise LoadError(f"{where} has no elements")
        if t.data_type == onnx.TensorProto.STRING:
            out.string_data.extend(t.source.strings(where))
            return
        data = np.ascontiguousarray(t.source.read(where))
        if data.size != _nbytes(t):
            raise LoadError(f"{where} has {data.size} bytes of data: its dims and dtype need {_nbytes(t)}")
        if self.file is None or data.size < 1024:
            out.raw_data = data.tobytes()
            return
        self.file.write(bytes(-self.file.tell() % ALIGNMENT))
        place = {"location": self.location, "offset": str(self.file.tell()), "length": str(data.size)}
        for key, value in place.items():
            out.external_data.add(key=key, value=value)
        out.data_location = onnx.TensorProto.EXTERNAL
        self.file.write(data.data)

    def _sparse(self, out: onnx.SparseTensorProto, s: d.SparseTensorDef) -> None:
        out.SetInParent()
        if s.values is not None:
            self._tensor(out.values, s.values)
        if s.indices is not None:
            self._tensor(out.indices, s.indices)
        out.dims.extend(s.dims)

    def _training(self, out: onnx.TrainingInfoProto, t: d.TrainingInfoDef) -> None:
        if t.initialization is not None:
            self.graph(out.initialization, t.initialization)
        if t.algorithm is not None:
            self.graph(out.algorithm, t.algorithm)
        _add_entries(out.initialization_binding, t.initialization_binding)
        _add_entries(out.update_binding, t.update_binding)


def _set(out: Any, part: Any, *fields: str) -> None:
    """Set the fields that are not empty."""
    for field in fields:
        if value := getattr(part, field):
            setattr(out, field, value)


def _texts(attribute: d.AttributeDef, texts: Iterable[str]) -> list[bytes]:
    if attribute.blob is not None and attribute.blob.source is not None:
        return attribute.blob.source.strings(f"attribute {attribute.name!r}")
    return [t.encode() for t in texts]


def _add_opsets(out: Any, opsets: Iterable[d.OperatorSet]) -> None:
    for entry in opsets:
        out.add(domain=entry.domain, version=entry.version)


def _add_entries(out: Any, entries: Iterable[d.Entry]) -> None:
    for entry in entries:
        out.add(key=entry.key, value=entry.value)


def _add_messages(out: Any, field: str, data: Any) -> None:
    """Parse messages, each after its length; this onnx package may be too old to know the field."""
    encoded, at = bytes(data), 0
    if encoded and not hasattr(out, field):
        raise LoadError(f"the model has {field!r}, which the installed onnx package does not know")
    while at < len(encoded):
        end = at + 4 + int.from_bytes(encoded[at : at + 4], "little")
        try:
            getattr(out, field).add().ParseFromString(encoded[at + 4 : end])
        except DecodeError as error:
            raise LoadError(f"the model has {field!r} that are damaged: {error}") from error
        at = end


def _add_infos(out: Any, infos: Iterable[d.ValueInfoDef]) -> None:
    for info in infos:
        made = out.add()
        _set(made, info, "name", "doc_string")
        if info.type is not None:
            set_type(made.type, info.type)
        _add_entries(made.metadata_props, info.metadata_props)


def set_type(out: onnx.TypeProto, t: d.TypeDef) -> None:
    """Fill in a type."""
    out.SetInParent()
    _set(out, t, "denotation")
    if t.kind in (d.TypeKind.TENSOR, d.TypeKind.SPARSE_TENSOR):
        tensor = out.tensor_type if t.kind == d.TypeKind.TENSOR else out.sparse_tensor_type
        tensor.elem_type = t.elem_type
        if t.shape is not None:
            _set_shape(tensor.shape, t.shape)
    elif t.kind == d.TypeKind.OPAQUE:
        out.opaque_type.SetInParent()
        _set(out.opaque_type, t, "domain", "name")
    elif t.kind != d.TypeKind.NONE:
        _set_element(out, t)


def _set_element(out: onnx.TypeProto, t: d.TypeDef) -> None:
    element = t.element or d.TypeDef()
    if t.kind == d.TypeKind.MAP:
        out.map_type.key_type = t.elem_type
        set_type(out.map_type.value_type, element)
    elif t.kind == d.TypeKind.SEQUENCE:
        set_type(out.sequence_type.elem_type, element)
    else:
        set_type(out.optional_type.elem_type, element)


def _set_shape(out: onnx.TensorShapeProto, shape: d.ShapeDef) -> None:
    out.SetInParent()
    for dim in shape.dim:
        made = out.dim.add()
        if dim.kind == d.DimensionKind.VALUE:
            made.dim_value = dim.dim_value
        elif dim.kind == d.DimensionKind.NAME:
            made.dim_param = dim.dim_param
        _set(made, dim, "denotation")
