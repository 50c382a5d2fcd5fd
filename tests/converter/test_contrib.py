"""Operators of ONNX Runtime's own domain: loaded, optimised and run here, next to ONNX Runtime itself."""

from __future__ import annotations

from math import erf, sqrt
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

import numba_rt
from numba_rt.errors import LoadError
from tests.ops.cases import Case, bools, f32, i64, integers, positive

MICROSOFT = "com.microsoft"
UINT4 = ml_dtypes.uint4
ort.set_default_logger_severity(3)


def u8(*shape: int, seed: int = 0) -> np.ndarray:
    return integers(*shape, low=0, high=256, dtype=np.uint8, seed=seed)


def i8(*shape: int, seed: int = 0) -> np.ndarray:
    """In 7 bits: without VNNI, ONNX Runtime's sums of uint8 by int8 saturate in 16 bits."""
    return integers(*shape, low=-63, high=64, dtype=np.int8, seed=seed)


def i32(*shape: int, high: int, seed: int = 0) -> np.ndarray:
    return integers(*shape, low=0, high=high, dtype=np.int32, seed=seed)


def number(value: float, dtype: Any = np.float32) -> np.ndarray:
    return np.array(value, dtype)


def case(op_type: str, *inputs: Any, n: int = 1, **attributes: Any) -> Case:
    return Case(op_type, inputs, attributes, n, domain=MICROSOFT, opset=17, rtol=1e-4, atol=1e-5)


def quantized(op_type: str, *inputs: Any, **attributes: Any) -> Case:
    """Rounding may fall to the other side of a half."""
    return Case(op_type, inputs, attributes, domain=MICROSOFT, opset=17, rtol=0, atol=1, label="q")


X, SKIP, H = f32(2, 5, 8), f32(2, 5, 8, seed=1), [positive(8, seed=s) for s in range(4)]
IDS, SEGMENTS = i32(2, 5, high=20), i32(2, 5, high=2, seed=1)
WORDS, PLACES, KINDS = f32(20, 8), f32(9, 8, seed=1), f32(2, 8, seed=2)
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
SX, SY, ZX, ZY = number(0.02), number(0.03), number(120, np.uint8), number(7, np.uint8)
ZERO = number(0, np.int8)
A, B = u8(3, 4, 6), u8(3, 4, 6, seed=1)
IMAGE, FILTERS = f32(2, 3, 9, 8), f32(4, 3, 3, 3, seed=1)
RNN = (i8(1, 4, 20), i8(1, 5, 20, seed=1), f32(1, 40))


