"""GELU and its derivative in one pass over cache-sized pieces."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minivit.backend.cpu.blocks import Array, constants, exp2, floats, pieces
from minivit.backend.erf import erf
from minivit.backend.mkl import mkl_in_use
from minivit.backend.pool import empty, empty_like

LOG2_E = math.log2(math.e)
DENSITY = 1 / math.sqrt(2 * math.pi)  # phi(x) = DENSITY exp(-x^2 / 2)
TANH_SCALE, TANH_CUBIC = math.sqrt(2 / math.pi), 0.044715

# Phi(x) = 1 / (1 + 2^u) with u = log2((1 - Phi) / Phi) = x P(s) / Q(s), s = x^2: a minimax fit by Lawson's iteration,
# weighted for the error of Phi, which in exact arithmetic is at most 0.45 * 2^-23. Coefficients in ascending order.
P = (-721.779950753472, -82.86646895195565, -4.550962570681957, -0.05233518674200766)
Q = (313.5161035452338, 21.718374375332196, 1.0)
FAR = {np.dtype(np.float32): 16.0, np.dtype(np.float64): 40.0}  # from here on Phi and the derivative are 0 or 1


def accepts(x: Array, *, approximate: str) -> bool:
    """float32 or float64."""
    return floats(x) and approximate in _PIECES


def forward(x: Array, *, approximate: str) -> tuple[Array, Array]:
    """y = gelu(x), and gelu'(x) for the backward.   x of any shape."""
    y, slope = empty_like(x), empty_like(x)
    value_and_slope(x.reshape(-1), y.reshape(-1), slope.reshape(-1), approximate)
    return y, slope


def evaluate(x: Array, *, approximate: str) -> Array:
    """y = gelu(x) alone."""
    y = empty_like(x)
    value_and_slope(x.reshape(-1), y.reshape(-1), None, approximate)
    return y


def backward(dy: Array, saved: Array, x: Any, *, wanted: tuple[bool, ...], approximate: str) -> tuple[Array]:
    """dx = dy gelu'(x)."""
    return (np.multiply(dy, saved, out=empty(dy.shape, dy.dtype)),)


def value_and_slope(x: Array, y: Array, slope: Array | None, approximate: str) -> None:
    """Write gelu(x) to `y` and, where it is wanted, gelu'(x) to `slope`.   All flat; `y` may be `x` itself.

    float32 holds both to an absolute error of 4 * 2^-23 * max(1, |x|).
    """
    mkl = mkl_in_use() if approximate == "none" else None
    run = _PIECES[approximate][x.dtype] if mkl is None else partial(_from_erf, mkl.erf)
    with np.errstate(over="ignore", under="ignore"):  # 2^u may well be infinite: Phi is then 0
        for part in pieces(x.size, x.itemsize):
            run(x[part], y[part], None if slope is None else slope[part])


def _from_fit(x: Array, y: Array, slope: Array | None) -> None:
    """y = x Phi(x), y' = Phi(x) + x phi(x), with Phi from the fit above."""
    far, half_log2_e, density = constants(x.dtype, FAR[x.dtype], -0.5 * LOG2_E, DENSITY)
    near, s, u, q = empty((4, x.size), x.dtype)
    np.clip(x, -far, far, out=near)
    np.multiply(near, near, out=s)
    _polynomial(s, constants(x.dtype, *P), u)
    _polynomial(s, constants(x.dtype, *Q), q)
    u /= q
    u *= near  # log2((1 - Phi) / Phi)
    _cdf_from_log_odds(u)
    if slope is not None:
        s *= half_log2_e
        exp2(s)  # exp(-x^2 / 2)
        s *= near
        s *= density  # x phi(x)
        np.add(u, s, out=slope)
    np.multiply(x, u, out=y)


def _from_erf(erf: Callable[[Array], Any], x: Array, y: Array, slope: Array | None) -> None:
    """y = x Phi(x), y' = Phi(x) + x phi(x), with Phi(x) = (1 + erf(x / sqrt 2)) / 2; `erf` is computed in place."""
    root_half, half, half_log2_e, density = constants(x.dtype, math.sqrt(0.5), 0.5, -0.5 * LOG2_E, DENSITY)
    cdf, s = empty((2, x.size), x.dtype)
    np.multiply(x, root_half, out=cdf)
    erf(cdf)
    cdf *= half
    cdf += half
    if slope is not None:
        np.multiply(x, x, out=s)
        s *= half_log2_e
        exp2(s)  # exp(-x^2 / 2)
        s *= x
        s *= density  # x phi(x)
        np.add(cdf, s, out=slope)
    np.multiply(x, cdf, out=y)


def _erf_in_place(x: Array) -> None:
    x[...] = erf(x)


def _tanh(x: Array, y: Array, slope: Array | None) -> None:
    """y = x h, h = (1 + tanh(w)) / 2 = 1 / (1 + exp(-2w)), w = k (x + c x^3); y' = h + x 2h(1 - h) k (1 + 3c x^2)."""
    far, one = constants(x.dtype, FAR[x.dtype], 1.0)
    near, s, h = empty((3, x.size), x.dtype)
    np.clip(x, -far, far, out=near)
    np.multiply(near, near, out=s)
    in_powers_of_two = -2 * LOG2_E * TANH_SCALE
    _polynomial(s, constants(x.dtype, in_powers_of_two, in_powers_of_two * TANH_CUBIC), h)
    h *= near  # -2w
    _cdf_from_log_odds(h)
    if slope is not None:
        _polynomial(s, constants(x.dtype, 2 * TANH_SCALE, 6 * TANH_SCALE * TANH_CUBIC), slope)
        slope *= near  # 2x dw/dx
        np.subtract(one, h, out=s)
        s *= h
        slope *= s
        slope += h
    np.multiply(x, h, out=y)


def _cdf_from_log_odds(u: Array) -> None:
    """1 / (1 + 2^u), in place."""
    (one,) = constants(u.dtype, 1.0)
    exp2(u)
    u += one
    np.divide(one, u, out=u)


def _polynomial(s: Array, coefficients: tuple[Array, ...], out: Array) -> None:
    """Horner's rule, in place."""
    *lower, before, highest = coefficients
    np.add(s, before, out=out) if highest == 1 else np.add(np.multiply(s, highest, out=out), before, out=out)
    for c in reversed(lower):
        out *= s
        out += c


_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
_PIECES: dict[str, dict[Any, Callable[[Array, Array, Array | None], None]]] = {
    "none": {_SINGLE: _from_fit, _DOUBLE: partial(_from_erf, _erf_in_place)},
    "tanh": {_SINGLE: _tanh, _DOUBLE: _tanh},
}
