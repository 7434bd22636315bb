"""The error function for NumPy arrays: erf(x) = 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

CHUNK = 1 << 15  # elements worked on at once: a chunk and its scratch arrays stay in the cache

# float64: the rational approximations of fdlibm's s_erf.c (Copyright 1993 by Sun Microsystems, Inc. "Permission to use,
# copy, modify, and distribute this software is freely granted, provided that this notice is preserved."), accurate to
# one unit in the last place. Coefficients in ascending order.
_P_SMALL = (
    1.28379167095512558561e-01,
    -3.25042107247001499370e-01,
    -2.84817495755985104766e-02,
    -5.77027029648944159157e-03,
    -2.37630166566501626084e-05,
)
_Q_SMALL = (
    1.0,
    3.97917223959155352819e-01,
    6.50222499887672944485e-02,
    5.08130628187576562776e-03,
    1.32494738004321644526e-04,
    -3.96022827877536812320e-06,
)
_ERF_ONE = 8.45062911510467529297e-01  # erf(1), rounded to a short number
_P_NEAR_ONE = (
    -2.36211856075265944077e-03,
    4.14856118683748331666e-01,
    -3.72207876035701323847e-01,
    3.18346619901161753674e-01,
    -1.10894694282396677476e-01,
    3.54783043256182359371e-02,
    -2.16637559486879084300e-03,
)
_Q_NEAR_ONE = (
    1.0,
    1.06420880400844228286e-01,
    5.40397917702171048937e-01,
    7.18286544141962662868e-02,
    1.26171219808761642112e-01,
    1.36370839120290507362e-02,
    1.19844998467991074170e-02,
)
_P_LARGE = (
    -9.86494403484714822705e-03,
    -6.93858572707181764372e-01,
    -1.05586262253232909814e01,
    -6.23753324503260060396e01,
    -1.62396669462573470355e02,
    -1.84605092906711035994e02,
    -8.12874355063065934246e01,
    -9.81432934416914548592e00,
)
_Q_LARGE = (
    1.0,
    1.96512716674392571292e01,
    1.37657754143519042600e02,
    4.34565877475229228821e02,
    6.45387271733267880336e02,
    4.29008140027567833386e02,
    1.08635005541779435134e02,
    6.57024977031928170135e00,
    -6.04244152148580987438e-02,
)
_P_HUGE = (
    -9.86494292470009928597e-03,
    -7.99283237680523006574e-01,
    -1.77579549177547519889e01,
    -1.60636384855821916062e02,
    -6.37566443368389627722e02,
    -1.02509513161107724954e03,
    -4.83519191608651397019e02,
)
_Q_HUGE = (
    1.0,
    3.03380607434824582924e01,
    3.25792512996573918826e02,
    1.53672958608443695994e03,
    3.19985821950859553908e03,
    2.55305040643316442583e03,
    4.74528541206955367215e02,
    -2.24409524465858183362e01,
)

# float32: erf(x) = tanh(x T(x^2)) with T = P / Q, a minimax fit of atanh(erf(x)) / x by Lawson's iteration, weighted
# for the relative error of erf, which in exact arithmetic is 0.06 * 2^-24. No coefficient is negative: nothing cancels.
_P_SINGLE = (1.1283791708460547, 0.279806801294198, 0.04264653401328722, 0.0021782793865910664)
_Q_SINGLE = (1.0, 0.15689255348397402, 0.023689908402079594, 0.00032492385374110496)
_SATURATED = np.float32(5.0)  # far enough out for erf to be 1 in float32

Block = np.ndarray[Any, Any]


def erf(x: Block) -> Block:
    """The error function, elementwise.

    Parameters
    ----------
    x : ndarray
        float64 (right to about one unit in the last place), float32 (error at most about 2^-23, relative to erf), or
        complex with small imaginary parts: ``erf(a + ib) = erf(a) + ib * 2/sqrt(pi) * exp(-a^2)``, the first-order
        expansion that a complex-step derivative (b = 1e-20 or so) needs. It is not erf of a general complex number.

    Returns
    -------
    ndarray
        Of the same shape and dtype.

    Raises
    ------
    TypeError
        For any other dtype.

    Notes
    -----
    float64 uses the rational approximations of Sun's fdlibm (s_erf.c); float32 is tanh of an odd rational function.
    """
    x = np.asarray(x)
    if x.dtype.kind == "c":
        slope = np.exp(-np.square(x.real)) * x.real.dtype.type(2.0 / math.sqrt(math.pi))
        y = np.empty(x.shape, x.dtype)
        y.real = erf(x.real)
        y.imag = x.imag * slope
        return y
    evaluate = _EVALUATE.get(x.dtype)
    if evaluate is None:
        raise TypeError(f"erf: expected float32, float64 or complex numbers, got {x.dtype}; convert with astype")
    y = np.empty(x.shape, x.dtype)
    source, target = x.reshape(-1), y.reshape(-1)
    for start in range(0, source.size, CHUNK):
        evaluate(source[start : start + CHUNK], target[start : start + CHUNK])
    return y


def _erf_single(x: Block, y: Block) -> None:
    """tanh(x P(s) / Q(s)), s = x^2."""
    x = np.clip(x, -_SATURATED, _SATURATED)
    s = x * x
    q = _polynomial(s, _Q_SINGLE, np.empty_like(s))
    _polynomial(s, _P_SINGLE, y)
    y /= q
    y *= x
    np.tanh(y, out=y)


def _erf_double(x: Block, y: Block) -> None:
    magnitude = np.abs(x)
    np.copysign(1.0, x, out=y)  # what erf is beyond 6
    for low, high, part in (
        (0.0, 0.84375, _part_small),
        (0.84375, 1.25, _part_near_one),
        (1.25, 1 / 0.35, _part_large),
        (1 / 0.35, 6.0, _part_huge),
    ):
        inside = np.flatnonzero((magnitude >= low) & (magnitude < high))
        if inside.size:
            y[inside] = part(x[inside])
    np.copyto(y, x, where=np.isnan(x))


def _part_small(x: Block) -> Block:
    s = x * x
    return x + x * (_polynomial(s, _P_SMALL) / _polynomial(s, _Q_SMALL))


def _part_near_one(x: Block) -> Block:
    s = np.abs(x) - 1.0
    return np.copysign(_ERF_ONE + _polynomial(s, _P_NEAR_ONE) / _polynomial(s, _Q_NEAR_ONE), x)


def _part_large(x: Block) -> Block:
    return _one_minus_tail(x, _P_LARGE, _Q_LARGE)


def _part_huge(x: Block) -> Block:
    return _one_minus_tail(x, _P_HUGE, _Q_HUGE)


def _one_minus_tail(x: Block, p: tuple[float, ...], q: tuple[float, ...]) -> Block:
    """1 - exp(-x^2 - 0.5625 + P/Q) / x, with x^2 split as z^2 + (x - z)(x + z) so that rounding x^2 costs nothing."""
    a = np.abs(x)
    s = 1.0 / (a * a)
    z = a.astype(np.float32).astype(np.float64)  # few enough bits for z^2 to be exact
    ratio = _polynomial(s, p) / _polynomial(s, q)
    tail = np.exp(-z * z - 0.5625) * np.exp((z - a) * (z + a) + ratio)
    return np.copysign(1.0 - tail / a, x)


def _polynomial(s: Block, coefficients: tuple[float, ...], out: Block | None = None) -> Block:
    """Horner's rule, in place."""
    *lower, before, highest = (s.dtype.type(c) for c in coefficients)
    out = np.multiply(s, highest, out=out)
    out += before
    for c in reversed(lower):
        out *= s
        out += c
    return out


_EVALUATE: dict[np.dtype[Any], Callable[[Block, Block], None]] = {
    np.dtype(np.float32): _erf_single,
    np.dtype(np.float64): _erf_double,
}
