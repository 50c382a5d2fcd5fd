"""Where a model came from, so that it can be saved as it was given."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numba_rt.errors import LoadError
from numba_rt.format.definition import ModelDef

_Stamp = tuple[int, int, int, int]


@dataclass(frozen=True)
class Origin:
    """A path, with what the file was like when it was read, or what was given in memory."""

    source: Any
    stamp: _Stamp | None = None

    @staticmethod
    def of(source: Any) -> Origin:
        """The origin of a model that is about to be loaded."""
        if not isinstance(source, str | os.PathLike):
            return Origin(source)
        path = Path(os.path.abspath(os.fsdecode(source)))
        return Origin(path, _stamp(path))

    def definition(self) -> ModelDef:
        """The model as it was given; a file is read again.

        Raises:
            LoadError: the file is gone or is another one by now.
        """
        from converter.read import read

        if isinstance(self.source, Path) and _stamp(self.source) != self.stamp:
            raise LoadError(f"{str(self.source)!r} has changed since it was loaded: load it again to save it")
        return read(self.source)


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
