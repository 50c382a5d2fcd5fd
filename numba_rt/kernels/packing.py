"""Packed operands of matrix products: panels of `NR` columns, one row of a panel after the other."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from threading import Lock

import numpy as np

from numba_rt import threads
from numba_rt.jit import DISABLED, kernel, prange, prepare, u
from numba_rt.simd.isa import ISA
from numba_rt.simd.shuffle import transpose_tile

__all__ = [
    "NR",
    "merge_groups",
    "merged_groups",
    "pack_b",
    "pack_columns",
    "pack_conv",
    "pack_matrix",
    "pack_rows",
    "packed_size",
]

LANES = ISA.lanes
NR = ISA.nr
"""Columns of a panel."""
LARGE = 1 << 18
"""Elements from which packing by a kernel pays for loading it."""
LINE = 16
"""Floats of a cache line."""
LEAST_SHARED, LARGE_PAGES, SLAB = 1 << 14, 1 << 20, 1 << 23
"""Floats from which weights share memory, from which numpy itself asks for large pages, and that share it."""
TILE_CYCLES, TAP_CYCLES, RAGGED_CYCLES = 100, 20, 200
"""About what a tile of a convolution costs besides its products: in all, for each tap, and where its
panel is not full."""
_lock = Lock()
_slab: Callable[[], np.ndarray | None] = lambda: None  # noqa: E731 - until there is one
_used = 0


def packed_size(k: int, n: int) -> int:
    """Elements of a packed (k, n) matrix."""
    return -(-n // NR) * k * NR


def pack_b(b: np.ndarray, transposed: bool = False) -> np.ndarray:
    """Packs (..., k, n), or (..., n, k) when transposed, as (..., panels, k, NR).

    Columns past n are zero.
    """
    if transposed:
        b = np.swapaxes(b, -1, -2)
    *batch, k, n = b.shape
    panels = -(-n // NR)
    packed = _aligned(math.prod((*batch, panels, k, NR))).reshape(*batch, panels, k, NR)
    whole = n // NR
    if whole:
        packed[..., :whole, :, :] = np.swapaxes(b[..., : whole * NR].reshape(*batch, k, whole, NR), -2, -3)
    if panels > whole:
        packed[..., whole, :, : n - whole * NR] = b[..., whole * NR :]
        packed[..., whole, :, n - whole * NR :] = 0
    return packed


def pack_matrix(b: np.ndarray, transposed: bool = False) -> np.ndarray:
    """`pack_b` of one float32 matrix, flat; large ones by the kernels, on all threads."""
    rows, columns = b.shape
    if DISABLED or b.size < LARGE or not b.flags.c_contiguous or not b.flags.aligned:
        return pack_b(b, transposed).reshape(-1)
    k, n = (columns, rows) if transposed else (rows, columns)
    pack, tasks = pack_columns if transposed else pack_rows, threads.default_count()
    packed = aligned_empty(packed_size(k, n))
    g = np.array([1, 1, k, n, columns, 0, 0], np.int64)
    args = (b.reshape(-1), g, packed, tasks)
    prepare([(pack, pack.signature(args))])
    pack(*args)
    return packed


def pack_conv(w: np.ndarray, groups: int = 1) -> np.ndarray:
    """Packs convolution weights (oc, ic / groups, *kernel) as (groups, panels, taps * ic / groups, NR).

    Rows of a panel are ordered by tap, then by channel: the order of a window of NHWC data.
    """
    oc, channels = w.shape[:2]
    if groups == 1:
        rows = np.ascontiguousarray(w.reshape(oc, channels, -1).swapaxes(1, 2)).reshape(oc, -1)
        return pack_matrix(rows, transposed=True).reshape(1, -1, rows.shape[1], NR)
    taps = w.reshape(groups, oc // groups, channels, -1)
    return pack_b(taps.transpose(0, 3, 2, 1).reshape(groups, -1, oc // groups))


def merged_groups(channels: int, filters: int, taps: int, groups: int) -> int:
    """How many groups of so many channels and filters are best computed as one, with zeros between them:
    tiles of few columns spend their time on other things than products.
    """

    def cycles(merged: int) -> float:
        width = merged * filters
        vectors = -(-width // LANES)
        products = taps * merged * channels * ISA.mr * vectors / 2
        besides = TILE_CYCLES + taps * TAP_CYCLES + (RAGGED_CYCLES if width % NR else 0)
        return (products + besides) / merged

    fitting = [n for n in range(1, groups + 1) if groups % n == 0 and (n == 1 or n * filters <= NR)]
    return min(fitting, key=cycles)


def merge_groups(w: np.ndarray, groups: int, merged: int) -> np.ndarray:
    """Convolution weights (oc, ic / groups, *kernel) of which so many groups are one."""
    if merged == 1:
        return w
    own, channels = w.shape[0] // groups, w.shape[1]
    wide = np.zeros((w.shape[0], merged * channels, *w.shape[2:]), w.dtype)
    for group in range(groups):
        at, first = group * own, group % merged * channels
        wide[at : at + own, first : first + channels] = w[at : at + own]
    return wide


def aligned_empty(count: int) -> np.ndarray:
    """Uninitialised float32 that start at a cache line, for weights: they stay as long as their model.

    Those of some hundred kilobytes share memory, which then has large pages. It is given back when the last
    of them goes.
    """
    global _slab, _used
    if not LEAST_SHARED <= count < LARGE_PAGES:
        return _aligned(count)
    with _lock:
        slab = _slab()
        if slab is None or _used + count > slab.size:
            slab = np.empty(SLAB, np.float32)
            _slab, _used = weakref.ref(slab), (-slab.ctypes.data // 4) % LINE
        made = slab[_used : _used + count]
        _used += -(-count // LINE) * LINE
    return made


def _aligned(count: int) -> np.ndarray:
    raw = np.empty(count + LINE, np.float32)
    skip = (-raw.ctypes.data // 4) % LINE
    return raw[skip : skip + count]


@kernel
def pack_rows(b, g, packed, tasks):
    """Packs float32 matrices (k, n) whose rows are contiguous.

    b flat; g int64: batch0, batch1, k, n, row stride, batch strides 0 and 1 of b;
    packed flat, batch0 * batch1 * packed_size(k, n).
    """
    k, n, ld = g[2], g[3], g[4]
    panels = (n + NR - 1) // NR
    total = g[0] * g[1] * panels
    for t in prange(tasks):
        for item in range(t * total // tasks, (t + 1) * total // tasks):
            matrix, panel = item // panels, item % panels
            source = matrix // g[1] * g[5] + matrix % g[1] * g[6] + panel * NR
            target = item * k * NR
            cols = min(NR, n - panel * NR)
            if cols == NR:
                for _ in range(k):
                    for j in range(NR):
                        packed[u(target + j)] = b[u(source + j)]
                    source += ld
                    target += NR
            else:
                for _ in range(k):
                    for j in range(cols):
                        packed[u(target + j)] = b[u(source + j)]
                    for j in range(cols, NR):
                        packed[u(target + j)] = np.float32(0)
                    source += ld
                    target += NR


@kernel
def pack_columns(b, g, packed, tasks):
    """Packs float32 matrices (n, k), the transposes of (k, n), whose rows are contiguous.

    b flat; g int64: batch0, batch1, k, n, row stride, batch strides 0 and 1 of b;
    packed flat, batch0 * batch1 * packed_size(k, n).
    """
    k, n, ld = g[2], g[3], g[4]
    panels = (n + NR - 1) // NR
    total = g[0] * g[1] * panels
    for t in prange(tasks):
        for item in range(t * total // tasks, (t + 1) * total // tasks):
            matrix, panel = item // panels, item % panels
            source = matrix // g[1] * g[5] + matrix % g[1] * g[6] + panel * NR * ld
            cols = min(NR, n - panel * NR)
            whole = k // LANES * LANES if cols == NR else 0
            for i in range(0, whole, LANES):
                for j in range(0, NR, LANES):
                    transpose_tile(b, source + j * ld + i, ld, packed, (item * k + i) * NR + j, NR)
            for i in range(whole, k):
                target = (item * k + i) * NR
                for j in range(cols):
                    packed[u(target + j)] = b[u(source + j * ld + i)]
                for j in range(cols, NR):
                    packed[u(target + j)] = np.float32(0)
