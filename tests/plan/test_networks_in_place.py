"""Blocks of convolution networks: what they concatenate is never copied."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest

from numba_rt.dtypes import FLOAT32
from numba_rt.graph import Fact, Graph, Value
from numba_rt.model import Model
from numba_rt.optimize.rule import Builder
from numba_rt.plan import Plan
from tests.random_graphs import evaluate


class Network:
    """A graph of convolutions on x, of 16 channels."""

    def __init__(self, batch: int) -> None:
        self.rng = np.random.default_rng(0)
        self.graph = Graph("network")
        self.op = Builder(self.graph)
        self.x = self.graph.input("x", Fact(FLOAT32, (batch, 16, 9, 7)))

    def conv(self, x: Value, channels: int, kernel: int = 1, group: int = 1) -> Value:
        """Relu(Conv(x) + bias)"""
        shape = channels, x.fact.sizes[1] // group, kernel, kernel
        weight = self.rng.uniform(-0.2, 0.2, shape).astype(np.float32)
        bias = self.rng.uniform(-1, 1, channels).astype(np.float32)
        pad = kernel // 2
        return self.op.Relu(self.op.Conv(x, weight, bias, pads=(pad,) * 4, group=group))

    def pool(self, kind: str, x: Value) -> Value:
        """Of 3x3 windows, to the same size."""
        return getattr(self.op, kind)(x, kernel_shape=(3, 3), pads=(1, 1, 1, 1))

    def norm(self, x: Value) -> Value:
        """BatchNormalization, as a factor and an addend of each channel."""
        shape = 1, x.fact.sizes[1], 1, 1
        factor = self.rng.uniform(0.5, 2, shape).astype(np.float32)
        return self.op.Relu(self.op.Add(self.op.Mul(x, factor), factor))

    def plan(self, y: Value) -> Plan:
        """The plan, after a check of the results, with one thread and with two."""
        self.graph.outputs = [self.conv(y, 8)]
        x = self.rng.uniform(-1, 1, self.x.fact.sizes).astype(np.float32)
        (want,) = evaluate(self.graph, {"x": x})
        for threads in (1, 2):
            model = Model(copy.deepcopy(self.graph), threads=threads)
            np.testing.assert_allclose(model.run({"x": x})[0], want, rtol=1e-4, atol=1e-4)
        return model.plan(x=x)


def fire(net: Network) -> Value:
    """SqueezeNet."""
    squeezed = net.conv(net.x, 8)
    return net.op.Concat(net.conv(squeezed, 16), net.conv(squeezed, 24, 3), axis=1)


def inception(net: Network) -> Value:
    """Inception: branches of convolutions and pools."""
    branches = [
        net.conv(net.x, 8),
        net.conv(net.conv(net.x, 8), 12, 3),
        net.conv(net.conv(net.x, 4), 6, 5),
        net.conv(net.pool("MaxPool", net.x), 5),
        net.pool("AveragePool", net.x),
        net.pool("MaxPool", net.x),
    ]
    return net.op.Concat(*branches, axis=1)


def dense(net: Network) -> Value:
    """DenseNet: every layer reads what all before it made."""
    joined = net.conv(net.x, 16)
    for _ in range(4):
        joined = net.op.Concat(joined, net.conv(net.conv(net.norm(joined), 16), 8, 3), axis=1)
    return net.norm(joined)


def ghost(net: Network) -> Value:
    """GhostNet: half of the channels are computed from the other half, one by one."""
    first = net.conv(net.x, 16)
    return net.op.Concat(first, net.conv(first, 16, 3, group=16), axis=1)


def cross_stage(net: Network) -> Value:
    """CSPNet: half of the channels go around the layers, which add to what they read."""
    halves = net.op.Split(net.conv(net.x, 24), outputs=2, axis=1, n_outputs=2)
    deep = net.op.Add(net.conv(net.conv(halves[1], 12), 12, 3), halves[1])
    return net.op.Concat(net.conv(halves[0], 12), deep, axis=1)


@pytest.mark.parametrize("block", [fire, inception, dense, ghost, cross_stage])
@pytest.mark.parametrize("batch", [1, 3])
def test_blocks_copy_nothing(block: Callable[[Network], Value], batch: int) -> None:
    net = Network(batch)
    plan = net.plan(block(net))
    copied = [c.node.op.op_type for c in plan.calls if c.kernel.name == "copy_axes" and c.node is not None]
    allowed = {"Transpose", "NhwcConv"} if block is cross_stage else {"Transpose"}
    assert set(copied) <= allowed
    assert not any(c.node is not None and c.node.op.op_type in ("Concat", "Split") for c in plan.calls)


def test_a_block_of_layers_lies_in_one_array() -> None:
    net = Network(1)
    plan = net.plan(dense(net))
    joined = [n.outputs[0] for n in plan.nodes if n.op.op_type == "Concat"]
    assert len(joined) == 4
    assert len({(plan.places[id(v)].index, plan.parts[id(v)].offset) for v in joined}) == 1
