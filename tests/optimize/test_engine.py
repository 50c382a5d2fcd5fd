"""The rule engine and the passes that are not rules: what they change, and what they leave alone."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from numba_rt.dtypes import BFLOAT16, FLOAT16, FLOAT32
from numba_rt.graph import Fact, Graph, Sym, Value
from numba_rt.model import Model
from numba_rt.ops.elementwise import FusedElementwise
from numba_rt.optimize import chains, constants
from numba_rt.optimize.chains import fuse_chains
from numba_rt.optimize.constants import fold_constants, merge_common
from numba_rt.optimize.half import widen_halves
from numba_rt.optimize.pattern import OpPattern, PatternBuilder, Variable, match
from numba_rt.optimize.report import Report
from numba_rt.optimize.rule import Builder, Rule, RuleSet
from tests.random_graphs import evaluate

P = PatternBuilder()
A, B, C = Variable("a"), Variable("b"), Variable("c")
X = np.random.default_rng(0).uniform(0.5, 2, (3, 4)).astype(np.float32)


def network(*shape: Any) -> tuple[Graph, Builder, Value]:
    graph = Graph("engine")
    return graph, Builder(graph), graph.input("x", Fact(FLOAT32, shape or (3, 4)))


def matches(pattern: Any, value: Value) -> list[dict[str, Any]]:
    assert isinstance(pattern, OpPattern) and value.producer is not None
    return [found.bound for found in match(pattern, value.producer)]


def op_types(graph: Graph) -> list[str]:
    return [n.op.op_type for n in graph.nodes]


# -- patterns ------------------------------------------------------------------------------------


def test_commutative_operators_match_both_ways() -> None:
    _, op, x = network()
    y = op.Softmax(x)
    for value in (op.Add(y, x), op.Add(x, y)):
        (found,) = matches(P.Softmax(A) + B, value)
        assert found == {"a": x, "b": x}


def test_other_operators_match_one_way() -> None:
    _, op, x = network()
    y = op.Softmax(x)
    assert matches(P.Softmax(A) - B, op.Sub(y, x))
    assert not matches(P.Softmax(A) - B, op.Sub(x, y))


def test_all_ways_are_found() -> None:
    _, op, x = network()
    a, b = op.Softmax(x), op.Softmax(op.Add(x, x))
    found = matches(P.Add(P.Softmax(A, name="one"), P.Softmax(B, name="two")), op.Add(a, b))
    assert [(f["one"], f["two"]) for f in found] == [(a.producer, b.producer), (b.producer, a.producer)]


def test_a_repeated_variable_is_one_value() -> None:
    _, op, x = network()
    y = op.Softmax(x)
    assert matches(A + A, op.Add(x, x)) == [{"a": x}]
    assert not matches(A + A, op.Add(x, y))
    assert matches(P.Mul(A, P.Add(A, B)), op.Mul(x, op.Add(y, x))) == [{"a": x, "b": y}]


def test_a_repeated_name_is_one_node() -> None:
    _, op, x = network()
    y, z = op.Softmax(x), op.Softmax(x)
    pattern = P.Mul(P.Softmax(A, name="s"), P.Softmax(A, name="s"))
    assert matches(pattern, op.Mul(y, y))
    assert not matches(pattern, op.Mul(y, z))


def test_numbers_match_constants_of_one_element() -> None:
    graph, op, x = network()
    for constant, fits in (
        (np.float32(0.5).reshape(()), True),
        (np.full((1, 1), 0.5, np.float32), True),
        (np.float32(0.51).reshape(()), False),
        (np.full((2,), 0.5, np.float32)[:1].repeat(4), False),
    ):
        assert bool(matches(A * 0.5, op.Mul(x, constant))) == fits
    assert not matches(A * 0.5, op.Mul(x, graph.input("s", Fact(FLOAT32, ()))))


def test_absent_inputs() -> None:
    graph, op, x = network()
    low = graph.constant(np.float32(0).reshape(()))
    both = op.Clip(x, low, low)
    only_low, only_high, neither = op.Clip(x, low), op.Clip(x, None, low), op.Clip(x, None, None)
    assert matches(P.Clip(A, B), only_low) and not matches(P.Clip(A, B), both)
    assert matches(P.Clip(A, None, B), only_high) and not matches(P.Clip(A, None, B), both)
    assert matches(P.Clip(A), neither) and not matches(P.Clip(A), only_low)
    assert not matches(P.Clip(A, B, C), only_low)
    assert all(matches(P.Clip(A, ...), value) for value in (both, only_low, only_high, neither))


def test_one_of_several_operators() -> None:
    _, op, x = network()
    pattern = P.OneOf("Relu|Softmax", A, name="f")
    (found,) = matches(pattern, op.Softmax(x))
    assert found["f"].op.op_type == "Softmax"
    assert not matches(pattern, op.Neg(x))


def test_only_first_outputs_are_matched() -> None:
    _, op, x = network()
    first, second = op.Split(x, outputs=2, axis=1, n_outputs=2)
    assert matches(P.Neg(P.Split(A)), op.Neg(first))
    assert not matches(P.Neg(P.Split(A)), op.Neg(second))


# -- rules ---------------------------------------------------------------------------------------


class TwiceNegated(Rule):
    """-(-x)  →  x"""

    def pattern(op, x):
        return op.Neg(op.Neg(x))

    def replace(op, m):
        return op.Abs(m.x) if m.x.name == "positive" else m.x


class Refusing(Rule):
    """Never."""

    def pattern(op, x):
        return op.Neg(x)

    def check(m):
        return "" if m.x.name == "quiet" else "it never does"

    def replace(op, m):
        raise AssertionError


class Wrong(Rule):
    """Replacements that are not valid."""

    def pattern(op, x):
        return op.OneOf("Neg|Abs", x, name="f")

    def replace(op, m):
        if m.f.op.op_type == "Abs":
            return op.Reshape(m.x, np.array([5, 5], np.int64))
        return op.Flatten(m.x, axis=0)


def test_a_rule_fires() -> None:
    graph, op, x = network()
    graph.outputs = [op.Softmax(op.Neg(op.Neg(x)))]
    report = Report()
    RuleSet(TwiceNegated)(graph, report)
    assert op_types(graph) == ["Softmax"]
    assert [rule for rule, _ in report.fired] == ["TwiceNegated"]
    assert [n.op.op_type for n in x.uses] == ["Softmax"]


def test_a_value_between_that_is_read_elsewhere_prevents_it() -> None:
    graph, op, x = network()
    between = op.Neg(x)
    graph.outputs = [op.Add(op.Neg(between), op.Softmax(between))]
    report = Report()
    RuleSet(TwiceNegated)(graph, report)
    assert not report.fired
    assert "is also read elsewhere" in report.refused[0][2]
    np.testing.assert_allclose(evaluate(graph, {"x": X})[0].shape, (3, 4))


def test_a_value_between_that_leaves_prevents_it() -> None:
    graph, op, x = network()
    between = op.Neg(x)
    graph.outputs = [between, op.Neg(between)]
    report = Report()
    RuleSet(TwiceNegated)(graph, report)
    assert not report.fired
    assert "is an output of the graph" in report.refused[0][2]


def test_outputs_keep_their_names() -> None:
    graph, op, x = network()
    x.name = "positive"
    result = op.Neg(op.Neg(x))
    result.name = "result"
    graph.outputs = [result]
    RuleSet(TwiceNegated)(graph, Report())
    assert op_types(graph) == ["Abs"]
    assert [v.name for v in graph.outputs] == ["result"]


def test_rules_are_applied_until_none_fires() -> None:
    graph, op, x = network()
    y = x
    for _ in range(6):
        y = op.Neg(y)
    graph.outputs = [op.Softmax(y)]
    report = Report()
    RuleSet(TwiceNegated)(graph, report)
    assert op_types(graph) == ["Softmax"]
    assert report.counts() == {"TwiceNegated": 3}


def test_reasons_are_reported_unless_empty() -> None:
    graph, op, x = network()
    quiet = graph.input("quiet", Fact(FLOAT32, (3, 4)))
    graph.outputs = [op.Neg(x), op.Neg(quiet)]
    report = Report()
    RuleSet(Refusing)(graph, report)
    assert [(rule, reason) for rule, _, reason in report.refused] == [("Refusing", "it never does")]


@pytest.mark.parametrize("operator", ["Neg", "Abs"])
def test_invalid_replacements_are_taken_back(operator: str) -> None:
    graph, op, x = network()
    graph.outputs = [op.Softmax(getattr(op, operator)(x))]
    report = Report()
    RuleSet(Wrong)(graph, report)
    assert op_types(graph) == [operator, "Softmax"]
    assert len(x.uses) == 1
    assert not report.fired and len(report.refused) == 1


# -- constants and common nodes ------------------------------------------------------------------


def test_what_is_constant_is_folded() -> None:
    graph, op, x = network()
    c = op.Add(op.constant(X), op.constant(X))
    graph.outputs = [op.Add(x, op.Reshape(c, np.array([3, 4], np.int64)))]
    fold_constants(graph, Report())
    assert op_types(graph) == ["Add"]
    np.testing.assert_allclose(evaluate(graph, {"x": X})[0], 3 * X, rtol=1e-6)


def test_a_constant_output_keeps_its_name() -> None:
    graph, op, x = network()
    c = op.Add(op.constant(X), op.constant(X))
    c.name = "doubled"
    graph.outputs = [c, op.Add(x, x)]
    fold_constants(graph, Report())
    assert graph.outputs[0].name == "doubled"
    np.testing.assert_array_equal(Model(graph, threads=1).run({"x": X})[0], X + X)


def test_sizes_of_an_unknown_shape_are_folded_where_they_are_known() -> None:
    graph, op, x = network(Sym("n"), 4)
    columns = op.Gather(op.Shape(x), np.array([1], np.int64), axis=0)
    rows = op.Gather(op.Shape(x), np.array([0], np.int64), axis=0)
    graph.outputs = [columns, rows]
    fold_constants(graph, Report())
    assert graph.outputs[0].is_constant and not graph.outputs[1].is_constant


def test_large_results_are_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "FOLD_LIMIT", 8000)
    graph, op, x = network(2048)
    c = op.constant(np.ones(2048, np.float32))
    graph.outputs = [op.Add(x, op.Add(c, c))]
    fold_constants(graph, Report())
    assert op_types(graph) == ["Add", "Add"]


def test_nodes_that_compute_the_same_become_one() -> None:
    graph, op, x = network()
    graph.outputs = [op.Sub(op.Add(op.Softmax(x), 1 + X * 0), op.Add(op.Softmax(x), 1 + X * 0))]
    report = Report()
    merge_common(graph, report)
    assert op_types(graph) == ["Softmax", "Add", "Sub"]
    np.testing.assert_array_equal(evaluate(graph, {"x": X})[0], 0 * X)


def test_nodes_that_differ_stay() -> None:
    graph, op, x = network()
    graph.outputs = [op.Add(op.Softmax(x, axis=0), op.Softmax(x, axis=1)), op.Add(x, x), op.Add(x, X)]
    merge_common(graph, Report())
    assert len(graph.nodes) == 5


def test_outputs_of_equal_nodes_stay_apart() -> None:
    graph, op, x = network()
    one, two = op.Softmax(x), op.Softmax(x)
    one.name, two.name = "one", "two"
    graph.outputs = [one, two]
    merge_common(graph, Report())
    assert [v.name for v in graph.outputs] == ["one", "two"]
    first, second = Model(graph, threads=1).run({"x": X})
    np.testing.assert_array_equal(first, second)


# -- elementwise chains --------------------------------------------------------------------------


def fused(graph: Graph) -> list[int]:
    """Steps of each fused chain."""
    return [len(n.op.steps) for n in graph.nodes if isinstance(n.op, FusedElementwise)]


def check_chains(graph: Graph, **feeds: np.ndarray) -> None:
    before = evaluate(graph, feeds)
    names = [v.name for v in graph.outputs]
    fuse_chains(graph, Report())
    assert [v.name for v in graph.outputs] == names
    for got, want in zip(evaluate(graph, feeds), before, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_a_chain_becomes_one_node() -> None:
    graph, op, x = network()
    graph.outputs = [op.Mul(op.Sub(op.Add(x, X), X[0]), op.constant(np.float32(2).reshape(())))]
    check_chains(graph, x=X)
    assert op_types(graph) == ["FusedElementwise"] and fused(graph) == [3]


def test_a_diamond_becomes_one_node() -> None:
    graph, op, x = network()
    y = op.Add(x, X)
    graph.outputs = [op.Mul(op.Sub(y, X[0]), op.Add(y, X[1]))]
    check_chains(graph, x=X)
    assert sum(fused(graph)) <= 4
    assert len(graph.nodes) < 4


def test_a_value_read_twice_by_one_node() -> None:
    graph, op, x = network()
    y = op.Add(x, X)
    graph.outputs = [op.Mul(y, y)]
    check_chains(graph, x=X)
    assert fused(graph) == [2]


def test_a_value_read_by_others_too_is_computed_once() -> None:
    graph, op, x = network()
    y = op.Add(x, X)
    graph.outputs = [op.Mul(y, X), op.Softmax(y)]
    check_chains(graph, x=X)
    assert sorted(op_types(graph)) == ["Add", "Mul", "Softmax"]


def test_an_output_ends_a_chain() -> None:
    graph, op, x = network()
    y = op.Add(x, X)
    graph.outputs = [y, op.Mul(y, X)]
    check_chains(graph, x=X)
    assert op_types(graph) == ["Add", "Mul"]


def test_what_is_repeated_by_broadcasting_is_not_computed_again_and_again() -> None:
    graph, op, x = network(1, 4)
    graph.outputs = [op.Add(op.Mul(x, X[:1]), X)]
    check_chains(graph, x=X[:1])
    assert op_types(graph) == ["Mul", "Add"]


def test_chains_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "MOST_STEPS", 3)
    graph, op, x = network()
    y = x
    for k in range(7):
        y = op.Add(y, X * k)
    graph.outputs = [y]
    check_chains(graph, x=X)
    assert max(fused(graph)) == 3
    monkeypatch.setattr(chains, "MOST_STEPS", 99)
    monkeypatch.setattr(chains, "MOST_INPUTS", 3)
    graph, op, x = network()
    y = x
    for k in range(7):
        y = op.Add(y, X * k)
    graph.outputs = [y]
    check_chains(graph, x=X)
    assert max(len(n.inputs) for n in graph.nodes) == 3


def test_many_alternating_broadcasts() -> None:
    """More axes than a generated kernel walks, in one operator and in a chain of them."""
    graph, op, x = network(2, 1, 2, 1, 2, 1, 2)
    a = np.arange(8, dtype=np.float32).reshape(1, 2, 1, 2, 1, 2, 1)
    b = np.arange(4, dtype=np.float32).reshape(2, 1, 1, 2, 1, 1, 1)
    graph.outputs = [op.Mul(op.Add(x, a), b)]
    fed = np.arange(16, dtype=np.float32).reshape(2, 1, 2, 1, 2, 1, 2)
    for optimized in (False, True):
        (got,) = Model(graph, threads=1, optimized=optimized).run({"x": fed})
        np.testing.assert_array_equal(got, (fed + a) * b)


# -- 16-bit floats -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16], ids=str)
def test_halves_are_computed_in_float32(dtype: np.dtype[Any]) -> None:
    graph = Graph("half")
    op = Builder(graph)
    x = graph.input("x", Fact(dtype, (Sym("n"), 4)))
    y = op.Softmax(op.Add(x, X.astype(dtype)))
    y.name = "y"
    moved = op.Transpose(x, perm=(1, 0))
    graph.outputs = [y, moved]
    widen_halves(graph, Report())
    assert graph.outputs[0].name == "y"
    assert [v.fact.dtype for v in graph.outputs] == [dtype, dtype]
    for node in graph.nodes:
        if node.op.half and node.op.op_type != "Cast":
            assert all(v.fact.dtype == FLOAT32 for v in (*node.inputs, *node.outputs) if v is not None)
    assert op_types(graph).count("Cast") <= 4, "no Cast between operators that are both wide"
    got, turned = Model(graph, threads=1).run({"x": X.astype(dtype)})
    assert got.dtype == dtype and turned.dtype == dtype
    wide = 2 * X.astype(dtype).astype(np.float32)
    expected = np.exp(wide) / np.exp(wide).sum(-1, keepdims=True)
    tolerance = 1e-3 if dtype == FLOAT16 else float(ml_dtypes.finfo(ml_dtypes.bfloat16).eps)
    np.testing.assert_allclose(got.astype(np.float32), expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(turned, X.astype(dtype).T)


def test_constants_of_equal_bytes_and_different_formats_stay_apart() -> None:
    graph, op, x = network()
    formats = (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
    one, two = (op.Cast(op.constant(np.full((3, 4), 2, np.uint8).view(f)), to=1) for f in formats)
    graph.outputs = [op.Add(op.Add(x, one), two)]
    merge_common(graph, Report())
    assert op_types(graph).count("Cast") == 2
    assert graph.nodes[0].inputs[0] is not graph.nodes[1].inputs[0]
