"""Cases of numba_rt/ops/layout.py and shape.py."""

import numpy as np

from numba_rt.graph import Sym
from tests.ops.cases import Case, f32, i64, integers

EXPRESSIONS = np.array([Sym("n") + Sym("s"), -1, Sym("s") // 2], object)

CASES = [
    Case("Identity", (f32(3, 4),)),
    Case("Identity", (np.array(["a"], object),)),
    Case("Identity", (integers(3, dtype=np.int8),)),
    Case("Reshape", (f32(2, 3, 4), i64(6, -1))),
    Case("Reshape", (f32(2, 3, 4), i64(0, 0, 2, 2))),
    Case("Reshape", (f32(0, 3), i64(3, 0)), {"allowzero": True}),
    Case("Reshape", (integers(1), np.array([], np.int64))),
    Case("Reshape", (f32(0, 3), i64(0, 1, 3))),
    Case("Reshape", (f32(), i64(1, -1))),
    Case("Reshape", (np.array(["a", "b"], object), i64(2, -1))),
    Case("Reshape", (f32(2, 3), i64(0, 0, 0)), raises="copies dimension 2"),
    Case("Reshape", (f32(2, 3), i64(-2, 3)), raises="no other negative size"),
    Case("Reshape", (f32(0, 3), i64(0, -1)), raises="leaves -1 undetermined"),
    Case("Reshape", (f32(2, 3), i64(4, -1)), raises="does not fit into shape"),
    Case("Reshape", (f32(2, 3), i64(4, 2)), raises="does not fit into shape"),
    Case("Reshape", (f32(2, 3), i64(-1, -1)), raises="at most one -1"),
    Case("Flatten", (f32(2, 3, 4),), {"axis": 2}),
    Case("Flatten", (f32(2, 3, 4),), {"axis": 0}),
    Case("Flatten", (f32(2, 3, 4),), {"axis": -1}),
    Case("Flatten", (f32(2, 3),), {"axis": -2}),
    Case("Flatten", (f32(2, 3),), {"axis": 2}),
    Case("Flatten", (f32(),), {"axis": 0}),
    Case("Flatten", (np.empty((0, 3), object),), {"axis": 1}, oracle=lambda x, axis: x),
    Case("Flatten", (f32(2, 3),), {"axis": 3}, raises="axis = 3 is out of range"),
    Case("Squeeze", (f32(1, 3, 1), i64(0))),
    Case("Squeeze", (f32(1, 3, 1), i64(-1, 0))),
    Case("Squeeze", (f32(1, 3, 1),)),
    Case("Squeeze", (f32(1, 1),)),
    Case("Squeeze", (f32(1, 3, 1), i64(0, -3)), raises="names an axis twice"),
    Case("Squeeze", (np.array([["a"]], object), i64(0))),
    Case("Squeeze", (f32(1, 3, 1), i64(1)), raises="only axes of size 1"),
    Case("Unsqueeze", (f32(3, 4), i64(0, -1))),
    Case("Unsqueeze", (f32(3, 4), i64(4)), raises="out of range"),
    Case("Shape", (f32(3, 4, 5),), {"start": 1}),
    Case("Shape", (f32(),)),
    Case("Shape", (np.array(["a"], object),)),
    Case("Shape", (f32(3, 4, 5),), {"start": -9, "end": 9}),
    Case("Shape", (f32(3, 4, 5),), {"start": 2, "end": 1}),
    Case("Shape", (f32(3, 4, 5),), {"start": -2, "end": -1}),
    Case("Size", (f32(3, 4),)),
    Case(
        "SizeArithmetic",
        (f32(3, 4), f32(5)),
        {"expressions": EXPRESSIONS, "symbols": (("n", 0, 1), ("s", 1, 0))},
        domain="numba_rt",
        oracle=lambda *_, **__: np.array([9, -1, 2]),
    ),
    Case("Size", (f32(),)),
    Case("Size", (f32(0, 3),)),
]
