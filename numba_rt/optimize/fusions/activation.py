"""Activations as exporters write them out."""

from __future__ import annotations

from numba_rt.optimize.rule import Rule

ROOT_HALF = 0.70710678
SQRT_2_OVER_PI = 0.79788456


class GeluErf(Rule):
    """0.5 * x * (1 + Erf(x / √2))  →  Gelu(x)"""

    def pattern(op, x):
        erfs = (op.Erf(x / 1.41421356), op.Erf(x * ROOT_HALF))
        return tuple(
            form
            for erf in erfs
            for form in ((x * (erf + 1.0)) * 0.5, (x * 0.5) * (erf + 1.0), x * ((erf + 1.0) * 0.5))
        )

    def replace(op, m):
        return op.Gelu(m.x)


class GeluTanh(Rule):
    """0.5 * x * (1 + Tanh(√(2/π) * (x + 0.044715 * x³)))  →  Gelu(x, approximate="tanh")"""

    def pattern(op, x):
        cubes = (op.Pow(x, 3.0), x * (x * x))
        tanhs = [op.Tanh((x + cube * 0.044715) * SQRT_2_OVER_PI) for cube in cubes]
        return tuple(
            form
            for tanh in tanhs
            for form in ((x * (tanh + 1.0)) * 0.5, (x * 0.5) * (tanh + 1.0), x * ((tanh + 1.0) * 0.5))
        )

    def replace(op, m):
        return op.Gelu(m.x, approximate="tanh")


class QuickGelu(Rule):
    """x * Sigmoid(c * x)  →  Swish(x, alpha=c)"""

    def pattern(op, x, c):
        return x * op.Sigmoid(x * c)

    def check(m):
        constant = m.c.constant
        return None if constant is not None and constant.size == 1 else "the factor is not a constant number"

    def replace(op, m):
        return op.Swish(m.x, alpha=float(m.c.constant.reshape(())))


class Silu(Rule):
    """x * Sigmoid(x)  →  Swish(x)"""

    def pattern(op, x):
        return x * op.Sigmoid(x), x / (op.Exp(op.Neg(x)) + 1.0)

    def replace(op, m):
        return op.Swish(m.x, alpha=1.0)


class HardSwishClip(Rule):
    """x * Clip(x + 3, 0, 6) / 6  →  HardSwish(x)"""

    def pattern(op, x):
        clip = op.Clip(x + 3.0, 0.0, 6.0)
        return (x * clip) / 6.0, x * (clip / 6.0), (x * clip) * (1 / 6), x * (clip * (1 / 6))

    def replace(op, m):
        return op.HardSwish(m.x)


class HardSwishHardSigmoid(Rule):
    """x * HardSigmoid(x, alpha=1/6, beta=0.5)  →  HardSwish(x)"""

    def pattern(op, x):
        return x * op.HardSigmoid(x, name="gate")

    def check(m):
        gate = m.gate.op
        close = abs(gate.alpha - 1 / 6) < 1e-5 and abs(gate.beta - 0.5) < 1e-6
        return None if close else f"alpha = {gate.alpha}, beta = {gate.beta}"

    def replace(op, m):
        return op.HardSwish(m.x)


ACTIVATIONS = (GeluErf, GeluTanh, Silu, QuickGelu, HardSwishClip, HardSwishHardSigmoid)
