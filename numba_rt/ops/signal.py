"""Fourier transforms and what goes with them. NumPy computes the transforms, on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_rt.dtypes import FLOATS, HALVES, NUMERIC, from_onnx
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact, Undecided, fresh_dim
from numba_rt.ops._checks import check_dtype, check_rank, known_ints
from numba_rt.ops._formats import convert
from numba_rt.ops._op import Op, op


def _scalar(x: np.ndarray, name: str) -> Any:
    if x.size != 1:
        raise ShapeError(f"{name} has shape {list(x.shape)}: expected a scalar")
    return x.reshape(-1)[0].item()


def _known(fact: Fact | None, name: str) -> Dim | None:
    """The value of a scalar; None while it is not known."""
    try:
        return known_ints(fact, name)[0]
    except Undecided:
        return None


def _parts(x: np.ndarray) -> np.ndarray:
    """Pairs of real and imaginary parts, or real parts alone, as numbers."""
    if x.shape[-1] == 1:
        return x[..., 0]
    return np.ascontiguousarray(x).view(np.result_type(x, np.complex64))[..., 0]


def _pairs(x: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Complex numbers as pairs of real and imaginary parts."""
    return np.stack([x.real, x.imag], -1).astype(dtype, copy=False)


def _check_signal(x: Fact, name: str) -> None:
    check_dtype(x, name, FLOATS)
    check_rank(x, name, at_least=2)
    if x.shape is not None and isinstance(x.shape[-1], int) and x.shape[-1] not in (1, 2):
        raise ShapeError(f"{name} = {x}: expected a last axis of 1, real, or 2, real and imaginary")


@op("DFT", since=20)
class DFT(Op):
    """The discrete Fourier transform along an axis; of real input, or to it, with `onesided`."""

    inverse: bool = False
    onesided: bool = False

    needs_value = (1, 2)

    def infer(self, input: Fact, dft_length: Fact | None = None, axis: Fact | None = None) -> Fact:
        _check_signal(input, "input")
        assert input.shape is not None
        self._check_parts(input.shape[-1])
        shape = list(input.shape)
        shape[-1] = 1 if self.inverse and self.onesided else 2
        given = -2 if axis is None else _known(axis, "axis")
        if given is None:
            return Fact(input.dtype, (*(fresh_dim("bins") for _ in shape[:-1]), shape[-1]))
        at = self._axis(int(given), input.rank)
        length = self._default(shape[at]) if dft_length is None else _known(dft_length, "dft_length")
        if length is None:
            shape[at] = fresh_dim("bins")
        else:
            self._check_length(length)
            shape[at] = length // 2 + 1 if self.onesided and not self.inverse else length
        return Fact(input.dtype, tuple(shape))

    def _axis(self, axis: int, rank: int) -> int:
        if not -rank <= axis < rank or axis in (-1, rank - 1):
            raise ShapeError(f"axis = {axis}: expected {-rank} to -2, or 0 to {rank - 2}")
        return axis % rank

    def _default(self, n: Dim) -> Dim:
        return 2 * (n - 1) if self.inverse and self.onesided else n

    def _check_length(self, length: Dim) -> None:
        if isinstance(length, int) and length < 1:
            raise ShapeError(f"dft_length = {length}: expected at least 1")

    def _check_parts(self, parts: Dim) -> None:
        wanted = 2 if self.inverse else 1
        if self.onesided and isinstance(parts, int) and parts != wanted:
            what = "complex" if self.inverse else "real"
            raise ShapeError(f"onesided takes {what} input: its last axis is {parts}, expected {wanted}")

    def run(
        self, input: np.ndarray, dft_length: np.ndarray | None = None, axis: np.ndarray | None = None
    ) -> np.ndarray:
        self._check_parts(input.shape[-1])
        at = self._axis(-2 if axis is None else _scalar(axis, "axis"), input.ndim)
        n: Any = self._default(input.shape[at]) if dft_length is None else _scalar(dft_length, "dft_length")
        self._check_length(n)
        x = _parts(input)
        if not self.onesided:
            return _pairs((np.fft.ifft if self.inverse else np.fft.fft)(x, n, at), input.dtype)
        if self.inverse:
            return np.fft.irfft(x, n, at)[..., None].astype(input.dtype, copy=False)
        return _pairs(np.fft.rfft(x, n, at), input.dtype)


