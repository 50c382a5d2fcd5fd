"""Attention is found however its scale, mask, layout and heads are written, and refused elsewhere."""

import numpy as np
import pytest

from numba_rt.graph import Sym
from tests.optimize.expressions import f32, i64, make
from tests.optimize.test_fusions import Fusion

HIDDEN = np.where(np.tril(np.ones((6, 6))), np.float32(0), np.float32(-np.inf))
LEFT = ("FusedAttention",)


def plain(op, q, k, v, mask=None, scale=None, divide=False, softmax=True):
    scores = op.MatMul(q, op.Transpose(k, perm=(0, 1, 3, 2)))
    if scale is not None:
        scores = (op.Div if divide else op.Mul)(scores, np.float32(scale))
    if mask is not None:
        scores = op.Add(scores, mask)
    return op.MatMul(op.Softmax(scores, axis=-1) if softmax else op.Relu(scores), v)


def both_scaled(op, q, k, v):
    factor = np.float32(0.6)
    scores = op.MatMul(op.Mul(q, factor), op.Mul(op.Transpose(k, perm=(0, 1, 3, 2)), factor))
    return op.MatMul(op.Softmax(scores, axis=-1), v)


def guarded(op, q, k, v, mask):
    scores = op.Add(op.MatMul(q, op.Transpose(k, perm=(0, 1, 3, 2))), mask)
    p = op.Softmax(scores, axis=-1)
    return op.MatMul(op.Where(op.IsNaN(p), np.float32(0), p), v)


def merged(op, q, k, v):
    """(batch, positions, heads * size) all around."""
    q, k, v = (op.Transpose(op.Reshape(x, i64(0, 0, 2, 4)), perm=(0, 2, 1, 3)) for x in (q, k, v))
    made = plain(op, q, k, v, scale=2.0, divide=True)
    return op.Reshape(op.Transpose(made, perm=(0, 2, 1, 3)), i64(0, 0, 8))


def three_axes(op, q, k, v, mask):
    scores = op.Add(op.MatMul(q, op.Transpose(k, perm=(0, 2, 1))), mask)
    return op.MatMul(op.Softmax(scores, axis=2), v)


def grouped(op, q, k, v):
    def repeat(x):
        wide = op.Expand(op.Unsqueeze(x, i64(2)), i64(1, 1, 3, 1, 1))
        return op.Reshape(wide, i64(0, 6, 6, 4))

    return plain(op, q, repeat(k), repeat(v), scale=0.5)


def projected(op, x, bias=True):
    q, k, v = (op.MatMul(x, f32(8, 8, seed=s)) for s in (1, 2, 3))
    q = op.Add(q, f32(8, seed=4)) if bias else q
    return merged(op, q, k, v)


def rotated(op, x, cos, sin):
    first, second = op.Slice(x, i64(0), i64(2), i64(3)), op.Slice(x, i64(2), i64(9), i64(3))
    turned = op.Concat(op.Neg(second), first, axis=-1)
    return op.Add(op.Mul(x, cos), op.Mul(turned, sin))


def swapped(op, x, cos, sin):
    """Not negated where it should be."""
    first, second = op.Slice(x, i64(0), i64(2), i64(3)), op.Slice(x, i64(2), i64(9), i64(3))
    turned = op.Concat(op.Neg(first), second, axis=-1)
    return op.Add(op.Mul(x, cos), op.Mul(turned, sin))


def turned_projections(op, x, cos, sin):
    """Two heads of queries share one of keys; queries and keys are turned by their positions."""
    widths = ((1, 8), (2, 4), (3, 4))
    q, k, v = (op.Add(op.MatMul(x, f32(8, w, seed=s)), f32(w, seed=s + 3)) for s, w in widths)
    q, k, v = (op.Transpose(op.Reshape(y, i64(0, 0, -1, 4)), perm=(0, 2, 1, 3)) for y in (q, k, v))
    k, v = rotated(op, k, cos, sin), op.Identity(v)
    k, v = (
        op.Reshape(op.Expand(op.Unsqueeze(y, i64(2)), i64(1, 1, 2, 1, 1)), i64(0, 2, 6, 4)) for y in (k, v)
    )
    return plain(op, rotated(op, q, cos, sin), k, v, scale=0.5)


