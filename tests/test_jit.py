"""Kernels: parallel regions, the cache on disk, and preparing them."""

from __future__ import annotations

import importlib
import io
import itertools
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import numba
import numpy as np
import pytest

from numba_rt import cache_directory, generated, jit, kernel_cache, prepare, region
from numba_rt.errors import KernelError

pytestmark = pytest.mark.skipif(jit.DISABLED, reason="checks what is compiled")

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


def make(*sources: str):
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
    with pytest.raises(ValueError, match="negative"):
        f(np.array([1.0, 1, -1, 1]), 4)
    with pytest.raises(ValueError, match="negative"):
        f(np.array([-1.0]), 1)


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


# Cache files


def test_a_kernel_is_compiled_once_and_loaded_without_the_compiler(tmp_path: Path) -> None:
    code = f"""
import numpy as np
from numba.core.runtime import rtsys
from numba_rt import jit
f = jit.load_generated("once", {HEAD + scale("f", 2.0)!r}).f
y = np.empty(9)
f(np.ones(9), y, 2)
assert (y == 2).all()
stats = jit.stats()
print(stats.loaded, stats.compiled, rtsys._init, round(stats.compile_seconds, 6) > 0)
"""
    assert run(code, tmp_path).split() == ["0", "1", "True", "True"]
    assert run(code, tmp_path).split() == ["1", "0", "False", "False"]


def test_processes_that_start_at_once_share_the_work(tmp_path: Path) -> None:
    source = HEAD + "".join(scale(f"f{i}", float(i)) for i in range(4))
    code = f"""
import numpy as np
from numba_rt import jit
module = jit.load_generated("shared", {source!r})
kernels = [getattr(module, f"f{{i}}") for i in range(4)]
x, y = np.ones(9), np.empty(9)
made = jit.prepare([(kernel, True, (x, y, 2)) for kernel in kernels])
for i, kernel in enumerate(kernels):
    kernel(x, y, 2)
    assert (y == i).all()
assert made.loaded + made.compiled == 4
print(made.compiled)
"""
    processes = [start(code, tmp_path) for _ in range(8)]
    assert 4 <= sum(int(finish(process)) for process in processes) <= 6


