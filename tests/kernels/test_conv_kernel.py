import itertools

import numpy as np
import pytest

from numba_rt.kernels.activation import ACTIVATIONS
from numba_rt.kernels.conv import Window, convolution, pad_images
from numba_rt.kernels.depthwise import depthwise, depthwise_sizes, depthwise_tiles
from numba_rt.kernels.gemm import NO_VECTOR, epilogue, gemm
from numba_rt.kernels.packing import NR, merge_groups, merged_groups, pack_conv
from numba_rt.simd.depthwise import MAX_CHANNELS
from numba_rt.simd.tile import tile_addresses

rng = np.random.default_rng(11)
NO_PADS = (0, 0, 0, 0)


def floats(*shape):
    return rng.standard_normal(shape, np.float32)


def reference(x, w, window, groups=1):
    """A convolution as a sum over taps, in float64."""
    top, left, bottom, right = window.pads
    x = np.pad(x.astype(np.float64), ((0, 0), (top, bottom), (left, right), (0, 0)))
    h, width = window.out
    y = np.zeros((len(x), h, width, len(w)))
    own, k = len(w) // groups, w.shape[1]
    for g, i, j in itertools.product(range(groups), *map(range, window.kernel)):
        moved = x[:, i * window.dilations[0] :, j * window.dilations[1] :, g * k : (g + 1) * k]
        taken = moved[:, :: window.strides[0], :: window.strides[1]][:, :h, :width]
        y[..., g * own : (g + 1) * own] += taken @ w[g * own : (g + 1) * own, :, i, j].T
    return y


def run(x, w, window, groups=1, tasks=1, bias=None, residual=None, act=0, out_pitch=0, into=None, **factors):
    plan = convolution(window, len(w), groups, bias is not None, residual is not None, act, out_pitch)
    y = np.empty((window.batch, *window.out, len(w)), np.float32) if into is None else into
    images = x.reshape(-1)
    if plan.scratch:
        images = np.full(plan.scratch, np.nan, np.float32)
        pad_images(x.reshape(-1), plan.pad, images, tasks)
    others = (NO_VECTOR if v is None else v.reshape(-1) for v in (bias, residual))
    gemm(
        images, pack_conv(w, groups).reshape(-1), *others, plan.table, tile_addresses(), plan.g,
        epilogue(**factors), y.reshape(-1), tasks,
    )  # fmt: skip
    return y


GRID = list(
    itertools.product(
        [1, 2], [3, 20], [5, NR + 3], [(1, 1), (3, 3), (2, 5)], [(1, 1), (2, 2)], [(1, 1), (2, 1)],
        [NO_PADS, (1, 2, 0, 1)],
    )
)  # fmt: skip


@pytest.mark.parametrize("tasks", [1, 2])
def test_grid(tasks):
    for batch, c, oc, kernel, strides, dilations, pads in (
        GRID if tasks == 1 else itertools.islice(GRID, 0, None, 5)
    ):
        window = Window(batch, (9, 8), c, kernel, strides, dilations, pads)
        x, w, bias = floats(batch, 9, 8, c), floats(oc, c, *kernel), floats(oc)
        residual = floats(batch, *window.out, oc)
        y = run(x, w, window, 1, tasks, bias, residual, lo=0.0)
        expected = np.maximum(reference(x, w, window) + bias + residual, 0)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("c", "oc", "groups"), [(8, 6, 2), (32, 2 * NR, 2), (12, 24, 12)])
