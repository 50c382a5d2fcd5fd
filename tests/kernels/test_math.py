import math

import numpy as np
import pytest

from numba_rt.jit import kernel, u
from numba_rt.kernels import math as km


@kernel
def all_exp(x, y):
    for i in range(x.size):
        y[u(i)] = km.exp(x[u(i)])


@kernel.reduction
def all_exp_neg(x, y):
    for i in range(x.size):
        y[u(i)] = km.exp_neg(x[u(i)])


@kernel
def all_log(x, y):
    for i in range(x.size):
        y[u(i)] = km.log(x[u(i)])


@kernel.reduction
def all_tanh(x, y):
    for i in range(x.size):
        y[u(i)] = km.tanh(x[u(i)])


@kernel
def all_erf(x, y):
    for i in range(x.size):
        y[u(i)] = km.erf(x[u(i)])


@kernel
def all_sigmoid(x, y):
    for i in range(x.size):
        y[u(i)] = km.sigmoid(x[u(i)])


def exact_sigmoid(x):
    e = np.exp(-abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


EXACT = {
    "exp": (np.exp, 1.2),
    "exp_neg": (np.exp, 1.2),
    "log": (np.log, 1.2),
    "tanh": (np.tanh, 2.0),
    "erf": (np.vectorize(math.erf, otypes=[np.float64]), 2.2),
    "sigmoid": (exact_sigmoid, 3.0),
}
KERNELS = {
    "exp": all_exp, "exp_neg": all_exp_neg, "log": all_log,
    "tanh": all_tanh, "erf": all_erf, "sigmoid": all_sigmoid,
}  # fmt: skip


def arguments():
    """Numbers of all magnitudes, dense where the functions bend, and the special ones."""
    rng = np.random.default_rng(1)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 88.72, 88.73, -103.9, -104.1, 1.0, 4.0, -4.0, 0.625, 1e-45]
    with np.errstate(invalid="ignore"):
        return np.concatenate([
            rng.integers(0, 2**32, 50000, dtype=np.uint32).view(np.float32), rng.uniform(-104, 89, 50000),
            rng.uniform(-1.5, 1.5, 50000), rng.uniform(-12, 12, 50000), special,
        ]).astype(np.float32)  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
@np.errstate(all="ignore")
def test_float32(name):
    exact, ulps = EXACT[name]
    x = -abs(arguments()) if name == "exp_neg" else arguments()
    y = np.empty_like(x)
    KERNELS[name](x, y)
    wide = exact(x.astype(np.float64))
    expected = wide.astype(np.float32)
    normal = np.isfinite(expected) & (abs(expected) > 1.2e-38)
    error = abs(y[normal].astype(np.float64) - wide[normal]) / np.spacing(abs(expected[normal]))
    flushed = x[normal] < -87.3 if name in ("exp_neg", "sigmoid") else np.zeros(normal.sum(), bool)
    assert error[~flushed].max() <= ulps
    assert (abs(y[normal][flushed]) < 1.3e-38).all()
    np.testing.assert_allclose(y[~normal], expected[~normal], rtol=0, atol=1.2e-38, equal_nan=True)


@pytest.mark.parametrize("name", EXACT)
def test_float64(name):
    x = -np.linspace(0.1, 20, 50) if name == "exp_neg" else np.linspace(0.1, 20, 50)
    y = np.empty_like(x)
    KERNELS[name](x, y)
    np.testing.assert_allclose(y, EXACT[name][0](x), rtol=1e-14)


@pytest.mark.parametrize("name", EXACT)
def test_interpreted(name):
    function = getattr(km, name)
    for x in (np.float32(-1.25), np.float64(-1.25), np.float32(-1e4)):
        y = function(x)
        assert type(y) is type(x)
        with np.errstate(invalid="ignore"):
            np.testing.assert_allclose(y, EXACT[name][0](x), rtol=1e-6)


@kernel
def all_sin_and_cos(x, y):
    for i in range(x.size):
        y[u(0), u(i)] = km.sin(x[u(i)])
        y[u(1), u(i)] = km.cos(x[u(i)])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0, 3e5])
def test_sine_and_cosine(scale):
    x = (np.random.default_rng(2).standard_normal(20_000) * scale).astype(np.float32)
    y = np.empty((2, x.size), np.float32)
    all_sin_and_cos(x, y)
    exact = np.stack([np.sin(x.astype(np.float64)), np.cos(x.astype(np.float64))])
    assert (np.abs(y - exact) <= np.spacing(np.abs(exact).astype(np.float32))).all()


def test_sine_of_what_is_no_angle():
    x = np.array([np.inf, -np.inf, np.nan, 3e38], np.float32)
    y = np.empty((2, x.size), np.float32)
    all_sin_and_cos(x, y)
    assert np.isnan(y[:, :3]).all()
    assert (np.abs(y[:, 3]) <= 1).all()
