"""Heads as exporters move them: merged with the batch, or taken out of one product of q, k and v."""

from __future__ import annotations

import dataclasses

import numpy as np

from numba_rt.dtypes import FLOAT32
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Sym, Value
from numba_rt.graph.dim import names_in
from numba_rt.ops.shape import SizeArithmetic
from numba_rt.optimize.rule import Builder, Rule, scalar, scale_of
from numba_rt.optimize.simplify import ReshapeToSame

SCORES = frozenset(("MatMul", "Mul", "Div", "Add", "Where", "Softmax"))
"""What makes the values whose heads are followed."""
SWAP = (0, 2, 1)
TURNED = (0, 1, 3, 2)


def reshaped(op: Builder, x: Value, shape: tuple[Dim, ...]) -> Value:
    """A Reshape to sizes that follow from those of the graph's inputs."""
    origins: dict[str, tuple[Value, int]] = {}
    for value in op.graph.inputs:
        for axis, dim in enumerate(value.fact.shape or ()):
            if isinstance(dim, Sym):
                origins.setdefault(str(dim), (value, axis))
    names = sorted(set().union(*(names_in(d) for d in shape)))
    if not names:
        return op.Reshape(x, np.array(shape, np.int64), allowzero=True)
    if not all(n in origins for n in names):
        raise ShapeError(f"{list(shape)} does not follow from the sizes of the inputs")
    sources = list(dict.fromkeys(origins[n][0] for n in names))
    symbols = tuple((n, sources.index(origins[n][0]), origins[n][1]) for n in names)
    expressions = np.empty(len(shape), object)
    expressions[:] = shape
    sizes = op.add(SizeArithmetic(expressions=expressions, symbols=symbols), *sources)
    return op.Reshape(x, sizes, allowzero=True)


def _unmerged(x: Value | None) -> Value | None:
    """y of four axes, if x is y with its first two axes merged."""
    node = None if x is None else x.producer
    if node is None or x is None or node.op.op_type != "Reshape" or node.inputs[0] is None:
        return None
    y = node.inputs[0]
    s, t = y.fact.shape, x.fact.shape
    if s is None or t is None or len(s) != 4 or len(t) != 3:
        return None
    return y if t == (s[0] * s[1], *s[2:]) else None


def _scores(x: Value | None) -> Value | None:
    """The same of scores."""
    y = _unmerged(x)
    return y if y is not None and y.producer is not None and y.producer.op.op_type in SCORES else None


def _merge(op: Builder, x: Value) -> Value:
    s = x.fact.shape
    assert s is not None
    return reshaped(op, x, (s[0] * s[1], *s[2:]))


def _operand(x: Value | None) -> tuple[Value, bool] | None:
    """y of four axes, and whether its last two are exchanged, if x is y with merged heads."""
    y = _unmerged(x)
    if y is not None:
        return y, False
    node = None if x is None else x.producer
    if node is None or node.op.op_type != "Transpose" or tuple(node.op.attributes()["perm"] or ()) != SWAP:
        return None
    y = _unmerged(node.inputs[0])
    return None if y is None else (y, True)


class MergedProduct(Rule):
    """MatMul(merge(a), merge(b))  →  merge(MatMul(a, b)), where merge makes batch and heads one axis"""

    def pattern(op, a, b):
        return op.MatMul(a, b)

    def check(m):
        a, b = _operand(m.a), _operand(m.b)
        if a is None or b is None:
            return ""
        heads = [x.fact.shape[1] for x, _ in (a, b)]
        same = heads[0] == heads[1] and isinstance(heads[0], int) and heads[0] > 1
        return None if same or a[0].fact.shape[:2] == b[0].fact.shape[:2] else "the operands differ in heads"

    def replace(op, m):
        (a, a_turned), (b, b_turned) = _operand(m.a), _operand(m.b)
        a = op.Transpose(a, perm=TURNED) if a_turned else a
        b = op.Transpose(b, perm=TURNED) if b_turned else b
        return _merge(op, op.MatMul(a, b))


