"""Operators of ai.onnx.ml that become others, and sizes that exporters leave nameless."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from numba_rt import InferenceSession

STUMP: dict[str, Any] = {
    "nodes_treeids": [0, 0, 0],
    "nodes_nodeids": [0, 1, 2],
    "nodes_featureids": [1, 0, 0],
    "nodes_values": [0.0, 0.0, 0.0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
    "nodes_truenodeids": [1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0],
    "class_treeids": [0, 0],
    "class_nodeids": [1, 2],
    "class_weights": [0.25, 0.75],
}
X = np.array([[9, -1], [9, 1]], np.float32)


def session(
    op_type: str, dtype: int, shape: list[Any], n_outputs: int, **attributes: Any
) -> InferenceSession:
    names = ["y", "z"][:n_outputs]
    node = helper.make_node(op_type, ["x"], names, domain="ai.onnx.ml", **attributes)
    x = helper.make_tensor_value_info("x", dtype, shape)
    outputs = [helper.make_empty_tensor_value_info(name) for name in names]
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 1)]
    return InferenceSession(
        helper.make_model(helper.make_graph([node], "g", [x], outputs), opset_imports=opsets)
    )


def classified(**attributes: Any) -> list[Any]:
    made = session("TreeEnsembleClassifier", TensorProto.FLOAT, ["n", 2], 2, **STUMP, **attributes)
    return [y.tolist() for y in made.run(None, {"x": X})]


def test_trees_vote_for_one_class_of_two() -> None:
    found = classified(class_ids=[0, 0], classlabels_int64s=[5, 7])
    assert found == [[5, 7], [[0.75, 0.25], [0.25, 0.75]]]


def test_trees_vote_for_classes_with_names() -> None:
    labels, scores = classified(
        class_ids=[0, 2], classlabels_strings=["a", "b", "c"], base_values=[0.0, 0.5, 0.0]
    )
    assert labels == ["b", "c"]
    assert scores == [[0.25, 0.5, 0.0], [0.0, 0.5, 0.75]]


def test_label_encoder_of_the_first_opset() -> None:
    words = np.array(["b", "z", "a"], object)
    to_places = session(
        "LabelEncoder", TensorProto.STRING, ["n"], 1, classes_strings=["a", "b"], default_int64=9
    )
    assert to_places.run(None, {"x": words})[0].tolist() == [1, 9, 0]
    to_words = session(
        "LabelEncoder", TensorProto.INT64, ["n"], 1, classes_strings=["a", "b"], default_string="?"
    )
    assert to_words.run(None, {"x": np.array([1, 5, 0])})[0].tolist() == ["b", "?", "a"]


def test_sizes_called_unknown_may_differ() -> None:
    made = session("Normalizer", TensorProto.FLOAT, ["?", "?"], 1, norm="MAX")
    assert made.run(None, {"x": np.full((2, 3), 2, np.float32)})[0].tolist() == [[1, 1, 1]] * 2
