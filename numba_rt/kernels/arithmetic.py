"""Functions of one or two numbers for the inside of kernels. Those of integers never trap."""

import numpy as np

from numba_rt.jit import inline
from numba_rt.kernels import math as km


@inline
def divide(a, b):
    """Signed a / b rounded toward zero; 0 where b is 0."""
    if b == 0:
        return a - a
    if b == -1:  # the quotient of the lowest number does not exist, and the instruction traps
        return -a
    quotient = a // b
    if quotient < 0 and quotient * b != a:
        quotient += 1
    return quotient


@inline
def remainder(a, b):
    """Signed a % b with the sign of b; 0 where b is 0."""
    if b == 0 or b == -1:
        return a - a
    return a % b


@inline
def remainder_like_a(a, b):
    """Signed a % b with the sign of a; 0 where b is 0."""
    return a - divide(a, b) * b if b != 0 else a - a


@inline
def power(base, exponent):
    """base ** exponent in wrapping int64; for negative exponents the integer part of the result."""
    if exponent < 0:
        if base == 1:
            return base
        if base == -1:
            return -base if exponent % 2 == 0 else base
        return base - base
    result = np.int64(1)
    while exponent > 0:
        if exponent % 2 == 1:
            result *= base
        base *= base
        exponent //= 2
    return result


@inline
def shift_left(a, bits, width):
    """a moved up by `bits`; 0 where that is negative or not less than `width`."""
    return a << bits if (bits >= 0) & (bits < width) else a - a


@inline
def shift_right(a, bits, width):
    """a moved down by `bits`, filled with its sign; all sign where that is negative or not less
    than `width`.
    """
    return a >> (bits if (bits >= 0) & (bits < width) else width - 1)


@inline
def floored_mod(a, b):
    """a - floor(a / b) * b of floats, with the sign of b."""
    rest = np.fmod(a, b)
    if rest == 0:
        return np.copysign(rest, b)
    return rest + b if (rest < 0) != (b < 0) else rest


@inline
def float_power(base, exponent):
    """base ** exponent of floats; the exponents met most often need no call."""
    if exponent == 2:
        return base * base
    if exponent == 3:
        return base * base * base
    if exponent == 1:
        return base
    return base**exponent


@inline
def softplus(x, one):
    """log(1 + e**x); `one` is the 1 of x's type."""
    e = km.exp_neg(-abs(x))
    sum_ = one + e
    log1p = km.log(sum_) + (e - (sum_ - one)) / sum_  # the second term is what the sum lost
    return log1p + (x if x > one - one else one - one)


@inline
def mish(x, one):
    """x * tanh(log(1 + e**x)); `one` is the 1 of x's type."""
    two = one + one
    limit = two * two * (two * two + one)
    e = km.exp(limit if x > limit else x)
    n = e * (e + two)
    return x * (n / (n + two))
