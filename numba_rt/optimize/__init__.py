"""Rewrites of the graph, in order, each with its reason."""

from __future__ import annotations

from collections.abc import Callable

from numba_rt.graph import Graph
from numba_rt.optimize.infer import infer_facts
from numba_rt.optimize.report import Report

PIPELINE: tuple[Callable[[Graph, Report], None], ...] = (infer_facts,)


def optimize(graph: Graph) -> Report:
    """Run the pipeline on a graph, in place."""
    report = Report()
    for step in PIPELINE:
        step(graph, report)
    return report
