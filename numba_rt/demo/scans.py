"""The handwritten scans: 8×8 images of digits, as they ship inside scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from numba_rt.errors import MissingExtra

INK = 16
HELD_OUT_PER_DIGIT = 36
HELD_OUT = Path(__file__).parent / "scans.npz"


@dataclass(frozen=True)
class Scans:
    """Images (n, 8, 8) uint8 with 0 to 16 ink per pixel, and the digit that each shows."""

    images: np.ndarray[Any, np.dtype[np.uint8]]
    labels: np.ndarray[Any, np.dtype[np.int64]]

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The images as the model takes them: (n, 1, 8, 8) float32 from 0 to 1."""
        return self.images[:, None].astype(np.float32) / np.float32(INK)

    def save(self, path: Path) -> None:
        """Write the scans as a NumPy archive."""
        np.savez_compressed(path, images=self.images, labels=self.labels)


def held_out() -> Scans:
    """The stored scans, which the model has not learnt from."""
    with np.load(HELD_OUT) as stored:
        return Scans(stored["images"], stored["labels"])


def split() -> tuple[Scans, Scans]:
    """All scans, from scikit-learn: those to learn from, and the last of each digit, held out."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as e:
        raise MissingExtra("training the demo needs scikit-learn: pip install 'numba_rt[dev]'") from e
    digits = load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target.astype(np.int64)
    chosen = np.zeros(len(labels), bool)
    for digit in np.unique(labels):
        chosen[np.flatnonzero(labels == digit)[-HELD_OUT_PER_DIGIT:]] = True
    return Scans(images[~chosen], labels[~chosen]), Scans(images[chosen], labels[chosen])
