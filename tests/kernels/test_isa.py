import os
import platform
import subprocess
import sys
import textwrap

import llvmlite.binding as llvm
import numba
import pytest
from llvmlite import ir

from numba_rt import toolchain
from numba_rt.simd import isa
from numba_rt.simd.depthwise import ANY, FAMILIES
from numba_rt.simd.emit import TileEmitter
from numba_rt.simd.emit_depthwise import RowEmitter

TARGETS = [
    (isa.AVX512, "x86_64-unknown-linux-gnu", "skylake-avx512"),
    (isa.AVX512, "x86_64-unknown-linux-gnu", "znver4"),
    (isa.AVX2, "x86_64-unknown-linux-gnu", "haswell"),
    (isa.PORTABLE, "x86_64-unknown-linux-gnu", "x86-64"),
    (isa.NEON, "aarch64-unknown-linux-gnu", "neoverse-n1"),
]


def product_tile(module, target):
    return TileEmitter(module, target).tile(target.mr)


def row_tile(family):
    return lambda module, target: RowEmitter(module, target, *family).row(7)


TILES = {"product": product_tile, **{f"row {f[0]} {f[1]}": row_tile(f) for f in (*FAMILIES, ANY)}}


@pytest.mark.parametrize(("target", "triple", "cpu"), TARGETS, ids=lambda x: getattr(x, "name", x))
@pytest.mark.parametrize("tile", TILES)
def test_tiles_compile_for_every_instruction_set(target, triple, cpu, tile):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = ir.Module()
    TILES[tile](module, target).linkage = "external"
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, opt=2)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    text = machine.emit_assembly(parsed)
    if target is isa.AVX512:
        assert "%zmm" in text
    if target.fused:
        assert "fma" in text or "fmla" in text
    assert "call\tfma" not in text


def test_features_follow_numba_settings(monkeypatch):
    known = {"avx2", "fma", "avx512f"}
    host = {name for name, on in llvm.get_host_cpu_features().items() if on and name in known}
    if platform.machine().lower() in ("aarch64", "arm64"):
        host = {"neon"}
    monkeypatch.setattr(numba.config, "CPU_NAME", None)
    monkeypatch.setattr(numba.config, "CPU_FEATURES", None)
    assert toolchain.features() == host
    if host != {"neon"}:
        monkeypatch.setattr(numba.config, "CPU_FEATURES", "-avx2,+avx512f")
        assert toolchain.features() == (host | {"avx512f"}) - {"avx2"}
        monkeypatch.setattr(numba.config, "CPU_NAME", "some-other")
        assert toolchain.features() == {"avx512f"}


SCRIPT = textwrap.dedent(
    """
    import sys
    import numpy as np
    from numba_rt.kernels.conv import Window
    from numba_rt.kernels.depthwise import depthwise, depthwise_sizes, depthwise_tiles
    from numba_rt.kernels.gemm import NO_ROWS, NO_VECTOR, epilogue, gemm, product
    from numba_rt.kernels.packing import pack_b
    from numba_rt.simd.isa import ISA
    from numba_rt.simd.tile import tile_addresses
    rng = np.random.default_rng(3)
    assert ISA.name == sys.argv[1], ISA
    for m, n, k in ((1, 40, 30), (7, 16, 5), (33, 33, 33), (13, 50, 1100)):
        a, b = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
        bias, c = rng.standard_normal(n, np.float32), np.empty((m, n), np.float32)
        gemm(a.reshape(-1), pack_b(b).reshape(-1), bias, NO_VECTOR, NO_ROWS, tile_addresses(),
                    product(m, n, k, bias=True), epilogue(lo=0.0), c.reshape(-1), 1)
        expected = np.maximum(a.astype(np.float64) @ b + bias, 0)
        np.testing.assert_allclose(c, expected, rtol=1e-4, atol=1e-4)
    for taps in (3, 2):
        window = Window(1, (4, 9), 21, (taps, taps))
        x, w = rng.standard_normal((4, 9, 21), np.float32), rng.standard_normal((taps, taps, 21), np.float32)
        y = np.empty((*window.out, 21), np.float32)
        depthwise(x.reshape(-1), w.reshape(-1), NO_VECTOR, NO_VECTOR, depthwise_tiles(window),
                         depthwise_sizes(window), epilogue(), y.reshape(-1), 1)
        windows = np.lib.stride_tricks.sliding_window_view(x, (taps, taps), (0, 1))
        np.testing.assert_allclose(y, np.einsum("hwcij,ijc->hwc", windows, w), rtol=1e-4, atol=1e-4)
    """
)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the masks are of x86 features")
def test_a_narrower_instruction_set_gives_the_same():
    narrow = {
        "avx512": ("avx2", "-avx512f"),
        "avx2": ("portable", "-avx2,-fma"),
        "portable": ("portable", ""),
    }
    name, mask = narrow[isa.ISA.name]
    environment = {**os.environ, "NUMBA_CPU_NAME": llvm.get_host_cpu_name()}
    if mask:
        features = ",".join([llvm.get_host_cpu_features().flatten(), mask])
        environment["NUMBA_CPU_FEATURES"] = features
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, name], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
