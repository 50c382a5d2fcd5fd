"""Every case of every operator family through every check."""

from __future__ import annotations

import copy
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from numba_rt.errors import NumbaRtError
from numba_rt.graph import Fact, Graph, Sym, Value
from numba_rt.model import Model
from numba_rt.ops import REGISTRY, _eager, _lowering
from numba_rt.ops._eager import run_op
from numba_rt.ops._infer import infer
from numba_rt.ops.elementwise import Elementwise
from tests.ops.cases import Case

FAMILIES = [
    p.stem
    for p in sorted(Path(__file__).parent.glob("*.py"))
    if not p.stem.startswith(("test_", "_", "cases"))
]
CASES: list[Case] = [c for f in FAMILIES for c in import_module(f"tests.ops.{f}").CASES]
VALID = [c for c in CASES if not c.raises]
INVALID = [c for c in CASES if c.raises]


def check_equal(got: list, expected: list, case: Case) -> None:
    assert len(got) >= len(expected)
    for g, e in zip(got, expected, strict=False):
        if isinstance(e, list):
            check_equal(g, e, case)
            continue
        e = np.asarray(e)
        assert g.shape == e.shape
        assert g.dtype == e.dtype or (g.dtype == object and e.dtype.kind in "OUS")
        if e.dtype.kind in "OUS":
            assert g.tolist() == e.tolist()
        elif e.dtype.kind in "fc" or e.dtype.kind == "V":
            wide = np.complex128 if e.dtype.kind == "c" else np.float64
            np.testing.assert_allclose(g.astype(wide), e.astype(wide), rtol=case.rtol, atol=case.atol)
        else:
            np.testing.assert_array_equal(g, e)


@pytest.mark.parametrize("case", VALID, ids=lambda c: c.id)
def test_equals_oracle(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = [None if x is None else x.copy() for x in case.inputs]
    got = run_op(case.op(), inputs, case.n_outputs)
    expected = case.expected()
    check_equal(got, expected, case)
    for before, after in zip(case.inputs, inputs, strict=True):
        if before is not None:
            assert before.tobytes() == after.tobytes(), "an input was changed"
    if not isinstance(case.op(), Elementwise):  # those share one generator, tested with threads on its own
        monkeypatch.setattr(_lowering, "SERIAL_WORK", 0)
        check_equal(run_op(case.op(), inputs, case.n_outputs, threads=2), expected, case)


@pytest.mark.parametrize("case", VALID, ids=lambda c: c.id)
def test_infer_predicts_outputs(case: Case) -> None:
    op = case.op()
    if op.has("run") or op.has("control") or op.data_dependent:
        return
    facts = [
        None if x is None else Fact.of(x) if k in op.needs_value else Fact(x.dtype, x.shape)
        for k, x in enumerate(case.inputs)
    ]
    for fact, expected in zip(infer(op, facts, case.n_outputs), case.expected(), strict=False):
        assert fact.shape == np.asarray(expected).shape
        assert fact.dtype == np.asarray(expected).dtype or fact.dtype == object


@pytest.mark.parametrize("case", VALID, ids=lambda c: c.id)
def test_through_a_model(case: Case) -> None:
    """Loaded with symbolic sizes, optimised, planned and run: same result."""
    op = case.op()
    if any(x is not None and x.dtype == object for x in case.inputs):
        return
    graph = Graph("case")
    values: list[Value | None] = []
    feeds = {}
    for k, x in enumerate(case.inputs):
        if x is None:
            values.append(None)
        else:
            shape = tuple(Sym(f"d{k}_{a}") for a in range(x.ndim)) if k not in op.needs_value else x.shape
            values.append(graph.input(f"i{k}", Fact(x.dtype, shape)))
            feeds[f"i{k}"] = x
    graph.outputs = graph.node(op, values, case.n_outputs, "node").outputs
    model = Model(graph, threads=1)
    expected = case.expected()
    check_equal(model.run(feeds), expected, case)
    check_equal(model.run(copy.deepcopy(feeds)), expected, case)


IN_PLACE = [
    (case, threads)
    for case in VALID
    if case.op().inplace
    # Elementwise kernels share one generator, whose threads are tested in test_elementwise.
    for threads in ((1,) if isinstance(case.op(), Elementwise) else (1, 2))
]


@pytest.mark.parametrize(("case", "threads"), IN_PLACE, ids=lambda x: x.id if isinstance(x, Case) else str(x))
def test_in_place(case: Case, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Output 0 written over each input the operator declares it may take over."""
    monkeypatch.setattr(_lowering, "SERIAL_WORK", 0)
    expected = case.expected()
    for position in case.op().inplace:
        if position >= len(case.inputs) or case.inputs[position] is None:
            continue
        source, first = case.inputs[position], np.asarray(expected[0])
        if source.shape != first.shape or source.dtype.itemsize != first.dtype.itemsize:
            continue
        inputs = [None if x is None else x.copy() for x in case.inputs]
        got = _eager.run_op(case.op(), inputs, case.n_outputs, threads=threads, over=position)
        check_equal(got, expected, case)


@pytest.mark.parametrize("case", INVALID, ids=lambda c: c.id)
def test_invalid_inputs_are_refused(case: Case) -> None:
    with pytest.raises(NumbaRtError) as error:
        run_op(case.op(), list(case.inputs), case.n_outputs, where=f"{case.op_type} 'node'")
    assert case.raises in str(error.value)


def test_every_operator_has_a_case() -> None:
    tested = {(c.domain, c.op_type) for c in CASES}
    own_tests = {
        ("numba_rt", "FusedElementwise"),  # tests/ops/test_elementwise.py
        ("numba_rt", "Append"),  # tests/test_decoder.py
    }
    families = (
        "numba_rt.ops.control_flow",
        "numba_rt.ops.maps",
        "numba_rt.ops.sequence",
    )  # tests of the same names
    own_tests |= {key for key, cls in REGISTRY.items() if cls.__module__ in families}
    assert set(REGISTRY) - tested - own_tests == set()
