"""Cases of numba_rt/ops/depthwise_block.py."""

import numpy as np

from numba_rt.kernels.packing import pack_conv
from numba_rt.ops.conv import NhwcConv
from tests.ops.cases import Case, f32
from tests.ops.conv import direct


def block(x, channels, kernel, strides=(1, 1), expand=True, project=0, residual=False, bias=True):
    """A block with a Relu after each convolution; the oracle is one convolution after the other."""
    taps, pads = kernel[0] * kernel[1], (kernel[0] // 2, kernel[1] // 2) * 2
    stages = []
    if expand:
        stages.append((f32(channels, x.shape[3], 1, 1, seed=1), (1, 1), (0, 0, 0, 0), 1))
    stages.append((f32(channels, 1, *kernel, seed=2) / taps, strides, pads, channels))
    if project:
        stages.append((f32(project, channels, 1, 1, seed=3), (1, 1), (0, 0, 0, 0), 1))
    z = f32(*x.shape[:3], project, seed=4) if residual else None
    ops, inputs = [], []
    for w, steps, edges, group in stages:
        depthwise = group > 1 or w.shape[2:] == kernel
        ops.append(
            NhwcConv(
                channels=len(w), kernel_shape=w.shape[2:], strides=steps, pads=edges, group=group,
                depthwise=depthwise, lo=0.0,
            )
        )  # fmt: skip
        packed = np.ascontiguousarray(w.reshape(len(w), -1).T) if depthwise else pack_conv(w).reshape(-1)
        inputs.append((packed, f32(len(w), seed=5) if bias else None))

    def oracle(*_, **__):
        y = x
        for (w, steps, edges, group), (_, b) in zip(stages, inputs, strict=True):
            last = project and w is stages[-1][0]
            y = direct(y, w, b, z if last else None, steps, edges, group, 0.0)
        return y

    absent = (None, None)
    given = [*(() if expand else (absent,)), *inputs, *(() if project else (absent,))]
    named = dict(zip(("expand", "depthwise", "project")[0 if expand else 1 :], ops, strict=False))
    operands = (x, *(v for pair in given for v in pair), z)
    return Case("DepthwiseBlock", operands, named, domain="numba_rt", oracle=oracle, rtol=1e-4, atol=1e-4)


CASES = [
    block(f32(2, 9, 7, 5), 20, (3, 3), project=6, residual=True),
    block(f32(1, 8, 11, 16), 33, (5, 3), (2, 1), project=40, bias=False),
    block(f32(3, 6, 6, 8), 8, (3, 3), expand=False, project=17),
    block(f32(2, 7, 9, 3), 12, (3, 3), (2, 2)),
    block(f32(0, 9, 7, 5), 20, (3, 3), project=6),
]
