"""Conversions between number formats, for the inside of kernels: 16-bit floats as uint16 bits, and
table-driven conversion to and from the formats of at most 8 bits.
"""

import numpy as np

from numba_rt.jit import inline, kernel, prange, u

f32 = np.float32
f64 = np.float64
i32 = np.int32
u16 = np.uint16


@inline
def float16_to_float32(h):
    """The number whose float16 bits are `h`."""
    magnitude = i32(i32(h) & i32(0x7FFF))
    sign = i32((i32(h) & i32(0x8000)) << i32(16))
    # Scaling by 2**112 rebiases the exponent of normal and subnormal numbers alike.
    bits = f32(i32(magnitude << i32(13)).view(f32) * f32(5.192296858534828e33)).view(i32)
    bits = i32(i32(magnitude << i32(13)) | i32(0x7F800000)) if magnitude >= i32(0x7C00) else bits
    return i32(bits | sign).view(f32)


@inline
def float32_to_float16(x):
    """float16 bits of a float32, rounded to nearest, ties to even."""
    bits = f32(x).view(i32)
    magnitude = i32(bits & i32(0x7FFFFFFF))
    sign = i32((bits >> i32(16)) & i32(0x8000))
    odd = i32((magnitude >> i32(13)) & i32(1))
    result = i32(i32(magnitude + i32(0xFFF) + odd - i32(0x38000000)) >> i32(13))
    # The unit in the last place of 0.5 is the smallest float16: the addition rounds.
    tiny = i32(f32(magnitude.view(f32) + f32(0.5)).view(i32) - i32(0x3F000000))
    result = tiny if magnitude < i32(0x38800000) else result
    result = i32(0x7C00) if magnitude >= i32(0x477FF000) else result
    result = i32(0x7E00) if magnitude > i32(0x7F800000) else result
    return u16(result | sign)


@inline
def float64_to_float16(x):
    """float16 bits of a float64. The float32 between is rounded to odd, so that it rounds once."""
    near = f32(x)
    wide = f64(near)
    bits = i32(near.view(i32))
    bits = i32(bits - i32(1)) if abs(wide) > abs(x) else bits
    bits = i32(bits | i32(1)) if wide != x else bits
    return float32_to_float16(i32(bits).view(f32))


@inline
def bfloat16_to_float32(h):
    """The number whose bfloat16 bits are `h`."""
    return i32(i32(h) << i32(16)).view(f32)


@inline
def float32_to_bfloat16(x):
    """bfloat16 bits of a float32, rounded to nearest, ties to even."""
    bits = f32(x).view(i32)
    odd = i32((bits >> i32(16)) & i32(1))
    result = i32(np.int64(bits) + np.int64(i32(0x7FFF) + odd) >> 16)
    result = i32(i32(bits >> i32(16)) | i32(0x40)) if x != x else result
    return u16(result & i32(0xFFFF))


@inline
def float_to_uint64(x):
    """A float cut to an integer; outside of -2**63 to 2**64 it gives 2**63."""
    high = x >= 9223372036854775808.0
    rest = x - 9223372036854775808.0 if high else f64(x)
    fits = (rest >= -9223372036854775808.0) & (rest < 9223372036854775808.0)
    low = np.uint64(np.int64(rest)) if fits else np.uint64(1 << 63)
    return low ^ np.uint64(1 << 63) if high & fits else low


@kernel
def look_up(x, table, y, tasks):
    """y = table[low byte of x].   x, y: (n,); table: (256,)."""
    n = y.size
    for t in prange(tasks):
        for i in range(t * n // tasks, (t + 1) * n // tasks):
            y[u(i)] = table[u(np.int64(x[u(i)]) & 255)]


@inline
def _count_reached(thresholds, magnitude):
    """How many of 255 ascending thresholds a number reaches."""
    count = 0
    for bit in range(7, -1, -1):
        step = 1 << bit
        count += step * (magnitude >= thresholds[u(count + step - 1)])
    return count


@kernel
def round_to_codes(x, thresholds, codes, y, tasks):
    """y = codes[0, k] or, for negative x, codes[1, k], where k counts the thresholds that abs(x)
    reaches; the last column is NaN's.   x, y: (n,) float32, uint8; thresholds: (256,), ascending,
    filled up with NaN; codes: (2, 257).
    """
    n = y.size
    for t in prange(tasks):
        for i in range(t * n // tasks, (t + 1) * n // tasks):
            magnitude = abs(x[u(i)])
            count = 256 if magnitude != magnitude else _count_reached(thresholds, magnitude)
            y[u(i)] = codes[u(np.signbit(x[u(i)])), u(count)]
