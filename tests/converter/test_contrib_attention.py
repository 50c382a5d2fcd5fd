"""Attention of ONNX Runtime's own domain, next to ONNX Runtime itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

import numba_rt
from numba_rt.errors import LoadError
from tests.ops.cases import Case, f32, integers

MICROSOFT = "com.microsoft"
ort.set_default_logger_severity(3)


def case(op_type: str, *inputs: Any, n: int = 1, label: str = "", **attributes: Any) -> Case:
    return Case(op_type, inputs, attributes, n, domain=MICROSOFT, opset=17, label=label)


def i32(*values: Any) -> np.ndarray:
    return np.array(values, np.int32)


def table(seed: int) -> np.ndarray:
    return f32(50, 4, seed=seed)


X, W, B = f32(2, 7, 12), f32(12, 72, seed=1), f32(72, seed=2)
PAST = f32(2, 2, 3, 5, 8, seed=3)
WIDE = (f32(12, 24 + 24 + 15, seed=1), f32(63, seed=2))
Q, K, V = f32(2, 7, 24), f32(2, 9, 24, seed=1), f32(2, 9, 24, seed=2)
BIAS = f32(72, seed=3)
CACHE = (f32(2, 3, 5, 8, seed=4), f32(2, 3, 5, 8, seed=5))
HEADS = (f32(2, 3, 9, 8, seed=6), f32(2, 3, 9, 8, seed=7))
GQ, GK, GV = f32(2, 7, 32), f32(2, 7, 16, seed=1), f32(2, 7, 16, seed=2)
EMPTY = (np.zeros((2, 2, 0, 8), np.float32),) * 2
OLD = (f32(2, 2, 6, 8, seed=3), f32(2, 2, 6, 8, seed=4))
RQ, RK, RV = f32(2, 7, 64), f32(2, 7, 32, seed=1), f32(2, 7, 32, seed=2)
NONE = (np.zeros((2, 2, 0, 16), np.float32),) * 2
WARM = (f32(2, 2, 6, 16, seed=3), f32(2, 2, 6, 16, seed=4))
ONE = WARM[0][:1], WARM[1][:1]
TABLES = f32(50, 8, seed=1), f32(50, 8, seed=2)
ROTATED = {"num_heads": 4, "kv_num_heads": 2, "do_rotary": 1}
SINK = None, None, None, None, f32(4)
GROUPED = {"num_heads": 4, "kv_num_heads": 2}

CASES = [
    case("Attention", X, W, B, num_heads=3),
    case("Attention", X, W, B, None, None, f32(1, 3, 7, 7), num_heads=3),
    case("Attention", X, W, B, num_heads=3, unidirectional=1, scale=0.2),
    case("Attention", X, *WIDE, num_heads=3, qkv_hidden_sizes=[24, 24, 15]),
    case("Attention", X, W, B, i32(7, 3), num_heads=3),
    case("Attention", X, W, B, i32(7, 6, 0, 2), num_heads=3),
    case("Attention", X, W, B, integers(2, 7, low=0, high=2, dtype=np.int32), num_heads=3),
    case("Attention", X, W, B, np.zeros((2, 7), np.int32), num_heads=3, mask_filter_value=-50.0),
    case("Attention", X, W, B, integers(2, 7, 7, low=0, high=2, dtype=np.int32), num_heads=3),
    case("Attention", X, W, B, None, PAST, num_heads=3, n=2, unidirectional=1),
    case("Attention", X, W, B, np.ones((2, 12), np.int32), PAST, num_heads=3, n=2),
    case("MultiHeadAttention", Q, K, V, num_heads=3),
    case("MultiHeadAttention", Q, K, V, BIAS, num_heads=3, scale=0.3),
    case("MultiHeadAttention", Q, K, V, BIAS, i32(9, 4), f32(1, 3, 7, 9), num_heads=3),
    case("MultiHeadAttention", Q, K, V, None, integers(2, 9, low=0, high=2, dtype=np.int32), num_heads=3),
    case("MultiHeadAttention", Q, *HEADS, num_heads=3),
    case("MultiHeadAttention", Q, Q, Q, None, None, None, *CACHE, num_heads=3, n=3, unidirectional=1),
    case("MultiHeadAttention", Q[:, :1], Q[:, :1], Q[:, :1], BIAS, None, None, *CACHE, num_heads=3, n=3),
    case("GroupQueryAttention", GQ, GK, GV, *EMPTY, i32(6, 6), i32(7), n=3, **GROUPED),
    case("GroupQueryAttention", f32(2, 7, 64), None, None, *EMPTY, i32(6, 6), i32(7), n=3, **GROUPED),
    case("GroupQueryAttention", RQ, RK, RV, *NONE, i32(6, 6), i32(7), *TABLES, n=3, **ROTATED),
    case("GroupQueryAttention", RQ[:, :1], RK[:, :1], RV[:, :1], *WARM, i32(6, 6), i32(7), *TABLES,
         n=3, rotary_interleaved=1, **ROTATED),
    case("GroupQueryAttention", RQ[:1], RK[:1], RV[:1], *ONE, i32(12), i32(13), *TABLES, n=3,
         **ROTATED),
    case("GroupQueryAttention", GQ, GK, GV, *EMPTY, i32(6, 6), i32(7), n=3, local_window_size=3, **GROUPED),
    case("GroupQueryAttention", GQ, GK, GV, *EMPTY, i32(6, 6), i32(7), n=3, softcap=2.0, scale=0.5,
         **GROUPED),
    case("GroupQueryAttention", GQ, GK, GV, *EMPTY, i32(6, 6), i32(7), n=3, smooth_softmax=1, **GROUPED),
    case("GroupQueryAttention", GQ, GK, GV, *EMPTY, i32(6, 6), i32(7), *SINK, n=3, label="sink", **GROUPED),
    case("GroupQueryAttention", *(x[:, :1] for x in (GQ, GK, GV)), *OLD, i32(6, 6), i32(7), *SINK, n=3,
         label="sink, one token", **GROUPED),
    case("GroupQueryAttention", *(x[:, :1] for x in (GQ, GK, GV)), *OLD, i32(6, 6), i32(7), n=3,
         local_window_size=4, smooth_softmax=1, **GROUPED),
    case("GroupQueryAttention", f32(2, 1, 128), None, None, *WARM, i32(6, 6), i32(7), *TABLES, n=3,
         label="packed", **ROTATED),
    case("GroupQueryAttention", RQ[:, :1], RK[:, :1], RV[:, :1], *WARM, i32(6, 6), i32(7), *TABLES,
         np.array([[3], [9]]), n=3, label="positions", **ROTATED),
    case("GroupQueryAttention", GQ, GK, GV, *EMPTY, i32(6, 6), i32(7), None, None, None, f32(2, 4, 7, 7), n=3,
         label="bias", **GROUPED),
    case("Attention", X, W, B, i32(7, 4, 0, 7, 11, 0, 7, 11), num_heads=3, label="lengths and starts"),
    case("Attention", X, W, B, i32(12, 9, 0, 2), PAST, num_heads=3, n=2, label="ends and starts"),
    case("Attention", X, W, B, integers(2, 7, 12, low=0, high=2, dtype=np.int32), PAST, num_heads=3, n=2),
    case("MultiHeadAttention", Q, K, V, None, i32(9, 4, 0, 7, 14, 0, 9, 18), num_heads=3),
    case("MultiHeadAttention", Q, K, V, None, integers(2, 7, 9, low=0, high=2, dtype=np.int32), num_heads=3),
    case("MultiHeadAttention", Q, K, f32(2, 9, 15, seed=2), f32(63), num_heads=3),
    case("MultiHeadAttention", Q, *HEADS, BIAS, num_heads=3),
    case("MultiHeadAttention", Q[:, :1], Q[:, :1], Q[:, :1], None, None, None, f32(2, 3, 20, 8),
         f32(2, 3, 20, 8), i32(5), num_heads=3, n=3, label="buffers"),
    case("RotaryEmbedding", f32(2, 7, 24), np.array([3]), table(1), table(2), num_heads=3, label="offset"),
    case("RotaryEmbedding", f32(2, 7, 24), np.array([3]), table(1), table(2), num_heads=3, scale=0.5,
         is_packed_batching=1, label="options without effect"),
    case("RotaryEmbedding", f32(2, 7, 24), integers(2, 7, low=0, high=50), table(1), table(2), interleaved=1),
]  # fmt: skip


def model_of(case: Case) -> bytes:
    model = case.onnx_model()
    model.ir_version = 8
    if case.op_type == "GroupQueryAttention":  # total_sequence_length is a scalar
        for value in model.graph.input:
            if value.name == "i6":
                del value.type.tensor_type.shape.dim[:]
    return model.SerializeToString()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_equals_onnx_runtime(case: Case) -> None:
    feeds = case.feeds()
    if case.op_type == "GroupQueryAttention":
        feeds["i6"] = feeds["i6"].reshape(())
    expected = ort.InferenceSession(model_of(case), providers=["CPUExecutionProvider"]).run(None, feeds)
    for optimize in (True, False):
        found = numba_rt.load(model_of(case), optimize=optimize).run(feeds)
        for got, want in zip(found, expected, strict=True):
            np.testing.assert_allclose(got, want, 1e-4, 2e-5)


def test_packed_operands_equal_separate_ones() -> None:
    """ONNX Runtime has them on GPUs only."""
    x = f32(2, 7, 3, 3, 8)
    q, k, v = (np.ascontiguousarray(x[:, :, :, i]).reshape(2, 7, 24) for i in range(3))
    separate = case("MultiHeadAttention", q, k, v, num_heads=3)
    expected = numba_rt.load(model_of(separate)).run(separate.feeds())[0]
    for made in (
        case("MultiHeadAttention", x, num_heads=3),
        case("MultiHeadAttention", q, np.ascontiguousarray(x[:, :, :, 1:]), num_heads=3),
    ):
        found = numba_rt.load(model_of(made)).run(made.feeds())[0]
        np.testing.assert_allclose(found, expected, 1e-5, 1e-6)


def test_padded_decode_equals_each_sequence_alone() -> None:
    """Sequences of different length in one batch: each sees its own past only."""
    lengths = i32(6, 3)
    q, k, v = GQ[:, :1], GK[:, :1], GV[:, :1]
    made = case("GroupQueryAttention", q, k, v, *OLD, lengths, i32(7), n=3, **GROUPED)
    feeds = made.feeds() | {"i6": np.array(7, np.int32)}
    both = numba_rt.load(model_of(made)).run(feeds)[0]
    expected = ort.InferenceSession(model_of(made), providers=["CPUExecutionProvider"]).run(None, feeds)[0]
    np.testing.assert_allclose(both, expected, 1e-4, 2e-5)


def test_what_is_not_implemented_is_said() -> None:
    made = case("Attention", X, W, B, num_heads=3, do_rotary=1)
    with pytest.raises(LoadError, match="do_rotary is not implemented"):
        numba_rt.load(model_of(made))
