"""The two-layer perceptron in one node: linear, GELU with its derivative in the same pass, linear."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivit.backend.cpu import gelu
from minivit.backend.cpu.blocks import Array, as_rows, column_sums, floats, pieces
from minivit.backend.cpu.linear import rows_times
from minivit.backend.pool import empty_like

keeps = ("x", "fc1_weight", "fc2_weight")


def accepts(
    x: Array, fc1_weight: Array, fc1_bias: Array, fc2_weight: Array, fc2_bias: Array, *, approximate: str
) -> bool:
    """float32 or float64."""
    return floats(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias) and gelu.accepts(x, approximate=approximate)


def forward(
    x: Array, fc1_weight: Array, fc1_bias: Array | None, fc2_weight: Array, fc2_bias: Array | None, *, approximate: str
) -> tuple[Array, tuple[Array, Array]]:
    """y = gelu(x W1^T + b1) W2^T + b2.   x (..., D); W1 (M, D), b1 (M,); W2 (O, M), b2 (O,).

    Saved: the activation, which takes the place of the pre-activation in memory, and gelu' at the pre-activation.
    """
    hidden = rows_times(as_rows(x), fc1_weight.T)  # (R, M)
    slope = empty_like(hidden)
    _activate(hidden, fc1_bias, slope, approximate)
    return _output(x, hidden, fc2_weight, fc2_bias), (hidden, slope)


def evaluate(
    x: Array, fc1_weight: Array, fc1_bias: Array | None, fc2_weight: Array, fc2_bias: Array | None, *, approximate: str
) -> Array:
    """The forward's y, without gelu'."""
    hidden = rows_times(as_rows(x), fc1_weight.T)  # (R, M)
    _activate(hidden, fc1_bias, None, approximate)
    return _output(x, hidden, fc2_weight, fc2_bias)


def _activate(hidden: Array, bias: Array | None, slope: Array | None, approximate: str) -> None:
    """gelu(hidden + b1) in place of `hidden`, and gelu' to `slope` where it is wanted.   Both (R, M)."""
    for part in pieces(hidden.shape[0], hidden.shape[1] * hidden.itemsize):
        h = hidden[part]
        if bias is not None:
            h += bias
        flat_slope = None if slope is None else slope[part].reshape(-1)
        gelu.value_and_slope(h.reshape(-1), h.reshape(-1), flat_slope, approximate)


def _output(x: Array, activation: Array, weight: Array, bias: Array | None) -> Array:
    """activation W2^T + b2.   (R, M) -> (..., O), as x is (..., D)."""
    y = rows_times(activation, weight.T)  # (R, O)
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:-1], weight.shape[0])


def backward(
    dy: Array,
    saved: tuple[Array, Array],
    x: Array,
    fc1_weight: Array,
    fc1_bias: Any,
    fc2_weight: Array,
    fc2_bias: Any,
    *,
    wanted: tuple[bool, ...],
    approximate: str,
) -> tuple[Array | None, ...]:
    """Gradients of the forward's lines, last line first."""
    activation, slope = saved
    dy = as_rows(dy)  # (R, O)
    # y = activation W2^T + b2
    dfc2_weight = rows_times(dy.T, activation) if wanted[3] else None  # (O, M)
    dfc2_bias = column_sums(dy) if wanted[4] else None
    if not any(wanted[:3]):
        return None, None, None, dfc2_weight, dfc2_bias
    dhidden = rows_times(dy, fc2_weight)  # (R, M)
    # activation = gelu(hidden)
    np.multiply(dhidden, slope, out=dhidden)
    # hidden = x W1^T + b1
    dx = rows_times(dhidden, fc1_weight).reshape(x.shape) if wanted[0] else None
    dfc1_weight = rows_times(dhidden.T, as_rows(x)) if wanted[1] else None  # (M, D)
    return dx, dfc1_weight, column_sums(dhidden) if wanted[2] else None, dfc2_weight, dfc2_bias
