"""Ensembles of decision trees."""

from __future__ import annotations

import math

import numpy as np

from numba_rt.jit import inline, kernel, prange, u

__all__ = ["MISSING", "tree_ensemble"]

MISSING = 8
"""Added to a node's mode if missing values take its true branch."""
BLOCK = 32
"""Rows that follow a tree together."""
AVERAGE, SUM, MIN, MAX = range(4)
NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO, PROBIT = range(5)


@inline
def _goes_left(value, mode, split):
    """Whether a node that compares sends a value to its true branch."""
    if mode == 0:
        return value <= split
    if mode == 1:
        return value < split
    if mode < 4:
        return value > split if mode == 3 else value >= split
    return value == split if mode == 4 else value != split


@inline
def _is_member(value, members, first, end):
    """Whether a set has a value."""
    found = False
    for i in range(first, end):
        found |= value == members[i]
    return found


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
def _leaf(x, row, nodes, splits, sets, members, at):
    """The leaf that a row's features lead to from a branch; `row` is where the row begins in x."""
    while at >= 0:
        value = x[u(row + nodes[u(4 * at)])]
        kind = nodes[u(4 * at + 1)]
        mode = kind & 7
        if mode == 6:
            left = _is_member(value, members, sets[at, 0], sets[at, 1])
        else:
            left = _goes_left(value, mode, splits[u(at)])
        left |= (value != value) & (kind >= MISSING)
        at = np.int64(nodes[u(4 * at + 3 - np.int64(left))])
    return at


@inline
def _next(x, row, nodes, splits, at):
    """The branch that a row takes at a branch whose mode is 0; a leaf stays."""
    node = max(at, 0)
    value = x[u(row + nodes[u(4 * node)])]
    left = value <= splits[u(node)]
    left |= (value != value) & (nodes[u(4 * node + 1)] >= MISSING)
    # A choice of address, not a branch: which way a row goes cannot be predicted.
    to = np.int64(nodes[u(4 * node + 3 - np.int64(left))])
    return to if at >= 0 else at


@inline
def _gather(row, leaf, votes, targets, weights, aggregate):
    """Add the votes of a leaf, a branch -1 - k, to a row of y."""
    for vote in range(votes[-1 - leaf], votes[-leaf]):
        target, weight = targets[vote], weights[vote]
        if aggregate == MIN:
            row[target] = min(row[target], weight)
        elif aggregate == MAX:
            row[target] = max(row[target], weight)
        else:
            row[target] += weight


@kernel
def tree_ensemble(
    x,
    nodes,
    splits,
    sets,
    members,
    votes,
    targets,
    weights,
    roots,
    base,
    ordered,
    aggregate,
    transform,
    y,
    tasks,
):
    """y[i] = base + the weights of the leaves that row i of x reaches, one a tree, gathered by target.

    x (rows * features,); nodes (count * 4,) int32: feature, mode (and MISSING if missing values go left),
    left, right; a branch -1 - k is leaf k; splits (count,); sets (count, 2): first and end of a set's
    members; leaf k has the votes from votes[k] to votes[k + 1], of which targets and weights tell;
    roots (trees,), branches too; base (targets,);
    ordered: all modes are 0; y (rows, targets) float64. BLOCK rows follow
    trees together, so that these stay in the cache.
    """
    for t in prange(tasks):
        rows = y.shape[0]
        features = x.size // rows
        start = np.inf if aggregate == MIN else -np.inf if aggregate == MAX else 0.0
        end = (t + 1) * rows // tasks
        for block in range(t * rows // tasks, end, BLOCK):
            stop = min(block + BLOCK, end)
            for i in range(block, stop):
                for j in range(y.shape[1]):
                    y[i, j] = start
            for tree in range(0, roots.size, 4):
                # Loads of four trees are under way at once.
                left = roots.size - tree
                root1 = roots[tree + 1] if left > 1 else -1
                root2 = roots[tree + 2] if left > 2 else -1
                root3 = roots[tree + 3] if left > 3 else -1
                for i in range(block, stop):
                    a, b, c, d = roots[tree], root1, root2, root3
                    if not ordered:
                        a = _leaf(x, i * features, nodes, splits, sets, members, a)
                        b = _leaf(x, i * features, nodes, splits, sets, members, b)
                        c = _leaf(x, i * features, nodes, splits, sets, members, c)
                        d = _leaf(x, i * features, nodes, splits, sets, members, d)
                    while (a >= 0) | (b >= 0) | (c >= 0) | (d >= 0):
                        a = _next(x, i * features, nodes, splits, a)
                        b = _next(x, i * features, nodes, splits, b)
                        c = _next(x, i * features, nodes, splits, c)
                        d = _next(x, i * features, nodes, splits, d)
                    _gather(y[i], a, votes, targets, weights, aggregate)
                    if left > 1:
                        _gather(y[i], b, votes, targets, weights, aggregate)
                    if left > 2:
                        _gather(y[i], c, votes, targets, weights, aggregate)
                    if left > 3:
                        _gather(y[i], d, votes, targets, weights, aggregate)
            for i in range(block, stop):
                row = y[i]
                for j in range(row.size):
                    if aggregate == AVERAGE:
                        row[j] /= roots.size
                    elif row[j] == start:
                        row[j] = 0.0
                    row[j] += base[j]
                _finish(row, transform)
