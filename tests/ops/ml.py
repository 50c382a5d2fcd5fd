"""Cases of numba_rt/ops/ml.py."""

from statistics import NormalDist

import numpy as np

from tests.ops.cases import Case, f32, f64, i64, integers

ML = {"domain": "ai.onnx.ml"}
TREES = {
    "n_targets": 2,
    "tree_roots": [0, 3],
    "nodes_featureids": [0, 1, 2, 0, 1],
    "nodes_splits": np.array([0.1, -0.2, 0.5, 0.0, 1.0], np.float32),
    "nodes_modes": np.array([0, 1, 2, 3, 5], np.uint8),
    "nodes_truenodeids": [1, 0, 2, 4, 5],
    "nodes_trueleafs": [0, 1, 1, 0, 1],
    "nodes_falsenodeids": [2, 1, 3, 4, 0],
    "nodes_falseleafs": [0, 1, 1, 1, 1],
    "leaf_targetids": [0, 1, 0, 1, 0, 1],
    "leaf_weights": np.array([1.5, -2, 3, 0.25, -1, 0.5], np.float32),
}
SETS = {
    "n_targets": 4,
    "tree_roots": [0],
    "nodes_featureids": [0, 0, 0],
    "nodes_splits": np.array([3.14, np.nan, np.nan], np.float32),
    "nodes_modes": np.array([0, 6, 6], np.uint8),
    "nodes_truenodeids": [1, 0, 1],
    "nodes_trueleafs": [0, 1, 1],
    "nodes_falsenodeids": [2, 2, 3],
    "nodes_falseleafs": [1, 0, 1],
    "leaf_targetids": [0, 1, 2, 3],
    "leaf_weights": np.array([1, 10, 1000, 100], np.float32),
    "membership_values": np.array([1.2, 3.7, 8, 9, np.nan, 12, 7, np.nan], np.float32),
}
POINTS = np.array([1.2, 3.4, -0.12, 1.66, 4.14, 1.77, 7], np.float32)[:, None]
X = f32(9, 3)


def trees(x, **changed):
    raises, oracle = changed.pop("raises", ""), changed.pop("oracle", None)
    return Case(
        "TreeEnsemble", (x,), {**TREES, **changed}, raises=raises, oracle=oracle, label=str(changed), **ML
    )


def scores(x):
    """What the trees say before a transform."""
    return np.asarray(trees(x).expected()[0], np.float64)


def softmax_zero(x, **_):
    s = scores(x)
    e = np.where(np.abs(s) <= 1e-7, 0, np.exp(s - s.max(1, keepdims=True)))
    return (e / e.sum(1, keepdims=True)).astype(np.float32)


def probit(x, **_):
    return np.vectorize(NormalDist().inv_cdf)(scores(x) / 4 + 0.5).astype(np.float32)


CASES = [
    Case("ArrayFeatureExtractor", (f32(3, 5), i64(0, 4, 1)), **ML),
    Case("ArrayFeatureExtractor", (integers(2, 3, 5), i64(4, 4).reshape(1, 2)), **ML),
    Case("ArrayFeatureExtractor", (f32(5), i64(2, 0)), **ML),
    Case("ArrayFeatureExtractor", (np.array([["a", "b"]], object), i64(1)), **ML),
    Case("ArrayFeatureExtractor", (f32(3, 5), i64(5)), raises="5", **ML),
    Case("ArrayFeatureExtractor", (f32(3, 5), f32(2)), raises="Y = float32[2]", **ML),
    Case("Binarizer", (f32(3, 5),), {"threshold": 0.25}, **ML),
    Case("Binarizer", (integers(9),), {"threshold": 0.5}, **ML),
    Case("Binarizer", (np.array(["a"], object),), raises="X = string[1]", **ML),
    Case(
        "LabelEncoder",
        (np.array(["a", "b", "d", "c"], object),),
        {"keys_strings": ["a", "b", "c", "a"], "values_int64s": [0, 1, 2, 9], "default_int64": 42},
        **ML,
    ),
    Case(
        "LabelEncoder",
        (np.array([1, np.nan, 7], np.float32),),
        {"keys_floats": [1.0, float("nan")], "values_strings": ["one", "none"]},
        oracle=lambda x, **_: np.array(["one", "none", "_Unused"], object),
        **ML,
    ),
    Case(
        "LabelEncoder",
        (integers(3, 4, dtype=np.int16),),
        {
            "keys_tensor": np.array([1, 2, -3], np.int16),
            "values_tensor": np.array([0.5, 1, 2]),
            "default_tensor": np.array([9.0]),
        },
        oracle=lambda x, **_: np.select([x == 1, x == 2, x == -3], [0.5, 1.0, 2.0], 9.0),
        **ML,
    ),
    Case(
        "LabelEncoder",
        (f32(3),),
        {"keys_int64s": [1], "values_int64s": [2]},
        raises="expected one of int64",
        **ML,
    ),
    Case(
        "LabelEncoder",
        (i64(3),),
        {"keys_int64s": [1], "values_int64s": [2, 3]},
        raises="1 keys and 2 values",
        **ML,
    ),
    Case("LabelEncoder", (i64(3),), {"keys_int64s": [1]}, raises="0 of the attributes values_*", **ML),
    trees(X),
    trees(X, aggregate_function=0),
    trees(
        f64(5, 3),
        nodes_splits=TREES["nodes_splits"].astype(np.float64),
        leaf_weights=TREES["leaf_weights"] * 1.0,
    ),
    trees(
        np.where(np.abs(X) < 0.3, np.nan, X).astype(np.float32),
        nodes_missing_value_tracks_true=[1, 0, 1, 1, 0],
    ),
    trees(
        X,
        post_transform=1,
        oracle=lambda x, **_: (lambda e: e / e.sum(1, keepdims=True))(np.exp(scores(x))).astype(np.float32),
    ),
    trees(X, post_transform=2, oracle=lambda x, **_: (1 / (1 + np.exp(-scores(x)))).astype(np.float32)),
    trees(X, post_transform=3, oracle=softmax_zero),
    trees(f32(0, 3), oracle=lambda x, **_: np.zeros((0, 2), np.float32)),
    Case("TreeEnsemble", (POINTS,), SETS, **ML),
    Case(
        "TreeEnsemble",
        (POINTS,),
        {**SETS, "aggregate_function": 3},
        oracle=lambda x, **_: np.asarray(Case("TreeEnsemble", (x,), SETS, **ML).expected()[0]),
        label="max",
        **ML,
    ),
    trees(f32(3, 2), raises="nodes_featureids contains 2"),
    trees(X, nodes_truenodeids=[0, 0, 2, 4, 5], raises="expected trees"),
    trees(X, leaf_targetids=[0, 1, 2, 1, 0, 1], raises="leaf_targetids contains 2"),
    trees(X, nodes_modes=np.array([0, 1, 6, 3, 5], np.uint8), raises="membership_values has 0 sets"),
    trees(X, tree_roots=[0, 7], raises="tree_roots contains 7"),
]
