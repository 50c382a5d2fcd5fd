"""Cases of numba_rt/ops/gather.py."""

import numpy as np

from tests.ops.cases import Case, bools, f32, f64, i64, integers
from tests.ops.transpose import complex128


def _take_along(x: np.ndarray, index: np.ndarray, axis: int = 0) -> np.ndarray:
    lead = tuple(slice(n) if i != axis % x.ndim else slice(None) for i, n in enumerate(index.shape))
    return np.take_along_axis(x[lead], index, axis)


CASES = [
    Case("Gather", (f32(5, 4), i64(0, -1, 3))),
    Case("Gather", (f32(5, 4), integers(2, 3, low=-4, high=4)), {"axis": 1}),
    Case("Gather", (f32(2, 5, 3), integers(7, low=0, high=5, dtype=np.int32)), {"axis": -2}),
    Case("Gather", (f32(5, 4), np.array(2))),
    Case("Gather", (f64(50), integers(30, low=-50, high=50))),
    Case("Gather", (bools(5, 4), i64(1, 1))),
    Case("Gather", (integers(5, 40, dtype=np.int16), i64(1, 1))),
    Case("Gather", (complex128(5, 2), i64(1, -5)), {"axis": 0}),
    Case("Gather", (f32(5, 4), integers(0))),
    Case("Gather", (f32(5, 0), i64(1))),
    Case("Gather", (np.array(["a", "b"], object), i64(1, 0, 1))),
    Case("Gather", (f32(5, 4), i64(5)), raises="indices contains 5, out of range for axis 0 of size 5"),
    Case("Gather", (f32(5, 4), i64(-5)), {"axis": 1}, raises="indices contains -5"),
    Case("Gather", (f32(0, 4), i64(0)), raises="axis 0 has size 0"),
    Case("Gather", (f32(5), f32(1)), raises="expected one of int32, int64"),
    Case("Gather", (f32(), i64(0)), raises="rank 0"),
    Case("Gather", (f32(5), i64(0)), {"axis": 1}, raises="axis = 1 is out of range"),
    Case("GatherElements", (f32(3, 4), integers(2, 4, low=-3, high=3)), oracle=_take_along),
    Case("GatherElements", (f32(3, 4), integers(3, 2, low=-4, high=4)), {"axis": 1}, oracle=_take_along),
    Case(
        "GatherElements", (f32(3, 4, 5), integers(2, 6, 3, low=-4, high=4)), {"axis": 1}, oracle=_take_along
    ),
    Case("GatherElements", (f64(9), integers(20, low=-9, high=9, dtype=np.int32)), oracle=_take_along),
    Case(
        "GatherElements", (complex128(3, 4), integers(3, 4, low=0, high=4)), {"axis": 1}, oracle=_take_along
    ),
    Case("GatherElements", (integers(3, 4, dtype=np.int8), integers(0, 4)), oracle=_take_along),
    Case("GatherElements", (f32(3, 4), i64(3).reshape(1, 1)), raises="indices contains 3"),
    Case("GatherElements", (f32(3, 4), integers(1, 5)), raises="larger than data"),
    Case("GatherElements", (f32(3, 4), integers(1)), raises="rank 1"),
    Case("GatherElements", (f32(0, 4), integers(1, 4)), raises="axis 0 has size 0"),
    Case("GatherND", (f32(3, 4, 5), integers(6, 2, low=0, high=3))),
    Case("GatherND", (f32(3, 4, 5), integers(2, 2, 3, low=-3, high=3))),
    Case("GatherND", (f32(3, 4, 5), integers(3, 6, 1, low=0, high=4)), {"batch_dims": 1}),
    Case("GatherND", (f32(3, 4, 5), integers(3, 4, 1, low=0, high=5)), {"batch_dims": 2}),
    Case("GatherND", (f32(3, 4, 5), i64(1, 2))),
    Case("GatherND", (f64(3, 4), integers(0, 2))),
    Case("GatherND", (complex128(3, 4), integers(5, 1, low=0, high=3))),
    Case("GatherND", (f32(3, 4), integers(5, 0)), oracle=lambda x, i: np.broadcast_to(x, (5, 3, 4))),
    Case("GatherND", (np.array([["a", "b"], ["c", "d"]], object), i64(1, 0, 0, 1).reshape(2, 2))),
    Case("GatherND", (f32(3, 4), i64(1, 4).reshape(1, 2)), raises="indices contains 4"),
    Case("GatherND", (f32(3, 4), integers(2, 3)), raises="names 3 axes"),
    Case("GatherND", (f32(3, 4), integers(3, 1)), {"batch_dims": 2}, raises="batch_dims = 2 is out of range"),
    Case("GatherND", (f32(3, 4), integers(2, 1)), {"batch_dims": 1}, raises="differ in batch axis 0"),
    Case("ReverseSequence", (f32(5, 3, 2), i64(5, 0, 3))),
    Case("ReverseSequence", (f32(3, 5), i64(1, 5, 2)), {"batch_axis": 0, "time_axis": 1}),
    Case("ReverseSequence", (complex128(3, 5), i64(3, 2, 1, 0, 3)), {"batch_axis": 1, "time_axis": 0}),
    Case("ReverseSequence", (f32(0, 3), i64(0, 0, 0))),
    Case("ReverseSequence", (np.array([["a", "b"], ["c", "d"]], object), i64(2, 1))),
    Case("ReverseSequence", (f32(5, 3), i64(5, 6, 3)), raises="sequence_lens contains 6"),
    Case("ReverseSequence", (f32(5, 3), i64(5, 6)), raises="does not have a length for each"),
    Case("ReverseSequence", (f32(5, 3), i64(5, 6, 3)), {"batch_axis": 0}, raises="expected 0 and 1"),
]
