"""`numba-rt convert` and `export`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import numba_rt
from numba_rt.cli import main
from numba_rt.cli.convert import shown_progress
from numba_rt.errors import FormatError
from tests.format.models import everything, feeds, mixed
from tests.format.normal import normal


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = main([str(a) for a in argv])
    written = capsys.readouterr()
    return code, written.out, written.err


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(mixed(), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_convert_and_export(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "convert", model, tmp_path / "m.nrt")
    assert code == 0
    assert "wrote" in out
    assert run(capsys, "export", tmp_path / "m.nrt", tmp_path / "back.onnx")[0] == 0
    assert normal(onnx.load(tmp_path / "back.onnx")) == normal(mixed())


def test_prepack_and_check(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "convert", model, tmp_path / "m.nrt", "--prepack", "--check", "-s", "n=3")
    assert code == 0
    assert "check       passed on random inputs" in out
    code, out, _ = run(capsys, "inspect", tmp_path / "m.nrt", "--verify")
    assert code == 0
    assert "prepacked   used on this machine" in out
    assert "checksums   all match" in out
    np.savez(tmp_path / "in.npz", **feeds())
    checked = run(capsys, "convert", model, tmp_path / "m.nrt", "--check", tmp_path / "in.npz")
    assert checked[0] == 0
    assert "on the inputs given" in checked[1]
    assert "numba-rt convert --prepack makes one" in run(capsys, "inspect", tmp_path / "m.nrt")[1]


def test_changes_are_listed(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["convert", model, tmp_path / "m.nrt", "--set-dim", "n=3", "--outputs", "h", "--simplify"]
    code, out, _ = run(capsys, *argv)
    assert code == 0
    assert "changed     x: axis 0 is 3" in out
    assert "changed     outputs: h; 1 nodes are not needed for them" in out
    assert "changed     input flip is not read any more" in out
    loaded = numba_rt.load(tmp_path / "m.nrt")
    assert [i.shape for i in loaded.inputs] == [(3, 7)]
    assert [o.name for o in loaded.outputs] == ["h"]


def test_a_failed_check(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numba_rt.cli.convert.TOLERANCE", {None: -1.0})
    code, out, _ = run(capsys, "convert", model, tmp_path / "m.nrt", "--check")
    assert code == 1
    assert "check       FAILED" in out


def test_unsupported_operators_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["Odd", "Odder"]
    nodes = [helper.make_node(n, ["x"], [n], f"{n}\x1b[2J", domain="com.acme") for n in names]
    info = [helper.make_tensor_value_info(n, 1, [2]) for n in ["x", *names]]
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.acme", 1)]
    made = helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:]), opset_imports=opsets)
    onnx.save(made, tmp_path / "m.onnx")
    code, out, _ = run(capsys, "convert", tmp_path / "m.onnx", tmp_path / "m.nrt", "--prepack", "--check")
    assert code == 1
    assert "2 operators are not implemented: com.acme.Odd" in out
    assert "com.acme.Odder" in out
    assert "\x1b" not in out
    assert run(capsys, "export", tmp_path / "m.nrt", tmp_path / "n.onnx")[0] == 0
    assert normal(onnx.load(tmp_path / "n.onnx")) == normal(made)
    code, out, _ = run(capsys, "inspect", tmp_path / "m.nrt", "--json")
    assert code == 1
    assert json.loads(out)["file"]["version"] == 1


def test_what_cannot_be_run_is_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(everything(), tmp_path / "m.onnx")
    code, out, _ = run(capsys, "convert", tmp_path / "m.onnx", tmp_path / "m.nrt")
    assert code == 1
    assert "only running it is refused" in out
    run(capsys, "export", tmp_path / "m.nrt", tmp_path / "n.onnx")
    assert normal(onnx.load(tmp_path / "n.onnx")) == normal(everything())


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("m.onnx", "should have a name that ends in .nrt"),
        ("link.nrt", "is the input"),
        ("taken.nrt", "exists: --force replaces it"),
    ],
)
def test_no_file_is_overwritten_by_accident(
    target: str, message: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link.nrt").symlink_to(model)
    (tmp_path / "taken.nrt").write_text("something else")
    before = model.read_bytes()
    code, _, err = run(capsys, "convert", model, tmp_path / target)
    assert code == 2
    assert message in err
    assert model.read_bytes() == before
    assert (tmp_path / "taken.nrt").read_text() == "something else"


def test_progress_is_shown_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown_progress() is None
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    show = shown_progress()
    assert show is not None
    for done in (0, 1, 1 << 26, 1 << 27):
        show(done, 1 << 27)
    assert capsys.readouterr().err == "\rwriting 0 %\rwriting 50 %\rwriting 100 %\n"


def test_a_prepared_file_explains_its_rewrites(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "convert", model, tmp_path / "m.nrt", "--prepack")
    shown = [
        json.loads(run(capsys, "inspect", f, "--json", "--explain")[1]) for f in (model, tmp_path / "m.nrt")
    ]
    assert shown[0]["fired"] == shown[1]["fired"]
    assert shown[0]["refused"] == shown[1]["refused"]


def test_what_cannot_be_packed_is_written_without(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise FormatError("Add.alpha is a set, which cannot be stored")

    monkeypatch.setattr("numba_rt.format.ready.freeze", refuse)
    code, out, _ = run(capsys, "convert", model, tmp_path / "m.nrt", "--prepack")
    assert code == 0
    assert "no optimised graph is stored: Add.alpha is a set" in out
    numba_rt.load(tmp_path / "m.nrt").run(feeds())


def test_force_replaces(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken.nrt").write_text("something else")
    assert run(capsys, "convert", model, tmp_path / "taken.nrt", "--force")[0] == 0
    assert run(capsys, "export", tmp_path / "taken.nrt", model)[0] == 2
    assert run(capsys, "export", tmp_path / "taken.nrt", model, "--force")[0] == 0


@pytest.mark.parametrize("text", ["n", "n=", "=3", "n=x", "n=-1"])
def test_bad_sizes(text: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "convert", model, tmp_path / "m.nrt", "--set-dim", text)
    assert code == 2
    assert "expected name=size" in err


def test_what_is_missing_or_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "convert", tmp_path / "no.onnx", tmp_path / "m.nrt")[0] == 2
    onnx.save(mixed(), tmp_path / "m.onnx")
    assert run(capsys, "inspect", tmp_path / "m.onnx", "--verify")[0] == 2
    run(capsys, "convert", tmp_path / "m.onnx", tmp_path / "m.nrt")
    data = bytearray((tmp_path / "m.nrt").read_bytes())
    data[-100] ^= 1
    (tmp_path / "m.nrt").write_bytes(data)
    code, _, err = run(capsys, "inspect", tmp_path / "m.nrt")
    assert code == 2
    assert "is damaged" in err