def test_a_damaged_file_is_compiled_again(cache: Path) -> None:
    module = make(scale("f", 5.0))
    x, y = np.ones(50), np.empty(50)
    module.f(x, y, 2)
    (file,) = cache.rglob("*.kernel")
    sound = file.read_bytes()
    damages = [
        b"",
        sound[:10],
        sound[: len(sound) // 2],
        sound[:-1],
        sound[:60] + b"?" + sound[61:],
        sound + b"?",
    ]
    for damaged in damages:
        file.write_bytes(damaged)
        before = jit.stats()
        y[:] = 0
        again = jit.Kernel(module.f.function, module.f.fastmath)
        again(x, y, 2)
        assert (y == 5).all()
        assert (jit.stats().compiled, jit.stats().loaded) == (before.compiled + 1, before.loaded)
        assert kernel_cache._read_payload(file)


def test_no_changed_byte_passes_the_checksum(cache: Path) -> None:
    make(scale("f", 5.0)).f(np.ones(5), np.empty(5), 1)
    (file,) = cache.rglob("*.kernel")
    sound = file.read_bytes()
    choose = random.Random(0)
    for at in itertools.chain(range(60), choose.sample(range(len(sound)), 100)):
        damaged = bytearray(sound)
        damaged[at] ^= choose.randrange(1, 256)
        file.write_bytes(damaged)
        assert kernel_cache._read_payload(file) is None
    for size in choose.sample(range(len(sound)), 50):
        file.write_bytes(sound[:size])
        assert kernel_cache._read_payload(file) is None


def test_the_digest_follows_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("kernels", "simd", "graph"):
        (tmp_path / folder).mkdir()
    files = {
        "a": (
            tmp_path / "kernels/a.py",
            "from numba_rt.kernels import (\n    b,\n    c,\n)\nimport numba_rt.graph.g\n",
        ),
        "b": (tmp_path / "kernels/b.py", "def f():\n    from numba_rt.simd.v import add\n"),
        "c": (tmp_path / "kernels/c.py", "import numpy\n"),
        "v": (tmp_path / "simd/v.py", ""),
        "other": (tmp_path / "simd/w.py", ""),
        "graph": (tmp_path / "graph/g.py", ""),
    }
    for path, text in files.values():
        path.write_text(text)
    monkeypatch.setattr(kernel_cache, "_PACKAGE", tmp_path)
    monkeypatch.setattr(kernel_cache, "_ALWAYS", frozenset())
    monkeypatch.setattr(kernel_cache, "_sources", {})
    first = files["a"][0]
    digests = [kernel_cache.source_digest(first)]
    for name, (path, text) in files.items():
        path.write_text(text + f"# {name}\n")
        assert kernel_cache.source_digest(first) == digests[-1], "sources are read once, as imported"
        kernel_cache._sources.clear()
        digests.append(kernel_cache.source_digest(first))
        assert (digests[-1] != digests[-2]) == (name in "abcv")


def test_a_module_imported_again_has_its_new_code(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    name = f"kernels_{uuid.uuid4().hex}"
    path = tmp_path / f"{name}.py"
    path.write_text(HEAD + scale("f", 2.0))
    module = importlib.import_module(name)
    x, y = np.ones(5), np.empty(5)
    module.f(x, y, 2)
    assert (y == 2).all()
    path.write_text(HEAD + scale("f", 7.0))
    os.utime(path, ns=(0, time.time_ns() + 10**9))
    importlib.invalidate_caches()
    importlib.reload(module).f(x, y, 2)
    assert (y == 7).all()


def test_symbols_differ_between_versions_of_a_kernel(cache: Path) -> None:
    one, two = make(scale("f", 2.0)).f, make(scale("f", 3.0)).f
    types = one.signature((np.ones(5), np.ones(5), 2))
    names = [f.dispatcher.overloads[types].fndesc.llvm_func_name for f in (one, two) if f.entry(types)]
    assert len(set(names)) == 2


# Directories


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_the_directory_is_private(cache: Path) -> None:
    make(scale("f", 2.0)).f(np.ones(5), np.empty(5), 1)
    assert cache.stat().st_mode & 0o777 == 0o700
    assert all(
        not path.stat().st_mode & 0o077
        for path in cache.rglob("*")
        if path.is_dir() or path.suffix == ".kernel"
    )


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_what_others_may_write_is_not_read(cache: Path) -> None:
    directory = cache / cache_directory.toolchain()
    directory.mkdir(parents=True)
    directory.chmod(0o777)
    with pytest.warns(UserWarning, match="other users may write to it"):
        store = cache_directory.store()
    assert directory not in (*store.read, store.write)


def test_without_a_directory_kernels_work_and_one_warning_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NUMBA_RT_CACHE_DIR", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="Set NUMBA_RT_CACHE_DIR") as warned:
        f = make(scale("f", 2.0)).f
        y = np.empty(5)
        f(np.ones(5), y, 2)
    assert (y == 2).all()
    assert len(warned) == 1


def test_numbas_own_cache_is_not_touched(tmp_path: Path) -> None:
    own = tmp_path / "numba"
    own.mkdir()
    code = f"""
import numba, numpy as np
from numba_rt import jit
jit.load_generated("own", {HEAD + scale("f", 2.0)!r}).f(np.ones(5), np.empty(5), 2)
print(numba.config.CACHE_DIR)
"""
    assert run(code, tmp_path / "ours", NUMBA_CACHE_DIR=str(own)).strip() == str(own)
    assert list(own.iterdir()) == []
    assert os.environ.get("NUMBA_CACHE_DIR", "") == numba.config.CACHE_DIR


def test_what_is_unused_for_long_goes(cache: Path) -> None:
    current, old, recent = (
        cache / name for name in (cache_directory.toolchain(), "numba0-a-b", "numba1-a-b")
    )
    for directory in (current, old, recent):
        directory.mkdir(parents=True, mode=0o700)
        (directory / "x.kernel").write_text("")
    (current / "y.kernel").write_text("")
    long_ago = time.time() - 40 * 86400
    os.utime(current / "x.kernel", (long_ago, long_ago))
    os.utime(old, (long_ago, long_ago))
    cache_directory._open.cache_clear()
    cache_directory.store()
    assert {path.name for path in cache.iterdir()} == {current.name, recent.name}
    assert {path.name for path in current.iterdir()} == {"y.kernel", "last_cleaned"}


# Generated modules


def test_a_generated_module_is_made_once(cache: Path) -> None:
    search = list(sys.path)
    source = f"VALUE = {uuid.uuid4().hex!r}\n"
    module = jit.load_generated("a/b c", source)
    assert jit.load_generated("other", source) is module
    assert module.__name__.startswith("numba_rt_generated_")
    assert Path(module.__file__).is_relative_to(cache)
    assert Path(module.__file__).read_text() == source
    assert sys.path == search


def test_a_generated_file_that_was_changed_is_written_again(cache: Path) -> None:
    source = f"VALUE = {uuid.uuid4().hex!r}\n"
    module = jit.load_generated("v", source)
    Path(module.__file__).write_text("VALUE = 'changed'\n")
    value = module.VALUE
    del sys.modules[module.__name__]
    again = jit.load_generated("v", source)
    assert value == again.VALUE
    assert Path(again.__file__).read_text() == source
    assert generated._file(Path(again.__file__).name, source.encode()) == Path(again.__file__)


def test_a_generated_module_that_fails_is_forgotten(cache: Path) -> None:
    before = set(sys.modules)
    with pytest.raises(ZeroDivisionError):
        jit.load_generated("bad", "1 / 0\n")
    assert set(sys.modules) == before


# Preparing


def test_prepare_counts_and_repeats_nothing(cache: Path) -> None:
    module = make(scale("f", 2.0), scale("g", 3.0))
    args = (np.ones(5), np.empty(5), 2)
    requests = [(module.f, True, args), (module.f, False, args), (module.g, True, module.g.signature(args))]
    seen = []
    made = jit.prepare(requests, progress=lambda *step: seen.append(step))
    assert (made.loaded, made.compiled) == (0, 2)
    assert seen == [(0, 2, "f"), (1, 2, "g")]
    assert (
        jit.prepare(requests)[:2] == (0, 0)
        if isinstance(made, tuple)
        else jit.prepare(requests).compiled == 0
    )
    fresh = jit.Kernel(module.f.function, module.f.fastmath)
    made = jit.prepare([(fresh, True, args)])
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
    entry = f.entry((x, y, 2))
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
        jit.prepare([(module.f, True, (x, y, 2))])
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
made = jit.prepare([(f, True, (x, y, 2))])
f(x, y, 2)
assert (y == 2).all() and f.entry((x, y, 2)) is f.function and f.build(True) is f.function
print(jit.DISABLED, made.compiled, jit.stats().compiled)
"""
    assert run(code, tmp_path, NUMBA_DISABLE_JIT="1").split() == ["True", "0", "0"]
    assert not list(tmp_path.rglob("*.kernel"))
