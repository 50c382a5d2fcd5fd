"""Cases of numba_rt/ops/grid_sample.py."""

import numpy as np

from numba_rt.ops.grid_sample import MODES, PADDINGS
from tests.ops.cases import Case, f32, f64, integers

IMAGE, SPACE = f32(2, 3, 5, 7), f32(1, 2, 3, 4, 5)
GRID, GRID3 = f32(2, 4, 5, 2, seed=1), f32(1, 2, 3, 2, 3, seed=1)
LOOSE = {"rtol": 1e-4, "atol": 1e-4}
EDGE = np.array([[[[np.nan, 0], [np.inf, 0], [-1, -1], [1, 1]]]], np.float32)


def nothing(x, grid, **attributes):
    return np.zeros((*x.shape[:2], *grid.shape[1:-1]), x.dtype)


def at_edge(x, grid, **attributes):
    return np.array([[[[x[0, 0, 1, 0], x[0, 0, 1, 3], x[0, 0, 0, 0], x[0, 0, 2, 3]]]]])


CASES = [
    *(
        Case("GridSample", (x, grid), {"mode": m, "padding_mode": p, "align_corners": a}, **LOOSE)
        for x, grid in ((IMAGE, GRID), (SPACE, GRID3))
        for m in MODES
        for p in PADDINGS
        for a in (0, 1)
    ),
    Case("GridSample", (f64(1, 2, 4, 4), f64(1, 3, 3, 2, seed=1)), rtol=1e-4, atol=1e-5),
    Case("GridSample", (f32(1, 2, 4, 4), f64(1, 3, 3, 2, seed=1)), rtol=1e-4, atol=1e-5),
    Case(
        "GridSample",
        (f32(1, 1, 1, 1), f32(1, 3, 3, 2, seed=1)),
        {"padding_mode": "border", "align_corners": 1},
    ),
    Case(
        "GridSample",
        (f32(1, 1, 1, 1), f32(1, 3, 3, 2, seed=1)),
        {"padding_mode": "reflection", "align_corners": 1},
        oracle=lambda x, grid, **a: np.full((1, 1, 3, 3), x.item(), np.float32),
    ),
    Case(
        "GridSample",
        (f32(1, 1, 3, 4), EDGE),
        {"padding_mode": "border", "mode": "nearest", "align_corners": 1},
        oracle=at_edge,
    ),
    Case("GridSample", (IMAGE, np.zeros((2, 0, 5, 2), np.float32)), oracle=nothing),
    Case(
        "GridSample", (np.zeros((0, 3, 5, 7), np.float32), np.zeros((0, 4, 5, 2), np.float32)), oracle=nothing
    ),
    Case("GridSample", (IMAGE, GRID[:1]), raises="grids"),
    Case("GridSample", (IMAGE, f32(2, 4, 5, 3)), raises="coordinates"),
    Case("GridSample", (IMAGE, GRID3), raises="grid"),
    Case("GridSample", (IMAGE, GRID), {"mode": "area"}, raises="mode"),
    Case("GridSample", (IMAGE, GRID), {"padding_mode": "wrap"}, raises="padding_mode"),
    Case("GridSample", (f32(2, 3, 5), f32(2, 4, 1)), raises="spatial axes"),
    Case("GridSample", (f32(2, 3, 0, 5), GRID), raises="pixels"),
    Case("GridSample", (integers(2, 3, 5, 7), GRID), raises="float32"),
]
