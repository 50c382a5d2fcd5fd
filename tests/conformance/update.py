"""Writes expected_failures.txt: `python -m tests.conformance.update`."""

from __future__ import annotations

import re
import sys
import warnings

from numba_rt.errors import NumbaRtError, UnsupportedOp
from tests.conformance.cases import Case, all_cases
from tests.conformance.check import check
from tests.conformance.expected import read, write

ROUNDING = "rounding of 16-bit steps"


def failure(case: Case) -> str:
    """Why a case fails; "" if it passes."""
    try:
        check(case)
    except UnsupportedOp as error:
        return _one_line(re.sub(r" \((\d+ nodes, first|1 node,) '[^']*'\)", "", str(error)))
    except NumbaRtError as error:
        return _one_line(f"{type(error).__name__}: {error}")
    except AssertionError as error:
        is_half = re.search(r"fp16|bf16|float16|bfloat16", case.id, re.IGNORECASE)
        return ROUNDING if is_half and "Mismatched elements" in str(error) else "differs"
    return ""


def _one_line(text: str) -> str:
    line = text.splitlines()[0]
    line = re.sub(r"^\d+ operators? (is|are) not implemented: ", "", line)
    return line if ": " in line or "Error" in line else f"{line} is not implemented"


def main() -> int:
    """Run every case and write the list; 1 if it changed."""
    before = read()
    warnings.simplefilter("ignore")
    failures = {}
    for case in all_cases():
        if reason := failure(case):
            failures[case.id] = reason
    write(failures)
    total = len(all_cases())
    sys.stdout.write(f"{total - len(failures)} of {total} cases pass\n")
    return int(failures.keys() != before.keys())


if __name__ == "__main__":
    sys.exit(main())
