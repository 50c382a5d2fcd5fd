"""Cases of numba_rt/ops/channels.py."""

import numpy as np

from tests.ops.cases import Case, f32, integers


def shuffled(x: np.ndarray, groups: int, axis: int = 1) -> np.ndarray:
    axis %= x.ndim
    shape = x.shape
    split = x.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])
    return np.swapaxes(split, axis, axis + 1).reshape(shape)


def to_space(x: np.ndarray, blocksize: int, mode: str = "DCR") -> np.ndarray:
    b, h, w, c = x.shape
    s, own = blocksize, c // blocksize**2
    y = np.empty((b, h * s, w * s, own), x.dtype)
    for i in range(s):
        for j in range(s):
            first = (i * s + j) * (own if mode == "DCR" else 1)
            y[:, i::s, j::s] = x[..., first : first + own] if mode == "DCR" else x[..., first :: s * s]
    return y


def to_depth(x: np.ndarray, blocksize: int, mode: str = "DCR") -> np.ndarray:
    s = blocksize
    parts = np.stack([x[:, i::s, j::s] for i in range(s) for j in range(s)])
    y = np.moveaxis(parts, 0, -2 if mode == "DCR" else -1)
    return y.reshape(*y.shape[:3], -1)


OWN = {"domain": "numba_rt"}

CASES = [
    Case("ChannelShuffle", (f32(2, 12, 5, 7),), {"groups": 3}, oracle=shuffled, **OWN),
    Case("ChannelShuffle", (f32(2, 9, 7, 24),), {"groups": 2, "axis": 3}, oracle=shuffled, **OWN),
    Case("ChannelShuffle", (f32(1, 33, 31, 144),), {"groups": 9, "axis": -1}, oracle=shuffled, **OWN),
    Case("ChannelShuffle", (integers(2, 8, dtype=np.int8),), {"groups": 8}, oracle=shuffled, **OWN),
    Case("ChannelShuffle", (f32(0, 4, 3),), {"groups": 2}, oracle=shuffled, **OWN),
    Case("ChannelShuffle", (f32(2, 8),), {"groups": 3}, raises="does not divide the 8 channels", **OWN),
    *(
        Case("NhwcDepthToSpace", (x,), {"blocksize": s, "mode": m}, oracle=to_space, **OWN)
        for x, s in ((f32(2, 3, 5, 8), 2), (f32(1, 9, 7, 90), 3), (f32(2, 3, 0, 4), 2))
        for m in ("DCR", "CRD")
    ),
    Case("NhwcDepthToSpace", (f32(1, 2, 2, 6),), {"blocksize": 2}, raises="channels = 6 is not", **OWN),
    Case("NhwcDepthToSpace", (f32(4, 2, 2),), {"blocksize": 2}, raises="rank 3", **OWN),
    *(
        Case("NhwcSpaceToDepth", (x,), {"blocksize": s, "mode": m}, oracle=to_depth, **OWN)
        for x, s in ((f32(2, 4, 6, 3), 2), (f32(1, 9, 6, 20), 3))
        for m in ("DCR", "CRD")
    ),
    Case("NhwcSpaceToDepth", (f32(1, 4, 5, 3),), {"blocksize": 2}, raises="width = 5 is not", **OWN),
]
