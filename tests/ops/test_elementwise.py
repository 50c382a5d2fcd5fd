"""The generator of elementwise kernels: broadcasting, sharing between threads, in place, chains."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numba_rt import jit
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact, Graph, Sym
from numba_rt.model import Model
from numba_rt.ops import REGISTRY, _lowering, get
from numba_rt.ops._eager import run_op
from numba_rt.ops._infer import as_dtype, infer
from numba_rt.ops._op import attribute_types
from numba_rt.ops.elementwise import ABSENT, Elementwise, FusedElementwise, Step
from tests.ops.cases import f32, i64, integers
from tests.ops.test_ops import VALID

ELEMENTWISE = [c for c in VALID if isinstance(c.op(), Elementwise)]


@pytest.fixture(autouse=True)
def share_all_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lowering, "SERIAL_WORK", 0)


def op(name: str, **attributes: Any) -> Any:
    cls = get("", name)
    assert cls is not None
    return cls(**attributes)


@st.composite
def shapes(draw: st.DrawFn, count: int) -> list[tuple[int, ...]]:
    """Shapes of at most 5 axes that broadcast together, with sizes of 0 and 1 among them."""
    full = draw(st.lists(st.sampled_from([0, 1, 2, 3, 3, 5, 7, 20]), min_size=0, max_size=5))
    made = []
    for _ in range(count):
        kept = draw(st.integers(0, len(full)))
        ones = draw(st.lists(st.booleans(), min_size=kept, max_size=kept))
        tail = full[len(full) - kept :]
        made.append(tuple(1 if one else size for one, size in zip(ones, tail, strict=True)))
    return made


@given(shapes(2), st.sampled_from([1, 2, 3]))
@settings(max_examples=60, deadline=None)
def test_add_broadcasts_like_numpy(pair: list[tuple[int, ...]], tasks: int) -> None:
    a, b = (f32(*shape, seed=k) for k, shape in enumerate(pair))
    np.testing.assert_array_equal(run_op(op("Add"), [a, b], 1, threads=tasks)[0], a + b)


@given(shapes(3), st.sampled_from([1, 2]))
@settings(max_examples=40, deadline=None)
def test_where_broadcasts_like_numpy(triple: list[tuple[int, ...]], tasks: int) -> None:
    condition = f32(*triple[0]) > 0
    x, y = (f32(*shape, seed=k) for k, shape in enumerate(triple[1:]))
    got = run_op(op("Where"), [condition, x, y], 1, threads=tasks)[0]
    np.testing.assert_array_equal(got, np.where(condition, x, y))


@pytest.mark.parametrize("tasks", [1, 2, 5])
def test_eight_axes_that_all_alternate(tasks: int) -> None:
    a, b = f32(2, 1, 3, 1, 2, 1, 3, 1), f32(1, 3, 1, 2, 1, 3, 1, 2, seed=1)
    np.testing.assert_array_equal(run_op(op("Add"), [a, b], 1, threads=tasks)[0], a + b)


@pytest.mark.parametrize("tasks", [1, 2])
@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("name", ["Sub", "Div"])
def test_in_place_over_either_operand(name: str, over: int, tasks: int) -> None:
    """Large enough that a wrong order of reads and writes shows."""
    a, b = f32(50, 2000), f32(50, 2000, seed=1)
    expected = run_op(op(name), [a, b], 1)[0]
    got = run_op(op(name), [a.copy(), b.copy()], 1, threads=tasks, over=over)[0]
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("tasks", [1, 2])
@pytest.mark.parametrize("small", [(300,), (40, 1), (40, 300)])
def test_in_place_next_to_a_broadcast(small: tuple[int, ...], tasks: int) -> None:
    a, b = f32(40, 300), f32(*small, seed=1)
    np.testing.assert_array_equal(run_op(op("Sub"), [a.copy(), b], 1, threads=tasks, over=0)[0], a - b)
    np.testing.assert_array_equal(
        run_op(op("Where"), [b > 0, a.copy(), b], 1, threads=tasks, over=1)[0], np.where(b > 0, a, b)
    )


def test_the_same_array_twice_in_place() -> None:
    a = f32(1000)
    x = a.copy()
    np.testing.assert_array_equal(run_op(op("Add"), [x, x], 1, over=0)[0], a + a)


PARTS: list[tuple[Any, Any]] = [
    (op("Add"), np.add),
    (op("Sub"), np.subtract),
    (op("Mul"), np.multiply),
    (op("Max"), np.maximum),
    (op("Neg"), np.negative),
    (op("Abs"), np.abs),
    (op("Floor"), np.floor),
    (op("LeakyRelu", alpha=0.25), lambda x: np.where(x < 0, np.float32(0.25) * x, x)),
]


def random_chain(seed: int) -> tuple[FusedElementwise, list[np.ndarray], np.ndarray]:
    """A chain of 2 to 6 operators on inputs of several shapes, and its result."""
    rng = np.random.default_rng(seed)
    inputs = [f32(6, 5, seed=seed), f32(5, seed=seed + 1), f32(6, 1, seed=seed + 2), f32(seed=seed + 3)]
    known, steps = list(inputs), []
    for index in range(int(rng.integers(2, 7))):
        part, formula = PARTS[rng.integers(len(PARTS))]
        latest = len(known) - 1 if index else 0
        args = (latest, *rng.integers(0, len(known), len(part.parameters()) - 1).tolist())
        args = (*args, 1) if part.op_type == "Max" else args
        steps.append(Step(part, args))
        known.append(formula(*(known[i] for i in args)))
    return FusedElementwise(steps=tuple(steps)), inputs, known[-1]


@pytest.mark.parametrize("seed", range(5))
def test_chains_equal_numpy(seed: int) -> None:
    chain, inputs, expected = random_chain(seed)
    expected = np.broadcast_to(expected, (6, 5))
    for tasks in (1, 2):
        got = run_op(chain, inputs, 1, threads=tasks)[0]
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
    over = run_op(chain, [inputs[0].copy(), *inputs[1:]], 1, over=0)[0]
    np.testing.assert_allclose(over, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(chain.evaluate(*inputs), expected, rtol=1e-6, atol=1e-6)


def test_a_chain_through_several_dtypes() -> None:
    """int64 → float32 → a comparison → a choice between integers"""
    steps = (
        Step(op("Cast", to=onnx.TensorProto.FLOAT), (0,)),
        Step(op("Mul"), (2, 1)),
        Step(op("Greater"), (3, 1)),
        Step(op("Neg"), (0,)),
        Step(op("Where"), (4, 0, 5)),
    )
    n, x = integers(3, 40), f32(40)
    got = run_op(FusedElementwise(steps=steps), [n, x], 1, threads=2)[0]
    np.testing.assert_array_equal(got, np.where(n.astype(np.float32) * x > x, n, -n))


def test_a_chain_without_an_optional_input() -> None:
    chain = FusedElementwise(steps=(Step(op("Neg"), (0,)), Step(op("Clip"), (2, ABSENT, 1))))
    x, top = f32(3, 4), np.array(0.5, np.float32)
    np.testing.assert_array_equal(run_op(chain, [x, top], 1)[0], np.minimum(-x, top))


def test_a_cast_to_16_bits_rounds_within_a_chain() -> None:
    to16, to32 = op("Cast", to=onnx.TensorProto.FLOAT16), op("Cast", to=onnx.TensorProto.FLOAT)
    x = np.array([1.0001, 70000, 1e-9], np.float32)
    got = run_op(FusedElementwise(steps=(Step(to16, (0,)), Step(to32, (1,)))), [x], 1)[0]
    np.testing.assert_array_equal(got, np.array([1, np.inf, 0], np.float32))


def test_another_shape_compiles_nothing() -> None:
    """Nor does one where a size happens to be 1."""
    graph = Graph("sizes")
    n, m = Sym("n"), Sym("m")
    x = graph.input("x", Fact(np.dtype(np.float32), (n, m)))
    y = graph.input("y", Fact(np.dtype(np.float32), (n, 1)))
    z = graph.input("z", Fact(np.dtype(np.float32), (m,)))
    total = graph.node(op("Add"), [x, y], 1, "first").outputs[0]
    graph.outputs = graph.node(op("Mul"), [total, z], 1, "second").outputs
    model = Model(graph, threads=2)

    def run(rows: int, columns: int) -> None:
        feeds = {"x": f32(rows, columns), "y": f32(rows, 1, seed=1), "z": f32(columns, seed=2)}
        expected = (feeds["x"] + feeds["y"]) * feeds["z"]
        np.testing.assert_allclose(model.run(feeds)[0], expected, rtol=1e-6)

    run(4, 5)
    before = jit.stats()
    for rows, columns in [(7, 300), (1, 5), (4, 1), (1, 1), (0, 3)]:
        run(rows, columns)
    assert jit.stats().compiled == before.compiled


@pytest.mark.parametrize("case", [c for c in ELEMENTWISE if c.op().has("evaluate")], ids=lambda c: c.id)
def test_evaluate_agrees_with_the_kernel(case: Any) -> None:
    made = run_op(case.op(), case.inputs, 1)[0]
    value = as_dtype(np.asarray(case.op().evaluate(*case.inputs)), made.dtype)
    assert value.shape == made.shape
    if made.dtype.kind in "fV" and made.dtype != object:
        np.testing.assert_allclose(
            value.astype(np.float64), made.astype(np.float64), rtol=max(case.rtol, 2e-6), atol=case.atol
        )
    else:
        np.testing.assert_array_equal(value, made)


@pytest.mark.parametrize(
    "name", sorted(n for d, n in REGISTRY if d == "" and issubclass(REGISTRY[d, n], Elementwise))
)
def test_inputs_and_attributes_have_the_names_of_onnx(name: str) -> None:
    cls, schema = REGISTRY["", name], onnx.defs.get_schema(name)
    assert [p.name for p in cls.parameters()] == [i.name for i in schema.inputs]
    assert set(attribute_types(cls)) == set(schema.attributes)
    assert cls.since == schema.since_version


def sizes(*values: Any) -> np.ndarray:
    out = np.empty(len(values), object)
    out[:] = values
    return out


def test_arithmetic_of_sizes_that_are_not_known() -> None:
    n = Sym("n")
    float32 = {"to": onnx.TensorProto.FLOAT}
    known = sizes(n, 6)
    assert (op("Add").evaluate(known, i64(1, 2)) == sizes(n + 1, 8)).all()
    assert (op("Div").evaluate(known, i64(2)) == sizes(n // 2, 3)).all()
    assert (op("Mod").evaluate(known, i64(4)) == sizes(n % 4, 2)).all()
    assert op("Max").evaluate(known, i64(0, 9)).tolist() == [n, 9]
    assert op("Where").evaluate(np.array([True, False]), known, i64(1, 5)).tolist() == [n, 5]
    scaled = op("Mul").evaluate(op("Cast", **float32).evaluate(known), np.float32([2, 3]))
    assert (
        op("Cast", to=onnx.TensorProto.INT64).evaluate(op("Floor").evaluate(scaled)) == sizes(2 * n, 18)
    ).all()


def test_a_size_that_is_not_known_equals_no_negative_number() -> None:
    n = Sym("n")
    fact = Fact(np.dtype(np.int64), (1,), sizes(n))
    (minus_one,) = infer(op("Equal"), [fact, Fact.of(i64(-1))], 1)
    assert minus_one.value is not None and not minus_one.value[0]
    (three,) = infer(op("Equal"), [fact, Fact.of(i64(3))], 1)
    assert three.value is None


def test_fractions_of_sizes_are_left_to_the_run() -> None:
    fact = Fact(np.dtype(np.float32), (1,), sizes(Sym("n")))
    (half,) = infer(op("Mul"), [fact, Fact.of(np.float32([0.5]))], 1)
    assert half.value is None


def test_too_many_axes_do_not_matter_but_wrong_ones_do() -> None:
    with pytest.raises(ShapeError, match=r"Add 'sum': shapes cannot be broadcast together"):
        run_op(op("Add"), [f32(2, 3), f32(2)], 1, where="Add 'sum'")


def test_without_compiling() -> None:
    """With NUMBA_DISABLE_JIT kernels are the Python functions they are written as."""
    code = """
import numpy as np
from numba_rt.ops import get
from numba_rt.ops._eager import run_op
x = np.array([[-2.5, 0.5, 3]], np.float32)
print(run_op(get("", "Add")(), [x, x.T], 1)[0].tolist())
print(run_op(get("", "Sigmoid")(), [x], 1)[0].round(4).tolist())
print(run_op(get("", "Max")(), [x, x[:, :1]], 1)[0].tolist())
print(run_op(get("", "Cast")(to=10), [x], 1)[0].tolist())
print(run_op(get("", "Div")(), [np.array([7, -7]), np.array([2, 2])], 1)[0].tolist())
"""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "[[-5.0, -2.0, 0.5], [-2.0, 1.0, 3.5], [0.5, 3.5, 6.0]]",
        "[[0.07590000331401825, 0.6225000023841858, 0.9526000022888184]]",
        "[[-2.5, 0.5, 3.0]]",
        "[[-2.5, 0.5, 3.0]]",
        "[3, -3]",
    ]
