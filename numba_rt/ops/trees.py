"""Ensembles of decision trees of ai.onnx.ml."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from numba_rt.dtypes import FLOAT32, FLOATS, INT64
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact
from numba_rt.kernels.trees import MISSING, tree_ensemble
from numba_rt.ops import _scores
from numba_rt.ops._checks import check_dtype, check_rank
from numba_rt.ops._generate import lower_steps
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import OWN, Op, op
from numba_rt.ops.cast import cast_to
from numba_rt.ops.elementwise import Step
from numba_rt.ops.ml import ML

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees as the kernel follows them; see there."""

    nodes: np.ndarray
    splits: np.ndarray
    sets: np.ndarray
    members: np.ndarray
    votes: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    roots: np.ndarray
    base: np.ndarray
    aggregate: int
    transform: int


class Ensemble(Op):
    """What an ensemble of trees is, however its attributes tell it."""

    def build(self) -> Forest:
        """The trees."""
        raise NotImplementedError

    @cached_property
    def forest(self) -> Forest:
        """The trees, made once."""
        made = self.build()
        _order(made.nodes.reshape(-1, 4), made.splits)
        return made

    def lower(self, low: Lowering, X: View, Y: View) -> None:
        if Y.size == 0:
            return
        forest = self.forest
        made = Y if Y.dtype == np.float64 else low.scratch(Y.shape, np.float64)
        constants = (
            forest.nodes, forest.splits, forest.sets, forest.members, forest.votes, forest.targets,
            forest.weights, forest.roots, forest.base,
        )  # fmt: skip
        tasks = low.tasks(X.shape[0] * forest.roots.size * 16)
        ordered = not (forest.nodes[1::4] & 7).any()
        how = (ordered, forest.aggregate, forest.transform)
        low.call(tree_ensemble, low.flat(X), *(low.const(c) for c in constants), *how, made, tasks)
        if made is not Y:
            lower_steps(low, (Step(cast_to(Y.dtype), (0,)),), [made], Y)


