import itertools
import math

import numpy as np
import pytest

from numba_rt.kernels import attention as kernels
from numba_rt.kernels.attention import BANDS, KEYS, MR, attention, attention_rows, factors, geometry
from numba_rt.kernels.gemm import NO_VECTOR
from numba_rt.kernels.packing import NR
from numba_rt.simd.tile import tile_addresses

rng = np.random.default_rng(11)
TASKS = [1, 2, 3]


def floats(*shape):
    return rng.standard_normal(shape, np.float32)


def exact(q, k, v, scale, mask=0.0):
    """(batch, heads, rows, size) in float64."""
    k, v = (np.repeat(x.astype(np.float64), q.shape[1] // k.shape[1], 1) for x in (k, v))
    s = np.einsum("bhmd,bhnd->bhmn", q.astype(np.float64), k) * scale + mask
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True) @ v


def strides(x):
    return (0, *(step // x.itemsize for step in x.strides[:3]))


def by_heads(x):
    """The same numbers, stored as (batch, rows, heads, size)."""
    return np.ascontiguousarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)


def memory(x):
    return x.transpose(0, 2, 1, 3).reshape(-1) if not x.flags.c_contiguous else x.reshape(-1)


def run(q, k, v, scale=0.3, tasks=1, mask=None, parts=None, lengths=None, **options):
    (b, h, m, d), (_, kv_heads, n, dv) = q.shape, v.shape
    y = np.full((b, m, h, dv), np.nan, np.float32)
    steps = None
    if mask is not None:
        steps = (
            1,
            *(0 if size == 1 else step // 4 for size, step in zip(mask.shape, mask.strides, strict=True)),
        )
        steps = (mask.shape[0], 0, *steps[1:])
    g = geometry(
        batch=b, heads=h, kv_heads=kv_heads, m=m, n=n, d=d, dv=dv, q=strides(q), k=strides(k), v=strides(v),
        y=strides(y.transpose(0, 2, 1, 3)), mask=steps, lengths=None if lengths is None else (1, 0),
        tasks=tasks, parts=parts, **options,
    )  # fmt: skip
    reads = [memory(x) for x in (q, k, v)]
    reads += [NO_VECTOR if mask is None else mask.reshape(-1), NO_VECTOR]
    reads.append(kernels.NO_LENGTHS if lengths is None else lengths)
    if parts is None:
        work = np.full(tasks * kernels.work_size(n, d, dv), np.nan, np.float32)
        tables = kernels.NO_ROWS, tile_addresses()
        attention(*reads, *tables, g, factors(scale), work, y.reshape(-1), tasks)
    else:
        work = np.full(kernels.rows_work_size(g, tasks), np.nan, np.float32)
        attention_rows(*reads, g, factors(scale), work, y.reshape(-1), tasks)
    return y.transpose(0, 2, 1, 3)


@pytest.mark.parametrize("tasks", TASKS)
def test_every_edge_of_blocks(tasks):
    rows = [1, MR - 1, MR + 1, BANDS * MR + 1]
    for m, n, d in itertools.product(rows, [1, NR - 1, NR + 1, KEYS, KEYS + 3], [1, NR, NR + 5]):
        q, k, v = floats(1, 1, m, d), floats(1, 1, n, d), floats(1, 1, n, NR + 3)
        np.testing.assert_allclose(run(q, k, v, tasks=tasks), exact(q, k, v, 0.3), 1e-5, 1e-5)


@pytest.mark.parametrize("tasks", TASKS)
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_few_rows_read_in_place(tasks, parts):
    for m, n, d in itertools.product([1, 3], [1, 7, 200], [1, 8, 67]):
        q, k, v = floats(2, 4, m, d), floats(2, 2, n, d), floats(2, 2, n, 70)
        found = run(q, k, v, tasks=tasks, parts=parts)
        np.testing.assert_allclose(found, exact(q, k, v, 0.3), 1e-5, 1e-5)


@pytest.mark.parametrize("parts", [None, 2])
def test_operands_where_they_lie(parts):
    q, k, v = by_heads(floats(2, 4, 9, 8)), floats(2, 4, 30, 8), by_heads(floats(2, 4, 30, 8))
    np.testing.assert_allclose(run(q, k, v, tasks=2, parts=parts), exact(q, k, v, 0.3), 1e-5, 1e-5)


@pytest.mark.parametrize("least", [-math.inf, float(np.finfo(np.float32).min)])
@pytest.mark.parametrize("tasks", TASKS)
def test_blocks_that_a_mask_hides_change_nothing(tasks, least):
    """A causal mask, and one that hides the first blocks: what is skipped would have been zero."""
    m, n = 2 * BANDS * MR, 3 * KEYS
    q, k, v = floats(1, 2, m, 8), floats(1, 2, n, 8), floats(1, 2, n, 8)
    causal = np.where(np.tril(np.ones((m, n)), n - m), 0, least).astype(np.float32)[None, None]
    late = np.where(np.arange(n) > n - 9, 0, least).astype(np.float32)[None, None, None]
    for mask in (causal, late, causal[:, :, ::-1].copy()):
        found = run(q, k, v, tasks=tasks, mask=mask)
        np.testing.assert_allclose(found, exact(q, k, v, 0.3, mask), 1e-5, 1e-5)


@pytest.mark.parametrize("parts", [None, 1, 3])
def test_number_of_keys_and_positions(parts):
    q, k, v = floats(3, 1, 4, 8), floats(3, 1, 40, 8), floats(3, 1, 40, 8)
    lengths = np.array([40, 17, 4])
    found = run(q, k, v, parts=parts, lengths=lengths, offset=None, right=0, tasks=2)
    for i, length in enumerate(lengths):
        seen = np.where(np.arange(length) <= np.arange(4)[:, None] + length - 4, 0, -math.inf)
        expected = exact(q[i : i + 1], k[i : i + 1, :, :length], v[i : i + 1, :, :length], 0.3, seen)
        np.testing.assert_allclose(found[i : i + 1], expected, 1e-5, 1e-5)


@pytest.mark.parametrize("parts", [None, 1])
@pytest.mark.parametrize("safe", [0, 1, 2])
def test_rows_without_a_result(parts, safe):
    """No key to see; NaN and infinite scores."""
    q, k, v = floats(1, 1, 7, 8), floats(1, 1, 20, 8), floats(1, 1, 20, 8)
    mask = np.zeros((1, 1, 7, 20), np.float32)
    mask[0, 0, 2], mask[0, 0, 3, 4], mask[0, 0, 5, 6] = -math.inf, math.nan, math.inf
    found = run(q, k, v, parts=parts, mask=mask, safe=safe)[0, 0]
    whole = [0, 1, 4, 6]
    np.testing.assert_allclose(found[whole], exact(q, k, v, 0.3)[0, 0, whole], 1e-5, 1e-5)
    assert (found[2] == 0).all() if safe else np.isnan(found[2]).all()
    for row in (3, 5):
        assert (found[row] == 0).all() if safe == 1 else np.isnan(found[row]).all()


def test_large_scores_do_not_overflow():
    q, k, v = floats(1, 1, 20, 8) * 300, floats(1, 1, 600, 8) * 300, floats(1, 1, 600, 8)
    np.testing.assert_allclose(run(q, k, v), exact(q, k, v, np.float32(0.3)), 1e-3, 1e-3)
