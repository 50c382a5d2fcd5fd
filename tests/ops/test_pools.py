"""Pools of both layouts against ONNX Runtime, over windows drawn at random."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numba_rt.ops._eager import run_op
from tests.ops.cases import Case

POOLS = ("MaxPool", "AveragePool", "LpPool")


@st.composite
def windows(draw: Any, axes: int) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Spatial sizes, and the attributes of a window that fits into them."""
    numbers = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(axes))  # noqa: E731
    kernel, strides, dilations = numbers(1, 4), numbers(1, 3), numbers(1, 2)
    padding = draw(st.sampled_from(("NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")))
    if padding.startswith("SAME"):
        # ONNX Runtime leaves dilations out of the padding, and refuses steps over the kernel.
        dilations, strides = (1,) * axes, tuple(map(min, strides, kernel))
    extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "dilations": dilations}
    if padding == "NOTSET":
        # ONNX asks for pads smaller than the kernel.
        attributes["pads"] = tuple(draw(st.integers(0, (k - 1) // 2)) for k in kernel * 2)
        attributes["ceil_mode"] = draw(st.booleans())
    else:
        attributes["auto_pad"] = padding
    return tuple(e + draw(st.integers(0, 7)) for e in extents), attributes


def runtime(case: Case) -> list[Any]:
    model = case.onnx_model()
    model.ir_version = 10
    model.opset_import[0].version = 22
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, case.feeds())


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(POOLS), st.data(), st.integers(1, 20), st.booleans())
def test_pools_agree_with_onnxruntime(kind: str, data: Any, channels: int, flag: bool) -> None:
    sizes, attributes = data.draw(st.integers(1, 3).flatmap(lambda axes: windows(axes)))
    if kind == "AveragePool":
        attributes["count_include_pad"] = flag
    if kind == "LpPool":
        attributes["p"] = 1 + flag
    x = np.random.default_rng(channels).standard_normal((2, channels, *sizes)).astype(np.float32)
    case = Case(kind, (x,), attributes, n_outputs=2 if kind == "MaxPool" and flag else 1)
    expected = runtime(case)
    for got, want in zip(run_op(case.op(), [x], case.n_outputs), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    if len(sizes) == 2:
        own = Case("Nhwc" + kind, (), attributes, domain="numba_rt")
        image = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        got = run_op(own.op(), [image], 1)[0].transpose(0, 3, 1, 2)
        np.testing.assert_allclose(got, expected[0], rtol=1e-5, atol=1e-6)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), st.sampled_from((1, 2, 7, 8, 9, 24, 31, 32, 33, 40)), st.sampled_from(("f4", "i1")))
def test_maxima_of_pixels_are_those_of_planes(data: Any, channels: int, dtype: str) -> None:
    sizes, attributes = data.draw(windows(2))
    random = np.random.default_rng(channels)
    x = random.integers(-9, 9, (2, channels, *sizes)).astype(dtype)
    if dtype == "f4":
        x[random.random(x.shape) < 0.2] = -np.inf
        x[random.random(x.shape) < 0.05] = np.nan
    ops = (Case(n, (), attributes, domain=d).op() for n, d in (("MaxPool", ""), ("NhwcMaxPool", "numba_rt")))
    planes, image = (
        run_op(op, [a], 1)[0] for op, a in zip(ops, (x, x.transpose(0, 2, 3, 1).copy()), strict=True)
    )
    np.testing.assert_array_equal(image.transpose(0, 3, 1, 2), planes)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", POOLS)
def test_large_pools_of_pixels_are_those_of_planes(kind: str, threads: int) -> None:
    random = np.random.default_rng(0)
    attributes = {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}
    for channels in (3, 24, 40):
        x = random.standard_normal((1, 33, 65, channels)).astype(np.float32)
        whole = run_op(Case(kind, (), attributes).op(), [x.transpose(0, 3, 1, 2).copy()], 1, threads=threads)[
            0
        ]
        made = run_op(Case("Nhwc" + kind, (), attributes, domain="numba_rt").op(), [x], 1, threads=threads)[0]
        np.testing.assert_allclose(made.transpose(0, 3, 1, 2), whole, rtol=1e-5, atol=1e-6)
