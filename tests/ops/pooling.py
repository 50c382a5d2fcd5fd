"""Cases of numba_rt/ops/pooling.py."""

import itertools

import numpy as np

from numba_rt.ops._window import slide
from tests.ops.cases import Case, f32, f64, i64, integers


def pool(x, function, kernel_shape, padding=False, **window):
    """`function` of the elements of every window, with the zeros of the padding or without."""
    sizes = x.shape[2:]
    s = slide(sizes, kernel_shape, **window)
    pads = tuple(zip(s.begins, s.ends, strict=True))
    y = np.zeros((*x.shape[:2], *s.sizes), x.dtype)
    for place in itertools.product(*map(range, s.sizes)):
        axes = []
        for a, o in enumerate(place):
            taps = o * s.strides[a] + np.arange(s.kernel[a]) * s.dilations[a] - s.begins[a]
            low, high = (-s.begins[a], sizes[a] + s.ends[a]) if padding else (0, sizes[a])
            axes.append(taps[(taps >= low) & (taps < high)] + s.begins[a])
        padded = np.pad(x, ((0, 0), (0, 0), *pads))
        part = padded[(slice(None), slice(None), *np.ix_(*axes))].reshape(*x.shape[:2], -1)
        y[(slice(None), slice(None), *place)] = function(part.astype(np.float64))
    return y


def max_pool(x, kernel_shape, storage_order=0, **window):
    return pool(x, lambda p: p.max(-1), kernel_shape, **window)


def average_pool(x, kernel_shape, count_include_pad=False, **window):
    return pool(x, lambda p: p.mean(-1), kernel_shape, count_include_pad, **window)


def lp_pool(x, kernel_shape, p=2, **window):
    return pool(x, lambda v: (np.abs(v) ** p).sum(-1) ** (1 / p), kernel_shape, **window)


def on_pixels(function):
    """An oracle for NHWC images."""

    def oracle(x, **attributes):
        return np.moveaxis(function(np.moveaxis(x, -1, 1), **attributes), 1, -1)

    return oracle


def positions(x, kernel_shape, storage_order=0, **window):
    """Maxima and where they are, when no element occurs twice."""
    y = max_pool(x, kernel_shape, **window)
    flat = np.arange(x.size).reshape(x.shape)
    if storage_order:
        planes = np.prod(x.shape[:2])
        counted = np.arange(x.size).reshape(planes, *x.shape[:1:-1])
        flat = counted.transpose(0, *range(counted.ndim - 1, 0, -1)).reshape(x.shape)
    where = dict(zip(x.reshape(-1).tolist(), flat.reshape(-1).tolist(), strict=True))
    return y, np.array([where[v] for v in y.reshape(-1).tolist()], np.int64).reshape(y.shape)


PLANE = f32(2, 3, 13, 11)
WINDOWS = [
    {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)},
    {"kernel_shape": (2, 2)},
    {"kernel_shape": (3, 2), "strides": (1, 3), "pads": (2, 0, 1, 1)},
    {"kernel_shape": (3, 3), "dilations": (2, 3), "pads": (2, 3, 2, 3)},
    {"kernel_shape": (3, 3), "strides": (2, 3), "auto_pad": "SAME_UPPER"},
    {"kernel_shape": (4, 3), "strides": (2, 2), "auto_pad": "SAME_LOWER"},
    {"kernel_shape": (3, 3), "strides": (2, 2), "ceil_mode": True},
    {"kernel_shape": (4, 4), "strides": (3, 3), "pads": (1, 1, 1, 1), "ceil_mode": True},
    {"kernel_shape": (3, 3), "strides": (4, 4), "auto_pad": "VALID"},
    {"kernel_shape": (13, 11)},
]
SPACE = {"kernel_shape": (2, 3, 2), "strides": (1, 2, 2), "pads": (0, 1, 1, 1, 1, 0)}
OWN = {"domain": "numba_rt"}
UNPOOL = {"kernel_shape": (2, 2), "strides": (2, 2)}
SMALL = f32(1, 1, 2, 2)
PLACES = np.array([[[[5, 7], [13, 15]]]])

