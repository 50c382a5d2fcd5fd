"""Blocks of real networks, of images and of rows: Transposes stay only at their borders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.optimize.expressions import f32, i64
from tests.optimize.images import (
    Layout,
    between,
    check,
    conv,
    depthwise,
    grouped,
    shuffle,
    split_in_two,
    squeeze_excite,
)


def inception_block(op, x):
    a = op.Relu(conv(op, x, 8, 8, seed=2))
    b = op.Relu(conv(op, op.Relu(conv(op, x, 4, 8, seed=3)), 8, 4, 3, seed=4, pads=(1, 1, 1, 1)))
    c = op.Relu(conv(op, op.MaxPool(x, kernel_shape=(3, 3), pads=(1, 1, 1, 1)), 8, 8, seed=5))
    return op.Concat(a, b, c, axis=1)


def dense_block(op, x):
    for k in (8, 12):
        norm = (np.abs(f32(k, seed=s)) + np.float32(0.5) for s in range(4))
        y = conv(op, op.Relu(op.BatchNormalization(x, *norm)), 4, k, 3, pads=(1, 1, 1, 1))
        x = op.Concat(x, y, axis=1)
    return x


def shuffle_block_v1(op, x):
    y = shuffle(op, op.Relu(grouped(op, x)))
    return op.Relu(op.Sum(grouped(op, depthwise(op, y), 6), x))


def shuffle_block_v2(op, x):
    a, b = op.Split(x, i64(4, 4), axis=1, n_outputs=2, outputs=2)
    y = op.Relu(conv(op, b, 4, 4, seed=6))
    y = op.Conv(y, f32(4, 1, 3, 3, seed=7), group=4, pads=(1, 1, 1, 1))
    return shuffle(op, op.Concat(a, op.Relu(conv(op, y, 4, 4, seed=8)), axis=1))


def mobile_block(op, x):
    y = op.HardSwish(depthwise(op, op.HardSwish(conv(op, x, 8, 8, seed=6))))
    return op.Add(conv(op, squeeze_excite(op, y), 8, 8, seed=9), x)


def unet(op, x):
    down = op.Relu(conv(op, op.MaxPool(x, kernel_shape=(2, 2), strides=(2, 2)), 8, 8, 3, pads=(1, 1, 1, 1)))
    up = op.ConvTranspose(down, f32(8, 8, 2, 2, seed=5), f32(8), strides=(2, 2))
    return op.Concat(op.Slice(x, i64(0), i64(6), i64(3)), up, axis=1)


def classifier(op, x):
    y = op.Gemm(op.Flatten(op.GlobalAveragePool(x)), f32(10, 8), f32(10), transB=True)
    return op.Softmax(y, axis=-1)


def two(block: Callable[..., Any]) -> Callable[..., Any]:
    """Two blocks between a first convolution and a classifier."""
    return lambda op, x: classifier(op, block(op, block(op, op.Relu(conv(op, x)))))


def one(block: Callable[..., Any], channels: int) -> Callable[..., Any]:
    """A block between two convolutions and a classifier."""
    return lambda op, x: classifier(op, conv(op, block(op, conv(op, x)), 8, channels, seed=2))


def conv1d(op, x, channels=8, own=8, k=3, seed=1, **attributes):
    return op.Conv(
        x, f32(channels, own, k, seed=seed) * np.float32(0.4), f32(channels, seed=seed), **attributes
    )


def rows(f: Callable[..., Any], own: int = 8) -> Callable[..., Any]:
    """f between two convolutions over one axis."""
    return lambda op, x: conv1d(op, f(op, conv1d(op, x, own=4)), own=own, seed=2)


def residual_row(op, x):
    y = op.Relu(conv1d(op, op.Mul(x, f32(8, 1)), pads=(1, 1)))
    return op.Relu(op.Add(conv1d(op, op.Sub(y, f32(1, 8, 1)), seed=3, pads=(1, 1)), x))


def vocoder(op, x):
    y = op.ConvTranspose(op.LeakyRelu(x), f32(8, 6, 8, seed=4), f32(6), strides=(4,), pads=(2, 2))
    parts = (conv1d(op, y, 6, 6, seed=s, pads=(d, d), dilations=(d,)) for s, d in ((5, 1), (6, 3)))
    return op.Tanh(op.Div(op.Add(*parts), np.float32(2)))


def detection_head(op, x):
    y = op.Transpose(op.Reshape(conv(op, x, 12), i64(0, 3, 4, 6, 7)), perm=(0, 3, 4, 1, 2))
    return op.Reshape(y, i64(0, -1, 4))


def norm_of_channels(op, x):
    centred = op.Sub(x, op.ReduceMean(x, i64(1)))
    variance = op.ReduceMean(op.Pow(centred, np.float32(2)), i64(1))
    normal = op.Div(centred, op.Sqrt(op.Add(variance, np.float32(1e-6))))
    return op.Add(op.Mul(f32(8, 1, 1, seed=3), normal), f32(8, 1, 1, seed=4))


X1 = {"inputs": (f32(2, 4, 19),), "symbolic": (0, 2)}

CASES = [
    Layout("row: residual", rows(residual_row), 2, ("NhwcConv",) * 4, **X1),
    Layout("row: concat", rows(lambda op, x: op.Concat(op.Relu(x), op.Neg(x), axis=1), 16), 2, **X1),
    Layout("row: split", rows(split_in_two), 2, ("Split",), **X1),
    Layout("row: slice, pad", rows(lambda op, x: op.Pad(op.Slice(x, i64(1), i64(-2), i64(2)), i64(
        0, 0, 2, 0, 0, 1), np.float32(1))), 2, ("Pad",), **X1),
    Layout("row: softmax", rows(lambda op, x: op.Softmax(x, axis=-2)), 2, **X1),
    Layout("row: resize", rows(lambda op, x: op.Resize(x, None, np.float32([1, 1, 2]))), 2, **X1),
    Layout("row: max pool", rows(lambda op, x: op.MaxPool(x, kernel_shape=(3,), strides=(2,))), 2, **X1),
    Layout(
        "row: average pool",
        rows(lambda op, x: op.AveragePool(x, kernel_shape=(4,), pads=(1, 2), ceil_mode=True)),
        2,
        **X1,
    ),
    Layout("row: global average", lambda op, x: op.GlobalAveragePool(conv1d(op, x, own=4)), 1, **X1),
    Layout("row: lrn", rows(lambda op, x: op.LRN(x, size=3, alpha=0.2)), 2, ("NhwcLRN",), **X1),
    Layout(
        "row: instance norm",
        rows(lambda op, x: op.InstanceNormalization(x, f32(8, seed=3), f32(8, seed=4))),
        2,
        ("NhwcInstanceNormalization",),
        **X1,
    ),
    Layout("row: vocoder", rows(vocoder, 6), 2, ("NhwcConv",) * 5, fires=("ConvTranspose1dToConv",), **X1),
    Layout(
        "row: conv transpose of stride 1",
        rows(lambda op, x: op.ConvTranspose(x, f32(8, 6, 4), strides=(1,), dilations=(2,), pads=(1, 4)), 6),
        2,
        **X1,
    ),
    Layout(
        "row: conv transpose with groups",
        rows(lambda op, x: op.ConvTranspose(x, f32(8, 3, 4), group=2), 6),
        4,
        refuses="it has groups",
        **X1,
    ),
    Layout("head of a detector", detection_head, 1, ("Reshape",), fires=("SplitChannels",)),
    Layout("layer norm of channels", between(norm_of_channels), 2, ("LayerNormalization",)),
    Layout("inception", one(inception_block, 24), 1, ("NhwcConv",) * 6 + ("Concat", "NhwcMaxPool")),
    Layout("densenet", one(dense_block, 16), 1, ("NhwcConv",) * 4 + ("FusedElementwise", "Concat") * 2),
    Layout("shufflenet", two(shuffle_block_v1), 1, ("NhwcConv",) * 7, fires=("ShuffleIntoGroups",)),
    Layout("shufflenet v2", two(shuffle_block_v2), 1, ("DepthwiseBlock", "ChannelShuffle", "Split") * 2),
    Layout("mobilenet v3", two(mobile_block), 1, ("DepthwiseBlock", "Mul", "ReduceMean") * 2),
    Layout(
        "unet",
        one(unet, 16),
        1,
        ("NhwcConv",) * 4 + ("NhwcDepthToSpace", "Slice"),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_network(case: Layout) -> None:
    check(case)
