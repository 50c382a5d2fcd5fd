"""Append: rows written into memory that outlives a run."""

from __future__ import annotations

from numba_rt.errors import ShapeError
from numba_rt.graph import Fact
from numba_rt.kernels.move import copy_bits
from numba_rt.ops._checks import check_axis, check_rank, check_same_dtype, same_dim
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import OWN, Op, op


@op("Append", domain=OWN)
class Append(Op):
    """`window` whose last rows along `axis` have become `rows`: they are written into the memory that
    is fed. Nothing else may read the window itself, and all axes before `axis` have size 1.
    """

    axis: int = 0

    view = True
    half = False
    deterministic = False  # two of them are never one: each has memory of its own

    def infer(self, window: Fact, rows: Fact) -> Fact:
        check_same_dtype(("window", window), ("rows", rows))
        check_rank(rows, "rows", exactly=window.rank)
        axis = check_axis(self.axis, window.rank, "axis")
        assert window.shape is not None and rows.shape is not None
        for i, (whole, part) in enumerate(zip(window.shape, rows.shape, strict=True)):
            if i < axis and not (same_dim(whole, 1) and same_dim(part, 1)):
                raise ShapeError(f"window = {window}: expected size 1 on the axes before {axis}")
            if i > axis and not same_dim(whole, part):
                raise ShapeError(f"rows = {rows} do not fit into window = {window} along axis {axis}")
        whole, part = window.shape[axis], rows.shape[axis]
        if isinstance(whole, int) and isinstance(part, int) and part > whole:
            raise ShapeError(f"rows = {rows} are more than window = {window} has along axis {axis}")
        return window

    def write(self, low: Lowering, window: View, rows: View) -> None:
        """The calls that write; what is read from then on is the window."""
        if rows.size:
            to = low.view(window, rows.shape, offset=window.nbytes - rows.nbytes)
            low.call(copy_bits, low.bits(rows), low.bits(to), low.tasks(rows.nbytes / 8))
