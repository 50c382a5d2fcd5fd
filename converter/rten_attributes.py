"""Attributes of RTen's operators → those of ONNX."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from converter.rten_buffer import Table
from converter.rten_schema import ATTRIBUTES, DTYPES, ENUMS
from numba_rt.dtypes import NUMPY_TO_ONNX
from numba_rt.errors import LoadError
from numba_rt.format.definition import AttributeDef, AttributeType, GraphDef, Held, TensorDef

Field = tuple[int, str, str, int | float | None]
"""Number, ONNX's name, kind, default."""

_VECTORS = {"I[]": "I", "i[]": "i"}
_NUMBERS = {"bool": "?", "dtype": "B", **{k: k for k in "iIfB"}, **dict.fromkeys(ENUMS, "B")}


@cache
def _fields(tag: int) -> tuple[Field, ...]:
    out: list[Field] = []
    number = 0
    for entry in ATTRIBUTES[tag - 1][1].split():
        name, kind = entry.split(":")
        kind, _, default = kind.partition("=")
        start: int | float | None = float(default or 0) if kind == "f" else int(default or 0)
        if kind.endswith("?"):
            kind, start = kind[:-1], None
        number += kind == "scalar"  # a union: its tag stands before it
        out.append((number, name, kind, start))
        number += 1
    return tuple(out)


def read_attributes(node: Table, subgraph: Callable[[Table], GraphDef], where: str) -> dict[str, Any]:
    """The attributes of an operator by name; absent ones are left out."""
    tag, table = node.number(1, "B", 0) or 0, node.table(2)
    if not tag or table is None:
        return {}
    if tag > len(ATTRIBUTES):
        raise LoadError(f"{where} has attributes of kind {tag}, which this version does not know")
    out: dict[str, Any] = {}
    for number, name, kind, default in _fields(tag):
        value = _read(table, number, kind, default, subgraph, f"{where}: attribute {name!r}")
        if value is not None:
            out[name] = value
    return out


def _read(
    table: Table,
    number: int,
    kind: str,
    default: Any,
    subgraph: Callable[[Table], GraphDef],
    where: str,
) -> Any:
    if kind in _VECTORS:
        return table.integers(number, _VECTORS[kind])
    if kind == "text":
        return table.text(number)
    if kind == "graph":
        body = table.table(number)
        return None if body is None else subgraph(body)
    if kind == "scalar":
        return _scalar(table, number, where)
    value = table.number(number, _NUMBERS[kind], default)
    if value is None or (kind not in ENUMS and kind != "dtype"):
        return value
    names = DTYPES if kind == "dtype" else ENUMS[kind]
    if value >= len(names):
        raise LoadError(f"{where} = {value}: expected a number below {len(names)}")
    return NUMPY_TO_ONNX[DTYPES[value]] if kind == "dtype" else ENUMS[kind][value]


def _scalar(table: Table, number: int, where: str) -> np.ndarray:
    """One number of int32 or float32."""
    tag, inner = table.number(number - 1, "B", 0), table.table(number)
    if inner is None or tag not in (1, 2):
        raise LoadError(f"{where} is neither an int32 nor a float32")
    value = inner.number(0, "i" if tag == 1 else "f", 0)
    return np.array([value], np.int32 if tag == 1 else np.float32)


def standard_attributes(given: dict[str, Any], inputs: int) -> tuple[dict[str, Any], dict[int, np.ndarray]]:
    """ONNX's attributes, and constants for those that are inputs there, by position."""
    out, more = dict(given), {}
    if "axes" in out:
        axes = out.pop("axes")
        if inputs < 2:
            more[1] = np.array(axes, np.int64)
    if out.get("auto_pad") == "SAME_UPPER":
        out.pop("pads", None)
    # Vectors that change nothing may have more entries than there are axes.
    for name, neutral in (("pads", 0), ("strides", 1), ("dilations", 1), ("output_padding", 0)):
        if name in out and all(v == neutral for v in out[name]):
            del out[name]
    if "group" in out:
        out["group"] = max(out["group"], 1)
    return out, more


def attribute(name: str, value: Any) -> AttributeDef:
    """An attribute's definition."""
    if isinstance(value, str):
        return AttributeDef(name, AttributeType.STRING, s=value)
    if isinstance(value, float):
        return AttributeDef(name, AttributeType.FLOAT, f=value)
    if isinstance(value, list):
        return AttributeDef(name, AttributeType.INTS, ints=value)
    if isinstance(value, GraphDef):
        return AttributeDef(name, AttributeType.GRAPH, g=value)
    if isinstance(value, np.ndarray):
        tensor = TensorDef("", NUMPY_TO_ONNX[value.dtype], value.shape, source=Held(value))
        return AttributeDef(name, AttributeType.TENSOR, t=tensor)
    return AttributeDef(name, AttributeType.INT, i=int(value))
