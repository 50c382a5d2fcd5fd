"""`numba-rt profile`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from numba_rt.cli import main


@pytest.fixture
def model(tmp_path: Path) -> str:
    nodes = [
        helper.make_node("Softmax", ["x"], ["a"], "first\x1b[2J"),
        helper.make_node("MatMul", ["a", "k"], ["y"], "second"),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 4)),
        helper.make_tensor_value_info("k", TensorProto.FLOAT, (4, 4)),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", 4))]
    graph = helper.make_graph(nodes, "small\x1b[31m", inputs, outputs)
    path = tmp_path / "model.onnx"
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    path.write_bytes(made.SerializeToString())
    return str(path)


def test_tables_and_trace(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "trace.json"
    assert main(["profile", model, "-s", "batch=3", "--runs", "2", "--json", str(trace)]) == 0
    out = capsys.readouterr().out
    assert all(c.isprintable() or c == "\n" for c in out)
    assert "2 runs" in out and "Softmax" in out and "3×4 → 3×4" in out
    assert sum(e["name"] == "model_run" for e in json.loads(trace.read_text())) == 2


def test_by_node(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", model, "-s", "batch=3", "--runs", "1", "--by", "node"]) == 0
    out = capsys.readouterr().out
    assert "second" in out and "first\\x1b[2J" in out and "nodes" not in out
    assert main(["profile", model, "-s", "batch=3", "--runs", "1", "--by", "node", "--most", "1"]) == 0
    assert len(capsys.readouterr().out.strip().split("\n")) == 4


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["missing.onnx"], "missing.onnx"),
        (["MODEL", "-s", "rows=1"], "rows=1 is not used"),
        (["MODEL", "-s", "batch=1", "--runs", "1", "--json", "none/trace.json"], "cannot be written"),
    ],
)
def test_what_cannot_be_done(
    model: str, argv: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", *(model if a == "MODEL" else a for a in argv)]) == 2
    assert reason in capsys.readouterr().err


def test_runs_must_be_a_number(model: str) -> None:
    with pytest.raises(SystemExit):
        main(["profile", model, "--runs", "0"])
