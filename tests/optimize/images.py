"""Networks on images, and what the optimiser should leave of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.optimize.expressions import check_rules, f32, i64, make


def conv(op, x, channels=8, own=4, k=1, seed=1, **attributes):
    return op.Conv(x, f32(channels, own, k, k, seed=seed) * np.float32(1 / k), **attributes)


@dataclass(eq=False)
class Layout:
    """An expression over images, how many Transposes should be left, and what else should be there."""

    name: str
    build: Callable[..., Any]
    transposes: int
    ops: tuple[str, ...] = ()
    inputs: tuple[np.ndarray, ...] = (f32(2, 4, 6, 7),)
    fires: tuple[str, ...] = ()
    refuses: str = ""
    symbolic: tuple[int, ...] = (0,)
    """Axes of the first input that are symbolic."""


def between(f: Callable[..., Any], out: int = 8) -> Callable[..., Any]:
    """f between two convolutions."""

    def build(op, x):
        return conv(op, f(op, conv(op, x)), 4, out, seed=2)

    return build


def after(f: Callable[..., Any]) -> Callable[..., Any]:
    """f of a convolution."""
    return lambda op, x, *rest: f(op, conv(op, x), *rest)


def shuffle(op, x, groups=2, channels=8, sizes=(6, 7)):
    split = op.Reshape(x, i64(0, groups, channels // groups, *sizes))
    return op.Reshape(op.Transpose(split, perm=(0, 2, 1, 3, 4)), i64(0, channels, *sizes))


def grouped(op, x, seed=3):
    return op.Conv(x, f32(8, 4, 1, 1, seed=seed), group=2)


def depthwise(op, x, seed=4):
    return op.Conv(x, f32(8, 1, 3, 3, seed=seed), f32(8, seed=5), group=8, pads=(1, 1, 1, 1))


def split_in_two(op, x):
    a, b = op.Split(x, i64(3, 5), axis=1, n_outputs=2, outputs=2)
    return op.Concat(op.Relu(b), op.Neg(a), axis=1)


def squeeze_excite(op, x):
    s = op.Relu(conv(op, op.GlobalAveragePool(x), 2, 8, seed=5))
    return op.Mul(x, op.HardSigmoid(conv(op, s, 8, 2, seed=6)))


def check(case: Layout) -> None:
    """The same results, and what is left."""
    plain, fused = make(case, False), make(case, True)
    feeds = {f"x{k}": x for k, x in enumerate(case.inputs)}
    for expected, got in zip(plain.run(feeds), fused.run(feeds), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * max(1, np.abs(expected).max()))
    left = Counter(n.op.op_type for n in fused.graph.nodes)
    assert left["Transpose"] == case.transposes, fused.graph.nodes
    for op_type, count in Counter(case.ops).items():
        assert left[op_type] >= count, fused.graph.nodes
    check_rules(case, fused)
