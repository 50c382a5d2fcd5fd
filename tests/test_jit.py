"""Kernels: parallel regions, preparing and calling them."""

from __future__ import annotations

import ast
import io
import linecache
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numba_rt import jit, kernel_cache, prepare, region
from numba_rt.errors import KernelError
from tests.kernel_sources import HEAD, SPAN, make, run, scale

pytestmark = pytest.mark.skipif(jit.DISABLED, reason="checks what is compiled")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUMBA_RT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def triple() -> jit.Kernel:
    return make(scale("f", 3.0)).f


# Regions


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_each_number_of_tasks_gives_the_same(n: int, triple: jit.Kernel) -> None:
    x = np.arange(n, dtype=np.float64)
    for tasks in (1, 2, 3, 7, 64):
        y = np.full(n, -1.0)
        triple(x, y, tasks)
        np.testing.assert_array_equal(y, x * 3)
        z = x.copy()
        triple(z, z, tasks)
        np.testing.assert_array_equal(z, y)


def test_after_the_loop_comes_what_needs_all_tasks() -> None:
    f = make(f"""
@kernel.reduction
def total(x, parts, y, tasks):
    if x.size == 0:
        y[0] = 0.0
        return
    for t in prange(tasks):
        s = 0.0
        for i in {SPAN}:
            s += x[u(i)]
        parts[t] = s
    s = 0.0
    for t in range(tasks):
        s += parts[t]
    y[0] += s
""").total
    x, y = np.arange(1000.0), np.zeros(1)
    for tasks in (1, 2, 5):
        y[0] = 0
        f(x, np.zeros(8), y, tasks)
        assert y[0] == x.sum()


def test_helpers_and_constants_are_found() -> None:
    f = make(f"""
LIMIT = np.float32(2)
@inline
def limited(v):
    return min(v, LIMIT)
@kernel
def f(x, y, tasks):
    '''Limits.'''
    for t in prange(tasks):
        for i in {SPAN}:
            y[u(i)] = limited(x[u(i)])
""").f
    x = np.arange(100, dtype=np.float32)
    y = np.empty_like(x)
    f(x, y, 2)
    np.testing.assert_array_equal(y, np.minimum(x, 2))
    assert f.__doc__ == "Limits."


def test_an_error_in_a_task_is_raised() -> None:
    f = make("""
@kernel
def f(x, tasks):
    for t in prange(tasks):
        if x[u(t)] < 0:
            raise ValueError("negative")
""").f
    f(np.ones(4), 4)
    with pytest.raises(KernelError, match="kernel f raised an exception; set NUMBA_DISABLE_JIT=1"):
        f(np.array([1.0, 1, -1, 1]), 4)
    with pytest.raises(KernelError):
        f(np.array([-1.0]), 1)
    f(np.ones(4), 4)


@pytest.mark.parametrize(
    ("before", "inside", "after", "reason"),
    [
        ("y[0] = 0.0", "y[t] = 1.0", "", "stores into an array"),
        ("parts = np.zeros(tasks)", "parts[t] = 1.0", "", "makes an array"),
        ("x.fill(0)", "y[t] = 1.0", "", "calls for effect"),
        ("s = 0.0", "s += x[t]", "y[0] = s", "'s' is computed in the prange loop"),
    ],
)
def test_what_tasks_cannot_share_is_refused(before: str, inside: str, after: str, reason: str) -> None:
    f = make(f"""
@kernel
def f(x, y, tasks):
    {before}
    for t in prange(tasks):
        {inside}
    {after}
""").f
    with pytest.raises(KernelError, match=reason):
        f(np.ones(4), np.ones(4), 2)


def test_a_loop_inside_another_is_refused() -> None:
    f = make("""
@kernel
def f(x, tasks):
    for i in range(2):
        for t in prange(tasks):
            x[t] = i
""").f
    with pytest.raises(KernelError, match="not a statement of the function itself"):
        f(np.ones(4), 2)


def test_source_that_is_not_the_functions_is_refused() -> None:
    f = make(scale("f", 2.0)).f
    text = kernel_cache.source_text(Path(f.function.__code__.co_filename))
    assert region.shared(f.function, text).__name__ == "f"
    with pytest.raises(KernelError, match="has changed since it was imported"):
        region.shared(f.function, text.replace("2.0", "2.0 + x[0]"))


