"""Attention of com.microsoft, rewritten to the standard's: packed weights, masks as lengths, caches."""

from __future__ import annotations

from typing import Any

import numpy as np

from converter.contrib import Body, replaces
from numba_rt.errors import UnsupportedOp
from numba_rt.graph import Sym

BY_HEADS = (0, 2, 1, 3)


@replaces("Attention")
def attention(
    b: Body, input: str, weights: str, bias: str = "", mask_index: str = "", past: str = "",
    attention_bias: str = "", past_sequence_length: str = "", *, num_heads: int,
    mask_filter_value: float = -10000.0, scale: float = 0.0, unidirectional: bool = False,
    qkv_hidden_sizes: tuple[int, ...] = (), do_rotary: bool = False, past_present_share_buffer: bool = False,
    rotary_embedding_dim: int = 0,
) -> Any:  # fmt: skip
    """Projections by packed weights, then attention."""
    _refuse(b, do_rotary=do_rotary, past_present_share_buffer=past_present_share_buffer)
    made = b.sum(b("MatMul", input, weights), bias)
    if qkv_hidden_sizes:
        q, k, v = b("Split", made, b.constant(qkv_hidden_sizes), n=3, axis=-1)
    else:
        q, k, v = b("Split", made, n=3, axis=-1, num_outputs=3)
    before = [b("Gather", past, b.constant(i), axis=0) for i in (0, 1)] if past else ["", ""]
    total = b.sum(_size(b, k, 1), _size(b, before[0], 2) if past else "")
    mask = _sum(b, _padding(b, mask_index, input, total, mask_filter_value), attention_bias)
    made = _attend(
        b, q, k, v, mask, *before, heads=(num_heads, num_heads), causal=unidirectional, scale=scale,
        outputs=3 if b.wants(1) else 1,
    )  # fmt: skip
    if not b.wants(1):
        return made
    parts = [b("Unsqueeze", x, b.constant([0])) for x in made[1:]]
    return made[0], b("Concat", *parts, axis=0)


@replaces("MultiHeadAttention")
def _multi_head(
    b: Body, query: str, key: str = "", value: str = "", bias: str = "", key_padding_mask: str = "",
    attention_bias: str = "", past_key: str = "", past_value: str = "", past_sequence_length: str = "",
    cache_indirection: str = "", *, num_heads: int, mask_filter_value: float = -10000.0, scale: float = 0.0,
    unidirectional: bool = False,
) -> Any:  # fmt: skip
    _refuse(b, cache_indirection=cache_indirection)
    packed = b.rank(query) == 5
    kept = key if key else query
    total = _size(b, kept, 2 if b.rank(kept) == 4 else 1)
    shared = bool(past_sequence_length and past_key)
    before = _size(b, past_key, 2) if past_key else ""
    total = before if shared else b.sum(total, before)
    if packed:
        query, key, value = _unpacked(b, query, 3)
    elif not value:
        key, value = _unpacked(b, key, 2)
    if bias:
        own = packed or b.rank(kept) != 4
        query, key, value = _with_bias(b, bias, query, key, value, own)
    mask = _sum(b, _padding(b, key_padding_mask, query, total, mask_filter_value), attention_bias)
    if shared:
        _refuse(b, unidirectional=unidirectional)
        return _in_buffers(
            b, query, (key, value), (past_key, past_value), past_sequence_length, mask, num_heads, scale
        )
    return _attend(
        b, query, key, value, mask, past_key, past_value, heads=(num_heads, num_heads),
        causal=unidirectional, scale=scale, outputs=3 if b.wants(1) or b.wants(2) else 1,
    )  # fmt: skip


def _in_buffers(
    b: Body, query: str, new: tuple[str, str], past: tuple[str, str], length: str, mask: str, heads: int,
    scale: float,
) -> tuple[str, ...]:  # fmt: skip
    """Attention to keys and values that are put behind so many in buffers of a fixed size."""
    at = b("Reshape", b("Cast", length, to=7), b.constant([1]))
    everywhere = b("Expand", at, _size(b, query, 0))
    kept = []
    for x, buffer in zip(new, past, strict=True):
        by_heads = b.turned(b("Reshape", x, b.constant([0, 0, heads, -1])), BY_HEADS) if b.rank(x) == 3 else x
        kept.append(b("TensorScatter", buffer, by_heads, everywhere, axis=2))
    keys = b("Range", b.constant(0), b("Squeeze", _size(b, past[0], 2)), b.constant(1))
    seen = b("Reshape", b("Less", keys, b("Add", at, _size(b, query, 1))), b.constant([1, 1, 1, -1]))
    mask = _sum(b, mask, b("Where", seen, b.like(0.0, query), b.like(-np.inf, query)))
    return (_attend(b, query, kept[0], kept[1], mask, heads=(heads, heads), scale=scale), *kept)


