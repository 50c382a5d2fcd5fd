"""Cases of numba_rt/ops/signal.py."""

import numpy as np

from tests.ops.cases import Case, f32, f64

LOOSE = {"rtol": 1e-4, "atol": 1e-4}


def at(axis):
    return np.array(axis, np.int64)


CASES = [
    Case("DFT", (f32(1, 10, 7, 1), None, at(1)), **LOOSE),
    Case("DFT", (f32(2, 9, 2),), **LOOSE),
    Case("DFT", (f64(2, 9, 5, 2), at(12), at(-3)), **LOOSE),
    Case("DFT", (f64(2, 9, 2), at(4)), {"inverse": 1}, **LOOSE),
    Case("DFT", (f32(2, 9, 1),), {"onesided": 1}, **LOOSE),
    Case("DFT", (f32(2, 9, 1), at(16)), {"onesided": 1}, **LOOSE),
    Case("DFT", (f32(2, 6, 2),), {"onesided": 1, "inverse": 1}, **LOOSE),
    Case("DFT", (f32(2, 6, 2), at(11)), {"onesided": 1, "inverse": 1}, **LOOSE),
    Case("DFT", (f32(2, 6, 1), None, at(2)), raises="axis = 2"),
    Case("DFT", (f32(2, 6, 2),), {"onesided": 1}, raises="onesided takes real input"),
    Case("DFT", (f32(2, 6, 1), at(0)), raises="dft_length = 0"),
    Case("STFT", (f32(2, 50, 1), at(8), None, at(16)), **LOOSE),
    Case("STFT", (f64(2, 50, 1), at(5), f64(15, seed=1)), {"onesided": 0}, **LOOSE),
    Case("STFT", (f64(1, 20, 2), at(5), f64(10, seed=1), at(10)), {"onesided": 0}, **LOOSE),
    Case("STFT", (f32(2, 50, 1), at(5), f32(15), at(16)), raises="window has 15 elements"),
    Case("STFT", (f32(2, 50, 1), at(5), None, at(51)), raises="frame_length = 51"),
    Case("STFT", (f32(2, 50, 2), at(5), None, at(10)), raises="onesided takes a real signal"),
    Case("MelWeightMatrix", (at(8), at(16), at(8192), f32() * 0, f32() * 0 + 4096)),
    Case(
        "MelWeightMatrix",
        (at(20), at(200), at(16000), np.array(80.0), np.array(7000.0)),
        {"output_datatype": 11},
    ),
    Case("MelWeightMatrix", (at(8), at(16), at(8192), at(0), np.array(9000.0)), raises="upper_edge_hertz"),
    Case("MelWeightMatrix", (at(0), at(16), at(8192), at(0), at(90)), raises="num_mel_bins"),
]
