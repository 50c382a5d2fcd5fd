"""Rules for operators of ai.onnx.ml that others have replaced."""

from __future__ import annotations

from typing import Any

import numpy as np

from converter.contrib import Body, replaces
from numba_rt.dtypes import FLOAT64, STRING
from numba_rt.ops._op import OWN
from numba_rt.ops.ml import ML


@replaces("TreeEnsembleClassifier", domains=(ML,))
def _tree_classifier(
    b: Body, X: str, *, class_ids: tuple[int, ...], class_nodeids: tuple[int, ...],
    class_treeids: tuple[int, ...], class_weights: tuple[float, ...] = (),
    class_weights_as_tensor: np.ndarray | None = None, classlabels_int64s: tuple[int, ...] = (),
    classlabels_strings: tuple[str, ...] = (), post_transform: str = "NONE", **trees: Any,
) -> tuple[str, ...]:  # fmt: skip
    """The scores of trees, and a label that follows from them."""
    given = class_weights if class_weights_as_tensor is None else class_weights_as_tensor
    weights = np.asarray(given, FLOAT64)
    scores = b(
        "TreeEnsembleRegressor",
        X,
        domain=ML,
        n_targets=max(len(classlabels_int64s), len(classlabels_strings)),
        target_ids=class_ids,
        target_nodeids=class_nodeids,
        target_treeids=class_treeids,
        target_weights=class_weights,
        target_weights_as_tensor=class_weights_as_tensor,
        **trees,
    )
    labels, made = b(
        "Classify",
        scores,
        n=2,
        domain=OWN,
        labels_ints=classlabels_int64s,
        labels_strings=classlabels_strings,
        positive=bool((weights >= 0).all()),
        post_transform=post_transform,
        voted=tuple(sorted(set(class_ids))),
    )
    return labels, made


@replaces("LabelEncoder", domains=(ML,))
def _label_encoder(b: Body, X: str, *, classes_strings: tuple[str, ...] = (), **given: Any) -> str:
    """Before opset 2: the place of a string in a list, or the string at a place."""
    if classes_strings:
        places = tuple(range(len(classes_strings)))
        if b.dtype(X) == STRING:
            given |= {"keys_strings": classes_strings, "values_int64s": places}
        else:
            given |= {"keys_int64s": places, "values_strings": classes_strings}
    return b("LabelEncoder", X, domain=ML, **given)
