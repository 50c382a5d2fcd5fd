import itertools

import numpy as np
import pytest
from onnx import numpy_helper

import numba_rt
from numba_rt.errors import InputError
from numba_rt.kernels.activation import ACTIVATIONS
from numba_rt.kernels.conv import Window
from numba_rt.kernels.gemm import NO_ROWS, NO_VECTOR, epilogue
from numba_rt.kernels.packing import NR
from numba_rt.kernels.winograd import best_size, pack_winograd, winograd, winograd_plan
from numba_rt.ops.conv import NhwcConv
from numba_rt.simd.tile import tile_addresses
from numba_rt.simd.winograd import TRANSFORMS
from tests.converter.build import model, node, tensor
from tests.kernels.test_conv_kernel import floats, reference
from tests.kernels.test_conv_kernel import run as run_direct

PADS = [(0, 0, 0, 0), (1, 1, 1, 1), (2, 0, 1, 2)]
GUARD = 7.25
"""Stands beyond the end of scratch, which must stay untouched."""


def run(x, w, window, size=4, tasks=1, bias=None, residual=None, act=0, out_pitch=0, into=None, **factors):
    plan = winograd_plan(window, len(w), size, tasks, bias is not None, residual is not None, act, out_pitch)
    y = np.full((window.batch, *window.out, len(w)), np.nan, np.float32) if into is None else into
    scratch = np.full(plan.scratch + 64, GUARD, np.float32)
    scratch[: plan.scratch] = np.nan
    others = (NO_VECTOR if v is None else v.reshape(-1) for v in (bias, residual))
    winograd(
        x.reshape(-1), pack_winograd(w, size).reshape(-1), *others, NO_ROWS, tile_addresses(), plan.g,
        epilogue(**factors), scratch, y.reshape(-1), tasks,
    )  # fmt: skip
    assert (scratch[plan.scratch :] == GUARD).all()
    return y


def window_of(h, width, c, pads=(1, 1, 1, 1), batch=1):
    return Window(batch, (h, width), c, (3, 3), pads=pads)


def assert_close(y, expected):
    assert np.abs(y - expected).max(initial=0) <= 2e-5 * max(1.0, np.abs(expected).max(initial=0))


@pytest.mark.parametrize("size", TRANSFORMS)
def test_transforms_compute_a_convolution(size):
    transform = TRANSFORMS[size]
    line, taps = np.random.default_rng(1).standard_normal(transform.patch), np.array([2.0, -1.0, 0.5])
    y = transform.a @ ((transform.g @ taps) * (transform.b @ line))
    np.testing.assert_allclose(y, np.correlate(line, taps), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", TRANSFORMS)
@pytest.mark.parametrize("pads", PADS)
@pytest.mark.parametrize("batch", [1, 2])
def test_maps(size, pads, batch):
    c, oc = 9, NR + 3
    w, bias = floats(oc, c, 3, 3), floats(oc)
    for n, (h, width) in enumerate([(1, 33), (2, 2), (3, 3), (5, 1), (7, 7), (9, 4), (13, 14), (33, 31)]):
        window = window_of(h, width, c, pads, batch)
        if min(window.out) < 1:
            continue
        x, residual = floats(batch, h, width, c), floats(batch, *window.out, oc)
        expected = reference(x, w, window) + bias + residual
        y = run(x, w, window, size, 1 + n % 3, bias, residual, lo=-1.0, hi=6.0)
        assert_close(y, np.clip(expected, -1, 6))


@pytest.mark.parametrize("size", TRANSFORMS)
@pytest.mark.parametrize("c", [1, 3, 8, 16, 29, 65])
def test_channels(size, c):
    window = window_of(11, 10, c)
    for n, oc in enumerate((1, 7, 8, NR, 2 * NR - 1, 4 * NR + 1, 65)):
        x, w = floats(1, 11, 10, c), floats(oc, c, 3, 3)
        y = run(x, w, window, size, 1 + n % 3)
        assert_close(y, reference(x, w, window))
        assert_close(y, run_direct(x, w, window))


@pytest.mark.parametrize("tasks", [1, 2, 3, 6])
def test_blocks_and_pieces(tasks):
    """Small maps divide the output channels, large ones the tiles."""
    divisions = set()
    for h, c, oc in [(6, 40, 6 * NR), (40, 20, 24), (70, 16, 16)]:
        window, x, w = window_of(h, h, c), floats(1, h, h, c), floats(oc, c, 3, 3)
        g = winograd_plan(window, oc, 4, tasks).g
        divisions.add((g[13] > 1, g[14] > 1))
        assert_close(run(x, w, window, 4, tasks), reference(x, w, window))
    assert {pieces for _, pieces in divisions} == ({False} if tasks == 1 else {False, True})


@pytest.mark.parametrize("tasks", [1, 2])
@pytest.mark.parametrize("size", TRANSFORMS)
def test_residual_may_be_the_output(size, tasks):
    window = window_of(61, 58, 17)
    x, w, residual = floats(1, 61, 58, 17), floats(NR + 5, 17, 3, 3), floats(1, 61, 58, NR + 5)
    apart = run(x, w, window, size, tasks, residual=residual, lo=0.0)
    same = run(x, w, window, size, tasks, residual=residual, into=residual, lo=0.0)
    np.testing.assert_array_equal(same, apart)


@pytest.mark.parametrize("size", TRANSFORMS)
def test_activation(size):
    window, x, w = window_of(10, 7, 20), floats(1, 10, 7, 20), floats(70, 20, 3, 3)
    y = run(x, w, window, size, 2, act=ACTIVATIONS["Sigmoid"])
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-reference(x, w, window))), atol=2e-5)


