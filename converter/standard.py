"""Operators that the standard defines by other operators: only these need the onnx package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper

from converter.from_onnx import FromOnnx
from converter.raw import RawNode
from converter.to_onnx import ToOnnx
from numba_rt.dtypes import NUMPY_TO_ONNX
from numba_rt.format.definition import FunctionDef, GraphDef
from numba_rt.graph import Fact, Sym


def newest_opset() -> int:
    """The opset of the definitions."""
    return int(defs.onnx_opset_version())


def schema_of(node: RawNode) -> Any:
    """The newest definition of a standard operator, None for others."""
    try:
        return defs.get_schema(node.op_type, node.domain)
    except defs.SchemaError:
        return None


def schema_function(node: RawNode, facts: Sequence[Fact | None]) -> FunctionDef | None:
    """The body by which the standard defines an operator, None if there is none for these inputs."""
    schema = schema_of(node)
    if schema is None:
        return None
    if schema.has_function:
        newest = max(schema.function_opset_versions)
        return _parsed(schema.get_function_with_opset_version(newest))
    if not schema.has_context_dependent_function or any(f is not None and f.dtype == object for f in facts):
        return None
    newest = max(schema.context_dependent_function_opset_versions)
    types = [(onnx.TypeProto() if f is None else to_type(f)).SerializeToString() for f in facts]
    encoded = _encoded(node).SerializeToString()
    made = schema.get_context_dependent_function_with_opset_version(newest, encoded, types)
    return _parsed(made) if made else None


def with_defaults(node: RawNode) -> dict[str, Any]:
    """The node's attributes, and the standard's defaults for those it leaves out."""
    schema = schema_of(node)
    out: dict[str, Any] = {}
    for name, attribute in schema.attributes.items() if schema is not None else ():
        default = attribute.default_value
        if default.type != onnx.AttributeProto.UNDEFINED:
            value = helper.get_attribute_value(default)
            out[name] = value.decode() if isinstance(value, bytes) else value
    return out | node.attributes


def _parsed(data: bytes) -> FunctionDef:
    function = onnx.FunctionProto()
    function.ParseFromString(data)
    return FromOnnx().function(function)


def _encoded(node: RawNode) -> onnx.NodeProto:
    """The node as the onnx package wants it."""
    made = helper.make_node(node.op_type, node.inputs, node.outputs, node.name, domain=node.domain)
    made.attribute.extend(_attribute(k, v) for k, v in node.attributes.items())
    return made


def _attribute(key: str, value: Any) -> onnx.AttributeProto:
    if isinstance(value, np.ndarray):
        value = numpy_helper.from_array(value)
    elif isinstance(value, Fact):
        value = to_type(value)
    elif isinstance(value, GraphDef):
        made = onnx.GraphProto()
        ToOnnx().graph(made, value)
        value = made
    elif value == ():
        return helper.make_attribute(key, [], attr_type=onnx.AttributeProto.INTS)
    return helper.make_attribute(key, list(value) if isinstance(value, tuple) else value)


def to_type(fact: Fact) -> onnx.TypeProto:
    """The declaration of a fact."""
    out = onnx.TypeProto()
    if fact.kind == "sequence":
        out.sequence_type.elem_type.CopyFrom(to_type(Fact(fact.dtype, fact.shape)))
    elif fact.kind.startswith("optional"):
        inner = Fact(fact.dtype, fact.shape, None, "tensor" if fact.kind == "optional" else "sequence")
        out.optional_type.elem_type.CopyFrom(to_type(inner))
    else:
        out.tensor_type.elem_type = NUMPY_TO_ONNX[fact.dtype]
        if fact.shape is not None:
            out.tensor_type.shape.SetInParent()
            for dim in fact.shape:
                made = out.tensor_type.shape.dim.add()
                if isinstance(dim, Sym):
                    made.dim_param = str(dim)
                else:
                    made.dim_value = int(dim)
    return out
