"""Plain runs whose caches grow: the same results whichever way they are made, and the way that takes less."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest

from numba_rt import IndexRangeError, InferenceSession, InputError, NumbaRtError, growing
from numba_rt.appender import Appender
from numba_rt.growing import FIRST
from numba_rt.ort_value import OrtValue
from numba_rt.windows import BLOCK
from tests.test_appending import Bound, session_of
from tests.test_decoder import HEADS, WIDTH, Plain, close, tokens, transformer


@pytest.fixture(scope="module")
def source() -> Iterator[onnx.ModelProto]:
    yield transformer()


def watched(session: InferenceSession, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which ways runs of a session were made."""
    taken = []
    ordinary, copies = session._growing._ordinary, Appender.run_on_copies

    def run(*args: Any) -> Any:
        taken.append("plain")
        return ordinary(*args)

    def run_on_copies(*args: Any) -> Any:
        taken.append("copies")
        return copies(*args)

    session._growing._ordinary = run
    monkeypatch.setattr(Appender, "run_on_copies", run_on_copies)
    return taken


def arrays_of(session: InferenceSession, steps: int, source: onnx.ModelProto, batch: int = 1) -> None:
    """Steps through plain runs, beside those of a model of their own."""
    bound, plain = Bound(session, batch), Plain(source, batch)
    past = {n: v.numpy() for n, v in bound.past.items()}
    for part in (tokens(3, batch), *(tokens(1, batch, seed=k) for k in range(steps))):
        logits, *made = session.run(None, bound.feeds(part, None) | past)
        close(logits, plain.step(part))
        past = dict(zip(past, made, strict=True))
    for name, array in past.items():
        assert array.flags.c_contiguous
        close(array, plain.past[name])


def test_plain_runs_share_plans(source: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_of(source)
    taken = watched(session, monkeypatch)
    arrays_of(session, 2 * BLOCK, source)
    assert taken.count("plain") == FIRST  # the prompt and the first steps
    (step,) = session.model._program.steps  # type: ignore[union-attr]
    assert len(step.plans) == taken.count("plain")  # type: ignore[union-attr]
    arrays_of(session, FIRST + 5, source)
    taken.clear()
    arrays_of(session, FIRST + 5, source, batch=2)
    assert taken.count("copies") == 6


def test_long_caches_are_not_copied(source: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_of(source)
    taken = watched(session, monkeypatch)
    row = 8 * HEADS * WIDTH * len(Bound(session).past)
    monkeypatch.setattr(growing, "MOST_BYTES", (FIRST + 10) * row)
    arrays_of(session, BLOCK, source)
    assert 3 < taken.count("copies") < BLOCK - FIRST
    assert taken[-1] == "plain"


def test_plain_runs_that_cannot_be_made_on_copies(
    source: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors are those of plain runs, and what was fed is not changed."""
    session = session_of(source)
    taken = watched(session, monkeypatch)
    arrays_of(session, FIRST, source)
    assert taken[-1] == "copies"
    bound, plain = Bound(session), Plain(source)
    past = {n: v.numpy() for n, v in bound.past.items()}
    for k in range(FIRST + 2):
        logits, *made = session.run(None, bound.feeds(np.array([[k]]), None) | past)
        close(logits, plain.step([[k]]))
        past = dict(zip(past, made, strict=True))
    before = {n: x.copy() for n, x in past.items()}
    feeds = bound.feeds(np.array([[1]]), None)
    for wrong, error in (
        ({"input_ids": np.array([[99]])}, IndexRangeError),
        ({"attention_mask": np.ones((1, 3), np.int64)}, NumbaRtError),
        ({"nothing": np.zeros(1)}, InputError),
        ({next(iter(past)): None}, InputError),
    ):
        session._growing._streak = FIRST
        session._growing._shape = (1, HEADS, FIRST + 1, WIDTH)
        with pytest.raises(error):
            session.run(None, feeds | past | wrong)
    for name, array in past.items():
        np.testing.assert_array_equal(array, before[name])
    close(session.run(["logits"], feeds | past)[0], plain.step([[1]]))


def test_memory_that_is_bound_for_caches(source: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step's present takes the place of its past, one row longer."""
    session, plain = session_of(source), Plain(source)
    taken = watched(session, monkeypatch)
    bound = Bound(session)
    memory = {name: np.full(HEADS * WIDTH * 32, np.nan, np.float32) for name in bound.pasts}
    logits = np.zeros((1, 1, 11), np.float32)
    for k in range(FIRST + 6):
        io = session.io_binding()
        for name, array in bound.feeds(np.array([[k % 11]]), None).items():
            io.bind_cpu_input(name, array)
        for name, buffer in memory.items():
            at = buffer.ctypes.data
            io.bind_input(name, "cpu", 0, np.float32, (1, HEADS, k, WIDTH), at)
            present = name.replace("past_key_values", "present")
            io.bind_output(present, "cpu", 0, np.float32, (1, HEADS, k + 1, WIDTH), at)
        io.bind_ortvalue_output("logits", OrtValue(logits))
        session.run_with_iobinding(io)
        close(logits, plain.step([[k % 11]]))
        assert io.get_outputs()[-1].numpy() is logits
    assert taken.count("copies") > 3
    for name, buffer in memory.items():
        close(buffer[: plain.past[name].size].reshape(plain.past[name].shape), plain.past[name])


def test_inputs_that_grow_and_are_no_caches() -> None:
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "x"], ["y"])],
        "twice",
        [info("x", onnx.TensorProto.FLOAT, ["n", 2, 1])],
        [info("y", onnx.TensorProto.FLOAT, ["n", 2, 1])],
    )
    session = session_of(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)]))
    for n in range(FIRST + 3):
        x = np.full((n, 2, 1), n, np.float32)
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], x + x)
    assert session._growing._watched is None
