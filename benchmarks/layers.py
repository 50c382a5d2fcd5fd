"""Layers of real networks as models of one node."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHAPES = Path(__file__).parent / "shapes"
OPSET = 20
IR_VERSION = 10


@dataclass(frozen=True)
class Layer:
    """A line of a file of shapes."""

    network: str
    text: str
    kind: str

    @property
    def name(self) -> str:
        """What results are filed under."""
        return f"{self.network} {self.text}"


def read_layers(kind: str, networks: list[str] | None = None) -> list[Layer]:
    """The layers of shapes/<kind>_layers.txt, of these networks if any are named."""
    found, network = [], ""
    for line in (SHAPES / f"{kind}_layers.txt").read_text().splitlines():
        line = line.strip()
        if line.startswith("["):
            network = line.strip("[]")
        elif line and not line.startswith("#"):
            found.append(Layer(network, line, kind))
    known = {layer.network for layer in found}
    if unknown := set(networks or ()) - known:
        raise SystemExit(f"unknown networks {sorted(unknown)}: {kind}_layers.txt has {sorted(known)}")
    return [layer for layer in found if not networks or layer.network in networks]


def build(layer: Layer, batch: int) -> tuple[onnx.ModelProto, int]:
    """A model of the layer alone, and its floating-point operations."""
    return (_conv if layer.kind == "conv" else _matmul)(layer.text, batch)


def _options(words: list[str]) -> Iterator[tuple[str, list[int]]]:
    for word in words:
        match = re.fullmatch(r"([a-z]+)([\d,x]*)", word)
        if match is None:
            raise SystemExit(f"{word!r} is not understood")
        yield match[1], [int(n) for n in re.split("[,x]", match[2]) if n]


def _conv(text: str, batch: int) -> tuple[onnx.ModelProto, int]:
    size, channels_out, *words = text.split()
    h, w, c = (int(n) for n in size.split("x"))
    oc, given = int(channels_out), dict(_options(words))
    kernel = given["k"] * 2 if len(given["k"]) == 1 else given["k"]
    stride, dilation = given.get("s", [1])[0], given.get("d", [1])[0]
    group = c if "dw" in given else given.get("g", [1])[0]
    pads = given.get("p", [dilation * (k - 1) // 2 for k in kernel] * 2)
    pads = pads * 4 if len(pads) == 1 else pads
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((oc, c // group, *kernel), np.float32)
    weights *= np.float32(weights[0].size ** -0.5)
    stored = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.zeros(oc, np.float32), "b")]
    node = helper.make_node(
        "Conv", ["x", "w", "b"], ["y"], "layer", strides=[stride] * 2, dilations=[dilation] * 2, pads=pads,
        group=group, kernel_shape=kernel,
    )  # fmt: skip
    ends = [pads[i] + pads[i + 2] - dilation * (kernel[i] - 1) - 1 for i in (0, 1)]
    made = [batch, oc, *((n + end) // stride + 1 for n, end in zip((h, w), ends, strict=True))]
    return _model(node, {"x": [batch, c, h, w]}, made, stored), 2 * int(np.prod(made)) * weights[0].size


def _matmul(text: str, batch: int) -> tuple[onnx.ModelProto, int]:
    size, *words = text.split()
    m, k, n = (int(number) for number in size.split("x"))
    count = dict(_options(words)).get("b", [0])[0]
    node = helper.make_node("MatMul", ["a", "b"], ["y"], "layer")
    if count:
        lead = [batch, count]
        shapes = {"a": [*lead, m, k], "b": [*lead, k, n]}
        return _model(node, shapes, [*lead, m, n], []), 2 * batch * count * m * k * n
    weights = np.random.default_rng(0).standard_normal((k, n), np.float32) * np.float32(k**-0.5)
    stored = [numpy_helper.from_array(weights, "b")]
    return _model(node, {"a": [batch, m, k]}, [batch, m, n], stored), 2 * batch * m * k * n


def _model(
    node: onnx.NodeProto, shapes: dict[str, list[int]], made: list[int], stored: list[onnx.TensorProto]
) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, made)]
    graph = helper.make_graph([node], "layer", inputs, outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
