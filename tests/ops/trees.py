"""Cases of numba_rt/ops/trees.py."""

from statistics import NormalDist

import numpy as np

from tests.ops.cases import Case, f32, f64, integers

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


OLD = {
    "n_targets": 2,
    "nodes_treeids": [4, 4, 4, 4, 4, 7, 7, 7],
    "nodes_nodeids": [0, 1, 2, 3, 4, 0, 1, 2],
    "nodes_featureids": [0, 1, 0, 0, 0, 2, 0, 0],
    "nodes_values": [0.1, -0.2, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0],
    "nodes_modes": ["BRANCH_LEQ", "BRANCH_GT", "LEAF", "LEAF", "LEAF", "BRANCH_LT", "LEAF", "LEAF"],
    "nodes_truenodeids": [1, 3, 0, 0, 0, 1, 0, 0],
    "nodes_falsenodeids": [2, 4, 0, 0, 0, 2, 0, 0],
    "target_treeids": [4, 4, 4, 4, 7, 7],
    "target_nodeids": [3, 2, 4, 2, 1, 2],
    "target_ids": [0, 1, 1, 0, 0, 1],
    "target_weights": [0.5, 1.5, -2.0, 0.25, 3.0, -1.0],
}


def old(x, **changed):
    raises, oracle, rtol = changed.pop("raises", ""), changed.pop("oracle", None), changed.pop("rtol", 1e-5)
    given = {k: v for k, v in {**OLD, **changed}.items() if v is not None}
    return Case(
        "TreeEnsembleRegressor",
        (x,),
        given,
        raises=raises,
        oracle=oracle,
        rtol=rtol,
        label=str(changed),
        **ML,
    )


def gathered(x, how=np.add):
    """What the two trees say, read off them."""
    first = np.where(x[:, :1] <= 0.1, np.where(x[:, 1:2] > -0.2, [0.5, 0.0], [0.0, -2.0]), [0.25, 1.5])
    return first + np.where(x[:, 2:] < 0.5, [3.0, 0.0], [0.0, -1.0])


def said(change):
    return lambda x, **_: change(gathered(x)).astype(np.float32)


def classify(scores, labels, voted, y, z, **given):
    attributes = {"labels_ints": labels, "voted": voted, **given}
    return Case(
        "Classify",
        (np.array(scores, np.float32),),
        attributes,
        n_outputs=2,
        oracle=lambda *_, **__: (np.array(y), np.array(z, np.float32)),
        rtol=1e-3,
        atol=1e-3,
        domain="numba_rt",
        label=str(attributes),
    )


ONE = [[-0.2, 0.0], [0.8, 0.0]]
BOTH = [[0.9, 0.1], [0.2, 0.8]]


CASES = [
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
    old(X, oracle=said(lambda s: s)),
    old(f64(5, 3), oracle=said(lambda s: s)),
    old(integers(7, 3), oracle=said(lambda s: s)),
    old(X, oracle=said(lambda s: s / 2 + [0.5, 1]), aggregate_function="AVERAGE", base_values=[0.5, 1.0]),
    old(X, oracle=said(lambda s: 1 / (1 + np.exp(-s - 1))), post_transform="LOGISTIC", base_values=[1.0]),
    old(
        X,
        oracle=said(lambda s: s),
        target_weights=None,
        target_weights_as_tensor=np.array(OLD["target_weights"]),
        nodes_values=None,
        nodes_values_as_tensor=np.array(OLD["nodes_values"]),
    ),
    old(f32(0, 3), oracle=said(lambda s: s)),
    old(f32(4, 2), raises="nodes_featureids contains 2"),
    old(X, raises="target_ids contains 2", target_ids=[0, 1, 1, 0, 2, 1]),
    old(X, raises="expected trees", nodes_truenodeids=[1, 0, 0, 0, 0, 1, 0, 0]),
    old(X, raises="tree 7 has no node 9", nodes_truenodeids=[1, 3, 0, 0, 0, 9, 0, 0]),
    old(X, raises="same number", nodes_nodeids=[0, 1, 2, 3, 3, 0, 1, 2]),
    old(X, raises="nodes_modes contains 'BRANCH'", nodes_modes=["BRANCH"] * 8),
    old(X, raises="aggregate_function = 'ALL'", aggregate_function="ALL"),
    old(X, raises="post_transform = 'EXP'", post_transform="EXP"),
    old(X, raises="base_values has 3", base_values=[1.0, 2.0, 3.0]),
    old(X, raises="target_weights has 1 entries", target_weights=[1.0]),
    classify([[1, 3, 2], [4, 0, 1]], [5, 7, 9], (0, 1, 2), [7, 5], [[1, 3, 2], [4, 0, 1]]),
    classify(BOTH, [5, 7], (0, 1), [5, 7], [[0.690, 0.310], [0.354, 0.646]], post_transform="SOFTMAX"),
    classify([[0.2, 0], [0.8, 0]], [5, 7], (0,), [5, 7], [[0.8, 0.2], [0.2, 0.8]], positive=True),
    classify(ONE, [5, 7], (0,), [5, 7], [[0.2, -0.2], [-0.8, 0.8]]),
    classify(ONE, [5, 7], (0,), [5, 7], [[0.550, 0.450], [0.310, 0.690]], post_transform="LOGISTIC"),
    classify([[0, 0.2], [0, 0.8]], [5, 7], (1,), [5, 7], [[0, 0.2], [0, 0.8]], positive=True),
    classify([[-0.2], [0.8]], [1], (0,), [0, 1], [[-0.2], [0.8]]),
    Case(
        "Classify",
        (f32(2, 2),),
        {"labels_strings": ["a", "b"], "voted": (0, 1)},
        n_outputs=2,
        oracle=lambda x, **_: (np.array(["a", "b"], object)[x.argmax(1)], x),
        domain="numba_rt",
    ),
    Case("Classify", (f32(2, 2),), raises="none are given", domain="numba_rt"),
]
