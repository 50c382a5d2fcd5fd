import itertools
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from numba_rt.kernels.activation import ACTIVATIONS
from numba_rt.kernels.gemm import NO_ROWS, NO_VECTOR, divide, epilogue, gemm, product
from numba_rt.kernels.matmul_any import matmul_any
from numba_rt.kernels.packing import NR, pack_b, pack_columns, pack_matrix, pack_rows, packed_size
from numba_rt.simd.isa import ISA
from numba_rt.simd.tile import MAX_K, tile_addresses

rng = np.random.default_rng(7)
TASKS = [1, 2, 3]
ROWS = sorted({1, 2, 3, ISA.mr - 1, ISA.mr, ISA.mr + 1, 2 * ISA.mr + 1, 33})
COLUMNS = [1, 3, NR // 2, NR - 1, NR, NR + 1, 2 * NR + 5, 7 * NR + 2]
DEPTHS = [0, 1, 3, 4, 17, 130]


def floats(*shape):
    return rng.standard_normal(shape, np.float32)


def run(a, packed, c, sizes, tasks=1, bias=NO_VECTOR, residual=NO_VECTOR, table=NO_ROWS, **factors):
    kernel = gemm
    flat = (x.reshape(-1) for x in (a, packed, bias, residual))
    kernel(*flat, table, tile_addresses(), sizes, epilogue(**factors), c.reshape(-1), tasks)
    return c


def exact(a, b):
    return a.astype(np.float64) @ b.astype(np.float64)


def assert_close(found, expected, k):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=4e-6 * max(1, k) ** 0.5)


@pytest.mark.parametrize("tasks", TASKS)
def test_every_tile_edge(tasks):
    for m, n, k in itertools.product(ROWS, COLUMNS, DEPTHS):
        a, b = floats(m, k), floats(k, n)
        c = run(a, pack_b(b), np.full((m, n), np.nan, np.float32), product(m, n, k), tasks)
        assert_close(c, exact(a, b), k)


@pytest.mark.parametrize("tasks", TASKS)
@pytest.mark.parametrize(
    ("m", "n", "k"), [(5, 40, MAX_K), (5, 40, MAX_K + 1), (260, 130, 2 * MAX_K + 3), (1, 333, 3001)]
)
def test_long_sums_and_many_blocks(tasks, m, n, k):
    a, b, bias = floats(m, k), floats(k, n), floats(n)
    residual = floats(m, n)
    c = residual.copy()
    sizes = product(m, n, k, bias=True, residual=True)
    run(a, pack_b(b), c, sizes, tasks, bias, c, alpha=0.5, lo=-3.0, hi=20.0)
    assert_close(c, np.clip(0.5 * exact(a, b) + bias + residual, -3, 20), k)


def test_transposed_weights():
    a, b = floats(9, 31), floats(21, 31)
    c = run(a, pack_b(b, transposed=True), np.empty((9, 21), np.float32), product(9, 21, 31))
    assert_close(c, exact(a, b.T), 31)


@pytest.mark.parametrize(("bias", "residual"), list(itertools.product([False, True], repeat=2)))
@pytest.mark.parametrize("n", [NR, NR + 3])
def test_epilogue(bias, residual, n):
    a, b, v, r = floats(7, 20), floats(20, n), floats(n), floats(7, n)
    sizes = product(7, n, 20, bias=bias, residual=residual)
    c = run(a, pack_b(b), np.empty((7, n), np.float32), sizes, bias=v, residual=r, alpha=2.0, lo=0.0)
    assert_close(c, np.maximum(2 * exact(a, b) + bias * v + residual * r, 0), 20)


@pytest.mark.parametrize("tasks", [1, 2])
def test_residual_may_be_the_output(tasks):
    a, b, r = floats(500, 70), floats(70, 333), floats(500, 333)
    c = r.copy()
    run(a, pack_b(b), c, product(500, 333, 70, residual=True), tasks, residual=c)
    assert_close(c, exact(a, b) + r, 70)


