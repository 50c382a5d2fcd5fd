"""Every algorithm of a convolution against the plain one and against ONNX Runtime, through whole models."""

import itertools

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

import numba_rt
from numba_rt.errors import NumbaRtError
from numba_rt.kernels.conv_any import conv_any
from numba_rt.model import Model
from numba_rt.ops.conv import NhwcConv
from tests.converter.build import model, node, tensor

rng = np.random.default_rng(5)


def floats(*shape):
    return rng.standard_normal(shape, np.float32)


def conv_model(shape, w, **attributes):
    """A model of one convolution with constant weights."""
    weights = numpy_helper.from_array(w, "w")
    conv = node("Conv", ("x", "w"), **attributes)
    output = tensor("y", [None] * len(shape))
    made = model([conv], [tensor("x", shape)], [output], [weights], opset=22)
    made.ir_version = 10
    return made


def plain(x, w, strides=(1, 1), dilations=(1, 1), pads=(0, 0, 0, 0), group=1):
    """The convolution as ONNX defines it, in float64."""
    sizes = [
        (x.shape[i + 2] + pads[i] + pads[i + 2] - dilations[i] * (w.shape[i + 2] - 1) - 1) // strides[i] + 1
        for i in (0, 1)
    ]
    y = np.empty((x.shape[0], w.shape[0], 1, *sizes))
    g = np.array([group, 1, *strides, 1, *dilations, 0, *pads[:2]], np.int64)
    x, w = (v.astype(np.float64)[:, :, None] for v in (x, w))
    conv_any(x, w, np.zeros(len(w)), g, y, 1)
    return y[:, :, 0]


def algorithm(made: Model) -> str:
    """Which one a model of one convolution was given."""
    (found,) = (n.op for n in made.graph.nodes if isinstance(n.op, NhwcConv))
    if found.depthwise:
        return "depthwise"
    if found.winograd:
        return f"winograd {found.winograd}"
    return ("merged" if found.merged > 1 else "grouped") if found.group * found.merged > 1 else "direct"


def check(batch, size, c, oc, kernel, group=1, precision="fast", peer=False, **attributes):
    """A convolution of c channels by oc filters in all; the algorithm it was computed with."""
    x, w = floats(batch, c, *size), floats(oc, c // group, *kernel)
    attributes = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0), "group": group, **attributes}
    expected = plain(x, w, **attributes)
    proto = conv_model(x.shape, w, **{k: v if isinstance(v, int) else list(v) for k, v in attributes.items()})
    made = numba_rt.load(proto, precision=precision, threads=2)
    (y,) = made.run({"x": x})
    most = np.abs(expected).max(initial=1.0)
    assert y.shape == expected.shape
    assert np.abs(y - expected).max(initial=0) <= 2e-5 * most
    if peer:
        session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        assert np.abs(y - session.run(None, {"x": x})[0]).max(initial=0) <= 3e-5 * most
    return algorithm(made)


