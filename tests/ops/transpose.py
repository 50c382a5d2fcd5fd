"""Cases of numba_rt/ops/transpose.py."""

import ml_dtypes
import numpy as np

from tests.ops.cases import Case, bools, f32, f64, integers


def complex128(*shape: int) -> np.ndarray:
    return f64(*shape) + 1j * f64(*shape, seed=1)


def _blocks(x: np.ndarray, blocksize: int, mode: str = "DCR") -> np.ndarray:
    b, c, h, w = x.shape
    s = blocksize
    x = x.reshape(b, c, h // s, s, w // s, s)
    perm = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return x.transpose(perm).reshape(b, c * s * s, h // s, w // s)


def _transposed(x: np.ndarray, perm: tuple[int, ...]) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(perm))


CASES = [
    Case("Transpose", (f32(3, 4),)),
    Case("Transpose", (f32(37, 53),), {"perm": (1, 0)}),
    Case("Transpose", (f32(2, 3, 4, 5),), {"perm": (0, 2, 1, 3)}),
    Case("Transpose", (f32(2, 20, 17, 19),), {"perm": (0, 3, 1, 2)}),
    Case("Transpose", (f32(2, 20, 17, 3),), {"perm": (0, 3, 1, 2)}),
    Case("Transpose", (f32(2, 3, 17, 19),), {"perm": (0, 2, 3, 1)}),
    *(
        Case("Transpose", (f32(*shape),), {"perm": perm})
        for n in (2, 3, 4, 5)
        for shape, perm in (((3, n, 7, 11), (0, 2, 3, 1)), ((3, 7, 11, n), (0, 3, 1, 2)))
    ),
    Case("Transpose", (integers(3, 257, dtype=np.uint8),)),
    Case("Transpose", (integers(2, 65, 4, dtype=np.int16),), {"perm": (0, 2, 1)}),
    Case("Transpose", (integers(2, 3, 2, 3, 2, 3, 2, dtype=np.int8),), {"perm": (6, 4, 2, 0, 1, 3, 5)}),
    Case("Transpose", (f64(33, 70),)),
    Case("Transpose", (bools(70, 33),)),
    Case("Transpose", (f32(40, 30).astype(np.float16),)),
    Case("Transpose", (f32(9, 7).astype(ml_dtypes.bfloat16),), {"perm": (1, 0)}, oracle=_transposed),
    Case("Transpose", (complex128(5, 6, 3),), {"perm": (2, 0, 1)}),
    Case("Transpose", (f32(1, 30, 1, 20),), {"perm": (2, 3, 0, 1)}),
    Case("Transpose", (f32(0, 4),)),
    Case("Transpose", (f32(),)),
    Case("Transpose", (np.array([["a", "b"], ["c", "d"]], object),)),
    Case("Transpose", (f32(3, 4),), {"perm": (0, 0)}, raises="names an axis twice"),
    Case("Transpose", (f32(3, 4),), {"perm": (0, 2)}, raises="out of range"),
    Case("Transpose", (f32(3, 4),), {"perm": (0,)}, raises="data has 2"),
    Case("DepthToSpace", (f32(2, 8, 3, 5),), {"blocksize": 2}),
    Case("DepthToSpace", (f32(2, 18, 9, 10),), {"blocksize": 3, "mode": "CRD"}),
    Case("DepthToSpace", (integers(1, 4, 0, 2),), {"blocksize": 2}),
    Case("DepthToSpace", (f32(1, 6, 2, 2),), {"blocksize": 2}, raises="channels = 6 is not a multiple of 4"),
    Case("DepthToSpace", (f32(4, 2, 2),), {"blocksize": 2}, raises="rank 3"),
    Case("DepthToSpace", (f32(1, 4, 2, 2),), {"blocksize": 0}, raises="blocksize = 0"),
    Case("DepthToSpace", (f32(1, 4, 2, 2),), {"blocksize": 2, "mode": "RGB"}, raises="mode = 'RGB'"),
    Case("SpaceToDepth", (f32(2, 3, 4, 6),), {"blocksize": 2}),
    Case("SpaceToDepth", (f32(2, 3, 18, 27),), {"blocksize": 3, "mode": "CRD"}, oracle=_blocks),
    Case("SpaceToDepth", (f32(2, 3, 4, 5),), {"blocksize": 2}, raises="width = 5 is not a multiple of 2"),
]
