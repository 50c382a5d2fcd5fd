"""silero_vad over a minute of speech, state carried from chunk to chunk: the segments ONNX Runtime finds."""

from __future__ import annotations

import wave
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numba_rt
from tests.models.shared import MODELS, needs_models, runtime

pytestmark = needs_models
RATE, CHUNK, CONTEXT = 16000, 512, 64


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    with wave.open(str(MODELS / "speech_16k.wav")) as file:
        assert file.getframerate() == RATE
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return samples.astype(np.float32) / 32768


def probabilities(run: Callable[[dict[str, Any]], list], speech: np.ndarray) -> np.ndarray:
    """Probability of speech in each chunk."""
    state, context = np.zeros((2, 1, 128), np.float32), np.zeros((1, CONTEXT), np.float32)
    found = []
    for start in range(0, len(speech) - CHUNK + 1, CHUNK):
        chunk = np.concatenate([context, speech[None, start : start + CHUNK]], axis=1)
        probability, state = run({"input": chunk, "state": state, "sr": np.array(RATE, np.int64)})
        context = chunk[:, -CONTEXT:]
        found.append(probability.item())
    return np.array(found)


def segments(found: np.ndarray) -> list[tuple[int, int]]:
    """First and last chunk of each stretch of speech, begun above 0.5 and ended below 0.35."""
    spans: list[tuple[int, int]] = []
    start = -1
    for i, p in enumerate(found):
        if start < 0 and p >= 0.5:
            start = i
        elif start >= 0 and p < 0.35:
            spans.append((start, i))
            start = -1
    return spans if start < 0 else [*spans, (start, len(found))]


@pytest.mark.parametrize("threads", [1, 2])
def test_same_segments_as_onnxruntime(speech: np.ndarray, threads: int) -> None:
    path = MODELS / "silero_vad.onnx"
    model, session = numba_rt.load(path, threads=threads), runtime(path)
    part = speech if threads == 1 else speech[: 10 * RATE]
    ours = probabilities(model.run, part)
    theirs = probabilities(lambda feeds: session.run(None, feeds), part)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert segments(ours) == segments(theirs)
    assert len(segments(ours)) > 1


def test_the_8_khz_branch(speech: np.ndarray) -> None:
    path = MODELS / "silero_vad.onnx"
    feeds = {
        "input": speech[None, : 256 + 32],
        "state": np.zeros((2, 1, 128), np.float32),
        "sr": np.array(8000, np.int64),
    }
    for ours, theirs in zip(numba_rt.load(path).run(feeds), runtime(path).run(None, feeds), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