def test_nan_and_infinity_reach_the_result():
    a, b = np.ones((8, 5), np.float32), np.ones((5, NR + 2), np.float32)
    a[0, 0], a[1, 1], a[2, 2] = np.nan, np.inf, -np.inf
    for n in (NR, NR + 2):
        packed = pack_b(b[:, :n])
        c = run(a, packed, np.empty((8, n), np.float32), product(8, n, 5), lo=-10.0)
        assert np.isnan(c[0]).all()
        assert np.isposinf(c[1]).all()
        assert (c[2] == -10).all()
        assert (c[3:] == 5).all()


def test_strided_rows_leave_the_gaps_alone():
    m, n, k, lda, ldc = 15, NR + 3, 10, 13, NR + 8
    a, b = floats(m, lda), floats(k, n)
    c = np.full((m, ldc), 7, np.float32)
    run(a, pack_b(b), c, product(m, n, k, lda=lda, ldc=ldc))
    assert_close(c[:, :n], exact(a[:, :k], b), k)
    assert (c[:, n:] == 7).all()


@pytest.mark.parametrize("tasks", TASKS)
@pytest.mark.parametrize("transposed", [False, True])
def test_batch_of_heads(tasks, transposed):
    """Heads inside (b, s, h, d): two batch axes, strided rows, B packed while running."""
    b, s, h, d = 2, 11, 3, 19
    x, y = floats(b, s, h, d), floats(b, s, h, d) if transposed else floats(b, h, s, d)
    k, n = (d, s) if transposed else (s, d)
    ld, strides = (h * d, (s * h * d, d)) if transposed else (d, (h * s * d, s * d))
    packed = np.empty(b * h * packed_size(k, n), np.float32)
    pack = pack_columns if transposed else pack_rows
    pack(y.reshape(-1), np.array([b, h, k, n, ld, *strides], np.int64), packed, tasks)
    panels = (h * packed_size(k, n), packed_size(k, n))
    heads = x.transpose(0, 2, 1, 3)
    if transposed:
        sizes = product(
            s,
            s,
            d,
            batch=(b, h),
            lda=h * d,
            a_strides=(s * h * d, d),
            b_strides=panels,
            c_strides=(h * s * s, s * s),
        )
        c, expected = np.empty((b, h, s, s), np.float32), exact(heads, y.transpose(0, 2, 3, 1))
        run(x, packed, c, sizes, tasks)
    else:
        scores = floats(b, h, s, s)
        sizes = product(
            s,
            d,
            s,
            batch=(b, h),
            ldc=h * d,
            a_strides=(h * s * s, s * s),
            b_strides=panels,
            c_strides=(s * h * d, d),
        )
        c = np.empty((b, s, h, d), np.float32)
        run(scores, packed, c, sizes, tasks)
        expected = exact(scores, y).transpose(0, 2, 1, 3)
    assert_close(c, expected, k)


def test_table_of_rows():
    a, b = floats(6, 12), floats(24, 5)
    table = np.array([[5, 0, -1], [2, 2, 1]]) * 12
    table[0, 2] = -1
    c = np.empty((3, 5), np.float32)
    run(a, pack_b(b), c, product(3, 5, 12, lda=0, taps=2, row_step=1, tap_step=3), table=table.reshape(-1))
    rows = np.stack([np.r_[a[5], a[2]], np.r_[a[0], a[2]], np.r_[0 * a[0], a[1]]])
    assert_close(c, exact(rows, b), 24)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(-abs(x))) + np.maximum(x, 0)


def erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x)


