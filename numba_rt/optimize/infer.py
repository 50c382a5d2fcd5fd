"""Pass: facts of every value, from the inputs and constants on."""

from __future__ import annotations

from numba_rt.graph import Graph
from numba_rt.ops._infer import infer_node
from numba_rt.optimize.report import Report


def infer_facts(graph: Graph, report: Report | None = None) -> None:
    """Set the facts of all node outputs."""
    for node in graph.nodes:
        infer_node(node)
