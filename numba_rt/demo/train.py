"""Trains the digit classifier of the demo in NumPy alone and writes it as an ONNX model.

    python -m numba_rt.demo.train [directory]

The scans held out are written beside the model.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from numba_rt.demo.network import CLASSES, EPSILON, SIDE, Array, Params, initial, loss_and_gradients, predict
from numba_rt.demo.scans import Scans, split

EPOCHS = 24
BATCH = 48
LEARNING_RATE = 4e-3
SEED = 0


def train(
    scans: Scans, epochs: int = EPOCHS, seed: int = SEED, report: Callable[[str], None] = print
) -> Params:
    """Weights learnt with Adam from randomly shifted scans, the learning rate falling to zero."""
    rng = np.random.default_rng(seed)
    params = initial(rng)
    first = {name: np.zeros_like(value) for name, value in params.items()}
    second = {name: np.zeros_like(value) for name, value in params.items()}
    pixels = scans.pixels()
    steps = epochs * (len(pixels) // BATCH)
    step = 0
    for epoch in range(epochs):
        losses = []
        for x, labels in batches(pixels, scans.labels, rng):
            step += 1
            loss, gradients, statistics = loss_and_gradients(params, x, labels)
            losses.append(loss)
            rate = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
            adam(params, gradients, first, second, step, rate)
            for name, value in statistics.items():
                params[name] += np.float32(0.1) * (value - params[name])
        report(f"epoch {epoch + 1:2} of {epochs}: loss {np.mean(losses):.4f}")
    return params


def batches(pixels: Array, labels: Array, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    """One epoch in random order, each scan shifted by at most one pixel."""
    order = rng.permutation(len(pixels))
    padded = np.pad(pixels, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for start in range(0, len(order) - BATCH + 1, BATCH):
        rows = order[start : start + BATCH]
        corners = rng.integers(0, 3, (BATCH, 2))
        x = np.stack(
            [padded[r, :, i : i + SIDE, j : j + SIDE] for r, (i, j) in zip(rows, corners, strict=True)]
        )
        yield x, labels[rows]


def adam(params: Params, gradients: Params, first: Params, second: Params, step: int, rate: float) -> None:
    """One step of Adam on params, first and second moments in place."""
    correction = np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    for name, g in gradients.items():
        first[name] += np.float32(0.1) * (g - first[name])
        second[name] += np.float32(0.001) * (g * g - second[name])
        params[name] -= (
            np.float32(rate * correction) * first[name] / (np.sqrt(second[name]) + np.float32(1e-8))
        )


def to_onnx(params: Params) -> onnx.ModelProto:
    """The network as an ONNX model with a symbolic batch."""
    nodes, x = [], "image"
    for i in (1, 2):
        conv, norm, relu = f"conv{i}", f"norm{i}", f"relu{i}"
        statistics = [f"{norm}.{part}" for part in ("scale", "bias", "mean", "var")]
        nodes += [
            helper.make_node("Conv", [x, f"{conv}.weight"], [conv], conv, kernel_shape=[3, 3], pads=[1] * 4),
            helper.make_node("BatchNormalization", [conv, *statistics], [norm], norm, epsilon=EPSILON),
            helper.make_node("Relu", [norm], [relu], relu),
        ]
        x = relu
    nodes += [
        helper.make_node("MaxPool", [x], ["pool"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool"], ["flat"], "flat", axis=1),
        helper.make_node("Gemm", ["flat", "dense.weight", "dense.bias"], ["logits"], "dense"),
        helper.make_node("Softmax", ["logits"], ["probabilities"], "softmax", axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, SIDE, SIDE])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", CLASSES])
            for name in ("logits", "probabilities")
        ],
        [numpy_helper.from_array(value, name) for name, value in params.items()],
        doc_string="Recognises handwritten digits in scans of 8×8 pixels, ink from 0 to 1.",
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="numba_rt.demo.train")


def check(model: onnx.ModelProto, params: Params, pixels: Array) -> None:
    """Raise unless the model is valid and computes what `predict` computes."""
    onnx.checker.check_model(model, full_check=True)
    (logits,) = ReferenceEvaluator(model).run(["logits"], {"image": pixels})
    np.testing.assert_allclose(np.asarray(logits), predict(params, pixels), rtol=1e-3, atol=1e-3)


def accuracy(logits: Array, labels: Array) -> float:
    """Share of rows whose largest logit is the label's."""
    return float((logits.argmax(axis=-1) == labels).mean())


def main(argv: Sequence[str] | None = None) -> int:
    """Train, check, and write digits.onnx and scans.npz."""
    parser = argparse.ArgumentParser(
        prog="python -m numba_rt.demo.train", description="Train the digit classifier of the demo."
    )
    here = Path(__file__).parent
    parser.add_argument("directory", nargs="?", type=Path, default=here, help="default: beside this script")
    directory = parser.parse_args(argv).directory
    learnt, held_out = split()
    params = train(learnt)
    model = to_onnx(params)
    check(model, params, held_out.pixels())
    directory.mkdir(parents=True, exist_ok=True)
    onnx.save(model, directory / "digits.onnx")
    held_out.save(directory / "scans.npz")
    share = accuracy(predict(params, held_out.pixels()), held_out.labels)
    print(f"{share:.2%} of {len(held_out)} held-out scans recognised; written to {directory}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
