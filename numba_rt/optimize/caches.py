"""Caches of a decoder: `present = Concat(past, new)` becomes rows appended to memory that is fed.

A *window* is the part of a cache that a run sees, past and new rows together. Its rows come first
(only axes of size 1 stand before them), so that a window of a larger buffer is contiguous.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from numba_rt.graph import Dim, Fact, Graph, Node, Sym, Value, substitute
from numba_rt.ops.shape import SizeArithmetic
from numba_rt.optimize.rule import Builder

BEFORE = Sym("window.past")
"""The number of rows of every window before the new ones."""
Rows = int | tuple[Value, int]


@dataclass(frozen=True)
class Cache:
    """A cache that a graph reads as one input and returns, longer, as one output."""

    past: str
    present: str
    axis: int
    """Along which it grows."""


def drop_copies(graph: Graph) -> None:
    """Let what reads a copy read the value itself, also where that is an input."""
    for node in list(graph.nodes):
        is_copy = node.op.op_type in ("Identity", "Concat") and len(node.inputs) == 1
        source = node.inputs[0] if is_copy else None
        if source is not None and not graph.is_output(node.outputs[0]):
            graph.replace(node.outputs[0], source)
            graph.remove([node])


def find_caches(graph: Graph) -> list[tuple[Cache, Node]]:
    """The caches a graph appends to, with the node that does."""
    found = []
    inputs = {id(v) for v in graph.inputs}
    for output in graph.outputs:
        node = output.producer
        while node is not None and node.op.op_type == "Identity":
            source = node.inputs[0]
            node = None if source is None else source.producer
        if node is None or node.op.op_type != "Concat" or len(node.inputs) != 2:
            continue
        past, new = node.inputs
        if past is None or new is None or id(past) not in inputs or past.fact.shape is None:
            continue
        axis = node.op.attributes()["axis"] % len(past.fact.shape)
        sizes = [d for i, d in enumerate(past.fact.shape) if i != axis]
        if past.uses.count(node) == 1 and not any(isinstance(d, Sym) for d in sizes):
            found.append((Cache(past.name, output.name, axis), node))
    return found


def rows_of(graph: Graph, new: Value, axis: int) -> Rows | None:
    """How many rows a run appends: a number, or the input and the axis whose size it is."""
    count = None if new.fact.shape is None else new.fact.shape[axis]
    if not isinstance(count, Sym):
        return count
    return next(((v, i) for v in graph.inputs for i, d in enumerate(v.fact.shape or ()) if d == count), None)


def length_with(rows: Rows) -> Dim:
    """The number of rows of a window that ends with so many new ones."""
    if isinstance(rows, int):
        return BEFORE + rows
    shape = rows[0].fact.shape
    assert shape is not None
    return BEFORE + shape[rows[1]]


def use_window(
    graph: Graph, cache: Cache, node: Node, expected: Rows | None = None
) -> tuple[Value, Rows] | None:
    """Let the graph read and write a window in place of a cache's input and output; the window and how
    many rows a run appends. Facts must have been inferred.

    Where the number of rows does not follow from the inputs, it is the one that is expected, and other
    numbers are errors when shapes are bound; nothing is done if none is expected.
    """
    past, new = node.inputs
    assert past is not None and new is not None and past.fact.shape is not None
    told = rows_of(graph, new, cache.axis)
    rows = expected if told is None else told
    if rows is None:
        return None
    order = order_of(past.fact.shape, cache.axis)
    shape = tuple(length_with(rows) if i == cache.axis else past.fact.shape[i] for i in order)
    window = Value(graph.fresh_name(f"{cache.past}.window"), Fact(past.fact.dtype, shape))
    op = Builder(graph, node, node.name)
    if told is None:
        new = op.Reshape(new, _shape_with(op, past.fact.shape, cache.axis, rows))
    made = op.Append(window, op.Transpose(new, perm=order), axis=order.index(cache.axis))
    whole = op.Transpose(made, perm=tuple(order.index(i) for i in range(len(order))))
    graph.outputs = [v for v in graph.outputs if v.name != cache.present]
    graph.replace(node.outputs[0], whole)
    graph.remove([node])
    if past.uses:
        _stand_in(graph, past, window, order, cache.axis, rows)
    graph.inputs[next(i for i, v in enumerate(graph.inputs) if v is past)] = window
    return window, rows


def order_of(shape: tuple[object, ...], axis: int) -> tuple[int, ...]:
    """The axes of a cache in the order of its window."""
    ones = next((i for i, d in enumerate(shape[:axis]) if d != 1), axis)
    return (*range(ones), axis, *range(ones, axis), *range(axis + 1, len(shape)))


def _stand_in(
    graph: Graph, past: Value, window: Value, order: tuple[int, ...], axis: int, rows: Rows
) -> None:
    """Let what else reads the past read the window's rows before the new ones, or their number."""
    op = Builder(graph, graph.nodes[0], past.name)
    whole = op.Transpose(window, perm=tuple(order.index(i) for i in range(len(order))))
    shape = op.Sub(op.Shape(whole), op.Mul(np.eye(len(order), dtype=np.int64)[axis], _count(op, rows)))
    for reader in list(dict.fromkeys(past.uses)):
        if reader.op.op_type == "Shape":
            part = reader.op.attributes()
            chosen = np.arange(len(order))[slice(part["start"], part["end"])]
            graph.replace(reader.outputs[0], op.Gather(shape, chosen, axis=0))
        elif isinstance(reader.op, SizeArithmetic):
            _read_sizes(graph, reader, past, window, order, axis, rows)
    if any(n.op.op_type not in ("Shape", "SizeArithmetic") for n in past.uses):
        along, first = np.array([axis]), np.zeros(1, np.int64)
        end = op.Gather(shape, along, axis=0)
        graph.replace(past, op.Slice(whole, first, end, along, np.ones(1, np.int64)))


def _count(op: Builder, rows: Rows) -> Value | np.int64:
    return (
        np.int64(rows) if isinstance(rows, int) else op.Gather(op.Shape(rows[0]), np.int64(rows[1]), axis=0)
    )


def _shape_with(op: Builder, past: tuple[object, ...], axis: int, rows: Rows) -> Value:
    """The shape of new rows of a cache."""
    row = np.array([0 if i == axis else d for i, d in enumerate(past)], np.int64)
    return op.Add(row, op.Mul(np.eye(len(past), dtype=np.int64)[axis], _count(op, rows)))


def _read_sizes(
    graph: Graph, reader: Node, past: Value, window: Value, order: tuple[int, ...], axis: int, rows: Rows
) -> None:
    """Let arithmetic on the sizes of the past read those of the window and the number of new rows."""
    assert isinstance(reader.op, SizeArithmetic)
    inputs = [window if v is past else v for v in reader.inputs]
    symbols, sizes = [], {}
    for name, i, of in reader.op.symbols:
        is_past = reader.inputs[i] is past
        symbols.append((name, i, order.index(of) if is_past else of))
        if is_past and of == axis:
            new = rows if isinstance(rows, int) else Sym(f"{name}.rows")
            sizes[name] = Sym(name) - new
            if not isinstance(rows, int):
                symbols.append((f"{name}.rows", len(inputs), rows[1]))
                inputs.append(rows[0])
    expressions = np.empty(reader.op.expressions.shape, object)
    for at, dim in np.ndenumerate(reader.op.expressions):
        expressions[at] = substitute(dim, sizes)
    op = SizeArithmetic(expressions=expressions, symbols=tuple(symbols))
    graph.replace(reader.outputs[0], graph.node(op, inputs, 1, reader.name, before=reader).outputs[0])
