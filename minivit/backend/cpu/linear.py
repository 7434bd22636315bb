"""Linear layer: one matrix product, the bias added in place."""

from __future__ import annotations

from typing import Any

from minivit.backend.cpu.blocks import Array, as_rows, column_sums, floats
from minivit.backend.cpu.product import matmul
from minivit.backend.pool import empty

keeps = ("x", "weight")


def accepts(x: Array, weight: Array, bias: Array | None) -> bool:
    """float32 or float64, x with at least one axis."""
    return floats(x, weight, bias) and x.ndim > 0


def forward(x: Array, weight: Array, bias: Array | None) -> tuple[Array, None]:
    """y = x W^T + b.   x (..., I), weight (O, I), bias (O,) or None."""
    y = rows_times(as_rows(x), weight.T)  # (R, O)
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:-1], weight.shape[0]), None


def backward(
    dy: Array,
    saved: None,
    x: Array,
    weight: Array,
    bias: Any,
    *,
    wanted: tuple[bool, ...],
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of y = x W^T + b."""
    rows = as_rows(dy)  # (R, O)
    dx = rows_times(rows, weight).reshape(x.shape) if wanted[0] else None
    dweight = rows_times(rows.T, as_rows(x)) if wanted[1] else None  # (O, R) (R, I)
    return dx, dweight, column_sums(rows) if wanted[2] else None


def rows_times(a: Array, b: Array) -> Array:
    """(R, K) (K, C) -> (R, C), into a buffer of the pool."""
    return matmul(a, b, out=empty((a.shape[0], b.shape[1]), a.dtype))