@pytest.mark.parametrize("size", TRANSFORMS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_inf_reach_every_window_and_no_other_tile(size, bad):
    window, w = window_of(13, 13, 16), floats(16, 16, 3, 3)
    clean = floats(1, 13, 13, 16)
    expected = run(clean, w, window, size)
    for row, column in itertools.product((0, 4, 7, 12), (1, 5, 12)):
        x = clean.copy()
        x[0, row, column, 3] = bad
        spoilt = ~np.isfinite(run(x, w, window, size)).all(axis=(0, 3))
        rows, columns = (slice(max(0, at - 1), at + 2) for at in (row, column))
        assert spoilt[rows, columns].all()
        first, last = ([max(0, at + d) // size * size for at in (row, column)] for d in (-1, 1))
        spoilt[first[0] : last[0] + size, first[1] : last[1] + size] = False
        assert not spoilt.any()
        y = run(x, w, window, size)[:, ~_near(row, size)]
        np.testing.assert_array_equal(y, expected[:, ~_near(row, size)])


def _near(row, size):
    """Output rows of the tiles that read an input row."""
    tiles = np.arange(13) // size
    return (tiles >= max(0, row - 1) // size) & (tiles <= (row + 1) // size)


def test_padding_does_not_read_the_images():
    """Pixels outside of an image are zeros even where another image of the batch lies there."""
    window, w = window_of(6, 5, 16, (2, 2, 2, 2), batch=3), floats(18, 16, 3, 3)
    x = floats(3, 6, 5, 16)
    y = run(x, w, window, 4, 2)
    x[0], x[2] = np.nan, np.nan
    np.testing.assert_array_equal(run(x, w, window, 4, 2)[1], y[1])


def test_error_stays_near_that_of_the_direct_convolution():
    window, x, w = window_of(28, 28, 128), floats(1, 28, 28, 128), floats(128, 128, 3, 3)
    expected = reference(x, w, window)
    for size, most in ((2, 2e-6), (4, 8e-6)):
        assert np.abs(run(x, w, window, size) - expected).max() < most * np.abs(expected).max()


def test_fastest_size():
    assert best_size((56, 56), 64, 64) == 4
    assert best_size((1, 1), 512, 512) == best_size((0, 4), 64, 64) == 0
    assert best_size((56, 56), 3, 64) == best_size((56, 56), 64, 8) == 0


def loaded(height, group=1, precision="fast", **attributes):
    """A model of one convolution of 16 channels, and the size of tiles it was given."""
    weights = numpy_helper.from_array(floats(16, 16 // group, 3, 3), "w")
    conv = node("Conv", ("x", "w"), pads=[1, 1, 1, 1], group=group, **attributes)
    made = numba_rt.load(
        model([conv], [tensor("x", (1, 16, height, 30))], initializers=[weights]), precision=precision
    )
    (size,) = (n.op.winograd for n in made.graph.nodes if isinstance(n.op, NhwcConv))
    return made, size


def test_choice_of_models(monkeypatch):
    assert loaded("rows")[1] == 4
    assert loaded(1)[1] == 0
    for other in ({"group": 2}, {"strides": [1, 2]}, {"dilations": [2, 2]}):
        assert loaded(30, **other)[1] == 0
    assert loaded(30, precision="strict")[1] == 0
    with pytest.raises(InputError, match="precision = 'high'"):
        loaded(30, precision="high")
    (fast, size), x = loaded(30), floats(1, 16, 30, 30)
    monkeypatch.setenv("NUMBA_RT_WINOGRAD", "0")
    strict, none = loaded(30)
    assert (size, none) == (4, 0)
    weights = [
        n.inputs[1].constant for m in (fast, strict) for n in m.graph.nodes if isinstance(n.op, NhwcConv)
    ]
    assert weights[0].size == 4 * weights[1].size
    assert fast(x)[0].shape == strict(x)[0].shape
