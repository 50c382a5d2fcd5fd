"""Networks with depthwise convolutions: blocks of them, and the same results as one after the other."""

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

import numba_rt
from numba_rt.format.container import open_container
from numba_rt.format.ready import Prepared, open_prepared
from numba_rt.model import Model
from numba_rt.ops import _lowering
from numba_rt.ops import depthwise_block as ops
from numba_rt.ops.depthwise_block import DepthwiseBlock
from numba_rt.optimize.fusions import depthwise_block as rules
from tests.converter.build import model, node, tensor

PARTS = ("expand", "depthwise", "project")
RULES = ("InvertedResidual", "DepthwiseProject", "ExpandDepthwise")


class Network:
    """A model of convolutions, written layer by layer."""

    def __init__(self, *shape, symbolic=False, seed=0):
        self.x = np.random.default_rng(seed).standard_normal(shape, np.float32)
        self.shape = ["n", shape[1], "h", "w"] if symbolic else list(shape)
        self.nodes, self.weights, self.seed = [], [], seed
        self.last, self.channels, self.more = "x", shape[1], []

    def add(self, op_type, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(node(op_type, inputs, (name,), **attributes))
        return name

    def constant(self, array):
        self.weights.append(numpy_helper.from_array(array.astype(np.float32), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def conv(self, filters, kernel=(1, 1), group=1, act="Relu", bias=True, **attributes):
        rng = np.random.default_rng(self.seed + len(self.nodes))
        own = self.channels // group
        w = rng.standard_normal((filters, own, *kernel)) / np.sqrt(own * kernel[0] * kernel[1])
        given = [self.constant(w)] + ([self.constant(rng.standard_normal(filters))] if bias else [])
        self.last = self.add("Conv", self.last, *given, group=group, **attributes)
        self.channels = filters
        if act == "Relu6":
            limits = self.constant(np.array(0)), self.constant(np.array(6))
            self.last = self.add("Clip", self.last, *limits)
        elif act:
            self.last = self.add(act, self.last)
        return self

    def depthwise(self, kernel=(3, 3), **attributes):
        pads = attributes.pop("pads", [kernel[0] // 2, kernel[1] // 2] * 2)
        return self.conv(self.channels, kernel, self.channels, pads=pads, **attributes)

    def plus(self, name):
        self.last = self.add("Add", self.last, name)
        return self

    def proto(self):
        outputs = [tensor(v, [None] * 4) for v in (self.last, *self.more)]
        made = model(self.nodes, [tensor("x", self.shape)], outputs, self.weights, opset=22)
        made.ir_version = 10
        return made

    def check(self, threads=1, precision="fast"):
        """The rules that fired; results are those of ONNX Runtime and of the graph without blocks."""
        proto = self.proto()
        made = numba_rt.load(proto, threads=threads, precision=precision)
        peer = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rules, "_is_depthwise", lambda node: "not here")
            apart = numba_rt.load(proto, threads=threads, precision=precision)
        assert not blocks(apart)
        feeds = {"x": self.x}
        for y, one, other in zip(made.run(feeds), apart.run(feeds), peer.run(None, feeds), strict=True):
            most = np.abs(other).max(initial=1.0)
            np.testing.assert_allclose(y, one, rtol=0, atol=1e-5 * most)
            np.testing.assert_allclose(y, other, rtol=0, atol=2e-5 * most)
        fired = made.report.counts()
        return made, {rule: fired[rule] for rule in RULES if rule in fired}


def blocks(made: Model) -> list[DepthwiseBlock]:
    return [n.op for n in made.graph.nodes if isinstance(n.op, DepthwiseBlock)]


def inverted(c=6, wide=20, out=6, act="Relu6", size=(9, 11), batch=2, stride=1, kernel=(3, 3)):
    net = Network(batch, c, *size).conv(c, (3, 3), act="")
    before = net.last
    net.conv(wide, act=act).depthwise(kernel, act=act, strides=[stride, stride]).conv(out, act="")
    return net.plus(before) if stride == 1 and out == c else net


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("act", ["Relu", "Relu6", "HardSwish", ""])
@pytest.mark.parametrize(("stride", "kernel"), [(1, (3, 3)), (2, (3, 3)), (1, (5, 5)), (2, (5, 5))])
def test_inverted_residual(stride, kernel, act, threads):
    made, fired = inverted(stride=stride, kernel=kernel, act=act).check(threads=threads)
    assert fired == {"InvertedResidual": 1}
    assert len(made.graph.nodes) <= 4  # a Transpose at each end, the first convolution, the block


def test_profile():
    made, fired = inverted(c=16, wide=96, out=16, size=(48, 48), batch=1).check(threads=2)
    assert fired == {"InvertedResidual": 1}
    (block,) = blocks(made)
    assert block.algorithm == "direct 1×1, depthwise 3×3, direct 1×1"
    zeros = np.zeros((1, 16, 48, 48), np.float32)
    (row,) = [r for r in made.profile(zeros, runs=1).nodes if r.op_type == "DepthwiseBlock"]
    assert row.flops == 2 * 46 * 46 * (16 * 96 + 9 * 96 + 96 * 16)


def test_sizes_that_are_not_known():
    net = Network(2, 8, 13, 10, symbolic=True).conv(48).depthwise().conv(8)
    assert net.check()[1] == {"InvertedResidual": 1}


def test_parts_of_blocks():
    assert Network(1, 12, 9, 8).depthwise().conv(20).check()[1] == {"DepthwiseProject": 1}
    assert Network(1, 5, 9, 8).conv(20).depthwise().check()[1] == {"ExpandDepthwise": 1}
    chain = Network(1, 8, 12, 12).depthwise().conv(16).depthwise(strides=[2, 2]).conv(24)
    assert chain.check()[1] == {"InvertedResidual": 1}


def test_squeeze_and_excite():
    net = Network(1, 8, 12, 12).conv(24, act="HardSwish").depthwise(act="HardSwish")
    wide = net.last
    net.last = net.add("GlobalAveragePool", wide)
    net.conv(6).conv(24, act="HardSigmoid")
    net.last, net.channels = net.add("Mul", wide, net.last), 24
    assert net.conv(8, act="").check()[1] == {"ExpandDepthwise": 1}


def test_values_that_others_read():
    net = Network(1, 6, 9, 8).conv(20)
    net.more = [net.last]
    assert net.depthwise().conv(6).check()[1] == {"DepthwiseProject": 1}
    net = Network(1, 6, 9, 8).conv(20).depthwise()
    net.more = [net.last]
    assert net.conv(6).check()[1] == {"ExpandDepthwise": 1}


@pytest.mark.parametrize(
    "build",
    [
        lambda: Network(1, 6, 9, 8).conv(8, (3, 3)).depthwise().conv(6, (3, 3)),
        lambda: Network(1, 6, 9, 8).conv(8, strides=[2, 2]).depthwise().conv(6, strides=[2, 1]),
        lambda: Network(1, 6, 9, 8).conv(8, pads=[1, 0, 0, 1]).depthwise().conv(6, pads=[0, 1, 1, 0]),
        lambda: Network(1, 8, 9, 8).conv(8, group=2).depthwise().conv(6, group=2),
        lambda: Network(1, 8, 9, 8).conv(16, (3, 3), group=8).conv(12, group=4),
    ],
    ids=["3x3", "strides", "pads", "groups", "several filters for a channel"],
)
def test_what_is_no_block(build):
    assert not build().check()[1]


def test_sums_of_more_than_one_pass():
    assert Network(1, 4, 5, 5).conv(1040).depthwise().conv(6).check()[1] == {"ExpandDepthwise": 1}
    assert Network(1, 1040, 5, 5).conv(8).depthwise().conv(6).check()[1] == {"DepthwiseProject": 1}


def test_joined_results():
    net = Network(2, 6, 9, 8)
    first = net.conv(20).depthwise().conv(7).last
    net.last, net.channels = "x", 6
    second = net.depthwise(act="").conv(9).last
    net.last = net.add("Concat", first, second, axis=1)
    net.channels = 16
    assert net.conv(5).check()[1] == {"InvertedResidual": 1, "DepthwiseProject": 1}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (PARTS, ["depthwise_block", "gemm"]),
        (PARTS[:2], ["depthwise_block"]),
        (PARTS[1:], ["depthwise", "gemm"]),
    ],
)
@pytest.mark.parametrize("act", ["Relu", "HardSwish"])
@pytest.mark.parametrize("symbolic", [False, True])
def test_tasks_that_would_be_uneven(symbolic, act, parts, expected, monkeypatch):
    monkeypatch.setattr(ops, "MOST_UNEVEN", 0.0)
    monkeypatch.setattr(_lowering, "SERIAL_WORK", 0)
    net = Network(2, 6, 9, 8, symbolic=symbolic)
    for part in parts:
        net.depthwise(act=act) if part == "depthwise" else net.conv(40, act=act)
    made, fired = net.check(threads=2)
    assert len(fired) == 1
    names = [call.kernel.name for call in made.plan(net.x).calls]
    assert [name for name in names if name in ("depthwise_block", "depthwise", "gemm")] == expected


def test_strict_precision():
    assert inverted().check(precision="strict")[1] == {"InvertedResidual": 1}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(value):
    net = inverted(act="")
    net.x[1, 2, 4, 5] = value
    made, peer = numba_rt.load(net.proto()), onnxruntime.InferenceSession(net.proto().SerializeToString())
    y, expected = made.run({"x": net.x})[0], peer.run(None, {"x": net.x})[0]
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(expected))


def test_in_files(tmp_path):
    net = inverted()
    path = tmp_path / "m.nrt"
    first = numba_rt.load(net.proto())
    first.save(path, prepack=True)
    assert isinstance(open_prepared(open_container(path)), Prepared)
    second = numba_rt.load(path)
    assert [str(n) for n in second.graph.nodes] == [str(n) for n in first.graph.nodes]
    assert len(blocks(second)) == 1
    np.testing.assert_array_equal(second.run({"x": net.x})[0], first.run({"x": net.x})[0])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_any_network(data):
    def number(least, most):
        return data.draw(st.integers(least, most))

    def kernel():
        return data.draw(st.sampled_from([(1, 1), (3, 3), (5, 5), (3, 1), (2, 4)]))

    net = Network(number(1, 3), number(1, 33), number(5, 33), number(5, 33), seed=number(0, 9))
    for _ in range(number(2, 6)):
        if number(0, 1):
            strides = [number(1, 2), number(1, 2)]
            net.depthwise(kernel(), strides=strides, act=data.draw(st.sampled_from(["Relu", "Relu6", ""])))
        else:
            before, channels = net.last, net.channels
            net.conv(number(1, 65), act=data.draw(st.sampled_from(["", "Relu", "HardSwish"])))
            if channels == net.channels:
                net.plus(before)
    net.check(threads=number(1, 2))
