"""Cases of numba_rt/ops/batch_norm.py."""

import numpy as np

from tests.ops.cases import Case, f32, f64, integers, positive


def statistics(channels, make=f32):
    """scale, B, input_mean, input_var"""
    return (
        make(channels),
        make(channels, seed=1),
        make(channels, seed=2),
        np.abs(make(channels, seed=3)) + 0.1,
    )


def train(x, scale, bias, mean, var, epsilon=1e-5, momentum=0.9, training_mode=True):
    axes = tuple(a for a in range(x.ndim) if a != 1)
    shape = tuple(-1 if a == 1 else 1 for a in range(x.ndim))
    new_mean, new_var = x.mean(axes, dtype=np.float64), x.var(axes, dtype=np.float64)
    y = (x - new_mean.reshape(shape)) / np.sqrt(new_var.reshape(shape) + epsilon)
    out = (
        y * scale.reshape(shape) + bias.reshape(shape),
        mean * momentum + new_mean * (1 - momentum),
        var * momentum + new_var * (1 - momentum),
    )
    return tuple(o.astype(x.dtype) for o in out)


def standardise(x, axes=(0, 2, 3)):
    wide = x.astype(np.float64)
    return ((wide - wide.mean(axes, keepdims=True)) / (wide.std(axes, keepdims=True) + 1e-9)).astype(x.dtype)


def over_norm(x, axis=-1, p=2):
    norm = np.linalg.norm(x, ord=p, axis=axis, keepdims=True)
    return np.where(norm == 0, 0, x / np.where(norm == 0, 1, norm)).astype(x.dtype)


TRAINING = {"training_mode": True}

CASES = [
    Case("BatchNormalization", (f32(2, 3, 4, 5), *statistics(3))),
    Case("BatchNormalization", (f32(2, 3, 4, 5), *statistics(3)), {"epsilon": 0.1}),
    Case("BatchNormalization", (f32(5, 7), *statistics(7))),
    Case("BatchNormalization", (f32(1, 2, 200), *statistics(2))),
    Case("BatchNormalization", (f64(2, 3, 2, 2, 2), *statistics(3, f64))),
    Case("BatchNormalization", (f32(0, 3, 4), *statistics(3))),
    Case(
        "BatchNormalization",
        (f32(2, 3, 4, 5), *statistics(3)),
        {"momentum": 0.7, **TRAINING},
        3,
        train,
        atol=1e-5,
    ),
    Case("BatchNormalization", (f32(6, 3) + 5, *statistics(3)), TRAINING, 3, oracle=train, atol=1e-5),
    Case("BatchNormalization", (f32(2, 3, 4), *statistics(4)), raises="scale = float32[4] must have one"),
    Case("BatchNormalization", (f32(2, 3), *statistics(3)), n_outputs=3, raises="only with training_mode"),
    Case("MeanVarianceNormalization", (f32(3, 3, 4, 2),), oracle=standardise, atol=1e-5),
    Case("MeanVarianceNormalization", (f32(3, 4, 5),), {"axes": (-1,)}, oracle=standardise, atol=1e-5),
    Case("MeanVarianceNormalization", (f64(3, 4, 5, 6),), {"axes": (0, 2)}, oracle=standardise),
    Case("MeanVarianceNormalization", (f32(3, 4),), raises="out of range"),
    Case("LpNormalization", (f32(3, 4, 5),), oracle=over_norm),
    Case("LpNormalization", (f32(3, 4, 5),), {"axis": 1, "p": 1}, oracle=over_norm),
    Case("LpNormalization", (f32(3, 4) * np.array([[0], [1], [2]], np.float32),), oracle=over_norm),
    Case("LpNormalization", (f64(2, 300),), {"axis": 0}, oracle=over_norm),
    Case("LpNormalization", (positive(3),), {"p": 3}, raises="p = 3"),
    Case("LpNormalization", (integers(3),), raises="expected one of"),
]
