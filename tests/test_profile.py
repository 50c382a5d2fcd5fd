"""Profiles: what they measure, what they show, and the trace beside onnxruntime's own."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import numba_rt
from numba_rt import InferenceSession, InputError, SessionOptions
from numba_rt.model import Model
from numba_rt.profile import Profile
from numba_rt.profile.machine import peak_flops

HOSTILE = "\x1b[31m<script>alert(1)</script>\n</td>"
RNG = np.random.default_rng(0)
IMAGE = RNG.standard_normal((1, 8, 12, 12)).astype(np.float32)


def weights(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(RNG.standard_normal(shape).astype(np.float32), name)


def network() -> bytes:
    """Two convolutions with Relu, one of them with a hostile name, and a matrix product."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], "bend"),
        helper.make_node("Conv", ["b", "w2"], ["c"], HOSTILE, strides=[2, 2]),
        helper.make_node("Flatten", ["c"], ["d"], "flat"),
        helper.make_node("MatMul", ["d", "w3"], ["e"], "product"),
        helper.make_node("Softmax", ["e"], ["y"], "last"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 8, 12, 12))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", 10))]
    stored = [weights("w1", 16, 8, 3, 3), weights("w2", 4, 16, 1, 1), weights("w3", 144, 10)]
    graph = helper.make_graph(nodes, HOSTILE, inputs, outputs, stored)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8
    ).SerializeToString()


NETWORK = network()


@pytest.fixture(scope="module")
def model() -> Model:
    return numba_rt.load(NETWORK, threads=2)


@pytest.fixture(scope="module")
def profile(model: Model) -> Profile:
    return model.profile(IMAGE, runs=3, warmup=1)


def test_every_step_is_there_with_its_work(model: Model, profile: Profile) -> None:
    rows = {row.name: row for row in profile.rows("node")}
    plan = model.plan(IMAGE)
    assert not isinstance(plan, list)
    assert len(profile.nodes) == sum(end > start for start, end in plan.spans)
    convolutions = [row for row in profile.nodes if row.op_type == "NhwcConv"]
    assert [row.flops for row in convolutions] == [2 * 144 * 16 * 8 * 9, 2 * 36 * 4 * 16]
    assert "1×12×12×8 → 1×12×12×16" in convolutions[0].shape
    assert [row.algorithm.split()[0] for row in convolutions] == ["direct", "direct"]
    assert rows["product"].flops == 2 * 144 * 10
    assert rows["last"].flops == 0 and rows["last"].nbytes == 80
    assert all(row.calls == 1 and row.tasks in (1, 2) for row in rows.values())


def test_times_add_up(profile: Profile) -> None:
    for run in profile.runs:
        assert 0 < sum(event.own for event in run.events) <= run.end - run.start
        assert all(run.start <= e.start <= e.end <= run.end for e in run.events)
        assert all(a.end <= b.start for a, b in zip(run.events, run.events[1:], strict=False))
    assert len(profile.runs) == len(profile.plain) == 3
    assert 0 < profile.outside < profile.seconds
    for by in ("op", "shape", "node"):
        rows = profile.rows(by)
        assert sum(r.seconds for r in rows) == pytest.approx(sum(r.seconds for r in profile.nodes))
        assert sum(r.flops for r in rows) == sum(r.flops for r in profile.nodes)
    assert [r.seconds for r in profile.rows("op")] == sorted(
        (r.seconds for r in profile.rows("op")), reverse=True
    )
    with pytest.raises(ValueError, match="by = 'size'"):
        profile.rows("size")


def test_the_peak_is_measured(profile: Profile) -> None:
    assert profile.peak == peak_flops(2) > 1e8


def test_profiling_leaves_the_model_as_it_was(model: Model) -> None:
    before = model(IMAGE)["y"]
    model.profile(IMAGE, runs=1, warmup=0)
    np.testing.assert_array_equal(model(IMAGE)["y"], before)
    larger = np.repeat(IMAGE, 3, axis=0)
    assert model.profile(x=larger, runs=1, warmup=0).nodes[0].shape.startswith("3×")
    with pytest.raises(InputError, match="missing"):
        model.profile()
    with pytest.raises(InputError, match="runs = 0"):
        model.profile(IMAGE, runs=0)


