"""Files written by earlier versions open, run, and export what they held; the schema only grows."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

import numba_rt
from converter.read import read
from converter.to_onnx import to_proto
from numba_rt.format import definition, generate, ready_definition, verifier
from numba_rt.format.container import open_container
from numba_rt.format.schema_generated import TABLES
from tests.format.normal import normal

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(CORPUS.rglob("*.nrt"))


def test_there_is_a_file_of_every_version() -> None:
    assert {open_container(f).version for f in FILES} == {1}


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(CORPUS)))
def test_old_files(file: Path) -> None:
    expected = onnx.load(file.with_suffix(".onnx"))
    assert normal(to_proto(read(file))) == normal(expected)
    data = file.with_suffix(".npz")
    if data.exists():
        arrays = dict(np.load(data))
        model = numba_rt.load(file)
        outputs = model.run({i.name: arrays[i.name] for i in model.inputs})
        for info, found in zip(model.outputs, outputs, strict=True):
            if found.dtype.kind == "O":
                assert found.tolist() == arrays[info.name].tolist()
            else:
                np.testing.assert_allclose(found, arrays[info.name], rtol=1e-5, atol=1e-6)


def test_fields_of_the_first_version_stay_where_they_are() -> None:
    """A field may be added to the end of a table, never moved, renamed or given another type."""
    first = json.loads((CORPUS / "version_1" / "schema.json").read_text())
    for table, fields in first.items():
        now = [list(f) for f in TABLES[table]]
        assert now[: len(fields)] == fields, table


def test_classes_have_the_fields_of_the_schema() -> None:
    for table, fields in TABLES.items():
        names = list(verifier.CLASSES[table].__slots__)
        assert names[: len(fields)] == [name for name, _, _ in fields], table
        assert set(names[len(fields) :]) <= {"source"}
        assert verifier.CLASSES[table].__module__ in (definition.__name__, ready_definition.__name__)


@pytest.mark.skipif(shutil.which("flatc") is None, reason="flatc is not installed")
def test_generated_code_is_that_of_the_schema(tmp_path: Path) -> None:
    subprocess.run(
        [shutil.which("flatc") or "", "-o", str(tmp_path), "--schema", "-b", str(generate.SCHEMA)], check=True
    )
    made = generate.source(generate.described((tmp_path / "schema.bfbs").read_bytes()))
    assert made == generate.TARGET.read_text()


def test_the_script_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(SystemExit, match="apt install flatbuffers-compiler"):
        generate.main()
