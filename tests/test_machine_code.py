"""Machine code from the cache: placed here or by LLVM, and what it is called with."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numba_rt import frame, jit, machine_code
from tests.kernel_sources import SPAN, make, run, scale

pytestmark = pytest.mark.skipif(jit.DISABLED, reason="nothing is compiled")

IS_PLACED = sys.platform == "linux"


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> machine_code.Image:
    monkeypatch.setenv("NUMBA_RT_CACHE_DIR", str(tmp_path / "cache"))
    f = make(scale("f", 2.0)).f
    codes = f.signature((np.ones(5), np.empty(5), 2))
    f.entry(codes)
    assert f.cache is not None
    found = f.cache.load(codes)
    assert found is not None
    return found


def call(address: int | None, *args: Any) -> None:
    assert address
    jit.Entry("f", jit.Kernel.signature(args), address)(*args)


@pytest.mark.parametrize("load", [machine_code.load, machine_code._link])
@pytest.mark.parametrize("tasks", [1, 2])
def test_both_ways_of_loading_give_code_that_runs(load: Any, tasks: int, image: machine_code.Image) -> None:
    address = load(image)
    for n in (0, 1, 1000):
        x, y = np.arange(float(n)), np.full(n, -1.0)
        call(address, x, y, tasks)
        np.testing.assert_array_equal(y, 2 * x)


@pytest.mark.skipif(not IS_PLACED, reason="LLVM places it")
def test_what_cannot_be_placed_is_left_to_llvm(image: machine_code.Image) -> None:
    changed = bytearray(image.code)
    for section in machine_code._Elf(image.code).sections:
        if section.kind == machine_code._RELOCATIONS:
            for at in range(section.offset, section.offset + section.size, section.entry_size):
                struct.pack_into("<I", changed, at + 8, 10)  # R_X86_64_32
    with pytest.raises(machine_code._NotHere):
        machine_code._place(image._replace(code=bytes(changed)))
    assert not machine_code._is_elf(b"\xcf\xfa\xed\xfe" + image.code[4:])
    assert not machine_code._is_elf(image.code[:18] + b"\xb7" + image.code[19:])


def test_a_symbol_that_nobody_has_is_a_miss(image: machine_code.Image) -> None:
    missing = image._replace(needed=(*image.needed, "numba_rt_no_such_symbol"))
    assert machine_code._link(missing) is None
    if IS_PLACED:
        renamed = image.code.replace(b"get_num_threads", b"get_num_thread_")
        with pytest.raises(machine_code._NotHere):
            machine_code._place(image._replace(code=renamed))


def test_a_kernel_that_makes_arrays_is_loaded_too(tmp_path: Path) -> None:
    source = f"""
import numpy as np
from numba_rt.jit import kernel, prange, u
@kernel
def f(x, y, tasks):
    for t in prange(tasks):
        own = np.zeros(x.size + 1)
        for i in {SPAN}:
            own[i] = x[u(i)]
            y[u(i)] = own[i] * 2
"""
    code = f"""
import numpy as np
from numba_rt import jit
f = jit.load_generated("makes", {source!r}).f
y = np.empty(9)
f(np.arange(9.0), y, 2)
assert (y == 2 * np.arange(9)).all()
print(jit.stats().compiled)
"""
    assert [run(code, tmp_path).strip() for _ in range(2)] == ["1", "0"]


@pytest.mark.parametrize("is_placed", [True, False])
def test_a_run_of_a_model_needs_no_compiler(is_placed: bool, tmp_path: Path) -> None:
    code = f"""
import sys
import numpy as np
import numba_rt
from numba_rt import machine_code
machine_code._is_elf = machine_code._is_elf if {is_placed} else lambda code: False
from numba_rt.demo.network import SIDE
from importlib.resources import files
model = numba_rt.load(files("numba_rt.demo") / "digits.onnx")
x = model.inputs[0]
model.run({{x.name: np.zeros([d if isinstance(d, int) else 2 for d in x.shape], np.float32)}})
print(*(name in sys.modules for name in ("numba", "llvmlite")))
"""
    run(code, tmp_path)
    assert run(code, tmp_path).split() == ["False", str(not (is_placed and IS_PLACED))]


# Frames


def test_the_words_of_arguments() -> None:
    x = np.zeros((2, 3), np.float32)
    args = (x, -1, 0.5, np.float32(0.5), True, np.uint8(7))
    codes = tuple(map(frame.code_of, args))
    assert codes == ("<f4:2", "<i8", "<f8", "<f4", "|b1", "|u1")
    array, numbers = frame.frame_of(codes, args)[:9], frame.frame_of(codes, args)[9:]
    assert array.tolist() == [0, 0, 6, 4, x.ctypes.data, 2, 3, 12, 4]
    half = struct.unpack("<q", struct.pack("<d", 0.5))[0], struct.unpack("<i", struct.pack("<f", 0.5))[0]
    assert numbers.tolist() == [-1, *half, 1, 7]


@pytest.mark.parametrize(
    "x", [np.zeros((4, 4))[:, ::2].reshape(-1)[:0:-1], np.zeros(33, np.uint8)[1:].view(np.float64)]
)
def test_only_plain_arrays_are_taken(x: np.ndarray) -> None:
    with pytest.raises(TypeError, match="C-contiguous and aligned"):
        frame.frame_of(("<f8:1",), (x,))


def test_types_are_compared() -> None:
    with pytest.raises(TypeError, match="arguments of types <i8, expected <f8"):
        frame.frame_of(("<f8",), (1,))
