"""Maps (dicts) of ai.onnx.ml, on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_rt.dtypes import FLOAT32, INT64, STRING
from numba_rt.errors import InputError, ShapeError
from numba_rt.graph import Dim, Fact, fresh_dim
from numba_rt.ops import _scores
from numba_rt.ops._checks import check_dtype, same_dim
from numba_rt.ops._op import Op, op
from numba_rt.ops.ml import ML


def _check_map(X: Fact) -> None:
    if not X.kind.endswith("map"):
        raise ShapeError(f"X = {X}: expected a map")


@op("ZipMap", domain=ML)
class ZipMap(Op):
    """For each row a dict of the classes' labels and their scores."""

    classlabels_int64s: tuple[int, ...] = ()
    classlabels_strings: tuple[str, ...] = ()

    def _labels(self) -> np.ndarray:
        return _scores.labels(self.classlabels_int64s, self.classlabels_strings, "int64s")

    def infer(self, X: Fact) -> Fact:
        check_dtype(X, "X", {FLOAT32})
        _, classes = _scores.rows(X)
        labels = self._labels()
        if not same_dim(classes, labels.size):
            raise ShapeError(f"X = {X}: expected {labels.size} columns, one for each label")
        key = "string" if labels.dtype == STRING else "int64"
        return Fact(X.dtype, None, None, f"{key} map sequence")

    def run(self, X: np.ndarray) -> tuple[list[dict[Any, float]], ...]:
        self.infer(Fact(X.dtype, X.shape))
        labels = self._labels().tolist()
        return ([dict(zip(labels, row, strict=True)) for row in X.reshape(-1, len(labels)).tolist()],)


@op("DictVectorizer", domain=ML)
class DictVectorizer(Op):
    """The values of a dict in the order of a vocabulary, with zeros for keys that the dict has not."""

    int64_vocabulary: tuple[int, ...] = ()
    string_vocabulary: tuple[str, ...] = ()

    any_rank = True

    def _vocabulary(self) -> tuple[Any, ...]:
        if bool(self.int64_vocabulary) == bool(self.string_vocabulary):
            raise ShapeError("int64_vocabulary and string_vocabulary: expected one of them")
        return self.int64_vocabulary or self.string_vocabulary

    def infer(self, X: Fact) -> Fact:
        _check_map(X)
        return Fact(X.dtype, (1, len(self._vocabulary())))

    def run(self, X: dict[Any, Any]) -> np.ndarray:
        vocabulary = self._vocabulary()
        unknown = [key for key in X if key not in vocabulary]
        if unknown:
            raise InputError(f"X has the key {unknown[0]!r}, which is not in the vocabulary")
        values = list(X.values())
        dtype = _value_dtype(values)
        empty = "" if dtype == STRING else 0
        return np.array([[X.get(word, empty) for word in vocabulary]], dtype)


def _value_dtype(values: list[Any]) -> np.dtype[Any]:
    if any(isinstance(v, str) for v in values):
        return STRING
    return np.asarray(values).dtype if values else FLOAT32


@op("CastMap", domain=ML)
class CastMap(Op):
    """The values of a dict as a row, in the order of the keys (DENSE) or at the places they name (SPARSE)."""

    cast_to: str = "TO_FLOAT"
    map_form: str = "DENSE"
    max_map: int = 1

    any_rank = True

    def _dtype(self) -> np.dtype[Any]:
        dtypes: dict[str, np.dtype[Any]] = {"TO_FLOAT": FLOAT32, "TO_INT64": INT64, "TO_STRING": STRING}
        if self.cast_to not in dtypes:
            raise ShapeError(f"cast_to = {self.cast_to!r}: expected one of {', '.join(dtypes)}")
        return dtypes[self.cast_to]

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (self._dtype(),)

    def infer(self, X: Fact) -> Fact:
        _check_map(X)
        if self.map_form not in ("DENSE", "SPARSE"):
            raise ShapeError(f"map_form = {self.map_form!r}: expected DENSE or SPARSE")
        size: Dim = self.max_map if self.map_form == "SPARSE" else fresh_dim("values")
        return Fact(self._dtype(), (1, size))

    def run(self, X: dict[int, Any]) -> np.ndarray:
        dtype = self._dtype()
        if self.map_form == "DENSE":
            places: list[int] = list(range(len(X)))
            size = len(X)
        else:
            places, size = sorted(X), self.max_map
            if places and not 0 <= places[0] <= places[-1] < size:
                raise InputError(f"X has the keys {places[0]} to {places[-1]}: expected 0 to {size - 1}")
        made = np.full((1, size), "" if dtype == STRING else 0, dtype)
        for place, key in zip(places, sorted(X), strict=True):
            made[0, place] = _cast(X[key], dtype)
        return made


def _cast(value: Any, dtype: np.dtype[Any]) -> Any:
    if dtype == STRING:
        return value if isinstance(value, str) else f"{value:g}"
    return float(value) if dtype == FLOAT32 else int(float(value))
