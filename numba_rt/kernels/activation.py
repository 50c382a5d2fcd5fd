"""Activations applied in place to a block of float32 rows, while the block is in the cache.

All of them are one function, compiled once; kernels call it by address (`activation_address`).
Relu and Clip are not among them: they are the limits of the kernels' results.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_rt.jit import DISABLED, addresses_of, compiler, inline, intrinsic, kernel, u
from numba_rt.kernels import math as km
from numba_rt.llvm import ir, types

__all__ = ["ACTIVATIONS", "activate", "activation_address"]

ACTIVATIONS = {
    name: code
    for code, name in enumerate(
        ("Gelu", "GeluTanh", "Silu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "LeakyRelu", "Elu",
         "Mish", "Softplus"),
        start=1,
    )
}  # fmt: skip
"""Codes by name; 0 is none. Silu is x * Sigmoid(alpha * x); HardSigmoid has the slope alpha and
the offset beta; LeakyRelu and Elu have alpha."""

(GELU, GELU_TANH, SILU, SIGMOID, TANH, HARD_SWISH, HARD_SIGMOID, LEAKY_RELU, ELU, MISH, SOFTPLUS) = (
    ACTIVATIONS.values()
)

f32 = np.float32


@inline
def _half_up(x, alpha, beta):
    """x * alpha + beta, limited to [0, 1]."""
    s = x * alpha + beta
    s = f32(0) if s < f32(0) else s
    return f32(1) if s > f32(1) else s


@inline
def _gelu_tanh(x):
    return f32(0.5) * x * (f32(1) + km.tanh(f32(0.7978845608) * (x + f32(0.044715) * x * x * x)))


@inline
def _mish(x):
    e = km.exp(x if x < f32(20) else f32(20))
    n = e * (e + f32(2))
    return x * (n / (n + f32(2))) if x < f32(20) else x


@inline
def _softplus(x):
    return (x if x > f32(0) else f32(0)) + km.log(f32(1) + km.exp_neg(-abs(x)))


@inline
def _activate(y, start, rows, cols, ld, code, alpha, beta):
    for row in range(rows):
        first = start + row * ld
        if code == GELU:
            for i in range(first, first + cols):
                x = y[u(i)]
                y[u(i)] = f32(0.5) * x * (f32(1) + km.erf(x * f32(0.7071067812)))
        elif code == GELU_TANH:
            for i in range(first, first + cols):
                y[u(i)] = _gelu_tanh(y[u(i)])
        elif code == SILU:
            for i in range(first, first + cols):
                y[u(i)] = y[u(i)] * km.sigmoid(alpha * y[u(i)])
        elif code == SIGMOID:
            for i in range(first, first + cols):
                y[u(i)] = km.sigmoid(y[u(i)])
        elif code == TANH:
            for i in range(first, first + cols):
                y[u(i)] = km.tanh(y[u(i)])
        elif code == HARD_SWISH:
            for i in range(first, first + cols):
                y[u(i)] = y[u(i)] * _half_up(y[u(i)], f32(1 / 6), f32(0.5))
        elif code == HARD_SIGMOID:
            for i in range(first, first + cols):
                y[u(i)] = _half_up(y[u(i)], alpha, beta)
        elif code == LEAKY_RELU:
            for i in range(first, first + cols):
                x = y[u(i)]
                y[u(i)] = alpha * x if x < f32(0) else x
        elif code == ELU:
            for i in range(first, first + cols):
                x = y[u(i)]
                y[u(i)] = alpha * (km.exp(x) - f32(1)) if x < f32(0) else x
        elif code == MISH:
            for i in range(first, first + cols):
                y[u(i)] = _mish(y[u(i)])
        elif code == SOFTPLUS:
            for i in range(first, first + cols):
                y[u(i)] = _softplus(y[u(i)])


def activation_address() -> int:
    """Address of the compiled function, for `activate`; valid in this process."""
    return int(addresses_of(_write_address, 1)[0])


@kernel
def _write_address(address):
    _store_address(address)


@intrinsic
def _store_address(context, address):
    return types.void(address), _emit_address


def _arguments() -> tuple[Any, ...]:
    """Types of the arguments of `_activate`."""
    return (types.Array(types.float32, 1, "C"), *[types.intp] * 5, types.float32, types.float32)


def _emit_address(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
    dispatcher = compiler().inline_dispatcher(_activate)
    dispatcher.compile(_arguments())
    compiled = dispatcher.overloads[_arguments()]
    context.add_linking_libs([compiled.library])
    function = context.declare_function(builder.module, compiled.fndesc)
    target = context.make_array(signature.args[0])(context, builder, args[0]).data
    builder.store(builder.ptrtoint(function, ir.IntType(64)), target)
    return context.get_dummy_value()


def _activate_intrinsic(context, address, y, start, rows, cols, ld, code, alpha, beta):
    """Applies activation `code` to `rows` rows of `cols` elements of y, `ld` apart, from element `start`."""
    return types.void(types.intp, *_arguments()), _emit_call


def _emit_call(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
    kind = context.call_conv.get_function_type(types.none, _arguments())
    function = builder.inttoptr(args[0], kind.as_pointer())
    context.call_conv.call_function(builder, function, types.none, _arguments(), args[1:])
    return context.get_dummy_value()


def _activate_interpreted(address, y, start, rows, cols, ld, code, alpha, beta):
    _activate(y, start, rows, cols, ld, code, alpha, beta)


activate = _activate_interpreted if DISABLED else intrinsic(_activate_intrinsic)
