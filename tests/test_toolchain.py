"""What is known of the compiler and the processor before they are asked."""

from __future__ import annotations

import sys
from pathlib import Path

import numba
import pytest

from numba_rt import toolchain
from tests.kernel_sources import run

SETTINGS = tuple(toolchain._DEFAULTS)


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"NUMBA_OPT": "2", "NUMBA_SLP_VECTORIZE": "1", "NUMBA_CPU_NAME": "generic"},
        {"NUMBA_DISABLE_JIT": "1", "NUMBA_NUM_THREADS": "1", "NUMBA_CPU_FEATURES": "-avx2"},
        {"NUMBA_BOUNDSCHECK": "1", "NUMBA_DEBUGINFO": "1"},
    ],
    ids=str,
)
def test_settings_are_the_same_with_and_without_numba(env: dict[str, str], tmp_path: Path) -> None:
    """With the variables of this process's own environment set to nothing but these."""
    code = f"""
import sys
from numba_rt import toolchain
def state():
    names = [n for n in {SETTINGS!r} if n != "THREADING_LAYER_PRIORITY"]
    return [str(toolchain.setting(n)) for n in names], toolchain.most_threads(), toolchain.identity()
before = state()
assert "numba" not in sys.modules
import numba
assert state() == before, (state(), before)
"""
    run(code, tmp_path, **env)


def test_a_settings_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("yaml")
    (tmp_path / ".numba_config.yaml").write_text("num_threads: 1\n")
    monkeypatch.chdir(tmp_path)
    code = "from numba_rt import threads\nprint(threads.checked_count(2))"
    assert run(code, tmp_path).strip() == "1"


def test_what_the_user_set_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = toolchain.identity()
    monkeypatch.setattr(numba.config, "CPU_NAME", "generic")
    assert toolchain.setting("CPU_NAME") == "generic"
    assert toolchain.identity() != before


def test_the_first_processor_of_linux(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: A\nflags\t\t: fpu avx2\n\nprocessor : 1\nflags : none\n")
    assert toolchain._cpuinfo(file) == {"processor": "0", "model name": "A", "flags": "fpu avx2"}
    file.write_text("processor\t: 0\n")
    assert toolchain._cpuinfo(file) == {}
    assert toolchain._cpuinfo(tmp_path / "none") == {}


def test_a_missing_package_says_how_to_get_it() -> None:
    with pytest.raises(ModuleNotFoundError, match="pip install no_such_package"):
        toolchain.package_folder("no_such_package")
    assert toolchain.package_folder("numba") == Path(sys.modules["numba"].__file__ or "").parent