def packed(n: int, k: int, block: int, bits: int = 4) -> np.ndarray:
    return u8(n, -(-k // block), block * bits // 8)


NORMS = [
    case("SkipLayerNormalization", X, SKIP, *H[:2]),
    case("SkipLayerNormalization", X, SKIP, *H[:3], epsilon=0.1),
    case("SkipLayerNormalization", X, f32(5, 8), H[0], None, H[1]),
    case("SkipLayerNormalization", X, f32(1, 5, 8), H[0]),
    case("SkipSimplifiedLayerNormalization", X, SKIP, H[0]),
    case("SkipSimplifiedLayerNormalization", X, SKIP, H[0], H[1], epsilon=0.1),
    case("EmbedLayerNormalization", IDS, SEGMENTS, WORDS, PLACES, KINDS, *H[:2], MASK, n=2),
    case("EmbedLayerNormalization", IDS, None, WORDS, PLACES, None, *H[:2], n=2),
    case("EmbedLayerNormalization", IDS, SEGMENTS, WORDS, PLACES, KINDS, *H[:2], MASK, IDS % 9, n=3),
]

FLOATS = [
    case("BiasGelu", X, H[0]),
    case("FastGelu", X, H[0]),
    case("QuickGelu", X),
    case("FusedMatMul", f32(2, 3, 4), f32(2, 4, 5), alpha=0.5),
    case("FusedMatMul", f32(2, 4, 3), f32(2, 5, 4), transA=1, transB=1),
    case("FusedMatMul", f32(4, 2, 3, 5), f32(2, 3, 5, 6), transBatchA=1),
    case("FusedMatMul", f32(4, 2, 3, 5), f32(4, 2, 3, 6), transBatchA=1, transBatchB=1, transA=1),
    case("TransposeMatMul", f32(2, 4, 3), f32(4, 5), transA=1),
    case("FusedGemm", f32(3, 4), f32(4, 5), f32(5), activation="Relu", alpha=2.0),
    case("FusedGemm", f32(3, 4), f32(5, 4), activation="LeakyRelu", activation_alpha=0.3, transB=1),
    case("FusedConv", IMAGE, FILTERS, f32(4), activation="Relu", pads=[1, 1, 1, 1]),
    case("FusedConv", IMAGE, FILTERS, f32(4), f32(2, 4, 7, 6), activation="Relu"),
    case("FusedConv", IMAGE, FILTERS, activation="Clip", activation_params=[-0.5, 0.5]),
    case("FusedConv", IMAGE, FILTERS, activation="HardSigmoid", activation_params=[0.3, 0.4]),
    case("CDist", f32(3, 4), f32(5, 4, seed=1)),
    case("CDist", f32(3, 4), f32(5, 4, seed=1), metric="euclidean"),
    case("GatherND", f32(3, 4), integers(2, 1, low=0, high=3)),
    case("GridSample", IMAGE, f32(2, 4, 5, 2), mode="bilinear"),
    case("Range", number(1), number(9), number(2)),
    case("Trilu", f32(4, 5), number(1, np.int64), upper=0),
    case("ExpandDims", f32(3, 4), number(-1, np.int32)),
    case("Pad", f32(3, 4), i64(1, 0, 0, 2), number(9)),
    case("Unique", np.array([2, 1, 1, 3, 2], np.float32), n=3),
    case("Inverse", f32(2, 3, 3)),
]

BITS = [
    case("MatMulNBits", f32(3, 64), packed(5, 64, 16), positive(20), K=64, N=5, bits=4, block_size=16),
    case("MatMulNBits", f32(2, 3, 70), packed(5, 70, 32), positive(15), u8(10), K=70, N=5, block_size=32),
    case(
        "MatMulNBits",
        *(f32(3, 32), packed(4, 32, 16, 8), positive(8), u8(8), None, f32(4)),
        **{"K": 32, "N": 4, "bits": 8, "block_size": 16},
    ),
]

TABLE = {"bits": 4, "block_size": 16}
GATHERED = [
    case("GatherBlockQuantized", u8(9, 24), i32(2, 3, high=9), positive(9, 3), **TABLE),
    case("GatherBlockQuantized", u8(9, 24), i32(2, 3, high=9), positive(9, 3), u8(9, 2), **TABLE),
    case(
        "GatherBlockQuantized",
        u8(9, 2, 32),
        i32(2, high=9),
        positive(9, 2, 2),
        bits=8,
        block_size=16,
        quantize_axis=2,
    ),
    case(
        "GatherBlockQuantized", (u8(9, 32) % 16).astype(UINT4), i32(2, high=9), positive(9, 2), block_size=16
    ),
    case(
        "GatherBlockQuantized",
        *((u8(9, 32) % 16).astype(UINT4), i32(4, high=9), positive(9, 2), (u8(9, 2) % 16).astype(UINT4)),
        block_size=16,
    ),
]

QUANTIZED = [
    case("QuantizeLinear", f32(3, 4), SX, ZX),
    case("DequantizeLinear", u8(3, 4), positive(4), u8(4), axis=1),
    case("MatMulIntegerToFloat", A, i8(6, 5), SX, positive(5), ZX, i8(5), f32(5)),
    case("MatMulIntegerToFloat", A, u8(6, 5), SX, SY),
    case("MatMulInteger16", *(integers(3, 4, dtype=np.int16), integers(4, 2, dtype=np.int16))),
    case("QGemm", u8(3, 4), SX, ZX, i8(5, 3), SY, number(3, np.int8), i32(5, high=99), transB=1, transA=1),
    quantized(
        "QGemm", u8(4, 3), SX, ZX, i8(5, 3), SY, number(3, np.int8), None, number(0.5), ZY, transB=1
    ),
    quantized("QLinearAdd", A, SX, ZX, B, SY, ZY, number(0.04), ZX),
    quantized("QLinearAdd", A, SX, ZX, u8(6), SY, ZY, number(0.04), ZX),
    quantized("QLinearMul", i8(3, 4), SX, number(3, np.int8), i8(4), SY, number(0, np.int8), SY),
    quantized("QLinearLeakyRelu", A, SX, ZX, SY, ZY, alpha=0.2),
    quantized("QLinearSigmoid", A, SX, ZX, number(0.004), number(0, np.uint8)),
    quantized("QLinearSoftmax", A, SX, ZX, number(1 / 256), number(0, np.uint8), opset=13, axis=-1),
    quantized("QLinearSoftmax", A, SX, ZX, number(1 / 256), number(0, np.uint8), opset=11, axis=1),
    quantized("QLinearConcat", SY, ZY, A, SX, ZX, B, SY, ZX, axis=1),
    quantized("QLinearWhere", bools(4, 6), A, SX, ZX, B, SY, ZY, SY, ZY),
    quantized("QLinearGlobalAveragePool", u8(2, 3, 5, 4), SX, ZX, SY, ZY),
    quantized("QLinearGlobalAveragePool", u8(2, 5, 4, 3), SX, ZX, SY, ZY, channels_last=1),
    quantized("QLinearAveragePool", u8(2, 3, 5, 4), SX, ZX, SY, ZY, kernel_shape=[2, 3], pads=[1, 1, 1, 1]),
    quantized(
        "QLinearConv", u8(2, 9, 8, 3), SX, ZX, i8(4, 3, 3, 3), SY, ZERO, SX, ZY, channels_last=1
    ),
    quantized("NhwcMaxPool", u8(2, 9, 8, 3), kernel_shape=[3, 2], strides=[2, 2]),
]  # fmt: skip

LOOSE = [  # these quantize their floats themselves, or round otherwise
    case("DynamicQuantizeMatMul", f32(3, 6), i8(6, 5), number(0.01), None, f32(5)),
    case("DynamicQuantizeMatMul", f32(3, 6), u8(6, 5), positive(5), u8(5)),
    case(
        "DynamicQuantizeLSTM",
        *(f32(3, 2, 4), *RNN, *[None] * 4),
        *(number(0.003).reshape(1), np.zeros(1, np.int8), number(0.004).reshape(1), np.zeros(1, np.int8)),
        **{"n": 3, "hidden_size": 5},
    ),
    case(
        "QEmbedLayerNormalization",
        *(IDS, SEGMENTS, u8(20, 8), u8(9, 8), u8(2, 8), u8(8), u8(8), MASK),
        *[SX] * 5,
        *[ZX] * 5,
        n=2,
    ),
]


def model_of(case: Case, symbolic: bool = False) -> onnx.ModelProto:
    """The case as a model; weights of products of few bits are constants, as exporters store them."""
    model = case.onnx_model()
    model.ir_version = 8
    if case.op_type in ("MatMulNBits", "QEmbedLayerNormalization", "DynamicQuantizeLSTM"):
        for name, array in list(case.feeds().items())[1:]:
            model.graph.initializer.append(numpy_helper.from_array(array, name))
        del model.graph.input[1:]
    if case.op_type == "GatherBlockQuantized":
        names = [k for k in case.feeds() if k != "i1"]
        model.graph.initializer.extend(numpy_helper.from_array(case.feeds()[n], n) for n in names)
        kept = [v for v in model.graph.input if v.name == "i1"]
        del model.graph.input[:]
        model.graph.input.extend(kept)
    for value in model.graph.input if symbolic else ():
        for i, dim in enumerate(value.type.tensor_type.shape.dim):
            dim.dim_param = f"{value.name}_{i}"
    return model


def feeds_of(case: Case, model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {v.name: case.feeds()[v.name] for v in model.graph.input}


def oracle(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def check(case: Case, rtol: float, atol: float) -> None:
    model = model_of(case)
    feeds = feeds_of(case, model)
    expected = oracle(model, feeds)
    got = list(numba_rt.load(model_of(case, symbolic=True), threads=1).run(feeds))
    assert len(got) == len(expected)
    for g, e in zip(got, expected, strict=True):
        assert (g.shape, g.dtype) == (e.shape, e.dtype)
        if e.dtype.kind == "f":
            np.testing.assert_allclose(g, e, rtol, atol)
        else:
            difference = np.abs(g.astype(np.int64) - e.astype(np.int64))
            assert difference.max(initial=0) <= (atol if e.dtype.itemsize == 1 else 0)


@pytest.mark.parametrize("case", [*NORMS, *FLOATS, *BITS, *GATHERED, *QUANTIZED], ids=lambda c: c.id)
def test_equals_onnxruntime(case: Case) -> None:
    check(case, case.rtol, case.atol)


@pytest.mark.parametrize("case", LOOSE, ids=lambda c: c.id)
def test_equals_onnxruntime_up_to_quantization(case: Case) -> None:
    check(case, 0.02, 0.05)


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.vectorize(erf)(x / sqrt(2)))


def group_norm(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, groups: int) -> np.ndarray:
    """Channels last."""
    parts = x.reshape(x.shape[0], -1, groups, x.shape[-1] // groups)
    mean, variance = parts.mean((1, 3), keepdims=True), parts.var((1, 3), keepdims=True)
    return ((parts - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape) * gamma + beta


def swish(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


PIXELS, NORM = f32(2, 3, 4, 8), (positive(8), f32(8, seed=3))
NHWC_SUMS = np.einsum("nhwc,mc->nhwm", PIXELS, f32(5, 8))

WITHOUT_KERNEL = [  # ONNX Runtime computes these on other processors only
    (case("BiasAdd", X, H[0], SKIP), [X + H[0] + SKIP]),
    (case("BiasSplitGelu", X, H[0]), [(X + H[0])[..., :4] * gelu((X + H[0])[..., 4:])]),
    (case("GroupNorm", PIXELS, *NORM, groups=2, activation=1), [swish(group_norm(PIXELS, *NORM, 2))]),
    (
        case("SkipGroupNorm", PIXELS, *NORM, f32(2, 8), H[0], n=2, groups=4, activation=0),
        [
            group_norm(PIXELS + f32(2, 8)[:, None, None] + H[0], *NORM, 4),
            PIXELS + f32(2, 8)[:, None, None] + H[0],
        ],
    ),
    (case("NhwcConv", PIXELS, f32(5, 1, 1, 8), kernel_shape=[1, 1]), [NHWC_SUMS]),
    (
        case("SkipLayerNormalization", X, SKIP, H[0], n=4),
        [
            H[0] * (X + SKIP - (X + SKIP).mean(-1, keepdims=True)) / (X + SKIP).std(-1, keepdims=True),
            (X + SKIP).mean(-1, keepdims=True),
            1 / (X + SKIP).std(-1, keepdims=True),
            X + SKIP,
        ],
    ),
]


@pytest.mark.parametrize(("case", "expected"), WITHOUT_KERNEL, ids=lambda x: getattr(x, "id", ""))
def test_equals_numpy(case: Case, expected: list[np.ndarray]) -> None:
    got = list(numba_rt.load(model_of(case)).run(case.feeds()))
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(g, e, 1e-4, 1e-5)


@pytest.mark.parametrize("domain", ["", MICROSOFT])
def test_simplified_layer_normalization_of_both_domains(domain: str) -> None:
    """Exporters write it into the standard's domain too."""
    made = Case("SimplifiedLayerNormalization", (X, H[0]), {"axis": -1}, 2, domain=domain, opset=17)
    y, inverse = numba_rt.load(made.onnx_model()).run(made.feeds())
    expected = 1 / np.sqrt((X**2).mean(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, X * expected * H[0], 1e-5, 1e-6)
    np.testing.assert_allclose(inverse, expected, 1e-5)


def test_sum_and_normalisation_become_one_call() -> None:
    made = case("SkipLayerNormalization", X, SKIP, *H[:2])
    plan = str(numba_rt.load(made.onnx_model()).plan(**made.feeds()))
    assert "add_layer_norm" in plan and len(plan.strip().splitlines()) <= 3


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weights_of_few_bits_by_groups_of_columns(bits: int) -> None:
    """g_idx gives each column its scale; zero points may be floats."""
    k, n, block = 32, 3, 16
    codes = integers(n, k, low=0, high=1 << bits, dtype=np.uint8)
    shifts = np.arange(0, 8, bits)
    stored = (codes.reshape(n, 2, -1, 8 // bits) << shifts).sum(-1).astype(np.uint8)
    scales, zeros, groups = positive(n, 2), f32(n, 2), integers(k, low=0, high=2, dtype=np.int32)
    made = case(
        "MatMulNBits", f32(2, k), stored, scales, zeros, groups, K=k, N=n, bits=bits, block_size=block
    )
    weights = (codes - zeros[:, groups]) * scales[:, groups]
    (got,) = numba_rt.load(model_of(made)).run({"i0": f32(2, k)})
    np.testing.assert_allclose(got, f32(2, k) @ weights.T, 1e-4, 1e-4)


REFUSED = [
    (case("SkipLayerNormalization", X, SKIP), "the input 'gamma' is missing"),
    (case("SkipLayerNormalization", X, SKIP, H[0], momentum=1.0), "unknown attribute 'momentum'"),
    (case("SkipLayerNormalization", X, SKIP, H[0], epsilon="a"), "expected float, found string"),
    (case("BiasAdd", X, H[0], SKIP, X), "expected at most 3"),
    (case("SkipSimplifiedLayerNormalization", X, SKIP, H[0], n=2), "output 1 ('o1') is not implemented"),
    (case("FusedConv", IMAGE, FILTERS, activation="Cube"), "activation = 'Cube' is not implemented"),
    (case("MatMulNBits", f32(3, 32), packed(4, 32, 16), positive(8), N=4, block_size=16), "'K' is missing"),
    (
        case("MatMulNBits", f32(3, 32), packed(4, 32, 16), positive(7), K=32, N=4, block_size=16),
        "do not fit",
    ),
    (
        case("MatMulNBits", f32(3, 32), packed(4, 32, 16), positive(4), K=2**40, N=4, block_size=2**40),
        "do not fit",
    ),
    (
        case("GatherBlockQuantized", u8(9, 24), i32(2, high=9), positive(9, 3), gather_axis=1),
        "gather_axis = 1",
    ),
    (case("CDist", f32(2, 2), f32(2, 2), metric="cosine"), "metric = 'cosine' is not implemented"),
    (case("QLinearConcat", SX, ZX, A, SX, axis=1), "expected three for each"),
]


@pytest.mark.parametrize(("case", "message"), REFUSED, ids=lambda x: getattr(x, "id", ""))
def test_invalid_nodes_are_refused_by_name(case: Case, message: str) -> None:
    with pytest.raises(LoadError) as error:
        numba_rt.load(model_of(case))
    assert message in str(error.value)
    assert case.op_type in str(error.value)
