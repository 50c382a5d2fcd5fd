"""ONNX models in one form: what is not part of their meaning is made the same."""

from __future__ import annotations

from typing import Any

import onnx

from converter.from_onnx import ProtoData

GRAPH, STRING = onnx.AttributeProto.GRAPH, onnx.TensorProto.STRING


def normal(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with all elements in raw_data and without fields that are set to nothing."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _normalise(copy)
    return copy


def _normalise(message: Any) -> None:
    if isinstance(message, onnx.TensorProto):
        _to_raw(message)
    attribute = isinstance(message, onnx.AttributeProto)
    for field, value in list(message.ListFields()):
        if field.message_type is not None:
            for item in value if field.is_repeated else [value]:
                _normalise(item)
        elif not field.is_repeated and value in ("", 0) and field.name not in ("type", "dim_value"):
            oneof = field.containing_oneof is not None
            if not (attribute and field.name in ("f", "i")) and not oneof and field.name != "model_version":
                message.ClearField(field.name)
    if attribute and not message.ref_attr_name:
        _set_value(message)


def _set_value(a: onnx.AttributeProto) -> None:
    """Zero and empty text are values of attributes."""
    kinds = {1: ("f", 0.0), 2: ("i", 0), 3: ("s", b"")}
    if a.type in kinds:
        name, empty = kinds[a.type]
        setattr(a, name, getattr(a, name) or empty)
    for name in ("f", "i", "s"):
        if a.HasField(name) and name != kinds.get(a.type, ("",))[0]:
            a.ClearField(name)


def _to_raw(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == STRING:
        return
    data = ProtoData(tensor, None).read("tensor").tobytes()
    for field in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "data_location"):
        tensor.ClearField(field)
    tensor.raw_data = data
