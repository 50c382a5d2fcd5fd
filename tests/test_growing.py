"""Plain runs whose caches grow: the same results whichever way they are made, and the way that takes less."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest

from numba_rt import IndexRangeError, InferenceSession, InputError, NumbaRtError
from numba_rt.appender import Appender
from numba_rt.growing import FIRST, SAMPLES
from numba_rt.ort_value import OrtValue
from numba_rt.windows import BLOCK
from tests.test_appending import Bound, session_of
from tests.test_decoder import HEADS, WIDTH, Plain, close, tokens, transformer


@pytest.fixture(scope="module")
def source() -> Iterator[onnx.ModelProto]:
    yield transformer()


class Clock:
    """Time that passes when it is said to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def timed(
    session: InferenceSession, monkeypatch: pytest.MonkeyPatch, plain: float, copying: float
) -> list[str]:
    """Lets runs of a session take as long as is said; which ways they were made."""
    clock, taken = Clock(), []
    ordinary, copies = session._growing._ordinary, Appender.run_on_copies

    def run(*args: Any) -> Any:
        clock.now += plain
        taken.append("plain")
        return ordinary(*args)

    def run_on_copies(*args: Any) -> Any:
        clock.now += copying
        taken.append("copies")
        return copies(*args)

    session._growing._clock = clock
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


def test_plain_runs_share_plans_where_that_is_faster(
    source: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_of(source)
    taken = timed(session, monkeypatch, plain=2, copying=1)
    arrays_of(session, 2 * BLOCK, source)
    # The prompt, the first steps, and one of each block, which is timed again.
    assert taken.count("plain") == FIRST + 2
    assert session._growing.limit == math.inf
    (step,) = session.model._program.steps  # type: ignore[union-attr]
    assert len(step.plans) == taken.count("plain")  # type: ignore[union-attr]
    arrays_of(session, FIRST + 5, source)
    taken.clear()
    arrays_of(session, FIRST + 5, source, batch=2)
    assert taken.count("copies") == 6


def test_plain_runs_stay_plain_where_copies_take_longer(
    source: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_of(source)
    taken = timed(session, monkeypatch, plain=2, copying=3)
    arrays_of(session, BLOCK, source)
    assert taken.count("copies") == SAMPLES + 1
    assert session._growing.limit == 3 + FIRST - 1 + SAMPLES
    taken.clear()
    arrays_of(session, FIRST, source)
    assert taken.count("copies") == 1, "shorter caches are tried again"


def test_plain_runs_that_cannot_be_made_on_copies(
    source: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors are those of plain runs, and what was fed is not changed."""
    session = session_of(source)
    taken = timed(session, monkeypatch, plain=2, copying=1)
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
    taken = timed(session, monkeypatch, plain=2, copying=1)
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
