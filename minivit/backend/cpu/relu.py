"""Kernel of relu: one pass each way."""

from __future__ import annotations

from typing import Any

import numpy as np


def accepts(x: np.ndarray) -> bool:
    """float32 and float64."""
    return x.dtype in (np.float32, np.float64)


def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y = max(x, 0), and y itself."""
    y = np.maximum(x, 0)
    return y, y


def backward(dy: np.ndarray, saved: np.ndarray, x: Any, *, wanted: tuple[bool, ...]) -> tuple[np.ndarray]:  # noqa: ARG001
    """dx = dy where y > 0."""
    return (np.multiply(dy, saved > 0),)