class MergedOperandScale(Rule):
    """MatMul(a, merge(b) * c)  →  MatMul(a, merge(b)) * c, and likewise for a, and for / c"""

    def pattern(op, a, b, c):
        return (
            op.MatMul(a, op.Mul(b, c, name="scale")),
            op.MatMul(a, op.Div(b, c, name="scale")),
            op.MatMul(op.Mul(b, c, name="scale"), a),
            op.MatMul(op.Div(b, c, name="scale"), a),
        )

    def check(m):
        if _operand(m.b) is None or m.b.fact.dtype != FLOAT32:
            return ""
        scale = scale_of(m.scale, m.b)
        return scale if isinstance(scale, str) else None

    def replace(op, m):
        first = m.root.inputs[0] is m.scale.outputs[0]
        product = op.MatMul(m.b, m.a) if first else op.MatMul(m.a, m.b)
        return op.Mul(product, np.float32(scale_of(m.scale, m.b)))


class UnitAxisMerged(Rule):
    """Reshape(Transpose(Unsqueeze(x)))  →  Reshape(Transpose(x)), as Einsum is written out"""

    shared = True

    def pattern(op, x, axes, s):
        turned = op.Transpose(op.Unsqueeze(x, axes, name="unsqueeze"), name="transpose")
        return op.Reshape(turned, s), op.Squeeze(turned, s)

    def check(m):
        known = m.x.fact.shape is not None and m.axes.constant is not None and m.transpose.op.perm
        return None if known and m.x.fact.rank > 3 else ""

    def replace(op, m):
        perm = m.transpose.op.perm
        gone = tuple(sorted(int(a) % len(perm) for a in m.axes.constant.reshape(-1)))
        turned = op.Transpose(m.x, perm=_without([p for p in perm if p not in gone], gone))
        return reshaped(op, turned, m.root.outputs[0].fact.shape)


class SqueezedReshape(Rule):
    """Squeeze(Reshape(x, s))  →  Reshape(x, t)"""

    def pattern(op, x, s, axes):
        return op.Squeeze(op.Reshape(x, s), axes)

    def check(m):
        shape = m.root.outputs[0].fact.shape
        return None if shape is not None and len(shape) > 2 else ""

    def replace(op, m):
        return reshaped(op, m.x, m.root.outputs[0].fact.shape)


class SoftmaxOverRows(Rule):
    """Softmax(x, axis=2) of scores whose rows are keys  →  Transpose(Softmax(Transpose(x)))"""

    def pattern(op, x):
        return op.Softmax(x, name="softmax")

    def check(m):
        if m.x.fact.shape is None or m.x.fact.rank != 4 or m.softmax.op.axis not in (2, -2):
            return ""
        return None if _is_of_product(m.x) else "it is not of scores"

    def replace(op, m):
        return op.Transpose(op.Softmax(op.Transpose(m.x, perm=TURNED), axis=-1), perm=TURNED)


class TurnedScores(Rule):
    """Transpose(a @ b), Transpose(x + y), Transpose(x * c)  →  b' @ a', x' + y', x' * c"""

    def pattern(op, x, y):
        made = op.OneOf("MatMul|Add|Mul|Div", x, y, name="made")
        return op.Transpose(made, name="transpose")

    def check(m):
        shapes = [v.fact.shape for v in (m.x, m.y)]
        if any(s is None for s in shapes) or tuple(m.transpose.op.perm or ()) != TURNED:
            return ""
        if m.made.op.op_type == "MatMul":
            return None if all(len(s) == 4 for s in shapes) else ""
        others = [v for v in (m.x, m.y) if not _is_of_product(v)]
        return None if len(others) == 1 and others[0].fact.rank in (0, 4) else ""

    def replace(op, m):
        if m.made.op.op_type == "MatMul":
            return op.MatMul(op.Transpose(m.y, perm=TURNED), op.Transpose(m.x, perm=TURNED))
        turned = [v if v.fact.rank == 0 else op.Transpose(v, perm=TURNED) for v in m.made.inputs]
        return op.add(m.made.op, *turned)


