"""Pass: facts of every value, from the inputs and constants on."""

from __future__ import annotations

from numba_rt.errors import LoadError, NumbaRtError
from numba_rt.graph import Graph
from numba_rt.graph.graph import Node
from numba_rt.ops._infer import infer
from numba_rt.optimize.report import Report


def infer_facts(graph: Graph, report: Report | None = None) -> None:
    """Set the facts of all node outputs."""
    for node in graph.nodes:
        infer_node(node)


def infer_node(node: Node) -> None:
    """Set the facts of one node's outputs."""
    facts = [None if v is None else v.fact for v in node.inputs]
    try:
        made = infer(node.op, facts, len(node.outputs), node.describe())
    except NumbaRtError:
        raise
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise LoadError(f"{node.describe()}: {error}") from error
    for value, fact in zip(node.outputs, made, strict=False):
        value.fact = fact
