"""Optimised graph → its definition in a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any

import numpy as np

from numba_rt.dtypes import NUMPY_TO_ONNX, STRING
from numba_rt.errors import FormatError
from numba_rt.format.definition import Entry, Held, TensorDef
from numba_rt.format.ready_definition import (
    Factor,
    ReadyDef,
    ReadyFact,
    ReadyGraph,
    ReadyNode,
    Setting,
    Size,
    Term,
)
from numba_rt.graph import Dim, Fact, Graph, Node, Sym, Value
from numba_rt.ops._op import Op
from numba_rt.ops.elementwise import Step


class SettingKind(IntEnum):
    """What a field of an operator is made of."""

    NONE = 0
    BOOL = 1
    INT = 2
    FLOAT = 3
    STR = 4
    INTS = 5
    FLOATS = 6
    STRS = 7
    TUPLE = 8
    ARRAY = 9
    SCALAR = 10
    SIZES = 11
    GRAPH = 12
    FACT = 13
    DTYPE = 14
    OP = 15
    STEP = 16


_K = SettingKind


def freeze(graph: Graph, declared: Sequence[Fact], rewrites: Iterable[tuple[str, str]]) -> ReadyDef:
    """The definition of an optimised graph.

    Args:
        graph: what the optimiser made.
        declared: facts of the outputs as the model declares them.
        rewrites: rule and node of each rewrite that was made.

    Raises:
        FormatError: an operator has a field of a kind that cannot be stored.
    """
    made = _Freezer()
    body = made.graph(graph)
    return ReadyDef(
        sizes=made.sizes,
        facts=made.facts,
        graph=body,
        declared=[made.fact(f) for f in declared],
        metadata=[Entry(k, v) for k, v in graph.metadata.items()],
        report=[Entry(rule, node) for rule, node in rewrites],
    )


class _Freezer:
    """Numbers sizes and facts, each of which is stored once."""

    def __init__(self) -> None:
        self.sizes: list[Size] = []
        self.facts: list[ReadyFact] = []
        self._size_of: dict[object, int] = {}
        self._fact_of: dict[object, int] = {}

    def graph(self, graph: Graph) -> ReadyGraph:
        """A graph, its constants as they lie in memory."""
        numbers: dict[int, int] = {}
        constants = _constants(graph)
        for value in (*graph.inputs, *constants, *(v for n in graph.nodes for v in n.outputs)):
            numbers[id(value)] = len(numbers)
        return ReadyGraph(
            graph.name,
            [v.name for v in graph.inputs],
            [self.fact(v.fact) for v in graph.inputs],
            [_tensor(v.constant, v.name) for v in constants],
            [self._node(n, numbers) for n in graph.nodes],
            [numbers[id(v)] for v in graph.outputs],
        )

    def _node(self, node: Node, numbers: dict[int, int]) -> ReadyNode:
        return ReadyNode(
            node.name,
            node.op.op_type,
            node.op.domain,
            self._settings(node.op),
            [-1 if v is None else numbers[id(v)] for v in node.inputs],
            [v.name for v in node.outputs],
            [self.fact(v.fact) for v in node.outputs],
        )

    def _settings(self, op: Op) -> list[Setting]:
        """The fields that differ from the class's defaults."""
        out = []
        for field in dataclasses.fields(op):
            value = getattr(op, field.name)
            if type(value) is type(field.default) and _is_equal(value, field.default):
                continue
            setting = self._setting(value, f"{op.op_type}.{field.name}")
            setting.name = field.name
            out.append(setting)
        return out

    def _setting(self, value: Any, where: str) -> Setting:
        simple = _simple(value)
        if simple is not None:
            return simple
        if isinstance(value, tuple):
            return Setting(kind=_K.TUPLE, items=[self._setting(v, where) for v in value])
        if isinstance(value, np.generic):
            return Setting(kind=_K.SCALAR, tensor=_tensor(np.asarray(value), ""))
        if isinstance(value, np.ndarray):
            if value.dtype == STRING and any(not isinstance(v, str) for v in value.reshape(-1)):
                places = [self.size(d) for d in value.reshape(-1).tolist()]
                return Setting(kind=_K.SIZES, integers=[value.ndim, *value.shape, *places])
            return Setting(kind=_K.ARRAY, tensor=_tensor(value, ""))
        if isinstance(value, Graph):
            return Setting(kind=_K.GRAPH, graph=self.graph(value))
        if isinstance(value, Fact):
            return Setting(kind=_K.FACT, integer=self.fact(value))
        if isinstance(value, np.dtype) and value in NUMPY_TO_ONNX:
            return Setting(kind=_K.DTYPE, integer=NUMPY_TO_ONNX[value])
        if isinstance(value, Op):
            return Setting(kind=_K.OP, text=value.domain, texts=[value.op_type], items=self._settings(value))
        if isinstance(value, Step):
            return Setting(kind=_K.STEP, integers=value.args, items=[self._setting(value.op, where)])
        raise FormatError(f"{where} is a {type(value).__name__}, which cannot be stored")

    def fact(self, fact: Fact) -> int:
        """Number of a fact without its value."""
        shape = None if fact.shape is None else tuple(self.size(d) for d in fact.shape)
        key = (fact.dtype, fact.kind, shape)
        if key not in self._fact_of:
            self._fact_of[key] = len(self.facts)
            code = NUMPY_TO_ONNX[fact.dtype]
            self.facts.append(ReadyFact(fact.kind, code, shape is not None, shape or ()))
        return self._fact_of[key]

    def size(self, dim: Dim) -> int:
        """Number of a size."""
        if dim not in self._size_of:
            made = self._size(dim)
            self._size_of[dim] = len(self.sizes)
            self.sizes.append(made)
        return self._size_of[dim]

    def _size(self, dim: Dim) -> Size:
        if not isinstance(dim, Sym):
            return Size(int(dim))
        terms = []
        for names, coefficient in dim.terms.items():
            terms.append(Term(coefficient, [self._factor(name, dim) for name in names]))
        return Size(0, terms)

    def _factor(self, name: str, dim: Sym) -> Factor:
        if name not in dim.atoms:
            return Factor(name)
        operation, left, right = dim.atoms[name]
        return Factor("", operation, self._size(left), self._size(right))


