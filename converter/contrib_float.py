"""Rules for ONNX Runtime's own operators on floats, weights of few bits among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converter.contrib import MICROSOFT, Body, replaces
from numba_rt.dtypes import FLOAT32, INT32, UINT8
from numba_rt.errors import LoadError, UnsupportedOp

# -- normalisation --------------------------------------------------------------------------


@replaces("SimplifiedLayerNormalization", domains=("", MICROSOFT))
def _rms(
    b: Body, X: str, scale: str, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> tuple[Any, ...]:
    made = b("RMSNormalization", X, scale, axis=axis, epsilon=epsilon, stash_type=stash_type)
    if not b.wants(1):
        return (made,)
    axes = range(axis, 0) if axis < 0 else range(axis, b.rank(X))
    return made, _inverse_deviation(b, X, X, axes, epsilon)


def _inverse_deviation(b: Body, x: str, like: str, axes: Sequence[int], epsilon: float) -> str:
    """1 / sqrt(mean of squares + epsilon)"""
    squares = b("ReduceMean", b("Mul", x, x), b.constant(axes))
    return b("Reciprocal", b("Sqrt", b("Add", squares, b.like(epsilon, like))))


@replaces("SkipLayerNormalization")
def _skip_layer(
    b: Body, input: str, skip: str, gamma: str, beta: str = "", bias: str = "", *, epsilon: float = 1e-12
) -> tuple[Any, ...]:
    total = b.sum(input, bias, skip)
    n = 3 if b.wants(1) or b.wants(2) else 1
    made = b("LayerNormalization", total, gamma, beta, n=n, axis=-1, epsilon=epsilon)
    return *made, *[None] * (3 - n), total


@replaces("SkipSimplifiedLayerNormalization")
def _skip_rms(
    b: Body, input: str, skip: str, gamma: str, bias: str = "", *, epsilon: float = 1e-12
) -> tuple[Any, ...]:
    total = b.sum(input, bias, skip)
    inverse = _inverse_deviation(b, total, input, [-1], epsilon) if b.wants(2) else None
    return b("RMSNormalization", total, gamma, axis=-1, epsilon=epsilon), None, inverse, total


@replaces("EmbedLayerNormalization")
def embed(
    b: Body, input_ids: str, segment_ids: str = "", word_embedding: str = "", position_embedding: str = "",
    segment_embedding: str = "", gamma: str = "", beta: str = "", mask: str = "", position_ids: str = "", *,
    epsilon: float = 1e-12, mask_index_type: int = 0,
) -> tuple[Any, ...]:  # fmt: skip
    """The sum of the vectors of words, of their places and of their segments, normalised."""
    if position_ids:
        places = b("Gather", position_embedding, position_ids)
    else:
        end = b("Shape", input_ids, start=1, end=2)
        places = b("Slice", position_embedding, b.constant([0]), end, b.constant([0]))
    segments = b("Gather", segment_embedding, segment_ids) if segment_embedding else ""
    total = b.sum(b("Gather", word_embedding, input_ids), places, segments)
    made = b("LayerNormalization", total, gamma, beta, axis=-1, epsilon=epsilon)
    count = None
    if b.wants(1) and mask:
        count = b("ReduceSum", mask, b.constant([1]), keepdims=0)
    elif b.wants(1):
        rows = b("Shape", input_ids, start=0, end=1)
        count = b("ConstantOfShape", rows, value=np.zeros(1, INT32))
    return made, count, total


@replaces("GroupNorm")
def _group_norm(
    b: Body, X: str, gamma: str, beta: str, *, groups: int, activation: int, epsilon: float = 1e-5,
    channels_last: int = 1,
) -> str:  # fmt: skip
    x = b.channels_first(X, X, channels_last)
    made = b("GroupNormalization", x, gamma, beta, num_groups=groups, epsilon=epsilon)
    return b.channels_last(b("Swish", made) if activation else made, X, channels_last)


@replaces("SkipGroupNorm")
def _skip_group_norm(
    b: Body, X: str, gamma: str, beta: str, skip: str, bias: str = "", *, groups: int, activation: int,
    epsilon: float = 1e-5, channels_last: int = 1,
) -> tuple[str, ...]:  # fmt: skip
    if not channels_last and (bias or b.rank(skip) != b.rank(X)):
        raise UnsupportedOp(f"{b.node.where}: a bias or a broadcast skip needs channels_last = 1")
    if b.rank(skip) == 2:
        skip = b("Unsqueeze", skip, b.constant([1, 2]))
    total = b.sum(X, skip, bias)
    x = b.channels_first(total, X, channels_last)
    made = b("GroupNormalization", x, gamma, beta, num_groups=groups, epsilon=epsilon)
    return b.channels_last(b("Swish", made) if activation else made, X, channels_last), total


# -- activations ----------------------------------------------------------------------------


@replaces("BiasAdd")
def _bias_add(b: Body, X: str, bias: str, skip: str) -> str:
    return b.sum(X, bias, skip)


@replaces("BiasSplitGelu")
def _bias_split_gelu(b: Body, X: str, bias: str) -> str:
    left, right = b("Split", b("Add", X, bias), n=2, axis=-1, num_outputs=2)
    return b("Mul", left, b("Gelu", right))


@replaces("GemmFastGelu")
def _gemm_fast_gelu(b: Body, X: str, W: str, bias: str = "") -> str:
    return b("Gelu", b.sum(b("MatMul", X, W), bias), approximate="tanh")


_PARAMETERS = {
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "Selu": ("alpha", "gamma"),
    "ThresholdedRelu": ("alpha",),
    "Celu": ("alpha",),
}
_PLAIN = frozenset(("Relu", "Sigmoid", "Softplus", "Softsign", "Tanh", "HardSwish", "Gelu"))


def _activated(b: Body, x: str, activation: str, given: dict[str, float | None], like: str) -> str:
    """The activation fused into an operator."""
    if activation == "Clip":
        limits = [given.get("min"), given.get("max")]
        return b("Clip", x, *("" if v is None else b.like(v, like) for v in limits))
    if activation in _PARAMETERS:
        parameters: dict[str, Any] = {k: given.get(k) for k in _PARAMETERS[activation]}
        return b(activation, x, **parameters)
    if activation in _PLAIN:
        return b(activation, x)
    if activation:
        raise UnsupportedOp(f"{b.node.where}: activation = {activation!r} is not implemented")
    return x


@replaces("FusedConv")
def _fused_conv(
    b: Body, X: str, W: str, B: str = "", Z: str = "", *, activation: str = "",
    activation_params: tuple[float, ...] = (), **window: Any,
) -> str:  # fmt: skip
    made = b.sum(b("Conv", X, W, B, **window), Z)
    names = ("min", "max") if activation == "Clip" else _PARAMETERS.get(activation, ())
    return _activated(b, made, activation, dict(zip(names, activation_params, strict=False)), X)


@replaces("FusedGemm")
def _fused_gemm(
    b: Body, A: str, B: str, C: str = "", *, activation: str = "", activation_alpha: float | None = None,
    activation_beta: float | None = None, activation_gamma: float | None = None, **product: Any,
) -> str:  # fmt: skip
    given = {"alpha": activation_alpha, "beta": activation_beta, "gamma": activation_gamma}
    return _activated(b, b("Gemm", A, B, C, **product), activation, given, A)


# -- products -------------------------------------------------------------------------------


@replaces("FusedMatMul", "TransposeMatMul")
def _fused_matmul(
    b: Body, A: str, B: str, *, alpha: float = 1.0, transA: bool = False, transB: bool = False,
    transBatchA: bool = False, transBatchB: bool = False,
) -> str:  # fmt: skip
    factors = (
        b.turned(name, _order(b, name, matrix, batch))
        for name, matrix, batch in ((A, transA, transBatchA), (B, transB, transBatchB))
    )
    made = b("MatMul", *factors)
    return made if alpha == 1 else b("Mul", made, b.like(alpha, A))


def _order(b: Body, name: str, matrix: bool, batch: bool) -> tuple[int, ...] | None:
    """Axes of a transposed factor: `batch` moves the first axis behind all of the batch, `matrix` swaps the
    last two.
    """
    if not (matrix or batch) or b.rank(name) < 2:
        return None
    *lead, last = range(b.rank(name))
    if batch:
        lead = [*lead[1:], lead[0]]
    return (*lead[:-1], last, lead[-1]) if matrix else (*lead, last)


@replaces("CDist")
def _distances(b: Body, A: str, B: str, *, metric: str = "sqeuclidean") -> str:
    if metric not in ("sqeuclidean", "euclidean"):
        raise UnsupportedOp(f"{b.node.where}: metric = {metric!r} is not implemented")
    of_a = b("ReduceSumSquare", A, b.constant([1]))
    of_b = b("Transpose", b("ReduceSumSquare", B, b.constant([1])), perm=(1, 0))
    both = b("MatMul", A, b("Transpose", B, perm=(1, 0)))
    made = b("Sub", b("Add", of_a, of_b), b("Mul", both, b.like(2, A)))
    positive = b("Max", made, b.like(0, A))
    return b("Sqrt", positive) if metric == "euclidean" else positive


# -- weights of few bits --------------------------------------------------------------------


@replaces("MatMulNBits")
def _matmul_nbits(
    b: Body, A: str, B: str, scales: str, zero_points: str = "", g_idx: str = "", bias: str = "", *,
    K: int, N: int, block_size: int, bits: int = 4, accuracy_level: int = 0, weight_prepacked: int = 0,
) -> str:  # fmt: skip
    if bits not in (2, 4, 8) or weight_prepacked or block_size < 1:
        raise UnsupportedOp(
            f"{b.node.where}: bits = {bits}, weight_prepacked = {weight_prepacked}: expected 2, 4 or 8, and 0"
        )
    parts = [b.array(name) if name else None for name in (B, scales, zero_points, g_idx)]
    for name, part in zip((B, scales, zero_points, g_idx), parts, strict=True):
        if name and part is None:
            raise UnsupportedOp(f"{b.node.where}: the weights {name!r} are not constants")
    try:
        weights = _unpacked(K, N, block_size, bits, *parts)
    except (ValueError, IndexError) as error:
        raise LoadError(f"{b.node.where}: weights, scales and zero points do not fit: {error}") from error
    made = b("MatMul", A, b.constant(weights, b.dtype(A)))
    return b.sum(made, bias)


def _unpacked(
    k: int, n: int, block: int, bits: int, codes: Any, scales: Any, zeros: Any, groups: Any
) -> np.ndarray:
    """(k, n) float32 weights of numbers of few bits, packed by rows of the transposed matrix."""
    count = -(-k // block)
    q = _fields(codes.reshape(n, -1), bits)
    if q.shape[1] != count * block:
        raise ValueError(f"{q.shape[1]} columns: expected {count} blocks of {block}")
    scale = scales.astype(FLOAT32).reshape(n, count)
    if zeros is None:
        zero = np.full((n, count), 1 << (bits - 1), FLOAT32)
    elif zeros.dtype == np.uint8:
        zero = _fields(zeros.reshape(n, -1), bits)[:, :count].astype(FLOAT32)
    else:
        zero = zeros.astype(FLOAT32).reshape(n, count)
    weights = np.empty((k, n), FLOAT32)
    step = 64  # rows at a time: the matrix may be large
    for rows in (slice(j, j + step) for j in range(0, n, step)):
        if groups is None:
            part = q[rows].reshape(-1, count, block) - zero[rows, :, None]
            part *= scale[rows, :, None]
            weights[:, rows] = part.reshape(len(part), -1)[:, :k].T
        else:
            group = groups.reshape(-1)[:k]
            weights[:, rows] = ((q[rows, :k] - zero[rows, group]) * scale[rows, group]).T
    return weights


def _fields(packed: np.ndarray, bits: int) -> np.ndarray:
    """Bytes as numbers of fewer bits, the lowest first."""
    if bits == 8:
        return packed
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    apart = (packed[..., None] >> shifts) & np.uint8((1 << bits) - 1)
    return apart.reshape(*packed.shape[:-1], -1)


@replaces("GatherBlockQuantized")
def _gather(
    b: Body, data: str, indices: str, scales: str, zero_points: str = "", *, bits: int = 4,
    block_size: int = 128, gather_axis: int = 0, quantize_axis: int = 1,
) -> str:  # fmt: skip
    rank = b.rank(data)
    gathered, scaled = gather_axis % rank, quantize_axis % rank
    if gathered >= scaled or bits not in (4, 8):
        raise UnsupportedOp(
            f"{b.node.where}: gather_axis = {gather_axis}, quantize_axis = {quantize_axis}, bits = {bits}: "
            "expected an axis before the quantized one, and 4 or 8 bits"
        )
    rows, scale = (b("Gather", name, indices, axis=gathered) for name in (data, scales))
    zero = b("Gather", zero_points, indices, axis=gathered) if zero_points else ""
    rank += b.rank(indices) - 1
    if b.dtype(data) == UINT8:
        if not zero:
            half = np.full(1, 1 << (bits - 1), np.uint8)
            zero = b("ConstantOfShape", b("Shape", scale), value=half)
        elif bits == 4:
            end = b("Shape", scale, start=-1)
            zero = b("Slice", _halves(b, zero, rank), b.constant([0]), end, b.constant([-1]))
        rows = _halves(b, rows, rank) if bits == 4 else rows
    axis = scaled + b.rank(indices) - 1
    return b("DequantizeLinear", rows, scale, zero, axis=axis, block_size=block_size)


def _halves(b: Body, packed: str, rank: int) -> str:
    """Bytes of two numbers of 4 bits, the lower one first, as twice as many along the last axis."""
    apart = b(
        "BitShift", b("Unsqueeze", packed, b.constant([-1])), b.constant([0, 4], UINT8), direction="RIGHT"
    )
    return b("Reshape", b("BitwiseAnd", apart, b.constant(15, UINT8)), b.constant([0] * (rank - 1) + [-1]))


# -- operators the standard has too ---------------------------------------------------------


@replaces("GatherND", "GridSample", "Range", "Trilu")
def _same(b: Body, *inputs: str, **attributes: Any) -> str:
    names = {"bilinear": "linear", "bicubic": "cubic"}
    if b.node.op_type == "GridSample":
        mode = attributes.get("mode", "bilinear")
        attributes["mode"] = names.get(mode, mode)
    return b(b.node.op_type, *inputs, **attributes)


@replaces("ExpandDims")
def _expand_dims(b: Body, X: str, axis: str) -> str:
    return b("Unsqueeze", X, b("Reshape", b("Cast", axis, to=7), b.constant([1])))


@replaces("Pad")
def _pad(b: Body, data: str, pads: str, value: str = "", *, mode: str = "constant") -> str:
    return b("Pad", data, b("Reshape", pads, b.constant([-1])), value, mode=mode)


@replaces("Unique")
def _unique(b: Body, x: str) -> tuple[str, ...]:
    made, _, inverse, counts = b("Unique", x, n=4, sorted=0)
    return made, inverse, counts


@replaces("NhwcConv")
def _nhwc_conv(b: Body, X: str, W: str, B: str = "", **window: Any) -> str:
    x, w = (b.turned(name, b.first(name)) for name in (X, W))
    return b.turned(b("Conv", x, w, B, **window), b.last(X))


@replaces("NhwcMaxPool")
def _nhwc_max_pool(b: Body, x: str, **window: Any) -> str:
    return b.turned(b("MaxPool", b.turned(x, b.first(x)), **window), b.last(x))
