"""Cases of numba_rt/ops/optimizers.py."""

import numpy as np

from tests.ops.cases import Case, f32, f64, positive

R, FIRST, LATER = np.array(0.1, np.float32), np.array(0, np.int64), np.array(7, np.int64)
X, G = (f32(3, 5), f32(7, seed=1)), (f32(3, 5, seed=2), f32(7, seed=3))
V, H = (f32(3, 5, seed=4), f32(7, seed=5)), (positive(3, 5), positive(7, seed=1))
MOMENTUM = {"alpha": 0.9, "beta": 0.5, "norm_coefficient": 0.001}


def step(name, *inputs, n_outputs=2, **more):
    attributes = more.pop("attributes", {})
    return Case(name, inputs, attributes, n_outputs, domain="ai.onnx.preview.training", **more)


CASES = [
    step("Adagrad", R, LATER, X[0], G[0], H[0], attributes={"decay_factor": 0.1, "norm_coefficient": 0.01}),
    step("Adagrad", R, FIRST, *X, *G, *H, n_outputs=4),
    step("Adagrad", R, FIRST, X[0], G[0], raises="expected 3 for each tensor"),
    step("Adagrad", R, FIRST, X[0], G[1], H[0], raises="expected the same shape"),
    step("Adam", R, LATER, *X, *G, *V, *H, n_outputs=6),
    step(
        "Adam", R, FIRST, *X, *G, *V, *H, n_outputs=6, attributes={"alpha": 0.8, "norm_coefficient_post": 0.5}
    ),
    step("Adam", R, FIRST, f64(3), f32(3), f64(3), f64(3), n_outputs=3, raises="expected the same shape"),
    step("Momentum", R, LATER, X[0], G[0], V[0], attributes={**MOMENTUM, "mode": "standard"}),
    step("Momentum", R, FIRST, *X, *G, *V, n_outputs=4, attributes={**MOMENTUM, "mode": "nesterov"}),
    step("Momentum", R, FIRST, X[0], G[0], V[0], attributes={**MOMENTUM, "mode": "x"}, raises="mode = 'x'"),
]
