"""Small transformers as torch and tf2onnx write them: attention is found, and computes the same."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

import numba_rt

DIRECTORY = Path(__file__).parent / "exported"
FILES = sorted(path.stem for path in DIRECTORY.glob("*.onnx"))
ATTENTIONS = {"whisper_decoder": 4, "t5_decoder": 4}
"""Two by default: one in each layer."""
SIZES = (
    {"batch": 2, "seq": 5, "past": 4},
    {"batch": 1, "seq": 1, "past": 0},
    {"batch": 3, "seq": 12, "past": 1},
)

Feeds = dict[str, np.ndarray]


def attentions(name: str) -> int:
    return ATTENTIONS.get(name.rpartition("_")[0], 2)


def feeds_of(model: numba_rt.Model, name: str, sizes: dict[str, int], hidden: bool) -> Feeds:
    """Random inputs; a mask hides the first positions of the first item, with `hidden` all of them."""
    rng = np.random.default_rng(3)
    batch, seq, past = sizes["batch"], sizes["seq"], sizes["past"]
    step = "_step_" in name
    total = seq + past if step else seq
    side = 16 if "swin" in name else 12
    shapes = {"ids": (batch, seq), "pixels": (batch, 3, side, side), "mel": (batch, 4, 20)}
    shapes["states"] = (batch, 7, 16)
    if name == "gpt2_tf":
        shapes["past"] = (2, 2, batch, 2, past, 8)
    made = {}
    for value in model.inputs:
        if value.name == "ids":
            made["ids"] = rng.integers(0, 30, shapes["ids"], value.dtype)
        elif value.name == "mask":
            made["mask"] = np.ones((batch, total), value.dtype)
            made["mask"][0, : total if hidden else total // 2] = 0
        else:
            shape = shapes.get(value.name, (batch, 2, past, 8))
            made[value.name] = rng.standard_normal(shape).astype(np.float32)
    return made


def assert_close(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        scale = np.nanmax(np.abs(b), initial=1e-6)
        np.testing.assert_allclose(a / scale, b / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FILES)
def test_attention_is_found_and_equals_the_graph(name: str) -> None:
    path = DIRECTORY / f"{name}.onnx"
    fused, plain = numba_rt.load(path), numba_rt.load(path, optimize=False)
    kinds = Counter(node.op.op_type for node in fused.graph.nodes)
    assert kinds["FusedAttention"] == attentions(name)
    assert kinds["Softmax"] + kinds["MaskedSoftmax"] == 0
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    for sizes in SIZES:
        for hidden in (False, True):
            feeds = feeds_of(fused, name, sizes, hidden)
            if hidden and "mask" not in feeds:
                continue
            found = fused.run(feeds)
            assert_close(found, plain.run(feeds))
            # ONNX Runtime does not broadcast the tables of RotaryEmbedding over the batch.
            if "dynamo23" not in name or "llama" not in name or sizes["batch"] == 1:
                assert_close(found, session.run(None, feeds))
