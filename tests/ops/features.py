"""Cases of numba_rt/ops/features.py."""

import numpy as np

from tests.ops.cases import Case, f32, f64, i64, integers

ML = {"domain": "ai.onnx.ml"}
NAN = np.where(f32(4, 3) > 0.5, np.nan, f32(4, 3)).astype(np.float32)
WORDS = np.array([["a", "b"], ["d", "c"]], object)
PAIRS = {"cats_strings": ["a", "b", "c"], "cats_int64s": [3, 5, 7]}


def scaled(x, offset, scale):
    return ((x - np.array(offset)) * np.array(scale)).astype(np.float32)


CASES = [
    Case("Scaler", (f32(4, 3),), {"offset": [1.0, 2.0, 3.0], "scale": [0.5, 2.0, 1.0]}, oracle=scaled, **ML),
    Case("Scaler", (integers(4, 3),), {"offset": [1.0], "scale": [0.5]}, oracle=scaled, **ML),
    Case("Scaler", (f32(4, 3),), {"offset": [1.0, 2.0]}, raises="offset has 2 numbers", **ML),
    *(Case("Normalizer", (f32(4, 3),), {"norm": norm}, **ML) for norm in ("MAX", "L1", "L2")),
    Case("Normalizer", (np.zeros((2, 3), np.float32),), {"norm": "L2"}, **ML),
    Case("Normalizer", (f32(4, 3),), {"norm": "L3"}, raises="norm = 'L3'", **ML),
    Case(
        "Imputer",
        (NAN,),
        {"imputed_value_floats": [1.0, 2.0, 3.0], "replaced_value_float": float("nan")},
        **ML,
    ),
    Case("Imputer", (f64(4, 3).round(),), {"imputed_value_floats": [9.0]}, **ML),
    Case("Imputer", (integers(4, 3),), {"imputed_value_int64s": [99], "replaced_value_int64": 1}, **ML),
    Case("Imputer", (f32(4, 3),), {"imputed_value_int64s": [9]}, raises="to suit it", **ML),
    Case("OneHotEncoder", (WORDS,), {"cats_strings": ["a", "b", "c"]}, **ML),
    Case("OneHotEncoder", (i64(3, 1, 5),), {"cats_int64s": [1, 3]}, **ML),
    Case(
        "OneHotEncoder",
        (WORDS,),
        {"cats_strings": ["a"], "zeros": 0},
        raises="'b', which is no category",
        **ML,
    ),
    Case("OneHotEncoder", (f32(2),), {"cats_strings": ["a"]}, raises="X = float32[2]", **ML),
    Case("CategoryMapper", (WORDS,), PAIRS, oracle=lambda x, **_: np.array([[3, 5], [-1, 7]]), **ML),
    Case(
        "CategoryMapper", (i64(5, 4),), PAIRS, oracle=lambda x, **_: np.array(["b", "_Unused"], object), **ML
    ),
    Case("CategoryMapper", (f32(2),), PAIRS, raises="X = float32[2]", **ML),
    Case(
        "FeatureVectorizer",
        (f64(4, 3), f32(4, 1), integers(4, 2)),
        {"inputdimensions": [3, 1, 2]},
        oracle=lambda *x, **_: np.concatenate(x, 1).astype(np.float32),
        **ML,
    ),
    Case("FeatureVectorizer", (f32(4, 3), f32(3, 3)), raises="other rows", **ML),
    Case("FeatureVectorizer", (f32(4, 3),), {"inputdimensions": [2]}, raises="inputdimensions says 2", **ML),
]
