"""Matrices of few rows or columns are transposed whatever their sizes, items and tasks."""

import numpy as np
import pytest

from numba_rt.kernels.weave import SHORT, unweave, weave


@pytest.mark.parametrize("dtype", ["u1", "u4", "u8"])
def test_weave_and_unweave(dtype):
    random = np.random.default_rng(0)
    for n in (2, 3, 4):
        for m in (1, 5, 8, 9, 16, 17, 19, 20, 34, SHORT - 1, SHORT, SHORT + 1, 150):
            for batch, tasks in ((1, 1), (2, 3), (5, 2)):
                x = random.integers(0, 250, (batch, n, m)).astype(dtype)
                y, back, g = np.zeros(x.size, dtype), np.zeros(x.size, dtype), np.array([batch, m, n])
                weave(x.reshape(-1), g, y, tasks)
                np.testing.assert_array_equal(y.reshape(batch, m, n), x.transpose(0, 2, 1))
                unweave(y, g, back, tasks)
                np.testing.assert_array_equal(back, x.reshape(-1))