CHANNELS = [(1, 1), (2, 7), (3, 16), (8, 8), (17, 33), (64, 65), (65, 3)]
GEOMETRY = [
    ((1, 1), (1, 1), (1, 1), (0, 0, 0, 0)),
    ((1, 1), (2, 3), (1, 1), (0, 1, 2, 0)),
    ((3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    ((3, 3), (2, 2), (1, 1), (0, 0, 1, 1)),
    ((3, 3), (1, 2), (3, 2), (3, 2, 3, 2)),
    ((5, 1), (3, 1), (1, 1), (2, 0, 2, 0)),
    ((2, 4), (1, 1), (2, 3), (5, 9, 4, 10)),
    ((7, 7), (2, 2), (1, 1), (3, 3, 3, 3)),
    ((11, 11), (3, 3), (1, 1), (5, 5, 5, 5)),
]
SIZES = [(1, 1), (4, 7), (13, 2), (33, 31)]


@pytest.mark.parametrize("geometry", GEOMETRY, ids=str)
def test_shapes(geometry):
    kernel, strides, dilations, pads = geometry
    for n, (size, (c, oc)) in enumerate(itertools.product(SIZES, CHANNELS)):
        room = [size[i] + pads[i] + pads[i + 2] - dilations[i] * (kernel[i] - 1) for i in (0, 1)]
        if min(room) > 0:
            check(
                1 + n % 2, size, c, oc, kernel, peer=n % 3 == 0, strides=strides, dilations=dilations,
                pads=pads,
            )  # fmt: skip


def test_every_algorithm_is_chosen_somewhere():
    pads = {"pads": (1, 1, 1, 1), "peer": True}
    seen = {
        check(1, (28, 28), 32, 32, (3, 3), **pads),
        check(2, (9, 5), 32, 32, (3, 3), **pads, precision="strict"),
        check(1, (9, 9), 20, 20, (3, 3), 20, **pads),
        check(1, (9, 9), 16, 16, (3, 3), 4, **pads),
        check(1, (9, 9), 16, 16, (3, 3), 4, **pads, precision="strict"),
    }
    assert seen >= {"winograd 4", "direct", "depthwise", "merged", "grouped"}


def test_groups():
    for group, own, k in itertools.product((2, 3, 8, 32), (1, 3, 4, 17), (1, 2, 5)):
        check(1, (6, 5), group * k, group * own, (3, 3), group, pads=(1, 1, 1, 1), peer=group == 8)
        check(2, (4, 5), group * k, group * own, (1, 1), group)


@st.composite
def convolutions(draw):
    """Arguments of `check`."""
    pair = st.tuples
    kernel = draw(pair(st.integers(1, 7), st.integers(1, 7)))
    strides, dilations = (draw(pair(st.integers(1, 3), st.integers(1, 3))) for _ in range(2))
    pads = draw(st.tuples(*[st.integers(0, 9)] * 4))
    need = [max(1, dilations[i] * (kernel[i] - 1) + 1 - pads[i] - pads[i + 2]) for i in (0, 1)]
    size = tuple(draw(st.integers(n, max(n, 33))) for n in need)
    group = draw(st.sampled_from([1, 1, 1, 2, 4, 6]))
    depthwise = draw(st.booleans())
    own, filters = (1, 1) if depthwise else (draw(st.integers(1, 65 // group)) for _ in range(2))
    group = draw(st.integers(1, 65)) if depthwise else group
    given = {"strides": strides, "dilations": dilations, "pads": pads, "group": group}
    return draw(st.integers(1, 3)), size, own * group, filters * group, kernel, given


@settings(max_examples=60, deadline=None, derandomize=True)
@given(convolutions())
def test_any_shape(arguments):
    *positional, attributes = arguments
    check(*positional, **attributes)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("c", "group", "kernel"), [(20, 1, (3, 3)), (20, 20, (3, 3)), (8, 2, (5, 5)), (9, 1, (1, 1))]
)
def test_nan_and_inf_reach_their_windows(bad, c, group, kernel):
    pad = kernel[0] // 2
    x, w = floats(1, c, 12, 11), np.abs(floats(c, c // group, *kernel)) + 0.1
    x[0, 1, 5, 4] = bad
    attributes = {"pads": (pad,) * 4, "group": group}
    proto = conv_model(x.shape, w, pads=[pad] * 4, group=group)
    (y,) = numba_rt.load(proto, precision="strict").run({"x": x})
    expected = plain(x, w, **attributes)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(y), np.isinf(expected))


IMPOSSIBLE = [
    ({}, (1, 2, 2, 5), (4, 2, 3, 3), "does not fit"),
    ({"dilations": [4, 1]}, (1, 2, 7, 7), (4, 2, 3, 3), "does not fit"),
    ({"strides": [0, 1]}, (1, 2, 7, 7), (4, 2, 3, 3), "strides"),
    ({"dilations": [1, 0]}, (1, 2, 7, 7), (4, 2, 3, 3), "dilations"),
    ({"pads": [-4, 0, -4, 0]}, (1, 2, 7, 7), (4, 2, 3, 3), "does not fit"),
    ({"pads": [-9, 0, 8, 0]}, (1, 2, 7, 7), (4, 2, 3, 3), "pads"),
    ({"pads": [1, 1]}, (1, 2, 7, 7), (4, 2, 3, 3), "pads"),
    ({"group": 3}, (1, 6, 7, 7), (4, 2, 3, 3), "group"),
    ({"group": 0}, (1, 2, 7, 7), (4, 2, 3, 3), "group"),
    ({"group": 2}, (1, 5, 7, 7), (4, 2, 3, 3), "channels"),
    ({"kernel_shape": [3, 2]}, (1, 2, 7, 7), (4, 2, 3, 3), "kernel_shape"),
]


@pytest.mark.parametrize(("attributes", "x", "w", "message"), IMPOSSIBLE)
def test_impossible_geometry_is_an_error(attributes, x, w, message):
    with pytest.raises(NumbaRtError, match=message):
        numba_rt.load(conv_model(x, floats(*w), **attributes))
    with pytest.raises(NumbaRtError, match=message):
        made = numba_rt.load(conv_model(("b", x[1], "h", "w"), floats(*w), **attributes))
        made.run({"x": floats(*x)})


def test_negative_pads_crop():
    x, w, pads = floats(1, 3, 9, 8), floats(5, 3, 3, 3), (-1, -2, 0, -1)
    expected = plain(x[:, :, 1:, 2:-1], w)
    (y,) = numba_rt.load(conv_model(x.shape, w, pads=list(pads))).run({"x": x})
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
