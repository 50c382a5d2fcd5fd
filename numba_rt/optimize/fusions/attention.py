"""Attention: the two products, the softmax between, and what is moved and repeated before and after."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from numba_rt.dtypes import BOOL, FLOAT32
from numba_rt.graph import Dim, Sym, Value
from numba_rt.optimize.fusions.matmul import HEADS
from numba_rt.optimize.pattern import Match
from numba_rt.optimize.rule import Builder, Rule


class Attention(Rule):
    """FusedMatMul(Softmax(scale * q @ k' + mask), v)  →  FusedAttention(q, k, v, mask)"""

    def pattern(op, q, k, v, mask, bias):
        scores = op.FusedMatMul(q, k, None, None, name="scores")
        masked = op.FusedMatMul(q, k, None, mask, name="scores")
        biased = op.FusedMatMul(q, k, None, bias, name="scores")
        softmaxes = (
            op.MaskedSoftmax(scores, mask, name="softmax"),
            op.MaskedSoftmax(scores + bias, mask, name="softmax"),
            op.MaskedSoftmax(biased, mask, name="softmax"),
            op.Softmax(masked, name="softmax"),
            op.Softmax(scores, name="softmax"),
            op.Softmax(scores + bias, name="softmax"),
        )
        return tuple(op.FusedMatMul(s, v, None, None, name="product") for s in softmaxes)

    def check(m):
        scores, product, shape = m.scores.op, m.product.op, m.scores.outputs[0].fact.shape
        if shape is None or len(shape) not in (3, 4):
            return "it does not have 3 or 4 axes"
        if m.softmax.op.op_type == "Softmax" and m.softmax.op.axis not in (-1, len(shape) - 1):
            return "the softmax is not over the keys"
        if not scores.transB or product.transB or product.a_heads or product.alpha != 1 or scores.c_heads:
            return "keys or values are transposed"
        if any(p.activation or p.lo > -np.inf or p.hi < np.inf or p.packed for p in (scores, product)):
            return "a product has more to do"
        bias = m.bound.get("bias")
        if bias is not None and getattr(m.softmax.op, "scale", 1.0) != 1:
            return "a sum is scaled"
        return _differing_heads(m, len(shape)) or _unfit_bias(bias, shape)

    def replace(op, m):
        scores, product = m.scores.op, m.product.op
        flat = m.q.fact.rank == 3
        q, k = _sizes(m.q, scores.a_heads), _sizes(m.k, scores.b_heads)
        masks = [m.bound.get("mask"), m.bound.get("bias")]
        if masks[0] is None:
            masks.reverse()
        for i, mask in enumerate(masks):
            if mask is not None and flat and mask.fact.rank == 3:
                masks[i] = op.Unsqueeze(mask, np.array([1]))
        scale, safe = getattr(m.softmax.op, "scale", 1.0), getattr(m.softmax.op, "safe", False)
        made = op.FusedAttention(
            m.q, m.k, m.v, *masks, heads=1 if flat else q[1], kv_heads=1 if flat else k[1],
            scale=scores.alpha * scale, safe=safe, q_merged=flat or scores.a_heads,
            k_merged=flat or scores.b_heads, v_merged=flat or product.b_heads,
            y_merged=flat or product.c_heads,
        )  # fmt: skip
        return _split(op, made, q[1], m.v.fact.shape[-1]) if product.c_heads else made


class WindowAttention(Rule):
    """Attention in windows, with a mask for each that is added while windows have an axis of their own"""

    def pattern(op, q, k, v, bias, window, s, t):
        scores = op.FusedMatMul(q, k, None, None, name="scores")
        forms = []
        for x in (scores, scores + bias):
            windows = op.Reshape(op.Reshape(x, s, name="split") + window, t, name="joined")
            forms.append(op.FusedMatMul(op.Softmax(windows, name="softmax"), v, None, None, name="product"))
        return tuple(forms)

    def check(m):
        whole, split, joined = (n.outputs[0].fact.shape for n in (m.scores, m.split, m.joined))
        if split is None or len(split) != 5 or whole is None or split[2:] != whole[1:] or joined != whole:
            return "the axis that is split is not that of windows"
        mask = (split[1], 1, *whole[2:])
        if m.window.fact.shape not in (mask, (1, *mask)) or not isinstance(split[1], int):
            return "what is added is not a mask for each window"
        return Attention.check(m)

    def replace(op, m):
        mask = m.window if m.window.fact.rank == 4 else op.Squeeze(m.window, np.array([0]))
        return Attention.replace(op, Match(m.root, {**m.bound, "mask": mask}, m.nodes))


def _unfit_bias(bias: Value | None, scores: tuple[Dim, ...]) -> str | None:
    """Why a bias is not one that is added to scores; sizes with different names may be equal."""
    if bias is None:
        return None
    shape = bias.fact.shape
    if shape is None or len(shape) > len(scores):
        return "the rank of a sum is not known"
    for own, whole in zip(shape[::-1], scores[::-1], strict=False):
        if own not in (1, whole) and (len(scores) == 3 or (isinstance(own, int) and isinstance(whole, int))):
            return "a sum is broadcast"
    return "a sum has other heads" if len(shape) > 2 and isinstance(shape[-3], Sym) else None


def _sizes(x: Value, merged: bool) -> Any:
    """(batch, heads, positions, size)"""
    s = x.fact.shape
    assert s is not None
    return (s[0], s[2], s[1], s[3]) if merged else s


def _split(op: Builder, merged: Value, heads: int, size: int) -> Value:
    """(batch, positions, heads * size) as (batch, positions, heads, size)."""
    return op.Reshape(merged, np.array([0, 0, heads, size], np.int64))


def _differing_heads(m: Match, rank: int) -> str | None:
    """Why the operands' leading axes do not fit."""
    merged = (m.scores.op.a_heads, m.scores.op.b_heads, m.product.op.b_heads)
    if any(x.fact.shape is None or x.fact.rank != rank for x in (m.q, m.k, m.v)):
        return "the operands differ in rank"
    q, k, v = (_sizes(x, flag) for x, flag in zip((m.q, m.k, m.v), merged, strict=True))
    if q[0] != k[0] or q[0] != v[0]:
        return "the operands differ in batch"
    if rank == 3:
        return None
    if not all(isinstance(x[1], int) and x[1] > 0 for x in (q, k, v)) or k[1] != v[1] or q[1] % k[1]:
        return "the numbers of heads are not known or do not fit"
    return None if isinstance(v[3], int) else "the size of a head is not known"


class StandardAttention(Rule):
    """Attention  →  FusedAttention, and Concat(past, new) of the keys and of the values it keeps"""

    all_outputs = True

    def pattern(op, q, k, v):
        return op.Attention(q, k, v, ..., name="attention")

    def check(m):
        node, own = m.attention, m.attention.op
        if own.n_outputs > 3 or _has(node, 6):
            return "it gives the scores, or the number of keys is an input"
        if m.q.fact.dtype != FLOAT32 or any(x.fact.shape is None for x in (m.q, m.k, m.v)):
            return "it is not float32 of known rank"
        mask, new = node.inputs[3] if _has(node, 3) else None, _positions(m.k)
        keys = new
        if _has(node, 4):
            past = node.inputs[4].fact.shape
            if past is None or not _has(node, 5) or node.inputs[5].fact.shape is None:
                return "the rank of the past is not known"
            keys = past[2] + new
            if (own.is_causal or own.left_window_size >= 0 or own.right_window_size >= 0) and (
                new != _positions(m.q)
            ):
                return "queries may not be the last of the keys"
        if mask is not None and (mask.fact.shape is None or mask.fact.shape[-1] not in (1, keys)):
            return "the mask may be shorter than the keys"
        sizes = [x.fact.shape[-1] for x in (m.q, m.k, m.v)]
        heads = [x.fact.shape[1] if x.fact.rank == 4 else 1 for x in (m.q, m.k)]
        return None if all(isinstance(n, int) for n in (*sizes, *heads)) else "sizes are not known"

    def replace(op, m):
        own, inputs, flat = m.attention.op, m.attention.inputs, m.q.fact.rank == 3
        mask = inputs[3] if _has(m.attention, 3) else None
        if mask is not None and mask.fact.dtype == BOOL:
            mask = op.MaskToBias(mask)
        heads = own.q_num_heads if flat else m.q.fact.shape[1]
        kv_heads = own.kv_num_heads if m.k.fact.rank == 3 else m.k.fact.shape[1]
        past = inputs[4:6] if _has(m.attention, 4) else (None, None)
        kept = [m.k, m.v]
        if own.n_outputs > 1 or past[0] is not None:
            kept = [_kept(op, x, kv_heads, old) for x, old in zip(kept, past, strict=True)]
        made = op.FusedAttention(
            m.q, *kept, mask, None, heads=heads, kv_heads=kv_heads, softcap=own.softcap,
            scale=own.score_scale(m.q.fact.shape[-1] // (heads if flat else 1)),
            q_merged=flat, k_merged=kept[0].fact.rank == 3, v_merged=kept[1].fact.rank == 3, y_merged=flat,
            left=own.left_window_size, right=0 if own.is_causal else own.right_window_size, safe=2,
            at_end=past[0] is not None,
        )  # fmt: skip
        return (made, *kept)[: len(m.attention.outputs)]


def _kept(op: Builder, x: Value, heads: int, past: Value | None) -> Value:
    """Keys or values as (batch, heads, positions, size), behind those of the past."""
    shape = x.fact.shape
    assert shape is not None
    if len(shape) == 3:
        split = op.Reshape(x, np.array([0, 0, heads, shape[2] // heads], np.int64))
        x = op.Transpose(split, perm=HEADS)
    return x if past is None else op.Concat(past, x, axis=2)


def _positions(x: Any) -> Any:
    """How many positions Q, K or V has."""
    return x.fact.shape[1] if x.fact.rank == 3 else x.fact.shape[2]


class SplitAttention(Rule):
    """Reshape(Reshape(FusedAttention, (b, m, heads, size)), (b, m, heads * size))  →  FusedAttention"""

    def pattern(op, q, s, t):
        return op.Reshape(op.Reshape(op.FusedAttention(q, ..., name="attention"), s), t, name="last")

    def check(m):
        same = m.attention.outputs[0].fact.shape == m.last.outputs[0].fact.shape
        return None if same and m.attention.op.y_merged else ""

    def replace(op, m):
        return m.attention.outputs[0]


class TransposedAttention(Rule):
    """Transpose(FusedAttention, (0, 2, 1, 3))  →  FusedAttention that writes it so"""

    def pattern(op, q):
        return op.Transpose(op.FusedAttention(q, ..., name="attention"), name="transpose")

    def check(m):
        if m.attention.op.y_merged or tuple(m.transpose.op.perm) != HEADS:
            return "it is not the exchange of heads and positions"
        return None if isinstance(m.root.outputs[0].fact.shape[3], int) else "the size of a head is not known"

    def replace(op, m):
        made = op.add(dataclasses.replace(m.attention.op, y_merged=True), *m.attention.inputs)
        return _split(op, made, *m.root.outputs[0].fact.shape[2:])


class AttentionOperands(Rule):
    """FusedAttention reads what is transposed, or repeated for groups of heads, where it lies"""

    def pattern(op, q, k, v):
        return op.FusedAttention(q, k, v, ..., name="attention")

    def check(m):
        return None if _unmoved(m.attention) is not None else ""

    def replace(op, m):
        changed, inputs = _unmoved(m.attention)
        return op.add(changed, *inputs)


def _unmoved(node: Any) -> tuple[Any, list[Any]] | None:
    """The operator and inputs without one kind of movement before it."""
    op, inputs = node.op, list(node.inputs)
    for i, flag in enumerate(("q_merged", "k_merged", "v_merged")):
        x, maker = inputs[i], inputs[i].producer
        merged = getattr(op, flag)
        if (
            maker is None
            or maker.op.op_type != "Transpose"
            or x.fact.rank != 4
            or tuple(maker.op.perm) != HEADS
        ):
            continue
        inputs[i] = maker.inputs[0]
        return dataclasses.replace(op, **{flag: not merged}), inputs
    if op.heads == op.kv_heads and not op.k_merged and not op.v_merged:
        own = [_repeated(x) for x in inputs[1:3]]
        if own[0] is not None and own[1] is not None and own[0].fact.shape[1] == own[1].fact.shape[1]:
            return dataclasses.replace(op, kv_heads=own[0].fact.shape[1]), [inputs[0], *own, *inputs[3:]]
    return None


def _repeated(x: Any) -> Any:
    """y of shape (b, heads, n, d) if x is each of its heads several times."""
    nodes = _chain(x, "Reshape", "Expand", "Unsqueeze|Reshape")
    if nodes is None:
        return None
    y, expanded, single = nodes[2].inputs[0], nodes[1].outputs[0].fact.shape, nodes[2].outputs[0].fact.shape
    if y is None or y.fact.shape is None or y.fact.rank != 4 or expanded is None or single is None:
        return None
    b, h, n, d = y.fact.shape
    times = expanded[2] if len(expanded) == 5 else None
    if not isinstance(times, int) or not isinstance(h, int) or single != (b, h, 1, n, d):
        return None
    fits = expanded == (b, h, times, n, d) and x.fact.shape == (b, h * times, n, d)
    return y if fits else None


def _chain(x: Any, *op_types: str) -> list[Any] | None:
    """The nodes that made a value, last first, if they are of these operators."""
    nodes = []
    for op_type in op_types:
        node = x.producer
        if node is None or node.op.op_type not in op_type.split("|") or node.inputs[0] is None:
            return None
        nodes.append(node)
        x = node.inputs[0]
    return nodes


def _has(node: Any, position: int) -> bool:
    return len(node.inputs) > position and node.inputs[position] is not None


ATTENTION = (
    Attention,
    WindowAttention,
    StandardAttention,
    AttentionOperands,
    TransposedAttention,
    SplitAttention,
)
