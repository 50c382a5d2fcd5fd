"""Sources of small kernels, and processes that run them."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path
from types import ModuleType

from numba_rt import jit

HEAD = "import numpy as np\nfrom numba_rt.jit import inline, kernel, prange, u\n"
SPAN = "range(t * x.size // tasks, (t + 1) * x.size // tasks)"


def scale(name: str, factor: float) -> str:
    return f"""
@kernel
def {name}(x, y, tasks):
    n = x.size
    for t in prange(tasks):
        for i in range(t * n // tasks, (t + 1) * n // tasks):
            y[u(i)] = x[u(i)] * {factor!r}
"""


def make(*sources: str) -> ModuleType:
    """A module of kernels that is in no cache."""
    return jit.load_generated("test", f"{HEAD}TAG = {uuid.uuid4().hex!r}\n{''.join(sources)}")


def run(code: str, folder: Path, **env: str) -> str:
    """Output of another Python process whose cache is `folder`."""
    return finish(start(code, folder, **env))


def start(code: str, folder: Path, **env: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "NUMBA_RT_CACHE_DIR": str(folder),
        "PYTHONPATH": os.pathsep.join(sys.path),
        **env,
    }
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return output