@op("TreeEnsemble", since=5, domain=ML)
class TreeEnsemble(Ensemble):
    """The sum, mean, least or greatest weight, for each target, of the leaves that decision trees
    lead a row to.
    """

    leaf_targetids: tuple[int, ...]
    leaf_weights: np.ndarray
    nodes_falseleafs: tuple[int, ...]
    nodes_falsenodeids: tuple[int, ...]
    nodes_featureids: tuple[int, ...]
    nodes_modes: np.ndarray
    nodes_splits: np.ndarray
    nodes_trueleafs: tuple[int, ...]
    nodes_truenodeids: tuple[int, ...]
    tree_roots: tuple[int, ...]
    aggregate_function: int = 1
    membership_values: np.ndarray | None = None
    n_targets: int = 1
    nodes_hitrates: np.ndarray | None = None
    nodes_missing_value_tracks_true: tuple[int, ...] | None = None
    post_transform: int = 0

    def infer(self, X: Fact) -> Fact:
        check_dtype(X, "X", FLOATS)
        check_rank(X, "X", exactly=2)
        assert X.shape is not None
        self.check_trees(X.shape[1])
        return Fact(X.dtype, (X.shape[0], self.n_targets))

    def check_trees(self, features: Dim) -> None:
        """Refuse trees that lead nowhere: the kernel follows them without checks."""
        count, leaves = len(self.nodes_featureids), len(self.leaf_targetids)
        lists = [n for n in vars(self) if n.startswith("nodes_") and getattr(self, n) is not None]
        for name in lists:
            if len(getattr(self, name)) != count:
                raise ShapeError(f"{name} has {len(getattr(self, name))} entries: expected {count}")
        if self.leaf_weights.size != leaves:
            raise ShapeError(f"leaf_weights has {self.leaf_weights.size} entries: expected {leaves}")
        _check_range("leaf_targetids", self.leaf_targetids, self.n_targets)
        _check_range("tree_roots", self.tree_roots, count)
        _check_range("nodes_modes", self.nodes_modes.tolist(), 7)
        _check_range("aggregate_function", (self.aggregate_function,), 4)
        _check_range("post_transform", (self.post_transform,), 5)
        if isinstance(features, int):
            _check_range("nodes_featureids", self.nodes_featureids, features)
        for side in ("true", "false"):
            ids, leafs = getattr(self, f"nodes_{side}nodeids"), getattr(self, f"nodes_{side}leafs")
            _check_range(
                f"nodes_{side}nodeids", [i for i, leaf in zip(ids, leafs, strict=True) if leaf], leaves
            )
            inner = [i for i, leaf in zip(ids, leafs, strict=True) if not leaf]
            _check_range(f"nodes_{side}nodeids", inner, count)
        self._check_cycles()

    def _check_cycles(self) -> None:
        """Refuse a node that several branches lead to, or one a root: only trees end."""
        sides = (
            (self.nodes_truenodeids, self.nodes_trueleafs),
            (self.nodes_falsenodeids, self.nodes_falseleafs),
        )
        reached = [i for ids, leafs in sides for i, leaf in zip(ids, leafs, strict=True) if not leaf]
        twice = set(self.tree_roots).intersection(reached)
        if twice or len(set(reached)) != len(reached):
            raise ShapeError("two branches lead to one node, or one to a root: expected trees")

    def _members(self) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """The members of all sets, and where each set begins and ends."""
        modes = self.nodes_modes.tolist()
        values = np.empty(0) if self.membership_values is None else self.membership_values.astype(np.float64)
        ends = np.flatnonzero(np.isnan(values)).tolist()
        if len(ends) < modes.count(6):
            raise ShapeError(f"membership_values has {len(ends)} sets: expected {modes.count(6)}")
        places = iter(zip([0, *(end + 1 for end in ends)], ends, strict=False))
        return np.append(values, 0.0), [next(places) if mode == 6 else (0, 0) for mode in modes]

    def build(self) -> Forest:
        members, places = self._members()
        count = len(places)
        nodes = np.zeros((count, 4), np.int32)
        nodes[:, 0], nodes[:, 1] = self.nodes_featureids, self.nodes_modes
        nodes[:, 1] += _missing(self.nodes_missing_value_tracks_true)
        for column, side in ((2, "true"), (3, "false")):
            ids = np.array(getattr(self, f"nodes_{side}nodeids"), np.int64)
            leafs = np.array(getattr(self, f"nodes_{side}leafs"), np.bool_)
            nodes[:, column] = np.where(leafs, -1 - ids, ids)
        return Forest(
            nodes.reshape(-1),
            self.nodes_splits.astype(np.float64),
            np.array(places, np.int64).reshape(-1, 2),
            members,
            np.arange(len(self.leaf_targetids) + 1),
            np.array(self.leaf_targetids, np.int64),
            self.leaf_weights.astype(np.float64),
            np.array(self.tree_roots, np.int64),
            np.zeros(self.n_targets),
            self.aggregate_function,
            self.post_transform,
        )


