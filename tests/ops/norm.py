"""Cases of numba_rt/ops/norm.py."""

import numpy as np

from tests.ops.cases import Case, f32, f64, positive


def add_norm(a, b, scale, bias=None, axis=-1, epsilon=1e-5, centred=True):
    x = a.astype(np.float64) + b
    axes = tuple(range(axis % x.ndim, x.ndim))
    mean = x.mean(axes, keepdims=True) if centred else 0
    y = (x - mean) / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + epsilon) * scale
    return (y if bias is None else y + bias).astype(a.dtype), x.astype(a.dtype)


def group_norm(x, scale, bias, num_groups=1, epsilon=1e-5):
    g = x.astype(np.float64).reshape(x.shape[0], num_groups, np.prod(x.shape[1:], dtype=int) // num_groups)
    g = (g - g.mean(-1, keepdims=True)) / np.sqrt(g.var(-1, keepdims=True) + epsilon)
    per_channel = (-1,) + (1,) * (x.ndim - 2)
    return (g.reshape(x.shape) * scale.reshape(per_channel) + bias.reshape(per_channel)).astype(x.dtype)


def lrn(x, size, alpha=1e-4, beta=0.75, bias=1.0):
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        near = x[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1].astype(np.float64)
        y[:, c] = x[:, c] / (bias + alpha / size * (near**2).sum(1)) ** beta
    return y


def on_pixels(function):
    """An oracle for images whose channels come last."""

    def oracle(x, *vectors, **attributes):
        return np.moveaxis(function(np.moveaxis(x, -1, 1), *vectors, **attributes), 1, -1)

    return oracle


def with_nan(x):
    x = x.copy()
    x[1, 2, 3, 1] = np.nan
    return x


def instance_norm(x, scale, bias, epsilon=1e-5):
    return group_norm(x, scale, bias, x.shape[1], epsilon)


OWN = {"domain": "numba_rt", "oracle": add_norm}

CASES = [
    Case("LayerNormalization", (f32(2, 3, 8), f32(8, seed=1), f32(8, seed=2))),
    Case("LayerNormalization", (f32(2, 3, 8), f32(8, seed=1))),
    Case("LayerNormalization", (f32(2, 3, 8), f32(8, seed=1), f32(8, seed=2)), n_outputs=3),
    Case("LayerNormalization", (f32(2, 3, 8) + 100, f32(3, 8, seed=1)), {"axis": 1}, n_outputs=2, rtol=1e-3),
    Case("LayerNormalization", (f32(2, 3, 8), f32(3, 8), f32(3, 8)), {"axis": -2, "epsilon": 0.1}),
    Case("LayerNormalization", (f32(2, 3, 8), f32(8), f32(3, 1)), {"axis": 1}),
    Case("LayerNormalization", (f32(2, 3, 8), f32(1)), {"axis": 0}),
    Case("LayerNormalization", (f32(3, 5001), f32(5001), f32(5001)), rtol=1e-4, atol=1e-5),
    Case("LayerNormalization", (f32(70, 129), f32(129), f32(129)), atol=1e-5),
    Case("LayerNormalization", (f64(2, 5), f64(5), f64(5))),
    Case("LayerNormalization", (f32(0, 5), f32(5), f32(5)), n_outputs=3),
    Case("LayerNormalization", (f32(4, 1), f32(1), f32(1)), n_outputs=3),
    Case("LayerNormalization", (np.array([[1, np.nan, 2], [1, 2, 4]], np.float32), f32(3))),
    Case("LayerNormalization", (f32(2, 8), f32(7)), raises="Scale = float32[7] cannot be broadcast"),
    Case("LayerNormalization", (f32(2, 8), f32(2, 8)), raises="cannot be broadcast"),
    Case("LayerNormalization", (f32(2, 8), f64(8)), raises="same dtype"),
    Case("LayerNormalization", (f32(2, 8), f32(8)), {"axis": 2}, raises="out of range"),
    Case("RMSNormalization", (f32(2, 3, 8), f32(8, seed=1))),
    Case("RMSNormalization", (f32(2, 3, 8), f32(3, 8, seed=1)), {"axis": 1, "epsilon": 0.01}),
    Case("RMSNormalization", (f64(2, 7), f64(7))),
    Case("RMSNormalization", (f32(2, 8), f32(9)), raises="cannot be broadcast"),
    Case(
        "FusedAddLayerNormalization", (f32(2, 3, 8), f32(2, 3, 8, seed=1), f32(8), f32(8)), n_outputs=2, **OWN
    ),
    Case(
        "FusedAddLayerNormalization",
        (f32(70, 65), f32(70, 65, seed=1), f32(65)),
        n_outputs=2,
        atol=1e-5,
        **OWN,
    ),
    Case("FusedAddLayerNormalization", (f32(3, 8), f32(3, 8, seed=1), f32(8)), {"centred": False}, 2, **OWN),
    Case(
        "FusedAddLayerNormalization",
        (f32(3, 8), f32(3, 8, seed=1), f32(8), f32(8)),
        domain="numba_rt",
        oracle=lambda *x: add_norm(*x)[0],
    ),
    Case("FusedAddLayerNormalization", (f32(0, 8), f32(0, 8), f32(8), f32(8)), n_outputs=2, **OWN),
    Case("FusedAddLayerNormalization", (f32(3, 8), f32(2, 8), f32(8)), raises="same shape", **OWN),
    Case("InstanceNormalization", (f32(2, 3, 4, 5), f32(3), f32(3, seed=1)), atol=1e-5),
    Case(
        "InstanceNormalization", (f32(1, 2, 90, 91) + 3, f32(2), f32(2, seed=1)), {"epsilon": 0.1}, atol=1e-4
    ),
    Case("InstanceNormalization", (f64(2, 3, 7), f64(3), f64(3))),
    Case("InstanceNormalization", (f32(0, 3, 7), f32(3), f32(3))),
    Case("InstanceNormalization", (f32(2, 3, 7), f32(4), f32(3)), raises="scale = float32[4] must have"),
    Case(
        "GroupNormalization", (f32(2, 6, 4, 5), f32(6), f32(6, seed=1)), {"num_groups": 3}, oracle=group_norm
    ),
    Case(
        "GroupNormalization",
        (f32(3, 4), f32(4), f32(4, seed=1)),
        {"num_groups": 1},
        oracle=group_norm,
        atol=1e-5,
    ),
    Case("GroupNormalization", (f64(2, 4, 3), f64(4), f64(4)), {"num_groups": 4}, oracle=group_norm),
    Case("GroupNormalization", (f32(2, 6, 4), f32(6), f32(6)), {"num_groups": 4}, raises="does not divide"),
    Case("LRN", (f32(2, 7, 3, 4),), {"size": 3, "alpha": 0.1}, oracle=lrn),
    Case("LRN", (f32(1, 5, 30, 30),), {"size": 4, "alpha": 0.5, "beta": 0.6, "bias": 2.0}, oracle=lrn),
    Case("LRN", (f64(2, 3, 5),), {"size": 5, "alpha": 1.0}, oracle=lrn),
    Case("LRN", (positive(2, 6),), {"size": 9}, oracle=lrn),
    Case("LRN", (f32(2, 3, 5),), {"size": 0}, raises="size = 0"),
    *(
        Case("NhwcLRN", (x,), {"alpha": 0.5, **w}, oracle=on_pixels(lrn), domain="numba_rt")
        for x, w in (
            (f32(2, 3, 4, 7), {"size": 3}),
            (f32(1, 30, 30, 5), {"size": 4, "beta": 0.6, "bias": 2.0}),
            (f64(2, 5, 3), {"size": 5}),
            (f32(2, 3, 6), {"size": 9}),
            (f32(2, 0, 6), {"size": 2}),
        )
    ),
    Case("NhwcLRN", (f32(2, 3, 5),), {"size": 0}, raises="size = 0", domain="numba_rt"),
    *(
        Case(
            "NhwcGroupNormalization",
            (x, *(np.linspace(-1, 2, x.shape[-1]).astype(x.dtype) + i for i in (0, 1))),
            {"num_groups": n},
            oracle=on_pixels(group_norm),
            domain="numba_rt",
            atol=1e-5,
        )
        for x, n in (
            (f32(2, 4, 5, 6), 3),
            (f32(1, 40, 41, 16) + 3, 1),
            (f32(3, 7, 7, 4), 4),
            (f64(2, 4, 6), 2),
            (f32(3, 6), 2),
            (f32(0, 3, 6), 2),
            (f32(2, 1, 1, 3), 3),
            (f32(2, 67, 5), 1),
            (f32(1, 37, 41, 97), 97),
            (f32(1, 241, 3) + 30, 3),
            (f32(2, 5, 9, 1100), 4),
            (with_nan(f32(2, 3, 5, 8)), 2),
        )
    ),
    Case(
        "NhwcGroupNormalization",
        (f32(2, 4, 6), f32(6), f32(6)),
        {"num_groups": 4},
        domain="numba_rt",
        raises="does not divide",
    ),
    Case(
        "NhwcInstanceNormalization",
        (f32(2, 4, 5, 3), f32(3), f32(3, seed=1)),
        {"epsilon": 0.1},
        oracle=on_pixels(instance_norm),
        domain="numba_rt",
    ),
    Case("NhwcInstanceNormalization", (f32(2, 7, 3), f32(4), f32(3)), domain="numba_rt", raises="scale"),
]
