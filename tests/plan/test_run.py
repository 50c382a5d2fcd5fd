"""What a run may not do: allocate, keep, share or change memory that is not its own."""

from __future__ import annotations

import gc
import threading
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from numba_rt import execute as execute_module
from numba_rt import pool as pool_module
from numba_rt.dtypes import FLOAT32, INT64
from numba_rt.errors import IndexRangeError, ShapeError
from numba_rt.graph import Fact, Graph, Sym
from numba_rt.model import Model
from numba_rt.optimize.rule import Builder
from numba_rt.plan import Plan
from numba_rt.pool import TensorPool


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attention_like() -> Model:
    """softmax(x @ w + x) @ w + x, with a view in between."""
    graph = Graph("attention")
    op = Builder(graph)
    x = graph.input("x", Fact(FLOAT32, (Sym("n"), 16)))
    y = op.Softmax(op.Add(op.MatMul(x, W), x))
    y = op.Reshape(op.Reshape(y, np.array([-1], np.int64)), np.array([-1, 16], np.int64))
    graph.outputs = [op.Add(op.MatMul(y, W), x)]
    return Model(graph, threads=1)


W = np.random.default_rng(0).uniform(-1, 1, (16, 16)).astype(np.float32)


def expected(x: np.ndarray) -> np.ndarray:
    return softmax(x @ W + x) @ W + x


def array(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (n, 16)).astype(np.float32)


def test_nothing_is_allocated_but_the_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    model = attention_like()
    x = array(20_000)
    model.run({"x": x})
    made: list[Any] = []

    class CountingNumpy:
        uint8 = np.uint8
        flatnonzero = staticmethod(np.flatnonzero)

        @staticmethod
        def empty(*args: Any) -> np.ndarray:
            made.append(args)
            return np.empty(*args)

        @staticmethod
        def ndarray(*args: Any) -> np.ndarray:
            assert len(args) > 2, "an array of its own memory"
            return np.ndarray(*args)

        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"np.{name} is used in a run")

    monkeypatch.setattr(execute_module, "np", CountingNumpy())
    tracemalloc.start()
    try:
        model.run({"x": x})
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        (got,) = model.run({"x": x})
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert len(made) == 2, "one output in each of two runs"
    assert peak < got.nbytes + 10_000
    np.testing.assert_allclose(got, expected(x), rtol=1e-4, atol=1e-5)


def test_a_model_keeps_neither_inputs_nor_outputs() -> None:
    model = attention_like()
    x = array(20_000)
    model.run({"x": x})
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        model.run({"x": array(20_000)})
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 20_000


def test_memory_does_not_grow_with_the_number_of_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "MOST_PLANS", 8)
    model = attention_like()
    sizes = np.random.default_rng(1).permutation(np.arange(1, 401))
    for n in (400, *sizes[:100]):
        model.run({"x": array(int(n))})
    tracemalloc.start()
    try:
        for n in sizes[100:200]:
            model.run({"x": array(int(n))})
        before = tracemalloc.get_traced_memory()[0]
        for n in sizes[200:]:
            model.run({"x": array(int(n))})
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    (runner,) = model._program.steps
    assert len(runner.plans) == 8
    assert after - before < 400_000
    assert model._program.pool.nbytes < 2 * 400 * 16 * 4 * 4


def test_plans_go_when_they_take_too_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "MOST_PLAN_BYTES", 1)
    model = attention_like()
    for n in (3, 4, 3, 5):
        np.testing.assert_allclose(model.run({"x": array(n)})[0], expected(array(n)), rtol=1e-4, atol=1e-5)
        assert len(model._program.steps[0].plans) == 1


def test_a_thousand_shapes_take_no_more_memory_than_a_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 400_000
    monkeypatch.setattr(pool_module, "MOST_PLAN_BYTES", limit)
    model = attention_like()
    pool = model._program.pool
    alive: weakref.WeakSet[Plan] = weakref.WeakSet()
    for n in (600, *np.random.default_rng(2).integers(1, 600, 1000)):
        model.run({"x": array(int(n))})
        alive.update(model._program.steps[0].plans.values())
        assert pool.plan_bytes <= limit
    one = max(p.nbytes for p in alive)
    gc.collect()
    assert len(alive) <= limit // one + 2, "lanes keep no plans that have gone"


