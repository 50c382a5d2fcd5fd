"""Cases of numba_rt/ops/ml.py."""

import numpy as np

from tests.ops.cases import Case, f32, i64, integers

ML = {"domain": "ai.onnx.ml"}

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
]
