"""Einsum, as transposes, sums, elementwise products and matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numba_rt.dtypes import FLOAT32, NUMERIC
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact
from numba_rt.ops._checks import broadcast_dim, check_dtype, check_same_dtype, same_dim
from numba_rt.ops._generate import lower_steps
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op
from numba_rt.ops._strided import copy_strided, strides_of
from numba_rt.ops.binary import Mul
from numba_rt.ops.elementwise import Step
from numba_rt.ops.matmul import FusedMatMul, MatMul
from numba_rt.ops.reduce import ReduceSum, lower_runs
from numba_rt.ops.transpose import permute

Labels = tuple[str, ...]
"""One for each axis: a letter, or .0, .1, ... for those of an ellipsis, counted from the last."""


@dataclass(frozen=True)
class Term:
    """An operand, and a label for each of its axes."""

    labels: Labels
    view: View

    def size(self, label: str) -> int:
        """Size of the axis with a label."""
        return self.view.shape[self.labels.index(label)]


@op("Einsum", since=28)
class Einsum(Op):
    """Products of the elements of all inputs, summed over the labels that the output lacks."""

    equation: str

    def infer(self, *Inputs: Fact) -> Fact:
        if not Inputs:
            raise ShapeError("Einsum takes at least one input")
        check_same_dtype(*((f"Inputs[{i}]", fact) for i, fact in enumerate(Inputs)))
        check_dtype(Inputs[0], "Inputs[0]", NUMERIC)
        terms, output = parse(self.equation, [fact.rank for fact in Inputs])
        sizes: dict[str, Dim] = {}
        for labels, fact in zip(terms, Inputs, strict=True):
            own: dict[str, Dim] = {}
            for label, dim in zip(labels, fact.shape or (), strict=True):
                if not same_dim(own.setdefault(label, dim), dim):
                    raise ShapeError(f"{fact}: the axes {label!r} of {self.equation!r} differ in size")
            for label, dim in own.items():
                sizes[label] = self._common(label, sizes.get(label, 1), dim)
        return Fact(Inputs[0].dtype, tuple(sizes[label] for label in output))

    def _common(self, label: str, left: Dim, right: Dim) -> Dim:
        try:
            return broadcast_dim(left, right)
        except ShapeError:
            raise ShapeError(
                f"label {label!r} of {self.equation!r} has sizes {left} and {right}: expected the same"
            ) from None

    def flops(self, *operands: View) -> int:
        if len(operands) < 3:
            return 0
        labels, _ = parse(self.equation, [x.rank for x in operands[:-1]])
        pairs = [p for own, x in zip(labels, operands, strict=False) for p in zip(own, x.shape, strict=True)]
        return 2 * math.prod(dict(sorted(pairs, key=lambda pair: pair[1])).values())

    def lower(self, low: Lowering, *operands: View) -> None:
        *xs, y = operands
        if y.size == 0:
            return
        labels, output = parse(self.equation, [x.rank for x in xs])
        terms = [_diagonal(low, Term(own, x)) for own, x in zip(labels, xs, strict=True)]
        sizes: dict[str, int] = {}
        for term in terms:
            for label, n in zip(term.labels, term.view.shape, strict=True):
                sizes[label] = n if sizes.get(label, 1) == 1 else sizes[label]
        terms = [_without(low, term, lambda label, n: n != sizes[label]) for term in terms]
        terms = [_summed(low, terms, i, output) for i in range(len(terms))]
        while len(terms) > 1:
            i, j = _cheapest(terms, output)
            left, right = terms[i], terms[j]
            rest = [term for k, term in enumerate(terms) if k not in (i, j)]
            kept = set(output).union(*(term.labels for term in rest))
            terms = [*rest, _product(low, left, right, kept)]
        _into(low, terms[0], output, y)


def parse(equation: str, ranks: Sequence[int]) -> tuple[list[Labels], Labels]:
    """Labels of the inputs, which have these ranks, and of the output."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(ranks):
        raise ShapeError(f"equation = {equation!r} has {len(texts)} terms: expected {len(ranks)}")
    terms = [_labels(text, rank, equation) for text, rank in zip(texts, ranks, strict=True)]
    used = [label for term in terms for label in term]
    ellipsis = sorted({label for label in used if label[0] == "."}, key=lambda label: -int(label[1:]))
    if not arrow:
        once = sorted(label for label in set(used) if used.count(label) == 1 and label[0] != ".")
        return terms, (*ellipsis, *once)
    before, dots, after = right.partition("...")
    output = (*before, *(ellipsis if dots else ()), *after)
    for label in output:
        if output.count(label) > 1 or label not in used:
            raise ShapeError(f"equation = {equation!r}: output label {label!r} is repeated or of no input")
    return terms, output


def _labels(text: str, rank: int, equation: str) -> Labels:
    before, dots, after = text.partition("...")
    named = len(before) + len(after)
    if not all(c.isascii() and c.isalpha() for c in before + after):
        raise ShapeError(f"equation = {equation!r}: {text!r} is not made of letters and one '...'")
    if named > rank or (named < rank and not dots):
        raise ShapeError(f"equation = {equation!r}: {text!r} names {named} axes, its input has {rank}")
    return (*before, *(f".{i}" for i in range(rank - named - 1, -1, -1)), *after)


