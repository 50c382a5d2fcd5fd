"""Convolutions of float32 images (b, h, w, c), through the register tiles of matrix products.

A convolution is the product of windows and weights. The windows are not copied: a table says where
the channels of each tap of each output pixel start (`numba_rt.simd.tile`). `Window` is the geometry,
`convolution` its plan for the kernel `gemm`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from numba_rt.jit import kernel, prange, u
from numba_rt.kernels.gemm import NO_ROWS, product
from numba_rt.kernels.packing import packed_size

__all__ = ["Convolution", "Window", "convolution", "pad_images"]

FOLD_BELOW = 16
"""Images with fewer channels are padded, so that a row of a window is one run of floats."""

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """How a window of `kernel` taps moves over images of `size` (h, w) and `channels`."""

    batch: int
    size: Pair
    channels: int
    kernel: Pair
    strides: Pair = (1, 1)
    dilations: Pair = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    """top, left, bottom, right, as in ONNX."""
    pitch: int = 0
    """Elements from one pixel of the images to the next, if more than its channels."""

    @property
    def step(self) -> int:
        """Elements from one pixel of the images to the next."""
        return self.pitch or self.channels

    @property
    def out(self) -> Pair:
        """Height and width of the output."""
        h, w = (
            (self.size[i] + self.pads[i] + self.pads[i + 2] - self.dilations[i] * (self.kernel[i] - 1) - 1)
            // self.strides[i]
            + 1
            for i in (0, 1)
        )
        return h, w

    @property
    def padded(self) -> Window:
        """The same window over images that contain the padding."""
        size = self.size[0] + self.pads[0] + self.pads[2], self.size[1] + self.pads[1] + self.pads[3]
        return Window(self.batch, size, self.channels, self.kernel, self.strides, self.dilations)

    def table(self) -> np.ndarray:
        """Offset in an image of each tap of each output pixel, (taps, pixels); -1 is padding."""
        rows, columns = (
            np.arange(self.out[i]) * self.strides[i]
            + np.arange(self.kernel[i])[:, None] * self.dilations[i]
            - self.pads[i]
            for i in (0, 1)
        )
        rows, columns = rows[:, None, :, None], columns[None, :, None, :]
        h, w = self.size
        inside = (rows >= 0) & (rows < h) & (columns >= 0) & (columns < w)
        offsets = np.where(inside, (rows * w + columns) * self.step, -1)
        return np.ascontiguousarray(offsets.reshape(self.kernel[0] * self.kernel[1], -1), np.int64)


@dataclass(frozen=True)
class Convolution:
    """Arguments of `gemm` for a convolution. Where `scratch` is not 0, `pad_images` first copies the
    images to a scratch of so many elements, which takes their place.
    """

    table: np.ndarray
    g: np.ndarray
    scratch: int = 0
    pad: np.ndarray | None = None


def convolution(
    window: Window,
    out_channels: int,
    groups: int = 1,
    bias: bool = False,
    residual: bool = False,
    act: int = 0,
    out_pitch: int = 0,
    shuffled: int = 1,
) -> Convolution:
    """The plan of a convolution with weights from `pack_conv`, for `gemm`.

    `out_pitch` is the distance of pixels of the result and of the residual, if it is more than
    their channels. Channels of images that are `shuffled`, as so many blocks of which each group
    reads a run, make as many taps of one.
    """
    h, w = window.size
    pixels, taps = window.out[0] * window.out[1], window.kernel[0] * window.kernel[1]
    ldc = out_pitch or out_channels
    flags: dict[str, Any] = {"bias": bias, "residual": residual, "act": act, "ldc": ldc}
    if taps == 1 and groups == 1 and window.strides == (1, 1) and not any(window.pads):
        rows = window.batch * h * w
        return Convolution(NO_ROWS, product(rows, out_channels, window.channels, lda=window.step, **flags))
    if groups == 1 and window.kernel[1] > 1 and window.dilations[1] == 1:
        if not window.pads[1] and not window.pads[3] and window.step == window.channels:
            return _folded(window, out_channels, flags)
        if window.channels < FOLD_BELOW and min(window.pads) >= 0:
            folded = _folded(window.padded, out_channels, flags)
            elements = window.batch * window.channels * int(np.prod(window.padded.size))
            sizes = np.array([window.batch, h, w, window.channels, *window.pads, window.step], np.int64)
            return Convolution(folded.table, folded.g, elements, sizes)
    own, k = out_channels // groups, window.channels // groups
    run, table = k // shuffled, window.table()
    g = product(
        pixels, own, run, batch=(window.batch, groups), lda=0, taps=taps * shuffled,
        a_strides=(h * w * window.step, run), b_strides=(0, packed_size(taps * k, own)),
        c_strides=(pixels * ldc, own), bias_strides=(0, own), row_step=1, tap_step=pixels, **flags,
    )  # fmt: skip
    if shuffled > 1:
        blocks = np.arange(shuffled)[:, None] * (window.channels // shuffled)
        table = np.where(table[:, None] < 0, -1, table[:, None] + blocks)
    return Convolution(table.reshape(-1), g)


def _folded(window: Window, out_channels: int, flags: dict[str, Any]) -> Convolution:
    """A tap per row of the window, of `kernel width * channels` contiguous floats."""
    pixels, (h, w) = window.out[0] * window.out[1], window.size
    g = product(
        pixels, out_channels, window.kernel[1] * window.channels, batch=(window.batch, 1), lda=0,
        taps=window.kernel[0], a_strides=(h * w * window.channels, 0),
        c_strides=(pixels * flags["ldc"], 0), row_step=1, tap_step=pixels, **flags,
    )  # fmt: skip
    return Convolution(np.ascontiguousarray(window.table()[:: window.kernel[1]]).reshape(-1), g)


@kernel
def pad_images(x, g, y, tasks):
    """Copies images (b, h, w, c) into larger ones with zeros around.

    x, y flat; g int64: b, h, w, c, top, left, bottom, right, distance of the pixels of x.
    """
    h, w, c, top, left, step = g[1], g[2], g[3], g[4], g[5], g[8]
    height, width = h + top + g[6], (w + left + g[7]) * c
    rows = g[0] * height
    for t in prange(tasks):
        for row in range(t * rows // tasks, (t + 1) * rows // tasks):
            image, line, to = row // height, row % height - top, row * width
            first, count = left * c, w * c
            if line < 0 or line >= h:
                first, count = width, 0
            source = (image * h + line) * w * step
            for i in range(first):
                y[u(to + i)] = 0
            run = max(count, 1) if step == c else c
            for at in range(0, count, run):
                for i in range(run):
                    y[u(to + first + at + i)] = x[u(source + i)]
                source += step
            for i in range(first + count, width):
                y[u(to + i)] = 0
