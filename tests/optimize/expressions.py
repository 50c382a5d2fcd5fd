"""Expressions over inputs, as models with and without the optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from numba_rt.graph import Dim, Fact, Graph, Sym
from numba_rt.model import Model
from numba_rt.optimize.rule import Builder


class Expression(Protocol):
    """What cases of expressions have in common."""

    name: str
    build: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    fires: tuple[str, ...]
    refuses: str
    """Reason reported where a rule must not fire."""
    symbolic: tuple[int, ...]
    """Axes of the first input that are symbolic."""


def f32(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def make(case: Expression, optimized: bool) -> Model:
    graph = Graph(case.name)
    values = []
    for k, array in enumerate(case.inputs):
        shape: tuple[Dim, ...] = array.shape
        if k == 0:
            shape = tuple(Sym(f"d{a}") if a in case.symbolic else d for a, d in enumerate(array.shape))
        values.append(graph.input(f"x{k}", Fact(array.dtype, shape)))
    made = case.build(Builder(graph), *values)
    graph.outputs = list(made) if isinstance(made, tuple) else [made]
    return Model(graph, threads=1, optimized=optimized)


def check_rules(case: Expression, fused: Model) -> None:
    """The rules that should have fired did, and the reason for refusing was given."""
    for rule in case.fires:
        assert rule in fused.report.counts(), f"{rule} did not fire:\n{fused.report}"
    if case.refuses:
        assert any(case.refuses in reason for _, _, reason in fused.report.refused), fused.report
