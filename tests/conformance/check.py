"""Runs a case of the suite and compares what comes out."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_rt.backend import prepare
from tests.conformance.cases import Case

COARSE = ("bfloat16", "float8", "float4", "int4", "uint4", "int2", "uint2")
COARSE_RTOL = 1e-2


def check(case: Case) -> None:
    """Raise unless the case's outputs are as expected."""
    model = case.model()
    prepared = prepare(model, threads=1)
    for inputs, expected in case.data_sets(model):
        got = prepared.run(inputs)
        assert len(got) >= len(expected), f"{len(got)} outputs, expected {len(expected)}"
        for g, e in zip(got, expected, strict=False):
            if case.is_random:
                assert (g.shape, g.dtype) == (e.shape, e.dtype)
                assert np.isin(g, (0, 1)).all()
            else:
                compare(g, e, case.given.rtol, case.given.atol)


def compare(got: Any, expected: Any, rtol: float, atol: float) -> None:
    """Raise unless values agree in kind, shape, dtype and, within tolerances, contents."""
    if expected is None:
        assert got is None, f"{type(got).__name__}, expected nothing"
        return
    if isinstance(expected, list):
        assert isinstance(got, list), f"{type(got).__name__}, expected a sequence"
        assert len(got) == len(expected), f"sequence of {len(got)}, expected {len(expected)}"
        for g, e in zip(got, expected, strict=True):
            compare(g, e, rtol, atol)
        return
    expected = np.asarray(expected)
    assert isinstance(got, np.ndarray), f"{type(got).__name__}, expected an array"
    assert got.shape == expected.shape
    if expected.dtype.kind in "OSU":
        assert got.dtype == object
        assert got.tolist() == expected.astype(str).tolist()
        return
    assert got.dtype == expected.dtype
    if expected.dtype.name.startswith(COARSE):
        got, expected = got.astype(np.float32), expected.astype(np.float32)
        rtol = max(rtol, COARSE_RTOL)
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)
