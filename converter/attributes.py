"""AttributeDef → Python values → the fields of an operator's class."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Union, get_args, get_origin

import numpy as np

from converter.tensors import sparse_to_array, to_array
from converter.types import to_fact
from numba_rt.errors import LoadError
from numba_rt.format.definition import AttributeDef, AttributeType, GraphDef
from numba_rt.graph import Fact, Graph
from numba_rt.ops._op import Op, attribute_types

_T = AttributeType


def read_attributes(
    attributes: Iterable[AttributeDef], given: Mapping[str, Any], where: str
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
            out[attribute.name] = read_attribute(attribute, where)
    return out


def read_attribute(attribute: AttributeDef, where: str) -> Any:
    """One attribute's value: int, float, str, array, GraphDef, Fact, or a tuple of them."""
    where = f"{where}: attribute {attribute.name!r}"
    kind = attribute.type
    if attribute.blob is not None and attribute.blob.source is not None:
        data = attribute.blob.source.strings(where)
        raise LoadError(f"{where} is not valid UTF-8: {(data or [b''])[0][:40]!r}")
    if kind in _FIELD:
        return getattr(attribute, _FIELD[kind])
    if kind in (_T.INTS, _T.FLOATS):
        return _numbers(attribute.ints if kind == _T.INTS else attribute.floats)
    if kind == _T.STRINGS:
        return tuple(attribute.strings)
    if kind == _T.TENSOR and attribute.t is not None:
        return to_array(attribute.t, where)
    if kind == _T.SPARSE_TENSOR and attribute.sparse_tensor is not None:
        return sparse_to_array(attribute.sparse_tensor, where)
    if kind == _T.GRAPH and attribute.g is not None:
        return attribute.g
    if kind == _T.TYPE_PROTO:
        return to_fact(attribute.tp, where)
    raise LoadError(f"{where} has the type {_type_name(kind)}, which is not supported")


_FIELD: dict[int, str] = {_T.INT: "i", _T.FLOAT: "f", _T.STRING: "s"}


def _numbers(values: Sequence[Any] | np.ndarray) -> tuple[Any, ...]:
    return tuple(values.tolist() if isinstance(values, np.ndarray) else values)


def make_op(cls: type[Op], attributes: Mapping[str, Any], filled: Mapping[str, int], where: str) -> Op:
    """The operator with its attributes checked against the class's annotations.

    Args:
        cls: the operator's class.
        attributes: values by name; subgraphs are Graphs by now.
        filled: n_outputs and n_captures, for classes with fields of those names.
        where: names the node in errors.
    """
    expected = attribute_types(cls)
    fields: dict[str, Any] = {k: v for k, v in filled.items() if k in expected}
    for name, value in attributes.items():
        if name in fields:
            raise LoadError(f"{where}: unknown attribute {name!r}")
        if name in expected:
            fields[name] = checked(value, expected[name], f"{where}: attribute {name!r}")
        else:
            known = sorted(expected.keys() - filled.keys())
            raise LoadError(f"{where}: unknown attribute {name!r}; {cls.op_type} has {known}")
    for field in dataclasses.fields(cls):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in fields:
            raise LoadError(f"{where}: attribute {field.name!r} is missing")
    return cls(**fields)


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
    GraphDef: "graph",
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
    if isinstance(value, (GraphDef, Graph)):
        return repr(value.name)
    text = repr(value)
    return text if len(text) < 80 else text[:77] + "..."


def _type_name(kind: int) -> str:
    return AttributeType(kind).name if kind in tuple(AttributeType) else str(kind)
