"""With NUMBA_DISABLE_JIT=1 the kernels run as the Python functions they are written as."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OPERATORS = "Softmax or ReduceSum or GatherND or LayerNorm or Concat or MaxPool"


def test_operators_run_interpreted() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/ops/test_ops.py",
        "-k",
        OPERATORS,
    ]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
