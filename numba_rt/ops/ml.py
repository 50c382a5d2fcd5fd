"""Operators of classical machine learning: the domain ai.onnx.ml."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numba_rt.dtypes import FLOATS, INT32, INT64, NUMERIC, STRING, dtype_name
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact
from numba_rt.kernels.trees import tree_ensemble
from numba_rt.ops._checks import check_dtype, check_rank
from numba_rt.ops._generate import lower_steps
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op
from numba_rt.ops.cast import cast_to
from numba_rt.ops.elementwise import Elementwise, Step
from numba_rt.ops.gather import Gather

ML = "ai.onnx.ml"


@op("ArrayFeatureExtractor", domain=ML)
class ArrayFeatureExtractor(Op):
    """The elements of the last axis that Y names; a vector counts as a matrix of one row."""

    half = False

    def infer(self, X: Fact, Y: Fact) -> Fact:
        check_dtype(X, "X", NUMERIC | {STRING})
        check_dtype(Y, "Y", {INT64})
        check_rank(X, "X", at_least=1)
        assert X.shape is not None
        return Fact(X.dtype, (*(X.shape[:-1] or (1,)), Y.size))

    def evaluate(self, X: np.ndarray, Y: np.ndarray) -> np.ndarray:
        wrong = Y[(Y < 0) | (X.shape[-1] <= Y)]
        if wrong.size:
            raise ShapeError(f"Y contains {wrong.flat[0]}: expected indices from 0 to {X.shape[-1] - 1}")
        made = X[..., Y.reshape(-1)]
        return made if X.ndim > 1 else made[None]

    def lower(self, low: Lowering, X: View, Y: View, Z: View) -> None:
        Gather(axis=-1).lower(low, X, low.flat(Y), low.view(Z, (*X.shape[:-1], Y.size)))


@op("Binarizer", domain=ML)
class Binarizer(Elementwise):
    """1 where the input is greater than the threshold, else 0"""

    threshold: float = 0.0

    expr = "{T}(1) if {0} > {threshold} else {T}(0)"
    inplace = (0,)

    def check(self, *facts: Fact) -> None:
        check_dtype(facts[0], "X", FLOATS | {INT32, INT64})

    def infer(self, X: Fact) -> Fact:
        return super().infer(X)

    def scalars(self, *dtypes: Any) -> dict[str, Any]:
        whole = dtypes[0].kind in "iu"
        return {"threshold": dtypes[0].type(math.floor(self.threshold) if whole else self.threshold)}


@op("LabelEncoder", since=4, domain=ML)
class LabelEncoder(Op):
    """Each element replaced by the value that belongs to it as a key, or by the default."""

    default_float: float = -0.0
    default_int64: int = -1
    default_string: str = "_Unused"
    default_tensor: np.ndarray | None = None
    keys_floats: tuple[float, ...] | None = None
    keys_int64s: tuple[int, ...] | None = None
    keys_strings: tuple[str, ...] | None = None
    keys_tensor: np.ndarray | None = None
    values_floats: tuple[float, ...] | None = None
    values_int64s: tuple[int, ...] | None = None
    values_strings: tuple[str, ...] | None = None
    values_tensor: np.ndarray | None = None

    half = False

    def _given(self, what: str) -> np.ndarray:
        """The keys or the values, whichever attribute holds them."""
        dtypes: dict[str, Any] = {"floats": np.float32, "int64s": np.int64, "strings": STRING, "tensor": None}
        given = [(d, getattr(self, f"{what}_{n}")) for n, d in dtypes.items()]
        found = [np.asarray(x, d).reshape(-1) for d, x in given if x is not None and len(x)]
        if len(found) != 1:
            raise ShapeError(f"{len(found)} of the attributes {what}_* are given: expected one")
        return found[0]

    def _default(self, dtype: np.dtype[Any]) -> Any:
        if self.default_tensor is not None and self.values_tensor is not None:
            if self.default_tensor.dtype != dtype or self.default_tensor.size != 1:
                raise ShapeError(f"default_tensor: expected one {dtype_name(dtype)}, as in values_tensor")
            return self.default_tensor.reshape(-1)[0]
        if dtype == STRING:
            return self.default_string
        return self.default_int64 if dtype.kind in "iu" else self.default_float

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (self._given("values").dtype,)

    def infer(self, X: Fact) -> Fact:
        keys, values = self._given("keys"), self._given("values")
        check_dtype(X, "X", {keys.dtype})
        if keys.size != values.size:
            raise ShapeError(f"{keys.size} keys and {values.size} values: expected as many of both")
        self._default(values.dtype)
        return Fact(values.dtype, X.shape)

    def run(self, X: np.ndarray) -> np.ndarray:
        self.infer(Fact(X.dtype, X.shape))
        values = self._given("values")
        keys = self._given("keys").tolist()
        table = dict(zip(keys, values, strict=True))
        default = self._default(values.dtype)
        missing = next((v for k, v in zip(keys[::-1], values[::-1], strict=True) if k != k), default)
        made = np.empty(X.size, values.dtype)
        for i, x in enumerate(X.reshape(-1).tolist()):
            made[i] = table.get(x, default) if x == x else missing
        return made.reshape(X.shape)


@op("TreeEnsemble", since=5, domain=ML)
class TreeEnsemble(Op):
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

    def lower(self, low: Lowering, X: View, Y: View) -> None:
        if Y.size == 0:
            return
        members, places = self._members()
        count = len(places)
        nodes = np.zeros((count, 8), np.int64)
        nodes[:, 0], nodes[:, 1], nodes[:, 5:7] = self.nodes_featureids, self.nodes_modes, places
        nodes[:, 2] = self.nodes_missing_value_tracks_true or [0] * count
        for column, side in ((3, "true"), (4, "false")):
            ids = np.array(getattr(self, f"nodes_{side}nodeids"), np.int64)
            leafs = np.array(getattr(self, f"nodes_{side}leafs"), np.bool_)
            nodes[:, column] = np.where(leafs, -1 - ids, ids)
        constants = [
            nodes, self.nodes_splits.astype(np.float64), members, np.array(self.leaf_targetids, np.int64),
            self.leaf_weights.astype(np.float64), np.array(self.tree_roots, np.int64),
        ]  # fmt: skip
        made = Y if Y.dtype == np.float64 else low.scratch(Y.shape, np.float64)
        how = (self.aggregate_function, self.post_transform)
        tasks = low.tasks(X.shape[0] * len(self.tree_roots) * 16)
        low.call(tree_ensemble, X, *(low.const(c) for c in constants), *how, made, tasks)
        if made is not Y:
            lower_steps(low, (Step(cast_to(Y.dtype), (0,)),), [made], Y)


def _check_range(name: str, numbers: Any, end: int) -> None:
    wrong = [n for n in numbers if not 0 <= n < end]
    if wrong:
        raise ShapeError(f"{name} contains {wrong[0]}: expected numbers from 0 to {end - 1}")
