"""A depthwise convolution together with the 1x1 convolutions around it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from numba_rt.graph import Fact
from numba_rt.kernels.activation import ACTIVATIONS
from numba_rt.kernels.conv import Window
from numba_rt.kernels.depthwise import depthwise_tiles
from numba_rt.kernels.depthwise_block import Stage, depthwise_block, depthwise_block_plan, unevenness
from numba_rt.kernels.gemm import NO_ROWS, NO_VECTOR, epilogue
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import OWN, Op, op
from numba_rt.ops._strided import copy_strided
from numba_rt.ops._window import slide
from numba_rt.ops.conv import NhwcConv
from numba_rt.simd.tile import tile_addresses

MOST_UNEVEN = 1.2
"""Unevenness of tasks that share rows from which on `project` is computed on its own, and tasks share
channels before it: evenly, but `project` then reads what other threads have written.
"""


@op("DepthwiseBlock", domain=OWN)
class DepthwiseBlock(Op):
    """project(depthwise(expand(X))) + Z, of which `expand` and `project` are 1x1 convolutions or absent.

    The maps between are made and read by bands of rows that stay in the cache. Z is added where
    `project` adds its residual.
    """

    depthwise: NhwcConv
    expand: NhwcConv | None = None
    project: NhwcConv | None = None

    def infer(
        self,
        X: Fact,
        W1: Fact | None,
        B1: Fact | None,
        W2: Fact,
        B2: Fact | None = None,
        W3: Fact | None = None,
        B3: Fact | None = None,
        Z: Fact | None = None,
    ) -> Fact:
        wide = X if self.expand is None or W1 is None else self.expand.infer(X, W1)
        made = self.depthwise.infer(wide, W2)
        return made if self.project is None or W3 is None else self.project.infer(made, W3)

    def flops(self, X: View, W1: View | None, B1: View | None, W2: View, *rest: View | None) -> int:
        Y, c, taps = rest[-1], self.depthwise.channels, int(np.prod(self.depthwise.kernel_shape))
        assert Y is not None
        pixels = Y.size // Y.shape[-1]
        before = 0 if self.expand is None else X.size * c
        after = 0 if self.project is None else Y.size * c
        return 2 * (before + pixels * c * taps + after)

    @property
    def algorithm(self) -> str:
        stages = [s.algorithm for s in (self.expand, self.depthwise, self.project) if s is not None]
        return ", ".join(stages)

    def key(self) -> object:
        stages = (self.expand, self.depthwise, self.project)
        return (type(self), *(None if s is None else s.key() for s in stages))

    def __str__(self) -> str:
        stages = [str(s) for s in (self.expand, self.depthwise, self.project) if s is not None]
        return f"{self.op_type}<{', '.join(stages)}>"

    def reads_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        """Pixels of the images, of the residual and of the result may be apart."""
        return position in (0, 7) and run == shape[-1]

    def writes_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        return run == shape[-1]

    def lower(
        self, low: Lowering, X: View, W1: View | None, B1: View | None, W2: View, B2: View | None,
        W3: View | None, B3: View | None, Z: View | None, Y: View,
    ) -> None:  # fmt: skip
        if Y.size == 0:
            return
        window, none = self._window(X), low.const(NO_VECTOR)
        tasks = low.tasks(self.flops(X, W1, B1, W2, Y) / 16)
        before, after = X.shape[3] if self.expand else 0, Y.shape[3] if self.project else 0
        uneven = _unevenness(window, tasks, before, after) > MOST_UNEVEN
        if uneven and self.project is not None:
            deep = low.scratch((*Y.shape[:3], self.depthwise.channels))
            if self.expand is None:
                self.depthwise.lower(low, X, W2, B2, None, deep)
            else:
                first = DepthwiseBlock(self.depthwise, self.expand)
                first.lower(low, X, W1, B1, W2, B2, None, None, None, deep)
            assert W3 is not None
            self.project.lower(low, deep, W3, B3, Z, Y)
            return
        if Z is not None and Z.pitch != Y.pitch:
            copy_strided(low, Z, Y, list(zip(Y.shape, Z.strides, Y.strides, strict=True)))
            Z = Y
        operands = [none if v is None else low.flat(v) for v in (W1, B1, W2, B2, W3, B3)]
        stages = [
            None if s is None else Stage(b is not None, ACTIVATIONS[s.activation] if s.activation else 0)
            for s, b in ((self.expand, B1), (self.depthwise, B2), (self.project, B3))
        ]
        plan = _plan(window, tasks, *stages, X.shape[3], Y.shape[3], Z is not None, Y.pitch, uneven)
        low.call(
            depthwise_block, low.span(X), *operands, none if Z is None else low.span(Z),
            low.const(NO_ROWS), low.const(tile_addresses()), low.const(depthwise_tiles(window)),
            low.const(plan.g), low.const(self._factors()), low.scratch((plan.scratch,)), low.span(Y), tasks,
        )  # fmt: skip

    def _window(self, X: View) -> Window:
        d = self.depthwise
        sliding = slide(
            X.shape[1:3], d.kernel_shape, strides=d.strides, dilations=d.dilations, pads=d.pads,
            auto_pad=d.auto_pad,
        )  # fmt: skip
        top, left, bottom, right = sliding.pads
        kernel, strides, dilations = (
            (n[0], n[1]) for n in (sliding.kernel, sliding.strides, sliding.dilations)
        )
        return Window(
            X.shape[0], (X.shape[1], X.shape[2]), d.channels, kernel, strides, dilations,
            (top, left, bottom, right), X.pitch or X.shape[3],
        )  # fmt: skip

    def _factors(self) -> np.ndarray:
        """Limits and parameters of activations of the three convolutions."""
        stages = (self.expand or self.depthwise, self.depthwise, self.project or self.depthwise)
        return np.concatenate([epilogue(1.0, s.lo, s.hi, s.act_alpha, s.act_beta) for s in stages])


_plan = lru_cache(maxsize=64)(depthwise_block_plan)
_unevenness = lru_cache(maxsize=64)(unevenness)
