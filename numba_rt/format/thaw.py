"""The definition of an optimised graph → the graph, its constants views of the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numba_rt.dtypes import BOOL, STRING, from_onnx
from numba_rt.errors import FormatError
from numba_rt.format.definition import TensorDef
from numba_rt.format.freeze import SettingKind
from numba_rt.format.ready_definition import ReadyDef, ReadyFact, ReadyGraph, ReadyNode, Setting, Size
from numba_rt.graph import Dim, Fact, Graph, Node, Sym, Value, dim_max, dim_min
from numba_rt.graph.dim import number_from
from numba_rt.ops import get
from numba_rt.ops._op import Op
from numba_rt.ops.elementwise import Step

_K = SettingKind
_OPERATIONS: dict[str, Callable[[Dim, Dim], Dim]] = {
    "//": lambda left, right: left // right,
    "%": lambda left, right: left % right,
    "max": dim_max,
    "min": dim_min,
}


def thaw(ready: ReadyDef) -> tuple[Graph, list[Fact], list[tuple[str, str]]]:
    """The graph, the facts of its outputs as the model declares them, and the rewrites that were made.

    Raises:
        FormatError: the definition is inconsistent.
    """
    try:
        made = _Thawer(ready)
        assert ready.graph is not None
        graph = made.graph(ready.graph)
        graph.metadata = {entry.key: entry.value for entry in ready.metadata}
        return graph, [made.facts[i] for i in ready.declared], [(e.key, e.value) for e in ready.report]
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"the optimised graph is inconsistent: {error}") from error


class _Thawer:
    def __init__(self, ready: ReadyDef) -> None:
        self.sizes = [self._size(s) for s in ready.sizes]
        self.facts = [self._fact(f) for f in ready.facts]

    def _size(self, size: Size) -> Dim:
        if not size.terms:
            return size.number
        total: Dim = 0
        for term in size.terms:
            product: Dim = term.coefficient
            for factor in term.factors:
                if factor.operation:
                    assert factor.left is not None and factor.right is not None
                    operands = self._size(factor.left), self._size(factor.right)
                    product = product * _OPERATIONS[factor.operation](*operands)
                else:
                    number_from(factor.name)
                    product = product * Sym(factor.name)
            total = total + product
        return total

    def _fact(self, fact: ReadyFact) -> Fact:
        dtype = from_onnx(fact.data_type)
        assert dtype is not None
        shape = tuple([self.sizes[i] for i in fact.shape]) if fact.has_shape else None
        return Fact(dtype, shape, None, fact.kind)

    def graph(self, ready: ReadyGraph) -> Graph:
        """A graph, with who reads what."""
        graph = Graph(ready.name)
        values = [Value(n, self.facts[f]) for n, f in zip(ready.inputs, ready.facts, strict=True)]
        graph.inputs = list(values)
        values += [Value(t.name, Fact.of(_array(t))) for t in ready.constants]
        for stored in ready.nodes:
            node = self._node(stored, values)
            graph.nodes.append(node)
            values += node.outputs
        graph.outputs = [values[i] for i in ready.outputs]
        for value in values:
            graph.fresh_name(value.name)
        return graph

    def _node(self, stored: ReadyNode, values: Sequence[Value]) -> Node:
        if any(not -1 <= i < len(values) for i in stored.inputs):
            raise FormatError(f"the node {stored.name!r} reads a value that is not made before it")
        op = self._op(stored.domain, stored.op_type, stored.settings)
        outputs = [Value(n, self.facts[f]) for n, f in zip(stored.outputs, stored.facts, strict=True)]
        inputs = [None if i < 0 else values[i] for i in stored.inputs]
        node = Node(op, inputs, outputs, stored.name)
        for value in outputs:
            value.producer = node
        for source in inputs:
            if source is not None:
                source.uses.append(node)
        return node

    def _op(self, domain: str, op_type: str, settings: Sequence[Setting]) -> Op:
        cls = get(domain, op_type)
        if cls is None:
            raise FormatError(f"the operator {domain}.{op_type} of the optimised graph is not known")
        return cls(**{s.name: self._setting(s) for s in settings})

    def _setting(self, s: Setting) -> Any:
        kind = s.kind
        if kind in _PLAIN:
            return _PLAIN[kind](s)
        if kind == _K.TUPLE:
            return tuple(self._setting(item) for item in s.items)
        if kind in (_K.ARRAY, _K.SCALAR):
            assert s.tensor is not None
            array = _array(s.tensor)
            return array[()] if kind == _K.SCALAR else array.copy()
        if kind == _K.SIZES:
            rank = s.integers[0]
            made = np.empty(len(s.integers) - 1 - rank, object)
            made[:] = [self.sizes[i] for i in s.integers[1 + rank :]]
            return made.reshape(s.integers[1 : 1 + rank])
        if kind == _K.GRAPH:
            assert s.graph is not None
            return self.graph(s.graph)
        if kind == _K.FACT:
            return self.facts[s.integer]
        if kind == _K.DTYPE:
            return from_onnx(s.integer)
        if kind == _K.OP:
            return self._op(s.text, s.texts[0], s.items)
        if kind == _K.STEP:
            return Step(self._setting(s.items[0]), tuple(s.integers))
        raise FormatError(f"the setting {s.name!r} of the optimised graph has kind {kind}")


_PLAIN: dict[int, Callable[[Setting], Any]] = {
    _K.NONE: lambda s: None,
    _K.BOOL: lambda s: bool(s.integer),
    _K.INT: lambda s: s.integer,
    _K.FLOAT: lambda s: s.number,
    _K.STR: lambda s: s.text,
    _K.INTS: lambda s: _plain(s.integers),
    _K.FLOATS: lambda s: _plain(s.numbers),
    _K.STRS: lambda s: tuple(s.texts),
}


def _plain(numbers: Any) -> tuple[Any, ...]:
    return tuple(numbers.tolist() if isinstance(numbers, np.ndarray) else numbers)


def _array(tensor: TensorDef) -> np.ndarray:
    dtype = from_onnx(tensor.data_type)
    assert dtype is not None and tensor.source is not None
    where = f"constant {tensor.name!r}"
    if dtype == STRING:
        items = tensor.source.strings(where)
        out = np.empty(len(items), object)
        out[:] = [item.decode() for item in items]
        return out.reshape(tensor.dims)
    raw = tensor.source.read(where)
    return (raw != 0 if dtype == BOOL else raw.view(dtype)).reshape(tensor.dims)
