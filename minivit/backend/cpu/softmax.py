"""Softmax and log-softmax over the last axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivit.backend.cpu.blocks import Array, as_rows, floats, pieces, times_vector
from minivit.backend.pool import empty_like

SAFE = 20.0
"""Scores within +-SAFE need no shift: their exponentials, 2e-9 to 5e8, and sums of these are far from both ends of the
range of float32, and softmax does not depend on the shift."""


def accepts(x: Array, *, axis: int) -> bool:
    """float32 or float64, over the last axis, which is not empty."""
    return floats(x) and x.ndim > 0 and axis in (-1, x.ndim - 1) and x.shape[-1] > 0


def shift_rows(scores: Array, safe: float = SAFE) -> None:
    """Subtract from each row what keeps exponentials from overflowing, in place.   scores (R, M), C-contiguous.

    That is the row's maximum, or 0 where no score is large: finding that out is one pass over contiguous memory, while
    maxima of short rows are slow.
    """
    flat = scores.reshape(-1)
    if flat.size and not (flat.max() < safe and flat.min() > -safe):
        scores -= scores.max(-1, keepdims=True)


def forward(x: Array, *, axis: int) -> tuple[Array, Array]:
    """p = exp(x) / sum(exp(x)).   x (..., M)."""
    rows = as_rows(x)  # (R, M)
    p = empty_like(rows)
    ones = np.ones(rows.shape[1], x.dtype)
    for part in pieces(rows.shape[0], rows.shape[1] * x.itemsize):
        e = p[part]
        np.copyto(e, rows[part])
        shift_rows(e)
        np.exp(e, out=e)
        e /= times_vector(e, ones)[:, None]
    p = p.reshape(x.shape)
    return p, p


def backward(dy: Array, saved: Array, x: Any, *, wanted: tuple[bool, ...], axis: int) -> tuple[Array]:
    """dx = p (dy - sum(dy * p))."""
    dy, p = as_rows(dy), as_rows(saved)  # (R, M)
    dx = empty_like(dy)
    for part in pieces(dy.shape[0], dy.shape[1] * dy.itemsize):
        np.subtract(dy[part], np.vecdot(dy[part], p[part])[:, None], out=dx[part])
        dx[part] *= p[part]
    return (dx.reshape(x.shape),)


def log_forward(x: Array, *, axis: int) -> tuple[Array, Array]:
    """l = x - max(x) - log(sum(exp(x - max(x)))).   x (..., M)."""
    rows = as_rows(x)  # (R, M)
    y = empty_like(rows)
    ones = np.ones(rows.shape[1], x.dtype)
    for part in pieces(rows.shape[0], rows.shape[1] * x.itemsize):
        shifted = y[part]
        np.subtract(rows[part], rows[part].max(-1, keepdims=True), out=shifted)
        e = np.exp(shifted, out=empty_like(shifted))
        shifted -= np.log(times_vector(e, ones))[:, None]
    y = y.reshape(x.shape)
    return y, y


def log_backward(dy: Array, saved: Array, x: Any, *, wanted: tuple[bool, ...], axis: int) -> tuple[Array]:
    """dx = dy - exp(l) sum(dy)."""
    dy, y = as_rows(dy), as_rows(saved)  # (R, M)
    dx = empty_like(dy)
    ones = np.ones(dy.shape[1], dy.dtype)
    for part in pieces(dy.shape[0], dy.shape[1] * dy.itemsize):
        np.exp(y[part], out=dx[part])
        dx[part] *= times_vector(dy[part], ones)[:, None]
        np.subtract(dy[part], dx[part], out=dx[part])
    return (dx.reshape(x.shape),)
