"""Kinds of models whose caches are appended to when they are handed back to a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from numba_rt import InferenceSession
from numba_rt.cache_value import CacheValue
from numba_rt.ort_value import OrtValue
from numba_rt.windows import BLOCK
from tests.test_appending import Bound, appender, buffers, session_of
from tests.test_decoder import Plain, close, merged, tokens, transformer


@pytest.fixture(scope="module")
def source() -> Iterator[onnx.ModelProto]:
    yield transformer()


@pytest.mark.parametrize("encoder", [False, True])
def test_a_merged_decoder(source: onnx.ModelProto, encoder: bool) -> None:
    session = session_of(merged(encoder))
    bound, plain = Bound(session), Plain(source)
    for part in (tokens(4), *tokens(5, seed=2).T[:, None]):
        close(bound.step(part), plain.step(part))
    assert buffers(bound)
    assert "use_cache_branch" not in [v.name for v in appender(session).model.graph.inputs]


def test_caches_of_16_bits(source: onnx.ModelProto) -> None:
    half, finite = onnx.ModelProto(), np.finfo(np.float16)
    half.CopyFrom(source)
    for tensor in half.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            array = onnx.numpy_helper.to_array(tensor).clip(finite.min, finite.max).astype(np.float16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    for value in (*half.graph.input, *half.graph.output):
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    session = session_of(half)
    bound, plain = Bound(session), Plain(half)
    plain.past = {n: x.astype(np.float16) for n, x in plain.past.items()}
    for part in (tokens(4), *tokens(5, seed=2).T[:, None]):
        np.testing.assert_allclose(bound.step(part), plain.step(part), rtol=1e-2, atol=1e-2)
    assert buffers(bound)[0].rows.dtype == np.float16
    assert next(iter(bound.past.values())).data_type() == "tensor(float16)"


def appends_without_padding(source: onnx.ModelProto) -> None:
    session = session_of(source)
    bound, plain = Bound(session), Plain(source)
    for part in (tokens(4), tokens(1), tokens(3), tokens(1, seed=2)):
        close(bound.step(part), plain.step(part))
    assert buffers(bound)
    assert not appender(session).is_padded


def test_a_model_without_a_mask() -> None:
    source = transformer(masked=False)
    appends_without_padding(source)


@pytest.mark.parametrize("from_mask", [True, False])
def test_positions_that_the_model_counts(source: onnx.ModelProto, from_mask: bool) -> None:
    """What is padded has no position where the mask is counted, and has one where rows are."""
    counting = onnx.ModelProto()
    counting.CopyFrom(source)
    graph = counting.graph
    graph.input.remove(next(i for i in graph.input if i.name == "position_ids"))
    make, stored = onnx.helper.make_node, {"one": np.array(1), "axis": np.array([2]), "far": np.array([999])}
    counted = "attention_mask" if from_mask else "ones"
    nodes = [
        make("Shape", ["past_key_values.0.key"], ["sizes"]),
        make("Gather", ["sizes", "axis"], ["rows"]),
        make("Shape", ["attention_mask"], ["all"]),
        make("ConstantOfShape", ["all"], ["ones"], value=onnx.numpy_helper.from_array(np.array([1]))),
        make("CumSum", [counted, "one"], ["count"]),
        make("Sub", ["count", "one"], ["places"]),
        make("Slice", ["places", "rows", "far", "along"], ["position_ids"]),
    ]
    stored["along"] = np.array([1])
    graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in stored.items())
    for node in reversed(nodes):
        graph.node.insert(0, node)
    session = session_of(counting)
    bound, plain = Bound(session), Plain(source)
    for part in (tokens(BLOCK - 2), *tokens(2 * BLOCK, seed=2).T[:, None]):
        close(bound.step(part), plain.step(part))
    assert appender(session).is_padded == from_mask
    (step,) = appender(session).model._program.steps  # type: ignore[union-attr]
    assert (len(step.plans) < 10) == from_mask  # type: ignore[union-attr]


def test_a_mask_that_hides_nothing_is_not_padded() -> None:
    """A model may take a mask and not use it: the first step with padding tells."""
    source = transformer()
    for node in source.graph.node:
        if node.op_type == "Equal":  # which asks where the mask is 0
            node.op_type = "Less"
    appends_without_padding(source)


@pytest.mark.parametrize("name", ["gpt2_step_script", "llama_step_dynamo23"])
@pytest.mark.parametrize("batch", [1, 2])
def test_steps_of_exported_models(name: str, batch: int) -> None:
    model = Path(__file__).parent / "models" / "exported" / f"{name}.onnx"
    session = InferenceSession(model)
    rng, outputs = np.random.default_rng(0), [o.name for o in session.get_outputs()]
    pasts = [i.name for i in session.get_inputs() if i.name.startswith("past")]
    sizes = [int(d) for i in session.get_inputs() if i.name == pasts[0] for d in (i.shape[1], i.shape[3])]
    arrays = {n: rng.standard_normal((batch, sizes[0], 5, sizes[1])).astype(np.float32) for n in pasts}
    values = {n: OrtValue(x) for n, x in arrays.items()}
    for length in range(6, 11):
        feeds = {"ids": rng.integers(0, 9, (batch, 1)), "mask": np.ones((batch, length), np.int64)}
        logits, *presents = session.run(outputs, feeds | arrays)
        fed = {n: OrtValue(x) for n, x in feeds.items()} | values
        got, *made = session.run_with_ort_values(outputs, fed)
        close(got.numpy(), logits)
        arrays, values = dict(zip(pasts, presents, strict=True)), dict(zip(pasts, made, strict=True))
    assert all(isinstance(v, CacheValue) for v in values.values())
    for name, value in values.items():
        close(value.numpy(), arrays[name])


def test_a_stored_table_that_ends_before_the_padding() -> None:
    source = transformer(table=BLOCK + 5)
    bound, plain = Bound(session_of(source)), Plain(source)
    prompt = tokens(BLOCK - 2)
    close(bound.step(prompt), plain.step(prompt))
    for t in range(7):
        close(bound.step([t]), plain.step([[t]]))
    assert buffers(bound)