@op("TreeEnsembleRegressor", since=3, domain=ML)
class TreeEnsembleRegressor(Ensemble):
    """Leaves' weights gathered over decision trees, for each target: the form TreeEnsemble replaced, in which
    nodes have numbers within their tree and a leaf may have several weights.
    """

    n_targets: int
    nodes_falsenodeids: tuple[int, ...]
    nodes_featureids: tuple[int, ...]
    nodes_modes: tuple[str, ...]
    nodes_nodeids: tuple[int, ...]
    nodes_treeids: tuple[int, ...]
    nodes_truenodeids: tuple[int, ...]
    target_ids: tuple[int, ...]
    target_nodeids: tuple[int, ...]
    target_treeids: tuple[int, ...]
    aggregate_function: str = "SUM"
    base_values: tuple[float, ...] = ()
    base_values_as_tensor: np.ndarray | None = None
    nodes_hitrates: tuple[float, ...] = ()
    nodes_hitrates_as_tensor: np.ndarray | None = None
    nodes_missing_value_tracks_true: tuple[int, ...] = ()
    nodes_values: tuple[float, ...] = ()
    nodes_values_as_tensor: np.ndarray | None = None
    post_transform: str = "NONE"
    target_weights: tuple[float, ...] = ()
    target_weights_as_tensor: np.ndarray | None = None

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (FLOAT32,)

    def infer(self, X: Fact) -> Fact:
        check_rank(X, "X", exactly=2)
        count, features = _scores.rows(X)
        used = self.forest.nodes[::4]
        if used.size and isinstance(features, int):
            _check_range("nodes_featureids", [int(used.max())], features)
        return Fact(FLOAT32, (count, self.n_targets))

    def _numbers(self, name: str) -> np.ndarray:
        """An attribute that may be a tensor."""
        tensor = getattr(self, f"{name}_as_tensor")
        return np.array(getattr(self, name) if tensor is None else tensor, np.float64).reshape(-1)

    def _check(self, splits: np.ndarray, weights: np.ndarray) -> None:
        _scores.check_transform(self.post_transform)
        if self.aggregate_function not in AGGREGATES:
            known = ", ".join(AGGREGATES)
            raise ShapeError(f"aggregate_function = {self.aggregate_function!r}: expected one of {known}")
        count, votes = len(self.nodes_nodeids), len(self.target_ids)
        lengths = {
            f"nodes_{n}": (len(getattr(self, f"nodes_{n}")), count)
            for n in ("treeids", "featureids", "modes", "truenodeids", "falsenodeids")
        }
        lengths["nodes_values"] = (splits.size, count)
        lengths["nodes_missing_value_tracks_true"] = (
            len(self.nodes_missing_value_tracks_true) or count, count,
        )  # fmt: skip
        lengths |= {
            f"target_{n}": (len(getattr(self, f"target_{n}")), votes) for n in ("treeids", "nodeids")
        } | {"target_weights": (weights.size, votes)}
        for name, (found, expected) in lengths.items():
            if found != expected:
                raise ShapeError(f"{name} has {found} entries: expected {expected}")
        _check_range("target_ids", self.target_ids, self.n_targets)
        unknown = set(self.nodes_modes) - {*MODES, "LEAF"}
        if unknown:
            raise ShapeError(f"nodes_modes contains {min(unknown)!r}: expected {', '.join(MODES)} or LEAF")

    def build(self) -> Forest:
        splits, weights = self._numbers("nodes_values"), self._numbers("target_weights")
        self._check(splits, weights)
        names = list(zip(self.nodes_treeids, self.nodes_nodeids, strict=True))
        places = {name: i for i, name in enumerate(names)}
        if len(places) != len(names):
            raise ShapeError("nodes_nodeids: two nodes of one tree have the same number")
        is_leaf = np.array(self.nodes_modes, object) == "LEAF"
        branches = np.where(is_leaf, -np.cumsum(is_leaf, dtype=np.int64), np.arange(len(names)))
        nodes = np.zeros((len(names), 4), np.int32)
        nodes[:, 0] = np.where(is_leaf, 0, np.array(self.nodes_featureids, np.int64))
        _check_range("nodes_featureids", nodes[:, 0].tolist(), 1 << 31)
        nodes[:, 1] = [0 if mode == "LEAF" else MODES.index(mode) for mode in self.nodes_modes]
        nodes[:, 1] += _missing(self.nodes_missing_value_tracks_true)
        inner = np.flatnonzero(~is_leaf)
        parents = np.full(len(names), -1)
        for column, ids in ((2, self.nodes_truenodeids), (3, self.nodes_falsenodeids)):
            led = np.array([_place(places, names[i][0], ids[i]) for i in inner.tolist()], np.int64)
            if len(set(led.tolist())) != len(led) or (parents[led] >= 0).any():
                raise ShapeError("two branches lead to one node: expected trees")
            nodes[inner, column] = branches[led]
            parents[led] = inner
        roots = np.flatnonzero(parents < 0)
        parents[roots] = roots
        if len(roots) != len(set(self.nodes_treeids)) or not _is_rooted(parents):
            raise ShapeError("a tree has no root, or several: expected trees")
        votes, order = self._votes(places, is_leaf)
        return Forest(
            nodes.reshape(-1),
            splits,
            np.zeros((1, 2), np.int64),
            np.zeros(1),
            votes,
            np.array(self.target_ids, np.int64)[order],
            weights[order],
            branches[roots],
            self._base(),
            AGGREGATES.index(self.aggregate_function),
            _scores.TRANSFORMS.index(self.post_transform),
        )

    def _votes(
        self, places: dict[tuple[int, int], int], is_leaf: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where the votes of each leaf begin, and the order of votes by leaf; inner nodes have none."""
        pairs = zip(self.target_treeids, self.target_nodeids, strict=True)
        nodes = np.array([_place(places, tree, node) for tree, node in pairs], np.int64)
        cast = is_leaf[nodes] if nodes.size else np.zeros(0, np.bool_)
        leaves = (np.cumsum(is_leaf) - 1)[nodes[cast]]
        counts = np.bincount(leaves, minlength=int(is_leaf.sum()))
        order = np.flatnonzero(cast)[np.argsort(leaves, kind="stable")]
        return np.append(0, np.cumsum(counts)).astype(np.int64), order

    def _base(self) -> np.ndarray:
        base = self._numbers("base_values")
        if base.size not in (0, 1, self.n_targets):
            raise ShapeError(f"base_values has {base.size} numbers: expected {self.n_targets}")
        return np.zeros(self.n_targets) + (base if base.size else 0.0)


@op("Classify", domain=OWN)
class Classify(Op):
    """Labels and scores of classes from what trees say: the end of TreeEnsembleClassifier.

    Attributes:
        voted: the classes that any leaf votes for.
        positive: no leaf has a weight below 0, so that a single score is a probability.
    """

    labels_ints: tuple[int, ...] = ()
    labels_strings: tuple[str, ...] = ()
    positive: bool = False
    post_transform: str = "NONE"
    voted: tuple[int, ...] = ()

    def _labels(self) -> np.ndarray:
        return _scores.labels(self.labels_ints, self.labels_strings, "int64s")

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return self._labels().dtype, FLOAT32

    def infer(self, scores: Fact) -> tuple[Fact, Fact]:
        check_dtype(scores, "scores", {FLOAT32})
        check_rank(scores, "scores", exactly=2)
        assert scores.shape is not None
        return Fact(self._labels().dtype, scores.shape[:1]), Fact(FLOAT32, scores.shape)

    def run(self, scores: np.ndarray) -> tuple[np.ndarray, ...]:
        labels, wide = self._labels(), scores.astype(np.float64)
        if labels.size > 2 or (labels.size == 2 and len(self.voted) != 1):
            made = _scores.transformed(wide, self.post_transform)
            return labels[wide.argmax(axis=1)], _scores.as_float32(made)
        (only,) = self.voted or (0,)
        score = wide[:, only]
        if labels.size == 1:
            names = np.array([0, 1], INT64) if self.labels_ints else np.array(["", *labels], object)
            made = _scores.transformed(
                wide, self.post_transform if self.post_transform == "PROBIT" else "NONE"
            )
            return names[(score > 0).astype(np.intp)], _scores.as_float32(made)
        chosen = labels[(score > (0.5 if self.positive else 0)).astype(np.intp)]
        if only == 1:
            made = _scores.transformed(wide, self.post_transform)
        else:
            made = _scores.of_two(score, self.post_transform, is_probability=self.positive)
        return chosen, _scores.as_float32(made)


def _order(nodes: np.ndarray, splits: np.ndarray) -> None:
    """Turn <, >= and > into <=, by the next smaller split or by exchanged branches."""
    modes = nodes[:, 1] & 7
    strict, exchanged = (modes == 1) | (modes == 2), (modes == 2) | (modes == 3)
    splits[strict] = np.where(splits[strict] == -np.inf, np.nan, np.nextafter(splits[strict], -np.inf))
    nodes[exchanged, 2:] = nodes[exchanged, :1:-1]
    nodes[exchanged, 1] ^= MISSING
    nodes[modes < 4, 1] &= ~7


def _missing(tracks_true: tuple[int, ...] | None) -> Any:
    """What is added to modes for nodes whose true branch missing values take."""
    return MISSING * (np.array(tracks_true or 0) != 0).astype(np.int32)


def _is_rooted(parents: np.ndarray) -> bool:
    """Whether all nodes are below roots, which are their own parents: there is no cycle."""
    above = parents
    for _ in range(len(parents).bit_length()):
        above = above[above]
    return bool((parents[above] == above).all())


def _place(places: dict[tuple[int, int], int], tree: int, node: int) -> int:
    place = places.get((tree, node))
    if place is None:
        raise ShapeError(f"tree {tree} has no node {node}, which a branch or a weight names")
    return place


def _check_range(name: str, numbers: Any, end: int) -> None:
    wrong = [n for n in numbers if not 0 <= n < end]
    if wrong:
        raise ShapeError(f"{name} contains {wrong[0]}: expected numbers from 0 to {end - 1}")
