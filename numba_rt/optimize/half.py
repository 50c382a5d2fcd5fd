"""Pass: 16-bit floats are computed in float32.

Operators that compute get Casts around them; the Casts between two such operators cancel, so a
16-bit model runs in float32 with its weights converted once.
"""

from __future__ import annotations

from numba_rt.dtypes import FLOAT32, HALVES
from numba_rt.graph import Graph, Node, Value
from numba_rt.ops._infer import infer_node
from numba_rt.optimize.report import Report
from numba_rt.optimize.rule import Builder

MOVERS = frozenset(
    (
        "Reshape",
        "Transpose",
        "Unsqueeze",
        "Squeeze",
        "Flatten",
        "Expand",
        "Slice",
        "Split",
        "Concat",
        "Gather",
    )
)
"""What moves bits between operators that compute: it then moves what they compute with."""


def widen_halves(graph: Graph, report: Report) -> None:
    """Put Casts around every operator that computes with float16 or bfloat16."""
    widened: dict[int, Value] = {}
    for node in list(graph.nodes):
        halves = [v for v in node.inputs if v is not None and v.fact.dtype in HALVES]
        if halves and (node.op.half or _stands_between(node, halves)):
            _widen(graph, node, widened)
            report.fire("widen_halves", node.describe())


def _stands_between(node: Node, halves: list[Value]) -> bool:
    """Whether an operator that moves bits would be a step that rounds, and hide a pattern."""
    sources = [_float32_source(v) is not None for v in halves]
    return any(sources) if node.op.op_type == "Where" else node.op.op_type in MOVERS and all(sources)


def _widen(graph: Graph, node: Node, widened: dict[int, Value]) -> None:
    declared = [v.fact for v in node.outputs]
    for position, value in enumerate(node.inputs):
        if value is not None and value.fact.dtype in HALVES:
            if id(value) not in widened:
                # A Cast back right before stands for the float32 it came from.
                source = _float32_source(value)
                widened[id(value)] = source or Builder(graph, node, node.name).Cast(value, to=1)
            graph.set_input(node, position, widened[id(value)])
    infer_node(node)
    after = graph.nodes[graph.nodes.index(node) + 1] if node is not graph.nodes[-1] else None
    for value, fact in zip(list(node.outputs), declared, strict=True):
        if fact.dtype not in HALVES or value.fact.dtype != FLOAT32:
            continue
        readers = list(dict.fromkeys(value.uses))
        narrow = Builder(graph, after, node.name).Cast(value, to=16 if fact.dtype.name == "bfloat16" else 10)
        for reader in readers:
            for position, source in enumerate(reader.inputs):
                if source is value:
                    graph.set_input(reader, position, narrow)
        if graph.is_output(value):
            value.name, narrow.name = narrow.name, value.name
            graph.outputs = [narrow if v is value else v for v in graph.outputs]


def _float32_source(value: Value) -> Value | None:
    node = value.producer
    while node is not None and node.op.op_type in ("Cast", "Identity") and node.inputs[0] is not None:
        source = node.inputs[0]
        if source.fact.dtype == FLOAT32:
            return source
        if source.fact.dtype != value.fact.dtype:
            return None
        node = source.producer  # to the dtype it has already: it changes nothing
    return None
