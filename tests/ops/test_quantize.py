"""Quantization bit for bit: against ONNX Runtime, and against the formulas ONNX states.

The two differ for zeros alone: ONNX's reference has the scale 1 / 255, which is taken here, ONNX Runtime 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from numba_rt.kernels.quantize import dynamic_range
from numba_rt.ops._eager import run_op
from tests.ops.cases import Case

DTYPES = (np.uint8, np.int8, np.uint16, np.int16)
KINDS = ("normal", "positive", "halves", "next to halves", "far")


def runtime(case: Case) -> list[Any]:
    model = case.onnx_model()
    model.ir_version = 10
    model.opset_import[0].version = 21
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, case.feeds())


def numbers(rng: np.random.Generator, kind: str, scale: Any, n: int) -> np.ndarray:
    """Floats that are hard to round when divided by the scale."""
    if kind in ("halves", "next to halves"):
        steps = rng.integers(-70_000, 70_000, (n, 7)) >> rng.integers(0, 12)
        x = (steps + 0.5).astype(np.float32) * scale
        to = rng.choice(np.float32([-np.inf, np.inf]), x.shape)
        return x if kind == "halves" else np.nextafter(x, to)
    x = rng.standard_normal((n, 7)).astype(np.float32) * scale * 100
    if kind == "far":
        x *= np.float32(10) ** rng.integers(0, 25, x.shape).astype(np.float32)
        x[0, :3] = np.nan, np.inf, -np.inf
    return np.abs(x) if kind == "positive" else x


def expected_range(x: np.ndarray) -> tuple[np.float32, np.uint8]:
    """Scale and zero point as ONNX defines them, each operation rounded to float32."""
    low, high = min(np.float32(0), x.min()), max(np.float32(0), x.max())
    scale = (high - low if high > low else np.float32(1)) / np.float32(255)
    return scale, np.uint8(np.rint(np.clip(-low / scale, np.float32(0), np.float32(255))))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("per_column", [False, True])
def test_quantize_linear_rounds_as_onnxruntime(dtype: Any, per_column: bool) -> None:
    rng, info = np.random.default_rng(3), np.iinfo(dtype)
    for repeat in range(4 * len(KINDS)):
        shape = (7,) if per_column else ()
        scale = np.asarray(10 ** rng.uniform(-6, 6, shape), np.float32)
        zero = np.asarray(rng.integers(info.min, info.max + 1, shape), dtype)
        case = Case("QuantizeLinear", (numbers(rng, KINDS[repeat % 5], scale, 20), scale, zero))
        (found,) = run_op(case.op(), case.inputs, 1)
        np.testing.assert_array_equal(found, runtime(case)[0])


@pytest.mark.parametrize("kind", KINDS[:4])
def test_dynamic_quantization_rounds_as_onnxruntime_and_onnx(kind: str) -> None:
    rng = np.random.default_rng(4)
    for _ in range(40):
        x = numbers(rng, kind, np.float32(10 ** rng.uniform(-4, 4)), int(rng.integers(1, 40)))
        case = Case("DynamicQuantizeLinear", (x,), n_outputs=3)
        y, scale, zero = run_op(case.op(), case.inputs, 3)
        for found, expected in zip((y, scale, zero), runtime(case), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert (scale, zero) == expected_range(x)
        np.testing.assert_array_equal(y, np.clip(np.rint(x / scale) + np.float32(zero), 0, 255))


@pytest.mark.parametrize("tasks", [1, 2, 3])
def test_a_range_is_the_same_however_it_is_shared(tasks: int) -> None:
    rng = np.random.default_rng(5)
    for n in (0, 1, 2, 7, 1000, 30_001):
        x = rng.standard_normal(n).astype(np.float32)
        scale, zero = np.empty(1, np.float32), np.empty(1, np.uint8)
        dynamic_range(x, np.empty((tasks, 2), np.float32), scale, zero, tasks)
        assert (scale[0], zero[0]) == expected_range(x if n else np.zeros(1, np.float32))
