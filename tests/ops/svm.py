"""Cases of numba_rt/ops/svm.py."""

import numpy as np

from tests.ops.cases import Case, f32, i64

ML = {"domain": "ai.onnx.ml"}
VECTORS = f32(5, 3, seed=1).reshape(-1).tolist()
PAIRS = {
    "coefficients": f32(10, seed=2).tolist(),
    "support_vectors": VECTORS,
    "vectors_per_class": [2, 1, 2],
    "rho": [0.1, -0.2, 0.3],
    "kernel_params": [0.5, 0.25, 2.0],
    "classlabels_ints": [3, 5, 7],
}
PROBABLE = {"prob_a": [-1.0, -2.0, -0.5], "prob_b": [0.1, 0.0, -0.1]}
TWO = {
    "coefficients": [-1.0, 1.0],
    "support_vectors": [-1.0, 1.0],
    "vectors_per_class": [1, 1],
    "rho": [0.2],
    "classlabels_ints": [5, 7],
}
ALIKE = {
    "coefficients": [0.5, -1.0, 0.25, 1.0, -0.75],
    "support_vectors": VECTORS,
    "n_supports": 5,
    "rho": [0.2],
    "kernel_params": [0.5, 0.25, 2.0],
}
POINTS = np.array([[-2], [0.3]], np.float32)


def classifier(x, oracle=None, raises="", **given):
    return Case(
        "SVMClassifier", (x,), given, n_outputs=2, oracle=oracle, raises=raises, rtol=1e-4, atol=1e-4, **ML
    )


def coupled(*_, **__):
    """From another implementation: the reference evaluator couples probabilities otherwise."""
    made = [[0.145979, 0.472173, 0.381848], [0.164939, 0.439418, 0.395643], [0.314732, 0.364294, 0.320974]]
    return np.array([5, 5, 3]), np.array(made, np.float32)


def regressor(x, raises="", **given):
    return Case("SVMRegressor", (x,), {**ALIKE, **given}, raises=raises, rtol=1e-4, atol=1e-4, **ML)


def two(z, **given):
    expected = np.array([7, 5]), np.round(np.array(z, np.float32), 3)
    return Case(
        "SVMClassifier",
        (POINTS,),
        {**TWO, **given},
        n_outputs=2,
        oracle=lambda *_, **__: expected,
        rtol=2e-3,
        atol=1e-3,
        **ML,
    )


CASES = [
    *(classifier(f32(6, 3), **PAIRS, kernel_type=k) for k in ("LINEAR", "POLY", "RBF", "SIGMOID")),
    classifier(f32(6, 3), **PAIRS, kernel_type="RBF", post_transform="SOFTMAX"),
    classifier(f32(3, 3), coupled, **PAIRS, **PROBABLE, kernel_type="RBF"),
    classifier(f32(0, 3), lambda *_, **__: (i64(), np.zeros((0, 3), np.float32)), **PAIRS, kernel_type="RBF"),
    two([[3.8, -3.8], [-0.8, 0.8]]),
    two([[0.978, 0.022], [0.310, 0.690]], post_transform="LOGISTIC"),
    two([[4.8, -3.8], [0.2, 0.8]], post_transform="SOFTMAX"),
    two([[0.0163, 0.984], [0.6211, 0.379]], prob_a=[-1.0], prob_b=[0.3]),
    classifier(f32(6, 2), coefficients=[1.0, -1.0, 0.5, 2.0], rho=[0.2], classlabels_ints=[5, 7]),
    classifier(f32(6, 2), raises="expected 2 for each", **PAIRS, kernel_type="RBF"),
    classifier(f32(6, 3), raises="vectors_per_class", **{**PAIRS, "vectors_per_class": [2, 3]}),
    classifier(f32(6, 3), raises="2 rho", **{**PAIRS, "rho": [0.1, 0.2]}),
    classifier(f32(6, 3), raises="9 coefficients", **{**PAIRS, "coefficients": [1.0] * 9}),
    classifier(f32(6, 3), raises="kernel_type = 'GAUSS'", **PAIRS, kernel_type="GAUSS"),
    classifier(
        f32(6, 3), raises="4 coefficients", coefficients=[1.0] * 4, rho=[0.2], classlabels_ints=[5, 7]
    ),
    *(regressor(f32(6, 3), kernel_type=k) for k in ("LINEAR", "POLY", "RBF", "SIGMOID")),
    regressor(f32(6, 3), kernel_type="RBF", one_class=1),
    regressor(f32(4, 5), n_supports=0, support_vectors=[0.0]),
    regressor(f32(6, 2), raises="support_vectors has 15 numbers"),
    regressor(f32(6, 3), raises="4 coefficients", coefficients=[1.0] * 4),
    regressor(f32(6, 3), raises="expected NONE", post_transform="SOFTMAX"),
    regressor(f32(6, 3), raises="gamma, coef0 and degree", kernel_type="RBF", kernel_params=[1.0]),
    regressor(np.array([["a"]], object), raises="X = string"),
]
