"""Images are channels-last inside: Transposes stay only at a model's borders, and results stay the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.optimize.expressions import f32, i64
from tests.optimize.images import (
    Layout,
    after,
    between,
    check,
    conv,
    depthwise,
    grouped,
    shuffle,
    split_in_two,
    squeeze_excite,
)


def squeeze_excite_linear(op, x):
    s = op.Relu(op.Gemm(op.Flatten(op.GlobalAveragePool(x)), f32(8, 3, seed=5)))
    s = op.Sigmoid(op.Gemm(s, f32(3, 8, seed=6)))
    return op.Mul(x, op.Reshape(s, i64(-1, 8, 1, 1)))


def wide_groups(channels, blocks, groups=2, k=1, **attributes):
    w = f32(channels + 2 * groups, channels // groups, k, k, seed=3)
    return lambda op, x: op.Conv(
        shuffle(op, conv(op, x, channels, 2, group=2), blocks, channels), w, group=groups, **attributes
    )


def convnext(op, x):
    y = op.LayerNormalization(op.Transpose(x, perm=(0, 2, 3, 1)), f32(8, seed=3), f32(8, seed=4), axis=-1)
    y = op.Add(op.MatMul(y, f32(8, 8, seed=5)), f32(8, seed=6))
    return op.Add(x, op.Mul(op.Transpose(y, perm=(0, 3, 1, 2)), f32(8, 1, 1, seed=7)))


def stem(op, x):
    y = op.Transpose(op.Reshape(x, i64(0, 8, -1)), perm=(0, 2, 1))
    return op.LayerNormalization(y, f32(8, seed=3), f32(8, seed=4), axis=-1)


def stem_and_back(op, x):
    y = op.Transpose(stem(op, x), perm=(0, 2, 1))
    return op.Reshape(y, i64(-1, 8, 6, 7))


def batch_norm_of_input(op, x):
    y = op.BatchNormalization(x, f32(4), f32(4, seed=1), f32(4, seed=2), np.abs(f32(4, seed=3)) + 1)
    return conv(op, y)


def pooled(kind: str, **attributes: Any) -> Callable[..., Any]:
    return lambda op, x: getattr(op, kind)(x, **attributes)


def reduced(kind: str, *axes: int, keep: bool = True) -> Callable[..., Any]:
    return lambda op, x: getattr(op, kind)(x, i64(*axes), keepdims=keep)


def positions(op, x):
    y, where = op.MaxPool(x, kernel_shape=(2, 2), n_outputs=2, outputs=2)
    return y, op.Neg(where)


def transposed(k=2, s=2, channels=8, group=1, bias=True, **attributes):
    def build(op, x):
        w = f32(channels, 6 // group, k, k, seed=8)
        b = f32(6, seed=9) if bias else None
        return op.ConvTranspose(x, w, b, strides=(s, s), group=group, **attributes)

    return build


W = {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}
SIZES = np.float32([1, 1, 2, 1.5])
X2 = f32(2, 4, 6, 7)

CASES = [
    Layout("elementwise", between(lambda op, x: op.Relu(op.Add(x, f32(8, 1, 1)))), 2, ("NhwcConv",) * 2),
    Layout("number a channel", after(lambda op, x: op.Mul(op.Neg(x), f32(1, 8, 1, 1))), 2),
    Layout("number a column", after(lambda op, x: op.Sub(op.Neg(x), f32(7))), 2),
    Layout("slope", between(lambda op, x: op.PRelu(x, f32(8, 1, 1))), 2, ("PRelu",)),
    Layout(
        "other operand of rank three",
        lambda op, x, y: op.Mul(op.Neg(conv(op, x)), op.Abs(y)),
        2,
        inputs=(X2, f32(8, 1, 1)),
    ),
    Layout("concat", between(lambda op, x: op.Concat(op.Relu(x), op.Neg(x), axis=1), 16), 2),
    Layout("concat of rows", between(lambda op, x: op.Concat(op.Relu(x), op.Neg(x), axis=-2)), 2),
    Layout(
        "concat with the input",
        lambda op, x: conv(op, op.Concat(conv(op, x), x, axis=1), 3, 12, seed=2),
        2,
        symbolic=(0, 2, 3),
    ),
    Layout("split", between(split_in_two), 2, ("Split",)),
    Layout("slice of channels", between(lambda op, x: op.Slice(x, i64(2), i64(6), i64(1)), 4), 2, ("Slice",)),
    Layout("slice of all axes", between(lambda op, x: op.Slice(x, i64(0, 1, 0), i64(9, 5, 3)), 4), 2),
    Layout("slice backwards", between(lambda op, x: op.Slice(x, i64(9), i64(-9), i64(-1), i64(-2))), 2),
    Layout("pad of rows", between(lambda op, x: op.Pad(x, i64(0, 0, 1, 2, 0, 0, 0, 1), mode="reflect")), 2),
    Layout(
        "pad of named axes",
        between(lambda op, x: op.Pad(x, i64(1, 2), np.float32(3), i64(-3)), 11),
        2,
        ("Pad",),
    ),
    *(
        Layout(f"resize {mode}", between(lambda op, x, m=mode: op.Resize(x, None, SIZES, mode=m)), 2)
        for mode in ("nearest", "linear", "cubic")
    ),
    Layout(
        "resize by sizes of two axes",
        between(lambda op, x: op.Resize(x, None, None, i64(9, 4), axes=(-1, 2), mode="linear")),
        2,
    ),
    Layout(
        "quantised",
        between(
            lambda op, x: op.DequantizeLinear(
                op.QuantizeLinear(x, np.abs(f32(8)) / np.float32(40), np.full(8, 128, np.uint8)),
                np.abs(f32(8)) / np.float32(40),
                np.full(8, 128, np.uint8),
                axis=-3,
            )
        ),
        2,
    ),
    Layout("softmax", between(lambda op, x: op.Softmax(x, axis=1)), 2, ("Softmax",)),
    Layout("softmax of rows", between(lambda op, x: op.Softmax(x, axis=-1)), 2),
    Layout("lrn", between(lambda op, x: op.LRN(x, size=5, alpha=0.1)), 2, ("NhwcLRN",)),
    Layout(
        "instance norm",
        between(lambda op, x: op.InstanceNormalization(x, f32(8, seed=3), f32(8, seed=4))),
        2,
        ("NhwcInstanceNormalization",),
    ),
    Layout(
        "group norm",
        between(lambda op, x: op.GroupNormalization(x, f32(8, seed=3), f32(8, seed=4), num_groups=2)),
        2,
        ("NhwcGroupNormalization",),
    ),
    Layout("mean and variance", between(lambda op, x: op.MeanVarianceNormalization(x)), 2),
    Layout("lp norm", between(lambda op, x: op.LpNormalization(x, axis=1)), 2),
    Layout("depth to space", between(lambda op, x: op.DepthToSpace(op.Neg(x), blocksize=2), 2), 2),
    Layout(
        "space to depth",
        between(lambda op, x: op.SpaceToDepth(op.Resize(x, None, None, i64(2, 8, 4, 6)), blocksize=2), 32),
        2,
        ("NhwcSpaceToDepth",),
        symbolic=(),
    ),
    Layout("max pool", between(pooled("MaxPool", **W)), 2, ("NhwcMaxPool",)),
    Layout("average pool", between(pooled("AveragePool", **W)), 2, ("NhwcAveragePool",)),
    Layout("lp pool", between(pooled("LpPool", p=3, **W)), 2, ("NhwcLpPool",)),
    Layout("positions", after(positions), 2, ("MaxPool",), refuses="indices are wanted"),
    Layout("positions of which none is read", after(lambda op, x: op.MaxPool(
        x, kernel_shape=(2, 2), n_outputs=2, outputs=2)[0]), 2, ("NhwcMaxPool",)),
    Layout("global average", after(pooled("GlobalAveragePool")), 1, ("ReduceMean",)),
    Layout("global maximum", after(pooled("GlobalMaxPool")), 1, ("ReduceMax",)),
    Layout("global norm", after(pooled("GlobalLpPool")), 1, ("ReduceL2",)),
    Layout("global cubes", after(pooled("GlobalLpPool", p=3)), 2, ("GlobalLpPool",), refuses="its p is"),
    Layout("mean of pixels", after(reduced("ReduceMean", 2, 3, keep=False)), 1),
    Layout("maximum of channels", after(reduced("ReduceMax", 1)), 1, symbolic=()),
    Layout("sum of channels", after(reduced("ReduceSum", -3, keep=False)), 1),
    Layout("sum of rows", after(reduced("ReduceSum", 2, keep=False)), 2),
    Layout("sum of all", after(lambda op, x: op.ReduceSum(x)), 1),
    Layout("positions of the largest channel", after(lambda op, x: op.ArgMax(x, axis=1, keepdims=False)), 1),
    Layout("squeezed", after(lambda op, x: op.Squeeze(op.GlobalAveragePool(x), i64(2, 3))), 1),
    Layout(
        "average pool, flatten, gemm",
        after(lambda op, x: op.Gemm(op.Flatten(op.GlobalAveragePool(x)), f32(8, 5), f32(5))),
        1,
        ("FusedMatMul",),
    ),
    Layout(
        "map, flatten, gemm",
        after(lambda op, x: op.Gemm(op.Flatten(x), f32(5, 8 * 42), f32(5), transB=True)),
        1,
        ("FusedMatMul",),
        fires=("FlattenedOperand",),
    ),
    Layout(
        "map, reshape, product",
        after(lambda op, x: op.MatMul(op.Reshape(x, i64(-1, 8 * 42)), f32(8 * 42, 5))),
        1,
        fires=("FlattenedOperand",),
    ),
    Layout(
        "map flattened from its third axis",
        after(lambda op, x: op.MatMul(op.Flatten(x, axis=2), f32(42, 5))),
        2,
        refuses="not one row for each image",
    ),
    Layout("squeeze and excite", between(squeeze_excite), 2),
    Layout("squeeze and excite, products", between(squeeze_excite_linear), 2),
    Layout("hard swish", between(lambda op, x: op.HardSwish(x)), 2, ("NhwcConv",) * 2),
    Layout("convnext", between(convnext), 2, ("LayerNormalization",)),
    Layout("stem of a transformer", after(stem), 1, ("LayerNormalization",), fires=("MergedPixels",)),
    Layout("stem and back", between(stem_and_back), 2, fires=("MergedPixels", "SplitPixels")),
    Layout(
        "one-dimensional stem",
        lambda op, x: op.Transpose(
            op.Gelu(op.Conv(op.Relu(op.Conv(x, f32(8, 4, 3))), f32(8, 8, 3, seed=1))), perm=(0, 2, 1)
        ),
        1,
        fires=("Conv1dTo2d", "SqueezedRow"),
        inputs=(f32(2, 4, 9),),
        symbolic=(0, 2),
    ),
    Layout(
        "channels-last input and output",
        lambda op, x: op.Transpose(conv(op, op.Transpose(x, perm=(0, 3, 1, 2))), perm=(0, 2, 3, 1)),
        0,
        inputs=(f32(2, 6, 7, 4),),
        symbolic=(0, 1, 2),
    ),
    Layout("one channel", lambda op, x: conv(op, x, 8, 1), 1, inputs=(f32(2, 1, 6, 7),), symbolic=(0, 2, 3)),
    Layout(
        "transpose that is not NCHW",
        between(lambda op, x: op.Softmax(op.Transpose(x, perm=(0, 1, 3, 2)), axis=1)),
        4,
        refuses="it is not NHWC data",
    ),
    Layout(
        "shuffle between grouped convolutions",
        between(lambda op, x: grouped(op, shuffle(op, grouped(op, x)), 6)),
        2,
        fires=("ShuffleOfReshapes", "ShuffleIntoGroups"),
    ),
    *(
        Layout(
            f"shuffle before wide groups: {blocks} blocks, {k}x{k}",
            wide_groups(channels, blocks, k=k, **attributes),
            2,
            fires=("ShuffleIntoGroups",),
        )
        for channels, blocks, k, attributes in (
            (48, 2, 1, {}),
            (108, 3, 1, {"strides": (2, 1)}),
            (96, 4, 3, {"pads": (1, 1, 1, 1), "dilations": (1, 2)}),
        )
    ),
    Layout(
        "shuffle before groups that do not divide runs",
        wide_groups(54, 6),
        2,
        ("ChannelShuffle",),
        refuses="a group does not read long runs of channels",
    ),
    Layout(
        "shuffle before a depthwise convolution",
        between(lambda op, x: depthwise(op, shuffle(op, grouped(op, x)))),
        2,
        fires=("ShuffleAfterDepthwise", "ShuffleIntoConv"),
    ),
    Layout("shuffle of a convolution", after(lambda op, x: shuffle(op, x, 4)), 2, fires=("ShuffleOfConv",)),
    Layout(
        "shuffle and split",
        between(lambda op, x: split_in_two(op, shuffle(op, op.Neg(x)))),
        2,
        ("ChannelShuffle", "Split"),
    ),
    Layout(
        "another transpose between reshapes",
        lambda op, x: op.Reshape(
            op.Transpose(op.Reshape(x, i64(0, 2, 2, 6, 7)), perm=(0, 1, 2, 4, 3)), i64(0, 4, 6, 7)
        ),
        1,
    ),
    Layout(
        "pixel shuffle",
        between(lambda op, x: op.Reshape(op.Transpose(
            op.Reshape(x, i64(0, 2, 2, 2, 6, 7)), perm=(0, 1, 4, 2, 5, 3)), i64(0, 2, 12, 14)), 2),
        2,
        ("NhwcDepthToSpace",),
        fires=("ShuffleOfReshapes", "BlocksOfConv"),
    ),
    Layout(
        "pixel unshuffle",
        between(lambda op, x: op.Reshape(op.Transpose(
            op.Reshape(op.Neg(x), i64(0, 8, 3, 2, 1, 2)), perm=(0, 1, 3, 5, 2, 4)), i64(0, 32, 3, 1)), 32),
        2,
        ("NhwcSpaceToDepth",),
        inputs=(f32(2, 4, 6, 2),),
    ),
    Layout("conv transpose", between(transposed(), 6), 2, ("NhwcConv",) * 3 + ("NhwcDepthToSpace",)),
    Layout("conv transpose, k 4", between(transposed(4, 2, pads=(1, 1, 1, 1)), 6), 2, symbolic=(0, 2, 3)),
    Layout("conv transpose, k 3", between(transposed(3, 2, pads=(1, 0, 1, 2), output_padding=(1, 0)), 6), 2),
    Layout("conv transpose, same", between(transposed(3, 2, auto_pad="SAME_LOWER"), 6), 2),
    Layout("conv transpose, groups", between(transposed(5, 3, group=2, bias=False), 6), 2),
    Layout("conv transpose, dilated", between(transposed(3, 1, dilations=(2, 1), pads=(1, 2, 3, 0)), 6), 2),
    Layout("conv transpose, mostly zeros", between(transposed(1, 2), 6), 4, refuses="taps would be zero"),
    Layout(
        "conv transpose, batch norm, relu",
        lambda op, x: op.Relu(op.BatchNormalization(
            transposed(3, 2, 4, group=2, pads=(1, 1, 1, 1))(op, x),
            f32(6), f32(6, seed=1), f32(6, seed=2), np.abs(f32(6, seed=3)) + 1)),
        2,
        ("NhwcConv", "NhwcDepthToSpace", "Slice"),
        fires=("BatchNormIntoConv", "ConvTransposeToConv", "ActivationBeforeBlocks"),
    ),
    Layout(
        "pad of zeros",
        lambda op, x: op.Conv(op.Pad(x, i64(0, 0, 1, 0, 0, 0, 2, 1)), f32(8, 4, 3, 3), pads=(0, 1, 0, 1)),
        2,
        ("NhwcConv",),
        fires=("PadIntoConv",),
        symbolic=(0, 2, 3),
    ),
    Layout(
        "pad of columns",
        lambda op, x: conv(op, op.Pad(x, i64(1, 1), np.float32(0), i64(-1)), k=3),
        2,
        ("NhwcConv",),
        fires=("PadIntoConv",),
    ),
    Layout(
        "pad of ones", lambda op, x: conv(op, op.Pad(x, i64(1, 1), np.float32(1), i64(-1)), k=3), 2, ("Pad",),
        refuses="it does not pad by zeros",
    ),
    Layout(
        "pad of channels", lambda op, x: conv(op, op.Pad(x, i64(1, 1), None, i64(1)), 8, 6), 2, ("Pad",),
        refuses="it pads more than the spatial axes",
    ),
    Layout(
        "pad that takes away", lambda op, x: conv(op, op.Pad(x, i64(-1, 1), None, i64(2)), k=3), 2, ("Pad",),
        refuses="it takes pixels away",
    ),
    Layout(
        "pad, then same size",
        lambda op, x: conv(op, op.Pad(x, i64(1, 1), None, i64(2)), k=3, auto_pad="SAME_UPPER"),
        2,
        ("Pad",),
        refuses="depends on the size",
    ),
    Layout(
        "pad, average pool",
        after(lambda op, x: op.AveragePool(op.Pad(x, i64(0, 0, 1, 0, 0, 0, 1, 1)), kernel_shape=(3, 2))),
        2,
        ("NhwcAveragePool", "NhwcConv"),
        fires=("PadIntoPool",),
    ),
    Layout(
        "pad, average pool that pads",
        after(lambda op, x: op.AveragePool(op.Pad(x, i64(0, 0, 1, 0, 0, 0, 1, 1)), **W)),
        2,
        ("Pad",),
        refuses="does not count its own padding",
    ),
    Layout("scale before", lambda op, x: conv(op, op.Mul(x, f32(4, 1, 1)), pads=(1,) * 4), 2, ("NhwcConv",)),
    Layout(
        "scale before groups",
        lambda op, x: op.Conv(op.Mul(x, f32(1, 4, 1, 1)), f32(6, 2, 2, 2), f32(6), group=2),
        2,
        ("NhwcConv",),
        fires=("ScaleIntoConv",),
    ),
    Layout("batch norm before", batch_norm_of_input, 2, fires=("ScaleIntoConv", "ShiftIntoConv")),
    Layout(
        "shift before padding",
        lambda op, x: conv(op, op.Add(x, f32(4, 1, 1)), k=3, pads=(1, 1, 1, 1)),
        2,
        ("Add",),
        refuses="the padding is not shifted",
    ),
    Layout(
        "scale of columns", lambda op, x: conv(op, op.Mul(x, f32(7))), 2, ("Mul",),
        refuses="not one number a channel",
    ),
    Layout(
        "residual that is repeated",
        lambda op, x, y: op.Relu(op.Add(conv(op, x), conv(op, y, seed=2))),
        2,
        ("FusedElementwise",),
        inputs=(X2, f32(2, 4, 1, 1)),
        refuses="what is added has another shape",
    ),
    *(
        Layout(
            f"residual, {act}",
            lambda op, x, a=act, k=kwargs: getattr(op, a)(op.Add(conv(op, x), conv(op, x, seed=2)), **k),
            2,
            ("NhwcConv",) * 2,
            fires=("ConvResidual", "ConvActivation"),
        )
        for act, kwargs in (
            ("Relu", {}), ("HardSwish", {}), ("HardSigmoid", {"alpha": 0.3}), ("Sigmoid", {}),
            ("LeakyRelu", {"alpha": 0.2}), ("Gelu", {}), ("Tanh", {}), ("Elu", {}),
        )
    ),
    Layout(
        "residual of a sum",
        lambda op, x: op.Relu(op.Sum(conv(op, x), conv(op, x, seed=2))),
        2,
        ("NhwcConv",) * 2,
        fires=("SumOfTwo", "ConvResidual"),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_layout(case: Layout) -> None:
    check(case)
