"""Functions: those a model brings along, and operators the standard defines by other operators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper

from converter.raw import RawNode
from converter.types import to_type
from numba_rt.errors import LoadError
from numba_rt.graph import Fact

MOST_NODES = 1_000_000
"""Nodes a model may have once its functions are expanded."""

Key = tuple[str, str, str]


def function_key(function: onnx.FunctionProto | onnx.NodeProto | RawNode) -> Key:
    """Domain, name and overload, which together identify a function."""
    name = function.name if isinstance(function, onnx.FunctionProto) else function.op_type
    domain = "" if function.domain == "ai.onnx" else function.domain
    return domain, name, function.overload


def check_functions(graph: onnx.GraphProto, functions: Mapping[Key, onnx.FunctionProto]) -> None:
    """Refuse functions that call themselves, or that expand to more than MOST_NODES nodes."""
    sizes: dict[Key, int] = {}
    for root in functions:
        stack: list[tuple[Key, bool]] = [(root, False)]
        active: list[Key] = []
        while stack:
            key, done = stack.pop()
            body = functions[key].node
            if done:
                active.pop()
                sizes[key] = _size(body, sizes)
            elif key not in sizes:
                if key in active:
                    names = " → ".join(k[1] for k in [*active[active.index(key) :], key])
                    raise LoadError(f"functions call each other in a cycle: {names}")
                active.append(key)
                stack.append((key, True))
                called = {function_key(n) for n in _all_nodes(body)} & functions.keys()
                if cycle := next((k for k in called if k in active), None):
                    names = " → ".join(k[1] for k in [*active[active.index(cycle) :], cycle])
                    raise LoadError(f"functions call each other in a cycle: {names}")
                stack.extend((k, False) for k in sorted(called) if k not in sizes)
    total = _size(graph.node, sizes)
    if total > MOST_NODES:
        raise LoadError(f"the model has {total} nodes once its functions are expanded: at most {MOST_NODES}")


def _size(nodes: Iterable[onnx.NodeProto], sizes: Mapping[Key, int]) -> int:
    return sum(sizes.get(function_key(n), 1) for n in _all_nodes(nodes))


def _all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterable[onnx.NodeProto]:
    """The nodes and those of their subgraphs."""
    stack = list(nodes)
    while stack:
        node = stack.pop()
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                stack.extend(attribute.g.node)


def schema_of(node: RawNode) -> Any:
    """The newest definition of a standard operator, None for others."""
    try:
        return defs.get_schema(node.op_type, node.domain)
    except defs.SchemaError:
        return None


def schema_function(node: RawNode, facts: Sequence[Fact | None]) -> onnx.FunctionProto | None:
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


def _parsed(data: bytes) -> onnx.FunctionProto:
    function = onnx.FunctionProto()
    function.ParseFromString(data)
    return function


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
    elif value == ():
        return helper.make_attribute(key, [], attr_type=onnx.AttributeProto.INTS)
    return helper.make_attribute(key, list(value) if isinstance(value, tuple) else value)