CASES = [
    *(Case("MaxPool", (PLANE,), w, oracle=max_pool, label=str(i)) for i, w in enumerate(WINDOWS)),
    *(Case("AveragePool", (PLANE,), w, oracle=average_pool, label=str(i)) for i, w in enumerate(WINDOWS)),
    *(
        Case("AveragePool", (PLANE,), {**w, "count_include_pad": True}, oracle=average_pool, label=str(i))
        for i, w in enumerate(WINDOWS)
        if "auto_pad" not in w
    ),
    *(
        Case("LpPool", (PLANE,), {**w, "p": p}, oracle=lp_pool)
        for w, p in zip(WINDOWS, [2, 1, 3, 2, 1, 2, 2, 1, 2, 2], strict=True)
    ),
    *(
        Case(n, (f32(2, 2, 5, 6, 7),), SPACE, oracle=o)
        for n, o in [("MaxPool", max_pool), ("AveragePool", average_pool)]
    ),
    *(
        Case(n, (f32(1, 2, 9),), {"kernel_shape": (3,), "strides": (2,)})
        for n in ("MaxPool", "AveragePool", "LpPool")
    ),
    *(Case(n, (f64(1, 2, 5, 5),), {"kernel_shape": (3, 3)}) for n in ("MaxPool", "AveragePool", "LpPool")),
    *(Case(n, (f32(0, 2, 5, 5),), {"kernel_shape": (3, 3)}) for n in ("MaxPool", "AveragePool", "LpPool")),
    Case("MaxPool", (integers(1, 2, 6, 6, dtype=np.int8),), {"kernel_shape": (3, 3)}, oracle=max_pool),
    Case(
        "MaxPool",
        (integers(1, 2, 6, 6, low=0, dtype=np.uint8),),
        {"kernel_shape": (2, 2), "pads": (1, 1, 1, 1)},
        oracle=max_pool,
    ),
    Case(
        "MaxPool",
        (np.array([[[1, np.nan, -np.inf, 2]]], np.float32),),
        {"kernel_shape": (2,)},
        oracle=lambda x, **a: np.array([[[np.nan, np.nan, 2]]], np.float32),
    ),
    *(Case("MaxPool", (PLANE,), w, 2, positions, label=str(i)) for i, w in enumerate(WINDOWS[:8])),
    *(
        Case("MaxPool", (PLANE,), {**w, "storage_order": 1}, 2, positions, label=str(i))
        for i, w in enumerate(WINDOWS[:2])
    ),
    Case("MaxPool", (f32(2, 2, 3, 4, 5),), {"kernel_shape": (2, 2, 2), "storage_order": 1}, 2, positions),
    Case("MaxPool", (PLANE,), {"kernel_shape": (14, 2)}, raises="a window of 14 does not fit"),
    Case("MaxPool", (PLANE,), {"kernel_shape": (2,)}, raises="kernel_shape = [2] has 1 numbers"),
    Case("MaxPool", (PLANE,), {"kernel_shape": (2, 2), "strides": (0, 1)}, raises="strides = [0, 1]"),
    Case("MaxPool", (PLANE,), {"kernel_shape": (2, 2), "dilations": (1, 0)}, raises="dilations = [1, 0]"),
    Case(
        "AveragePool",
        (PLANE,),
        {"kernel_shape": (2, 2), "pads": (1, 1)},
        raises="pads = [1, 1] has 2 numbers",
    ),
    Case("AveragePool", (PLANE,), {"kernel_shape": (2, 2), "auto_pad": "SAME"}, raises="auto_pad = 'SAME'"),
    Case("AveragePool", (integers(1, 1, 2, 2),), {"kernel_shape": (2, 2)}, raises="expected one of"),
    Case("LpPool", (PLANE,), {"kernel_shape": (2, 2), "p": 0}, raises="p = 0"),
    Case("MaxPool", (f32(3, 4),), {"kernel_shape": ()}, raises="at least 3"),
    *(Case(n, (PLANE,)) for n in ("GlobalAveragePool", "GlobalMaxPool")),
    Case("GlobalAveragePool", (f32(2, 3, 4, 3, 2),)),
    Case("GlobalMaxPool", (f32(2, 3, 4, 3, 2),), oracle=lambda x: x.max((2, 3, 4), keepdims=True)),
    Case("GlobalAveragePool", (f64(2, 3, 5),)),
    *(
        Case("GlobalLpPool", (PLANE,), {"p": p}, oracle=lambda x, p: lp_pool(x, x.shape[2:], p), rtol=1e-4)
        for p in (1, 2, 3)
    ),
    Case("GlobalLpPool", (PLANE,), {"p": 0}, raises="p = 0"),
    Case("GlobalMaxPool", (f32(3),), raises="at least 2"),
    Case("MaxUnpool", (SMALL, PLACES), UNPOOL),
    Case("MaxUnpool", (SMALL, PLACES, i64(1, 1, 5, 5)), UNPOOL),
    Case(
        "MaxUnpool",
        (f32(2, 1, 3), np.array([[[0, 3, 5]], [[6, 8, 10]]])),
        {"kernel_shape": (2,), "strides": (2,)},
    ),
    Case("MaxUnpool", (SMALL, PLACES * 2), UNPOOL, raises="I has the position"),
    Case("MaxUnpool", (SMALL, PLACES, i64(1, 1, 3, 5)), UNPOOL, raises="output_shape = [1, 1, 3, 5]"),
    Case("MaxUnpool", (SMALL, PLACES[0]), UNPOOL, raises="same shape"),
    *(
        Case("NhwcMaxPool", (f32(2, 13, 11, 5),), w, oracle=on_pixels(max_pool), label=str(i), **OWN)
        for i, w in enumerate(WINDOWS)
    ),
    *(
        Case("NhwcAveragePool", (f32(2, 13, 11, 5),), w, oracle=on_pixels(average_pool), label=str(i), **OWN)
        for i, w in enumerate(WINDOWS)
    ),
    Case(
        "NhwcAveragePool",
        (f32(1, 6, 6, 40),),
        {**WINDOWS[0], "count_include_pad": True},
        oracle=on_pixels(average_pool),
        **OWN,
    ),
    Case(
        "NhwcMaxPool",
        (f32(1, 7, 8, 33),),
        {"kernel_shape": (5, 5), "pads": (2, 2, 2, 2)},
        oracle=on_pixels(max_pool),
        **OWN,
    ),
    Case("NhwcMaxPool", (f32(1, 0, 8, 3),), {"kernel_shape": (1, 1)}, raises="does not fit", **OWN),
    Case("NhwcAveragePool", (f32(3, 8, 3),), {"kernel_shape": (1, 1)}, raises="rank 3", **OWN),
    *(
        Case("NhwcLpPool", (f32(2, 13, 11, 5),), {**w, "p": p}, oracle=on_pixels(lp_pool), rtol=1e-4, **OWN)
        for w, p in zip(WINDOWS, itertools.cycle((1, 2, 3)))
    ),
    Case("NhwcLpPool", (f32(2, 3, 4, 5),), {"kernel_shape": (3, 4)}, oracle=on_pixels(lp_pool), **OWN),
    Case("NhwcLpPool", (f32(2, 3, 4, 5),), {"kernel_shape": (1, 1), "p": 0}, raises="p = 0", **OWN),
]
