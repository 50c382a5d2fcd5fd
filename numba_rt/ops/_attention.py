"""How attention is called: from operands as they lie in memory to kernel calls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from numba_rt.errors import ShapeError
from numba_rt.kernels import attention as kernels
from numba_rt.kernels.gemm import NO_VECTOR
from numba_rt.ops._lowering import Lowering, View, remembered
from numba_rt.ops._parts import rows_fit
from numba_rt.simd.tile import tile_addresses

FEW = 4
"""Queries up to which K and V are read in place, once; more are worth packing them."""
LEAST_KEYS = 64
"""Keys of a part, where the keys of one head are shared between tasks."""
_geometry, _factors = remembered(kernels.geometry), remembered(kernels.factors)

SOFTMAX_COST = 8
"""Work per score relative to an addition, besides the products."""


@dataclass(frozen=True)
class Heads:
    """Q, K, V or the result as (batch, heads, positions, size), and how far its steps move on."""

    shape: tuple[int, int, int, int]
    strides: tuple[int, int, int]

    def cut(self, n: int) -> Heads:
        """The first n positions, or all if there are not as many."""
        b, h, m, size = self.shape
        return Heads((b, h, min(m, n), size), self.strides)

    def repeated(self, batch: int, positions: int | None = None) -> Heads:
        """A batch, and positions, of 1 as often as they are read."""
        (b, h, m, size), (x, y, z) = self.shape, self.strides
        if b == 1 != batch:
            b, x = batch, 0
        if positions is not None and m == 1 != positions:
            m, z = positions, 0
        return Heads((b, h, m, size), (x, y, z))


def heads_of(x: View, heads: int, merged: bool) -> Heads:
    """Reads (batch, positions, heads * size), (batch, positions, heads, size) if `merged`, or
    (batch, heads, positions, size).
    """
    s = x.strides
    if x.rank == 3:
        size = x.shape[2] // max(heads, 1)
        return Heads((x.shape[0], heads, x.shape[1], size), (s[0], size, s[1]))
    if merged:
        return Heads((x.shape[0], x.shape[2], x.shape[1], x.shape[3]), (s[0], s[2], s[1]))
    b, h, n, d = x.shape
    return Heads((b, h, n, d), (s[0], s[1], s[2]))


def reads_whole_rows(shape: Sequence[int], run: int) -> bool:
    """Whether an operand of this shape may lie in rows that are apart."""
    return rows_fit(shape, run) and run % max(shape[-1], 1) == 0


@dataclass(frozen=True)
class Extras:
    """What else decides which keys a query sees, and how much."""

    scale: float
    softcap: float = 0.0
    mask: View | None = None
    bias: View | None = None
    lengths: View | None = None
    """Number of keys of each batch item, int64."""
    length_shift: int = 0
    """Added to it."""
    offset: int | None = 0
    left: int = -1
    right: int = -1
    safe: int = 0
    """1: queries without a result give 0 instead of NaN; 2: only those that see no key do."""


def lower_attention(
    low: Lowering,
    views: tuple[View, View, View, View],
    heads: tuple[Heads, Heads, Heads, Heads],
    extras: Extras,
) -> None:
    """Calls the kernel for Q, K, V and the result."""
    q, k, v, y = heads
    (b, h, m, d), (_, kv_heads, n, _), dv = q.shape, k.shape, v.shape[3]
    shape = (b, h, m, n)
    masks = [None if x is None else mask_strides(x.shape, shape) for x in (extras.mask, extras.bias)]
    strides = [list(x.strides) for x in (q, k, v, y)]
    right = extras.right
    if right >= 0 and (m == 1 if extras.offset is None else extras.offset + right >= n - 1):
        right = -1  # the first query sees all keys there are
    few = FEW
    if m == 1 and h > kv_heads and extras.left < 0 and right < 0:
        # The heads that share K and V are as good as queries that do.
        m, h, few = h // kv_heads, kv_heads, 2 * FEW  # a cache is long: packing it would be a second pass
        for s in (strides[0], strides[3]):
            s[1], s[2] = s[1] * m, s[1]
        masks = [None if s is None else (*s[:3], s[3] * m, s[3], s[5]) for s in masks]
    work = float(b) * h * m * n * (d + dv + SOFTMAX_COST) / 8
    tasks = low.tasks(work)
    parts = None
    if m <= few:
        whole = b * h % tasks == 0 or b * h >= 8 * tasks
        parts = 1 if whole else max(1, min(tasks, n // LEAST_KEYS))
    lengths = extras.lengths
    g = _geometry(
        batch=b, heads=h, kv_heads=kv_heads, m=m, n=n, d=d, dv=dv,
        q=(0, *strides[0]), k=(0, *strides[1]), v=(0, *strides[2]), y=(0, *strides[3]),
        mask=masks[0], bias=masks[1],
        lengths=None if lengths is None else (1 if lengths.size > 1 else 0, extras.length_shift),
        offset=extras.offset, left=extras.left, right=right, safe=extras.safe,
        capped=extras.softcap != 0,
        tasks=tasks, parts=parts,
    )  # fmt: skip
    f = _factors(extras.scale, extras.softcap)
    own = (_vector(low, extras.mask), _vector(low, extras.bias),
           low.const(kernels.NO_LENGTHS) if lengths is None else low.flat(lengths))  # fmt: skip
    reads, target = [low.span(x) for x in views[:3]], low.span(views[3])
    if parts is not None:
        scratch = low.scratch((kernels.rows_work_size(g, tasks),))
        low.call(kernels.attention_rows, *reads, *own, low.const(g), low.const(f), scratch, target, tasks)
    else:
        scratch = low.scratch((tasks * kernels.work_size(n, d, dv),))
        low.call(
            kernels.attention, *reads, *own, low.const(kernels.NO_ROWS), low.const(tile_addresses()),
            low.const(g), low.const(f), scratch, target, tasks,
        )  # fmt: skip


def _vector(low: Lowering, x: View | None) -> View:
    return low.const(NO_VECTOR) if x is None else low.flat(x)


def mask_strides(mask: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """How `geometry` reads a mask for scores of a shape: axes of size 1 are repeated, and so is a
    batch that divides that of the scores.
    """
    sizes = (1,) * (4 - len(mask)) + tuple(mask)
    for i, (size, whole) in enumerate(zip(sizes, shape, strict=True)):
        if size not in (1, whole) and (i > 0 or size == 0 or whole % size):
            raise ShapeError(f"a mask of shape {list(mask)} does not fit scores of shape {list(shape)}")
    steps = [math.prod(sizes[i + 1 :]) if sizes[i] != 1 else 0 for i in range(4)]
    return (max(sizes[0], 1), 0, *steps)