def _is_of_product(x: Value, steps: int = 4) -> bool:
    """Whether a value is a product, perhaps scaled, with something added."""
    node = x.producer
    if node is None or steps == 0:
        return False
    if node.op.op_type in ("Mul", "Div", "Add", "Where"):
        return any(_is_of_product(v, steps - 1) for v in node.inputs if v is not None)
    return node.op.op_type == "MatMul" and all(v is not None and not v.is_constant for v in node.inputs)


class MergedSum(Rule):
    """merge(x) + y, merge(x) * c, merge(x) / c of scores  →  merge of the same"""

    def pattern(op, x, y):
        return op.Add(x, y), op.Mul(x, y), op.Div(x, y)

    def check(m):
        x = _scores(m.x)
        if (
            x is None
            or m.y.fact.shape is None
            or (m.root.op.op_type == "Div" and m.root.inputs[0] is not m.x)
        ):
            return ""
        if m.root.op.op_type != "Add" and scalar(m.y) is None:
            return "the factor is not a constant number"
        if m.root.outputs[0].fact.shape != m.x.fact.shape:
            return "the sum has another shape"
        return None

    def replace(op, m):
        x = _scores(m.x)
        return _merge(op, op.add(m.root.op, x, _split_like(op, m.y, x)))


def _split_like(op: Builder, y: Value, x: Value) -> Value:
    """What is broadcast to x with merged heads, as it is broadcast to x."""
    s, t = x.fact.shape, y.fact.shape
    own = _unmerged(y)
    assert s is not None and t is not None
    if own is not None and own.fact.shape is not None and own.fact.shape[:2] == s[:2]:
        return own
    return y if len(t) < 3 or t[0] == 1 else reshaped(op, y, (*s[:2], *t[1:]))


class ScaledHeads(Rule):
    """(a @ b) * c with a number for each head  →  (a * c) @ b"""

    def pattern(op, a, b, c):
        return op.MatMul(a, b) * c

    def check(m):
        shape, whole = m.c.fact.shape, m.root.outputs[0].fact.shape
        if (
            shape is None
            or whole is None
            or len(whole) != 4
            or m.a.fact.rank != 4
            or len(shape) not in (3, 4)
        ):
            return ""
        if not m.c.is_constant or shape[-2:] != (1, 1) or shape[-3] != whole[1] or (1, *shape)[-4] != 1:
            return "the factor is not a constant for each head"
        return None

    def replace(op, m):
        return op.MatMul(op.Mul(m.a, m.c), m.b)


class MergedChoice(Rule):
    """Where(hidden, c, merge(x)), Where(seen, merge(x), c) of scores  →  merge of the same"""

    def pattern(op, choice, x, c):
        return op.Where(choice, x, c), op.Where(choice, c, x)

    def check(m):
        if _scores(m.x) is None or scalar(m.c) is None or m.choice.fact.shape is None:
            return ""
        return None if m.root.outputs[0].fact.shape == m.x.fact.shape else "the choice has another shape"

    def replace(op, m):
        x = _scores(m.x)
        choice = _split_like(op, m.choice, x)
        first = m.root.inputs[1] is m.x
        return _merge(op, op.Where(choice, x, m.c) if first else op.Where(choice, m.c, x))


class MergedSoftmax(Rule):
    """Softmax(merge(x))  →  merge(Softmax(x)) of scores, over the keys"""

    def pattern(op, x):
        return op.Softmax(x, name="softmax")

    def check(m):
        if _scores(m.x) is None:
            return ""
        return None if m.softmax.op.axis in (-1, 2) else "it is not over the keys"

    def replace(op, m):
        return _merge(op, op.Softmax(_scores(m.x), axis=-1))


