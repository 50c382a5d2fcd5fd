"""Cases of numba_rt/ops/pad.py."""

import numpy as np

from tests.ops.cases import Case, bools, f32, f64, i64, integers
from tests.ops.transpose import complex128


def _cut(x: np.ndarray, *_: object) -> np.ndarray:
    return np.pad(x[1:], ((0, 0), (2, 1)), constant_values=1.5)


CASES = [
    Case("Pad", (f32(3, 4), i64(1, 2, 0, 3))),
    Case("Pad", (f32(3, 4), i64(1, 2, 0, 3), np.array(7, np.float32))),
    Case("Pad", (f32(2, 3, 5, 6), i64(0, 0, 1, 1, 0, 0, 1, 1))),
    Case("Pad", (f32(2, 5, 6, 3), i64(0, 1, 1, 0, 0, 1, 1, 0))),
    Case("Pad", (f32(2, 5, 6, 3), i64(1, 1), None, i64(2))),
    Case("Pad", (f32(2, 5, 6), i64(1, 0, 2, 1), None, np.array([-1, 0], np.int32))),
    Case("Pad", (f32(3, 4), i64(-1, 2, 0, 1), np.array(1.5, np.float32)), oracle=_cut),
    Case("Pad", (f32(3, 4), i64(-1, -1, -1, -2)), oracle=lambda x, _: x[1:2, 1:2]),
    Case("Pad", (f32(3, 4), i64(2, 3, 1, 2)), {"mode": "reflect"}),
    Case("Pad", (f32(2, 3), i64(0, 7, 0, 6)), {"mode": "reflect"}),
    Case(
        "Pad",
        (f32(2, 3), i64(0, -1, 0, 2)),
        {"mode": "reflect"},
        oracle=lambda x, _, mode: x[:, [1, 2, 1, 2]],
    ),
    Case("Pad", (f32(3, 4), i64(2, 3, 1, 2)), {"mode": "edge"}),
    Case("Pad", (f32(3, 4, 2), i64(2, 3, 0, 1, 6, 0)), {"mode": "wrap"}),
    Case("Pad", (f32(1, 1), i64(1, 2, 1, 2)), {"mode": "reflect"}),
    Case("Pad", (f64(5), i64(1, 1), np.array([2.5]))),
    Case("Pad", (integers(3, 5, dtype=np.int8), i64(1, 1, 1, 1))),
    Case("Pad", (bools(3, 5), i64(1, 1, 1, 1), np.array(True))),
    Case("Pad", (f32(3).astype(np.float16), i64(1, 1))),
    Case("Pad", (complex128(3, 2), i64(1, 1, 0, 1), np.array(1 + 2j))),
    Case("Pad", (f32(0, 4), i64(1, 0, 1, 0))),
    Case("Pad", (f32(0, 4), i64(0, 1, 0, 1))),
    Case("Pad", (f32(2, 2), i64(0, 0, 0, 0))),
    Case("Pad", (f32(), np.array([], np.int64)), oracle=lambda x, _: x),
    Case("Pad", (np.array(["a"], object), i64(1, 0)), oracle=lambda x, _: np.array(["", "a"], object)),
    Case("Pad", (f32(3, 4), i64(1, 2)), raises="two for each of 2 axes"),
    Case("Pad", (f32(3), i64(-2, -2)), raises="take more than axis 0 of size 3 has"),
    Case("Pad", (f32(0), i64(1, 1)), {"mode": "edge"}, raises="nothing of it is left"),
    Case("Pad", (f32(3), i64(1, 1)), {"mode": "mirror"}, raises="mode = 'mirror'"),
    Case("Pad", (f32(3), i64(1, 1), np.array(1.0)), raises="same dtype"),
    Case("Pad", (f32(3, 3), i64(1, 1, 1, 1), None, i64(0, -2)), raises="names an axis twice"),
]
