"""The comparison with other runtimes, on models that take no time."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks import results
from benchmarks.engines import installed
from benchmarks.inputs import ModelInputs
from benchmarks.layers import build, read_layers
from benchmarks.rounds import ratio

ROOT = Path(__file__).parents[2]
MACHINE = {"processor": "a processor", "threads": 2, "versions": {"numba_rt": "1", "onnxruntime": "2"}}


def compare(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.compare", *argv], cwd=ROOT, capture_output=True, text=True
    )


@pytest.fixture
def model(tmp_path: Path) -> str:
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", "width")),
        helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ("n", "width")),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", "width"))]
    nodes = [
        helper.make_node("Cast", ["attention_mask"], ["m"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "m"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path = tmp_path / "tiny.onnx"
    path.write_bytes(made.SerializeToString())
    return str(path)


def test_a_model(model: str, tmp_path: Path) -> None:
    assert {"numba_rt", "onnxruntime"} <= set(installed())
    file, plot = tmp_path / "folder" / "found.json", tmp_path / "plot.svg"
    argv = ["--rounds", "1", "--turn", "0.01", "--engines", "numba_rt,onnxruntime", "--threads", "1"]
    done = compare(
        model, *argv, "--batch", "3", "-s", "width=5", "--json", str(file), "--plot", str(plot), "--cold"
    )
    assert done.returncode == 0, done.stderr
    assert "tiny batch 3, width 5" in done.stdout
    stored = json.loads(file.read_text())
    assert stored["machine"]["threads"] == 1 and "numba_rt" in stored["machine"]["versions"]
    assert str(tmp_path) not in file.read_text(), "no path belongs into results"
    (found,) = stored["results"]
    assert (found["name"], found["batch"], found["sizes"]) == ("tiny", 3, {"width": 5})
    for engine in found["engines"].values():
        assert 0 < engine["least"] <= engine["p10"] <= engine["median"] <= engine["p90"]
        assert engine["runs"] >= 1 and engine["load_seconds"] > 0
    assert found["engines"]["numba_rt"]["difference"] == 0
    assert found["engines"]["numba_rt"]["cold_seconds"] > found["engines"]["numba_rt"]["load_seconds"]
    assert ElementTree.fromstring(plot.read_text()).tag.endswith("svg")


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ([], "name model files"),
        (["none.onnx"], "no such file"),
        (["none.onnx", "--engines", "abacus"], "'abacus'"),
        (["--layers", "conv", "--network", "abacus", "--engines", "numba_rt"], "unknown networks"),
    ],
)
def test_what_cannot_be_done(argv: list[str], reason: str) -> None:
    done = compare(*argv)
    assert done.returncode == 1 and reason in done.stderr


def test_a_model_that_does_not_load_is_a_line_of_the_table(tmp_path: Path, model: str) -> None:
    broken = onnx.load(model)
    broken.graph.node[1].op_type = "Strange"
    path = tmp_path / "broken.onnx"
    path.write_bytes(broken.SerializeToString())
    done = compare(str(path), "--rounds", "1", "--engines", "numba_rt,onnxruntime")
    ours, theirs = done.stdout.splitlines()[-2:]
    assert done.returncode == 0 and "UnsupportedOp" in ours and "Strange" in theirs


@pytest.mark.parametrize("kind", ["conv", "matmul"])
def test_layers_are_what_they_say(kind: str) -> None:
    layers = read_layers(kind)
    assert len({layer.name for layer in layers}) == len(layers)
    smallest: dict[str, Any] = {}
    for layer in layers:
        model, flops = build(layer, 1)
        onnx.checker.check_model(model, full_check=True)
        smallest[layer.network] = min(
            smallest.get(layer.network, (flops, model)), (flops, model), key=lambda p: p[0]
        )
    for _, model in smallest.values():
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        feeds = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs()}
        (y,) = session.run(None, feeds)
        assert list(y.shape) == session.get_outputs()[0].shape


def test_inputs_of_a_model(model: str, tmp_path: Path) -> None:
    inputs = ModelInputs(Path(model))
    assert inputs.set_batch(2, tmp_path / "unused") == Path(model)
    feeds, sizes = inputs.feeds({"width": 4}, {})
    assert feeds["x"].shape == (2, 4) and sizes == {"width": 4}
    assert (feeds["attention_mask"] == 1).all()
    by_axis, sizes = inputs.feeds({"*mask.1": 2, "x.1": 3, "z": 4}, {})
    assert [x.shape for x in by_axis.values()] == [(2, 3), (2, 2)] and sizes == {"x.1": 3, "*mask.1": 2}
    filled, _ = ModelInputs(Path(model)).feeds({}, {"x": 7})
    assert filled["x"].tolist() == [[7]]
    (tmp_path / "changed").mkdir()
    fixed = onnx.load(model)
    for value in (*fixed.graph.input, *fixed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(fixed, model)
    changed = ModelInputs(Path(model)).set_batch(8, tmp_path / "changed")
    assert ModelInputs(changed).feeds({}, {})[0]["x"].shape == (8, 1)


def test_a_fixed_batch_is_changed_with_the_shapes_that_contain_it(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "pairs"], ["a"]),
        helper.make_node("Reshape", ["w", "row"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Reshape", ["c", "whole"], ["y"]),
    ]
    stored = [
        numpy_helper.from_array(np.array(value, np.int64), name)
        for name, value in {"pairs": [1, 3, 2], "row": [1, 2], "whole": [1, -1]}.items()
    ]
    stored.append(numpy_helper.from_array(np.ones(2, np.float32), "w"))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 6))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 6))
    made = helper.make_model(
        helper.make_graph(nodes, "fixed", [x], [y], stored),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    onnx.save(made, tmp_path / "fixed.onnx")
    (tmp_path / "changed").mkdir()
    changed = ModelInputs(tmp_path / "fixed.onnx").set_batch(4, tmp_path / "changed")
    session = onnxruntime.InferenceSession(str(changed), providers=["CPUExecutionProvider"])
    data = np.arange(24, dtype=np.float32).reshape(4, 6)
    np.testing.assert_array_equal(session.run(None, {"x": data})[0], data + 1)


def result(name: str, **medians: float) -> dict[str, Any]:
    return {
        "name": name,
        "batch": None,
        "sizes": {},
        "engines": {n: {"median": m} for n, m in medians.items()},
    }


def test_ratios() -> None:
    assert ratio(result("a", numba_rt=2, onnxruntime=4, openvino=3)["engines"]) == pytest.approx(2 / 3)
    assert ratio(result("a", numba_rt=2)["engines"]) is None
    assert ratio({"numba_rt": {"error": "no"}, "onnxruntime": {"median": 1}}) is None


def test_results_of_the_same_model_are_replaced(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    results.store(file, MACHINE, [result("a", numba_rt=1), result("b", numba_rt=1)])
    everything = results.store(file, MACHINE, [result("a", numba_rt=2)])
    assert [(r["name"], r["engines"]["numba_rt"]["median"]) for r in everything] == [("b", 1), ("a", 2)]
    assert results.read(file)["results"] == everything
    with pytest.raises(SystemExit, match="another machine"):
        results.store(file, MACHINE | {"threads": 1}, [])


def test_the_readme_is_changed_between_the_markers_only(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    found = {"machine": MACHINE, "results": [result("a", numba_rt=0.0123, onnxruntime=0.02)]}
    with pytest.raises(SystemExit, match="needs the lines"):
        readme.write_text("text")
        results.write_readme(readme, found)
    readme.write_text(f"before\n{results.BEGIN}\nold\n{results.END}\nafter\n")
    results.write_readme(readme, found)
    results.write_readme(readme, found)
    text = readme.read_text()
    assert text.startswith(f"before\n{results.BEGIN}\n| model") and text.endswith(f"{results.END}\nafter\n")
    assert "| a | – | 12.3 | 20 | 0.61 |" in text and "old" not in text and "a processor, 2 threads" in text


def test_names_in_a_plot_are_text() -> None:
    svg = results.plot([result("<script>", numba_rt=1, onnxruntime=1), result("alone", numba_rt=1)])
    assert "<script>" not in svg and "alone" not in svg
    ElementTree.fromstring(svg)