def test_segments_share_the_memory_for_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = TensorPool()
    caches = [pool.plan_cache() for _ in range(3)]
    monkeypatch.setattr(pool_module, "MOST_PLAN_BYTES", 10)
    sizes = {"a": 4, "b": 3, "c": 2, "d": 3, "e": 12}
    plans = {name: SimpleNamespace(nbytes=size, is_retired=False) for name, size in sizes.items()}
    for cache, name in ((0, "a"), (0, "b"), (1, "c"), (1, "d"), (2, "e")):
        caches[cache].put((name,), plans[name])  # type: ignore[arg-type]
    assert [[p.nbytes for p in c.values()] for c in caches] == [[3], [3], [12]], "each keeps its newest"
    assert [name for name, plan in plans.items() if plan.is_retired] == ["a", "c"]
    assert pool.plan_bytes == 18


def test_the_plan_used_last_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "MOST_PLANS", 2)
    model = attention_like()
    for n in (3, 4, 3, 5, 3):
        model.run({"x": array(n)})
    kept = [plan.outputs[0][0][0] for plan in model._program.steps[0].plans.values()]
    assert kept == [5, 3]


def test_earlier_outputs_are_never_changed() -> None:
    model = attention_like()
    results = [(array(n, n), model.run({"x": array(n, n)})[0]) for n in (5, 3, 5, 70, 5, 3)]
    for x, got in results:
        np.testing.assert_allclose(got, expected(x), rtol=1e-4, atol=1e-5)
    arrays = [got for _, got in results]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])


def passing() -> Model:
    """Outputs that are an input, a constant, and one value twice."""
    graph = Graph("passing")
    op = Builder(graph)
    x = graph.input("x", Fact(FLOAT32, (Sym("n"), 16)))
    y = op.Softmax(x)
    graph.outputs = [x, op.constant(W), y, y, x]
    return Model(graph, threads=1)


