"""Inputs for the models that are compared."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ONES = ("mask",)
"""Integer inputs with such a word in their name are all ones."""


class ModelInputs:
    """The inputs of a model file, with sizes for their symbolic dimensions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = onnx.load(path, load_external_data=False)
        stored = {t.name for t in self.model.graph.initializer}
        self.values = [v for v in self.model.graph.input if v.name not in stored]

    def set_batch(self, batch: int, folder: Path) -> Path:
        """Make the first axis of every input `batch` long; the path of a model that allows it, which is
        another file where the model has a fixed size.
        """
        firsts = [v.type.tensor_type.shape.dim[0] for v in self.values if v.type.tensor_type.shape.dim]
        if all(not d.HasField("dim_value") or d.dim_value == batch for d in firsts):
            for d in firsts:
                d.dim_value = batch
            return self.path
        self.model = onnx.load(self.path)
        graph = self.model.graph
        self.values = [v for v in graph.input if v.name in {x.name for x in self.values}]
        _reshape_batches(graph, {v.name for v in self.values}, firsts[0].dim_value, batch)
        for value in (*self.values, *graph.output):
            if value.type.tensor_type.shape.dim:
                value.type.tensor_type.shape.dim[0].dim_value = batch
        del graph.value_info[:]
        changed = folder / self.path.name
        onnx.save(self.model, changed)
        return changed

    def feeds(
        self, sizes: Mapping[str, int], fills: Mapping[str, float], seed: int = 0
    ) -> tuple[dict[str, np.ndarray], dict[str, int]]:
        """Random arrays, and the sizes that were used; a size nobody names is 1.

        Args:
            sizes: of symbolic dimensions, by their name or by `input.axis`; both may have wildcards.
            fills: for each input named, the number that all its elements are.
            seed: of the random numbers.
        """
        rng, used, feeds, assumed = np.random.default_rng(seed), {}, {}, []
        for value in self.values:
            shape = []
            for axis, d in enumerate(value.type.tensor_type.shape.dim):
                names = (d.dim_param, f"{value.name}.{axis}")
                given = [s for s in sizes if any(fnmatchcase(name, s) for name in names)]
                if not d.HasField("dim_value"):
                    used.update({s: sizes[s] for s in given[:1]})
                    assumed += [] if given else [d.dim_param or names[1]]
                symbolic = sizes[given[0]] if given else 1
                shape.append(d.dim_value if d.HasField("dim_value") else symbolic)
            dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            feeds[value.name] = _array(value.name, tuple(shape), dtype, fills, rng)
        if assumed:
            print(f"size 1 is assumed for {', '.join(dict.fromkeys(assumed))}", file=sys.stderr)
        return feeds, used


def _reshape_batches(graph: onnx.GraphProto, fed: set[str], old: int, new: int) -> None:
    """Stored shapes of what is computed from inputs that begin with the old batch begin with the new one."""
    shapes = {t.name: numpy_helper.to_array(t) for t in graph.initializer if t.data_type == TensorProto.INT64}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            shapes[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    for number, node in enumerate(graph.node):
        if not fed.intersection(node.input):
            continue
        fed.update(node.output)
        if node.op_type != "Reshape":
            continue
        shape = shapes.get(node.input[1]) if len(node.input) > 1 else None
        if shape is not None and shape.size > 1 and shape[0] == old:
            made = numpy_helper.from_array(np.array([new, *shape[1:]], np.int64), f"batch_shape_{number}")
            graph.initializer.append(made)
            node.input[1] = made.name
        for attribute in node.attribute:
            if attribute.name == "shape" and len(attribute.ints) > 1 and attribute.ints[0] == old:
                attribute.ints[0] = new


def _array(
    name: str, shape: tuple[int, ...], dtype: np.dtype, fills: Mapping[str, float], rng: np.random.Generator
) -> np.ndarray:
    """Normal floats; small integers that are valid indices, masks and types."""
    if name in fills:
        return np.full(shape, fills[name], dtype)
    if dtype == np.bool_ or any(word in name for word in ONES):
        return np.ones(shape, dtype)
    if np.issubdtype(dtype, np.integer):
        return rng.integers(0, 2, shape).astype(dtype)
    return rng.standard_normal(shape, np.float32).astype(dtype)
