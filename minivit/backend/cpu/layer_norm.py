"""Layer normalisation: all means are matrix-vector products, everything else is in place."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivit.backend.cpu.blocks import Array, as_rows, column_sums, floats, pieces, times_vector
from minivit.backend.pool import empty, empty_like

keeps = ("weight",)


def accepts(x: Array, weight: Array, bias: Array, *, eps: float) -> bool:
    """float32 or float64, x with at least one axis and at least one feature."""
    return floats(x, weight, bias) and x.ndim > 0 and x.shape[-1] > 0


def forward(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, tuple[Array, Array]]:
    """y = n * weight + bias, n = (x - mean(x)) r, r = (var(x) + eps)^-1/2.   x (..., D); weight, bias (D,)."""
    y = empty(x.shape, x.dtype)
    n, r = empty(x.shape, x.dtype), empty((*x.shape[:-1], 1), x.dtype)
    _normalize(as_rows(x), weight, bias, eps, as_rows(n), as_rows(r), as_rows(y))
    return y, (as_rows(n), as_rows(r))


def evaluate(x: Array, weight: Array, bias: Array, *, eps: float) -> Array:
    """The forward's y, without n in memory of its own."""
    y = empty(x.shape, x.dtype)
    rows = as_rows(y)
    _normalize(as_rows(x), weight, bias, eps, rows, empty((len(rows), 1), x.dtype), rows)
    return y


def _normalize(rows: Array, weight: Array, bias: Array, eps: float, n: Array, r: Array, y: Array) -> None:
    """Write n, r and y = n * weight + bias; `n` and `y` may be one array.   rows, n, y (R, D); r (R, 1)."""
    D = rows.shape[1]
    average = np.full(D, 1 / D, rows.dtype)
    for part in pieces(rows.shape[0], D * rows.itemsize):
        n_part, r_part, y_part = n[part], r[part], y[part]
        np.subtract(rows[part], times_vector(rows[part], average)[:, None], out=n_part)  # centered
        np.vecdot(n_part, n_part, out=r_part[:, 0])
        r_part *= 1 / D  # var
        r_part += eps
        np.sqrt(r_part, out=r_part)
        np.divide(1.0, r_part, out=r_part)
        n_part *= r_part
        np.multiply(n_part, weight, out=y_part)
        y_part += bias


def backward(
    dy: Array,
    saved: tuple[Array, Array],
    x: Any,
    weight: Array,
    bias: Any,
    *,
    wanted: tuple[bool, ...],
    eps: float,
) -> tuple[Array | None, Array | None, Array | None]:
    """dx = r (dn - mean(dn) - n mean(dn * n)) with dn = dy * weight.

    The means are products with weight / D: mean(dn) = dy @ (weight / D), mean(dn * n) = (dy * n) @ (weight / D).
    """
    n, r = saved
    dy = as_rows(dy)  # (R, D)
    R, D = dy.shape
    weight_over_d = weight / D
    dx = empty_like(dy) if wanted[0] else None
    dweight = np.zeros(D, dy.dtype)
    for part in pieces(R, D * dy.itemsize):
        dy_part, n_part = dy[part], n[part]
        dy_n = np.multiply(dy_part, n_part, out=empty(dy_part.shape, dy.dtype))
        dweight += column_sums(dy_n)  # y = n * weight + bias
        if dx is not None:
            dx_part = dx[part]
            mean_dn_n = times_vector(dy_n, weight_over_d)
            np.multiply(dy_part, weight, out=dx_part)  # dn
            dx_part -= times_vector(dy_part, weight_over_d)[:, None]  # through the mean
            dx_part -= np.multiply(n_part, mean_dn_n[:, None], out=dy_n)  # through the variance, in r
            dx_part *= r[part]
    return (
        None if dx is None else dx.reshape(x.shape),
        dweight if wanted[1] else None,
        column_sums(dy) if wanted[2] else None,
    )
