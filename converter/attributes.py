"""AttributeProto → Python values → the fields of an operator's class."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import numpy as np
import onnx

from converter.tensors import decode, sparse_to_array, to_array
from converter.types import to_fact
from numba_rt.errors import LoadError, UnsupportedOp
from numba_rt.graph import Fact, Graph
from numba_rt.ops._op import Op, attribute_types

_A = onnx.AttributeProto


def read_attributes(
    attributes: Any, given: Mapping[str, Any], directory: Path | None, where: str
) -> dict[str, Any]:
    """A node's attributes by name.

    One that refers to an attribute of the enclosing function takes its value from `given`, or is
    left out if the function's caller gave none.
    """
    out: dict[str, Any] = {}
    for attribute in attributes:
        if attribute.name in out:
            raise LoadError(f"{where}: attribute {attribute.name!r} is given twice")
        if attribute.ref_attr_name:
            if attribute.ref_attr_name in given:
                out[attribute.name] = given[attribute.ref_attr_name]
        else:
            out[attribute.name] = read_attribute(attribute, directory, where)
    return out


def read_attribute(attribute: onnx.AttributeProto, directory: Path | None, where: str) -> Any:
    """One attribute's value: int, float, str, array, GraphProto, Fact, or a tuple of them."""
    where = f"{where}: attribute {attribute.name!r}"
    kind = attribute.type or _kind_by_field(attribute)
    if kind == _A.INT:
        return int(attribute.i)
    if kind == _A.FLOAT:
        return float(attribute.f)
    if kind == _A.STRING:
        return decode(attribute.s, where)
    if kind == _A.INTS:
        return tuple(attribute.ints)
    if kind == _A.FLOATS:
        return tuple(attribute.floats)
    if kind == _A.STRINGS:
        return tuple(decode(s, where) for s in attribute.strings)
    if kind == _A.TENSOR:
        return to_array(attribute.t, directory, where)
    if kind == _A.SPARSE_TENSOR:
        return sparse_to_array(attribute.sparse_tensor, directory, where)
    if kind == _A.GRAPH:
        return attribute.g
    if kind == _A.TYPE_PROTO:
        return to_fact(attribute.tp, where)
    raise LoadError(f"{where} has the type {_type_name(kind)}, which is not supported")


def _kind_by_field(attribute: onnx.AttributeProto) -> int:
    """The type of an attribute that does not say it, as the first version of the format allowed."""
    kinds = {"f": _A.FLOAT, "i": _A.INT, "s": _A.STRING, "t": _A.TENSOR, "g": _A.GRAPH}
    kinds |= {"floats": _A.FLOATS, "ints": _A.INTS, "strings": _A.STRINGS}
    return next((kinds[f.name] for f, _ in attribute.ListFields() if f.name in kinds), _A.UNDEFINED)


def make_op(
    cls: type[Op], attributes: Mapping[str, Any], filled: Mapping[str, int], schema: Any, where: str
) -> Op:
    """The operator with its attributes checked against the class's annotations.

    Args:
        cls: the operator's class.
        attributes: values by name; subgraphs are Graphs by now.
        filled: n_outputs and n_captures, for classes with fields of those names.
        schema: the standard's definition, for attributes the class leaves out; may be None.
        where: names the node in errors.
    """
    expected = attribute_types(cls)
    fields: dict[str, Any] = {k: v for k, v in filled.items() if k in expected}
    for name, value in attributes.items():
        if name in fields:
            raise LoadError(f"{where}: unknown attribute {name!r}")
        if name in expected:
            fields[name] = checked(value, expected[name], f"{where}: attribute {name!r}")
        elif not _is_default(schema, name, value):
            if schema is not None and name in schema.attributes:
                raise UnsupportedOp(f"{where}: attribute {name!r} = {_short(value)} is not implemented")
            known = sorted(expected.keys() - filled.keys())
            raise LoadError(f"{where}: unknown attribute {name!r}; {cls.op_type} has {known}")
    for field in dataclasses.fields(cls):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in fields:
            raise LoadError(f"{where}: attribute {field.name!r} is missing")
    return cls(**fields)


def _is_default(schema: Any, name: str, value: Any) -> bool:
    if schema is None or name not in schema.attributes:
        return False
    default = schema.attributes[name].default_value
    if default.type == _A.UNDEFINED:
        return False
    return bool(np.all(onnx.helper.get_attribute_value(default) == _encoded(value)))


def _encoded(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def checked(value: Any, expected: Any, where: str) -> Any:
    """An attribute's value as the annotated type; others are refused."""
    options = get_args(expected) if get_origin(expected) in (Union, types.UnionType) else (expected,)
    for option in options:
        if option is type(None):
            continue
        made = _convert(value, option)
        if made is not None:
            return made
    names = " or ".join(_expected_name(o) for o in options if o is not type(None))
    raise LoadError(f"{where}: expected {names}, found {_found_name(value)} {_short(value)}")


def _convert(value: Any, expected: Any) -> Any:
    """The value as the annotated type, None if it is not of that type."""
    if get_origin(expected) is tuple:
        return _convert_tuple(value, get_args(expected)[0])
    return _CONVERSIONS.get(expected, lambda v: v)(value) if _is_instance(value, expected) else None


def _convert_tuple(value: Any, item: Any) -> tuple[Any, ...] | None:
    if not isinstance(value, tuple):
        return None
    made = tuple(_convert(v, item) for v in value)
    return None if any(m is None for m in made) else made


_CONVERSIONS: dict[Any, Callable[[Any], Any]] = {bool: bool}


def _is_instance(value: Any, expected: Any) -> bool:
    if expected is bool:
        return isinstance(value, int) and value in (0, 1)
    if expected is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, expected)


_NAMES = {
    bool: "bool (0 or 1)",
    np.ndarray: "tensor",
    str: "string",
    Graph: "graph",
    onnx.GraphProto: "graph",
    Fact: "type",
}


def _expected_name(expected: Any) -> str:
    if get_origin(expected) is tuple:
        return f"list of {_expected_name(get_args(expected)[0])}"
    return _NAMES.get(expected) or str(getattr(expected, "__name__", expected))


def _found_name(value: Any) -> str:
    if isinstance(value, tuple):
        return f"list of {_found_name(value[0])}" if value else "empty list"
    return "int" if type(value) is int else _expected_name(type(value))


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, (onnx.GraphProto, Graph)):
        return repr(value.name)
    text = repr(value)
    return text if len(text) < 80 else text[:77] + "..."


def _type_name(kind: int) -> str:
    try:
        return str(_A.AttributeType.Name(kind))
    except ValueError:
        return str(kind)
