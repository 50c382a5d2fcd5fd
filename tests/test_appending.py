"""Caches handed back to a session: appended to where they are the newest, right wherever they come from."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import pytest

from numba_rt import IndexRangeError, InferenceSession, InputError, SessionOptions
from numba_rt.appender import Appender
from numba_rt.cache_value import CacheValue
from numba_rt.ort_value import OrtValue
from numba_rt.windows import BLOCK, FIRST_ROWS
from tests.test_decoder import HEADS, LAYERS, MODEL, WIDTH, Plain, close, tokens, transformer


class Bound:
    """A sequence decoded as programs for onnxruntime do: presents bound as pasts."""

    def __init__(self, session: InferenceSession, batch: int = 1, values: bool = False) -> None:
        self.session = session
        self.values = values
        self.batch = batch
        self.names = [i.name for i in session.get_inputs()]
        self.pasts = [n for n in self.names if n.startswith("past")]
        dtype = np.float16 if session.get_outputs()[-1].type == "tensor(float16)" else np.float32
        empty = np.zeros((batch, HEADS, 0, WIDTH), dtype)
        self.past = {n: OrtValue.ortvalue_from_numpy(empty) for n in self.pasts}
        self.mask = np.zeros((batch, 0), np.int64)

    def copy(self) -> Bound:
        made = Bound(self.session, self.batch, self.values)
        made.past, made.mask = dict(self.past), self.mask
        return made

    def feeds(self, ids: np.ndarray, mask: np.ndarray | None) -> dict[str, np.ndarray]:
        mask = np.ones_like(ids) if mask is None else mask
        self.mask = np.concatenate([self.mask, mask], 1)
        numbers = np.maximum(self.mask.cumsum(1) - 1, 0)[:, -ids.shape[1] :]
        has_past = np.array([self.mask.shape[1] > ids.shape[1]])
        made = {
            "input_ids": ids,
            "attention_mask": self.mask,
            "position_ids": numbers,
            "use_cache_branch": has_past,
            "encoder_hidden_states": np.zeros((self.batch, 2), np.float32),
        }
        return {n: x for n, x in made.items() if n in self.names}

    def step(self, ids: Any, mask: np.ndarray | None = None) -> np.ndarray:
        feeds = self.feeds(np.atleast_2d(ids), mask)
        presents = [n.replace("past_key_values", "present") for n in self.pasts]
        if self.values:
            fed = {n: OrtValue(x) for n, x in feeds.items()} | self.past
            logits, *outs = self.session.run_with_ort_values(["logits", *presents], fed)
        else:
            io = self.session.io_binding()
            for name, array in feeds.items():
                io.bind_cpu_input(name, array)
            for name, value in self.past.items():
                io.bind_ortvalue_input(name, value)
            for name in ("logits", *presents):
                io.bind_output(name)
            self.session.run_with_iobinding(io)
            logits, *outs = io.get_outputs()
        self.past = dict(zip(self.pasts, outs, strict=True))
        return logits.numpy()


def appender(session: InferenceSession, batch: int = 1) -> Appender:
    found = session._appending._by_batch[batch]
    assert found is not None
    return found


def buffers(bound: Bound) -> list[Any]:
    """What the caches of a sequence lie in."""
    values = [v for v in bound.past.values() if isinstance(v, CacheValue)]
    assert len(values) == 2 * LAYERS
    assert len({id(v.caches) for v in values}) == 1
    caches = values[0].caches
    assert caches is not None
    return list(caches.buffers.values())


def session_of(model: onnx.ModelProto) -> InferenceSession:
    options = SessionOptions()
    options.intra_op_num_threads = 1
    return InferenceSession(model.SerializeToString(), options)


@pytest.fixture(scope="module")
def source() -> Iterator[onnx.ModelProto]:
    yield transformer()


@pytest.fixture(scope="module")
def session(source: onnx.ModelProto) -> InferenceSession:
    return session_of(source)


@pytest.mark.parametrize("values", [False, True])
def test_presents_bound_as_pasts_are_appended_to(source: onnx.ModelProto, values: bool) -> None:
    session = session_of(source)
    bound, plain = Bound(session, values=values), Plain(source)
    prompt = tokens(5)
    close(bound.step(prompt), plain.step(prompt))
    close(bound.step([1]), plain.step([[1]]))
    memory = [b.rows for b in buffers(bound)]
    for t in tokens(2 * BLOCK)[0]:
        close(bound.step([t]), plain.step([[t]]))
    chunk = tokens(7, seed=1)
    close(bound.step(chunk), plain.step(chunk))
    assert all(b.rows is m for b, m in zip(buffers(bound), memory, strict=True)), "nothing was copied"
    (step,) = appender(session).model._program.steps  # type: ignore[union-attr]
    plans = list(step.plans.values())  # type: ignore[union-attr]
    assert len(plans) == 5, "the check of padding, three blocks, and a chunk"
    for plan in plans:
        assert {c.args[1].nbytes for c in plan.calls if c.node.op.op_type == "Append"} <= {
            MODEL * 4,
            7 * MODEL * 4,
        }
        assert len(plan.outputs) == 1
    for value, expected in zip(bound.past.values(), plain.past.values(), strict=True):
        assert value.shape() == [1, HEADS, 5 + 1 + 2 * BLOCK + 7, WIDTH]
        close(value.numpy(), expected)


def test_buffers_grow(session: InferenceSession, source: onnx.ModelProto) -> None:
    bound, plain = Bound(session), Plain(source)
    for part in (tokens(5), tokens(1), tokens(32)):
        close(bound.step(part), plain.step(part))
    held, expected = dict(bound.past), dict(plain.past)
    for k in range(8):
        part = tokens(32, seed=k)
        close(bound.step(part), plain.step(part))
    assert FIRST_ROWS < 5 + 1 + 9 * 32
    once = 2 * LAYERS * (BLOCK + FIRST_ROWS) * MODEL * 4
    assert 0 < sum(b.copied for b in buffers(bound)) <= once
    for name, value in held.items():
        close(value.numpy(), expected[name])


def test_older_presents_keep_what_they_hold(session: InferenceSession, source: onnx.ModelProto) -> None:
    """Two sequences go on from one present, and a third from the middle of the first."""
    bound, plain = Bound(session), Plain(source)
    for t in (3, 1, 4):
        bound.step([t])
        plain.step([[t]])
    branch, plain_branch = bound.copy(), Plain(source)
    plain_branch.past, plain_branch.mask = dict(plain.past), plain.mask
    held = [v.peek().copy() for v in branch.past.values()]
    close(bound.step([5]), plain.step([[5]]))
    third, plain_third = bound.copy(), Plain(source)
    plain_third.past, plain_third.mask = dict(plain.past), plain.mask
    for t in (9, 2, 6):
        close(bound.step([t]), plain.step([[t]]))
        close(branch.step([t + 1]), plain_branch.step([[t + 1]]))
    assert not {id(b.rows) for b in buffers(bound)} & {id(b.rows) for b in buffers(branch)}
    close(third.step([7]), plain_third.step([[7]]))
    close(bound.step([8]), plain.step([[8]]))
    for value, expected in zip(third.past.values(), plain_third.past.values(), strict=True):
        close(value.numpy(), expected)
    for value, before in zip(branch.past.values(), held, strict=True):
        np.testing.assert_array_equal(value.numpy()[:, :, :3], before)


def test_a_value_is_its_holders(session: InferenceSession, source: onnx.ModelProto) -> None:
    """Memory that the holder may have written to is no longer that of the buffer."""
    bound, plain = Bound(session), Plain(source)
    for t in (3, 1):
        bound.step([t])
        plain.step([[t]])
    name = next(iter(bound.past))
    value, expected = bound.past[name], plain.past[name]
    assert isinstance(value, CacheValue)
    assert value.shape() == list(expected.shape)
    assert value.data_type() == "tensor(float)"
    assert value.element_type() == onnx.TensorProto.FLOAT
    assert value.tensor_size_in_bytes() == expected.nbytes
    assert value.has_value()
    assert value.is_tensor()
    assert not value.is_tensor_sequence()
    assert value.caches is not None, "asking for its type takes nothing out of the buffer"
    (row,) = [b.rows for b in buffers(bound) if b.of.cache.past == name]
    memory = value.numpy()
    assert memory.flags.c_contiguous
    assert memory.flags.writeable
    assert not np.shares_memory(memory, row)
    assert value.numpy() is memory
    assert value.data_ptr() == memory.ctypes.data
    np.testing.assert_array_equal(np.from_dlpack(value), memory)
    value.update_inplace(memory * 2)
    plain.past[name] = expected * 2
    close(bound.step([4]), plain.step([[4]]))
    close(bound.step([4]), plain.step([[4]]))
    assert all(isinstance(v, CacheValue) and v.caches is not None for v in bound.past.values())


def test_values_go_anywhere(session: InferenceSession, source: onnx.ModelProto) -> None:
    """To another session, and as plain feeds; what is copied to arrays stays in the buffer."""
    other = session_of(source)
    bound, plain = Bound(session), Plain(source)
    for t in (3, 1, 4):
        bound.step([t])
        plain.step([[t]])
    expected = plain.step([[2]])
    for run in (other, session):
        again = bound.copy()
        again.session = run
        close(again.step([2]), expected)
    feeds = bound.copy().feeds(np.array([[2]]), None)
    arrays = {n: v.numpy() for n, v in bound.copy().past.items()}
    close(session.run(["logits"], feeds | arrays)[0], expected)
    values = {n: np.asarray(v) for n, v in bound.copy().past.items()}
    close(session.run(["logits"], feeds | values)[0], expected)


def test_outputs_bound_to_memory_are_written_there(
    session: InferenceSession, source: onnx.ModelProto
) -> None:
    bound, plain = Bound(session), Plain(source)
    for t in (3, 1):
        bound.step([t])
        plain.step([[t]])
    expected = plain.step([[4]])
    names = [n.replace("past_key_values", "present") for n in bound.pasts]
    feeds, memory = bound.feeds(np.array([[4]]), None), np.zeros_like(expected)
    for own in (False, True):
        io = session.io_binding()
        for name, array in feeds.items():
            io.bind_cpu_input(name, array)
        for name, value in bound.past.items():
            io.bind_ortvalue_input(name, value)
        io.bind_ortvalue_output("logits", OrtValue(memory))
        for name in names:
            io.bind_output(name)
        if own:
            whole = np.zeros((1, HEADS, 3, WIDTH), np.float32)
            io.bind_ortvalue_output(names[0], OrtValue(whole))
        memory.fill(0)
        session.run_with_iobinding(io)
        close(memory, expected)
        assert any(isinstance(v, CacheValue) for v in io.get_outputs()) != own
        for made, wanted in zip(io.copy_outputs_to_cpu()[1:], plain.past.values(), strict=True):
            close(made, wanted)
    close(whole, plain.past[bound.pasts[0]])


def test_a_batch_with_padding_on_the_left(session: InferenceSession, source: onnx.ModelProto) -> None:
    bound, plain = Bound(session, 3), Plain(source, 3)
    prompt, mask = tokens(6, 3), np.array([[0, 0, 1, 1, 1, 1], [1] * 6, [0, 0, 0, 0, 0, 1]])
    seen = mask.astype(bool)
    close(bound.step(prompt, mask)[seen], plain.step(prompt, mask)[seen])
    for k in range(BLOCK + 2):
        step = tokens(1, 3, seed=k)
        close(bound.step(step), plain.step(step))
    assert buffers(bound)
    alone, plain = Bound(session), Plain(source)
    for t in (3, 1, 4):
        close(alone.step([t]), plain.step([[t]]))


def test_errors_are_those_of_the_session(session: InferenceSession, source: onnx.ModelProto) -> None:
    bound, plain = Bound(session), Plain(source)
    for t in (3, 1):
        bound.step([t])
        plain.step([[t]])
    caches = [b.rows for b in buffers(bound)]
    with pytest.raises(IndexRangeError, match="indices contains 99"):
        bound.copy().step([99])
    with pytest.raises(InputError, match="has size"):
        again = bound.copy()
        again.mask = np.ones((2, 1), np.int64)
        again.step([[1], [2]])
    close(bound.step([4]), plain.step([[4]]))
    assert all(b.rows is c for b, c in zip(buffers(bound), caches, strict=True)), "rows were given back"


def test_values_of_different_runs_are_copied(session: InferenceSession, source: onnx.ModelProto) -> None:
    one, two, plain = Bound(session), Bound(session), Plain(source)
    for t in (3, 1):
        one.step([t])
        two.step([t])
        plain.step([[t]])
    mixed = one.copy()
    mixed.past = {n: (one if i % 2 else two).past[n] for i, n in enumerate(one.past)}
    close(mixed.step([4]), plain.step([[4]]))
    swapped = one.copy()
    swapped.past = dict(zip(one.past, reversed(one.past.values()), strict=True))
    arrays = {n: v.numpy() for n, v in swapped.copy().past.items()}
    expected = session.run(["logits"], swapped.copy().feeds(np.array([[4]]), None) | arrays)[0]
    close(swapped.step([4]), expected)


def test_outputs_that_are_no_caches_go_back_as_they_are() -> None:
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "x"], ["y"])],
        "twice",
        [info("x", onnx.TensorProto.FLOAT, ["n", 2])],
        [info("y", onnx.TensorProto.FLOAT, ["n", 2])],
    )
    session = session_of(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)]))
    value = OrtValue(np.ones((3, 2), np.float32))
    for _ in range(3):
        (value,) = session.run_with_ort_values(None, {"x": value})
    np.testing.assert_array_equal(value.numpy(), np.full((3, 2), 8, np.float32))
    assert not session._appending.is_possible


def test_sequences_in_several_threads_from_one_prompt(
    session: InferenceSession, source: onnx.ModelProto
) -> None:
    prompt = Bound(session)
    prompt.step(tokens(6))
    prompt.step([1])

    def work(seed: int) -> None:
        bound, plain = prompt.copy(), Plain(source)
        plain.step(tokens(6))
        plain.step([[1]])
        for t in tokens(20, seed=seed)[0]:
            close(bound.step([t]), plain.step([[t]]))

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, seed) for seed in range(6)]:
            done.result()