REFERENCE = {
    "Gelu": lambda x: 0.5 * x * (1 + erf(x / 2**0.5)),
    "GeluTanh": lambda x: 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))),
    "Silu": lambda x: x * sigmoid(1.5 * x),
    "Sigmoid": sigmoid,
    "Tanh": np.tanh,
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "HardSigmoid": lambda x: np.clip(1.5 * x + 0.25, 0, 1),
    "LeakyRelu": lambda x: np.where(x < 0, 1.5 * x, x),
    "Elu": lambda x: np.where(x < 0, 1.5 * np.expm1(np.minimum(x, 0)), x),
    "Mish": lambda x: x * np.tanh(softplus(x)),
    "Softplus": softplus,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name):
    for (m, n, k), tasks in itertools.product([(9, 40, 12), (3, 130, MAX_K + 9)], [1, 2]):
        a, b, bias = floats(m, k), floats(k, n), floats(n)
        alpha = 4 / k**0.5
        sizes = product(m, n, k, bias=True, act=ACTIVATIONS[name])
        factors = {"alpha": alpha, "act_alpha": 1.5, "act_beta": 0.25}
        c = run(a, pack_b(b), np.empty((m, n), np.float32), sizes, tasks, bias, **factors)
        np.testing.assert_allclose(c, REFERENCE[name](alpha * exact(a, b) + bias), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("dtype", ["float64", "int32", "uint64"])
def test_other_types(dtype):
    for (m, n, k), tasks in itertools.product([(1, 600, 7), (19, 33, 70), (3, 4, 0)], [1, 2]):
        if dtype == "float64":
            a, b = rng.standard_normal((3, m, k)), rng.standard_normal((k, n))
        else:
            a, b = (rng.integers(-(2**31), 2**31, shape).astype(dtype) for shape in ((3, m, k), (k, n)))
        c = np.ones((3, m, n), dtype)
        sizes = np.array([3, 1, m, n, k, m * k, 0, 0, 0, m * n, 0], np.int64)
        matmul_any(a.reshape(-1), b.reshape(-1), sizes, c.reshape(-1), tasks)
        np.testing.assert_allclose(c, a @ b, rtol=1e-12 if dtype == "float64" else 0, atol=1e-12)


def test_without_a_compiler():
    """The same kernels, interpreted: the register tile has a form in NumPy."""
    script = """
import numpy as np
from numba_rt.kernels.gemm import NO_ROWS, NO_VECTOR, divide, epilogue, gemm, product
from numba_rt.kernels.packing import pack_b
from numba_rt.simd.tile import tile_addresses
a, b = np.random.default_rng(0).standard_normal((2, 33, 33), np.float32)
c = np.empty((33, 33), np.float32)
gemm(a.reshape(-1), pack_b(b).reshape(-1), NO_VECTOR, NO_VECTOR, NO_ROWS, tile_addresses(),
            product(33, 33, 33, act=1), epilogue(), c.reshape(-1), 1)
assert np.isfinite(c).all() and c.min() > -0.2
"""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("writable", [False, True])
def test_large_matrices_are_packed_alike(transposed: bool, writable: bool) -> None:
    b = np.random.default_rng(0).standard_normal((700, 531)).astype(np.float32)
    b.flags.writeable = writable
    np.testing.assert_array_equal(pack_matrix(b, transposed), pack_b(b, transposed).reshape(-1))


@pytest.mark.parametrize("tasks", [2, 3, 4, 6, 8])
def test_tasks_are_evenly_busy_on_small_maps(tasks):
    """The most tiles that a task has, over their mean: for maps of 7x7 and 14x14 of real networks."""
    for pixels, channels in itertools.product((49, 196), (512, 1024, 2048)):
        bands, panels = -(-pixels // ISA.mr), -(-channels // NR)
        rows, cols = divide(bands, panels, tasks)
        assert rows * cols == tasks
        tiles = [
            ((i + 1) * bands // rows - i * bands // rows) * ((j + 1) * panels // cols - j * panels // cols)
            for i, j in itertools.product(range(rows), range(cols))
        ]
        assert sum(tiles) == bands * panels
        assert max(tiles) <= 1.13 * sum(tiles) / tasks