def test_outputs_share_memory_with_nothing() -> None:
    model = passing()
    x = array(4)
    first = model.run({"x": x})
    assert not any(np.shares_memory(a, b) for i, a in enumerate(first) for b in [*first[:i], x, W])
    for got in first:
        got[...] = 99
    np.testing.assert_array_equal(x, array(4))
    second = model.run({"x": x})
    for got, want in zip(second, [x, W, softmax(x), softmax(x), x], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x,
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: x[::-1][::-1],
        np.asfortranarray,
        lambda x: x.astype(">f4"),
        lambda x: np.frombuffer(b"." + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape),
        lambda x: np.broadcast_to(x[:1], x.shape),
        lambda x: x.tolist(),
        lambda x: memoryview(x),
        lambda x: np.ma.masked_array(x),
        lambda x: x[:0],
    ],
    ids=["plain", "strided", "reversed", "fortran", "big-endian", "unaligned", "broadcast", "list", "memory",
         "subclass", "empty"],
)  # fmt: skip
def test_inputs_of_any_layout(make: Any) -> None:
    model = attention_like()
    fed = make(array(4))
    plain = np.array(fed, np.float32)
    for value in (fed, plain):
        (got,) = model.run({"x": value})
        assert type(got) is np.ndarray
        np.testing.assert_allclose(got, expected(plain) if plain.size else plain, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(np.array(fed, np.float32), plain)


def test_read_only_inputs() -> None:
    model = passing()
    x = array(4)
    x.setflags(write=False)
    outputs = model.run({"x": x})
    assert all(got.flags.writeable for got in outputs)
    np.testing.assert_allclose(outputs[2], softmax(x), rtol=1e-5)


def test_scalars() -> None:
    graph = Graph("scalars")
    op = Builder(graph)
    x, y = graph.input("x", Fact(FLOAT32, ())), graph.input("y", Fact(FLOAT32, ()))
    graph.outputs = [op.Add(op.Add(x, y), x)]
    model = Model(graph, threads=1)
    for feed in (np.float32(2), np.array(2, np.float32), 2.0):
        (got,) = model.run({"x": feed, "y": feed})
        assert got.shape == () and got.dtype == np.float32 and got == 6


def test_one_array_fed_twice() -> None:
    graph = Graph("twice")
    op = Builder(graph)
    x, y = graph.input("x", Fact(FLOAT32, (Sym("n"), 16))), graph.input("y", Fact(FLOAT32, (Sym("n"), 16)))
    graph.outputs = [op.Softmax(op.Add(x, y))]
    model = Model(graph, threads=1)
    a = array(4)
    np.testing.assert_allclose(model.run({"x": a, "y": a})[0], softmax(a + a), rtol=1e-5)


def gathering() -> Model:
    graph = Graph("gathering")
    op = Builder(graph)
    x, at = graph.input("x", Fact(FLOAT32, (Sym("n"), 16))), graph.input("at", Fact(INT64, (2,)))
    graph.outputs = [op.Softmax(op.Gather(op.Add(x, x), at, axis=0))]
    graph.nodes[1].name = "pick"
    return Model(graph, threads=1, optimized=False)


def test_an_error_in_the_middle_leaves_the_model_usable() -> None:
    model = gathering()
    x = array(4)
    good = {"x": x, "at": np.array([3, 0], np.int64)}
    for _ in range(2):
        with pytest.raises(IndexRangeError, match=r"Gather 'pick'.*7"):
            model.run({"x": x, "at": np.array([1, 7], np.int64)})
        np.testing.assert_allclose(model.run(good)[0], softmax(2 * x[[3, 0]]), rtol=1e-5)


def test_an_interrupted_run_leaves_the_model_usable() -> None:
    model = gathering()
    x = array(4)
    feeds = {"x": x, "at": np.array([3, 0], np.int64)}
    model.run(feeds)
    lane = model._program.pool.acquire()
    (instance,) = lane.instances.values()
    model._program.pool.release(lane)

    def interrupt(*args: Any) -> None:
        instance.status[0] = 1
        raise KeyboardInterrupt

    steps = instance.steps
    instance.steps = [*steps[:-1], (interrupt, [])]
    with pytest.raises(KeyboardInterrupt):
        model.run(feeds)
    instance.steps = steps
    np.testing.assert_allclose(model.run(feeds)[0], softmax(2 * x[[3, 0]]), rtol=1e-5)


def test_sizes_that_do_not_fit_are_refused_when_they_are_fed() -> None:
    graph = Graph("sizes")
    op = Builder(graph)
    x, y = graph.input("x", Fact(FLOAT32, (Sym("n"), 4))), graph.input("y", Fact(FLOAT32, (Sym("m"), 4)))
    graph.outputs = [op.Softmax(op.Add(x, y))]
    model = Model(graph, threads=1)
    a, b = np.ones((2, 4), np.float32), np.ones((3, 4), np.float32)
    with pytest.raises(ShapeError, match="cannot be broadcast"):
        model.run({"x": a, "y": b})
    np.testing.assert_allclose(model.run({"x": a, "y": a[:1]})[0], np.full((2, 4), 0.25))


def test_eight_threads_with_different_shapes() -> None:
    models = [attention_like(), attention_like()]
    together = threading.Barrier(8)

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        together.wait()
        for _ in range(40):
            x = array(int(rng.integers(1, 12)), seed)
            for model in models:
                np.testing.assert_allclose(model.run({"x": x})[0], expected(x), rtol=1e-4, atol=1e-5)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, seed) for seed in range(8)]:
            done.result()
    assert len(models[0]._program.pool._free) <= 8


def test_concurrent_runs_that_share_their_loops() -> None:
    graph = Graph("large")
    op = Builder(graph)
    x = graph.input("x", Fact(FLOAT32, (Sym("n"), 16)))
    graph.outputs = [op.Softmax(op.Add(x, x))]
    model = Model(graph, threads=2)

    def work(seed: int) -> None:
        for n in (5000, 3, 4000):
            x = array(n, seed)
            np.testing.assert_allclose(model.run({"x": x})[0], softmax(x + x), rtol=1e-4)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, seed) for seed in range(4)]:
            done.result()
