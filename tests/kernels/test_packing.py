"""Packed weights: what they hold is tested with the kernels that read them; here, where they lie."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from numba_rt.kernels import packing
from numba_rt.kernels.packing import LARGE_PAGES, LEAST_SHARED, SLAB, aligned_empty, pack_b, pack_conv


@pytest.mark.parametrize("shape", [(40, 24, 3, 3), (128, 512, 3, 3), (600, 500, 1, 1), (33, 1, 1, 1)])
def test_a_convolution_is_packed_by_tap_then_channel(shape: tuple[int, ...]) -> None:
    w = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    expected = pack_b(w.reshape(1, *shape[:2], -1).transpose(0, 3, 2, 1).reshape(1, -1, shape[0]))
    np.testing.assert_array_equal(pack_conv(w), expected)


@pytest.mark.parametrize("count", [0, 1, LEAST_SHARED, LEAST_SHARED + 3, LARGE_PAGES, LARGE_PAGES + 1])
def test_weights_start_at_a_cache_line_and_do_not_overlap(count: int) -> None:
    arrays = [aligned_empty(count) for _ in range(3)]
    for i, array in enumerate(arrays):
        assert array.size == count
        assert not count or array.ctypes.data % 64 == 0
        array[:] = i
    assert [set(a.tolist()) for a in arrays] == [{float(i)} if count else set() for i in range(3)]


def test_shared_memory_goes_with_the_last_weights_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_slab", lambda: None)
    first, second = aligned_empty(LEAST_SHARED), aligned_empty(LEAST_SHARED)
    assert first.base is second.base is not None
    slab = weakref.ref(first.base)
    del first
    assert slab() is not None
    del second
    assert slab() is None
    many = [aligned_empty(LARGE_PAGES - 1) for _ in range(SLAB // LARGE_PAGES + 1)]
    assert many[0].base is not many[-1].base
