"""Cases of numba_rt/ops/activation.py."""

import math

import numpy as np

from tests.ops.cases import Case, f32, f64, integers

MICROSOFT = "com.microsoft"
WIDE = np.array([0, -0.5, 3, 30, -30, 100, -100, np.inf, -np.inf, np.nan], np.float32)


def gelu(x: np.ndarray, **_: object) -> np.ndarray:
    wide = np.vectorize(lambda v: v * 0.5 * (1 + math.erf(v / math.sqrt(2))))(x.astype(np.float64))
    return wide.astype(x.dtype)


def tanh_gelu(x: np.ndarray) -> np.ndarray:
    wide = x.astype(np.float64)
    wide = wide * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)))
    return wide.astype(x.dtype)


def swish(x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    return (x / (1 + np.exp(-alpha * x.astype(np.float64)))).astype(x.dtype)


def softplus(x: np.ndarray) -> np.ndarray:
    wide = x.astype(np.float64)
    return (np.log1p(np.exp(-np.abs(wide))) + np.maximum(wide, 0)).astype(x.dtype)


CASES = [
    Case("Relu", (WIDE,)),
    Case("Relu", (integers(7, dtype=np.int32),)),
    Case("LeakyRelu", (f32(3, 4),), {"alpha": 0.1}),
    Case("PRelu", (f32(2, 3, 4), f32(3, 1, seed=1))),
    Case("PRelu", (integers(5), integers(1))),
    Case("PRelu", (f32(3), f32(2, 3)), raises="cannot be broadcast to the shape of X"),
    Case("ThresholdedRelu", (f32(9),), {"alpha": 0.5}),
    Case("Elu", (f32(9),), {"alpha": 2.0}),
    Case("Selu", (f32(9),)),
    Case("Celu", (f32(9),), {"alpha": 2.0}),
    Case("Sigmoid", (WIDE[:7],)),
    Case("Sigmoid", (f64(5),), rtol=1e-12),
    Case("HardSigmoid", (f32(9) * 3,), {"alpha": 0.3}),
    Case("HardSwish", (f32(9) * 3,)),
    Case("Softplus", (WIDE[:5],)),
    Case("Softplus", (WIDE,), oracle=softplus, label="wide"),
    Case("Softsign", (f32(9),)),
    Case("Mish", (f32(9),)),
    Case("Mish", (WIDE[:7],), oracle=lambda X: X * np.tanh(softplus(X))),
    Case("Swish", (f32(9),), {"alpha": 1.5}, oracle=swish),
    Case("QuickGelu", (f32(9),), {"alpha": 1.702}, oracle=swish, domain=MICROSOFT),
    Case("SwiGLU", (f32(2, 5), f32(2, 5, seed=1)), opset=28, oracle=lambda A, B: swish(A) * B),
    Case("SwiGLU", (f32(2, 5), f32(5)), opset=28, raises="expected the same shape"),
    Case("Gelu", (f32(9) * 3,), oracle=gelu),
    Case("Gelu", (f64(5),), rtol=1e-12, oracle=gelu),
    Case("Gelu", (f32(9),), {"approximate": "tanh"}),
    Case("Gelu", (f32(9),), {"approximate": "fast"}, raises="approximate = 'fast'"),
    Case("Gelu", (f32(9),), domain=MICROSOFT, oracle=gelu),
    Case("BiasGelu", (f32(3, 5), f32(5, seed=1)), domain=MICROSOFT, oracle=lambda A, B: gelu(A + B)),
    Case("BiasGelu", (f32(3, 5), f32(1, 5)), domain=MICROSOFT, raises="expected a vector"),
    Case("FastGelu", (f32(3, 5),), domain=MICROSOFT, oracle=tanh_gelu),
    Case("FastGelu", (f32(3, 5), f32(5, seed=1)), domain=MICROSOFT, oracle=lambda X, b: tanh_gelu(X + b)),
    Case("Shrink", (f32(9),), {"bias": 0.5, "lambd": 0.8}),
    Case("Shrink", (integers(9),), {"bias": 1.5, "lambd": 1.5}),
]
