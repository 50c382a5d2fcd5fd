"""Where the elements of a resized axis come from: positions in the input, indices and weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@dataclass(frozen=True)
class ResizedAxis:
    """One axis: sizes, the scale they were made from, and the part of the input that is cut out."""

    axis: int
    size: int
    out: int
    scale: float
    start: float = 0.0
    end: float = 1.0

    @property
    def is_identity(self) -> bool:
        """Whether the axis stays as it is."""
        whole = np.isclose(self.start, 0) and np.isclose(self.end, 1)
        return bool(self.size == self.out and np.isclose(self.scale, 1, rtol=1e-9) and whole)

    def positions(self, mode: str) -> tuple[np.ndarray, np.ndarray]:
        """Place in the input of each element of the output, and whether it is outside."""
        x = np.arange(self.out, dtype=np.float64)
        wide = self.scale * self.size
        outside = np.zeros(self.out, np.bool_)
        if mode == "align_corners":
            place = x * (self.size - 1) / (wide - 1) if wide != 1 else x * 0
        elif mode == "asymmetric":
            place = x / self.scale
        elif mode == "tf_crop_and_resize":
            extent = (self.end - self.start) * (self.size - 1)
            with np.errstate(invalid="ignore"):
                place = x * extent / (wide - 1) if wide != 1 else x * 0 + extent / 2
                place = place + self.start * (self.size - 1)
            outside = ~((place >= 0) & (place <= self.size - 1))
            place = np.where(outside, 0, place)
        elif mode == "pytorch_half_pixel" and wide == 1:
            place = x * 0 - 0.5
        else:
            place = (x + 0.5) / self.scale - 0.5
            if mode == "half_pixel_symmetric":
                place = place + self.size / 2 * (1 - self.out / wide)
        return place, outside

    def nearest(self, mode: str, rounding: str) -> np.ndarray:
        """Index in the input of each element of the output, -1 outside."""
        place, outside = self.positions(mode)
        floor = np.floor(place)
        part = place - floor
        up = {
            "round_prefer_floor": part > 0.5,
            "round_prefer_ceil": part >= 0.5,
            "floor": part >= 1,
            "ceil": part > 0,
        }
        index = np.clip(floor + up[rounding], 0, self.size - 1).astype(np.int64)
        return np.where(outside, -1, index)

    def weighted(
        self, mode: str, cubic_a: float | None, antialias: bool, exclude_outside: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Indices (-1 outside) and weights, (taps, out); linear if `cubic_a` is None."""
        place, outside = self.positions(mode)
        # The pixel on the left is preferred: a place on a pixel is as far as can be from the one before.
        before = np.ceil(place) - 1
        shrink = min(self.scale, 1.0) if antialias else 1.0
        reach = int(np.ceil((1 if cubic_a is None else 2) / shrink))
        taps = np.arange(1 - reach, reach + 1)[:, None]
        distance = np.abs(taps - (place - before)) * shrink
        weights = np.maximum(1 - distance, 0) if cubic_a is None else _cubic(distance, cubic_a)
        index = before + taps
        if exclude_outside:
            weights = np.where((index < 0) | (index >= self.size), 0, weights)
        if antialias or exclude_outside:
            total = weights.sum(0)
            weights = weights / np.where(total == 0, 1, total)
        index = np.clip(index, 0, self.size - 1).astype(np.int64)
        used = (weights != 0).any(1)
        first = min(int(used.argmax()), 2 * reach - 2) // 2 * 2
        stop = 2 * reach - int(used[::-1].argmax()) // 2 * 2
        return np.where(outside, -1, index)[first:stop], weights[first:stop]


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
