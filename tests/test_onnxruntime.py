"""The module of onnxruntime's names, as one's own import and in place of onnxruntime."""

from __future__ import annotations

import subprocess
import sys

import onnx
import pytest
from onnx import TensorProto, helper

import numba_rt.onnxruntime as ort

PROGRAM = """
import sys
import numba_rt.onnxruntime
numba_rt.onnxruntime.install()
import onnxruntime
from onnxruntime import InferenceSession, SessionOptions
from onnxruntime.capi import _pybind_state as C
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from onnxruntime.capi.onnxruntime_inference_collection import OrtValue
onnxruntime.set_default_logger_severity(3)
onnxruntime.disable_telemetry_events()
session = InferenceSession(
    sys.stdin.buffer.read(), SessionOptions(), providers=[("CPUExecutionProvider", {"use_arena": True})]
)
assert C.get_available_providers() == ["CPUExecutionProvider"]
assert isinstance(OrtValue.ortvalue_from_numpy(__import__("numpy").zeros(2)), onnxruntime.OrtValue)
try:
    session.run(None, {"y": 1})
except InvalidArgument as error:
    print(error)
"""


def model() -> onnx.ModelProto:
    node = helper.make_node("Relu", ["x"], ["y"])
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n"]) for n in "xy")
    return helper.make_model(
        helper.make_graph([node], "g", [x], [y]), opset_imports=[helper.make_opsetid("", 21)]
    )


def test_all_names_are_there() -> None:
    assert all(hasattr(ort, name) for name in ort.__all__)
    assert ort.get_build_info().startswith("numba_rt")
    assert ort.get_version_string().split(".")[0] == "1"


def test_other_packages_import_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=model().SerializeToString(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"missing ['x'] and unknown ['y']" in done.stdout


@pytest.mark.parametrize("name", sorted(ort.EXCEPTIONS))
def test_exceptions_are_ours(name: str) -> None:
    assert issubclass(ort.EXCEPTIONS[name], ort.NumbaRtError)