@op("STFT", since=17)
class STFT(Op):
    """Fourier transforms of the frames of a signal, each multiplied by a window."""

    onesided: bool = True

    needs_value = (1, 3)

    def infer(
        self, signal: Fact, frame_step: Fact, window: Fact | None = None, frame_length: Fact | None = None
    ) -> Fact:
        _check_signal(signal, "signal")
        check_rank(signal, "signal", exactly=3)
        assert signal.shape is not None
        batch, length, _ = signal.shape
        if window is not None:
            check_rank(window, "window", exactly=1)
            if window.dtype != signal.dtype:
                raise ShapeError(f"window = {window}: expected the dtype of signal = {signal}")
        n = length if window is None or window.shape is None else window.shape[0]
        step = _known(frame_step, "frame_step")
        own = n if frame_length is None else _known(frame_length, "frame_length")
        if step is None or own is None:
            return Fact(signal.dtype, (batch, fresh_dim("frames"), fresh_dim("bins"), 2))
        bins = own // 2 + 1 if self.onesided else own
        return Fact(signal.dtype, (batch, (length - own) // step + 1, bins, 2))

    def run(
        self,
        signal: np.ndarray,
        frame_step: np.ndarray,
        window: np.ndarray | None = None,
        frame_length: np.ndarray | None = None,
    ) -> np.ndarray:
        step = _scalar(frame_step, "frame_step")
        if frame_length is not None:
            n = _scalar(frame_length, "frame_length")
        else:
            n = signal.shape[1] if window is None else window.size
        if step < 1:
            raise ShapeError(f"frame_step = {step}: expected at least 1")
        if not 1 <= n <= signal.shape[1]:
            raise ShapeError(f"frame_length = {n}: expected 1 to {signal.shape[1]}, the signal's length")
        if window is not None and window.size != n:
            raise ShapeError(f"window has {window.size} elements: expected frame_length = {n}")
        if self.onesided and signal.shape[2] == 2:
            raise ShapeError("onesided takes a real signal: the last axis of signal is 2, expected 1")
        frames = np.lib.stride_tricks.sliding_window_view(_parts(signal), n, axis=1)[:, ::step]
        frames = frames if window is None else frames * window
        return _pairs((np.fft.rfft if self.onesided else np.fft.fft)(frames), signal.dtype)


@op("MelWeightMatrix", since=17)
class MelWeightMatrix(Op):
    """Weights of the frequencies of a spectrum in bands of equal width on the mel scale."""

    output_datatype: int = 1

    needs_value = (0, 1)
    half = False

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        dtype = from_onnx(self.output_datatype)
        if dtype not in NUMERIC | HALVES:
            raise ShapeError(f"output_datatype = {self.output_datatype} is no numeric dtype")
        return (dtype,)

    def infer(
        self,
        num_mel_bins: Fact,
        dft_length: Fact,
        sample_rate: Fact,
        lower_edge_hertz: Fact,
        upper_edge_hertz: Fact,
    ) -> Fact:
        bands, length = _known(num_mel_bins, "num_mel_bins"), _known(dft_length, "dft_length")
        rows = fresh_dim("bins") if length is None else length // 2 + 1
        return Fact(self.out_dtypes()[0], (rows, fresh_dim("bands") if bands is None else bands))

    def run(
        self,
        num_mel_bins: np.ndarray,
        dft_length: np.ndarray,
        sample_rate: np.ndarray,
        lower_edge_hertz: np.ndarray,
        upper_edge_hertz: np.ndarray,
    ) -> np.ndarray:
        bands, length = _scalar(num_mel_bins, "num_mel_bins"), _scalar(dft_length, "dft_length")
        rate = _scalar(sample_rate, "sample_rate")
        if bands < 1 or length < 1 or rate < 1:
            raise ShapeError(
                f"num_mel_bins, dft_length, sample_rate = {bands}, {length}, {rate}: expected at least 1"
            )
        edges = (_scalar(lower_edge_hertz, "lower_edge_hertz"), _scalar(upper_edge_hertz, "upper_edge_hertz"))
        low, high = (2595 * np.log10(1 + edge / 700) for edge in edges)
        mels = low + np.arange(bands + 2) * ((high - low) / (bands + 2))
        hertz = 700 * (10 ** (mels / 2595) - 1)
        places = ((length + 1) * hertz // rate).astype(np.int64)
        rows = length // 2 + 1
        if places.min() < 0 or places[-2] >= rows:
            raise ShapeError(f"upper_edge_hertz = {edges[1]}: expected at most half of sample_rate = {rate}")
        bins = np.arange(rows)[:, None]
        left, centre, right = places[:-2], places[1:-1], places[2:]
        with np.errstate(all="ignore"):
            rising = np.where(centre == left, bins == centre, (bins - left) / (centre - left))
            falling = (right - bins) / (right - centre)
        made = np.where((bins >= left) & (bins <= centre), rising, 0.0)
        made = np.where((bins >= centre) & (bins < right), falling, made)
        return convert(made, self.out_dtypes()[0])