@replaces("GroupQueryAttention")
def _grouped(
    b: Body, query: str, key: str = "", value: str = "", past_key: str = "", past_value: str = "",
    seqlens_k: str = "", total_sequence_length: str = "", cos_cache: str = "", sin_cache: str = "",
    position_ids: str = "", attention_bias: str = "", head_sink: str = "", *, num_heads: int,
    kv_num_heads: int, scale: float = 0.0, softcap: float = 0.0, local_window_size: int = -1,
    do_rotary: bool = False, rotary_interleaved: bool = False, smooth_softmax: bool = False, **others: Any,
) -> Any:  # fmt: skip
    _refuse(b, **others)
    if not key:
        widths = np.array([num_heads, kv_num_heads, kv_num_heads]) * _head_size(
            b, query, num_heads + 2 * kv_num_heads
        )
        query, key, value = b("Split", query, b.constant(widths), n=3, axis=-1)
    n = b("Squeeze", _size(b, query, 1))
    steps = b("Range", b.constant(0), n, b.constant(1))
    lengths = b("Add", b("Reshape", b("Cast", seqlens_k, to=7), b.constant([-1])), b.constant([1]))
    before = b("Max", b("Sub", lengths, n), b.constant([0]))
    own = b("Add", b("Unsqueeze", before, b.constant([1])), steps)  # (batch, queries)
    if do_rotary:
        at, width = position_ids or own, 2 * _head_size(b, cos_cache, 1)
        options: dict[str, Any] = {"interleaved": int(rotary_interleaved), "rotary_embedding_dim": width}
        query = b("RotaryEmbedding", query, cos_cache, sin_cache, at, num_heads=num_heads, **options)
        key = b("RotaryEmbedding", key, cos_cache, sin_cache, at, num_heads=kv_num_heads, **options)
    total = b("Reshape", b("Cast", total_sequence_length, to=7), b.constant([1]))
    present = [
        _placed(
            b, b.turned(b("Reshape", x, b.constant([0, 0, kv_num_heads, -1])), BY_HEADS), past, before, total
        )
        for x, past in ((key, past_key), (value, past_value))
    ]
    keys = b("Range", b.constant(0), b("Squeeze", _size(b, present[0], 2)), b.constant(1))
    own = b("Unsqueeze", own, b.constant([1, 3]))
    visible = b("LessOrEqual", keys, own)
    if local_window_size > 0:
        visible = b("And", visible, b("Greater", keys, b("Sub", own, b.constant(local_window_size))))
    mask = visible
    if attention_bias:
        mask = b("Where", visible, attention_bias, b.like(-np.inf, query))
    seen = present
    if smooth_softmax or head_sink:
        seen, mask = _with_sink(b, present, mask if attention_bias else _as_bias(b, mask, query), head_sink)
    y = _attend(
        b, query, seen[0], seen[1], mask, heads=(num_heads, kv_num_heads), scale=scale, softcap=softcap
    )
    return y, *present


@replaces("RotaryEmbedding")
def _rotary(
    b: Body, input: str, position_ids: str, cos_cache: str, sin_cache: str, *, interleaved: bool = False,
    num_heads: int = 0, rotary_embedding_dim: int = 0, is_packed_batching: bool = False, scale: float = 1.0,
) -> Any:  # fmt: skip
    if b.rank(position_ids) == 1:
        n = _size(b, input, 2 if b.rank(input) == 4 else 1)
        steps = b("Range", b.constant(0), b("Squeeze", n), b.constant(1))
        shape = b("Concat", _size(b, input, 0), n, axis=0)
        position_ids = b("Expand", b("Add", position_ids, steps), shape)
    if b.rank(input) == 3 and not num_heads:
        num_heads = _head_size(b, input, 1) // (rotary_embedding_dim or 2 * _head_size(b, cos_cache, 1))
    return b("RotaryEmbedding", input, cos_cache, sin_cache, position_ids, interleaved=int(interleaved),
             num_heads=num_heads, rotary_embedding_dim=rotary_embedding_dim)  # fmt: skip


def _as_bias(b: Body, seen: str, like: str) -> str:
    """0 where keys are seen, -inf elsewhere."""
    return b("Where", seen, b.like(0.0, like), b.like(-np.inf, like))


def _with_sink(b: Body, kept: list[str], mask: str, sink: str) -> tuple[list[str], str]:
    """Keys, values and mask with one key more: its score is that of the head's sink, or 0; its value is 0."""
    row = b.constant([0, 0, 0, 0, 0, 0, 1, 0])
    longer = [b("Pad", x, row) for x in kept]
    mask = b("Pad", mask, b.constant([0, 0, 0, 0, 0, 0, 0, 1]))
    if sink:
        last = b("Squeeze", _size(b, kept[0], 2))
        keys = b("Range", b.constant(0), b("Squeeze", _size(b, longer[0], 2)), b.constant(1))
        score = b("Reshape", sink, b.constant([1, -1, 1, 1]))
        mask = b("Add", mask, b("Where", b("Equal", keys, last), score, b.like(0.0, sink)))
    return longer, mask