def two_readers(op, x):
    """What is multiplied is also a result: it stays a product of its own."""
    q, k, v = (op.MatMul(x, f32(8, 8, seed=s)) for s in (1, 2, 3))
    return merged(op, q, k, v), v


def batch_of_heads(op, q, k, v, mask, bias):
    """Heads are merged with the batch for the products, and split for the mask."""
    q, k, v = (op.Reshape(x, i64(6, 6, 4)) for x in (q, k, v))
    scores = op.MatMul(q, op.Mul(op.Transpose(k, perm=(0, 2, 1)), np.float32(0.5)))
    scores = op.Add(op.Reshape(op.Add(scores, bias), i64(2, 3, 6, 6)), mask)
    p = op.Softmax(op.Reshape(scores, i64(6, 6, 6)), axis=-1)
    return op.Reshape(op.MatMul(p, v), i64(2, 3, 6, 4))


def filled(op, q, k, v, seen, number=-1e4):
    scores = op.MatMul(q, op.Transpose(k, perm=(0, 1, 3, 2)))
    return op.MatMul(op.Softmax(op.Where(seen, scores, np.float32(number)), axis=-1), v)


def gated(op, q, k, v, seen):
    scores, seen = op.MatMul(q, op.Transpose(k, perm=(0, 1, 3, 2))), op.Cast(seen, to=1)
    hidden = op.Mul(op.Sub(np.float32(1), seen), np.float32(1e4))
    return op.MatMul(op.Softmax(op.Sub(op.Mul(scores, seen), hidden), axis=-1), v)


def keys_first(op, q, k, v, mask):
    """Rows of scores are keys, as Einsum is written out."""
    scores = op.Add(op.MatMul(k, op.Transpose(q, perm=(0, 1, 3, 2))), op.Transpose(mask, perm=(0, 1, 3, 2)))
    return op.MatMul(op.Transpose(op.Softmax(scores, axis=2), perm=(0, 1, 3, 2)), v)


def windows(op, q, k, v, bias, mask):
    """Two items of three windows each."""
    scores = op.Add(op.MatMul(q, op.Transpose(k, perm=(0, 1, 3, 2))), bias)
    scores = op.Reshape(op.Add(op.Reshape(scores, i64(2, 3, 2, 5, 5)), mask), i64(6, 2, 5, 5))
    return op.MatMul(op.Softmax(scores, axis=-1), v)


def scaled_heads(op, q, k, v, scale):
    scores = op.Mul(op.MatMul(q, op.Transpose(k, perm=(0, 1, 3, 2))), scale)
    return op.MatMul(op.Softmax(scores, axis=-1), v)


def with_past(op, q, k, v, past_key, past_value, is_causal=True, **options):
    options |= {"is_causal": is_causal, "q_num_heads": 2, "kv_num_heads": 1, "outputs": 3, "n_outputs": 3}
    return op.Attention(q, k, v, None, past_key, past_value, **options)


def one_product(op, x, axis, gather):
    """q, k and v are taken out of one product, before or after its axes are put in order."""
    shape = (0, 0, 3, 2, 4) if axis == 2 else (0, 0, 2, 3, 4)
    made = op.Reshape(op.MatMul(x, f32(8, 24, seed=1)), i64(*shape))
    if gather:
        parts = [op.Transpose(op.Gather(made, np.array(i), axis=axis), perm=(0, 2, 1, 3)) for i in range(3)]
    else:
        first = op.Transpose(made, perm=(2, 0, 3, 1, 4))
        parts = [op.Squeeze(p, i64(0)) for p in op.Split(first, i64(1, 1, 1), axis=0, outputs=3, n_outputs=3)]
    return op.Reshape(op.Transpose(plain(op, *parts), perm=(0, 2, 1, 3)), i64(0, 0, 8))


