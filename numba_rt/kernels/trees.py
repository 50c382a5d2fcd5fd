"""Ensembles of decision trees."""

from __future__ import annotations

import math

import numpy as np

from numba_rt.jit import inline, kernel, prange

__all__ = ["tree_ensemble"]

AVERAGE, SUM, MIN, MAX = range(4)
NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO, PROBIT = range(5)


@inline
def _goes_left(value, mode, split, missing, members, first, last):
    """Whether a node sends a value to its true branch."""
    if value != value and missing:
        return True
    if mode == 6:
        found = False
        for i in range(first, last):
            found |= value == members[i]
        return found
    less, more = value < split, value > split
    if mode < 4:
        if mode < 2:
            return less if mode == 1 else value <= split
        return more if mode == 3 else value >= split
    return value == split if mode == 4 else value != split


@inline
def _probit(p):
    """The number below which a normal variable is with probability p."""
    if p <= 0 or p >= 1:
        return -np.inf if p == 0 else np.inf if p == 1 else np.nan
    # A closed approximation, then Newton's method.
    log = math.log(4 * p * (1 - p))
    b = 2 / (math.pi * 0.147) + log / 2
    x = math.copysign(math.sqrt(2 * (math.sqrt(b * b - log / 0.147) - b)), p - 0.5)
    for _ in range(3):
        below = 0.5 * math.erfc(-x / math.sqrt(2.0))
        x -= (below - p) * math.sqrt(2 * math.pi) * math.exp(x * x / 2)
    return x


@inline
def _finish(row, transform):
    """Turn the scores of a row into what the transform says, in place."""
    if transform == LOGISTIC:
        for j in range(row.size):
            row[j] = 1 / (1 + math.exp(-row[j]))
    elif transform == PROBIT:
        for j in range(row.size):
            row[j] = _probit(row[j])
    elif transform != NONE:
        top = row.max()
        total = 0.0
        for j in range(row.size):
            skipped = transform == SOFTMAX_ZERO and abs(row[j]) <= 1e-7
            row[j] = 0.0 if skipped else math.exp(row[j] - top)
            total += row[j]
        for j in range(row.size):
            row[j] = row[j] / total if total else 0.0


@inline
def _leaf(row, nodes, splits, members, at):
    """The leaf that a row's features lead to from a branch."""
    while at >= 0:
        node = nodes[at]
        left = _goes_left(row[node[0]], node[1], splits[at], node[2] != 0, members, node[5], node[6])
        at = node[3] if left else node[4]
    return -1 - at


@kernel
def tree_ensemble(
    x, nodes, splits, members, votes, targets, weights, roots, base, aggregate, transform, y, tasks
):
    """y[i] = base + the weights of the leaves that row i of x reaches, one a tree, gathered by target.

    x (rows, features); nodes (count, 8) int64: feature, mode, whether missing values go left, left,
    right, and for sets of members their first and end; a branch -1 - k is leaf k; splits (count,);
    leaf k has the votes from votes[k] to votes[k + 1], of which targets and weights tell; roots (trees,),
    branches too; base (targets,); y (rows, targets) float64.
    """
    for t in prange(tasks):
        for i in range(t * x.shape[0] // tasks, (t + 1) * x.shape[0] // tasks):
            row = y[i]
            start = np.inf if aggregate == MIN else -np.inf if aggregate == MAX else 0.0
            for j in range(row.size):
                row[j] = start
            for tree in range(roots.size):
                leaf = _leaf(x[i], nodes, splits, members, roots[tree])
                for vote in range(votes[leaf], votes[leaf + 1]):
                    target, weight = targets[vote], weights[vote]
                    if aggregate == MIN:
                        row[target] = min(row[target], weight)
                    elif aggregate == MAX:
                        row[target] = max(row[target], weight)
                    else:
                        row[target] += weight
            for j in range(row.size):
                if aggregate == AVERAGE:
                    row[j] /= roots.size
                elif row[j] == start:
                    row[j] = 0.0
                row[j] += base[j]
            _finish(row, transform)
