"""Where real models are, and how results are compared with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from numba_rt import Model

MODELS = Path(__file__).parents[3] / "shared" / "models"

needs_models = pytest.mark.skipif(
    not MODELS.is_dir(),
    reason="the trained models are not part of the repository: ../shared/models does not exist",
)


def runtime(path: Path) -> onnxruntime.InferenceSession:
    """ONNX Runtime on the same file."""
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def assert_same(
    model: Model, session: onnxruntime.InferenceSession, feeds: Mapping[str, Any], limit: float = 1e-4
) -> list:
    """Outputs agree within `limit` of the largest one; returns ours."""
    got = model.run(feeds)
    for ours, theirs in zip(got, session.run(None, dict(feeds)), strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        largest = max(float(np.abs(theirs.astype(np.float64)).max(initial=0)), 1e-12)
        assert float(np.abs(ours.astype(np.float64) - theirs).max(initial=0)) <= limit * largest
    return got