def _diagonal(low: Lowering, term: Term) -> Term:
    """The elements whose places along axes of one label are equal."""
    labels = tuple(dict.fromkeys(term.labels))
    if len(labels) == len(term.labels):
        return term
    steps = strides_of(term.view.shape)
    shape = [term.size(label) for label in labels]
    made = low.scratch(shape, term.view.dtype)
    axes = [
        (n, sum(step for own, step in zip(term.labels, steps, strict=True) if own == label), to)
        for label, n, to in zip(labels, shape, strides_of(shape), strict=True)
    ]
    copy_strided(low, term.view, made, axes)
    return Term(labels, made)


def _without(low: Lowering, term: Term, gone: Any) -> Term:
    """The term without axes of size 1 that another term has in full."""
    kept = [(label, n) for label, n in zip(term.labels, term.view.shape, strict=True) if not gone(label, n)]
    if len(kept) == len(term.labels):
        return term
    return Term(tuple(label for label, _ in kept), low.view(term.view, [n for _, n in kept]))


def _summed(low: Lowering, terms: Sequence[Term], index: int, output: Labels) -> Term:
    """A term summed over the labels that no other term and not the output has."""
    term = terms[index]
    others = set(output).union(*(other.labels for k, other in enumerate(terms) if k != index))
    axes = [axis for axis, label in enumerate(term.labels) if label not in others]
    if not axes:
        return term
    kept = tuple(label for label in term.labels if label in others)
    made = low.scratch([term.size(label) for label in kept], term.view.dtype)
    lower_runs(ReduceSum().reduce, low, term.view, axes, made)
    return Term(kept, made)


def _cheapest(terms: Sequence[Term], output: Labels) -> tuple[int, int]:
    """The two terms whose product is smallest next to what it is made of."""

    def growth(pair: tuple[int, int]) -> int:
        left, right = terms[pair[0]], terms[pair[1]]
        rest = (term.labels for k, term in enumerate(terms) if k not in pair)
        kept = set(output).union(*rest)
        sizes = dict(zip(left.labels + right.labels, left.view.shape + right.view.shape, strict=True))
        made = math.prod(n for label, n in sizes.items() if label in kept)
        return made - left.view.size - right.view.size

    count = len(terms)
    return min(((i, j) for i in range(count) for j in range(i + 1, count)), key=growth)


def _product(low: Lowering, left: Term, right: Term, kept: set[str]) -> Term:
    """The product of two terms, summed over the labels both have that are not kept."""
    shared = [label for label in left.labels if label in right.labels]
    batch = [label for label in shared if label in kept]
    summed = [label for label in shared if label not in kept]
    rows = [label for label in left.labels if label not in shared]
    columns = [label for label in right.labels if label not in shared]
    b, k = (math.prod(left.size(label) for label in labels) for labels in (batch, summed))
    m = math.prod(left.size(label) for label in rows)
    n = math.prod(right.size(label) for label in columns)
    labels = (*batch, *rows, *columns)
    shape = [(left if label in left.labels else right).size(label) for label in labels]
    made = low.scratch(shape, left.view.dtype)
    whole = low.view(made, (b, m, n))
    a = low.view(_ordered(low, left, (*batch, *rows, *summed)), (b, m, k))
    if not summed:
        w = low.view(_ordered(low, right, (*batch, *columns)), (b, 1, n))
        lower_steps(low, (Step(Mul(), (0, 1)),), [a, w], whole)
    elif made.dtype == FLOAT32 and right.labels == (*batch, *columns, *summed):
        w = low.view(right.view, (b, n, k))
        FusedMatMul(transB=True).lower(low, *_flat_batch(low, b, a, w), None, None, _plain(low, b, whole))
    else:
        w = low.view(_ordered(low, right, (*batch, *summed, *columns)), (b, k, n))
        MatMul().lower(low, *_flat_batch(low, b, a, w), _plain(low, b, whole))
    return Term(labels, made)


def _flat_batch(low: Lowering, batch: int, a: View, w: View) -> tuple[View, View]:
    return _plain(low, batch, a), _plain(low, batch, w)


def _plain(low: Lowering, batch: int, x: View) -> View:
    """A batch of one matrix as that matrix."""
    return low.view(x, x.shape[1:]) if batch == 1 else x


def _ordered(low: Lowering, term: Term, labels: Labels) -> View:
    """The elements of a term with its axes in another order."""
    if _same_order(term, labels):
        return term.view
    made = low.scratch([term.size(label) for label in labels], term.view.dtype)
    _into(low, term, labels, made)
    return made


def _same_order(term: Term, labels: Labels) -> bool:
    """Whether the order differs by axes of size 1 at most."""
    long = [label for label in term.labels if term.size(label) != 1]
    return long == [label for label in labels if term.size(label) != 1]


def _into(low: Lowering, term: Term, labels: Labels, y: View) -> None:
    permute(low, term.view, y, term.view.shape, [term.labels.index(label) for label in labels])
