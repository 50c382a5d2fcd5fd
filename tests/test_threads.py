"""Threads: the layer that runs them, their number, forks and concurrent calls."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numba
import numpy as np
import pytest

from numba_rt import cores, jit, threads
from numba_rt.errors import InputError

KERNELS = """
from numba_rt.jit import kernel, prange, u

@kernel
def add(x, y, z, tasks):
    n = x.size
    for t in prange(tasks):
        for i in range(t * n // tasks, (t + 1) * n // tasks):
            z[u(i)] = x[u(i)] + y[u(i)]
"""

COMMON = f"""
import os, sys, threading, warnings
import numpy as np
from numba_rt import jit, threads

add = jit.load_generated("threads", {KERNELS!r}).add
x = np.arange(20_000.0)

def work(times, wrong):
    z = np.zeros_like(x)
    for i in range(times):
        z[:] = 0
        add(x, x, z, 2 + i % 3)
        if not (z == 2 * x).all():
            wrong.append(i)

def concurrent(times):
    wrong = []
    workers = [threading.Thread(target=work, args=(times, wrong)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return wrong
"""


def run(code: str, **env: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **env}
    made = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    if "No threading layer could be loaded" in made.stderr:
        pytest.skip(f"{env} is not installed")
    assert made.returncode == 0, made.stderr
    return made.stdout


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.mark.skipif(jit.DISABLED, reason="there are no threads")
@pytest.mark.parametrize("layer", ["omp", "tbb", "workqueue"])
def test_eight_threads_may_call_at_once(layer: str, cache: str) -> None:
    code = COMMON + "print(concurrent(200), threads.layer().name, threads.layer().is_concurrent)"
    output = run(code, NUMBA_THREADING_LAYER=layer, NUMBA_RT_CACHE_DIR=cache)
    assert output.split() == ["[]", layer, str(layer != "workqueue")]


@pytest.mark.skipif(jit.DISABLED, reason="there are no threads")
@pytest.mark.parametrize("missing", [[], ["tbb"], ["tbb", "omp"]], ids=str)
def test_layers_are_launched_without_numba_and_shared_with_it(missing: list[str], cache: str) -> None:
    """Where libraries are missing, the next one is taken; Numba then finds its threads running."""
    code = f"""
import sys
from numba_rt import threads
find = threads._library
threads._library = lambda name: None if name in {missing!r} else find(name)
name = threads.layer().name
assert name not in {missing!r} and "numba" not in sys.modules
{COMMON}
wrong = concurrent(20)
import numba
numba.config.THREADING_LAYER = name

@numba.njit(parallel=True)
def total(x):
    s = 0.0
    for i in numba.prange(x.size):
        s += x[i]
    return s

print(wrong + concurrent(20), total(x) == x.sum(), numba.threading_layer() == name)
"""
    environment = {"NUMBA_RT_CACHE_DIR": cache, "NUMBA_THREADING_LAYER": "default"}
    assert run(code, **environment).split() == ["[]", "True", "True"]


FORK = """
work(2, [])
child = os.fork()
if child == 0:
    wrong = []
    work(3, wrong)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        counts = [threads.available(2) for _ in range(2)]
    expected = [2, 2] if threads.layer().survives_fork else [1, 1]
    told = len(warned) == (not threads.layer().survives_fork)
    os._exit(0 if not wrong and counts == expected and told else 1)
_, status = os.waitpid(child, 0)
work(3, wrong := [])
print(os.waitstatus_to_exitcode(status), wrong)
"""


@pytest.mark.skipif(jit.DISABLED, reason="there are no threads")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("layer", ["omp", "tbb", "workqueue"])
def test_a_forked_child_computes_too(layer: str, cache: str) -> None:
    output = run(COMMON + FORK, NUMBA_THREADING_LAYER=layer, NUMBA_RT_CACHE_DIR=cache)
    assert output.split() == ["0", "[]"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_forked_before_the_first_region_has_threads(cache: str) -> None:
    code = """
import os
from numba_rt import threads
if os.fork() == 0:
    os._exit(threads.available(2))
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    assert run(code, NUMBA_RT_CACHE_DIR=cache).strip() == "2"


def test_the_layer_numba_runs_is_kept(cache: str) -> None:
    code = """
import numba
numba.config.THREADING_LAYER = "workqueue"
numba.get_num_threads()
numba.config.THREADING_LAYER = "default"
from numba_rt import threads
print(threads.layer().name)
"""
    assert run(code, NUMBA_RT_CACHE_DIR=cache).strip() == "workqueue"


def test_numbas_settings_stay() -> None:
    threads.launch()
    assert numba.config.THREADING_LAYER_PRIORITY == ["tbb", "omp", "workqueue"]
    assert threads.layer() is threads.layer()
    assert threads.layer().name == numba.threading_layer()


def test_a_team_is_this_threads_only() -> None:
    threads.launch()
    before = numba.get_num_threads()
    others: list[int] = []
    with threads.team(1):
        assert numba.get_num_threads() == 1
        other = threading.Thread(target=lambda: others.append(numba.get_num_threads()))
        other.start()
        other.join()
    assert numba.get_num_threads() == before
    assert others == [numba.config.NUMBA_NUM_THREADS]


def test_more_tasks_than_threads_and_fewer() -> None:
    add = jit.load_generated("threads", KERNELS).add
    x = np.arange(1000.0)
    for count in range(1, min(4, numba.config.NUMBA_NUM_THREADS) + 1):
        for tasks in (1, 2, 5, 17):
            z = np.zeros_like(x)
            with threads.team(count):
                add(x, x, z, tasks)
            np.testing.assert_array_equal(z, 2 * x)


# Counts


@pytest.mark.parametrize("stated", ["0", "-1", "two", "1.5", "²"])
def test_a_bad_number_of_threads_names_the_variable(stated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_RT_NUM_THREADS", stated)
    with pytest.raises(InputError, match="NUMBA_RT_NUM_THREADS: expected a number of threads"):
        threads.default_count()


def test_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 6)
    monkeypatch.setattr(threads, "physical_cores", lambda: 8)
    monkeypatch.setattr(threads, "cpu_quota", lambda: 3)
    monkeypatch.delenv("NUMBA_RT_NUM_THREADS", raising=False)
    assert threads.default_count() == 3
    for stated, expected in [("", 3), (" 2 ", 2), ("4", 4), ("64", 6)]:
        monkeypatch.setenv("NUMBA_RT_NUM_THREADS", stated)
        assert threads.default_count() == expected


def test_this_machine_has_cores() -> None:
    assert 1 <= cores.physical_cores() <= (os.cpu_count() or 1)
    assert cores.cpu_quota() >= 1


@pytest.mark.skipif(sys.platform == "darwin", reason="asks the system instead")
@pytest.mark.parametrize("name", ["core_cpus_list", "thread_siblings_list"])
def test_threads_of_one_core_count_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for cpu in range(8):
        folder = tmp_path / f"devices/system/cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / name).write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 4, 6}, raising=False)
    assert cores.physical_cores(tmp_path) == 3
    assert cores.physical_cores(tmp_path / "nothing") == 4


def groups(root: Path, listing: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": listing, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("listing", "files", "expected"),
    [
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, sys.maxsize),
        (
            "0::/a/b\n",
            {"sys/fs/cgroup/a/b/cpu.max": "max 100000", "sys/fs/cgroup/a/cpu.max": "300000 100000"},
            3,
        ),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "1000 100000\n"}, 1),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "unreadable"}, sys.maxsize),
        (
            "5:memory:/d\n4:cpu,cpuacct:/d\n",
            {
                "sys/fs/cgroup/cpu,cpuacct/d/cpu.cfs_quota_us": "250000",
                "sys/fs/cgroup/cpu,cpuacct/d/cpu.cfs_period_us": "100000",
            },
            3,
        ),
        (
            "4:cpuacct,cpu:/missing\n",
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
            4,
        ),
        (
            "4:cpu:/\n",
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
            sys.maxsize,
        ),
    ],
)
def test_container_limits(listing: str, files: dict[str, str], expected: int, tmp_path: Path) -> None:
    assert cores.cpu_quota(groups(tmp_path, listing, files)) == expected


def test_without_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert cores.cpu_quota(tmp_path) == sys.maxsize
