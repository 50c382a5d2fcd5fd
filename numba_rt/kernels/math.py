"""Elementary functions of one number that vectorise inside the loops of kernels.

float32 has branch-free polynomials; NaN, infinities, overflow and underflow come out as IEEE 754
wants them, except that `exp_neg` and `sigmoid` are 0 where they would be below 1.2e-38. Largest
errors, in units of the last place: exp 1, exp_neg 1, log 1, tanh 2, sigmoid 3, erf 2, sin and cos 1. Other
types use the functions of the C library.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from numba_rt.jit import inline, overload
from numba_rt.llvm import types

__all__ = ["cos", "erf", "exp", "exp_neg", "log", "sigmoid", "sin", "tanh"]

f32 = np.float32
i32 = np.int32

_OPTIONS = {"fastmath": {"contract", "nsz"}, "error_model": "numpy"}
"""No re-association, whatever the kernel allows: the reductions below depend on the order."""

_ROUND = f32(12582912.0)
"""1.5 * 2**23: adding it leaves the nearest integer in the low bits."""
_ROUND_BITS = _ROUND.view(i32)
_LOG2E = f32(1.44269504)
_LN2_HIGH = f32(0.693359375)
_LN2_LOW = f32(-2.12194440e-4)
_INF = f32(math.inf)
_NAN = f32(math.nan)


@inline
def _exp_reduced(r):
    """e**r for abs(r) <= ln(2) / 2."""
    p = f32(0.00138145604) * r + f32(0.0083687352)
    p = p * r + f32(0.041668389)
    p = p * r + f32(0.166665211)
    p = p * r + f32(0.49999994)
    return (p * r) * r + r + f32(1)


def _exp(x):
    x = f32(-104) if x < f32(-104) else x
    x = f32(89) if x > f32(89) else x
    shifted = x * _LOG2E + _ROUND
    k = shifted - _ROUND
    p = _exp_reduced((x - k * _LN2_HIGH) - k * _LN2_LOW)
    n = i32(f32(shifted).view(i32) - _ROUND_BITS)
    half = i32(n >> i32(1))
    rest = i32(n - half)
    p = p * i32((half + i32(127)) << i32(23)).view(f32)
    return p * i32((rest + i32(127)) << i32(23)).view(f32)


def _exp_neg(x):
    below = x < f32(-87.3)
    x = f32(-87.3) if below else x
    shifted = x * _LOG2E + _ROUND
    k = shifted - _ROUND
    p = _exp_reduced((x - k * _LN2_HIGH) - k * _LN2_LOW)
    n = i32(f32(shifted).view(i32) - _ROUND_BITS)
    p = p * i32((n + i32(127)) << i32(23)).view(f32)
    return f32(0) if below else p


def _log(x):
    small = x < f32(1.17549435e-38)
    m = x * f32(8388608.0) if small else x
    bits = f32(m).view(i32)
    e = i32(i32(bits - i32(0x3F3504F3)) >> i32(23))
    f = i32(bits - i32(e << i32(23))).view(f32) - f32(1)
    k = f32(e - i32(23)) if small else f32(e)
    p = f32(0.067466408) * f + f32(-0.116756521)
    p = p * f + f32(0.11888162)
    p = p * f + f32(-0.124055892)
    p = p * f + f32(0.142195523)
    p = p * f + f32(-0.166679963)
    p = p * f + f32(0.200021192)
    p = p * f + f32(-0.250000089)
    p = p * f + f32(0.333333135)
    s = f * f
    y = (p * f) * s + k * _LN2_LOW
    y = (y - f32(0.5) * s) + f
    y = k * _LN2_HIGH + y
    y = _INF if x == _INF else y
    y = -_INF if x == f32(0) else y
    y = _NAN if x < f32(0) else y
    return x if x != x else y


def _sigmoid(x):
    e = exp_neg(-abs(x))
    s = f32(1) / (f32(1) + e)
    return e * s if x < f32(0) else s


def _tanh(x):
    a = abs(x)
    s = x * x
    p = f32(-0.00570498733) * s + f32(0.020639088)
    p = p * s + f32(-0.0537397154)
    p = p * s + f32(0.133314416)
    p = p * s + f32(-0.333332807)
    near = (p * s) * x + x
    e = exp_neg(f32(-2) * a)
    far = (f32(1) - e) / (f32(1) + e)
    far = -far if x < f32(0) else far
    return near if a < f32(0.625) else far


def _erf(x):
    a = abs(x)
    s = x * x
    p = f32(7.85387529e-05) * s + f32(-0.000801019836)
    p = p * s + f32(0.00518832821)
    p = p * s + f32(-0.0268538129)
    p = p * s + f32(0.112835854)
    p = p * s + f32(-0.37612626)
    near = (p * s) * x + (x * f32(0.12837917) + x)
    a = f32(4) if a > f32(4) else a
    q = f32(0.000185574012) * a + f32(-0.00293960725)
    q = q * a + f32(0.0218053181)
    q = q * a + f32(-0.103037372)
    q = q * a + f32(-0.638225675)
    q = q * a + f32(-1.12704003)
    q = q * a + f32(-0.000353719515)
    far = f32(1) - exp_neg(q)
    far = -far if x < f32(0) else far
    return near if a < f32(1) else far


@inline
def _sin_turned(x, quarters):
    """sin(x + quarters * pi / 2), computed in float64: exact to the last place up to abs(x) = 1e6,
    and within abs(x) * 2**-52 beyond.
    """
    wide = np.float64(x)
    k = np.rint(wide * 0.6366197723675814)
    r = (wide - k * 1.5707963267341256) - k * 6.077100506506192e-11
    s = r * r
    sine = ((-0.00019587899537075576 * s + 0.008332748401720016) * s - 0.1666666466392575) * (s * r) + r
    p = (2.4547941529809555e-05 * s - 0.0013888303111341423) * s + 0.04166666466072528
    cosine = p * (s * s) + (1.0 - 0.5 * s)
    k = k + quarters
    quadrant = k - 4.0 * np.floor(k * 0.25)
    y = cosine if (quadrant == 1.0) | (quadrant == 3.0) else sine
    y = -y if quadrant >= 2.0 else y
    y = 1.0 if y > 1.0 else y
    return f32(-1.0 if y < -1.0 else y)


def _sin(x):
    return _sin_turned(x, 0.0)


def _cos(x):
    return _sin_turned(x, 1.0)


def _library_exp(x):
    return np.exp(x)


def _library_sin(x):
    return np.sin(x)


def _library_cos(x):
    return np.cos(x)


def _library_log(x):
    return np.log(x)


def _library_sigmoid(x):
    e = np.exp(-abs(x))
    return e / (e + 1) if x < 0 else 1 / (e + 1)


def _library_tanh(x):
    return np.tanh(x)


def _library_erf(x):
    return math.erf(x)


def _quiet(function: Callable[[Any], Any], x: Any) -> Any:
    with np.errstate(all="ignore"):
        return type(x)(function(x))


def exp(x):
    """e**x."""
    return _quiet(np.exp, x)


def exp_neg(x):
    """e**x for x <= 0, as softmax needs it; cheaper than `exp`."""
    return _quiet(np.exp, x)


def log(x):
    """Natural logarithm."""
    return _quiet(np.log, x)


def sin(x):
    """Sine."""
    return _quiet(np.sin, x)


def cos(x):
    """Cosine."""
    return _quiet(np.cos, x)


def sigmoid(x):
    """1 / (1 + e**-x)."""
    return _quiet(_library_sigmoid, x)


def tanh(x):
    """Hyperbolic tangent."""
    return _quiet(np.tanh, x)


def erf(x):
    """Error function."""
    return _quiet(math.erf, x)


def _compile(
    function: Callable[[Any], Any], single: Callable[[Any], Any], other: Callable[[Any], Any]
) -> None:
    """What kernels run for `function`: `single` for float32, `other` for other floats."""

    def choose(x):
        if x == types.float32:
            return single
        return other if isinstance(x, types.Float) else None

    overload(function, _OPTIONS, choose)


_compile(exp, _exp, _library_exp)
_compile(exp_neg, _exp_neg, _library_exp)
_compile(log, _log, _library_log)
_compile(sin, _sin, _library_sin)
_compile(cos, _cos, _library_cos)
_compile(sigmoid, _sigmoid, _library_sigmoid)
_compile(tanh, _tanh, _library_tanh)
_compile(erf, _erf, _library_erf)
