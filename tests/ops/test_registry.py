"""Operators are found without a list of them, and imported when they are asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from numba_rt.ops import REGISTRY, _registry, get
from tests.converter.build import relu


def test_every_operator_is_found_in_the_text_of_its_module() -> None:
    for (domain, op_type), cls in REGISTRY.items():
        family = cls.__module__.rpartition(".")[2]
        if cls.__module__.startswith(_registry.PACKAGE):
            assert op_type in _registry._defined(family)
            assert get(domain, op_type) is cls


def test_what_a_module_without_text_defines(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = set(_registry._defined("trilu"))
    monkeypatch.setattr(Path, "read_bytes", lambda self: (_ for _ in ()).throw(FileNotFoundError))
    assert expected <= set(_registry._defined("trilu"))


def test_an_unknown_operator() -> None:
    assert get("", "Nonesuch") is None
    assert ("", "Nonesuch") not in REGISTRY


def test_loading_imports_no_more_than_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(relu().SerializeToString())
    program = (
        f"import sys, numba_rt; numba_rt.load({str(path)!r}); "
        "print(*(n for n in ('onnx', 'google.protobuf', 'numba_rt.ops.trees', "
        "'numba_rt.ops.activation', 'converter.rten', 'numba_rt.format.writer') if n in sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["numba_rt.ops.activation"]
