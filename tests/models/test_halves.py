"""Exported transformers with 16-bit weights: attention is found, and computed in float32."""

from collections import Counter

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import numba_rt
from tests.models.test_exported import DIRECTORY, SIZES, feeds_of

NAMES = ("bert_script", "bloom_script", "llama_step_script", "t5_decoder_script", "whisper_encoder_dynamo23")
FORMATS = {10: (np.dtype(np.float16), 1e-3), 16: (np.dtype(ml_dtypes.bfloat16), 8e-3)}
"""For each ONNX type its dtype, and how much results may differ that are rounded to it on the way."""


def rounded(tensor: onnx.TensorProto, code: int, widen: bool) -> onnx.TensorProto:
    """The same numbers in 16 bits, or as float32 after they were."""
    with np.errstate(over="ignore"):
        array = numpy_helper.to_array(tensor).astype(FORMATS[code][0])
    if widen:
        return numpy_helper.from_array(np.asarray(array.astype(np.float32)), tensor.name)
    return onnx.TensorProto(name=tensor.name, data_type=code, dims=array.shape, raw_data=array.tobytes())


def tensors_of(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    held = [a.t for n in model.graph.node for a in n.attribute if a.name == "value"]
    return [t for t in (*model.graph.initializer, *held) if t.data_type == onnx.TensorProto.FLOAT]


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made


def with_casts(model: onnx.ModelProto, code: int) -> onnx.ModelProto:
    """Weights in 16 bits, cast to float32 before they are used."""
    made, casts = copy_of(model), []
    for tensor in [t for t in made.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]:
        name = tensor.name
        tensor.CopyFrom(rounded(tensor, code, widen=False))
        tensor.name = f"{name}/stored"
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=1))
    nodes = [*casts, *made.graph.node]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def in_half(model: onnx.ModelProto, code: int) -> onnx.ModelProto:
    """Weights, inputs, outputs and all between in 16 bits."""
    made = copy_of(model)
    for tensor in tensors_of(made):
        tensor.CopyFrom(rounded(tensor, code, widen=False))
    for node in made.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == 1:
                attribute.i = code
    for value in (*made.graph.input, *made.graph.output):
        if value.type.tensor_type.elem_type == 1:
            value.type.tensor_type.elem_type = code
    return made


def widened(model: onnx.ModelProto, code: int, attributes: bool) -> onnx.ModelProto:
    made = copy_of(model)
    for tensor in tensors_of(made) if attributes else made.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(rounded(tensor, code, widen=True))
    return made


def loaded(model: onnx.ModelProto) -> numba_rt.Model:
    return numba_rt.load(model.SerializeToString())


@pytest.mark.parametrize("code", FORMATS, ids=("float16", "bfloat16"))
@pytest.mark.parametrize("name", NAMES)
def test_attention_of_16_bits_equals_that_of_the_same_weights(name: str, code: int) -> None:
    model = onnx.load(DIRECTORY / f"{name}.onnx")
    dtype, near = FORMATS[code]
    pairs = [(with_casts(model, code), widened(model, code, False), 1e-6)]
    if not name.endswith("dynamo23"):  # whose operators are not all defined for bfloat16
        pairs.append((in_half(model, code), widened(model, code, True), near))
    for narrow, wide, tolerance in pairs:
        found, expected = loaded(narrow), loaded(wide)
        kinds = Counter(node.op.op_type for node in found.graph.nodes)
        assert kinds["FusedAttention"] == (4 if "decoder" in name else 2)
        halves = {v.name for v in found.inputs if v.dtype == dtype}
        for sizes in SIZES:
            feeds = feeds_of(expected, name, sizes, hidden=False)
            given = {k: x.astype(dtype) if k in halves else x for k, x in feeds.items()}
            feeds = {k: x.astype(feeds[k].dtype) for k, x in given.items()}
            for a, b in zip(found.run(given), expected.run(feeds), strict=True):
                scale = np.abs(b).max(initial=1e-6)
                np.testing.assert_allclose(a.astype(np.float32) / scale, b / scale, rtol=0, atol=tolerance)
