"""Kernels of NHWC images whose pixels are further apart than their channels take."""

import dataclasses
import itertools

import numpy as np
import pytest

from numba_rt.kernels.activation import ACTIVATIONS
from numba_rt.kernels.conv import Window
from numba_rt.kernels.packing import NR
from numba_rt.kernels.pooling import max_pixels, pixel_layout, sum_pixels
from numba_rt.ops._window import slide
from numba_rt.ops.pooling import geometry, window_counts
from tests.kernels import test_conv_kernel as direct
from tests.kernels import test_winograd as winograd
from tests.kernels.test_conv_kernel import floats

APART = 7.5
"""Stands between the pixels, and must stay there."""
MORE = 5
"""Channels of others between two pixels."""


def apart(x):
    """The elements from the first to the last one of an image whose pixels are apart, flat."""
    wide = np.full((*x.shape[:-1], x.shape[-1] + MORE), APART, np.float32)
    wide[..., : x.shape[-1]] = x
    return wide.reshape(-1)[:-MORE]


def pixels(flat, shape):
    """Undoes `apart`, when nobody has written between the pixels."""
    *lead, c = shape
    wide = np.append(flat, np.full(MORE, APART, np.float32)).reshape(*lead, c + MORE)
    assert (wide[..., c:] == APART).all()
    return wide[..., :c]


def check(run, window, x, shape, residual, **options):
    """The kernel gives the same whether or not images, residual and result have others in between."""
    wide = dataclasses.replace(window, pitch=window.channels + MORE)
    expected = run(x, window, residual=residual, **options)
    y = apart(np.full(shape, np.nan, np.float32))
    pitch = shape[-1] + MORE
    made = run(apart(x), wide, residual=apart(residual), out_pitch=pitch, into=y, **options)
    np.testing.assert_array_equal(pixels(made, shape), expected)


GEOMETRY = [
    ((1, 1), (1, 1), (0, 0, 0, 0)),
    ((1, 1), (2, 2), (0, 0, 0, 0)),
    ((3, 3), (1, 1), (1, 1, 1, 1)),
    ((3, 2), (2, 1), (1, 0, 0, 0)),
]


@pytest.mark.parametrize("tasks", [1, 2])
@pytest.mark.parametrize(("kernel", "strides", "pads"), GEOMETRY)
def test_direct(kernel, strides, pads, tasks):
    for c, oc, groups in [(3, NR + 3, 1), (20, 5, 1), (8, 6, 2), (17, 2 * NR, 1)]:
        window = Window(2, (9, 7), c, kernel, strides, pads=pads)
        x, w, shape = floats(2, 9, 7, c), floats(oc, c // groups, *kernel), (2, *window.out, oc)
        for options in ({"lo": 0.0, "bias": floats(oc)}, {"act": ACTIVATIONS["Tanh"]}):

            def run(x, window, w=w, groups=groups, **more):
                return direct.run(x, w, window, groups, tasks, **more)

            check(run, window, x, shape, floats(*shape), **options)


@pytest.mark.parametrize("tasks", [1, 2])
def test_depthwise(tasks):
    for c in (3, NR, NR + 3, 3 * NR + 5):
        for kernel, strides, pads in GEOMETRY:
            window = Window(2, (9, 7), c, kernel, strides, pads=pads)
            x, w, bias, shape = floats(2, 9, 7, c), floats(c, 1, *kernel), floats(c), (2, *window.out, c)

            def run(x, window, w=w, bias=bias, **more):
                return direct.run_depthwise(x, w, window, tasks, bias, **more)

            for options in ({"lo": 0.0}, {"act": ACTIVATIONS["HardSwish"]}):
                check(run, window, x, shape, floats(*shape), **options)


@pytest.mark.parametrize("tasks", [1, 2])
@pytest.mark.parametrize("size", [2, 4])
def test_winograd(size, tasks):
    for c, oc in [(16, NR + 3), (9, 3 * NR)]:
        window = winograd.window_of(10, 7, c, batch=2)
        x, w, shape = floats(2, 10, 7, c), floats(oc, c, 3, 3), (2, 10, 7, oc)

        def run(x, window, w=w, **more):
            return winograd.run(x, w, window, size, tasks, **more)

        for options in ({"lo": 0.0, "bias": floats(oc)}, {"act": ACTIVATIONS["Tanh"]}):
            check(run, window, x, shape, floats(*shape), **options)


def test_pools():
    for c, step in itertools.product((1, 5, 16, 37), (1, 2)):
        x, window = floats(2, 9, 7, c), slide((9, 7), (3, 2), strides=(2, step), pads=(1, 0, 1, 1))
        g, shape = geometry(window, (9, 7)), (2, *window.sizes, c)
        counts = window_counts(window, (9, 7), False, np.float32)
        y = [np.empty(shape, np.float32) for _ in range(2)]
        wide = [apart(np.full(shape, np.nan, np.float32)) for _ in range(2)]
        for images, steps, (most, mean) in ((x, (c, c), y), (apart(x), (c + MORE, c + MORE), wide)):
            layout = pixel_layout(g, 2, c, *steps)
            sums, lines = (np.empty(size, np.float32) for size in layout[-2:])
            low, flat = np.float32(-9), images.reshape(-1)
            max_pixels(flat, g, layout, low, lines, sums, most.reshape(-1), 1)
            sum_pixels(flat, g, layout, 0, counts, lines, sums, mean.reshape(-1), 1)
        for dense, spread in zip(y, wide, strict=True):
            np.testing.assert_array_equal(pixels(spread, shape), dense)
