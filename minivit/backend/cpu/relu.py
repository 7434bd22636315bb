"""Rectified linear unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivit.backend.cpu.blocks import Array, constants, empty_as, flat_pieces, floats
from minivit.backend.pool import empty


def accepts(x: Array) -> bool:
    """float32 or float64."""
    return floats(x)


def forward(x: Array) -> tuple[Array, Array]:
    """y = max(x, 0), in the memory layout of x."""
    zero, infinity = constants(x.dtype, 0.0, np.inf)
    y = empty_as(x)
    np.clip(x, zero, infinity, out=y)  # twice as fast as np.maximum with a number
    return y, y


def backward(dy: Array, saved: Array, x: Any, *, wanted: tuple[bool, ...]) -> tuple[Array]:
    """dx = dy where y > 0, else 0."""
    dx = empty_as(saved)
    (zero,) = constants(dy.dtype, 0.0)
    for d, g, y in flat_pieces(dx, dy, saved):
        positive = empty(y.shape, np.bool_)
        np.greater(y, zero, out=positive)
        np.multiply(g, positive, out=d)
    return (dx,)
