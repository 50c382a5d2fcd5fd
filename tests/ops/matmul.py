"""Cases of numba_rt/ops/matmul.py."""

import numpy as np

from numba_rt.kernels.packing import pack_b
from tests.ops.cases import Case, f32, f64, integers

WIDE = {"rtol": 1e-4, "atol": 1e-4}


def fused(
    A,
    B,
    bias=None,
    residual=None,
    *,
    transB=False,
    alpha=1.0,
    lo=-np.inf,
    packed=0,
    heads=(0, 0, 0),
    plain=None,
):
    """The meaning of FusedMatMul in NumPy; `plain` is B before it was packed."""
    turn = lambda x, on: x.transpose(0, 2, 1, 3) if on else x  # noqa: E731
    b = plain if packed else turn(B, heads[1])
    y = alpha * np.matmul(turn(A, heads[0]), np.swapaxes(b, -1, -2) if transB else b)
    y = y if bias is None else y + bias
    y = turn(y, heads[2])
    y = y if residual is None else y + residual
    return np.maximum(y, lo).astype(np.float32)


def fused_case(*inputs, heads=(0, 0, 0), plain=None, **attributes):
    given = dict(attributes)
    if any(heads):
        given |= {k: bool(v) for k, v in zip(("a_heads", "b_heads", "c_heads"), heads, strict=True)}
    return Case(
        "FusedMatMul",
        inputs,
        given,
        domain="numba_rt",
        oracle=lambda *xs, **_: fused(*xs, heads=heads, plain=plain, **attributes),
        label=str(heads),
        **WIDE,
    )


W = f32(19, 37, seed=3)

CASES = [
    Case("MatMul", (f32(3, 4), f32(4, 5, seed=1))),
    Case("MatMul", (f32(33, 65), f32(65, 47, seed=1)), **WIDE),
    Case("MatMul", (f32(1, 130), f32(130, 70, seed=1)), **WIDE),
    Case("MatMul", (f32(2, 3, 4, 5), f32(2, 3, 5, 6, seed=1))),
    Case("MatMul", (f32(2, 3, 4, 5), f32(3, 5, 6, seed=1))),
    Case("MatMul", (f32(2, 1, 4, 5), f32(1, 3, 5, 6, seed=1))),
    Case("MatMul", (f32(4, 5), f32(2, 3, 5, 6, seed=1))),
    Case("MatMul", (f32(2, 1, 2, 1, 3, 5), f32(1, 2, 1, 2, 5, 4, seed=1))),
    Case("MatMul", (f32(5), f32(5, seed=1))),
    Case("MatMul", (f32(5), f32(2, 5, 3, seed=1))),
    Case("MatMul", (f32(2, 4, 5), f32(5, seed=1))),
    Case("MatMul", (f32(2, 0), f32(0, 3))),
    Case("MatMul", (f32(0, 4), f32(4, 3))),
    Case("MatMul", (f64(7, 9), f64(9, 5, seed=1))),
    Case("MatMul", (f64(2, 1, 3, 4), f64(3, 4, 2, seed=1))),
    Case("MatMul", (integers(4, 5), integers(5, 3, seed=1))),
    Case("MatMul", (f32(3, 4), f32(5, 4)), raises="4 columns"),
    Case("MatMul", (f32(2, 3, 4), f32(3, 4, 4)), raises="cannot be broadcast"),
    Case("MatMul", (f32(3, 4), f64(4, 4)), raises="same dtype"),
    Case("Gemm", (f32(3, 4), f32(4, 5, seed=1))),
    Case("Gemm", (f32(17, 20), f32(33, 20, seed=1), f32(33, seed=2)), {"transB": True, "alpha": 0.5}),
    Case("Gemm", (f32(4, 3), f32(4, 5, seed=1), f32(3, 1, seed=2)), {"transA": True, "beta": 2.0}),
    Case("Gemm", (f32(3, 4), f32(4, 5, seed=1), f32(seed=2)), {"beta": 0.5}),
    Case("Gemm", (f64(4, 3), f64(5, 4, seed=1), f64(1, 5)), {"transA": True, "transB": True, "alpha": 3.0}),
    Case("Gemm", (f32(3, 4), f32(4, 5), f32(2, 3, 5)), raises="cannot be broadcast"),
    Case("Gemm", (f32(3, 4, 5), f32(5, 5)), raises="rank 3"),
    fused_case(f32(7, 19), W, f32(37, seed=5), f32(7, 37, seed=6), lo=0.0),
    fused_case(f32(2, 3, 19), pack_b(W).reshape(-1), f32(37, seed=5), packed=37, plain=W),
    fused_case(f32(2, 9, 3, 8), f32(2, 5, 3, 8, seed=1), transB=True, alpha=0.25, heads=(1, 1, 0)),
    fused_case(f32(2, 3, 9, 5), f32(2, 5, 3, 8, seed=1), heads=(0, 1, 1)),
    fused_case(f32(1, 9, 3, 8), f32(2, 3, 8, 4, seed=1), heads=(1, 0, 1)),
    Case(
        "ScaleBy",
        (f32(3, 4),),
        {"factor": 0.5},
        domain="numba_rt",
        oracle=lambda x, factor: x * np.float32(factor),
    ),
    Case(
        "ScaledSum",
        (f64(3), f64(3, seed=1)),
        {"alpha": 2.0, "beta": 3.0},
        domain="numba_rt",
        oracle=lambda x, y, alpha, beta: alpha * x + beta * y,
    ),
]