def _is_equal(value: Any, default: Any) -> bool:
    """Whether two plain values are the same; 0.0 and -0.0 are not."""
    return isinstance(value, bool | int | float | str | tuple | type(None)) and repr(value) == repr(default)


def _simple(value: Any) -> Setting | None:
    """Settings of plain values; float and int are told apart, bool from int too."""
    if value is None:
        return Setting(kind=_K.NONE)
    if type(value) is bool:
        return Setting(kind=_K.BOOL, integer=int(value))
    if type(value) is int:
        return Setting(kind=_K.INT, integer=value)
    if type(value) is float:
        return Setting(kind=_K.FLOAT, number=value)
    if type(value) is str:
        return Setting(kind=_K.STR, text=value)
    if isinstance(value, tuple) and value:
        if all(type(v) is int for v in value):
            return Setting(kind=_K.INTS, integers=value)
        if all(type(v) is float for v in value):
            return Setting(kind=_K.FLOATS, numbers=value)
        if all(type(v) is str for v in value):
            return Setting(kind=_K.STRS, texts=value)
    return None


def _constants(graph: Graph) -> list[Value]:
    return [v for v in graph.values() if v.is_constant]


def _tensor(array: np.ndarray | None, name: str) -> TensorDef:
    """An array as it lies in memory: elements of few bits take a byte each."""
    assert array is not None
    code = NUMPY_TO_ONNX.get(array.dtype)
    if code is None:
        raise FormatError(f"the constant {name!r} has dtype {array.dtype}, which cannot be stored")
    if array.dtype == STRING:
        texts = [str(x).encode() for x in array.reshape(-1).tolist()]
        return TensorDef(name, code, array.shape, source=Held(texts))
    return TensorDef(name, code, array.shape, source=Held(np.ascontiguousarray(array)))
