"""Cases of numba_rt/ops/softmax.py."""

import numpy as np

from tests.ops.cases import Case, f32, f64, integers

NAN, INF = np.nan, np.inf
ODD = np.array([[1, 2, -INF], [-INF, -INF, -INF], [1, NAN, 2], [INF, 1, 2]], np.float32)


def softmax(x, axis=-1):
    with np.errstate(invalid="ignore"):
        e = np.exp(x - np.max(x, axis=axis, keepdims=True))
        return e / np.sum(e, axis=axis, keepdims=True)


def masked(x, mask, scale=1.0):
    with np.errstate(invalid="ignore"):
        return softmax(x.astype(np.float64) * scale + mask).astype(x.dtype)


def log_softmax(x, axis=-1):
    x = x.astype(np.float64)
    with np.errstate(invalid="ignore"):
        e = x - np.max(x, axis=axis, keepdims=True)
        return (e - np.log(np.sum(np.exp(e), axis=axis, keepdims=True))).astype(np.float32)


CASES = [
    *(Case(name, (f32(3, 4, 5),)) for name in ("Softmax", "LogSoftmax")),
    *(Case(name, (f32(3, 4, 5),), {"axis": 1}) for name in ("Softmax", "LogSoftmax")),
    Case("Softmax", (f32(3, 4, 5) * 50,), {"axis": -3}),
    Case("LogSoftmax", (f32(3, 4, 5) * 50,), {"axis": -3}, oracle=log_softmax),
    Case("Softmax", (f32(2, 7, 600),), {"axis": 1}),
    Case("Softmax", (f32(5, 1000) * 9,)),
    Case("Softmax", (f32(300, 129),)),
    Case("Softmax", (f32(6),), {"axis": 0}),
    Case("Softmax", (f32(4, 1),)),
    Case("Softmax", (f64(3, 5),)),
    Case("Softmax", (f64(3, 5),), {"axis": 0}),
    Case("Softmax", (f32(0, 5),)),
    Case("Softmax", (f32(5, 0),)),
    Case("Softmax", (ODD,), oracle=softmax),
    Case("Softmax", (ODD.T.copy(),), {"axis": 0}, oracle=softmax),
    Case("LogSoftmax", (ODD,), oracle=log_softmax),
    Case("LogSoftmax", (f64(3, 5),)),
    Case("LogSoftmax", (f32(4, 3000) * 30,), oracle=log_softmax),
    Case("Softmax", (f32(3, 4),), {"axis": 2}, raises="axis = 2 is out of range"),
    Case("Softmax", (integers(3),), raises="expected one of"),
    Case("LogSoftmax", (f32(),), raises="at least 1"),
    *(
        Case(
            "MaskedSoftmax",
            (f32(2, 3, 4, 5), f32(*shape, seed=1)),
            attributes,
            oracle=masked,
            domain="numba_rt",
        )
        for shape, attributes in [
            ((5,), {"scale": 0.125}),
            ((2, 1, 1, 5), {"scale": 0.5}),
            ((2, 1, 4, 5), {}),
            ((3, 1, 1), {"scale": -1.0}),
            ((2, 3, 4, 5), {}),
            ((1, 1, 4, 1), {}),
        ]
    ),
    Case(
        "MaskedSoftmax",
        (f32(3, 40, 130), np.where(f32(40, 130, seed=1) > 0, 0, -INF).astype(np.float32)),
        {"scale": 0.1},
        oracle=masked,
        domain="numba_rt",
    ),
    Case("MaskedSoftmax", (ODD, np.full((4, 1), -INF, np.float32)), oracle=masked, domain="numba_rt"),
    Case(
        "MaskedSoftmax",
        (f32(4, 3), np.full((4, 3), -1e30, np.float32)),
        oracle=masked,
        domain="numba_rt",
        atol=1e-5,
    ),
    Case("MaskedSoftmax", (f64(2, 3), f64(3)), oracle=masked, domain="numba_rt"),
    Case("MaskedSoftmax", (f32(2, 0), f32(1)), oracle=lambda x, m: x, domain="numba_rt"),
    Case("MaskedSoftmax", (f32(2, 3), f32(4)), raises="cannot be broadcast to x", domain="numba_rt"),
    Case("MaskedSoftmax", (f32(2, 3), f64(3)), raises="same dtype", domain="numba_rt"),
]
