"""The onnx package's light models: real architectures of the model zoo, here with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import pytest
from onnx import numpy_helper

import numba_rt
from tests.models.shared import assert_same, runtime

LIGHT = Path(onnx.backend.test.__file__).parent / "data" / "light"
NAMES = [
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
]

TRANSPOSES = {"bvlc_alexnet": 2, "vgg19": 2, "zfnet512": 2}
"""One for the image; a second where a map goes into a large matrix product."""


def with_random_weights(name: str) -> onnx.ModelProto:
    """The model with its ConstantOfShape weights replaced by random ones that keep activations near 1."""
    rng = np.random.default_rng(0)
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    graph = model.graph
    shapes = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    norms = {n.input[k]: k for n in graph.node if n.op_type == "BatchNormalization" for k in (1, 2, 3, 4)}
    kept = []
    for node in graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape = tuple(int(d) for d in shapes[node.input[0]])
        role = norms.get(node.output[0], 0)
        if role in (1, 4):
            weight = rng.uniform(0.5, 1.5, shape)
        elif role or len(shape) < 2:
            weight = rng.normal(0, 0.05, shape)
        else:
            weight = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        graph.initializer.append(numpy_helper.from_array(weight.astype(np.float32), node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)
    used = {i for n in kept for i in n.input}
    initializers = [i for i in graph.initializer if i.name in used]
    del graph.initializer[:]
    graph.initializer.extend(initializers)
    inputs = [i for i in graph.input if i.name in used and i.name not in {w.name for w in initializers}]
    del graph.input[:]
    graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_same_as_onnxruntime(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(with_random_weights(name), path)
    session = runtime(path)
    info = session.get_inputs()[0]
    image = np.random.default_rng(1).standard_normal(info.shape).astype(np.float32)
    for threads in (1, 2):
        model = numba_rt.load(path, threads=threads)
        assert_same(model, session, {info.name: image})
    assert sum(n.op.op_type == "Transpose" for n in model.graph.nodes) == TRANSPOSES.get(name, 1)
