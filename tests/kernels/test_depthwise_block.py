"""Blocks around a depthwise convolution against one convolution after the other."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numba_rt.kernels import depthwise_block as blocks
from numba_rt.kernels.activation import ACTIVATIONS
from numba_rt.kernels.conv import Window
from numba_rt.kernels.depthwise import depthwise, depthwise_sizes, depthwise_tiles
from numba_rt.kernels.depthwise_block import Stage, depthwise_block, depthwise_block_plan, unevenness
from numba_rt.kernels.gemm import NO_ROWS, NO_VECTOR, epilogue
from numba_rt.kernels.packing import NR, pack_conv
from numba_rt.simd.tile import tile_addresses
from tests.kernels import test_conv_kernel as direct
from tests.kernels.test_pitch import apart, pixels

BANDS = (1, 4000, blocks.BAND)
"""Floats of maps between that a task keeps: as little as it can, some rows, whole maps."""
PARTS = ("expand", "depthwise", "project")


class Block:
    """Weights of a block, and both ways to compute it."""

    def __init__(self, c, wide, out, window, parts=PARTS, act=0, limits=(0.0, 6.0), bias=True, seed=3):
        rng = np.random.default_rng(seed)

        def floats(*shape):
            return rng.standard_normal(shape, np.float32)

        taps = window.kernel[0] * window.kernel[1]
        self.window, self.parts, self.act, self.limits = window, parts, act, limits
        self.weights = {
            "expand": floats(wide, c, 1, 1) / np.float32(np.sqrt(c)),
            "depthwise": floats(wide, 1, *window.kernel) / np.float32(np.sqrt(taps)),
            "project": floats(out, wide, 1, 1) / np.float32(np.sqrt(wide)),
        }
        self.biases = {p: floats(len(w)) if bias else None for p, w in self.weights.items()}
        self.x = floats(window.batch, *window.size, c if "expand" in parts else wide)
        self.channels = out if "project" in parts else wide
        self.shape = (window.batch, *window.out, self.channels)
        self.residual = floats(*self.shape) if "project" in parts else None

    def plainly(self):
        """One convolution after the other, by the kernels that compute one."""
        y, lo, hi = self.x, *self.limits
        for part in self.parts:
            w, b = self.weights[part], self.biases[part]
            if part == "depthwise":
                y = direct_depthwise(y, w, b, self.window, self.act, lo, hi)
            else:
                residual = self.residual if part == "project" else None
                window = Window(len(y), y.shape[1:3], y.shape[3], (1, 1))
                y = direct.run(
                    y, w, window, 1, 1, b, residual, self.act, lo=lo, hi=hi, act_alpha=1.0, act_beta=0.5
                )
        return y

    def run(self, tasks=1, x=None, residual=None, y=None, pitch=0, out_pitch=0, by_channels=False):
        """The kernel, over scratch that holds NaN."""
        stages = [Stage(self.biases[p] is not None, self.act) if p in self.parts else None for p in PARTS]
        y = np.full(self.shape, np.nan, np.float32) if y is None else y
        x, residual = self.x if x is None else x, self.residual if residual is None else residual
        moved = Window(
            self.window.batch, self.window.size, len(self.weights["depthwise"]), self.window.kernel,
            self.window.strides, self.window.dilations, self.window.pads, pitch or self.x.shape[3],
        )  # fmt: skip
        plan = depthwise_block_plan(
            moved,
            tasks,
            *stages,
            self.x.shape[3],
            self.channels,
            self.residual is not None,
            out_pitch,
            by_channels,
        )
        operands = []
        for part in PARTS:
            w, b = self.weights[part], self.biases[part]
            packed = w.reshape(len(w), -1).T.copy() if part == "depthwise" else pack_conv(w)
            operands += [packed.reshape(-1), NO_VECTOR if b is None else b]
        factors = np.concatenate([epilogue(1.0, *self.limits, 1.0, 0.5)] * 3)
        depthwise_block(
            x.reshape(-1), *operands, NO_VECTOR if residual is None else residual.reshape(-1), NO_ROWS,
            tile_addresses(), depthwise_tiles(moved), plan.g, factors,
            np.full(plan.scratch, np.nan, np.float32), y.reshape(-1), tasks,
        )  # fmt: skip
        return y


def direct_depthwise(x, w, b, window, act, lo, hi):
    """The depthwise convolution alone."""
    moved = Window(len(x), window.size, len(w), window.kernel, window.strides, window.dilations, window.pads)
    y = np.empty((len(x), *moved.out, len(w)), np.float32)
    depthwise(
        x.reshape(-1), w.reshape(len(w), -1).T.copy().reshape(-1), NO_VECTOR if b is None else b, NO_VECTOR,
        depthwise_tiles(moved), depthwise_sizes(moved, b is not None, False, act),
        epilogue(1.0, lo, hi, 1.0, 0.5), y.reshape(-1), 1,
    )  # fmt: skip
    return y


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


GRID = list(
    itertools.product(
        [(1, 1, 1), (5, 20, NR + 3), (33, 65, 8)],
        [((1, 1), (1, 1), 0), ((3, 3), (1, 1), 1), ((3, 3), (2, 2), 1), ((5, 3), (1, 2), 2),
         ((7, 7), (2, 1), 3), ((2, 3), (3, 3), 0)],
        [(7, 6), (12, 33)],
        [PARTS, PARTS[:2], PARTS[1:]],
    )
)  # fmt: skip


@pytest.mark.parametrize("tasks", [1, 2, 3])
@pytest.mark.parametrize("band", BANDS)
def test_grid(band, tasks, monkeypatch):
    monkeypatch.setattr(blocks, "BAND", band)
    for n, ((c, wide, out), (kernel, strides, pad), size, parts) in enumerate(GRID):
        if tasks > 1 and n % 3:
            continue
        window = Window(1 + n % 3, size, wide, kernel, strides, pads=(pad, pad, pad, pad))
        block = Block(c, wide, out, window, parts, bias=n % 4 > 0)
        close(block.run(tasks), block.plainly())
        if "project" not in parts:
            close(block.run(tasks, by_channels=True), block.plainly())


@pytest.mark.parametrize("band", BANDS)
@pytest.mark.parametrize(
    ("kernel", "strides", "dilations", "pads"),
    [
        ((3, 3), (1, 1), (2, 2), (2, 2, 2, 2)),
        ((3, 3), (2, 1), (3, 1), (3, 0, 1, 2)),
        ((3, 3), (1, 1), (1, 1), (9, 4, 9, 5)),
        ((2, 2), (5, 4), (1, 1), (0, 0, 0, 0)),
        ((1, 9), (1, 1), (1, 1), (0, 4, 0, 4)),
    ],
    ids=["dilated", "dilated rows", "pads larger than the map", "rows that nothing reads", "one row"],
)
def test_windows(kernel, strides, dilations, pads, band, monkeypatch):
    monkeypatch.setattr(blocks, "BAND", band)
    window = Window(2, (8, 9), 24, kernel, strides, dilations, pads)
    for parts, tasks in itertools.product([PARTS, PARTS[:2], PARTS[1:]], [1, 2]):
        block = Block(6, 24, 10, window, parts)
        close(block.run(tasks), block.plainly())


@pytest.mark.parametrize("name", ["HardSwish", "Silu"])
def test_activations(name, monkeypatch):
    monkeypatch.setattr(blocks, "BAND", 4000)
    window = Window(2, (11, 9), 40, (3, 3), pads=(1, 1, 1, 1))
    for parts in (PARTS, PARTS[:2], PARTS[1:]):
        block = Block(8, 40, 12, window, parts, ACTIVATIONS[name], (-np.inf, np.inf))
        close(block.run(2), block.plainly())


@pytest.mark.parametrize("tasks", [1, 2])
@pytest.mark.parametrize("parts", [PARTS, PARTS[:2], PARTS[1:]])
def test_pixels_that_are_apart(parts, tasks, monkeypatch):
    monkeypatch.setattr(blocks, "BAND", 4000)
    window = Window(2, (9, 8), 20, (3, 3), (2, 1), pads=(1, 1, 1, 1))
    block = Block(7, 20, 11, window, parts)
    y = apart(np.full(block.shape, np.nan, np.float32))
    more = len(apart(np.zeros((1, 2, 1), np.float32))) - 2
    block.run(
        tasks, apart(block.x), None if block.residual is None else apart(block.residual), y,
        block.x.shape[3] + more, block.channels + more,
    )  # fmt: skip
    np.testing.assert_array_equal(pixels(y, block.shape), block.run(tasks))


def test_the_residual_may_be_the_result():
    window = Window(3, (40, 30), 48, (3, 3), pads=(1, 1, 1, 1))
    block = Block(16, 48, 16, window)
    expected = block.plainly()
    for tasks in (1, 2):
        y = block.residual.copy()
        close(block.run(tasks, residual=y, y=y), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(value, monkeypatch):
    monkeypatch.setattr(blocks, "BAND", 4000)
    window = Window(1, (12, 9), 20, (3, 3), pads=(1, 1, 1, 1))
    block = Block(5, 20, 6, window, limits=(-np.inf, np.inf))
    block.x[0, 5, 4, 2] = value
    np.testing.assert_array_equal(np.isnan(block.run()), np.isnan(block.plainly()))
    other = np.isfinite(block.plainly())
    close(block.run()[other], block.plainly()[other])


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_block(data):
    def number(least, most):
        return data.draw(st.integers(least, most))

    kernel, dilations = (number(1, 7), number(1, 7)), (number(1, 2), number(1, 2))
    pads = tuple(number(0, 4) for _ in range(4))
    extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    size = tuple(max(number(1, 33), extents[i] - pads[i] - pads[i + 2]) for i in (0, 1))
    strides, (c, wide, out) = (number(1, 3), number(1, 3)), (number(1, 65) for _ in range(3))
    window = Window(number(1, 3), size, wide, kernel, strides, dilations, pads)
    block = Block(c, wide, out, window, data.draw(st.sampled_from([PARTS, PARTS[:2], PARTS[1:]])))
    band, blocks.BAND = blocks.BAND, data.draw(st.sampled_from(BANDS))
    try:
        by_channels = "project" not in block.parts and data.draw(st.booleans())
        close(block.run(number(1, 3), by_channels=by_channels), block.plainly())
    finally:
        blocks.BAND = band


def test_tasks_of_few_rows_are_uneven():
    window = Window(1, (7, 7), 64, (3, 3), pads=(1, 1, 1, 1))
    assert unevenness(window, 1, 32, 32) == 1
    assert unevenness(window, 7, 1 << 20, 1) == pytest.approx(3, rel=1e-3)
    assert unevenness(window, 2, 0, 32) == pytest.approx(8 / 7)
    large = Window(8, (112, 112), 96, (3, 3), (2, 2), pads=(1, 1, 1, 1))
    assert unevenness(large, 2, 16, 24) == 1
    assert 1 < unevenness(large, 3, 16, 24) < 1.05