def test_hostile_names_are_only_text(profile: Profile) -> None:
    assert any("script" in row.name for row in profile.nodes)
    for text in (str(profile), repr(profile), *(profile.table(by) for by in ("op", "shape", "node"))):
        assert all(c.isprintable() or c == "\n" for c in text)
    lines = profile.table("node").split("\n")
    assert len(lines) == 1 + len(profile.nodes)
    html = profile._repr_html_()
    assert "<script" not in html and "\x1b" not in html
    assert (
        html.count("<tr>")
        == html.count("</tr>")
        == 3 + sum(len(profile.rows(by)) for by in ("op", "shape", "node"))
    )


def test_tables_are_aligned_and_can_be_cut(profile: Profile) -> None:
    head, *rows = profile.table("shape").split("\n")
    column = head.index("operator")
    assert all(row[column - 1] == " " and row[column] != " " for row in rows)
    assert len(profile.table("node", most=2).split("\n")) == 3


def theirs(path: Path) -> list[dict[str, Any]]:
    """onnxruntime's own trace of the same model."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(path / "theirs")
    session = onnxruntime.InferenceSession(NETWORK, options, providers=["CPUExecutionProvider"])
    session.run(None, {"x": IMAGE})
    return json.loads(Path(session.end_profiling()).read_text())


def test_the_trace_has_the_keys_of_onnxruntime(profile: Profile, tmp_path: Path) -> None:
    profile.to_chrome(tmp_path / "ours.json")
    ours = json.loads((tmp_path / "ours.json").read_text())
    for category in ("Node", "Session"):
        (mine, other) = ([e for e in trace if e["cat"] == category] for trace in (ours, theirs(tmp_path)))
        assert {k: type(v) for k, v in mine[0].items() if k not in ("ts", "dur")} == {
            k: type(v) for k, v in other[0].items() if k not in ("ts", "dur")
        }
        assert all(e["ph"] == "X" and e["dur"] >= 0 <= e["ts"] for e in mine)
        if category == "Session":
            assert {e["name"] for e in mine} <= {e["name"] for e in other}
            continue
        stated = ("op_name", "provider", "node_index", "input_type_shape", "output_type_shape", "output_size")
        stated += ("activation_size", "parameter_size", "thread_scheduling_stats")
        for key in stated:
            assert type(mine[0]["args"][key]) is type(other[0]["args"][key]), key
        assert all(e["name"].endswith("_kernel_time") and e["name"].isprintable() for e in mine)
        softmax = [next(e for e in t if e["args"]["op_name"] == "Softmax") for t in (mine, other)]
        for key in ("input_type_shape", "output_type_shape", "output_size", "activation_size", "name"):
            values = [e[key] if key == "name" else e["args"][key] for e in softmax]
            assert values[0] == values[1], key


def test_a_trace_that_cannot_be_written(profile: Profile, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        profile.to_chrome(tmp_path / "none" / "trace.json")


def test_the_profile_of_a_session(tmp_path: Path) -> None:
    options = SessionOptions(enable_profiling=True, profile_file_prefix=str(tmp_path / "session"))
    session = InferenceSession(NETWORK, options)
    plain = InferenceSession(NETWORK).run(None, {"x": IMAGE})[0]
    with ThreadPoolExecutor(3) as threads:
        for (y,) in threads.map(lambda _: session.run(None, {"x": IMAGE}), range(6)):
            np.testing.assert_array_equal(y, plain)
    with pytest.raises(InputError):
        session.run(None, {"x": IMAGE[0]})
    name = session.end_profiling()
    assert Path(name).parent == tmp_path and Path(name).name.startswith("session_")
    trace = json.loads(Path(name).read_text())
    assert trace[0]["name"] == "session_initialization"
    assert sum(e["name"] == "model_run" for e in trace) == 6
    assert session.get_profiling_start_time_ns() > 1_600_000_000 * 10**9
    session.run(None, {"x": IMAGE})
    assert session.end_profiling() == ""
    assert json.loads(Path(name).read_text()) == trace


def test_a_session_that_goes_away_writes_its_profile(tmp_path: Path) -> None:
    options = SessionOptions(enable_profiling=True, profile_file_prefix=str(tmp_path / "gone"))
    session = InferenceSession(NETWORK, options)
    session.run(None, {"x": IMAGE})
    del session
    (file,) = tmp_path.iterdir()
    assert any(e["cat"] == "Node" for e in json.loads(file.read_text()))


def test_a_session_without_profile(tmp_path: Path) -> None:
    session = InferenceSession(NETWORK)
    assert session.end_profiling() == "" and session.get_profiling_start_time_ns() == 0
    prefix = str(tmp_path / "none" / "session")
    with pytest.raises(InputError, match="cannot be written"):
        InferenceSession(NETWORK, SessionOptions(enable_profiling=True, profile_file_prefix=prefix))


def looping() -> Model:
    """x + 1, doubled where its sum is positive, `count` times."""

    def info(name: str, kind: int, shape: Any) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    add = helper.make_node("Add", ["next", "next"], ["t"], "double")
    keep = helper.make_node("Identity", ["next"], ["e"], "keep")
    floats, bools = TensorProto.FLOAT, TensorProto.BOOL
    branches = {
        "then_branch": helper.make_graph([add], "then", [], [info("t", floats, None)]),
        "else_branch": helper.make_graph([keep], "else", [], [info("e", floats, None)]),
    }
    body = helper.make_graph(
        [
            helper.make_node("Add", ["v", "one"], ["next"], "step"),
            helper.make_node("ReduceSum", ["next"], ["sum"], "total", keepdims=0),
            helper.make_node("Greater", ["sum", "zero"], ["is"], "positive"),
            helper.make_node("If", ["is"], ["chosen"], "choice", **branches),
            helper.make_node("Identity", ["go"], ["again"]),
        ],
        "body",
        [info("i", TensorProto.INT64, ()), info("go", bools, ()), info("v", floats, ("n", 4))],
        [info("again", bools, ()), info("chosen", floats, ("n", 4))],
    )
    nodes = [
        helper.make_node("Constant", [], ["one"], value_float=1.0),
        helper.make_node("Constant", [], ["zero"], value_float=0.0),
        helper.make_node("Loop", ["count", "", "x"], ["last"], "loop", body=body),
    ]
    inputs = [info("x", floats, ("n", 4)), info("count", TensorProto.INT64, ())]
    graph = helper.make_graph(nodes, "loops", inputs, [info("last", floats, ("n", 4))])
    return numba_rt.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), threads=1)


def test_control_flow_and_what_is_inside() -> None:
    model, x, count = looping(), np.ones((2, 4), np.float32), np.array(3)
    profile = model.profile(x, count, runs=2, warmup=1)
    rows = {row.name: row for row in profile.nodes}
    assert rows["loop"].calls == 1 and rows["loop"].depth == 0
    assert rows["choice"].calls == 3 and rows["choice"].depth == 1
    assert rows["double"].calls == 3 and rows["double"].depth == 2
    assert "keep" not in rows
    for run in profile.runs:
        assert sum(event.own for event in run.events) <= run.end - run.start
        loop = next(e for e in run.events if e.step.name == "loop")
        assert all(loop.start <= e.start and e.end <= loop.end for e in run.events)
    assert any("· · Add" in line for line in profile.table("node").split("\n"))
    (last,) = model.run({"x": x, "count": count})
    np.testing.assert_array_equal(last, np.full((2, 4), 22, np.float32))


def test_steps_that_follow_from_data() -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["where"], "find"),
        helper.make_node("Transpose", ["where"], ["indices"], perm=[1, 0]),
        helper.make_node("GatherND", ["x", "indices"], ["y"], "take"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 1024))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("k",))]
    graph = helper.make_graph(nodes, "data", inputs, outputs)
    made = numba_rt.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))
    x = np.zeros((8, 1024), np.float32)
    x[3, :5] = 1
    rows = {row.name: row for row in made.profile(x, runs=1).nodes}
    assert rows["find"].op_type == "NonZero" and rows["find"].shape == "8×1024 → 2×5"
    assert rows["take"].nbytes == 5 * 4 + 5 * 2 * 8 + 5 * 4, "only what is taken is read"


def test_a_chain_says_what_it_computes() -> None:
    nodes = [
        helper.make_node("Exp", ["x"], ["a"]),
        helper.make_node("Add", ["a", "x"], ["b"]),
        helper.make_node("Sqrt", ["b"], ["y"]),
        helper.make_node("Neg", ["y"], ["z"], "alone"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (3, 4))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (3, 4)) for name in "yz"]
    made = helper.make_model(
        helper.make_graph(nodes, "chain", [x], outputs), opset_imports=[helper.make_opsetid("", 20)]
    )
    profile = numba_rt.load(made).profile(np.ones((3, 4), np.float32), runs=1)
    assert {row.algorithm for row in profile.nodes} == {"elementwise: Exp, Add, Sqrt", "elementwise"}