class SplitMerged(ReshapeToSame):
    """Reshape(merge(x), s)  →  x where x has that shape"""

    shared = True

    def pattern(op, x, s):
        return op.Reshape(op.Reshape(x, s), op.Any())


class TakenOut(Rule):
    """Gather(x, i) of one element of an inner axis  →  Squeeze(Slice(x)), which is a part of x's memory"""

    def pattern(op, x, i):
        return op.Gather(x, i, name="gather")

    def check(m):
        index, shape = m.i.constant, m.x.fact.shape
        if index is None or index.ndim > 0 or shape is None or m.x.fact.dtype != FLOAT32 or len(shape) < 4:
            return ""
        return None if m.gather.op.axis % len(shape) > 0 else "the axis is the first"

    def replace(op, m):
        axis, i = m.gather.op.axis % m.x.fact.rank, int(m.i.constant)
        end = i + 1 if i != -1 else np.iinfo(np.int64).max
        return op.Squeeze(op.Slice(m.x, np.array([i]), np.array([end]), np.array([axis])), np.array([axis]))


class TakenOutTransposed(Rule):
    """Gather(Transpose(x), i)  →  Transpose(Gather(x, i)) for one element"""

    shared = True

    def pattern(op, x, i):
        return op.Gather(op.Transpose(x, name="transpose"), i, name="gather")

    def check(m):
        index, shape = m.i.constant, m.x.fact.shape
        known = index is not None and index.ndim == 0 and shape is not None and len(shape) > 3
        return None if known and m.transpose.op.perm else ""

    def replace(op, m):
        perm = list(m.transpose.op.perm)
        axis = perm.pop(m.gather.op.axis)
        return op.Transpose(op.Gather(m.x, m.i, axis=axis), perm=_without(perm, (axis,)))


class SqueezedTransposed(Rule):
    """Squeeze(Transpose(x))  →  Transpose(Squeeze(x))"""

    def pattern(op, x, axes):
        return op.Squeeze(op.Transpose(x, name="transpose"), axes)

    def check(m):
        rank = m.x.fact.rank if m.x.fact.shape is not None else 0
        return None if rank > 3 and m.axes.constant is not None and m.transpose.op.perm else ""

    def replace(op, m):
        perm = m.transpose.op.perm
        gone = {int(a) % len(perm) for a in m.axes.constant.reshape(-1)}
        axes = tuple(perm[a] for a in sorted(gone))
        kept = [p for a, p in enumerate(perm) if a not in gone]
        return op.Transpose(op.Squeeze(m.x, np.array(axes)), perm=_without(kept, axes))


class SplitTransposed(Rule):
    """Split(Transpose(x)) into single elements  →  the Transpose of each part"""

    all_outputs = True

    def pattern(op, x):
        return op.Split(op.Transpose(x, name="transpose"), ..., name="split")

    def check(m):
        shape, parts = m.root.inputs[0].fact.shape, m.split.op.n_outputs
        known = shape is not None and len(shape) > 3 and m.transpose.op.perm and parts > 1
        return None if known and shape[m.split.op.axis] == parts else ""

    def replace(op, m):
        split, perm = m.split.op, m.transpose.op.perm
        changed = dataclasses.replace(split, axis=perm[split.axis])
        parts = op.add(changed, m.x, *m.split.inputs[1:], outputs=split.n_outputs)
        return tuple(op.Transpose(part, perm=perm) for part in parts)


def _without(perm: list[int], axes: tuple[int, ...]) -> tuple[int, ...]:
    """The order of axes where some are gone."""
    return tuple(p - sum(a < p for a in axes) for p in perm)


HEADS_OF_SCORES = (
    MergedProduct,
    MergedOperandScale,
    UnitAxisMerged,
    SqueezedReshape,
    SoftmaxOverRows,
    TurnedScores,
    MergedSum,
    ScaledHeads,
    MergedChoice,
    MergedSoftmax,
    SplitMerged,
    TakenOut,
    TakenOutTransposed,
    SqueezedTransposed,
    SplitTransposed,
)
