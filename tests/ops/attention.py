"""Cases of numba_rt/ops/attention.py and rotary.py."""

import numpy as np

from tests.ops.cases import Case, bools, f32, f64, integers

INF = np.float32(np.inf)
LEAST = np.finfo(np.float32).min


def attend(q, k, v, mask=None, bias=None, heads=1, kv_heads=1, scale=1.0, softcap=0.0, left=-1, right=-1,
           safe=0, q_merged=False, k_merged=False, v_merged=False, y_merged=False):  # fmt: skip
    """FusedAttention in float64."""

    def split(x, count, merged):
        x = x.astype(np.float64)
        if x.ndim == 3:
            x = x.reshape(*x.shape[:2], count, x.shape[2] // count)
        return x.transpose(0, 2, 1, 3) if merged else x

    q, k, v = split(q, heads, q_merged), split(k, kv_heads, k_merged), split(v, kv_heads, v_merged)
    k, v = (np.repeat(x, heads // kv_heads, 1) for x in (k, v))
    with np.errstate(all="ignore"):
        s = np.einsum("bhmd,bhnd->bhmn", q, k) * scale
        if softcap:
            s = softcap * np.tanh(s / softcap)
        for x in (mask, bias):
            if x is not None:
                x = x.reshape((1,) * (4 - x.ndim) + x.shape)
                s = s + np.tile(x, (max(1, s.shape[0] // x.shape[0]) if x.shape[0] > 1 else 1, 1, 1, 1))
        i, j = np.arange(s.shape[2])[:, None], np.arange(s.shape[3])
        s = np.where((left >= 0) & (j < i - left) | (right >= 0) & (j > i + right), -np.inf, s)
        e = np.exp(s - s.max(-1, keepdims=True, initial=-np.inf))
        p = e / e.sum(-1, keepdims=True)
        p = np.where(np.isnan(p) & (safe > 0), 0, p)
        y = (p @ v).astype(np.float32)
    return y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], -1) if y_merged else y


def rotate(x, cos, sin, merged=False):
    x = x.transpose(0, 2, 1, 3) if merged else x
    first, second = np.split(x, 2, -1)
    return x * cos + np.concatenate([-second, first], -1) * sin


def hidden(*shape, first=0):
    """A mask that hides some keys, all of them from query `first`."""
    mask = np.where(bools(*shape), np.float32(0), -INF)
    mask[..., 0] = 0
    mask[..., first, :] = -INF
    return mask


def case(*inputs, **attributes):
    return Case("FusedAttention", inputs, attributes, oracle=attend, domain="numba_rt", rtol=2e-5, atol=2e-6)


def standard(*inputs, n_outputs=1, raises="", label="", **attributes):
    return Case("Attention", inputs, attributes, n_outputs, raises=raises, rtol=2e-5, atol=2e-6, label=label)


def tables(*shape):
    return f32(*shape, seed=1), f32(*shape, seed=2)


POSITIONS = integers(2, 5, low=0, high=50)
Q, K, V = f32(2, 4, 9, 8), f32(2, 4, 21, 8, seed=1), f32(2, 4, 21, 5, seed=2)
FOUR = {"heads": 4, "kv_heads": 4}
MERGED = {"q_merged": True, "k_merged": True, "v_merged": True, "y_merged": True}
THREE = {"q_num_heads": 4, "kv_num_heads": 2}

CASES = [
    case(Q, K, V, scale=0.4, **FOUR),
    case(Q, K, V, f32(21), scale=0.4, **FOUR),
    case(Q, K, V, f32(2, 1, 1, 21), f32(1, 4, 9, 21), scale=0.4, **FOUR),
    case(Q, K, V, hidden(9, 21), **FOUR),
    case(Q, K, V, hidden(2, 1, 9, 21, first=3), safe=1, **FOUR),
    case(Q[:, :, :3], K, V, hidden(3, 21), **FOUR),
    case(Q[:, :, :3], K, V, hidden(2, 1, 3, 21, first=1), safe=2, **FOUR),
    case(Q, K[:, :1], V[:, :1], heads=4, kv_heads=1, softcap=2.0),
    case(Q[:, :, :1], K[:, :2], V[:, :2], f32(2, 4, 1, 21), heads=4, kv_heads=2, softcap=2.0),
    case(Q, K, V, left=3, right=2, **FOUR),
    case(Q[:, :, :5], K, V, left=3, right=0, **FOUR),
    case(f32(6, 2, 30, 4), f32(6, 2, 30, 4), f32(6, 2, 30, 4), f32(3, 1, 30, 30), f32(1, 2, 30, 30),
         heads=2, kv_heads=2),
    case(f32(1, 1, 300, 33), f32(1, 1, 700, 33), f32(1, 1, 700, 17), heads=1, kv_heads=1, scale=0.2),
    case(f32(1, 1, 2, 256), f32(1, 1, 2000, 256), f32(1, 1, 2000, 256), heads=1, kv_heads=1, scale=0.1),
    case(f32(1, 300, 1), f32(1, 600, 1), f32(1, 600, 1), np.triu(np.full((300, 600), LEAST), 300),
         heads=1, kv_heads=1, **MERGED),
    case(f32(2, 30, 12), f32(2, 7, 12), f32(2, 7, 20), heads=4, kv_heads=4, **MERGED),
    case(f32(2, 3, 4, 6), f32(2, 7, 4, 6), f32(2, 7, 4, 6), heads=4, kv_heads=4, **MERGED),
    case(Q * 200, K * 200, V, **FOUR),
    case(np.where(Q > 2, INF, Q), K, np.where(V > 2, np.nan, V), **FOUR),
    case(Q, K[:, :, :0], V[:, :, :0], **FOUR),
    case(Q[:, :, :0], K, V, **FOUR),
    Case("FusedAttention", (Q, K, V), {"heads": 3, "kv_heads": 4}, domain="numba_rt", raises="has 4 heads"),
    Case("MaskToBias", (bools(3, 5),), domain="numba_rt", oracle=lambda m: np.where(m, np.float32(0), -INF)),
    standard(Q, K, V),
    standard(Q, K, V, f32(9, 21), scale=0.1),
    standard(Q, K, V, bools(2, 1, 9, 21)),
    standard(Q, K, V, np.arange(9)[:, None] + np.zeros((2, 4, 1, 21)) > 4, label="maskedrows"),
    standard(Q, K, V, is_causal=1, softcap=3.0),
    standard(Q, K[:, :2], V[:, :2], f32(1, 4, 1, 21)),
    standard(f32(2, 9, 32), f32(2, 21, 16), f32(2, 21, 8), **THREE),
    standard(f32(2, 9, 32), f32(2, 9, 16), f32(2, 9, 8), None, f32(2, 2, 6, 8), f32(2, 2, 6, 4),
             n_outputs=3, is_causal=1, **THREE),
    standard(f32(2, 1, 32), f32(2, 1, 16), f32(2, 1, 8), None, f32(2, 2, 60, 8), f32(2, 2, 60, 4),
             n_outputs=3, is_causal=1, **THREE),
    standard(f32(2, 1, 32), f32(2, 40, 16), f32(2, 40, 8), None, None, None, np.array([40, 13]),
             is_causal=1, **THREE),
    standard(f32(2, 1, 32), f32(2, 1, 16), f32(2, 1, 8), None, f32(2, 2, 0, 8), f32(2, 2, 0, 4),
             n_outputs=3, **THREE),
    standard(Q, K, V, None, None, None, np.array([21, 11]), is_causal=1),
    standard(Q[:, :, :1], K, V, None, None, None, np.array([21, 11]), is_causal=1),
    standard(Q, K, V, None, None, None, np.array([4, 11]), is_causal=1, label="morequeries"),
    standard(Q, K, V, left_window_size=4, right_window_size=1),
    standard(Q, K, V, f32(2, 4, 9, 15)),
    standard(Q, K[:1], V[:1], raises="do not belong together"),
    standard(Q, K, V, None, f32(2, 4, 6, 8), raises="belong together"),
    Case("RotaryEmbedding", (f32(2, 3, 5, 8), *tables(50, 4), POSITIONS)),
    Case("RotaryEmbedding", (f32(2, 3, 5, 8), *tables(2, 5, 4)), {"interleaved": 1}),
    Case("RotaryEmbedding", (f32(2, 5, 24), *tables(50, 2), POSITIONS),
         {"num_heads": 3, "rotary_embedding_dim": 4}),
    Case("RotaryEmbedding", (f64(2, 5, 24), f64(2, 5, 4), f64(2, 5, 4, seed=1)), {"num_heads": 3}),
    Case("RotaryEmbedding", (f32(1, 1, 2, 4), *tables(3, 2), np.array([[0, 3]])), raises="contains 3"),
    Case("RotaryEmbedding", (f32(1, 2, 4), *tables(3, 2), np.array([[0, 2]])), raises="num_heads = 0"),
    Case("FusedRotary", (f32(2, 3, 5, 8), *tables(1, 1, 5, 8)), domain="numba_rt", oracle=rotate),
    Case("FusedRotary", (f32(2, 5, 3, 8), *tables(2, 1, 5, 8)), {"merged": True}, domain="numba_rt",
         oracle=rotate),
]  # fmt: skip
