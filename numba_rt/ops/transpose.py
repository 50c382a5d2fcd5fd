"""Transpose, DepthToSpace and SpaceToDepth: elements in another order of axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact, Sym
from numba_rt.ops._checks import check_axes, check_rank
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op
from numba_rt.ops._parts import row_strides, rows_fit
from numba_rt.ops._strided import SHORT, copy_strided


def permute(
    low: Lowering, x: View, y: View, shape: Sequence[int], perm: Sequence[int], turned: bool = False
) -> None:
    """y = x under `shape` with its axes in the order `perm`; either may have a pitch."""
    made = [shape[p] for p in perm]
    from_x, from_y = row_strides(shape, x.run, x.pitch), row_strides(made, y.run, y.pitch)
    axes = [(n, from_x[p], sy) for n, p, sy in zip(made, perm, from_y, strict=True)]
    copy_strided(low, x, y, axes, turned=turned)


def _always_turned(perm: Sequence[int], shape: Sequence[Dim]) -> bool:
    """Whether another axis comes last, and both are worth tiles as far as is known at load: the
    kernel is then the same for all sizes.
    """
    moving = [p for p in perm if isinstance(shape[p], Sym) or shape[p] != 1]
    if not moving or moving[-1] == max(moving):
        return False
    return all(isinstance(shape[p], Sym) or shape[p] >= SHORT for p in (moving[-1], max(moving)))


@op("Transpose", since=25)
class Transpose(Op):
    """Axes in the order `perm`; reversed if it is not given."""

    perm: tuple[int, ...] | None = None

    half = False

    def order(self, rank: int) -> tuple[int, ...]:
        """The permutation for a value of this rank."""
        if self.perm is None:
            return tuple(range(rank))[::-1]
        if len(self.perm) != rank:
            raise ShapeError(f"perm = {list(self.perm)} has {len(self.perm)} axes: data has {rank}")
        return check_axes(self.perm, rank, "perm")

    def infer(self, data: Fact) -> Fact:
        assert data.shape is not None
        return Fact(data.dtype, tuple(data.shape[p] for p in self.order(data.rank)))

    def evaluate(self, data: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.transpose(data, self.order(data.ndim)))

    def reads_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        return rows_fit(shape, run)

    writes_rows = reads_rows

    def lower(self, low: Lowering, data: View, transposed: View) -> None:
        perm = self.order(data.rank)
        permute(low, data, transposed, data.shape, perm, _always_turned(perm, data.symbolic_shape))


def _check_blocks(input: Fact, blocksize: int, mode: str) -> None:
    check_rank(input, "input", exactly=4)
    if blocksize < 1:
        raise ShapeError(f"blocksize = {blocksize}: expected at least 1")
    if mode not in ("DCR", "CRD"):
        raise ShapeError(f"mode = {mode!r}: expected 'DCR' or 'CRD'")


def _divided(dim: Dim, by: int, name: str) -> Dim:
    """A size divided by a number that must divide it."""
    if not isinstance(dim, Sym) and dim % by:
        raise ShapeError(f"{name} = {dim} is not a multiple of {by}, as the blocksize asks")
    return dim // by


@op("DepthToSpace", since=28)
class DepthToSpace(Op):
    """Channels spread over blocks of pixels."""

    blocksize: int
    mode: str = "DCR"

    half = False

    def infer(self, input: Fact) -> Fact:
        _check_blocks(input, self.blocksize, self.mode)
        assert input.shape is not None
        b, c, h, w = input.shape
        s = self.blocksize
        return Fact(input.dtype, (b, _divided(c, s * s, "channels"), h * s, w * s))

    def split(self, shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The input's shape with the block's axes apart, and their order in the output."""
        b, c, h, w = shape
        s = self.blocksize
        if self.mode == "DCR":
            return (b, s, s, c // (s * s), h, w), (0, 3, 4, 1, 5, 2)
        return (b, c // (s * s), s, s, h, w), (0, 1, 4, 2, 5, 3)

    def evaluate(self, input: np.ndarray) -> np.ndarray:
        b, c, h, w = input.shape
        s = self.blocksize
        shape, perm = self.split(input.shape)
        return input.reshape(shape).transpose(perm).reshape(b, c // (s * s), h * s, w * s)

    def lower(self, low: Lowering, input: View, output: View) -> None:
        permute(low, input, output, *self.split(input.shape))


@op("SpaceToDepth", since=28)
class SpaceToDepth(Op):
    """Blocks of pixels stacked into channels."""

    blocksize: int
    mode: str = "DCR"

    half = False

    def infer(self, input: Fact) -> Fact:
        _check_blocks(input, self.blocksize, self.mode)
        assert input.shape is not None
        b, c, h, w = input.shape
        s = self.blocksize
        return Fact(input.dtype, (b, c * (s * s), _divided(h, s, "height"), _divided(w, s, "width")))

    def split(self, shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The input's shape with the block's axes apart, and their order in the output."""
        b, c, h, w = shape
        s = self.blocksize
        return (b, c, h // s, s, w // s, s), (0, 3, 5, 1, 2, 4) if self.mode == "DCR" else (0, 1, 3, 5, 2, 4)

    def evaluate(self, input: np.ndarray) -> np.ndarray:
        b, c, h, w = input.shape
        s = self.blocksize
        shape, perm = self.split(input.shape)
        return input.reshape(shape).transpose(perm).reshape(b, c * s * s, h // s, w // s)

    def lower(self, low: Lowering, input: View, output: View) -> None:
        permute(low, input, output, *self.split(input.shape))
