"""Kernel of max pooling with 2x2 windows that do not overlap: three comparisons, whose outcomes are all it keeps."""

from __future__ import annotations

from typing import Any

import numpy as np

Pair = tuple[int, int]


def accepts(x: np.ndarray, *, kernel_size: Pair, stride: Pair, padding: Pair) -> bool:
    """2x2 windows side by side, float32 and float64; NaN is left to the text, which orders it otherwise."""
    return (
        x.dtype in (np.float32, np.float64)
        and kernel_size == stride == (2, 2)
        and padding == (0, 0)
        and x.shape[2] % 2 == 0
        and x.shape[3] % 2 == 0
    )


def forward(
    x: np.ndarray,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,  # noqa: ARG001
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """y = max(a, b, c, d) of each window [[a, b], [c, d]].

    Rows first, as the memory lies: max(max(a, c), max(b, d)). Kept are c > a, d > b, and whether the right column wins;
    among equals the first in reading order has to win, which the last comparison sees to.
    """
    b, c, h, w = x.shape
    pairs = x.reshape(b, c, h // 2, 2, w)
    upper, lower = pairs[:, :, :, 0], pairs[:, :, :, 1]  # (B, C, H/2, W)
    best = np.maximum(upper, lower)
    from_lower = lower > upper
    left, right = best[..., 0::2], best[..., 1::2]  # (B, C, H/2, W/2)
    y = np.maximum(left, right)
    # A tie between the columns goes to the upper row, and to the left within one row.
    from_right = right > left
    tie = right == left
    tie &= from_lower[..., 0::2]
    tie &= ~from_lower[..., 1::2]
    from_right |= tie
    return y, (from_lower, from_right)


def backward(
    dy: np.ndarray,
    saved: tuple[np.ndarray, np.ndarray],
    x: Any,
    *,
    kernel_size: Pair,  # noqa: ARG001
    stride: Pair,  # noqa: ARG001
    padding: Pair,  # noqa: ARG001
    wanted: tuple[bool, ...],  # noqa: ARG001
) -> tuple[np.ndarray]:
    """dx = dy where the maximum was taken, 0 elsewhere."""
    from_lower, from_right = saved
    b, c, h, w = x.shape
    dx = np.empty((b, c, h, w), dy.dtype)
    rows = np.empty((b, c, h // 2, w), dy.dtype)
    np.multiply(dy, from_right, out=rows[..., 1::2])
    np.subtract(dy, rows[..., 1::2], out=rows[..., 0::2])
    pairs = dx.reshape(b, c, h // 2, 2, w)
    np.multiply(rows, from_lower, out=pairs[:, :, :, 1])
    np.subtract(rows, pairs[:, :, :, 1], out=pairs[:, :, :, 0])
    return (dx,)
