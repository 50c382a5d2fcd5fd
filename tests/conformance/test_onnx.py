"""The onnx package's backend suite, against a strict list of what fails."""

from __future__ import annotations

import pytest

from numba_rt.errors import NumbaRtError
from tests.conformance import expected
from tests.conformance.cases import Case, all_cases
from tests.conformance.check import check

FAILURES = expected.read()


def parameter(case: Case) -> object:
    reason = FAILURES.get(case.id)
    # Only errors of the package or a wrong result may be expected, never a crash.
    errors = (NumbaRtError, AssertionError)
    marks = [pytest.mark.xfail(reason=reason, raises=errors, strict=True)] if reason else []
    return pytest.param(case, id=case.id, marks=marks)


@pytest.mark.parametrize("case", [parameter(c) for c in all_cases()])
def test_case(case: Case) -> None:
    check(case)


def test_entries_name_cases() -> None:
    assert sorted(FAILURES.keys() - {c.id for c in all_cases()}) == []
