"""RTen's graphs → definitions: values get names, operators ONNX's attributes and dtypes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from converter.rten_attributes import attribute, read_attributes, standard_attributes
from converter.rten_buffer import Buffer, Table
from converter.rten_schema import (
    BOOL_INPUTS,
    DTYPES,
    INLINE_DTYPES,
    INT64_INPUTS,
    INTEGER_INPUTS,
    NARROWED_OUTPUTS,
    OPERATORS,
    TRUTHS,
)
from numba_rt.dtypes import BOOL, FLOAT32, INT32, INT64, NUMPY_TO_ONNX
from numba_rt.errors import LoadError
from numba_rt.format.definition import (
    DimensionDef,
    DimensionKind,
    GraphDef,
    Held,
    NodeDef,
    ShapeDef,
    TensorDef,
    TypeDef,
    TypeKind,
    ValueInfoDef,
)
from numba_rt.format.limits import LIMITS

OPERATOR, CONSTANT, VALUE = 1, 2, 3
"""Kinds of nodes: tags of a union."""


class Reader:
    """One graph; subgraphs have readers of their own."""

    def __init__(self, table: Table, stored: np.ndarray, depth: int = 0) -> None:
        self.buffer: Buffer = table.buffer
        self.table, self.depth = table, depth
        self.stored = stored
        """Data of constants that are not among the nodes."""
        if depth > LIMITS.subgraphs:
            raise LoadError(f"{self.buffer.where}: graphs are nested more than {LIMITS.subgraphs} deep")
        self.nodes = table.tables(0)
        self.kinds = [n.number(1, "B", 0) for n in self.nodes]
        self.names = self._names()
        self.made: list[NodeDef] = []
        self.constants: list[TensorDef] = []
        self.others: dict[tuple[str, np.dtype[Any]], str] = {}
        """Names of values in other dtypes."""
        self.integers: set[str] = set()
        """Values that an operator reads as integers."""
        self._fresh = 0

    def _names(self) -> list[str]:
        """A name for each value and constant, its own unless another has it."""
        names, taken = [], set()
        for i, (node, kind) in enumerate(zip(self.nodes, self.kinds, strict=True)):
            name = node.text(0)
            if kind in (VALUE, CONSTANT):
                while not name or name in taken:
                    name = f"{name or 'value'}.{i}"
                taken.add(name)
            names.append(name)
        return names

    def read(self) -> GraphDef:
        """The graph."""
        bodies = [self._body(i) for i in range(len(self.nodes))]
        for i, kind in enumerate(self.kinds):
            if kind == CONSTANT:
                self._add_constant(bodies[i], self.names[i])
            elif kind == OPERATOR:
                self._add_operator(bodies[i], self.names[i])
        inputs = [self._info(i, bodies) for i in self._ids(self.table, 1, "I")]
        outputs = [self._info(i, bodies) for i in self._ids(self.table, 2, "I")]
        return GraphDef(node=self.made, input=inputs, output=outputs, initializer=self.constants)

    def _body(self, index: int) -> Table:
        body = self.nodes[index].table(2)
        if body is None or self.kinds[index] not in (OPERATOR, CONSTANT, VALUE):
            raise self.buffer.damaged(f"node {index} is neither operator nor constant nor value")
        return body

    def _ids(self, table: Table, field: int, code: str) -> list[int]:
        """Numbers of nodes that are values; -1 for absent ones."""
        out = []
        for index in table.integers(field, code) or []:
            if index >= len(self.nodes) or (index >= 0 and self.kinds[index] == OPERATOR):
                raise self.buffer.damaged(f"node {index} stands where a value should")
            out.append(max(index, -1))
        return out

    def _value_names(self, table: Table, field: int) -> list[str]:
        return [self.names[i] if i >= 0 else "" for i in self._ids(table, field, "i")]

    # -- constants and values ---------------------------------------------------------------

    def _add_constant(self, body: Table, name: str) -> None:
        shape = body.integers(0, "I") or []
        kind = body.number(1, "B", 0) or 0
        given = body.number(3, "H", None)
        number = kind - 1 if given is None else given
        known: tuple[np.dtype[Any], ...] = INLINE_DTYPES if given is None else DTYPES
        if kind > len(INLINE_DTYPES) or not 0 <= number < len(known):
            raise self.buffer.damaged(f"constant {name!r} has no known dtype")
        dtype = known[number]
        nbytes = math.prod(shape) * dtype.itemsize
        inline = body.table(2) if kind else None
        if inline is None:
            start = body.number(4, "Q", 0) or 0
            data: np.ndarray | None = self.stored[start : start + nbytes]
        else:
            data = inline.raw(0, dtype.itemsize) if INLINE_DTYPES[kind - 1] == dtype else None
        if data is None or data.size != nbytes:
            raise self.buffer.damaged(f"constant {name!r}: shape {shape} and data do not fit")
        self.constants.append(TensorDef(name, NUMPY_TO_ONNX[dtype], shape, source=Held(data)))

    def _info(self, index: int, bodies: list[Table]) -> ValueInfoDef:
        """Name, dtype and shape of an input or output; old files do not say dtypes."""
        if index < 0:
            raise self.buffer.damaged("an input or output is absent")
        name, body = self.names[index], bodies[index]
        if self.kinds[index] == CONSTANT:
            return ValueInfoDef(name)
        number = body.number(1, "B", None)
        if number is None:
            dtype: np.dtype[Any] = INT32 if name in self.integers else FLOAT32
        elif number < len(DTYPES):
            dtype = DTYPES[number]
        else:
            raise self.buffer.damaged(f"{name!r} has no known dtype")
        shape = ShapeDef([_dimension(dim) for dim in body.tables(0)]) if body.has(0) else None
        return ValueInfoDef(name, TypeDef(TypeKind.TENSOR, NUMPY_TO_ONNX[dtype], shape))

    # -- operators --------------------------------------------------------------------------

    def _add_operator(self, body: Table, name: str) -> None:
        number = body.number(0, "B", 0) or 0
        op_type = OPERATORS[number] if number < len(OPERATORS) else f"RTenOperator{number}"
        inputs, outputs = self._value_names(body, 3), self._value_names(body, 4)
        given = read_attributes(body, self._subgraph, f"{op_type} {name!r}")
        attributes, more = standard_attributes(given, len(inputs))
        if op_type in ("RandomNormalLike", "RandomUniformLike"):
            attributes["dtype"] = NUMPY_TO_ONNX[FLOAT32]
        for position, array in more.items():
            inputs += [""] * (position + 1 - len(inputs))
            inputs[position] = self._constant(array)
        self.integers.update(inputs[i] for i in INTEGER_INPUTS.get(op_type, ()) if i < len(inputs))
        if op_type == "Loop" and isinstance(attributes.get("body"), GraphDef):
            _give_loop_dtypes(attributes["body"])
        for dtype, positions in ((INT64, INT64_INPUTS), (BOOL, BOOL_INPUTS)):
            for i in positions.get(op_type, ()):
                if i < len(inputs) and inputs[i]:
                    inputs[i] = self._as(inputs[i], dtype)
        narrowed = []
        for i in NARROWED_OUTPUTS.get(op_type, ()):
            if i < len(outputs) and outputs[i]:
                wide = self._new_name(outputs[i])
                narrowed.append((wide, outputs[i]))
                self.others[outputs[i], BOOL if op_type in TRUTHS else INT64] = wide
                outputs[i] = wide
        op_type = "ScatterElements" if op_type == "Scatter" else op_type
        self.made.append(
            NodeDef(op_type, inputs, outputs, [attribute(k, v) for k, v in attributes.items()], name)
        )
        for wide, narrow in narrowed:
            self._cast(wide, narrow, INT32)

    def _subgraph(self, table: Table) -> GraphDef:
        return Reader(table, self.stored, self.depth + 1).read()

    def _new_name(self, wish: str) -> str:
        self._fresh += 1
        return f"{wish}/rten{self.depth}.{self._fresh}"

    def _as(self, name: str, dtype: np.dtype[Any]) -> str:
        """The name of a value in another dtype, which it perhaps had before it became int32."""
        if (name, dtype) not in self.others:
            self.others[name, dtype] = self._cast(name, self._new_name(name), dtype)
        return self.others[name, dtype]

    def _cast(self, source: str, target: str, dtype: np.dtype[Any]) -> str:
        self.made.append(cast(source, target, dtype))
        return target

    def _constant(self, array: np.ndarray) -> str:
        name = self._new_name("constant")
        self.constants.append(TensorDef(name, NUMPY_TO_ONNX[array.dtype], array.shape, source=Held(array)))
        return name


def cast(source: str, target: str, dtype: np.dtype[Any]) -> NodeDef:
    """A Cast between two names."""
    return NodeDef("Cast", [source], [target], [attribute("to", NUMPY_TO_ONNX[dtype])], f"{target}/Cast")


def _dimension(dim: Table) -> DimensionDef:
    """A size without a name; 0 stands for one that is not known."""
    name, size = dim.text(1), dim.number(0, "I", 0) or 0
    if name:
        return DimensionDef(DimensionKind.NAME, 0, name)
    return DimensionDef(DimensionKind.VALUE, size) if size else DimensionDef()


def _give_loop_dtypes(body: GraphDef) -> None:
    """Let a body take int64 and bool for its count and condition, and make bool, as ONNX has it."""
    before, after = [], []
    inputs, outputs = list(body.input), list(body.output)
    for i in range(min(2, len(inputs))):
        name = inputs[i].name
        inputs[i] = ValueInfoDef(f"{name}/wide")
        before.append(cast(f"{name}/wide", name, INT32))
    if outputs:
        name = outputs[0].name
        outputs[0] = ValueInfoDef(f"{name}/bool")
        after.append(cast(name, f"{name}/bool", BOOL))
    body.input, body.output, body.node = inputs, outputs, [*before, *body.node, *after]