HEADS = (f32(2, 3, 6, 4), f32(2, 3, 6, 4, seed=1), f32(2, 3, 6, 4, seed=2))
FLAT = (f32(2, 6, 8), f32(2, 6, 8, seed=1), f32(2, 6, 8, seed=2))
FOUND = ("Attention",)
WINDOWS = (*(f32(6, 2, 5, 3, seed=s) for s in range(3)), f32(1, 2, 5, 5, seed=3))
SEEN = np.random.default_rng(5).random((2, 1, 6, 6)) < 0.6
TABLES = f32(1, 1, 6, 4, seed=1), f32(1, 1, 6, 4, seed=2)

CASES = [
    Fusion("plain", plain, HEADS, FOUND, LEFT, symbolic=()),
    Fusion("mask", lambda op, q, k, v: plain(op, q, k, v, HIDDEN, 0.5), HEADS, FOUND, LEFT, symbolic=()),
    Fusion("large mask", plain, (*HEADS, f32(2, 3, 6, 6)), FOUND, LEFT, symbolic=()),
    Fusion("scaled on both sides", both_scaled, HEADS, FOUND, LEFT, symbolic=()),
    Fusion("hidden rows", guarded, (*HEADS, np.full((6, 6), -np.inf, np.float32)), FOUND, LEFT, symbolic=()),
    Fusion("merged heads", merged, FLAT, (*FOUND, "SplitAttention"), symbolic=()),
    Fusion("three axes", three_axes, (*FLAT, f32(2, 6, 6)), FOUND, symbolic=()),
    Fusion("groups", grouped, (f32(2, 6, 6, 4), f32(2, 2, 6, 4), f32(2, 2, 6, 4)),
           (*FOUND, "AttentionOperands"), LEFT, symbolic=()),
    Fusion("projections", projected, FLAT[:1], (*FOUND, "share_projections"),
           ("FusedMatMul", "Split", "FusedAttention"), symbolic=()),
    Fusion("projections without bias", lambda op, x: projected(op, x, bias=False), FLAT[:1],
           (*FOUND, "share_projections"), ("FusedMatMul", "Split", "FusedAttention"), symbolic=()),
    Fusion("turned projections", turned_projections, (FLAT[0], *TABLES), (*FOUND, "share_projections"),
           ("FusedMatMul", "Split", "FusedRotary", "FusedRotary", "FusedAttention"), symbolic=()),
    Fusion("projection read twice", two_readers, FLAT[:1], (*FOUND, "share_projections"),
           ("FusedMatMul", "Split", "FusedMatMul", "FusedAttention"), symbolic=()),
    Fusion("batch of heads", batch_of_heads, (*HEADS, f32(2, 1, 1, 6), f32(6, 1, 6, seed=3)),
           (*FOUND, "MergedProduct", "MergedSum", "MergedOperandScale", "MergedSoftmax", "SplitMerged"), LEFT,
           symbolic=()),
    Fusion("filled", filled, (*HEADS, SEEN), (*FOUND, "HiddenScores"), symbolic=()),
    Fusion("filled a little", lambda op, *x: filled(op, *x, number=-5.0), (*HEADS, SEEN),
           refuses="not a very small constant", symbolic=()),
    Fusion("gated", gated, (*HEADS, SEEN), (*FOUND, "GatedScores"), symbolic=()),
    Fusion("keys first", keys_first, (*HEADS, f32(2, 1, 1, 6)),
           (*FOUND, "SoftmaxOverRows", "TurnedScores"), LEFT, symbolic=()),
    Fusion("rows of no scores", lambda op, x: op.Softmax(op.Add(x, np.float32(1)), axis=2), HEADS[:1],
           refuses="it is not of scores", symbolic=()),
    Fusion("one product, gathered", lambda op, x: one_product(op, x, 3, True), FLAT[:1], (*FOUND, "TakenOut"),
           symbolic=()),
    Fusion("one product, split", lambda op, x: one_product(op, x, 2, False), FLAT[:1],
           (*FOUND, "SplitTransposed", "SqueezedTransposed"), symbolic=()),
    Fusion("windows", lambda op, *x: windows(op, *x, f32(1, 3, 1, 5, 5, seed=4)), WINDOWS,
           ("WindowAttention",), LEFT, symbolic=()),
    Fusion("windows alike", lambda op, *x: windows(op, *x, f32(1, 1, 1, 5, 5)), WINDOWS,
           refuses="not a mask for each window", symbolic=()),
    Fusion("scaled heads", lambda op, *x: scaled_heads(op, *x, f32(3, 1, 1, seed=4)), HEADS,
           (*FOUND, "ScaledHeads"), symbolic=()),
    Fusion("mask of another batch", plain, (f32(1, 3, 1, 4), f32(1, 3, 6, 4), f32(1, 3, 6, 4, seed=2),
           f32(2, 1, 6, 6)), symbolic=()),
    Fusion("rotary", rotated, (HEADS[0], *TABLES), ("Rotary",), ("FusedRotary",), symbolic=()),
    Fusion("other halves", swapped, (HEADS[0], *TABLES), refuses="are not the halves", symbolic=()),
    Fusion("other batch", plain, (f32(1, 3, 6, 4), *HEADS[1:]), refuses="differ in batch", symbolic=()),
    Fusion("standard with a past", with_past, (f32(2, 6, 8), *(f32(2, 1, 6, 4, seed=s) for s in (1, 2)),
           *(f32(2, 1, 5, 4, seed=s) for s in (3, 4))), ("StandardAttention",),
           ("Concat", "Concat", "FusedAttention"), symbolic=()),
    Fusion("standard with a window", lambda op, *x: with_past(op, *x, is_causal=False, left_window_size=2),
           (f32(2, 6, 8), *(f32(2, 6, 4, seed=s) for s in (1, 2)),
           *(f32(2, 1, 5, 4, seed=s) for s in (3, 4))), ("StandardAttention",), symbolic=()),
    Fusion("standard", lambda op, q, k, v: op.Attention(q, k, v, is_causal=True), HEADS,
           ("StandardAttention",), LEFT, symbolic=()),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_is_found_and_computes_the_same(case: Fusion) -> None:
    model = make(case, True)
    feeds = {f"x{k}": x for k, x in enumerate(case.inputs)}
    for rule in case.fires:
        assert rule in str(model.report)
    if case.refuses:
        assert case.refuses in str(model.report)
    if case.left is not None:
        own = [n.op.op_type for n in model.graph.nodes if n.op.op_type not in ("Reshape", "Unsqueeze")]
        assert tuple(own) == case.left
    with np.errstate(all="ignore"):
        for found, expected in zip(model.run(feeds), make(case, False).run(feeds), strict=True):
            np.testing.assert_allclose(found, expected, 1e-5, 1e-5)


def test_no_softmax_no_attention() -> None:
    case = Fusion("relu", lambda op, q, k, v: plain(op, q, k, v, softmax=False), HEADS)
    assert "FusedAttention" not in str(make(case, True).graph)


def test_any_batch_and_length() -> None:
    case = Fusion("symbolic", lambda op, q: merged(op, q, q, q), FLAT[:1], symbolic=(0, 1))
    model, plainly = make(case, True), make(case, False)
    assert any(n.op.op_type == "FusedAttention" for n in model.graph.nodes)
    assert isinstance(model.graph.outputs[0].fact.shape[1], Sym)
    for shape in ((1, 1, 8), (3, 40, 8), (2, 0, 8)):
        feeds = {"x0": f32(*shape)}
        np.testing.assert_allclose(model.run(feeds)[0], plainly.run(feeds)[0], 1e-5, 1e-5)
