"""Recurrent layers whose weights are constants: packed when the model is loaded, biases in the projection."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from numba_rt.model import load
from numba_rt.plan import Plan
from tests.ops.recurrent import LAYERS


def model(kind: str, hidden: int, weights: list[np.ndarray], **attributes: Any) -> onnx.ModelProto:
    """x and the first state to all states."""
    info = helper.make_tensor_value_info
    node = helper.make_node(kind, ["x", "w", "r", "b", "", "h"], ["y"], hidden_size=hidden, **attributes)
    inputs = [info(name, TensorProto.FLOAT, (f"first_{name}", "batch", None)) for name in "xh"]
    stored = [numpy_helper.from_array(w, n) for w, n in zip(weights, "wrb", strict=True)]
    graph = helper.make_graph([node], kind, inputs, [info("y", TensorProto.FLOAT, None)], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


CASES = [
    (kind, direction, batch, hidden, flag)
    for kind, flag in (("RNN", {}), ("GRU", {}), ("GRU", {"linear_before_reset": 1}), ("LSTM", {}))
    for direction, batch, hidden in (("forward", 1, 33), ("bidirectional", 7, 16), ("reverse", 13, 40))
]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("kind", "direction", "batch", "hidden", "flag"), CASES)
def test_constant_weights(
    kind: str, direction: str, batch: int, hidden: int, flag: dict[str, int], threads: int
) -> None:
    gates, oracle = LAYERS[kind]
    dirs, rng = 2 if direction == "bidirectional" else 1, np.random.default_rng(hidden)

    def made(*shape: int) -> np.ndarray:
        return rng.uniform(-0.5, 0.5, shape).astype(np.float32)

    weights = [
        made(dirs, gates * hidden, 5),
        made(dirs, gates * hidden, hidden),
        made(dirs, 2 * gates * hidden),
    ]
    x, h = made(12, batch, 5), made(dirs, batch, hidden)
    loaded = load(model(kind, hidden, weights, direction=direction, **flag), threads=threads)
    (got,) = loaded.run({"x": x, "h": h})
    expected = oracle(x, *weights, None, h, direction=direction, **flag)
    np.testing.assert_allclose(got, expected[0], rtol=1e-4, atol=1e-5)
    (again,) = loaded.run({"x": x, "h": h})
    np.testing.assert_array_equal(got, again, "packed weights are not used up")


def test_few_sequences_share_what_they_read_of_the_weights() -> None:
    """Two tasks would read all weights twice in each step, for two rows each."""
    rng = np.random.default_rng(0)
    weights = [rng.uniform(-1, 1, s).astype(np.float32) for s in ((1, 256, 8), (1, 256, 64), (1, 512))]
    loaded = load(model("LSTM", 64, weights), threads=2)
    for batch, tasks in ((4, 1), (6, 2)):
        plan = loaded.plan(x=np.zeros((9, batch, 8), np.float32), h=np.zeros((1, batch, 64), np.float32))
        assert isinstance(plan, Plan)
        assert [c.args[-1] for c in plan.calls if c.kernel.name == "lstm"] == [tasks]
