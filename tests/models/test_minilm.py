"""all-MiniLM-L6-v2 on real sentences, batches and lengths changing from call to call."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tokenizers

import numba_rt
from numba_rt import jit
from tests.models.shared import MODELS, assert_same, needs_models, runtime

pytestmark = needs_models
FOLDER = MODELS / "all-MiniLM-L6-v2"
SENTENCES = ["A man is eating food.", "A man eats something.", "The girl is carrying a baby."]


@pytest.fixture(scope="module")
def tokenizer() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    made.enable_padding()
    made.enable_truncation(256)
    return made


@pytest.fixture(scope="module")
def model() -> numba_rt.Model:
    return numba_rt.load(FOLDER / "model.onnx", threads=2)


def encode(tokenizer: tokenizers.Tokenizer, sentences: list[str]) -> dict[str, np.ndarray]:
    made = tokenizer.encode_batch(sentences)
    return {
        "input_ids": np.array([e.ids for e in made], np.int64),
        "attention_mask": np.array([e.attention_mask for e in made], np.int64),
        "token_type_ids": np.array([e.type_ids for e in made], np.int64),
    }


def embed(model: numba_rt.Model, feeds: dict[str, np.ndarray]) -> np.ndarray:
    mask = feeds["attention_mask"][..., None]
    mean = (model.run(feeds)[0] * mask).sum(1) / mask.sum(1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def test_meaning_decides_which_sentences_are_close(
    model: numba_rt.Model, tokenizer: tokenizers.Tokenizer
) -> None:
    eating, eats, girl = embed(model, encode(tokenizer, SENTENCES))
    assert eating @ eats > eating @ girl + 0.3


@pytest.mark.parametrize("threads", [1, 2])
def test_same_as_onnxruntime_at_any_batch_and_length(tokenizer: tokenizers.Tokenizer, threads: int) -> None:
    model = numba_rt.load(FOLDER / "model.onnx", threads=threads)
    session = runtime(FOLDER / "model.onnx")
    batches = [SENTENCES[:1], SENTENCES, ["word " * 120], SENTENCES[1:], ["a", "the longest of two " * 9]]
    for sentences in batches:
        assert_same(model, session, encode(tokenizer, sentences))


def test_a_new_length_compiles_nothing(model: numba_rt.Model, tokenizer: tokenizers.Tokenizer) -> None:
    model.run(encode(tokenizer, SENTENCES))
    before = jit.stats().compiled
    for length in (1, 2, 31, 130):
        model.run(encode(tokenizer, ["word " * length]))
        model.run(encode(tokenizer, ["word " * length, "other"]))
    assert jit.stats().compiled == before


def test_several_threads_on_one_model(model: numba_rt.Model, tokenizer: tokenizers.Tokenizer) -> None:
    feeds = [encode(tokenizer, [s * (1 + i % 3)]) for i, s in enumerate(SENTENCES * 4)]
    expected = [model.run(f)[0] for f in feeds]
    with ThreadPoolExecutor(8) as pool:
        for got, want in zip(pool.map(lambda f: model.run(f)[0], feeds), expected, strict=True):
            np.testing.assert_array_equal(got, want)


def test_plan_has_one_call_for_each_fused_part(
    model: numba_rt.Model, tokenizer: tokenizers.Tokenizer
) -> None:
    """Per layer: projections, attention, output, norm, two products of the feed-forward part, norm; a
    call or two more where few rows are multiplied."""
    plan = model.plan(**encode(tokenizer, SENTENCES))
    assert len(plan.calls) <= 6 * 8 + 8
    assert "FusedAttention" in str(plan)