def test_a_kernel_of_a_notebook_has_a_region(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = HEAD + "@kernel\ndef f(x, tasks):\n    for t in prange(tasks):\n        x[t] = np.float64(np.pi)\n"
    file = "/tmp/ipykernel_1/1.py"
    linecache.cache[file] = (len(cell), None, cell.splitlines(keepends=True), file)
    names: dict[str, Any] = {"__name__": "__main__"}
    compile_kernel, compiled = jit.compiler().compile_kernel, []

    def noted(*args: Any) -> Any:
        compiled.append(compile_kernel(*args))
        return compiled[-1]

    monkeypatch.setattr(jit.compiler(), "compile_kernel", noted)
    for statement in ast.parse(cell).body:
        exec(compile(ast.Module([statement], []), file, "exec"), names)
    x = np.zeros(4)
    names["f"](x, 4)
    assert (x == np.pi).all()
    assert names["f"].is_parallel and "numba_parallel_for" in compiled[-1][0].needed
    assert not list(cache.rglob("*.kernel"))


# Preparing


def test_prepare_counts_and_repeats_nothing(cache: Path) -> None:
    module = make(scale("f", 2.0), scale("g", 3.0))
    args = (np.ones(5), np.empty(5), 2)
    codes = jit.Kernel.signature(args)
    requests = [(module.f, codes), (module.f, codes), (module.g, codes)]
    seen = []
    made = jit.prepare(requests, progress=lambda *step: seen.append(step))
    assert (made.loaded, made.compiled) == (0, 2)
    assert seen == [(0, 2, "f"), (1, 2, "g")]
    again = jit.prepare(requests)
    assert (again.loaded, again.compiled) == (0, 0)
    fresh = jit.Kernel(module.f.function, module.f.fastmath)
    made = jit.prepare([(fresh, codes)])
    assert (made.loaded, made.compiled) == (1, 0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.delenv("NUMBA_RT_PROGRESS", raising=False)
    with prepare._Line() as line:
        line.show(0, 2, "softmax_rows")
        line.show(1, 2, "add")
    shown = terminal.getvalue()
    assert "\n" not in shown
    assert "kernel 1 of 2" in shown and "kernel 2 of 2" in shown and "softmax_rows" in shown
    assert shown.endswith("\r") and not shown.split("\r")[-2].strip()


@pytest.mark.parametrize(("seconds", "setting", "lines"), [(-1.0, "1", 1), (-1.0, "0", 0), (60.0, "1", 0)])
def test_progress_without_a_terminal(
    seconds: float,
    setting: str,
    lines: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NUMBA_RT_PROGRESS", setting)
    monkeypatch.setattr(prepare, "_SILENT_SECONDS", seconds)
    with prepare._Line() as line:
        line.show(0, 2, "f")
        line.show(1, 2, "g")
    assert capsys.readouterr().err.count("compiling 2 kernels for this machine") == lines


def test_progress_without_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "_SILENT_SECONDS", -1.0)
    monkeypatch.setattr(sys, "stderr", None)
    with prepare._Line() as line:
        line.show(0, 1, "f")


def test_an_entry_runs_its_types_only(cache: Path) -> None:
    f = make(scale("f", 2.0)).f
    x, y = np.ones(5), np.empty(5)
    entry = f.entry(f.signature((x, y, 2)))
    entry(x, y, 2)
    assert (y == 2).all()
    with pytest.raises(TypeError):
        entry(x.astype(np.float32), y, 2)


def test_threads_may_build_the_same_kernel(cache: Path) -> None:
    module = make(scale("f", 2.0))
    x = np.arange(10_000.0)
    results = [np.zeros_like(x) for _ in range(8)]
    barrier = threading.Barrier(8)

    def work(y: np.ndarray) -> None:
        barrier.wait()
        jit.prepare([(module.f, module.f.signature((x, y, 2)))])
        for _ in range(50):
            module.f(x, y, 2)

    before = jit.stats().compiled
    workers = [threading.Thread(target=work, args=(y,)) for y in results]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all((y == 2 * x).all() for y in results)
    assert jit.stats().compiled == before + 1


def test_without_the_compiler_kernels_are_python(tmp_path: Path) -> None:
    code = f"""
import numpy as np
from numba_rt import jit
@jit.intrinsic
def never(context, x):
    raise AssertionError
f = jit.load_generated("plain", {HEAD + scale("f", 2.0)!r}).f
x, y = np.ones(5), np.empty(5)
made = jit.prepare([(f, f.signature((x, y, 2)))])
f(x, y, 2)
assert (y == 2).all()
print(jit.DISABLED, made.compiled, jit.stats().compiled)
"""
    assert run(code, tmp_path, NUMBA_DISABLE_JIT="1").split() == ["True", "0", "0"]
    assert not list(tmp_path.rglob("*.kernel"))
