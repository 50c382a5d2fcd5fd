"""Imports go one way, decorators have one home, files and functions stay small."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "numba_rt"
FILES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "converter").rglob("*.py")])

LAYERS = (
    {"errors", "dtypes", "printable", "collection"},
    {"cache_directory", "cores", "generated", "toolchain"},
    {"compiler", "frame", "jit", "kernel_cache", "llvm", "machine_code", "prepare", "region", "threads"},
    {"graph"},
    {"simd", "kernels"},
    {"ops"},
    {"format"},
    {"converter", "optimize"},
    {"plan"},
    {"execute", "instance", "pool"},
    {"program"},
    {"profile"},
    {"feeds", "model", "origin"},
    {
        "appender",
        "appending",
        "backend",
        "cache_value",
        "cli",
        "decoder",
        "demo",
        "growing",
        "onnxruntime",
        "ort_value",
        "session",
        "session_options",
        "windows",
        "__init__",
        "__main__",
    },
)
"""A module may import from its own layer and from those above it in this list."""

UPWARDS = {
    ("model", "converter"): "load is where all stages meet",
    ("origin", "converter"): "save writes what was loaded",
}

MOST_LINES = 450
MOST_LINES_OF_FUNCTION = 60
MOST_LINES_OF_KERNEL = 90
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}


def layer_of(name: str) -> int:
    for number, names in enumerate(LAYERS):
        if name in names:
            return number
    raise AssertionError(f"{name} stands in no layer: give it one in {Path(__file__).name}")


def part_of(file: Path) -> str:
    """The package or module below numba_rt a file belongs to."""
    relative = file.relative_to(ROOT)
    return "converter" if relative.parts[0] == "converter" else relative.parts[1].removesuffix(".py")


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports(node: ast.AST) -> Iterator[str]:
    """Modules imported at run time, those imported by name from a package included."""
    for child in ast.iter_child_nodes(node):
        if is_for_types(child):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        yield from imports(child)


def parts_imported(file: Path) -> set[str]:
    found = set()
    for module in imports(tree(file)):
        names = module.split(".")
        if names[0] == "converter":
            found.add("converter")
        elif names[0] == "numba_rt" and len(names) > 1:
            is_module = (PACKAGE / names[1]).is_dir() or (PACKAGE / f"{names[1]}.py").is_file()
            found.add(names[1] if is_module else "__init__")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_go_one_way(file: Path) -> None:
    own = part_of(file)
    for part in parts_imported(file) - {own}:
        if (own, part) not in UPWARDS:
            assert layer_of(part) <= layer_of(own), f"{own} may not import {part}"


def test_the_converter_knows_little() -> None:
    allowed = {"converter", "dtypes", "errors", "format", "graph", "ops"}
    for file in FILES:
        if part_of(file) == "converter":
            assert parts_imported(file) <= allowed, file


def test_decorators_have_one_home() -> None:
    """Only compiler.py compiles; what emits LLVM itself does so through numba's extension interface."""
    for file in FILES:
        found = {m for m in imports(tree(file)) if m.split(".")[0] == "numba"}
        if file != PACKAGE / "compiler.py":
            assert not found & {"numba.njit", "numba.jit", "numba.prange", "numba.vectorize"}, file
        if part_of(file) not in ("compiler", "region"):
            assert not any(m.startswith("numba.extending") for m in found), file
        attributes = {ast.unparse(n) for n in ast.walk(tree(file)) if isinstance(n, ast.Attribute)}
        if file != PACKAGE / "compiler.py":
            assert not attributes & {"numba.njit", "numba.jit", "numba.prange", "numba.vectorize"}, file


def test_only_the_converter_and_the_backend_read_onnx() -> None:
    """The demo, which trains a model, writes it."""
    for file in FILES:
        if part_of(file) not in ("converter", "backend", "demo"):
            assert not any(m.split(".")[0] == "onnx" for m in imports(tree(file))), file


@pytest.mark.parametrize("folder", ["numba_rt", "converter", "tests", "benchmarks"])
def test_no_module_is_a_drawer(folder: str) -> None:
    for file in (ROOT / folder).rglob("*.py"):
        assert not FORBIDDEN_NAMES & set(file.stem.strip("_").split("_")), file


def test_files_stay_small() -> None:
    for file in FILES:
        if not file.stem.endswith("_generated"):
            assert len(file.read_text().splitlines()) <= MOST_LINES, file


def test_functions_stay_small() -> None:
    for file in FILES:
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.FunctionDef):
                decorators = {ast.unparse(d).split("(")[0] for d in node.decorator_list}
                is_kernel = bool(decorators & {"kernel", "kernel.reduction", "inline", "intrinsic"})
                most = MOST_LINES_OF_KERNEL if is_kernel else MOST_LINES_OF_FUNCTION
                assert node.end_lineno is not None
                length = node.end_lineno - node.lineno + 1
                assert length <= most, (
                    f"{file.relative_to(ROOT)}:{node.lineno} {node.name} has {length} lines"
                )


def test_modules_say_what_they_hold() -> None:
    for file in FILES:
        if file.read_text().strip():
            assert ast.get_docstring(tree(file)), file
