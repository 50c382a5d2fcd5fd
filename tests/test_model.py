"""Feeds and outputs of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numba_rt
from numba_rt.dtypes import FLOAT32, INT64, STRING
from numba_rt.errors import InputError
from numba_rt.graph import Fact, Graph, Sym
from numba_rt.model import Model, Outputs
from numba_rt.optimize.rule import Builder

X = np.arange(8, dtype=np.float32).reshape(2, 4)
Y = np.ones((2, 4), np.float32)


def two_inputs() -> Model:
    graph = Graph("two")
    op = Builder(graph)
    x = graph.input("x", Fact(FLOAT32, (Sym("batch"), 4)))
    y = graph.input("y", Fact(FLOAT32, (Sym("batch"), 4)))
    total = op.Add(x, y)
    total.name = "total"
    doubled = op.Add(total, total)
    doubled.name = "doubled"
    graph.outputs = [total, doubled]
    return Model(graph, threads=1, optimized=False)


MODEL = two_inputs()


@pytest.mark.parametrize(
    ("feeds", "parts"),
    [
        ({}, ["missing ['x', 'y']", "the model takes ['x', 'y']"]),
        ({"x": X}, ["missing ['y']"]),
        ({"x": X, "z": Y}, ["missing ['y']", "unknown ['z']"]),
        ({"x": X, "y": Y, "z": Y}, ["unknown ['z']"]),
        ([X, Y], ["mapping", "list"]),
        (None, ["mapping", "NoneType"]),
        ({"x": X.astype(np.float64), "y": Y}, ["'x'", "float64", "float32"]),
        ({"x": X.astype(np.float16), "y": Y}, ["'x'", "float16", "float32"]),
        ({"x": X.astype(np.complex64), "y": Y}, ["'x'", "complex64", "float32"]),
        ({"x": np.array([["a"]]), "y": Y}, ["'x'", "str", "float32"]),
        ({"x": np.array([[None]]), "y": Y}, ["'x'", "object", "float32"]),
        ({"x": X[0], "y": Y}, ["'x'", "(4,)", "rank 2"]),
        ({"x": X[None], "y": Y}, ["'x'", "(1, 2, 4)", "rank 2"]),
        ({"x": X[:, :3], "y": Y}, ["'x'", "size 3 on axis 1", "expected 4"]),
        ({"x": X, "y": Y[:1]}, ["'y'", "size 1 on axis 0", "batch is 2"]),
        ({"x": None, "y": Y}, ["'x'", "None", "float32"]),
        ({"x": "text", "y": Y}, ["'x'", "str", "float32"]),
        ({"x": [[1, 2], [3]], "y": Y}, ["'x'", "float32"]),
        ({"x": object(), "y": Y}, ["'x'", "object", "float32"]),
        ({"x": {"a": 1}, "y": Y}, ["'x'", "object", "float32"]),
        ({"x": np.float32(1), "y": Y}, ["'x'", "()", "rank 2"]),
    ],
)
def test_bad_feeds_are_refused_and_the_next_run_works(feeds: Any, parts: list[str]) -> None:
    with pytest.raises(InputError) as error:
        MODEL.run(feeds)
    for part in parts:
        assert part in str(error.value)
    np.testing.assert_array_equal(MODEL.run({"x": X, "y": Y})[0], X + Y)


def test_bad_feeds_are_refused_after_good_ones_too() -> None:
    MODEL.run({"x": X, "y": Y})
    with pytest.raises(InputError, match="batch is 2"):
        MODEL.run({"x": X, "y": Y[:1]})
    with pytest.raises(InputError, match="float64"):
        MODEL.run({"x": X, "y": Y.astype(np.float64)})


def test_lists_become_arrays_unless_that_loses_something() -> None:
    graph = Graph("integers")
    i = graph.input("i", Fact(INT64, (Sym("n"),)))
    graph.outputs = [Builder(graph).Add(i, i)]
    model = Model(graph, threads=1)
    np.testing.assert_array_equal(model([1, 2])[0], [2, 4])
    np.testing.assert_array_equal(model([])[0], [])
    for bad, found in (([1.5], "float64"), ([2**70], "'i'"), (["1"], "str"), ([None], "object")):
        with pytest.raises(InputError, match=found):
            model(bad)


def test_string_inputs() -> None:
    graph = Graph("strings")
    s = graph.input("s", Fact(STRING, (Sym("n"),)))
    graph.outputs = [s]
    model = Model(graph, threads=1)
    for fed in (np.array(["a", "bc"]), np.array(["a", "bc"], object), ["a", "bc"], np.array([b"a", b"bc"])):
        (got,) = model.run({"s": fed})
        assert got.dtype == object and got.tolist() == ["a", "bc"]
    for bad in (np.array([1, 2]), np.array(["a", 3], object)):
        with pytest.raises(InputError, match="expected string"):
            model.run({"s": bad})


def test_calls_by_position_and_by_name() -> None:
    for outputs in (
        MODEL(X, Y),
        MODEL(X, y=Y),
        MODEL(x=X, y=Y),
        MODEL({"x": X, "y": Y}),
        MODEL({"x": X}, y=Y),
    ):
        np.testing.assert_array_equal(outputs["doubled"], 2 * (X + Y))
    with pytest.raises(InputError, match="3 inputs were fed, the model takes 2"):
        MODEL(X, Y, Y)
    with pytest.raises(InputError, match="both by position and by name"):
        MODEL(X, x=X, y=Y)


def test_outputs_are_chosen_by_name() -> None:
    feeds = {"x": X, "y": Y}
    (doubled,) = MODEL.run(feeds, outputs=["doubled"])
    np.testing.assert_array_equal(doubled, 2 * (X + Y))
    doubled, total = MODEL.run(feeds, ["doubled", "total"])
    np.testing.assert_array_equal(doubled, 2 * total)
    with pytest.raises(InputError, match=r"unknown outputs \['nothing'\].*\['total', 'doubled'\]"):
        MODEL.run(feeds, outputs=["total", "nothing"])


def test_outputs_are_a_mapping_by_name_and_position() -> None:
    outputs = MODEL(X, Y)
    assert isinstance(outputs, Outputs)
    assert list(outputs) == ["total", "doubled"]
    assert len(outputs) == 2
    assert outputs[0] is outputs["total"]
    assert outputs[-1] is outputs["doubled"]
    assert dict(outputs).keys() == {"total", "doubled"}
    assert "total" in outputs and "nothing" not in outputs
    with pytest.raises(KeyError, match="no output 'nothing'"):
        outputs["nothing"]
    with pytest.raises(IndexError):
        outputs[2]
    assert str(outputs) == "Outputs\n  total: float32[2, 4]\n  doubled: float32[2, 4]"


def test_a_model_describes_itself() -> None:
    assert str(MODEL).splitlines() == [
        "Model 'two': 2 nodes",
        "  input  x: float32[batch, 4]",
        "  input  y: float32[batch, 4]",
        "  output total: float32[batch, 4]",
        "  output doubled: float32[batch, 4]",
    ]


def test_names_cannot_act_on_the_terminal() -> None:
    graph = Graph("evil\x1b[2J")
    x = graph.input("a\x1b[31m\r", Fact(FLOAT32, (Sym("n\x07"),)))
    graph.outputs = [Builder(graph).Add(x, x)]
    model = Model(graph, threads=1)
    shown = f"{model}{model(np.ones(2, np.float32))}{model.plan(np.ones(2, np.float32))}"
    assert all(c.isprintable() or c == "\n" for c in shown)
    with pytest.raises(InputError) as error:
        model.run({})
    assert "\x1b" not in str(error.value)


def test_explain_writes_what_the_optimiser_did(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NUMBA_RT_EXPLAIN", "1")
    graph = Graph("explained")
    op = Builder(graph, name="plus\x1b")
    x = graph.input("x", Fact(FLOAT32, (Sym("n"), 4)))
    graph.outputs = [op.Softmax(op.Identity(op.Add(x, np.ones(4, np.float32))))]
    Model(graph, threads=1)
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("numba_rt: model explained\n")
    assert "IdentityOut" in written.err
    assert "\x1b" not in written.err


def test_threads_are_at_least_one_and_at_most_what_there_are() -> None:
    def model(threads: Any) -> Model:
        graph = Graph("threads")
        x = graph.input("x", Fact(FLOAT32, (Sym("n"), 4)))
        graph.outputs = [Builder(graph).Add(x, x)]
        return Model(graph, threads=threads)

    for bad in (0, -1, 1.5, "2"):
        with pytest.raises(InputError, match="threads: expected a number of at least 1"):
            model(bad)
    x = np.ones((30_000, 4), np.float32)
    for count in (1, 2, 1000):
        np.testing.assert_array_equal(model(count).run({"x": x})[0], x + x)


def test_loading_leaves_the_garbage_collector_as_it_was() -> None:
    import gc

    model = Path(numba_rt.__file__).parent / "demo" / "digits.onnx"
    numba_rt.load(model)
    assert gc.isenabled()
    gc.disable()
    try:
        numba_rt.load(model)
        assert not gc.isenabled()
    finally:
        gc.enable()
