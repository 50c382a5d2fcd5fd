"""Windows that slide over spatial axes: padding and output sizes of convolutions and pools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Sym

AUTO_PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


@dataclass(frozen=True)
class Sliding:
    """A window with every number filled in; one entry per spatial axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[Dim, ...]
    ends: tuple[Dim, ...]
    sizes: tuple[Dim, ...]
    """Sizes of the output."""

    @property
    def pads(self) -> tuple[int, ...]:
        """Begins then ends, as ONNX writes them; only when sizes are known."""
        return tuple(int(p) for p in (*self.begins, *self.ends))


def slide(
    sizes: Sequence[Dim],
    kernel: Sequence[int],
    *,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: bool = False,
) -> Sliding:
    """Resolve a window over spatial axes of these sizes.

    Raises:
        ShapeError: numbers are missing, not positive, or the window does not fit.
    """
    rank = len(sizes)
    kernel = _numbers("kernel_shape", kernel, None, rank, 1)
    strides = _numbers("strides", strides, 1, rank, 1)
    dilations = _numbers("dilations", dilations, 1, rank, 1)
    if auto_pad not in AUTO_PADS:
        raise ShapeError(f"auto_pad = {auto_pad!r}: expected one of {', '.join(AUTO_PADS)}")
    extents = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True))
    if auto_pad.startswith("SAME"):
        begins, ends = _same_pads(sizes, extents, strides, auto_pad == "SAME_UPPER")
    else:
        given = (0,) * (2 * rank) if auto_pad == "VALID" else _numbers("pads", pads, 0, 2 * rank, None)
        begins, ends = given[:rank], given[rank:]
    out = tuple(
        _out_size(axis, *numbers, ceil_mode)
        for axis, numbers in enumerate(zip(sizes, extents, strides, begins, ends, strict=True))
    )
    return Sliding(kernel, strides, dilations, tuple(begins), tuple(ends), out)


class Convolving(Protocol):
    """The attributes all convolutions have."""

    dilations: tuple[int, ...] | None
    kernel_shape: tuple[int, ...] | None
    pads: tuple[int, ...] | None
    strides: tuple[int, ...] | None


def slide_filters(op: Convolving, x: Sequence[Any], w: Sequence[Any], auto_pad: str = "NOTSET") -> Sliding:
    """The window of filters of shape w over images of shape x, channels in front."""
    kernel = tuple(int(d) for d in w[2:])
    if op.kernel_shape and tuple(op.kernel_shape) != kernel:
        raise ShapeError(f"kernel_shape = {list(op.kernel_shape)}: the filters have {list(kernel)}")
    return slide(
        x[2:],
        kernel,
        strides=op.strides,
        dilations=op.dilations,
        pads=op.pads,
        auto_pad=auto_pad,
    )


def _numbers(
    name: str, given: Sequence[int] | None, default: int | None, count: int, least: int | None
) -> tuple[int, ...]:
    if not given and default is not None:
        return (default,) * count
    numbers = tuple(int(x) for x in given or ())
    if len(numbers) != count:
        raise ShapeError(f"{name} = {list(numbers)} has {len(numbers)} numbers: expected {count}")
    if least is not None and min(numbers, default=least) < least:
        raise ShapeError(f"{name} = {list(numbers)}: expected numbers of at least {least}")
    return numbers


def _same_pads(
    sizes: Sequence[Dim], extents: Sequence[int], strides: Sequence[int], upper: bool
) -> tuple[tuple[Dim, ...], tuple[Dim, ...]]:
    begins: list[Dim] = []
    ends: list[Dim] = []
    for size, extent, stride in zip(sizes, extents, strides, strict=True):
        if isinstance(size, Sym) and stride == 1:
            total: Dim = extent - 1
        else:
            total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        small = total // 2
        begins.append(small if upper else total - small)
        ends.append(total - small if upper else small)
    return tuple(begins), tuple(ends)


def _out_size(axis: int, size: Dim, extent: int, stride: int, begin: Dim, end: Dim, ceil_mode: bool) -> Dim:
    room = size + begin + end - extent
    if not isinstance(room, Sym) and room < 0:
        raise ShapeError(
            f"a window of {extent} does not fit into spatial axis {axis} of size {size}, "
            f"padded by {begin} and {end}"
        )
    negative = [p for p in (begin, end) if not isinstance(p, Sym) and p < 0]
    if not isinstance(size, Sym) and size + sum(negative) < 0:
        raise ShapeError(f"pads {begin} and {end} crop more than spatial axis {axis} of size {size} has")
    if not ceil_mode:
        return room // stride + 1
    out = (room + stride - 1) // stride + 1
    # A window that would start in the padding behind the input is left out.
    if not isinstance(out, Sym) and not isinstance(size, Sym) and (out - 1) * stride >= size + begin:
        out -= 1
    return out
