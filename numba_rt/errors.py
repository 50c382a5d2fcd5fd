"""Exceptions of numba_rt: one base class, one child per kind of cause."""

from __future__ import annotations


class NumbaRtError(Exception):
    """Base class: `except NumbaRtError` catches everything this package raises on purpose."""


class LoadError(NumbaRtError):
    """A model file or its contents cannot be read: missing, truncated, inconsistent or unsafe."""


class FormatError(LoadError):
    """A .nrt file is damaged, or is none, or needs a later version of this package."""


class UnsupportedOp(LoadError):
    """The model uses operators (or attribute values) that are not implemented; all are listed."""


class ShapeError(NumbaRtError):
    """Shapes, dtypes, axes or attributes of a node do not fit together."""


class InputError(NumbaRtError, ValueError):
    """What was fed does not match the inputs the model declares."""


class IndexRangeError(NumbaRtError, IndexError):
    """An index tensor points outside the array it selects from."""


class KernelError(NumbaRtError):
    """A kernel could not be compiled or run."""


class MissingExtra(NumbaRtError, ImportError):
    """A feature needs a package that is not installed; the message names the extra."""
