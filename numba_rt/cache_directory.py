"""The directory of everything this package caches: private to its user, one part per toolchain."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from numba_rt.toolchain import identity

_UNUSED_SECONDS = 30 * 86400


@dataclass(frozen=True)
class Store:
    """Directories of cached files: all of `read` are searched, new files go to `write`."""

    read: tuple[Path, ...]
    write: Path


def root() -> Path:
    """Directory that holds everything this package caches."""
    chosen = os.environ.get("NUMBA_RT_CACHE_DIR")
    if chosen:
        return Path(chosen).absolute()
    import platformdirs  # slow to import where it is not needed

    return Path(platformdirs.user_cache_dir("numba_rt", appauthor=False))


def store() -> Store:
    """The directories of this process, created when first asked for."""
    return _open(root())


@cache
def toolchain() -> str:
    """Name of the compiler, its options and the processor it compiles for."""
    digest = hashlib.sha256(repr(identity()).encode()).hexdigest()
    return f"numba-{sys.implementation.cache_tag}-{digest[:12]}"


@cache
def _open(base: Path) -> Store:
    directory = base / toolchain()
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
        if _is_trusted(directory):
            _remove_unused(base, directory)
            return Store((directory,), directory)
        reason = "other users may write to it"
    except OSError as error:
        reason = error.strerror or str(error)
    temporary = Path(tempfile.mkdtemp(prefix="numba_rt-"))
    atexit.register(_remove_temporary, temporary, os.getpid())
    warnings.warn(
        f"numba_rt: {directory} cannot keep compiled kernels ({reason}), so this process compiles what "
        "it does not find there. Set NUMBA_RT_CACHE_DIR to a directory of your own.",
        stacklevel=3,
    )
    return Store((directory, temporary) if _is_trusted(directory) else (temporary,), temporary)


def _remove_temporary(directory: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(directory, ignore_errors=True)


def _is_trusted(directory: Path) -> bool:
    """Whether only this user or root can have written here: loading a kernel runs what the file holds."""
    try:
        status = directory.stat()
    except OSError:
        return False
    return os.name != "posix" or (status.st_uid in (os.getuid(), 0) and not status.st_mode & 0o022)


def _remove_unused(base: Path, current: Path) -> None:
    """Deletes what no process has used for a month; looks once a day."""
    now = time.time()
    stamp = current / "last_cleaned"
    try:
        if stamp.exists() and stamp.stat().st_mtime > now - 86400:
            return
        stamp.touch()
        os.utime(current)
        for directory in base.glob("numba*-*-*"):
            if directory != current and directory.stat().st_mtime < now - _UNUSED_SECONDS:
                shutil.rmtree(directory, ignore_errors=True)
        for path in current.rglob("*"):
            if path.is_file() and path.stat().st_mtime < now - _UNUSED_SECONDS:
                path.unlink()
    except OSError:
        return


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that no reader ever sees a part of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name[:40]}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