@pytest.mark.parametrize("tasks", [1, 2])
def test_groups(c, oc, groups, tasks):
    window = Window(2, (7, 6), c, (3, 3), pads=(1, 1, 1, 1))
    x, w, bias = floats(2, 7, 6, c), floats(oc, c // groups, 3, 3), floats(oc)
    y = run(x, w, window, groups, tasks, bias)
    np.testing.assert_allclose(y, reference(x, w, window, groups) + bias, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tasks", [1, 2, 3])
def test_groups_of_a_large_image(tasks):
    window = Window(1, (23, 19), 32, (3, 3), pads=(1, 1, 1, 1))
    x, w = floats(1, 23, 19, 32), floats(40, 8, 3, 3)
    bias, residual = floats(40), floats(1, 23, 19, 40)
    y = run(x, w, window, 4, tasks, bias, residual)
    expected = reference(x, w, window, 4) + bias + residual
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("own", "c", "groups", "taps"), [(4, 4, 32, 9), (3, 5, 12, 1), (2, 3, 5, 9), (6, 1, 4, 3)]
)
def test_small_groups_are_computed_together(own, c, groups, taps):
    kernel = {9: (3, 3), 3: (1, 3), 1: (1, 1)}[taps]
    window, w = Window(1, (7, 6), c * groups, kernel), floats(own * groups, c, *kernel)
    x, expected = floats(1, 7, 6, c * groups), None
    for merged in (n for n in range(1, groups + 1) if groups % n == 0):
        y = run(x, merge_groups(w, groups, merged), window, groups // merged)
        expected = y if expected is None else expected
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(expected, reference(x, w, window, groups), rtol=1e-4, atol=1e-4)


def test_how_many_groups_are_computed_together():
    assert merged_groups(96, 2 * NR, 9, 32) == merged_groups(64, 64, 1, 1) == 1
    assert merged_groups(4, NR // 4, 9, 32) == 4
    assert merged_groups(4, NR // 4, 9, 6) in (2, 3)


def test_many_channels_split_the_sum():
    window = Window(1, (5, 5), 200, (3, 3), pads=(1, 1, 1, 1))
    x, w = floats(1, 5, 5, 200), floats(40, 200, 3, 3)
    y = run(x, w, window)
    np.testing.assert_allclose(y, reference(x, w, window), rtol=1e-4, atol=1e-3)


def test_activation():
    window = Window(1, (6, 6), 10, (3, 3))
    x, w = floats(1, 6, 6, 10), floats(20, 10, 3, 3)
    y = run(x, w, window, act=ACTIVATIONS["Sigmoid"])
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-reference(x, w, window))), rtol=1e-4, atol=1e-4)


def run_depthwise(x, w, window, tasks, bias, residual=None, act=0, out_pitch=0, into=None, **factors):
    y = np.empty((window.batch, *window.out, window.channels), np.float32) if into is None else into
    weights = np.ascontiguousarray(w.reshape(window.channels, -1).T).reshape(-1)
    sizes = depthwise_sizes(window, True, residual is not None, act, out_pitch)
    depthwise(
        x.reshape(-1), weights, bias, NO_VECTOR if residual is None else residual.reshape(-1),
        depthwise_tiles(window), sizes, epilogue(**factors), y.reshape(-1), tasks,
    )  # fmt: skip
    return y


FILTERS = [
    ((3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    ((5, 3), (1, 2), (2, 1), (2, 0, 2, 1)),
    ((2, 5), (2, 1), (1, 1), (0, 3, 1, 2)),
    ((5, 5), (2, 2), (1, 1), (2, 2, 2, 2)),
    ((7, 7), (1, 1), (1, 1), (3, 3, 3, 3)),
    ((7, 7), (2, 2), (1, 1), (3, 2, 3, 3)),
    ((3, 3), (1, 1), (2, 3), (2, 3, 2, 3)),
    ((1, 2), (3, 3), (1, 1), (0, 0, 0, 0)),
    ((3, 3), (1, 1), (1, 1), (12, 14, 9, 11)),
]


@pytest.mark.parametrize("tasks", [1, 2, 3])
@pytest.mark.parametrize("c", [1, 3, NR, NR + 4, 58])
def test_depthwise(c, tasks):
    for n, (kernel, strides, dilations, pads) in enumerate(FILTERS):
        window = Window(2, (11, 8 + n), c, kernel, strides, dilations, pads)
        x, w, bias = floats(2, *window.size, c), floats(c, 1, *kernel), floats(c)
        residual = floats(2, *window.out, c)
        expected = reference(x, w, window, c) + bias
        y = run_depthwise(x, w, window, tasks, bias, residual, lo=0.0, hi=6.0)
        np.testing.assert_allclose(y, np.clip(expected + residual, 0, 6), rtol=1e-4, atol=1e-4)
        y = run_depthwise(x, w, window, tasks, bias, act=ACTIVATIONS["HardSwish"])
        np.testing.assert_allclose(y, expected * np.clip(expected / 6 + 0.5, 0, 1), rtol=1e-4, atol=1e-4)


def test_depthwise_of_every_width_of_a_map():
    for width in range(1, 34):
        window = Window(1, (3, width), 9, (3, 3), pads=(1, 1, 1, 1))
        x, w, bias = floats(1, 3, width, 9), floats(9, 1, 3, 3), floats(9)
        expected = reference(x, w, window, 9) + bias
        np.testing.assert_allclose(run_depthwise(x, w, window, 2, bias), expected, rtol=1e-4, atol=1e-4)


def test_depthwise_of_many_channels():
    c = MAX_CHANNELS + 21
    window = Window(1, (2, 3), c, (3, 3), pads=(1, 1, 1, 1))
    x, w, bias = floats(1, 2, 3, c), floats(c, 1, 3, 3), floats(c)
    expected = reference(x, w, window, c) + bias
    np.testing.assert_allclose(run_depthwise(x, w, window, 1, bias), expected, rtol=1e-4, atol=1e-4)
