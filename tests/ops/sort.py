"""Cases of numba_rt/ops/sort.py."""

import ml_dtypes
import numpy as np

from tests.ops.cases import Case, f32, f64, i64, integers

NAN = np.array([1, np.nan, 3, np.nan, -np.inf, np.inf], np.float32)

CASES = [
    Case("TopK", (f32(3, 50), i64(5)), {}, 2),
    Case("TopK", (f32(3, 50), i64(5)), {"largest": False}, 2),
    Case("TopK", (f32(3, 50), i64(5)), {"sorted": False}, 2),
    Case("TopK", (f32(3, 40, 4), i64(7)), {"axis": 1}, 2),
    Case("TopK", (integers(200, low=0, high=5), i64(200)), {}, 2),
    Case("TopK", (integers(200, low=0, high=5), i64(50)), {"largest": False}, 2),
    Case("TopK", (f32(5000), i64(40)), {}, 2),
    Case("TopK", (f32(4), i64(1)), {}, 1),
    Case("TopK", (f32(4), i64(0)), {}, 2),
    Case("TopK", (f32(0, 4), i64(2)), {}, 2),
    Case("TopK", (NAN, i64(3)), {}, 2),
    Case("TopK", (NAN, i64(5)), {"largest": False}, 2),
    Case("TopK", (f64(9), i64(3)), {"axis": 0}, 2),
    Case("TopK", (f32(9), i64(10)), {}, 2, raises="K = 10 is out of range for axis 0"),
    Case("TopK", (f32(9), i64(-1)), {}, 2, raises="K = -1"),
    Case("TopK", (f32(9), i64(1, 2)), {}, 2, raises="expected one number"),
    Case("TopK", (f32(9), i64(1)), {"axis": 1}, 2, raises="axis = 1 is out of range"),
    Case("Unique", (integers(20, low=0, high=6),), {}, 4),
    Case("Unique", (integers(20, low=0, high=6),), {"sorted": False}, 4),
    Case("Unique", (integers(8, 2, low=0, high=2),), {"axis": 0}, 4),
    Case("Unique", (integers(2, 8, low=0, high=2),), {"axis": 1, "sorted": False}, 4,
         oracle=lambda x, **_: _first_seen(x)),
    Case("Unique", (f32(3).astype(ml_dtypes.bfloat16),), {}, 1, oracle=lambda x: np.sort(x)),
    Case("Unique", (np.array(["b", "a", "b"], object),), {}, 1, oracle=lambda x: x[1:]),
    Case("Unique", (f32(0),), {}, 4),
    Case("Unique", (f32(3),), {"axis": 2}, raises="axis = 2 is out of range"),
]  # fmt: skip


def _first_seen(x: np.ndarray) -> tuple[np.ndarray, ...]:
    columns = [tuple(c) for c in x.T]
    kept = list(dict.fromkeys(columns))
    first = [columns.index(c) for c in kept]
    inverse = [kept.index(c) for c in columns]
    counts = [columns.count(c) for c in kept]
    return np.array(kept).T, np.array(first), np.array(inverse), np.array(counts)
