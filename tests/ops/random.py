"""Cases of numba_rt/ops/random.py: with a seed, what NumPy's RandomState draws."""

import ml_dtypes
import numpy as np

from tests.ops.cases import Case, f32, f64, integers, positive

HALF = np.full((4, 5), 0.5, np.float16)


def normal(x=None, shape=None, seed=0.0, mean=0.0, scale=1.0, dtype=None):
    drawn = np.random.RandomState(int(seed)).randn(*(x.shape if x is not None else shape))
    kind = {None: np.float32 if x is None else x.dtype, 1: np.float32, 11: np.float64, 10: np.float16}[dtype]
    return (drawn * scale + mean).astype(kind)


def uniform(x=None, shape=None, seed=0.0, low=0.0, high=1.0, dtype=None):
    drawn = np.random.RandomState(int(seed)).rand(*(x.shape if x is not None else shape))
    kind = {
        None: np.float32 if x is None else x.dtype,
        1: np.float32,
        11: np.float64,
        16: ml_dtypes.bfloat16,
    }[dtype]
    return (drawn * (high - low) + low).astype(kind)


def bernoulli(x, seed=0.0, dtype=None):
    kind = {None: x.dtype, 9: np.bool_, 7: np.int64}[dtype]
    return (np.random.RandomState(int(seed)).rand(*x.shape) < x).astype(kind)


def multinomial(x, seed=0.0, sample_size=1, dtype=6):
    p = np.exp(x.astype(np.float64))
    drawn = np.random.RandomState(int(seed)).rand(len(x), sample_size)
    below = np.cumsum(p / p.sum(1, keepdims=True), 1)[:, None, :] <= drawn[:, :, None]
    return below.sum(-1).astype(np.int32 if dtype == 6 else np.int64)


def dropout(x, ratio=None, training=None, seed=None):
    share = 0.5 if ratio is None else float(ratio)
    if training is None or not training:
        return x, np.ones(x.shape, np.bool_)
    mask = np.random.RandomState(seed).rand(*x.shape) >= share
    return (x * mask / (1 - share)).astype(x.dtype), mask


YES, NO = np.array(True), np.array(False)

CASES = [
    Case("RandomNormal", (), {"shape": (3, 4), "seed": 3.0}, oracle=normal),
    Case(
        "RandomNormal",
        (),
        {"shape": (5,), "seed": 1.0, "mean": 2.0, "scale": 0.1, "dtype": 11},
        oracle=normal,
    ),
    Case("RandomNormal", (), {"shape": (0, 2), "seed": 1.0, "dtype": 10}, oracle=normal),
    Case("RandomNormal", (), {"shape": (3,), "dtype": 7}, raises="dtype = 7: expected one of"),
    Case("RandomUniform", (), {"shape": (3, 4), "seed": 3.0, "low": -2.0}, oracle=uniform),
    Case("RandomUniform", (), {"shape": (7,), "seed": 3.0, "dtype": 16}, oracle=uniform),
    Case("RandomUniform", (), {"shape": (-1,)}, raises="shape = [-1]"),
    Case("RandomNormalLike", (f64(3, 4),), {"seed": 5.0, "mean": 1.0}, oracle=normal),
    Case("RandomNormalLike", (integers(3),), {"seed": 5.0, "dtype": 1}, oracle=normal),
    Case("RandomNormalLike", (integers(3),), raises="dtype of input int64"),
    Case("RandomUniformLike", (HALF,), {"seed": 5.0, "high": 9.0}, oracle=uniform),
    Case("RandomUniformLike", (integers(3, 2),), {"seed": 5.0, "dtype": 11}, oracle=uniform),
    Case("RandomUniformLike", (f32(3),), {"dtype": 9}, raises="dtype = 9"),
    Case("Bernoulli", (positive(30) / 2,), {"seed": 2.0}, oracle=bernoulli),
    Case("Bernoulli", (np.array([0, 1, 0, 1.0]),), {"seed": 2.0, "dtype": 9}, oracle=bernoulli),
    Case("Bernoulli", (HALF,), {"seed": 2.0, "dtype": 7}, oracle=bernoulli),
    Case("Bernoulli", (integers(3),), raises="expected one of"),
    Case("Multinomial", (f32(3, 5),), {"seed": 4.0, "sample_size": 50}, oracle=multinomial),
    Case(
        "Multinomial", (f64(1, 9) - 800 * (np.arange(9) > 3),), {"seed": 4.0, "dtype": 7}, oracle=multinomial
    ),
    Case("Multinomial", (f32(3, 5),), {"sample_size": 0}, raises="sample_size = 0"),
    Case("Multinomial", (f32(3),), raises="rank 1"),
    Case("Dropout", (f32(3, 4),), n_outputs=2, oracle=dropout),
    Case("Dropout", (f32(3, 4), np.array(0.3, np.float32), NO), n_outputs=2, oracle=dropout),
    Case("Dropout", (f32(30, 4), np.array(0.3, np.float32), YES), {"seed": 1}, 2, dropout),
    Case("Dropout", (f64(30, 4), None, YES), {"seed": 1}, 2, dropout),
    Case("Dropout", (HALF, None, YES), {"seed": 1}, 2, dropout),
    Case("Dropout", (f32(0, 4), np.array(0.3, np.float32), YES), n_outputs=2, oracle=dropout),
    Case("Dropout", (f32(3), np.array(1.0, np.float32), YES), raises="ratio = 1.0"),
    Case("Dropout", (integers(3),), raises="expected one of"),
    Case("Dropout", (f32(3), f32(1)), raises="ratio = float32[1]"),
]
