"""Operators by domain and name; the module of a family is imported when one of its operators is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numba_rt.ops._op import Op

PACKAGE = "numba_rt.ops"
DECORATED = re.compile(rb'^@op\("(\w+)"', re.MULTILINE)


class Registry(Mapping[tuple[str, str], "type[Op]"]):
    """All operators; to go through them imports every family."""

    def __init__(self) -> None:
        self._classes: dict[tuple[str, str], type[Op]] = {}
        self._named: dict[str, list[type[Op]]] = {}
        self._families: dict[str, list[str]] | None = None

    def add(self, cls: type[Op]) -> None:
        """Register a class under its domain and name."""
        key = (cls.domain, cls.op_type)
        if key in self._classes:
            raise TypeError(f"{cls.op_type} is registered twice: {self._classes[key]} and {cls}")
        self._classes[key] = cls
        self._named.setdefault(cls.op_type, []).append(cls)

    def imported(self, op_type: str) -> list[type[Op]]:
        """Operators of this name, of any domain, as far as they are imported."""
        return self._named.get(op_type, [])

    def __getitem__(self, key: tuple[str, str]) -> type[Op]:
        if key not in self._classes:
            for family in self._homes().get(key[1], ()):
                import_module(family)
        return self._classes[key]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for families in self._homes().values():
            for family in families:
                import_module(family)
        return iter(self._classes)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _homes(self) -> dict[str, list[str]]:
        """Name of an operator → modules that define one; they are looked for in the modules' text."""
        if self._families is None:
            families: dict[str, list[str]] = {}
            for module in iter_modules([str(Path(__file__).parent)]):
                if not module.name.startswith("_"):
                    for op_type in _defined(module.name):
                        families.setdefault(op_type, []).append(f"{PACKAGE}.{module.name}")
            self._families = families
        return self._families


def _defined(module: str) -> list[str]:
    """Names of the operators a module defines; where there is no text, it is imported to know them."""
    try:
        text = Path(__file__).with_name(f"{module}.py").read_bytes()
    except OSError:
        found: list[Any] = list(vars(import_module(f"{PACKAGE}.{module}")).values())
        return [cls.op_type for cls in found if isinstance(cls, type) and hasattr(cls, "op_type")]
    return [name.decode() for name in DECORATED.findall(text)]


REGISTRY = Registry()
