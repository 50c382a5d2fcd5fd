"""Cases of numba_rt/ops/linear.py."""

import numpy as np

from tests.ops.cases import Case, f32, f64, integers

ML = {"domain": "ai.onnx.ml"}
LINE = {"coefficients": [1.0, 2.0, 3.0, -1.0, 0.5, 0.25], "targets": 2}
THREE = {"coefficients": [1.0, 2.0, -1.0, 0.5, 0.25, -2.0], "intercepts": [0.5, 0.0, -1.0]}
LINES = np.array(THREE["coefficients"]).reshape(3, 2)
ONE = {"coefficients": [1.0], "classlabels_ints": [5, 7]}
POINTS = np.array([[-2], [0.3]], np.float32)


def lines(x, coefficients, targets, intercepts=0.0, post_transform="NONE"):
    made = x @ np.array(coefficients).reshape(targets, -1).T + np.array(intercepts)
    if post_transform == "SOFTMAX":
        made = np.exp(made) / np.exp(made).sum(1, keepdims=True)
    return made.astype(np.float32)


def classes(labels, transform=lambda s: s):
    def oracle(x, **_):
        s = x @ LINES.T + np.array(THREE["intercepts"])
        return np.array(labels)[s.argmax(1)], transform(s).astype(np.float32)

    return oracle


def one(z, **changed):
    return Case(
        "LinearClassifier",
        (POINTS,),
        {**ONE, **changed},
        n_outputs=2,
        oracle=lambda *_, **__: (np.array([5, 7]), np.array(z, np.float32)),
        rtol=1e-3,
        atol=1e-3,
        **ML,
    )


CASES = [
    Case("LinearRegressor", (f32(4, 3),), {**LINE, "intercepts": [1.0, -1.0]}, oracle=lines, **ML),
    Case("LinearRegressor", (f64(0, 3),), LINE, oracle=lines, **ML),
    Case("LinearRegressor", (f32(4, 3),), {**LINE, "post_transform": "SOFTMAX"}, oracle=lines, **ML),
    Case("LinearRegressor", (f32(4, 2),), LINE, raises="6 coefficients for 2 targets", **ML),
    Case("LinearRegressor", (f32(4, 3),), {**LINE, "intercepts": [1.0]}, raises="1 intercepts", **ML),
    Case("LinearRegressor", (f32(4, 3),), {**LINE, "post_transform": "EXP"}, raises="'EXP'", **ML),
    Case(
        "LinearClassifier",
        (f32(4, 2),),
        {**THREE, "classlabels_ints": [5, 7, 9]},
        n_outputs=2,
        oracle=classes([5, 7, 9]),
        **ML,
    ),
    Case(
        "LinearClassifier",
        (integers(4, 2),),
        {**THREE, "classlabels_strings": ["a", "b", "c"], "post_transform": "LOGISTIC"},
        n_outputs=2,
        oracle=classes(["a", "b", "c"], lambda s: 1 / (1 + np.exp(-s))),
        **ML,
    ),
    one([[3, -2], [0.7, 0.3]]),
    one([[0.881, 0.119], [0.426, 0.574]], post_transform="LOGISTIC"),
    Case("LinearClassifier", (f32(4, 3),), ONE, n_outputs=2, raises="1 coefficients for 2 classes", **ML),
    Case("LinearClassifier", (f32(4, 1),), {"coefficients": [1.0]}, raises="none are given", **ML),
]
