"""Compiled kernels on disk: shared by processes, private to the user, never trusted when damaged."""

from __future__ import annotations

import importlib
import itertools
import os
import random
import sys
import time
import uuid
from pathlib import Path

import numba
import numpy as np
import pytest

from numba_rt import cache_directory, generated, jit, kernel_cache
from tests.kernel_sources import HEAD, finish, make, run, scale, start

pytestmark = pytest.mark.skipif(jit.DISABLED, reason="nothing is compiled")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUMBA_RT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


# Cache files


def test_a_kernel_is_compiled_once_and_loaded_without_the_compiler(tmp_path: Path) -> None:
    code = f"""
import numpy as np
import sys
from numba_rt import jit
f = jit.load_generated("once", {HEAD + scale("f", 2.0)!r}).f
y = np.empty(9)
f(np.ones(9), y, 2)
assert (y == 2).all()
stats = jit.stats()
loaded = [name in sys.modules for name in ("numba", "llvmlite")]
print(stats.loaded, stats.compiled, *loaded, round(stats.compile_seconds, 6) > 0)
"""
    assert run(code, tmp_path).split() == ["0", "1", "True", "True", "True"]
    assert run(code, tmp_path).split() == ["1", "0", "False", "False", "False"]


def test_processes_that_start_at_once_share_the_work(tmp_path: Path) -> None:
    source = HEAD + "".join(scale(f"f{i}", float(i)) for i in range(4))
    code = f"""
import numpy as np
from numba_rt import jit
module = jit.load_generated("shared", {source!r})
kernels = [getattr(module, f"f{{i}}") for i in range(4)]
x, y = np.ones(9), np.empty(9)
made = jit.prepare([(kernel, kernel.signature((x, y, 2))) for kernel in kernels])
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
    monkeypatch.setattr(kernel_cache, "_PACKAGE", str(tmp_path))
    monkeypatch.setattr(kernel_cache, "_files", kernel_cache._files.__wrapped__)
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
    codes = one.signature((np.ones(5), np.ones(5), 2))
    images = [f.cache.load(codes) for f in (one, two) if f.entry(codes) and f.cache]
    assert len({image.entry for image in images if image}) == 2


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


def test_the_processor_is_part_of_the_key(tmp_path: Path) -> None:
    code = "from numba_rt.cache_directory import toolchain\nprint(toolchain())"
    made = {run(code, tmp_path, **env).strip() for env in ({}, {}, {"NUMBA_CPU_NAME": "generic"})}
    assert len(made) == 2
