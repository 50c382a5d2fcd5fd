"""The command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from numba_rt import cache_directory, threads
from numba_rt.cli import doctor, main

W = np.arange(4, dtype=np.float32)


def save(directory: Path, nodes: list[onnx.NodeProto], name: str = "model.onnx", batch: str = "batch") -> str:
    """A model of two inputs, x: float32[batch, 4] and k: float32[4], with the nodes given."""
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, (batch, 4)),
        helper.make_tensor_value_info("k", TensorProto.FLOAT, (4,)),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, (batch, 4))]
    graph = helper.make_graph(nodes, "small", inputs, outputs, [numpy_helper.from_array(W, "w")])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.acme", 1)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="tests")
    model.metadata_props.add(key="purpose", value="a test\x1b[31m")
    path = directory / name
    path.write_bytes(model.SerializeToString())
    return str(path)


@pytest.fixture
def model(tmp_path: Path) -> str:
    nodes = [
        helper.make_node("Add", ["x", "w"], ["a"], "plus"),
        helper.make_node("Identity", ["a"], ["b"], "same"),
        helper.make_node("Mul", ["b", "k"], ["y"], "times"),
    ]
    return save(tmp_path, nodes)


@pytest.fixture
def unsupported(tmp_path: Path) -> str:
    nodes = [
        helper.make_node("Strange", ["x"], ["a"], "odd\x1b[2J", domain="com.acme"),
        helper.make_node("Stranger", ["a"], ["b"], "odder", domain="com.acme"),
        helper.make_node("Add", ["b", "k"], ["y"], "plus"),
    ]
    return save(tmp_path, nodes, "unsupported.onnx")


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(argv)
    written = capsys.readouterr()
    assert all(c.isprintable() or c == "\n" for c in written.out + written.err)
    return code, written.out, written.err


def test_inspect(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "inspect", model)
    assert code == 0
    lines = out.splitlines()
    assert "input       x: float32[batch, 4]" in lines
    assert "output      y: float32[batch, 4]" in lines
    assert "parameters  4 in 16 bytes" in lines
    assert "operators   3" in lines
    assert "metadata    purpose: a test\\x1b[31m" in lines
    assert any(line.split() == ["IdentityOut", "1"] for line in lines)
    assert "plan" not in lines


def test_inspect_explains(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "inspect", model, "--explain")
    assert "fired       IdentityOut: Identity 'same'" in out


def test_inspect_shows_the_plan(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "inspect", model, "--plan", "-s", "batch=3")
    assert code == 0 and "assumed" not in err
    assert "float32[3,4]" in out
    code, out, err = run(capsys, "inspect", model, "--plan")
    assert code == 0 and "size 1 is assumed for batch" in err
    assert "float32[1,4]" in out


def test_inspect_writes_json(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "inspect", model, "--json", "--plan", "--explain", "-s", "batch=3")
    shown = json.loads(out)
    assert code == 0 and shown["format"] == 1
    assert shown["inputs"][0] == {"name": "x", "dtype": "float32", "shape": ["batch", 4]}
    assert shown["operators"] == {"Add": 1, "Identity": 1, "Mul": 1}
    assert len(shown["plan"]) == 1
    assert {"rule": "IdentityOut", "node": "Identity 'same'"} in shown["fired"]


def test_inspect_lists_everything_unsupported(unsupported: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "inspect", unsupported)
    assert code == 1
    assert "com.acme.Strange" in out and "com.acme.Stranger" in out
    assert "input       x: float32[batch, 4]" in out
    assert main(["inspect", unsupported, "--json"]) == 1
    assert "Stranger" in json.loads(capsys.readouterr().out)["unsupported"]


def test_run_on_random_inputs(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "run", model, "-s", "batch=3", "-n", "2", "--threads", "1")
    assert code == 0
    assert "input   x: float32[3, 4]  random" in out
    assert "output  y: float32[3, 4]  min " in out
    assert "median of 2" in out
    again = run(capsys, "run", model, "-s", "batch=3", "-n", "0")[1]
    assert "median" not in again
    other = run(capsys, "run", model, "-s", "batch=3", "-n", "0", "--seed", "7")[1]
    outputs = [
        next(line for line in text.splitlines() if line[:6] == "output") for text in (out, again, other)
    ]
    assert outputs[0] == outputs[1] != outputs[2]


def test_run_on_files(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, k = np.ones((2, 4), np.float32), np.full(4, 3, np.float32)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "all.npz", x=x, k=k)
    result = str(tmp_path / "out.npz")
    code, out, _ = run(capsys, "run", model, "-i", str(tmp_path / "all.npz"), "-o", result, "-n", "1")
    assert code == 0 and "random" not in out
    np.testing.assert_array_equal(np.load(result)["y"], (x + W) * k)
    code, out, _ = run(capsys, "run", model, "-i", f"x={tmp_path / 'x.npy'}", "-n", "1")
    assert code == 0
    assert "x: float32[2, 4]\n" in out and "k: float32[4]  random" in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-s", "bach=3"], "-s bach=3 is not used"),
        (["-s", "batch"], "expected name=size"),
        (["-s", "batch=-1"], "expected name=size"),
        (["-s", "batch=2", "-s", "batch=3"], "has a size already"),
        (["-i", "x=missing.npy"], "'missing.npy' cannot be read"),
        (["-i", "z={x}"], "no input 'z'"),
        (["-i", "x={x}", "-i", "x={x}"], "input 'x' is given twice"),
        (["-i", "x={x}", "-s", "batch=2"], "-s batch=2 is not used"),
        (["-i", "{x}"], "expected name=file.npy"),
        (["-i", "x={text}"], "is not a .npy or .npz file"),
        (["-i", "x={objects}"], "is not a .npy or .npz file"),
        (["-i", "x={wide}"], "dtype float64: expected float32"),
        (["-i", "x={x}", "-o", "/nowhere/at/all.npz"], "cannot be written"),
    ],
)
def test_run_refuses(
    argv: list[str], message: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: str(tmp_path / f"{name}.npy") for name in ("x", "text", "objects", "wide")}
    np.save(files["x"], np.ones((2, 4), np.float32))
    np.save(files["wide"], np.ones((2, 4)))
    np.save(files["objects"], np.array([None]), allow_pickle=True)
    Path(files["text"]).write_text("not an array")
    code, _, err = run(capsys, "run", model, "-n", "0", *(a.format(**files) for a in argv))
    assert code == 2
    assert message in err.splitlines()[-1]


@pytest.mark.parametrize("content", [b"", b"text", b"\x00\x01\x02"])
def test_bad_models_are_one_line_on_stderr(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad\x1b[31m.onnx"
    path.write_bytes(content)
    for command in ("inspect", "run"):
        code, out, err = run(capsys, command, str(path))
        assert code == 2 and out == ""
        assert err.startswith("numba-rt: ") and err.count("\n") == 1
    assert run(capsys, "run", str(tmp_path))[0] == 2
    assert run(capsys, "run", str(tmp_path / "nothing.onnx"))[0] == 2


def test_debug_shows_the_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_RT_DEBUG", "1")
    with pytest.raises(Exception, match="does not exist"):
        main(["run", str(tmp_path / "nothing.onnx")])


def test_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["nothing"], ["run"], ["run", "m.onnx", "-n", "x"], ["run", "m.onnx", "--threads", "0"]):
        with pytest.raises(SystemExit) as stopped:
            main(argv)
        assert stopped.value.code == 2
    assert "expected a number" in capsys.readouterr().err


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "doctor")
    assert code in (0, 1)
    for topic in ("versions", "processor", "threads", "cache"):
        assert topic in out.splitlines()
    assert main(["doctor", "--json"]) == code
    shown = json.loads(capsys.readouterr().out)
    assert shown["format"] == 1
    assert shown["threads"]["layer"] == threads.layer().name
    assert bool(shown["problems"]) == bool(code)


def test_doctor_finds_a_slow_layer_and_a_lost_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = threads.Layer("workqueue", is_concurrent=False, survives_fork=True)
    monkeypatch.setattr(threads, "layer", lambda: slow)
    lost = cache_directory.Store((tmp_path,), tmp_path)
    monkeypatch.setattr(cache_directory, "store", lambda: lost)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "workqueue" in out and "pip install tbb" in out
    assert len(doctor.examine().problems) >= 2


def test_as_a_module(model: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "numba_rt", "inspect", model],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )
    assert done.returncode == 0 and "operators   3" in done.stdout
