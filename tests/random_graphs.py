"""Graphs drawn at random, and what they compute when nothing is planned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from numba_rt.dtypes import FLOAT32
from numba_rt.graph import Fact, Graph, Sym, Value
from numba_rt.graph.dim import substitute
from numba_rt.ops import REGISTRY
from numba_rt.ops._eager import run_op
from numba_rt.optimize.rule import Builder

MOST_ELEMENTS = 2048

BINARY = ("Add", "Mul", "Sub", "Max")
UNARY = ("Softmax", "Neg", "Relu", "Sigmoid", "Abs", "Tanh", "Trilu", "Identity", "Flatten")


class Drawn:
    """A graph and arrays to feed it."""

    def __init__(self, graph: Graph, feeds: dict[str, np.ndarray], n: int) -> None:
        self.graph = graph
        self.feeds = feeds
        self.n = n
        """Size of the symbolic dimension."""

    def __repr__(self) -> str:
        lines = [f"n = {self.n}", *map(repr, self.graph.inputs), *map(repr, self.graph.nodes)]
        return "\n".join([*lines, f"outputs {self.graph.outputs}"])

    def shape(self, value: Value) -> tuple[int, ...]:
        """The size a value has with these feeds."""
        return tuple(int(substitute(d, {"n": self.n})) for d in value.fact.shape or ())


def evaluate(graph: Graph, feeds: dict[str, np.ndarray]) -> list[Any]:
    """Outputs of a graph, computed one node at a time without a plan."""
    env: dict[int, Any] = {id(v): feeds[v.name] for v in graph.inputs}

    def get(value: Value | None) -> Any:
        return None if value is None else value.constant if value.is_constant else env[id(value)]

    for node in graph.nodes:
        made = run_op(node.op, [get(v) for v in node.inputs], len(node.outputs), node.describe())
        env.update((id(v), x) for v, x in zip(node.outputs, made, strict=False))
    return [get(v) for v in graph.outputs]


@st.composite
def graphs(draw: st.DrawFn, most_nodes: int = 12, names: tuple[str, ...] = ()) -> Drawn:
    """Graphs of float32 operators on one or two inputs whose first size may be symbolic."""
    n = draw(st.integers(1, 5))
    lead = Sym("n") if draw(st.booleans()) else n
    graph = Graph("random")
    builder = Builder(graph)
    values: list[Value] = []
    feeds: dict[str, np.ndarray] = {}
    for k in range(draw(st.integers(1, 2))):
        tail = draw(st.sampled_from([(4, 6), (6,), (1, 3, 2)]))
        values.append(graph.input(f"x{k}", Fact(FLOAT32, (lead, *tail))))
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        feeds[f"x{k}"] = rng.uniform(-2, 2, (n, *tail)).astype(np.float32)
    drawn = Drawn(graph, feeds, n)
    known = [o for o in names or (*BINARY, *UNARY, *_DRAWN) if ("", o) in REGISTRY]
    for _ in range(draw(st.integers(1, most_nodes))):
        made = _draw_node(draw, drawn, builder, values, draw(st.sampled_from(known)))
        values += [v for v in made if 0 < np.prod(drawn.shape(v)) <= MOST_ELEMENTS]
    graph.outputs = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
    if values[-1] not in graph.outputs:
        graph.outputs.append(values[-1])
    return drawn


def _draw_node(draw: st.DrawFn, drawn: Drawn, op: Builder, values: list[Value], name: str) -> list[Value]:
    x = draw(st.sampled_from(values))
    if name in BINARY:
        return [getattr(op, name)(x, _second(draw, op, values, x))]
    if name in UNARY:
        return [getattr(op, name)(x)] if x.fact.rank > 1 else []
    if x.fact.rank == 0:
        return []
    return _DRAWN[name](draw, drawn, op, values, x)


def _second(draw: st.DrawFn, op: Builder, values: list[Value], x: Value) -> Value:
    """Another operand: a value of the same shape, a row, or a number."""
    kind = draw(st.sampled_from(["value", "value", "row", "number"]))
    last = x.fact.shape[-1] if x.fact.shape else None
    if kind == "value":
        return draw(st.sampled_from([v for v in values if v.fact.shape == x.fact.shape]))
    if kind == "row" and isinstance(last, int):
        return op.constant(np.linspace(-1, 1, last, dtype=np.float32))
    return op.constant(np.array(draw(st.sampled_from([0.0, 0.5, 1.0, -2.0])), np.float32))


def _axis(draw: st.DrawFn, x: Value) -> int:
    return draw(st.integers(0, x.fact.rank - 1))


def _reshape(draw: st.DrawFn, drawn: Drawn, op: Builder, values: list[Value], x: Value) -> list[Value]:
    last = draw(st.sampled_from([-1, 2, 3, 6]))
    fits = not isinstance(x.fact.size, Sym) and x.fact.size % last == 0
    return [op.Reshape(x, np.array([-1, last] if fits and last > 0 else [-1], np.int64))]


def _unsqueeze(draw: st.DrawFn, drawn: Drawn, op: Builder, values: list[Value], x: Value) -> list[Value]:
    return [op.Unsqueeze(x, np.array([_axis(draw, x)], np.int64))] if x.fact.rank < 5 else []


def _squeeze(draw: st.DrawFn, drawn: Drawn, op: Builder, values: list[Value], x: Value) -> list[Value]:
    ones = [i for i, d in enumerate(x.fact.shape or ()) if not isinstance(d, Sym) and d == 1]
    return [op.Squeeze(x, np.array(ones[:1], np.int64))] if ones else []


def _transpose(draw: st.DrawFn, drawn: Drawn, op: Builder, values: list[Value], x: Value) -> list[Value]:
    return [op.Transpose(x, perm=tuple(draw(st.permutations(range(x.fact.rank)))))]


def _concat(draw: st.DrawFn, drawn: Drawn, op: Builder, values: list[Value], x: Value) -> list[Value]:
    before = x.producer
    again = before is not None and before.op.op_type == "Concat" and draw(st.booleans())
    axis = before.op.axis if again else _axis(draw, x)
    fitting = [v for v in values if _others(v, axis) == _others(x, axis)]
    more = draw(st.lists(st.sampled_from(fitting), min_size=0, max_size=3))
    if again:
        cut = draw(st.integers(0, len(more)))
        return [op.Concat(*more[:cut], *before.inputs, *more[cut:], axis=axis)]
    return [op.Concat(*draw(st.permutations([x, *more])), axis=axis)]


def _others(x: Value, axis: int) -> tuple[object, ...]:
    """The sizes of all axes but one."""
    return tuple("" if i == axis else d for i, d in enumerate(x.fact.shape or ()))


def _split(draw: st.DrawFn, drawn: Drawn, op: Builder, values: list[Value], x: Value) -> list[Value]:
    axis = _axis(draw, x)
    size = (x.fact.shape or ())[axis]
    if isinstance(size, Sym) or size < 2:
        return []
    first = draw(st.integers(1, size - 1))
    sizes = np.array([first, size - first], np.int64)
    return list(op.Split(x, sizes, outputs=2, axis=axis, n_outputs=2))


def _matmul(draw: st.DrawFn, drawn: Drawn, op: Builder, values: list[Value], x: Value) -> list[Value]:
    last = (x.fact.shape or ())[-1]
    if x.fact.rank < 2 or isinstance(last, Sym):
        return []
    weight = np.linspace(-1, 1, last * 3, dtype=np.float32).reshape(last, 3)
    return [op.MatMul(x, weight)]


def _reduce(name: str) -> Callable[..., list[Value]]:
    def draw_one(draw: st.DrawFn, drawn: Drawn, op: Builder, values: list[Value], x: Value) -> list[Value]:
        axes = np.array([_axis(draw, x)], np.int64)
        return [getattr(op, name)(x, axes, keepdims=draw(st.booleans()))]

    return draw_one


def _slice(draw: st.DrawFn, drawn: Drawn, op: Builder, values: list[Value], x: Value) -> list[Value]:
    axis = _axis(draw, x)
    if isinstance((x.fact.shape or ())[axis], Sym):
        return []
    last = draw(st.sampled_from([2**40, 2**40, 2, -1]))
    start, end, axes = (np.array([i], np.int64) for i in (draw(st.integers(0, 1)), last, axis))
    return [op.Slice(x, start, end, axes)]


def _gather(draw: st.DrawFn, drawn: Drawn, op: Builder, values: list[Value], x: Value) -> list[Value]:
    return [op.Gather(x, np.array([0, -1], np.int64), axis=_axis(draw, x))]


def _cast(draw: st.DrawFn, drawn: Drawn, op: Builder, values: list[Value], x: Value) -> list[Value]:
    return [op.Cast(op.Cast(x, to=11), to=1)]


_DRAWN: dict[str, Callable[..., list[Value]]] = {
    "Cast": _cast,
    "Concat": _concat,
    "Gather": _gather,
    "MatMul": _matmul,
    "ReduceMax": _reduce("ReduceMax"),
    "ReduceSum": _reduce("ReduceSum"),
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
