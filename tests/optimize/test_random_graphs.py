"""A graph and what the optimiser makes of it compute the same."""

from __future__ import annotations

import copy

import numpy as np
from hypothesis import HealthCheck, given, settings

from numba_rt.graph import Graph
from numba_rt.model import Model
from numba_rt.optimize import optimize
from numba_rt.plan import schedule
from numba_rt.pool import TensorPool
from numba_rt.program import Program
from tests.random_graphs import Drawn, evaluate, graphs

SETTINGS = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def check_consistent(graph: Graph) -> None:
    """Order, uses, producers and names agree with one another."""
    made = {id(v) for v in graph.inputs}
    names = [v.name for v in graph.outputs if not v.is_constant and v.producer is not None]
    for node in graph.nodes:
        for value in node.inputs:
            if value is not None and not value.is_constant:
                assert id(value) in made, f"{node} reads what is not made yet"
                assert node in value.uses
        for value in node.outputs:
            assert value.producer is node
            assert all(any(reader is n for n in graph.nodes) for reader in value.uses)
            made.add(id(value))
    assert all(v.is_constant or id(v) in made for v in graph.outputs)
    assert len(set(names)) == len(
        {id(v) for v in graph.outputs if not v.is_constant and v.producer is not None}
    )


@SETTINGS
@given(graphs(most_nodes=10))
def test_optimised_graphs_compute_the_same(drawn: Drawn) -> None:
    expected = evaluate(drawn.graph, drawn.feeds)
    names = [v.name for v in drawn.graph.outputs]
    shapes = [drawn.shape(v) for v in drawn.graph.outputs]
    graph = copy.deepcopy(drawn.graph)
    report = optimize(graph)
    check_consistent(graph)
    assert [v.name for v in graph.outputs] == names
    assert shapes == [Drawn(graph, drawn.feeds, drawn.n).shape(v) for v in graph.outputs]
    program = Program(schedule(graph), 1, TensorPool(poison=True))
    got = program.run([drawn.feeds[v.name] for v in graph.inputs])
    for result, want, name in zip(got, expected, names, strict=True):
        scale = max(1.0, float(np.abs(want[np.isfinite(want)]).max(initial=0)))
        message = f"{name} after\n{report}"
        np.testing.assert_allclose(result, want, rtol=1e-4, atol=1e-5 * scale, err_msg=message)


@SETTINGS
@given(graphs(most_nodes=6))
def test_optimising_again_changes_nothing_more(drawn: Drawn) -> None:
    optimize(drawn.graph)
    before = [n.op.op_type for n in drawn.graph.nodes]
    optimize(drawn.graph)
    assert [n.op.op_type for n in drawn.graph.nodes] == before


@SETTINGS
@given(graphs(most_nodes=6))
def test_models_describe_themselves_whatever_they_hold(drawn: Drawn) -> None:
    model = Model(drawn.graph, threads=1)
    assert str(model).startswith("Model 'random'")
    plans = model.plan(**drawn.feeds)
    assert "calls, arena" in str(plans) or plans == []