def _refuse(b: Body, **options: Any) -> None:
    """Say which option of a node is not implemented."""
    for name, value in options.items():
        if value:
            raise UnsupportedOp(f"{b.node.where}: {name} is not implemented")


def _attend(
    b: Body, q: str, k: str, v: str, mask: str = "", past_key: str = "", past_value: str = "", *,
    heads: tuple[int, int], causal: bool = False, scale: float = 0.0, softcap: float = 0.0, outputs: int = 1,
) -> Any:  # fmt: skip
    made = b(
        "Attention", q, k, v, mask, past_key, past_value, n=outputs, q_num_heads=heads[0],
        kv_num_heads=heads[1], is_causal=int(causal), scale=scale or None, softcap=softcap or None,
    )  # fmt: skip
    return made if outputs > 1 else made[0]


def _sum(b: Body, *masks: str) -> str:
    """The sum of the masks there are, "" for none."""
    return b.sum(*masks) if any(masks) else ""


def _size(b: Body, x: str, axis: int) -> str:
    """The size of an axis, as a vector of one number."""
    return b("Shape", x, start=axis, end=axis + 1)


def _head_size(b: Body, x: str, parts: int) -> int:
    """The size of one of equal parts of the last axis, which must be known."""
    fact = b.scope.fact(x)
    size = None if fact is None or fact.shape is None else fact.shape[-1]
    if not isinstance(size, int):
        raise UnsupportedOp(f"{b.node.where}: the last axis of {x!r} is not known")
    return size // parts


def _unpacked(b: Body, x: str, parts: int) -> list[str]:
    """(batch, n, heads, parts, size) as so many of (batch, n, heads * size)."""
    return [
        b("Reshape", part, b.constant([0, 0, -1]))
        for part in b("Split", x, n=parts, axis=3, num_outputs=parts)
    ]


def _with_bias(b: Body, bias: str, query: str, key: str, value: str, own: bool) -> list[str]:
    """Queries, keys and values with their parts of a bias; keys that are not the node's own have it."""
    width = _size(b, query, 2)
    if not own:
        return [b("Add", query, b("Slice", bias, b.constant([0]), width, b.constant([0]))), key, value]
    sizes = b("Concat", width, width, _size(b, value, 2), axis=0)
    parts = b("Split", bias, sizes, n=3, axis=0)
    return [b("Add", x, part) for x, part in zip((query, key, value), parts, strict=True)]


def _padding(b: Body, mask: str, like: str, total: str, filtered: float) -> str:
    """What a mask of positions adds to scores; it may be given as the numbers of keys."""
    if not mask:
        return ""
    rank = b.rank(mask)
    if rank == 1:
        seen = _within(b, mask, like, total)
    else:
        seen = b("Cast", mask, to=9)
        if rank < 4:
            seen = b("Unsqueeze", seen, b.constant([1, 2] if rank == 2 else [1]))
    return b("Where", seen, b.like(0.0, like), b.like(filtered, like))


def _within(b: Body, lengths: str, like: str, total: str) -> str:
    """(batch, 1, 1, keys): which keys come before the end, and not before the start if that is given too."""
    fact, of = b.scope.fact(lengths), b.scope.fact(like)
    size = None if fact is None or fact.shape is None else fact.shape[0]
    batch = None if of is None or of.shape is None else of.shape[0]
    keys = b("Range", b.constant(0), b("Squeeze", total), b.constant(1))
    lengths = b("Cast", lengths, to=7)
    if size is not None and batch is not None and size == 3 * batch + 2:
        lengths, size = b("Slice", lengths, b.constant([0]), _size(b, like, 0)), batch
    known = not isinstance(size, Sym) and not isinstance(batch, Sym)
    if size is None or batch is None or size == batch or (not known and size != batch * 2):
        return b("Less", keys, b("Reshape", lengths, b.constant([-1, 1, 1, 1])))
    if size != batch * 2:
        raise UnsupportedOp(f"{b.node.where}: a mask of {size} numbers for a batch of {batch}")
    ends, starts = b("Split", b("Reshape", lengths, b.constant([-1, 1, 1, 1])), n=2, axis=0, num_outputs=2)
    return b("And", b("Less", keys, ends), b("GreaterOrEqual", keys, starts))


def _placed(b: Body, x: str, past: str, before: str, total: str) -> str:
    """New keys or values put behind those of the past, in a buffer with room for all."""
    if not past:
        return x
    missing = b("Max", b("Sub", total, _size(b, past, 2)), b.constant([0]))
    pads = b("Concat", b.constant([0] * 6), missing, b.constant([0]), axis=0)
    return b("TensorScatter", b("Pad", past, pads), x, before, axis=2)
